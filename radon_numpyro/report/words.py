"""What a report says in words: the question, the answer, the model and its priors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from radon_numpyro.data import digits
from radon_numpyro.data.checks import plural
from radon_numpyro.model.location_priors import LocationPrior
from radon_numpyro.model.scale_priors import ScalePrior
from radon_numpyro.report.html import Html, element
from radon_numpyro.results.estimates import Estimate, Numbers
from radon_numpyro.results.fit_reader import read_centers

MOST_NAMED, LONGEST = 5, 60
ALPHA, BETA, EPSILON = "\N{GREEK SMALL LETTER ALPHA}", "β", "ε"
MU, SIGMA = "\N{GREEK SMALL LETTER MU}", "\N{GREEK SMALL LETTER SIGMA}"
SYMBOLS = {
    "mu_alpha": (MU, ALPHA),
    "sigma_alpha": (SIGMA, ALPHA),
    "mu_beta": (MU, BETA),
    "sigma_beta": (SIGMA, BETA),
    "alpha": (ALPHA, ""),
    "beta": (BETA, ""),
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


def meaning(numbers: Numbers, key: str) -> list[Any]:
    """What a parameter is, in words."""
    site, x = parameter(key)
    pooled = not numbers.model.by_group
    at: list[Any] = []
    for predictor, zero in read_centers(numbers.tree):
        at += [
            " and " if at else ", where ",
            name(predictor),
            f" is {zero:.10g}",
        ]
    words: dict[str, list[Any]] = {
        "mu_alpha": ["intercept of the average group", *at],
        "sigma_alpha": ["sd of the intercepts between groups"],
        "mu_beta": ["slope of ", name(x), " in the average group"],
        "sigma_beta": ["sd of the slopes of ", name(x), " between groups"],
        "alpha": ["intercept", "" if pooled else " of a group", *at],
        "beta": ["slope of ", name(x), "" if pooled else " in a group"],
        "eps": ["residual sd: of single rows about their line"],
    }
    return words[site]


def question(numbers: Numbers) -> Html:
    """The question that the model answers, as one sentence."""
    labels, many = numbers.labels, groups(numbers)
    y = name(labels.outcome)
    if labels.predictors:
        asked: list[Any] = ["How does ", y, " vary with ", listing(labels.predictors)]
        own: list[Any] = [", and how much does that differ between ", many]
    else:
        asked, own = ["How high is ", y, " on average"], [", and how much do ", many, " differ"]
    end: list[Any] = [", over all rows alike, whatever their group"]
    if numbers.model.population:
        end = own
    elif numbers.model.by_group:
        end = [" in each of ", many, ", every group taken on its own"]
    return element("p", asked, end, "?", class_="question")


def answer(numbers: Numbers) -> list[Html]:
    """The answer in sentences, every number with its interval."""
    if numbers.model.eps_by_group:
        return _answer_of_individuals(numbers)
    sentences = [
        element("p", _slope(numbers, k, x))
        for k, x in enumerate(numbers.labels.predictors[:MOST_NAMED])
    ]
    more = len(numbers.labels.predictors) - MOST_NAMED
    if more > 0:
        sentences.append(element("p", f"The results have {plural(more, 'more predictor')}."))
    sentences.append(element("p", _level(numbers)))
    eps = Estimate.of(numbers.parameters()["eps"], numbers.prob)
    about = "of their group " if numbers.model.population else ""
    sentences.append(
        element(
            "p",
            f"Single rows scatter about the line {about}with a standard deviation of ",
            element("strong", middle(eps)),
            f" ({ends(eps)}).",
        )
    )
    return sentences


def _weights(numbers: Numbers, k: int) -> np.ndarray:
    return np.eye(len(numbers.labels.predictors) + 1)[k]


def _average_and_spread(numbers: Numbers, weights: np.ndarray) -> tuple[Estimate, Estimate | None]:
    if numbers.model.population:
        return numbers.of_population(weights)
    draws = [d for key, d in numbers.parameters().items() if key != "eps"]
    return Estimate.of(np.column_stack(draws) @ weights, numbers.prob), None


def _slope(numbers: Numbers, k: int, x: str) -> list[Any]:
    """What one unit more of a predictor goes with, and how that differs."""
    average, spread = _average_and_spread(numbers, _weights(numbers, k + 1))
    y = name(numbers.labels.outcome)
    step: list[Any] = ["one unit more of ", name(x)]
    if numbers.columns["binary"].iloc[k]:
        step = [name(x), " 1 instead of 0"]
    where = "In the average group, " if spread else "Over all rows, "
    alike = ", other predictors being the same," if len(numbers.labels.predictors) > 1 else ""
    said: list[Any] = [
        where,
        step,
        f"{alike} goes with a difference of ",
        element("strong", _signed(middle(average))),
        " in ",
        y,
        f" ({percent(numbers.prob)} interval {ends(average)}). ",
    ]
    if average.low <= 0 <= average.high:
        said.append("The interval contains zero: the data do not settle the direction. ")
    if spread:
        said += [
            "Groups differ: the model expects ",
            f"{percent(numbers.prob)} of groups like these between {ends(spread, 'and')}.",
        ]
    return said


def _signed(text: str) -> str:
    return text if text.startswith("\N{MINUS SIGN}") else f"+{text}"


def _level(numbers: Numbers) -> list[Any]:
    """How high the line is at the means of the predictors."""
    predictors, columns = numbers.labels.predictors, numbers.columns
    means = columns["mean"].iloc[:-1]
    average, spread = _average_and_spread(numbers, np.concatenate([[1.0], means - numbers.zeros]))
    at: list[Any] = ["With every predictor at its mean, "]
    if len(predictors) == 1:
        at = ["Where ", name(predictors[0]), f" is {number(*columns.iloc[0, :2])}, its mean, "]
    whose = "the average group has " if spread else "the line is at "
    said: list[Any] = [
        at if predictors else "Of all rows, " if not spread else "Over all, ",
        whose,
        name(numbers.labels.outcome),
        " ",
        element("strong", middle(average)),
        f" ({percent(numbers.prob)} interval {ends(average)})",
    ]
    if spread:
        prob = percent(numbers.prob)
        said.append(f"; the model expects {prob} of groups like these between ")
        said.append(ends(spread, "and"))
    return [*said, "."]


def _answer_of_individuals(numbers: Numbers) -> list[Html]:
    """How many slopes are clear, since there is no population to speak of."""
    found, total = numbers.coefficients, len(numbers.labels.groups)
    said = []
    for k, x in enumerate(numbers.labels.predictors[:MOST_NAMED], start=1):
        above, below = int((found.low[:, k] > 0).sum()), int((found.high[:, k] < 0).sum())
        said.append(
            element(
                "p",
                "The slope of ",
                name(x),
                f" is above zero in {above} of {plural(total, 'group')} (its whole "
                f"{percent(numbers.prob)} interval), below zero in {below}, and of unsettled "
                f"direction in the other {total - above - below}.",
            )
        )
    low, high = np.quantile(found.mean[:, 0], (0.25, 0.75))
    said.append(
        element(
            "p",
            "The intercepts of the middle half of the groups lie between ",
            f"{number(low, high - low)} and {number(high, high - low)}. Every group is answered ",
            "from its own rows alone, and where these are too few, from the prior: wide intervals "
            "in the table of groups say so.",
        )
    )
    return said


def formulas(numbers: Numbers) -> list[Html]:
    """The model, a line each."""
    labels = numbers.labels
    c: Any = name(labels.group) if numbers.model.by_group else ""
    line: list[Any] = [symbol("alpha", c)]
    for x, zero in zip(labels.predictors[:MOST_NAMED], numbers.zeros, strict=False):
        beta = symbol("beta", [c, " " if c else "", name(x)])
        counted = ["(", name(x), f" \N{MINUS SIGN} {zero:.10g})"] if zero else [name(x)]
        line += [" + ", beta, " · ", *counted]
    if len(labels.predictors) > MOST_NAMED:
        line.append(" + \N{HORIZONTAL ELLIPSIS}")
    eps = symbol("eps", c if numbers.model.eps_by_group else "")
    lines: list[Any] = [[name(labels.outcome), " ~ Normal(", line, ", ", eps, ")"]]
    if numbers.model.population:
        normal = [" ~ Normal(", symbol("mu_alpha"), ", ", symbol("sigma_alpha"), ")"]
        lines.append([symbol("alpha", c), normal])
        if labels.predictors:
            normal = [" ~ Normal(", symbol("mu_beta"), ", ", symbol("sigma_beta"), ")"]
            of_each = " for each predictor" if len(labels.predictors) > 1 else ""
            lines.append([symbol("beta", c), normal, of_each])
    return [element("p", line, class_="formula") for line in lines]


def prior_words(prior: LocationPrior | ScalePrior, k: int, prob: float) -> tuple[str, str]:
    """A prior of one parameter, with its numbers, and what it holds possible."""
    one = prior.component(k)
    text = _typeset(one.text(digits.short))
    if not one.proper:
        return text, "any value above 0, all alike" if one.lower == 0 else "any value, all alike"
    if np.isfinite(one.upper):
        return text, f"anything up to {short(one.upper)}, and nothing above"
    if np.isfinite(one.lower):
        end = one.quantile(prob)
        return text, f"{percent(prob)} below {number(end, end)}"
    low, high = (number(one.quantile(0.5 + s * prob / 2), one.sd) for s in (-1, 1))
    return text, f"{percent(prob)} between {low} and {high}"


def short(value: float) -> str:
    """A number that has no standard deviation."""
    return _typeset(digits.short(value))
