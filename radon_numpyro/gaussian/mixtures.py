r"""Moments, densities, quantiles and intervals of mixtures of Normals, without simulation.

.. math:: F(q) = \tfrac1S\sum_s \Phi\Big(\frac{q - m_s}{\sigma_s}\Big), \qquad f(q) = F'(q)

What is Normal given each of S draws is such a mixture over the draws. A quantile solves
:math:`\log F(q) = \log p` by Halley's method, which uses the curvature of :math:`\log F`, nearly a
parabola in the tail, and starts from the quantile of a Normal with the mixture's moments. The
root lies between the least and the largest of the quantiles of the components; a step out of that
bracket, and every fourth step, bisects it.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

# Of log F(q) - log p.
TOLERANCE = 1e-8
# Logarithm of the ratio of the densities at the ends of a highest-density interval; or how much of
# the probability outside is still to be shared.
LEVEL = 1e-4
MAX_STEPS = 200


def moments(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each mixture.

    Parameters
    ----------
    mean, variance
        Of the S components of R mixtures, shape (S, R).

    Returns
    -------
    mean, sd
        Shape (R,).
    """
    # Far from zero a plain sum of thousands loses the digits in which the means differ.
    from_first = mean - mean[0]
    return mean[0] + from_first.mean(0), np.sqrt(variance.mean(0) + from_first.var(0))


def score(
    y: np.ndarray, mean: np.ndarray, variance: np.ndarray, log_weight: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and log density at ``y`` of each mixture, whose components may have weights.

    Parameters
    ----------
    y
        Where to take the density, shape (R,).
    mean, variance
        Of the S components of R mixtures, shape (S, R).
    log_weight
        Logarithms of the weights, which sum to 1 over S; broadcasts with (S, R).

    Returns
    -------
    mean, log_density
        Shapes (R,).
    """
    log_density = -0.5 * ((y - mean) ** 2 / variance + np.log(2.0 * np.pi * variance))
    weight = np.broadcast_to(np.exp(log_weight), mean.shape)
    return (weight * mean).sum(0), log_sum_exp(log_density + log_weight)


def log_sum_exp(values: np.ndarray, axis: int | tuple[int, ...] = 0) -> np.ndarray:
    """Logarithm of the sum of exponentials.

    That of SciPy loads JAX, for a second, once ArviZ has been imported.

    Parameters
    ----------
    values
        Logarithms; minus infinity adds nothing.
    axis
        Which to sum over.
    """
    largest = np.max(values, axis=axis, keepdims=True)
    finite = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(values - finite).sum(axis))
    summed: np.ndarray = total + np.squeeze(finite, axis)
    return summed


def interval(
    mean: np.ndarray, variance: np.ndarray, ci_prob: float, ci_kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the interval of each mixture, between which its probability is ``ci_prob``.

    Parameters
    ----------
    mean, variance
        Of the S components of R mixtures, shape (S, R); variance > 0, or 0 in all of a mixture of
        one point.
    ci_prob
        Probability of the interval, between 0 and 1.
    ci_kind
        ``"eti"``: equal tails. ``"hdi"``: as dense at one end as at the other, the narrowest
        interval of a distribution with one mode.

    Returns
    -------
    lower, upper
        Shape (R,).
    """
    # Where all columns are 0 and nothing is constant the line is 0, without any spread.
    low, high = mean[0].copy(), mean[0].copy()
    wide = moments(mean, variance)[1] > 0
    mean, variance = mean[:, wide], variance[:, wide]
    tail = np.full(mean.shape[1], 0.5 * (1.0 - ci_prob))
    if ci_kind == "hdi":
        low[wide], high[wide] = _highest_density(mean, variance, ci_prob, tail)
    else:
        low[wide], high[wide] = (quantile(mean, variance, p) for p in (tail, 1.0 - tail))
    return low, high


def quantile(mean: np.ndarray, variance: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """Quantile of each mixture, to 1e-8 of the probability beyond it.

    Parameters
    ----------
    mean, variance
        Of the S components of R mixtures, shape (S, R); variance > 0.
    prob
        Probability below the quantile, shape (R,).

    Returns
    -------
    array
        Shape (R,).
    """
    # Above the median the mirrored mixture is solved: 1 - F has no digits to lose.
    sign = np.where(prob > 0.5, -1.0, 1.0)
    target = np.where(prob > 0.5, 1.0 - prob, prob)
    mean, sd = sign * mean, np.sqrt(variance)
    ends = mean + sd * ndtri(target)
    low, high = ends.min(0), ends.max(0)
    centre, spread = moments(mean, variance)
    q = np.clip(centre + spread * ndtri(target), low, high)
    rows = np.arange(len(q))
    for count in range(MAX_STEPS):
        z = (q[rows] - mean) / sd
        below = ndtr(z).mean(0)
        with np.errstate(divide="ignore"):
            missing = np.log(target[rows] / below)
        open_ = np.abs(missing) > TOLERANCE
        if not open_.any():
            break
        if not open_.all():
            rows, mean, sd, z = rows[open_], mean[:, open_], sd[:, open_], z[:, open_]
            below, missing = below[open_], missing[open_]
        low[rows] = np.where(missing > 0, q[rows], low[rows])
        high[rows] = np.where(missing < 0, q[rows], high[rows])
        weight = np.exp(-0.5 * z**2) / (np.sqrt(2.0 * np.pi) * sd)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            slope = weight.mean(0) / below
            curvature = -(weight * z / sd).mean(0) / below - slope**2
            step = q[rows] + 2.0 * missing * slope / (2.0 * slope**2 + missing * curvature)
        good = (step >= low[rows]) & (step <= high[rows]) & (count % 4 < 3)
        q[rows] = np.where(good, step, 0.5 * (low[rows] + high[rows]))
    return sign * q


def _highest_density(
    mean: np.ndarray, variance: np.ndarray, ci_prob: float, tail: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move probability from one tail to the other until both ends are as dense."""
    least, most = np.zeros_like(tail), np.full_like(tail, 1.0 - ci_prob)
    lower, upper = np.empty_like(tail), np.empty_like(tail)
    rows = np.arange(len(tail))
    for count in range(MAX_STEPS):
        a = tail[rows]
        lower[rows] = quantile(mean, variance, a)
        upper[rows] = quantile(mean, variance, a + ci_prob)
        log_lower, slope_lower = _log_density(mean, variance, lower[rows])
        log_upper, slope_upper = _log_density(mean, variance, upper[rows])
        excess = log_upper - log_lower
        open_ = (np.abs(excess) > LEVEL) & (most[rows] - least[rows] > LEVEL * (1.0 - ci_prob))
        if not open_.any():
            break
        least[rows] = np.where(excess > 0, a, least[rows])
        most[rows] = np.where(excess < 0, a, most[rows])
        # d log f(q(a)) / da = slope / f
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = a - excess / (slope_upper / np.exp(log_upper) - slope_lower / np.exp(log_lower))
        good = (step > least[rows]) & (step < most[rows]) & (count % 4 < 3)
        tail[rows] = np.where(good, step, 0.5 * (least[rows] + most[rows]))
        rows, mean, variance = rows[open_], mean[:, open_], variance[:, open_]
    return lower, upper


def _log_density(
    mean: np.ndarray, variance: np.ndarray, q: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log density at one point of each mixture, and its slope."""
    exponent = -0.5 * (np.square(q - mean) / variance + np.log(2.0 * np.pi * variance))
    largest = exponent.max(0)
    weight = np.exp(exponent - largest)
    slope = (weight * (mean - q) / variance).sum(0) / weight.sum(0)
    return largest + np.log(weight.mean(0)), slope
