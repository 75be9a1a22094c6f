"""What to know of the data before a fit: what each group says on its own, and what looks wrong.

`GroupedData.audit` is the way in. Hardly anything here stops a fit: partial pooling lends a group
what its own rows do not say. But an analyst should know which answers are lent.
"""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radon_numpyro.checks import first_few, plural
from radon_numpyro.digits import number
from radon_numpyro.finding import Finding
from radon_numpyro.identification import (
    ROUNDING,
    Identification,
    identify,
    identify_moments,
    varies_by_moments,
)
from radon_numpyro.labels import Labels
from radon_numpyro.miscoding import look_alike_labels, missing_code
from radon_numpyro.moments import overall_moments

FAR_FROM_ZERO = 5.0
MANY = 5

Array = NDArray[np.float64]

# What a finding means for a fit, by model: CAUTION where its numbers stand, SPOILS where it makes
# some of them meaningless. A model that is not named is not concerned.
CAUTION, SPOILS = True, False
Bearing = Mapping[str, bool]
_MODELS = ("hierarchical", "individual", "pooled")
_CAUTION: Bearing = dict.fromkeys(_MODELS, CAUTION)
_SPOILS: Bearing = dict.fromkeys(_MODELS, SPOILS)
# Whatever is fitted exactly is refused by the fit itself; where zero lies, a fit looks at closer.
_NO_FIT: Bearing = {}
Seen = tuple[Finding, Bearing]


@dataclass(frozen=True, eq=False)
class Audit:
    """What the rows say before any model does.

    Attributes
    ----------
    table
        A row a group, by its label:

        - ``rows``: number of rows, 0 for a group that has none;
        - ``singleton``: whether it has one row;
        - ``slope[NAME]``, for each predictor: ``"identified"`` if the rows of the group alone
          determine its slope, ``"constant"`` if the predictor does not vary there (nor can it in
          one row), ``"collinear"`` if it varies only together with others. The individual model
          answers from the prior where it is not identified;
        - ``residual_freedom``: rows less identified coefficients, the intercept being one. At 0
          the residual standard deviation of the individual model is its prior;
        - ``fitted_exactly``: whether there is freedom and yet no residual about the group's own
          line, as when all its outcomes are equal. The residual standard deviation of the
          individual model has no proper posterior there.
    findings
        What is wrong in the data as a whole; empty when nothing is.
    summary
        Rows, groups, and how many groups cannot speak for themselves, as a paragraph.
    """

    table: pd.DataFrame
    findings: tuple[Finding, ...]
    summary: str
    _bearings: tuple[Bearing, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong in the data as a whole, weak groups and cautions aside."""
        return all(finding.caution for finding in self.findings)

    def bearing_on(self, model: str) -> tuple[Finding, ...]:
        """Findings that bear on the answer of a model, those that spoil it before cautions.

        Parameters
        ----------
        model
            ``"hierarchical"``, ``"individual"`` or ``"pooled"``.
        """
        found = [
            replace(finding, caution=bearing[model])
            for finding, bearing in zip(self.findings, self._bearings, strict=True)
            if model in bearing
        ]
        if model == "individual":
            found += _from_the_prior(self.table)
        return tuple(sorted(found, key=lambda finding: finding.caution))

    def text(self, *, command: bool = False) -> str:
        """The summary and the findings.

        Parameters
        ----------
        command
            Advise options of the command line, not arguments of Python.
        """
        lines = [self.summary if self.findings else f"{self.summary} Nothing else to report."]
        for finding in self.findings:
            lines += finding.lines(command=command)
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def audit(
    y: Array,
    x: Array,
    group: NDArray[np.integer],
    labels: Labels,
    lost: tuple[Hashable, ...] = (),
) -> Audit:
    """Look at the data of `GroupedData` before a fit.

    Parameters
    ----------
    y
        Outcome, shape (N,).
    x
        Predictors, shape (N, K).
    group
        Group codes 0..C-1, shape (N,).
    labels
        Names of outcome, predictors and groups.
    lost
        Labels of groups of which no row is left.

    Returns
    -------
    Audit
    """
    rows = np.bincount(group, minlength=len(labels.groups))
    by_group = identify(y, x, group, len(rows))
    over_all = identify(y, x, np.zeros_like(group), 1)
    columns = {labels.outcome: y, **dict(zip(labels.predictors, x.T, strict=True))}
    of_rows = [
        *_seen((missing_code(name, column) for name, column in columns.items()), _CAUTION),
        *_seen((_far_from_zero(name, columns[name]) for name in labels.predictors), _NO_FIT),
    ]
    return _audit(rows, by_group, over_all, labels, lost, float(y[0]), of_rows)


def audit_moments(
    count: Array,
    means: Array,
    products: Array,
    labels: Labels,
    lost: tuple[Hashable, ...] = (),
) -> Audit:
    """Look at the statistics of rows: at all that :func:`audit` finds without seeing single rows.

    Parameters
    ----------
    count, means, products
        Moments of the predictors and, last, of the outcome in each group, shapes (C,), (C, M) and
        (C, M, M).
    labels, lost
        As in :func:`audit`.

    Returns
    -------
    Audit
    """
    moments = (count, means, products)
    together = overall_moments(*moments)
    over_all, by_group = (
        identify_moments(n, s, varies_by_moments(n, m, s)) for n, m, s in (together, moments)
    )
    level = float(together[1][0, -1])
    return _audit(count.astype(int), by_group, over_all, labels, lost, level, [])


def _audit(
    rows: NDArray[np.int64],
    by_group: Identification,
    over_all: Identification,
    labels: Labels,
    lost: tuple[Hashable, ...],
    level: float,
    of_rows: list[Seen],
) -> Audit:
    present = by_group.take(rows > 0)
    seen = [
        *_groups(rows, labels),
        *_seen([_lost(labels.group, lost)], _CAUTION),
        *_seen([look_alike_labels(labels.group, labels.groups)], _CAUTION),
        *of_rows,
        *_predictors(rows[rows > 0], present, over_all, labels),
        *_seen([_exact_fit(level, by_group, over_all, labels)], _NO_FIT),
    ]
    return Audit(
        table=_table(rows, by_group, labels),
        findings=tuple(finding for finding, _ in seen),
        summary=_summary(rows, present, labels),
        _bearings=tuple(bearing for _, bearing in seen),
    )


def _seen(findings: Iterable[Finding | None], bearing: Bearing) -> Iterator[Seen]:
    return ((finding, bearing) for finding in findings if finding is not None)


def _table(rows: NDArray[np.int64], by_group: Identification, labels: Labels) -> pd.DataFrame:
    kinds = pd.CategoricalDtype(["identified", "constant", "collinear"])
    code = np.where(by_group.slopes, 0, np.where(by_group.varies, 2, 1))
    slopes = {
        f"slope[{name}]": pd.Categorical.from_codes(code[:, k], dtype=kinds)
        for k, name in enumerate(labels.predictors)
    }
    return pd.DataFrame(
        {
            "rows": rows,
            "singleton": rows == 1,
            **slopes,
            "residual_freedom": by_group.freedom,
            "fitted_exactly": by_group.exact,
        },
        index=pd.Index(labels.groups, tupleize_cols=False, name=labels.group),
    )


def _summary(rows: NDArray[np.int64], present: Identification, labels: Labels) -> str:
    """The paragraph; its numbers are of groups that have rows."""
    sizes = rows[rows > 0]
    total = len(sizes)
    text = f"{plural(int(rows.sum()), 'row')} in {plural(total, 'group')} ({labels.group})"
    if sizes.min() < sizes.max():
        text += f", {sizes.min()} to {sizes.max()} rows each (median {np.median(sizes):g})"
        if singletons := int((sizes == 1).sum()):
            text += f", {singletons} of them with a single row"
    elif total > 1:
        text += f", {plural(int(sizes[0]), 'row')} each"
    if empty := len(rows) - total:
        text += f"; {plural(empty, 'other group')} without rows"
    sentences = [text]

    # What holds of every group is a finding.
    counts = (~present.varies).sum(0)
    constant = [
        (name, n) for name, n in zip(labels.predictors, counts, strict=True) if 0 < n < total
    ]
    if constant:
        (first, n), *others = constant
        listed = [f"{first!r} does not vary in {_of(n, total)}"]
        listed += [f"{name!r} in {n}" for name, n in others[: MANY - 1]]
        more = ", ..." if len(constant) > MANY else ""
        sentences.append(
            f"{', '.join(listed)}{more}: alone, such a group says nothing of that slope"
        )
    if collinear := int((present.varies & ~present.slopes).any(-1).sum()):
        sentences.append(
            f"In {_of(collinear, total)} predictors vary only together: alone, such a group cannot "
            "tell their slopes apart"
        )
    if prior := int((present.freedom <= 0).sum()):
        sentences.append(
            f"In {_of(prior, total)} rows are so few that the residual sd of the individual model "
            "is its prior"
        )
    return ". ".join(sentences) + "."


def _of(count: int, total: int) -> str:
    if total == 1:
        return "the only group"
    return f"all {total} groups" if count == total else f"{count} of {total} groups"


def _groups(rows: NDArray[np.int64], labels: Labels) -> Iterator[Seen]:
    present = np.flatnonzero(rows)
    if len(present) == 1:
        yield (
            Finding.advising(
                f"All rows are of one group, {labels.groups[present[0]]!r}: how groups differ is "
                "left to the priors.",
                "{model}",
                model="pooled",
            ),
            {"hierarchical": SPOILS},
        )
    elif rows.max() == 1:
        yield (
            Finding.advising(
                f"Every group of {labels.group!r} has a single row: the spread of the groups and "
                "the scatter within them cannot be told apart.",
                "{model}, or coarser groups",
                model="pooled",
            ),
            {"hierarchical": SPOILS, "individual": SPOILS},
        )


def _lost(group: str, lost: tuple[Hashable, ...]) -> Finding | None:
    if not lost:
        return None
    return Finding(
        f"All rows of {plural(len(lost), 'group')} of {group!r} ({first_few(lost)}) have missing "
        f"values: {'it is' if len(lost) == 1 else 'they are'} not in the data.",
        "fill in or mend the missing values of these groups",
        caution=True,
    )


def _from_the_prior(table: pd.DataFrame) -> Iterator[Finding]:
    """Slopes that the individual model answers from the prior in some groups."""
    present = table[table["rows"] > 0]
    for column in present.filter(like="slope["):
        unknown = present.index[present[column] != "identified"]
        # Of all groups it is a finding of its own.
        if 0 < len(unknown) < len(present):
            name = str(column).removeprefix("slope[").removesuffix("]")
            yield Finding.advising(
                f"The slope of {name!r} is its prior in {_of(len(unknown), len(present))}, whose "
                f"own rows do not determine it: {first_few(unknown)}.",
                "{model}, which lends them the others' slopes",
                model="hierarchical",
                caution=True,
            )


def _predictors(
    rows: NDArray[np.int64], present: Identification, over_all: Identification, labels: Labels
) -> Iterator[Seen]:
    """Slopes that are not identified by the data as a whole, or by no group."""
    varies, slopes = over_all.varies[0], over_all.slopes[0]
    collinear = [n for n, m in zip(labels.predictors, varies & ~slopes, strict=True) if m]
    if collinear:
        yield (
            Finding(
                f"{first_few(collinear)} are collinear over all rows: some combination of their "
                "slopes is left to the priors.",
                "x without one of them, whichever matters least",
                "fit without one of them: "
                + " or ".join(f"leave out --x {shlex.quote(name)}" for name in collinear[:MANY]),
            ),
            _SPOILS,
        )
    # One group, or groups of one row, have a finding of their own.
    several = len(rows) > 1 and rows.max() > 1
    within, alone = present.varies.any(0), present.slopes.any(0)
    of_groups = {"hierarchical": CAUTION, "individual": SPOILS}
    for k, name in enumerate(labels.predictors):
        if not varies[k]:
            yield (
                Finding(
                    f"{name!r} is the same in every row: the data say nothing of its slope.",
                    f"leave {name!r} out of x",
                    f"leave out --x {shlex.quote(name)}",
                ),
                _SPOILS,
            )
        elif several and not within[k]:
            yield (
                Finding(
                    f"Within every group of {labels.group!r} {name!r} is constant: no group shows "
                    "a slope of its own, only the groups together do.",
                    f"use mu_beta of {name!r}, not its sigma_beta or the slopes of groups",
                ),
                of_groups,
            )
        elif several and slopes[k] and not alone[k]:
            yield (
                Finding(
                    f"{name!r} varies in no group of {labels.group!r} independently of the other "
                    "predictors: no group alone identifies its slope.",
                    "fewer predictors, or read mu_beta rather than the slopes of groups",
                ),
                of_groups,
            )


def _far_from_zero(name: str, column: Array) -> Finding | None:
    mean, sd = float(column.mean()), float(column.std())
    within_reach = column.min() <= 0 <= column.max() or abs(mean) < FAR_FROM_ZERO * sd
    if within_reach or sd <= ROUNDING * abs(mean):
        return None
    typical = round(mean, -int(np.floor(np.log10(sd))))
    return Finding(
        f"The mean of {name!r} is {abs(mean) / sd:.0f} standard deviations from 0. An intercept is "
        "the height of a line at 0, so intercepts depend on slopes here, and the model takes them "
        "as independent.",
        f"count it from its mean, GroupedData.from_frame(..., center={name!r}), or from a typical "
        f"value, center={{{name!r}: {typical:.15g}}}",
        f"count it from its mean, --center {shlex.quote(name)}",
    )


def _exact_fit(
    level: float, by_group: Identification, over_all: Identification, labels: Labels
) -> Finding | None:
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
    chosen = [labels.groups[c] for c in np.flatnonzero(exact)]
    return Finding(
        f"The rows of {plural(len(chosen), 'group')} ({first_few(chosen)}) leave no residual about "
        "the group's own line: the eps of the individual model has no proper posterior there.",
        "leave out of the individual model what it cannot fit; the hierarchical model can keep it",
    )
