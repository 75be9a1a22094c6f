r"""The coefficients integrated out: log densities of the scales alone, and models of them.

In the notation of ``gaussian/conditional.py``, whose algebra this stands on. With the scales of all
groups fixed the outcome is Gaussian; its density given them is what is left to sample or to invert.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.custom_derivatives import SymbolicZero

from radon_numpyro.gaussian.conditional import (
    GroupTerms,
    PopulationMean,
    group_terms,
    individual_prior,
    population_mean,
    prior_distance,
    prior_weight,
)
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.small_matrices import dot, solve_lower, sum_of_logs
from radon_numpyro.model.priors import Priors


@jax.custom_jvp
def log_density(equations: NormalEquations, scale: Any, eps: Any, priors: Priors) -> Any:
    r"""Log marginal likelihood of the hierarchical model, coefficients integrated out.

    .. math:: \log p(y\mid\sigma,\epsilon) = -\tfrac N2\log 2\pi - N\log\epsilon
              - \sum_c\log|C_c| - \tfrac12\log|S_0| - \tfrac12\log|V^{-1}|
              - \tfrac12\Big(\sum_c\tfrac{\mathrm{rest}_c}{\epsilon^2} + w_c'w_c
              + m_0'S_0^{-1}m_0 - m'V^{-1}m\Big)

    Its derivatives in the scales and in eps are in closed form too, which takes a fraction of the
    time of a reverse pass through the factors. With :math:`\rho_c = w_c - W_c m`,
    :math:`V^{-1} = LL'` and :math:`y_{cp}` column p of :math:`W_c T`,

    .. math:: \partial_{\sigma_p} &= \sigma_p\sum_c\big((y_{cp}'\rho_c)^2 - |y_{cp}|^2
              + |L^{-1}W_c'y_{cp}|^2\big) \\
              \epsilon\,\partial_\epsilon &= \sum_c\Big(\tfrac{\mathrm{rest}_c}{\epsilon^2}
              + |\rho_c|^2\Big) - N + P - \mathrm{tr}(S_0^{-1}V)
              - \sum_p\sigma_p\,\partial_{\sigma_p}

    the latter since multiplying all scales and eps by a number multiplies the covariance of the
    rows by its square.

    Parameters
    ----------
    equations
        The data.
    scale
        P standard deviations of intercept and slopes; their signs do not matter.
    eps
        Residual standard deviation, a scalar.
    priors
        Only ``mu_alpha`` and ``mu_beta`` are used.

    Returns
    -------
    array
        A scalar.

    Raises
    ------
    TypeError
        If a derivative in the data or the priors is asked for.
    """
    return _log_density(equations, scale, eps, priors)[0]


def _log_density(
    equations: NormalEquations, scale: Any, eps: Any, priors: Priors
) -> tuple[Any, GroupTerms, PopulationMean]:
    """The density, and what its derivatives need too."""
    size, n = equations.size, equations.repeats
    terms = group_terms(equations, scale, eps)
    mu = population_mean(equations, terms, priors)
    distance, prior_scale = prior_distance(equations, priors)
    num_rows = equations.count.sum()
    # v = C'm with V^-1 = C C', so that m'V^-1 m = v'v.
    v = [sum(mu.cholesky[q][p] * mu.mean[q] for q in range(p, size)) for p in range(size)]
    pivots = [terms.cholesky[p][p] for p in range(size)]
    # Else each group stands for itself.
    if equations.scatter.shape[0]:
        log_det = sum((n * jnp.log(pivot)).sum() for pivot in pivots)
    else:
        log_det = sum_of_logs(pivots)
    for p in range(size):
        log_det += jnp.log(mu.cholesky[p][p]) + jnp.log(prior_scale[p])
    squares = equations.rest / eps**2 + n * dot(terms.w, terms.w)
    squares = squares + sum(dot(e, e) for e in _scatter(equations, terms, eps))
    quadratic = squares.sum() - dot(v, v)
    quadratic = quadratic + sum((d / s) ** 2 for d, s in zip(distance, prior_scale, strict=True))
    normaliser = num_rows * (jnp.log(eps) + 0.5 * jnp.log(2.0 * jnp.pi))
    return -normaliser - log_det - 0.5 * quadratic, terms, mu


@partial(log_density.defjvp, symbolic_zeros=True)
def _derivative(primals: Any, tangents: Any) -> tuple[Any, Any]:
    equations, scale, eps, priors = primals
    constant = jax.tree.leaves((tangents[0], tangents[3]), is_leaf=_is_zero)
    if not all(_is_zero(tangent) for tangent in constant):
        raise TypeError(
            "Expected derivatives of log_density in scale and eps; got one in equations or priors"
        )
    value, terms, mu = _log_density(equations, scale, eps, priors)
    by_scale, by_eps = _gradient(equations, terms, mu, eps, priors)
    pairs = [*zip(by_scale, tangents[1], strict=True), (by_eps, tangents[2])]
    return value, sum(d * t for d, t in pairs if not _is_zero(t))


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _gradient(
    equations: NormalEquations, terms: GroupTerms, mu: PopulationMean, eps: Any, priors: Priors
) -> tuple[list[Any], Any]:
    """Derivatives in each scale and in eps, as in :func:`log_density`."""
    size, n, u = equations.size, equations.repeats, terms.u
    residual = [terms.w[p] - dot([u[q][p] for q in range(size)], mu.mean) for p in range(size)]
    scatter = _scatter(equations, terms, eps)
    by_scale = []
    for p in range(size):
        at_zero = terms.centre[p - 1] if p > 0 else 0.0
        y = [a + at_zero * b for a, b in zip(u[p], u[0], strict=True)]
        reach = solve_lower(mu.cholesky, [dot(u[q], y) for q in range(size)])
        known = n * (dot(y, residual) ** 2 - dot(y, y) + dot(reach, reach))
        known = known + sum(dot(y, e) ** 2 for e in scatter)
        by_scale.append(terms.scale[p] * known.sum())
    misfit = equations.rest / eps**2 + n * dot(residual, residual)
    misfit = (misfit + sum(dot(e, e) for e in scatter)).sum()
    freedom = equations.count.sum() - size + prior_weight(mu, equations, priors)
    together = dot(list(terms.scale), by_scale)
    return by_scale, (misfit - freedom - together) / eps


def _scatter(equations: NormalEquations, terms: GroupTerms, eps: Any) -> list[list[Any]]:
    r""":math:`C_c^{-1}f/\epsilon` of each column f of the scatter."""
    return [
        solve_lower(terms.cholesky, [entry / eps for entry in column])
        for column in equations.scatter
    ]


def individual_log_density(equations: NormalEquations, eps: Any, priors: Priors) -> Any:
    r"""Log marginal likelihood of each group on its own, coefficients integrated out.

    The formulas at the head with :math:`D = S_0^{1/2}` and :math:`\mu = m_0` fixed:

    .. math:: \log p(y_c\mid\epsilon_c) = -\tfrac{n_c}2\log 2\pi - n_c\log\epsilon_c
              - \log|C_c| - \tfrac12\Big(
              \tfrac{\mathrm{rest}_c}{\epsilon_c^2} + |w_c - W_c m_0|^2\Big)

    Parameters
    ----------
    equations
        The data.
    eps
        Residual standard deviations, (C,) or (S, C).
    priors
        Only ``alpha`` and ``beta`` are used.

    Returns
    -------
    array
        Shape of ``eps``.
    """
    size = equations.size
    scale, mu = individual_prior(equations, priors)
    terms = group_terms(equations, scale, eps)
    w = [terms.w[p] - sum(terms.u[q][p] * mu[q] for q in range(size)) for p in range(size)]
    # On the host in float64 whatever JAX's setting; in a program, JAX's logarithm.
    log = np.log if isinstance(eps, np.ndarray) else jnp.log
    log_det = sum(log(terms.cholesky[p][p]) for p in range(size))
    normaliser = equations.count * (log(eps) + 0.5 * np.log(2.0 * np.pi))
    return -normaliser - log_det - 0.5 * (equations.rest / eps**2 + dot(w, w))


def hierarchical(equations: NormalEquations, priors: Priors) -> None:
    r"""NumPyro model of the scales alone, equivalent to :func:`models.hierarchical`.

    The scales are sampled signed, :math:`s` with :math:`\sigma = |s|`: s Uniform(-h, h) is
    :math:`\sigma` Uniform(0, h), s Normal is :math:`\sigma` half-normal. The density is smooth
    through 0, so there is no long tail of :math:`\log\sigma` to explore.

    Parameters
    ----------
    equations
        The data.
    priors
        All but ``alpha`` and ``beta`` are used.
    """
    num_predictors = equations.size - 1
    signed = [numpyro.sample("signed_alpha", priors.sigma_alpha.signed())]
    if num_predictors:
        with numpyro.plate("predictor", num_predictors):
            signed_beta = numpyro.sample("signed_beta", priors.sigma_beta.signed())
        signed += [signed_beta[k] for k in range(num_predictors)]
        numpyro.deterministic("sigma_beta", jnp.abs(signed_beta))
    numpyro.deterministic("sigma_alpha", jnp.abs(signed[0]))
    eps = numpyro.sample("eps", priors.eps.distribution())
    numpyro.factor("y", log_density(equations, signed, eps, priors))


def individual(equations: NormalEquations, priors: Priors) -> None:
    """NumPyro model of each group's eps alone, equivalent to :func:`models.individual`.

    Parameters
    ----------
    equations
        The data.
    priors
        ``alpha``, ``beta`` and ``eps`` are used.
    """
    with numpyro.plate("group", equations.target.shape[1]):
        eps = numpyro.sample("eps", priors.eps.distribution())
    numpyro.factor("y", individual_log_density(equations, eps, priors).sum())


def pooled(equations: NormalEquations, priors: Priors) -> None:
    """NumPyro model of eps alone, equivalent to :func:`models.pooled`.

    Parameters
    ----------
    equations
        The data, of any number of groups.
    priors
        ``alpha``, ``beta`` and ``eps`` are used.
    """
    eps = numpyro.sample("eps", priors.eps.distribution())
    numpyro.factor("y", individual_log_density(equations.pooled(), eps, priors).sum())
