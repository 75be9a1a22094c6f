"""Tables from files, in memory: CSV, TSV and Parquet."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import narwhals.stable.v2 as nw
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from radon_numpyro.data.checks import suggest
from radon_numpyro.data.file_columns import Columns, FormulaColumns, read_texts
from radon_numpyro.data.frame_columns import BOOLEAN, CATEGORY, NUMBER
from radon_numpyro.data.frames import to_pandas
from radon_numpyro.data.missing import BLANKS

TEXT = (".csv", ".tsv", ".tab", ".txt")
PARQUET = (".parquet", ".pq")
COMPRESSED: Mapping[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
INSTALL = "pip install 'radon-numpyro[scale]'"


def read_table(
    source: str, columns: Columns | FormulaColumns
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read columns of a file into memory.

    Parameters
    ----------
    source
        Path of the file, or ``-`` for CSV on standard input.
    columns
        What to take; rows are not left out here.

    Returns
    -------
    frame, notes
        The columns in use, under an index that counts the rows of data from 1, and what to know
        about how text was read.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no table, or a column is not there once.
    ImportError
        PyArrow is missing, for Parquet.
    """
    notes: tuple[str, ...] = ()
    if is_parquet(source):
        parquet = parquet_file(source)
        used = columns.among(parquet.schema_arrow.names)
        by_formula = isinstance(columns, FormulaColumns)
        y = None if isinstance(columns, FormulaColumns) else columns.y
        others = tuple(name for name in used if name not in (y, columns.group))
        table = nw.from_native(parquet.read(used))
        frame = to_pandas(table, y, others, columns.group, booleans=by_formula)
    else:
        with text_of(source) as stream:
            frame, notes = _read_text(source, stream, columns)
    frame.index = pd.RangeIndex(1, len(frame) + 1, name="row")
    return frame, notes


def suffixes(source: str) -> tuple[str, str]:
    """Suffix of the kind of table, and that of a compression.

    Parameters
    ----------
    source
        Path of a file, or ``-``.
    """
    found = [s.lower() for s in Path(source).suffixes[-2:]]
    packed = found.pop() if found and found[-1] in COMPRESSED else ""
    return (found[-1] if found else ""), packed


def is_parquet(source: str) -> bool:
    """Whether a file is Parquet, after refusing what is no table.

    Parameters
    ----------
    source
        Path of the file, or ``-``.
    """
    if source == "-":
        return False
    path = Path(source)
    if not path.exists():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = f" ({suggest(path.name, there)})" if there else ""
        raise FileNotFoundError(f"Expected a file; got {source!r}, which does not exist{hint}")
    if path.is_dir():
        raise IsADirectoryError(f"Expected a file; got {source!r}, which is a folder")
    kind, packed = suffixes(source)
    if kind not in (*TEXT, *PARQUET) or (packed and kind in PARQUET):
        raise ValueError(
            f"Expected a name that ends in {', '.join((*TEXT, *PARQUET))}, or, of text, with "
            f"{', '.join(COMPRESSED)} behind it; got {source!r}"
        )
    return kind in PARQUET


def parquet_file(source: str) -> Any:
    """Open a Parquet file by PyArrow.

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


@contextmanager
def text_of(source: str) -> Iterator[IO[str]]:
    """Text of a file or of standard input, from its beginning, to be read twice.

    Parameters
    ----------
    source
        Path of the file, or ``-``.
    """
    packed = suffixes(source)[1]
    if source == "-":
        raw: Any = io.BytesIO(sys.stdin.buffer.read())
    else:
        raw = COMPRESSED.get(packed, open)(source, "rb")
    try:
        with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected {name_of(source)} to be text in UTF-8; got byte "
            f"0x{error.object[error.start]:02x}, which is not: save it as UTF-8"
        ) from None
    except (gzip.BadGzipFile, lzma.LZMAError, EOFError) as error:
        raise ValueError(f"Expected {name_of(source)} to be {packed}; got: {error}") from None


def name_of(source: str) -> str:
    """Name of a source in a message.

    Parameters
    ----------
    source
        Path of the file, or ``-``.
    """
    return "standard input" if source == "-" else repr(source)


def header_of(source: str, stream: IO[str]) -> tuple[list[str], str]:
    """Names of the columns, and what stands between them: a tab, a semicolon or a comma.

    Parameters
    ----------
    source, stream
        The source and its text.
    """
    first = stream.readline()
    if not first.strip():
        raise ValueError(f"Expected {name_of(source)} to begin with names of columns; got none")
    if "\0" in first:
        raise ValueError(f"Expected {name_of(source)} to be text; got a NUL character in it")
    between = "," if "," in first else next((s for s in "\t;" if s in first), ",")
    if suffixes(source)[0] in (".tsv", ".tab"):
        between = "\t"
    stream.seek(0)
    lines = iter(stream.readline, "")
    return next(csv.reader(lines, delimiter=between)), between


def _read_text(
    source: str, stream: IO[str], columns: Columns | FormulaColumns
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    header, between = header_of(source, stream)
    used = columns.among(header)
    options: dict[str, Any] = {"sep": between, "index_col": False}
    options |= {"keep_default_na": False, "low_memory": False}
    kinds = columns.kinds
    labels = [n for n in used if n == columns.group or kinds.get(n) == CATEGORY]
    numbers = {name: list(BLANKS) for name in used if name not in labels}
    stream.seek(0)
    with warnings.catch_warnings():
        # A first line of data that is longer than the header; later ones are errors by themselves.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            frame = pd.read_csv(
                stream,
                dtype=dict.fromkeys(labels, "str"),
                na_values=numbers | {name: [""] for name in labels},
                **options,
            )[used]
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            what = str(error).rpartition("C error: ")[2].strip()
            raise ValueError(
                f"Expected every line of {name_of(source)} to have the {len(header)} fields of its "
                f"first; got: {what}"
            ) from None
    if isinstance(columns, Columns):
        return frame, ()
    # What is neither all numbers nor all true or false is read again, as it stands.
    named = (*kinds, *columns.undecided(used))
    again = [name for name in named if not _is_read(frame[name], kinds.get(name))]
    notes: list[str] = []
    if again:
        stream.seek(0)
        types, blanks = dict.fromkeys(again, "str"), {name: [""] for name in again}
        texts = pd.read_csv(stream, usecols=again, dtype=types, na_values=blanks, **options)
        for name in again:
            codes = columns.missing.get(name, ())
            frame[name], said = read_texts(texts[name], kinds.get(name), codes)
            notes += said
    return frame, tuple(notes)


def _is_read(column: pd.Series, kind: str | None) -> bool:
    """Whether a column holds what it is to hold, or, if that is open, no text."""
    if kind == CATEGORY:
        return True
    if is_bool_dtype(column):
        return kind in (BOOLEAN, None)
    return is_numeric_dtype(column) and kind in (NUMBER, None)
