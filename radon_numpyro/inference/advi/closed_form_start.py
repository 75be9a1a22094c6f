"""The starting point of ADVI: the closed-form mean-field solution at plug-in scales.

A guide that starts at scale 0.1 and moves in absolute units cannot reach a posterior whose standard
deviations differ by a factor of 10 000. In the radon data, for example, a county without an
upstairs house has an intercept with a standard deviation of 0.4, and a slope whose posterior is the
prior Normal(0, 10 000). For fixed scales the mean-field optimum is known: the exact mean, and one
over the square root of the diagonal of the precision. Variational EM alternates between this
solution and the most likely scales given it, which become the plug-in scales.

References
----------
Varadhan and Roland (2008), Simple and globally convergent methods for accelerating the convergence
of any EM algorithm, doi:10.1111/j.1467-9469.2007.00585.x.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from radon_numpyro.gaussian.conditional import (
    deviations,
    group_terms,
    misfit,
    population_posterior,
)
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import individual_prior, population_prior
from radon_numpyro.gaussian.sites import group_sites, population_sites
from radon_numpyro.model.models import Model
from radon_numpyro.model.population_priors import population_priors
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.scale_priors import ScalePrior
from radon_numpyro.statistics.group_statistics import GroupStatistics

MAX_ITERATIONS = 1000
# Maximum number of group updates. With very many groups the start may be less accurate.
MAX_GROUP_UPDATES = 10_000_000
RELATIVE_CHANGE = 1e-8
LONGEST = 64.0


class Start(NamedTuple):
    """Centre and standard deviation of one site in the constrained space, in the site's unit."""

    mean: Any
    sd: Any


def mean_field_start(statistics: GroupStatistics, model: str, priors: Priors) -> dict[str, Start]:
    """Compute the mean-field solution at plug-in scales for each site of a model.

    Parameters
    ----------
    statistics
        The data.
    model
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.
    priors
        The priors of the fit.

    Returns
    -------
    dict
        Starts by name of the site, with the shape of the site.
    """
    equations = NormalEquations.from_statistics(statistics)
    of = Model.named(model)
    if of.eps_by_group:
        return _individual(equations, priors)
    return _population(equations if of.by_group else equations.pooled(), priors, of)


def _population(equations: NormalEquations, priors: Priors, of: Model) -> dict[str, Start]:
    """Compute the starts of the hierarchical model, or of the pooled model, which has no groups."""
    design, num_groups = equations.design, equations.num_groups
    scale, eps = _plug_in_scales(by_design(equations), priors, of)
    terms = group_terms(equations, scale, eps)
    relative = population_posterior(equations, terms, population_prior(equations, priors, of)).mean
    variance, population_variance = _variances(equations, priors, of, scale, eps)
    means = population_sites(equations, relative)
    first, slopes = int(design.has_mean_intercept), len(design.means)
    sds = dict(
        zip(
            ("mu_alpha", "mu_beta", "gamma"),
            np.split(np.sqrt(population_variance), [first, first + slopes]),
            strict=True,
        )
    )
    starts = {name: Start(mean, sds[name].reshape(np.shape(mean))) for name, mean in means.items()}
    if not design.known_errors:
        starts["eps"] = _scale_start(eps, equations.num_rows - 1)
    if not of.by_group:
        return {name.removeprefix("mu_"): start for name, start in starts.items()}
    off = deviations(terms, misfit(terms, relative))
    own, first = np.sqrt(variance), int(design.intercept_varies)
    group_sds = {"alpha": own[0] if first else None, "beta": own[first:].T}
    for name, mean in group_sites(equations, means, off).items():
        starts[name] = Start(np.asarray(mean), group_sds[name])
    if first:
        starts["sigma_alpha"] = _scale_start(scale[0], num_groups - 1)
    if design.slopes:
        starts["sigma_beta"] = _scale_start(scale[first:], num_groups - 1)
    if design.pairs:
        spread = np.full(len(design.pairs), 1.0 / np.sqrt(max(num_groups, 4)))
        starts["partial_correlation"] = Start(np.zeros_like(spread), spread)
    return starts


def _plug_in_scales(equations: NormalEquations, priors: Priors, of: Model) -> tuple[Any, Any]:
    """Compute plug-in scales of the coefficients, shape (P,), and eps by variational EM."""
    n, num_rows, num_groups = equations.repeats, equations.num_rows, equations.repeats.sum()
    sum_of_squares = _sum_of_squares(equations)
    lowest = _residual_scale(equations, priors)
    unit = lowest / np.sqrt(_floor((n * sum_of_squares).sum(-1) / num_rows))
    design, prior = equations.design, population_prior(equations, priors, of)
    upper = [_upper(priors.sigma_alpha, 0)] if design.intercept_varies else []
    upper += [_upper(priors.sigma_beta, k) for k in range(len(design.slopes))]
    most = np.array([*upper[: equations.size], _upper(priors.eps, 0)])
    least = 1e-3 * np.array([*unit, lowest])
    if design.known_errors:
        most[-1] = least[-1] = 1.0
    num_means = int(design.has_mean_intercept) + len(design.means)
    has_mean = [name in design.population for name in design.varying[: equations.size]]

    def update(log_scales: Any) -> Any:
        scale, eps = np.exp(log_scales[:-1]), np.exp(log_scales[-1])
        terms = group_terms(equations, scale, eps)
        relative = population_posterior(equations, terms, prior).mean
        variance, population_variance = _variances(equations, priors, of, scale, eps)
        off = deviations(terms, misfit(terms, relative))
        spread = (off**2 + n * variance).sum(-1)
        left = equations.target - np.tensordot(relative, equations.population, (0, 1))
        left = left - (equations.root * off).sum(1)
        pooled = equations.pooled_target - equations.pooled_root @ relative
        residual = (left**2).sum() + (pooled**2).sum() + equations.remainder
        residual += (n * sum_of_squares * variance).sum()
        if equations.size:
            spread[has_mean] += num_groups * population_variance[:num_means]
            residual += _columns_of_all(equations)[num_means:] @ population_variance[num_means:]
        else:
            residual += _columns_of_all(equations) @ population_variance
        # The divisors are reduced by 1, because the optimum is for the density of the log scale.
        variances = [*spread / max(num_groups - 1, 1), residual / max(num_rows - 1, 1)]
        return np.log(np.clip(np.sqrt(variances), least, most))

    start = np.log([*np.minimum(unit, upper[: equations.size]), lowest])
    bounds = np.log(least), np.log(most)
    scales = np.exp(_fixed_point(update, start, *bounds, _most_updates(equations)))
    return scales[:-1], scales[-1]


def _columns_of_all(equations: NormalEquations) -> Any:
    """Return the sums of squares of the population columns over all rows, shape (Q,)."""
    squares: Any = (equations.basis**2).sum(0) + equations.centre**2
    return equations.total_weight * squares


def _most_updates(equations: NormalEquations) -> int:
    return int(np.clip(MAX_GROUP_UPDATES // max(equations.num_groups, 1), 3, MAX_ITERATIONS))


def _fixed_point(update: Callable[[Any], Any], x: Any, least: Any, most: Any, updates: int) -> Any:
    """Find the fixed point of an update within bounds by squared extrapolation.

    The scheme is S3 of Varadhan and Roland (2008), with at most this number of updates. Variational
    EM alone converges slowly if the data have little information about a scale.
    """
    for _ in range(updates // 3):
        once = update(x)
        step = once - x
        if np.abs(step).max() < RELATIVE_CHANGE:
            return once
        twice = update(once)
        bend = twice - once - step
        bent = max(np.linalg.norm(bend), np.finfo(float).tiny)
        length = np.clip(np.linalg.norm(step) / bent, 1.0, LONGEST)
        # The update after the extrapolation corrects an extrapolation that is too long.
        x = update(np.clip(x + 2.0 * length * step + length**2 * bend, least, most))
    return x


def _variances(
    equations: NormalEquations, priors: Priors, of: Model, scale: Any, eps: Any
) -> tuple[Any, Any]:
    """Return mean-field variances of the coefficients of groups, (P, C), and population, (Q,)."""
    prior_scale = population_priors(priors, equations.design, of)[1]
    precision = _sum_of_squares(equations) / eps**2 + 1.0 / scale[:, None] ** 2
    known = _columns_of_all(equations) / eps**2
    if equations.size:
        # A mean is informed by the coefficients that vary about it, not directly by the rows.
        has_mean = [name in equations.design.population for name in equations.design.varying]
        known[: sum(has_mean)] = equations.repeats.sum() / scale[has_mean] ** 2
    return 1.0 / precision, 1.0 / (known + 1.0 / prior_scale**2)


def _individual(equations: NormalEquations, priors: Priors) -> dict[str, Start]:
    sum_of_squares = _sum_of_squares(equations)
    loc, prior_scale = individual_prior(equations, priors)
    relative = equations.from_model(loc)
    known = equations.design.known_errors
    upper = 1.0 if known else _upper(priors.eps, 0)
    pooled = _residual_scale(equations, priors)
    if not np.isfinite(upper):
        # In a group of one row, neither the data nor a flat prior limits eps.
        upper = 10.0 * pooled
    eps = np.full(equations.num_groups, min(pooled, upper))
    freedom = equations.count - 1.0
    expected = np.tensordot(relative, equations.population, (0, 1))
    for _ in range(_most_updates(equations)):
        terms = group_terms(equations, prior_scale, eps)
        off = deviations(terms, misfit(terms, relative))
        variance = 1.0 / (sum_of_squares / eps**2 + 1.0 / prior_scale[:, None] ** 2)
        left = equations.target - expected - (equations.root * off).sum(1)
        residual = (left**2).sum(0) + equations.rest + (sum_of_squares * variance).sum(0)
        squared = np.where(freedom > 0, residual / np.maximum(freedom, 1.0), np.inf)
        new_eps = np.clip(np.sqrt(squared), 1e-3 * min(pooled, upper), upper)
        new_eps = eps if known else new_eps
        change = np.abs(new_eps / eps - 1).max()
        eps = new_eps
        if change < RELATIVE_CHANGE:
            break
    sd, centre = np.sqrt(variance), loc[:, None] + off
    starts = {"alpha": Start(centre[0], sd[0])}
    if not known:
        starts["eps"] = _scale_start(eps, freedom)
    if equations.size > 1:
        starts["beta"] = Start(centre[1:].T, sd[1:].T)
    return starts


def _residual_scale(equations: NormalEquations, priors: Priors) -> Any:
    """Return the residual sd of the pooled fit, or a small positive number if the fit is exact."""
    if equations.design.known_errors:
        return np.float64(1.0)
    upper = _upper(priors.eps, 0)
    least = 1e-8 * upper if np.isfinite(upper) else np.finfo(float).tiny ** 0.5
    return np.clip(np.sqrt(equations.rss / equations.num_rows), least, upper)


def _sum_of_squares(equations: NormalEquations) -> Any:
    """Return the sums of squares of the varying columns in each group, shape (P, C)."""
    return (equations.root**2).sum(0)


def _scale_start(scale: Any, freedom: Any) -> Start:
    r"""Return the optimal guide of a scale whose plug-in value has f degrees of freedom.

    If :math:`\log\sigma \sim N(m, r^2)` under the guide and S is the expected sum of squares,
    the bound :math:`-f m - \tfrac12 S e^{-2m + 2r^2} + \log r` is largest at
    :math:`r^2 = 1/(2f)` and :math:`m = \tfrac12\log(S/f) + r^2`.
    """
    r = 1.0 / np.sqrt(2.0 * np.maximum(freedom, 0.5))
    median = scale * np.exp(np.minimum(r**2, 0.5))
    return Start(median, median * r)


def _upper(prior: ScalePrior, k: int) -> float:
    """Return the upper limit of a start inside the support; infinite under a flat prior."""
    return float(prior.component(k).start_limit)


def _floor(value: Any) -> Any:
    """Keep a plug-in value positive if the data are fitted exactly."""
    return np.maximum(value, np.finfo(float).tiny ** 0.25)
