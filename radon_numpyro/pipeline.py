"""Fit a model: from data to statistics, draws and a DataTree; and resume from a checkpoint.

There are two routes to draws: ADVI and NUTS (``inference/sampling.py``), and integration over the
scales (``inference/integration/scale_posterior.py``). The second route needs JAX only for a GPU, so
the modules of the first one are imported only when they are used.
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
        Rows or statistics; or a formula such as ``"y ~ x * c + (1 + x || group)"``, which is short
        for :meth:`GroupedData.from_formula` with ``frame``, or for
        :meth:`GroupStatistics.from_formula` if the frame is in an engine.
    frame, weights, se
        The data frame of a formula, and its columns of weights or standard errors, as in
        :meth:`GroupedData.from_formula`.
    model
        ``"hierarchical"`` (partial pooling), ``"individual"`` (each group on its own; every
        coefficient must vary) or ``"pooled"`` (the formula without its random part).
    method
        ``"marginal"`` (default): the coefficients are integrated out and then drawn exactly;
        NUTS moves the scales of the hierarchical model, and the other models need no chain.
        ``"noncentered"`` (hierarchical model) and ``"centered"`` (the model as written): NUTS on
        all parameters. The marginal method of the hierarchical model takes at most 20 slopes
        that vary by group; with more, ``"noncentered"`` is the default, and the attribute
        ``method_reason`` of the result says so.
        ``"integrate"``: the scales are also integrated numerically, over weighted nodes, in a
        fraction of a second and without a Markov chain; :func:`diagnose` shows its verdict.
        ``"auto"``: integration, or the default method if the verdict of integration fails.
    priors
        Default: :meth:`Priors.weakly_informative` of the data. :meth:`Priors.tutorial` has
        those of the radon tutorial. A dict replaces some default priors by the name of the
        coefficient: ``{"SES": Normal(0, 2), "sd(SES)": HalfNormal(1)}``; see
        :meth:`Priors.with_coefficients`.
    draws, chains, num_warmup
        Draws kept from each chain (the maximum, if a stop rule below is given), number of chains,
        and warm-up iterations of each chain.
    seed
        Seed of all random numbers.
    num_advi_steps
        Maximum number of ADVI steps; ADVI stops earlier if it has converged. Default: 100 000, or 0
        (the guide stays at its closed-form start) if the marginal method integrates out more than
        2000 coefficients; see :func:`radon_numpyro.inference.settings.default_advi_steps`.
    target_accept_prob, max_tree_depth
        Settings of NUTS; see :func:`sample_nuts`. By default a marginal run whose draws diverge is
        followed by one with shorter steps; with a given acceptance there is a single run.
    chain_method
        ``"sequential"``, ``"parallel"`` or ``"vectorized"``. Default: chosen for the machine.
    coefficients
        ``"draws"`` or ``"summary"`` of alpha and beta in the hierarchical model; ``"auto"`` is a
        summary if the draws would take more than 1 GiB.
    dtype
        ``"float64"`` or ``"float32"``. The caller's JAX setting is not changed.
    device
        ``"cpu"``, ``"gpu"`` or ``"auto"``. ``"auto"`` is the device set by ``jax.default_device``
        or, if JAX sees both kinds, the one on which a step of the sampler takes less time, as
        measured on these data once in a process. Draws on a CPU and a GPU differ, so name the
        device if the draws must be reproducible. Integration runs in NumPy unless ``device="gpu"``.
        The attributes ``device`` and ``device_reason`` of the result record the choice.
    target_ess
        Stop when the smallest bulk or tail effective sample size reaches this; see
        :func:`sample_nuts`. Exact draws are independent, and all of them are taken. With
        integration it is the target for the effective number of nodes, by default half the number
        of draws, or 1000.
    max_seconds
        Stop after this many seconds, including ADVI, and keep the draws so far.
    checkpoint
        A folder in which the run is saved as it proceeds, so that :func:`resume`, or the same call
        again, continues it after any kind of end. If the folder has a fit of the same data, priors,
        settings, versions and device, that fit is continued up to the ``draws``, ``target_ess`` and
        ``max_seconds`` given now; any other fit is refused.
    progress_bar
        Show progress bars on a terminal or in a notebook, but not in a pipe or a file.
    nodes
        Number of nodes of the integration, instead of as many as ``target_ess`` needs.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior``, ``sample_stats``, ``advi``, ``observed_data``, ``constant_data``;
        with integration, ``nodes`` instead of the second and third. See ``results/datatree.py``.
        Pass it to :func:`diagnose` before you use its numbers. The attribute
        ``stopped_by`` says why the run ended: ``"all draws taken"``, ``"target_ess reached"``,
        ``"max_seconds"`` or ``"interrupted"`` (Ctrl-C or SIGTERM; the draws so far are kept).
        For draws by NUTS, ``target_accept_prob`` is the target acceptance of these draws, and
        ``earlier_runs`` lists earlier runs that diverged, in JSON: the ``target_accept_prob``,
        ``draws`` of a chain and ``divergences`` of each. ``unfinished_run``, if present, has the
        same facts of a later run that ended early.

    Raises
    ------
    TypeError
        If ``data`` is neither rows nor statistics.
    ValueError
        If an argument is out of range or does not apply to the method, JAX does not see the
        device, no rows can have the given statistics, the outcomes are fitted exactly, or
        ``checkpoint`` has another fit, is damaged, or is open in another process.
    FloatingPointError
        If the log density or a draw is not finite.
    KeyboardInterrupt, TimeoutError
        On Ctrl-C or SIGTERM, or after ``max_seconds``, before the first draw. A checkpoint has the
        steps of ADVI and of the warm-up.
    OSError
        If ``checkpoint`` cannot be written at the start. A later failure is a warning; the run
        continues in memory, and if writing still fails at the end, the attribute
        ``checkpoint_failure`` of the result has the reason.

    Warns
    -----
    DataWarning
        For each finding that matters for the answer: findings of the audit of the data; if the
        answer depends on the position of the zero of a predictor; if ``priors`` exclude what the
        data suggest or give it almost no probability; and if the verdict of an integration fails.
        The first three kinds are stored in the attribute ``findings`` of the result, and
        :func:`diagnose` lists all of them.

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
    """Continue a fit from its checkpoint, in the same or another process.

    On the same kind of device with the same versions, the draws are equal, bit for bit, to those of
    a fit without interruption. A fit that has all its draws is returned without a further step.

    Parameters
    ----------
    checkpoint
        The folder that was given to :func:`fit`.
    draws, target_ess, max_seconds
        New limits, as in :func:`fit`; by default those of the fit. The time is counted from now.
        For example, more draws extend a fit that has ended, and ``float("inf")`` removes a limit.
    progress_bar
        Show progress bars on a terminal or in a notebook, but not in a pipe or a file.

    Returns
    -------
    xarray.DataTree
        As from :func:`fit`. Timings are those of this process, and ``resumed`` is 1. Labels of
        groups are as in a file: integers as integers, all others as text.

    Raises
    ------
    ValueError
        If the folder has no fit, is damaged, is open in another process, or was made with other
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
            # Labels may have become text, which would change the fingerprint, so use the saved one.
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
    """Return a fit by integration or, for ``auto``, the verdict if it fails."""
    started = time.perf_counter()
    gpu = None
    if settings.device == "gpu":
        with computing_on("gpu"):
            gpu = describe_current()
    drawn = draw_by_integration(statistics, priors, settings, nodes)
    found = drawn.nodes if isinstance(drawn, IntegratedResult) else None
    if auto and found is not None and not found.reliable:
        return found.verdict
    _check_finite(drawn)
    made = {"method": AUTO if auto else INTEGRATE, "nodes": nodes}
    attributes = {
        **_common(settings, remarks, {"integration": time.perf_counter() - started}, **made),
        "device": gpu if gpu and found else NUMPY,
        "device_reason": "asked for" if gpu and found else "computed in NumPy",
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
    """Return a fit by ADVI and draws."""
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
    # Attributes that are needed to continue a run that ended early.
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
    """Return the attributes of every fit; ``call`` has arguments that replace settings."""
    return {
        "dtype": settings.dtype,
        **{name: remark for name, remark in remarks.items() if remark},
        "timings": json.dumps({k: round(v, 3) for k, v in seconds.items()}),
        "call": describe_call("fit", **asdict(settings) | call),
    }


def _check_finite(drawn: Any) -> None:
    """Raise FloatingPointError for non-finite draws, because summaries would hide them."""
    for site, draws in drawn.draws.items():
        finite = np.isfinite(draws).reshape(*draws.shape[:2], -1).all(-1)
        if not finite.all():
            chain, draw = np.argwhere(~finite)[0]
            raise FloatingPointError(
                f"Expected finite draws; got {site} of chain {chain} not finite from draw {draw} "
                "on. Check the units of the data against the priors"
            )
