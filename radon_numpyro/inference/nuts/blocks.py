"""Run NUTS iterations of all chains in blocks, as one compiled program.

The program calls the public ``init`` and ``sample`` of NumPyro's NUTS kernel. The data are
arguments, and a block may be shorter than its buffers. Therefore one compilation serves warm-up,
sampling and all data sets of the same shape, and draws do not depend on the lengths of blocks.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any, cast

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
) -> Any:
    """Return the state of every chain before its first iteration.

    Parameters
    ----------
    keys, position
        Random key and starting point of each chain, shapes (chains,) and (chains, D).
    target, priors
        Arguments of the model.
    unit
        Unit of each coordinate, shape (D,).
    chain_method, **fixed
        From :meth:`radon_numpyro.inference.settings.Settings.sampler`, the parametrisation as
        ``coordinates``, and ``target_accept_prob``. The last one is not a constant of the program,
        so another value needs no compilation.
    """
    vectorized = chain_method == "vectorized"
    return _begin(keys, position, target, priors, unit, vectorized=vectorized, **fixed)


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
        return strong_types(kernel.init(key, num_warmup, init_params=position / unit))

    over_chains = jax.vmap(start) if vectorized else partial(jax.lax.map, start)
    return over_chains((keys, position))


def advance(
    state: Any,
    length: int,
    target: Any,
    priors: Priors,
    unit: Any,
    *,
    chain_method: str,
    **fixed: Any,
) -> tuple[Any, dict[str, Any]]:
    """Take ``length`` iterations of every chain, at most :func:`capacity`.

    Parallel chains run in threads, one for each core. Each thread calls the compiled program of
    sequential chains for its own range of chains. Therefore both ways give identical draws.

    Parameters
    ----------
    state
        From :func:`begin` or an earlier block.
    length
        Number of iterations.
    target, priors, unit, chain_method, **fixed
        As in :func:`begin`.

    Returns
    -------
    state, records
        The new state, and arrays of shape (chains, capacity, ...) of which the first ``length``
        iterations are valid. From chains in threads these are NumPy arrays.
    """
    chains = len(state.potential_energy)
    fixed |= {"vectorized": chain_method == "vectorized", "room": capacity(chains * len(unit))}

    def run(first: int, end: int) -> Any:
        return jax.block_until_ready(
            _advance(state, length, target, priors, unit, first, end, **fixed)
        )

    threads = min(chains, num_cores()) if chain_method == "parallel" else 1
    if threads == 1:
        return cast("tuple[Any, dict[str, Any]]", run(0, chains))
    _advance.prepare(state, length, target, priors, unit, 0, 0, **fixed)
    ends = np.linspace(0, chains, threads + 1).astype(int).tolist()
    parts = in_threads(run, ends[:-1], ends[1:], threads=threads)
    return cast("tuple[Any, dict[str, Any]]", _joined(parts, ends))


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
        As in :func:`begin`; a ``jax.ShapeDtypeStruct`` may replace an array.
    """
    fixed |= {"vectorized": chain_method == "vectorized"}
    state = _begin.compile_ahead(keys, position, target, priors, unit, **fixed)
    fixed |= {"room": capacity(len(keys) * len(unit))}
    _advance.compile_ahead(state, 0, target, priors, unit, 0, 0, **fixed)


@program("vectorized", "room", *_FIXED)
def _advance(
    state: Any,
    length: int,
    target: Any,
    priors: Priors,
    unit: Any,
    first: int,
    end: int,
    *,
    vectorized: bool,
    room: int,
    num_warmup: int,
    **settings: Any,
) -> tuple[Any, dict[str, Any]]:
    """Run a block of the chains from ``first`` to ``end`` - 1; other chains are undefined."""

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

    if vectorized:
        return jax.vmap(run)(state)

    def of_chain(c: Any, chains: Any) -> Any:
        done = run(jax.tree.map(lambda x: x[c], state))
        return jax.tree.map(lambda all_, mine: all_.at[c].set(mine), chains, done)

    buffers = {
        name: jnp.zeros((value.shape[0], room, *value.shape[1:]), value.dtype)
        for name, value in _record(state, unit).items()
    }
    return jax.lax.fori_loop(first, end, of_chain, (state, buffers))


def _joined(parts: list[Any], ends: list[int]) -> Any:
    """Join the ranges of chains from the parts that ran them, on the host without compiling."""
    ranges = list(pairwise(ends))

    def join(*values: Any) -> Any:
        if jnp.issubdtype(values[0].dtype, jax.dtypes.prng_key):
            impl = jax.random.key_impl(values[0])
            return jax.random.wrap_key_data(join(*map(jax.random.key_data, values)), impl=impl)
        pairs = zip(values, ranges, strict=True)
        return np.concatenate([np.asarray(x)[a:b] for x, (a, b) in pairs])

    return jax.tree.map(join, *parts)


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
