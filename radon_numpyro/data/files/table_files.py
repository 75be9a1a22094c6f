"""Read tables into memory: text, Parquet, spreadsheets, and files of statistics programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import narwhals.stable.v2 as nw
import pandas as pd

from radon_numpyro.data.checks import suggest
from radon_numpyro.data.files.file_columns import Columns, FormulaColumns
from radon_numpyro.data.files.sheets import SHEETS, read_sheet
from radon_numpyro.data.files.statistics_files import ENCODED, PROGRAMS, read_statistics_file
from radon_numpyro.data.files.text_layout import TextOptions
from radon_numpyro.data.files.text_tables import COMPRESSED, TEXT, read_text, suffixes, text_of
from radon_numpyro.data.frames import to_pandas

PARQUET = (".parquet", ".pq")
# Advice for files of other programs that cannot be read here.
_SHEET = "save it as .xlsx, or the sheet with the rows as CSV UTF-8"
_IN_R = "in R, write.csv(frame, file, row.names = FALSE) writes a table of text"
OTHERS: Mapping[str, str] = {
    **dict.fromkeys((".xls", ".xlsb", ".ods", ".numbers"), _SHEET),
    **dict.fromkeys((".rds", ".rda", ".rdata"), _IN_R),
}
INSTALL = "pip install 'radon-numpyro[scale]'"


def read_table(
    source: str, columns: Columns | FormulaColumns, options: TextOptions | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read columns of a file into memory.

    Parameters
    ----------
    source
        Path of the file, or ``-`` for CSV on standard input.
    columns
        Columns to read. No rows are left out here.
    options
        Options for a table of text or a sheet, or the encoding of a file of SPSS or SAS.

    Returns
    -------
    frame, notes
        The columns, with an index that counts the rows of data from 1, and notes on how they
        were read.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file is not a table, or does not have each column exactly once.
    ImportError
        If the package for Parquet, spreadsheets or files of SPSS and SAS is not installed.
    """
    options = options or TextOptions()
    notes: tuple[str, ...] = ()
    kind = kind_of_file(source, options)
    if kind == "parquet":
        parquet = parquet_file(source)
        used = columns.among(parquet.schema_arrow.names)
        by_formula = isinstance(columns, FormulaColumns)
        y = None if isinstance(columns, FormulaColumns) else columns.y
        others = tuple(name for name in used if name not in (y, columns.group))
        table = nw.from_native(parquet.read(used))
        frame = to_pandas(table, y, others, columns.group, booleans=by_formula)
    elif kind == "statistics":
        frame, notes = read_statistics_file(source, columns, options.encoding)
    elif kind == "sheet":
        frame, notes = read_sheet(source, columns, options)
    else:
        with text_of(source, options, any_encoding=True) as stream:
            frame, notes = read_text(source, stream, columns, options)
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="row")
    return frame, notes


def kind_of_file(
    source: str, options: TextOptions | None = None
) -> Literal["text", "parquet", "sheet", "statistics"]:
    """Return the kind of a file by its name, after checking that it can be a table.

    Parameters
    ----------
    source
        Path of the file, or ``-``.
    options
        Options of the file, which must apply to its kind.

    Raises
    ------
    OSError
        If the file does not exist.
    ValueError
        If the name is that of another kind of file, or an option does not apply to the kind.
    """
    kind = _by_name(source)
    encoded = Path(source).suffix.lower() in ENCODED
    useless = (options or TextOptions()).useless("encoded" if encoded else kind)
    if useless:
        raise ValueError(f"Expected no {useless[0]} for this kind of file; got {source!r}")
    return kind


def _by_name(source: str) -> Literal["text", "parquet", "sheet", "statistics"]:
    if source == "-":
        return "text"
    path = Path(source)
    if not path.exists():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = f" ({suggest(path.name, there)})" if there else ""
        raise FileNotFoundError(f"Expected a file; got {source!r}, which does not exist{hint}")
    if path.is_dir():
        raise IsADirectoryError(f"Expected a file; got {source!r}, which is a folder")
    kind, packed = suffixes(source)
    every = ", ".join((*TEXT, *PARQUET, *SHEETS, *PROGRAMS))
    if kind in OTHERS:
        raise ValueError(f"Expected a name that ends in {every}; got {source!r}: {OTHERS[kind]}")
    if kind in TEXT:
        return "text"
    if packed or kind not in (*PARQUET, *SHEETS, *PROGRAMS):
        raise ValueError(
            f"Expected a name that ends in {every}, or, of text, with {', '.join(COMPRESSED)} "
            f"behind it; got {source!r}"
        )
    return "parquet" if kind in PARQUET else "sheet" if kind in SHEETS else "statistics"


def parquet_file(source: str) -> Any:
    """Open a Parquet file with PyArrow.

    Parameters
    ----------
    source
        Path of the file.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError(f"Expected PyArrow, to read {source!r}; got none: {INSTALL}") from None
    try:
        return pq.ParquetFile(source)
    except pa.ArrowInvalid as error:
        raise ValueError(f"Expected {source!r} to be a Parquet file; got: {error}") from None
