"""Run NUTS iterations of all chains in blocks, by one compiled program.

The program calls the public ``init`` and ``sample`` of NumPyro's NUTS kernel. The data are
arguments, and a block may be shorter than its buffers. Therefore one compilation serves warm-up,
sampling and all data sets of the same shape, and draws do not depend on the lengths of blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro import infer
from numpyro.infer.util import ParamInfo

from radon_numpyro.inference.compute.devices import num_cores
from radon_numpyro.inference.compute.programs import (
    in_threads,
    program,
    strong_types,
    unraveller,
)
from radon_numpyro.inference.nuts.parametrisation import Parametrisation
from radon_numpyro.model.priors import Priors

BLOCK = 500
FIRST_BLOCK = 100
PATIENCE = 1.0
# Maximum number of stored position values per block, over all chains.
HELD = 1_000_000
_FIXED = ("coordinates", "num_warmup", "max_tree_depth")


class Pace:
    """Choose the length of the next block so that it takes about a second and fits in memory.

    Blocks are short because an interrupt waits for the end of a block. The first blocks are even
    shorter, especially with many groups.

    Parameters
    ----------
    num_groups
        Number of groups.
    size
        Number of coordinates of the sampler, over all chains.

    Attributes
    ----------
    length
        Number of iterations of the next block.
    """

    def __init__(self, num_groups: int, size: int) -> None:
        self._most = capacity(size)
        self.length = min(self._most, FIRST_BLOCK, max(1, 10_000 // num_groups))
        self._compiled = False

    def took(self, iterations: int, seconds: float) -> None:
        """Update the length by the time of a block; the first block, which compiles, is ignored.

        Parameters
        ----------
        iterations, seconds
            Number of iterations of the block, and elapsed seconds.
        """
        if self._compiled:
            fitting = iterations * PATIENCE / max(seconds, 1e-6)
            # Limit the growth, because later iterations may take much longer.
            self.length = int(np.clip(min(fitting, 4 * self.length), 1, self._most))
        self._compiled = True


def capacity(size: int) -> int:
    """Return the maximum number of iterations in a block.

    Parameters
    ----------
    size
        Number of coordinates of the sampler, over all chains.
    """
    return min(BLOCK, max(1, HELD // size))


def begin(
    keys: Any,
    position: Any,
    target: Any,
    priors: Priors,
    unit: Any,
    *,
    chain_method: str,
    **fixed: Any,
) -> tuple[Any, ...]:
    """Return the states of the chains before the first iteration.

    Parameters
    ----------
    keys, position
        Data of the random key, and starting point of each chain, shapes (chains, 2) and
        (chains, D).
    target, priors
        Arguments of the model.
    unit
        Unit of each coordinate, shape (D,).
    chain_method, **fixed
        From :meth:`radon_numpyro.inference.settings.Settings.sampler`, the parametrisation as
        ``coordinates``, and ``target_accept_prob``. The last one is not a constant of the program,
        so another value needs no compilation.

    Returns
    -------
    tuple
        The state of each chain or, if they are vectorized, one state of all chains. The first axis
        of each array is that of the chains.
    """
    vectorized = chain_method == "vectorized"
    parts = [slice(None)] if vectorized else [slice(c, c + 1) for c in range(len(position))]
    arguments = (target, priors, unit)
    return tuple(
        _begin(keys[part], position[part], *arguments, vectorized=vectorized, **fixed)
        for part in parts
    )


@program("vectorized", *_FIXED, once=True)
def _begin(
    keys: Any,
    position: Any,
    target: Any,
    priors: Priors,
    unit: Any,
    *,
    vectorized: bool,
    num_warmup: int,
    **settings: Any,
) -> Any:
    def start(mine: Any) -> Any:
        key, position = mine
        kernel = _kernel(target, priors, unit, **settings)
        key = jax.random.wrap_key_data(key, impl="threefry2x32")
        return strong_types(kernel.init(key, num_warmup, init_params=position / unit))

    return _of_chains(start, vectorized)((keys, position))


def _of_chains(function: Callable[[Any], Any], vectorized: bool) -> Callable[[Any], Any]:
    """Map a function of one chain over the first axis, which otherwise has length 1."""
    if vectorized:
        return jax.vmap(function)

    def of_one(chain: Any) -> Any:
        return jax.tree.map(lambda x: x[None], function(jax.tree.map(lambda x: x[0], chain)))

    return of_one


def advance(
    states: tuple[Any, ...],
    length: int,
    target: Any,
    priors: Priors,
    unit: Any,
    *,
    chain_method: str,
    **fixed: Any,
) -> tuple[tuple[Any, ...], tuple[dict[str, Any], ...]]:
    """Take ``length`` iterations of every chain, at most :func:`capacity`.

    Parallel chains run in threads, one for each core, and sequential chains in one thread. Both
    call the same program for each chain. Therefore both give identical draws.

    Parameters
    ----------
    states
        From :func:`begin` or an earlier block.
    length
        Number of iterations.
    target, priors, unit, chain_method, **fixed
        As in :func:`begin`.

    Returns
    -------
    states, records
        The new states, and a record for each of them, for :func:`recorded`.
    """
    chains = sum(len(state.potential_energy) for state in states)
    arguments = (length, target, priors, unit)
    fixed |= {"vectorized": chain_method == "vectorized", "room": capacity(chains * len(unit))}
    _advance.prepare(states[0], *arguments, **fixed)

    def run(state: Any) -> Any:
        return jax.block_until_ready(_advance.compiled()(state, *arguments, **fixed))

    threads = num_cores() if chain_method == "parallel" else 1
    states, records = zip(*in_threads(run, states, threads=threads), strict=True)
    return states, records


def recorded(records: tuple[dict[str, Any], ...], name: str, length: int) -> np.ndarray:
    """Return what a block recorded under a name, shape (chains, length, ...).

    Parameters
    ----------
    records
        From :func:`advance`.
    name
        One of the names in the records.
    length
        Number of iterations of the block. The buffers may be much longer.
    """
    return np.concatenate([np.asarray(record[name])[:, :length] for record in records])


def compile_ahead(
    keys: Any,
    position: Any,
    target: Any,
    priors: Priors,
    unit: Any,
    *,
    chain_method: str,
    **fixed: Any,
) -> None:
    """Compile the programs of :func:`begin` and :func:`advance` in other threads.

    Parameters
    ----------
    keys, position, target, priors, unit, chain_method, **fixed
        As in :func:`begin`; of the first two and the units only the shapes matter.
    """
    fixed |= {"vectorized": chain_method == "vectorized"}
    part = slice(None if fixed["vectorized"] else 1)
    state = _begin.compile_ahead(keys[part], position[part], target, priors, unit, **fixed)
    fixed |= {"room": capacity(position.size)}
    _advance.compile_ahead(state, 0, target, priors, unit, **fixed)


@program("vectorized", "room", *_FIXED)
def _advance(
    states: Any,
    length: int,
    target: Any,
    priors: Priors,
    unit: Any,
    *,
    vectorized: bool,
    room: int,
    num_warmup: int,
    **settings: Any,
) -> tuple[Any, dict[str, Any]]:
    """Run a block of some chains, which are the first axis of each array."""

    def run(state: Any) -> tuple[Any, dict[str, Any]]:
        kernel = _kernel(target, priors, unit, **settings)
        # With the density and its gradient given, they are not computed again.
        known = ParamInfo(state.z, state.potential_energy, state.z_grad)
        kernel.init(jax.random.key(0), num_warmup, init_params=known)

        def iterate(i: Any, carry: Any) -> Any:
            state, buffers = carry
            state = kernel.sample(state, (), {})
            row = _record(state, unit)
            buffers = {name: buffers[name].at[i].set(value) for name, value in row.items()}
            return strong_types(state), buffers

        buffers = {
            name: jnp.zeros((room, *value.shape), value.dtype)
            for name, value in _record(state, unit).items()
        }
        return jax.lax.fori_loop(0, length, iterate, (state, buffers))

    done: tuple[Any, dict[str, Any]] = _of_chains(run, vectorized)(states)
    return done


def _kernel(
    target: Any,
    priors: Priors,
    unit: Any,
    *,
    coordinates: Parametrisation,
    target_accept_prob: float,
    max_tree_depth: int,
) -> infer.NUTS:
    """Return NUTS on a flat vector of coordinates in units of the guide's standard deviations.

    An identity mass matrix in these units equals an inverse mass matrix of the guide's variances in
    the original units. The units also matter for the adaptation: NumPyro shrinks adapted variances
    towards 0.001, which would be far too large for a coordinate with a much smaller variance.

    Each traced function must call this itself, with the data of its trace.
    """
    unravel = unraveller(coordinates.latent, target, priors)

    def potential(position: Any) -> Any:
        values = unravel(unit * position)
        return infer.util.potential_energy(coordinates.model, (target, priors), {}, values)

    return infer.NUTS(
        potential_fn=potential,
        target_accept_prob=target_accept_prob,
        max_tree_depth=max_tree_depth,
    )


def _record(state: Any, unit: Any) -> dict[str, Any]:
    return {
        "position": state.z * unit,
        "lp": -state.potential_energy,
        "energy": state.energy,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "step_size": state.adapt_state.step_size,
        "diverging": state.diverging,
    }
