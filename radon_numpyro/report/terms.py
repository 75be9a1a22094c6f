"""Describe each column of a model in words: a number, a level of a category, an interaction."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.data.formulas.basis_columns import BASES
from radon_numpyro.report.words import joined, listing, name
from radon_numpyro.results.estimates import Numbers, factors, level
from radon_numpyro.results.fit_reader import read_centers

# A column varies within groups if its sd within groups exceeds this share of its overall sd.
SAME = 1e-9


@dataclass(frozen=True)
class Term:
    """Description of a column of a model.

    Attributes
    ----------
    column
        Name of the column.
    factors
        Names of the columns whose product it is; only its own name if it is not an interaction.
    category, level
        Variable and level of an indicator column, which is 1 in rows of the level and 0 in
        others; else empty.
    contrast
        Variable, code and kind, such as ``("C(c, contr.sum)", "S.a", "sum")``, of a column that
        codes levels by contrasts other than treatment contrasts; else empty.
    divisor
        Number by which the compared difference is divided to give the coefficient of a contrast.
    curve
        Polynomial or spline to which the column belongs, such as ``"ns(x, 3)"``; else empty.
    reference
        Level with which the other levels are compared, if the fit stores it; else empty.
    every_level, every_level_by_group
        Whether every level of the category has a population coefficient, and whether every level
        has a coefficient that varies by group. Then no level is the reference.
    binary
        Whether the values are 0 and 1.
    of_groups
        Whether the values are equal in all rows of a group.
    """

    column: str
    factors: tuple[str, ...]
    category: str
    level: str
    contrast: tuple[str, ...]
    divisor: int
    curve: str
    reference: str
    every_level: bool
    every_level_by_group: bool
    binary: bool
    of_groups: bool

    @property
    def variable(self) -> str:
        """Variable that the user measured: the category, the coded variable, or the column."""
        coded = self.contrast[0] if self.contrast else self.curve
        return self.category or coded or self.column

    @property
    def of_levels(self) -> bool:
        """Whether the column codes the levels of a category, by any kind of contrast."""
        return bool(self.category or self.contrast)

    @property
    def is_interaction(self) -> bool:
        """Whether the column is a product of other columns."""
        return len(self.factors) > 1

    @property
    def against(self) -> list[Any]:
        """Words for the reference level."""
        return [name(self.reference)] if self.reference else ["its reference level"]

    @property
    def is_measured(self) -> bool:
        """Whether the column is not an interaction, a contrast or a part of a curve."""
        return not (self.is_interaction or self.contrast or self.curve)

    @property
    def shown(self) -> list[Any]:
        """Words for the column: its name, or variable and level, or what a contrast compares."""
        if self.contrast:
            variable, code, kind = self.contrast
            return _contrast_words(variable, code, kind, self.divisor)
        return (
            [name(self.category), " ", name(self.level)] if self.category else [name(self.column)]
        )


def terms(numbers: Numbers) -> dict[str, Term]:
    """Return the terms of the predictors by name, in the order of the data.

    Parameters
    ----------
    numbers
        A fit.
    """
    names, columns = numbers.labels.predictors, numbers.columns
    s = numbers.statistics
    # Every column is constant in a group of one row, so only larger groups show which columns vary.
    several, sd = np.asarray(s.count) > 1, columns["sd"].to_numpy()[:-1]
    weight = s.total_weight[several, None]
    within = np.sqrt(np.einsum("ckk->ck", np.asarray(s.sxx))[several] / weight)
    same = (within <= SAME * sd).all(0) & (sd > 0) & several.any()
    levels = {x: level(x) if columns.loc[x, "binary"] else None for x in names}
    design = numbers.labels.design
    population = _complete(levels, columns["mean"], design.population)
    by_group = _complete(levels, columns["mean"], design.varying)
    notes = numbers.statistics.notes
    made = {}
    for k, x in enumerate(names):
        parts, (category, of) = factors(x, names), levels[x] or ("", "")
        whole = len(parts) == 1 and bool(category)
        contrast = () if whole or len(parts) > 1 else _contrast(notes, x)
        made[x] = Term(
            x,
            parts,
            category if whole else "",
            of if whole else "",
            contrast,
            _divisor(numbers.statistics.formula, contrast),
            "" if len(parts) > 1 or not numbers.statistics.formula else _curve(x),
            _reference(notes, category),
            whole and category in population,
            whole and category in by_group,
            bool(columns.loc[x, "binary"]),
            bool(same[k]),
        )
    return made


def _complete(
    levels: Mapping[str, tuple[str, str] | None], means: Any, columns: tuple[str, ...]
) -> set[str]:
    """Return the categories whose levels all have columns: their means over rows sum to 1."""
    shares: dict[str, float] = {}
    for x in columns:
        if found := levels.get(x):
            shares[found[0]] = shares.get(found[0], 0.0) + float(means[x])
    return {category for category, share in shares.items() if abs(share - 1.0) < 1e-9}


def _contrast(notes: tuple[str, ...], column: str) -> tuple[str, ...]:
    """Read variable, code and kind of a contrast from the notes of the data.

    An example of a note is ``C(c, contr.sum): sum contrasts of a, b``.
    """
    variable, code = level(column) or ("", "")
    for note in notes if variable else ():
        kind = note.removeprefix(f"{variable}: ").partition(" contrasts of ")
        if note.startswith(f"{variable}: ") and kind[1]:
            return variable, code, kind[0]
    return ()


def _divisor(formula: str, contrast: tuple[str, ...]) -> int:
    """Return the divisor of a contrast, which is 1 except for R's Helmert contrasts.

    For these it is the position of the level, counted from 1: for levels a, b, c it is 2 for b
    against a, and 3 for c against the mean of a and b.
    """
    if not contrast or contrast[2] != "helmert":
        return 1
    variable, code, _ = contrast
    levels = json.loads(formula)["state"][f"levels of {variable}"]
    return int(levels.index(code.removeprefix("H."))) + 1


def _curve(column: str) -> str:
    """Return the polynomial or spline of a column such as ``ns(x, 3)[2]``, else empty."""
    found = re.fullmatch(rf"((?:{'|'.join(BASES)})\(.*\))\[\d+\]", column, re.DOTALL)
    return found[1] if found else ""


def _contrast_words(variable: str, code: str, kind: str, divisor: int) -> list[Any]:
    """Return what a contrast compares, in words."""
    if kind == "poly":
        degrees = {".L": "linear", ".Q": "quadratic", ".C": "cubic"}
        shape = degrees.get(code, f"degree {code.removeprefix('^')}")
        return [f"the {shape} trend over the levels of ", name(variable)]
    against = "its levels" if kind == "sum" else "the levels before it"
    share = f" (their difference divided by {divisor})" if divisor > 1 else ""
    return [name(variable), " ", name(code[2:]), f" against the mean of {against}{share}"]


def coefficient(known: Mapping[str, Term], x: str) -> list[Any]:
    """Return what the coefficient of a column compares, in words.

    Parameters
    ----------
    known
        From :func:`terms`.
    x
        Name of a column.
    """
    term = known[x]
    if term.is_interaction:
        parts: list[Any] = []
        for k, factor in enumerate(term.factors):
            parts += [" by " if k else "", *known[factor].shown]
        return ["interaction, ", *parts]
    if term.curve:
        return ["coefficient of ", name(x)]
    if term.category and not term.every_level:
        return [*term.shown, " instead of ", *term.against]
    if term.of_levels:
        return ["level of ", *term.shown] if term.category else term.shown
    return ["slope of ", name(x)]


def difference(known: Mapping[str, Term], x: str, *, whole: bool) -> list[Any]:
    """Return a coefficient in words: "the difference between Sex Male and Female".

    Parameters
    ----------
    known
        From :func:`terms`.
    x
        Name of a column.
    whole
        Whether each level of its category has such a coefficient, which then is a level and not
        a difference between levels.
    """
    term = known[x]
    if term.is_interaction:
        return ["the interaction of ", *product([known[part] for part in term.factors])]
    if term.curve:
        return ["the coefficient of ", name(x)]
    if whole:
        return ["the level of ", *term.shown]
    if term.category and not term.every_level:
        return ["the difference between ", *term.shown, " and ", *term.against]
    if term.contrast and term.contrast[2] == "poly":
        return term.shown
    return ["the difference of " if term.of_levels else "the slope of ", *term.shown]


def coefficients(known: Mapping[str, Term], x: str) -> list[Any]:
    """Return the coefficients of a column in all groups, in words: "slopes of Days".

    Parameters
    ----------
    known
        From :func:`terms`.
    x
        Name of a column, or ``"Intercept"``.
    """
    if x == INTERCEPT:
        return ["intercepts"]
    term = known[x]
    if term.is_interaction:
        return ["interactions of ", *product([known[part] for part in term.factors])]
    if term.curve:
        return ["coefficients of ", name(x)]
    if term.contrast:
        return ["differences of ", *term.shown]
    if term.category:
        return ["levels of " if term.every_level_by_group else "differences of ", *term.shown]
    return ["slopes of ", *term.shown]


def product(parts: Sequence[Term]) -> list[Any]:
    """Return the columns of an interaction, separated by commas and a last "and".

    Parameters
    ----------
    parts
        Two or more terms.
    """
    return joined([part.shown for part in parts])


def _reference(notes: tuple[str, ...], category: str) -> str:
    """Return the reference level of a category from a note such as ``Sex: Male against Female``."""
    of = [note for note in notes if note.startswith(f"{category}: ") and " against " in note]
    return of[0].rpartition(" against ")[2] if category and of else ""


def partners(known: Mapping[str, Term], x: str) -> list[str]:
    """Return the other columns of the interactions that contain a column.

    The coefficient of the column applies where these columns are 0.

    Parameters
    ----------
    known
        From :func:`terms`.
    x
        Name of a predictor, or of an interaction that is part of larger interactions.
    """
    own = set(known[x].factors)
    products = [t.factors for t in known.values() if own < set(t.factors)]
    return list(dict.fromkeys(p for product in products for p in product if p not in own))


def variables(numbers: Numbers) -> list[str]:
    """Return the distinct variables that the user measured, without interactions.

    Parameters
    ----------
    numbers
        A fit.
    """
    found = terms(numbers).values()
    return list(dict.fromkeys(term.variable for term in found if not term.is_interaction))


def at_zero(numbers: Numbers, columns: Any) -> list[Any]:
    """Return the values of the variables where columns are 0, in words.

    Numbers are then at 0, or at the value that a fit counts as 0; categories are at their
    reference levels; categories coded by other contrasts are at the mean of their levels.

    Parameters
    ----------
    numbers
        A fit.
    columns
        Names of predictors.
    """
    known, centers = terms(numbers), dict(read_centers(numbers.tree))
    chosen = [known[x] for x in columns if not known[x].is_interaction]
    curves = list(dict.fromkeys(t.curve for t in chosen if t.curve))
    categories = list(dict.fromkeys(t.category for t in chosen if t.category))
    by_value: dict[float, list[str]] = {}
    for term in chosen:
        if not term.of_levels and not term.curve:
            by_value.setdefault(centers.get(term.column, 0.0), []).append(term.column)
    said: list[list[Any]] = []
    for value, names in by_value.items():
        verb = "is" if len(names) == 1 else "are"
        said.append([*listing(names, len(names)), f" {verb} {value:.10g}"])
    references = {t.category: t.reference for t in chosen if t.category}
    said += [[name(x), " is ", name(references[x])] for x in categories if references[x]]
    if unnamed := [x for x in categories if not references[x]]:
        verb = "are at their reference levels" if len(unnamed) > 1 else "is at its reference level"
        said.append([*listing(unnamed, len(unnamed)), f" {verb}"])
    # Contrasts other than treatment contrasts are all 0 at the mean of the levels.
    contrasts = dict.fromkeys(t.contrast[0] for t in chosen if t.contrast)
    if contrasts:
        several = len(contrasts) > 1
        verb = " are at the means of their levels" if several else " is at the mean of its levels"
        said.append([*listing(list(contrasts), len(contrasts)), verb])
    said += [["the columns of ", name(x), " are 0"] for x in curves]
    return joined(said)
