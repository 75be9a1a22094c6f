r"""Do the priors leave room for the data? Findings, from moments, before any fit.

With :math:`R` the residual sum of squares and :math:`f` its degrees of freedom, the data alone say
:math:`\sigma^2 \sim R/\chi^2_f` of a scale: its residual variance within groups, or the variance
of the groups' levels less what the rows' scatter adds to it. A Uniform(0, h) prior is in conflict
if more than 5 % of that lies beyond h, a half-normal one if less than 5 %, divided by the number of
groups that are asked, lies within four of its standard deviations. The Normal prior of a location
is in conflict if the least-squares fit to all rows lies more than five standard deviations, its own
and those of the prior together, from its mean.

References
----------
Evans and Moshonov (2006), Checking for prior-data conflict, doi:10.1214/06-BA129.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import stats

from radon_numpyro.data.checks import first_few, plural
from radon_numpyro.data.digits import number
from radon_numpyro.data.findings import Finding
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.identification import COLLINEAR
from radon_numpyro.model.models import MODELS, Model
from radon_numpyro.model.priors import HalfNormal, Normal, Priors, Uniform
from radon_numpyro.statistics.consistency import as_statistics
from radon_numpyro.statistics.group_statistics import GroupStatistics

LEVEL = 0.05
MAX_HALF_NORMAL_SDS = 4.0
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
    found = [_scale(priors.eps, "eps", *_residual(statistics, of), statistics, of)]
    if of.population:
        levels = _levels(statistics)
        found.append(_scale(priors.sigma_alpha, "sigma_alpha", *levels, statistics, of))
    if not of.eps_by_group:
        names = ("mu_alpha", "mu_beta") if of.population else ("alpha", "beta")
        intercept, slopes = (getattr(priors, name) for name in names)
        found += _locations(names, intercept, slopes, statistics)
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
        return np.atleast_1d(squares), np.atleast_1d(statistics.count.sum() - len(coefficients))
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
    seen = statistics.count > 0
    level = (statistics.mean_y - coefficients[0] - statistics.mean_x @ coefficients[1:])[seen]
    scatter = np.mean(variance / statistics.count[seen])
    least = max(float(np.var(level)) - scatter, 0.0)
    return np.atleast_1d(least * len(level)), np.atleast_1d(len(level) - 1.0)


def _least_squares(statistics: GroupStatistics) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares fit to all rows, intercept first, and its standard errors."""
    s, rows = statistics, statistics.overall()
    mean_x, mean_y = rows.mean_x[0], rows.mean_y[0]
    inverse = np.linalg.pinv(rows.sxx[0], rcond=COLLINEAR, hermitian=True)
    slopes = inverse @ rows.sxy[0]
    alpha = mean_y - mean_x @ slopes
    squares = max(float(s.sum_of_squares(alpha, slopes).sum()), 0.0)
    variance = squares / max(float(s.count.sum()) - 1.0 - len(slopes), 1.0)
    errors = np.append(1.0 / s.count.sum() + mean_x @ inverse @ mean_x, np.diagonal(inverse))
    return np.append(alpha, slopes), np.sqrt(variance * errors)


def _scale(
    prior: HalfNormal | Uniform,
    name: str,
    squares: np.ndarray,
    freedom: np.ndarray,
    statistics: GroupStatistics,
    model: Model,
) -> Finding | None:
    uniform = isinstance(prior, Uniform)
    bound = prior.high if isinstance(prior, Uniform) else MAX_HALF_NORMAL_SDS * prior.scale
    known = freedom > 0
    outside = np.zeros(len(squares))
    outside[known] = stats.chi2.cdf(squares[known] / float(bound) ** 2, freedom[known])
    most = LEVEL if uniform else 1.0 - LEVEL / len(squares)
    conflicting = np.flatnonzero(outside > most)
    if not conflicting.size:
        return None
    sds = np.sqrt(squares[conflicting] / freedom[conflicting])
    where = ""
    if model.eps_by_group:
        labels = statistics.labels.groups or tuple(range(statistics.num_groups))
        named = first_few([labels[c] for c in conflicting])
        where = f", at the most, in {plural(len(conflicting), 'group')}: {named}"
    does = "cuts off what" if uniform else "puts far out in its tail what"
    return Finding(
        f"The prior of {name}, {prior}, {does} the data say: about {sds.max():.3g}{where}.", *ADVICE
    )


def _locations(
    names: tuple[str, str], intercept: Normal, slopes: Normal, statistics: GroupStatistics
) -> Iterator[Finding]:
    estimates, errors = _least_squares(statistics)
    labels = statistics.labels.predictors or [f"x{k + 1}" for k in range(len(estimates) - 1)]
    sites = [names[0], *(f"{names[1]}[{label}]" for label in labels)]
    loc, scale = (
        np.append(getattr(intercept, part), np.broadcast_to(getattr(slopes, part), len(labels)))
        for part in ("loc", "scale")
    )
    distance: Any = np.abs(estimates - loc) / np.hypot(scale, errors)
    for k in np.flatnonzero(distance > MAX_DISTANCE):
        yield Finding(
            f"The prior of {sites[k]}, {Normal(loc[k], scale[k])}, puts far out in its tail what "
            f"the data say: about {number(estimates[k], errors[k])}.",
            *ADVICE,
        )
