"""Arguments and options that several commands share, and the data and priors that follow."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from radon_numpyro.data.files.whole_files import write_whole

if TYPE_CHECKING:
    from radon_numpyro.cli.terminal import Terminal
    from radon_numpyro.data.files.file_columns import Columns, FormulaColumns
    from radon_numpyro.data.files.text_layout import TextOptions
    from radon_numpyro.data.grouped_data import GroupedData
    from radon_numpyro.model.location_priors import PriorFamily
    from radon_numpyro.model.priors import Priors
    from radon_numpyro.statistics.group_statistics import GroupStatistics

# Panels of the help, and what the options of a panel have in common.
COLUMNS, MODEL, COMPUTATION = "Columns", "Model", "Computation"
_column = partial(typer.Option, metavar="COLUMN", rich_help_panel=COLUMNS)
_model = partial(typer.Option, rich_help_panel=MODEL)
_computation = partial(typer.Option, rich_help_panel=COMPUTATION)

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="A CSV, TSV, Parquet, .xlsx, .dta, .sav, .sas7bdat or .xpt file; - reads CSV from "
        "standard input.",
    ),
]
Fit = Annotated[str, typer.Argument(metavar="FIT", help="The file fit.nc that fit writes.")]
Formula = Annotated[
    str | None,
    typer.Argument(
        metavar="FORMULA",
        help='The model in lme4 notation, such as "y ~ x * c + (1 + x || g)". It replaces --y, '
        "--x, --fixed, --group and --center.",
        show_default=False,
    ),
]
Y = Annotated[str | None, _column("--y", help="The outcome.")]
X = Annotated[
    list[str] | None,
    _column("--x", help="A predictor whose slope varies by group. May be repeated."),
]
Fixed = Annotated[
    list[str] | None,
    _column("--fixed", help="A predictor with one slope for all groups. May be repeated."),
]
Group = Annotated[str | None, _column("--group", help="The labels of the groups.")]
Weights = Annotated[
    str | None,
    _column(
        "--weights",
        help="Precision weights w of the rows, as in lme4: the residual sd of a row is "
        "eps / sqrt(w).",
    ),
]
SE = Annotated[
    str | None,
    _column(
        "--se",
        help="Known standard errors of the outcomes, as in a meta-analysis. The model then has no "
        "eps.",
    ),
]
CenterOption = Annotated[
    list[str] | None,
    _column(
        "--center",
        help="A predictor to centre at its mean, such as a year, which is never near 0. May be "
        "repeated.",
    ),
]
Missing = Annotated[
    list[str] | None,
    typer.Option(
        "--missing",
        metavar="COLUMN=CODE",
        rich_help_panel=COLUMNS,
        help="A code for missing values in a column. Rows with this code are left out and counted. "
        "May be repeated.",
    ),
]
DropMissing = Annotated[
    bool,
    typer.Option(
        "--drop-missing",
        rich_help_panel=COLUMNS,
        help="Leave out, and count, the rows with a blank in a column of the model.",
    ),
]
Reduce = Annotated[
    bool | None,
    typer.Option(
        "--reduce/--no-reduce",
        rich_help_panel="Large files",
        help="Let DuckDB reduce the rows to statistics, without holding them in memory. Default: "
        "only above 2 million rows of Parquet or 100 MiB of text.",
        show_default=False,
    ),
]
PriorsName = Annotated[
    Literal["weakly-informative", "tutorial"],
    _model(
        "--priors",
        metavar="NAME",
        help="weakly-informative (scaled by the data) or tutorial (those of the radon tutorial).",
    ),
]
Prior = Annotated[
    list[str] | None,
    _model(
        "--prior",
        metavar="NAME=FAMILY",
        help="The prior of one coefficient, which replaces that of --priors, such as "
        '"SES=Normal(0, 2)", "Intercept=Normal(0, 10)", "sd(SES)=HalfNormal(1)", '
        '"eps=Exponential(1)" or "correlation=LKJ(2)". May be repeated.',
    ),
]
Draws = Annotated[int, _computation(min=4, help="Draws kept from each chain.")]
Chains = Annotated[int, _computation(min=1, help="Number of chains.")]
Platform = Annotated[
    Literal["auto", "cpu", "gpu"],
    _computation(metavar="PLATFORM", help="cpu, gpu or auto (the faster one; cpu with integrate)."),
]
Seed = Annotated[int, _computation(min=0, help="Seed of all random numbers.")]
NumWarmup = Annotated[int, _computation(min=20, help="Warm-up iterations of each chain.")]
TargetAcceptProb = Annotated[
    float | None,
    _computation(
        "--target-accept",
        help="Target acceptance probability of NUTS. Default: chosen by data and method.",
    ),
]
MaxTreeDepth = Annotated[
    int, _computation(min=1, help="Maximum number of doublings of a NUTS trajectory.")
]
TargetESS = Annotated[
    float | None,
    _computation(help="Stop when the smallest effective sample size reaches this."),
]
Nodes = Annotated[
    int | None,
    _computation(
        help="Number of nodes of --method integrate. Default: as many as --target-ess needs; "
        "without it, an effective number of half the draws, or 1000."
    ),
]
MaxSeconds = Annotated[
    float | None, _computation(help="Stop after this many seconds, and keep the draws so far.")
]
Out = Annotated[Path, typer.Option(help="Folder for fit.nc and the tables.")]
Probability = Annotated[
    float, typer.Option("--ci-prob", min=0.01, max=0.999, help="Probability of the intervals.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def columns(
    formula: str | None,
    y: str | None,
    x: list[str] | None,
    fixed: list[str] | None,
    group: str | None,
    center: list[str] | None,
    missing: list[str] | None,
    drop_missing: bool,
    weights: str | None = None,
    se: str | None = None,
) -> Columns | FormulaColumns:
    """Return the columns that a formula, or the options in its place, name.

    Parameters
    ----------
    formula, y, x, fixed, group, center, missing, drop_missing, weights, se
        The argument and the options.

    Raises
    ------
    ValueError
        If both or neither are given, the formula is invalid, or a code is not COLUMN=CODE.
    """
    from radon_numpyro.data.files.file_columns import Columns, FormulaColumns
    from radon_numpyro.data.formulas.terms import parse_terms

    codes: dict[str, list[str]] = {}
    for given in missing or ():
        # A name may contain an equals sign, but a code may not.
        name, equals, code = given.rpartition("=")
        if not (equals and name and code):
            raise ValueError(f"Expected --missing COLUMN=CODE, such as floor=9; got {given!r}")
        codes.setdefault(name, []).append(code)
    options = {"--y": y, "--x": x, "--fixed": fixed, "--group": group, "--center": center}
    named = [name for name, value in options.items() if value]
    if formula is not None:
        if named:
            raise ValueError(
                f"Expected a formula, or {', '.join(options)}; got {formula!r} and "
                f"{', '.join(named)}. {_IN_FORMULA}"
            )
        return FormulaColumns(parse_terms(formula), codes, drop_missing, weights, se)
    if y is None or group is None:
        raise ValueError(
            f'Expected a formula such as "y ~ x + (1 + x || g)", or --y and --group; got '
            f"{' and '.join(named) or 'neither'}"
        )
    return Columns(
        y,
        tuple(x or ()),
        group,
        codes,
        drop_missing,
        tuple(center or ()),
        tuple(fixed or ()),
        weights,
        se,
    )


_IN_FORMULA = "A formula names all columns, and center(x) in it centres a column"


def load_rows(
    terminal: Terminal,
    file: str,
    used: Columns | FormulaColumns,
    *,
    reduce: bool | None,
    single_rows: bool = False,
    text: TextOptions | None = None,
) -> GroupedData | GroupStatistics:
    """Load a file, and note how many rows and groups it has.

    Parameters
    ----------
    terminal
        Receives the notes.
    file, used, reduce
        As in :func:`radon_numpyro.statistics.loading.load`.
    single_rows
        Whether every row may be a group of its own.
    text
        Format of a text table.

    Raises
    ------
    ValueError
        If each row is a group of its own, or as ``load``.
    """
    from radon_numpyro.data.checks import first_few
    from radon_numpyro.statistics.group_statistics import GroupStatistics
    from radon_numpyro.statistics.loading import load

    try:
        data = load(file, used, reduce=reduce, options=text)
    except ValueError as error:
        if used.drop_missing or not str(error).endswith(" missing"):
            raise
        raise ValueError(
            f"{error}. Fill in the values, or leave out these rows with --drop-missing"
        ) from None
    reduced = " reduced to statistics by DuckDB" if isinstance(data, GroupStatistics) else ""
    rows, groups = _counted(data.num_rows, "row"), _counted(data.num_groups, "group")
    single_rows = single_rows or data.labels.design.known_errors
    if data.num_groups >= data.num_rows and not single_rows:
        raise ValueError(
            f"Expected fewer groups than rows; got {groups} of {used.group!r} in {rows}. Without "
            "groups of several rows, differences between groups cannot be separated from scatter "
            "within them, unless standard errors are known: --se COLUMN"
        )
    terminal.note(f"{rows} in {groups}{reduced}.")
    for reason, count in data.left_out:
        terminal.note(f"Left out {_counted(count, 'row')}: {reason}.")
    if data.lost_groups:
        lost = _counted(len(data.lost_groups), "group")
        terminal.note(f"Left out {lost} without rows: {first_few(data.lost_groups)}.")
    for name, value in data.centers:
        terminal.note(f"{name} is centred at its mean, {value:.10g}.")
    for note in data.notes:
        terminal.note(f"{note}.")
    return data


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def note_folder(checkpoint: Path, out: Path) -> None:
    """Store the output folder in the checkpoint of a new run, for a later resume.

    Parameters
    ----------
    checkpoint
        Folder of the run. It is not changed if it is not empty.
    out
        Folder for the files.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    from radon_numpyro.inference.runs.checkpoint import NOTE

    if not (checkpoint.is_dir() and any(checkpoint.iterdir())):
        text = json.dumps({"out": str(out.absolute())})
        write_whole(checkpoint / NOTE, lambda path: path.write_text(text, encoding="utf-8"))


def noted_folder(checkpoint: Path) -> Path:
    """Return the output folder stored in a checkpoint, or ``results`` if none is stored.

    Parameters
    ----------
    checkpoint
        Folder of the run.

    Raises
    ------
    ValueError
        If the stored note is damaged.
    """
    from radon_numpyro.inference.runs.checkpoint import NOTE

    try:
        return Path(json.loads((checkpoint / NOTE).read_text(encoding="utf-8"))["out"])
    except (FileNotFoundError, NotADirectoryError):
        return Path("results")
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"Expected {checkpoint / NOTE} to name the output folder; got something else. Name it "
            "with --out"
        ) from None


def given_priors(given: list[str] | None) -> dict[str, PriorFamily]:
    """Parse the options ``--prior`` to priors by name of the coefficient.

    Parameters
    ----------
    given
        The texts of the options.

    Raises
    ------
    ValueError
        If a text cannot be parsed, or two name the same coefficient.
    """
    from radon_numpyro.model.coefficient_priors import parse_prior

    priors: dict[str, PriorFamily] = {}
    for text in given or ():
        name, prior = parse_prior(text)
        if name in priors:
            raise ValueError(f"Expected one --prior of {name!r}; got {priors[name]} and {prior}")
        priors[name] = prior
    return priors


def priors_of(
    name: str, given: dict[str, PriorFamily], data: GroupedData | GroupStatistics
) -> Priors | None:
    """Return the priors that the options specify, or None for the default of a fit.

    Parameters
    ----------
    name
        The option ``--priors``.
    given
        Priors of single coefficients, which replace those of ``name``.
    data
        Rows or statistics with the columns of the coefficients.

    Raises
    ------
    TypeError, ValueError
        If no coefficient has such a name, or the coefficient cannot have such a prior.
    """
    from radon_numpyro.model.priors import Priors, resolve_priors

    if name == "tutorial":
        return Priors.tutorial().with_coefficients(given, data.labels)
    return resolve_priors(given, data) if given else None
