"""Evaluate curves of a formula, such as ``ns(age, 3)``, over the range of their variable.

The columns of a curve are functions of one variable, so they cannot be set one by one. In
general no value of the variable gives the mean of every column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.formulas.basis_columns import basis
from radon_numpyro.data.formulas.functions import constant, function_named, matched
from radon_numpyro.data.formulas.syntax import Call, spelled
from radon_numpyro.data.formulas.terms import parse_terms
from radon_numpyro.report.terms import Term
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_data


@dataclass(frozen=True)
class Curve:
    """All polynomials and splines of one variable in a formula.

    Attributes
    ----------
    variable
        The variable: a column, or an expression such as ``log(age)``.
    low, high
        Range of the variable over the rows. If the fit has no rows, the range of a polynomial is
        the mean minus and plus one standard deviation.
    parts
        For each polynomial or spline, by its text in the formula: the names of its columns in the
        fit, the name of its function, the options of the function, and the state of the function
        from the rows of the fit.
    """

    variable: str
    low: float
    high: float
    parts: dict[str, tuple[tuple[str, ...], str, dict[str, Any], dict[str, Any]]]

    @property
    def columns(self) -> set[str]:
        """Names of the columns of the curve in the fit."""
        return {x for columns, *_ in self.parts.values() for x in columns}

    def at(self, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return the variable and all columns of the curve at values of the variable."""
        found = {self.variable: values}
        for text, (columns, function, options, state) in self.parts.items():
            made, _ = basis(function, values, options, state, text)
            found |= dict(zip(columns, made.T, strict=True))
        return found

    def points(self, count: int) -> NDArray[np.float64]:
        """Return `count` evenly spaced values over the range, rounded to 1/100 of it or finer."""
        places = -int(np.floor(np.log10((self.high - self.low) / 100)))
        values = np.round(np.linspace(self.low, self.high, count), places)
        return np.clip(values, self.low, self.high)


def curves(numbers: Numbers, known: Mapping[str, Term]) -> list[Curve]:
    """Return the curves of a fit that was made from a formula, in the order of the columns.

    Parameters
    ----------
    numbers
        A fit.
    known
        The terms of the fit, by column.
    """
    columns: dict[str, list[str]] = {}
    for x, term in known.items():
        if term.curve:
            columns.setdefault(term.curve, []).append(x)
    if not columns:
        return []
    stored = json.loads(numbers.statistics.formula)
    factors, found = parse_terms(stored["formula"]).factors, dict[str, Curve]()
    for text, names in columns.items():
        node, state = factors[text], stored["state"][text]
        assert isinstance(node, Call)
        function = function_named(node)
        given = matched(node, function)
        options = {key: constant(value, node) for key, value in given.items() if key != "x"}
        low, high = _range(numbers, names[0], state)
        part = {text: (tuple(names), function, options, state)}
        variable = spelled(given["x"])
        if one := found.get(variable):
            low, high, part = max(low, one.low), min(high, one.high), {**one.parts, **part}
        found[variable] = Curve(variable, low, high, part)
    return list(found.values())


def _range(numbers: Numbers, first: str, state: Mapping[str, Any]) -> tuple[float, float]:
    """Return the range of the variable of a curve.

    A spline stores its range. The range of a polynomial follows from its first column, which is
    linear in the variable.
    """
    if "lower_bound" in state:
        return float(state["lower_bound"]), float(state["upper_bound"])
    k = numbers.labels.predictors.index(first)
    if numbers.has_rows:
        column = read_data(numbers.tree).x[:, k] + numbers.zeros[k]
        ends = np.array([column.min(), column.max()])
    else:
        mean, sd = numbers.columns.loc[first, ["mean", "sd"]]
        ends = mean + sd * np.array([-1.0, 1.0])
    if state:
        ends = state["alpha"][0] + ends * state["norms2"][1] ** 0.5
    return float(ends[0]), float(ends[1])
