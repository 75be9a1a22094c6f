r"""Predict rows by the pooled model from other rows, without Monte Carlo.

Given eps, the coefficients are Normal. eps is a single number, and its posterior given all rows is
represented by weighted nodes (``inference/inversion.py``). The posterior without row i has the same
nodes with weights

.. math:: w_i(\epsilon) \propto \frac{w(\epsilon)}{p(y_i\mid y_{-i}, \epsilon)}, \qquad
          p(y_i\mid y_{-i}) = \Big(\sum_\epsilon
          \frac{w(\epsilon)}{p(y_i\mid y_{-i}, \epsilon)}\Big)^{-1}

where the density in the denominator is the rank-one downdate of :func:`held_out.left_out`. If the
nodes do not cover this posterior, for example without an extreme outlier, the row is predicted by
a refit. Log scores below about -60 are too low, because the density of such a row comes from values
of eps that have no weight.
"""

from __future__ import annotations

import numpy as np

from radon_numpyro.comparison.held_out import (
    left_out,
    log_density,
    population_identified,
    predict_rows,
)
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.identification import COLLINEAR, EXACT, ROUNDING
from radon_numpyro.gaussian import mixtures as mixture
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import line_blocks, population_prior, residual_variance
from radon_numpyro.inference.inversion import eps_quadrature
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

POOLED = Model.named("pooled")
# Largest weight of the first and last node, and smallest effective number of nodes, for which the
# sum over the nodes approximates the integral with far more digits than are needed.
AT_ENDS, NODES = 1e-10, 30.0

Array = np.ndarray


def refit_pooled(
    train: GroupedData, test: GroupedData, *, priors: Priors
) -> tuple[Array, Array, Array]:
    """Predict rows by the pooled model given other rows, by exact quadrature over eps.

    Parameters
    ----------
    train, test
        Rows to fit, and rows to predict, with the same columns.
    priors
        Only ``alpha``, ``beta``, ``gamma`` and ``eps`` are used.

    Returns
    -------
    mean, log_score, identified
        As in :class:`HeldOut`, shapes (R,). If a column does not vary in the training rows, the
        posterior of its coefficient is the prior; if this prior is flat, predictions are NaN.
    """
    statistics = GroupStatistics.from_data(train)
    equations = NormalEquations.from_statistics(statistics).pooled()
    if not _proper(equations, priors):
        nothing = np.full(test.num_rows, np.nan)
        return nothing, nothing, np.zeros(test.num_rows, dtype=bool)
    total = float(statistics.overall().syy[0])
    freedom, scattered = _freedom(equations), equations.remainder > ROUNDING * total
    # If the rows are fitted exactly, the posterior of eps is improper: use a small eps for the
    # mean, and give no score.
    nodes = np.full((1, 1), 1e-6 * (np.sqrt(total / train.num_rows) or 1.0))
    log_weight = np.zeros((1, 1))
    if equations.design.known_errors:
        freedom, scattered = 1, True
    if scattered or freedom <= 0:
        nodes, log_weight = eps_quadrature(equations, priors)
    scales = {"eps": nodes[:, 0]}
    weight = np.broadcast_to(log_weight, (len(nodes), test.num_rows))
    mean, score = predict_rows(POOLED.name, equations, priors, scales, weight, test)
    known = population_identified(equations, test.x) & (freedom > 0) & scattered
    return mean, np.where(scattered or freedom <= 0, score, np.nan), known


def pooled_leave_one_out(data: GroupedData, priors: Priors) -> tuple[Array, Array, Array, Array]:
    """Predict each row by the pooled model given all other rows.

    Parameters
    ----------
    data
        Rows.
    priors
        Only ``alpha``, ``beta``, ``gamma`` and ``eps`` are used.

    Returns
    -------
    mean, log_score, identified, log_score_seen
        As in :class:`LeaveOneOut`, shapes (N,).
    """
    equations = NormalEquations.from_statistics(GroupStatistics.from_data(data)).pooled()
    nodes, log_weight = eps_quadrature(equations, priors)
    scales, known_errors = {"eps": nodes[:, 0]}, equations.design.known_errors
    bounded = nodes[-1, 0] > (1.0 - 1e-6) * priors.eps.upper
    blocks = []
    for rows, mean, variance in line_blocks(
        POOLED.name, equations, priors, scales, data.x, data.group
    ):
        y, weight = data.y[rows], None if data.precision is None else data.precision[rows]
        noise = residual_variance(POOLED.name, scales, data.group[rows], weight)
        seen = mixture.score(y, mean, variance + noise, log_weight)[1]
        location, variance = left_out(y, mean, variance, noise)
        log_ratio = log_weight - log_density(y, location, variance)
        log_total = mixture.log_sum_exp(log_ratio)
        of_node = np.exp(log_ratio - log_total)
        covered = (of_node[0] < AT_ENDS) & ((of_node[-1] < AT_ENDS) | bounded)
        covered &= (of_node**2).sum(0) < 1.0 / NODES
        # With known standard errors there is a single node, eps = 1, which is exact.
        covered |= known_errors
        blocks.append(((of_node * location).sum(0), -log_total, seen, covered))
    mean, score, seen, covered = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    leverage, residual = leverages(equations, data)
    free = np.maximum(1.0 - leverage, COLLINEAR)
    scattered = equations.remainder - residual**2 / free > EXACT * equations.remainder
    known = identified_without_each(equations, data)
    known = known & ((_freedom(equations) > 1) | known_errors)
    scattered = scattered | known_errors
    each = np.arange(data.num_rows)
    # A score that is not finite comes from a flat prior; a refit could not compute it either.
    for i in np.flatnonzero(~(covered & scattered) & np.isfinite(score)):
        mean[[i]], score[[i]], known[[i]] = refit_pooled(
            data.take(each != i), data.take([i]), priors=priors
        )
    return mean, score, known, seen


def identified_without_each(equations: NormalEquations, data: GroupedData) -> Array:
    """Return whether all other rows determine the population line at each row.

    Parameters
    ----------
    equations
        Pooled equations of all rows: :meth:`NormalEquations.pooled`.
    data
        The rows.

    Returns
    -------
    array
        Booleans of shape (N,).
    """
    known: Array = 1.0 - leverages(equations, data)[0] > COLLINEAR
    return known


def leverages(equations: NormalEquations, data: GroupedData) -> tuple[Array, Array]:
    r"""Compute the leverage :math:`x_i'(X'X)^{-1}x_i` and the residual of each row.

    Both refer to least squares on all rows. Rows with weights are multiplied by the square roots of
    their weights first.

    Parameters
    ----------
    equations, data
        As in :func:`identified_without_each`.

    Returns
    -------
    leverage, residual
        Shapes (N,); the residual in the unit of y.
    """
    determined = (equations.pooled_root != 0).any(1)
    _, row, fitted = equations.rows(data.x)
    weight = 1.0 if data.precision is None else data.precision
    leverage = weight * (row[determined] ** 2).sum(0) / equations.total_weight
    return leverage, np.sqrt(weight) * (data.y - fitted)


def _freedom(equations: NormalEquations) -> int:
    """Return the number of rows minus the number of determined coefficients."""
    return int(equations.num_rows) - int((equations.pooled_root != 0).any(1).sum())


def _proper(equations: NormalEquations, priors: Priors) -> bool:
    """Return whether rows and priors together determine all coefficients."""
    root = population_prior(equations, priors, POOLED).root
    size = np.linalg.norm(root, axis=1, keepdims=True)
    unit = np.divide(root, size, out=np.zeros_like(root), where=size > 0)
    together = np.vstack([equations.pooled_root / np.sqrt(equations.total_weight), unit])
    return not together.size or np.linalg.matrix_rank(together) == together.shape[1]
