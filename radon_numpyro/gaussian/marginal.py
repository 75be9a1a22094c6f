r"""The log density given the scales, with the coefficients integrated out, and its gradient.

The notation is that of ``gaussian/conditional.py``. With :math:`\rho_c = w_c - W_c m` and
:math:`V^{-1} = LL'`,

.. math:: \log p(y\mid\sigma,\epsilon) = -N\log(\epsilon\sqrt{2\pi})
          - \sum_c\log|C_c| - \log|L| - \log|B| - \tfrac12\log|S_0|
          - \tfrac12\Big(\mathrm{misfit} + |f - Fm|^2\Big) + \tfrac12\sum_i\log w_i, \qquad
          \mathrm{misfit} = \sum_c|\rho_c|^2
          + \frac{|z_0 - R_0m|^2 + \mathrm{remainder}}{\epsilon^2}

The misfit is a sum of squared residuals, not a difference of sums of squares, so that no digits
cancel if a predictor is far from zero. With a flat prior of the population coefficients, the
density is the restricted likelihood (REML). The gradient has a closed form, which takes a fraction
of the time of reverse-mode differentiation through the factors. With
:math:`Y_c = C_c^{-1}R_c/\epsilon`, and in terms of the root U of the covariance,

.. math:: M &= \sum_c\big(Y_c'\rho_c\rho_c'Y_c - Y_c'Y_c
          + (L^{-1}W_c'Y_c)'(L^{-1}W_c'Y_c)\big), \qquad
          \partial_U = \text{upper triangle of } MU \\
          \epsilon\,\partial_\epsilon &= \mathrm{misfit} - N + Q - \mathrm{tr}(FVF')
          - \langle U, \partial_U\rangle

The second equation holds because multiplying U and eps by a number multiplies the covariance of the
rows by its square. For U = DT the derivatives in D and T follow. For independent coefficients the
diagonal of M is enough, :math:`\partial_{\sigma_p} = \sigma_p M_{pp}`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from radon_numpyro.data.pytrees import namespace
from radon_numpyro.gaussian.conditional import (
    GroupTerms,
    Population,
    PriorRows,
    gram,
    group_terms,
    misfit,
    population_posterior,
    summed_product,
    with_batch,
)
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.small_matrices import (
    contracted,
    diagonal,
    identity,
    is_unrolled,
    multiply,
    solve_lower,
    squared_norm,
    sum_of_logs,
    transposed,
)


class Marginal(NamedTuple):
    r"""The log density, and the intermediate results that its gradient needs.

    Attributes
    ----------
    log_density
        Log density of the outcomes, with the shape of the batch.
    terms, population
        Results of ``group_terms`` and ``population_posterior`` of ``gaussian/conditional.py``.
    rho
        :math:`\rho_c`, shape (P, ..., C).
    misfit
        The misfit defined at the head of this module, with the shape of the batch.
    """

    log_density: Any
    terms: GroupTerms
    population: Population
    rho: Any
    misfit: Any


class Gradient(NamedTuple):
    """Derivatives of the log density.

    Attributes
    ----------
    scale
        With respect to each standard deviation, shape (P, ...).
    eps
        With respect to the residual standard deviation, shape (...).
    root
        With respect to the entries of the root T of the correlations, upper triangular, shape
        (P, P, ...); None if the coefficients are independent.
    """

    scale: Any
    eps: Any
    root: Any


def marginal(
    equations: NormalEquations, scale: Any, eps: Any, prior: PriorRows, root: Any = None
) -> Marginal:
    """Compute the log density of the outcomes given the scales, with coefficients integrated out.

    Parameters
    ----------
    equations
        The data.
    scale
        Standard deviations of the columns that vary, shape (P, ...). Negative values are allowed,
        as in :func:`~radon_numpyro.gaussian.conditional.group_terms`.
    eps
        Residual standard deviation, shape (...).
    prior
        Prior of the population coefficients.
    root
        As in :func:`~radon_numpyro.gaussian.conditional.group_terms`.
    """
    xp = namespace(scale, eps, equations.root)
    terms = group_terms(equations, scale, eps, root)
    population = population_posterior(equations, terms, prior)
    rho = misfit(terms, population.mean)
    per_eps = terms.per_eps[..., 0]
    pooled = _residual(equations.pooled_target, equations.pooled_root, population.mean)
    pull = _residual(prior.target, prior.root, population.mean)
    squares = summed_product(rho, rho) + (squared_norm(pooled) + equations.remainder) * per_eps**2
    num_rows = equations.num_rows
    log_density = num_rows * (xp.log(per_eps) - 0.5 * np.log(2.0 * np.pi)) - prior.log_scale
    log_density = log_density - 0.5 * (squares + squared_norm(pull) - equations.log_weight.sum())
    for pivot in diagonal(population.cholesky):
        log_density = log_density - xp.log(pivot)
    if equations.size:
        log_density = log_density - _log_det(equations, terms)
    return Marginal(log_density, terms, population, rho, squares)


def _residual(target: Any, root: Any, coefficients: Any) -> Any:
    """Subtract predictions from targets of the rows that belong to no group, shape (F, ...)."""
    predicted = contracted(root.T, coefficients)
    return target.reshape(-1, *[1] * (predicted.ndim - 1)) - predicted


def _log_det(equations: NormalEquations, terms: GroupTerms) -> Any:
    pivots = diagonal(terms.cholesky)
    if equations.stand_for_many:
        xp = namespace(*pivots)
        return sum((equations.repeats * xp.log(pivot)).sum(-1) for pivot in pivots)
    return sum_of_logs(pivots)


def gradient(equations: NormalEquations, found: Marginal, prior: PriorRows) -> Gradient:
    """Compute derivatives of the log density in each standard deviation, eps and correlations.

    Parameters
    ----------
    equations, prior
        As in :func:`marginal`.
    found
        Result of :func:`marginal`.
    """
    terms, factor = found.terms, found.population.cholesky
    xp, batch = namespace(terms.per_eps, equations.root), terms.per_eps.ndim - 1
    scale, per_eps = terms.scale[..., 0], terms.per_eps[..., 0]
    by_root = None
    if not equations.size:
        by_scale = xp.zeros(scale.shape)
    elif terms.root is None:
        along, y, reach = _directions(equations, found)
        known = along**2 + squared_norm(reach) - equations.repeats * squared_norm(y)
        by_scale = scale * known.sum(-1)
    else:
        along, y, reach = _directions(equations, found)
        root = terms.root[..., 0]
        by_covariance = gram(along[None]) + gram(reach) - _counted_gram(equations, y)
        by_covariance = multiply(by_covariance, scale[:, None] * root)
        by_scale = (by_covariance * root).sum(1)
        upper = np.triu(np.ones((equations.size,) * 2)).reshape(*root.shape[:2], *[1] * batch)
        by_root = upper * scale[:, None] * by_covariance
    rows = prior.root.T.reshape(*prior.root.shape, *[1] * batch)
    kept = solve_lower(factor, xp.broadcast_to(rows, factor.shape)) ** 2
    freedom = equations.num_rows - len(factor) + kept.sum((0, 1))
    by_eps = (found.misfit - freedom - (scale * by_scale).sum(0)) * per_eps
    return Gradient(by_scale, by_eps, by_root)


def _directions(equations: NormalEquations, found: Marginal) -> tuple[Any, Any, Any]:
    """Return Y'rho, shape (P, ..., C), Y, (P, P, ..., C), and L^-1 W'Y, (Q, P, ..., C)."""
    terms = found.terms
    root = with_batch(equations.root, terms.per_eps.ndim - 1)
    y = solve_lower(terms.cholesky, root * terms.per_eps)
    along = multiply(transposed(y), found.rho)
    columns = multiply(transposed(terms.w_population), y)
    return along, y, _of_columns(found.population.cholesky, columns)


def _counted_gram(equations: NormalEquations, y: Any) -> Any:
    """Sum Y'Y over all groups, each entry counted as often as the groups it stands for."""
    if not equations.stand_for_many:
        return gram(y)
    xp = namespace(y, equations.repeats)
    return gram(y * xp.sqrt(equations.repeats))


def _of_columns(factor: Any, columns: Any) -> Any:
    """Multiply columns (Q, P, ..., C) by L^-1 from the left."""
    xp, size = namespace(factor, columns), len(factor)
    # L is inverted first, because LAPACK solves slowly for very many columns.
    if is_unrolled(size, columns):
        return solve_lower(factor[..., None], columns)
    inverse = solve_lower(factor, xp.broadcast_to(identity(size, factor.ndim), factor.shape))
    return xp.einsum("qr...,rp...c->qp...c", inverse, columns)


def individual_log_density(equations: NormalEquations, eps: Any, loc: Any, scale: Any) -> Any:
    r"""Compute the log density of the outcomes of each group under a separate regression.

    .. math:: \log p(y_c\mid\epsilon_c) = -n_c\log(\epsilon_c\sqrt{2\pi}) - \log|C_c|
              - \tfrac12\Big(\tfrac{\mathrm{rest}_c}{\epsilon_c^2} + |w_c - W_c\tilde b_0|^2\Big)
              + \tfrac12\sum_{i \in c}\log w_i

    The coefficients are integrated out: the standard deviations of their prior take the place of D,
    and its means take the place of the population coefficients, relative to the pooled fit.

    Parameters
    ----------
    equations
        The data, in a design whose columns all vary.
    eps
        Residual standard deviations, shape (C,) or (S, C).
    loc, scale
        Prior means and standard deviations of the coefficients of a group, shape (P,).

    Returns
    -------
    array
        Shape of ``eps``.
    """
    xp = namespace(eps)
    batch = eps.ndim - 1
    terms = group_terms(equations, with_axes(scale, batch), eps)
    rho = misfit(terms, with_axes(equations.from_model(np.asarray(loc)), batch))
    log_det = sum(xp.log(pivot) for pivot in diagonal(terms.cholesky))
    normaliser = equations.count * (xp.log(eps) + 0.5 * np.log(2.0 * np.pi))
    squares = equations.rest / eps**2 + squared_norm(rho)
    return 0.5 * (equations.log_weight - squares) - normaliser - log_det


def with_axes(vector: Any, batch: int) -> Any:
    """Reshape a vector (P,) to (P, 1, ...), with ``batch`` axes of length 1."""
    array = namespace(vector).asarray(vector)
    return array.reshape(*array.shape, *[1] * batch)
