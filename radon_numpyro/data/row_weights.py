r"""Precision weights of rows, or known standard errors of their outcomes.

.. math:: e_i \sim N(0, \epsilon / \sqrt{w_i}) \quad\text{or}\quad e_i \sim N(0, s_i)

A precision weight is proportional to one over the variance of an outcome, as in R's ``lm`` and
lme4; an example is the number of measurements of which an outcome is the mean. It is not a
frequency: a row of weight 2 is one outcome, not two. Known standard errors :math:`s_i` are
equivalent to weights :math:`1/s_i^2` with :math:`\epsilon = 1`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radon_numpyro.data.checks import numeric_column, read_only, rows_named, suggest
from radon_numpyro.data.design import Design
from radon_numpyro.data.frames import to_pandas

Array = NDArray[np.float64]


def weight_columns(
    columns: Sequence[object], weights: str | None, se: str | None
) -> dict[str, Any]:
    """Return the column of weights or of standard errors, by the argument that names it.

    Parameters
    ----------
    columns
        Names of the columns of a frame.
    weights, se
        Names of columns, or None.

    Raises
    ------
    TypeError
        If a name is not a str.
    ValueError
        If there is not exactly one column of that name.
    """
    given = {name: value for name, value in (("weights", weights), ("se", se)) if value is not None}
    for argument, name in given.items():
        if not isinstance(name, str):
            got = repr(name)
            if hasattr(name, "__len__"):
                kind = type(name).__name__
                got = f"{kind} of length {len(name)}: put it into a column of the frame"
            raise TypeError(f"Expected {argument} to be named by a str; got {got}")
        if (count := columns.count(name)) != 1:
            what = f"({suggest(name, map(str, columns))})" if not count else "of that name"
            raise ValueError(
                f"Expected {argument} to name one column; got {name!r}, {count} columns {what}"
            )
    return given


def read_weights(frame: pd.DataFrame, given: Mapping[str, str]) -> dict[str, Any]:
    """Read the weights or standard errors of rows, by the argument that names their column.

    Parameters
    ----------
    frame
        The rows.
    given
        From :func:`weight_columns`.

    Raises
    ------
    TypeError, ValueError
        If the column is not numeric, or values are missing, infinite, 0 or below.
    """
    columns = {argument: positive_column(frame[name], argument) for argument, name in given.items()}
    return {argument: read_only(values) for argument, values in columns.items()}


def positive_column(column: pd.Series, argument: str) -> Array:
    """Convert a column to numbers, and check that they are above 0.

    Parameters
    ----------
    column
        The column.
    argument
        ``"weights"`` or ``"se"``, for messages.

    Raises
    ------
    TypeError, ValueError
        As :func:`read_weights`.
    """
    values = numeric_column(column, argument)
    wrong = values <= 0.0
    if wrong.any():
        raise ValueError(
            f"Expected column {column.name!r} ({argument}) to be above 0; got "
            f"{rows_named(wrong, column)} of 0 or below: {ADVICE[argument]}"
        )
    extreme = (values < SMALLEST) | (values > LARGEST)
    if extreme.any():
        raise ValueError(
            f"Expected column {column.name!r} ({argument}) to be between {SMALLEST:g} and "
            f"{LARGEST:g}; got {rows_named(extreme, column)} of others: use another unit"
        )
    far = np.abs(np.log(values / np.median(values))) > np.log(FARTHEST) if len(values) else extreme
    if far.any():
        raise ValueError(
            f"Expected column {column.name!r} ({argument}) to be within {FARTHEST:g} times its "
            f"median {np.median(values):.3g}; got {rows_named(far, column)} farther off"
        )
    return values


# Within these limits, squares of standard errors and sums over rows are finite.
SMALLEST, LARGEST = 1e-100, 1e100
# A row so far from the others is an error of input: it would be the only row that counts, or none.
FARTHEST = 1e20
ADVICE = {
    "weights": "leave out rows that weigh nothing",
    "se": "leave out rows whose standard error is not known",
}


def precision(weights: Array | None, se: Array | None) -> Array | None:
    """Return the weight of each row, shape (N,): the given one, or 1 / se^2.

    Parameters
    ----------
    weights, se
        Weights or standard errors, shape (N,), or None; at most one of them is given.
    """
    return weights if se is None else 1.0 / se**2


def precision_of(rows: pd.DataFrame | nw.DataFrame[Any], design: Design) -> Array | None:
    """Return the weights of new rows, shape (R,), from the column of the fit; None without one.

    Parameters
    ----------
    rows
        The new rows.
    design
        The design of the fit.

    Raises
    ------
    TypeError, ValueError
        If the column is missing, or as :func:`read_weights`.
    """
    if not design.weighted:
        return None
    argument, name = ("weights", design.weights) if design.weights else ("se", design.se)
    if (count := list(rows.columns).count(name)) != 1:
        raise ValueError(
            f"Expected one column {name!r} ({argument}) in the new rows for kind='outcome', whose "
            f"scatter depends on it; got {count}: add it, or ask for kind='mean'"
        )
    if not isinstance(rows, pd.DataFrame):
        rows = to_pandas(rows, None, (name,), None)
    values = positive_column(rows[name], argument)
    return precision(**{"weights": None, "se": None, argument: values})
