"""The parts of a page: words and blocks of words; names, numbers and priors as words.

Words are text, :class:`Marked` words, or a list of these. Only the templates make markup.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from radon_numpyro.data import digits
from radon_numpyro.data.checks import plural
from radon_numpyro.model.location_priors import PriorFamily
from radon_numpyro.results.estimates import Estimate, Numbers

MOST_NAMED, LONGEST = 5, 60
ALPHA, BETA, EPSILON = "\N{GREEK SMALL LETTER ALPHA}", "β", "ε"
GAMMA, MU, RHO, SIGMA = (
    "\N{GREEK SMALL LETTER GAMMA}",
    "\N{GREEK SMALL LETTER MU}",
    "\N{GREEK SMALL LETTER RHO}",
    "\N{GREEK SMALL LETTER SIGMA}",
)
CAPITAL_SIGMA = "\N{GREEK CAPITAL LETTER SIGMA}"
SYMBOLS = {
    "mu_alpha": (MU, ALPHA),
    "sigma_alpha": (SIGMA, ALPHA),
    "mu_beta": (MU, BETA),
    "sigma_beta": (SIGMA, BETA),
    "alpha": (ALPHA, ""),
    "beta": (BETA, ""),
    "gamma": (GAMMA, ""),
    "correlation": (RHO, ""),
    "eps": (EPSILON, ""),
}


@dataclass(frozen=True)
class Marked:
    """Words with a mark, which ``templates/parts.html`` turns into markup.

    Attributes
    ----------
    mark
        ``"name"``, ``"strong"``, ``"range"``, ``"symbol"``, ``"below"`` or ``"option"``.
    words
        Text or a list of words.
    """

    mark: str
    words: Any


@dataclass(frozen=True)
class Paragraph:
    """A paragraph with a class of the style sheet, such as ``"soft"``.

    ``status`` is true for a verdict, which gets the ARIA role of a status message.
    """

    kind: ClassVar[str] = "paragraph"
    words: Any
    look: str = ""
    status: bool = False


@dataclass(frozen=True)
class Code:
    """A command, shown unchanged."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Findings:
    """Findings: pairs of what was found and advice on what to try."""

    kind: ClassVar[str] = "findings"
    items: Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Remarks:
    """A list of remarks without full stops."""

    kind: ClassVar[str] = "remarks"
    items: Sequence[str]


@dataclass(frozen=True)
class Definitions:
    """Definitions: pairs of a term and its meaning."""

    kind: ClassVar[str] = "definitions"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table in a region that scrolls by itself; the first cell of each row is its heading.

    Attributes
    ----------
    caption
        What the table shows.
    headings
        Headings of the columns.
    rows
        Cells of each row; the first is its heading.
    label
        Name of the region for screen readers.
    wordy
        Positions of the columns that hold words, which may break lines, and not numbers.
    """

    kind: ClassVar[str] = "table"
    caption: Any
    headings: Sequence[Any]
    rows: Iterable[Sequence[Any]]
    label: str
    wordy: Collection[int] = ()


@dataclass(frozen=True)
class Picture:
    """A figure that needs no other file.

    Attributes
    ----------
    source
        The image as a data URL.
    width, height
        Width and height in CSS pixels.
    alt
        Alternative text: what the figure shows, for readers who cannot see it.
    caption
        Words below the figure.
    """

    kind: ClassVar[str] = "figure"
    source: str
    width: int
    height: int
    alt: str
    caption: Any


Block = Paragraph | Code | Findings | Remarks | Definitions | Table | Picture


@dataclass(frozen=True)
class Section:
    """A section that the navigation can point to.

    Attributes
    ----------
    key
        Id of the section in the page.
    link
        Text of the link to the section.
    heading
        Heading of the section, at the second level.
    blocks
        Contents of the section, in order.
    tone
        ``"good"`` or ``"bad"`` for a verdict.
    """

    key: str
    link: str
    heading: str
    blocks: Sequence[Block]
    tone: str = ""


def name(label: Any) -> Marked:
    """Mark a name from the user's data: own text direction, at most `LONGEST` characters."""
    text = str(label)
    return Marked(
        "name", text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def strong(words: Any) -> Marked:
    """Mark words that a reader should not overlook."""
    return Marked("strong", words)


def capital(words: list[Any]) -> list[Any]:
    """Return words with a capital first letter, for the beginning of a sentence."""
    return [words[0].capitalize(), *words[1:]] if isinstance(words[0], str) else words


def plain(words: Any) -> str:
    """Return the text of words without marks, for figures and alternative text."""
    if isinstance(words, Marked):
        return plain(words.words)
    return words if isinstance(words, str) else "".join(map(plain, words))


def number(value: Any, sd: Any) -> str:
    """Write a number with digits according to its standard deviation; see ``data/digits.py``."""
    return _typeset(digits.number(value, sd))


def _typeset(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def stated(value: Any, sd: Any) -> str:
    """Write a number that a person has chosen, such as a prior mean; see ``data/digits.py``."""
    return _typeset(digits.stated(value, sd))


def percent(prob: float) -> str:
    """Write a probability in percent: "90 %"."""
    return f"{100 * prob:.6g}\N{NO-BREAK SPACE}%"


def ends(estimate: Estimate, joint: str = "to") -> str:
    """Write the ends of an interval: "1.3 to 1.5", or "1.3 and 1.5" after "between"."""
    _, _, low, high = map(_typeset, digits.estimate(*estimate))
    return f"{low} {joint} {high}"


def middle(estimate: Estimate) -> str:
    """Write the posterior mean."""
    return _typeset(digits.estimate(*estimate)[0])


def listing(labels: Sequence[Any], most: int = MOST_NAMED) -> list[Any]:
    """Join at most `most` names by commas and a last "and", and count the others."""
    shown: list[Any] = [name(label) for label in labels[:most]]
    if len(labels) > most:
        shown.append(plural(len(labels) - most, "other column"))
    return joined(shown)


def joined(parts: Sequence[Any]) -> list[Any]:
    """Join words by commas and a last "and"."""
    said: list[Any] = []
    for k, part in enumerate(parts):
        said += [" and " if k == len(parts) - 1 else ", "] if k else []
        said.append(part)
    return said


def groups(numbers: Numbers) -> list[Any]:
    """Write the number of groups and the name of the grouping: "85 groups (county)"."""
    return [plural(len(numbers.labels.groups), "group"), " (", name(numbers.labels.group), ")"]


def symbol(site: str, below: Any = "") -> Marked:
    """Return the Greek letter of a site with its subscript."""
    letter, of = SYMBOLS[site]
    return subscript(letter, [of, below] if of or below else "")


def subscript(letter: str, below: Any) -> Marked:
    """Return a letter with a subscript, if there is one."""
    return Marked("symbol", [letter, Marked("below", below)] if below else letter)


def estimated(estimate: Estimate, mark: str = "") -> list[Any]:
    """Write the posterior mean and, in brackets, the interval."""
    return [middle(estimate), mark, " (", Marked("range", ends(estimate)), ")"]


def parameter(key: str) -> tuple[str, str]:
    """Return site and predictor of a key such as ``mu_beta[floor]``."""
    site, _, rest = key.partition("[")
    return site, rest.removesuffix("]")


def prior_words(one: PriorFamily, prob: float) -> tuple[str, str]:
    """Return the prior of one parameter as text, and the range of values that it allows."""
    text = _typeset(one.text(digits.short))
    if not one.proper:
        return text, "any value above 0, all alike" if one.lower == 0 else "any value, all alike"
    if one.lower == 0 and np.isfinite(one.upper):
        return text, f"anything up to {short(one.upper)}, and nothing above"
    if one.lower == 0:
        end = one.quantile(prob)
        return text, f"{percent(prob)} below {number(end, end)}"
    low, high = (number(one.quantile(0.5 + s * prob / 2), one.sd) for s in (-1, 1))
    return text, f"{percent(prob)} between {low} and {high}"


def short(value: float) -> str:
    """Write a number that has no standard deviation."""
    return _typeset(digits.short(value))
