"""Sections of a report: groups and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from radon_numpyro.data.checks import plural
from radon_numpyro.report import figures
from radon_numpyro.report.html import Html, element, section, table
from radon_numpyro.report.terms import Term, coefficient, terms
from radon_numpyro.report.words import ends, middle, name, percent, short, stated
from radon_numpyro.results.estimates import Estimate, Numbers
from radon_numpyro.results.prediction import predict_at

SHOWN_PREDICTORS = 6
PRIOR_MARK = "\N{DAGGER}"


def groups(numbers: Numbers) -> Html | None:
    """A row a group, and the figures of groups."""
    design = numbers.labels.design
    if not numbers.model.by_group or not design.varying:
        return None
    found, count = numbers.coefficients, np.asarray(numbers.statistics.count)
    total, predictors = len(count), design.slopes[:SHOWN_PREDICTORS]
    rows = []
    for code in numbers.chosen:
        cells: list[Any] = [name(numbers.group(code)), f"{count[code]:,.0f}"]
        for k in range(design.intercept_varies + len(predictors)):
            one = Estimate(*(part[code, k] for part in found))
            prior = numbers.model.eps_by_group and not numbers.identified[code, k]
            marked = PRIOR_MARK if prior else ""
            interval = element("span", ends(one), class_="range")
            cells.append([middle(one), marked, " (", interval, ")"])
        rows.append(cells)
    left_out = total - len(rows)
    if left_out:
        which = (
            f"{plural(len(rows), 'group')} of {total:,}: those that differ most clearly from the "
            f"middle. The other {left_out:,} are left out."
        )
    else:
        which = f"All {plural(total, 'group')}."
    first = "intercept" if design.intercept_varies else "slope"
    caption = [
        f"{which} Posterior mean and {percent(numbers.prob)} interval, the highest {first} first."
    ]
    if more := len(design.slopes) - len(predictors):
        caption.append(f" Slopes of {plural(more, 'more predictor')} are left out.")
    if numbers.model.eps_by_group and not numbers.identified.all():
        caption.append(f" {PRIOR_MARK}: the prior's number; the group's own rows do not tell.")
    if not numbers.has_draws:
        caption.append(" The fit kept means and sds of these; the intervals are those of Normals.")
    intercept = ["intercept"] if design.intercept_varies else []
    slopes = [coefficient(terms(numbers), x) for x in predictors]
    headings = ["group", "rows", *intercept, *slopes]
    content: list[Any] = []
    if numbers.model.population and figures.has_shrinkage(numbers):
        content.append(_shrinkage(numbers))
    content.append(table(caption, headings, rows, label="Groups"))
    if numbers.has_draws:
        content += figures.forests(numbers)
    return section("groups", "The groups", content)


def _typical_weight(numbers: Numbers, frame: pd.DataFrame) -> list[Any]:
    """Give rows the mean weight, or the standard error of that weight, and say so."""
    design, statistics = numbers.labels.design, numbers.statistics
    if not design.weighted:
        return []
    weight = float(np.sum(statistics.total_weight)) / statistics.num_rows
    column, value = (design.se, weight**-0.5) if design.se else (design.weights, weight)
    if column not in frame:
        frame[column] = value
        return [" with ", name(column), f" = {short(value)}"]
    return []


def predictions(numbers: Numbers) -> Html | None:
    """New rows of a group not seen, and of a few known ones."""
    known, at = terms(numbers), numbers.typical_rows()
    new = "a new group" if numbers.model.by_group else "any group"
    codes = numbers.examples() if numbers.model.by_group else []
    given = [(new, None)] if not numbers.model.eps_by_group else []
    shown = [*given, *((numbers.group(code), numbers.group(code)) for code in codes)]
    if not shown:
        return None
    group = numbers.labels.group
    frame = pd.concat([at] * len(shown), ignore_index=True)
    frame[group] = pd.Series([label for _, label in shown for _ in at.index], dtype=object)
    _follow(numbers, known, frame, [c for _, c in shown for _ in at.index])
    admit = {} if numbers.model.eps_by_group else {"new_groups": "population"}
    of_row = _typical_weight(numbers, frame)
    line, row = (
        predict_at(numbers.tree, frame, kind=kind, ci_prob=numbers.prob, ci_kind="eti", **admit)
        for kind in ("mean", "outcome")
    )
    # The first takes two values in these rows.
    plain = [x for k, (x, term) in enumerate(known.items()) if term.is_measured or not k]
    predictors = plain[:SHOWN_PREDICTORS]
    rows, sds = [], numbers.columns["sd"]
    for i in range(len(frame)):
        title, label = shown[i // len(at)]
        cells: list[Any] = [title if label is None else name(title)]
        cells += [stated(frame[x].iloc[i], sds[x]) for x in predictors]
        for part in (line, row):
            one = Estimate(*(part[c].iloc[i] for c in ("mean", "sd", "lower", "upper")))
            cells.append([middle(one), " (", element("span", ends(one), class_="range"), ")"])
        rows.append(cells)
    prob = percent(numbers.prob)
    caption = [
        "Predictions of ",
        name(numbers.labels.outcome),
        f" with {prob} intervals: of the line, which is the mean of many rows, and of one new row",
        *of_row,
        ".",
    ]
    if any(term.contrast or term.curve for term in known.values()):
        caption.append(" Contrasts and curves are at the means of their columns.")
    headings = ["group", *map(name, predictors), "line", "new row"]
    content: list[Any] = [table(caption, headings, rows, label="Predictions")]
    drawable = numbers.has_rows and numbers.has_draws and figures.axis_of_lines(numbers) is not None
    if (
        codes
        and drawable
        and numbers.model.by_group
        and numbers.statistics.num_rows <= figures.MOST_ROWS
    ):
        content.append(figures.lines(numbers))
    return section("predictions", "Predictions", content)


def _follow(
    numbers: Numbers, known: Mapping[str, Term], frame: pd.DataFrame, labels: Sequence[Any]
) -> None:
    """Give interactions the product of their columns, and known groups their own predictors."""
    means = np.asarray(numbers.statistics.mean_x) + numbers.zeros
    code = {label: c for c, label in enumerate(numbers.labels.groups)}
    first = next(iter(known), None)
    for k, (x, term) in enumerate(known.items()):
        if term.of_groups and x != first:
            frame[x] = [
                v if g is None else means[code[g], k] for v, g in zip(frame[x], labels, strict=True)
            ]
    _choose_levels(numbers, known, frame)
    for x, term in known.items():
        if term.is_interaction:
            frame[x] = frame[list(term.factors)].prod(axis=1)


def _choose_levels(numbers: Numbers, known: Mapping[str, Term], frame: pd.DataFrame) -> None:
    """Give each row one level of a category of which each level has a column, a frequent one."""
    first, share = next(iter(known), None), numbers.columns["mean"]
    whole = [t for t in known.values() if t.every_level or t.every_level_by_group]
    for category in dict.fromkeys(term.category for term in whole):
        columns = [term.column for term in whole if term.category == category]
        others = [column for column in columns if column != first]
        usual = frame[first] == 0 if first in columns else pd.Series(True, frame.index)
        frame[others] = 0.0
        frame.loc[usual, share[others].idxmax()] = 1.0


def _shrinkage(numbers: Numbers) -> Html:
    try:
        return figures.shrinkage(numbers)
    except ValueError as error:
        return element("p", f"There is no figure of partial pooling: {error}.", class_="soft")
