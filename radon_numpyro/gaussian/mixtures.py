r"""Moments, densities, quantiles and intervals of mixtures of Normals, without simulation.

.. math:: F(q) = \sum_s w_s\,\Phi\Big(\frac{q - m_s}{\sigma_s}\Big), \qquad f(q) = F'(q)

A quantity that is Normal given each of S draws, or each of S weighted nodes, has such a mixture as
its distribution. Quantiles solve :math:`\log F(q) = \log p` by Halley's method. It uses the
curvature of :math:`\log F`, which is nearly a parabola in the tail, and starts from the quantile of
a Normal with the moments of the mixture. The root lies between the smallest and the largest of the
quantiles of the components. Every fourth step, and every step that would leave this bracket, is
replaced by a bisection.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

# Tolerance of log F(q) - log p.
TOLERANCE = 1e-8
# The search for a highest-density interval ends if the log densities at its two ends differ by less
# than LEVEL, or if the bracket of the lower tail is narrower than LEVEL times 1 - ci_prob.
LEVEL = 1e-4
MAX_STEPS = 200


def moments(
    mean: np.ndarray, variance: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and standard deviation of each mixture.

    Parameters
    ----------
    mean, variance
        Means and variances of the S components of R mixtures, shape (S, R).
    weight
        Weights of the components, which sum to 1, shape (S,); None for equal weights.

    Returns
    -------
    mean, sd
        Shape (R,).
    """
    weight = _weights(mean, weight)
    # Far from zero, a plain sum of thousands of means loses the digits in which they differ.
    one = mean[np.argmax(weight)]
    from_one = mean - one
    centre = weight @ from_one
    return one + centre, np.sqrt(weight @ variance + weight @ np.square(from_one - centre))


def _weights(mean: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return np.full(len(mean), 1.0 / len(mean)) if weight is None else weight


def score(
    y: np.ndarray, mean: np.ndarray, variance: np.ndarray, log_weight: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean of each weighted mixture, and its log density at ``y``.

    Parameters
    ----------
    y
        Points at which to evaluate the densities, shape (R,).
    mean, variance
        Means and variances of the S components of R mixtures, shape (S, R).
    log_weight
        Logarithms of the weights, broadcastable to (S, R). The weights sum to 1 over S.

    Returns
    -------
    mean, log_density
        Shapes (R,).
    """
    log_density = -0.5 * ((y - mean) ** 2 / variance + np.log(2.0 * np.pi * variance))
    weight = np.broadcast_to(np.exp(log_weight), mean.shape)
    return (weight * mean).sum(0), log_sum_exp(log_density + log_weight)


def log_sum_exp(values: np.ndarray, axis: int | tuple[int, ...] = 0) -> np.ndarray:
    """Compute the logarithm of a sum of exponentials.

    The function of SciPy is not used, because it loads JAX once ArviZ has been imported.

    Parameters
    ----------
    values
        Logarithms. Minus infinity contributes 0 to the sum.
    axis
        Axis or axes to sum over.
    """
    largest = np.max(values, axis=axis, keepdims=True)
    finite = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(values - finite).sum(axis))
    summed: np.ndarray = total + np.squeeze(finite, axis)
    return summed


def interval(
    mean: np.ndarray,
    variance: np.ndarray,
    ci_prob: float,
    ci_kind: str,
    weight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ends of an interval of each mixture that has probability ``ci_prob``.

    Parameters
    ----------
    mean, variance
        Means and variances of the S components of R mixtures, shape (S, R). The variances are
        positive, except that all components of a mixture may be the same point with variance 0.
    ci_prob
        Probability of the interval, between 0 and 1.
    ci_kind
        ``"eti"``: interval with equal tails. ``"hdi"``: interval with the same density at both
        ends, which is the narrowest one if the distribution has one mode.
    weight
        As in :func:`moments`, all positive.

    Returns
    -------
    lower, upper
        Shape (R,).
    """
    # A line has no spread at a row whose columns are all 0 in a model without a constant.
    low, high = mean[0].copy(), mean[0].copy()
    wide = moments(mean, variance, weight)[1] > 0
    mean, variance = mean[:, wide], variance[:, wide]
    tail = np.full(mean.shape[1], 0.5 * (1.0 - ci_prob))
    if ci_kind == "hdi":
        low[wide], high[wide] = _highest_density(mean, variance, ci_prob, tail, weight)
    else:
        low[wide], high[wide] = (quantile(mean, variance, p, weight) for p in (tail, 1.0 - tail))
    return low, high


def quantile(
    mean: np.ndarray, variance: np.ndarray, prob: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Compute one quantile of each mixture, with a relative error of 1e-8 in the tail probability.

    Parameters
    ----------
    mean, variance
        Means and positive variances of the S components of R mixtures, shape (S, R).
    prob
        Probability below the quantile, shape (R,).
    weight
        As in :func:`moments`, all positive.

    Returns
    -------
    array
        Shape (R,).
    """
    # Above the median the mirrored mixture is solved, so that a small 1 - F keeps its digits.
    sign = np.where(prob > 0.5, -1.0, 1.0)
    target = np.where(prob > 0.5, 1.0 - prob, prob)
    mean, sd = sign * mean, np.sqrt(variance)
    weight, ends = _weights(mean, weight), mean + sd * ndtri(target)
    low, high = ends.min(0), ends.max(0)
    centre, spread = moments(mean, variance, weight)
    q = np.clip(centre + spread * ndtri(target), low, high)
    rows = np.arange(len(q))
    for count in range(MAX_STEPS):
        z = (q[rows] - mean) / sd
        below = weight @ ndtr(z)
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
        density = np.exp(-0.5 * z**2) / (np.sqrt(2.0 * np.pi) * sd)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            slope = weight @ density / below
            curvature = -(weight @ (density * z / sd)) / below - slope**2
            step = q[rows] + 2.0 * missing * slope / (2.0 * slope**2 + missing * curvature)
        good = (step >= low[rows]) & (step <= high[rows]) & (count % 4 < 3)
        q[rows] = np.where(good, step, 0.5 * (low[rows] + high[rows]))
    return sign * q


def _highest_density(
    mean: np.ndarray,
    variance: np.ndarray,
    ci_prob: float,
    tail: np.ndarray,
    weight: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Shift probability between the tails until the densities at both ends are equal."""
    least, most = np.zeros_like(tail), np.full_like(tail, 1.0 - ci_prob)
    lower, upper = np.empty_like(tail), np.empty_like(tail)
    rows = np.arange(len(tail))
    for count in range(MAX_STEPS):
        a = tail[rows]
        lower[rows] = quantile(mean, variance, a, weight)
        upper[rows] = quantile(mean, variance, a + ci_prob, weight)
        log_lower, slope_lower = _log_density(mean, variance, lower[rows], weight)
        log_upper, slope_upper = _log_density(mean, variance, upper[rows], weight)
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
    mean: np.ndarray, variance: np.ndarray, q: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log density of each mixture at one point, and its derivative there, both (R,)."""
    exponent = -0.5 * (np.square(q - mean) / variance + np.log(2.0 * np.pi * variance))
    largest = exponent.max(0)
    weight, kernel = _weights(mean, weight), np.exp(exponent - largest)
    density = weight @ kernel
    slope = weight @ (kernel * (mean - q) / variance) / density
    return largest + np.log(density), slope
