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
    """A polynomial or spline of a fit.

    Attributes
    ----------
    text
        As it stands in the formula.
    variable
        What it is a function of: a column, or an expression such as ``log(age)``.
    columns
        Names of its columns in the fit.
    low, high
        Range of the variable over the rows; of a polynomial in a fit without rows, the mean less
        and plus one standard deviation.
    """

    text: str
    variable: str
    columns: tuple[str, ...]
    low: float
    high: float
    function: str
    options: Mapping[str, Any]
    state: Mapping[str, Any]

    def at(self, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Its columns at values of the variable."""
        made, _ = basis(self.function, values, self.options, self.state, self.text)
        return dict(zip(self.columns, made.T, strict=True))

    def points(self, count: int) -> NDArray[np.float64]:
        """Values from one end of the range to the other, rounded to three digits of the range."""
        unit = 10.0 ** (np.floor(np.log10(self.high - self.low)) - 2)
        values = np.linspace(self.low, self.high, count)
        return np.clip(np.round(values / unit) * unit, self.low, self.high)


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
    factors, found = parse_terms(stored["formula"]).factors, []
    for text, names in columns.items():
        node, state = factors[text], stored["state"][text]
        assert isinstance(node, Call)
        function = function_named(node)
        given = matched(node, function)
        options = {key: constant(value, node) for key, value in given.items() if key != "x"}
        ends = _range(numbers, names[0], state)
        found.append(
            Curve(text, spelled(given["x"]), tuple(names), *ends, function, options, state)
        )
    return found


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
