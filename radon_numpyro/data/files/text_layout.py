"""Find the layout of a table of text: its delimiter, and the line of its header.

The layout is determined from the first `HEAD_LINES` lines, not only from the first line. Of the
delimiters that give a header with the requested columns, it has the one by which the lines agree
best with the number of fields in the header.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import IO

from radon_numpyro.data.checks import plural

DELIMITERS = (",", ";", "\t", "|")
# Delimiter in the form of pandas: one or more blanks.
WHITE_SPACE = r"\s+"
HEAD_LINES, LINES_ABOVE = 1000, 30
WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", WHITE_SPACE: "blanks"}
_OTHERS = {
    b"PK\x03\x04": "a spreadsheet or a ZIP file: save the sheet as CSV UTF-8, or unpack it",
    b"\xd0\xcf\x11\xe0": "an old Excel file: save the sheet as CSV UTF-8",
    b"\x1f\x8b": "a gzip file: end its name in .gz",
    b"BZh": "a bzip2 file: end its name in .bz2",
    b"\xfd7zXZ\x00": "an xz file: end its name in .xz",
    b"PAR1": "a Parquet file: end its name in .parquet",
    b"%PDF": "a PDF file: export the table as CSV",
}


@dataclass(frozen=True)
class TextOptions:
    """Options for reading a table of text or a sheet; if None, the file determines the value.

    Attributes
    ----------
    delimiter
        Delimiter of the fields: one character; a blank means one or more blanks.
    decimal, thousands
        Decimal separator and thousands separator of numbers.
    encoding
        Name of the encoding in Python.
    skip_rows
        Number of lines above the names of the columns.
    sheet
        Name of the sheet of a spreadsheet.

    Raises
    ------
    ValueError
        If an option is invalid.
    """

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    skip_rows: int | None = None
    sheet: str | None = None

    def useless(self, kind: str) -> list[str]:
        """Return the options that are given but do not apply to a kind of file.

        Parameters
        ----------
        kind
            ``"text"``, ``"sheet"``, ``"encoded"`` for other files with text in some encoding, or
            another word, for files to which no option applies.
        """
        of_kind = {
            "text": {"delimiter", "decimal", "thousands", "encoding", "skip_rows"},
            "sheet": {"decimal", "thousands", "skip_rows", "sheet"},
            "encoded": {"encoding"},
        }.get(kind, set())
        given = [f.name for f in fields(self) if getattr(self, f.name) is not None]
        return [f"--{name.replace('_', '-')}" for name in given if name not in of_kind]

    def __post_init__(self) -> None:
        if self.delimiter is not None and (
            len(self.delimiter) != 1 or self.delimiter in '"\r\n\0' or self.delimiter.isalnum()
        ):
            raise ValueError(
                f"Expected --delimiter to be one character, no letter, digit or quote; got "
                f"{self.delimiter!r}"
            )
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"Expected --decimal to be . or ,; got {self.decimal!r}")
        if self.thousands not in (None, ".", ",", " ", "'"):
            raise ValueError(
                f"Expected --thousands to be a point, a comma, a blank or '; got {self.thousands!r}"
            )
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(
                f"Expected --decimal and --thousands to differ; got {self.decimal!r} for both"
            )
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(
                    "Expected --encoding to be one that Python knows, such as cp1252 or utf-16; "
                    f"got {self.encoding!r}"
                ) from None


@dataclass(frozen=True)
class Layout:
    """Layout of a table of text.

    Attributes
    ----------
    header
        Names of the columns.
    delimiter
        Delimiter of the fields, in the form of pandas.
    above
        Number of lines above the header.
    spaced
        Whether to ignore blanks after the delimiter.
    unnamed
        ``"first"`` if lines begin with a field that the header lacks, as the row names that R
        writes; ``"last"`` if lines end with one more delimiter than the header; else empty.
    """

    header: tuple[str, ...]
    delimiter: str
    above: int = 0
    spaced: bool = False
    unnamed: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether the table is ordinary CSV except for its delimiter and lines above the header."""
        return not (self.spaced or self.unnamed or self.delimiter == WHITE_SPACE)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on the layout."""
        said = []
        if self.above:
            said.append(f"{plural(self.above, 'line')} above the names of the columns skipped")
        if self.unnamed == "first":
            said.append("The first field of each line has no name, and is taken for a row name")
        if self.delimiter not in (",", "\t"):
            word = WORDS.get(self.delimiter, repr(self.delimiter))
            said.append(f"Fields are parted by {word}")
        return tuple(said)

    def skip_header(self, stream: IO[str]) -> int:
        """Move to the first line after the header, and return the number of lines before it.

        Parameters
        ----------
        stream
            The text.
        """
        stream.seek(0)
        count = 0

        def lines() -> Iterator[str]:
            nonlocal count
            for line in iter(stream.readline, ""):
                count += 1
                yield line

        for _ in islice(lines(), self.above):
            pass
        next(records(lines(), self.delimiter, self.spaced), None)
        return count


def check_text(name: str, head: bytes) -> None:
    """Raise ValueError for a file of another kind that has the name of a table of text.

    Parameters
    ----------
    name
        Name of the source in messages.
    head
        First bytes of the source.
    """
    for mark, kind in _OTHERS.items():
        if head.startswith(mark):
            raise ValueError(f"Expected {name} to be text; got {kind}")


def find_layout(
    name: str, stream: IO[str], accepts: Callable[[Sequence[str]], object], options: TextOptions
) -> Layout:
    """Find the layout of a table from its first `HEAD_LINES` lines.

    Parameters
    ----------
    name
        Name of the source in messages.
    stream
        The text, at its beginning.
    accepts
        Function of the names of columns, which raises ValueError if a requested column is missing.
    options
        Options of the table.

    Raises
    ------
    ValueError
        If the text does not begin with names of columns, or contains a NUL character.
    """
    lines = list(islice(iter(stream.readline, ""), HEAD_LINES))
    whole = len(lines) < HEAD_LINES
    start = options.skip_rows or 0
    if any("\0" in line for line in lines):
        raise ValueError(
            f"Expected {name} to be text; got a NUL character in it: it is no table of text, or "
            "--encoding names its encoding, such as utf-16-le"
        )
    delimiters: tuple[str, ...] = (*DELIMITERS, WHITE_SPACE)
    if options.skip_rows is None and lines and (said := _SEP.fullmatch(lines[0].strip('\r\n"'))):
        start, delimiters = 1, (said[1],)
    if options.delimiter is not None:
        delimiters = (WHITE_SPACE if options.delimiter == " " else options.delimiter,)
    if not any(line.strip() for line in lines[start:]):
        raise ValueError(f"Expected {name} to begin with names of columns; got none")
    last = start + 1 if options.skip_rows is not None else min(start + LINES_ABOVE, len(lines))
    for above in range(start, last):
        found = [
            candidate
            for delimiter in delimiters
            if (candidate := _candidate(lines[above:], delimiter, above, whole, accepts))
        ]
        if found:
            return min(found, key=lambda candidate: candidate[0])[1]
    # No layout has the requested columns. Return the header with most fields, because the caller
    # raises an error that lists its names.
    while not lines[start].strip():
        start += 1
    rows = [(next(records(lines[start:], d, False), ([], 0))[0], d) for d in delimiters]
    header, delimiter = max(rows, key=lambda row: len(row[0]))
    return Layout(tuple(header), delimiter, start)


_SEP = re.compile(r"sep=(.)")


def _candidate(
    lines: Sequence[str],
    delimiter: str,
    above: int,
    whole: bool,
    accepts: Callable[[Sequence[str]], object],
) -> tuple[int, Layout] | None:
    """Return the misfit of the lines and the layout for one delimiter; None without the columns."""
    if not lines[0].strip():
        return None
    for spaced in (False, True):
        first = next(records(lines, delimiter, spaced), ([], 0))[0]
        header = tuple(n.strip().removeprefix("#").lstrip() for n in first) if spaced else first
        try:
            accepts(list(header))
        except (ValueError, TypeError):
            continue
        body = [record for record, _ in records(lines, delimiter, spaced) if record][1:]
        if not whole:
            body = body[:-1]
        misfit, unnamed = _fit(len(header), body, lines, delimiter)
        return misfit, Layout(tuple(header), delimiter, above, spaced, unnamed)
    return None


def _fit(
    fields: int, body: list[list[str]], lines: Sequence[str], delimiter: str
) -> tuple[int, str]:
    """Return the misfit of records to a header, 0 to 3, and the place of an unnamed field.

    The misfit is 0 if all records have the fields of the header; 1 if all have one more, which is
    empty or a row name; 2 if no record has more fields; else 3.
    """
    widths = {len(record) for record in body}
    if widths <= {fields}:
        return 0, ""
    if widths == {fields + 1}:
        if not any(record[-1].strip() for record in body):
            return 1, "last"
        names = [record[0] for record in body]
        quoted = all(line.lstrip().startswith('"') for line in lines[1:] if line.strip())
        counted = names == [str(n + 1) for n in range(len(names))]
        # An additional field that is not quoted could also come from a decimal comma.
        safe = quoted or counted or (delimiter != "," and len(names) > 1)
        if safe and len(set(names)) == len(names):
            return 1, "first"
    return (2 if max(widths) <= fields else 3), ""


def records(lines: Iterable[str], delimiter: str, spaced: bool) -> Iterator[tuple[list[str], int]]:
    """Yield records of fields, each with the number of its last line, up to an invalid record.

    Parameters
    ----------
    lines
        Lines of text.
    delimiter, spaced
        As in `Layout`.
    """
    blanks = delimiter == WHITE_SPACE
    given = (line.replace("\t", " ").strip() + "\n" for line in lines) if blanks else iter(lines)
    reader = csv.reader(
        given, delimiter=" " if blanks else delimiter, skipinitialspace=blanks or spaced
    )
    try:
        for record in reader:
            yield record, reader.line_num
    except csv.Error:
        return
