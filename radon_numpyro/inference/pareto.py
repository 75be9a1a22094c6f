r"""Pareto k-hat: how heavy the tail of importance weights is."""

from __future__ import annotations

import numpy as np
from scipy import special

# Weight of the prior of k, which is 1/2, in observations.
PRIOR_COUNT, PRIOR_SHAPE = 10, 0.5


def pareto_shape(log_weights: np.ndarray) -> float:
    r"""Shape k of a generalised Pareto distribution fitted to the largest weights.

    Weights have a finite variance for k < 1/2, a finite mean for k < 1. The fit is the posterior
    mean of Zhang and Stephens over a grid of :math:`b = -k/\sigma`, drawn towards 1/2. It is the
    estimate of ``arviz_stats``, whose import takes longer than a whole integration.

    Parameters
    ----------
    log_weights
        Up to a constant, shape (S,).

    Returns
    -------
    float
        Minus infinity if the largest weights are equal, infinity if they are too few or too
        uneven to fit.

    References
    ----------
    Zhang and Stephens (2009), A new and efficient estimation method for the generalized Pareto
    distribution, doi:10.1198/tech.2009.08017. Vehtari, Simpson, Gelman, Yao and Gabry (2024),
    Pareto smoothed importance sampling, JMLR 25(72), appendix C.
    """
    total = len(log_weights)
    num_tail = int(min(total / 5.0, 3.0 * np.sqrt(total)))
    if num_tail < 5:
        return np.inf
    ordered = np.sort(log_weights)[-num_tail - 1 :]
    weights = np.exp(ordered - ordered[-1])
    excess = weights[1:] - weights[0]
    if excess[-1] - excess[0] < np.finfo(float).tiny:
        return -np.inf
    quartile = excess[int(num_tail / 4 + 0.5) - 1]
    if quartile <= excess[0]:
        return np.inf
    num_grid = 30 + int(np.sqrt(num_tail))
    grid = 1.0 - np.sqrt(num_grid / (np.arange(1, num_grid + 1) - 0.5))
    b = grid / (3.0 * quartile) + 1.0 / excess[-1]
    k = np.log1p(-b[:, None] * excess).mean(1)
    b = special.softmax(num_tail * (np.log(-b / k) - k - 1.0)) @ b
    fitted = np.log1p(-b * excess).mean()
    shape = (num_tail * fitted + PRIOR_COUNT * PRIOR_SHAPE) / (num_tail + PRIOR_COUNT)
    return float(shape) if np.isfinite(shape) else np.inf
