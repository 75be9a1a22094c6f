"""Check that statistics could come from rows; this matters if they were computed elsewhere."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from radon_numpyro.data.checks import first_few, plural
from radon_numpyro.data.frames import known_frame
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.pytrees import loaded_jax
from radon_numpyro.statistics.group_statistics import GroupStatistics

# Limits of standard deviations within which squares of ratios y / x, and their sums, are finite.
SMALLEST, LARGEST = 1e-50, 1e50
ROUNDING = 1e-6


def check_statistics(statistics: GroupStatistics) -> None:
    r"""Raise ValueError for counts, means and centred sums of products that no rows can have.

    The matrix of sums of products of each group, outcome last, must be positive semidefinite. To
    allow for rounding, it is scaled to units :math:`d_u` with
    :math:`d_u^2 = S_{uu} + w(10^{-6}\,\bar u)^2`, and no eigenvalue may be below -1e-6.

    Parameters
    ----------
    statistics
        A ``GroupStatistics``. Its sums of weights w must be positive, and its sums of log weights
        at most :math:`n \log(w / n)`, their value for equal weights. Statistics with JAX tracers
        are not checked here, because they were checked before tracing.

    Raises
    ------
    ValueError
        If no rows can have these statistics. The message names the field and the groups.
    """
    fields = statistics.arrays
    # There are no tracers unless JAX has been imported.
    jax = loaded_jax()
    if jax and any(isinstance(value, jax.core.Tracer) for value in fields.values()):
        return
    labels = statistics.labels
    # Statistics have no names while programs are compiled, so use the shapes.
    c = len(labels.groups) or len(np.atleast_1d(fields["count"]))
    k = len(labels.predictors) or int(np.size(fields["mean_x"])) // c
    shapes = {"count": (c,), "mean_x": (c, k), "mean_y": (c,)}
    shapes |= {"sxx": (c, k, k), "sxy": (c, k), "syy": (c,), "weight": (c,), "log_weight": (c,)}
    if (statistics.weight is not None) != labels.design.weighted:
        raise ValueError(
            "Expected sums of weights if and only if the design names a column of weights or "
            f"standard errors; got {labels.design} and {', '.join(fields)}"
        )
    for name, value in fields.items():
        if np.shape(value) != shapes[name]:
            raise ValueError(
                f"Expected {name} of {plural(c, 'group')} and {plural(k, 'predictor')} to have "
                f"shape {shapes[name]}; got {np.shape(value)}"
            )
        fields[name] = array = np.asarray(value, dtype=np.float64)
        wrong = ~np.isfinite(array) | ((array < 0) if name == "count" else False)
        if wrong.any():
            kind = "finite and not negative" if name == "count" else "finite"
            groups = np.flatnonzero(wrong.reshape(c, -1).any(-1))
            advice = ". Give the columns in other units" if np.isinf(array).any() else ""
            raise ValueError(
                f"Expected {name} to be {kind}; got {first_few(array[wrong].tolist())} in "
                f"{_named(groups, labels)}{advice}"
            )
    if not fields["count"].sum() > 0:
        raise ValueError("Expected statistics of at least one row; got a count of 0 in all groups")
    means = np.column_stack([fields["mean_x"], fields["mean_y"]])
    products = np.empty((c, k + 1, k + 1))
    products[:, :k, :k], products[:, k, k] = fields["sxx"], fields["syy"]
    products[:, :k, k] = products[:, k, :k] = fields["sxy"]
    weight = fields.get("weight", fields["count"])
    if statistics.weight is not None:
        _check_weights(fields["count"], weight, fields["log_weight"], labels)
    _check_products(weight, means, products, labels)
    _check_units(weight, means, products, labels)


def _check_weights(count: Any, weight: Any, log_weight: Any, labels: Any) -> None:
    """Check that the sums of weights and of their logarithms are possible for the counts."""
    wrong = (weight > 0) != (count > 0)
    rows, mean = np.where(count > 0, count, 1.0), np.where(weight > 0, weight, 1.0)
    most = count * np.log(mean / rows)
    wrong |= log_weight > most + ROUNDING * (np.abs(most) + count)
    wrong |= (count == 0) & (log_weight != 0)
    if wrong.any():
        raise ValueError(
            "Expected weight and log_weight to be sums of positive weights of rows, and of their "
            f"logarithms; got impossible values in {_named(np.flatnonzero(wrong), labels)}"
        )


def _check_products(weight: Any, means: Any, products: Any, labels: Any) -> None:
    unit = np.maximum(SMALLEST, ROUNDING * np.abs(means)) * np.sqrt(weight)[:, None]
    unit = np.sqrt(np.maximum(np.einsum("cuu->cu", products), 0.0) + unit**2)
    unit = np.where(unit > 0, unit, 1.0)
    scaled = products / unit[:, :, None] / unit[:, None, :]
    wrong = np.abs(scaled - scaled.transpose(0, 2, 1)).max((1, 2)) > ROUNDING
    # Exclude large entries first, because their eigenvalues could overflow.
    wrong |= np.abs(scaled).max((1, 2)) > 2.0
    scaled = np.where(wrong[:, None, None], 0.0, scaled)
    wrong |= np.linalg.eigvalsh(scaled)[:, 0] < -ROUNDING
    if wrong.any():
        raise ValueError(
            "Expected sxx, sxy and syy to be centred sums of products of rows, a symmetric matrix "
            f"without negative eigenvalues; got another in {_named(np.flatnonzero(wrong), labels)}"
        )


def _check_units(weight: Any, means: Any, products: Any, labels: Any) -> None:
    """Check that the units are not so extreme that squares of ratios overflow or vanish."""
    total = weight.sum()
    centre = (weight[:, None] * (means / total)).sum(0)
    within = np.einsum("cuu->u", products / total)
    between = (weight[:, None] / total * (means - centre) ** 2).sum(0)
    sds = np.sqrt(within + between)
    predictors = labels.predictors or [f"x{j + 1}" for j in range(len(sds) - 1)]
    for name, sd in zip((*predictors, labels.outcome or "y"), sds, strict=True):
        if sd > 0 and not SMALLEST <= sd <= LARGEST:
            raise ValueError(
                f"Expected the standard deviation of {name!r} to lie between {SMALLEST:g} and "
                f"{LARGEST:g}; got {sd:.3g}: give it in another unit"
            )


def _named(groups: Any, labels: Any) -> str:
    named = first_few([labels.groups[g] if labels.groups else int(g) for g in groups])
    return f"{plural(len(groups), 'group')}: {named}"


def as_statistics(data: GroupedData | GroupStatistics) -> GroupStatistics:
    """Return checked statistics of rows, or check statistics and return them.

    Parameters
    ----------
    data
        Rows or statistics.

    Raises
    ------
    TypeError
        If ``data`` is neither rows nor statistics.
    ValueError
        If no rows can have these statistics, or their units are extreme.
    """
    if isinstance(data, GroupedData):
        data = GroupStatistics.from_data(data)
    if not isinstance(data, GroupStatistics):
        raise TypeError(
            f"Expected data to be a GroupedData or GroupStatistics; got {type(data).__name__}. "
            "Make one with GroupedData.from_frame(frame, y=..., x=[...], group=...)"
        )
    check_statistics(data)
    return data


def data_of(data: Any, frame: Any, **weights: Any) -> GroupedData | GroupStatistics:
    """Evaluate a formula in a data frame, or return data unchanged.

    Parameters
    ----------
    data
        Rows, statistics, or a formula.
    frame
        The data frame of a formula; None for rows or statistics.
    **weights
        Columns of weights or standard errors in the frame, as in ``GroupedData.from_formula``.

    Raises
    ------
    TypeError
        If the arguments are not a formula with a frame, or rows or statistics alone.
    """
    if isinstance(frame, str):
        if "~" in frame:
            raise TypeError(
                f"Expected the formula before the data frame, fit(formula, frame); got {frame!r} "
                "as the second argument"
            )
        raise TypeError(
            f"Expected the second argument to be the data frame of a formula; got {frame!r}. Pass "
            f"the model by name: fit(data, model={frame!r})"
        )
    if not isinstance(data, str):
        if frame is not None or any(weights.values()):
            raise TypeError(
                "Expected a formula before a data frame and its weights, fit(formula, frame); got "
                f"{type(data).__name__}"
            )
        checked: GroupedData | GroupStatistics = data
        return checked
    if frame is None:
        raise TypeError(f"Expected a data frame behind the formula {data!r}; got none")
    if isinstance(known_frame(frame), nw.LazyFrame):
        return GroupStatistics.from_formula(data, frame, **weights)
    return GroupedData.from_formula(data, frame, **weights)
