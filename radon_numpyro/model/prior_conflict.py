r"""Do the priors leave room for the data? Findings, from moments, before any fit.

With :math:`R` the residual sum of squares and :math:`f` its degrees of freedom, the data alone say
:math:`\sigma^2 \sim R/\chi^2_f` of a scale: its residual variance within groups, or the variance
of the groups' levels less what the rows' scatter adds to it. A Uniform(0, h) prior is in conflict
if more than 5 % of that lies beyond h, a prior without a bound if less than 5 %, divided by the
number of groups that are asked, lies where the prior has all but 6e-5 of its mass: within four
standard deviations for a half-normal. The Normal prior of a location is in conflict if the
least-squares fit to all rows lies more than five standard deviations, its own and those of the
prior together, from its mean. An improper prior never is.

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
ADVICE = (
    "priors=None, the default priors, which are scaled by the data, or wider ones of your own",
    "--priors weakly-informative, which are scaled by the data",
)


def prior_conflicts(
    priors: Priors, data: GroupedData | GroupStatistics, model: str = "hierarchical"
) -> tuple[Finding, ...]:
    """What the priors of a model would cut off or pull away from what the data say.

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
        Empty if there is no conflict. Standard deviations of slopes are not asked.
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
    """Residual sums of squares and their degrees of freedom: of each group, or of all rows."""
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
    # About slopes common to all groups.
    slopes, _, rank, _ = np.linalg.lstsq(statistics.sxx.sum(0), statistics.sxy.sum(0), rcond=None)
    alpha = statistics.mean_y - statistics.mean_x @ slopes
    squares = max(float(statistics.sum_of_squares(alpha, slopes).sum()), 0.0)
    freedom = statistics.count.sum() - (statistics.count > 0).sum() - int(rank)
    return np.atleast_1d(squares), np.atleast_1d(freedom)


def _levels(statistics: GroupStatistics) -> tuple[np.ndarray, np.ndarray]:
    """Sum of squares of the groups' levels about the fit to all rows, less that of rows' scatter.

    Not about slopes within groups, which groups far away would be extrapolated by.
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
    """Least-squares fit to all rows, intercept first, and its standard errors.

    Both are 0 for a column that has no coefficient for all groups.
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
        where = f", at the most, in {plural(len(conflicting), 'group')}: {named}"
    does = "cuts off what" if bounded else "puts far out in its tail what"
    return Finding(
        f"The prior of {name}, {prior}, {does} the data say: about {sds.max():.3g}{where}.", *ADVICE
    )


def _locations(priors: Priors, statistics: GroupStatistics, model: Model) -> Iterator[Finding]:
    design = statistics.labels.design
    found = zip((INTERCEPT, *design.predictors), *_least_squares(statistics), strict=True)
    fits = {name: (estimate, error) for name, estimate, error in found}
    for site, column, prior in _coefficients(priors, design, model):
        estimate, error = fits[column]
        if np.abs(estimate - prior.loc) / np.hypot(prior.scale, error) > MAX_DISTANCE:
            yield Finding(
                f"The prior of {site}, {prior}, puts far out in its tail what the data say: about "
                f"{number(estimate, error)}.",
                *ADVICE,
            )


def _coefficients(
    priors: Priors, design: Design, model: Model
) -> Iterator[tuple[str, str, LocationPrior]]:
    """Site, column and prior of each coefficient for all groups."""
    intercept, slope = ("mu_alpha", "mu_beta") if model.population else ("alpha", "beta")
    if design.has_mean_intercept:
        yield intercept, INTERCEPT, getattr(priors, intercept).component(0)
    for site in (slope, "gamma"):
        for k, column in enumerate(columns_of_sites(design)[site]):
            yield f"{site}[{column}]", column, getattr(priors, site).component(k)
