"""What to know of the data before a fit: what each group says on its own, and what looks wrong.

`GroupedData.audit` is the way in. Hardly anything here stops a fit: partial pooling lends a group
what its own rows do not say. But an analyst should know which answers are lent.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radon_numpyro.data.audit_findings import (
    CAUTION_FOR_ALL,
    MANY,
    NO_BEARING,
    Array,
    Bearing,
    Seen,
    exact_fit,
    far_from_zero,
    few_groups,
    lost_groups,
    share_of_groups,
    slopes_from_the_prior,
    unidentified_slopes,
    with_bearing,
)
from radon_numpyro.data.checks import plural
from radon_numpyro.data.findings import Finding
from radon_numpyro.data.identification import (
    Identification,
    identify,
    identify_moments,
    varies_by_moments,
)
from radon_numpyro.data.labels import Labels
from radon_numpyro.data.miscoding import look_alike_labels, missing_code
from radon_numpyro.data.moments import overall_moments


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
            found += slopes_from_the_prior(self.table)
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
        *with_bearing(
            (missing_code(name, column) for name, column in columns.items()), CAUTION_FOR_ALL
        ),
        *with_bearing(
            (far_from_zero(name, columns[name]) for name in labels.predictors), NO_BEARING
        ),
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
        *few_groups(rows, labels),
        *with_bearing([lost_groups(labels.group, lost)], CAUTION_FOR_ALL),
        *with_bearing([look_alike_labels(labels.group, labels.groups)], CAUTION_FOR_ALL),
        *of_rows,
        *unidentified_slopes(rows[rows > 0], present, over_all, labels),
        *with_bearing([exact_fit(level, by_group, over_all, labels)], NO_BEARING),
    ]
    return Audit(
        table=_table(rows, by_group, labels),
        findings=tuple(finding for finding, _ in seen),
        summary=_summary(rows, present, labels),
        _bearings=tuple(bearing for _, bearing in seen),
    )


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
        listed = [f"{first!r} does not vary in {share_of_groups(n, total)}"]
        listed += [f"{name!r} in {n}" for name, n in others[: MANY - 1]]
        more = ", ..." if len(constant) > MANY else ""
        sentences.append(
            f"{', '.join(listed)}{more}: alone, such a group says nothing of that slope"
        )
    if collinear := int((present.varies & ~present.slopes).any(-1).sum()):
        sentences.append(
            f"In {share_of_groups(collinear, total)} predictors vary only together: "
            "alone, such a group cannot tell their slopes apart"
        )
    if prior := int((present.freedom <= 0).sum()):
        sentences.append(
            f"In {share_of_groups(prior, total)} rows are so few that the residual "
            "sd of the individual model is its prior"
        )
    return ". ".join(sentences) + "."
