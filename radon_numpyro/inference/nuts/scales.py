r"""The NumPyro model of the scales.

The coefficients are integrated out in closed form (``gaussian/marginal.py``), so NUTS moves only
the scales.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from jax.custom_derivatives import SymbolicZero

from radon_numpyro.data.design import Design
from radon_numpyro.gaussian.conditional import (
    PriorRows,
)
from radon_numpyro.gaussian.marginal import gradient, marginal
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import population_prior
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
    scale, eps, root = _sampled(equations.design, priors)
    prior = population_prior(equations, priors, HIERARCHICAL)
    numpyro.factor("y", log_density(equations, scale, eps, prior, root))


def latent_scales(equations: NormalEquations, priors: Priors) -> None:
    """NumPyro model of the scales without the likelihood, which has the same sites.

    Parameters
    ----------
    equations, priors
        As in :func:`scales`; of the data only the design is used.
    """
    _sampled(equations.design, priors)


def _sampled(design: Design, priors: Priors) -> tuple[Any, Any, Any]:
    """Sample the signed scales, eps, and the root of the correlations that goes with the signs."""
    signed, root = [], None
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
        # The correlations that belong to the standard deviations |s|.
        mirrored = jnp.where(scale < 0, -1.0, 1.0)[:, None] * root
        numpyro.deterministic("correlation", correlation_of(mirrored))
    return scale, residual_sd(design, priors), root
