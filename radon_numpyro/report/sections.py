"""Make sections of a report: verdict, answer, data, model, comparison, and the run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from radon_numpyro.comparison.table import Comparison
from radon_numpyro.data.checks import plural
from radon_numpyro.data.findings import Finding, from_json
from radon_numpyro.inference.compute.devices import in_words
from radon_numpyro.model.parameter_priors import parameter_priors
from radon_numpyro.report import figures
from radon_numpyro.report.answers import answer as sentences
from radon_numpyro.report.formulas import description, formulas, titled
from radon_numpyro.report.term import Term
from radon_numpyro.report.terms import terms
from radon_numpyro.report.words import (
    Block,
    Code,
    Definitions,
    Findings,
    Marked,
    Paragraph,
    Remarks,
    Section,
    Table,
    groups,
    name,
    number,
    percent,
    prior_words,
    short,
    strong,
)
from radon_numpyro.results.diagnostics import Diagnosis, drawn_again
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_centers, read_data
from radon_numpyro.results.integration_checks import NODES, is_integrated, nodes_in_words


def verdict(numbers: Numbers, diagnosis: Diagnosis) -> Section:
    """Say whether the numbers can be trusted, and what to try if they cannot."""
    exact = "sample_stats" not in numbers.tree.children
    sampler = diagnosis.nodes or "independent and exact"
    told = [
        f"{diagnosis.num_draws:,} draws",
        *([f"largest R-hat {diagnosis.max_rhat:.4f}"] if "r_hat" in diagnosis.table else []),
        f"smallest effective sample size {diagnosis.min_ess:,.0f}",
        sampler if exact else plural(diagnosis.num_divergences, "divergence"),
    ]
    spoiling = [finding for finding in diagnosis.findings if not finding.caution]
    cautions = [finding for finding in diagnosis.findings if finding.caution]
    command = "command" in numbers.tree.attrs
    said: list[Block]
    if diagnosis.ok:
        said = [
            Paragraph(strong("The draws can be trusted."), status=True),
            Paragraph(
                "They represent what the model and its priors say given the data. Whether the "
                "model suits the data is another question, for which see the data and the check "
                "of predictions."
            ),
        ]
    else:
        said = [
            Paragraph(strong("Do not rely on these numbers yet."), status=True),
            Paragraph("Some of them mean nothing, or are not what the model says of the data:"),
            _findings(spoiling, command=command),
        ]
    if cautions:
        said += [Paragraph("Read the numbers with this in mind:")]
        said += [_findings(cautions, command=command)]
    if diagnosis.routes:
        said.append(Paragraph(diagnosis.routes))
    said.append(Paragraph(f"{', '.join(told)}.", "soft"))
    tone = "good" if diagnosis.ok else "bad"
    return Section("verdict", "Verdict", "Can these numbers be trusted?", said, tone)


def answer(numbers: Numbers, diagnosis: Diagnosis) -> Section:
    """Give the answer in sentences, and say what an interval is."""
    warning = [] if diagnosis.ok else [Paragraph(strong("Not yet to be relied on:"))]
    about = (
        f"A {percent(numbers.prob)} interval holds the true value with that probability, if the "
        "model and its priors are right. What goes with what need not cause it."
    )
    said = [Paragraph(sentence) for sentence in sentences(numbers)]
    return Section("answer", "Answer", "The answer", [*warning, *said, Paragraph(about, "soft")])


def _findings(found: Iterable[Finding], *, command: bool) -> Findings:
    """List findings with advice: options of the command line, or arguments in Python."""
    return Findings([(finding.what, _advice(finding, command)) for finding in found])


def _advice(finding: Finding, command: bool) -> list[Any]:
    """Return advice with options marked, so that no option is broken into two lines."""
    words = re.split(r"(--[\w-]+(?: [^\s,]+)?)", finding.command if command else finding.advice)
    return [Marked("option", word) if word.startswith("--") else word for word in words]


def data(numbers: Numbers) -> Section:
    """Describe the data: audit, rows that were left out, and a table of the columns."""
    statistics, columns = numbers.statistics, numbers.columns
    content: list[Block] = []
    extremes = pd.DataFrame(index=columns.index)
    if numbers.has_rows:
        data = read_data(numbers.tree)
        audit = data.audit()
        content.append(Paragraph(audit.summary))
        # Fits of earlier versions do not store the findings of the audit.
        kept = numbers.tree.attrs.get("findings")
        if kept is None and audit.findings:
            content.append(Paragraph("The audit found:"))
            content.append(_findings(audit.findings, command=False))
        elif kept is None or not from_json(kept):
            content.append(Paragraph("The audit found nothing else."))
        else:
            content.append(Paragraph("What the audit found stands with the verdict."))
        content += [
            Paragraph([plural(count, "row"), f" left out: {reason}."])
            for reason, count in data.left_out
        ]
        values = np.column_stack([data.x + numbers.zeros, data.y])
        extremes = extremes.assign(smallest=values.min(0), largest=values.max(0))
    else:
        count = np.asarray(statistics.count)
        content.append(
            Paragraph(
                [
                    plural(statistics.num_rows, "row"),
                    " in ",
                    *groups(numbers),
                    f", {count.min():.0f} to {count.max():.0f} rows each. The fit saw statistics "
                    "of the rows, not the rows: their audit and the check of predictions need the "
                    "rows.",
                ]
            )
        )
    content += [
        Paragraph([name(x), f" is centred: its 0 in the model is {value:.10g}."])
        for x, value in read_centers(numbers.tree)
    ]
    if statistics.notes:
        content += [Paragraph("How the columns were made and read:"), Remarks(statistics.notes)]
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
    content.append(Table("The columns, over all rows.", headings, rows, "Columns", wordy=[1]))
    if numbers.has_rows and numbers.has_draws and statistics.num_rows <= figures.MOST_ROWS:
        content.append(figures.predictive_check(numbers))
    return Section("data", "Data", "The data", content)


def model(numbers: Numbers) -> Section:
    """Give the model in formulas and its priors in words."""
    priors = parameter_priors(numbers.model, numbers.labels.design, numbers.priors)
    rows = [
        [titled(numbers, key), *prior_words(one.prior, numbers.prob)] for key, one in priors.items()
    ]
    content: list[Block] = [
        Paragraph(description(numbers)),
        *formulas(numbers),
        Table(
            "Priors: what was held possible before the data.",
            ["parameter", "prior", "in words"],
            rows,
            "Priors",
            wordy=(1, 2),
        ),
    ]
    if not numbers.model.eps_by_group:
        content.append(figures.prior_and_posterior(numbers))
    return Section("model", "Model", "The model and its priors", content)


def comparison(numbers: Numbers, compared: Comparison | None) -> Section | None:
    """Say which model predicts better; return None without a comparison."""
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
    said.append(", in log predictive density, ± its standard error. Clear is more than two.")
    shown = (*columns, *plain)
    blocks: list[Block] = [
        Paragraph(said),
        Table(
            "The models, the best first, with standard errors.",
            ["model", *shown],
            rows,
            "Comparison",
        ),
        figures.comparison(numbers, compared),
        Definitions([(column, compared.definitions[column]) for column in shown]),
    ]
    return Section("comparison", "Comparison", "Comparison of models", blocks)


def made(numbers: Numbers) -> Section:
    """List what is needed to repeat the fit: command, settings, seed and versions."""
    attrs, tree = numbers.tree.attrs, numbers.tree
    why = attrs.get("method_reason")
    facts: dict[str, Any] = {
        "model, method": f"{attrs['model']}, {attrs['method']}{f' ({why})' if why else ''}",
        "draws": _draws(numbers),
        "log evidence": _evidence(numbers),
        "warm-up": attrs.get("num_warmup"),
        "target acceptance": attrs.get("target_accept_prob"),
        "earlier runs": drawn_again(tree),
        "gradients, warm-up and draws": _pair(attrs, "warmup_gradients", "sampling_gradients"),
        "seed": attrs["seed"],
        "device": in_words(attrs.get("device"), attrs.get("device_reason")),
        "numbers": attrs["dtype"],
        "seconds": _json(attrs.get("timings", "{}")),
        "versions": _json(attrs["versions"]),
        "fingerprint of the data": attrs.get("data_fingerprint"),
        "priors": attrs["priors"],
    }
    rows = [[fact, str(value)] for fact, value in facts.items() if value is not None]
    commands = [Code(attrs[key]) for key in ("command", "call") if key in attrs]
    run = Table("The run.", ["fact", "value"], rows, "The run", wordy=[1])
    return Section("made", "How it was made", "How it was made", [*commands, run])


def _draws(numbers: Numbers) -> str:
    sizes = numbers.tree["posterior"].sizes
    if is_integrated(numbers.tree):
        return f"{sizes['draw'] * sizes['chain']:,}, {nodes_in_words(numbers.tree)}"
    return f"{sizes['draw']} of each of {plural(sizes['chain'], 'chain')}"


def _evidence(numbers: Numbers) -> str | None:
    """Return the log evidence of a fit by integration, in nats; None for other fits."""
    if NODES not in numbers.tree.children:
        return None
    about = numbers.tree[NODES].attrs
    return f"{_with_se(about['log_evidence'], about['log_evidence_error'])} nats"


def _pair(attrs: Any, first: str, second: str) -> str | None:
    return f"{attrs[first]:,} and {attrs[second]:,}" if first in attrs else None


def _json(text: str) -> str:
    return ", ".join(f"{key} {value}" for key, value in json.loads(text).items())


def _with_se(value: float, se: float) -> str:
    return f"{number(value, se)} ± {number(se, se)}" if se > 0 else short(value)


def _role(term: Term) -> str:
    if term.is_interaction:
        return "interaction"
    if term.category:
        return "level of a category"
    if term.contrast:
        return "contrast of levels"
    if term.curve:
        return "part of a curve" if len(term.curve.variables) == 1 else "part of a surface"
    return "predictor of groups" if term.of_groups else "predictor"
