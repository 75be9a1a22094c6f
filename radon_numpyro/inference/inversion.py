r"""Draw exactly from the individual and pooled models, without a Markov chain.

With the coefficients integrated out (``gaussian/marginal.py``), a group has one unknown, its
residual standard deviation :math:`\epsilon_c`. Its distribution function is computed on a grid of
:math:`\log\epsilon` and inverted for all groups at once. The draws are independent, and heavy tails
are no problem: with one degree of freedom the density falls as :math:`1/\epsilon` up to the bound
of the prior, a range that a chain explores slowly. If the posterior of eps equals the prior, the
lowest 1e-5 of the range of the prior is left out. The coefficients are Normal given
:math:`\epsilon_c`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from radon_numpyro.data.checks import first_few, plural
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.identification import COLLINEAR, EXACT, ROUNDING
from radon_numpyro.gaussian.conditional import (
    draw_deviations,
    draw_population,
    group_terms,
    population_posterior,
)
from radon_numpyro.gaussian.marginal import individual_log_density, marginal
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import fitting, individual_prior, population_prior
from radon_numpyro.gaussian.sites import population_sites
from radon_numpyro.inference.runs.run_control import ALL_DRAWS
from radon_numpyro.model.models import Model
from radon_numpyro.model.population_priors import population_priors
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.scale_priors import NEGLIGIBLE
from radon_numpyro.statistics.consistency import as_statistics
from radon_numpyro.statistics.group_statistics import GroupStatistics

GRID = 2048
TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class ExactResult:
    """Independent draws from the exact posterior.

    Attributes
    ----------
    draws
        Draws of each site in the constrained space, shape (chains, draws, ...), in the unit of the
        site. A chain is a batch of independent draws.
    seed
        Seed of the draws.
    method
        ``"marginal"``, or ``"integrate"`` if that was requested.
    stats, coefficients
        Empty, because no sampler was run and all coefficients are drawn.
    """

    draws: Mapping[str, np.ndarray]
    seed: int
    method: str = "marginal"
    stats: Mapping[str, np.ndarray] = field(default_factory=dict, init=False)
    coefficients: Mapping[str, Any] = field(default_factory=dict, init=False)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes that a result stores about the draws."""
        seed, stopped_by = self.seed, ALL_DRAWS
        return {"method": self.method, "seed": seed, "complete": 1, "stopped_by": stopped_by}


def draw_exact(
    data: GroupedData | GroupStatistics,
    model: str = "individual",
    *,
    priors: Priors | None = None,
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
) -> ExactResult:
    """Draw from the exact posterior of the individual or the pooled model.

    Parameters
    ----------
    data
        Rows or statistics.
    model
        ``"individual"`` or ``"pooled"``.
    priors
        Default: :meth:`Priors.weakly_informative` of the data.
    draws, chains
        Draws of each chain, and number of chains; all draws are independent.
    seed
        Seed of the draws.

    Returns
    -------
    ExactResult

    Raises
    ------
    ValueError
        If the model is another, or a group with more rows than identified coefficients is fitted
        exactly, because then the posterior of its eps is improper.
    """
    of = Model.named(model)
    if of.population:
        raise ValueError(f"Expected model to be individual or pooled; got {model!r}")
    statistics = as_statistics(data)
    of.check(statistics.labels.design)
    priors = Priors.weakly_informative(statistics) if priors is None else priors
    check_residual(statistics, model)
    equations = NormalEquations.from_statistics(statistics)
    rng = np.random.default_rng(seed)
    draw = _draw_individual if of.eps_by_group else _draw_pooled
    sites = draw(rng, equations, priors, draws * chains)
    return ExactResult(
        {name: value.reshape(chains, draws, *value.shape[1:]) for name, value in sites.items()},
        seed,
    )


def _draw_individual(
    rng: np.random.Generator, equations: NormalEquations, priors: Priors, num_draws: int
) -> dict[str, np.ndarray]:
    eps = draw_eps(rng, equations, priors, num_draws)
    loc, scale = individual_prior(equations, priors)
    relative = equations.from_model(loc)[:, None]
    noise = rng.standard_normal((equations.size, *eps.shape))
    theta = np.empty_like(noise)
    for some in _blocks(equations, len(eps)):
        off = draw_deviations(equations, scale[:, None], eps[some], relative, noise[:, some])
        theta[:, some] = loc[:, None, None] + off
    sites = {"alpha": theta[0]} | ({} if equations.design.known_errors else {"eps": eps})
    return sites | ({"beta": np.moveaxis(theta[1:], 0, -1)} if equations.size > 1 else {})


def _draw_pooled(
    rng: np.random.Generator, equations: NormalEquations, priors: Priors, num_draws: int
) -> dict[str, np.ndarray]:
    equations, of = equations.pooled(), Model.named("pooled")
    eps = draw_eps(rng, equations, priors, num_draws)[:, 0]
    terms = group_terms(equations, np.empty((0, num_draws)), eps)
    posterior = population_posterior(equations, terms, population_prior(equations, priors, of))
    relative = draw_population(posterior, rng.standard_normal(posterior.mean.shape))
    sites = {} if equations.design.known_errors else {"eps": eps}
    for name, values in population_sites(equations, relative).items():
        sites[name.removeprefix("mu_")] = values.T
    return sites


def check_residual(statistics: GroupStatistics, model: str) -> None:
    """Raise ValueError if outcomes are fitted exactly, because then the posterior is improper.

    Parameters
    ----------
    statistics
        The data.
    model
        Name of the model.

    Raises
    ------
    ValueError
        If there are more rows than coefficients, and all residuals are zero: in a group (individual
        model), in all groups together (hierarchical model), or in all rows (pooled model).
    """
    if statistics.labels.design.known_errors:
        return
    equations, of = NormalEquations.from_statistics(statistics), Model.named(model)
    advice = "there is no scatter to estimate, and least squares gives the lines"
    got = "all rows fitted exactly"
    if of.eps_by_group:
        freedom, rss = residual_freedom(equations)
        overfitted = np.flatnonzero((freedom > 0) & (rss == 0.0))
        labels = statistics.labels.groups
        named = first_few([labels[c] for c in overfitted] if labels else overfitted.tolist())
        got, advice = f"{len(overfitted)} fitted exactly: {named}", "leave these groups out"
        if not overfitted.size:
            return
    else:
        total = float(statistics.overall().syy[0])
        # An intercept of each group explains what is between the groups, and leaves no rounding.
        levels = of.by_group and statistics.labels.design.intercept_varies
        about_levels = float(statistics.syy.sum()) if levels else total
        equations = equations if of.by_group else equations.pooled()
        determined = np.any(equations.pooled_root != 0, axis=1).sum() if equations.fit.size else 0
        rows = residual_freedom(equations)[0].sum() if of.by_group else equations.num_rows
        least = max(ROUNDING * total, EXACT * about_levels * of.by_group)
        if rows <= determined or equations.remainder > least:
            return
    raise ValueError(
        "Expected the outcomes of each group to leave a residual about its line where it has more "
        f"rows than coefficients; got {got}. Then the posterior of eps is improper: {advice}"
    )


def draw_eps(
    rng: np.random.Generator, equations: NormalEquations, priors: Priors, num_draws: int
) -> np.ndarray:
    """Draw the residual standard deviation of each group independently, shape (S, C).

    The draws are 1 if the standard errors of the rows are known.

    Parameters
    ----------
    rng
        Generator of the uniform numbers.
    equations
        The data, in float64. Each group with residual degrees of freedom must have a residual.
    priors
        Only ``alpha``, ``beta`` and ``eps`` are used.
    num_draws
        Number of draws for each group, S.
    """
    if equations.design.known_errors:
        return np.ones((num_draws, len(equations.count)))
    log_eps, density = _density(equations, priors)
    cells = 0.5 * (density[1:] + density[:-1]) * np.diff(log_eps, axis=0)
    cdf = np.concatenate([np.zeros((1, cells.shape[1])), np.cumsum(cells, axis=0)])
    cdf /= cdf[-1]
    uniforms = rng.uniform(size=(num_draws, cdf.shape[1]))
    draws = [np.interp(uniforms[:, c], cdf[:, c], log_eps[:, c]) for c in range(cdf.shape[1])]
    return np.exp(np.column_stack(draws))


def eps_quadrature(equations: NormalEquations, priors: Priors) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the posterior of eps of each group, for exact expectations.

    Parameters
    ----------
    equations, priors
        As in :func:`draw_eps`.

    Returns
    -------
    eps, log_weight
        Shapes (S, C). The weights of a group, by the trapezoidal rule in log eps, sum to 1. If the
        standard errors of the rows are known, or there is no group, there is a single node, 1.
    """
    if equations.design.known_errors or not len(equations.count):
        return np.ones((1, len(equations.count))), np.zeros((1, len(equations.count)))
    log_eps, density = _density(equations, priors)
    step = np.diff(log_eps, axis=0)
    weight = density
    weight[1:-1] *= 0.5 * (step[1:] + step[:-1])
    weight[0] *= 0.5 * step[0]
    weight[-1] *= 0.5 * step[-1]
    with np.errstate(divide="ignore"):
        return np.exp(log_eps), np.log(weight / weight.sum(0))


def residual_freedom(equations: NormalEquations) -> tuple[np.ndarray, np.ndarray]:
    """Return the residual degrees of freedom and the residual sum of squares of each group.

    The degrees of freedom are the number of rows minus the number of identified coefficients.

    Parameters
    ----------
    equations
        The data, in float64.

    Returns
    -------
    freedom, rss
        Shapes (C,). If a group has degrees of freedom but no residual, its posterior is improper.
    """
    _, scatter, products, rss = about_the_means(equations)
    variance = np.einsum("ckk->ck", scatter)
    unit = np.where(variance > 0, np.sqrt(np.where(variance > 0, variance, 1.0)), np.inf)
    values, vectors = np.linalg.eigh(scatter / (unit[:, :, None] * unit[:, None, :]))
    determined = values > COLLINEAR
    along = np.einsum("ckj,ck->cj", vectors, products / unit)
    explained = np.divide(along**2, values, out=np.zeros_like(along), where=determined).sum(-1)
    left = rss - explained
    about_pooled_fit = equations.rest + (equations.target**2).sum(0)
    exact = left <= np.maximum(EXACT * rss, ROUNDING * np.maximum(about_pooled_fit, TINY))
    rank = determined.sum(-1) + equations.design.intercept_varies * (equations.count > 0)
    return equations.count - rank, np.where(exact, 0.0, left)


def about_the_means(
    equations: NormalEquations,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the means of the predictors in each group, and sums of products about the means.

    With these, the rank of a group does not depend on the zeros of the predictors.

    Parameters
    ----------
    equations
        The data, in float64.

    Returns
    -------
    mean, scatter, products, rss
        Means of the predictors, shape (C, K); sums of products of the predictors, shape (C, K, K),
        zero for a predictor that does not vary; sums of products of predictors and residual, shape
        (C, K); sums of squares of the residual, shape (C,).
    """
    first, weight = int(equations.design.intercept_varies), np.maximum(equations.weight, TINY)
    root, target = equations.root[first:, first:], equations.target[first:]
    mean = np.zeros(root.shape[1:][::-1])
    if first:
        mean = equations.root[0, 1:].T / np.sqrt(weight)[:, None]
    scatter = np.einsum("rkc,rlc->ckl", root, root)
    products = np.einsum("rkc,rc->ck", root, target)
    variance = np.einsum("ckk->ck", scatter)
    varies = variance > ROUNDING * (variance + weight[:, None] * mean**2)
    scatter = scatter * (varies[:, :, None] & varies[:, None, :])
    return mean, scatter, products * varies, equations.rest + (target**2).sum(0)


def _density(equations: NormalEquations, priors: Priors) -> tuple[np.ndarray, np.ndarray]:
    """Return a grid of log eps and its posterior density up to a constant, shapes (GRID, C)."""
    lower, upper = _range(equations, priors)
    # The second grid covers only the region of mass, so that narrow posteriors are resolved.
    for _ in range(2):
        grid = np.linspace(lower, upper, GRID)
        density = _log_density(equations, priors, grid)
        density -= density.max(axis=0)
        inside = density > -NEGLIGIBLE
        first = np.maximum(inside.argmax(axis=0) - 1, 0)
        last = np.minimum(GRID - inside[::-1].argmax(axis=0), GRID - 1)
        groups = np.arange(grid.shape[1])
        lower, upper = grid[first, groups], grid[last, groups]
    return grid, np.exp(density)


def _log_density(equations: NormalEquations, priors: Priors, log_eps: np.ndarray) -> Any:
    """Compute the posterior log density of log eps, up to a constant."""
    eps = np.exp(log_eps)
    # Rounding can move the end of the grid beyond the bound of the prior.
    prior = priors.eps.log_density(np.minimum(eps, priors.eps.upper))
    if equations.size:
        loc, scale = individual_prior(equations, priors)
        blocks = [
            individual_log_density(equations, eps[some], loc, scale)
            for some in _blocks(equations, len(eps))
        ]
        return np.concatenate(blocks) + prior + log_eps
    coefficients = population_prior(equations, priors, Model.named("pooled"))
    found = marginal(equations, np.empty((0, len(eps))), eps[:, 0], coefficients)
    return found.log_density[:, None] + prior + log_eps


def _blocks(equations: NormalEquations, length: int) -> Iterator[slice]:
    """Yield slices of values of eps, so short that a matrix for each value and group fits."""
    step = fitting(len(equations.count), equations)
    for start in range(0, length, step):
        yield slice(start, start + step)


def _range(equations: NormalEquations, priors: Priors) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds of log eps outside which the posterior of a group has no mass."""
    if equations.size:
        freedom, rss = residual_freedom(equations)
    else:
        determined = (equations.pooled_root != 0).any(1).sum()
        freedom, rss = np.array([equations.num_rows - determined]), np.array([equations.remainder])
    lower, upper = (np.full(len(rss), bound) for bound in priors.eps.log_range())
    if not priors.eps.proper:
        upper = _upper_by_data(equations, priors, freedom)
    # The density of n rows is at most eps^-n exp(-rss / 2 eps^2), here e^60 below its maximum.
    rows = equations.count
    squared = np.where(freedom > 0, rss, 1.0) / (np.sqrt(rows) + np.sqrt(2.0 * NEGLIGIBLE)) ** 2
    lower = np.where(freedom > 0, np.maximum(lower, 0.5 * np.log(squared)), lower)
    return np.minimum(lower, upper - 1e-3), upper


def _upper_by_data(equations: NormalEquations, priors: Priors, freedom: np.ndarray) -> np.ndarray:
    r"""Return upper bounds of log eps under a flat prior.

    Let S be the sum of squares about the prior means of the coefficients, an upper limit of the
    residual sum of squares, and f the residual degrees of freedom. The density of
    :math:`t = \log\epsilon` falls above :math:`e^{2t} = S/(f - 1)`, finally as
    :math:`e^{-(f - 1)t}`.
    """
    short = int((freedom < 2).sum())
    if short:
        raise ValueError(
            "Expected a proper prior of eps where a group has fewer than two rows more than "
            f"coefficients; got {priors.eps} and {plural(short, 'such group')}"
        )
    if equations.size:
        relative = equations.from_model(individual_prior(equations, priors)[0])
        left = equations.target - np.tensordot(relative, equations.population, (0, 1))
        squares = equations.rest + (left**2).sum(0)
    else:
        loc = population_priors(priors, equations.design, Model.named("pooled"))[0]
        left = equations.pooled_target - equations.pooled_root @ equations.from_model(loc)
        squares = np.atleast_1d((left**2).sum() + equations.remainder)
    slope = freedom - 1.0
    return np.asarray(0.5 * np.log(squares / slope) + 0.5 + NEGLIGIBLE / slope)
