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
sigma_beta    (S, K), absent if K = 0
eps           (S,)                     (S, C)              (S,)
============  =======================  ==================  =============

Everything here runs on the host, with NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from radon_numpyro.gaussian.conditional import (
    GroupTerms,
    PopulationMean,
    coefficients,
    group_terms,
    individual_prior,
    population_mean,
    posterior_root,
    standardised,
)
from radon_numpyro.gaussian.normal_equations import NormalEquations, centred
from radon_numpyro.gaussian.small_matrices import dot, solve_lower
from radon_numpyro.model.models import Model
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
    means: PopulationMean | None = None,
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
        model one drawn from the population, :math:`N(z'm, z'(V + D^2)z)` with z = (1, x) and
        m, V the posterior mean and covariance of :math:`\mu` given the scales; in the individual
        model its prior. The pooled model has one line for all.
    means
        Posterior of the population means, from :func:`population_means`, to compute it once for
        many calls (hierarchical model).

    Returns
    -------
    mean, variance
        Shapes (S, R), in the unit of y and its square. All groups that occur in ``group`` are
        held at once: :func:`line_blocks` has bounded memory.
    """
    design, of = [np.ones(len(x)), *np.asarray(x, dtype=float).T], Model.named(model)
    if not of.by_group:
        equations, group = equations.pooled(), np.zeros(len(x), dtype=int)
    used, position = np.unique(group, return_inverse=True)
    taken = _of_groups(equations, used)
    if of.population:
        means = population_means(equations, priors, scales) if means is None else means
        mu = [m[:, None] for m in means.mean]
        terms = hierarchical_terms(taken, scales)
        mean, variance = prediction(terms, mu, design, position, means)
    else:
        eps = scales["eps"]
        scale, mu = individual_prior(taken, priors)
        terms = group_terms(taken, scale, eps[:, used] if eps.ndim == 2 else eps[:, None])
        mean, variance = prediction(terms, mu, design, position)
    return mean + equations.fitted(design), variance


def line_blocks(
    model: str,
    equations: NormalEquations,
    priors: Priors,
    scales: Scales,
    x: np.ndarray,
    group: np.ndarray,
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """:func:`line` for any number of rows and groups, some rows at a time.

    Parameters
    ----------
    model, equations, priors, scales, x, group
        As in :func:`line`.

    Yields
    ------
    rows, mean, variance
        A slice of the rows, in order, and their line, shapes (S, rows of the slice).
    """
    means, of = None, Model.named(model)
    if of.population:
        means = population_means(equations, priors, scales)
    elif not of.by_group:
        equations = equations.pooled()
    step = fitting(len(scales["eps"]), equations.size)
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        yield (
            rows,
            *line(model, equations, priors, scales, x[rows], group[rows], means=means),
        )


def population_means(equations: NormalEquations, priors: Priors, scales: Scales) -> PopulationMean:
    r"""Posterior of :math:`\mu` given each draw of the scales (hierarchical model).

    It is a sum over all groups, taken for as many draws at a time as memory allows.

    Parameters
    ----------
    equations, priors, scales
        As in :func:`line`.

    Returns
    -------
    PopulationMean
        Its entries have shape (S,); means relative to the pooled fit.
    """
    num_draws = len(scales["eps"])
    step = fitting(len(equations.count), equations.size)
    blocks = []
    for start in range(0, num_draws, step):
        some = {name: draws[start : start + step] for name, draws in scales.items()}
        terms = hierarchical_terms(equations, some)
        blocks.append(population_mean(equations, terms, priors))
    joined: PopulationMean = jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)
    return joined


def draw_groups(
    rng: np.random.Generator,
    equations: NormalEquations,
    scales: Scales,
    mu: np.ndarray,
    group: np.ndarray,
) -> np.ndarray:
    r"""One draw of the coefficients of groups for each draw of the scales and of :math:`\mu`.

    Parameters
    ----------
    rng
        Source of the noise.
    equations, scales
        As in :func:`line`, of the hierarchical model.
    mu
        Draws of the population means, shape (S, P), intercept first, in the units of the model.
    group
        Codes of G groups. Each -1 is a group of its own, drawn from the population.

    Returns
    -------
    array
        Shape (S, G, P), intercept first, in the units of the model.
    """
    num_draws, size = mu.shape
    relative = equations.from_model([m[:, None] for m in mu.T])
    out = np.empty((num_draws, len(group), size))
    step = fitting(num_draws, size)
    for start in range(0, len(group), step):
        some = group[start : start + step]
        terms = hierarchical_terms(_of_groups(equations, some), scales)
        noise = rng.standard_normal((size, num_draws, len(some)))
        theta = coefficients(terms, relative, list(noise))
        out[:, start : start + step] = np.stack(equations.to_model(theta), axis=-1)
    return out


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
    mean = dot(row, mu) + dot(scaled, [of_row(v) for v in standardised(terms, mu)])
    root = [[of_row(entry) for entry in line] for line in posterior_root(terms)]
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


def residual_variance(model: str, scales: Scales, group: np.ndarray) -> np.ndarray:
    r"""Variance :math:`\epsilon^2` of the outcome about the line, which ``line`` leaves out.

    Parameters
    ----------
    model, scales, group
        As in :func:`line`; no -1 for the individual model, whose eps belong to the groups.

    Returns
    -------
    array
        Shape (S, R) for the individual model, else (S, 1); in the squared unit of y.
    """
    eps = scales["eps"]
    return np.square(eps[:, group] if Model.named(model).eps_by_group else eps[:, None])


def _of_groups(equations: NormalEquations, group: np.ndarray) -> NormalEquations:
    """Equations of some groups; those of -1, for which no row speaks, are zeros."""
    taken, seen = equations.take(group), group >= 0
    return taken._replace(
        root=taken.root * seen,
        target=taken.target * seen,
        rest=taken.rest * seen,
        count=taken.count * seen,
    )


def hierarchical_terms(equations: NormalEquations, scales: Scales) -> GroupTerms:
    """Terms of shape (S, C) for a batch of scales."""
    scale: list[Any] = [scales["sigma_alpha"][:, None]]
    scale += [s[:, None] for s in scales.get("sigma_beta", np.empty((0, 0))).T]
    return group_terms(equations, scale, scales["eps"][:, None])


def fitting(other: int, size: int) -> int:
    """How many draws or rows fit into a block beside ``other`` rows or draws.

    The terms of a group take P^2 numbers for W, half of that for each triangle, and a few P.

    Parameters
    ----------
    other
        Rows, groups or draws that each of them is combined with.
    size
        Number of coefficients, P.
    """
    return max(1, BLOCK // (other * (2 * size + 1) ** 2))
