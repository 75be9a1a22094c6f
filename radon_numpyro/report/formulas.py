"""The mathematics of a model: its formulas, and what each of its parameters is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.report.html import Html, element
from radon_numpyro.report.terms import Term, at_zero, formula, partners, terms
from radon_numpyro.report.words import MOST_NAMED, listing, name, parameter, symbol
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_centers


def meaning(numbers: Numbers, key: str) -> list[Any]:
    """What a parameter is, in words."""
    site, x = parameter(key)
    design, pooled = numbers.labels.design, not numbers.model.by_group
    at: list[Any] = []
    for predictor, zero in read_centers(numbers.tree):
        at += [" and " if at else ", where ", name(predictor), f" is {zero:.10g}"]
    if design.fixed and numbers.labels.predictors:
        at = [", where ", *at_zero(numbers, numbers.labels.predictors)]
    coefficient: list[Any] = ["slope of ", name(x)]
    spread: list[Any] = ["sd of the slopes of ", name(x)]
    where: list[Any] = []
    if x in numbers.labels.predictors:
        known = terms(numbers)
        coefficient, where = _coefficient(known, x), _where(numbers, known, x)
        if not (known[x].is_measured and not known[x].category):
            spread = ["sd of ", *coefficient, ","]
    group = "of a group" if design.has_mean_intercept or pooled else "of a group, about 0"
    words: dict[str, list[Any]] = {
        "mu_alpha": ["intercept of the average group", *at],
        "sigma_alpha": ["sd of the intercepts between groups"],
        "mu_beta": [*coefficient, " in the average group", *where],
        "sigma_beta": [*spread, " between groups"],
        "alpha": ["intercept", "" if pooled else f" {group}", *at],
        "beta": [*coefficient, *([] if pooled else [" in a group"]), *where],
        "eps": ["residual sd: of single rows about their line"],
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
    return [*coefficient, alike, *where]


def _coefficient(known: Mapping[str, Term], x: str) -> list[Any]:
    """What the coefficient of a column compares."""
    term = known[x]
    if term.is_interaction:
        parts: list[Any] = []
        for k, factor in enumerate(term.factors):
            parts += [" by " if k else "", *known[factor].shown]
        return ["interaction, ", *parts]
    if term.curve:
        return ["coefficient of ", name(x)]
    if term.category and not term.every_level:
        return [*term.shown, f" instead of {term.against}"]
    if term.of_levels:
        return ["level of ", *term.shown] if term.category else term.shown
    return ["slope of ", name(x)]


def _where(numbers: Numbers, known: Mapping[str, Term], x: str) -> list[Any]:
    """Values of the columns that it differs with."""
    others = partners(known, x)
    return [", where ", *at_zero(numbers, others)] if others else []


def description(numbers: Numbers) -> list[Any]:
    """What varies by group and what does not, in words."""
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
        return [
            f"Every group has its own {own}, and its own scatter, and learns nothing from the "
            "others (no pooling)."
        ]
    if design.varies_throughout:
        return [
            f"Every group has its own {own}, drawn from one population, whose mean and spread are "
            "estimated too. So groups of few rows lean on the others (partial pooling)."
        ]
    said: list[Any] = []
    if design.varying:
        slope = "slope of " if len(design.slopes) == 1 else "slopes of "
        said += ["Every group has its own ", "intercept" if design.intercept_varies else ""]
        said += [" and " if design.intercept_varies and design.slopes else ""]
        said += [slope, listing(design.slopes)] if design.slopes else []
        said += [", drawn from one population, whose "]
        every = all(x in design.population for x in design.varying)
        said += ["mean and spread are" if every else "spread is"]
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


def formulas(numbers: Numbers) -> list[Html]:
    """The model, a line each."""
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
    eps = symbol("eps", c if numbers.model.eps_by_group else "")
    lines: list[Any] = [[name(labels.outcome), " ~ Normal(", total or "0", ", ", eps, ")"]]
    if numbers.model.population:
        if design.intercept_varies:
            mean = symbol("mu_alpha") if design.has_mean_intercept else "0"
            lines.append([symbol("alpha", c), " ~ Normal(", mean, ", ", symbol("sigma_alpha"), ")"])
        normal = [" ~ Normal(", symbol("mu_beta"), ", ", symbol("sigma_beta"), ")"]
        about_zero = [" ~ Normal(0, ", symbol("sigma_beta"), ")"]
        if design.slopes == design.means and design.slopes:
            of_each = " for each predictor" if len(design.slopes) > 1 else ""
            lines.append([symbol("beta", c), normal, of_each])
        else:
            for x in design.slopes[:MOST_NAMED]:
                of = normal if x in design.means else about_zero
                lines.append([symbol("beta", [c, " ", name(x)]), of])
    # The formula says nothing that is not plain where everything varies.
    notation = []
    if not numbers.model.eps_by_group and not design.varies_throughout:
        notation = [element("p", formula(numbers), class_="formula")]
        about = "In the notation of lme4, where || says that coefficients vary independently:"
        notation.insert(0, element("p", about))
    return [*(element("p", one, class_="formula") for one in lines), *notation]
