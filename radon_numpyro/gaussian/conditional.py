r"""The coefficients given the scales: their exact distribution.

Given the scales everything else is Gaussian. The data of group c are a triangle :math:`R_c` and a
target :math:`z_c` (``gaussian/normal_equations.py``), about the pooled least-squares fit and with
intercepts at the centre of the predictors. With :math:`D = \mathrm{diag}(\sigma_\alpha,
\sigma_{\beta 1}, \ldots)`, and T, which moves an intercept from zero to the centre,

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

The P x P algebra (P = K + 1) is unrolled (``gaussian/small_matrices.py``), and serves NumPy on the
host and JAX in a program.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.small_matrices import (
    cholesky,
    dot,
    solve_lower,
    solve_upper,
    updated,
)
from radon_numpyro.model.priors import Priors


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
    per_eps = 1.0 / eps
    # The scales are those of intercepts at zero.
    first = [root[0][0], *(root[0][q] + root[0][0] * centre[q - 1] for q in range(1, size))]
    rows = [first, *([root[p][q] for q in range(p, size)] for p in range(1, size))]
    a = [
        [entry * (scale[p + k] * per_eps) for k, entry in enumerate(row)]
        for p, row in enumerate(rows)
    ]
    matrix = [
        [dot(a[p], a[q][p - q :]) + (1.0 if p == q else 0.0) for q in range(p + 1)]
        for p in range(size)
    ]
    factor = cholesky(matrix, least=[1.0] * size)
    u = [
        solve_lower(factor, [root[p][q] * per_eps if p <= q else 0.0 for p in range(size)])
        for q in range(size)
    ]
    w = solve_lower(factor, [equations.target[p] * per_eps for p in range(size)])
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
    size, n, u, w = equations.size, equations.repeats, terms.u, terms.w
    shift = _to_zero(equations)
    distance, scale = prior_distance(equations, priors)
    precision = [1.0 / s**2 for s in scale]
    matrix = [
        [
            (n * dot(u[p], u[q])).sum(-1)
            + shift[p] * shift[q] * precision[0]
            + (precision[p] if p == q > 0 else 0.0)
            for q in range(p + 1)
        ]
        for p in range(size)
    ]
    rhs = [
        (n * dot(u[p], w)).sum(-1)
        + shift[p] * precision[0] * distance[0]
        + (precision[p] * distance[p] if p > 0 else 0.0)
        for p in range(size)
    ]
    factor = cholesky(matrix, least=precision)
    return PopulationMean(solve_upper(factor, solve_lower(factor, rhs)), factor)


def _to_zero(equations: NormalEquations) -> list[Any]:
    """First row of the transform from a mean at the centre to one at zero, whose prior it is."""
    return [1.0, *(-m for m in equations.centre)]


def prior_weight(mu: PopulationMean, equations: NormalEquations, priors: Priors) -> Any:
    r"""How many of the P population means the priors determine, :math:`\mathrm{tr}(S_0^{-1}V)`."""
    size = equations.size
    rows = [_to_zero(equations), *([float(p == q) for q in range(size)] for p in range(1, size))]
    reach = [solve_lower(mu.cholesky, row) for row in rows]
    _, scale = prior_parameters(priors, size)
    return sum(dot(r, r) / s**2 for r, s in zip(reach, scale, strict=True))


def prior_distance(equations: NormalEquations, priors: Priors) -> tuple[list[Any], list[Any]]:
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
    intercept, *slopes = deviations(terms, mu, noise)
    at_centre = intercept + sum(m * v for m, v in zip(terms.centre, slopes, strict=True))
    return [m + v for m, v in zip(mu, [at_centre, *slopes], strict=True)]


def deviations(terms: GroupTerms, mu: list[Any], noise: list[Any] | None = None) -> list[Any]:
    """Deviations of the coefficients from their means, the intercept at zero."""
    return [s * v for s, v in zip(terms.scale, standardised(terms, mu, noise), strict=True)]


def standardised(terms: GroupTerms, mu: list[Any], noise: list[Any] | None = None) -> list[Any]:
    """Deviations of the coefficients from their means, in units of the scales."""
    size = len(mu)
    rhs = [terms.w[p] - sum(terms.u[q][p] * mu[q] for q in range(size)) for p in range(size)]
    solved = solve_upper(terms.cholesky, rhs)
    out = [sum(terms.a[p][q - p] * solved[p] for p in range(q + 1)) for q in range(size)]
    if noise is not None:
        # The inverse of a triangle S is a root of that of S'S.
        spread = solve_upper(posterior_root(terms), noise)
        out = [v + z for v, z in zip(out, spread, strict=True)]
    return out


def posterior_root(terms: GroupTerms) -> list[list[Any]]:
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
    noise = _noise(key, (equations.size,))
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
        noise = _noise(group_key, equations.target.shape)
        theta = coefficients(terms, mu, list(noise))
        drawn |= _sites(equations.to_model(theta), "alpha", "beta")
    return drawn


def _noise(key: Any, shape: tuple[int, ...]) -> Any:
    # Without a barrier the inverse error function behind it is compiled into every use.
    noise = jax.random.normal(key, shape, jnp.result_type(float))
    return jax.lax.optimization_barrier(noise)


def _sites(theta: list[Any], intercept: str, slope: str) -> dict[str, Any]:
    sites = {intercept: theta[0]}
    if len(theta) > 1:
        sites[slope] = jnp.stack(theta[1:], axis=-1)
    return sites


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
