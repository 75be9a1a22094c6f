r"""The coefficients integrated out: their exact distribution given the scales.

Given the scales everything else is Gaussian. For group c write :math:`X_c` for its design
with the intercept column, :math:`G_c = X_c'X_c`, :math:`t_c = X_c'r_c` with r the residual of
the pooled least-squares fit (working relative to that fit avoids cancellation), and
:math:`D = \mathrm{diag}(\sigma_\alpha, \sigma_{\beta 1}, \ldots)`. Then

.. math::

   L_c &= I + D G_c D / \epsilon^2 = C_c C_c', \qquad
   U_c = C_c^{-1} D G_c / \epsilon^2, \qquad w_c = C_c^{-1} D t_c / \epsilon^2 \\
   H &= \sum_c G_c/\epsilon^2 - U_c'U_c, \qquad h = \sum_c t_c/\epsilon^2 - U_c'w_c \\
   \mu \mid \sigma, \epsilon, y &\sim N(V(h + S_0^{-1}m_0), V), \qquad V^{-1} = H + S_0^{-1} \\
   \theta_c \mid \mu, \sigma, \epsilon, y &\sim
       N(\mu + D C_c^{-T}(w_c - U_c\mu),\; D L_c^{-1} D)

with :math:`m_0, S_0` the prior mean and (diagonal) covariance of :math:`\mu`. ``L_c`` is
positive definite also when ``G_c`` is singular or a scale is 0.

The P x P algebra (P = K + 1) is unrolled (``unrolled.py``), and serves NumPy on the host and JAX
in a program.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

from radon_numpyro.equations import NormalEquations
from radon_numpyro.priors import Priors, Uniform
from radon_numpyro.unrolled import cholesky, dot, materialised, solve_lower, solve_upper


class GroupTerms(NamedTuple):
    """What the scales make of the normal equations: lists over P of arrays of shape (C,).

    Attributes
    ----------
    scale
        The P entries of D.
    cholesky
        Rows of the lower triangle :math:`C_c`.
    u
        ``u[q]`` is column q of :math:`U_c`.
    w
        :math:`w_c`.
    """

    scale: Any
    cholesky: list[list[Any]]
    u: list[list[Any]]
    w: list[Any]


def group_terms(equations: NormalEquations, scale: Any, eps: Any) -> GroupTerms:
    """Factor each group's precision.

    Parameters
    ----------
    equations
        The data.
    scale
        P standard deviations (or signed ones: only even functions of them come out).
    eps
        Residual standard deviation, () or (C,).
    """
    size = equations.size
    precision = 1.0 / eps**2
    # scaled[p][q] = (D G)_pq / eps^2
    scaled = [
        [scale[p] * equations.gram[p][q] * precision for q in range(size)] for p in range(size)
    ]
    matrix = [
        [scaled[p][q] * scale[q] + (1.0 if p == q else 0.0) for q in range(p + 1)]
        for p in range(size)
    ]
    factor = materialised(cholesky(matrix, least=[1.0] * size))
    u = [solve_lower(factor, [scaled[p][q] for p in range(size)]) for q in range(size)]
    w = solve_lower(factor, [scale[p] * equations.moment[p] * precision for p in range(size)])
    u, w = materialised((u, w))
    return GroupTerms(scale, factor, u, w)


class PopulationMean(NamedTuple):
    r"""Posterior of :math:`\mu` given the scales, relative to the pooled fit.

    Attributes
    ----------
    mean
        P scalars.
    cholesky
        Rows of the lower triangle of :math:`V^{-1}`, the posterior precision.
    """

    mean: list[Any]
    cholesky: list[list[Any]]


def population_mean(
    equations: NormalEquations, terms: GroupTerms, eps: Any, priors: Priors
) -> PopulationMean:
    """Posterior of the population means given the scales (hierarchical model)."""
    size, u, w = equations.size, terms.u, terms.w
    precision = 1.0 / eps**2
    loc, scale = prior_parameters(priors, size)
    matrix = [
        [
            (equations.gram[p][q] * precision - dot(u[p], u[q])).sum(-1)
            + (1.0 / scale[p] ** 2 if p == q else 0.0)
            for q in range(p + 1)
        ]
        for p in range(size)
    ]
    rhs = [
        (equations.moment[p] * precision - dot(u[p], w)).sum(-1)
        + (loc[p] - equations.offset[p]) / scale[p] ** 2
        for p in range(size)
    ]
    factor = cholesky(matrix, least=[1.0 / s**2 for s in scale])
    return PopulationMean(solve_upper(factor, solve_lower(factor, rhs)), factor)


def coefficients(terms: GroupTerms, mu: list[Any], noise: list[Any] | None = None) -> list[Any]:
    r"""Coefficients of each group given the scales and :math:`\mu`: mean, or a draw.

    Parameters
    ----------
    terms
        From :func:`group_terms`.
    mu
        P means, scalars or (C,), relative to the pooled fit.
    noise
        P standard normal vectors of shape (C,) for a draw; None for the mean.

    Returns
    -------
    list
        P arrays of shape (C,), relative to the pooled fit.
    """
    size = len(mu)
    rhs = [terms.w[p] - sum(terms.u[q][p] * mu[q] for q in range(size)) for p in range(size)]
    if noise is not None:
        rhs = [r + z for r, z in zip(rhs, noise, strict=True)]
    solved = solve_upper(terms.cholesky, rhs)
    return [mu[p] + terms.scale[p] * solved[p] for p in range(size)]


def draw_means(
    key: Any, equations: NormalEquations, terms: GroupTerms, eps: Any, priors: Priors
) -> list[Any]:
    """One exact draw of the population means given the scales, relative to the pooled fit.

    Parameters
    ----------
    key
        JAX random key.
    equations, terms, eps, priors
        As in :func:`population_mean`.

    Returns
    -------
    list
        P scalars.
    """
    population = population_mean(equations, terms, eps, priors)
    noise = jax.random.normal(key, (equations.size,), jnp.result_type(float))
    step = solve_upper(population.cholesky, list(noise))
    return [m + s for m, s in zip(population.mean, step, strict=True)]


def draw_coefficients(
    key: Any,
    equations: NormalEquations,
    scale: list[Any],
    eps: Any,
    priors: Priors,
    *,
    groups: bool = True,
) -> dict[str, Any]:
    """One exact draw of means and coefficients given the scales (hierarchical model).

    Parameters
    ----------
    key
        JAX random key.
    equations, priors
        The data, and the priors of the means.
    scale, eps
        P standard deviations and the residual one, scalars.
    groups
        Draw the coefficients of the groups too, not the means alone.

    Returns
    -------
    dict
        ``mu_alpha`` (), ``alpha`` (C,) and, with predictors, ``mu_beta`` (K,), ``beta`` (C, K),
        in the units of the model.
    """
    mean_key, group_key = jax.random.split(key)
    terms = group_terms(equations, scale, eps)
    mu = draw_means(mean_key, equations, terms, eps, priors)
    offset = equations.offset
    drawn = {"mu_alpha": mu[0] + offset[0]}
    if equations.size > 1:
        drawn["mu_beta"] = jnp.stack(mu[1:]) + offset[1:]
    if groups:
        noise = jax.random.normal(group_key, equations.moment.shape, jnp.result_type(float))
        theta = coefficients(terms, mu, list(noise))
        drawn["alpha"] = theta[0] + offset[0]
        if equations.size > 1:
            drawn["beta"] = jnp.stack(theta[1:], axis=-1) + offset[1:]
    return drawn


def prediction(
    terms: GroupTerms,
    mu: list[Any],
    design: list[Any],
    group: Any,
    population: PopulationMean | None = None,
) -> tuple[Any, Any]:
    r"""Mean and variance of a regression line at new rows of known groups, given the scales.

    .. math:: E = z'\hat\theta_c, \qquad
              \mathrm{Var} = |C_c^{-1}Dz|^2 + m'Vm, \quad m = z - U_c'C_c^{-1}Dz

    Parameters
    ----------
    terms
        From :func:`group_terms`; scales may have shape (S, 1), a draw a row.
    mu
        P means relative to the pooled fit, scalars or (S, 1).
    design
        P arrays of shape (R,): ones, then the predictors of the new rows.
    group
        Group of each new row, shape (R,).
    population
        Given when :math:`\mu` is itself uncertain (hierarchical model): adds its variance.

    Returns
    -------
    mean, variance
        Shape (R,) or (S, R); the mean relative to the pooled fit.
    """
    size = len(design)

    def of_row(value: Any) -> Any:
        return value[..., group]

    theta = coefficients(terms, mu)
    mean = sum(design[p] * of_row(theta[p]) for p in range(size))
    factor = [[of_row(entry) for entry in row] for row in terms.cholesky]
    a = solve_lower(factor, [terms.scale[p] * design[p] for p in range(size)])
    variance = dot(a, a)
    if population is not None:
        m = [design[q] - dot(a, [of_row(v) for v in terms.u[q]]) for q in range(size)]
        expanded = [[entry[..., None] for entry in row] for row in population.cholesky]
        b = solve_lower(expanded, m)
        variance = variance + dot(b, b)
    return mean, variance


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
    size, num_groups = equations.moment.shape
    terms = group_terms(equations, scale, eps)
    population = population_mean(equations, terms, eps, priors)
    groups = np.arange(num_groups)
    moments = [
        prediction(terms, population.mean, list(unit), groups, population)
        for unit in np.eye(size)[:, :, None] * np.ones(num_groups)
    ]
    mean = jnp.stack([m for m, _ in moments], axis=-1) + equations.offset
    return mean, jnp.stack([v for _, v in moments], axis=-1)


def log_density(equations: NormalEquations, scale: Any, eps: Any, priors: Priors) -> Any:
    r"""Log marginal likelihood of the hierarchical model, coefficients integrated out.

    .. math:: \log p(y\mid\sigma,\epsilon) = -\tfrac N2\log 2\pi - N\log\epsilon
              - \tfrac12\sum_c\log|L_c| - \tfrac12\log|S_0| - \tfrac12\log|V^{-1}|
              - \tfrac12\Big(\tfrac{r'r}{\epsilon^2} - \sum_c w_c'w_c
              + m_0'S_0^{-1}m_0 - m'V^{-1}m\Big)

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
    """
    size = equations.size
    terms = group_terms(equations, scale, eps)
    mu = population_mean(equations, terms, eps, priors)
    loc, prior_scale = prior_parameters(priors, size)
    num_rows = equations.count.sum()
    # v = C'm with V^-1 = C C', so that m'V^-1 m = v'v.
    v = [sum(mu.cholesky[q][p] * mu.mean[q] for q in range(p, size)) for p in range(size)]
    log_det = jnp.zeros(())
    for p in range(size):
        log_det += jnp.log(terms.cholesky[p][p]).sum()
        log_det += jnp.log(mu.cholesky[p][p]) + jnp.log(prior_scale[p])
    quadratic = equations.rss.sum() / eps**2 - dot(terms.w, terms.w).sum() - dot(v, v)
    quadratic = quadratic + sum(
        ((loc[p] - equations.offset[p]) / prior_scale[p]) ** 2 for p in range(size)
    )
    normaliser = num_rows * (jnp.log(eps) + 0.5 * jnp.log(2.0 * jnp.pi))
    return -normaliser - log_det - 0.5 * quadratic


def individual_log_density(equations: NormalEquations, eps: Any, priors: Priors) -> Any:
    r"""Log marginal likelihood of each group on its own, coefficients integrated out.

    The formulas at the head with :math:`D = S_0^{1/2}` and :math:`\mu = m_0` fixed:

    .. math:: \log p(y_c\mid\epsilon_c) = -\tfrac{n_c}2\log 2\pi - n_c\log\epsilon_c
              - \tfrac12\log|L_c| - \tfrac12\Big(
              \tfrac{|r_c - X_c m_0|^2}{\epsilon_c^2} - |w_c - U_c m_0|^2\Big)

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
    rss = equations.rss
    for p in range(size):
        rss = rss - 2.0 * mu[p] * equations.moment[p]
        rss = rss + sum(mu[p] * mu[q] * equations.gram[p][q] for q in range(size))
    # On the host in float64 whatever JAX's setting; in a program, JAX's logarithm.
    log = np.log if isinstance(eps, np.ndarray) else jnp.log
    log_det = sum(log(terms.cholesky[p][p]) for p in range(size))
    normaliser = equations.count * (log(eps) + 0.5 * np.log(2.0 * np.pi))
    return -normaliser - log_det - 0.5 * (rss / eps**2 - dot(w, w))


def individual_prior(equations: NormalEquations, priors: Priors) -> tuple[list[Any], list[Any]]:
    """Prior standard deviations of a group's coefficients, and means about the pooled fit.

    Parameters
    ----------
    equations
        The data.
    priors
        Only ``alpha`` and ``beta`` are used.
    """
    loc, scale = prior_parameters(priors, equations.size, intercept="alpha", slope="beta")
    return scale, [m - o for m, o in zip(loc, equations.offset, strict=True)]


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
    signed = [numpyro.sample("signed_alpha", _signed(priors.sigma_alpha))]
    if num_predictors:
        with numpyro.plate("predictor", num_predictors):
            signed_beta = numpyro.sample("signed_beta", _signed(priors.sigma_beta))
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
    with numpyro.plate("group", equations.moment.shape[1]):
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


def _signed(prior: Any) -> dist.Distribution:
    """Distribution symmetric about 0 whose absolute value has the prior."""
    if isinstance(prior, Uniform):
        return dist.Uniform(-prior.high, prior.high)
    return dist.Normal(0.0, prior.scale)


def prior_parameters(
    priors: Priors, size: int, *, intercept: str = "mu_alpha", slope: str = "mu_beta"
) -> tuple[list[Any], list[Any]]:
    """Prior means and standard deviations of P coefficients, as lists of scalars.

    Parameters
    ----------
    priors
        The priors.
    size
        Number of coefficients, P.
    intercept, slope
        The fields that hold the Normal priors of the intercept and of the slopes.
    """

    def entries(value: Any) -> list[Any]:
        return [value[k] if np.ndim(value) else value for k in range(size - 1)]

    first, rest = getattr(priors, intercept), getattr(priors, slope)
    return [first.loc, *entries(rest.loc)], [first.scale, *entries(rest.scale)]
