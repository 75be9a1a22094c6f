"""Means and standard deviations of the coefficients where their draws would not fit in memory.

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

from radon_numpyro.gaussian.conditional import PopulationMean, group_terms, population_mean
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import prediction
from radon_numpyro.inference.programs import in_threads, num_cores, program
from radon_numpyro.model.priors import Priors

# Groups at a time, whose sums over the draws stay in the cache of a core.
CHUNK = 1000


def posterior_moments(
    sites: Mapping[str, Any], equations: NormalEquations, priors: Priors
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    r"""Posterior mean and standard deviation of alpha and beta, without drawing them.

    .. math:: E[\theta_c] = \overline{E[\theta_c \mid s]}, \qquad
              \mathrm{var}[\theta_c] = \overline{\mathrm{var}[\theta_c \mid s]}
              + \mathrm{var}(E[\theta_c \mid s])

    over the draws s of the scales (Rao-Blackwell).

    Parameters
    ----------
    sites
        Draws of the scales, shape (chains, draws, ...).
    equations, priors
        What the model is conditioned on.

    Returns
    -------
    dict
        ``(mean, sd)`` by name, shapes (C,) and (C, K), in the units of the coefficients.
    """
    names = [n for n in ("sigma_alpha", "sigma_beta", "eps") if n in sites]
    scales = {n: sites[n].reshape(-1, *sites[n].shape[2:]) for n in names}
    mu = _population_means(scales, by_design(equations), priors)
    num_groups = len(equations.count)
    size = min(CHUNK, num_groups)

    def of_some(start: int) -> Any:
        # The last chunk is filled up with the first groups again.
        some = np.arange(start, start + size) % num_groups
        return jax.tree.map(np.asarray, _mean_and_sd(scales, mu, equations.take(some)))

    _mean_and_sd.prepare(scales, mu, equations.take(np.arange(size)))
    parts = in_threads(of_some, range(0, num_groups, size), threads=num_cores())
    mean, sd = (np.concatenate(p)[:num_groups] for p in zip(*parts, strict=True))
    moments = {"alpha": (mean[:, 0], sd[:, 0])}
    if equations.size > 1:
        moments["beta"] = (mean[:, 1:], sd[:, 1:])
    return moments


@program()
def _population_means(scales: Any, equations: NormalEquations, priors: Priors) -> PopulationMean:
    """Posterior of the population means given each draw of the scales."""

    def of_draw(draw: Any) -> PopulationMean:
        return population_mean(equations, _terms(equations, draw), priors)

    means: PopulationMean = jax.lax.map(of_draw, scales)
    return means


@program()
def _mean_and_sd(scales: Any, mu: PopulationMean, equations: NormalEquations) -> tuple[Any, Any]:
    """Mean of the conditional means, and root of the total variance, shapes (C, P)."""

    def add(sums: Any, draw: Any) -> Any:
        mean, variance = _conditional_moments(equations, *draw)
        off = mean - centre
        return jax.tree.map(jnp.add, sums, (off, off**2, variance)), None

    # About the first draw's mean, so that the squares do not cancel.
    first = jax.tree.map(lambda v: v[0], (scales, mu))
    centre = _conditional_moments(equations, *first)[0]
    sums = jax.lax.scan(add, (jnp.zeros_like(centre),) * 3, (scales, mu))[0]
    shift, square, variance = (s / len(scales["eps"]) for s in sums)
    return (centre + shift).T, jnp.sqrt(square - shift**2 + variance).T


def _conditional_moments(
    equations: NormalEquations, draw: Any, mu: PopulationMean
) -> tuple[Any, Any]:
    """Mean and variance of every coefficient given the scales, shapes (P, C)."""
    size, num_groups = equations.target.shape
    terms = _terms(equations, draw)
    groups = np.arange(num_groups)
    moments = [
        prediction(terms, mu.mean, list(unit), groups, mu)
        for unit in np.eye(size)[:, :, None] * np.ones(num_groups)
    ]
    fit = equations.to_model([0.0] * size)
    mean = jnp.stack([m + o for (m, _), o in zip(moments, fit, strict=True)])
    return mean, jnp.stack([v for _, v in moments])


def _terms(equations: NormalEquations, draw: Any) -> Any:
    return group_terms(equations, [draw["sigma_alpha"], *draw.get("sigma_beta", ())], draw["eps"])
