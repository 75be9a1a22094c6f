"""Sections of a report: data, model, results, ADVI, comparison."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from radon_numpyro.comparison.table import Comparison
from radon_numpyro.data.checks import plural
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.data.findings import Finding, from_json
from radon_numpyro.model.parameter_priors import parameter_priors
from radon_numpyro.plots.styling import split_sites
from radon_numpyro.report import figures
from radon_numpyro.report.formulas import description, formulas, meaning
from radon_numpyro.report.html import Html, element, section, table
from radon_numpyro.report.terms import Term, terms
from radon_numpyro.report.words import (
    ends,
    groups,
    middle,
    name,
    number,
    parameter,
    percent,
    prior_words,
    short,
    symbol,
)
from radon_numpyro.results.diagnostics import Diagnosis
from radon_numpyro.results.estimates import Estimate, Numbers
from radon_numpyro.results.fit_reader import read_centers, read_data


def findings(found: Iterable[Finding], *, command: bool) -> Html:
    """What was seen, and what to try: by options of the command line or arguments of Python."""
    items = (
        element("li", f.what, " ", element("b", "Try: "), *_advice(f, command), ".") for f in found
    )
    return element("ul", items)


def _advice(finding: Finding, command: bool) -> list[Any]:
    """Advice, in which no option of the command line is broken into two lines."""
    words = re.split(r"(--[\w-]+(?: [^\s,]+)?)", finding.command if command else finding.advice)
    return [element("code", w, class_="option") if w.startswith("--") else w for w in words]


def data(numbers: Numbers) -> Html:
    """Columns, audit, and rows that were left out."""
    statistics, columns = numbers.statistics, numbers.columns
    content: list[Any] = []
    extremes = pd.DataFrame(index=columns.index)
    if numbers.has_rows:
        data = read_data(numbers.tree)
        audit = data.audit()
        content.append(element("p", audit.summary))
        # A fit of an earlier version has not kept what was found.
        kept = numbers.tree.attrs.get("findings")
        if kept is None and audit.findings:
            content += [element("p", "The audit found:"), findings(audit.findings, command=False)]
        elif kept is None or not from_json(kept):
            content.append(element("p", "The audit found nothing else."))
        else:
            content.append(element("p", "What the audit found stands with the verdict."))
        content += [
            element("p", plural(count, "row"), f" left out: {reason}.")
            for reason, count in data.left_out
        ]
        values = np.column_stack([data.x + numbers.zeros, data.y])
        extremes = extremes.assign(smallest=values.min(0), largest=values.max(0))
    else:
        count = np.asarray(statistics.count)
        content.append(
            element(
                "p",
                plural(statistics.num_rows, "row"),
                " in ",
                groups(numbers),
                f", {count.min():.0f} to {count.max():.0f} rows each. The fit saw statistics of "
                "the rows, not the rows: their audit and the check of predictions need the rows.",
            )
        )
    content += [
        element(
            "p",
            name(x),
            f" is centred: its 0 in the model is {value:.10g}.",
        )
        for x, value in read_centers(numbers.tree)
    ]
    roles = [*map(_role, terms(numbers).values()), "outcome"]
    rows = [
        [
            name(column),
            role,
            *(number(row[key], row["sd"]) for key in ("mean", "sd")),
            *(number(v, row["sd"]) for v in extremes.loc[column]),
        ]
        for (column, row), role in zip(columns.iterrows(), roles, strict=True)
    ]
    headings = ["column", "role", "mean", "sd", *extremes.columns]
    content.append(table("The columns, over all rows.", headings, rows, label="Columns", words=[1]))
    if numbers.has_rows and numbers.has_draws and statistics.num_rows <= figures.MOST_ROWS:
        content.append(figures.predictive_check(numbers))
    return section("data", "The data", content)


def model(numbers: Numbers) -> Html:
    """The model in formulas and its priors in words."""
    priors = parameter_priors(numbers.model, numbers.labels.design, numbers.priors)
    rows = [
        [_parameter(numbers, key), *prior_words(one.prior, numbers.prob)]
        for key, one in priors.items()
    ]
    content = [
        element("p", description(numbers)),
        formulas(numbers),
        table(
            "Priors: what was held possible before the data.",
            ["parameter", "prior", "in words"],
            rows,
            label="Priors",
            words=(1, 2),
        ),
    ]
    if not numbers.model.eps_by_group:
        content.append(figures.prior_and_posterior(numbers))
    return section("model", "The model and its priors", content)


def results(numbers: Numbers, diagnosis: Diagnosis) -> Html:
    """Parameters that groups share, and how well every kind of parameter was drawn."""
    content: list[Any] = []
    checks, chains = diagnosis.table, "r_hat" in diagnosis.table
    parameters = numbers.parameters()
    if parameters:
        rows = []
        for key, draws in parameters.items():
            found, check = Estimate.of(draws, numbers.prob), checks.loc[key]
            rows.append(
                [
                    _parameter(numbers, key),
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
            table(
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
        # Of an integration it is the same for every parameter.
        return section("results", "Results", content)
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
        table(
            "The worst of every kind of parameter, over groups and predictors.",
            ["kind", "parameters", "largest R-hat", "smallest ESS"],
            worst,
            label="Checks of every kind of parameter",
        )
    )
    return section("results", "Results", content)


def advi(numbers: Numbers) -> Html | None:
    """The approximation beside the draws, if it was run."""
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
                _parameter(numbers, key),
                *(number(value, sd) for value in (mean, means[key])),
                *(number(value, value) for value in (sd, sds[key])),
            ]
        )
    narrowest = min(ratios, key=lambda key: ratios[key])
    content: list[Any] = [
        element(
            "p",
            "ADVI, a fast approximation that takes all parameters as independent, was run first, "
            f"to start the draws. On its own it is: {about['verdict']}.",
        ),
        element(
            "p",
            "Such approximations tend to be too sure of themselves: at the worst parameter, ",
            _parameter(numbers, narrowest),
            f", its standard deviation is {ratios[narrowest]:.2f} times that of the draws"
            f"{'' if drawn[narrowest].ndim == 2 else ' (median over groups)'}. All numbers of this "
            "page outside this section are those of the draws.",
        ),
    ]
    if rows:
        headings = ["parameter", "mean, draws", "mean, ADVI", "sd, draws", "sd, ADVI"]
        content.append(table("The draws and ADVI.", headings, rows, label="The draws and ADVI"))
    content.append(figures.elbo(numbers))
    return section("advi", "ADVI beside the draws", content)


def comparison(numbers: Numbers, compared: Comparison | None) -> Html | None:
    """Which model predicts better."""
    if compared is None:
        return None
    scores = compared.table
    columns = [
        column
        for column in ("elpd_loo", "elpd_diff", "elpd_kfold", "rmsd_loo", "rmsd_kfold")
        if column in scores
    ]
    plain = ["p_loo", "rmsd_in_sample", "rows_loo", "rows_from_prior"]
    rows = []
    for label, row in scores.iterrows():
        cells: list[Any] = [name(label)]
        cells += [_with_se(row[column], row[f"{column}_se"]) for column in columns]
        cells += [short(row[column]) for column in plain]
        rows.append(cells)
    best, *others = scores.index
    said: list[Any] = ["Of rows that it did not see, ", name(best), " predicts best"]
    for other in others:
        difference, se = scores.loc[other, ["elpd_diff", "elpd_diff_se"]]
        clear = "clearly" if -difference > 2 * se else "not clearly"
        said += ["; ", name(other), f" is behind by {-difference:,.1f} ± {se:,.1f} ({clear})"]
    meant = [
        [element("dt", column), element("dd", compared.definitions[column], ".")]
        for column in (*columns, *plain)
    ]
    return section(
        "comparison",
        "Comparison of models",
        element(
            "p", said, ", in log predictive density, ± its standard error. Clear is more than two."
        ),
        table(
            "The models, the best first, with standard errors.",
            ["model", *columns, *plain],
            rows,
            label="Comparison",
        ),
        figures.comparison(numbers, compared),
        element("dl", meant),
    )


def _with_se(value: float, se: float) -> str:
    return f"{number(value, se)} ± {number(se, se)}" if se > 0 else short(value)


def _parameter(numbers: Numbers, key: str) -> list[Any]:
    site, x = parameter(key)
    return [symbol(site, name(x) if x else ""), ": ", meaning(numbers, key)]


def _role(term: Term) -> str:
    if term.is_interaction:
        return "interaction"
    if term.category:
        return "level of a category"
    if term.contrast:
        return "contrast of levels"
    if term.curve:
        return "part of a curve"
    return "predictor of groups" if term.of_groups else "predictor"
