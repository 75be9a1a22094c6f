r"""Does the answer depend on where the zero of a predictor lies?

The intercepts of a hierarchical model are the heights of lines where every predictor is 0, and the
model takes them as independent of the slopes. Where 0 lies outside the data, as in a column of
years, that is a strong assumption: lines that meet near the data have intercepts and slopes that
depend on each other, and the spread of the slopes is estimated far too small. The same model with
its columns centred does without it, so the two are compared, by integrating over the scales
(``integration.py``).
"""

from __future__ import annotations

import shlex
from dataclasses import replace

import numpy as np

from radon_numpyro.centers import zeros
from radon_numpyro.checks import first_few
from radon_numpyro.data import GroupedData
from radon_numpyro.designs import by_design
from radon_numpyro.equations import NormalEquations
from radon_numpyro.finding import Finding
from radon_numpyro.integration import ScalePosterior, integrate_scales
from radon_numpyro.priors import Normal, Priors
from radon_numpyro.statistics import GroupStatistics

# In posterior standard deviations of the model as written.
MOVED = 0.5
# Of very many groups so many are asked, with the standard deviations that they give.
MAX_GROUPS = 1000


def zero_outside(data: GroupedData | GroupStatistics, statistics: GroupStatistics) -> list[str]:
    r"""Predictors that vary, and whose values do not reach to both sides of 0.

    Statistics do not hold the values. There a predictor counts if its mean is further than
    :math:`\sqrt 3` standard deviations from 0, as that of any uniform distribution is that does
    not reach 0, unless it is 0 or 1 in every row.

    Parameters
    ----------
    data, statistics
        Rows or statistics, and their statistics.
    """
    s, names = statistics, statistics.labels.predictors
    share = s.count / s.count.sum()
    mean = share @ s.mean_x
    within = np.einsum("ckk->k", s.sxx) / s.count.sum()
    variance = within + share @ np.square(s.mean_x - mean)
    varies = variance > np.square(1e-14 * mean)
    if isinstance(data, GroupedData):
        x = np.asarray(data.x)
        outside = (x.min(0) > 0) | (x.max(0) < 0)
    else:
        # x squared is x where x is 0 or 1.
        binary = np.isclose(variance + mean**2, mean, rtol=1e-9, atol=1e-12)
        outside = (mean**2 > 3.0 * variance) & ~binary
    return [name for name, out in zip(names, outside & varies, strict=True) if out]


def zero_dependence(
    data: GroupedData | GroupStatistics,
    statistics: GroupStatistics,
    priors: Priors,
    *,
    priors_by_default: bool,
) -> Finding | None:
    """Compare the hierarchical model as written with the one whose columns are centred.

    Parameters
    ----------
    data, statistics
        Rows or statistics, and their statistics.
    priors
        The priors of the fit.
    priors_by_default
        Whether they are those that a fit has by default, which the centred model then has too.

    Returns
    -------
    Finding or None
        None where 0 lies among the values of every predictor, or nothing depends on it: no
        standard deviation and no mean slope moves by more than half of its posterior standard
        deviation.
    """
    names = zero_outside(data, statistics)
    if not names:
        return None
    labels = statistics.labels
    mean = statistics.count @ statistics.mean_x / statistics.count.sum()
    own_zero = mean + zeros(statistics.centers, labels.predictors)
    kept = {name: value for name, value in statistics.centers if name not in names}
    values = dict(zip(labels.predictors, own_zero.tolist(), strict=True))
    centers = tuple((n, {**values, **kept}[n]) for n in labels.predictors if n in {*names, *kept})
    centred = statistics.counted_from(centers)
    if priors_by_default:
        other = Priors.weakly_informative(centred)
    else:
        moved = np.where(np.isin(labels.predictors, names), mean, 0.0)
        other = replace(priors, mu_alpha=_moved(priors, moved))
    lies = (
        f"0 lies outside the values of {first_few(names)}; there the model takes intercepts as "
        "independent of slopes"
    )
    center = names if len(names) > 1 else names[0]
    advice = f"GroupedData.from_frame(..., center={center!r})"
    command = " ".join(f"--center {shlex.quote(name)}" for name in names)
    try:
        as_written, about_mean = _posterior(statistics, priors), _posterior(centred, other)
    except FloatingPointError:
        as_written = about_mean = None
    if as_written is None or about_mean is None:
        what = f"{lies}. How much the answer depends on that could not be computed."
        return Finding(what, advice, command, caution=True)
    moves = _moves(as_written, about_mean, labels.predictors)
    if not moves:
        return None
    most, *others = sorted(moves, key=lambda site: -moves[site][2])
    before, after, _ = moves[most]
    also = f"; {', '.join(others[:3])} {'moves' if len(others) == 1 else 'move'} too"
    counted = "it counted from its mean" if len(names) == 1 else "each counted from its mean"
    what = (
        f"{lies}, and the answer depends on that: {most} is {before:.3g} as written, and "
        f"{after:.3g} with {counted}{also if others else ''}."
    )
    return Finding(what, advice, command)


def _moved(priors: Priors, mean: np.ndarray) -> Normal:
    """Prior of the height at the centre, from those of the height at 0 and of the slopes."""
    intercept, slopes = priors.mu_alpha, priors.mu_beta
    loc = intercept.loc + np.sum(mean * slopes.loc)
    scale = np.sqrt(np.square(intercept.scale) + np.sum(np.square(mean * slopes.scale)))
    return Normal(float(loc), float(scale))


def _posterior(statistics: GroupStatistics, priors: Priors) -> ScalePosterior | None:
    equations = by_design(NormalEquations.from_statistics(statistics))
    size = len(equations.count)
    chosen = np.linspace(0, size - 1, min(size, MAX_GROUPS)).round().astype(int)
    found = integrate_scales(equations.take(chosen), priors)
    return found if found.reliable else None


def _moves(
    as_written: ScalePosterior, centred: ScalePosterior, predictors: tuple[str, ...]
) -> dict[str, tuple[float, float, float]]:
    """What moves: its means in both models, and the distance in posterior standard deviations."""
    moves: dict[str, tuple[float, float, float]] = {}
    before, after = as_written.moments(), centred.moments()
    for site in ("sigma_beta", "mu_beta", "eps"):
        (means, sds), (others, _) = before[site], after[site]
        names = [f"{site}[{x}]" for x in predictors] if np.ndim(means) else [site]
        numbers = (np.ravel(values).tolist() for values in (means, others, sds))
        for name, mean, other, sd in zip(names, *numbers, strict=True):
            distance = abs(other - mean) / sd
            if distance > MOVED:
                moves[name] = (mean, other, distance)
    return moves
