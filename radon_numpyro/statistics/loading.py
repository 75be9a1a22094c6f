"""Data for a fit from a file: its rows, or statistics that DuckDB reduces them to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.table_files import (
    BLANKS,
    INSTALL,
    Columns,
    header_of,
    is_parquet,
    parquet_file,
    read_table,
    suffixes,
    text_of,
)
from radon_numpyro.statistics.group_statistics import GroupStatistics

LARGE_BYTES, LARGE_ROWS = 100 * 2**20, 2_000_000


def load(source: str, columns: Columns, *, reduce: bool | None) -> GroupedData | GroupStatistics:
    """Load the rows of a file to be fitted, or their statistics if it is large.

    Parameters
    ----------
    source
        Path of a CSV, TSV or Parquet file, or ``-`` for CSV on standard input.
    columns
        What to take.
    reduce
        Whether DuckDB reduces the rows to statistics without holding them in memory. Default:
        from 2 million rows of Parquet or 100 MiB of text on.

    Returns
    -------
    GroupedData or GroupStatistics
        Labels of groups are text as it stands in a text file, and of their own type in Parquet.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError, TypeError
        It is no such file, or as ``GroupedData.from_frame``.
    ImportError
        A package is missing that this kind of file needs.
    """
    chosen: dict[str, Any] = {"y": columns.y, "x": columns.x, "group": columns.group}
    chosen |= {"drop_missing": columns.drop_missing, "center": columns.center}
    if _is_large(source) if reduce is None else reduce:
        with _relation(source, columns) as (relation, types):
            codes = _codes(columns, types[columns.group] != "VARCHAR")
            return GroupStatistics.from_frame(relation, **chosen, missing=codes)
    frame = read_table(source, columns)
    numeric = pd.api.types.infer_dtype(frame[columns.group]) in ("integer", "floating")
    return GroupedData.from_frame(frame, **chosen, missing=_codes(columns, numeric))


def _codes(columns: Columns, numeric_groups: bool) -> dict[str, list[Any]]:
    """Codes in the type of their column."""
    codes: dict[str, list[Any]] = {}
    for name, given in columns.missing.items():
        numeric = name != columns.group or numeric_groups
        codes[name] = [_number(name, code) if numeric else code for code in given]
    return codes


def _number(name: str, code: str) -> int | float:
    try:
        value = float(code)
    except ValueError:
        raise ValueError(
            f"Expected the code of column {name!r} to be a number; got {code!r}"
        ) from None
    return int(value) if value.is_integer() else value


def _is_large(source: str) -> bool:
    if is_parquet(source):
        return bool(parquet_file(source).metadata.num_rows > LARGE_ROWS)
    return source != "-" and not suffixes(source)[1] and Path(source).stat().st_size > LARGE_BYTES


@contextmanager
def _relation(source: str, columns: Columns) -> Iterator[tuple[Any, dict[str, str]]]:
    """The columns in use as a relation of DuckDB, and the type of each in the file."""
    if source == "-":
        raise ValueError("Expected a file to be reduced by DuckDB; got standard input")
    parquet = is_parquet(source)
    try:
        import duckdb
        import pyarrow as pa  # noqa: F401
    except ImportError:
        raise ImportError(
            f"Expected DuckDB and PyArrow, to reduce {source!r} without holding it in memory; got "
            f"none: {INSTALL}, or --no-reduce to read it whole"
        ) from None
    settings: dict[str, Any] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": tempfile.gettempdir(),
    }
    # A name with one of these would be read as a pattern of names.
    if any(c in source for c in "*?["):
        raise ValueError(
            f"Expected a name without *, ? and [, to be reduced by DuckDB; got {source!r}"
        )
    try:
        with duckdb.connect(config=settings) as connection:
            if parquet:
                relation = connection.read_parquet(source)
            else:
                with text_of(source) as stream:
                    header, between = header_of(source, stream)
                columns.among(header)
                relation = connection.read_csv(
                    source, header=True, delimiter=between, quotechar='"', all_varchar=True
                )
            columns.among(relation.columns)
            yield (
                relation.project(_projection(columns, text=not parquet)),
                dict(zip(relation.columns, map(str, relation.types), strict=True)),
            )
    except duckdb.Error as error:
        what = str(error).partition("\n")[0]
        raise ValueError(f"Expected DuckDB to read {source!r}; got: {what}") from None


def _projection(columns: Columns, *, text: bool) -> str:
    """Columns in use, numbers among text read as such."""

    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    if not text:
        return ", ".join(quoted(name) for name in (*columns.numbers(), columns.group))
    blanks = ", ".join(f"'{blank}'" for blank in BLANKS)
    numbers = [
        f"CASE WHEN {q} IN ({blanks}) THEN NULL ELSE CAST({q} AS DOUBLE) END AS {q}"
        for q in map(quoted, columns.numbers())
    ]
    group = quoted(columns.group)
    return ", ".join([*numbers, f"NULLIF({group}, '') AS {group}"])
