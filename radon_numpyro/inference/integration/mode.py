r"""The mode of a log density by quasi-Newton steps, and the curvature at the mode.

Each step goes to :math:`x + t\,Bg`, where g is the gradient and B approximates the inverse of minus
the Hessian. The first B comes from differences of gradients at the start, with bounded eigenvalues;
later ones come from the BFGS formula. The step length t is halved until the log density increases
enough. The search ends if the increase that the next step predicts, :math:`\tfrac12 g'Bg`, is
negligible compared with the width of the posterior. ``scipy.optimize`` is not used, because
its import is a large part of the time of a short process.

References
----------
Nocedal and Wright (2006), Numerical optimization, chapter 6, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Smallest and largest standard deviation that the curvature may imply.
NARROWEST, WIDEST = 1e-3, 1.5
HESSIAN_STEP = 1e-3
# Longest step in a coordinate; twice the negligible increase; and share of the increase predicted
# by the gradient that a step must reach.
LONGEST, NEGLIGIBLE, ENOUGH = 2.0, 1e-4, 1e-4
MAX_STEPS, MAX_HALVINGS = 200, 40

# Function that maps points (S, D) to their log densities (S,) and derivatives (S, D).
WithGradient = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def mode_of(density: WithGradient, start: np.ndarray) -> np.ndarray:
    """Find a local maximum of a log density, at least as high as the start, shape (D,).

    Parameters
    ----------
    density
        Log density and its derivatives in coordinates of order one. Steps to points at which they
        are not finite are shortened.
    start
        Starting point, shape (D,), at which the density is finite.
    """
    point, inverse = start, inverse_curvature(density, start)
    value, slope = _at(density, point)
    for _ in range(MAX_STEPS):
        step = inverse @ slope
        step *= min(1.0, LONGEST / np.abs(step).max(initial=LONGEST))
        promised = step @ slope
        if not promised > NEGLIGIBLE:
            break
        for _ in range(MAX_HALVINGS):
            higher, new_slope = _at(density, point + step)
            if higher >= value + ENOUGH * promised:
                break
            step, promised = 0.5 * step, 0.5 * promised
        else:
            break
        fall = slope - new_slope
        point, value, slope = point + step, higher, new_slope
        if step @ fall > 1e-10 * np.linalg.norm(step) * np.linalg.norm(fall):
            inverse = _updated(inverse, step, fall)
    return point


def inverse_curvature(density: WithGradient, point: np.ndarray) -> np.ndarray:
    """Compute the inverse of minus the Hessian by differences, with clipped eigenvalues.

    Parameters
    ----------
    density
        As in :func:`mode_of`.
    point
        Point at which to compute the Hessian, shape (D,).

    Returns
    -------
    array
        Symmetric positive definite matrix, shape (D, D).
    """
    dims = len(point)
    offsets = HESSIAN_STEP * np.concatenate([np.eye(dims), -np.eye(dims)])
    slopes = density(point + offsets)[1]
    hessian = -(slopes[:dims] - slopes[dims:]) / (2.0 * HESSIAN_STEP)
    hessian = np.nan_to_num(0.5 * (hessian + hessian.T), posinf=0.0, neginf=0.0)
    curvature, axes = np.linalg.eigh(hessian)
    variance = 1.0 / np.clip(curvature, WIDEST**-2, NARROWEST**-2)
    inverse: np.ndarray = (axes * variance) @ axes.T
    return inverse


def _at(density: WithGradient, point: np.ndarray) -> tuple[float, np.ndarray]:
    value, slope = density(point[None])
    if not (np.isfinite(value[0]) and np.isfinite(slope).all()):
        return -np.inf, np.zeros_like(point)
    return float(value[0]), slope[0]


def _updated(inverse: np.ndarray, step: np.ndarray, fall: np.ndarray) -> np.ndarray:
    """Update the inverse by the BFGS formula, from a step and the decrease of the gradient."""
    known = step @ fall
    keep = np.eye(len(step)) - np.outer(step, fall) / known
    found: np.ndarray = keep @ inverse @ keep.T + np.outer(step, step) / known
    return found
