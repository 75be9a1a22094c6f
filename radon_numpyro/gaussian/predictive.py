r"""Regression lines given draws of the scales: Normal, with known mean and variance.

Given the scales, the line :math:`f_i = \alpha_{c(i)} + x_i\beta_{c(i)}` of any row, seen or new,

.. math:: f_i \mid \sigma, \epsilon, y \sim N(m_i, v_i), \qquad
          y_i^\mathrm{new} \mid \sigma, \epsilon, y \sim N(m_i, v_i + \epsilon^2),

where the algebra of ``gaussian/conditional.py`` gives :math:`m_i` and :math:`v_i`. Averages over
draws of the scales are therefore free of the noise that drawn coefficients would add
(Rao-Blackwell).

``scales`` maps names to draws, S of them on the first axis, in float64:

============  =======================  ==================  =============
name          hierarchical             individual          pooled
============  =======================  ==================  =============
sigma_alpha   (S,)
sigma_beta    (S, K)
eps           (S,)                     (S, C)              (S,)
correlation   (S, P, P)
============  =======================  ==================  =============

What does not vary in the hierarchical model is absent. Where the standard errors of the rows are
known ``eps`` is 1 in every draw. Everything here runs on the host, with NumPy.
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

# Numbers in the arrays of one block: 64 MiB.
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
    r"""Mean and variance of the regression line at each row, given each draw of the scales.

    Parameters
    ----------
    model
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.
    equations
        The data, groups apart also for the pooled model.
    priors
        The priors of the fit.
    scales
        Draws of the scales, as the table above says.
    x
        Predictors of the rows, shape (R, K), in their own units.
    group
        Code of the group of each row, shape (R,). -1 is a group without rows: in the hierarchical
        model one drawn from the population, whose deviations have mean 0 and covariance
        :math:`\Sigma`; in the individual model its prior. The pooled model has one line for all.
    population
        Posterior of the population coefficients, from :func:`population_coefficients`, to compute
        it once for many calls.

    Returns
    -------
    mean, variance
        Shapes (S, R), in the unit of y and its square. All groups that occur in ``group`` are
        held at once: :func:`line_blocks` has bounded memory.
    """
    of = Model.named(model)
    if not of.by_group:
        equations = equations.pooled()
        group = np.full(len(x), -1)
    used, position = np.unique(group, return_inverse=True)
    taken = of_groups(equations, used)
    z, row, fitted = equations.rows(x)
    # None where the rows are pooled.
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
    """:func:`line` for any number of rows and groups, some rows at a time.

    Parameters
    ----------
    model, equations, priors, scales, x, group, population
        As in :func:`line`.

    Yields
    ------
    rows, mean, variance
        A slice of the rows, in order, and their line, shapes (S, rows of the slice).
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
    """Posterior of the population coefficients given each draw of the scales.

    It is a sum over all groups, taken for as many draws at a time as memory allows.

    Parameters
    ----------
    model, equations, priors, scales
        As in :func:`line`; not of the individual model. The equations of the pooled model may be
        pooled already.

    Returns
    -------
    Population
        Its arrays have shapes (Q, S) and (Q, Q, S).
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
    r"""Mean and variance of a regression line at new rows of known groups, given the scales.

    .. math:: E = \tilde x'\tilde b + d'A_c'C_c^{-T}(w_c - W_c\tilde b), \qquad
              \mathrm{Var} = d'(I + A_c'A_c)^{-1}d + h'Vh, \quad
              h = \tilde x - W_c'C_c^{-1}A_c d

    with d the row of the columns that vary times U.

    Parameters
    ----------
    terms
        From :func:`group_terms`, of S scales.
    coefficients
        :math:`\tilde b`, shape (Q, S).
    z, row
        Columns that vary and :math:`\tilde x` of R rows, shapes (P, R) and (Q, R).
    group
        Group of each row, shape (R,), or a slice that is one row for each group.
    population
        Given when :math:`\tilde b` is itself uncertain: adds its variance.

    Returns
    -------
    mean, variance
        Shape (S, R); the mean relative to the pooled fit.
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
        # The rows as columns of one system for each draw.
        reached = solve_lower(population.cholesky, xp.moveaxis(h, 2, 1))
        variance = variance + squared_norm(reached).T
    return mean, variance


def residual_variance(
    model: str, scales: Scales, group: np.ndarray, precision: np.ndarray | None = None
) -> np.ndarray:
    r"""Variance :math:`\epsilon^2 / w` of the outcome about the line, which ``line`` leaves out.

    Parameters
    ----------
    model, scales, group
        As in :func:`line`; no -1 for the individual model, whose eps belong to the groups.
    precision
        Weights of the rows, shape (R,), or None where all weigh the same.

    Returns
    -------
    array
        Shape (S, R), or (S, 1) where it is the same for all rows; in the squared unit of y.
    """
    eps = scales["eps"]
    variance = np.square(eps[:, group] if Model.named(model).eps_by_group else eps[:, None])
    return variance if precision is None else variance / precision


def population_prior(equations: NormalEquations, priors: Priors, of: Model) -> Any:
    """Prior of the population coefficients of the hierarchical or of the pooled model.

    Parameters
    ----------
    equations, priors
        The data and the priors of the fit.
    of
        The model.
    """
    return prior_rows(equations, *population_priors(priors, equations.design, of))


def individual_prior(equations: NormalEquations, priors: Priors) -> tuple[np.ndarray, np.ndarray]:
    """Prior means and standard deviations of the coefficients of a group alone.

    Parameters
    ----------
    equations, priors
        The data and the priors of the fit: ``alpha`` and ``beta`` are used.
    """
    return population_priors(priors, equations.design, Model.named("individual"))


def of_groups(equations: NormalEquations, group: np.ndarray) -> NormalEquations:
    """Equations of some groups; those of -1, for which no row speaks, are zeros.

    Parameters
    ----------
    equations
        Of each group.
    group
        Codes.
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
    """Standard deviations of the columns that vary, in order, shape (P, S).

    Parameters
    ----------
    scales
        As the table at the head says, of the hierarchical or the pooled model.
    """
    rows = [scales["sigma_alpha"][None]] if "sigma_alpha" in scales else []
    rows += [scales["sigma_beta"].T] if "sigma_beta" in scales else []
    return np.concatenate([*rows, np.empty((0, len(scales["eps"])))])


def variance_at(scales: Scales, z: np.ndarray) -> np.ndarray:
    """Variance between groups of the regression line at a row, for each draw of the scales, (S,).

    Parameters
    ----------
    scales
        As the table at the head says, of the hierarchical model.
    z
        Values of the columns that vary, shape (P,).

    """
    reach = scale_vector(scales) * z[:, None]
    if "correlation" not in scales:
        return squared_norm(reach)
    return np.einsum("ps,spq,qs->s", reach, scales["correlation"], reach)


def hierarchical_terms(equations: NormalEquations, scales: Scales) -> GroupTerms:
    """Terms of shape (S, C) for a batch of scales."""
    return group_terms(equations, scale_vector(scales), scales["eps"], root_of(scales))


def root_of(scales: Scales) -> np.ndarray | None:
    """Roots of the correlations, shape (P, P, S); None where the coefficients are independent.

    Parameters
    ----------
    scales
        As the table at the head says, of the hierarchical model.
    """
    if "correlation" not in scales:
        return None
    root: np.ndarray = root_of_correlation(scales["correlation"])
    return root


def fitting(other: int, equations: NormalEquations) -> int:
    """How many draws or rows fit into a block beside ``other`` rows or draws.

    Parameters
    ----------
    other
        Rows, groups or draws that each of them is combined with.
    equations
        Whose terms they are: a few matrices P x P and P x Q of each group.
    """
    size, columns = equations.size, equations.population.shape[1]
    return max(1, BLOCK // (other * (4 * size * (size + 1) + 2 * (size + 1) * columns + 1)))
