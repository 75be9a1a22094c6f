"""The commands predict and report, which take a fit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from radon_numpyro.cli.file_options import (
    Decimal,
    Delimiter,
    Encoding,
    Sheet,
    SkipRows,
    Thousands,
    text_options,
)
from radon_numpyro.cli.options import (
    File,
    Fit,
    Probability,
    Quiet,
)
from radon_numpyro.cli.terminal import (
    GOOD,
    NOT_TRUSTED,
    Terminal,
    refusals,
    use_compilation_cache,
)
from radon_numpyro.data.files.whole_files import check_writable, write_whole


def predict_command(
    fit_file: Fit,
    file: File,
    out: Annotated[
        str, typer.Option(help="CSV file for the predictions; - writes to standard output.")
    ] = "-",
    kind: Annotated[
        Literal["outcome", "mean"],
        typer.Option(
            metavar="KIND",
            help="outcome: a new measurement. mean: the regression line, without scatter.",
        ),
    ] = "outcome",
    new_groups: Annotated[
        Literal["error", "population"],
        typer.Option(
            metavar="CHOICE",
            help="Groups that are not in the fit. error: refuse them. population: predict them "
            "from the population.",
        ),
    ] = "error",
    ci_prob: Probability = 0.9,
    ci_kind: Annotated[
        Literal["eti", "hdi"],
        typer.Option(metavar="KIND", help="eti: equal tails. hdi: highest density."),
    ] = "eti",
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    encoding: Encoding = None,
    skip_rows: SkipRows = None,
    sheet: Sheet = None,
    quiet: Quiet = False,
) -> None:
    """Predict the rows of a file from a fit.

    The file must have the columns of the fit, except the outcome. For a fit by a formula these are
    the columns that the formula names, such as Sex, and not those made from them, such as
    Sex[Male].

    Writes a line for each row, in the order of the file: group and predictors, then mean, sd and
    interval, and whether the group is new to the fit. If the outcome of the fit was transformed,
    the header shows it: mean of log(y). A row without a group belongs to a new group. Exit status 3
    if the fit is not to be trusted.

    Example: `radon-numpyro predict results/fit.nc new.csv --out predictions.csv`

    Or: `radon-numpyro predict results/fit.nc new.csv --new-groups population`
    """
    terminal = Terminal(quiet)
    with refusals():
        if out != "-":
            check_writable(Path(out))
        from radon_numpyro.data.files.file_columns import Columns, FormulaColumns
        from radon_numpyro.data.files.table_files import read_table
        from radon_numpyro.data.formulas.formula import ModelFormula
        from radon_numpyro.results.diagnostics import diagnose
        from radon_numpyro.results.fit_files import load_fit
        from radon_numpyro.results.fit_reader import read_labels
        from radon_numpyro.results.prediction import predict

        tree = load_fit(Path(fit_file))
        labels = read_labels(tree)
        design, weights = labels.design, dict[str, Any]()
        # The line alone has no scatter, so it needs no weights or standard errors.
        if kind == "outcome":
            weights = {"weights": design.weights or None, "se": design.se or None}
        used: Columns | FormulaColumns = Columns(
            None, labels.predictors, labels.group, {}, False, **weights
        )
        transformed = False
        if formula := tree.attrs.get("formula"):
            stored = ModelFormula.from_json(formula)
            used, transformed = FormulaColumns(stored, **weights), stored.is_transformed
        text = text_options(delimiter, decimal, thousands, encoding, skip_rows, sheet)
        try:
            frame, notes = read_table(file, used, text)
        except ValueError as error:
            if " to name one column" not in str(error):
                raise
            raise ValueError(f"{error}. The line alone, --kind mean, does not need it") from None
        predictions = predict(
            tree, frame, kind=kind, new_groups=new_groups, ci_prob=ci_prob, ci_kind=ci_kind
        )
        taken = [name for name in used.kinds if name not in predictions]
        for place, name in enumerate(taken, start=1):
            predictions.insert(place, name, frame[name])
        for note in (*notes, *predictions.attrs["notes"]):
            terminal.note(f"{note}.")
        if transformed:
            of = predictions.attrs["outcome"]
            numbers = ("mean", "sd", "lower", "upper")
            predictions = predictions.rename(columns={name: f"{name} of {of}" for name in numbers})
        if out == "-":
            predictions.to_csv(sys.stdout, index=False)
        else:
            write_whole(Path(out), lambda path: predictions.to_csv(path, index=False))
            terminal.note(f"Wrote {out}: {len(predictions):,} predictions")
    diagnosis = diagnose(tree)
    if diagnosis.findings:
        terminal.note(diagnosis.text(command=True, again=True))
    raise typer.Exit(GOOD if diagnosis.ok else NOT_TRUSTED)


def report_command(
    fit_file: Fit,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    title: Annotated[
        str | None, typer.Option(help="Title of the page. Default: made from the fit.")
    ] = None,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Add a comparison of the models of pooling."),
    ] = False,
    ci_prob: Probability = 0.9,
    quiet: Quiet = False,
) -> None:
    """Write a report of a fit as one HTML page.

    The page has the answer, the checks, the figures and how the fit was made. It needs no network.
    Exit status 3 if the fit is not to be trusted.

    Example: `radon-numpyro report results/fit.nc --out report.html --compare`

    Or: `radon-numpyro report results/fit.nc --title "Radon in Minnesota"`
    """
    terminal = Terminal(quiet)
    with refusals():
        check_writable(out)
        from radon_numpyro.report.document import html_report
        from radon_numpyro.results.diagnostics import diagnose
        from radon_numpyro.results.fit_files import load_fit

        tree = load_fit(Path(fit_file))
        comparison = None
        if compare:
            from radon_numpyro.cli.commands_compare import compared_models
            from radon_numpyro.results.fit_reader import read_data, read_priors

            use_compilation_cache()
            with terminal.working("Compared"):
                comparison = compared_models(
                    terminal,
                    read_data(tree),
                    priors=read_priors(tree),
                    seed=int(tree.attrs["seed"]),
                )
        diagnosis = diagnose(tree)
        page = html_report(
            tree, diagnosis=diagnosis, comparison=comparison, title=title, ci_prob=ci_prob
        )
        write_whole(out, lambda path: path.write_text(page, encoding="utf-8"))
    terminal.note(f"Wrote {out}")
    raise typer.Exit(GOOD if diagnosis.ok else NOT_TRUSTED)
