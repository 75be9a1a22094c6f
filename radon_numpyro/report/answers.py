"""Write the answer of a model in sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radon_numpyro.data.checks import plural
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.data.formulas.basis_columns import BASES
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.report.coefficients import coefficients, condition, difference, product
from radon_numpyro.report.conditions import at_zero, every_zero, partners
from radon_numpyro.report.question import variables
from radon_numpyro.report.term import Term
from radon_numpyro.report.terms import terms
from radon_numpyro.report.words import (
    MOST_NAMED,
    capital,
    ends,
    joined,
    listing,
    middle,
    name,
    number,
    percent,
    strong,
)
from radon_numpyro.results.estimates import Estimate, Numbers

# Number of coefficients that are described in sentences.
MOST_TOLD = 10


def answer(numbers: Numbers) -> list[list[Any]]:
    """Return the answer as sentences, in which every number has its interval."""
    if numbers.model.eps_by_group:
        return _answer_of_individuals(numbers)
    known, design = terms(numbers), numbers.labels.design
    told = [x for x in known if numbers.model.population or x in design.population]
    # All columns of a curve are described in one sentence.
    together: dict[Any, list[str]] = {}
    for x in told:
        parts = tuple(part.curve or part.column for part in known[x].factors)
        together.setdefault((x in design.population, parts), []).append(x)
    several = list(together.values())
    sentences = [_told(numbers, known, columns) for columns in several[:MOST_TOLD]]
    if rest := [x for columns in several[MOST_TOLD:] for x in columns]:
        products = sum(known[x].is_interaction for x in rest)
        which = "all" if products == len(rest) else f"{products}"
        of = f", {which} of them of interactions" if products else ""
        more = f"The results have {plural(len(rest), 'more coefficient')}{of}: "
        sentences.append([more, *listing(rest), "."])
    sentences += [_level(numbers), *_correlations(numbers, known), _scatter(numbers)]
    return [*sentences, *_of_transformed(numbers)]


def _scatter(numbers: Numbers) -> list[Any]:
    """Describe the scatter of single rows about the regression line."""
    about = "of their group " if numbers.model.population else ""
    design = numbers.labels.design
    if design.known_errors:
        se = name(design.se)
        return [f"Single rows scatter about the line {about}with known standard errors, ", se, "."]
    eps = Estimate.of(numbers.parameters()["eps"], numbers.prob)
    rows: list[Any] = ["Single rows"]
    if design.weights:
        rows = ["Single rows of weight 1 (", name(design.weights), ")"]
    return [
        *rows,
        f" scatter about the line {about}with a standard deviation of ",
        strong(middle(eps)),
        f" ({ends(eps)}).",
    ]


def _of_transformed(numbers: Numbers) -> list[list[Any]]:
    """Say that the numbers are those of a transformed outcome, if the outcome is transformed."""
    formula = numbers.statistics.formula
    if not formula or not (stored := ModelFormula.from_json(formula)).is_transformed:
        return []
    said: list[Any] = ["All of this is of ", name(stored.measured), ", the outcome of the formula"]
    if logarithm := re.fullmatch(r"(?:np\.)?log\((\w+)\)", stored.measured):
        ratio = ": 0.1 more of it is a factor of 1.105 in "
        said += [ratio, name(logarithm[1])]
    return [[*said, "."]]


def _combination(
    numbers: Numbers, weights: Mapping[str, float]
) -> tuple[Estimate, Estimate | None]:
    """Estimate a linear combination of coefficients in the average group and in new groups.

    ``weights`` maps columns to weights; columns that are not in it have weight 0.
    """
    columns = (INTERCEPT, *numbers.labels.predictors)
    return numbers.of_population(np.array([weights.get(x, 0.0) for x in columns]))


def _told(numbers: Numbers, known: Mapping[str, Term], columns: Sequence[str]) -> list[Any]:
    """Describe one column, or all columns of a curve."""
    term, design = known[columns[0]], numbers.labels.design
    shapes = [part.curve for part in term.factors if part.curve]
    compared = term.compared(by_group=columns[0] not in design.population)
    straight = len(columns) == 1 and all(p.linear for p in compared if p.curve)
    if not shapes or (len(compared) > 1 and straight):
        return _sentence(numbers, known, columns[0])
    shape, y = shapes[0], name(numbers.labels.outcome)
    count = plural(len(columns), "coefficient")
    say = "says little" if len(columns) == 1 else "say little one by one"
    read = f": predictions at several values show it, and its {count} {say}. "
    parts = [part for x in columns for part in known[x].factors if part.curve == shape]
    own = list(dict.fromkeys(part.source for part in parts))
    what: list[Any] = ["curve ", name(own[0])]
    said: list[Any] = [y, " follows a curve, ", name(own[0])]
    of_itself = own[0].partition("(")[0] in BASES or len(shape.factors) == 1
    if len(own) > 1 or len(shape.variables) > 1 or not of_itself:
        kind = "curve" if len(shape.variables) == 1 else "surface"
        what = [f"{kind} of ", *listing(shape.variables), " (", *listing(own), ")"]
        said = [y, f" follows a {kind} of ", *listing(shape.variables), ", made of ", *listing(own)]
    conditions = term.conditions(by_group=columns[0] not in design.population)
    others = [p for p in compared if p.curve != shape]
    if others:
        with_others = product(others) if len(others) > 1 else others[0].shown
        said = ["The ", *what, " differs with ", *with_others]
    elif columns[0] not in design.population:
        said = ["A curve, ", name(own[0]), ", is 0 on average"]
        said = said if what[0] == "curve " else ["A ", *what, " is 0 on average"]
    held = [condition(part) for part in conditions]
    if not others and (zero := [p for p in partners(known, columns[0]) if p.curve != shape]):
        held.append(at_zero(numbers, zero))
    said = ["Where ", *joined(held), ", ", *said] if held else said
    said.append(read)
    if numbers.model.population and set(columns) & set(design.varying):
        said.append("Groups differ in it.")
    return said


def _sentence(numbers: Numbers, known: Mapping[str, Term], x: str) -> list[Any]:
    """Describe the coefficient of a column, and how it differs between groups."""
    design, prob = numbers.labels.design, percent(numbers.prob)
    average, spread = _combination(numbers, _contrast(known, x))
    y, population = name(numbers.labels.outcome), design.population
    if x not in population:
        assert spread is not None
        in_mean = any(partners({y: known[y], x: known[x]}, x) for y in known if y in population)
        of_level = known[x].every_level_by_group and INTERCEPT in design.population
        if of_level or in_mean:
            return [
                "Groups differ in ",
                *difference(known, x, by_group=True),
                f". From that of the average group the model expects {prob} of groups like these ",
                "to differ by ",
                strong(ends(spread)),
                ".",
            ]
        return [
            "Groups differ in ",
            *difference(known, x, by_group=True),
            ", which is 0 on average, as the model assumes: it expects ",
            f"{prob} of groups like these between ",
            strong(ends(spread, "and")),
            ".",
        ]
    alike = "In every group alike, " if numbers.model.population else "Over all rows, "
    where = "In the average group, " if spread else alike
    verb, compared, of_y = "goes with a difference of ", known[x].compared(), [" in ", y]
    if len(compared) > 1 and not known[x].of_cells:
        said: list[Any] = [where, *_interaction(numbers, known, x)]
        verb, of_y = "differs by ", []
    else:
        if known[x].of_groups and numbers.model.population and not spread:
            where = "Between groups, "
        said = [where, *_step(known[x]), *_others(numbers, known, x), " "]
        whole = known[x].every_level and INTERCEPT not in design.population
        if whole or not compared:
            verb = "goes with a level of "
    said += [
        verb,
        strong(_signed(middle(average))),
        *of_y,
        f" ({prob} interval {ends(average)}). ",
    ]
    if average.low <= 0 <= average.high:
        said.append("The interval contains zero: the data do not settle the direction. ")
    if spread:
        said += [
            "Groups differ in ",
            *difference(known, x),
            ": the model expects ",
            f"{prob} of groups like these between {ends(spread, 'and')}.",
        ]
    return said


def _contrast(known: Mapping[str, Term], x: str) -> dict[str, float]:
    """Return weights of coefficients, by column, that give the difference which a column codes.

    The difference is the coefficient itself, except for a level whose reference level also has
    a column: then the coefficient of the reference is subtracted. In ``c + (0 + c | g)`` the
    reference level has a coefficient that varies by group, but no population coefficient.
    """
    term = known[x]
    reference = f"{term.category}[{term.reference}]"
    if term.every_level or not term.category or reference not in known or reference == x:
        return {x: 1.0}
    return {x: 1.0, reference: -1.0}


def _step(term: Term) -> list[Any]:
    """Return what a coefficient compares: one unit more, or a level with its reference."""
    if not term.compared():
        return ["a row"]
    if term.of_cells:
        cell = joined([part.shown for part in term.parts])
        return [*cell, " instead of the combination that is left out"]
    (one,) = term.compared()
    if one.category:
        against = [] if one.every_level else [" instead of ", *one.against]
        return [name(one.category), " ", name(one.level), *against]
    if one.contrast:
        return [*(["one unit of "] if one.contrast[2] == "poly" else []), *one.shown]
    if one.binary:
        return [name(one.column), " 1 instead of 0"]
    same = ", which all rows of a group share" if one.of_groups else ""
    return ["one unit more of ", name(one.column), same]


def _others(numbers: Numbers, known: Mapping[str, Term], x: str) -> list[Any]:
    """Return the condition of a comparison: the values at which other predictors are held.

    The coefficient of a column that is part of an interaction applies where the other columns of
    the interaction are 0, or in rows of a level.
    """
    others = partners(known, x)
    # Where a level is compared with the reference, the other levels are 0 and need no mention.
    named = set(variables([known[x], *others]))
    rest = [v for v in variables(known.values()) if v not in named]
    held = [condition(part) for part in known[x].conditions()]
    held += [at_zero(numbers, others)] if others else []
    said: list[Any] = [", where ", *joined(held)] if held else []
    said += [" and " if held else ", ", "other predictors "] if rest else []
    said += ["are the same" if held else "being the same"] if rest else []
    (one, *_) = known[x].compared() or [known[x]]
    shared = one.of_groups and not one.binary and not one.of_levels
    return [*said, ","] if said or shared else []


def _interaction(numbers: Numbers, known: Mapping[str, Term], x: str) -> list[Any]:
    """Describe an interaction: the coefficient of one column changes with another column.

    With three columns or more, the interaction of all columns but the last changes with the
    last column.
    """
    parts = sorted(known[x].compared(), key=lambda t: t.of_levels or t.binary)
    *first, last = parts
    others = partners(known, x)
    held = [condition(part) for part in known[x].conditions()]
    held += [at_zero(numbers, others)] if others else []
    where: list[Any] = [*joined(held), " and "] if held else []
    if last.contrast:
        at = ["where ", *where[:-1], ", "] if held else []
        where = [*at, "with ", *last.shown, ", "]
    elif last.category or last.binary:
        where = ["where ", *where, *_level_words(last), ", "]
    else:
        at = [", where ", *where[:-1]] if held else []
        where = ["for each unit more of ", name(last.column), *at, ", "]
    if len(first) > 1:
        return [*where, "the interaction of ", *product(first), " "]
    (only,) = first
    what: list[Any] = ["the slope of ", name(only.column)]
    if only.of_levels or only.binary:
        what = ["what goes with ", *_step(only)]
    return [*where, *what, " "]


def _level_words(term: Term) -> list[Any]:
    if term.category:
        return [name(term.category), " is ", name(term.level), " instead of ", *term.against]
    return [name(term.column), " is 1 instead of 0"]


def _signed(text: str) -> str:
    return text if text.startswith("\N{MINUS SIGN}") else f"+{text}"


def _level(numbers: Numbers) -> list[Any]:
    """Give the level of the regression line at the means of the predictors."""
    predictors, columns = numbers.labels.predictors, numbers.columns
    means = columns["mean"].iloc[:-1] - numbers.zeros
    average, spread = _combination(numbers, {INTERCEPT: 1.0, **means.to_dict()})
    at: list[Any] = ["With every predictor at its mean, "]
    if not all(term.is_measured and not term.category for term in terms(numbers).values()):
        at = ["For rows as they are on average, every column of the model at its mean, "]
    if len(predictors) == 1:
        at = ["Where ", name(predictors[0]), f" is {number(*columns.iloc[0, :2])}, its mean, "]
    whose = "the average group has " if spread else "the line is at "
    said: list[Any] = [
        at if predictors else "Of all rows, " if not spread else "Over all, ",
        whose,
        name(numbers.labels.outcome),
        " ",
        strong(middle(average)),
        f" ({percent(numbers.prob)} interval {ends(average)})",
    ]
    if spread:
        prob = percent(numbers.prob)
        said.append(f"; the model expects {prob} of groups like these between ")
        said.append(ends(spread, "and"))
    return [*said, "."]


def _correlations(numbers: Numbers, known: Mapping[str, Term]) -> list[list[Any]]:
    """Describe the correlations of coefficients between groups."""
    design, draws = numbers.labels.design, numbers.parameters()
    if not numbers.model.population or not design.pairs:
        return []
    pairs = list(zip(design.pair_names, design.pairs, strict=True))
    said: list[list[Any]] = []
    for key, places in pairs[:MOST_NAMED]:
        first, second = (coefficients(known, design.varying[place]) for place in places)
        found = Estimate.of(draws[f"correlation[{key}]"], numbers.prob)
        told: list[Any] = ["Between groups, the ", *first, " and the ", *second, " correlate by "]
        told += [strong(middle(found))]
        told += [f" ({percent(numbers.prob)} interval {ends(found)}): "]
        if found.low <= 0 <= found.high:
            told += ["the data do not settle of which sign."]
        else:
            more = "higher" if found.low > 0 else "lower"
            told += ["where the ", *first, " are higher, the ", *second, f" tend to be {more}."]
        said.append(told)
    if (more_pairs := len(pairs) - MOST_NAMED) > 0:
        said.append([f"The results have {plural(more_pairs, 'more correlation')}."])
    if slopes := [design.varying[j] for i, j in design.pairs if design.varying[i] == INTERCEPT]:
        where: list[Any] = [
            " Intercepts are the levels of groups where ",
            *at_zero(numbers, every_zero(known, slopes)),
        ]
        said[-1] += [*where, "; at other values the levels correlate otherwise with the slopes."]
    return said


def _answer_of_individuals(numbers: Numbers) -> list[list[Any]]:
    """Count the groups whose intervals exclude zero, because this model has no population."""
    known = terms(numbers)
    found, total = numbers.coefficients, len(numbers.labels.groups)
    said: list[list[Any]] = []
    for k, x in enumerate(numbers.labels.predictors[:MOST_NAMED], start=1):
        above, below = int((found.low[:, k] > 0).sum()), int((found.high[:, k] < 0).sum())
        said.append(
            [
                *capital(difference(known, x)),
                f" is above zero in {above} of {plural(total, 'group')} (its whole "
                f"{percent(numbers.prob)} interval), below zero in {below}, and of unsettled "
                f"direction in the other {total - above - below}.",
            ]
        )
    low, high = np.quantile(found.mean[:, 0], (0.25, 0.75))
    said.append(
        [
            "The intercepts of the middle half of the groups lie between ",
            f"{number(low, high - low)} and {number(high, high - low)}. Every group is answered ",
            "from its own rows alone, and where these are too few, from the prior: wide intervals "
            "in the table of groups say so.",
        ]
    )
    return said
