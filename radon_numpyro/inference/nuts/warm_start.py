"""Starting points and scales of NUTS from a fitted guide, in the coordinates of the sampler."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radon_numpyro.inference.advi.guide import ADVIResult
from radon_numpyro.inference.nuts.parametrisation import parametrisation
from radon_numpyro.inference.settings import Settings
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.supports import support
from radon_numpyro.statistics.group_statistics import GroupStatistics

GUIDE_DRAWS = 1000
OVERDISPERSION = 2.0


class WarmStart(NamedTuple):
    """The start of the chains, in the D coordinates of the sampler.

    Attributes
    ----------
    position
        Starting point of each chain, shape (chains, D).
    variance, unit
        Variance of each coordinate under the guide, and its square root, shape (D,).
    chain_keys
        Data of the random key of each chain, shape (chains, 2).
    """

    position: np.ndarray
    variance: np.ndarray
    unit: np.ndarray
    chain_keys: np.ndarray

    def without_guide(self, seed: int) -> WarmStart:
        """Return NumPyro's default start: uniform on (-2, 2), with unit variances.

        Parameters
        ----------
        seed
            Seed of the positions.
        """
        ones = np.ones_like(self.variance)
        position = np.random.default_rng((seed, 5)).uniform(-2.0, 2.0, self.position.shape)
        position = position.astype(ones.dtype)
        return self._replace(position=position, variance=ones, unit=ones)


def warm_start(
    advi: ADVIResult, statistics: GroupStatistics, priors: Priors, settings: Settings
) -> WarmStart:
    """Compute starting points and the inverse mass matrix from a guide.

    Draws of the guide are transformed to the coordinates of the sampler. The diagonal inverse mass
    matrix has their variances (not their standard deviations) in the sampler's own order. Each
    chain starts from a draw whose distance from the mean is doubled.

    Parameters
    ----------
    advi
        The fitted guide.
    statistics, priors, settings
        Data, priors and settings of the fit.
    """
    chains = settings.chains
    coordinates = parametrisation(settings.model, str(settings.method))
    rng = np.random.default_rng((settings.seed, 4))
    chain_keys = rng.integers(2**32, size=(chains, 2), dtype=np.uint32)
    values = {}
    for name, loc in advi.locs.items():
        if name not in coordinates.integrated_out:
            noise = rng.standard_normal((max(GUIDE_DRAWS, chains), *loc.shape))
            values[name] = support(name, priors).constrained(loc + advi.scales[name] * noise)
    values = coordinates.to_sampler(values, statistics)
    # The sampler has the sites in alphabetical order, as JAX has them.
    draws = np.concatenate(
        [
            support(name, priors).unconstrained(values[name]).reshape(len(values[name]), -1)
            for name in sorted(values)
        ],
        axis=1,
    )
    # A guide that is not finite is found by the density where the chains start.
    with np.errstate(invalid="ignore"):
        mean, variance = draws.mean(0), draws.var(0, ddof=1)
        position = mean + OVERDISPERSION * (draws[:chains] - mean)
    start = (np.asarray(x, settings.dtype) for x in (position, variance, np.sqrt(variance)))
    position, variance, unit = start
    return WarmStart(position, variance, unit, chain_keys)
