"""The command compare, which compares models of pooling, and the models that the data allow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    SE,
    AsJSON,
    CenterOption,
    Chains,
    Draws,
    DropMissing,
    File,
    Fixed,
    Formula,
    Group,
    Missing,
    Prior,
    PriorsName,
    Quiet,
    Seed,
    Weights,
    X,
    Y,
    columns,
    given_priors,
    load_rows,
    priors_of,
)
from radon_numpyro.cli.records import diagnosis_record, loaded
from radon_numpyro.cli.terminal import Terminal, plain, refusals, use_compilation_cache
from radon_numpyro.data.files.whole_files import check_writable, write_whole

if TYPE_CHECKING:
    from radon_numpyro.comparison.table import Comparison
    from radon_numpyro.data.design import Design
    from radon_numpyro.data.grouped_data import GroupedData
    from radon_numpyro.model.priors import Priors


def compare_command(
    file: File,
    formula: Formula = None,
    y: Y = None,
    x: X = None,
    fixed: Fixed = None,
    group: Group = None,
    center: CenterOption = None,
    priors: PriorsName = "weakly-informative",
    prior: Prior = None,
    folds: Annotated[
        int, typer.Option(min=0, help="Number of folds of the cross-validation; 0 for none.")
    ] = 10,
    leave_group_out: Annotated[
        bool, typer.Option("--leave-group-out", help="Also predict each group from the others.")
    ] = False,
    draws: Draws = 1000,
    chains: Chains = 4,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="CSV file for the complete table. Default: none.")
    ] = None,
    missing: Missing = None,
    drop_missing: DropMissing = False,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    encoding: Encoding = None,
    skip_rows: SkipRows = None,
    sheet: Sheet = None,
    weights: Weights = None,
    se: SE = None,
    quiet: Quiet = False,
    as_json: AsJSON = False,
) -> None:
    """Compare models by their predictions of rows that were left out.

    Fits the pooled, the individual and the hierarchical model, and scores each on rows left out,
    one at a time (LOO) and in folds. The best model comes first. The individual model is included
    only if every coefficient varies by group. Exit status 3 if a fit is not to be trusted.

    Example: `radon-numpyro compare radon.csv --y radon --x floor --group county`

    Or: `radon-numpyro compare hsb.csv "MathAch ~ SES * Sex + (SES || School)"`
    """
    terminal = Terminal(quiet, as_json)
    with refusals():
        if out is not None:
            check_writable(out)
        used = columns(formula, y, x, fixed, group, center, missing, drop_missing, weights, se)
        text = text_options(delimiter, decimal, thousands, encoding, skip_rows, sheet)
        given = given_priors(prior)
        data = load_rows(terminal, file, used, text=text, reduce=False)
        chosen = priors_of(priors, given, data)
        from radon_numpyro.data.grouped_data import GroupedData
        from radon_numpyro.results.diagnostics import diagnose

        assert isinstance(data, GroupedData)
        use_compilation_cache()
        with terminal.working("Compared"):
            comparison = compared_models(
                terminal,
                data,
                priors=chosen,
                folds=folds,
                leave_group_out=leave_group_out,
                draws=draws,
                chains=chains,
                seed=seed,
            )
        if out is not None:
            write_whole(out, comparison.table.to_csv)
    diagnoses = {model: diagnose(tree) for model, tree in comparison.fits.items()}
    terminal.show(str(comparison))
    for model, diagnosis in diagnoses.items():
        if diagnosis.findings:
            terminal.show(f"{model}: {diagnosis.text(command=True, again=True)}")
    if out is not None:
        terminal.note(f"Wrote {out}")
    record = {
        **loaded(data),
        "table": plain(comparison.table),
        "definitions": comparison.definitions,
        "diagnoses": {model: diagnosis_record(diagnosis) for model, diagnosis in diagnoses.items()},
    }
    terminal.finish(record, good=all(diagnosis.ok for diagnosis in diagnoses.values()))


def without_individual(design: Design) -> str:
    """Return a sentence on why the individual model is left out, or an empty text if it is not.

    Parameters
    ----------
    design
        The columns, and which of them vary by group.
    """
    from radon_numpyro.data.checks import first_few

    if design.varies_throughout:
        return ""
    why = "some coefficients vary about 0"
    if design.fixed:
        columns = "coefficient" if len(design.fixed) == 1 else "coefficients"
        why = f"the {columns} of {first_few(design.fixed)} cannot differ between groups"
    return (
        "The individual model is left out, because it fits each group on its own, and in this "
        f"model {why}."
    )


def compared_models(
    terminal: Terminal,
    data: GroupedData,
    *,
    priors: Priors | None,
    seed: int,
    folds: int = 10,
    leave_group_out: bool = False,
    draws: int = 1000,
    chains: int = 4,
) -> Comparison:
    """Fit and compare the pooled, the hierarchical and, if possible, the individual model.

    Parameters
    ----------
    terminal
        Receives notes on what is compared.
    data
        The rows.
    priors, seed, folds, leave_group_out, draws, chains
        As in :func:`radon_numpyro.compare_pooling`.
    """
    from radon_numpyro.comparison.table import compare_pooling

    left_out = without_individual(data.labels.design)
    if left_out:
        terminal.note(left_out)
    models = "pooled and" if left_out else "pooled, individual and"
    terminal.note(f"Fitting and scoring the {models} hierarchical models.")
    return compare_pooling(
        data,
        priors=priors,
        folds=folds,
        leave_group_out=leave_group_out,
        draws=draws,
        chains=chains,
        seed=seed,
        progress_bar=terminal.progress_bar,
    )
