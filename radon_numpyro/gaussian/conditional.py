r"""The exact distribution of the coefficients given the scales.

Given the scales, all coefficients are Gaussian. The notation is that of
``gaussian/normal_equations.py``. In addition, :math:`\Sigma = UU'` is the covariance of the
coefficients that vary by group. Its root :math:`U = DT` is an upper triangle: D is the diagonal
matrix of their standard deviations, and T is the root of their correlations (the identity if they
are independent). The deviations of group c from the population are :math:`u_c \sim N(0, \Sigma)`,
and :math:`f - F\tilde b` is the distance of the population coefficients from their prior means in
units of the prior standard deviations. Then

.. math::

   A_c &= R_c U / \epsilon, \qquad I + A_c A_c' = C_c C_c', \qquad
   W_c = C_c^{-1} K_c / \epsilon, \qquad w_c = C_c^{-1} z_c / \epsilon \\
   \tilde b \mid \sigma, \epsilon, y &\sim N(m, V), \qquad
   V^{-1} = \sum_c W_c'W_c + R_0'R_0/\epsilon^2 + F'F, \qquad
   m = V\Big(\sum_c W_c'w_c + R_0'z_0/\epsilon^2 + F'f\Big) \\
   u_c \mid \tilde b, \sigma, \epsilon, y &\sim
       N(U A_c' C_c^{-T}(w_c - W_c\tilde b),\; U\,(I + A_c'A_c)^{-1} U')

The sums over groups contain only squares, so that no digits cancel if the residual standard
deviation is small compared with the scales, or if a predictor is far from zero. Groups with few
rows and scales of 0 need no special case.

Arrays have the axes of ``gaussian/small_matrices.py``: matrix, batch of scales, groups.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from radon_numpyro.data.pytrees import namespace
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.small_matrices import (
    cholesky,
    cholesky_of_one_plus,
    contracted,
    is_unrolled,
    multiply,
    ridge,
    solve_lower,
    solve_upper,
    transposed,
)


class GroupTerms(NamedTuple):
    """Factors of the normal equations of the groups at given scales.

    Attributes
    ----------
    scale
        The diagonal of D, shape (P, ..., 1).
    root
        T, shape (P, P, ..., 1), or None if the coefficients are independent.
    per_eps
        Reciprocal of the residual standard deviation, shape (..., 1) or (..., C).
    a, cholesky
        :math:`A_c` and :math:`C_c`, shape (P, P, ..., C).
    w_population
        :math:`W_c`, shape (P, Q, ..., C).
    w
        :math:`w_c`, shape (P, ..., C).
    """

    scale: Any
    root: Any
    per_eps: Any
    a: Any
    cholesky: Any
    w_population: Any
    w: Any


def group_terms(equations: NormalEquations, scale: Any, eps: Any, root: Any = None) -> GroupTerms:
    """Factor the covariance of the target of each group.

    Parameters
    ----------
    equations
        The data.
    scale
        Standard deviations of the P columns that vary, shape (P, ...), with or without batch axes.
        A negative value stands for its absolute value, and reverses the signs of the correlations
        of that column.
    eps
        Residual standard deviation, with the shape of the batch, optionally followed by an axis for
        the groups.
    root
        Root T of the correlations, shape (P, P, ...), from ``model/correlations.py``; None if the
        coefficients are independent.
    """
    scale, root, per_eps, a = _relative_root(equations, scale, eps, root)
    batch = np.ndim(scale) - 2
    factor = cholesky_of_one_plus(a)
    w_population = solve_lower(factor, with_batch(equations.population, batch) * per_eps)
    w = solve_lower(factor, with_batch(equations.target, batch) * per_eps)
    return GroupTerms(scale, root, per_eps, a, factor, w_population, w)


def _relative_root(
    equations: NormalEquations, scale: Any, eps: Any, root: Any
) -> tuple[Any, Any, Any, Any]:
    """Return D, T and 1 / eps, each with an axis for the groups, and A."""
    xp = namespace(scale, eps, equations.root)
    batch = np.ndim(scale) - 1
    scale = xp.asarray(scale)[..., None]
    eps = xp.asarray(eps)
    per_eps = 1.0 / (eps if eps.ndim > batch else eps[..., None])
    a = with_batch(equations.root, batch) * (scale * per_eps)
    if root is not None:
        root = xp.asarray(root)[..., None]
        a = multiply(a, root)
    return scale, root, per_eps, a


def with_batch(array: Any, batch: int) -> Any:
    """Insert ``batch`` axes of length 1 before the last axis, which is that of the groups."""
    return array.reshape(*array.shape[:-1], *[1] * batch, array.shape[-1])


class PriorRows(NamedTuple):
    r"""Prior of the population coefficients in the form of rows of a least-squares problem.

    Attributes
    ----------
    root
        :math:`F = S_0^{-1/2}B^{-1}`, shape (Q, Q).
    target
        :math:`f = S_0^{-1/2}(m_0 - \hat b)`, shape (Q,).
    log_scale
        :math:`\tfrac12\log|S_0| + \log|B|`. A flat prior has density 1 everywhere; in this term its
        standard deviation is :math:`1/\sqrt{2\pi}`.
    """

    root: Any
    target: Any
    log_scale: Any


def prior_rows(equations: NormalEquations, loc: Any, scale: Any) -> PriorRows:
    """Express the prior of the population coefficients relative to the pooled fit.

    Parameters
    ----------
    equations
        The data.
    loc, scale
        Prior means and standard deviations of the Q coefficients, shape (Q,). An infinite standard
        deviation means a flat prior.
    """
    xp = namespace(loc, scale, equations.fit)
    loc, scale = xp.asarray(loc), xp.asarray(scale)
    precision_root = 1.0 / scale
    flat = xp.isinf(scale)
    log_scale = xp.log(xp.where(flat, 1.0 / np.sqrt(2.0 * np.pi), scale)).sum()
    fit, inverse = equations.at_zero()
    return PriorRows(
        precision_root[:, None] * inverse,
        precision_root * (loc - fit),
        log_scale + equations.log_det_basis,
    )


class Population(NamedTuple):
    r"""Posterior of :math:`\tilde b` given the scales.

    Attributes
    ----------
    mean
        m, shape (Q, ...).
    cholesky
        Lower Cholesky factor of the posterior precision :math:`V^{-1}`, shape (Q, Q, ...).
    """

    mean: Any
    cholesky: Any


def population_posterior(
    equations: NormalEquations, terms: GroupTerms, prior: PriorRows
) -> Population:
    """Compute the posterior of the population coefficients given the scales.

    Parameters
    ----------
    equations
        The data.
    terms
        From :func:`group_terms`, with one residual standard deviation for all groups.
    prior
        From :func:`prior_rows`.
    """
    per_eps = terms.per_eps[..., 0]
    batch = per_eps.ndim

    def over_batch(array: Any) -> Any:
        return array.reshape(*array.shape, *[1] * batch)

    root, target = equations.pooled_root, equations.pooled_target
    precision = over_batch(contracted(root, root)) * per_eps**2
    precision = precision + over_batch(contracted(prior.root, prior.root))
    moment = over_batch(contracted(root, target)) * per_eps**2
    moment = moment + over_batch(contracted(prior.root, prior.target))
    factor = cholesky(precision + gram(terms.w_population))
    moment = moment + _moments(terms.w_population, terms.w)
    mean = solve_upper(factor, solve_lower(factor, moment))
    return Population(mean, factor)


def gram(columns: Any) -> Any:
    """Sum the products of columns over rows and groups, (P, Q, ..., C) to (Q, Q, ...)."""
    xp, size = namespace(columns), columns.shape[1]
    if not (size and is_unrolled(size, columns)):
        return xp.einsum("pq...c,pr...c->qr...", columns, columns)
    rows: list[list[Any]] = [[None] * size for _ in range(size)]
    for q in range(size):
        for r in range(q + 1):
            rows[q][r] = rows[r][q] = summed_product(columns[:, q], columns[:, r])
    return xp.stack([entry for row in rows for entry in row]).reshape(size, size, *rows[0][0].shape)


def _moments(columns: Any, values: Any) -> Any:
    """Sum columns times values over rows and groups, (P, Q, ..., C) to (Q, ...)."""
    xp, size = namespace(columns), columns.shape[1]
    if not (size and is_unrolled(size, columns)):
        return xp.einsum("pq...c,p...c->q...", columns, values)
    return xp.stack([summed_product(columns[:, q], values) for q in range(size)])


def summed_product(a: Any, b: Any) -> Any:
    """Sum products over rows and groups, (P, ..., C) to (...)."""
    if namespace(a, b) is np:
        # This einsum avoids BLAS, whose threads cost more than they gain here.
        return np.einsum("p...c,p...c->...", a, b)
    # XLA fuses this form with the surrounding operations.
    return (a * b).sum((0, -1))


def misfit(terms: GroupTerms, coefficients: Any) -> Any:
    r"""Compute :math:`w_c - W_c\tilde b`, shape (P, ..., C), from :math:`\tilde b`, (Q, ...)."""
    return terms.w - multiply(terms.w_population, coefficients[..., None])


def deviations(terms: GroupTerms, rest: Any) -> Any:
    r"""Compute the mean deviations of the coefficients of each group from the population.

    Parameters
    ----------
    terms
        From :func:`group_terms`.
    rest
        Result of :func:`misfit`, shape (P, ..., C).

    Returns
    -------
    array
        Mean of :math:`u_c`, shape (P, ..., C).
    """
    return _in_units(terms.scale, terms.root, standardised(terms, rest))


def standardised(terms: GroupTerms, rest: Any) -> Any:
    """Compute the standardised mean deviations v, shape (P, ..., C), where u = U v."""
    return multiply(transposed(terms.a), solve_upper(terms.cholesky, rest))


def draw_deviations(
    equations: NormalEquations,
    scale: Any,
    eps: Any,
    coefficients: Any,
    noise: Any,
    root: Any = None,
) -> Any:
    r"""Draw the deviations of the coefficients of each group from the population.

    The deviations are :math:`u_c = Uv_c`. The mean of the Normal distribution of :math:`v_c`
    minimises :math:`|(z_c - K_c\tilde b)/\epsilon - A_cv|^2 + |v|^2`, and its precision is
    :math:`I + A_c'A_c`. Neither :math:`C_c` nor :math:`W_c` is needed.

    Parameters
    ----------
    equations, scale, eps, root
        As in :func:`group_terms`.
    coefficients
        Draws of :math:`\tilde b`, shape (Q, ...).
    noise
        Standard normal draws, shape (P, ..., C).

    Returns
    -------
    array
        :math:`u_c`, shape (P, ..., C).
    """
    scale, root, per_eps, a = _relative_root(equations, scale, eps, root)
    batch = np.ndim(scale) - 2
    fitted = multiply(with_batch(equations.population, batch), coefficients[..., None])
    target = (with_batch(equations.target, batch) - fitted) * per_eps
    return _in_units(scale, root, ridge(a, target, noise))


def _in_units(scale: Any, root: Any, units: Any) -> Any:
    return scale * (units if root is None else multiply(root, units))


def draw_population(population: Population, noise: Any) -> Any:
    """Draw the population coefficients given the scales, relative to the pooled fit.

    Parameters
    ----------
    population
        From :func:`population_posterior`.
    noise
        Standard normal draws, shape (Q, ...).
    """
    return population.mean + solve_upper(population.cholesky, noise)
