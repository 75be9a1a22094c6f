"""Simulate data from the hierarchical model with known parameters."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from radon_numpyro.data.checks import read_only
from radon_numpyro.data.design import Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.row_weights import precision


@dataclass(frozen=True, eq=False)
class Simulation:
    """Simulated data and their true parameters, in the units of y and x.

    Parameters
    ----------
    data
        The rows.
    alpha
        Intercepts, shape (C,).
    beta
        Slopes, shape (C, K).
    mu_alpha, sigma_alpha
        Mean and standard deviation from which the intercepts were drawn.
    mu_beta, sigma_beta
        Means and standard deviations from which the slopes were drawn, shape (K,).
    eps
        Standard deviation of y within a group; not with ``se``.
    seed
        Seed of the generator.
    gamma
        Coefficients of the columns that do not vary by group, by name.
    correlation
        Correlation matrix of the coefficients of a group, shape (1 + K, 1 + K); None if they are
        independent.
    """

    data: GroupedData
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    mu_alpha: float
    mu_beta: NDArray[np.float64]
    sigma_alpha: float
    sigma_beta: NDArray[np.float64]
    eps: float
    seed: int
    gamma: Mapping[str, float] = field(default_factory=dict)
    correlation: NDArray[np.float64] | None = None


def simulate(
    *,
    num_groups: int,
    rows_per_group: int | Sequence[int],
    mu_alpha: float,
    mu_beta: float | Sequence[float],
    sigma_alpha: float,
    sigma_beta: float | Sequence[float],
    eps: float | None = None,
    seed: int,
    predictors: str | Sequence[str] | None = None,
    gamma: Mapping[str, float] | None = None,
    group_level: str | Sequence[str] = (),
    correlation: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    se: ArrayLike | None = None,
) -> Simulation:
    """Draw data from the hierarchical model with known parameters.

    alpha_c ~ Normal(mu_alpha, sigma_alpha), beta_ck ~ Normal(mu_beta_k, sigma_beta_k), and
    y_i ~ Normal(alpha_c(i) + x_i . beta_c(i) + v_i . gamma, eps). The coefficients of a group
    correlate if a correlation is given. The first predictor is 0 or 1 with equal probability, like
    a floor; the others are standard normal. A row of weight w has the residual standard deviation
    eps / sqrt(w), and a row of known standard error s has s.

    Parameters
    ----------
    num_groups
        Number of groups, C.
    rows_per_group
        Rows in each group, one number for all or C numbers, at least 1.
    mu_alpha, sigma_alpha
        Mean and standard deviation of the intercepts, in the unit of y.
    mu_beta, sigma_beta
        Means and standard deviations of the slopes: one number for all or K numbers. K is the
        common length of the sequences given here and in `predictors`, or 1 if there is none;
        empty sequences give a model without predictors.
    eps
        Standard deviation of y within a group.
    seed
        Seed of NumPy's default generator, not negative.
    predictors
        Names of the K predictors; by default x1, ..., xK.
    gamma
        Coefficients of columns that do not vary by group, by name. They do not change the other
        simulated numbers at the same seed.
    group_level
        Columns of ``gamma`` that are the same in all rows of a group.
    correlation
        Correlation matrix of intercept and slopes, shape (1 + K, 1 + K); with one predictor it may
        be a number. The design of the data then has correlated coefficients.
    weights
        Precision weights of the rows, shape (N,), in the order of groups. They change only the
        scatter.
    se
        Known standard errors of the rows, one number for all or shape (N,), in place of ``eps`` and
        weights. The ``eps`` of the result is then 1, which each row multiplies by its own.

    Returns
    -------
    The data, with outcome ``y``, grouping ``group`` and C labels ``g0``, ``g1``, ... padded with
    zeros, and the alpha (C,), beta (C, K) and other numbers behind them.

    Raises
    ------
    TypeError
        If a number or a count has another type.
    ValueError
        If a standard deviation or the seed is negative, there are no groups or rows, lengths do not
        match, a weight is not above 0, the matrix is not a correlation matrix, or ``se`` is given
        with ``eps`` or weights.
    """
    num_groups = _count("num_groups", num_groups, at_least=1)
    seed = _count("seed", seed, at_least=0)
    sizes = np.atleast_1d(rows_per_group).tolist()
    sizes = [_count("rows_per_group", size, at_least=1) for size in sizes]
    if np.ndim(rows_per_group) and len(sizes) != num_groups:
        raise ValueError(f"Expected rows_per_group of length {num_groups}; got {len(sizes)}")
    names = (predictors,) if isinstance(predictors, str) else predictors
    given: dict[str, Any] = {"mu_beta": mu_beta, "sigma_beta": sigma_beta, "predictors": names}
    lengths = {k: len(v) for k, v in given.items() if np.ndim(v)}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"Expected mu_beta, sigma_beta and predictors of one length; got {lengths}"
        )
    num_predictors = next(iter(lengths.values()), 1)
    mean_a, mean_b = _reals("mu_alpha", mu_alpha, 1), _reals("mu_beta", mu_beta, num_predictors)
    sd_a = _reals("sigma_alpha", sigma_alpha, 1, at_least=0)
    sd_b = _reals("sigma_beta", sigma_beta, num_predictors, at_least=0)
    if (eps is None) == (se is None) or (se is not None and weights is not None):
        given = {"eps": eps, "weights": weights, "se": se}
        names_given = [name for name, value in given.items() if value is not None]
        raise ValueError(
            "Expected eps, with or without weights, or se; got "
            + (" and ".join(names_given) or "none of them")
        )
    sd_y = _reals("eps", 1.0 if eps is None else eps, 1, at_least=0)

    rng = np.random.default_rng(seed)
    matrix = None if correlation is None else _correlation(correlation, 1 + num_predictors)
    if matrix is None:
        alpha = rng.normal(mean_a, sd_a, size=num_groups)
        beta = rng.normal(mean_b, sd_b, size=(num_groups, num_predictors))
    else:
        noise = rng.standard_normal((num_groups, 1 + num_predictors)) @ _square_root(matrix)
        alpha, beta = mean_a + sd_a * noise[:, 0], mean_b + sd_b * noise[:, 1:]
    group = np.repeat(np.arange(num_groups), sizes)
    x = rng.standard_normal((len(group), num_predictors))
    x[:, :1] = rng.integers(2, size=(len(group), 1))[:, :num_predictors]
    fixed = {name: _reals(f"gamma of {name!r}", v, 1)[0] for name, v in (gamma or {}).items()}
    v = _fixed_columns(np.random.default_rng([seed, 1]), tuple(fixed), group, group_level)
    line = alpha[group] + (x * beta[group]).sum(axis=1)
    w, known_se = (
        None if value is None else _positive(name, value, len(group))
        for name, value in (("weights", weights), ("se", se))
    )
    precise = precision(w, known_se)
    sd_of_row = sd_y if precise is None else sd_y / np.sqrt(precise)
    y = (
        rng.normal(line + v @ np.array([*fixed.values()]), sd_of_row)
        if fixed
        else rng.normal(line, sd_of_row)
    )
    width = len(str(num_groups - 1))
    groups = [f"g{c:0{width}}" for c in range(num_groups)]
    labels = pd.Categorical.from_codes(group, groups)
    slopes = tuple(names if names is not None else (f"x{k + 1}" for k in range(num_predictors)))
    return Simulation(
        data=_data(
            GroupedData.from_arrays(
                y,
                np.column_stack([x, v]),
                labels,
                predictors=[*slopes, *fixed],
                weights=w,
                se=known_se,
            ),
            slopes,
            tuple(fixed),
            matrix is not None,
        ),
        alpha=read_only(alpha),
        beta=read_only(beta),
        mu_alpha=float(mean_a[0]),
        mu_beta=read_only(mean_b),
        sigma_alpha=float(sd_a[0]),
        sigma_beta=read_only(sd_b),
        eps=float(sd_y[0]),
        seed=seed,
        gamma=fixed,
        correlation=None if matrix is None else read_only(matrix),
    )


def _fixed_columns(
    rng: np.random.Generator,
    names: tuple[str, ...],
    group: NDArray[np.intp],
    group_level: str | Sequence[str],
) -> NDArray[np.float64]:
    """Draw standard normal columns, with one value for each group if group-level, shape (N, F)."""
    of_groups = (group_level,) if isinstance(group_level, str) else tuple(group_level)
    if unknown := [name for name in of_groups if name not in names]:
        raise ValueError(f"Expected group_level to name columns of gamma; got {unknown}")
    columns = [
        rng.standard_normal(group.max() + 1)[group]
        if name in of_groups
        else rng.standard_normal(len(group))
        for name in names
    ]
    return np.column_stack([np.empty((len(group), 0)), *columns])


def _data(
    data: GroupedData, slopes: tuple[str, ...], fixed: tuple[str, ...], correlated: bool
) -> GroupedData:
    """Return data with the design in which only the first predictors vary by group."""
    known = data.labels.design
    design = Design.with_fixed(
        slopes, fixed, correlated=correlated, weights=known.weights, se=known.se
    )
    return replace(data, labels=replace(data.labels, design=design))


def _positive(name: str, value: ArrayLike, num_rows: int) -> NDArray[np.float64]:
    """Check numbers that must be above 0, one for each row."""
    array = _reals(name, value, num_rows)
    if not (array > 0).all():
        raise ValueError(
            f"Expected {name} to be above 0; got {int((array <= 0).sum())} of 0 or below"
        )
    return array


def _correlation(value: ArrayLike, size: int) -> NDArray[np.float64]:
    """Check a correlation matrix, or make one from the correlation of two coefficients."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim == 0 and size == 2:
        array = np.array([[1.0, array], [array, 1.0]])
    if (
        array.shape == (size, size)
        and np.isfinite(array).all()
        and np.allclose(array, array.T)
        and np.allclose(np.diagonal(array), 1.0)
        and np.linalg.eigvalsh(array)[0] > -1e-10
    ):
        return array
    raise ValueError(
        f"Expected correlation to be a correlation matrix of shape ({size}, {size}), symmetric, "
        f"with ones on the diagonal and without negative eigenvalues; got {value!r}"
    )


def _square_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: NDArray[np.float64] = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root


def _count(name: str, value: Any, *, at_least: int) -> int:
    """Check and return one integer."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"Expected {name} to be of integers; got {value!r}") from None
    if count < at_least:
        raise ValueError(f"Expected {name} to be at least {at_least}; got {value!r}")
    return count


def _reals(name: str, value: Any, length: int, at_least: float = -np.inf) -> NDArray[np.float64]:
    """Check and return an array of a length; a single number is repeated."""
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"Expected {name} to be of real numbers; got {value!r}")
    if array.shape not in ((), (length,)):
        raise ValueError(f"Expected {name} of length {length}; got shape {array.shape}")
    if not (np.isfinite(array) & (array >= at_least)).all():
        bound = "" if at_least == -np.inf else f" and at least {at_least}"
        raise ValueError(f"Expected {name} to be finite{bound}; got {value!r}")
    return np.broadcast_to(array, (length,)).astype(np.float64)
