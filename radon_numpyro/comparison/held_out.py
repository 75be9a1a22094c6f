"""Predictions of rows by fits without these rows, and their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.identification import COLLINEAR
from radon_numpyro.gaussian import mixtures as mixture
from radon_numpyro.gaussian.conditional import Population
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import Scales, line_blocks, residual_variance
from radon_numpyro.inference.inversion import about_the_means, residual_freedom
from radon_numpyro.model.priors import Priors

# Largest distance of a row from the determined subspace, in units of the spread of a column, that
# counts as rounding.
SAME = 1e-6
# Share 1 - v / eps^2 below which rounding leaves no correct digit in it.
UNDETERMINED = 1e-13


@dataclass(frozen=True)
class Score:
    """An estimate, and its standard error over rows or clusters of rows."""

    value: float
    se: float


@dataclass(frozen=True)
class HeldOut:
    """Predictions of N rows, each by a fit without this row.

    Attributes
    ----------
    mean
        Predictive mean of each row, shape (N,), in the unit of y.
    log_score
        Log predictive density of each row, shape (N,), in nats; NaN where it is improper.
    error
        Outcome minus predictive mean, shape (N,), in the unit of y.
    identified
        Whether the other rows determine the line at the row, shape (N,); for the individual and
        the pooled model, the residual scatter too. If they do not, the prediction depends on the
        prior.
    cluster
        Code of the cluster of each row, shape (N,). Rows of a cluster are left out and predicted
        together, and count as one in standard errors.
    """

    mean: np.ndarray
    log_score: np.ndarray
    error: np.ndarray
    identified: np.ndarray
    cluster: np.ndarray

    def rmsd(self, rows: Any = slice(None)) -> Score:
        r"""Compute the root mean square deviation of the predictive mean, in the unit of y.

        .. math:: \mathrm{RMSD} = \sqrt{\overline{e^2}},\quad
                  \mathrm{se} = \frac{\mathrm{se}(\overline{e^2})}{2\,\mathrm{RMSD}}

        Parameters
        ----------
        rows
            Rows to include: a mask or positions.
        """
        return root_mean_square(self.error[rows], self.cluster[rows])

    def elpd(self, rows: Any = slice(None)) -> Score:
        """Sum the log scores; this estimates the expected log predictive density of new rows.

        Parameters
        ----------
        rows
            Rows to include: a mask or positions.
        """
        score = self.log_score[rows]
        return Score(float(score.sum()), se_of_sum(score, self.cluster[rows]))

    def elpd_difference(self, other: HeldOut, rows: Any = slice(None)) -> Score:
        """Compute the elpd minus that of another model on the same rows, paired by row.

        Parameters
        ----------
        other
            Predictions of the same rows by another model.
        rows
            Rows to include: a mask or positions.
        """
        difference = (self.log_score - other.log_score)[rows]
        return Score(float(difference.sum()), se_of_sum(difference, self.cluster[rows]))


def root_mean_square(error: np.ndarray, cluster: np.ndarray) -> Score:
    """Compute the root mean square of deviations, and its standard error as in `HeldOut.rmsd`.

    Parameters
    ----------
    error, cluster
        Deviations and the cluster of each, shape (n,).
    """
    squared = error**2
    value = float(np.sqrt(squared.mean()))
    return Score(value, se_of_sum(squared, cluster) / len(squared) / (2.0 * value))


def se_of_sum(values: np.ndarray, cluster: np.ndarray) -> float:
    r"""Compute the standard error of a sum over rows in independent clusters.

    .. math:: \sqrt{\tfrac{J}{J-1}\sum_j \big(\sum_{i \in j} (v_i - \bar v)\big)^2}

    If each row is a cluster of its own, this is :math:`\sqrt n` times the standard deviation.

    Parameters
    ----------
    values, cluster
        Values and the cluster of each, shape (n,).
    """
    clusters, codes = np.unique(cluster, return_inverse=True)
    if len(clusters) < 2:
        return float("nan")
    sums = np.bincount(codes, weights=values - values.mean())
    return float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()))


def identified(equations: NormalEquations, x: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return whether the rows of its group determine the line and the scatter at each new row.

    Parameters
    ----------
    equations
        Normal equations of the training rows.
    x, group
        Predictors and group of the new rows, shapes (R, K) and (R,).

    Returns
    -------
    array
        Booleans of shape (R,).
    """
    freedom, rss = residual_freedom(equations)
    mean, scatter, _, _ = about_the_means(equations)
    # Distances are in units of the spread of each predictor over all rows, training and new.
    everywhere = np.concatenate([mean[equations.count > 0], x])
    spread = np.sqrt(np.einsum("ckk->k", scatter) / equations.total_weight + everywhere.var(0))
    unit = np.where(spread > 0, spread, 1.0)
    values, vectors = np.linalg.eigh(scatter / (unit[:, None] * unit))
    distance = np.einsum("rkj,rk->rj", vectors[group], (x - mean[group]) / unit)
    missed = np.where(values[group] > COLLINEAR, 0.0, distance)
    known = (np.abs(missed) < SAME).all(axis=1) & (equations.count > 0)[group]
    scattered: np.ndarray = ((freedom > 0) & (rss > 0))[group]
    return known & (scattered | equations.design.known_errors)


def population_identified(equations: NormalEquations, x: np.ndarray) -> np.ndarray:
    """Return whether the training rows determine the population line at each new row.

    They do not if a column is constant or collinear in the training rows and the new row breaks
    this pattern. An example is the indicator of a level that only the new row has.

    Parameters
    ----------
    equations
        Pooled equations of the training rows: :meth:`NormalEquations.pooled`.
    x
        Predictors of the new rows, shape (R, J).

    Returns
    -------
    array
        Booleans of shape (R,).
    """
    determined = (equations.pooled_root != 0).any(1)
    if determined.all():
        return np.ones(len(x), dtype=bool)
    _, row, _ = equations.rows(x)
    # The spread of each column over all rows, training and new.
    seen = (equations.basis**2 * determined[:, None]).sum(0)
    spread = np.sqrt(seen + ((equations.basis.T @ row) ** 2).mean(1))
    own = row * np.diagonal(equations.basis)[:, None]
    known: np.ndarray = (np.abs(own) <= SAME * spread[:, None])[~determined].all(0)
    return known


def predict_rows(
    model: str,
    equations: NormalEquations,
    priors: Priors,
    scales: Scales,
    log_weight: Any,
    rows: GroupedData,
    *,
    population: Population | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute predictive means and log scores of rows, averaged over points of the scales.

    Parameters
    ----------
    model, equations, priors, scales
        As in :func:`radon_numpyro.gaussian.predictive.line`.
    log_weight
        Logarithms of the weights of the points: one number for all, or shape (S, R).
    rows
        Rows to predict, R rows of the same groups.
    population
        As in :func:`radon_numpyro.gaussian.predictive.line`.

    Returns
    -------
    mean, log_score
        Shape (R,).
    """
    # Rows in blocks: with many predictors, the terms of all groups would not fit in memory.
    parts = []
    blocks = line_blocks(
        model, equations, priors, scales, rows.x, rows.group, population=population
    )
    for some, mean, variance in blocks:
        weight = None if rows.precision is None else rows.precision[some]
        total = variance + residual_variance(model, scales, rows.group[some], weight)
        of_points = log_weight[:, some] if np.ndim(log_weight) else log_weight
        parts.append(mixture.score(rows.y[some], mean, total, of_points))
    mean, score = (np.concatenate(part) for part in zip(*parts, strict=True))
    return mean, score


def left_out(
    y: np.ndarray, mean: np.ndarray, variance: np.ndarray, eps_squared: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and variance of each outcome given all other rows and the scales.

    Parameters
    ----------
    y
        Outcomes, shape (R,).
    mean, variance
        Mean and variance of the line at each row given all rows, shape (S, R).
    eps_squared
        Residual variance, broadcasts with (S, R).

    Returns
    -------
    mean, variance
        Shapes (S, R); NaN where the other rows and a flat prior do not determine the line.
    """
    free = 1.0 - variance / eps_squared
    free = np.where(free > UNDETERMINED, free, np.nan)
    return y - (y - mean) / free, eps_squared / free


def log_density(y: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Compute the log density of Normal outcomes.

    Parameters
    ----------
    y, mean, variance
        Outcomes, means and variances, which broadcast.
    """
    density: np.ndarray = -0.5 * ((y - mean) ** 2 / variance + np.log(2.0 * np.pi * variance))
    return density
