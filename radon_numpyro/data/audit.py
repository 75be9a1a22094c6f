"""Audit data before a fit: what each group determines on its own, and what looks wrong.

Call it by `GroupedData.audit`. Most findings do not prevent a fit, because partial pooling uses the
other groups for what a group's own rows do not determine. But an analyst should know which answers
depend on other groups.
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
    SPOILS_SPREAD,
    Array,
    Bearing,
    Seen,
    columns_of_few_groups,
    exact_fit,
    far_from_zero,
    few_groups,
    lost_groups,
    population_predictors,
    share_of_groups,
    slopes_from_the_prior,
    unidentified_slopes,
    with_bearing,
)
from radon_numpyro.data.checks import first_few, plural
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.data.findings import Finding
from radon_numpyro.data.formulas.formula import levels_of
from radon_numpyro.data.identification import (
    Identification,
    identify,
    identify_moments,
    varies_by_moments,
)
from radon_numpyro.data.labels import Labels, as_index
from radon_numpyro.data.miscoding import (
    look_alike_labels,
    missing_code,
    missing_label,
    thousands_as_decimals,
    total_label,
)
from radon_numpyro.data.moments import group_moments, overall_moments


@dataclass(frozen=True, eq=False)
class Audit:
    """The result of an audit of data, without a model.

    Attributes
    ----------
    table
        One row for each group, by its label:

        - ``rows``: number of rows, possibly 0;
        - ``singleton``: whether the group has a single row;
        - ``slope[NAME]``, for each predictor whose slope varies by group: ``"identified"`` if the
          rows of the group determine its slope; ``"constant"`` if the predictor does not vary
          there, as in a single row (or is 0 there, if intercepts do not vary); ``"collinear"`` if
          it varies only together with others. If a slope is not identified, its posterior in the
          individual model depends on the prior;
        - ``residual_freedom``: number of rows minus number of identified coefficients that vary by
          group, such as the intercept. If it is 0, the residual standard deviation of the
          individual model has its prior as posterior;
        - ``fitted_exactly``: whether there are residual degrees of freedom but no residual about
          the group's own line, as when all outcomes are equal. Then the posterior of the residual
          standard deviation of the individual model is improper.
    findings
        Problems of the data as a whole; empty if there are none.
    summary
        A paragraph on rows, groups, and groups that do not determine all coefficients.
    """

    table: pd.DataFrame
    findings: tuple[Finding, ...]
    summary: str
    _bearings: tuple[Bearing, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether there are no findings about the data as a whole, except cautions."""
        return all(finding.caution for finding in self.findings)

    def bearing_on(self, model: str) -> tuple[Finding, ...]:
        """Return the findings that matter for a model; cautions come last.

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
        """Return the summary and the findings as text.

        Parameters
        ----------
        command
            Whether to advise options of the command line instead of arguments of Python.
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
    formula: str = "",
) -> Audit:
    """Audit the rows of `GroupedData`.

    Parameters
    ----------
    y
        Outcome, shape (N,).
    x
        Predictors, shape (N, J), those whose slopes vary first.
    group
        Group codes 0..C-1, shape (N,).
    labels
        Names of outcome, predictors and groups.
    lost
        Labels of the groups that have no row left.
    formula
        The formula with its state, as JSON; empty if there is none.

    Returns
    -------
    Audit
    """
    rows = np.bincount(group, minlength=len(labels.groups))
    design, everyone = labels.design, np.zeros_like(group)
    by_group = _of_rows(y, x[:, _slopes(labels)], group, len(rows), design.intercept_varies)
    over_all = _of_rows(y, x[:, _population(labels)], everyone, 1, _has_constant(labels))
    varies = [
        bool(varies_by_moments(*group_moments(x[:, [j]], group, len(rows))).any())
        for j in range(len(design.slopes), x.shape[1])
    ]
    columns = {labels.outcome: y, **dict(zip(labels.predictors, x.T, strict=True))}
    of_rows = [
        *with_bearing(
            (
                find(name, column)
                for name, column in columns.items()
                for find in (missing_code, thousands_as_decimals)
            ),
            CAUTION_FOR_ALL,
        ),
        *with_bearing(
            (far_from_zero(name, columns[name]) for name in design.slopes)
            if design.has_mean_intercept
            else (),
            NO_BEARING,
        ),
    ]
    of_rows += _missing_labels(labels, formula)
    level = float(y[0])
    return _audit(rows, by_group, over_all, varies, labels, lost, level, of_rows, formula)


def audit_moments(
    count: Array,
    weight: Array,
    means: Array,
    products: Array,
    labels: Labels,
    lost: tuple[Hashable, ...] = (),
    formula: str = "",
) -> Audit:
    """Audit the statistics of rows, for all findings of :func:`audit` that need no single rows.

    Parameters
    ----------
    count, weight, means, products
        Number of rows of each group and their total weight, shape (C,); means and centred products
        of the predictors and, last, the outcome, shapes (C, M) and (C, M, M).
    labels, lost, formula
        As in :func:`audit`.

    Returns
    -------
    Audit
    """
    moments = (weight, means, products)
    together, design = overall_moments(*moments), labels.design
    by_group = _of_moments(count, *moments, _slopes(labels), design.intercept_varies)
    total = count.sum(keepdims=True)
    over_all = _of_moments(total, *together, _population(labels), _has_constant(labels))
    varies = varies_by_moments(*moments)[:, len(design.slopes) : -1].any(0).tolist()
    level = float(together[1][0, -1])
    seen = _missing_labels(labels, formula)
    rows = count.astype(int)
    return _audit(rows, by_group, over_all, varies, labels, lost, level, seen, formula)


def _missing_labels(labels: Labels, formula: str) -> list[Seen]:
    """Find labels and levels that look like missing values, totals or typing errors."""
    found = [missing_label(labels.group, labels.groups, "group")]
    found.append(total_label(labels.group, labels.groups))
    for name, given in levels_of(formula).items():
        found += [missing_label(name, given, "level"), look_alike_labels(name, given)]
    return list(with_bearing(found, CAUTION_FOR_ALL))


def _slopes(labels: Labels) -> list[int]:
    """Return the positions of the columns whose slopes vary by group."""
    return list(range(len(labels.design.slopes)))


def _population(labels: Labels) -> list[int]:
    """Return the positions of the columns with a population coefficient: mean slopes first."""
    return [labels.predictors.index(name) for name in population_predictors(labels)]


def _has_constant(labels: Labels) -> bool:
    """Return whether there is a population intercept."""
    return INTERCEPT in labels.design.population


def _of_rows(
    y: Array, x: Array, group: NDArray[np.integer], num_groups: int, constant: bool
) -> Identification:
    """Return what rows identify, in a model with or without a constant."""
    if constant:
        return identify(y, x, group, num_groups)
    count, means, products = group_moments(np.column_stack([x, y]), group, num_groups)
    return _of_moments(count, count, means, products, list(range(x.shape[1])), constant)


def _of_moments(
    count: Array,
    weight: Array,
    means: Array,
    products: Array,
    columns: list[int],
    constant: bool,
) -> Identification:
    """Return what rows identify from their moments, the outcome last."""
    chosen = [*columns, means.shape[1] - 1]
    means, products = means[:, chosen], products[:, chosen][:, :, chosen]
    if constant:
        return identify_moments(count, products, varies_by_moments(weight, means, products))
    # Without a constant, use products about zero, and no degree of freedom for a mean.
    products = products + weight[:, None, None] * means[:, :, None] * means[:, None, :]
    return identify_moments(count + (count > 0), products, np.einsum("cmm->cm", products) > 0)


def _audit(
    rows: NDArray[np.int64],
    by_group: Identification,
    over_all: Identification,
    fixed_vary: list[bool],
    labels: Labels,
    lost: tuple[Hashable, ...],
    level: float,
    of_rows: list[Seen],
    formula: str,
) -> Audit:
    """Make the findings and the table.

    ``fixed_vary`` says for each column without varying slopes whether it varies within any group.
    """
    present = by_group.take(rows > 0)
    design = labels.design
    others = labels.predictors[len(design.slopes) :]
    of_groups = [name for name, varies in zip(others, fixed_vary, strict=True) if not varies]
    seen = [
        *few_groups(rows, labels),
        *with_bearing([lost_groups(labels.group, lost)], CAUTION_FOR_ALL),
        *with_bearing([look_alike_labels(labels.group, labels.groups)], CAUTION_FOR_ALL),
        *of_rows,
        *unidentified_slopes(rows[rows > 0], present, over_all, labels, formula),
        *with_bearing(
            [columns_of_few_groups(of_groups, int((rows > 0).sum()), labels)], SPOILS_SPREAD
        ),
        *with_bearing([exact_fit(level, by_group, over_all, labels)], NO_BEARING),
    ]
    return Audit(
        table=_table(rows, by_group, labels),
        findings=tuple(finding for finding, _ in seen),
        summary=_summary(rows, present, of_groups, labels),
        _bearings=tuple(bearing for _, bearing in seen),
    )


def _table(rows: NDArray[np.int64], by_group: Identification, labels: Labels) -> pd.DataFrame:
    kinds = pd.CategoricalDtype(["identified", "constant", "collinear"])
    code = np.where(by_group.slopes, 0, np.where(by_group.varies, 2, 1))
    slopes = {
        f"slope[{name}]": pd.Categorical.from_codes(code[:, k], dtype=kinds)
        for k, name in enumerate(labels.design.slopes)
    }
    return pd.DataFrame(
        {
            "rows": rows,
            "singleton": rows == 1,
            **slopes,
            "residual_freedom": by_group.freedom,
            "fitted_exactly": by_group.exact,
        },
        index=as_index(labels.groups, labels.group),
    )


def _summary(
    rows: NDArray[np.int64], present: Identification, of_groups: list[str], labels: Labels
) -> str:
    """Write the summary, whose numbers refer to groups with rows."""
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
    sentences, design = [text], labels.design
    if of_groups and total > 1:
        one = len(of_groups) == 1
        sentences.append(
            f"{first_few(of_groups)} {'is' if one else 'are'} constant within each group: the "
            f"differences between groups tell {'its slope' if one else 'their slopes'}"
        )

    # If this holds for all groups, it is a finding instead.
    counts = (~present.varies).sum(0)
    constant = [(name, n) for name, n in zip(design.slopes, counts, strict=True) if 0 < n < total]
    if constant:
        (first, n), *others = constant
        lacks = "does not vary" if design.intercept_varies else "is 0"
        listed = [f"{first!r} {lacks} in {share_of_groups(n, total)}"]
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
    estimated = design.varies_throughout and not design.known_errors
    if estimated and (prior := int((present.freedom <= 0).sum())):
        sentences.append(
            f"In {share_of_groups(prior, total)} rows are so few that the residual "
            "sd of the individual model is its prior"
        )
    return ". ".join(sentences) + "."
