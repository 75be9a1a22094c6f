"""Convert positions of the sampler to the sites of the model, draw by draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from numpyro import infer

from radon_numpyro.inference.compute.devices import num_cores
from radon_numpyro.inference.compute.programs import in_threads, program, unraveller
from radon_numpyro.inference.nuts.parametrisation import Parametrisation
from radon_numpyro.model.priors import Priors

# Maximum number of values of each array by group in a batch of draws.
HELD = 4_000_000
# Draws of a chain in one call. A run that ended early needs only the calls for its draws.
PIECE = 10_000


def constrain(
    key: Any,
    position: np.ndarray,
    target: Any,
    priors: Priors,
    *,
    coordinates: Parametrisation,
    room: int,
) -> dict[str, np.ndarray]:
    """Return draws of all sites of the model as written, including those drawn given the position.

    Chains are converted in threads, one for each core. The draws of a run that ended early are
    padded, so that they use the program that :func:`prepare` has compiled.

    Parameters
    ----------
    key
        Random key of the sites that are drawn given the position.
    position
        Positions of the sampler, shape (chains, draws, D).
    target, priors, coordinates
        The parametrisation, and the arguments of its model.
    room
        Number of draws of each chain that were requested.

    Returns
    -------
    dict
        Draws by site, each of shape (chains, draws, ...).
    """
    draws, piece = position.shape[1], _piece(room, target)
    asked_for = jax.ShapeDtypeStruct((len(position), room, position.shape[2]), position.dtype)
    prepare(key, asked_for, target, priors, coordinates=coordinates)

    def of_piece(chain: int, first: int) -> Any:
        some = position[chain, first : first + piece]
        filled = np.pad(some, ((0, piece - len(some)), (0, 0)), mode="edge")
        found = _constrain(
            key, chain, first, filled, target, priors, coordinates=coordinates, room=room
        )
        return jax.tree.map(lambda site: np.asarray(site)[: len(some)], found)

    def of_chain(chain: int) -> Any:
        pieces = [of_piece(chain, first) for first in range(0, draws, piece)]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)

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
        As in :func:`compile_ahead`.
    """
    _constrain.prepare(*_first(key, position, target, priors), **_fixed(position, coordinates))


def compile_ahead(
    key: Any, position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation
) -> None:
    """Compile the program of :func:`constrain` in another thread.

    Parameters
    ----------
    key, position, target, priors, coordinates
        As in :func:`constrain`, with the position of all requested draws. A
        ``jax.ShapeDtypeStruct`` may replace an array.
    """
    _constrain.compile_ahead(
        *_first(key, position, target, priors), **_fixed(position, coordinates)
    )


def _piece(room: int, target: Any) -> int:
    """Return the number of draws in one call, chosen so that all batches have the same size.

    The rounding of the results depends on the size of a batch.
    """
    batch = _batch(room, target)
    return PIECE if room > PIECE and room % batch == PIECE % batch == 0 else room


def _batch(draws: int, target: Any) -> int:
    largest = max(np.size(leaf) for leaf in jax.tree.leaves(target))
    return min(100, draws, max(1, HELD // largest))


def _first(key: Any, position: Any, target: Any, priors: Priors) -> tuple[Any, ...]:
    """Return the arguments of the call for the first draws of the first chain."""
    piece = _piece(position.shape[1], target)
    some = jax.ShapeDtypeStruct((piece, *position.shape[2:]), position.dtype)
    return key, 0, 0, some, target, priors


def _fixed(position: Any, coordinates: Parametrisation) -> dict[str, Any]:
    return {"coordinates": coordinates, "room": position.shape[1]}


@program("coordinates", "room")
def _constrain(
    key: Any,
    chain: int,
    first: int,
    position: Any,
    target: Any,
    priors: Priors,
    *,
    coordinates: Parametrisation,
    room: int,
) -> dict[str, Any]:
    """Convert the draws of a chain from ``first`` on.

    The key of a draw does not depend on the number of draws.
    """

    def sites(key: Any, values: Any) -> Any:
        return coordinates.from_sampler(key, values, target, priors)

    size = len(position)
    keys = jax.random.split(jax.random.fold_in(key, chain), -(-room // size) * size)
    if size < room:
        keys = jax.lax.dynamic_slice_in_dim(keys, first, size)
    return _over_draws(sites, keys, position, target, priors, coordinates)


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
        values = infer.util.constrain_fn(
            model, (target, priors), {}, unravel(position), return_deterministic=True
        )
        return sites(key, values)

    batch = _batch(len(position), target)
    draws: dict[str, Any] = jax.lax.map(of_draw, (keys, position), batch_size=batch)
    return draws
