"""Blocks of NUTS iterations of all chains as one compiled program.

NumPyro's NUTS kernel is driven through its public ``init`` and ``sample``. The data are arguments
and a block may be shorter than its buffers, so one compilation serves warm-up, sampling and every
data set of the same shape, and draws do not depend on where blocks begin or end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec
from numpyro.infer import NUTS
from numpyro.infer.util import potential_energy

from radon_numpyro.models import Model
from radon_numpyro.priors import Priors
from radon_numpyro.programs import program, strong_types, unraveller

BLOCK = 100
PATIENCE = 1.0
_FIXED = ("model", "chain_method", "num_warmup", "target_accept_prob", "max_tree_depth")


class Pace:
    """How long the next block is: BLOCK iterations, or what takes about a second if that is less.

    An interrupt waits for the end of a block. Of a large model the first one is short.

    Parameters
    ----------
    num_groups
        Groups of the data.

    Attributes
    ----------
    length
        Iterations of the next block.
    """

    def __init__(self, num_groups: int) -> None:
        self.length = min(BLOCK, max(1, 10_000 // num_groups))
        self._compiled = False

    def took(self, iterations: int, seconds: float) -> None:
        """Learn from a block; the first one, which compiles, says nothing.

        Parameters
        ----------
        iterations, seconds
            How long it was, and what it took.
        """
        if self._compiled:
            fitting = iterations * PATIENCE / max(seconds, 1e-6)
            self.length = int(np.clip(fitting, 1, BLOCK))
        self._compiled = True


@program(*_FIXED)
def begin(
    keys: Any,
    position: Any,
    target: Any,
    priors: Priors,
    unit: Any,
    *,
    chain_method: str,
    num_warmup: int,
    **settings: Any,
) -> Any:
    """State of every chain before its first iteration.

    Parameters
    ----------
    keys, position
        Random key and starting point of each chain, shapes (chains,) and (chains, D).
    target, priors
        Arguments of the model.
    unit
        Unit of each coordinate, shape (D,).
    chain_method, num_warmup, **settings
        As in :func:`radon_numpyro.nuts.sample_nuts`, and the model.
    """

    def start(mine: Any, shared: Any) -> Any:
        key, position = mine
        target, priors, unit = shared
        kernel = _kernel(target, priors, unit, **settings)
        return strong_types(kernel.init(key, num_warmup, init_params=position / unit))

    return _over_chains(start, chain_method, (keys, position), (target, priors, unit))


@program(*_FIXED)
def advance(
    state: Any,
    length: int,
    target: Any,
    priors: Priors,
    unit: Any,
    *,
    chain_method: str,
    num_warmup: int,
    **settings: Any,
) -> tuple[Any, dict[str, Any]]:
    """Take ``length`` iterations of every chain, at most BLOCK.

    Parameters
    ----------
    state
        From :func:`begin` or an earlier block.
    length
        Iterations to take.
    target, priors, unit, chain_method, num_warmup, **settings
        As in :func:`begin`.

    Returns
    -------
    state, records
        The new state, and arrays of shape (chains, BLOCK, ...) of which the first ``length``
        iterations count.
    """

    def run(state: Any, shared: Any) -> tuple[Any, dict[str, Any]]:
        length, target, priors, unit = shared
        kernel = _kernel(target, priors, unit, **settings)
        kernel.init(jax.random.key(0), num_warmup, init_params=state.z)

        def iterate(i: Any, carry: Any) -> Any:
            state, buffers = carry
            state = kernel.sample(state, (), {})
            row = _record(state, unit)
            buffers = {name: buffers[name].at[i].set(value) for name, value in row.items()}
            return strong_types(state), buffers

        buffers = {
            name: jnp.zeros((BLOCK, *value.shape), value.dtype)
            for name, value in _record(state, unit).items()
        }
        return jax.lax.fori_loop(0, length, iterate, (state, buffers))

    return _over_chains(run, chain_method, state, (length, target, priors, unit))


def _kernel(
    target: Any,
    priors: Priors,
    unit: Any,
    *,
    model: Model,
    target_accept_prob: float,
    max_tree_depth: int,
) -> NUTS:
    """NUTS on a flat vector of coordinates in units of the guide's standard deviations.

    An identity mass matrix in these units is a diagonal one of the guide's variances without
    them. The units matter to what follows: NumPyro shrinks the variances that it adapts towards
    0.001, which would swamp a coordinate whose variance is far below that.

    Made anew inside each traced function, with the data of that trace.
    """
    unravel = unraveller(model, target, priors)

    def potential(position: Any) -> Any:
        return potential_energy(model, (target, priors), {}, unravel(unit * position))

    return NUTS(
        potential_fn=potential,
        target_accept_prob=target_accept_prob,
        max_tree_depth=max_tree_depth,
    )


def _over_chains(
    function: Callable[..., Any], chain_method: str, by_chain: Any, shared: Any
) -> Any:
    """Apply ``function(by_chain, shared)`` to each chain."""
    if chain_method == "vectorized":
        return jax.vmap(lambda mine: function(mine, shared))(by_chain)

    def one_after_the_other(by_chain: Any, shared: Any) -> Any:
        return jax.lax.map(lambda mine: function(mine, shared), by_chain)

    if chain_method == "sequential":
        return one_after_the_other(by_chain, shared)
    return jax.shard_map(
        one_after_the_other,
        mesh=jax.make_mesh((jax.local_device_count(),), ("chain",), (AxisType.Auto,)),
        in_specs=(PartitionSpec("chain"), PartitionSpec()),
        out_specs=PartitionSpec("chain"),
        check_vma=False,
    )(by_chain, shared)


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
