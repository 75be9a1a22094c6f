"""Read tables from sheets of spreadsheet files, by the same checks as tables of text.

Sheets have the same irregularities as tables of text: titles above the names of the columns,
totals below, marks of failed computations. Therefore a sheet is written as text, a line for each
row, and read as text. Exact numbers and dates are then taken from the cells.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
import zipfile
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from radon_numpyro.data.checks import first_few, suggest
from radon_numpyro.data.files.file_columns import Columns, FormulaColumns
from radon_numpyro.data.files.libraries import reading
from radon_numpyro.data.files.text_layout import TextOptions
from radon_numpyro.data.files.text_tables import layout_of, read_text
from radon_numpyro.data.formulas.categories import level_text
from radon_numpyro.data.frame_columns import CATEGORY

SHEETS = (".xlsx", ".xlsm")
_MERGED_OR_FORMULA = re.compile(rb"<(?:\w+:)?(?:mergeCell|f)[\s/>]")
_OLD = b"\xd0\xcf\x11\xe0"
type Row = tuple[Any, ...]


def read_sheet(
    source: str, columns: Columns | FormulaColumns, options: TextOptions
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read columns of a sheet into memory.

    Parameters
    ----------
    source
        Path of the file.
    columns
        Columns to read.
    options
        Options: the name of the sheet, and the notation of numbers in cells of text.

    Returns
    -------
    frame, notes
        The columns, with labels of groups as text, and notes on how they were read.

    Raises
    ------
    ValueError
        If the file is not a spreadsheet or has a password; if several sheets have content and
        none is named; if a blank cell in a used column belongs to a merged cell or to a formula
        without a stored value; or for the same reasons as for a table of text.
    ImportError
        If openpyxl is not installed.
    """
    sheet = _open(source, options.sheet)
    as_text = replace(options, delimiter=",", sheet=None)
    with io.StringIO(sheet.text(), newline="") as stream:
        layout = layout_of(source, stream, columns, as_text)
        stream.seek(0)
        frame, notes = read_text(source, stream, columns, as_text)
    first = layout.above + 1
    rows = [j for j, row in enumerate(sheet.rows) if j >= first and not _is_blank(row)]
    place = {name: layout.header.index(name) for name in frame}
    blank = {
        (rows[j], place[name]): str(name)
        for name in frame
        for j in np.flatnonzero(frame[name].isna())
        if sheet.rows[rows[j]][place[name]] is None
    }
    if blank:
        with reading(source, "a spreadsheet"):
            sheet.check_blanks(blank)
    for name in frame:
        labels = name == columns.group or columns.kinds.get(name) == CATEGORY
        cells = [sheet.rows[j][place[name]] for j in rows]
        frame[name] = _typed(cells, frame[name], labels=labels)
    return frame, (*sheet.notes, *notes)


@dataclass(frozen=True, eq=False)
class _Sheet:
    """Cells of a sheet.

    Attributes
    ----------
    source
        Content of the file, in bytes.
    name
        Name of the sheet.
    rows
        Values of the cells, None for blank cells; all rows have the same length.
    notes
        Notes on the choice of the sheet.
    """

    source: bytes
    name: str
    rows: list[Row]
    notes: tuple[str, ...]

    def text(self) -> str:
        """Return the rows as lines of text."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        for row in self.rows:
            if _is_blank(row):
                text.write("\n")
            else:
                writer.writerow(map(_written, row))
        return text.getvalue()

    def check_blanks(self, blank: dict[tuple[int, int], str]) -> None:
        """Raise ValueError for blank cells that are part of a merged cell or have a formula.

        ``blank`` has the name of the column for the row and column numbers of each blank cell.
        """
        with zipfile.ZipFile(io.BytesIO(self.source)) as parts:
            sheets = [parts.read(name) for name in parts.namelist() if "worksheets/" in name]
        # Opening the file with its formulas is slow, so it is done only if there are any.
        if not any(_MERGED_OR_FORMULA.search(sheet) for sheet in sheets):
            return
        sheet = _book(self.source, data_only=False)[self.name]
        for merged in sheet.merged_cells.ranges:
            for row, column, *_ in merged.cells:
                if (row - 1, column - 1) in blank:
                    raise ValueError(
                        f"Expected a value in each cell of {blank[row - 1, column - 1]!r}; got the "
                        f"merged cells {merged.coord}: take them apart, and fill in every one"
                    )
        for (row, place), name in blank.items():
            cell = sheet.cell(row + 1, place + 1)
            if cell.data_type == "f":
                raise ValueError(
                    f"Expected a value in each cell of {name!r}; got the formula {cell.value!r} "
                    f"without one in {cell.coordinate}: open the file in the spreadsheet program, "
                    "and save it there"
                )


def _open(source: str, wanted: str | None) -> _Sheet:
    """Open the sheet with a name, or the only sheet that has content."""
    content = Path(source).read_bytes()
    if content.startswith(_OLD):
        raise ValueError(
            f"Expected {source!r} to be a spreadsheet without a password; got one with it, or an "
            "old Excel file: save it as .xlsx without a password"
        )
    with reading(source, "a spreadsheet"):
        book = _book(content, data_only=True, read_only=True)
        names = [sheet.title for sheet in book.worksheets]
        if not names:
            raise ValueError(
                f"Expected {source!r} to have sheets; got none that can be read: save it as an "
                "Excel workbook (.xlsx), not as Strict Open XML"
            )
        if wanted is not None and wanted not in names:
            raise ValueError(
                f"Expected --sheet to name a sheet of {source!r}; got {wanted!r} "
                f"({suggest(wanted, names)})"
            )
        filled = {n: rows for n in names if wanted in (None, n) and (rows := _rows(book[n]))}
    if len(filled) != 1:
        got = f"{len(filled)}, {first_few(filled, 20)}: name it by --sheet" if filled else "none"
        raise ValueError(f"Expected one sheet of {source!r} to have something in it; got {got}")
    ((name, rows),) = filled.items()
    notes = (f"The sheet {name!r} of {len(names)} is read",) if len(names) > 1 else ()
    return _Sheet(content, name, rows, notes)


def _book(content: bytes, **options: bool) -> Any:
    """Open a spreadsheet with openpyxl."""
    import openpyxl

    return openpyxl.load_workbook(io.BytesIO(content), **options)


def _rows(sheet: Any) -> list[Row]:
    """Return the values of a sheet, None for blank cells, without blank rows at the end."""
    # Some programs store a wrong size of the sheet.
    sheet.reset_dimensions()
    rows: list[Row] = [
        tuple(None if isinstance(cell, str) and not cell.strip() else cell for cell in row)
        for row in sheet.iter_rows(values_only=True)
    ]
    while rows and _is_blank(rows[-1]):
        rows.pop()
    width = max(map(len, rows), default=0)
    return [row + (None,) * (width - len(row)) for row in rows]


def _is_blank(row: Row) -> bool:
    return all(cell is None for cell in row)


def _written(cell: Any) -> str:
    """Write a cell as a field of text without line breaks."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, datetime.datetime):
        midnight = cell.time() == datetime.time()
        return str(cell.date() if midnight else cell.isoformat(sep=" "))
    if isinstance(cell, float) and not cell.is_integer():
        # Written without a decimal separator, because cells of text determine the separator.
        sign, digits, exponent = Decimal(repr(cell)).as_tuple()
        return f"{'-' * sign}{''.join(map(str, digits))}e{exponent}"
    return " ".join(level_text(cell).splitlines())


def _typed(cells: list[Any], column: pd.Series, *, labels: bool) -> pd.Series:
    """Return the values of the cells if all are numbers or all are dates, else the text column."""
    types = {type(cell) for cell in cells if cell is not None}
    if types and types <= {int, float}:
        if labels:
            texts = [None if cell is None else level_text(cell) for cell in cells]
            return pd.Series(texts, column.index, dtype=column.dtype, name=column.name)
        return pd.Series(cells, column.index, dtype="float64", name=column.name)
    dates = {datetime.datetime, datetime.date, datetime.time, datetime.timedelta}
    if types and types <= dates and not labels:
        return pd.Series(cells, column.index, dtype="object", name=column.name)
    # Cells among text that are numbers with decimals are written as labels are.
    numbers = {_written(cell): level_text(cell) for cell in cells if isinstance(cell, float)}
    return column if is_numeric_dtype(column) else column.replace(numbers)
