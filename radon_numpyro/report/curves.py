"""Evaluate curves of a formula, such as ``ns(age, 3)`` or ``x + I(x^2)``, over their variable.

The columns of a curve are functions of one variable, so they cannot be set one by one. In
general no value of the variable gives the mean of every column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.formulas.columns import coded
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.structure import At, Shape, Structure, inverse
from radon_numpyro.report.absent_factors import moments, values
from radon_numpyro.report.term import Term
from radon_numpyro.report.terms import parsed, terms
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_data

# A column is 0 if it is less than this share of its largest size.
ZERO = 1e-9

_CURVES: WeakKeyDictionary[Numbers, list[Curve]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Curve:
    """All functions of one variable in a formula, such as a polynomial or a spline.

    Attributes
    ----------
    shape
        The functions.
    low, high
        Range of the variable over the rows. If the fit has no rows, the range is the mean minus
        and plus one standard deviation, except that a spline stores its range.
    formula, structure
        The formula with its state from the rows of the fit, and the structure of its columns.
    """

    shape: Shape
    low: float
    high: float
    formula: ModelFormula
    structure: Structure

    @property
    def variable(self) -> str:
        """The variable: a column, or an expression such as ``log(age)``."""
        return self.shape.variables[0]

    def at(self, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return the variable and all columns of the curve at values of the variable.

        Raises
        ------
        ValueError
            If the functions are not finite at some of the values, or need other variables.
        """
        found = {self.variable: values}
        at = At({self.variable: values}, {}, self.formula.state)
        for text in self.shape.factors:
            value, label = at.factor(self.formula.terms.factors[text]), self.structure.labels[text]
            for reduced in (False, True):
                pieces = coded(text, value, label, reduced)
                found |= {name: piece.of(value) for name, piece in pieces.items()}
        return found

    def points(self, count: int) -> NDArray[np.float64]:
        """Return `count` evenly spaced values over the range, rounded to 1/100 of it or finer."""
        places = -int(np.floor(np.log10((self.high - self.low) / 100)))
        values = np.round(np.linspace(self.low, self.high, count), places)
        return np.clip(values, self.low, self.high)

    def zero(self, columns: Sequence[Term]) -> float | None:
        """Return a value of the variable at which columns are 0: an end of its range, or 0.

        Parameters
        ----------
        columns
            Columns of the curve.

        Returns
        -------
        float or None
            None if there is no such value.
        """
        size = _products(self.at(self.points(20)), columns)
        for value in (0.0, self.low, self.high):
            try:
                made = _products(self.at(np.array([value])), columns)
            except ValueError:
                continue
            if all((abs(made[x]) <= ZERO * abs(size[x]).max()).all() for x in made):
                return value
        return None


def _products(
    values: Mapping[str, NDArray[np.float64]], columns: Sequence[Term]
) -> dict[str, NDArray[np.float64]]:
    return {t.column: np.prod([values[x] for x in t.pieces], axis=0) for t in columns}


def curves(numbers: Numbers) -> list[Curve]:
    """Return the curves of a fit that was made from a formula, in the order of the columns.

    Functions of several variables, and functions that cannot be evaluated from what the fit
    stores, are not among them.

    Parameters
    ----------
    numbers
        A fit.
    """
    if numbers not in _CURVES:
        _CURVES[numbers] = _curves(numbers)
    return _CURVES[numbers]


def _curves(numbers: Numbers) -> list[Curve]:
    found, known = parsed(numbers), terms(numbers)
    if found is None:
        return []
    formula, structure = found
    made: list[Curve] = []
    shapes = (part.curve for term in known.values() for part in term.factors if part.curve)
    for shape in dict.fromkeys(shapes):
        ends = _range(numbers, shape, formula, structure)
        if len(shape.variables) > 1 or ends is None or not ends[0] < ends[1]:
            continue
        curve = Curve(shape, *ends, formula, structure)
        try:
            curve.at(curve.points(60))
        except ValueError:
            continue
        made.append(curve)
    return made


def _range(
    numbers: Numbers, shape: Shape, formula: ModelFormula, structure: Structure
) -> tuple[float, float] | None:
    """Return the range of the variable of a curve; None if no column tells it.

    A spline stores its range. Otherwise it follows from a column that determines the variable,
    such as the first column of a polynomial.
    """
    variable, state = shape.variables[0], formula.state
    parts = {part.column: part for term in terms(numbers).values() for part in term.factors}
    ranges: list[tuple[float, float]] = []
    bounds: list[tuple[float, float]] = []
    for text in shape.factors:
        node, stored = formula.terms.factors[text], state.get(text)
        spline = isinstance(stored, dict) and "lower_bound" in stored
        first = next(iter(coded(text, structure.values[text], structure.labels[text], True)), "")
        made = np.zeros(2) if spline else _ends(numbers, parts.get(first))
        if made is None or (ranges and not spline):
            continue
        ends = inverse(node, made, variable, state)
        if ends is not None and np.isfinite(ends).all():
            (bounds if spline else ranges).append((float(min(ends)), float(max(ends))))
    found = bounds or ranges
    if not found:
        return None
    return max(low for low, _ in found), min(high for _, high in found)


def _ends(numbers: Numbers, column: Term | None) -> Any:
    """Return the values of a column over the rows, or its mean minus and plus one sd."""
    if column is None:
        return None
    if not numbers.has_rows:
        mean, sd, _ = moments(numbers, column)
        return mean + sd * np.array([-1.0, 1.0])
    if column.column not in numbers.labels.predictors:
        found = values(numbers, column)
        return found if len(found) else None
    k = numbers.labels.predictors.index(column.column)
    return read_data(numbers.tree).x[:, k] + numbers.zeros[k]
