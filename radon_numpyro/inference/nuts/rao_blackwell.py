"""Means and standard deviations of the coefficients, if their draws would not fit in memory.

References
----------
Gelfand and Smith (1990), Sampling-based approaches to calculating marginal densities,
doi:10.1080/01621459.1990.10476213.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from radon_numpyro.gaussian.conditional import Population, group_terms, population_posterior
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import population_prior, prediction
from radon_numpyro.inference.compute.devices import num_cores
from radon_numpyro.inference.compute.programs import in_threads, program
from radon_numpyro.inference.nuts.scales import HIERARCHICAL
from radon_numpyro.model.correlations import root_of_correlation
from radon_numpyro.model.priors import Priors

# Number of groups in one call, so few that their sums over draws fit in the cache of a core.
CHUNK = 1000


def posterior_moments(
    sites: Mapping[str, Any], equations: NormalEquations, priors: Priors
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    r"""Compute the posterior mean and standard deviation of alpha and beta without drawing them.

    .. math:: E[\theta_c] = \overline{E[\theta_c \mid s]}, \qquad
              \mathrm{var}[\theta_c] = \overline{\mathrm{var}[\theta_c \mid s]}
              + \mathrm{var}(E[\theta_c \mid s])

    where averages and variances are over the draws s of the scales (Rao-Blackwell).

    Parameters
    ----------
    sites
        Draws of the scales, shape (chains, draws, ...).
    equations, priors
        The data, and the priors of the population coefficients.

    Returns
    -------
    dict
        ``(mean, sd)`` by name, shapes (C,) and (C, K), in the units of the coefficients.
    """
    names = [n for n in ("sigma_alpha", "sigma_beta", "correlation", "eps") if n in sites]
    scales = {n: sites[n].reshape(-1, *sites[n].shape[2:]) for n in names}
    if equations.design.known_errors:
        scales["eps"] = np.ones(len(next(iter(scales.values()))))
    mu = _population(scales, by_design(equations), priors)
    num_groups = equations.num_groups
    size = min(CHUNK, num_groups)

    def of_some(start: int) -> Any:
        # Pad the last chunk with the first groups.
        some = np.arange(start, start + size) % num_groups
        return jax.tree.map(np.asarray, _mean_and_sd(scales, mu, equations.take(some)))

    _mean_and_sd.prepare(scales, mu, equations.take(np.arange(size)))
    parts = in_threads(of_some, range(0, num_groups, size), threads=num_cores())
    mean, sd = (np.concatenate(p)[:num_groups] for p in zip(*parts, strict=True))
    first = int(equations.design.intercept_varies)
    moments = {"alpha": (mean[:, 0], sd[:, 0])} if first else {}
    if equations.design.slopes:
        moments["beta"] = (mean[:, first:], sd[:, first:])
    return moments


@program()
def _population(scales: Any, equations: NormalEquations, priors: Priors) -> Population:
    """Compute the posterior of the population coefficients given each draw of the scales."""
    prior = population_prior(equations, priors, HIERARCHICAL)

    def of_draw(draw: Any) -> Population:
        return population_posterior(equations, _terms(equations, draw), prior)

    posterior: Population = jax.lax.map(of_draw, scales)
    return posterior


@program()
def _mean_and_sd(scales: Any, mu: Population, equations: NormalEquations) -> tuple[Any, Any]:
    """Compute the mean of the conditional means and the root of the total variance, (C, P)."""

    def add(sums: Any, draw: Any) -> Any:
        mean, variance = _conditional_moments(equations, *draw)
        off = mean - centre
        return jax.tree.map(jnp.add, sums, (off, off**2, variance)), None

    # Sum deviations from the mean of the first draw, so that the difference of squares is accurate.
    first = jax.tree.map(lambda v: v[0], (scales, mu))
    centre = _conditional_moments(equations, *first)[0]
    sums = jax.lax.scan(add, (jnp.zeros_like(centre),) * 3, (scales, mu))[0]
    shift, square, variance = (s / len(scales["eps"]) for s in sums)
    return (centre + shift).T, jnp.sqrt(square - shift**2 + variance).T


def _conditional_moments(
    equations: NormalEquations, draw: Any, population: Population
) -> tuple[Any, Any]:
    """Compute the mean and variance of every coefficient given the scales, shapes (P, C)."""
    groups, design = np.arange(equations.num_groups), equations.design
    terms = _terms(equations, jax.tree.map(lambda value: value[None], draw))
    batch = Population(population.mean[:, None], population.cholesky[..., None])
    fit, inverse = equations.at_zero()
    has_mean = [name in design.population for name in design.varying]
    moments = []
    for p, unit in enumerate(np.eye(equations.size)):
        # A coefficient is the value of the line where its column is 1 and all others are 0.
        own = sum(has_mean[:p]) if has_mean[p] else None
        row = jnp.zeros_like(fit) if own is None else inverse[own]
        rows = jnp.broadcast_to(row[:, None], (len(row), len(groups)))
        z = np.repeat(unit[:, None], len(groups), axis=1)
        mean, variance = prediction(terms, batch.mean, z, rows, groups, batch)
        moments.append((mean[0] + (0.0 if own is None else fit[own]), variance[0]))
    means, variances = zip(*moments, strict=True)
    return jnp.stack(means), jnp.stack(variances)


def _terms(equations: NormalEquations, draw: Any) -> Any:
    rows = [draw["sigma_alpha"][None]] if "sigma_alpha" in draw else []
    rows += [jnp.moveaxis(draw["sigma_beta"], -1, 0)] if "sigma_beta" in draw else []
    root = root_of_correlation(draw["correlation"]) if "correlation" in draw else None
    return group_terms(equations, jnp.concatenate(rows), draw["eps"], root)
