"""Where ADVI starts: the closed-form mean-field solution at plug-in scales.

A guide that starts at scale 0.1 with steps in absolute units cannot reach a posterior whose
standard deviations differ by a factor of 10 000 (in the radon data a county without an
upstairs house has a slope that is its prior, Normal(0, 10 000), beside an intercept known to
0.4). For fixed scales the mean-field optimum is known: the exact mean, and one over the square
root of the diagonal of the precision. The scales are plugged in by alternating that solution
with their own most likely values (variational EM).

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
    coefficients,
    deviations,
    group_terms,
    individual_prior,
    population_mean,
    prior_parameters,
)
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.small_matrices import solve_lower
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.scale_priors import ScalePrior
from radon_numpyro.statistics.group_statistics import GroupStatistics

MAX_ITERATIONS = 1000
# Groups updated at the most: of very many the start need not be as close to the optimum.
MAX_GROUP_UPDATES = 10_000_000
RELATIVE_CHANGE = 1e-8
LONGEST = 64.0


class Start(NamedTuple):
    """Centre and standard deviation of one site, in its own (constrained) units."""

    mean: Any
    sd: Any


def mean_field_start(statistics: GroupStatistics, model: str, priors: Priors) -> dict[str, Start]:
    """Mean-field solution at plug-in scales, for each site of a model.

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
        Start by site name, shaped as the site.
    """
    equations = NormalEquations.from_statistics(statistics)
    of = Model.named(model)
    if of.population:
        return _hierarchical(equations, priors)
    if not of.by_group:
        starts = _individual(equations.pooled(), priors)
        return {name: Start(s.mean[0], s.sd[0]) for name, s in starts.items()}
    return _individual(equations, priors)


def _hierarchical(equations: NormalEquations, priors: Priors) -> dict[str, Start]:
    size, num_groups = equations.target.shape
    num_rows = equations.count.sum()
    scale, eps = _plug_in_scales(by_design(equations), priors)
    terms = group_terms(equations, scale, eps)
    relative_mu = population_mean(equations, terms, priors).mean
    mu, theta = (
        np.array(equations.to_model(t)) for t in (relative_mu, coefficients(terms, relative_mu))
    )
    variance, mu_variance = _variances(equations, priors, scale, eps)
    mu_sd, sd = np.sqrt(mu_variance), np.sqrt(variance)
    starts = {
        "mu_alpha": Start(mu[0], mu_sd[0]),
        "sigma_alpha": _scale_start(scale[0], num_groups - 1),
        "alpha": Start(theta[0], sd[0]),
        "eps": _scale_start(eps, num_rows - 1),
    }
    if size > 1:
        starts |= {
            "mu_beta": Start(mu[1:], mu_sd[1:]),
            "sigma_beta": _scale_start(scale[1:], num_groups - 1),
            "beta": Start(theta[1:].T, sd[1:].T),
        }
    return starts


def _plug_in_scales(equations: NormalEquations, priors: Priors) -> tuple[Any, Any]:
    """Scales of the coefficients, shape (P,), and eps: most likely given the means they lead to."""
    size, n = equations.size, equations.repeats
    num_groups, num_rows = n.sum(), equations.count.sum()
    sum_of_squares = _sum_of_squares(equations)
    lowest = _residual_scale(equations, priors)
    unit = lowest / np.sqrt(_floor((n * sum_of_squares).sum(-1) / num_rows))
    upper = np.array(
        [_upper(priors.sigma_alpha, 0)] + [_upper(priors.sigma_beta, k) for k in range(size - 1)]
    )

    def update(log_scales: Any) -> Any:
        scale, eps = np.exp(log_scales[:-1]), np.exp(log_scales[-1])
        terms = group_terms(equations, scale, eps)
        mu = population_mean(equations, terms, priors).mean
        variance, mu_variance = _variances(equations, priors, scale, eps)
        squares = n * (np.array(deviations(terms, mu)) ** 2 + variance)
        residual = n * _residual(equations, equations.target, coefficients(terms, mu))
        for column in equations.scatter:
            # As if this were the target, about means of 0.
            off = terms._replace(w=solve_lower(terms.cholesky, list(column / eps)))
            squares += np.array(deviations(off, [0.0] * size)) ** 2
            residual += _residual(equations, column, coefficients(off, [0.0] * size))
        residual += equations.rest + n * (sum_of_squares * variance).sum(0)
        spread = squares.sum(-1) + num_groups * mu_variance
        # One less in the divisors: the optimum is that of the density of the log scale.
        variances = [*spread / max(num_groups - 1, 1), residual.sum() / max(num_rows - 1, 1)]
        return np.log(np.clip(np.sqrt(variances), least, most))

    most = np.array([*upper, _upper(priors.eps, 0)])
    least = 1e-3 * np.array([*unit, lowest])
    start = np.log([*np.minimum(unit, upper), lowest])
    bounds = np.log(least), np.log(most)
    scales = np.exp(_fixed_point(update, start, *bounds, _most_updates(equations)))
    return scales[:-1], scales[-1]


def _most_updates(equations: NormalEquations) -> int:
    return int(np.clip(MAX_GROUP_UPDATES // len(equations.count), 3, MAX_ITERATIONS))


def _fixed_point(update: Callable[[Any], Any], x: Any, least: Any, most: Any, updates: int) -> Any:
    """Where an update stands still, within bounds, by squared extrapolation; or where so many end.

    The scheme is S3 of Varadhan and Roland (2008). Variational EM alone creeps where the data say
    little of a scale.
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
        # An update has the last word: it takes back what was extrapolated too far.
        x = update(np.clip(x + 2.0 * length * step + length**2 * bend, least, most))
    return x


def _variances(equations: NormalEquations, priors: Priors, scale: Any, eps: Any) -> tuple[Any, Any]:
    """Mean-field variances of the coefficients, (P, C), and of the population means, (P,)."""
    prior_scale = np.array(prior_parameters(priors, equations.size)[1], dtype=float)
    precision = _sum_of_squares(equations) / eps**2 + 1.0 / scale[:, None] ** 2
    return 1.0 / precision, 1.0 / (equations.repeats.sum() / scale**2 + 1.0 / prior_scale**2)


def _individual(equations: NormalEquations, priors: Priors) -> dict[str, Start]:
    size, num_groups = equations.target.shape
    sum_of_squares = _sum_of_squares(equations)
    scale, mu = individual_prior(equations, priors)
    prior_scale = np.array(scale, dtype=float)
    upper = _upper(priors.eps, 0)
    pooled = _residual_scale(equations, priors)
    if not np.isfinite(upper):
        # Of a group of one row neither the data nor a flat prior limits eps.
        upper = 10.0 * pooled
    eps = np.full(num_groups, min(pooled, upper))
    freedom = equations.count - 1.0
    for _ in range(_most_updates(equations)):
        theta = coefficients(group_terms(equations, prior_scale, eps), mu)
        variance = 1.0 / (sum_of_squares / eps**2 + 1.0 / prior_scale[:, None] ** 2)
        residual = _residual(equations, equations.target, theta) + equations.rest
        residual += (sum_of_squares * variance).sum(0)
        squared = np.where(freedom > 0, residual / np.maximum(freedom, 1.0), np.inf)
        new_eps = np.clip(np.sqrt(squared), 1e-3 * min(pooled, upper), upper)
        change = np.abs(new_eps / eps - 1).max()
        eps = new_eps
        if change < RELATIVE_CHANGE:
            break
    sd, centre = np.sqrt(variance), np.array(equations.to_model(theta))
    starts = {"alpha": Start(centre[0], sd[0]), "eps": _scale_start(eps, freedom)}
    if size > 1:
        starts["beta"] = Start(centre[1:].T, sd[1:].T)
    return starts


def _residual_scale(equations: NormalEquations, priors: Priors) -> Any:
    """Residual sd of the pooled fit; something small and positive where it is exact."""
    upper = _upper(priors.eps, 0)
    least = 1e-8 * upper if np.isfinite(upper) else np.finfo(float).tiny ** 0.5
    return np.clip(np.sqrt(equations.rss.sum() / equations.count.sum()), least, upper)


def _sum_of_squares(equations: NormalEquations) -> Any:
    """Of the design of each group with its intercept at zero, shape (P, C)."""
    at_zero = equations.root.copy()
    at_zero[0, 1:] += at_zero[0, 0] * equations.centre[:, None]
    return (at_zero**2).sum(0)


def _residual(equations: NormalEquations, target: Any, theta: Any) -> Any:
    """Squared distance of a target from that of coefficients relative to the pooled fit, (C,)."""
    return ((target - (equations.root * np.asarray(theta)[None]).sum(1)) ** 2).sum(0)


def _scale_start(scale: Any, freedom: Any) -> Start:
    r"""Optimal guide of a scale whose plug-in value rests on so many squares.

    With :math:`\log\sigma \sim N(m, r^2)` under the guide and S the expected sum of squares,
    the bound :math:`-f m - \tfrac12 S e^{-2m + 2r^2} + \log r` has its maximum at
    :math:`r^2 = 1/(2f)` and :math:`m = \tfrac12\log(S/f) + r^2`.
    """
    r = 1.0 / np.sqrt(2.0 * np.maximum(freedom, 0.5))
    median = scale * np.exp(np.minimum(r**2, 0.5))
    return Start(median, median * r)


def _upper(prior: ScalePrior, k: int) -> float:
    """A value inside the support that a start should not pass; infinite under a flat prior."""
    return float(prior.component(k).start_limit)


def _floor(value: Any) -> Any:
    """Keep a plug-in positive when the data fit exactly."""
    return np.maximum(value, np.finfo(float).tiny ** 0.25)
