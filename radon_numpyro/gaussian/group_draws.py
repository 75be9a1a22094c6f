"""Draws of the coefficients of groups given draws of the scales and of the population."""

from __future__ import annotations

import numpy as np

from radon_numpyro.gaussian.conditional import draw_deviations
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import Scales, fitting, of_groups, root_of, scale_vector


def draw_groups(
    rng: np.random.Generator,
    equations: NormalEquations,
    scales: Scales,
    coefficients: np.ndarray,
    group: np.ndarray,
) -> np.ndarray:
    r"""Draw the deviations of groups once for each draw of the scales and of the population.

    Parameters
    ----------
    rng
        Random number generator.
    equations, scales
        As in :func:`~radon_numpyro.gaussian.predictive.line`, for the hierarchical model.
    coefficients
        Draws of the population coefficients, shape (S, Q), in the units of the model.
    group
        Codes of G groups. Each -1 is a separate new group, drawn from the population.

    Returns
    -------
    array
        :math:`u`, shape (S, G, P), in the units of the model.
    """
    num_draws, size = len(coefficients), equations.size
    relative = equations.from_model(coefficients.T)
    out = np.empty((num_draws, len(group), size))
    step = fitting(num_draws, equations)
    for start in range(0, len(group), step):
        some = group[start : start + step]
        noise = rng.standard_normal((size, num_draws, len(some)))
        drawn = hierarchical_deviations(of_groups(equations, some), scales, relative, noise)
        out[:, start : start + step] = np.moveaxis(drawn, 0, -1)
    return out


def hierarchical_deviations(
    equations: NormalEquations, scales: Scales, relative: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Draw the deviations of the groups, shape (P, S, C).

    Parameters
    ----------
    equations, scales
        As in :func:`~radon_numpyro.gaussian.predictive.line`, for the hierarchical model.
    relative
        Draws of the population coefficients relative to the pooled fit, shape (Q, S).
    noise
        Standard normal draws, shape (P, S, C).
    """
    drawn: np.ndarray = draw_deviations(
        equations, scale_vector(scales), scales["eps"], relative, noise, root_of(scales)
    )
    return drawn
