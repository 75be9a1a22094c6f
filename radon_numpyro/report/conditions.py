"""Write in words where a coefficient applies: the values at which other columns are 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radon_numpyro.data.formulas.structure import Shape
from radon_numpyro.report.absent_factors import moments
from radon_numpyro.report.curves import ZERO, curves
from radon_numpyro.report.term import Term
from radon_numpyro.report.words import joined, listing, name
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_centers


def partners(known: Mapping[str, Term], x: str) -> list[Term]:
    """Return the other factors of the interactions that contain a column.

    The coefficient of the column applies where these factors are 0.

    Parameters
    ----------
    known
        From :func:`~radon_numpyro.report.terms.terms`.
    x
        Name of a predictor, or of an interaction that is part of larger interactions.
    """
    own = {part.column for part in known[x].factors}
    products = [t.factors for t in known.values() if own < {part.column for part in t.factors}]
    found = {part.column: part for of in products for part in of if part.column not in own}
    return list(found.values())


def every_zero(known: Mapping[str, Term], columns: Sequence[str]) -> list[Term]:
    """Return factors that are 0 only where all given columns are 0.

    Parameters
    ----------
    known
        From :func:`~radon_numpyro.report.terms.terms`.
    columns
        Names of predictors.
    """
    chosen = {x: known[x] for x in columns if not known[x].is_interaction}
    for x in columns:
        factors = known[x].factors
        if not any(part.column in chosen for part in factors):
            if known[x].of_cells:
                chosen[x] = known[x]
                continue
            compared = known[x].compared() or list(factors)
            numeric = [part for part in compared if not part.of_levels]
            part = (numeric or compared)[0]
            chosen[part.column] = part
    return list(chosen.values())


def at_zero(numbers: Numbers, columns: Sequence[Term]) -> list[Any]:
    """Return the values of the variables where columns are 0, in words.

    Numbers are then at 0, or at the value that a fit counts as 0; categories are at their
    reference levels; categories coded by other contrasts are at the mean of their levels. A curve
    is where all its columns are 0; if they are 0 on average over the rows, so is the curve.

    Parameters
    ----------
    numbers
        A fit.
    columns
        Columns that are not interactions, or factors of interactions.
    """
    centers = dict(read_centers(numbers.tree))
    categories = list(dict.fromkeys(t.category for t in columns if t.category))
    by_value: dict[float, list[str]] = {}
    by_curve: dict[Shape, list[Term]] = {}
    for term in columns:
        if term.curve:
            by_curve.setdefault(term.curve, []).append(term)
        elif not term.of_levels and not term.of_cells:
            by_value.setdefault(centers.get(term.column, 0.0), []).append(term.column)
    of_curves: list[list[Any]] = []
    for shape, those in by_curve.items():
        told = _of_curve(numbers, shape, those)
        if isinstance(told, float):
            names = by_value.setdefault(told, [])
            names += [] if shape.variables[0] in names else [shape.variables[0]]
        else:
            of_curves.append(told)
    said: list[list[Any]] = []
    for value, names in by_value.items():
        verb = "is" if len(names) == 1 else "are"
        shown = f"{value:.10g}".replace("-", "\N{MINUS SIGN}")
        said.append([*listing(names, len(names)), f" {verb} {shown}"])
    references = {t.category: t.reference for t in columns if t.category}
    said += [[name(x), " is ", name(references[x])] for x in categories if references[x]]
    if unnamed := [x for x in categories if not references[x]]:
        verb = "are at their reference levels" if len(unnamed) > 1 else "is at its reference level"
        said.append([*listing(unnamed, len(unnamed)), f" {verb}"])
    # Contrasts other than treatment contrasts are all 0 at the mean of the levels.
    contrasts = dict.fromkeys(t.contrast[0] for t in columns if t.contrast)
    if contrasts:
        several = len(contrasts) > 1
        verb = " are at the means of their levels" if several else " is at the mean of its levels"
        said.append([*listing(list(contrasts), len(contrasts)), verb])
    for cell in dict.fromkeys(t.source for t in columns if t.of_cells):
        said.append([*listing(cell.split(":")), " are at the combination that is left out"])
    return joined(said + of_curves)


def _of_curve(numbers: Numbers, shape: Shape, columns: Sequence[Term]) -> float | list[Any]:
    """Return the value of a variable at which columns of a curve are 0, or words about it."""
    curve = next((one for one in curves(numbers) if one.shape == shape), None)
    value = None if curve is None else curve.zero(columns)
    if curve is not None and value is not None:
        places = 3 - int(np.floor(np.log10(curve.high - curve.low)))
        return round(value, places)
    if _average_to_zero(numbers, columns):
        return ["the curve in ", *listing(shape.variables), " is averaged over all rows"]
    if len(shape.factors) == 1:
        return ["the columns of ", name(shape.factors[0]), " are 0"]
    names = [term.column for term in columns]
    if len(names) == 1:
        return [name(names[0]), " is 0"]
    return [*listing(names, len(names)), " are 0 (there may be no such row)"]


def _average_to_zero(numbers: Numbers, columns: Sequence[Term]) -> bool:
    """Return whether the means of columns over the rows are 0, each row counting once."""
    for term in columns:
        mean, sd, _ = moments(numbers, term)
        if not sd or abs(mean) > ZERO * sd:
            return False
    return True
