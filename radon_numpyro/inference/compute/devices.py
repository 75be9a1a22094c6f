"""The kinds of device for a fit, and a context to compute on one of them.

JAX computes on its default device. The package changes this setting only during its own calls, and
only if the default device is not of the requested kind; the setting of the caller is restored
afterwards. Functions here import JAX when they are called.
"""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any

DEVICES = ("cpu", "gpu")
NO_GPU = "no GPU found"
# The device of NumPy, in the format of :func:`describe_current`.
NUMPY = "1 x cpu (cpu)"
DESCRIBED = re.compile(r"\d+ x (?P<name>.+) \((?P<platform>\w+)\)")
# The reason in files of earlier versions.
FORMER_ONLY_ONE = "the only one that JAX sees"


def seen() -> tuple[str, ...]:
    """Return the kinds in ``DEVICES`` that JAX sees."""
    return tuple(device for device in DEVICES if _of_kind(device))


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def current() -> Any:
    """Return the current device of JAX: the default device if it is set, or the first device."""
    import jax

    default = jax.config.jax_default_device
    if default is None:
        return jax.local_devices()[0]
    return jax.local_devices(backend=default)[0] if isinstance(default, str) else default


def computing_on(device: str) -> AbstractContextManager[Any]:
    """Return a context in which JAX computes on a kind of device.

    If the current device is of this kind already, the context changes nothing. This keeps the
    caller's choice among several devices by ``jax.default_device``.

    Parameters
    ----------
    device
        ``"cpu"`` or ``"gpu"``.

    Raises
    ------
    ValueError
        If JAX does not see such a device.
    """
    import jax

    if current().platform == device:
        return nullcontext()
    found = _of_kind(device)
    if not found:
        raise ValueError(
            f"Expected device to be one that JAX sees, {', '.join(seen())}; got {device!r}. "
            "For an NVIDIA GPU, pip install 'radon-numpyro[cuda13]', or cuda12"
        )
    return jax.default_device(found[0])


def describe_current() -> str:
    """Return the number and name of the devices of the kind that JAX currently uses."""
    import jax

    device = current()
    count = jax.local_device_count(device.platform)
    return f"{count} x {device.device_kind} ({device.platform})"


def in_words(device: str | None, reason: str | None = None) -> str:
    """Describe a device and the reason for it in words, ``GPU, NVIDIA H200 (asked for)``.

    Parameters
    ----------
    device
        The text of :func:`describe_current`, possibly from a file.
    reason
        The reason for the choice, if it is known.
    """
    found = DESCRIBED.fullmatch(device or "")
    if not found:
        words = device or "not recorded"
    else:
        name, platform = found["name"], found["platform"].upper()
        words = platform if name.upper() == platform else f"{platform}, {name}"
    if reason == FORMER_ONLY_ONE and words == "CPU":
        reason = NO_GPU
    return f"{words} ({reason})" if reason else words


def _of_kind(device: str) -> list[Any]:
    import jax

    try:
        return list(jax.local_devices(backend=device))
    except RuntimeError:
        return []
