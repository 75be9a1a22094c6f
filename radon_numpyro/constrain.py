"""From positions of the sampler to the sites of the model, draw by draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from numpyro.infer.util import constrain_fn

from radon_numpyro.parametrisation import Parametrisation
from radon_numpyro.priors import Priors
from radon_numpyro.programs import in_threads, num_cores, program, unraveller

# Numbers by group that a batch of draws may hold, of each array.
HELD = 4_000_000


def constrain(
    key: Any,
    position: np.ndarray,
    target: Any,
    priors: Priors,
    *,
    coordinates: Parametrisation,
    room: int,
) -> dict[str, np.ndarray]:
    """Draws of the sites of the model as written, those drawn given the position included.

    A chain at a time, in a thread for each core. A run that ended early is filled up, so that the
    program is the one that was compiled ahead.

    Parameters
    ----------
    key
        Random key of what is drawn given the position.
    position
        Shape (chains, draws, D).
    target, priors, coordinates
        The parametrisation and the arguments of its model.
    room
        Draws that were asked for.

    Returns
    -------
    dict
        Each of shape (chains, draws, ...).
    """
    draws = position.shape[1]

    def filled(chain: int) -> np.ndarray:
        return np.pad(position[chain], ((0, room - draws), (0, 0)), mode="edge")

    def of_chain(chain: int) -> Any:
        found = _constrain(key, chain, filled(chain), target, priors, coordinates=coordinates)
        return jax.tree.map(lambda site: np.asarray(site)[:draws], found)

    _constrain.prepare(key, 0, filled(0), target, priors, coordinates=coordinates)
    chains = in_threads(of_chain, range(len(position)), threads=num_cores())
    # Site by site, so that no more than one is there twice.
    return {name: np.stack([sites.pop(name) for sites in chains]) for name in tuple(chains[0])}


def prepare(
    key: Any, position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation
) -> None:
    """Have what :func:`constrain` is going to call compiled when this returns.

    Parameters
    ----------
    key, position, target, priors, coordinates
        As in :func:`compile_ahead`.
    """
    chain = jax.ShapeDtypeStruct(position.shape[1:], position.dtype)
    _constrain.prepare(key, 0, chain, target, priors, coordinates=coordinates)


def compile_ahead(
    key: Any, position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation
) -> None:
    """Compile in another thread what :func:`constrain` is going to call.

    Parameters
    ----------
    key, position, target, priors, coordinates
        As in :func:`constrain`, the position of all draws asked for; a ``jax.ShapeDtypeStruct``
        may stand for an array.
    """
    chain = jax.ShapeDtypeStruct(position.shape[1:], position.dtype)
    _constrain.compile_ahead(key, 0, chain, target, priors, coordinates=coordinates)


@program("coordinates")
def _constrain(
    key: Any,
    chain: int,
    position: Any,
    target: Any,
    priors: Priors,
    *,
    coordinates: Parametrisation,
) -> dict[str, Any]:
    def sites(key: Any, values: Any) -> Any:
        return coordinates.from_sampler(key, values, target, priors)

    keys = jax.random.split(jax.random.fold_in(key, chain), len(position))
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
    flat = position.reshape(-1, position.shape[-1])
    out = _over_draws(lambda _, values: values, None, flat, target, priors, coordinates)
    return {n: v.reshape(*position.shape[:2], *v.shape[1:]) for n, v in out.items()}


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

    largest = max(np.size(leaf) for leaf in jax.tree.leaves(target))
    batch = min(100, len(position), max(1, HELD // largest))
    draws: dict[str, Any] = jax.lax.map(of_draw, (keys, position), batch_size=batch)
    return draws
