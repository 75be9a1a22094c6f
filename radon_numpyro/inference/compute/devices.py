"""The kinds of device that a fit may be computed on, and computing on one of them.

What JAX computes goes to its default device. The package sets that for its own calls alone, and
only where it is not of the kind asked for: the caller's setting comes back after them. JAX is
imported when it is asked.
"""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any

DEVICES = ("cpu", "gpu")
NO_GPU = "no GPU found"
# Where NumPy computes, as :func:`describe_current` puts it.
NUMPY = "1 x cpu (cpu)"
DESCRIBED = re.compile(r"\d+ x (?P<name>.+) \((?P<platform>\w+)\)")
# In files of earlier versions.
FORMER_ONLY_ONE = "the only one that JAX sees"


def seen() -> tuple[str, ...]:
    """Those of ``DEVICES`` that JAX has here."""
    return tuple(device for device in DEVICES if _of_kind(device))


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def current() -> Any:
    """Where JAX computes now: the default device that was set, or the first of all."""
    import jax

    default = jax.config.jax_default_device
    if default is None:
        return jax.local_devices()[0]
    return jax.local_devices(backend=default)[0] if isinstance(default, str) else default


def computing_on(device: str) -> AbstractContextManager[Any]:
    """Context in which JAX computes on a kind of device.

    Where it does so anyway nothing is set, so that one device of several stays the one that the
    caller has chosen by ``jax.default_device``.

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
            "Install JAX for it: for a GPU of NVIDIA pip install 'radon-numpyro[cuda13]', or cuda12"
        )
    return jax.default_device(found[0])


def describe_current() -> str:
    """Number and name of the devices of the kind that JAX computes on now."""
    import jax

    device = current()
    count = jax.local_device_count(device.platform)
    return f"{count} x {device.device_kind} ({device.platform})"


def in_words(device: str | None, reason: str | None = None) -> str:
    """A device as an analyst calls it, and why it was taken: ``GPU, NVIDIA H200 (asked for)``.

    Parameters
    ----------
    device
        From :func:`describe_current`, perhaps kept in a file.
    reason
        Of the choice, if it was kept.
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
