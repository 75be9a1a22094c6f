"""Automatic differentiation variational inference: NumPyro's SVI with an AutoNormal guide.

The guide starts from the closed-form solution at plug-in scales
(``inference/advi/closed_form_start.py``). Every parameter then moves in units of its own standard
deviation. The step size is halved whenever the gain of the bound is smaller than its noise. The
answer is the average over the windows at the last step size; windows are added until this average
no longer changes.

References
----------
Kucukelbir, Tran, Ranganath, Gelman and Blei (2017), Automatic differentiation variational
inference, JMLR 18(14). Welandawe, Andersen, Vehtari and Huggins (2022), Robust, automated, and
accurate black-box variational inference, arXiv:2203.15945. Yao, Vehtari, Simpson and Gelman
(2018), Yes, but did it work?, ICML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import numpyro
from arviz_stats.base.array import array_stats
from numpyro import handlers

from radon_numpyro.data.design import Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.inference.advi import windows
from radon_numpyro.inference.advi.closed_form_start import mean_field_start
from radon_numpyro.inference.advi.windows import WINDOW, average_of, levelled, movement, settled
from radon_numpyro.inference.compute.programs import (
    latent_transforms,
    precision,
    random_key,
    unlabelled,
)
from radon_numpyro.inference.runs.array_files import Arrays
from radon_numpyro.inference.runs.run_control import Run, progress
from radon_numpyro.model.correlations import correlation_of, correlation_root
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.regressions import ModelFunction
from radon_numpyro.model.supports import Support, support
from radon_numpyro.statistics.consistency import as_statistics
from radon_numpyro.statistics.group_statistics import GroupStatistics

FIRST_STEP = 0.02
LAST_STEP = 0.0025
MIN_WINDOWS, MAX_WINDOWS = 8, 24
PRIMES = (2, 3, 5, 7, 11, 13, 17)
MAX_KHAT_DRAWS = 4000
CORRELATION_DRAWS = 4000
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
CONVERGED = "the ELBO is level and the parameters have stopped moving"


@dataclass(frozen=True)
class ADVIResult:
    """A fitted mean-field guide.

    Attributes
    ----------
    means, sds
        Mean and standard deviation of each site in the constrained space, in its unit and with its
        shape. Instead of ``partial_correlation`` they have the matrix ``correlation``.
    locs, scales
        Location and scale of the guide in the unconstrained space, with the shape of the site.
    elbo
        Evidence lower bound at each step, shape (num_steps,), in nats.
    converged
        Whether the convergence criterion was met within the maximum number of steps.
    reason
        Why the optimisation stopped, in words.
    khat
        Pareto shape of the importance ratios of posterior and guide; NaN if the guide was not
        optimised.
    skipped_steps
        Number of steps that were skipped because their bound or gradient was not finite.
    model
        Name of the model.
    seed, num_particles
        Seed, and number of Monte Carlo draws in each step.
    """

    means: Mapping[str, np.ndarray]
    sds: Mapping[str, np.ndarray]
    locs: Mapping[str, np.ndarray]
    scales: Mapping[str, np.ndarray]
    elbo: np.ndarray
    converged: bool
    reason: str
    khat: float
    skipped_steps: int
    model: str
    seed: int
    num_particles: int

    @property
    def num_steps(self) -> int:
        """Number of steps."""
        return len(self.elbo)

    @property
    def verdict(self) -> str:
        """What the guide can be used for, judged by its k-hat (Yao et al. 2018)."""
        if not self.num_steps:
            return "not run: the chains started from the closed-form guide"
        if not self.converged:
            return f"do not use: {self.reason}"
        if self.khat < 0.5:
            return f"close to the posterior (k-hat {self.khat:.2f})"
        if self.khat < 0.7:
            return f"usable, but check it with NUTS (k-hat {self.khat:.2f})"
        return f"only to start NUTS (k-hat {self.khat:.2f}: far from the posterior)"


def fit_advi(
    data: GroupedData | GroupStatistics,
    model: str = "hierarchical",
    *,
    num_steps: int = 100_000,
    seed: int = 0,
    priors: Priors | None = None,
    num_particles: int | None = None,
    tolerance: float = 0.05,
    dtype: str = "float64",
    progress_bar: bool = True,
) -> ADVIResult:
    r"""Fit a factorised Normal guide to the complete model by stochastic optimisation.

    The fit maximises :math:`E_q[\log p(y, z) - \log q(z)]` over the locations and scales of q in
    the unconstrained space. It uses sufficient statistics.

    Parameters
    ----------
    data
        Rows or statistics.
    model
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.
    num_steps
        Maximum number of steps; steps are taken in windows of 500. With 0 the guide stays at its
        closed-form start, which is sufficient to start NUTS by the marginal method.
    seed
        Seed of the Monte Carlo draws.
    priors
        Default: :meth:`Priors.weakly_informative` of the data.
    num_particles
        Number of draws of the guide in each step (``inference/advi/windows.py``), preferably a
        prime. Default: the largest prime up to 17 for which a step has at most 16 000 numbers, but
        at least 2.
    tolerance
        The parameters have converged if the averages over the earlier and the later half of the
        windows at the last step size differ by at most this value. The difference is the root mean
        square over a site, in units of the guide's standard deviation. The error of the average
        over both halves is about half of it.
    dtype
        ``"float64"`` or ``"float32"``.
    progress_bar
        Show a progress bar with the average bound, on a terminal or in a notebook.

    Returns
    -------
    ADVIResult

    Raises
    ------
    ValueError
        If an argument is out of range.
    FloatingPointError
        If the bound is not finite. The message names the sites.
    """
    _check_arguments(model, num_steps, num_particles, tolerance)
    statistics = as_statistics(data)
    return fit_guide(
        statistics,
        model,
        Priors.weakly_informative(statistics) if priors is None else priors,
        Run(),
        num_steps=num_steps,
        seed=seed,
        num_particles=num_particles,
        tolerance=tolerance,
        dtype=dtype,
        progress_bar=progress_bar,
    )


def fit_guide(
    statistics: GroupStatistics,
    model: str,
    priors: Priors,
    run: Run,
    *,
    num_steps: int,
    seed: int,
    num_particles: int | None = None,
    tolerance: float = 0.05,
    dtype: str,
    progress_bar: bool,
) -> ADVIResult:
    """Fit the guide as part of a run; see :func:`fit_advi`.

    Parameters
    ----------
    statistics, model, priors, num_steps, seed, num_particles, tolerance, dtype, progress_bar
        As in :func:`fit_advi`, already checked.
    run
        Control of the run, which saves the windows and may end them.
    """
    statistics = unlabelled(statistics)
    function = Model.named(model).function
    start = dict(sorted(mean_field_start(statistics, model, priors).items()))
    num_parameters = sum(np.size(site.mean) for site in start.values())
    if num_particles is None:
        num_particles = max(p for p in PRIMES if p == 2 or p * num_parameters <= 16_000)
    supports = {name: support(name, priors) for name in start}
    locs = {name: supports[name].unconstrained(site.mean) for name, site in start.items()}
    scales = {name: supports[name].slope(site.mean) * site.sd for name, site in start.items()}
    elbo, khat, reason = np.zeros(0), np.nan, "the guide is at its start and was not optimised"
    if num_steps:
        with precision(dtype):
            key, fixed = random_key(seed), {"model": function, "num_particles": num_particles}
            state, units = windows.begin(key, locs, scales, statistics, priors, **fixed)
            with progress(total=num_steps, shown=progress_bar, unit="step", desc="ADVI") as bar:
                params, elbo, reason = _optimise(
                    state, units, num_steps, tolerance, run, bar, statistics, priors, fixed
                )
            locs = {name: params[f"{name}_auto_loc"] for name in start}
            scales = {name: np.logaddexp(0.0, params[f"{name}_auto_scale"]) for name in start}
            # A large model needs fewer draws, because its k-hat is far above every threshold.
            draws = int(np.clip(20_000_000 // num_parameters, 200, MAX_KHAT_DRAWS))
            log_ratios = windows.log_ratios(
                key, locs, scales, statistics, priors, model=function, num_draws=draws
            )
        khat = float(array_stats.psislw(-np.asarray(log_ratios, dtype=np.float64))[1])
    means, sds = {}, {}
    for name, of in supports.items():
        means[name], sds[name] = _moments(of, locs[name], scales[name])
    if "partial_correlation" in means:
        _of_correlations(statistics.labels.design, means, sds, locs, scales, seed)
    return ADVIResult(
        means=_arrays(means, dtype),
        sds=_arrays(sds, dtype),
        locs=_arrays(locs, dtype),
        scales=_arrays(scales, dtype),
        elbo=elbo,
        converged=reason == CONVERGED,
        reason=reason,
        khat=khat,
        skipped_steps=int((~np.isfinite(elbo)).sum()),
        model=model,
        seed=seed,
        num_particles=num_particles,
    )


def _arrays(values: dict[str, Any], dtype: str) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, dtype=dtype) for name, value in values.items()}


def _moments(of: Support, loc: Any, scale: Any) -> tuple[np.ndarray, np.ndarray]:
    """Compute mean and sd of a site whose unconstrained values are Normal, by quadrature."""
    if of.is_real_line:
        return loc, scale
    nodes = NODES.reshape(-1, *[1] * np.ndim(loc))
    values = of.constrained(loc + scale * nodes)
    weights = (WEIGHTS / WEIGHTS.sum()).reshape(nodes.shape)
    mean = (weights * values).sum(0)
    return mean, np.sqrt((weights * (values - mean) ** 2).sum(0))


def _of_correlations(
    design: Design, means: Any, sds: Any, locs: Any, scales: Any, seed: int
) -> None:
    """Replace the moments of partial correlations by those of the correlation matrix."""
    del means["partial_correlation"], sds["partial_correlation"]
    noise = np.random.default_rng(seed).standard_normal((len(design.pairs), CORRELATION_DRAWS))
    loc, scale = (np.asarray(v["partial_correlation"])[:, None] for v in (locs, scales))
    matrices = correlation_of(correlation_root(design, np.tanh((loc + scale * noise) / 2)))
    means["correlation"], sds["correlation"] = matrices.mean(0), matrices.std(0)


def _optimise(
    state: Any,
    units: Any,
    num_steps: int,
    tolerance: float,
    run: Run,
    bar: Any,
    statistics: GroupStatistics,
    priors: Priors,
    fixed: dict[str, Any],
) -> tuple[Any, np.ndarray, str]:
    """Run windows until convergence; return averaged parameters, bounds, and why it stopped.

    A scale whose mean-field optimum is 0 moves towards it forever without a gain. Therefore the run
    also ends after a number of windows with a level bound.
    """
    step_size, reason = FIRST_STEP, ""
    elbo: list[np.ndarray] = []
    averages: list[Any] = []  # windows at the last step size, and the one window before them

    def advance(state: Any) -> tuple[Any, Arrays]:
        state, average, losses = windows.advance(
            state, units, step_size, statistics, priors, **fixed
        )
        return state, {"elbo": -np.asarray(losses)} | jax.tree.map(np.asarray, average)

    while len(elbo) * WINDOW < num_steps and not reason:
        state, record = run.step("advi", state, advance)
        average = {name: values for name, values in record.items() if name != "elbo"}
        elbo.append(record["elbo"])
        if not np.isfinite(elbo[-1]).any():
            _raise_non_finite(fixed["model"], average, statistics, priors)
        bar.set_postfix_str(f"average ELBO {np.nanmean(elbo[-1]):,.1f}", refresh=False)
        bar.update(WINDOW)
        if step_size > LAST_STEP:
            averages.clear()
        averages.append(average)
        level = len(elbo) > 1 and levelled(elbo)
        if step_size > LAST_STEP:
            step_size = max(step_size / 2.0, LAST_STEP) if level else step_size
        elif level and len(averages) >= MIN_WINDOWS:
            moved = movement(settled(averages), units)
            most = max(moved, key=lambda name: moved[name])
            if moved[most] < tolerance:
                reason = CONVERGED
            elif len(averages) >= MAX_WINDOWS:
                site = most.split("_auto_")[0]
                reason = (
                    f"the ELBO is level, but {site} still moves, by {moved[most]:.2f} of its sd"
                )
    reason = reason or f"it reached the maximum of {num_steps} steps"
    return average_of(settled(averages)), np.concatenate(elbo), reason


def _check_arguments(
    model: str, num_steps: int, num_particles: int | None, tolerance: float
) -> None:
    Model.named(model)
    if num_steps != 0 and num_steps < 2 * WINDOW:
        raise ValueError(f"Expected num_steps to be 0 or at least {2 * WINDOW}; got {num_steps}")
    if num_particles is not None and num_particles < 1:
        raise ValueError(f"Expected num_particles to be at least 1; got {num_particles}")
    if not tolerance > 0:
        raise ValueError(f"Expected tolerance to be positive; got {tolerance}")


def _raise_non_finite(
    model: ModelFunction, params: Any, statistics: GroupStatistics, priors: Priors
) -> None:
    transforms = latent_transforms(model, statistics, priors)
    values = {name: t(params[f"{name}_auto_loc"]) for name, t in transforms.items()}
    with numpyro.validation_enabled(False):
        substituted = handlers.substitute(handlers.seed(model, 0), data=values)
        trace = handlers.trace(substituted).get_trace(statistics, priors)
        bad = [
            name
            for name, site in trace.items()
            if site["type"] == "sample"
            and not np.isfinite(np.asarray(site["fn"].log_prob(site["value"]))).all()
        ]
    where = ", ".join(bad) if bad else "none at the guide's centre"
    raise FloatingPointError(
        f"Expected a finite ELBO; got none in {WINDOW} steps. Sites with a log density that is "
        f"not finite: {where}. Check the units of the data against the priors"
    )
