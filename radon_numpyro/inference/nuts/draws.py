"""Convert positions of the sampler to the sites of its model."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from numpyro import infer

from radon_numpyro.inference.compute.devices import num_cores
from radon_numpyro.inference.compute.programs import in_threads, program, unraveller
from radon_numpyro.inference.nuts.parametrisation import Parametrisation
from radon_numpyro.model.priors import Priors

# Maximum number of draws in a batch, and of values of each array by group in it.
BATCH, HELD = 100, 4_000_000


def constrain(
    position: np.ndarray, target: Any, priors: Priors, *, coordinates: Parametrisation
) -> dict[str, np.ndarray]:
    """Return draws of all sites of the sampler's own model, which are functions of the position.

    Chains are converted in threads, one for each core, and each chain in batches. All batches have
    the same size, because the rounding of the results depends on it. One program therefore serves
    any number of draws. The last batch is padded.

    Parameters
    ----------
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
    prepare(position, target, priors, coordinates=coordinates)
    target = jax.device_put(target)

    def of_batch(some: np.ndarray) -> Any:
        filled = np.pad(some, ((0, size - len(some)), (0, 0)), mode="edge")
        found = _constrain(filled, target, priors, coordinates=coordinates)
        return jax.tree.map(lambda site: np.asarray(site)[: len(some)], found)

    def of_chain(chain: np.ndarray) -> Any:
        batches = [of_batch(chain[first : first + size]) for first in range(0, draws, size)]
        return jax.tree.map(lambda *parts: np.concatenate(parts), *batches)

    chains = in_threads(of_chain, position, threads=num_cores())
    # Stack one site at a time, so that at most one site is in memory twice.
    return {name: np.stack([sites.pop(name) for sites in chains]) for name in tuple(chains[0])}


def prepare(position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation) -> None:
    """Compile the program of :func:`constrain`, and wait until this is done.

    Parameters
    ----------
    position, target, priors, coordinates
        As in :func:`constrain`. Of the position only the dtype and the number of coordinates
        matter, and a ``jax.ShapeDtypeStruct`` may replace it.
    """
    _constrain.prepare(*_batch_like(position, target, priors), coordinates=coordinates)


def compile_ahead(
    position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation
) -> None:
    """Compile the program of :func:`constrain` in another thread.

    Parameters
    ----------
    position, target, priors, coordinates
        As in :func:`prepare`.
    """
    _constrain.compile_ahead(*_batch_like(position, target, priors), coordinates=coordinates)


def _batch(target: Any) -> int:
    """Return the number of draws of a batch."""
    largest = max(np.size(leaf) for leaf in jax.tree.leaves(target))
    return min(BATCH, max(1, HELD // largest))


def _batch_like(position: Any, target: Any, priors: Priors) -> tuple[Any, ...]:
    """Return the arguments of the call for a batch."""
    some = jax.ShapeDtypeStruct((_batch(target), position.shape[-1]), position.dtype)
    return some, target, priors


@program("coordinates")
def _constrain(
    position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation
) -> dict[str, Any]:
    unravel = unraveller(coordinates.latent, target, priors)

    def of_draw(position: Any) -> dict[str, Any]:
        values: dict[str, Any] = infer.util.constrain_fn(
            coordinates.latent, (target, priors), {}, unravel(position), return_deterministic=True
        )
        return values

    return jax.vmap(of_draw)(position)
