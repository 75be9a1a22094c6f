r"""The NumPyro model of the scales, and exact draws of the coefficients given the scales.

The coefficients are integrated out in closed form (``gaussian/marginal.py``), so NUTS moves only
the scales.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from jax.custom_derivatives import SymbolicZero

from radon_numpyro.data.design import Design
from radon_numpyro.gaussian.conditional import (
    PriorRows,
    draw_deviations,
    draw_population,
    group_terms,
    population_posterior,
)
from radon_numpyro.gaussian.marginal import gradient, marginal
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import population_prior
from radon_numpyro.gaussian.sites import group_sites, population_sites
from radon_numpyro.model.correlations import correlation_of, correlation_root
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.regressions import partial_correlations, residual_sd

HIERARCHICAL = Model.named("hierarchical")


@jax.custom_jvp
def log_density(
    equations: NormalEquations, scale: Any, eps: Any, prior: PriorRows, root: Any = None
) -> Any:
    """Compute the log marginal likelihood of the hierarchical model; derivatives are closed forms.

    Parameters
    ----------
    equations, scale, eps, prior, root
        As in :func:`radon_numpyro.gaussian.marginal.marginal`, one value of the scales.

    Returns
    -------
    array
        The log density, a scalar.

    Raises
    ------
    TypeError
        If a derivative with respect to the data or the prior is requested.
    """
    return marginal(equations, scale, eps, prior, root).log_density


@partial(log_density.defjvp, symbolic_zeros=True)
def _derivative(primals: Any, tangents: Any) -> tuple[Any, Any]:
    equations, scale, eps, prior, root = primals
    constant = jax.tree.leaves((tangents[0], tangents[3]), is_leaf=_is_zero)
    if not all(_is_zero(tangent) for tangent in constant):
        raise TypeError(
            "Expected derivatives of log_density in scale, eps and root; got one in equations or "
            "prior"
        )
    found = marginal(equations, scale, eps, prior, root)
    slopes = gradient(equations, found, prior)
    change = jnp.zeros_like(found.log_density)
    if not _is_zero(tangents[1]):
        change = change + (slopes.scale * tangents[1]).sum()
    if not _is_zero(tangents[2]):
        change = change + slopes.eps * tangents[2]
    if root is not None and not _is_zero(tangents[4]):
        change = change + (slopes.root * tangents[4]).sum()
    return found.log_density, change


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def scales(equations: NormalEquations, priors: Priors) -> None:
    r"""NumPyro model of the scales, equivalent to :func:`regressions.hierarchical`.

    The sampled scales :math:`s` have a sign, and :math:`\sigma = |s|`: if s is Uniform(-h, h),
    :math:`\sigma` is Uniform(0, h); if s is Normal, :math:`\sigma` is half-normal. The density is
    smooth at 0, so the sampler does not have to explore a long tail of :math:`\log\sigma`. If
    coefficients correlate, their covariance is :math:`SRS` with S the signed scales. A change of a
    sign then reverses the signs of the correlations in R; the site ``correlation`` is the
    correlation matrix that belongs to the standard deviations.

    Parameters
    ----------
    equations
        The data.
    priors
        All priors except ``alpha`` and ``beta`` are used.
    """
    design, signed, root = equations.design, [], None
    if design.intercept_varies:
        signed_alpha = numpyro.sample("signed_alpha", priors.sigma_alpha.signed())
        numpyro.deterministic("sigma_alpha", jnp.abs(signed_alpha))
        signed.append(signed_alpha[None])
    if design.slopes:
        with numpyro.plate("predictor", len(design.slopes)):
            signed_beta = numpyro.sample("signed_beta", priors.sigma_beta.signed())
        numpyro.deterministic("sigma_beta", jnp.abs(signed_beta))
        signed.append(signed_beta)
    scale = jnp.concatenate(signed)
    if design.pairs:
        partial = numpyro.sample("partial_correlation", partial_correlations(design, priors))
        root = correlation_root(design, partial)
        mirrored = _mirrored(scale, root)
        numpyro.deterministic("correlation", correlation_of(mirrored))
    eps = residual_sd(design, priors)
    prior = population_prior(equations, priors, HIERARCHICAL)
    numpyro.factor("y", log_density(equations, scale, eps, prior, root))


def _mirrored(signed: Any, root: Any) -> Any:
    """Return the root of the correlations that belong to the standard deviations |s|."""
    return jnp.where(signed < 0, -1.0, 1.0)[:, None] * root


def mirrored_root(design: Design, values: dict[str, Any]) -> Any:
    """Return the root of the correlations at values of the sites of :func:`scales`.

    These are the correlations that belong to the standard deviations.

    Parameters
    ----------
    design
        Which coefficients correlate.
    values
        Values by site.

    Returns
    -------
    array
        Shape (P, P).
    """
    signed = [values["signed_alpha"][None]] if design.intercept_varies else []
    signed += [values["signed_beta"]] if design.slopes else []
    return _mirrored(
        jnp.concatenate(signed), correlation_root(design, values["partial_correlation"])
    )


def draw_coefficients(
    key: Any,
    equations: NormalEquations,
    scale: Any,
    eps: Any,
    priors: Priors,
    root: Any = None,
    *,
    groups: bool = True,
) -> dict[str, Any]:
    """Draw the coefficients of the hierarchical model once, exactly, given the scales.

    Parameters
    ----------
    key
        JAX random key.
    equations, priors
        The data, and the priors of the population coefficients.
    scale, eps
        Standard deviations of the coefficients, shape (P,), and of the residuals, a scalar.
    root
        Root of the correlations, shape (P, P), or None if the coefficients are independent.
    groups
        Whether to draw the coefficients of the groups in addition to those of the population.

    Returns
    -------
    dict
        The sites among ``mu_alpha``, ``mu_beta``, ``gamma``, ``alpha`` and ``beta`` that the design
        has, in their units.
    """
    terms = group_terms(equations, scale, eps, root)
    prior = population_prior(equations, priors, HIERARCHICAL)
    posterior = population_posterior(equations, terms, prior)
    # One call draws all noise, because each call adds to the compile time.
    size, shape = len(posterior.mean), equations.target.shape
    noise = _noise(key, (size + (math.prod(shape) if groups else 0),))
    relative = draw_population(posterior, noise[:size])
    drawn = population_sites(equations, relative)
    if groups:
        of_groups = noise[size:].reshape(shape)
        off = draw_deviations(equations, scale, eps, relative, of_groups, root)
        drawn |= group_sites(equations, drawn, off)
    return drawn


def _noise(key: Any, shape: tuple[int, ...]) -> Any:
    # Without a barrier XLA would copy the inverse error function into every use.
    noise = jax.random.normal(key, shape, jnp.result_type(float))
    return jax.lax.optimization_barrier(noise)
