r"""Leave-one-out predictions with the coefficients integrated out.

Plain importance sampling weights each draw of the coefficients by one over the density of the row
that is left out. If a group has few rows, its coefficients depend strongly on each of them, and the
weights have infinite variance. Here importance weights are computed only for the scales. Given the
scales, the coefficients are integrated out in closed form: if :math:`\hat f_i, v_i` are the mean
and variance of the line at a row given *all* rows, then

.. math:: y_i \mid y_{-i}, \sigma, \epsilon \sim
          N\Big(y_i - \frac{y_i - \hat f_i}{1 - v_i/\epsilon^2},\;
                \frac{\epsilon^2}{1 - v_i/\epsilon^2}\Big),

by a rank-one downdate of the normal equations. The few scales depend little on a single row, so the
Pareto shape is usually small; a row with a large Pareto shape is predicted by a refit. The
individual and pooled models need no draws: each row is predicted from the exact posterior given the
other rows, by quadrature over eps (``comparison/pooled.py``).

If a group has only one row, the hierarchical model predicts it from the population and the
individual model from its prior. The latter prediction is marked as not identified, and such rows
are reported separately.

References
----------
Vehtari, Gelman and Gabry (2017), Practical Bayesian model evaluation using leave-one-out
cross-validation and WAIC, doi:10.1007/s11222-016-9696-4. Merkle, Furr and Rabe-Hesketh (2019),
Bayesian comparison of latent variable models: conditional versus marginal likelihoods,
doi:10.1007/s11336-019-09679-0.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import arviz_base
import arviz_stats
import numpy as np
import xarray as xr
from arviz_stats.utils import ELPDDataLOO

from radon_numpyro.comparison.cross_validation import refit_individual, refitting
from radon_numpyro.comparison.held_out import HeldOut, left_out, log_density
from radon_numpyro.comparison.pooled import identified_without_each, pooled_leave_one_out
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.gaussian import mixtures as mixture
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import line_blocks, residual_variance
from radon_numpyro.model.priors import Priors
from radon_numpyro.results.fit_reader import (
    pairs_alone,
    read_data,
    read_design,
    read_model,
    read_priors,
    read_scales,
)
from radon_numpyro.statistics.group_statistics import GroupStatistics

GOOD_K = 0.7
ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class LeaveOneOut(HeldOut):
    """Predictions of each row from all other rows.

    Attributes
    ----------
    log_score_seen
        Log predictive density of each row by a fit to all rows, shape (N,), in nats.
    pareto_k
        Pareto shape of the importance weights of each row, shape (N,); NaN where the
        prediction is exact.
    refitted
        Whether the row was predicted by a refit because its Pareto shape was too large, shape (N,).
    """

    log_score_seen: np.ndarray
    pareto_k: np.ndarray
    refitted: np.ndarray

    def effective_parameters(self, rows: np.ndarray) -> float:
        r"""Compute p_loo, the effective number of parameters.

        It is the log score of the rows by a fit to all rows minus their leave-one-out log score.
        Coefficients count as parameters, although they are integrated out.

        Parameters
        ----------
        rows
            Mask of the rows to include.
        """
        return float((self.log_score_seen - self.log_score)[rows].sum())


def leave_one_out(tree: xr.DataTree, *, seed: int = 0) -> LeaveOneOut:
    """Predict each row from all other rows.

    Parameters
    ----------
    tree
        A fit with rows.
    seed
        Seed of refits, if any are needed.

    Returns
    -------
    LeaveOneOut

    Raises
    ------
    ValueError
        If the fit has no rows.
    """
    data, priors, model = read_data(tree), read_priors(tree), read_model(tree)
    if model.population:
        return _importance_sampled(tree, data, priors, seed)
    if model.by_group:
        return exact_leave_one_out(data, priors)
    return _exact(data, *pooled_leave_one_out(data, priors))


def exact_leave_one_out(data: GroupedData, priors: Priors) -> LeaveOneOut:
    """Predict each row by the individual model from the other rows, without Monte Carlo.

    Parameters
    ----------
    data
        Rows.
    priors
        Only ``alpha``, ``beta`` and ``eps`` are used.
    """
    rows = np.arange(data.num_rows)
    blocks = []
    for start in range(0, data.num_rows, ROWS_AT_ONCE):
        block = rows[start : start + ROWS_AT_ONCE]
        # Each row becomes a group, whose training rows are the other rows of its original group.
        here = np.arange(len(block), dtype=np.int32)
        test = replace(data.take(block), group=here)
        seen = refit_individual(_of_rows(data, block), test, priors=priors)[1]
        blocks.append((*refit_individual(without_each(data, block), test, priors=priors), seen))
    mean, score, known, seen = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return _exact(data, mean, score, known, seen)


def _exact(
    data: GroupedData, mean: np.ndarray, score: np.ndarray, known: np.ndarray, seen: np.ndarray
) -> LeaveOneOut:
    """Return the record of predictions without importance weights."""
    rows, no_shape = np.arange(data.num_rows), np.full(data.num_rows, np.nan)
    none = np.zeros(data.num_rows, dtype=bool)
    return LeaveOneOut(mean, score, data.y - mean, known, rows, seen, no_shape, none)


def without_each(data: GroupedData, rows: np.ndarray) -> GroupStatistics:
    """Return, for each row, the statistics of its group without that row, as R groups.

    Parameters
    ----------
    data
        All rows.
    rows
        Positions of the rows to leave out one at a time, shape (R,).
    """
    whole = _of_rows(data, rows)
    rest = whole.count - 1.0
    own = np.ones(len(rows)) if data.precision is None else data.precision[rows]
    weight = np.where(rest > 0, whole.total_weight - own, 0.0)
    share = own / np.where(weight > 0, weight, 1.0)
    means = np.column_stack([whole.mean_x, whole.mean_y])
    removed = np.column_stack([data.x[rows], data.y[rows]]) - means
    # Rounding error of the means and of the differences, by column.
    rounding = 16.0 * np.finfo(float).eps * (np.abs(means) + np.abs(removed))

    def left(before: np.ndarray, i: Any, j: Any) -> np.ndarray:
        """Return sums of products of columns i and j, set to 0 if they are only rounding error."""
        a, b, da, db = removed[:, i], removed[:, j], rounding[:, i], rounding[:, j]
        scale = (whole.total_weight * share).reshape(-1, *[1] * (before.ndim - 1))
        after = before - scale * a * b
        return np.where(np.abs(after) > scale * (np.abs(a) * db + np.abs(b) * da), after, 0.0)

    k = np.arange(data.num_predictors)
    means = np.where(rest[:, None] == 0, 0.0, means - removed * share[:, None])
    weights: dict[str, Any] = {}
    if whole.weight is not None:
        log_weight = np.where(rest > 0, whole.log_weight - np.log(own), 0.0)
        weights = {"weight": weight, "log_weight": log_weight}
    return GroupStatistics(
        count=rest,
        mean_x=means[:, :-1],
        mean_y=means[:, -1],
        sxx=left(whole.sxx, k[:, None], k[None, :]),
        sxy=left(whole.sxy, k, [-1]),
        syy=left(whole.syy, -1, -1),
        labels=whole.labels,
        **weights,
    )


def _of_rows(data: GroupedData, rows: np.ndarray) -> GroupStatistics:
    """Return the statistics of the group of each row, as R groups."""
    whole, group = GroupStatistics.from_data(data), data.group[rows]
    labels = replace(data.labels, groups=tuple(rows.tolist()))
    return GroupStatistics(**{n: a[group] for n, a in whole.arrays.items()}, labels=labels)


def _importance_sampled(
    tree: xr.DataTree, data: GroupedData, priors: Priors, seed: int
) -> LeaveOneOut:
    """Predict by the hierarchical model: Pareto-smoothed importance sampling over the scales."""
    equations = NormalEquations.from_statistics(GroupStatistics.from_data(data))
    known, scales = identified_without_each(equations.pooled(), data), read_scales(tree)
    chains, num_draws = tree["posterior"].sizes["chain"], len(scales["eps"])
    equal = -np.log(num_draws)
    blocks = []
    for rows, mean, variance in line_blocks(
        "hierarchical", equations, priors, scales, data.x, data.group
    ):
        y, weight = data.y[rows], None if data.precision is None else data.precision[rows]
        eps_squared = residual_variance("hierarchical", scales, data.group[rows], weight)
        seen = mixture.score(y, mean, variance + eps_squared, equal)[1]
        location, variance = left_out(y, mean, variance, eps_squared)
        density = log_density(y, location, variance)
        # There is no prediction if only this row determines a coefficient with a flat prior.
        proper = np.isfinite(density).all(0)
        density = np.where(proper, density, 0.0)
        drawn = [name for name in scales if name in tree["posterior"]]
        found = _psis(tree, density.reshape(chains, -1, len(y)), drawn)
        log_weight = found.log_weights.transpose("chain", "draw", "row").values
        log_weight = log_weight.reshape(num_draws, -1)
        held = mixture.score(y, location, variance, log_weight)[0]
        score = np.where(proper, found.elpd_i.values, np.nan)
        blocks.append((held, score, seen, found.pareto_k.values))
    mean, score, seen, pareto_k = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    each, bad = np.arange(data.num_rows), pareto_k > GOOD_K
    if bad.any():
        refit = refitting(data, "hierarchical", priors, num_draws // chains, chains, seed)
        for i in np.flatnonzero(bad):
            mean[[i]], score[[i]], _ = refit(data.take(each != i), data.take([i]))
    return LeaveOneOut(mean, score, data.y - mean, known, each, seen, pareto_k, bad)


def _psis(tree: xr.DataTree, log_likelihood: np.ndarray, scales: list[str]) -> ELPDDataLOO:
    """Return ArviZ's ``loo`` of an integrated log likelihood, shape (chain, draw, row)."""
    contents = {"log_likelihood": {"y": log_likelihood}}
    integrated = arviz_base.from_dict(contents, dims={"y": ["row"]})
    # ArviZ would take the constant entries of a correlation matrix for independent draws.
    posterior = pairs_alone(tree["posterior"].to_dataset()[scales], read_design(tree))
    integrated["posterior"] = xr.DataTree(posterior)
    # Ignore the warning about large Pareto shapes, because those rows are refitted.
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        return arviz_stats.loo(integrated, pointwise=True)
