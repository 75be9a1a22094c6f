"""Coefficients of the hierarchical model given draws of the scales, of which NUTS has none itself.

Given the scales, the coefficients are Gaussian (``gaussian/conditional.py``). They are drawn in
NumPy, so that nothing is compiled for them. On a GPU, the sums over groups that the population
coefficients need are computed there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from radon_numpyro.gaussian.coefficient_moments import coefficient_moments, draws_to_average
from radon_numpyro.gaussian.conditional import Population
from radon_numpyro.gaussian.group_draws import CACHED, draw_coefficients
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import (
    Scales,
    population_coefficients,
    population_prior,
    root_of,
    scale_vector,
)
from radon_numpyro.inference.compute.compiled_blocks import CompiledBlocks
from radon_numpyro.inference.compute.devices import current, num_cores
from radon_numpyro.inference.compute.programs import in_threads
from radon_numpyro.inference.nuts.scales import HIERARCHICAL
from radon_numpyro.model.priors import Priors

SCALES = ("sigma_alpha", "sigma_beta", "correlation", "eps")


def given_scales(
    sites: Mapping[str, np.ndarray],
    equations: NormalEquations,
    reduced: NormalEquations,
    priors: Priors,
    *,
    seed: int,
    kept: str,
) -> tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Draw the population coefficients, and draw or summarise the coefficients of the groups.

    The draws of a chain do not depend on how many draws or chains there are.

    Parameters
    ----------
    sites
        Draws of the scales, shape (chains, draws, ...).
    equations
        The data, with an entry for each group.
    reduced
        The same data, with groups of one design combined.
    priors
        The priors of the population coefficients.
    seed
        Seed of the draws.
    kept
        ``"draws"``, ``"summary"`` or ``"none"``, from ``Settings.coefficients_kept``.

    Returns
    -------
    draws
        Draws by site, shape (chains, draws, ...).
    moments
        ``(mean, sd)`` of alpha and beta if they are summarised; otherwise empty.
    """
    chains, draws = next(iter(sites.values())).shape[:2]
    scales = {n: np.asarray(sites[n], np.float64) for n in SCALES if n in sites}
    # eps is 1, and not a site, if the standard errors of the rows are known.
    scales.setdefault("eps", np.ones((chains, draws)))
    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in scales.items()}
    population = _population(reduced, priors, flat)

    def of_chain(chain: int) -> dict[str, np.ndarray]:
        own = slice(chain * draws, (chain + 1) * draws)
        return draw_coefficients(
            np.random.default_rng((seed, 3, chain)),
            equations,
            {name: values[own] for name, values in flat.items()},
            Population(*(values[..., own] for values in population)),
            groups=kept == "draws",
        )

    drawn = in_threads(of_chain, range(chains), threads=num_cores())
    dtype = next(iter(sites.values())).dtype
    # Stack one site at a time, so that at most one site is in memory twice.
    stacked = {
        name: np.stack([chain.pop(name) for chain in drawn]).astype(dtype, copy=False)
        for name in tuple(drawn[0])
    }
    if kept != "summary":
        return stacked, {}
    size = draws_to_average(chains * draws, equations.num_groups)
    some = np.linspace(0, chains * draws - 1, size).round().astype(int)
    return stacked, coefficient_moments(
        equations,
        {name: values[some] for name, values in flat.items()},
        Population(*(values[..., some] for values in population)),
    )


def _population(equations: NormalEquations, priors: Priors, scales: Scales) -> Population:
    """Compute the posterior of the population coefficients given each draw of the scales."""
    if current().platform == "cpu":
        # The arrays of a block fit into the cache.
        step = max(1, CACHED // max(equations.num_groups, 1))
        blocks = [
            population_coefficients(
                "hierarchical",
                equations,
                priors,
                {name: values[start : start + step] for name, values in scales.items()},
            )
            for start in range(0, len(scales["eps"]), step)
        ]
        mean, factor = (np.concatenate(parts, axis=-1) for parts in zip(*blocks, strict=True))
        return Population(mean, factor)
    prior = population_prior(equations, priors, HIERARCHICAL)
    compiled = CompiledBlocks(equations, prior, current().platform)
    return compiled.at(scale_vector(scales), scales["eps"], root_of(scales))[1]
