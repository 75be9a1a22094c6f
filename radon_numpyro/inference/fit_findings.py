r"""Findings about the data and the priors of a fit, before the fit.

One finding is whether the answer depends on the position of the zero of a predictor.

The intercepts of a hierarchical model are the heights of lines where every predictor is 0, and the
model assumes that they are independent of the slopes. If 0 lies outside the data, as in a column of
years, this is a strong assumption: the intercepts of lines that meet near the data depend on their
slopes, and the spread of the slopes is estimated far too small. The model with centred columns does
not have this problem, so the two models are compared by integrating over the scales
(``inference/integration/scale_posterior.py``).

If slopes and intercepts are modelled as correlated, the correlation compensates for a shift of the
zero, and the answer changes only through the priors. But far from zero the correlation is so close
to 1 or -1 that it cannot be sampled.

Only slopes that vary matter, and only if intercepts vary about a mean: a column with one slope for
all groups only shifts this mean. A zero at the edge of the data, as in years since the first one,
is a legitimate choice and is not tested.
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

# Smallest number of groups from which a standard deviation between them can be estimated.
FEW = 5
# Change that counts, in posterior standard deviations (the larger one of the two models).
MOVED = 0.5
# With very many groups, use only some of them, and their posterior standard deviations. The number
# decreases with the number of coefficients, so that a comparison takes about a second.
GROUPS_TIMES_SQUARES, MIN_GROUPS, MAX_SIZE = 4000, 100, 9

Distances = dict[str, float]


def premises(
    data: GroupedData | GroupStatistics, statistics: GroupStatistics, priors: Priors, model: str
) -> tuple[Finding, ...]:
    """Return the findings that matter for a fit: about data, positions of zeros, and priors.

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
        Findings that make a number meaningless come before findings that call for caution.
    """
    # The default priors are scaled by the data, so they cannot conflict with them.
    by_default = priors.to_json() == Priors.weakly_informative(statistics).to_json()
    found = list(data.audit().bearing_on(model))
    if Model.named(model).population:
        zero = zero_dependence(data, statistics, priors, priors_by_default=by_default)
        found += [] if zero is None else [zero]
        found += few_groups(statistics)
    # Weights can still hide from the defaults what single rows say.
    if not by_default or statistics.labels.design.weighted:
        found += prior_conflicts(priors, statistics, model)
    return tuple(sorted(found, key=lambda finding: finding.caution))


def few_groups(statistics: GroupStatistics) -> tuple[Finding, ...]:
    """Return a finding if there are too few groups to estimate standard deviations between them.

    Fewer than five groups have little information about it: Gelman and Hill (2007), section 12.9. A
    single group is a finding of the audit.

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
            f"{present} groups say little about how groups differ: the answer depends strongly on "
            "the priors of the standard deviations between groups.",
            "priors that express what you know about these standard deviations, and a second fit "
            "with wider ones to see how much the answer depends on them",
            caution=True,
        ),
    )


def far_from_zero(data: GroupedData | GroupStatistics, statistics: GroupStatistics) -> Distances:
    r"""Find predictors with varying slopes that are hardly ever near 0.

    Either their mean is more than :math:`\sqrt 3` standard deviations from 0, which holds for every
    uniform distribution that does not include 0; or, if the rows are known, all values have the
    same sign. A predictor that is 0 or 1 in every row never counts.

    Parameters
    ----------
    data, statistics
        Rows or statistics, and their statistics.

    Returns
    -------
    dict
        Distance of the mean from 0 by name, in standard deviations. Empty if the intercept does not
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
    # x^2 = x if x is 0 or 1.
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
    """Compare the hierarchical model as written with the model whose columns are centred.

    Parameters
    ----------
    data, statistics
        Rows or statistics, and their statistics.
    priors
        The priors of the fit.
    priors_by_default
        Whether the priors are the default priors; then the centred model has its default priors.

    Returns
    -------
    Finding or None
        None if every predictor with a varying slope has values near 0, if the intercept does not
        vary about a mean, or if no standard deviation and no mean slope changes by more than half a
        posterior standard deviation (the larger one of the two models). If the comparison could not
        be computed, the finding is a caution, unless a predictor is farther from 0 than the audit
        allows.
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
        # Centring only the farthest predictor may be sufficient.
        alone = centred(names[:1]) if len(names) > 1 else None
        if alone is not None and not _moves(alone, about_mean, design):
            names = names[:1]
    names = [name for name in design.slopes if name in names]
    one = len(names) == 1
    correlated = any(INTERCEPT in block and names[0] in block for block in design.correlated)
    model = (
        "so far from the data intercepts and slopes correlate almost perfectly, which is unlikely "
        "under the prior of their correlation"
        if correlated
        else "the model assumes that intercepts are independent of slopes"
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
        what = f"{lies}. How much the answer depends on this could not be computed."
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
    """Return the posterior of the scales with some predictors centred at their means."""
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
    """Return the prior of the height at the centre, from the priors of intercept and mean slopes.

    Columns with one slope for all groups are not centred. Slopes that vary about 0 have no mean.
    """
    loc, scale = population_priors(priors, design, Model.named("hierarchical"))
    at = [design.predictors.index(name) for name in design.means]
    # The first entries are the intercept and the mean slopes; the others do not change.
    weight = np.append(1.0, mean[at])
    used = slice(len(weight))
    # Use only the centred columns, so that a flat prior of another slope does not matter.
    counts = weight != 0
    sd = float(np.sqrt(np.square(weight[counts] * scale[used][counts]).sum()))
    if not np.isfinite(sd):
        return Flat()
    return Normal(float(weight[counts] @ loc[used][counts]), sd)


def _posterior(statistics: GroupStatistics, priors: Priors) -> ScalePosterior | None:
    """Return the posterior of the scales, or None if it takes too long or is not reliable."""
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
    """Return the statistics of at most ``most`` groups with rows, evenly spaced."""
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
    """Return what changes: its means in both models, and the change in posterior sds."""
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
