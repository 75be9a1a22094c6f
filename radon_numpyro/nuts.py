"""The No-U-Turn sampler, started and mass-scaled by ADVI, in resumable blocks.

The sampler runs in compiled blocks (``blocks.py``). Between them, in Python, the bar moves and an
interrupt is noticed. Draws depend neither on the size of the blocks nor on the bar.

References
----------
Hoffman and Gelman (2014), The No-U-Turn sampler, JMLR 15, 1593-1623.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from numpyro.infer.util import constrain_fn
from tqdm.auto import tqdm

from radon_numpyro import blocks
from radon_numpyro.advi import ADVIResult
from radon_numpyro.data import GroupedData
from radon_numpyro.equations import NormalEquations
from radon_numpyro.marginal import coefficient_moments
from radon_numpyro.models import MODELS, Model
from radon_numpyro.parametrisation import METHODS, Parametrisation, parametrisation
from radon_numpyro.priors import Priors
from radon_numpyro.programs import (
    latent_transforms,
    precision,
    program,
    unlabelled,
    unraveller,
)
from radon_numpyro.statistics import GroupStatistics, as_statistics

GUIDE_DRAWS = 1000
OVERDISPERSION = 2.0
MAX_DRAWS_BYTES = 2**30
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
    coefficients
        Where draws of alpha and beta were not kept: their ``(mean, sd)``, shaped as the site.
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
    coefficients: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def attributes(self) -> dict[str, Any]:
        """What a result records of how it was drawn."""
        return {
            "method": self.method,
            "seed": self.seed,
            "complete": int(self.complete),
            "num_warmup": self.num_warmup,
            "warmup_gradients": self.warmup_gradients,
            "sampling_gradients": int(self.stats["n_steps"].sum()),
            "chain_method": self.chain_method,
            "max_tree_depth": self.max_tree_depth,
        }


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
    target_accept_prob: float | None = None,
    max_tree_depth: int = 10,
    chain_method: str | None = None,
    coefficients: str = "auto",
    use_guide: bool = True,
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
        Hierarchical model: ``"marginal"`` (default), ``"noncentered"`` or ``"centered"``; the
        others: ``"centered"``. See ``parametrisation.py``.
    priors
        Default: :meth:`Priors.weakly_informative` of the data.
    draws, chains, num_warmup
        Draws kept of each chain, number of chains, and warm-up iterations of each.
    seed
        Seed of the starting points and of the chains.
    target_accept_prob
        Acceptance probability that the step size is tuned to. Default: 0.8 by the marginal method,
        whose density is smooth and of few dimensions, 0.9 by the others.
    max_tree_depth
        Doublings of a trajectory at the most.
    chain_method
        ``"sequential"`` (one after the other), ``"parallel"`` (spread over the devices) or
        ``"vectorized"`` (all at once, for a GPU). Default: by the devices there are.
    coefficients
        ``"draws"`` keeps draws of alpha and beta, ``"summary"`` their posterior means and
        standard deviations alone, averaged over the draws of the scales in closed form, ``"none"``
        leaves them out (both by the marginal method). ``"auto"``: a summary where the draws would
        take more than 1 GiB.
    use_guide
        Start and scale by the guide. If not, as NumPyro does by default: uniform on (-2, 2) and
        an identity mass matrix, for comparison.
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
    method = default_method(advi.model) if method is None else method
    check_arguments(advi.model, method, chain_method, draws, chains, num_warmup)
    if (advi.model, method) in (("individual", "marginal"), ("pooled", "marginal")):
        raise ValueError(
            f"Expected a method that NUTS samples; got 'marginal' of the {advi.model} model, "
            "which draw_exact draws"
        )
    statistics = unlabelled(as_statistics(data))
    priors = Priors.weakly_informative(statistics) if priors is None else priors
    kept = _kept(coefficients, method, statistics, draws * chains, dtype)
    coordinates = parametrisation(advi.model, method if kept == "draws" else f"{method} means")
    target = coordinates.data(statistics)
    if target_accept_prob is None:
        target_accept_prob = 0.8 if method == "marginal" else 0.9
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
        if not use_guide:
            position = jax.random.uniform(warm_key, position.shape, minval=-2.0, maxval=2.0)
            variance = jnp.ones_like(variance)
        keys = jax.random.split(chain_key, chains)
        unit = jnp.sqrt(variance)
        state = blocks.begin(keys, position, target, priors, unit, **fixed)
        _check_start(state)
        progress = tqdm(
            total=num_warmup + draws, disable=not progress_bar, unit="draw", desc="NUTS"
        )
        with progress as bar:
            state, records, warmup_gradients = _run_blocks(
                state, draws, bar, (target, priors, unit), fixed
            )
        stats = {name: np.concatenate([r[name] for r in records], axis=1) for name in records[0]}
        sites = _constrain(draw_key, stats.pop("position"), target, priors, coordinates=coordinates)
        moments = _coefficient_moments(sites, target, priors) if kept == "summary" else {}
    return NUTSResult(
        draws={name: np.asarray(sites[name]) for name in advi.means if name in sites},
        coefficients=moments,
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


def _kept(
    coefficients: str, method: str, statistics: GroupStatistics, num_draws: int, dtype: str
) -> str:
    """What is kept of the coefficients: draws, a summary or none."""
    if coefficients not in ("auto", "draws", "summary", "none"):
        raise ValueError(
            "Expected coefficients to be 'auto', 'draws', 'summary' or 'none'; "
            f"got {coefficients!r}"
        )
    if coefficients in ("summary", "none") and method != "marginal":
        raise ValueError(
            "Expected method='marginal' of the hierarchical model for "
            f"coefficients={coefficients!r}; got {method!r}"
        )
    if coefficients != "auto":
        return coefficients
    size = statistics.num_groups * (statistics.num_predictors + 1)
    too_many = num_draws * size * np.dtype(dtype).itemsize > MAX_DRAWS_BYTES
    return "summary" if method == "marginal" and too_many else "draws"


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
    records: list[dict[str, np.ndarray]] = []
    done, warmup_gradients, diverging = 0, 0, 0
    try:
        while done < num_warmup + draws:
            warming = done < num_warmup
            length = min(blocks.BLOCK, (num_warmup if warming else num_warmup + draws) - done)
            state, buffers = blocks.advance(state, length, *arguments, **fixed)
            record = {name: np.asarray(value)[:, :length] for name, value in buffers.items()}
            done += length
            if warming:
                warmup_gradients += int(record["n_steps"].sum())
                phase = "warm-up"
            else:
                records.append(record)
                diverging += int(record["diverging"].sum())
                phase = f"{diverging} divergences"
            bar.set_postfix_str(f"{phase}, tree size {record['n_steps'].mean():.0f}", refresh=False)
            bar.update(length)
    except KeyboardInterrupt:
        if not records:
            raise
    return state, records, warmup_gradients


def default_method(model: str) -> str:
    """The method that NUTS samples a model by if none is asked for.

    Parameters
    ----------
    model
        Name of the model.
    """
    return "marginal" if model == "hierarchical" else "centered"


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
        if not isinstance(value, Integral) or value < minimum:
            raise ValueError(f"Expected {name} to be an integer of at least {minimum}; got {value}")
    if chain_method == "parallel" and chains % jax.local_device_count():
        raise ValueError(
            f"Expected chains to be a multiple of the {jax.local_device_count()} devices for "
            f"chain_method='parallel'; got {chains}"
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


@program("coordinates")
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


def _coefficient_moments(
    sites: Mapping[str, Any], equations: NormalEquations, priors: Priors
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    names = [n for n in ("sigma_alpha", "sigma_beta", "eps") if n in sites]
    scales = {n: sites[n].reshape(-1, *sites[n].shape[2:]) for n in names}
    mean, sd = (np.asarray(moment) for moment in _mean_and_sd(scales, equations, priors))
    moments = {"alpha": (mean[:, 0], sd[:, 0])}
    if equations.size > 1:
        moments["beta"] = (mean[:, 1:], sd[:, 1:])
    return moments


@program()
def _mean_and_sd(scales: Any, equations: NormalEquations, priors: Priors) -> tuple[Any, Any]:
    """Rao-Blackwell: mean of the conditional means, total variance, over draws of the scales."""

    def add(sums: Any, draw: Any) -> Any:
        scale = [draw["sigma_alpha"], *draw.get("sigma_beta", ())]
        mean, variance = coefficient_moments(equations, scale, draw["eps"], priors)
        centred = mean - centre
        new = (centred, centred**2, variance)
        return jax.tree.map(jnp.add, sums, new), None

    # About the first draw's mean, so that the squares do not cancel.
    first = jax.tree.map(lambda v: v[0], scales)
    scale = [first["sigma_alpha"], *first.get("sigma_beta", ())]
    centre = coefficient_moments(equations, scale, first["eps"], priors)[0]
    zero = (jnp.zeros_like(centre),) * 3
    sums = jax.lax.scan(add, zero, scales)[0]
    shift, square, variance = (s / len(scales["eps"]) for s in sums)
    return centre + shift, jnp.sqrt(square - shift**2 + variance)
