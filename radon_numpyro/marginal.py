r"""The coefficients integrated out: their exact distribution given the scales.

Given the scales everything else is Gaussian. The data of group c are a triangle :math:`R_c` and a
target :math:`z_c` (``equations.py``), about the pooled least-squares fit and with intercepts at the
centre of the predictors. With :math:`D = \mathrm{diag}(\sigma_\alpha, \sigma_{\beta 1}, \ldots)`,
and T, which moves an intercept from zero to the centre,

.. math::

   A_c &= R_c T D / \epsilon, \qquad I + A_c A_c' = C_c C_c', \qquad
   W_c = C_c^{-1} R_c / \epsilon, \qquad w_c = C_c^{-1} z_c / \epsilon \\
   \mu \mid \sigma, \epsilon, y &\sim N(V(h + S_0^{-1}m_0), V), \qquad
   V^{-1} = \sum_c W_c'W_c + S_0^{-1}, \qquad h = \sum_c W_c'w_c \\
   \theta_c \mid \mu, \sigma, \epsilon, y &\sim
       N(\mu + TD A_c' C_c^{-T}(w_c - W_c\mu),\; TD\,(I + A_c'A_c)^{-1} DT')

with :math:`m_0, S_0` the prior mean and covariance of :math:`\mu`. Sums of squares alone are summed
over the groups, so nothing cancels: not where the residual scatter is small beside the scales, and
not where a predictor lies far from zero. A group with few rows or a scale of 0 is no special case.

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

from radon_numpyro.equations import NormalEquations, centred
from radon_numpyro.priors import Priors, Uniform
from radon_numpyro.unrolled import (
    cholesky,
    dot,
    materialised,
    solve_lower,
    solve_upper,
    updated,
)


class GroupTerms(NamedTuple):
    """What the scales make of the normal equations: lists over P of arrays of shape (C,).

    Attributes
    ----------
    scale
        The P entries of D.
    a
        Rows of the upper triangle :math:`A_c`, from the diagonal on.
    cholesky
        Rows of the lower triangle :math:`C_c`.
    u
        ``u[q]`` is column q of :math:`W_c`.
    w
        :math:`w_c`.
    centre
        Where the intercepts of the equations are, shape (K,).
    """

    scale: Any
    a: list[list[Any]]
    cholesky: list[list[Any]]
    u: list[list[Any]]
    w: list[Any]
    centre: Any


def group_terms(equations: NormalEquations, scale: Any, eps: Any) -> GroupTerms:
    """Factor the covariance of each group's target.

    Parameters
    ----------
    equations
        The data.
    scale
        P standard deviations (or signed ones: only even functions of them come out).
    eps
        Residual standard deviation, () or (C,).
    """
    size, root, centre = equations.size, equations.root, equations.centre
    # The scales are those of intercepts at zero.
    first = [root[0][0], *(root[0][q] + root[0][0] * centre[q - 1] for q in range(1, size))]
    rows = [first, *([root[p][q] for q in range(p, size)] for p in range(1, size))]
    a = [
        [entry * (scale[p + k] / eps) for k, entry in enumerate(row)] for p, row in enumerate(rows)
    ]
    matrix = [
        [dot(a[p], a[q][p - q :]) + (1.0 if p == q else 0.0) for q in range(p + 1)]
        for p in range(size)
    ]
    factor = materialised(cholesky(matrix, least=[1.0] * size))
    u = [
        solve_lower(factor, [root[p][q] / eps if p <= q else 0.0 for p in range(size)])
        for q in range(size)
    ]
    w = solve_lower(factor, [equations.target[p] / eps for p in range(size)])
    u, w = materialised((u, w))
    return GroupTerms(scale, a, factor, u, w, centre)


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
    equations: NormalEquations, terms: GroupTerms, priors: Priors
) -> PopulationMean:
    """Posterior of the population means given the scales (hierarchical model)."""
    size, u, w = equations.size, terms.u, terms.w
    # Rows of the transform from a mean at the centre to one at zero, whose prior it is.
    shift = [1.0, *(-m for m in equations.centre)]
    distance, scale = _prior_distance(equations, priors)
    precision = [1.0 / s**2 for s in scale]
    matrix = [
        [
            dot(u[p], u[q]).sum(-1)
            + shift[p] * shift[q] * precision[0]
            + (precision[p] if p == q > 0 else 0.0)
            for q in range(p + 1)
        ]
        for p in range(size)
    ]
    rhs = [
        dot(u[p], w).sum(-1)
        + shift[p] * precision[0] * distance[0]
        + (precision[p] * distance[p] if p > 0 else 0.0)
        for p in range(size)
    ]
    factor = cholesky(matrix, least=precision)
    return PopulationMean(solve_upper(factor, solve_lower(factor, rhs)), factor)


def _prior_distance(equations: NormalEquations, priors: Priors) -> tuple[list[Any], list[Any]]:
    """Prior means of the population means less the pooled fit, both at zero, and their sds."""
    loc, scale = prior_parameters(priors, equations.size)
    fit = equations.to_model([0.0] * equations.size)
    return [m - o for m, o in zip(loc, fit, strict=True)], scale


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
    deviations = [s * v for s, v in zip(terms.scale, _standardised(terms, mu, noise), strict=True)]
    at_centre = deviations[0] + sum(
        m * v for m, v in zip(terms.centre, deviations[1:], strict=True)
    )
    return [m + v for m, v in zip(mu, [at_centre, *deviations[1:]], strict=True)]


def _standardised(terms: GroupTerms, mu: list[Any], noise: list[Any] | None = None) -> list[Any]:
    """Deviations of the coefficients from their means, in units of the scales."""
    size = len(mu)
    rhs = [terms.w[p] - sum(terms.u[q][p] * mu[q] for q in range(size)) for p in range(size)]
    solved = solve_upper(terms.cholesky, rhs)
    out = [sum(terms.a[p][q - p] * solved[p] for p in range(q + 1)) for q in range(size)]
    if noise is not None:
        # The inverse of a triangle S is a root of that of S'S.
        spread = solve_upper(_posterior_root(terms), noise)
        out = [v + z for v, z in zip(out, spread, strict=True)]
    return out


def _posterior_root(terms: GroupTerms) -> list[list[Any]]:
    """Rows of the lower triangle S' with :math:`S'S = I + A_c'A_c`."""
    size = len(terms.a)
    root: list[list[Any]] = [[1.0] + [0.0] * (size - 1 - p) for p in range(size)]
    for row in terms.a:
        root = updated(root, row)
    return [[root[q][p - q] for q in range(p + 1)] for p in range(size)]


def draw_means(
    key: Any, equations: NormalEquations, terms: GroupTerms, priors: Priors
) -> list[Any]:
    """One exact draw of the population means given the scales, relative to the pooled fit.

    Parameters
    ----------
    key
        JAX random key.
    equations, terms, priors
        As in :func:`population_mean`.

    Returns
    -------
    list
        P scalars.
    """
    population = population_mean(equations, terms, priors)
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
    mu = draw_means(mean_key, equations, terms, priors)
    drawn = _sites(equations.to_model(mu), "mu_alpha", "mu_beta")
    if groups:
        noise = jax.random.normal(group_key, equations.target.shape, jnp.result_type(float))
        theta = coefficients(terms, mu, list(noise))
        drawn |= _sites(equations.to_model(theta), "alpha", "beta")
    return drawn


def _sites(theta: list[Any], intercept: str, slope: str) -> dict[str, Any]:
    sites = {intercept: theta[0]}
    if len(theta) > 1:
        sites[slope] = jnp.stack(theta[1:], axis=-1)
    return sites


def prediction(
    terms: GroupTerms,
    mu: list[Any],
    design: list[Any],
    group: Any,
    population: PopulationMean | None = None,
) -> tuple[Any, Any]:
    r"""Mean and variance of a regression line at new rows of known groups, given the scales.

    .. math:: E = z'\mu + d'A_c'C_c^{-T}(w_c - W_c\mu), \qquad
              \mathrm{Var} = d'(I + A_c'A_c)^{-1}d + m'Vm, \quad m = z - W_c'C_c^{-1}A_c d

    with z the row about the centre and d the row itself, each entry times its scale.

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
        return value[..., group] if np.ndim(value) else value

    row = centred(design, terms.centre)
    scaled = [terms.scale[p] * design[p] for p in range(size)]
    mean = dot(row, mu) + dot(scaled, [of_row(v) for v in _standardised(terms, mu)])
    root = [[of_row(entry) for entry in line] for line in _posterior_root(terms)]
    b = solve_lower(root, scaled)
    variance = dot(b, b)
    if population is not None:
        factor = [[of_row(entry) for entry in line] for line in terms.cholesky]
        a = [[of_row(entry) for entry in line] for line in terms.a]
        reach = solve_lower(factor, [dot(a[p], scaled[p:]) for p in range(size)])
        m = [row[q] - dot(reach, [of_row(v) for v in terms.u[q]]) for q in range(size)]
        expanded = [[entry[..., None] for entry in line] for line in population.cholesky]
        c = solve_lower(expanded, m)
        variance = variance + dot(c, c)
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


def log_density(equations: NormalEquations, scale: Any, eps: Any, priors: Priors) -> Any:
    r"""Log marginal likelihood of the hierarchical model, coefficients integrated out.

    .. math:: \log p(y\mid\sigma,\epsilon) = -\tfrac N2\log 2\pi - N\log\epsilon
              - \sum_c\log|C_c| - \tfrac12\log|S_0| - \tfrac12\log|V^{-1}|
              - \tfrac12\Big(\sum_c\tfrac{\mathrm{rest}_c}{\epsilon^2} + w_c'w_c
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
    mu = population_mean(equations, terms, priors)
    distance, prior_scale = _prior_distance(equations, priors)
    num_rows = equations.count.sum()
    # v = C'm with V^-1 = C C', so that m'V^-1 m = v'v.
    v = [sum(mu.cholesky[q][p] * mu.mean[q] for q in range(p, size)) for p in range(size)]
    log_det = jnp.zeros(())
    for p in range(size):
        log_det += jnp.log(terms.cholesky[p][p]).sum()
        log_det += jnp.log(mu.cholesky[p][p]) + jnp.log(prior_scale[p])
    quadratic = (equations.rest / eps**2 + dot(terms.w, terms.w)).sum() - dot(v, v)
    quadratic = quadratic + sum((d / s) ** 2 for d, s in zip(distance, prior_scale, strict=True))
    normaliser = num_rows * (jnp.log(eps) + 0.5 * jnp.log(2.0 * jnp.pi))
    return -normaliser - log_det - 0.5 * quadratic


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
    return scale, equations.from_model(loc)


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
