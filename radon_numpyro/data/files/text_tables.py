"""Read columns of tables of text into memory as numbers, truth values, dates or text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import sys
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from radon_numpyro.data.checks import first_few, plural
from radon_numpyro.data.files.encodings import UNICODE, WESTERN, encoding_of, is_western
from radon_numpyro.data.files.file_columns import Columns, FormulaColumns, read_texts
from radon_numpyro.data.files.number_texts import PLAIN, find_notation, looks_numeric
from radon_numpyro.data.files.text_layout import (
    Layout,
    TextOptions,
    check_text,
    find_layout,
    records,
)
from radon_numpyro.data.frame_columns import BOOLEAN, CATEGORY, DATE, NUMBER
from radon_numpyro.data.missing import BLANKS

TEXT, TABS = (".csv", ".tsv", ".tab", ".txt"), (".tsv", ".tab")
COMPRESSED: Mapping[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def suffixes(source: str) -> tuple[str, str]:
    """Return the suffix of the kind of table, and the suffix of the compression; "" if absent.

    Parameters
    ----------
    source
        Path of a file, or ``-``.
    """
    found = [s.lower() for s in Path(source).suffixes[-2:]]
    packed = found.pop() if found and found[-1] in COMPRESSED else ""
    return (found[-1] if found else ""), packed


@contextmanager
def text_of(
    source: str, options: TextOptions, *, any_encoding: bool = False
) -> Iterator[io.TextIOWrapper]:
    """Open the text of a file or of standard input as a stream that can be read twice.

    Parameters
    ----------
    source
        Path of the file, or ``-``.
    options
        Options of the table.
    any_encoding
        Whether to read the whole text to recognise an encoding other than Unicode.
    """
    packed = suffixes(source)[1]
    if source == "-":
        raw: Any = io.BytesIO(sys.stdin.buffer.read())
    else:
        raw = COMPRESSED.get(packed, open)(source, "rb")
    encoding = options.encoding or "utf-8"
    try:
        with raw:
            head = raw.read(4096)
            raw.seek(0)
            check_text(name_of(source), head)
            encoding = options.encoding or encoding_of(head)
            if any_encoding and encoding == UNICODE and not options.encoding:
                encoding = WESTERN if is_western(raw) else UNICODE
                raw.seek(0)
            with io.TextIOWrapper(raw, encoding=encoding, newline="") as stream:
                yield stream
    except UnicodeDecodeError as error:
        given = options.encoding or encoding.removesuffix("-sig").upper()
        bad = error.object[error.start]
        around = re.split(rb"[,;\t\r\n\"|]", error.object[: error.start])[-1][-20:]
        around += re.split(rb"[,;\t\r\n\"|]", error.object[error.start :])[0][:20]
        read = around.decode("cp1252", "replace")
        raise ValueError(
            f"Expected {name_of(source)} to be text in {given}; got byte 0x{bad:02x}, which is "
            f"not: save it as UTF-8, or name its encoding, such as --encoding cp1252 if {read!r} "
            "is right"
        ) from None
    except UnicodeError as error:
        raise ValueError(f"Expected {name_of(source)} to be text; got: {error}") from None
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise ValueError(f"Expected {name_of(source)} to be {packed}; got: {error}") from None


def name_of(source: str) -> str:
    """Return the name of a source for messages.

    Parameters
    ----------
    source
        Path of the file, or ``-``.
    """
    return "standard input" if source == "-" else repr(source)


def layout_of(
    source: str, stream: IO[str], columns: Columns | FormulaColumns, options: TextOptions
) -> Layout:
    """Find the layout of a table of text from its first lines.

    Parameters
    ----------
    source, stream
        The source and its text, at its beginning.
    columns
        Columns that the table must have.
    options
        Options of the table.
    """
    if options.delimiter is None and suffixes(source)[0] in TABS:
        options = replace(options, delimiter="\t")
    return find_layout(name_of(source), stream, columns.among, options)


def read_text(
    source: str, stream: IO[str], columns: Columns | FormulaColumns, options: TextOptions
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read columns of a table of text.

    Parameters
    ----------
    source, stream
        The source and its text, at its beginning.
    columns
        Columns to read.
    options
        Options of the table.

    Returns
    -------
    frame, notes
        The columns, and notes on how they were read.

    Raises
    ------
    ValueError
        If the text is not a table, does not have each column exactly once, or can be read in
        several ways.
    """
    layout = layout_of(source, stream, columns, options)
    notes = list(layout.notes)
    if getattr(stream, "encoding", "") == WESTERN and not options.encoding:
        notes.append(
            "The text is not UTF-8 and read as Windows-1252 (Latin-1): --encoding names another"
        )
    used = columns.among(layout.header)
    text = _Text(source, stream, layout)
    kinds = columns.kinds
    undecided = columns.undecided(used) if isinstance(columns, FormulaColumns) else []
    labels = [n for n in used if n == columns.group or kinds.get(n) == CATEGORY]
    dates = [name for name in used if kinds.get(name) == DATE]
    blanks = {name: [""] if name in labels else list(BLANKS) for name in used}
    frame = text.read(used, [*labels, *dates], blanks)
    _check_lines(text, frame)
    # Columns that pandas read neither as numbers nor as truth values are read again as text.
    named = [name for name in (*kinds, *undecided) if kinds.get(name) not in (CATEGORY, DATE)]
    again = [name for name in named if not _is_read(frame[name], kinds.get(name))]
    notation = PLAIN
    asked = bool(options.decimal or options.thousands)
    if again or asked:
        texts = text.as_texts(named if asked else again)
        odd = [name for name in again if _has_numbers(texts[name], kinds.get(name))]
        if odd and not asked:
            texts = text.as_texts(named)
        if odd or asked:
            again = [n for n in named if _has_numbers(texts[n], kinds.get(n))]
            again += [n for n in texts if n not in again and not _is_read(frame[n], kinds.get(n))]
            chosen = {n: texts[n] for n in again if _has_numbers(texts[n], kinds.get(n))}
            notation, said = find_notation(chosen, options)
            notes += said
        _check_header_once(texts[again], frame, columns.group)
        for name in again:
            codes = columns.missing.get(name, ())
            column, found = read_texts(texts[name], kinds.get(name), codes, notation)
            if isinstance(columns, Columns) and not is_numeric_dtype(column):
                continue
            frame[name] = column
            notes += found
    return frame, tuple(notes)


@dataclass(frozen=True)
class _Text:
    """A table of text that can be read several times."""

    source: str
    stream: IO[str]
    layout: Layout

    def read(
        self,
        names: Sequence[str],
        texts: Sequence[str],
        blanks: Mapping[str, list[str]],
        *,
        again: bool = False,
    ) -> pd.DataFrame:
        """Read columns by name, some as text; raise ValueError if a line has too many fields."""
        header = list(self.layout.header)
        fields = [str(k) for k in range(len(header))]
        if self.layout.unnamed:
            fields.insert(len(header) if self.layout.unnamed == "last" else 0, "unnamed")
        place = {name: str(header.index(name)) for name in names}
        before = self.layout.skip_header(self.stream)
        with warnings.catch_warnings():
            # Pandas only warns if the first line has more fields than the header, but raises an
            # error for later lines.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            try:
                frame = pd.read_csv(
                    self.stream,
                    sep=self.layout.delimiter,
                    skipinitialspace=self.layout.spaced,
                    header=None,
                    names=fields,
                    index_col=False,
                    # Pandas checks lines for too many fields only if all columns are read.
                    usecols=list(place.values()) if again else None,
                    dtype={place[name]: "str" for name in texts} | {"unnamed": "str"},
                    na_values={place[n]: blanks[n] for n in names} | {"unnamed": [""]},
                    keep_default_na=False,
                    low_memory=False,
                )
            except pd.errors.ParserWarning:
                raise self.uneven(
                    f"more in line {before + 1}: if these are decimal commas, fields need quotes "
                    "or another delimiter"
                ) from None
            except pd.errors.ParserError as error:
                what = str(error).rpartition("C error: ")[2].strip()
                what = re.sub(r"(?<=line )\d+", lambda n: str(int(n[0]) + before), what)
                raise self.uneven(what) from None
        if self.layout.unnamed and not again:
            extra = frame["unnamed"]
            last = self.layout.unnamed == "last"
            if not extra.isna().all() if last else extra.duplicated().any():
                raise self.uneven(f"{len(header) + 1} fields")
        return frame[[place[name] for name in names]].set_axis(list(names), axis=1)

    def as_texts(self, names: Sequence[str]) -> pd.DataFrame:
        """Read columns by name as text, after `read` has checked the number of fields of lines."""
        return self.read(names, names, {name: [""] for name in names}, again=True)

    def uneven(self, what: str) -> ValueError:
        """Return the error for lines that differ in their number of fields."""
        return ValueError(
            f"Expected every line of {name_of(self.source)} to have the "
            f"{len(self.layout.header)} fields of its first; got: {what}"
        )


def _check_lines(text: _Text, frame: pd.DataFrame) -> None:
    """Raise ValueError for lines with fewer fields than the header.

    Such lines give missing values, so without missing values there is nothing to check.
    """
    if text.layout.unnamed or not frame.isna().any(axis=None):
        return
    before = text.layout.skip_header(text.stream)
    lines = iter(text.stream.readline, "")
    fields = len(text.layout.header)
    for record, line in records(lines, text.layout.delimiter, text.layout.spaced):
        # A line without content is not a row.
        if 0 < len(record) < fields and any(field.strip() for field in record):
            raise text.uneven(f"{plural(len(record), 'field')} in line {before + line}")


def _check_header_once(texts: pd.DataFrame, frame: pd.DataFrame, group: str) -> None:
    """Raise ValueError if a line among the rows repeats the names of the columns."""
    again = (frame[group] == group).to_numpy()
    for name in texts:
        again = again & (texts[name] == name).to_numpy()
    if again.any():
        rows = (np.flatnonzero(again) + 1).tolist()
        raise ValueError(
            f"Expected the names of the columns once; got them again in {plural(len(rows), 'row')} "
            f"(row {first_few(rows)}): delete {'it' if len(rows) == 1 else 'them'}"
        )


def _has_numbers(column: pd.Series, kind: str | None) -> bool:
    """Return whether most fields of a column of text are numbers, in any notation."""
    if kind == NUMBER:
        return True
    return kind is None and looks_numeric(column[~column.isin(BLANKS)]) > 0.5


def _is_read(column: pd.Series, kind: str | None) -> bool:
    """Return whether a column was read as its kind, or, without a given kind, not as text."""
    if kind == CATEGORY:
        return True
    if is_bool_dtype(column):
        return kind in (BOOLEAN, None)
    return is_numeric_dtype(column) and kind in (NUMBER, None)
