r"""The mode of a log density by quasi-Newton steps, and the curvature there.

Each step is :math:`x + t\,Bg` with g the gradient and B the inverse of minus the Hessian: at first
that of differences of gradients at the start, its eigenvalues within bounds, then as the BFGS
formula has it. The length t is halved until the density rises enough. It ends where the rise that
the next step promises, :math:`\tfrac12 g'Bg`, is negligible beside what the posterior is wide. That
takes half the evaluations of ``scipy.optimize.minimize``, whose import takes longer than a whole
integration.

References
----------
Nocedal and Wright (2006), Numerical optimization, chapter 6, doi:10.1007/978-0-387-40065-5.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Standard deviations that the curvature may give.
NARROWEST, WIDEST = 1e-3, 1.5
HESSIAN_STEP = 1e-3
# Longest step in a coordinate; twice the rise that is negligible; and share of the promised rise
# that is enough.
LONGEST, NEGLIGIBLE, ENOUGH = 2.0, 1e-4, 1e-4
MAX_STEPS, MAX_HALVINGS = 200, 40

# Log density at points (S, D) and its derivatives, shapes (S,) and (S, D).
WithGradient = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def mode_of(density: WithGradient, start: np.ndarray) -> np.ndarray:
    """Point, shape (D,), at which a log density is largest, or at least as large as at the start.

    Parameters
    ----------
    density
        Log density and its derivatives in coordinates of order one. Points where they are not
        finite are turned back from.
    start
        Where to start, shape (D,); the density is finite there.
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
    """Inverse of minus the Hessian by differences of gradients, its eigenvalues within bounds.

    Parameters
    ----------
    density
        As in :func:`mode_of`.
    point
        Shape (D,).

    Returns
    -------
    array
        Symmetric and positive definite, shape (D, D).
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
    """The inverse of the curvature that makes the gradient fall by what it did along the step."""
    known = step @ fall
    keep = np.eye(len(step)) - np.outer(step, fall) / known
    found: np.ndarray = keep @ inverse @ keep.T + np.outer(step, step) / known
    return found
