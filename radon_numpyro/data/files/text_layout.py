"""How a table of text is laid out: what parts its fields, and where it begins.

The head of the file decides, not its first line alone: of all ways to part it into fields, the one
that finds the columns asked for, and as many fields in every line.
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
# As pandas writes it: any number of blanks.
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
    """What is said about a table of text, or of a sheet; None leaves it to the file.

    Attributes
    ----------
    delimiter
        What parts the fields: one character, or a blank for any number of them.
    decimal, thousands
        What stands before the decimals of a number, and between its thousands.
    encoding
        Name of the encoding, as Python has it.
    skip_rows
        Lines above the names of the columns.
    sheet
        Name of the sheet of a spreadsheet.

    Raises
    ------
    ValueError
        One of them is something else.
    """

    delimiter: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    encoding: str | None = None
    skip_rows: int | None = None
    sheet: str | None = None

    def useless(self, kind: str) -> list[str]:
        """Options that are given and have no part in a kind of file.

        Parameters
        ----------
        kind
            ``"text"``, ``"sheet"``, ``"encoded"`` for others that hold text in some encoding, or
            another.
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
    """How a table of text is laid out.

    Attributes
    ----------
    header
        Names of the columns.
    delimiter
        What parts the fields, as pandas has it.
    above
        Lines above the header.
    spaced
        Whether blanks behind the delimiter belong to no field.
    unnamed
        ``"first"`` if the lines have names in front that the header has no field for, as R writes
        them; ``"last"`` if they end with one delimiter more; else empty.
    """

    header: tuple[str, ...]
    delimiter: str
    above: int = 0
    spaced: bool = False
    unnamed: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether only the delimiter, and lines above, are out of the ordinary."""
        return not (self.spaced or self.unnamed or self.delimiter == WHITE_SPACE)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know about it."""
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
        """Go to the first line behind the header; number of lines before it.

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
    """Refuse files of other kinds that bear the name of a table of text.

    Parameters
    ----------
    name
        The source, to be named in messages.
    head
        Its first bytes.
    """
    for mark, kind in _OTHERS.items():
        if head.startswith(mark):
            raise ValueError(f"Expected {name} to be text; got {kind}")


def find_layout(
    name: str, stream: IO[str], accepts: Callable[[Sequence[str]], object], options: TextOptions
) -> Layout:
    """Find how a table is laid out, from its first thousand lines.

    Parameters
    ----------
    name
        The source, to be named in messages.
    stream
        The text, at its beginning.
    accepts
        Raises ValueError for names of columns that lack one that is asked for.
    options
        What is said about it.

    Raises
    ------
    ValueError
        It does not begin with names of columns, or has a NUL in it.
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
    # Nothing has the columns asked for: the message lists those of the line with most fields.
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
    """The layout by one delimiter, and how badly the lines fit it, if it has the columns."""
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
    """How badly records fit a header, 0 if they do, and where they have a field without a name."""
    widths = {len(record) for record in body}
    if widths <= {fields}:
        return 0, ""
    if widths == {fields + 1}:
        if not any(record[-1].strip() for record in body):
            return 1, "last"
        names = [record[0] for record in body]
        quoted = all(line.lstrip().startswith('"') for line in lines[1:] if line.strip())
        counted = names == [str(n + 1) for n in range(len(names))]
        # Without quotes a decimal comma would make a field more, too.
        safe = quoted or counted or (delimiter != "," and len(names) > 1)
        if safe and len(set(names)) == len(names):
            return 1, "first"
    return (2 if max(widths) <= fields else 3), ""


def records(lines: Iterable[str], delimiter: str, spaced: bool) -> Iterator[tuple[list[str], int]]:
    """Records of fields, each with the number of its last line; what is no record ends them.

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
