"""When has stochastic optimisation arrived? Windows of steps, compared."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np


def movement(averages: list[Any], units: Any) -> dict[str, float]:
    """Difference between the earlier and the later half, in units of each parameter.

    Root mean square over the entries of a site: one scale that still creeps is not hidden by a
    hundred coefficients that stand still.

    Parameters
    ----------
    averages
        Parameters by name, averaged over a window, one for each window.
    units
        Unit of each parameter, by name.
    """
    half = len(averages) // 2
    earlier, later = average_of(averages[:half]), average_of(averages[-half:])
    return {
        name: float(np.sqrt(np.mean(((later[name] - earlier[name]) / np.asarray(unit)) ** 2)))
        for name, unit in units.items()
    }


def settled(averages: list[Any]) -> list[Any]:
    """Leave out the first quarter, on the way from where the larger steps had led.

    Parameters
    ----------
    averages
        As in :func:`movement`.
    """
    return averages[len(averages) // 4 :]


def average_of(averages: list[Any]) -> Any:
    """Average over windows, parameter by parameter.

    Parameters
    ----------
    averages
        As in :func:`movement`.
    """
    return jax.tree.map(lambda *a: np.mean(a, axis=0), *averages)


def levelled(elbo: list[np.ndarray]) -> bool:
    """Whether the bound gained less than its noise from one window to the next.

    Parameters
    ----------
    elbo
        The bound at each step of each window; values that are not finite do not count.
    """
    last, before = (window[np.isfinite(window)] for window in (elbo[-1], elbo[-2]))
    gain = last.mean() - before.mean()
    noise = np.hypot(last.std() / np.sqrt(len(last)), before.std() / np.sqrt(len(before)))
    return bool(gain < 2.0 * noise)
