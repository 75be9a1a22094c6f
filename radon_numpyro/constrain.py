"""From positions of the sampler to the sites of the model, draw by draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
from numpyro.infer.util import constrain_fn

from radon_numpyro.parametrisation import Parametrisation
from radon_numpyro.priors import Priors
from radon_numpyro.programs import program, unraveller


@program("coordinates")
def constrain(
    key: Any, position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation
) -> dict[str, Any]:
    """Draws of the sites of the model as written, those drawn given the position included.

    Parameters
    ----------
    key
        Random key of what is drawn given the position.
    position
        Shape (chains, draws, D).
    target, priors, coordinates
        The parametrisation and the arguments of its model.

    Returns
    -------
    dict
        Each of shape (chains, draws, ...).
    """

    def sites(key: Any, values: Any) -> Any:
        return coordinates.from_sampler(key, values, target, priors)

    keys = jax.random.split(key, position.shape[0] * position.shape[1])
    return _over_draws(sites, keys, position, target, priors, coordinates)


@program("coordinates")
def sampled(position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation) -> Any:
    """All sites of the sampler's own model, each a function of the position.

    Parameters
    ----------
    position, target, priors, coordinates
        As in :func:`constrain`.

    Returns
    -------
    dict
        Each of shape (chains, draws, ...).
    """
    return _over_draws(lambda _, values: values, None, position, target, priors, coordinates)


def _over_draws(
    sites: Any,
    keys: Any,
    position: Any,
    target: Any,
    priors: Priors,
    coordinates: Parametrisation,
) -> dict[str, Any]:
    model = coordinates.model
    unravel = unraveller(model, target, priors)

    def of_draw(draw: Any) -> Mapping[str, Any]:
        key, position = draw
        values = constrain_fn(
            model, (target, priors), {}, unravel(position), return_deterministic=True
        )
        return sites(key, values)

    shape = position.shape[:2]
    flat = position.reshape(-1, position.shape[-1])
    out = jax.lax.map(of_draw, (keys, flat), batch_size=min(100, len(flat)))
    return {name: value.reshape(*shape, *value.shape[1:]) for name, value in out.items()}
