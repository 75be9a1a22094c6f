"""Sheets of spreadsheets as people have them: read as they are meant, or refused in a sentence."""

import datetime
import random
import sys
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pytest
from test_text_tables import FORMULA, ROWS, is_right, loaded, of, outcome_of, put

from radon_numpyro.data.files.file_columns import Columns, FormulaColumns
from radon_numpyro.data.files.table_files import read_table
from radon_numpyro.data.files.text_layout import TextOptions
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.statistics.loading import load

HEADER = ("site", "dose", "yield")


@pytest.fixture
def book(tmp_path):
    """Writes sheets of cells into a file, and gives its path."""

    def write(rows=(HEADER, *ROWS), change=None, **others):
        made = openpyxl.Workbook()
        made.active.title = "Data"
        for name, cells in {"Data": rows, **others}.items():
            sheet = made["Data"] if name == "Data" else made.create_sheet(name)
            for row in cells:
                sheet.append(row)
        if change is not None:
            change(made["Data"])
        made.save(tmp_path / "rows.xlsx")
        return tmp_path / "rows.xlsx"

    return write


def test_a_sheet_is_read_as_pandas_wrote_it(tmp_path):
    numbers = np.random.default_rng(3).normal(size=(40, 2)) * 10.0 ** np.arange(-20, 20)[:, None]
    frame = pd.DataFrame(numbers, columns=["dose", "yield"]).assign(site=list("abcd") * 10)
    frame.to_excel(tmp_path / "rows.xlsx")
    data = loaded(tmp_path / "rows.xlsx")
    # To the last bit of the 16 digits that are written, since the cells are numbers.
    written = frame[["dose", "yield"]].map(lambda value: float(f"{value:.16g}"))
    np.testing.assert_array_equal(data.x[:, 0], written["dose"])
    np.testing.assert_array_equal(data.y, written["yield"])


def number_as_text(sheet):
    for row in sheet.iter_rows(min_row=2, min_col=2):
        for cell in row:
            cell.value = str(cell.value)


def decimal_commas(sheet):
    for row in sheet.iter_rows(min_row=2, min_col=2):
        for cell in row:
            cell.value = str(cell.value).replace(".", ",")


@pytest.mark.parametrize(
    ("rows", "change", "said"),
    [
        ((HEADER, *ROWS), None, None),
        # Titles above the header, blank rows, and a column without a name.
        ((("Levels of 2019",), (), HEADER, *ROWS), None, "2 lines above"),
        ((HEADER, *ROWS[:3], (), ("", " "), *ROWS[3:], ()), None, None),
        ((("", *HEADER), *[(j, *row) for j, row in enumerate(ROWS)]), None, None),
        ((("si\nte", *HEADER), *[("a\nb", *row) for row in ROWS]), None, None),
        # Numbers in cells of text.
        ((HEADER, *ROWS), number_as_text, None),
        (((*HEADER, "x"), *[(*row, " ") for row in ROWS]), None, None),
        ((HEADER, *ROWS), decimal_commas, "decimal comma"),
        # A size that is not that of the sheet, or a cell far below.
        ((HEADER, *ROWS), lambda sheet: sheet.cell(5000, 9, " "), None),
    ],
)
def test_what_can_be_read_in_one_way_is_read(book, rows, change, said):
    data = loaded(book(rows, change))
    assert is_right(data)
    assert said is None or any(said in note for note in data.notes)


def test_labels_are_text_as_a_table_of_text_has_them(book):
    rows = [("id", "yield"), (1, 1.5), (1.0, 2.5), (2, 3.5), (0.125, 1)]
    assert loaded(book(rows), "yield ~ 1 + (1 | id)").labels.groups == ("1", "2", "0.125")
    mixed = [*rows, ("07", 2)]
    assert loaded(book(mixed), "yield ~ 1 + (1 | id)").labels.groups == ("1", "2", "0.125", "07")
    mixed = [("k", *rows[0]), (0.5, *rows[1]), ("b", *rows[2]), ("a", *rows[3]), ("a", *rows[4])]
    assert loaded(book(mixed), "yield ~ k + (1 | id)").labels.predictors == ("k[a]", "k[b]")


def test_truth_values_and_categories_are_what_they_are_in_text(book):
    rows = [
        ("g", "y", "ok", "kind"),
        *[(f"g{j % 2}", j**0.5, j > 2, "ab"[j % 2]) for j in range(6)],
    ]
    data = loaded(book(rows), "y ~ ok + kind + (1 | g)")
    assert data.labels.predictors == ("ok[True]", "kind[b]")
    assert data.x[:, 0].tolist() == [0, 0, 0, 1, 1, 1]


def test_numbers_are_no_thousands_beside_commas_in_text(book):
    rows = [HEADER, ("a", 2.125, "1,5"), ("a", "0,25", "2,5"), ("b", 1.25e-7, "3,5")]
    for dose in ("0,25", 0.25):
        rows[2] = ("a", dose, "2,5")
        data = loaded(book(rows))
        assert data.x[:, 0].tolist() == [2.125, 0.25, 1.25e-7]
        assert data.y.tolist() == [1.5, 2.5, 3.5]
    # Which of two signs a text has is open; the option speaks of text alone.
    rows = [HEADER, ("a", 2.125, "1,500"), ("a", 0.25, "2,500"), ("b", 1.5, "3,500")]
    with pytest.raises(ValueError, match=r"in one way; got '1,500'.*--decimal"):
        loaded(book(rows))
    data = loaded(book(rows), decimal=",")
    assert data.y.tolist() == [1.5, 2.5, 3.5]
    assert data.x[:, 0].tolist() == [2.125, 0.25, 1.5]


def test_one_sheet_with_something_in_it_is_read_and_several_are_to_be_named(book):
    data = loaded(book(Notes=[], More=[("", " ")]))
    assert is_right(data)
    assert "The sheet 'Data' of 3 is read" in data.notes
    two = book(Other=[HEADER, ("x", 1, 2), ("x", 2, 4), ("y", 3, 3)])
    with pytest.raises(
        ValueError, match=r"one sheet .*; got 2, 'Data', 'Other': name it by --sheet"
    ):
        loaded(two)
    assert loaded(two, sheet="Other").y.tolist() == [2, 4, 3]
    assert is_right(loaded(two, sheet="Data"))
    with pytest.raises(
        ValueError, match=r"--sheet to name a sheet .*; got 'data' \(close: 'Data'\)"
    ):
        loaded(two, sheet="data")


def formulas(sheet):
    sheet["B3"] = "=B2*2"


def merged(sheet):
    sheet.merge_cells("A2:A3")


@pytest.mark.parametrize(
    ("rows", "change", "message"),
    [
        ((HEADER, *ROWS), merged, "each cell of 'site'; got the merged cells A2:A3"),
        ((HEADER, *ROWS), formulas, r"each cell of 'dose'; got the formula '=B2\*2' without .* B3"),
        ((HEADER, *ROWS[:5], ("b", "#DIV/0!", 3)), None, "'dose' to hold numbers; got '#DIV/0!'"),
        ((HEADER, *ROWS[:5], ("b", 1, "#REF!")), None, "'yield' .* not a number: '#REF!'"),
        (
            (HEADER, *ROWS, ("Total", None, 7168)),
            None,
            r"'dose' \(x\) to be finite; got 1 row \(row 7",
        ),
        ((HEADER, *ROWS[:2], HEADER, *ROWS[2:]), None, "names of the columns once; .*row 3"),
        ((HEADER, *ROWS, ("Source: a logger",)), None, "1 row .row 7. missing"),
        (ROWS, None, "name columns; got 'site'"),
        ((), None, "one sheet of .* to have something in it; got none"),
        (([1, 2, 3],), None, "name columns; got 'site'"),
        (((*HEADER, "dose"), *[(*row, 1) for row in ROWS]), None, "one column named 'dose'; got 2"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(book, rows, change, message):
    with pytest.raises((ValueError, TypeError), match=rf"^Expected .*(?:{message})") as refused:
        loaded(book(rows, change))
    assert "\n" not in str(refused.value)


def test_not_available_is_missing_and_no_formula_without_a_value(book):
    source = book((HEADER, *ROWS, ("Ort A", "#N/A", 3.0)))
    data = load(str(source), of(FORMULA, drop_missing=True), reduce=False)
    assert is_right(data)
    assert dict(data.left_out) == {"no dose": 1}


def test_blanks_are_left_out_if_asked_but_not_those_of_formulas(book):
    source = book((HEADER, *ROWS, ("Ort A", "  ", 3.0)))
    assert is_right(load(str(source), of(FORMULA, drop_missing=True), reduce=False))
    source = book((HEADER, *ROWS, ("Ort A", None, 3.0)), formulas)
    with pytest.raises(ValueError, match="the formula '=B2"):
        load(str(source), of(FORMULA, drop_missing=True), reduce=False)


def test_dates_are_counted_by_days_and_refused_elsewhere(book):
    day = datetime.datetime(2024, 2, 27)
    rows = [("site", "day", "yield")]
    rows += [(s, day + datetime.timedelta(days=j), y) for j, (s, _, y) in enumerate(ROWS)]
    data = loaded(book(rows), "yield ~ days(day) + (1 | site)")
    assert data.x[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(TypeError, match=r"'day' .* got dates: days\(day\) in a formula"):
        loaded(book(rows), "yield ~ day + (1 | site)")
    # Dates as labels are text, as in a table of text.
    assert loaded(book(rows), "yield ~ 1 + (1 | day)").labels.groups[2] == "2024-02-29"


def test_new_rows_are_read_by_the_kinds_of_the_fit(book, tmp_path):
    fit = loaded(
        book([("g", "y", "age"), ("a", 1, 3), ("a", 2, 4), ("b", 3, 9)]), "y ~ age + (1 | g)"
    )
    used = FormulaColumns(ModelFormula.from_json(fit.formula))
    frame, _ = read_table(str(book([("age", "g"), (2.5, "a")])), used)
    assert frame.to_dict("list") == {"age": [2.5], "g": ["a"]}


def test_columns_by_name_and_rows_to_skip(book):
    source = book((HEADER, HEADER, *ROWS))
    used = Columns("yield", ("dose",), "site", {}, False)
    assert is_right(load(str(source), used, reduce=None, options=TextOptions(skip_rows=1)))


def test_options_of_other_files_are_refused(book, tmp_path):
    with pytest.raises(ValueError, match=r"no --delimiter for this kind of file; got .*rows\.xlsx"):
        loaded(book(), delimiter=";")
    text = put(tmp_path / "rows.csv", "site,dose,yield\na,1,2\na,2,3\nb,1,4\n")
    with pytest.raises(ValueError, match=r"no --sheet for this kind of file; got .*rows\.csv"):
        loaded(text, sheet="Data")
    with pytest.raises(ValueError, match=r"no --sheet for this kind of file; got .*rows\.csv"):
        loaded(text, sheet="Data", reduce=True)


def test_files_that_are_no_spreadsheets_are_refused_in_a_sentence(book, tmp_path):
    good = book().read_bytes()
    for content in (
        b"",
        b"site,dose\n",
        good[:200],
        good[:-40],
        good[:400] + bytes(40) + good[440:],
    ):
        with pytest.raises(ValueError, match=r"Expected .*broken\.xlsx' to be a spreadsheet; got"):
            loaded(put(tmp_path / "broken.xlsx", content))
    # As programs write spreadsheets with a password, and .xls.
    with pytest.raises(ValueError, match="without a password; got one with it, or an old Excel"):
        loaded(put(tmp_path / "locked.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)))
    with pytest.raises(ValueError, match="Expected text or Parquet, to be reduced by DuckDB"):
        loaded(book(), reduce=True)


def test_a_missing_package_is_named_with_what_installs_it(book, monkeypatch):
    source = book()
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(
        ImportError, match=r'Expected the package openpyxl.*"radon-numpyro\[files\]"'
    ):
        loaded(source)


def mutated(rng, book):
    """A spreadsheet that somebody has changed, and whether it may be read at all."""
    rows, good, kind = [HEADER, *ROWS], True, rng.choice(KINDS)
    place = rng.randrange(1, len(rows))
    if kind == "title":
        rows = [("Levels",), *[()] * rng.randrange(3), *rows]
    elif kind == "index":
        rows = [(None, *HEADER), *[(j, *row) for j, row in enumerate(ROWS)]]
    elif kind == "more":
        rows = [(*row, rng.choice([None, "x", 7, True])) for row in rows]
    elif kind == "text":
        rows = [rows[0], *[(s, str(d), str(y)) for s, d, y in ROWS]]
    elif kind == "shuffled columns":
        rows = [row[::-1] for row in rows]
    elif kind == "blank rows":
        rows.insert(place, ())
    elif kind == "cell":
        row = list(rows[place])
        row[rng.choice([1, 2])] = rng.choice([None, "#DIV/0!", "abc", "=A1", "1.2.3", "#N/A", True])
        rows[place], good = row, False
    elif kind == "no header":
        rows, good = rows[1:], False
    elif kind == "header again":
        rows, good = [*rows[:place], HEADER, *rows[place:]], place == 1
    elif kind == "total":
        rows, good = [*rows, ("Total", None, 1.0)], False
    source = book(rows)
    if kind in ("bytes", "cut"):
        content = bytearray(source.read_bytes())
        for _ in range(rng.randrange(1, 30)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        source.write_bytes(content if kind == "bytes" else content[: rng.randrange(len(content))])
    elif kind == "xml":
        # Damage within, under a sum that is right again.
        with zipfile.ZipFile(source) as packed:
            parts = {name: bytearray(packed.read(name)) for name in packed.namelist()}
        part = parts[rng.choice(list(parts))]
        for _ in range(rng.randrange(1, 4)):
            part[rng.randrange(len(part))] = rng.randrange(32, 127)
        with zipfile.ZipFile(source, "w") as packed:
            for name, content in parts.items():
                packed.writestr(name, bytes(content))
    return source, kind, good


KINDS = ["plain", "title", "index", "more", "text", "shuffled columns", "blank rows", "cell"]
KINDS += ["no header", "header again", "total", "bytes", "cut", "xml", "xml"]


def test_a_mutated_spreadsheet_is_read_right_or_refused(book):
    rng = random.Random(21)
    right = refused = 0
    for _ in range(120):
        source, kind, good = mutated(rng, book)
        data = outcome_of(source)
        if isinstance(data, str):
            assert data.startswith("Expected "), kind
            assert "\n" not in data, kind
            refused += 1
            continue
        if kind == "cell" and any("dose: read as categories" in note for note in data.notes):
            continue
        assert good, kind
        # A digit or a name that was changed within is a change of the table.
        assert kind == "xml" or is_right(data), kind
        right += 1
    assert right > 40
    assert refused > 30
