"""Make the sections of a report that are tables: parameters, ADVI, groups, predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from radon_numpyro.data.checks import plural
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.plots.styling import split_sites
from radon_numpyro.report import figures
from radon_numpyro.report.coefficients import coefficient
from radon_numpyro.report.conditions import at_zero, every_zero
from radon_numpyro.report.curves import Curve, curves
from radon_numpyro.report.example_rows import factors_of, follow, typical_rows, varied
from radon_numpyro.report.formulas import titled
from radon_numpyro.report.terms import terms
from radon_numpyro.report.words import (
    Block,
    Paragraph,
    Section,
    Table,
    ends,
    estimated,
    middle,
    name,
    number,
    percent,
    short,
    stated,
    symbol,
)
from radon_numpyro.results.diagnostics import Diagnosis
from radon_numpyro.results.estimates import Estimate, Numbers
from radon_numpyro.results.prediction import predict_at

SHOWN_PREDICTORS = 6
PRIOR_MARK = "\N{DAGGER}"


def results(numbers: Numbers, diagnosis: Diagnosis) -> Section:
    """Tabulate the parameters that groups share, and the convergence checks by kind."""
    content: list[Block] = []
    checks, chains = diagnosis.table, "r_hat" in diagnosis.table
    parameters = numbers.parameters()
    if parameters:
        rows = []
        for key, draws in parameters.items():
            found, check = Estimate.of(draws, numbers.prob), checks.loc[key]
            rows.append(
                [
                    titled(numbers, key),
                    middle(found),
                    number(found.sd, found.sd),
                    ends(found),
                    *([f"{check['r_hat']:.4f}"] if chains else []),
                    f"{check['ess_bulk']:,.0f}",
                    f"{check['ess_tail']:,.0f}",
                ]
            )
        headings = ["parameter", "mean", "sd", f"{percent(numbers.prob)} interval"]
        agree = "R-hat near 1 says that chains agree; an" if chains else "The"
        content.append(
            Table(
                f"Parameters of all groups together. {agree} effective sample size (ESS) says how "
                "many independent draws these are worth, for the middle (bulk) and the ends "
                "(tail).",
                [*headings, *(["R-hat"] if chains else []), "ESS bulk", "ESS tail"],
                rows,
                label="Parameters",
            )
        )
    if any(x != INTERCEPT for x in numbers.labels.design.fixed):
        content.append(figures.shared(numbers))
    if not chains:
        # Integration gives the same effective sample size for every parameter.
        return Section("results", "Results", "Results", content)
    kinds = checks.groupby(checks.index.str.partition("[").get_level_values(0), sort=False)
    worst: list[list[Any]] = [
        [
            symbol(str(kind)),
            len(part),
            f"{part['r_hat'].max(skipna=False):.4f}",
            f"{part[['ess_bulk', 'ess_tail']].min(axis=None, skipna=False):,.0f}",
        ]
        for kind, part in kinds
    ]
    content.append(
        Table(
            "The worst of every kind of parameter, over groups and predictors.",
            ["kind", "parameters", "largest R-hat", "smallest ESS"],
            worst,
            label="Checks of every kind of parameter",
        )
    )
    return Section("results", "Results", "Results", content)


def advi(numbers: Numbers) -> Section | None:
    """Compare the ADVI approximation with the draws; return None if ADVI was not run."""
    if "advi" not in numbers.tree.children:
        return None
    about = numbers.tree["advi"].attrs
    if not about["num_steps"]:
        return None
    of = ("posterior", "advi/means", "advi/sds")
    drawn, means, sds = (split_sites(numbers.tree, part, None) for part in of)
    rows, ratios = [], {}
    for key, draws in drawn.items():
        sd = draws.std(("chain", "draw")).values
        ratios[key] = float(np.median(sds[key].values / sd))
        if sd.ndim:
            continue
        mean = float(draws.mean())
        rows.append(
            [
                titled(numbers, key),
                *(number(value, sd) for value in (mean, means[key])),
                *(number(value, value) for value in (sd, sds[key])),
            ]
        )
    narrowest = min(ratios, key=lambda key: ratios[key])
    content: list[Block] = [
        Paragraph(
            "ADVI, a fast approximation that takes all parameters as independent, was run first, "
            f"to start the draws. On its own it is: {about['verdict']}."
        ),
        Paragraph(
            [
                "Such approximations tend to be too sure of themselves: at the worst parameter, ",
                titled(numbers, narrowest),
                f", its standard deviation is {ratios[narrowest]:.2f} times that of the draws"
                f"{'' if drawn[narrowest].ndim == 2 else ' (median over groups)'}. All numbers of "
                "this page outside this section are those of the draws.",
            ]
        ),
    ]
    if rows:
        headings = ["parameter", "mean, draws", "mean, ADVI", "sd, draws", "sd, ADVI"]
        content.append(Table("The draws and ADVI.", headings, rows, "The draws and ADVI"))
    content.append(figures.elbo(numbers))
    return Section("advi", "ADVI", "ADVI beside the draws", content)


def groups(numbers: Numbers) -> Section | None:
    """Tabulate the coefficients of groups, a row for each group, and draw them."""
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
            cells.append(estimated(one, marked))
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
    caption: list[Any] = [
        f"{which} Posterior mean and {percent(numbers.prob)} interval, the highest {first} first."
    ]
    caption += _of_intercepts(numbers) if design.intercept_varies else []
    if more := len(design.slopes) - len(predictors):
        caption.append(f" Slopes of {plural(more, 'more predictor')} are left out.")
    if numbers.model.eps_by_group and not numbers.identified.all():
        caption.append(f" {PRIOR_MARK}: the prior's number; the group's own rows do not tell.")
    if not numbers.has_draws:
        caption.append(" The fit kept means and sds of these; the intervals are those of Normals.")
    intercept = ["intercept"] if design.intercept_varies else []
    slopes = [coefficient(terms(numbers), x, by_group=True) for x in predictors]
    headings = ["group", "rows", *intercept, *slopes]
    content: list[Block] = []
    if numbers.model.population and figures.has_shrinkage(numbers):
        content.append(_shrinkage(numbers))
    content.append(Table(caption, headings, rows, "Groups"))
    if numbers.has_draws:
        content += figures.forests(numbers)
    return Section("groups", "Groups", "The groups", content)


def _of_intercepts(numbers: Numbers) -> list[Any]:
    """Say at which values of the predictors the intercepts of groups are their levels."""
    design, known = numbers.labels.design, terms(numbers)
    if design.has_mean_intercept and known:
        at = at_zero(numbers, every_zero(known, numbers.labels.predictors))
        order = ": the order is that of such rows. Of the groups as they are it may be another."
        return [" An intercept is the level of a group where ", *at, order]
    if design.has_mean_intercept:
        return []
    where: list[Any] = [" where ", *at_zero(numbers, every_zero(known, design.slopes))]
    where = where if design.slopes else []
    return [" An intercept is the difference of a group from the average group", *where, "."]


def _typical_weight(numbers: Numbers, frame: pd.DataFrame) -> list[Any]:
    """Fill a missing column of weights or standard errors, and return words about its value.

    The value is the mean weight of the data, or the standard error 1 / sqrt(mean weight).
    """
    design, statistics = numbers.labels.design, numbers.statistics
    if not design.weighted:
        return []
    weight = float(np.sum(statistics.total_weight)) / statistics.num_rows
    column, value = (design.se, weight**-0.5) if design.se else (design.weights, weight)
    if column not in frame:
        frame[column] = value
        return [" with ", name(column), f" = {short(value)}"]
    return []


def predictions(numbers: Numbers) -> Section | None:
    """Tabulate predictions for a new group and a few known groups, and draw curves."""
    known, factors = terms(numbers), factors_of(terms(numbers))
    new = "a new group" if numbers.model.by_group else "any group"
    codes = numbers.examples() if numbers.model.by_group else []
    given = [(new, None)] if not numbers.model.eps_by_group else []
    shown = [*given, *((numbers.group(code), numbers.group(code)) for code in codes)]
    if not shown:
        return None
    drawn, at = curves(numbers), typical_rows(numbers)
    labels = [label for _, label in shown for _ in at.index]
    frame = pd.concat([at] * len(shown), ignore_index=True)
    frame[numbers.labels.group] = pd.Series(labels, dtype=object)
    follow(numbers, frame, labels)
    admit = {} if numbers.model.eps_by_group else {"new_groups": "population"}
    of_row = _typical_weight(numbers, frame)
    given = frame.drop(columns=set(factors) - set(numbers.labels.predictors))
    line, row = (
        predict_at(numbers.tree, given, kind=kind, ci_prob=numbers.prob, ci_kind="eti", **admit)
        for kind in ("mean", "outcome")
    )
    headings: dict[str, float] = {curve.variable: (curve.high - curve.low) / 4 for curve in drawn}
    # The first factor is always shown, because it takes two or more values in these rows.
    shapes = [curve.shape for curve in drawn]
    shown_levels = {term.category for term in known.values() if term.category}
    plain = [
        x
        for x, part in factors.items()
        if part.curve not in shapes and (x == varied(known) or not part.contrast)
        if x in known or part.category not in shown_levels
    ]
    headings |= {x: numbers.columns["sd"].get(x, frame[x].abs().max()) for x in plain}
    headings = dict(list(headings.items())[:SHOWN_PREDICTORS])
    rows = []
    for i in range(len(frame)):
        title, label = shown[i // len(at)]
        cells: list[Any] = [title if label is None else name(title)]
        cells += [stated(frame[x].iloc[i], sd) for x, sd in headings.items()]
        for part in (line, row):
            cells.append(
                estimated(Estimate(*(part[c].iloc[i] for c in ("mean", "sd", "lower", "upper"))))
            )
        rows.append(cells)
    prob = percent(numbers.prob)
    caption = [
        "Predictions of ",
        name(numbers.labels.outcome),
        f" with {prob} intervals: of the line, which is the mean of many rows, and of one new row",
        *of_row,
        ".",
    ]
    if any(term.contrast for term in known.values()):
        caption.append(" Contrasts are at the means of their columns.")
    columns = ["group", *map(name, headings), "line", "new row"]
    content: list[Block] = [Table(caption, columns, rows, "Predictions")]
    if not numbers.model.eps_by_group:
        content += [_curve(numbers, curve) for curve in drawn[: figures.MOST_CURVES]]
    drawable = numbers.has_rows and numbers.has_draws and figures.axis_of_lines(numbers) is not None
    if codes and drawable and numbers.statistics.num_rows <= figures.MOST_ROWS:
        content.append(figures.lines(numbers))
    return Section("predictions", "Predictions", "Predictions", content)


def _curve(numbers: Numbers, curve: Curve) -> Block:
    """Draw a curve over the range of its variable, with other columns at typical values."""
    at = typical_rows(numbers).iloc[:1]
    first, facts = varied(terms(numbers)), numbers.columns
    if first and first in terms(numbers) and not terms(numbers)[first].curve:
        mean = facts["mean"][first]
        at = at.assign(**{first: round(mean) if facts["binary"][first] else mean})
    at = pd.concat([at] * figures.POINTS, ignore_index=True)
    values = np.linspace(curve.low, curve.high, len(at))
    at = at.assign(**curve.at(values))
    follow(numbers, at, [None] * len(at))
    rows = np.column_stack([np.ones(len(at)), at[list(numbers.labels.predictors)]])
    rows[:, 1:] -= numbers.zeros
    return figures.curve(numbers, curve, values, [numbers.of_population(row) for row in rows])


def _shrinkage(numbers: Numbers) -> Block:
    try:
        return figures.shrinkage(numbers)
    except ValueError as error:
        return Paragraph(f"There is no figure of partial pooling: {error}.", "soft")
