"""What a page is made of: words and blocks of them; names, numbers and priors as words.

Words are text, :class:`Marked` words, or a list of these. Markup is made by the templates alone.
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
    """Words with a mark, for which ``templates/parts.html`` has the markup.

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
    """Words with a look of the style sheet, such as ``"soft"``; a verdict is a status."""

    kind: ClassVar[str] = "paragraph"
    words: Any
    look: str = ""
    status: bool = False


@dataclass(frozen=True)
class Code:
    """A command, as it is."""

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Findings:
    """Pairs of what was seen and the words of what to try."""

    kind: ClassVar[str] = "findings"
    items: Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class Definitions:
    """Pairs of a term and what it means."""

    kind: ClassVar[str] = "definitions"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table whose rows begin with their heading, in a region that scrolls on its own.

    Attributes
    ----------
    caption
        What the table shows.
    headings
        Of the columns.
    rows
        Cells of each row; the first is its heading.
    label
        Name of the region, for those who cannot see it.
    wordy
        Which columns hold words, that may break lines, instead of numbers.
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
        In pixels of the style sheet.
    alt
        What it shows, for those who cannot see it.
    caption
        What stands below it.
    """

    kind: ClassVar[str] = "figure"
    source: str
    width: int
    height: int
    alt: str
    caption: Any


Block = Paragraph | Code | Findings | Definitions | Table | Picture


@dataclass(frozen=True)
class Section:
    """A section that the navigation can point to.

    Attributes
    ----------
    key
        Its id.
    link
        Words of the link to it.
    heading
        Its heading, of the second level.
    blocks
        What it holds, in order.
    tone
        ``"good"`` or ``"bad"`` for a verdict.
    """

    key: str
    link: str
    heading: str
    blocks: Sequence[Block]
    tone: str = ""


def name(label: Any) -> Marked:
    """A name of the user's: set apart, in its own direction, and cut off where it is very long."""
    text = str(label)
    return Marked(
        "name", text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def strong(words: Any) -> Marked:
    """What a reader should not overlook."""
    return Marked("strong", words)


def capital(words: list[Any]) -> list[Any]:
    """The same words at the beginning of a sentence."""
    return [words[0].capitalize(), *words[1:]] if isinstance(words[0], str) else words


def plain(words: Any) -> str:
    """The text of words without their marks, for figures and those who hear the page."""
    if isinstance(words, Marked):
        return plain(words.words)
    return words if isinstance(words, str) else "".join(map(plain, words))


def number(value: Any, sd: Any) -> str:
    """A number with the digits that its standard deviation calls for; see ``data/digits.py``."""
    return _typeset(digits.number(value, sd))


def _typeset(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def stated(value: Any, sd: Any) -> str:
    """A number that somebody has set, as the mean of a prior; see ``data/digits.py``."""
    return _typeset(digits.stated(value, sd))


def percent(prob: float) -> str:
    """90 %."""
    return f"{100 * prob:.6g}\N{NO-BREAK SPACE}%"


def ends(estimate: Estimate, joint: str = "to") -> str:
    """Ends of an interval: "1.3 to 1.5", or "1.3 and 1.5" after "between"."""
    _, _, low, high = map(_typeset, digits.estimate(*estimate))
    return f"{low} {joint} {high}"


def middle(estimate: Estimate) -> str:
    """The posterior mean."""
    return _typeset(digits.estimate(*estimate)[0])


def listing(labels: Sequence[Any], most: int = MOST_NAMED) -> list[Any]:
    """Names with commas and a last "and"; of many, the first."""
    shown: list[Any] = [name(label) for label in labels[:most]]
    if len(labels) > most:
        shown.append(plural(len(labels) - most, "other column"))
    return joined(shown)


def joined(parts: Sequence[Any]) -> list[Any]:
    """Words with commas and a last "and"."""
    said: list[Any] = []
    for k, part in enumerate(parts):
        said += [" and " if k == len(parts) - 1 else ", "] if k else []
        said.append(part)
    return said


def groups(numbers: Numbers) -> list[Any]:
    """85 groups (county)."""
    return [plural(len(numbers.labels.groups), "group"), " (", name(numbers.labels.group), ")"]


def symbol(site: str, below: Any = "") -> Marked:
    """A Greek letter of the model with what stands below it."""
    letter, of = SYMBOLS[site]
    return subscript(letter, [of, below] if of or below else "")


def subscript(letter: str, below: Any) -> Marked:
    """A letter with words below it, if there are any."""
    return Marked("symbol", [letter, Marked("below", below)] if below else letter)


def estimated(estimate: Estimate, mark: str = "") -> list[Any]:
    """Posterior mean and, in brackets, the interval."""
    return [middle(estimate), mark, " (", Marked("range", ends(estimate)), ")"]


def parameter(key: str) -> tuple[str, str]:
    """Site and predictor of a key such as ``mu_beta[floor]``."""
    site, _, rest = key.partition("[")
    return site, rest.removesuffix("]")


def prior_words(one: PriorFamily, prob: float) -> tuple[str, str]:
    """A prior of one parameter, with its numbers, and what it holds possible."""
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
    """A number that has no standard deviation."""
    return _typeset(digits.short(value))
