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

from radon_numpyro.conditional import prediction
from radon_numpyro.equations import NormalEquations
from radon_numpyro.given_scales import group_terms, population_mean
from radon_numpyro.priors import Priors
from radon_numpyro.programs import program


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
    mean, sd = (np.asarray(moment) for moment in _mean_and_sd(scales, equations, priors))
    moments = {"alpha": (mean[:, 0], sd[:, 0])}
    if equations.size > 1:
        moments["beta"] = (mean[:, 1:], sd[:, 1:])
    return moments


@program()
def _mean_and_sd(scales: Any, equations: NormalEquations, priors: Priors) -> tuple[Any, Any]:
    """Mean of the conditional means, and total variance, one draw after the other."""

    def add(sums: Any, draw: Any) -> Any:
        scale = [draw["sigma_alpha"], *draw.get("sigma_beta", ())]
        mean, variance = coefficient_moments(equations, scale, draw["eps"], priors)
        centred = mean - centre
        new = (centred, centred**2, variance)
        return jax.tree.map(jnp.add, sums, new), None

    # About the first draw's mean, so that the squares do not cancel.
    first = jax.tree.map(lambda v: v[0], scales)
    scale = [first["sigma_alpha"], *first.get("sigma_beta", ())]
    centre = coefficient_moments(equations, scale, first["eps"], priors)[0]
    zero = (jnp.zeros_like(centre),) * 3
    sums = jax.lax.scan(add, zero, scales)[0]
    shift, square, variance = (s / len(scales["eps"]) for s in sums)
    return centre + shift, jnp.sqrt(square - shift**2 + variance)


def coefficient_moments(
    equations: NormalEquations, scale: list[Any], eps: Any, priors: Priors
) -> tuple[Any, Any]:
    """Mean and variance of every coefficient given the scales (hierarchical model).

    Parameters
    ----------
    equations, priors
        The data, and the priors of the means.
    scale, eps
        P standard deviations and the residual one, scalars.

    Returns
    -------
    mean, variance
        Shape (C, P), intercept first, in the units of the model.
    """
    size, num_groups = equations.target.shape
    terms = group_terms(equations, scale, eps)
    population = population_mean(equations, terms, priors)
    groups = np.arange(num_groups)
    moments = [
        prediction(terms, population.mean, list(unit), groups, population)
        for unit in np.eye(size)[:, :, None] * np.ones(num_groups)
    ]
    fit = equations.to_model([0.0] * size)
    mean = jnp.stack([m + o for (m, _), o in zip(moments, fit, strict=True)], axis=-1)
    return mean, jnp.stack([v for _, v in moments], axis=-1)
