"""Curves of a formula, such as ``ns(age, 3)``, over the range of their variable.

Only together are the columns of a curve the values of a row: at the mean of each there is none.
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
    """All polynomials and splines of one variable.

    Attributes
    ----------
    variable
        A column, or an expression such as ``log(age)``.
    low, high
        Its range over the rows; for a polynomial in a fit without rows, the mean less and plus one
        standard deviation.
    parts
        Each polynomial or spline, as it stands in the formula, with its columns in the fit, its
        function with the options, and what the function learnt.
    """

    variable: str
    low: float
    high: float
    parts: dict[str, tuple[tuple[str, ...], str, dict[str, Any], dict[str, Any]]]

    @property
    def columns(self) -> set[str]:
        """Names of its columns in the fit."""
        return {x for columns, *_ in self.parts.values() for x in columns}

    def at(self, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """The variable and all columns of the curve at its values."""
        found = {self.variable: values}
        for text, (columns, function, options, state) in self.parts.items():
            made, _ = basis(function, values, options, state, text)
            found |= dict(zip(columns, made.T, strict=True))
        return found

    def points(self, count: int) -> NDArray[np.float64]:
        """Values from one end of the range to the other, rounded to a hundredth of the range."""
        places = -int(np.floor(np.log10((self.high - self.low) / 100)))
        values = np.round(np.linspace(self.low, self.high, count), places)
        return np.clip(values, self.low, self.high)


def curves(numbers: Numbers, known: Mapping[str, Term]) -> list[Curve]:
    """The curves of a fit by a formula, in the order of its columns.

    Parameters
    ----------
    numbers
        A fit.
    known
        Its terms.
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
    """Ends of the variable: a spline knows them, of a polynomial the first column is linear."""
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
