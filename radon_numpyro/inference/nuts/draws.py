"""Convert positions of the sampler to the sites of the model, draw by draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import infer

from radon_numpyro.inference.compute.devices import num_cores
from radon_numpyro.inference.compute.programs import in_threads, program, unraveller
from radon_numpyro.inference.nuts.parametrisation import Parametrisation
from radon_numpyro.model.priors import Priors

# Maximum number of draws in a batch, and of values of each array by group in it.
BATCH, HELD = 100, 4_000_000


def constrain(
    key: Any,
    position: np.ndarray,
    target: Any,
    priors: Priors,
    *,
    coordinates: Parametrisation,
) -> dict[str, np.ndarray]:
    """Return draws of all sites of the model as written, including those drawn given the position.

    Chains are converted in threads, one for each core, and each chain in batches. All batches have
    the same size, because the rounding of the results depends on it. One program therefore serves
    any number of draws. The last batch is padded.

    Parameters
    ----------
    key
        Random key of the sites that are drawn given the position.
    position
        Positions of the sampler, shape (chains, draws, D).
    target, priors, coordinates
        The parametrisation, and the arguments of its model.

    Returns
    -------
    dict
        Draws by site, each of shape (chains, draws, ...).
    """
    draws, size = position.shape[1], _batch(target)
    prepare(key, position, target, priors, coordinates=coordinates)
    target = jax.device_put(target)

    def of_batch(chain: int, first: int) -> Any:
        some = position[chain, first : first + size]
        filled = np.pad(some, ((0, size - len(some)), (0, 0)), mode="edge")
        found = _constrain(key, chain, first, filled, target, priors, coordinates=coordinates)
        return jax.tree.map(lambda site: np.asarray(site)[: len(some)], found)

    def of_chain(chain: int) -> Any:
        batches = [of_batch(chain, first) for first in range(0, draws, size)]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *batches)

    chains = in_threads(of_chain, range(len(position)), threads=num_cores())
    # Stack one site at a time, so that at most one site is in memory twice.
    return {name: np.stack([sites.pop(name) for sites in chains]) for name in tuple(chains[0])}


def prepare(
    key: Any, position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation
) -> None:
    """Compile the program of :func:`constrain`, and wait until this is done.

    Parameters
    ----------
    key, position, target, priors, coordinates
        As in :func:`constrain`. Of the position only the dtype and the number of coordinates
        matter, and a ``jax.ShapeDtypeStruct`` may replace it.
    """
    _constrain.prepare(*_first(key, position, target, priors), coordinates=coordinates)


def compile_ahead(
    key: Any, position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation
) -> None:
    """Compile the program of :func:`constrain` in another thread.

    Parameters
    ----------
    key, position, target, priors, coordinates
        As in :func:`prepare`.
    """
    _constrain.compile_ahead(*_first(key, position, target, priors), coordinates=coordinates)


def _batch(target: Any) -> int:
    """Return the number of draws of a batch."""
    largest = max(np.size(leaf) for leaf in jax.tree.leaves(target))
    return min(BATCH, max(1, HELD // largest))


def _first(key: Any, position: Any, target: Any, priors: Priors) -> tuple[Any, ...]:
    """Return the arguments of the call for the first batch of the first chain."""
    some = jax.ShapeDtypeStruct((_batch(target), position.shape[-1]), position.dtype)
    return key, 0, 0, some, target, priors


@program("coordinates")
def _constrain(
    key: Any,
    chain: int,
    first: int,
    position: Any,
    target: Any,
    priors: Priors,
    *,
    coordinates: Parametrisation,
) -> dict[str, Any]:
    """Convert a batch of draws of a chain, from ``first`` on, each with a key of its own."""
    of_draw = _of_draw(target, priors, coordinates)
    of_chain = jax.random.fold_in(key, chain)

    def sites(number: Any, position: Any) -> Any:
        own = jax.random.fold_in(of_chain, number)
        return coordinates.from_sampler(own, of_draw(position), target, priors)

    return cast("dict[str, Any]", jax.vmap(sites)(first + jnp.arange(len(position)), position))


@program("coordinates")
def sampled(position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation) -> Any:
    """Return all sites of the sampler's own model, which are functions of the position.

    Parameters
    ----------
    position, target, priors, coordinates
        As in :func:`constrain`.

    Returns
    -------
    dict
        Values by site, each of shape (chains, draws, ...).
    """
    flat = position.reshape(-1, position.shape[-1])
    of_draw = _of_draw(target, priors, coordinates)
    out = jax.lax.map(of_draw, flat, batch_size=min(len(flat), _batch(target)))
    return {n: v.reshape(*position.shape[:2], *v.shape[1:]) for n, v in out.items()}


def _of_draw(
    target: Any, priors: Priors, coordinates: Parametrisation
) -> Callable[[Any], dict[str, Any]]:
    """Return a function from a position to all sites of the sampler's own model."""
    model = coordinates.model
    unravel = unraveller(model, target, priors)

    def of_draw(position: Any) -> dict[str, Any]:
        values: dict[str, Any] = infer.util.constrain_fn(
            model, (target, priors), {}, unravel(position), return_deterministic=True
        )
        return values

    return of_draw
