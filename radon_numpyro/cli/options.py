"""Arguments and options that several commands take, and what they mean for the data."""

from __future__ import annotations

import json
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

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="CSV, TSV, Parquet, .xlsx, .dta, .sav, .sas7bdat, .xpt; - is CSV on standard input.",
    ),
]
Fit = Annotated[str, typer.Argument(metavar="FIT", help="fit.nc, as the command fit writes it.")]
Formula = Annotated[
    str | None,
    typer.Argument(
        metavar="FORMULA",
        help='The model as lme4 writes it, such as "y ~ x * c + (1 + x || g)", in place of --y, '
        "--x, --fixed, --group and --center.",
        show_default=False,
    ),
]
Y = Annotated[str | None, typer.Option("--y", metavar="COLUMN", help="The outcome.")]
X = Annotated[
    list[str] | None,
    typer.Option(
        "--x",
        metavar="COLUMN",
        help="A predictor whose slope varies by group; may be repeated.",
    ),
]
Fixed = Annotated[
    list[str] | None,
    typer.Option(
        "--fixed",
        metavar="COLUMN",
        help="A predictor with one slope for all groups; may be repeated.",
    ),
]
Group = Annotated[str | None, typer.Option("--group", metavar="COLUMN", help="The groups.")]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="COLUMN",
        help="Precision weights w of the rows, as lme4 has them: the residual sd of a row is "
        "eps / sqrt(w).",
    ),
]
SE = Annotated[
    str | None,
    typer.Option(
        "--se",
        metavar="COLUMN",
        help="Known standard errors of the outcomes, as in a meta-analysis: there is no eps then.",
    ),
]
CenterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--center",
        metavar="COLUMN",
        help="A predictor to count from its mean, for one that is never near 0, such as years. May "
        "be repeated.",
    ),
]
Missing = Annotated[
    list[str] | None,
    typer.Option(
        "--missing",
        metavar="COLUMN=CODE",
        help="A code for a missing value: rows that have it are left out and counted. May be "
        "repeated.",
    ),
]
DropMissing = Annotated[
    bool,
    typer.Option("--drop-missing", help="Leave out, and count, rows with a blank in one of them."),
]
Reduce = Annotated[
    bool | None,
    typer.Option(
        "--reduce/--no-reduce",
        help="Have DuckDB reduce the rows to statistics, never holding them in memory. Default: "
        "from 2 million rows of Parquet or 100 MiB of text on.",
        show_default=False,
    ),
]
PriorsName = Annotated[
    Literal["weakly-informative", "tutorial"],
    typer.Option("--priors", help="Scaled by the data, or those of the radon tutorial."),
]
Prior = Annotated[
    list[str] | None,
    typer.Option(
        "--prior",
        metavar="NAME=FAMILY",
        help='The prior of one coefficient, in place of that of --priors, such as "SES=Normal(0, '
        '2)", "Intercept=Normal(0, 10)", "sd(SES)=HalfNormal(1)", "eps=Exponential(1)" or '
        '"correlation=LKJ(2)". May be repeated.',
    ),
]
Draws = Annotated[int, typer.Option(min=4, help="Draws kept of each chain.")]
Chains = Annotated[int, typer.Option(min=1, help="Chains.")]
Platform = Annotated[
    Literal["auto", "cpu", "gpu"],
    typer.Option(help="Where to compute: by default on the quicker, which is measured."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
NumWarmup = Annotated[int, typer.Option(min=20, help="Warm-up iterations of each chain.")]
TargetAcceptProb = Annotated[
    float | None,
    typer.Option(
        "--target-accept",
        help="Acceptance probability that NUTS aims at. Default: by the data and method.",
    ),
]
MaxTreeDepth = Annotated[
    int, typer.Option(min=1, help="Doublings of a trajectory of NUTS at the most.")
]
TargetESS = Annotated[
    float | None,
    typer.Option(help="Stop when the worst effective sample size reaches this."),
]
Nodes = Annotated[
    int | None,
    typer.Option(help="Nodes of --method integrate. Default: enough for --target-ess, or 1000."),
]
MaxSeconds = Annotated[
    float | None, typer.Option(help="Stop after this time, and keep what is drawn.")
]
Out = Annotated[Path, typer.Option(help="Folder for fit.nc and the tables.")]
Probability = Annotated[
    float, typer.Option("--ci-prob", min=0.01, max=0.999, help="Probability of the intervals.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
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
    """The columns that a formula, or options in its place, name.

    Parameters
    ----------
    formula, y, x, fixed, group, center, missing, drop_missing, weights, se
        The argument and the options.

    Raises
    ------
    ValueError
        There are both or neither, the formula is none, or a code is not given as COLUMN=CODE.
    """
    from radon_numpyro.data.files.file_columns import Columns, FormulaColumns
    from radon_numpyro.data.formulas.terms import parse_terms

    codes: dict[str, list[str]] = {}
    for given in missing or ():
        # A name may have an equals sign, a code not.
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
                f"{', '.join(named)}: {_IN_FORMULA}"
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


_IN_FORMULA = "a formula names all columns, and center(x) centres one"


def load_rows(
    terminal: Terminal,
    file: str,
    used: Columns | FormulaColumns,
    *,
    reduce: bool | None,
    single_rows: bool = False,
    text: TextOptions | None = None,
) -> GroupedData | GroupStatistics:
    """Load a file and say what came of it.

    Parameters
    ----------
    terminal
        Where to say it.
    file, used, reduce
        As in :func:`radon_numpyro.statistics.loading.load`.
    single_rows
        Whether every row may be a group of its own.
    text
        What is said about a table of text.

    Raises
    ------
    ValueError
        Each row is a group of its own, or as ``load``.
    """
    from radon_numpyro.data.checks import first_few
    from radon_numpyro.statistics.group_statistics import GroupStatistics
    from radon_numpyro.statistics.loading import load

    try:
        data = load(file, used, reduce=reduce, options=text)
    except ValueError as error:
        if used.drop_missing or not str(error).endswith(" missing"):
            raise
        raise ValueError(f"{error}: fill in, or leave out by --drop-missing") from None
    reduced = " reduced to statistics by DuckDB" if isinstance(data, GroupStatistics) else ""
    rows, groups = _counted(data.num_rows, "row"), _counted(data.num_groups, "group")
    single_rows = single_rows or data.labels.design.known_errors
    if data.num_groups >= data.num_rows and not single_rows:
        raise ValueError(
            f"Expected fewer groups than rows; got {groups} of {used.group!r} in {rows}, which "
            "cannot tell differences between groups from scatter within them unless standard "
            "errors are known: --se COLUMN"
        )
    terminal.note(f"{rows} in {groups}{reduced}.")
    for reason, count in data.left_out:
        terminal.note(f"Left out {_counted(count, 'row')}: {reason}.")
    if data.lost_groups:
        lost = _counted(len(data.lost_groups), "group")
        terminal.note(f"Left out {lost} without rows: {first_few(data.lost_groups)}.")
    for name, value in data.centers:
        terminal.note(f"{name} is centred: its 0 is now {value:.10g}, its mean.")
    for note in data.notes:
        terminal.note(f"{note}.")
    return data


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def note_folder(checkpoint: Path, out: Path) -> None:
    """Note beside a run that is about to begin where its files go, for when it is resumed.

    Parameters
    ----------
    checkpoint
        Folder of the run; one that has something in it is left as it is.
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
    """Where the files of a run go: as noted, or ``results`` if nothing is.

    Parameters
    ----------
    checkpoint
        Folder of the run.

    Raises
    ------
    ValueError
        If the note is damaged.
    """
    from radon_numpyro.inference.runs.checkpoint import NOTE

    try:
        return Path(json.loads((checkpoint / NOTE).read_text(encoding="utf-8"))["out"])
    except (FileNotFoundError, NotADirectoryError):
        return Path("results")
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"Expected {checkpoint / NOTE} to say where to write; got something else: give --out"
        ) from None


def given_priors(given: list[str] | None) -> dict[str, PriorFamily]:
    """Priors by name of the coefficient, as options have them.

    Parameters
    ----------
    given
        The options ``--prior``.

    Raises
    ------
    ValueError
        One of them cannot be read, or two are of one coefficient.
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
    """The priors of the options; None for those that a fit has by default.

    Parameters
    ----------
    name
        Which priors, as on the command line.
    given
        Priors of single coefficients, which replace theirs.
    data
        Rows or statistics, whose columns have the coefficients.

    Raises
    ------
    TypeError, ValueError
        No coefficient has such a name, or none can have such a prior.
    """
    from radon_numpyro.model.priors import Priors, resolve_priors

    if name == "tutorial":
        return Priors.tutorial().with_coefficients(given, data.labels)
    return resolve_priors(given, data) if given else None
