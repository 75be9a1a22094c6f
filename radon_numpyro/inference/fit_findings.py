r"""What is known of a fit before it is made: findings about its data and its priors.

One of them is whether the answer depends on where the zero of a predictor lies.

The intercepts of a hierarchical model are the heights of lines where every predictor is 0, and the
model takes them as independent of the slopes. Where 0 lies outside the data, as in a column of
years, that is a strong assumption: lines that meet near the data have intercepts and slopes that
depend on each other, and the spread of the slopes is estimated far too small. The same model with
its columns centred does without it, so the two are compared, by integrating over the scales
(``inference/integration/scale_posterior.py``). Where slopes and intercepts correlate, their
correlation makes up for a shift of the zero, and the answer changes only as far as the priors do;
but far from zero the correlation is so close to 1 or -1 that it cannot be sampled. Only slopes that
vary matter, and only beside intercepts that vary about a mean: a column with one slope for all
groups shifts that mean and nothing else. A zero at the edge of the data, as in years since the
first, is a choice like any other: it is not asked.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import numpy as np

from radon_numpyro.data.audit_findings import FAR_FROM_ZERO
from radon_numpyro.data.centers import zeros
from radon_numpyro.data.checks import first_few
from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.findings import Finding
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.identification import ROUNDING
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.integration.scale_posterior import ScalePosterior, integrate_scales
from radon_numpyro.model.location_priors import Flat, LocationPrior, Normal
from radon_numpyro.model.models import Model
from radon_numpyro.model.population_priors import population_priors
from radon_numpyro.model.prior_conflict import prior_conflicts
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

# Groups from which a standard deviation between them can be estimated.
FEW = 5
# In posterior standard deviations, the larger ones of the two models.
MOVED = 0.5
# Of very many groups some are asked, with the standard deviations that they give: the fewer the
# more coefficients there are, so that it takes about a second.
GROUPS_TIMES_SQUARES, MIN_GROUPS, MAX_SIZE = 4000, 100, 9

Distances = dict[str, float]


def premises(
    data: GroupedData | GroupStatistics, statistics: GroupStatistics, priors: Priors, model: str
) -> tuple[Finding, ...]:
    """Find what bears on the answer of a fit: in the data, in the place of zero, in the priors.

    Parameters
    ----------
    data, statistics
        Rows or statistics, and their statistics.
    priors
        The priors of the fit.
    model
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.

    Returns
    -------
    tuple of Finding
        Those that make a number meaningless before those that ask for caution.
    """
    # Those by default are scaled by the data.
    by_default = priors.to_json() == Priors.weakly_informative(statistics).to_json()
    found = list(data.audit().bearing_on(model))
    if Model.named(model).population:
        zero = zero_dependence(data, statistics, priors, priors_by_default=by_default)
        found += [] if zero is None else [zero]
        found += few_groups(statistics)
    if not by_default:
        found += prior_conflicts(priors, statistics, model)
    return tuple(sorted(found, key=lambda finding: finding.caution))


def few_groups(statistics: GroupStatistics) -> tuple[Finding, ...]:
    """Find that the groups are too few to estimate a standard deviation between them.

    Fewer than five say little of it: Gelman and Hill (2007), section 12.9. A single group is a
    finding of the audit.

    Parameters
    ----------
    statistics
        The data.
    """
    present = int((statistics.count > 0).sum())
    if not 1 < present < FEW:
        return ()
    return (
        Finding(
            f"{present} groups say little of how groups differ: the priors of the standard "
            "deviations between groups decide much of the answer.",
            "priors that say what you know of these standard deviations, and a second fit with "
            "wider ones to see how far the answer depends on them",
            caution=True,
        ),
    )


def far_from_zero(data: GroupedData | GroupStatistics, statistics: GroupStatistics) -> Distances:
    r"""Predictors whose slopes vary that are hardly ever near 0, and how far from it they are.

    Their mean is further than :math:`\sqrt 3` standard deviations from 0, as that of any uniform
    distribution is that does not reach 0; or there are rows, and none has a value on the other
    side. A predictor that is 0 or 1 in every row has its zero among its values.

    Parameters
    ----------
    data, statistics
        Rows or statistics, and their statistics.

    Returns
    -------
    dict
        Distance of the mean by name, in standard deviations. Empty where the intercept does not
        vary about a mean.
    """
    rows, design = statistics.overall(), statistics.labels.design
    names = design.slopes
    if not design.has_mean_intercept:
        return {}
    # Slopes that vary come first.
    mean = rows.mean_x[0, : len(names)]
    variance = np.diagonal(rows.sxx[0])[: len(names)] / rows.total_weight[0]
    varies = variance > np.square(ROUNDING * mean)
    # x squared is x where x is 0 or 1.
    binary = np.isclose(variance + mean**2, mean, rtol=1e-9, atol=0.0)
    far = (mean**2 > 3.0 * variance) & ~binary
    if isinstance(data, GroupedData):
        x = np.asarray(data.x)[:, : len(names)]
        far |= (x.min(0) > 0) | (x.max(0) < 0)
    distance = np.abs(mean) / np.sqrt(np.where(varies, variance, 1.0))
    chosen = np.flatnonzero(far & varies)
    return {names[k]: float(distance[k]) for k in chosen}


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
        None where every slope that varies is of a predictor with values near 0, where the intercept
        does not vary about a mean, or nothing depends on it: no standard
        deviation and no mean slope moves by more than half a posterior standard deviation, the
        larger one of the two models. A caution where that could not be computed, unless a predictor
        lies as far from 0 as the audit finds too far.
    """
    distances = far_from_zero(data, statistics)
    if not distances:
        return None
    design = statistics.labels.design
    names = sorted(distances, key=lambda name: -distances[name])

    def centred(some: list[str]) -> ScalePosterior | None:
        return _centred(statistics, priors, some, priors_by_default=priors_by_default)

    as_written, about_mean = _posterior(statistics, priors), centred(names)
    moves = None
    if as_written is not None and about_mean is not None:
        moves = _moves(as_written, about_mean, design)
        if not moves:
            return None
        # The farthest alone may be all that it takes.
        alone = centred(names[:1]) if len(names) > 1 else None
        if alone is not None and not _moves(alone, about_mean, design):
            names = names[:1]
    names = [name for name in design.slopes if name in names]
    one = len(names) == 1
    correlated = any(INTERCEPT in block and names[0] in block for block in design.correlated)
    model = (
        "so far from the data intercepts and slopes correlate almost perfectly, which the prior of "
        "their correlation takes to be unlikely"
        if correlated
        else "the model takes intercepts as independent of slopes"
    )
    lies = (
        f"{first_few(names)} {'is' if one else 'are'} hardly ever near 0, but an intercept is the "
        f"height of a line at 0, and {model}"
    )
    center = names[0] if one else names
    advice = f"GroupedData.from_frame(..., center={center!r})"
    command = " ".join(f"--center {shlex.quote(name)}" for name in names)
    if data.formula:
        advice = command = " and ".join(f"center({name}) for {name}" for name in names)
        advice = command = f"{advice} in the formula"
    if moves is None:
        what = f"{lies}. How much the answer depends on that could not be computed."
        return Finding(what, advice, command, caution=max(distances.values()) < FAR_FROM_ZERO)
    most, *others = sorted(moves, key=lambda site: -moves[site][2])
    before, after, _ = moves[most]
    also = f" ({', '.join(others[:3])} {'changes' if len(others) == 1 else 'change'} too)"
    what = (
        f"{lies}. This changes the answer: {most} is about {before:.3g} here, and about "
        f"{after:.3g} with {first_few(names)} centred at {'its mean' if one else 'their means'}"
        f"{also if others else ''}."
    )
    return Finding(what, advice, command)


def _centred(
    statistics: GroupStatistics, priors: Priors, names: list[str], *, priors_by_default: bool
) -> ScalePosterior | None:
    """The posterior with some predictors counted from their means."""
    predictors = statistics.labels.predictors
    weight = statistics.total_weight
    mean = weight @ statistics.mean_x / weight.sum()
    moved = np.where(np.isin(predictors, names), mean, 0.0)
    zero = zeros(statistics.centers, predictors) + moved
    data = statistics.counted_from(tuple(zip(predictors, zero.tolist(), strict=True)))
    if priors_by_default:
        return _posterior(data, Priors.weakly_informative(data))
    return _posterior(data, replace(priors, mu_alpha=_moved(priors, moved, data.labels.design)))


def _moved(priors: Priors, mean: np.ndarray, design: Design) -> LocationPrior:
    """Prior of the height at the centre, from those of the height at 0 and of the mean slopes.

    Columns with one slope for all groups stay where they are. Slopes that vary about 0 have
    no mean.
    """
    loc, scale = population_priors(priors, design, Model.named("hierarchical"))
    at = [design.predictors.index(name) for name in design.means]
    # The intercept, mean slopes, and then what does not move.
    weight = np.append(1.0, mean[at])
    used = slice(len(weight))
    # Of the columns that move: a flat prior of a slope that does not is no matter.
    counts = weight != 0
    sd = float(np.sqrt(np.square(weight[counts] * scale[used][counts]).sum()))
    if not np.isfinite(sd):
        return Flat()
    return Normal(float(weight[counts] @ loc[used][counts]), sd)


def _posterior(statistics: GroupStatistics, priors: Priors) -> ScalePosterior | None:
    """The posterior of the scales, unless it would take too long or could not be found."""
    equations = by_design(NormalEquations.from_statistics(statistics))
    if equations.size > MAX_SIZE:
        return None
    most = max(MIN_GROUPS, GROUPS_TIMES_SQUARES // equations.size**2)
    if equations.num_groups > most:
        equations = NormalEquations.from_statistics(_some_groups(statistics, most))
    try:
        found = integrate_scales(equations, priors)
    except (FloatingPointError, np.linalg.LinAlgError):
        return None
    return found if found.reliable else None


def _some_groups(statistics: GroupStatistics, most: int) -> GroupStatistics:
    """Statistics of some of the groups that have rows, evenly spaced."""
    present = np.flatnonzero(statistics.count)
    chosen = present[np.linspace(0, len(present) - 1, min(len(present), most)).round().astype(int)]
    labels = statistics.labels
    values: dict[str, Any] = {n: array[chosen] for n, array in statistics.arrays.items()}
    return replace(
        statistics,
        labels=replace(labels, groups=tuple(labels.groups[c] for c in chosen)),
        **values,
    )


def _moves(
    as_written: ScalePosterior, centred: ScalePosterior, design: Design
) -> dict[str, tuple[float, float, float]]:
    """What moves: its means in both models, and the distance in posterior standard deviations."""
    moves: dict[str, tuple[float, float, float]] = {}
    before, after = as_written.moments(), centred.moments()
    columns: dict[str, tuple[str, ...]] = {"sigma_beta": design.slopes, "mu_beta": design.means}
    if not design.known_errors:
        columns["eps"] = ()
    for site in columns:
        if site not in before:
            continue
        (means, sds), (others, other_sds) = before[site], after[site]
        sds = np.maximum(sds, other_sds)
        names = [f"{site}[{x}]" for x in columns[site]] if np.ndim(means) else [site]
        numbers = (np.ravel(values).tolist() for values in (means, others, sds))
        for name, mean, other, sd in zip(names, *numbers, strict=True):
            distance = abs(other - mean) / sd
            if distance > MOVED:
                moves[name] = (mean, other, distance)
    return moves
