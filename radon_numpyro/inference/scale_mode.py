"""The mode of the posterior of the scales, and a proposal about it."""

from __future__ import annotations

import numpy as np
from scipy import optimize

from radon_numpyro.inference.importance_sampling import WIDE_SHARE
from radon_numpyro.inference.lattice import shifted_lattices
from radon_numpyro.inference.proposal import Proposal
from radon_numpyro.inference.scale_density import ScaleDensity

# Standard deviations of the coordinates that the curvature may give.
NARROWEST, WIDEST = 1e-3, 1.5
HESSIAN_STEP = 1e-3
# In place of a log density that is not finite, so that a step there is turned back.
NOWHERE = 1e100


def proposal_at_mode(density: ScaleDensity, coarse: int, rng: np.random.Generator) -> Proposal:
    """A t distribution about the mode, as wide as the curvature there says.

    Parameters
    ----------
    density
        Log density of the scales.
    coarse
        How many points all over the plausible range are compared to start from, a power of two.
    rng
        Source of these points.
    """
    coordinates, dims = density.coordinates, density.coordinates.size
    points = coordinates.coarse(shifted_lattices(rng, 1, coarse, dims))
    values = density.at_nodes(points)[0]
    start = points[np.argmax(values)]

    def descend(point: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = density.with_gradient(point[None])
        if not (np.isfinite(value[0]) and np.isfinite(slope).all()):
            return NOWHERE, np.zeros(dims)
        return -value[0], -slope[0]

    best = optimize.minimize(descend, start, jac=True, method="BFGS", options={"maxiter": 200})
    mode = best.x if -best.fun >= values.max() else start
    covariance = _inverse_curvature(density, mode)
    # The mirror image whose standard deviations are positive.
    signs = np.where(coordinates.positive & (mode < 0), -1.0, 1.0)
    signs = coordinates.mirrored(signs)
    mode, covariance = signs * mode, signs[:, None] * covariance * signs
    return Proposal.of(np.ones(1), mode[None], covariance[None], coordinates.positive, WIDE_SHARE)


def _inverse_curvature(density: ScaleDensity, mode: np.ndarray) -> np.ndarray:
    """Inverse of minus the Hessian by differences of gradients, its eigenvalues within bounds."""
    dims = len(mode)
    offsets = HESSIAN_STEP * np.concatenate([np.eye(dims), -np.eye(dims)])
    slopes = density.with_gradient(mode + offsets)[1]
    hessian = -(slopes[:dims] - slopes[dims:]) / (2.0 * HESSIAN_STEP)
    hessian = np.nan_to_num(0.5 * (hessian + hessian.T), posinf=0.0, neginf=0.0)
    curvature, axes = np.linalg.eigh(hessian)
    variance = 1.0 / np.clip(curvature, WIDEST**-2, NARROWEST**-2)
    inverse: np.ndarray = (axes * variance) @ axes.T
    return inverse
