"""Draws of the coefficients given draws of the scales: of a fit, or of chosen groups."""

from __future__ import annotations

import numpy as np

from radon_numpyro.gaussian.conditional import Population, draw_deviations, draw_population
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import Scales, fitting, of_groups, root_of, scale_vector
from radon_numpyro.gaussian.sites import group_sites, population_sites

# Maximum of draws times groups in a block whose arrays fit into the cache.
CACHED = 2**14


def draw_coefficients(
    rng: np.random.Generator,
    equations: NormalEquations,
    scales: Scales,
    population: Population,
    *,
    groups: bool = True,
) -> dict[str, np.ndarray]:
    """Draw the coefficients of a fit once for each draw of the scales.

    The first draws do not depend on how many draws there are.

    Parameters
    ----------
    rng
        Random number generator.
    equations, scales
        As in :func:`~radon_numpyro.gaussian.predictive.line`.
    population
        Posterior of the population coefficients given each draw of the scales.
    groups
        Whether to draw the coefficients of the groups in addition to those of the population.

    Returns
    -------
    dict
        The sites among ``mu_alpha``, ``mu_beta``, ``gamma``, ``alpha`` and ``beta`` that the design
        has, in their units, each of shape (S, ...).
    """
    of_population, of_groups = rng.spawn(2)
    noise = of_population.standard_normal(population.mean.shape[::-1]).T
    relative = draw_population(population, noise)
    sites = population_sites(equations, relative)
    drawn = {name: np.moveaxis(values, -1, 0) for name, values in sites.items()}
    if groups:
        off = _draw_all(of_groups, equations, scales, relative)
        drawn |= group_sites(equations, sites, off)
    return drawn


def _draw_all(
    rng: np.random.Generator,
    equations: NormalEquations,
    scales: Scales,
    relative: np.ndarray,
) -> np.ndarray:
    """Draw the deviations of all groups, shape (P, S, C), in blocks of draws."""
    num_draws, num_groups = relative.shape[1], equations.num_groups
    off = np.empty((equations.size, num_draws, num_groups))
    step = max(1, CACHED // max(num_groups, 1))
    for start in range(0, num_draws, step):
        some = slice(start, start + step)
        of_some = {name: values[some] for name, values in scales.items()}
        # Draws come first, so that noise does not depend on how many draws share a block.
        noise = rng.standard_normal((len(of_some["eps"]), equations.size, num_groups))
        off[:, some] = _deviations(equations, of_some, relative[:, some], noise.swapaxes(0, 1))
    return off


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
        drawn = _deviations(of_groups(equations, some), scales, relative, noise)
        out[:, start : start + step] = np.moveaxis(drawn, 0, -1)
    return out


def _deviations(
    equations: NormalEquations, scales: Scales, relative: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Draw the deviations of the groups, with noise of shape (P, S, C)."""
    drawn: np.ndarray = draw_deviations(
        equations, scale_vector(scales), scales["eps"], relative, noise, root_of(scales)
    )
    return drawn
