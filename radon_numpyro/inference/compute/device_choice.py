"""Choose the device of a fit: the faster one, as measured, if JAX sees a CPU and a GPU.

On a CPU the time of a step of the sampler grows with the number of groups. On a GPU even the
smallest step needs the time to launch its kernels, and up to many groups it takes little more. The
number of groups at which a GPU becomes faster depends on both devices, so blocks of the sampler are
timed on the data of the fit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax

from radon_numpyro.inference.advi.guide import ADVIResult, fit_guide
from radon_numpyro.inference.compute.devices import NO_GPU, computing_on, current, seen
from radon_numpyro.inference.compute.programs import precision, unlabelled
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.nuts.parametrisation import parametrisation
from radon_numpyro.inference.nuts.warm_start import warm_start
from radon_numpyro.inference.runs.checkpoint import Checkpoint, exists
from radon_numpyro.inference.runs.run_control import Run
from radon_numpyro.inference.settings import Settings
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

# Seconds of a step on a CPU above which a GPU is tried. Ten thousand such steps, a whole fit, take
# half a second, which does not justify a second compilation.
WORTH_A_GPU = 50e-6
# Seconds that a measurement takes.
SECONDS = 0.2


class Choice(NamedTuple):
    """A kind of device, and the reason for it.

    Attributes
    ----------
    device
        ``"cpu"`` or ``"gpu"``.
    reason
        The reason in words, with the measured times.
    """

    device: str
    reason: str


_measured: dict[Any, Choice] = {}


def choose_device(
    settings: Settings,
    statistics: GroupStatistics,
    priors: Priors,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Choice:
    """Return the requested device or, for ``"auto"``, the faster one.

    One measurement serves all fits with the same settings and shape of data in a process, so these
    fits use the same device. If there is no choice, nothing is measured or compiled.

    Parameters
    ----------
    settings, statistics, priors
        Settings, data and priors of the fit.
    checkpoint
        Folder of the checkpoint. A fit that it contains continues on its device.

    Returns
    -------
    Choice

    Raises
    ------
    ValueError
        If the checkpoint is damaged, or open in another process.
    """
    found = seen()
    if settings.device != "auto":
        return Choice(settings.device, "asked for")
    if jax.config.jax_default_device is not None:
        return Choice(current().platform, "set as JAX's default device")
    if len(found) == 1:
        return Choice(found[0], NO_GPU if found[0] == "cpu" else "the only kind that JAX sees")
    if checkpoint is not None and exists(checkpoint):
        with Checkpoint.open(checkpoint) as kept:
            return Choice(kept.header["settings"]["device"], kept.header["device_reason"])
    if settings.is_exact:
        return Choice("cpu", "the draws are exact and need no GPU")
    # Ignore the settings that do not affect the time of a step: seed, and length of the run.
    alike = replace(settings, seed=0, draws=4, num_advi_steps=0, target_ess=None, max_seconds=None)
    shape = (alike, statistics.num_groups, statistics.labels.design.anonymous())
    if shape not in _measured:
        with computing_on("cpu"):
            guide = closed_form_guide(settings, statistics, priors)

        def measure(device: str) -> float:
            with computing_on(device):
                return seconds_a_step(settings, statistics, priors, guide)

        _measured[shape] = quicker(found, measure)
    return _measured[shape]


def quicker(found: Sequence[str], measure: Callable[[str], float]) -> Choice:
    """Return the device on which a step is fastest. The CPU is measured first.

    If a step on the CPU is very short, a GPU is not tried. A GPU that fails is not chosen.

    Parameters
    ----------
    found
        Devices to choose from, including ``"cpu"``.
    measure
        Function that returns the seconds of one step on a device.

    Returns
    -------
    Choice
    """
    seconds = {"cpu": measure("cpu")}
    if seconds["cpu"] < WORTH_A_GPU:
        step = _microseconds(seconds["cpu"])
        return Choice("cpu", f"measured: {step} us a step, too little for a GPU to pay")
    failed = []
    for device in found:
        if device not in seconds:
            try:
                seconds[device] = measure(device)
            except jax.errors.JaxRuntimeError as error:
                failed.append(f"{device.upper()} failed: {str(error).splitlines()[0]}")
    chosen = min(seconds, key=seconds.__getitem__)
    times = [f"measured: {_microseconds(seconds[chosen])} us a step"]
    times += [f"{d.upper()} {_microseconds(s)}" for d, s in seconds.items() if d != chosen]
    return Choice(chosen, ", ".join([*times, *failed]))


def closed_form_guide(
    settings: Settings, statistics: GroupStatistics, priors: Priors
) -> ADVIResult:
    """Return the closed-form guide, from which the measurement starts.

    Parameters
    ----------
    settings, statistics, priors
        Settings, data and priors of the fit.
    """
    return fit_guide(
        statistics,
        settings.model,
        priors,
        Run(),
        num_steps=0,
        seed=settings.seed,
        dtype=settings.dtype,
        progress_bar=False,
    )


def seconds_a_step(
    settings: Settings, statistics: GroupStatistics, priors: Priors, guide: ADVIResult
) -> float:
    """Measure the seconds of one gradient for each chain, on the current device of JAX.

    The measurement runs the NUTS blocks of the fit. The first block, which compiles, is not timed.

    Parameters
    ----------
    settings, statistics, priors
        Settings, data and priors of a fit by NUTS.
    guide
        The guide from which the chains start.

    Returns
    -------
    float
        Seconds.
    """
    coordinates = parametrisation(settings.model, str(settings.method))
    statistics = unlabelled(statistics)
    target = coordinates.data(statistics)
    fixed = {"coordinates": coordinates, **settings.sampler()}
    # The acceptance of the first run of the fit.
    fixed["target_accept_prob"] = settings.acceptances(statistics.num_groups)[0]
    with precision(settings.dtype):
        start = warm_start(guide, statistics, priors, settings)
        pace = blocks.Pace(statistics.num_groups, start.position.size)
        arguments = (coordinates.reduced(target), priors, start.unit)
        states = blocks.begin(start.chain_keys, start.position, *arguments, **fixed)
        states, _ = blocks.advance(states, pace.length, *arguments, **fixed)
        gradients, elapsed, started = 0, 0.0, time.perf_counter()
        while not gradients or elapsed < SECONDS:
            length, before = pace.length, elapsed
            states, records = blocks.advance(states, length, *arguments, **fixed)
            gradients += int(blocks.recorded(records, "n_steps", length).sum())
            elapsed = time.perf_counter() - started
            pace.took(length, elapsed - before)
    return elapsed * settings.chains / gradients


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.0f}" if seconds >= 1e-4 else f"{seconds * 1e6:.3g}"
