"""Write the mathematics of a model: its formulas, and the meaning of each parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.report.coefficients import coefficient, coefficients
from radon_numpyro.report.conditions import at_zero, every_zero, partners
from radon_numpyro.report.term import Term
from radon_numpyro.report.terms import terms
from radon_numpyro.report.words import (
    CAPITAL_SIGMA,
    MOST_NAMED,
    Paragraph,
    listing,
    name,
    parameter,
    subscript,
    symbol,
)
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_centers


def titled(numbers: Numbers, key: str) -> list[Any]:
    """Return the symbol and meaning of a parameter: "μα: intercept of the average group"."""
    site, x = parameter(key)
    return [symbol(site, name(x) if x else ""), ": ", *_meaning(numbers, key)]


def _meaning(numbers: Numbers, key: str) -> list[Any]:
    """Return the meaning of a parameter, in words."""
    site, x = parameter(key)
    design, pooled = numbers.labels.design, not numbers.model.by_group
    known = terms(numbers)
    at: list[Any] = []
    for predictor, zero in read_centers(numbers.tree):
        at += [" and " if at else ", where ", name(predictor), f" is {zero:.10g}"]
    if design.fixed and numbers.labels.predictors:
        # Columns that vary about 0 make no difference to the average group.
        own = [x for x in numbers.labels.predictors if x in design.population]
        at = [", where ", *at_zero(numbers, every_zero(known, own))] if own else at
    one: list[Any] = ["slope of ", name(x)]
    where: list[Any] = []
    if x in numbers.labels.predictors:
        one, where = coefficient(known, x), _where(numbers, known, x)
    group = "of a group" if design.has_mean_intercept or pooled else "of a group, about 0"
    if site == "sigma_beta":
        return ["sd of the ", *coefficients(known, x), " between groups"]
    if site == "correlation":
        return ["correlation of ", *_pair(numbers, x), " between groups"]
    words: dict[str, list[Any]] = {
        "mu_alpha": ["intercept of the average group", *at],
        "sigma_alpha": ["sd of the intercepts between groups"],
        "mu_beta": [*one, " in the average group", *where],
        "alpha": ["intercept", "" if pooled else f" {group}", *at],
        "beta": [*one, *([] if pooled else [" in a group"]), *where],
        "eps": ["residual sd: of single rows", *_of_weight(design), " about their line"],
    }
    if site != "gamma":
        return words[site]
    alike = "" if not numbers.model.by_group else ", the same in every group"
    if x == INTERCEPT:
        return ["intercept", alike, *at]
    if not x:
        return ["coefficient of a column", alike]
    term = known[x]
    if term.of_groups and term.is_measured and not term.category and numbers.model.by_group:
        alike = ", a predictor of groups"
    return [*one, alike, *where]


def _pair(numbers: Numbers, pair: str) -> list[Any]:
    """Return the two coefficients of a correlated pair, in words."""
    design, known = numbers.labels.design, terms(numbers)
    places = dict(zip(design.pair_names, design.pairs, strict=True)).get(pair, ())
    first, second = (coefficients(known, design.varying[place]) for place in places)
    return [*first, " and ", *second]


def _of_weight(design: Design) -> list[Any]:
    """Return the words "of weight 1" if rows have weights, else nothing."""
    return [" of weight 1 (", name(design.weights), ")"] if design.weights else []


def _where(numbers: Numbers, known: Mapping[str, Term], x: str) -> list[Any]:
    """Return the values at which a coefficient applies, if its column is part of interactions."""
    others = partners(known, x)
    return [", where ", *at_zero(numbers, others)] if others else []


def description(numbers: Numbers) -> list[Any]:
    """Describe which coefficients vary by group and which do not, in words."""
    model, design = numbers.model, numbers.labels.design
    own = "intercept and slopes" if numbers.labels.predictors else "intercept"
    if not model.by_group:
        told = "One line for all rows, whatever their group (complete pooling)."
        left_out = [x for x in design.varying if x not in design.population]
        if left_out:
            return [
                told,
                " What varies by group about 0 has no part in it: ",
                listing(left_out),
                ".",
            ]
        return [told]
    if not model.population:
        scatter = "" if design.known_errors else ", and its own scatter"
        return [
            f"Every group has its own {own}{scatter}, and learns nothing from the others (no "
            "pooling)."
        ]
    every = all(x in design.population for x in design.varying)
    parts = ["mean"] * every + ["spread"]
    parts += [f"correlation{'s' if len(design.pairs) > 1 else ''}"] * bool(design.pairs)
    estimated = " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
    if design.varies_throughout:
        return [
            f"Every group has its own {own}, drawn from one population, whose {estimated} are "
            "estimated too. So groups of few rows lean on the others (partial pooling)."
        ]
    said: list[Any] = []
    if design.varying:
        slope = "slope of " if len(design.slopes) == 1 else "slopes of "
        said += ["Every group has its own ", "intercept" if design.intercept_varies else ""]
        said += [" and " if design.intercept_varies and design.slopes else ""]
        said += [slope, listing(design.slopes)] if design.slopes else []
        said += [", drawn from one population, whose "]
        said += [f"{estimated} {'are' if len(parts) > 1 else 'is'}"]
        said += [" estimated too. So groups of few rows lean on the others (partial pooling)."]
        zero = [x for x in design.varying if x not in design.population]
        if zero:
            named = ["intercept" if x == INTERCEPT else ["slope of ", name(x)] for x in zero[:1]]
            named += [[", slope of ", name(x)] for x in zero[1:]]
            said += [" These vary about 0: ", named, "."]
    columns = [x for x in design.fixed if x != INTERCEPT]
    if columns:
        said += [" All groups share the coefficients of ", listing(columns), "."]
    if INTERCEPT in design.fixed:
        said += [" The intercept is the same in every group."]
    elif INTERCEPT not in design.population:
        said += [
            " There is no intercept besides: where every column is 0, so is the average group."
        ]
    return said


def formulas(numbers: Numbers) -> list[Paragraph]:
    """Return the formulas of the model, one line for each distribution."""
    labels, design = numbers.labels, numbers.labels.design
    c: Any = name(labels.group) if numbers.model.by_group else ""
    by_group = numbers.model.by_group
    zero = dict(zip(labels.predictors, numbers.zeros, strict=True))
    line: list[Any] = []
    if design.intercept_varies and (by_group or design.has_mean_intercept):
        line.append([symbol("alpha", c)])
    elif INTERCEPT in design.fixed:
        line.append([symbol("gamma", name(INTERCEPT))])
    slopes = design.slopes if by_group else design.means
    shown = [x for x in labels.predictors if x in slopes or x in design.fixed]
    most = MOST_NAMED if design.varies_throughout else 2 * MOST_NAMED
    for x in shown[:most]:
        own = symbol("beta", [c, " " if c else "", name(x)]) if x in slopes else None
        counted = ["(", name(x), f" \N{MINUS SIGN} {zero[x]:.10g})"] if zero[x] else [name(x)]
        line.append([own or symbol("gamma", name(x)), " · ", *counted])
    if len(shown) > most:
        line.append(["\N{HORIZONTAL ELLIPSIS}"])
    total = [part for k, one in enumerate(line) for part in ([" + "] if k else []) + one]
    eps: list[Any] = [symbol("eps", c if numbers.model.eps_by_group else "")]
    if design.weights:
        eps += [" / \N{SQUARE ROOT}", name(design.weights)]
    elif design.known_errors:
        eps = [name(design.se)]
    lines: list[Any] = [[name(labels.outcome), " ~ Normal(", total or "0", ", ", *eps, ")"]]
    if numbers.model.population:
        lines += _population(design, c)
    # If all coefficients vary independently, the formula in this notation adds no information.
    notation = []
    plain = design.varies_throughout and not design.correlated
    if not numbers.model.eps_by_group and not plain:
        bars = {bar for columns, bar in design.parts if len(columns) > 1}
        told = {
            "|": "| says that the coefficients of a group are correlated",
            "||": "|| says that coefficients vary independently",
        }
        said = " and ".join(told[bar] for bar in told if bar in bars and numbers.model.by_group)
        about = f"In the notation of lme4{', where ' if said else ''}{said}:"
        notation = [Paragraph(about), Paragraph(_in_notation(numbers), "formula")]
    return [*(Paragraph(one, "formula") for one in lines), *notation]


def _population(design: Design, c: Any) -> list[Any]:
    """Return the population distributions of the coefficients of groups, a line each."""
    lines: list[Any] = []
    for number, block in enumerate(design.correlated, start=1):
        lines += _joint(design, block, c, str(number) if len(design.correlated) > 1 else "")
    together = {x for block in design.correlated for x in block}
    if design.intercept_varies and INTERCEPT not in together:
        mean = symbol("mu_alpha") if design.has_mean_intercept else "0"
        lines.append([symbol("alpha", c), " ~ Normal(", mean, ", ", symbol("sigma_alpha"), ")"])
    normal = [" ~ Normal(", symbol("mu_beta"), ", ", symbol("sigma_beta"), ")"]
    about_zero = [" ~ Normal(0, ", symbol("sigma_beta"), ")"]
    alone = [x for x in design.slopes if x not in together]
    if alone and tuple(alone) == design.means == design.slopes:
        of_each = " for each predictor" if len(alone) > 1 else ""
        lines.append([symbol("beta", c), normal, of_each])
    else:
        for x in alone[:MOST_NAMED]:
            of = normal if x in design.means else about_zero
            lines.append([symbol("beta", [c, " ", name(x)]), of])
    return lines


def _joint(design: Design, block: tuple[str, ...], c: Any, number: str) -> list[Any]:
    """Return the joint distribution of a block of correlated coefficients, with its covariance."""

    def listed(intercept: str, slope: str, below: tuple[Any, ...] = ()) -> list[Any]:
        """Return one symbol for each coefficient, separated by commas."""
        each: list[Any] = []
        for x in block[:MOST_NAMED]:
            if slope == "mu_beta" and x not in design.population:
                one: Any = "0"
            elif x == INTERCEPT:
                one = symbol(intercept, below)
            else:
                one = symbol(slope, [*below, " " if below else "", name(x)])
            each += [", " if each else "", one]
        return [*each, ", \N{HORIZONTAL ELLIPSIS}" if len(block) > MOST_NAMED else ""]

    covariance = subscript(CAPITAL_SIGMA, number)
    pair = len(block) == 2
    of = name(", ".join(block)) if pair and len(design.pairs) > 1 else ""
    drawn, means = listed("alpha", "beta", (c,)), listed("mu_alpha", "mu_beta")
    sds, correlations = listed("sigma_alpha", "sigma_beta"), symbol("correlation", of)
    words = "correlation " if pair else "correlations "
    return [
        ["(", drawn, ") ~ Normal((", means, "), ", covariance, ")"],
        [covariance, ": standard deviations ", sds, "; ", words, correlations],
    ]


def _in_notation(numbers: Numbers) -> list[Any]:
    """Return the model in the notation of lme4, such as ``y ~ 1 + x + (1 + x || group)``."""
    labels, known = numbers.labels, terms(numbers)

    def written(columns: tuple[str, ...]) -> list[Any]:
        found = dict.fromkeys(known[x].source for x in columns if x != INTERCEPT)
        first = "1" if INTERCEPT in columns else "0"
        return [first, *([" + ", name(x)] for x in found)]

    known_errors = [" | se(", name(labels.design.se), ")"] if labels.design.se else []
    line = [name(labels.outcome), *known_errors, " ~ ", written(labels.design.population)]
    if numbers.model.by_group:
        for columns, bar in labels.design.parts:
            line += [" + (", written(columns), f" {bar} ", name(labels.group), ")"]
    return line
