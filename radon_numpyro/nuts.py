"""The No-U-Turn sampler, started and mass-scaled by ADVI, in resumable blocks.

The sampler runs in compiled blocks (``blocks.py``). Between them, in Python, the bar moves, an
interrupt is noticed, the stop rules are looked at and the state is kept. On the CPU, draws depend
neither on the size of the blocks nor on the bar nor on the cores and devices; chains that run
``"vectorized"`` differ from chains one after another by roundings, which a chain enlarges until it
is another draw from the same posterior.

References
----------
Hoffman and Gelman (2014), The No-U-Turn sampler, JMLR 15, 1593-1623.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from tqdm.auto import tqdm

from radon_numpyro import blocks
from radon_numpyro import constrain as constraining
from radon_numpyro.advi import ADVIResult
from radon_numpyro.arrays import Arrays
from radon_numpyro.constrain import constrain, sampled
from radon_numpyro.data import GroupedData
from radon_numpyro.ess import EssTarget
from radon_numpyro.parametrisation import parametrisation
from radon_numpyro.priors import Priors
from radon_numpyro.programs import precision, random_key, unlabelled
from radon_numpyro.rao_blackwell import posterior_moments
from radon_numpyro.run import ALL_DRAWS, INTERRUPTED, MAX_SECONDS, TARGET_ESS, Run, is_complete
from radon_numpyro.settings import Settings
from radon_numpyro.sharding import split_groups
from radon_numpyro.statistics import GroupStatistics, as_statistics
from radon_numpyro.warm_start import warm_start


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
    stopped_by
        Why sampling ended: ``"all draws taken"``, ``"target_ess reached"``, ``"max_seconds"`` or
        ``"interrupted"``.
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
    stopped_by: str
    method: str
    chain_method: str
    num_warmup: int
    max_tree_depth: int
    seed: int
    coefficients: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the draws asked for were taken, or as many as reach ``target_ess``."""
        return is_complete(self.stopped_by)

    def attributes(self) -> dict[str, Any]:
        """What a result records of how it was drawn."""
        return {
            "method": self.method,
            "seed": self.seed,
            "complete": int(self.complete),
            "stopped_by": self.stopped_by,
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
    target_ess: float | None = None,
    max_seconds: float | None = None,
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
        Draws kept of each chain (at the most, with the stop rules below), number of chains, and
        warm-up iterations of each.
    seed
        Seed of the starting points and of the chains.
    target_accept_prob
        Acceptance probability that the step size is tuned to. Default: 0.8 by the marginal method,
        whose density is smooth and of few dimensions, 0.9 by the others.
    max_tree_depth
        Doublings of a trajectory at the most.
    chain_method
        ``"sequential"`` (one after the other), ``"parallel"`` (side by side in threads, with the
        same draws) or ``"vectorized"`` (all at once, for a GPU). Default: by the machine.
    coefficients
        ``"draws"`` keeps draws of alpha and beta, ``"summary"`` their posterior means and
        standard deviations alone, averaged over the draws of the scales in closed form, ``"none"``
        leaves them out (both by the marginal method). ``"auto"``: a summary where the draws would
        take more than 1 GiB.
    target_ess
        Stop when the smallest bulk or tail effective sample size reaches this. By the marginal
        method that of the scales and eps, given which all others are drawn exactly; by the other
        methods of every site. Looked at after 100 draws of each chain, then ever more rarely
        (``ess.py``).
    max_seconds
        Stop after this time by the clock, and keep what is drawn.
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
        ``stopped_by`` says why it ended. With fewer draws, and ``complete`` false, after
        ``max_seconds``, Ctrl-C or SIGTERM.

    Raises
    ------
    ValueError
        If an argument is out of range.
    FloatingPointError
        If the log density is not finite where a chain starts.
    KeyboardInterrupt, TimeoutError
        On Ctrl-C or SIGTERM, or after ``max_seconds``, before the first draw is kept.
    """
    if method is None:
        method = "marginal" if advi.model == "hierarchical" else "centered"
    settings = Settings(
        model=advi.model,
        method=method,
        draws=draws,
        chains=chains,
        num_warmup=num_warmup,
        seed=seed,
        target_accept_prob=target_accept_prob,
        max_tree_depth=max_tree_depth,
        chain_method=chain_method,
        coefficients=coefficients,
        dtype=dtype,
        target_ess=target_ess,
        max_seconds=max_seconds,
    )
    if settings.is_exact:
        raise ValueError(
            f"Expected a method that NUTS samples; got 'marginal' of the {advi.model} model, "
            "which draw_exact draws"
        )
    with Run(max_seconds=max_seconds) as run:
        statistics = as_statistics(data)
        priors = Priors.weakly_informative(statistics) if priors is None else priors
        return draw_nuts(
            statistics, advi, priors, settings, run, use_guide=use_guide, progress_bar=progress_bar
        )


def draw_nuts(
    statistics: GroupStatistics,
    advi: ADVIResult,
    priors: Priors,
    settings: Settings,
    run: Run,
    *,
    use_guide: bool = True,
    progress_bar: bool,
) -> NUTSResult:
    """:func:`sample_nuts` as a part of a run.

    Parameters
    ----------
    statistics, advi, priors, use_guide, progress_bar
        As in :func:`sample_nuts`.
    settings
        Those of the run.
    run
        What keeps the blocks and may end them.
    """
    statistics = unlabelled(statistics)
    kept = settings.coefficients_kept(statistics.num_groups, statistics.num_predictors)
    method = str(settings.method)
    coordinates = parametrisation(advi.model, method if kept == "draws" else f"{method} means")
    target = coordinates.data(statistics)
    fixed = {"model": coordinates.model, **settings.sampler()}
    with precision(settings.dtype):
        key = random_key(settings.seed)
        start = warm_start(key, advi, statistics, priors, method=method, chains=settings.chains)
        if not use_guide:
            start = start.without_guide(jax.random.split(key, 3)[0])
        reduced = coordinates.reduced(target)
        # For the sampler alone: what is drawn given the position is drawn in one place.
        arguments = (split_groups(reduced, settings.num_devices), priors, start.unit)
        state = blocks.begin(start.chain_keys, start.position, *arguments, **fixed)
        _check_start(state)

        def watched(position: np.ndarray) -> dict[str, np.ndarray]:
            sites = sampled(position, reduced, priors, coordinates=coordinates)
            return {name: np.asarray(v) for name, v in sites.items() if name in advi.means}

        drawn_from = target if kept == "draws" else reduced

        def prepare() -> None:
            chains, size = start.position.shape
            shape = jax.ShapeDtypeStruct((chains, settings.draws, size), start.position.dtype)
            constraining.prepare(start.draw_key, shape, drawn_from, priors, coordinates=coordinates)

        total = settings.num_warmup + settings.draws
        with tqdm(total=total, disable=not progress_bar, unit="draw", desc="NUTS") as bar:
            state, records, warmup_gradients, stopped_by = _run_blocks(
                state,
                settings,
                run,
                bar,
                arguments,
                fixed,
                blocks.Pace(statistics.num_groups, start.position.size),
                None if settings.target_ess is None else EssTarget(settings.target_ess, watched),
                prepare,
            )
        stats = {name: np.concatenate([r[name] for r in records], axis=1) for name in records[0]}
        position = stats.pop("position")
        with run.deferred():
            sites = constrain(
                start.draw_key,
                position,
                drawn_from,
                priors,
                coordinates=coordinates,
                room=settings.draws,
            )
            moments = posterior_moments(sites, target, priors) if kept == "summary" else {}
    return NUTSResult(
        draws={name: sites[name] for name in advi.means if name in sites},
        coefficients=moments,
        stats=stats,
        inverse_mass_matrix=np.asarray(state.adapt_state.inverse_mass_matrix)
        * np.asarray(start.variance),
        warmup_gradients=warmup_gradients,
        stopped_by=stopped_by,
        method=method,
        chain_method=fixed["chain_method"],
        num_warmup=settings.num_warmup,
        max_tree_depth=settings.max_tree_depth,
        seed=settings.seed,
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
    settings: Settings,
    run: Run,
    bar: Any,
    arguments: tuple[Any, Priors, Any],
    fixed: dict[str, Any],
    pace: blocks.Pace,
    target: EssTarget | None,
    prepare: Callable[[], None],
) -> tuple[Any, list[dict[str, np.ndarray]], int, str]:
    """Warm up and sample; whatever ends sampling early keeps what is drawn.

    Before the first draw, ``prepare`` has compiled what makes the sites of the draws, so that an
    early end need not wait for it. The summary of coefficients that are not drawn is compiled after
    the end, for as many draws as there are.
    """
    num_warmup, total = settings.num_warmup, settings.num_warmup + settings.draws
    records: list[dict[str, np.ndarray]] = []
    done, warmup_gradients, diverging = 0, 0, 0

    def advance(state: Any) -> tuple[Any, Arrays]:
        started = time.monotonic()
        length = min(pace.length, left)
        if target is not None and done >= num_warmup:
            length = min(length, target.due)
        state, buffers = blocks.advance(state, length, *arguments, **fixed)
        # Of the warm-up nothing else is used. A copy, for the buffers may be far longer.
        names = ("n_steps",) if done < num_warmup else tuple(buffers)
        record = {name: np.asarray(buffers[name])[:, :length].copy() for name in names}
        pace.took(length, time.monotonic() - started)
        return state, record

    try:
        while done < total:
            warming = done < num_warmup
            left = (num_warmup if warming else total) - done
            if not warming and not records:
                prepare()
            state, kept = run.step("nuts", state, advance)
            # A kept block may reach beyond the draws asked for now.
            record = {name: values[:, :left] for name, values in kept.items()}
            length = record["n_steps"].shape[1]
            done += length
            phase = "warm-up"
            if warming:
                warmup_gradients += int(record["n_steps"].sum())
            else:
                records.append(record)
                diverging += int(record["diverging"].sum())
                phase = f"{diverging} divergences"
            bar.set_postfix_str(f"{phase}, tree size {record['n_steps'].mean():.0f}", refresh=False)
            bar.update(length)
            if target is not None and not warming:
                enough = target.reached(record["position"])
                if enough is not None:
                    surplus = done - num_warmup - enough
                    records[-1] = {name: v[:, : length - surplus] for name, v in record.items()}
                    return state, records, warmup_gradients, TARGET_ESS
    except (KeyboardInterrupt, TimeoutError) as end:
        if not records:
            raise
        stopped_by = INTERRUPTED if isinstance(end, KeyboardInterrupt) else MAX_SECONDS
        return state, records, warmup_gradients, stopped_by
    return state, records, warmup_gradients, ALL_DRAWS
