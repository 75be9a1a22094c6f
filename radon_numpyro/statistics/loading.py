"""Load data for a fit from a file: the rows, or the statistics to which DuckDB reduces them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from radon_numpyro.data.files.file_columns import (
    FALSE,
    TRUE,
    Columns,
    FormulaColumns,
    kind_notes,
    kind_of,
)
from radon_numpyro.data.files.table_files import (
    INSTALL,
    kind_of_file,
    parquet_file,
    read_table,
)
from radon_numpyro.data.files.text_layout import TextOptions
from radon_numpyro.data.files.text_tables import layout_of, suffixes, text_of
from radon_numpyro.data.frame_columns import BOOLEAN, CATEGORY, NUMBER
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.missing import BLANKS
from radon_numpyro.statistics.group_statistics import GroupStatistics

# The texts that pandas also reads as numbers; DuckDB's own cast would accept 1_000 as well.
_NUMBER = r"(?i)\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*|\s*[+-]?inf(inity)?\s*"
# Digits with commas, currency signs or percent signs; these are understood only in memory.
_OTHER_NUMBER = (
    r"\s*[-+\x{2212}\x{2013}]?[$€£¥₹]?\s*[0-9][0-9.,''\x{2019}\x{a0}\x{202f}]*\s*[%$€£¥₹]?\s*"
)

LARGE_BYTES, LARGE_ROWS = 100 * 2**20, 2_000_000


# Advice, for Python, in the message about a term that DuckDB cannot compute.
_COLLECT = "so collect the columns in use first"


def load(
    source: str,
    columns: Columns | FormulaColumns,
    *,
    reduce: bool | None,
    options: TextOptions | None = None,
) -> GroupedData | GroupStatistics:
    """Load the rows of a file, or their statistics if the file is large.

    Parameters
    ----------
    source
        Path of a file of text, Parquet, a spreadsheet, Stata, SPSS or SAS, or ``-`` for CSV on
        standard input.
    columns
        The columns to use, by names or by a formula. A text column that a formula names holds
        numbers if all its fields are numbers, blank, or codes for missing values; truth values if
        its fields are true, false or blank; otherwise categories.
    reduce
        Whether DuckDB reduces the rows to statistics without holding them in memory. Default: true
        above 2 million rows of Parquet or 100 MiB of text.
    options
        Delimiter, decimal sign, encoding and other properties of a text table; name of a sheet.

    Returns
    -------
    GroupedData or GroupStatistics
        Labels of groups are text, unchanged, from a text file or a spreadsheet; from other files
        they keep their type.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError, TypeError
        If it is not a file of these kinds, or as ``GroupedData.from_frame`` and
        ``GroupedData.from_formula``.
    ImportError
        If a package that this kind of file needs is not installed.
    """
    data: GroupedData | GroupStatistics
    if _is_large(source) if reduce is None else reduce:
        with _relation(source, columns, options or TextOptions()) as (relation, kinds, notes):
            try:
                data = _made(GroupStatistics, relation, columns, kinds)
            except ValueError as error:
                what = str(error).replace(_COLLECT, "so read the whole file with --no-reduce")
                raise ValueError(what) from None
    else:
        frame, notes = read_table(source, columns, options)
        data = _made(GroupedData, frame, columns, {n: _kind(frame[n]) for n in frame.columns})
    return replace(data, notes=(*data.notes, *notes)) if notes else data


def _made[Data: (GroupedData, GroupStatistics)](
    of: type[Data], frame: Any, columns: Columns | FormulaColumns, kinds: Mapping[str, str]
) -> Data:
    """Make data from a frame, with codes for missing values converted to the types of columns."""
    missing = {
        name: [_code(name, code, kinds.get(name, CATEGORY)) for code in codes]
        for name, codes in columns.missing.items()
    }
    weights: dict[str, Any] = {"weights": columns.weights, "se": columns.se}
    if isinstance(columns, Columns):
        return of.from_frame(
            frame,
            y=columns.y or "",
            x=columns.x,
            group=columns.group,
            fixed=columns.fixed,
            missing=missing,
            drop_missing=columns.drop_missing,
            center=columns.center,
            **weights,
        )
    text, drop_missing = columns.formula.text, columns.drop_missing
    return of.from_formula(text, frame, missing=missing, drop_missing=drop_missing, **weights)


def _kind(column: pd.Series) -> str:
    """Return the kind of a column in memory: number, truth value or category."""
    inferred = pd.api.types.infer_dtype(column)
    if is_bool_dtype(column) or inferred == "boolean":
        return BOOLEAN
    numeric = is_numeric_dtype(column) or inferred in ("integer", "floating")
    return NUMBER if numeric else CATEGORY


def _code(name: str, code: str, kind: str) -> str | bool | int | float:
    """Convert a code for a missing value to the kind of its column."""
    if kind == CATEGORY:
        return code
    if kind == BOOLEAN:
        if code not in (*TRUE, *FALSE):
            raise ValueError(
                f"Expected the code of column {name!r} to be true or false; got {code!r}"
            )
        return code in TRUE
    try:
        value = float(code)
    except ValueError:
        raise ValueError(
            f"Expected the code of column {name!r} to be a number; got {code!r}"
        ) from None
    return int(value) if value.is_integer() else value


def _is_large(source: str) -> bool:
    kind = kind_of_file(source)
    if kind == "parquet":
        return bool(parquet_file(source).metadata.num_rows > LARGE_ROWS)
    if source == "-" or kind != "text" or suffixes(source)[1]:
        return False
    return Path(source).stat().st_size > LARGE_BYTES


@contextmanager
def _relation(
    source: str, columns: Columns | FormulaColumns, options: TextOptions
) -> Iterator[tuple[Any, dict[str, str], tuple[str, ...]]]:
    """Open the columns in use as a DuckDB relation, with their kinds and notes about them."""
    if source == "-":
        raise ValueError("Expected a file to be reduced by DuckDB; got standard input")
    kind = kind_of_file(source, options)
    if kind not in ("text", "parquet"):
        raise ValueError(f"Expected text or Parquet, to be reduced by DuckDB; got {source!r}")
    try:
        import duckdb
        import pyarrow as pa  # noqa: F401
    except ImportError:
        raise ImportError(
            f"Expected DuckDB and PyArrow, to reduce {source!r} without holding it in memory; got "
            f"none: {INSTALL}, or use --no-reduce to read the whole file"
        ) from None
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": tempfile.gettempdir(),
    }
    # DuckDB would read a name with one of these characters as a pattern.
    if any(c in source for c in "*?["):
        raise ValueError(
            f"Expected a name without *, ? and [, to be reduced by DuckDB; got {source!r}"
        )
    notes: tuple[str, ...] = ()
    try:
        with duckdb.connect(config=settings) as connection:
            if kind == "parquet":
                relation = connection.read_parquet(source)
                used = columns.among(relation.columns)
                types = dict(zip(relation.columns, map(str, relation.types), strict=True))
                kinds = {name: _KINDS.get(types[name].partition("(")[0], NUMBER) for name in used}
                projected = [_quoted(name) for name in used]
            else:
                with text_of(source, options) as stream:
                    layout = layout_of(source, stream, columns, options)
                    encoding = stream.encoding
                columns.among(layout.header)
                changed = options.decimal or options.thousands
                if not layout.is_plain or changed or not encoding.startswith("utf-8"):
                    raise ValueError(
                        f"Expected {source!r} to be plain text in UTF-8 with decimal points, to be "
                        "reduced by DuckDB; got another format. Use --no-reduce to read it whole"
                    )
                relation = connection.read_csv(
                    source,
                    header=True,
                    delimiter=layout.delimiter,
                    quotechar='"',
                    all_varchar=True,
                    skiprows=layout.above,
                )
                used = columns.among(relation.columns)
                kinds = dict.fromkeys(used, CATEGORY) | columns.kinds
                if isinstance(columns, FormulaColumns):
                    found, said = _kinds_of_texts(relation, columns, columns.undecided(used))
                    kinds |= found
                    notes = (*layout.notes, *said)
                projected = [_projection(name, kinds[name]) for name in used]
            yield relation.project(", ".join(projected)), kinds, notes
    except duckdb.Error as error:
        what = str(error).partition("\n")[0]
        raise ValueError(f"Expected DuckDB to read {source!r}; got: {what}") from None


# Types of DuckDB that do not hold numbers.
_KINDS = {"VARCHAR": CATEGORY, "ENUM": CATEGORY, "BOOLEAN": BOOLEAN}


def _kinds_of_texts(
    relation: Any, columns: FormulaColumns, names: Sequence[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Find the kinds of text columns by a query, with the same rules as `read_texts`."""
    if not names:
        return {}, ()
    counts = []
    for name in names:
        q, codes = _quoted(name), columns.missing.get(name, ())
        coded = f"coalesce({_among(q, codes)}, false)"
        present = f"{q} IS NOT NULL AND NOT {_among(q, BLANKS)} AND NOT {coded}"
        number = f"regexp_full_match({q}, '{_NUMBER}')"
        counts += [
            f"count(*) FILTER ({present})",
            f"count(*) FILTER ({present} AND {number})",
            f"count(*) FILTER ({present} AND {_among(q, (*TRUE, *FALSE))})",
            f"count(*) FILTER ({coded})",
            f"min({q}) FILTER ({present} AND NOT {number})",
            f"count(*) FILTER ({present} AND regexp_full_match({q}, '{_OTHER_NUMBER}'))",
        ]
    (row,) = relation.aggregate(", ".join(counts)).fetchall()
    kinds: dict[str, str] = {}
    notes: list[str] = []
    for j, name in enumerate(names):
        values, numbers, truths, coded_rows, example, written = row[6 * j : 6 * j + 6]
        kinds[name] = kind_of(values, numbers, 0 if coded_rows else truths)
        if kinds[name] == CATEGORY:
            if written > max(numbers, values / 2):
                raise ValueError(
                    f"Expected column {name!r} to hold plain numbers with decimal points, to be "
                    f"reduced by DuckDB; got {example!r}. Use --no-reduce to read the whole file"
                )
            notes += kind_notes(name, values, numbers, example)
    return kinds, tuple(notes)


def _projection(name: str, kind: str) -> str:
    """Write the SQL that converts a text column to its kind."""
    q = _quoted(name)
    if kind == NUMBER:
        return f"CASE WHEN {_among(q, BLANKS)} THEN NULL ELSE CAST({q} AS DOUBLE) END AS {q}"
    if kind == BOOLEAN:
        return f"CASE WHEN {_among(q, BLANKS)} THEN NULL ELSE {_among(q, TRUE)} END AS {q}"
    return f"NULLIF({q}, '') AS {q}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _among(quoted: str, texts: Sequence[str]) -> str:
    """Write the SQL condition that a column equals one of some texts."""
    listed = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    return f"({quoted} IN ({listed}))" if texts else "false"
