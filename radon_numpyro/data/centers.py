"""Centre predictors: subtract a value that then becomes the zero of the column.

An intercept is the height of a line where every predictor is 0. If 0 lies outside the data, as in a
column of years, the column should be centred, for example at its mean. The value is stored in the
data and in every result, and is subtracted from new rows too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.checks import suggest

Centers = tuple[tuple[str, float], ...]
Center = str | Sequence[str] | Mapping[str, float] | None


def resolve_centers(
    center: Center, predictors: Sequence[str], means: NDArray[np.float64]
) -> Centers:
    """Return each centred predictor with the value that becomes its zero.

    Parameters
    ----------
    center
        Names of predictors, each centred at its mean, or values by name; None for none.
    predictors
        Names of the K predictors.
    means
        Their means over all rows, shape (K,).

    Returns
    -------
    tuple of (name, value)
        In the order of the predictors.

    Raises
    ------
    TypeError
        If ``center`` is neither names nor values by name.
    ValueError
        If a name is not a predictor, or a value is not finite.
    """
    if center is None:
        return ()
    if not isinstance(center, str | Sequence | Mapping):
        raise TypeError(
            f"Expected center to be names of predictors, or values by name; got {center!r}"
        )
    names: list[str] = [center] if isinstance(center, str) else list(center)
    for name in names:
        if name not in predictors:
            raise ValueError(
                f"Expected center to name predictors; got {name!r} ({suggest(name, predictors)})"
            )
    values = dict(zip(predictors, means.tolist(), strict=True))
    if isinstance(center, Mapping):
        for name, value in center.items():
            if not isinstance(value, Real) or isinstance(value, bool) or not isfinite(value):
                raise ValueError(
                    f"Expected center of {name!r} to be a finite number; got {value!r}"
                )
            values[name] = float(value)
    return tuple((name, values[name]) for name in predictors if name in names)


def zeros(centers: Centers, predictors: Sequence[str]) -> NDArray[np.float64]:
    """Return the value of each predictor, in its original units, that becomes 0.

    Parameters
    ----------
    centers
        From :func:`resolve_centers`.
    predictors
        Names of the K predictors.

    Returns
    -------
    array
        Shape (K,); 0 for predictors that are not centred.
    """
    values = dict(centers)
    return np.array([values.get(name, 0.0) for name in predictors])
