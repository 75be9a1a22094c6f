r"""Moments, densities, quantiles and intervals of mixtures of Normals, without simulation.

.. math:: F(q) = \sum_s w_s\,\Phi\Big(\frac{q - m_s}{\sigma_s}\Big), \qquad f(q) = F'(q)

What is Normal given each of S draws, or of S weighted nodes, is such a mixture over them. A
quantile solves :math:`\log F(q) = \log p` by Halley's method, which uses the curvature of
:math:`\log F`, nearly a parabola in the tail, and starts from the quantile of a Normal with the
mixture's moments. The root lies between the least and the largest of the quantiles of the
components; a step out of that bracket, and every fourth step, bisects it.
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


def moments(
    mean: np.ndarray, variance: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each mixture.

    Parameters
    ----------
    mean, variance
        Of the S components of R mixtures, shape (S, R).
    weight
        Of the components, of sum 1, shape (S,); None where all weigh the same.

    Returns
    -------
    mean, sd
        Shape (R,).
    """
    weight = _weights(mean, weight)
    # Far from zero a plain sum of thousands loses the digits in which the means differ.
    one = mean[np.argmax(weight)]
    from_one = mean - one
    centre = weight @ from_one
    return one + centre, np.sqrt(weight @ variance + weight @ np.square(from_one - centre))


def _weights(mean: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    return np.full(len(mean), 1.0 / len(mean)) if weight is None else weight


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

    That of SciPy loads JAX once ArviZ has been imported.

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
    mean: np.ndarray,
    variance: np.ndarray,
    ci_prob: float,
    ci_kind: str,
    weight: np.ndarray | None = None,
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
    weight
        As in :func:`moments`; each is above 0.

    Returns
    -------
    lower, upper
        Shape (R,).
    """
    # Where all columns are 0 and nothing is constant the line is 0, without any spread.
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
    """Quantile of each mixture, to 1e-8 of the probability beyond it.

    Parameters
    ----------
    mean, variance
        Of the S components of R mixtures, shape (S, R); variance > 0.
    prob
        Probability below the quantile, shape (R,).
    weight
        As in :func:`moments`; each is above 0.

    Returns
    -------
    array
        Shape (R,).
    """
    # Above the median the mirrored mixture is solved: 1 - F has no digits to lose.
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
    """Move probability from one tail to the other until both ends are as dense."""
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
    """Log density at one point of each mixture, and its slope."""
    exponent = -0.5 * (np.square(q - mean) / variance + np.log(2.0 * np.pi * variance))
    largest = exponent.max(0)
    weight, kernel = _weights(mean, weight), np.exp(exponent - largest)
    density = weight @ kernel
    slope = weight @ (kernel * (mean - q) / variance) / density
    return largest + np.log(density), slope
