"""The commands audit, fit and resume, which check and fit a file of rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    COMPUTATION,
    MODEL,
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
    MaxSeconds,
    MaxTreeDepth,
    Missing,
    Nodes,
    NumWarmup,
    Out,
    Platform,
    Prior,
    PriorsName,
    Probability,
    Quiet,
    Reduce,
    Seed,
    TargetAcceptProb,
    TargetESS,
    Weights,
    X,
    Y,
    columns,
    given_priors,
    load_rows,
    note_folder,
    noted_folder,
    priors_of,
)
from radon_numpyro.cli.records import diagnosis_record, finding_record, loaded
from radon_numpyro.cli.terminal import (
    Terminal,
    command_line,
    plain,
    refusals,
    table,
    use_compilation_cache,
)
from radon_numpyro.data.files.whole_files import check_writable, write_whole

if TYPE_CHECKING:
    from xarray import DataTree

    from radon_numpyro.data.labels import Labels


def audit_command(
    file: File,
    formula: Formula = None,
    y: Y = None,
    x: X = None,
    fixed: Fixed = None,
    group: Group = None,
    center: CenterOption = None,
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
    """Check a file before fitting it.

    Reports which groups have little information of their own, and what looks wrong: codes for
    missing values, labels that differ only in spelling, redundant predictors. Exit status 3 if
    anything looks wrong.

    Example: `radon-numpyro audit radon.csv --y radon --x floor --group county`

    Or: `radon-numpyro audit hsb.csv "MathAch ~ SES * Sex + (SES || School)"`
    """
    terminal = Terminal(quiet, as_json)
    with refusals():
        used = columns(formula, y, x, fixed, group, center, missing, drop_missing, weights, se)
        text = text_options(delimiter, decimal, thousands, encoding, skip_rows, sheet)
        data = load_rows(terminal, file, used, text=text, reduce=False, single_rows=True)
    found = data.audit()
    terminal.show(found.text(command=True))
    record = {
        **loaded(data),
        "summary": found.summary,
        "findings": [finding_record(finding) for finding in found.findings],
        "groups": plain(found.table),
    }
    terminal.finish(record, good=found.ok)


def fit_command(
    context: typer.Context,
    file: File,
    formula: Formula = None,
    y: Y = None,
    x: X = None,
    fixed: Fixed = None,
    group: Group = None,
    center: CenterOption = None,
    model: Annotated[
        Literal["hierarchical", "individual", "pooled"],
        typer.Option(
            metavar="MODEL",
            rich_help_panel=MODEL,
            help="hierarchical (partial pooling), individual (each group on its own) or pooled "
            "(one regression for all rows).",
        ),
    ] = "hierarchical",
    priors: PriorsName = "weakly-informative",
    prior: Prior = None,
    method: Annotated[
        Literal["marginal", "noncentered", "centered", "integrate", "auto"] | None,
        typer.Option(
            metavar="METHOD",
            rich_help_panel=COMPUTATION,
            show_default=False,
            help="marginal: NUTS on the standard deviations, with the coefficients integrated out "
            "(default). noncentered, centered: NUTS on all parameters. integrate: numerical "
            "integration over the standard deviations, without chains, in a fraction of a second. "
            "auto: integrate, or the default where integration is not reliable.",
        ),
    ] = None,
    nodes: Nodes = None,
    draws: Draws = 1000,
    chains: Chains = 4,
    num_warmup: NumWarmup = 500,
    target_accept_prob: TargetAcceptProb = None,
    max_tree_depth: MaxTreeDepth = 10,
    seed: Seed = 0,
    advi_steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            rich_help_panel=COMPUTATION,
            help="Maximum number of ADVI steps. Default: 100000, or 0 for very many groups.",
        ),
    ] = None,
    target_ess: TargetESS = None,
    max_seconds: MaxSeconds = None,
    platform: Platform = "auto",
    out: Out = Path("results"),
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=COMPUTATION,
            help="Folder in which to save the run as it proceeds; resume continues from it.",
        ),
    ] = None,
    ci_prob: Probability = 0.9,
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
    reduce: Reduce = None,
    quiet: Quiet = False,
    as_json: AsJSON = False,
) -> None:
    """Fit a regression to a file, and check it.

    Prints the parameters and whether they can be trusted, and writes fit.nc (for predict, report
    and ArviZ), parameters.csv and groups.csv; it replaces earlier files of these names. Exit status
    3 if the numbers are not to be trusted, because of findings about the data or about the draws.

    Ctrl-C during sampling keeps the draws so far.

    Example: `radon-numpyro fit radon.csv --y radon --x floor --group county`

    Or: `radon-numpyro fit hsb.csv "MathAch ~ SES + (SES | School)" --method auto`
    """
    terminal = Terminal(quiet, as_json)
    with refusals():
        check_writable(out / "fit.nc")
        used = columns(formula, y, x, fixed, group, center, missing, drop_missing, weights, se)
        text = text_options(delimiter, decimal, thousands, encoding, skip_rows, sheet)
        given = given_priors(prior)
        data = load_rows(
            terminal, file, used, text=text, reduce=reduce, single_rows=model == "pooled"
        )
        chosen = priors_of(priors, given, data)
        if checkpoint is not None and method != "integrate":
            note_folder(checkpoint, out)
        # Imported only after the data are accepted, so that bad input is refused quickly.
        from radon_numpyro.pipeline import fit

    if method != "integrate":
        use_compilation_cache()
    terminal.note(f"Fitting the {model} model, {chains} x {draws} draws.")
    with refusals(), terminal.working("Fitted"):
        tree = fit(
            data,
            model=model,
            method=method,
            priors=chosen,
            draws=draws,
            chains=chains,
            num_warmup=num_warmup,
            target_accept_prob=target_accept_prob,
            max_tree_depth=max_tree_depth,
            seed=seed,
            num_advi_steps=advi_steps,
            device=platform,
            target_ess=target_ess,
            max_seconds=max_seconds,
            checkpoint=checkpoint,
            progress_bar=terminal.progress_bar,
            nodes=nodes,
        )
    tree.attrs["command"] = command_line(context)
    _deliver(terminal, tree, out, ci_prob)


def resume_command(
    context: typer.Context,
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="The folder given to fit --checkpoint.")
    ],
    draws: Annotated[
        int | None, typer.Option(min=4, help="Draws of each chain. Default: as in fit.")
    ] = None,
    target_ess: TargetESS = None,
    max_seconds: MaxSeconds = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for fit.nc and the tables. Default: as in fit."),
    ] = None,
    ci_prob: Probability = 0.9,
    quiet: Quiet = False,
    as_json: AsJSON = False,
) -> None:
    """Continue a fit that was interrupted or ended too soon.

    The draws are equal, to the last bit, to those of a run without interruption. Writes the same
    files as fit.

    Example: `radon-numpyro resume run.checkpoint`

    Or: `radon-numpyro resume run.checkpoint --draws 2000 --out results`
    """
    terminal = Terminal(quiet, as_json)
    with refusals():
        out = noted_folder(checkpoint) if out is None else out
        check_writable(out / "fit.nc")
        from radon_numpyro.pipeline import resume

    use_compilation_cache()
    terminal.note(f"Resuming from {checkpoint}.")
    with refusals(), terminal.working("Fitted"):
        tree = resume(
            checkpoint,
            draws=draws,
            target_ess=target_ess,
            max_seconds=max_seconds,
            progress_bar=terminal.progress_bar,
        )
    tree.attrs["command"] = command_line(context)
    _deliver(terminal, tree, out, ci_prob, again=True)


def _deliver(
    terminal: Terminal, tree: DataTree, out: Path, ci_prob: float, *, again: bool = False
) -> None:
    """Write a fit and its tables, show the parameters and the verdict, and exit."""
    from radon_numpyro.inference.compute.devices import in_words
    from radon_numpyro.results.diagnostics import diagnose, drawn_again
    from radon_numpyro.results.fit_files import save_fit
    from radon_numpyro.results.fit_reader import read_statistics
    from radon_numpyro.results.summary import group_table, parameter_table

    device = in_words(tree.attrs["device"], tree.attrs["device_reason"])
    terminal.note(f"Device: {device}.")
    if "method_reason" in tree.attrs:
        terminal.note(f"Method: {tree.attrs['method']} ({tree.attrs['method_reason']}).")
    if why := drawn_again(tree):
        terminal.note(f"{why}.")
    diagnosis = diagnose(tree)
    parameters = parameter_table(tree, diagnosis, ci_prob)
    groups = group_table(tree, ci_prob)
    with refusals():
        files = [
            save_fit(tree, out / "fit.nc"),
            write_whole(out / "parameters.csv", parameters.to_csv),
            write_whole(out / "groups.csv", lambda path: groups.to_csv(path, index=False)),
        ]
    model, statistics = tree.attrs["model"], read_statistics(tree)
    if len(parameters):
        title = f"{model.capitalize()} model of {tree.attrs['outcome']}, {ci_prob:.0%} intervals"
        ess = parameters[["ess_bulk", "ess_tail"]].min(axis=1).round()
        shown = parameters.iloc[:, :4]
        if "r_hat" in parameters:
            shown = shown.assign(r_hat=parameters["r_hat"].map("{:.3f}".format))
        terminal.show(table(title, shown.assign(ess=ess)))
        if words := _in_words(parameters.index, statistics.labels):
            terminal.show(words)
    for note in statistics.notes:
        terminal.show(f"{note}.")
    for x, value in statistics.centers:
        terminal.show(f"Intercepts refer to {x} = {value:.10g}.")
    terminal.show(diagnosis.text(command=True, again=again))
    for path in files:
        terminal.note(f"Wrote {path}")
    record = {
        "model": model,
        **loaded(statistics),
        "parameters": plain(parameters),
        "diagnosis": diagnosis_record(diagnosis),
        "files": files,
    }
    terminal.finish(record, good=diagnosis.ok)


def _in_words(names: Iterable[str], labels: Labels) -> str:
    """Explain the parameters of the hierarchical model that a table shows, in one line."""
    group, weights = labels.group, labels.design.weights
    of_weight = f" of weight 1 ({weights})" if weights else ""
    words = {
        "mu": f"mu: mean over {group}",
        "gamma": f"gamma: the same in every {group}",
        "sigma": f"sigma: sd between {group}",
        "correlation": f"correlation: of the coefficients of a {group}",
        "eps": f"eps: sd of rows{of_weight} within {group}",
    }
    shown = {name.partition("[")[0].partition("_")[0] for name in names}
    if "sigma" not in shown:
        return ""
    return "; ".join(what for name, what in words.items() if name in shown) + "."
