"""The findings of an audit, and what each finding means for a fit of each model."""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radon_numpyro.data.checks import first_few, plural
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.data.digits import number
from radon_numpyro.data.findings import Finding
from radon_numpyro.data.identification import ROUNDING, Identification
from radon_numpyro.data.labels import Labels

FAR_FROM_ZERO = 5.0
MANY = 5

Array = NDArray[np.float64]

# The effect of a finding on a fit, by model: CAUTION if the numbers of the fit remain valid, SPOILS
# if some of them are meaningless. A finding does not matter for models that are not named.
CAUTION, SPOILS = True, False
Bearing = Mapping[str, bool]
MODELS = ("hierarchical", "individual", "pooled")
CAUTION_FOR_ALL: Bearing = dict.fromkeys(MODELS, CAUTION)
SPOILS_FOR_ALL: Bearing = dict.fromkeys(MODELS, SPOILS)
# Only the spread of the groups is affected.
SPOILS_SPREAD: Bearing = {"hierarchical": SPOILS}
# The fit itself refuses exactly fitted outcomes, and checks positions of zeros in more detail.
NO_BEARING: Bearing = {}
Seen = tuple[Finding, Bearing]


def with_bearing(findings: Iterable[Finding | None], bearing: Bearing) -> Iterator[Seen]:
    """Pair findings with their effect on a fit."""
    return ((finding, bearing) for finding in findings if finding is not None)


def share_of_groups(count: int, total: int) -> str:
    """Write how many of the groups: ``all 8 groups``, ``3 of 8 groups``."""
    if total == 1:
        return "the only group"
    return f"all {total} groups" if count == total else f"{count} of {total} groups"


def few_groups(rows: NDArray[np.int64], labels: Labels) -> Iterator[Seen]:
    """Find a single group, or groups of one row each without known standard errors."""
    present = np.flatnonzero(rows)
    if len(present) == 1:
        yield (
            Finding.advising(
                f"All rows are of one group, {labels.groups[present[0]]!r}: how groups differ is "
                "left to the priors.",
                "{model}",
                model="pooled",
            ),
            SPOILS_SPREAD,
        )
    elif rows.max() == 1 and not labels.design.known_errors:
        yield (
            Finding.advising(
                f"Every group of {labels.group!r} has a single row: the spread of the groups and "
                "the scatter within them cannot be told apart.",
                "{model}, or coarser groups",
                model="pooled",
            ),
            {"hierarchical": SPOILS, "individual": SPOILS},
        )


def lost_groups(group: str, lost: tuple[Hashable, ...]) -> Finding | None:
    """Name groups whose rows all have missing values."""
    if not lost:
        return None
    return Finding(
        f"All rows of {plural(len(lost), 'group')} of {group!r} ({first_few(lost)}) have missing "
        f"values: {'it is' if len(lost) == 1 else 'they are'} not in the data.",
        "fill in or mend the missing values of these groups",
        caution=True,
    )


def slopes_from_the_prior(table: pd.DataFrame) -> Iterator[Finding]:
    """Find slopes whose posterior in the individual model is the prior in some groups."""
    present = table[table["rows"] > 0]
    for column in present.filter(like="slope["):
        unknown = present.index[present[column] != "identified"]
        # If this holds for all groups, there is another finding.
        if 0 < len(unknown) < len(present):
            name = str(column).removeprefix("slope[").removesuffix("]")
            which = share_of_groups(len(unknown), len(present))
            yield Finding.advising(
                f"The slope of {name!r} is its prior in {which}, whose own rows do not determine "
                f"it: {first_few(unknown)}.",
                "{model}, which lends them the others' slopes",
                model="hierarchical",
                caution=True,
            )


def population_predictors(labels: Labels) -> tuple[str, ...]:
    """Return the predictors with a population coefficient: mean slopes, then fixed columns."""
    design = labels.design
    return (*design.means, *labels.predictors[len(design.slopes) :])


def unidentified_slopes(
    rows: NDArray[np.int64],
    present: Identification,
    over_all: Identification,
    labels: Labels,
    formula: str,
) -> Iterator[Seen]:
    """Find slopes that the data as a whole, or all single groups, do not identify.

    Parameters
    ----------
    rows
        Number of rows in each group with rows.
    present
        What each of these groups identifies of the varying slopes.
    over_all
        What all rows identify of :func:`population_predictors`.
    labels
        Names of the data.
    formula
        The formula that made the columns; empty if there is none.
    """

    def without(name: str) -> str:
        option = f"--{'x' if name in labels.design.slopes else 'fixed'} {shlex.quote(name)}"
        return f"leave {name} out of the formula" if formula else f"leave out {option}"

    names = population_predictors(labels)
    varies = dict(zip(names, over_all.varies[0], strict=True))
    known = dict(zip(names, over_all.slopes[0], strict=True))
    collinear = [name for name in names if varies[name] and not known[name]]
    if collinear:
        yield (
            Finding(
                f"{first_few(collinear)} are collinear over all rows: some combination of their "
                "slopes is left to the priors.",
                "x without one of them, whichever matters least",
                "fit without one of them: " + " or ".join(map(without, collinear[:MANY])),
            ),
            SPOILS_FOR_ALL,
        )
    for name in names:
        if not varies[name]:
            yield (
                Finding(
                    f"{name!r} is the same in every row: the data say nothing of its slope.",
                    f"leave {name!r} out of "
                    + ("x" if name in labels.design.slopes else "fixed, or of the formula"),
                    without(name),
                ),
                SPOILS_FOR_ALL,
            )
    # There are other findings for a single group, and for groups of one row.
    if len(rows) > 1 and rows.max() > 1:
        yield from _slopes_of_no_group(present, varies, known, labels)


def _slopes_of_no_group(
    present: Identification, varies: Mapping[str, bool], known: Mapping[str, bool], labels: Labels
) -> Iterator[Seen]:
    """Find varying slopes that no group determines."""
    design = labels.design
    bearing = {"hierarchical": CAUTION, "individual": SPOILS}
    together: list[str] = []
    for k, name in enumerate(design.slopes):
        mean = f"mu_beta of {name!r}, not its" if name in design.means else "no"
        one = f"one slope for all groups, GroupedData.from_frame(..., fixed={name!r})"
        if not varies.get(name, True):
            continue
        if not present.varies[:, k].any():
            constant = "constant" if design.intercept_varies else "0"
            yield (
                Finding(
                    f"Within every group of {labels.group!r} {name!r} is {constant}: no group "
                    "shows a slope of its own, only the groups together do.",
                    f"{one}; or use {mean} sigma_beta or slopes of groups",
                    f"use {mean} sigma_beta or slopes of groups",
                ),
                bearing,
            )
        elif known.get(name, True) and not present.slopes[:, k].any():
            together.append(name)
    if together:
        alone = len(together) == 1
        read = "mu_beta rather than the slopes of groups"
        if not set(together) & set(design.means):
            read = "predictions rather than the slopes of groups, of which only sums are known well"
        yield (
            Finding(
                f"{first_few(together)} {'varies' if alone else 'vary'} in no group of "
                f"{labels.group!r} independently of the other predictors: no group alone "
                f"identifies {'its slope' if alone else 'their slopes'}.",
                f"fewer predictors, or read {read}",
            ),
            bearing,
        )


def columns_of_few_groups(of_groups: list[str], num_groups: int, labels: Labels) -> Finding | None:
    """Find group-level columns that are as many as the groups, so that they fit any group means.

    Parameters
    ----------
    of_groups
        Columns with one slope for all groups that are constant within each group.
    num_groups
        Groups with rows.
    labels
        Names of the data.
    """
    design = labels.design
    coefficients = len(of_groups) + (INTERCEPT in design.population)
    if not of_groups or not design.intercept_varies or not 1 < num_groups <= coefficients:
        return None
    return Finding(
        f"{first_few(of_groups)} {'is' if len(of_groups) == 1 else 'are'} constant within each of "
        f"{num_groups} groups, and {plural(coefficients, 'coefficient')} fit the levels of "
        f"{num_groups} groups whatever these are: how groups differ is left to the priors.",
        "fewer columns that are constant within the groups",
    )


def far_from_zero(name: str, column: Array) -> Finding | None:
    """Find a predictor whose mean is many standard deviations from 0."""
    mean, sd = float(column.mean()), float(column.std())
    within_reach = column.min() <= 0 <= column.max() or abs(mean) < FAR_FROM_ZERO * sd
    if within_reach or sd <= ROUNDING * abs(mean):
        return None
    typical = round(mean, -int(np.floor(np.log10(sd))))
    return Finding(
        f"The mean of {name!r} is {abs(mean) / sd:.0f} standard deviations from 0. An intercept is "
        "the height of a line at 0, so intercepts depend on slopes here, and the model takes them "
        "as independent.",
        f"count it from its mean, in a formula center({name}), else "
        f"GroupedData.from_frame(..., center={name!r}), or from a typical value, "
        f"center={{{name!r}: {typical:.15g}}}",
        f"count it from its mean, --center {shlex.quote(name)}",
    )


def exact_fit(
    level: float, by_group: Identification, over_all: Identification, labels: Labels
) -> Finding | None:
    """Find outcomes that a line fits without a residual."""
    if labels.design.known_errors:
        # No eps is estimated from residuals.
        return None
    exact = by_group.exact
    if over_all.exact[0] and not over_all.outcome_varies[0]:
        return Finding(
            f"{labels.outcome!r} is {number(level, 0)} in every row: there is nothing to explain.",
            "another outcome",
        )
    if over_all.exact[0]:
        return Finding(
            f"One line fits {labels.outcome!r} in every row without a residual: eps has no proper "
            "posterior.",
            "leave out predictors that the outcome was computed from",
        )
    if not exact.any():
        return None
    if (exact == (by_group.freedom > 0)).all():
        return Finding(
            f"The rows of each group of {labels.group!r} lie on its own line without a residual: "
            "eps has no proper posterior.",
            f"make sure that {labels.outcome!r} is a measurement of the row, not of the group",
        )
    if not labels.design.varies_throughout:
        # Single groups matter only to the individual model, which does not support this design.
        return None
    chosen = [labels.groups[c] for c in np.flatnonzero(exact)]
    return Finding(
        f"The rows of {plural(len(chosen), 'group')} ({first_few(chosen)}) leave no residual about "
        "the group's own line: the eps of the individual model has no proper posterior there.",
        "leave out of the individual model what it cannot fit; the hierarchical model can keep it",
    )
