"""From data to a checked posterior: statistics, draws, DataTree; and on from a checkpoint.

Two routes lead to draws: ADVI and NUTS (``inference/sampling.py``), and integration over the scales
(``inference/integration/scale_posterior.py``). The second needs no JAX, so the first is imported
when it is taken.
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import xarray as xr

from radon_numpyro.data.findings import DataWarning, to_json
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.inference.compute.devices import NUMPY, computing_on, describe_current
from radon_numpyro.inference.fit_findings import premises
from radon_numpyro.inference.integration.resampling import IntegratedResult, draw_by_integration
from radon_numpyro.inference.inversion import ExactResult, check_residual
from radon_numpyro.inference.runs.fit_identity import (
    REMARKS,
    check_same,
    describe,
    go_further,
    restore,
)
from radon_numpyro.inference.runs.run_control import Run
from radon_numpyro.inference.settings import (
    AUTO,
    INTEGRATE,
    Settings,
    check_integration,
    choose_method,
    default_advi_steps,
)
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors, resolve_priors
from radon_numpyro.results.datatree import describe_call, to_datatree
from radon_numpyro.results.integration_checks import unreliable
from radon_numpyro.statistics.consistency import as_statistics, data_of
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
    nodes: int | None = None,
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
        ``"integrate"``: the scales are integrated numerically too, over weighted nodes, in a
        fraction of a second and without a Markov chain or JAX; :func:`diagnose` has the verdict.
        ``"auto"``: by integration, and by the default method where its verdict fails.
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
        :func:`sample_nuts`. Exact draws, which are independent, are all taken. By integration:
        effective number of nodes to aim at, by default half the number of draws, or 1000.
    max_seconds
        Stop after this time by the clock, ADVI included, and keep what is drawn.
    checkpoint
        A folder in which the run is kept as it goes, so that :func:`resume`, or the same call
        again, goes on from where it ended, however it ended. If it holds a fit of the same data,
        priors, settings, versions and device, that fit goes on, up to the ``draws``, ``target_ess``
        and ``max_seconds`` given now; a fit of others is refused.
    progress_bar
        Show bars, on a terminal or in a notebook; a pipe or a file gets none.
    nodes
        Number of nodes of the integration, in place of as many as ``target_ess`` takes.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``advi``, ``observed_data``, ``constant_data``;
        by integration ``nodes`` in place of the second and third. See ``results/datatree.py``.
        Pass it to :func:`diagnose` before reading it. The attribute
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
        If an argument is out of range or has no meaning for the method, JAX does not see the
        device, no rows can have the statistics given, the outcomes are fitted exactly, or
        ``checkpoint`` holds another fit, is damaged, or is open in another process.
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
        :func:`diagnose` lists them. And where the verdict of an integration fails.

    Examples
    --------
    >>> tree = fit(load_radon(), priors=Priors.tutorial())  # doctest: +SKIP
    """
    data = data_of(data, frame, weights=weights, se=se)
    statistics = as_statistics(data)
    design = statistics.labels.design
    auto = method == AUTO
    method, method_reason = choose_method(model, method, design)
    Model.named(model).check(design)
    settings = Settings(
        model=model,
        method=method,
        draws=draws,
        chains=chains,
        num_warmup=num_warmup,
        seed=seed,
        num_advi_steps=num_advi_steps or 0,
        target_accept_prob=target_accept_prob,
        max_tree_depth=max_tree_depth,
        chain_method=chain_method,
        coefficients=coefficients,
        dtype=dtype,
        device=device,
        target_ess=target_ess,
        max_seconds=max_seconds,
    )
    check_integration(settings, nodes, checkpoint, auto=auto)
    with Run(max_seconds=max_seconds) as run:
        check_residual(statistics, model)
        used = resolve_priors(priors, statistics)
        findings = premises(data, statistics, used, model)
        for finding in findings:
            warnings.warn(DataWarning(finding), stacklevel=2)
        remarks = {"method_reason": method_reason, "findings": to_json(findings)}
        if method == INTEGRATE:
            with run.at_once():
                found = _integrated(data, statistics, used, settings, nodes, remarks, auto=auto)
            if isinstance(found, xr.DataTree):
                if (failed := unreliable(found)) is not None:
                    warnings.warn(DataWarning(failed), stacklevel=2)
                return found
            settings = replace(settings, method=choose_method(model, None, design)[0])
            remarks["method_reason"] = found[0].lower() + found[1:].rstrip(".")
        if num_advi_steps is None:
            size = statistics.num_groups * len(design.varying)
            settings = replace(
                settings, num_advi_steps=default_advi_steps(model, settings.method, size)
            )
        from radon_numpyro.inference.compute.device_choice import choose_device
        from radon_numpyro.inference.sampling import kept

        chosen, why = choose_device(settings, statistics, used, checkpoint)
        settings = replace(settings, device=chosen)
        remarks = {"device_reason": why, **remarks}
        with (
            computing_on(chosen),
            kept(checkpoint, data, used, settings, remarks) as run.checkpoint,
        ):
            return _sampled(run, data, statistics, used, settings, remarks, progress_bar)


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
    from radon_numpyro.inference.runs.checkpoint import Checkpoint

    with Run(max_seconds=max_seconds) as run, Checkpoint.open(checkpoint) as kept:
        run.checkpoint = kept
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
            return _sampled(run, data, statistics, priors, settings, remarks, progress_bar)


def _integrated(
    data: GroupedData | GroupStatistics,
    statistics: GroupStatistics,
    priors: Priors,
    settings: Settings,
    nodes: int | None,
    remarks: dict[str, str],
    *,
    auto: bool,
) -> xr.DataTree | str:
    """A fit by integration; by ``auto``, where its verdict fails, that verdict instead."""
    started = time.perf_counter()
    drawn = draw_by_integration(statistics, priors, settings, nodes)
    found = drawn.nodes if isinstance(drawn, IntegratedResult) else None
    if auto and found is not None and not found.reliable:
        return found.verdict
    _check_finite(drawn)
    made = {"method": AUTO if auto else INTEGRATE, "nodes": nodes}
    attributes = {
        **_common(settings, remarks, {"integration": time.perf_counter() - started}, **made),
        "device": NUMPY,
        "device_reason": "computed in NumPy",
        "resumed": 0,
    }
    return to_datatree(data, statistics, priors, settings.model, drawn, attributes, nodes=found)


def _sampled(
    run: Run,
    data: GroupedData | GroupStatistics,
    statistics: GroupStatistics,
    priors: Priors,
    settings: Settings,
    remarks: dict[str, str],
    progress_bar: bool,
) -> xr.DataTree:
    """A fit by ADVI and draws."""
    from radon_numpyro.inference.sampling import sample, two_routes

    found = sample(statistics, priors, settings, run, progress_bar=progress_bar)
    drawn = found.drawn
    _check_finite(drawn)
    seconds = dict(found.seconds)
    attributes = {"device": describe_current(), "resumed": int(run.resumed)}
    if Model.named(settings.model).population and not isinstance(drawn, ExactResult):
        started = time.perf_counter()
        with run.deferred():
            routes = two_routes(statistics, priors, drawn, seconds=sum(seconds.values()))
        attributes["two_routes"] = json.dumps(routes.record())
        seconds["two routes"] = time.perf_counter() - started
    attributes |= _common(settings, remarks, seconds)
    # What it takes to go on with a run that ended early.
    if not isinstance(drawn, ExactResult) and not drawn.complete:
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
    return to_datatree(data, statistics, priors, settings.model, drawn, attributes, advi=found.advi)


def _common(
    settings: Settings, remarks: dict[str, str], seconds: dict[str, float], **call: Any
) -> dict[str, Any]:
    """Attributes of every fit; ``call`` has arguments that the settings say otherwise."""
    return {
        "dtype": settings.dtype,
        **{name: remark for name, remark in remarks.items() if remark},
        "timings": json.dumps({k: round(v, 3) for k, v in seconds.items()}),
        "call": describe_call("fit", **asdict(settings) | call),
    }


def _check_finite(drawn: Any) -> None:
    """Refuse draws that are not finite: summaries would hide them."""
    for site, draws in drawn.draws.items():
        finite = np.isfinite(draws).reshape(*draws.shape[:2], -1).all(-1)
        if not finite.all():
            chain, draw = np.argwhere(~finite)[0]
            raise FloatingPointError(
                f"Expected finite draws; got {site} of chain {chain} not finite from draw {draw} "
                "on. Check the units of the data against the priors"
            )
