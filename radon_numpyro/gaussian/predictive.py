r"""The Normal distribution of regression lines given draws of the scales.

Given the scales, the line :math:`f_i = \alpha_{c(i)} + x_i\beta_{c(i)}` of an observed or new row i
and the outcome at that row are distributed as

.. math:: f_i \mid \sigma, \epsilon, y \sim N(m_i, v_i), \qquad
          y_i^\mathrm{new} \mid \sigma, \epsilon, y \sim N(m_i, v_i + \epsilon^2),

where the algebra of ``gaussian/conditional.py`` gives :math:`m_i` and :math:`v_i`. Averages over
draws of the scales therefore do not contain the noise that draws of the coefficients would add
(Rao-Blackwellisation).

``scales`` maps names to float64 arrays with S draws on the first axis:

============  =======================  ==================  =============
name          hierarchical             individual          pooled
============  =======================  ==================  =============
sigma_alpha   (S,)
sigma_beta    (S, K)
eps           (S,)                     (S, C)              (S,)
correlation   (S, P, P)
============  =======================  ==================  =============

Scales of coefficients that do not vary in the hierarchical model are absent. If the standard errors
of the rows are known, ``eps`` is 1 in every draw. Everything here runs on the host with NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from radon_numpyro.data.pytrees import namespace
from radon_numpyro.gaussian.conditional import (
    GroupTerms,
    Population,
    group_terms,
    misfit,
    population_posterior,
    prior_rows,
    standardised,
)
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.small_matrices import (
    multiply,
    root_of_one_plus,
    solve_lower,
    squared_norm,
    transposed,
)
from radon_numpyro.model.correlations import root_of_correlation
from radon_numpyro.model.models import Model
from radon_numpyro.model.population_priors import population_priors
from radon_numpyro.model.priors import Priors

Scales = Mapping[str, np.ndarray]

# Maximum number of float64 values in the arrays of one block: 64 MiB.
BLOCK = 2**23


def line(
    model: str,
    equations: NormalEquations,
    priors: Priors,
    scales: Scales,
    x: np.ndarray,
    group: np.ndarray,
    *,
    population: Population | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Compute the mean and variance of the regression line at each row, given each draw of scales.

    All groups that occur in ``group`` are in memory at once; :func:`line_blocks` has bounded
    memory.

    Parameters
    ----------
    model
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.
    equations
        The data. The groups are separate for the pooled model too.
    priors
        The priors of the fit.
    scales
        Draws of the scales, as in the table at the head of this module.
    x
        Predictors of the rows, shape (R, K), in their own units.
    group
        Code of the group of each row, shape (R,). The code -1 means a group without rows. In the
        hierarchical model its deviations have mean 0 and covariance :math:`\Sigma`, as those of a
        group drawn from the population; in the individual model its coefficients have their prior.
        The pooled model has one line for all groups.
    population
        Posterior of the population coefficients, from :func:`population_coefficients`. Passing it
        avoids computing it again in each of many calls.

    Returns
    -------
    mean, variance
        Shapes (S, R), in the unit of y and its square.
    """
    of = Model.named(model)
    if not of.by_group:
        equations = equations.pooled()
        group = np.full(len(x), -1)
    used, position = np.unique(group, return_inverse=True)
    taken = of_groups(equations, used)
    z, row, fitted = equations.rows(x)
    # The pooled model has no columns that vary.
    z = z[: equations.size]
    if of.eps_by_group:
        loc, scale = individual_prior(equations, priors)
        eps = scales["eps"]
        own = eps[:, used] if eps.ndim == 2 else eps[:, None]
        terms = group_terms(taken, scale[:, None], own)
        coefficients = equations.from_model(loc)[:, None]
        mean, variance = prediction(terms, coefficients, z, row, position)
        return mean + fitted, variance
    if population is None:
        population = population_coefficients(model, equations, priors, scales)
    terms = hierarchical_terms(taken, scales)
    mean, variance = prediction(terms, population.mean, z, row, position, population)
    return mean + fitted, variance


def line_blocks(
    model: str,
    equations: NormalEquations,
    priors: Priors,
    scales: Scales,
    x: np.ndarray,
    group: np.ndarray,
    *,
    population: Population | None = None,
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Apply :func:`line` to any number of rows and groups, in blocks of rows.

    Parameters
    ----------
    model, equations, priors, scales, x, group, population
        As in :func:`line`.

    Yields
    ------
    rows, mean, variance
        A slice of the rows, in order, and the mean and variance of their line, each of shape
        (S, number of rows in the slice).
    """
    of = Model.named(model)
    if not of.by_group:
        equations = equations.pooled()
    if population is None and not of.eps_by_group:
        population = population_coefficients(model, equations, priors, scales)
    step = fitting(len(scales["eps"]), equations)
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        yield (
            rows,
            *line(model, equations, priors, scales, x[rows], group[rows], population=population),
        )


def population_coefficients(
    model: str, equations: NormalEquations, priors: Priors, scales: Scales
) -> Population:
    """Compute the posterior of the population coefficients given each draw of the scales.

    The posterior needs sums over all groups. Blocks of draws bound the memory that these take.

    Parameters
    ----------
    model, equations, priors, scales
        As in :func:`line`, except that the individual model is not supported. The equations of the
        pooled model may be pooled already.

    Returns
    -------
    Population
        Mean and Cholesky factor, shapes (Q, S) and (Q, Q, S).
    """
    of = Model.named(model)
    if not of.by_group:
        equations = equations.pooled()
    prior = population_prior(equations, priors, of)
    num_draws = len(scales["eps"])
    step = fitting(max(equations.num_groups, 1), equations)
    blocks = []
    for start in range(0, num_draws, step):
        some = {name: draws[start : start + step] for name, draws in scales.items()}
        terms = hierarchical_terms(equations, some)
        blocks.append(population_posterior(equations, terms, prior))
    mean, factor = (np.concatenate(parts, axis=-1) for parts in zip(*blocks, strict=True))
    return Population(mean, factor)


def prediction(
    terms: GroupTerms,
    coefficients: Any,
    z: Any,
    row: Any,
    group: Any,
    population: Population | None = None,
) -> tuple[Any, Any]:
    r"""Compute mean and variance of the regression line at new rows of known groups.

    .. math:: E = \tilde x'\tilde b + d'A_c'C_c^{-T}(w_c - W_c\tilde b), \qquad
              \mathrm{Var} = d'(I + A_c'A_c)^{-1}d + h'Vh, \quad
              h = \tilde x - W_c'C_c^{-1}A_c d

    given the scales, where d is the row of the columns that vary times U.

    Parameters
    ----------
    terms
        From :func:`group_terms`, for S draws of the scales.
    coefficients
        :math:`\tilde b`, shape (Q, S).
    z, row
        Columns that vary and :math:`\tilde x` of R rows, shapes (P, R) and (Q, R).
    group
        Group of each row, shape (R,), or a slice of groups with one row each.
    population
        Posterior of :math:`\tilde b`, whose variance is added; None if :math:`\tilde b` is known.

    Returns
    -------
    mean, variance
        Shape (S, R). The mean is relative to the pooled fit.
    """
    xp = namespace(terms.scale, coefficients)
    scaled = terms.scale * z[:, None]
    if terms.root is not None:
        scaled = multiply(transposed(terms.root), scaled)
    mean = coefficients.T @ row
    variance = xp.zeros(mean.shape)
    if len(z):
        own = standardised(terms, misfit(terms, coefficients))
        mean = mean + (scaled * own[..., group]).sum(0)
        spread = solve_lower(root_of_one_plus(terms.a)[..., group], scaled)
        variance = variance + squared_norm(spread)
    if population is not None:
        h = xp.broadcast_to(row[:, None], (len(row), *mean.shape))
        if len(z):
            reach = solve_lower(terms.cholesky[..., group], multiply(terms.a[..., group], scaled))
            h = h - multiply(transposed(terms.w_population)[..., group], reach)
        # The rows become the columns of one linear system for each draw.
        reached = solve_lower(population.cholesky, xp.moveaxis(h, 2, 1))
        variance = variance + squared_norm(reached).T
    return mean, variance


def residual_variance(
    model: str, scales: Scales, group: np.ndarray, precision: np.ndarray | None = None
) -> np.ndarray:
    r"""Return the variance :math:`\epsilon^2 / w` of the outcome, which ``line`` does not include.

    Parameters
    ----------
    model, scales, group
        As in :func:`line`. The individual model does not support the code -1, because a group
        without rows has no eps.
    precision
        Weights of the rows, shape (R,); None for equal weights.

    Returns
    -------
    array
        Shape (S, R), or (S, 1) if the variance is the same for all rows, in the squared unit of y.
    """
    eps = scales["eps"]
    variance = np.square(eps[:, group] if Model.named(model).eps_by_group else eps[:, None])
    return variance if precision is None else variance / precision


def population_prior(equations: NormalEquations, priors: Priors, of: Model) -> Any:
    """Return the prior of the population coefficients of the hierarchical or the pooled model.

    Parameters
    ----------
    equations, priors
        The data and the priors of the fit.
    of
        The model.
    """
    return prior_rows(equations, *population_priors(priors, equations.design, of))


def individual_prior(equations: NormalEquations, priors: Priors) -> tuple[np.ndarray, np.ndarray]:
    """Return prior means and standard deviations of the coefficients in the individual model.

    Parameters
    ----------
    equations, priors
        The data and the priors of the fit, of which ``alpha`` and ``beta`` are used.

    Raises
    ------
    ValueError
        If one of the priors is flat. A group whose rows do not determine its coefficients would
        have no posterior.
    """
    loc, scale = population_priors(priors, equations.design, Model.named("individual"))
    if np.isinf(scale).any():
        raise ValueError(
            "Expected proper priors of alpha and beta with model='individual'; got Flat(). Give "
            "wide ones instead, such as Normal(0, 1000)"
        )
    return loc, scale


def of_groups(equations: NormalEquations, group: np.ndarray) -> NormalEquations:
    """Select the equations of groups; the code -1, a group without rows, gives zeros.

    Parameters
    ----------
    equations
        Normal equations of each group.
    group
        Codes of the groups.
    """
    if not equations.num_groups:
        return equations
    taken, seen = equations.take(group), group >= 0
    return replace(
        taken,
        root=taken.root * seen,
        population=taken.population * seen,
        target=taken.target * seen,
        rest=taken.rest * seen,
        count=taken.count * seen,
        weight=taken.weight * seen,
        log_weight=taken.log_weight * seen,
    )


def scale_vector(scales: Scales) -> np.ndarray:
    """Return the standard deviations of the columns that vary, in order, shape (P, S).

    Parameters
    ----------
    scales
        As in the table at the head of this module, for the hierarchical or the pooled model.
    """
    rows = [scales["sigma_alpha"][None]] if "sigma_alpha" in scales else []
    rows += [scales["sigma_beta"].T] if "sigma_beta" in scales else []
    return np.concatenate([*rows, np.empty((0, len(scales["eps"])))])


def variance_at(scales: Scales, z: np.ndarray) -> np.ndarray:
    """Compute the variance of the regression line between groups at one row, shape (S,).

    Parameters
    ----------
    scales
        As in the table at the head of this module, for the hierarchical model.
    z
        Values of the columns that vary, shape (P,).
    """
    reach = scale_vector(scales) * z[:, None]
    if "correlation" not in scales:
        return squared_norm(reach)
    return np.einsum("ps,spq,qs->s", reach, scales["correlation"], reach)


def hierarchical_terms(equations: NormalEquations, scales: Scales) -> GroupTerms:
    """Compute the group terms for a batch of S draws, with last axes (S, C)."""
    return group_terms(equations, scale_vector(scales), scales["eps"], root_of(scales))


def root_of(scales: Scales) -> np.ndarray | None:
    """Return roots of the correlations, shape (P, P, S); None if coefficients are independent.

    Parameters
    ----------
    scales
        As in the table at the head of this module, for the hierarchical model.
    """
    if "correlation" not in scales:
        return None
    root: np.ndarray = root_of_correlation(scales["correlation"])
    return root


def fitting(other: int, equations: NormalEquations) -> int:
    """Return the number of draws or rows that fit into a block.

    Parameters
    ----------
    other
        Number of rows, groups or draws that each of them is combined with.
    equations
        The data. The terms of each combination are a few P x P and P x Q matrices.
    """
    size, columns = equations.size, equations.population.shape[1]
    return max(1, BLOCK // (other * (4 * size * (size + 1) + 2 * (size + 1) * columns + 1)))
