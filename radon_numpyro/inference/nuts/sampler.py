"""The No-U-Turn sampler, started and mass-scaled by ADVI, in resumable blocks.

The sampler runs in compiled blocks (``inference/nuts/blocks.py``). Between blocks, Python updates
the progress bar, checks interrupts and stop rules, and saves the state. On the CPU, draws do not
depend on the sizes of blocks, the bar, or the number of cores and devices. Vectorized chains differ
from sequential chains by rounding, which grows along a chain until the draws are different draws
from the same posterior.

References
----------
Hoffman and Gelman (2014), The No-U-Turn sampler, JMLR 15, 1593-1623.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.inference.advi.guide import ADVIResult
from radon_numpyro.inference.compute.programs import precision, unlabelled
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.nuts import draws as constraining
from radon_numpyro.inference.nuts.chains import Drawn, run_chains
from radon_numpyro.inference.nuts.coefficients import given_scales
from radon_numpyro.inference.nuts.draws import constrain
from radon_numpyro.inference.nuts.effective_size import EssTarget
from radon_numpyro.inference.nuts.parametrisation import parametrisation
from radon_numpyro.inference.nuts.result import NUTSResult
from radon_numpyro.inference.nuts.warm_start import warm_start
from radon_numpyro.inference.runs.run_control import Run, progress
from radon_numpyro.inference.settings import Settings, choose_method
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.consistency import as_statistics
from radon_numpyro.statistics.group_statistics import GroupStatistics

# Names of the runs of the chains in a checkpoint.
PARTS = ("nuts", "nutssecond", "nutsthird")


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
    """Draw from the posterior with NUTS, started by draws of the guide and scaled by its variances.

    Parameters
    ----------
    data
        Rows or statistics.
    advi
        The fitted guide; its model is sampled.
    method
        For the hierarchical model ``"marginal"`` (default for at most 20 varying slopes),
        ``"noncentered"`` (default for more) or ``"centered"``; for the other models
        ``"centered"``. See ``inference/nuts/parametrisation.py``.
    priors
        Default: :meth:`Priors.weakly_informative` of the data.
    draws, chains, num_warmup
        Draws kept from each chain (the maximum, if a stop rule below is given), number of chains,
        and warm-up iterations of each chain.
    seed
        Seed of the starting points and of the chains.
    target_accept_prob
        Target acceptance probability of the step size adaptation. The default of the marginal
        method is 0.95 for at most 20 groups with rows, and 0.8 for more. If draws diverge, it is
        followed by runs with 0.95 and 0.99 (see the notes). The other methods have 0.9 and a single
        run.
    max_tree_depth
        Maximum number of doublings of a trajectory.
    chain_method
        ``"sequential"`` (one chain after another), ``"parallel"`` (in threads, with the same draws)
        or ``"vectorized"`` (all chains at once, for a GPU). Default: chosen for the machine.
    coefficients
        ``"draws"`` keeps draws of alpha and beta. ``"summary"`` keeps only their posterior means
        and standard deviations, averaged in closed form over up to 512 draws of the scales.
        ``"none"`` keeps nothing of them; both need the marginal method. ``"auto"`` is a summary if
        the draws would take more than 1 GiB.
    target_ess
        Stop when the smallest bulk or tail effective sample size reaches this value. The marginal
        method checks the scales and eps, because all other sites are drawn exactly given them; the
        other methods check every site. The first check is after 100 draws of each chain, and later
        checks are less frequent (``inference/nuts/effective_size.py``).
    max_seconds
        Stop after this many seconds, and keep the draws so far.
    use_guide
        Whether to start and scale by the guide. If not, chains start as by default in NumPyro,
        uniformly on (-2, 2) and with an identity mass matrix, for comparison.
    dtype
        ``"float64"`` or ``"float32"``.
    progress_bar
        Show iterations, divergences and tree size, on a terminal or in a notebook.

    Returns
    -------
    NUTSResult
        ``stopped_by`` says why sampling ended. After ``max_seconds``, Ctrl-C or SIGTERM there are
        fewer draws, and ``complete`` is false.

    Raises
    ------
    ValueError
        If an argument is out of range.
    FloatingPointError
        If the log density is not finite where a chain starts.
    KeyboardInterrupt, TimeoutError
        On Ctrl-C or SIGTERM, or after ``max_seconds``, before the first draw is kept.

    Notes
    -----
    With few groups, the posterior of the population scales under the marginal method is skewed, and
    its density falls steeply towards 0. Occasionally a step of the usual length ends on this slope
    and the next step goes far out. This counts as a divergence, although shorter steps reach all of
    the posterior. Therefore, if ``target_accept_prob`` is not given and any draw diverges, all
    chains start again from the same points with shorter steps. Only the last run is kept and
    checked, even if it still diverges at 0.99. ``earlier_runs`` describes the runs before it. If
    Ctrl-C, SIGTERM or ``max_seconds`` end such a run early, the complete run before it is kept with
    its divergences, ``unfinished_run`` describes the incomplete one, and ``complete`` is false.

    The other methods get a single run. Their divergences come from a funnel, and shorter steps
    would hide it rather than explore it.
    """
    if method is None and not Model.named(advi.model).population:
        method = "centered"
    statistics = as_statistics(data)
    method, _ = choose_method(advi.model, method, statistics.labels.design)
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
    """Draw by NUTS as part of a run; see :func:`sample_nuts`.

    Parameters
    ----------
    statistics, advi, priors, use_guide, progress_bar
        As in :func:`sample_nuts`.
    settings
        Settings of the run.
    run
        Control of the run, which saves the blocks and may end them.
    """
    statistics = unlabelled(statistics)
    keep = settings.coefficients_kept(statistics.num_groups, len(statistics.labels.design.varying))
    method = str(settings.method)
    coordinates = parametrisation(advi.model, method)
    target = coordinates.data(statistics)
    fixed = {"coordinates": coordinates, **settings.sampler()}
    with precision(settings.dtype):
        start = warm_start(advi, statistics, priors, settings)
        if not use_guide:
            start = start.without_guide(settings.seed)
        reduced = coordinates.reduced(target)
        arguments = (reduced, priors, start.unit)
        # All runs start from the same state, which does not depend on the target acceptance.
        states = blocks.begin(
            start.chain_keys, start.position, *arguments, target_accept_prob=0.8, **fixed
        )
        _check_start(states)

        def watched(position: np.ndarray) -> dict[str, np.ndarray]:
            sites = constrain(position, reduced, priors, coordinates=coordinates)
            # Use partial correlations, because many entries of a correlation matrix are constant.
            names = (advi.means.keys() | advi.locs.keys()) - {"correlation"}
            return {name: draws for name, draws in sites.items() if name in names}

        def prepare() -> None:
            constraining.prepare(start.position, reduced, priors, coordinates=coordinates)

        runs: list[Drawn] = []
        for part, accept in zip(PARTS, settings.acceptances(_num_groups(statistics)), strict=False):
            with progress(
                total=settings.num_warmup + settings.draws,
                shown=progress_bar,
                unit="draw",
                desc=f"NUTS, target acceptance {accept:g}" if runs else "NUTS",
            ) as bar:
                runs.append(
                    run_chains(
                        part,
                        states,
                        arguments,
                        settings,
                        run,
                        bar,
                        prepare=prepare,
                        pace=blocks.Pace(statistics.num_groups, start.position.size),
                        target=(
                            None
                            if settings.target_ess is None
                            else EssTarget(settings.target_ess, watched)
                        ),
                        target_accept_prob=accept,
                        **fixed,
                    )
                )
            if not runs[-1].again:
                break
        kept, earlier, unfinished = _kept(runs)
        stats = dict(kept.stats)
        position = stats.pop("position")
        with run.deferred():
            sites = constrain(position, reduced, priors, coordinates=coordinates)
            moments: Any = {}
            if method == "marginal":
                drawn, moments = given_scales(
                    sites, target, reduced, priors, seed=settings.seed, kept=keep
                )
                sites |= drawn
    return NUTSResult(
        draws={name: sites[name] for name in advi.means if name in sites},
        coefficients=moments,
        stats=stats,
        inverse_mass_matrix=start.variance
        * np.concatenate([state.adapt_state.inverse_mass_matrix for state in kept.states]),
        warmup_gradients=sum(drawn.gradients for drawn in runs) - int(stats["n_steps"].sum()),
        stopped_by=runs[-1].stopped_by,
        method=method,
        chain_method=fixed["chain_method"],
        num_warmup=settings.num_warmup,
        max_tree_depth=settings.max_tree_depth,
        seed=settings.seed,
        target_accept_prob=kept.target_accept_prob,
        earlier_runs=tuple(_described(drawn) for drawn in earlier),
        unfinished_run=None if unfinished is None else _described(unfinished),
    )


def _kept(runs: list[Drawn]) -> tuple[Drawn, list[Drawn], Drawn | None]:
    """Return the run to keep, the runs before it, and a run after it that ended early.

    The last run is kept. If it ended early, the complete run before it is kept instead, if there is
    one.
    """
    last = runs[-1]
    if last.end is None:
        return last, runs[:-1], None
    if len(runs) > 1:
        return runs[-2], runs[:-2], last
    if not last.draws:
        raise last.end
    return last, [], None


def _described(drawn: Drawn) -> dict[str, Any]:
    return {
        "target_accept_prob": drawn.target_accept_prob,
        "draws": drawn.draws,
        "divergences": drawn.divergences,
    }


def _num_groups(statistics: GroupStatistics) -> int:
    """Return the number of groups with rows; only these have information about the scales."""
    return int((np.asarray(statistics.count) > 0).sum())


def _check_start(states: tuple[Any, ...]) -> None:
    log_density = -np.concatenate([state.potential_energy for state in states])
    if not np.isfinite(log_density).all():
        raise FloatingPointError(
            "Expected a finite log density where each chain starts; got "
            f"{log_density.tolist()}. Check the units of the data against the priors"
        )
