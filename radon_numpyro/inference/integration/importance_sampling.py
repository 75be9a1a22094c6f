r"""Adaptive importance sampling of a density of few dimensions, with standard errors.

Points from a folded mixture of t distributions q (``proposal.py``) get the importance weights
:math:`w_i = p(x_i)/q(x_i)`. Each round has more points than the round before, and a proposal fitted
to the weighted points of that round. If these have too small an effective sample size, the fit uses
tempered weights :math:`w^\beta`. The last round is the result. Its points are shifts of one lattice
(``lattice.py``), and each shift r gives an independent estimate of the integral of p:

.. math:: \hat Z = \frac1R\sum_r \hat Z_r, \qquad
          \mathrm{se}(\hat Z)^2 = \frac{1}{R(R - 3)}\sum_r(\hat Z_r - \hat Z)^2

The divisor is R - 3, not R - 1: an error divided by its estimate from R shifts has about a t
distribution with R - 1 degrees of freedom, whose standard deviation is
:math:`\sqrt{(R - 1)/(R - 3)}`. With R - 3 it is 1. The Pareto k-hat of the tail of the weights
shows whether they can be trusted.

References
----------
Cappe, Douc, Guillin, Marin and Robert (2008), Adaptive importance sampling in general mixture
classes, doi:10.1007/s11222-008-9059-x. Vehtari, Simpson, Gelman, Yao and Gabry (2024), Pareto
smoothed importance sampling, JMLR 25(72).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from radon_numpyro.gaussian.mixtures import log_sum_exp
from radon_numpyro.inference.integration.lattice import shifted_lattices
from radon_numpyro.inference.integration.proposal import Proposal

MAX_KHAT, MIN_ESS = 0.5, 100.0
# Smallest and largest number of shifts of the lattice. Between these limits a shift has POINTS
# points.
FEW_REPLICATES, REPLICATES, POINTS = 8, 32, 128
FIRST_ROUND, LAST_ROUND = 512, 16384
# Number of further rounds of the largest size, each with a better proposal, while the weights are
# unreliable (measured: with one row in each of 1000 groups, these make most weights reliable).
FURTHER_ROUNDS = 2
# From this size of a round on, if the efficiency is low, the proposal has four components and a
# larger share of wide parts.
HARD_ROUND, COMPONENTS, HARD_WIDE_SHARE, WIDE_SHARE = 8192, 4, 0.25, 0.15
# Minimum effective sample size per dimension of the weights that a proposal is fitted to.
EFFECTIVE_PER_DIMENSION = 12.0
# Number of points times dimensions of a round from which on an effective sample size below the
# number of dimensions does not lead to a better proposal (measured: posteriors of up to 29
# dimensions have a larger one by then).
HOPELESS = 25_000

Density = Callable[[np.ndarray], tuple[np.ndarray, Any]]


@dataclass(frozen=True)
class WeightedPoints:
    """The weighted points of a round.

    Attributes
    ----------
    points
        Coordinates of the points, shape (S, D).
    log_ratio
        Log of the ratio of density and proposal, shape (S,); minus infinity if the density is 0.
    replicates
        Number of shifts. The points are ordered by shift.
    proposal
        Distribution from which the points are drawn.
    detail
        Further results of the density function at the points.
    """

    points: np.ndarray
    log_ratio: np.ndarray
    replicates: int
    proposal: Proposal
    detail: Any

    @property
    def weights(self) -> np.ndarray:
        """Normalised weights, shape (S,)."""
        return np.asarray(special.softmax(self.log_ratio))

    @property
    def ess(self) -> float:
        """Effective number of points: the reciprocal of the sum of the squared weights."""
        return float(1.0 / np.square(self.weights).sum())

    @property
    def khat(self) -> float:
        """Pareto shape k of the largest weights."""
        return pareto_shape(self.log_ratio)

    @property
    def reliable(self) -> bool:
        """Whether weighted averages are reliable."""
        return self.ess >= MIN_ESS and self.khat < MAX_KHAT

    def log_integral(self) -> tuple[float, float]:
        """Compute the logarithm of the integral of the density, and its standard error."""
        by_shift = self.weights.reshape(self.replicates, -1).sum(1)
        scatter = by_shift.std(ddof=3) / by_shift.mean()
        value = log_sum_exp(self.log_ratio) - np.log(len(self.log_ratio))
        return float(value), float(scatter / np.sqrt(self.replicates))


def sample(
    density: Density,
    start: Proposal,
    positive: np.ndarray,
    *,
    ess: float,
    nodes: int | None,
    most: int,
    further: int,
    rng: np.random.Generator,
) -> WeightedPoints:
    """Sample weighted points of a density by adaptive importance sampling.

    Sampling stops early if the effective number of points is still smaller than the number of
    dimensions after some rounds, because the proposals then do not approach the density.

    Parameters
    ----------
    density
        Function that maps points (S, D) to their log density (S,), minus infinity where the density
        is 0, and to any further results.
    start
        The first proposal.
    positive
        Whether each coordinate is at least 0, shape (D,).
    ess
        Effective number of points that is sufficient.
    nodes
        Number of points of the last round; None to determine it from ``ess``.
    most
        Maximum number of points of a round while the weights are reliable. Unreliable weights allow
        four times as many, up to 16384.
    further
        Number of further rounds of the largest size, while the weights are unreliable.
    rng
        Random number generator of the shifts.

    Raises
    ------
    FloatingPointError
        If the density is finite at too few points.
    """
    dims, proposal = len(positive), start
    size = min(FIRST_ROUND, most)
    last = _power_of_two(nodes) if nodes else None
    size = min(size, last) if last else size
    while True:
        found = _round(density, proposal, dims, size, rng)
        if last and size >= last:
            return found
        if not last and found.khat < MAX_KHAT and found.ess >= ess:
            return found
        if not last and size * dims >= HOPELESS and found.ess < dims:
            return found
        efficiency = found.ess / size
        # Rounds of more than `most` points are used only while the weights are unreliable.
        if last or size < (most if found.reliable else min(4 * most, LAST_ROUND)):
            wanted = last or ess / max(efficiency, 1e-9)
            size = min(_next_size(size, efficiency, wanted, dims), last or LAST_ROUND)
        elif found.reliable or not further:
            return found
        else:
            further -= 1
        hard = size >= HARD_ROUND and efficiency < 0.5
        weights = _tempered(found.log_ratio, EFFECTIVE_PER_DIMENSION * dims)
        share = HARD_WIDE_SHARE if hard else WIDE_SHARE
        proposal = proposal.fitted(
            found.points, weights, positive, COMPONENTS if hard else 1, share
        )


def balanced(
    found: Sequence[WeightedPoints], log_target: np.ndarray, log_proposal: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    r"""Weight several samples of one density as one sample from the mixture of their proposals.

    .. math:: w(x) = \frac{p(x)}{\sum_k \frac{n_k}{n}\,q_k(x)}

    at all n points, of which :math:`n_k` belong to sample k. A region that one proposal misses then
    gets its weight from the other samples.

    Parameters
    ----------
    found
        K samples, each in its own coordinates.
    log_target
        Log density at the points of all samples, one sample after the other, shape (n,).
    log_proposal
        Log densities of all proposals at these points, shape (K, n), in the same measure as
        ``log_target``.

    Returns
    -------
    log_ratio, order, replicates
        Log weights, shape (n,), ordered by shift; the permutation that gives this order, shape
        (n,); and the number of shifts.

    References
    ----------
    Veach and Guibas (1995), Optimally combining sampling techniques for Monte Carlo rendering,
    doi:10.1145/218380.218498: the balance heuristic.
    """
    sizes = np.array([len(one.log_ratio) for one in found])
    share = np.log(sizes / sizes.sum())[:, None]
    replicates = min(one.replicates for one in found)
    places = np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1])
    order = np.concatenate([each.reshape(replicates, -1) for each in places], axis=1).ravel()
    log_ratio = np.full(len(log_target), -np.inf)
    some = np.isfinite(log_target)
    mixture = log_sum_exp(log_proposal[:, some] + share)
    log_ratio[some] = log_target[some] - mixture
    return log_ratio[order], order, replicates


def _next_size(size: int, efficiency: float, wanted: float, dims: int) -> int:
    """Return twice the size, or at once the number of points wanted if the proposal is good."""
    if size * efficiency > 5.0 * EFFECTIVE_PER_DIMENSION * dims:
        return max(2 * size, _power_of_two(1.1 * wanted))
    return 2 * size


def _power_of_two(number: float) -> int:
    return 1 << max(int(np.ceil(number)) - 1, FEW_REPLICATES - 1).bit_length()


def _round(
    density: Density, proposal: Proposal, dims: int, size: int, rng: np.random.Generator
) -> WeightedPoints:
    replicates = min(max(size // POINTS, FEW_REPLICATES), REPLICATES)
    points = proposal.draw(shifted_lattices(rng, replicates, size // replicates, dims + 2))
    log_density, detail = density(points)
    log_ratio = log_density - proposal.log_density(points)
    finite = np.isfinite(log_ratio)
    if finite.sum() <= 2 * dims:
        raise FloatingPointError(
            f"Expected a density of the scales that is finite about its mode; got {finite.sum()} "
            f"finite values at {size} points. Check the units of the data against the priors"
        )
    log_ratio = np.where(finite, log_ratio, -np.inf)
    return WeightedPoints(points, log_ratio, replicates, proposal, detail)


def _tempered(log_ratio: np.ndarray, least: float) -> np.ndarray:
    """Raise weights to the largest power, at most 1, with an ESS of at least ``least``."""
    low, high = 0.0, 1.0

    def weights(power: float) -> np.ndarray:
        # Points of density 0 have weight 0 at any power.
        log = np.where(np.isfinite(log_ratio), power * np.nan_to_num(log_ratio), -np.inf)
        return np.asarray(special.softmax(log))

    if 1.0 / np.square(weights(1.0)).sum() >= least:
        return weights(1.0)
    for _ in range(30):
        middle = 0.5 * (low + high)
        enough = 1.0 / np.square(weights(middle)).sum() >= least
        low, high = (middle, high) if enough else (low, middle)
    return weights(low)


# Number of observations that the prior of k is worth, and its value of k.
PRIOR_COUNT, PRIOR_SHAPE = 10, 0.5


def pareto_shape(log_weights: np.ndarray) -> float:
    r"""Estimate the shape k of a generalised Pareto distribution of the largest weights.

    Weights have a finite variance for k < 1/2, and a finite mean for k < 1. The estimate is the
    posterior mean of Zhang and Stephens over a grid of :math:`b = -k/\sigma`, shrunk towards 1/2.
    ``arviz_stats`` computes the same estimate, but its import takes longer than a whole
    integration.

    Parameters
    ----------
    log_weights
        Logarithms of the weights, up to a constant, shape (S,).

    Returns
    -------
    float
        The shape: minus infinity if the largest weights are equal, infinity if they are too few or
        too uneven to fit.

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
