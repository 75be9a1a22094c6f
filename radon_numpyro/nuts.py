"""The No-U-Turn sampler, started and mass-scaled by ADVI, in resumable blocks.

NumPyro's NUTS kernel is driven through its public ``init`` and ``sample``. All chains and all
iterations share one compiled program, a block of iterations with the data as an argument, so
one compilation serves warm-up, sampling and every data set of the same shape. Between blocks,
in Python, the bar moves and an interrupt is noticed. Draws depend neither on the size of the
blocks nor on the bar.

References
----------
Hoffman and Gelman (2014), The No-U-Turn sampler, JMLR 15, 1593-1623.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, PartitionSpec
from numpyro.infer import NUTS
from numpyro.infer.util import constrain_fn, potential_energy
from tqdm.auto import tqdm

from radon_numpyro.advi import ADVIResult
from radon_numpyro.data import GroupedData
from radon_numpyro.models import MODELS, Model
from radon_numpyro.parametrisation import METHODS, Parametrisation, parametrisation
from radon_numpyro.priors import Priors
from radon_numpyro.programs import (
    latent_transforms,
    precision,
    strong_types,
    unlabelled,
    unraveller,
)
from radon_numpyro.statistics import GroupStatistics, as_statistics

BLOCK = 100
GUIDE_DRAWS = 1000
OVERDISPERSION = 2.0
CHAIN_METHODS = ("sequential", "parallel", "vectorized")


@dataclass(frozen=True)
class NUTSResult:
    """Draws and what the sampler says of them.

    Attributes
    ----------
    draws
        Draws of each site in its own (constrained) space, shape (chains, draws, ...).
    stats
        Sampler statistics by ArviZ's names, each of shape (chains, draws).
    inverse_mass_matrix
        Adapted diagonal in the sampler's coordinates, shape (chains, D).
    warmup_gradients
        Gradient evaluations spent on warm-up, all chains.
    complete
        Whether all draws asked for were taken.
    method, chain_method
        Parametrisation, and how the chains were run.
    num_warmup, max_tree_depth, seed
        Warm-up iterations of each chain, doublings allowed, and the seed.
    """

    draws: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    inverse_mass_matrix: np.ndarray
    warmup_gradients: int
    complete: bool
    method: str
    chain_method: str
    num_warmup: int
    max_tree_depth: int
    seed: int


def sample_nuts(
    data: GroupedData | GroupStatistics,
    advi: ADVIResult,
    *,
    method: str | None = None,
    priors: Priors | None = None,
    draws: int = 1000,
    chains: int = 4,
    num_warmup: int = 500,
    seed: int = 0,
    target_accept_prob: float = 0.9,
    max_tree_depth: int = 10,
    chain_method: str | None = None,
    dtype: str = "float64",
    progress_bar: bool = True,
) -> NUTSResult:
    """Draw from the posterior with NUTS, from the guide's draws and with its variances.

    Parameters
    ----------
    data
        Rows or statistics.
    advi
        The fitted guide; its model is sampled.
    method
        ``"noncentered"`` (default of the hierarchical model), ``"centered"`` or
        ``"marginal"``; see ``parametrisation.py``.
    priors
        Default: :meth:`Priors.weakly_informative` of the data.
    draws, chains, num_warmup
        Draws kept of each chain, number of chains, and warm-up iterations of each.
    seed
        Seed of the starting points and of the chains.
    target_accept_prob
        Acceptance probability that the step size is tuned to.
    max_tree_depth
        Doublings of a trajectory at the most.
    chain_method
        ``"sequential"`` (one after the other), ``"parallel"`` (spread over the devices) or
        ``"vectorized"`` (all at once, for a GPU). Default: by the devices there are.
    dtype
        ``"float64"`` or ``"float32"``.
    progress_bar
        Show iterations, divergences and tree size on a terminal.

    Returns
    -------
    NUTSResult
        With fewer draws, and ``complete`` false, after Ctrl-C during sampling.

    Raises
    ------
    ValueError
        If an argument is out of range.
    FloatingPointError
        If the log density is not finite where a chain starts.
    KeyboardInterrupt
        On Ctrl-C before the first draw is kept.
    """
    check_arguments(advi.model, method, chain_method, draws, chains, num_warmup)
    statistics = unlabelled(as_statistics(data))
    priors = Priors.weakly_informative(statistics) if priors is None else priors
    method = METHODS[advi.model][0] if method is None else method
    coordinates = parametrisation(advi.model, method)
    target = coordinates.data(statistics)
    fixed: dict[str, Any] = {
        "model": coordinates.model,
        "chain_method": default_chain_method(chains) if chain_method is None else chain_method,
        "num_warmup": num_warmup,
        "target_accept_prob": target_accept_prob,
        "max_tree_depth": max_tree_depth,
    }
    with precision(dtype):
        warm_key, chain_key, draw_key = jax.random.split(jax.random.key(seed), 3)
        position, variance = warm_start(
            warm_key, advi, statistics, priors, method=method, chains=chains
        )
        keys = jax.random.split(chain_key, chains)
        unit = jnp.sqrt(variance)
        state = _begin(keys, position, target, priors, unit, **fixed)
        _check_start(state)
        progress = tqdm(
            total=num_warmup + draws, disable=not progress_bar, unit="draw", desc="NUTS"
        )
        with progress as bar:
            state, blocks, warmup_gradients = _run_blocks(
                state, draws, bar, (target, priors, unit), fixed
            )
        stats = {name: np.concatenate([b[name] for b in blocks], axis=1) for name in blocks[0]}
        sites = _constrain(draw_key, stats.pop("position"), target, priors, coordinates=coordinates)
    return NUTSResult(
        draws={name: np.asarray(sites[name]) for name in advi.means},
        stats=stats,
        inverse_mass_matrix=np.asarray(state.adapt_state.inverse_mass_matrix * variance),
        warmup_gradients=warmup_gradients,
        complete=stats["lp"].shape[1] == draws,
        method=method,
        chain_method=fixed["chain_method"],
        num_warmup=num_warmup,
        max_tree_depth=max_tree_depth,
        seed=seed,
    )


def _check_start(state: Any) -> None:
    log_density = -np.asarray(state.potential_energy)
    if not np.isfinite(log_density).all():
        raise FloatingPointError(
            "Expected a finite log density where each chain starts; got "
            f"{log_density.tolist()}. Check the units of the data against the priors"
        )


def _run_blocks(
    state: Any,
    draws: int,
    bar: Any,
    arguments: tuple[Any, Priors, Any],
    fixed: dict[str, Any],
) -> tuple[Any, list[dict[str, np.ndarray]], int]:
    """Warm up and sample; an interrupt ends sampling and keeps what is drawn."""
    num_warmup = fixed["num_warmup"]
    blocks: list[dict[str, np.ndarray]] = []
    done, warmup_gradients, diverging = 0, 0, 0
    try:
        while done < num_warmup + draws:
            warming = done < num_warmup
            length = min(BLOCK, (num_warmup if warming else num_warmup + draws) - done)
            state, buffers = _block(state, length, *arguments, **fixed)
            block = {name: np.asarray(value)[:, :length] for name, value in buffers.items()}
            done += length
            if warming:
                warmup_gradients += int(block["n_steps"].sum())
                phase = "warm-up"
            else:
                blocks.append(block)
                diverging += int(block["diverging"].sum())
                phase = f"{diverging} divergences"
            bar.set_postfix_str(f"{phase}, tree size {block['n_steps'].mean():.0f}", refresh=False)
            bar.update(length)
    except KeyboardInterrupt:
        if not blocks:
            raise
    return state, blocks, warmup_gradients


def default_chain_method(chains: int) -> str:
    """How to run chains on the devices there are.

    On a GPU all at once. On CPU devices spread over them where they divide the chains, else
    one after the other: a vectorised NUTS waits for the longest trajectory of all chains.

    Parameters
    ----------
    chains
        Number of chains.
    """
    if jax.default_backend() != "cpu":
        return "vectorized"
    devices = jax.local_device_count()
    return "parallel" if devices > 1 and chains % devices == 0 else "sequential"


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


def check_arguments(
    model: str,
    method: str | None,
    chain_method: str | None,
    draws: int,
    chains: int,
    num_warmup: int,
) -> None:
    """Refuse arguments of :func:`sample_nuts` that are out of range, before any work.

    Parameters
    ----------
    model, method, chain_method, draws, chains, num_warmup
        As in :func:`sample_nuts`.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    if model not in METHODS:
        raise ValueError(f"Expected model to be one of {', '.join(METHODS)}; got {model!r}")
    if method is not None and method not in METHODS[model]:
        raise ValueError(
            f"Expected method of the {model} model to be one of {', '.join(METHODS[model])}; "
            f"got {method!r}"
        )
    if chain_method is not None and chain_method not in CHAIN_METHODS:
        raise ValueError(
            f"Expected chain_method to be one of {', '.join(CHAIN_METHODS)}; got {chain_method!r}"
        )
    least = {"draws": (draws, 4), "chains": (chains, 1), "num_warmup": (num_warmup, 20)}
    for name, (value, minimum) in least.items():
        if not isinstance(value, int) or value < minimum:
            raise ValueError(f"Expected {name} to be an integer of at least {minimum}; got {value}")
    if chain_method == "parallel" and chains % jax.local_device_count():
        raise ValueError(
            f"Expected chains to be a multiple of the {jax.local_device_count()} devices for "
            f"chain_method='parallel'; got {chains}"
        )


@partial(jax.jit, static_argnames=("model", "coordinates", "chains"))
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


_FIXED = ("model", "chain_method", "num_warmup", "target_accept_prob", "max_tree_depth")


@partial(jax.jit, static_argnames=_FIXED)
def _begin(
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
    def start(mine: Any, shared: Any) -> Any:
        key, position = mine
        target, priors, unit = shared
        kernel = _kernel(target, priors, unit, **settings)
        return strong_types(kernel.init(key, num_warmup, init_params=position / unit))

    return _over_chains(start, chain_method, (keys, position), (target, priors, unit))


@partial(jax.jit, static_argnames=_FIXED)
def _block(
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
    """``length`` iterations of every chain, at most BLOCK, recorded in buffers of BLOCK."""

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


@partial(jax.jit, static_argnames=("coordinates",))
def _constrain(
    key: Any, position: Any, target: Any, priors: Priors, *, coordinates: Parametrisation
) -> dict[str, Any]:
    """Draws of the sites of the model as written from positions of the sampler."""
    model = coordinates.model
    unravel = unraveller(model, target, priors)

    def sites(draw: Any) -> Any:
        key, position = draw
        values = constrain_fn(
            model, (target, priors), {}, unravel(position), return_deterministic=True
        )
        return coordinates.from_sampler(key, values, target, priors)

    shape = position.shape[:2]
    flat = position.reshape(-1, position.shape[-1])
    out = jax.lax.map(
        sites, (jax.random.split(key, len(flat)), flat), batch_size=min(100, len(flat))
    )
    return {name: value.reshape(*shape, *value.shape[1:]) for name, value in out.items()}
