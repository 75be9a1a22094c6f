r"""Check priors for conflicts with the data, from the moments of the data, before a fit.

For a scale :math:`\sigma`, let :math:`R` be a sum of squares with :math:`f` degrees of freedom. For
``eps`` it is the residual sum of squares within groups; for ``sigma_alpha`` it is the sum of
squares of the levels of the groups, less the part that the scatter of the rows adds to it. The data
alone suggest :math:`\sigma^2 \sim R/\chi^2_f`.

- A Uniform(0, h) prior conflicts if more than 5 % of this distribution lies above h.
- A prior without a bound conflicts if less than 5 % of this distribution, divided by the number of
  groups that are tested, lies where the prior has all but 6e-5 of its mass. For a half-normal this
  region ends at four standard deviations.
- The Normal prior of a location conflicts if the least-squares fit to all rows is more than five
  standard deviations away from the prior mean, where the variance is the sum of the variances of
  the fit and of the prior.
- An improper prior never conflicts.

References
----------
Evans and Moshonov (2006), Checking for prior-data conflict, doi:10.1214/06-BA129.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import special

from radon_numpyro.data.checks import first_few, plural
from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.digits import number
from radon_numpyro.data.findings import Finding
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.identification import COLLINEAR
from radon_numpyro.model.coefficient_priors import columns_of_sites
from radon_numpyro.model.location_priors import LocationPrior
from radon_numpyro.model.models import MODELS, Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.scale_priors import ScalePrior
from radon_numpyro.statistics.consistency import as_statistics
from radon_numpyro.statistics.group_statistics import GroupStatistics

LEVEL = 0.05
MAX_DISTANCE = 5.0
UNLIKELY = "gives almost no probability to"
ADVICE = (
    "priors=None, which gives the default priors, scaled by the data, or wider priors",
    "--priors weakly-informative, which are scaled by the data",
)


def prior_conflicts(
    priors: Priors, data: GroupedData | GroupStatistics, model: str = "hierarchical"
) -> tuple[Finding, ...]:
    """Find the priors of a model that exclude, or put far out in a tail, what the data suggest.

    Parameters
    ----------
    priors
        The priors of the fit.
    data
        Rows or statistics.
    model
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.

    Returns
    -------
    tuple of Finding
        Empty if there is no conflict. Standard deviations of slopes are not tested.
    """
    statistics, of = as_statistics(data), Model.named(model)
    found: list[Finding | None] = []
    if not statistics.labels.design.known_errors:
        found.append(_scale(priors.eps, "eps", *_residual(statistics, of), statistics, of))
    if of.population and statistics.labels.design.intercept_varies:
        levels = _levels(statistics)
        found.append(_scale(priors.sigma_alpha, "sigma_alpha", *levels, statistics, of))
    if not of.eps_by_group:
        found += _locations(priors, statistics, of)
    return tuple(finding for finding in found if finding is not None)


def _residual(statistics: GroupStatistics, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Return residual sums of squares and their degrees of freedom, by group or for all rows."""
    if model.eps_by_group:
        slopes = np.linalg.pinv(statistics.sxx, rcond=COLLINEAR, hermitian=True)
        explained = np.einsum("ck,ckl,cl->c", statistics.sxy, slopes, statistics.sxy)
        rank = np.linalg.matrix_rank(statistics.sxx, rtol=COLLINEAR, hermitian=True)
        squares = np.maximum(statistics.syy - explained, 0.0)
        return squares, statistics.count - 1.0 - rank
    if not model.by_group:
        coefficients, _ = _least_squares(statistics)
        squares = statistics.sum_of_squares(coefficients[0], coefficients[1:]).sum()
        freedom = statistics.count.sum() - len(statistics.labels.design.population)
        return np.atleast_1d(squares), np.atleast_1d(freedom)
    # The hierarchical model: an intercept for each group, and slopes common to all groups.
    slopes, _, rank, _ = np.linalg.lstsq(statistics.sxx.sum(0), statistics.sxy.sum(0), rcond=None)
    alpha = statistics.mean_y - statistics.mean_x @ slopes
    squares = max(float(statistics.sum_of_squares(alpha, slopes).sum()), 0.0)
    freedom = statistics.count.sum() - (statistics.count > 0).sum() - int(rank)
    return np.atleast_1d(squares), np.atleast_1d(freedom)


def _levels(statistics: GroupStatistics) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of squares of group levels about the pooled fit, and its degrees of freedom.

    The part that the scatter of the rows adds is subtracted. The slopes are those of the pooled
    fit, because slopes within groups would extrapolate to groups far from the others.
    """
    coefficients, _ = _least_squares(statistics)
    squares, freedom = _residual(statistics, MODELS["hierarchical"])
    variance = float(squares[0] / freedom[0]) if freedom[0] > 0 else 0.0
    if statistics.labels.design.known_errors:
        variance = 1.0
    seen = statistics.count > 0
    level = (statistics.mean_y - coefficients[0] - statistics.mean_x @ coefficients[1:])[seen]
    scatter = np.mean(variance / statistics.total_weight[seen])
    least = max(float(np.var(level)) - scatter, 0.0)
    return np.atleast_1d(least * len(level)), np.atleast_1d(len(level) - 1.0)


def _least_squares(statistics: GroupStatistics) -> tuple[np.ndarray, np.ndarray]:
    """Return the least-squares fit to all rows, intercept first, and its standard errors.

    Both are 0 for a column that has no population coefficient.
    """
    s, rows, design = statistics, statistics.overall(), statistics.labels.design
    mean_x, mean_y = rows.mean_x[0], rows.mean_y[0]
    sxx, sxy, origin = rows.sxx[0], rows.sxy[0], INTERCEPT not in design.population
    if origin:
        sxx = sxx + s.total_weight.sum() * np.outer(mean_x, mean_x)
        sxy = sxy + s.total_weight.sum() * mean_x * mean_y
    used = np.array([name in design.population for name in design.predictors], dtype=bool)
    inverse = np.linalg.pinv(sxx * np.outer(used, used), rcond=COLLINEAR, hermitian=True)
    slopes = inverse @ sxy
    alpha = 0.0 if origin else mean_y - mean_x @ slopes
    squares = max(float(s.sum_of_squares(alpha, slopes).sum()), 0.0)
    variance = squares / max(float(s.count.sum()) - len(design.population), 1.0)
    of_alpha = 0.0 if origin else 1.0 / s.total_weight.sum() + mean_x @ inverse @ mean_x
    errors = np.append(of_alpha, np.diagonal(inverse))
    return np.append(alpha, slopes), np.sqrt(variance * errors)


def _scale(
    prior: ScalePrior,
    name: str,
    squares: np.ndarray,
    freedom: np.ndarray,
    statistics: GroupStatistics,
    model: Model,
) -> Finding | None:
    bounded = np.isfinite(prior.upper)
    known = freedom > 0
    outside = np.zeros(len(squares))
    outside[known] = special.chdtr(freedom[known], squares[known] / float(prior.far) ** 2)
    most = LEVEL if bounded else 1.0 - LEVEL / len(squares)
    conflicting = np.flatnonzero(outside > most)
    if not conflicting.size:
        return None
    sds = np.sqrt(squares[conflicting] / freedom[conflicting])
    where = ""
    if model.eps_by_group:
        labels = statistics.labels.groups or tuple(range(statistics.num_groups))
        named = first_few([labels[c] for c in conflicting])
        where = f" at most, in {plural(len(conflicting), 'group')}: {named}"
    does = "excludes" if bounded else UNLIKELY
    return Finding(
        f"The prior of {name}, {prior}, {does} what the data suggest: about {sds.max():.3g}"
        f"{where}.",
        *ADVICE,
    )


def _locations(priors: Priors, statistics: GroupStatistics, model: Model) -> Iterator[Finding]:
    design = statistics.labels.design
    found = zip((INTERCEPT, *design.predictors), *_least_squares(statistics), strict=True)
    fits = {name: (estimate, error) for name, estimate, error in found}
    for site, column, prior in _coefficients(priors, design, model):
        estimate, error = fits[column]
        if np.abs(estimate - prior.loc) / np.hypot(prior.scale, error) > MAX_DISTANCE:
            yield Finding(
                f"The prior of {site}, {prior}, {UNLIKELY} what the data suggest: about "
                f"{number(estimate, error)}.",
                *ADVICE,
            )


def _coefficients(
    priors: Priors, design: Design, model: Model
) -> Iterator[tuple[str, str, LocationPrior]]:
    """Yield the site, column and prior of each population coefficient."""
    intercept, slope = ("mu_alpha", "mu_beta") if model.population else ("alpha", "beta")
    if design.has_mean_intercept:
        yield intercept, INTERCEPT, getattr(priors, intercept).component(0)
    for site in (slope, "gamma"):
        for k, column in enumerate(columns_of_sites(design)[site]):
            yield f"{site}[{column}]", column, getattr(priors, site).component(k)
