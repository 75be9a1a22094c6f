"""Tables of text as people have them: read as they are meant, or refused in one sentence."""

import gzip
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radon_numpyro import GroupedData
from radon_numpyro.data.files.file_columns import Columns, FormulaColumns
from radon_numpyro.data.files.table_files import read_table
from radon_numpyro.data.files.text_layout import TextOptions
from radon_numpyro.data.formulas.terms import parse_terms
from radon_numpyro.statistics.loading import load

CASES = Path(__file__).parents[1] / "cases"
FORMULA = "yield ~ dose + (1 | site)"
ROWS = [
    ("Ort A", 3.13, 1390.18),
    ("Ort A", -1.88, 1399.07),
    ("Ort B", 2.96, 1392.28),
    ("Ort B", 0.5, 998.5),
    ("Zürich", 12.0, 1001.25),
    ("Zürich", 4.25, 987.0),
]


def of(formula, **missing):
    drop = missing.pop("drop_missing", False)
    return FormulaColumns(parse_terms(formula), missing, drop)


def loaded(source, formula=FORMULA, reduce=False, **options):
    return load(str(source), of(formula), reduce=reduce, options=TextOptions(**options))


def put(path, text, encoding="utf-8"):
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def table(number=str, delimiter=";", header=("site", "dose", "yield"), rows=ROWS):
    lines = [header, *[(site, number(dose), number(level)) for site, dose, level in rows]]
    return "".join(delimiter.join(line) + "\n" for line in lines)


def comma(value):
    return str(value).replace(".", ",")


def is_right(data, rows=ROWS):
    """Whether data are those of the rows, from whatever text."""
    sites, doses, levels = zip(*rows, strict=True)
    return (
        tuple(data.labels.groups[code] for code in data.group) == sites
        and data.labels.predictors == ("dose",)
        and np.array_equal(data.x[:, 0], doses)
        and np.array_equal(data.y, levels)
    )


# The files of other people's kinds: the formula, and rows and groups that are to be found.


@pytest.mark.parametrize(
    ("name", "formula", "drop", "rows", "groups", "said"),
    [
        # An id column that had a blank: 1.0 for 1.
        ("float_ids", "yield ~ dose + (1 | id)", True, 47, 6, None),
        # A group that is called as a missing value is.
        ("na_group", FORMULA, False, 48, 7, None),
        # Decimal commas and semicolons.
        ("decimal_comma", FORMULA, False, 48, 6, "decimal comma, as '1,39' in 'yield'"),
        # Truth values with a blank.
        ("boolean_blank", "yield ~ dose + treated + (1 | site)", True, 47, 6, "True against False"),
        # Predictors that are 0, or far from 0, or the same within a group.
        ("zero_column", "y ~ a + b + (1 | category)", False, 20, 4, None),
        ("uncentred_year", "Reaction ~ year + (1 | Subject)", False, 180, 18, None),
        ("epoch_seconds", "yield ~ dose + epoch + (1 | site)", False, 48, 6, None),
        ("group_level", "log10_price ~ lat_c + (1 | town)", False, 64, 11, None),
        # Few groups; an outcome far from 0.
        ("rail", "travel ~ 1 + (1 | Rail)", False, 18, 6, None),
        ("large_offset", "resp ~ 1 + (1 | treatment)", False, 189, 9, None),
        # Many predictors, some of them collinear.
        ("eight_predictors", "y ~ x0 + x7 + (1 | g)", False, 400, 12, None),
        ("twelve_predictors", "score ~ class_0 + class_11 + (1 | region)", False, 300, 8, None),
    ],
)
def test_files_of_other_people_are_read(name, formula, drop, rows, groups, said):
    columns = of(formula, drop_missing=drop)
    data = load(str(CASES / f"{name}.csv"), columns, reduce=False)
    assert (data.num_rows, data.num_groups) == (rows, groups)
    assert sum(count for _, count in data.left_out) == drop
    assert said is None or any(said in note for note in data.notes)


def test_decimal_commas_are_read_as_their_points():
    data = loaded(CASES / "decimal_comma.csv")
    text = (CASES / "decimal_comma.csv").read_text().replace(",", ".").splitlines()[1:]
    sites, doses, levels = zip(*(line.split(";") for line in text), strict=True)
    assert tuple(data.labels.groups[c] for c in data.group) == sites
    assert data.x[:, 0].tolist() == [float(d) for d in doses]
    assert data.y.tolist() == [float(d) for d in levels]


def test_a_group_called_as_a_missing_value_is_a_finding():
    (finding,) = loaded(CASES / "na_group.csv").audit().findings
    assert "'NA' is a group of 'site' and looks like a missing value" in finding.what
    assert "--missing site=NA" in finding.command


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (table(comma), ["semicolons", "decimal comma"]),
        (table(comma, "\t"), ["decimal comma"]),
        (table(delimiter="|"), ["bars"]),
        ("sep=;\n" + table(comma), ["1 line above", "semicolons", "decimal comma"]),
        ("# by a logger\n# 3, 4\n" + table(delimiter=","), ["2 lines above"]),
        ("Levels of 2019\n\n" + table(), ["2 lines above", "semicolons"]),
        (table(header=("# site", "dose", "yield")), ["semicolons"]),
        (table(header=(" site", " dose ", "yield ")), ["semicolons"]),
        (table(delimiter=",", header=("site", '"dose"', '"yield"')), []),
        # A blank behind each delimiter.
        (table(delimiter=", "), []),
        # One delimiter more at the end of each line of data, or of every line.
        (table().replace("\n", ";\n").replace(";\n", "\n", 1), ["semicolons"]),
        (table().replace("\n", ";\n"), ["semicolons"]),
        # Columns without a name, or two of one name, that nobody asks for.
        (table(delimiter=",").replace("\n", ",7,\n").replace(",7,", ",,", 1), []),
        (table(delimiter=",").replace("\n", ",7,8\n").replace("7,8", "a,a", 1), []),
        # A comma in the name of another column.
        (table().replace("\n", ";u, v\n"), ["semicolons"]),
        # Percent; typographic minus; and signs of currencies.
        (table().replace(";-", ";\u2212"), ["semicolons"]),
        (table(lambda v: f"{v}%"), ["semicolons", "dose: read in percent, '3.13%' as 3.13"]),
        (table(lambda v: f"{v} €"), ["semicolons", "sign € is left out"]),
        (table(lambda v: f"${v}".replace("$-", "-$")), ["semicolons", "sign $ is left out"]),
        # Thousands, in four ways.
        (table(lambda v: f"{v:,.2f}"), ["semicolons", "between thousands, as '1,390.18'"]),
        (table(lambda v: f"{v:,.2f}".translate({44: 46, 46: 44})), ["decimal comma"]),
        (table(lambda v: f"{v:,.2f}".replace(",", "\u202f")), ["'1\\u202f390.18' is read as"]),
        (table(lambda v: f"{v:,.2f}".replace(",", "'")), ['"1\'390.18" is read as 1390.18']),
    ],
)
def test_what_can_be_read_in_one_way_is_read(text, said, tmp_path):
    data = loaded(put(tmp_path / "rows.csv", text))
    assert is_right(data)
    for words in said:
        assert any(words in note for note in data.notes), data.notes


@pytest.mark.parametrize("delimiter", [" ", ",", ";", "\t"])
def test_row_names_as_r_writes_them_are_no_column(delimiter, tmp_path):
    lines = [f'"{j}" "{s}" {d} {y}' for j, (s, d, y) in enumerate(ROWS, start=1)]
    lines = [delimiter.join(line.replace("Ort ", "Ort_").split(" ")) for line in lines]
    header = delimiter.join(['"site"', '"dose"', '"yield"'])
    data = loaded(put(tmp_path / "rows.txt", "\n".join([header, *lines])))
    assert is_right(data, [(site.replace(" ", "_"), *more) for site, *more in ROWS])
    assert any("taken for a row name" in note for note in data.notes)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_read_however_it_is_encoded(encoding, tmp_path):
    assert is_right(loaded(put(tmp_path / "rows.csv", table(), encoding)))


def test_compressed_text_is_laid_out_as_any(tmp_path):
    packed = gzip.compress(table(comma).encode("utf-16"))
    assert is_right(loaded(put(tmp_path / "rows.csv.gz", packed)))


@pytest.mark.parametrize("place", [12, 40, -6, None])
def test_a_damaged_compressed_file_is_refused_in_a_sentence(place, tmp_path):
    packed = bytearray(gzip.compress(table().encode()))
    if place is None:
        packed = packed[:60]
    else:
        packed[place : place + 5 or None] = b"\xff" * 5
    source = put(tmp_path / "rows.csv.gz", bytes(packed))
    with pytest.raises(ValueError, match=r"Expected .*rows\.csv\.gz' to be \.gz; got"):
        loaded(source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            table().replace("Zürich", "Genève").encode("cp1252"),
            "UTF-8; got byte 0xe8.*--encoding cp1252 if 'Genève' is right",
        ),
        # Commas on both sides: fields and decimals.
        (table(comma, ","), "every line .* to have the 3 fields of its first; got: more in line 2"),
        # A thousand, or one with three decimals?
        (table(lambda v: f"{v * 0 + 1390:,.0f}"), r"read in one way; got '1,390'.*--thousands ,"),
        (table().replace("12.0", "12,5"), "one way to write numbers; got '12,5' in 'dose'"),
        # What a spreadsheet could not compute, and other mistakes among numbers.
        (table().replace("3.13", "#DIV/0!"), "'dose' to hold numbers; got '#DIV/0!'"),
        (table().replace("1390.18", "#REF!"), "'yield' .* not a number: '#REF!'"),
        (table().replace("1390.18", "1390.18%"), "'yield' to be in one unit; got .* without %"),
        (table(lambda v: f"{v} €").replace("€", "$", 1), r"'dose' to be in one unit; got .* \$, €"),
        # Lines that are no rows.
        (table() + "site;dose;yield\n", r"names of the columns once; got them again .*row 7"),
        (table() + "Total;;7168\n", r"'dose' \(x\) to be finite; got 1 row \(row 7\) missing"),
        (table() + "Total\n", "the 3 fields of its first; got: 1 field in line 8"),
        (table().replace("Ort B;2.96", "# pause\nOrt B;2.96"), "got: 1 field in line 4"),
        (table(header=("site", "", "yield")), r"name columns; got 'dose' \(known: 'site', ''"),
        (table(header=("Ort A", "3.1", "2")), "name columns; got 'site'"),
        (b"PK\x03\x04" + bytes(40), "text; got a spreadsheet or a ZIP file"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused(text, message, tmp_path):
    with pytest.raises((ValueError, TypeError), match=rf"(?s)^Expected .*(?:{message})") as refused:
        loaded(put(tmp_path / "rows.csv", text))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("suffix", ["xls", "xlsb", "ods", "numbers", "rds", "RData", "rda"])
def test_tables_of_other_programs_are_refused_with_the_way_out(suffix, tmp_path):
    source = put(tmp_path / f"rows.{suffix}", b"")
    with pytest.raises(ValueError, match=r"Expected a name that ends in .*: .*(CSV|write\.csv)"):
        loaded(source)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (table().encode("cp1252"), {"encoding": "cp1252"}),
        (table(comma), {"decimal": ",", "delimiter": ";"}),
        (table(lambda v: f"{v:,.2f}"), {"thousands": ","}),
        ("site;dose;yield\n" + table(), {"skip_rows": 1}),
        (table(delimiter="~"), {"delimiter": "~"}),
    ],
)
def test_options_settle_it(text, options, tmp_path):
    assert is_right(loaded(put(tmp_path / "rows.csv", text), **options))


def test_options_settle_what_three_digits_leave_open(tmp_path):
    source = put(tmp_path / "rows.csv", "site;yield\na;1,390\na;2,500\nb;1,200\nb;1,100\n")
    formula = "yield ~ 1 + (1 | site)"
    assert loaded(source, formula, decimal=",").y.tolist() == [1.39, 2.5, 1.2, 1.1]
    assert loaded(source, formula, thousands=",").y.tolist() == [1390, 2500, 1200, 1100]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "ab"}, "--delimiter to be one character.*; got 'ab'"),
        ({"decimal": ";"}, r"--decimal to be \. or ,; got ';'"),
        ({"thousands": "x"}, "--thousands to be a point, .*; got 'x'"),
        (
            {"decimal": ",", "thousands": ","},
            "--decimal and --thousands to differ; got ',' for both",
        ),
        ({"encoding": "utf-99"}, "--encoding to be one that Python knows, .*; got 'utf-99'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        TextOptions(**options)


def test_columns_by_name_are_read_alike(tmp_path):
    source = put(tmp_path / "rows.csv", table(comma))
    data = load(str(source), Columns("yield", ("dose",), "site", {}, False), reduce=False)
    assert is_right(data)


def test_new_rows_are_read_alike(tmp_path):
    source = put(tmp_path / "new.csv", "site;dose\nOrt A;3,5\nOrt B;1.000,25\n")
    frame, notes = read_table(str(source), Columns(None, ("dose",), "site", {}, False))
    assert frame["dose"].tolist() == [3.5, 1000.25]
    assert any("decimal comma" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (table(comma), "with decimal points, to be reduced by DuckDB; got '.*--no-reduce"),
        (table(delimiter=" ").replace("Ort ", "Ort"), "plain text in UTF-8 .*--no-reduce"),
        (table().encode("utf-16"), "plain text in UTF-8 .*--no-reduce"),
    ],
)
def test_duckdb_refuses_what_is_read_in_memory_only(text, said, tmp_path):
    with pytest.raises(ValueError, match=f"Expected .*{said}"):
        loaded(put(tmp_path / "rows.csv", text), reduce=True)


def test_duckdb_skips_lines_above_the_header(tmp_path):
    text = "Levels of 2019\n\n" + table()
    reduced = loaded(put(tmp_path / "rows.csv", text), reduce=True)
    assert set(reduced.labels.groups) == {"Ort A", "Ort B", "Zürich"}
    assert reduced.num_rows == len(ROWS)
    assert any("2 lines above" in note for note in reduced.notes)


def test_dates_as_categories_are_said(tmp_path):
    days = ["2020-01-02", "2020-01-03", "2020-01-02", "2020-01-03", "2020-01-02", "2020-01-03"]
    lines = table().splitlines()
    text = "\n".join(f"{a};{b}" for a, b in zip(lines, ["day", *days], strict=True))
    data = loaded(put(tmp_path / "rows.csv", text), "yield ~ day + (1 | site)")
    assert any("one for each date" in note and "days(day) counts" in note for note in data.notes)


# Audits of slips


def test_a_point_between_thousands_is_a_finding():
    town = list("aabbcc")
    data = GroupedData.from_arrays([1.39, 1.2, 900, 850, 990, 1.01], None, town)
    assert any("may stand between thousands" in f.what for f in data.audit().findings)
    data = GroupedData.from_arrays([139.25, 120, 900, 850, 990, 101], None, town)
    assert not any("between thousands" in f.what for f in data.audit().findings)


def test_spellings_of_a_number_and_totals_are_findings():
    data = GroupedData.from_arrays(
        [1.0, 2, 4, 5.5, 3, 9], None, ["1", "1.0", "01", "2", "2", "Total"]
    )
    whats = [finding.what for finding in data.audit().findings]
    assert any("'1', '1.0', '01'" in what and "spellings of a number" in what for what in whats)
    assert any("'Total' of 'group' is named as a row of totals is" in what for what in whats)


def test_levels_of_categories_that_differ_in_case_are_a_finding():
    frame = pd.DataFrame(
        {"y": [1.0, 2, 4, 5.5], "ok": ["yes", "Yes", "no", "no"], "g": list("abab")}
    )
    found = GroupedData.from_formula("y ~ ok + (1 | g)", frame).audit().findings
    assert any("labels of 'ok' ('Yes', 'yes')" in finding.what for finding in found)


def test_objects_that_hold_numbers_are_numbers():
    frame = pd.DataFrame({"y": [1.0, 2, 4, 5.5], "x": [1.5, 2, 3, 5], "g": list("abab")})
    plain = GroupedData.from_formula("y ~ x + (1 | g)", frame)
    turned = GroupedData.from_formula("y ~ x + (1 | g)", frame.T.T)
    np.testing.assert_array_equal(plain.x, turned.x)
    np.testing.assert_array_equal(plain.y, turned.y)
    named = GroupedData.from_frame(frame.T.T, y="y", x="x", group="g")
    np.testing.assert_array_equal(named.x, plain.x)


# A good table, spoilt in several ways at once.


def mutated(rng):
    """Text of the rows, its encoding, and whether it may be read at all."""
    delimiter, decimal = rng.choice([",", ";", "\t", "|", " "]), rng.choice([".", ".", ","])
    quoting = rng.choice(["all", "text", "text", "none"])
    spaced = " " * (rng.random() < 0.15)
    grouped = rng.random() < 0.15

    def number(value):
        text = f"{value:,.2f}" if grouped else str(value)
        text = text.translate({44: 46, 46: 44}) if decimal == "," else text
        needs = quoting == "all" or (quoting == "text" and delimiter in text)
        return f'"{text}"' if needs else text

    def text(value):
        return value if quoting == "none" else f'"{value}"'

    lines = [[text(s), number(d), number(y)] for s, d, y in ROWS]
    lines.insert(0, [text(name) for name in ("site", "dose", "yield")])
    kind, good = rng.choice([*["plain"] * 4, *MUTATIONS]), True
    if kind == "row names":
        lines = [lines[0], *[[text(str(j)), *line] for j, line in enumerate(lines[1:], start=1)]]
    elif kind == "unnamed":
        lines = [[text(""), *lines[0]], *[["7", *line] for line in lines[1:]]]
    elif kind == "no header":
        lines, good = lines[1:], False
    elif kind == "header again":
        lines, good = [*lines[:4], lines[0], *lines[4:]], False
    elif kind == "blank":
        # Between blanks an empty field is none.
        lines[3][rng.choice([1, 2])], good = "", False
    elif kind == "short":
        lines[4], good = lines[4][:2], False
    whole = ["".join((delimiter + spaced).join(line)) for line in lines]
    if kind == "title":
        whole = ["Levels of 2019, by site", "", *whole]
    elif kind == "sep" and delimiter != " ":
        whole = [f"sep={delimiter}", *whole]
    elif kind == "comment":
        whole = ["# by a logger", *whole]
    elif kind == "trailing":
        whole = [line + delimiter for line in whole]
    end = rng.choice(["\n", "\r\n", "\n\n", "\r"])
    encoding = rng.choice(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
    return end.join(whole) + end, encoding, good


MUTATIONS = ["row names", "unnamed", "no header", "header again", "blank", "short"]
MUTATIONS += ["title", "sep", "comment", "trailing"]


def outcome_of(source):
    """The data of a file, or what is said of it."""
    try:
        return loaded(source)
    except (ValueError, TypeError) as error:
        return str(error)


def test_a_mutated_table_is_read_right_or_refused(tmp_path):
    rng = random.Random(21)
    right = refused = 0
    for _ in range(120):
        text, encoding, good = mutated(rng)
        source = put(tmp_path / "rows.csv", text, encoding)
        data = outcome_of(source)
        if isinstance(data, str):
            assert data.startswith("Expected "), text
            assert "\n" not in data, text
            refused += 1
            continue
        assert good, text
        assert is_right(data), text
        right += 1
    # Neither outcome is the rule: else nothing would be tried.
    assert right > 50
    assert refused > 20
