"""Words of a report: names, numbers, symbols and priors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from radon_numpyro.data import digits
from radon_numpyro.data.checks import plural
from radon_numpyro.model.location_priors import PriorFamily
from radon_numpyro.report.html import Html, element
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


def name(label: Any) -> Html:
    """A name of the user's: set apart, in its own direction, and cut off where it is very long."""
    text = str(label)
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    return element("bdi", element("i", text) if text.strip() else "(empty)")


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


def listing(labels: Sequence[Any]) -> list[Any]:
    """Names with commas and a last "and"; of many, the first."""
    shown: list[Any] = [name(label) for label in labels[:MOST_NAMED]]
    if len(labels) > MOST_NAMED:
        shown.append(plural(len(labels) - MOST_NAMED, "other column"))
    joined: list[Any] = []
    for k, part in enumerate(shown):
        joined += [", " if 0 < k < len(shown) - 1 else " and " if k else "", part]
    return joined


def groups(numbers: Numbers) -> list[Any]:
    """85 groups (county)."""
    return [plural(len(numbers.labels.groups), "group"), " (", name(numbers.labels.group), ")"]


def symbol(site: str, below: Any = "") -> Html:
    """A Greek letter of the model with what stands below it."""
    letter, of = SYMBOLS[site]
    return element("span", letter, element("sub", of, below) if of or below else None)


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
