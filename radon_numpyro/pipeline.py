"""From data to a checked posterior: statistics, ADVI, draws, DataTree; and on from a checkpoint."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import xarray as xr

from radon_numpyro.data.findings import DataWarning, to_json
from radon_numpyro.data.frames import known_frame
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.inference import checkpoint as checkpoints
from radon_numpyro.inference.advi import fit_guide
from radon_numpyro.inference.checkpoint import Checkpoint
from radon_numpyro.inference.compilation import forget_line
from radon_numpyro.inference.device_choice import choose_device
from radon_numpyro.inference.devices import computing_on
from radon_numpyro.inference.fit_identity import (
    REMARKS,
    check_same,
    data_arrays,
    describe,
    go_further,
    restore,
)
from radon_numpyro.inference.inversion import ExactResult, check_residual, draw_exact
from radon_numpyro.inference.nuts import NUTSResult, draw_nuts
from radon_numpyro.inference.nuts_compilation import compile_nuts
from radon_numpyro.inference.parametrisation import choose_method
from radon_numpyro.inference.premises import premises
from radon_numpyro.inference.run_control import Run
from radon_numpyro.inference.settings import Settings, default_advi_steps
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors, resolve_priors
from radon_numpyro.results.datatree import describe_call, to_datatree
from radon_numpyro.statistics.consistency import as_statistics
from radon_numpyro.statistics.group_statistics import GroupStatistics


def fit(
    data: GroupedData | GroupStatistics | str,
    frame: Any = None,
    *,
    weights: str | None = None,
    se: str | None = None,
    model: str = "hierarchical",
    method: str | None = None,
    priors: Priors | Mapping[str, Any] | None = None,
    draws: int = 1000,
    chains: int = 4,
    num_warmup: int = 500,
    seed: int = 0,
    num_advi_steps: int | None = None,
    target_accept_prob: float | None = None,
    max_tree_depth: int = 10,
    chain_method: str | None = None,
    coefficients: str = "auto",
    dtype: str = "float64",
    device: str = "auto",
    target_ess: float | None = None,
    max_seconds: float | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress_bar: bool = True,
) -> xr.DataTree:
    """Fit a regression: ADVI on the sufficient statistics, then draws from the posterior.

    Parameters
    ----------
    data
        Rows or statistics; or a formula such as ``"y ~ x * c + (1 + x || group)"``, short for
        :meth:`GroupedData.from_formula` with ``frame``, or, of a frame that an engine holds, for
        :meth:`GroupStatistics.from_formula`.
    frame, weights, se
        The data frame of a formula, and columns that weigh its rows, as there.
    model
        ``"hierarchical"`` (partial pooling), ``"individual"`` (each group on its own; every
        coefficient must vary) or ``"pooled"`` (the formula without its random part).
    method
        ``"marginal"`` (default): the coefficients are integrated out and then drawn exactly;
        NUTS moves in the scales of the hierarchical model, and the other models need no chain.
        ``"noncentered"`` (hierarchical model) and ``"centered"`` (the model as written): NUTS on
        all parameters. The marginal method of the hierarchical model takes at most 20 slopes
        that vary by group: with more, ``"noncentered"`` is the default, and the attribute
        ``method_reason`` of the result says so.
    priors
        Default: :meth:`Priors.weakly_informative` of the data. :meth:`Priors.tutorial` has
        those of the radon tutorial. A dict changes some of the default by the name of the
        coefficient: ``{"SES": Normal(0, 2), "sd(SES)": HalfNormal(1)}``; see
        :meth:`Priors.with_coefficients`.
    draws, chains, num_warmup
        Draws kept of each chain (at the most, with the stop rules below), number of chains, and
        warm-up iterations of each.
    seed
        Seed of everything random.
    num_advi_steps
        Steps of ADVI at the most; it stops earlier when it has converged. Default: 100 000, or 0
        (the guide stays at its closed-form start) where the marginal method integrates more than
        2000 coefficients out; see :func:`radon_numpyro.inference.settings.default_advi_steps`.
    target_accept_prob, max_tree_depth
        Settings of NUTS; see :func:`sample_nuts`. By default a marginal run whose draws diverge is
        followed by one with shorter steps; an acceptance that is given gets a single run.
    chain_method
        ``"sequential"``, ``"parallel"`` or ``"vectorized"``; default by the machine.
    coefficients
        ``"draws"`` or ``"summary"`` of alpha and beta in the hierarchical model; ``"auto"``: a
        summary where the draws would take more than 1 GiB.
    dtype
        ``"float64"`` or ``"float32"``. The caller's own JAX setting is left alone.
    device
        ``"cpu"``, ``"gpu"``, or ``"auto"``: where JAX sees both, the one on which a step of the
        sampler takes less, measured on these data once in a process; or the one that
        ``jax.default_device`` was set to. Draws on a CPU and on a GPU differ, so name the device
        where the same draws are to come again. The attributes ``device`` and ``device_reason`` of
        the result say which it was, and why.
    target_ess
        Stop when the smallest bulk or tail effective sample size reaches this; see
        :func:`sample_nuts`. Exact draws, which are independent, are all taken.
    max_seconds
        Stop after this time by the clock, ADVI included, and keep what is drawn.
    checkpoint
        A folder in which the run is kept as it goes, so that :func:`resume`, or the same call
        again, goes on from where it ended, however it ended. If it holds a fit of the same data,
        priors, settings, versions and device, that fit goes on, up to the ``draws``, ``target_ess``
        and ``max_seconds`` given now; a fit of others is refused.
    progress_bar
        Show bars, on a terminal or in a notebook; a pipe or a file gets none.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``advi``, ``observed_data``, ``constant_data``;
        see ``results/datatree.py``. Pass it to :func:`diagnose` before reading it. The attribute
        ``stopped_by`` says why it ended: ``"all draws taken"``, ``"target_ess reached"``,
        ``"max_seconds"`` or ``"interrupted"`` (Ctrl-C or SIGTERM; what is drawn is kept).
        Of draws by NUTS, ``target_accept_prob`` is the acceptance that the steps of these draws
        were tuned to, and ``earlier_runs`` lists the runs before that diverged, in JSON: of each
        its ``target_accept_prob``, ``draws`` of a chain and ``divergences``. ``unfinished_run``,
        where there is one, says the same of a run after these draws that was ended early.

    Raises
    ------
    TypeError
        If ``data`` is neither rows nor statistics.
    ValueError
        If an argument is out of range, JAX does not see the device, no rows can have the
        statistics given, the outcomes are fitted exactly, or ``checkpoint`` holds another fit, is
        damaged, or is open in another process.
    FloatingPointError
        If the log density or a draw is not finite.
    KeyboardInterrupt, TimeoutError
        On Ctrl-C or SIGTERM, or after ``max_seconds``, before the first draw. A checkpoint has the
        steps of ADVI and of the warm-up.
    OSError
        If ``checkpoint`` cannot be written at the start. Later that is a warning, the run goes on
        in memory, and the attribute ``checkpoint_failure`` of the result says what was wrong if it
        never came right.

    Warns
    -----
    DataWarning
        For each finding that bears on the answer: of the audit of the data, where the answer
        depends on where the zero of a predictor lies, and where ``priors`` cut off what the data
        say or pull far away from it. They are kept in the attribute ``findings`` of the result, and
        :func:`diagnose` lists them.

    Examples
    --------
    >>> tree = fit(load_radon(), priors=Priors.tutorial())  # doctest: +SKIP
    """
    data = _data_of(data, frame, weights=weights, se=se)
    statistics = as_statistics(data)
    design = statistics.labels.design
    method, method_reason = choose_method(model, method, design)
    Model.named(model).check(design)
    if num_advi_steps is None:
        size = statistics.num_groups * len(design.varying)
        num_advi_steps = default_advi_steps(model, method, size)
    settings = Settings(
        model=model,
        method=method,
        draws=draws,
        chains=chains,
        num_warmup=num_warmup,
        seed=seed,
        num_advi_steps=num_advi_steps,
        target_accept_prob=target_accept_prob,
        max_tree_depth=max_tree_depth,
        chain_method=chain_method,
        coefficients=coefficients,
        dtype=dtype,
        device=device,
        target_ess=target_ess,
        max_seconds=max_seconds,
    )
    with Run(max_seconds=max_seconds) as run:
        check_residual(statistics, model)
        used = resolve_priors(priors, statistics)
        findings = premises(data, statistics, used, model)
        for finding in findings:
            warnings.warn(DataWarning(finding), stacklevel=2)
        chosen, why = choose_device(settings, statistics, used, checkpoint)
        settings = replace(settings, device=chosen)
        remarks = {"device_reason": why, "method_reason": method_reason}
        remarks["findings"] = to_json(findings)
        with (
            computing_on(chosen),
            _kept(checkpoint, data, used, settings, remarks) as run.checkpoint,
        ):
            return _go(run, data, statistics, used, settings, remarks, progress_bar=progress_bar)


def _data_of(data: Any, frame: Any, **weights: Any) -> GroupedData | GroupStatistics:
    """The data of a formula and a frame, or data as they are."""
    if isinstance(frame, str):
        raise TypeError(
            f"Expected the second argument to be the data frame of a formula; got {frame!r}. Name "
            f"the model: fit(data, model={frame!r})"
        )
    if not isinstance(data, str):
        if frame is not None or any(weights.values()):
            raise TypeError(
                "Expected a formula before a data frame and its weights, fit(formula, frame); got "
                f"{type(data).__name__}"
            )
        return data
    if frame is None:
        raise TypeError(f"Expected a data frame behind the formula {data!r}; got none")
    lazy = isinstance(known_frame(frame), nw.LazyFrame)
    return (GroupStatistics if lazy else GroupedData).from_formula(data, frame, **weights)


def resume(
    checkpoint: str | os.PathLike[str],
    *,
    draws: int | None = None,
    target_ess: float | None = None,
    max_seconds: float | None = None,
    progress_bar: bool = True,
) -> xr.DataTree:
    """Go on with a fit from its checkpoint, in whatever process.

    The draws are those of a fit that was never interrupted, bit for bit, on the same kind of device
    with the same versions. A fit that has all its draws comes back without a further step.

    Parameters
    ----------
    checkpoint
        Folder that :func:`fit` was given.
    draws, target_ess, max_seconds
        How far to go, where not as far as the fit was asked to: as in :func:`fit`, the time counted
        anew. More draws, for one, extend a fit that has ended; ``float("inf")`` lifts a rule.
    progress_bar
        Show bars, on a terminal or in a notebook; a pipe or a file gets none.

    Returns
    -------
    xarray.DataTree
        As from :func:`fit`. Timings are those of this process, and ``resumed`` is 1. Labels of
        groups are as a file has them: integers as integers, all others as text.

    Raises
    ------
    ValueError
        If the folder holds no fit, is damaged, is open in another process, or was made with other
        versions or on another device.
    KeyboardInterrupt, TimeoutError
        As :func:`fit`.

    Examples
    --------
    >>> tree = resume("run.checkpoint")  # doctest: +SKIP
    """
    with Run(max_seconds=max_seconds) as run, Checkpoint.open(checkpoint) as run.checkpoint:
        kept = run.checkpoint
        data, priors, begun = kept.read(restore)
        settings = go_further(begun, draws=draws, target_ess=target_ess, max_seconds=max_seconds)
        run.allow(settings.max_seconds)
        with computing_on(settings.device):
            remarks = {name: kept.header.get(name, "") for name in REMARKS}
            description = describe(data, priors, settings, remarks)
            # Labels may have become text, which the fingerprint tells apart; the numbers are the
            # kept.
            description["fingerprint"] = kept.header["fingerprint"]
            check_same(kept.path, kept.header, description)
            kept.header = description
            statistics = as_statistics(data)
            return _go(run, data, statistics, priors, settings, remarks, progress_bar=progress_bar)


def _kept(
    checkpoint: str | os.PathLike[str] | None,
    data: GroupedData | GroupStatistics,
    priors: Priors,
    settings: Settings,
    remarks: dict[str, str],
) -> AbstractContextManager[Checkpoint | None]:
    """The checkpoint asked for: none, a new one, or one of the same fit."""
    if checkpoint is None:
        return nullcontext()
    description = describe(data, priors, settings, remarks)
    if not checkpoints.exists(checkpoint):
        return Checkpoint.create(checkpoint, description, data_arrays(data))
    kept = Checkpoint.open(checkpoint)
    try:
        check_same(kept.path, kept.header, description)
    except ValueError:
        kept.close()
        raise
    kept.header = description
    return kept


def _go(
    run: Run,
    data: GroupedData | GroupStatistics,
    statistics: GroupStatistics,
    priors: Priors,
    settings: Settings,
    remarks: dict[str, str],
    *,
    progress_bar: bool,
) -> xr.DataTree:
    started = time.perf_counter()
    drawn: NUTSResult | ExactResult
    try:
        if not settings.is_exact:
            compile_nuts(statistics, priors, settings)
        advi = fit_guide(
            statistics,
            settings.model,
            priors,
            run,
            num_steps=settings.num_advi_steps,
            seed=settings.seed,
            dtype=settings.dtype,
            progress_bar=progress_bar,
        )
        advi_done = time.perf_counter()
        if settings.is_exact:
            # Soon drawn again, they need not be kept.
            with run.at_once():
                drawn = draw_exact(
                    statistics,
                    settings.model,
                    priors=priors,
                    draws=settings.draws,
                    chains=settings.chains,
                    seed=settings.seed,
                )
        else:
            drawn = draw_nuts(statistics, advi, priors, settings, run, progress_bar=progress_bar)
    except (KeyboardInterrupt, TimeoutError) as end:
        forget_line()
        if run.checkpoint is None:
            raise
        what = str(end) or "interrupted before the first draw"
        raise type(end)(f"{what}; resume({str(run.checkpoint.path)!r}) goes on") from None
    _check_finite(drawn)
    timings = {"advi": advi_done - started, "draws": time.perf_counter() - advi_done}
    attributes: dict[str, Any] = {
        "dtype": settings.dtype,
        **{name: remark for name, remark in remarks.items() if remark},
        "timings": json.dumps({k: round(v, 3) for k, v in timings.items()}),
        "call": describe_call("fit", **asdict(settings)),
        "resumed": int(run.resumed),
    }
    # What it takes to go on with a run that ended early.
    if isinstance(drawn, NUTSResult) and not drawn.complete:
        if settings.max_seconds is not None:
            attributes["max_seconds"] = settings.max_seconds
        if run.checkpoint is not None:
            attributes["checkpoint"] = str(run.checkpoint.path)
    if run.checkpoint is not None:
        run.checkpoint.write()
        if run.checkpoint.failure:
            attributes["checkpoint_failure"] = run.checkpoint.failure
        if isinstance(data, GroupedData):
            attributes["data_fingerprint"] = run.checkpoint.header["fingerprint"]
    return to_datatree(data, statistics, priors, advi, drawn, attributes)


def _check_finite(drawn: NUTSResult | ExactResult) -> None:
    """A number that is none, among draws that are summarised, would pass for no finding at all."""
    for site, draws in drawn.draws.items():
        finite = np.isfinite(draws).reshape(*draws.shape[:2], -1).all(-1)
        if not finite.all():
            chain, draw = np.argwhere(~finite)[0]
            raise FloatingPointError(
                f"Expected finite draws; got {site} of chain {chain} not finite from draw {draw} "
                "on. Check the units of the data against the priors"
            )
