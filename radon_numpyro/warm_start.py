"""Starting points and scales of NUTS from a fitted guide, in the sampler's own coordinates."""

from __future__ import annotations

from typing import Any

import jax
from jax.flatten_util import ravel_pytree

from radon_numpyro.advi import ADVIResult
from radon_numpyro.models import MODELS, Model
from radon_numpyro.parametrisation import Parametrisation, parametrisation
from radon_numpyro.priors import Priors
from radon_numpyro.programs import latent_transforms, program
from radon_numpyro.statistics import GroupStatistics

GUIDE_DRAWS = 1000
OVERDISPERSION = 2.0


def warm_start(
    key: Any,
    advi: ADVIResult,
    statistics: GroupStatistics,
    priors: Priors,
    *,
    method: str,
    chains: int,
) -> tuple[Any, Any]:
    """Starting points and inverse mass matrix from a guide, in the sampler's coordinates.

    Draws of the guide are carried into the coordinates that the sampler moves in, whatever
    its parametrisation, and their variance is taken there: the diagonal inverse mass matrix
    is made of variances (squared standard deviations), in the sampler's own order. A chain
    starts from one of the draws, moved away from the mean by a factor of 2.

    Parameters
    ----------
    key
        Random key.
    advi
        The fitted guide.
    statistics, priors
        What the model is conditioned on.
    method
        Parametrisation.
    chains
        Number of chains.

    Returns
    -------
    position, variance
        Shapes (chains, D) and (D,).
    """
    coordinates = parametrisation(advi.model, method)
    return _warm_start(
        key,
        dict(advi.locs),
        dict(advi.scales),
        statistics,
        coordinates.data(statistics),
        priors,
        model=MODELS[advi.model],
        coordinates=coordinates,
        chains=chains,
    )


@program("model", "coordinates", "chains")
def _warm_start(
    key: Any,
    locs: Any,
    scales: Any,
    statistics: GroupStatistics,
    target: Any,
    priors: Priors,
    *,
    model: Model,
    coordinates: Parametrisation,
    chains: int,
) -> tuple[Any, Any]:
    guide = latent_transforms(model, statistics, priors)
    sampler = latent_transforms(coordinates.model, target, priors)

    def draw(key: Any) -> Any:
        keys = jax.random.split(key, len(guide))
        values = {
            name: transform(locs[name] + scales[name] * jax.random.normal(k, locs[name].shape))
            for k, (name, transform) in zip(keys, guide.items(), strict=True)
        }
        values = coordinates.to_sampler(values)
        return ravel_pytree({name: t.inv(values[name]) for name, t in sampler.items()})[0]

    draws = jax.vmap(draw)(jax.random.split(key, GUIDE_DRAWS))
    mean = draws.mean(0)
    return mean + OVERDISPERSION * (draws[:chains] - mean), draws.var(0, ddof=1)
