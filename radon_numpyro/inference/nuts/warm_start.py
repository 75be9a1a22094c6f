"""Starting points and scales of NUTS from a fitted guide, in the coordinates of the sampler."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from radon_numpyro.inference.advi.guide import ADVIResult
from radon_numpyro.inference.compute.programs import latent_sites, latent_transforms, program
from radon_numpyro.inference.nuts.parametrisation import Parametrisation, parametrisation
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.regressions import ModelFunction
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
        Random key of each chain, shape (chains,).
    """

    position: Any
    variance: Any
    unit: Any
    chain_keys: Any

    def without_guide(self, key: Any) -> WarmStart:
        """Return NumPyro's default start: uniform on (-2, 2), with unit variances.

        Parameters
        ----------
        key
            Random key of the positions.
        """
        ones = jnp.ones_like(self.variance)
        position = jax.random.uniform(key, self.position.shape, minval=-2.0, maxval=2.0)
        return self._replace(position=position, variance=ones, unit=ones)


def warm_start(
    key: Any,
    advi: ADVIResult,
    statistics: GroupStatistics,
    priors: Priors,
    *,
    method: str,
    chains: int,
) -> WarmStart:
    """Compute starting points and the inverse mass matrix from a guide.

    Draws of the guide are transformed to the coordinates of the sampler. The diagonal inverse mass
    matrix has their variances (not their standard deviations) in the sampler's own order. Each
    chain starts from a draw whose distance from the mean is doubled.

    Parameters
    ----------
    key
        Random key of the run.
    advi
        The fitted guide.
    statistics, priors
        Data and priors of the fit.
    method
        Name of the parametrisation.
    chains
        Number of chains.
    """
    coordinates = parametrisation(advi.model, method)
    return _warm_start(
        key,
        dict(advi.locs),
        dict(advi.scales),
        statistics,
        coordinates.data(statistics),
        priors,
        model=Model.named(advi.model).function,
        coordinates=coordinates,
        chains=chains,
    )


def compile_ahead(
    key: Any,
    statistics: GroupStatistics,
    priors: Priors,
    *,
    model: str,
    method: str,
    chains: int,
) -> WarmStart:
    """Compile the program of :func:`warm_start` in another thread.

    Parameters
    ----------
    key, statistics, priors, method, chains
        As in :func:`warm_start`.
    model
        Name of the model.

    Returns
    -------
    WarmStart
        Shapes and dtypes of the start.
    """
    coordinates, function = parametrisation(model, method), Model.named(model).function
    guide = jax.eval_shape(
        lambda: {n: s["value"] for n, s in latent_sites(function, statistics, priors).items()}
    )
    shapes: WarmStart = _warm_start.compile_ahead(
        key,
        guide,
        guide,
        statistics,
        coordinates.data(statistics),
        priors,
        model=function,
        coordinates=coordinates,
        chains=chains,
    )
    return shapes


@program("model", "coordinates", "chains")
def _warm_start(
    key: Any,
    locs: Any,
    scales: Any,
    statistics: GroupStatistics,
    target: Any,
    priors: Priors,
    *,
    model: ModelFunction,
    coordinates: Parametrisation,
    chains: int,
) -> WarmStart:
    start_key, chain_key = jax.random.split(key)
    guide = latent_transforms(model, statistics, priors)
    sampler = latent_transforms(coordinates.latent, target, priors)

    # One call draws the noise of many sites, because each call adds to the compile time. Sites by
    # group have their own call, which XLA omits if the sampler does not need these sites.
    by_group = {n: v for n, v in locs.items() if v.shape[:1] == (statistics.num_groups,)}
    others = {n: v for n, v in locs.items() if n not in by_group}
    keys = jax.random.split(start_key)
    noise = [_noise(k, like) for k, like in zip(keys, (by_group, others), strict=True)]

    def draw(of_groups: Any, of_others: Any) -> Any:
        unit = ravel_pytree(by_group)[1](of_groups) | ravel_pytree(others)[1](of_others)
        values = {n: t(locs[n] + scales[n] * unit[n]) for n, t in guide.items()}
        values = coordinates.to_sampler(values, target)
        return ravel_pytree({name: t.inv(values[name]) for name, t in sampler.items()})[0]

    draws = jax.vmap(draw)(*noise)
    mean, variance = draws.mean(0), draws.var(0, ddof=1)
    return WarmStart(
        mean + OVERDISPERSION * (draws[:chains] - mean),
        variance,
        jnp.sqrt(variance),
        jax.random.split(chain_key, chains),
    )


def _noise(key: Any, like: Any) -> Any:
    """Draw standard normal noise for the flat values of sites, shape (GUIDE_DRAWS, any number)."""
    flat = ravel_pytree(like)[0]
    return jax.random.normal(key, (GUIDE_DRAWS, flat.size), flat.dtype)
