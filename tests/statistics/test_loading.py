"""Files come in as they are: names, labels, numbers and gaps, in memory and through DuckDB."""

import bz2
import gzip
import lzma
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from radon_numpyro import GroupedData, GroupStatistics
from radon_numpyro.data.files.file_columns import Columns, FormulaColumns, kind_notes
from radon_numpyro.data.files.table_files import read_table
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.terms import parse_terms
from radon_numpyro.data.missing import BLANKS
from radon_numpyro.statistics import loading as loading_module
from radon_numpyro.statistics.loading import load

ROWS = 'town,level,floor,note\n"St. Paul, MN",1.5,0,x\n007,-2.5e-3,1,\nNA,3,1,"a\nb"\n007,4,0,y\n'
LABELS = ("St. Paul, MN", "007", "NA")
LEVELS = [1.5, -2.5e-3, 3.0, 4.0]


def columns(missing=None, drop_missing=False, **names):
    given = {"y": "level", "x": ("floor",), "group": "town"} | names
    return Columns(**given, missing=missing or {}, drop_missing=drop_missing)


def write(path, text, **encoding):
    path.write_bytes(text.encode(**encoding) if isinstance(text, str) else text)
    return str(path)


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("rows.csv", lambda b: b),
        ("rows.TXT", lambda b: b),
        ("rows.csv.gz", gzip.compress),
        ("rows.csv.bz2", bz2.compress),
        ("rows.csv.xz", lzma.compress),
        ("rows.csv", lambda b: b"\xef\xbb\xbf" + b),
        ("rows.csv", lambda b: b.replace(b"\n", b"\r\n")),
    ],
)
def test_text_is_read_as_it_stands(name, pack, tmp_path):
    data = load(write(tmp_path / name, pack(ROWS.encode())), columns(), reduce=None)
    assert isinstance(data, GroupedData)
    # Zeros before a label and the label NA are labels; commas in quotes part nothing.
    assert data.labels.groups == LABELS
    assert data.y.tolist() == LEVELS
    assert data.x[:, 0].tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("name", ["rows.tsv", "rows.tab", "rows.csv"])
def test_tabs_part_columns(name, tmp_path):
    source = write(tmp_path / name, "town\tlevel\tfloor\na, b\t1\t0\nc;d\t2\t1\n")
    data = load(source, columns(), reduce=None)
    assert data.labels.groups == ("a, b", "c;d")


def test_semicolons_part_columns_where_the_names_have_no_comma(tmp_path):
    source = write(tmp_path / "rows.csv", "town;level;floor\na, b;1;0\nc;2;1\n")
    assert load(source, columns(), reduce=None).labels.groups == ("a, b", "c")


def test_standard_input_is_read(monkeypatch, tmp_path):
    path = write(tmp_path / "rows.csv", ROWS)
    with open(path) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert load("-", columns(), reduce=None).labels.groups == LABELS


def test_standard_input_is_read_for_a_formula(monkeypatch, tmp_path):
    """Text is read a second time, which a pipe alone does not allow."""
    with open(write(tmp_path / "rows.csv", ROWS)) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        data = load(
            "-", of_formula("level ~ floor + note + (1 | town)", drop_missing=True), reduce=None
        )
    assert data.labels.groups == ("St. Paul, MN", "NA", "007")
    assert dict(data.left_out) == {"no note": 1}


@pytest.mark.parametrize("blank", ["", "NA", "NaN", "null", "."])
@pytest.mark.parametrize("reduce", [False, True])
def test_blanks_of_numbers_are_left_out_when_asked_and_are_labels_of_groups(
    blank, reduce, tmp_path
):
    label = blank or "b"
    text = f"town,level,floor\na,1,0\na,{blank},1\n{label},3,{blank}\n{label},5,1\na,2,0\n"
    source = write(tmp_path / "rows.csv", text)
    data = load(source, columns(drop_missing=True), reduce=reduce)
    assert dict(data.left_out) == {"no level": 1, "no floor": 1}
    assert set(data.labels.groups) == {"a", label}
    assert data.num_rows == 3


@pytest.mark.parametrize("reduce", [False, True])
def test_codes_are_numbers_of_number_columns_and_text_of_groups(reduce, tmp_path):
    text = "town,level,floor\n1,1,0\n01,2,9\n2,3,9.0\n1,-99.5,1\n3,4,1\n1,5,1\n"
    codes = {"floor": ["9"], "level": ["-99.5"], "town": ["3"]}
    data = load(write(tmp_path / "rows.csv", text), columns(codes), reduce=reduce)
    assert data.left_out == (
        ("level is -99.5 (missing)", 1),
        ("floor is 9 (missing)", 2),
        ("town is 3 (missing)", 1),
    )
    assert data.labels.groups == ("1",)


@pytest.mark.parametrize("reduce", [False, True])
def test_labels_of_parquet_keep_their_type(reduce, tmp_path):
    path = tmp_path / "rows.parquet"
    towns = pa.array([27, 5, None, 27, 99, 5], pa.int32())
    levels = pa.array([1, 2, 3, 4, 5, None], pa.float32())
    pq.write_table(pa.table({"town": towns, "level": levels, "floor": [True] * 6}), path)
    data = load(str(path), columns({"town": ["99"]}, drop_missing=True), reduce=reduce)
    assert set(data.labels.groups) == {27, 5}
    assert all(isinstance(label, int) for label in data.labels.groups)
    assert dict(data.left_out) == {"town is 99 (missing)": 1, "no level": 1, "no town": 1}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_duckdb_gives_the_statistics_of_the_rows_in_memory(suffix, tmp_path):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"town": [f"Ort {c} ü" for c in rng.integers(0, 9, 300)]})
    frame['odd "name"'] = 1e6 + rng.normal(size=300)
    frame["level"] = rng.normal(size=300) + frame['odd "name"']
    path = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="," if suffix == "csv" else "\t")
    used = columns(x=('odd "name"',))
    reduced = load(str(path), used, reduce=True)
    assert isinstance(reduced, GroupStatistics)
    expected = GroupStatistics.from_data(load(str(path), used, reduce=False))
    order = [reduced.labels.groups.index(g) for g in expected.labels.groups]
    for name in ("count", "mean_x", "mean_y", "sxx", "sxy", "syy"):
        found = getattr(reduced, name)[order]
        np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-9)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_large_files_are_reduced_unasked(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"rows.{suffix}"
    frame = pd.DataFrame({"town": ["a", "a", "b"], "level": [1.0, 2.0, 4.0], "floor": [0, 1, 1]})
    frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    assert isinstance(load(str(path), columns(), reduce=None), GroupedData)
    monkeypatch.setattr(loading_module, "LARGE_BYTES", 10)
    monkeypatch.setattr(loading_module, "LARGE_ROWS", 2)
    assert isinstance(load(str(path), columns(), reduce=None), GroupStatistics)
    assert isinstance(load(str(path), columns(), reduce=False), GroupedData)


def test_without_duckdb_the_way_out_is_named(tmp_path, monkeypatch):
    source = write(tmp_path / "rows.csv", ROWS)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ImportError, match=r"Expected DuckDB .*radon-numpyro\[scale\].*--no-reduce"):
        load(source, columns(), reduce=True)


def test_without_pyarrow_the_way_out_is_named(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"level": [1.0]}).to_parquet(path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"Expected PyArrow.*radon-numpyro\[scale\]"):
        load(str(path), columns(), reduce=False)


def test_rows_to_be_predicted_need_no_outcome(tmp_path):
    source = write(tmp_path / "new.csv", "floor,town\n0,007\n1,\n")
    frame, _ = read_table(source, columns(y=None))
    assert frame.columns.tolist() == ["floor", "town"]
    assert frame.index.tolist() == [1, 2]
    assert frame["town"].tolist()[0] == "007"
    assert pd.isna(frame["town"].tolist()[1])


def test_a_name_with_a_pattern_is_one_file_in_memory(tmp_path):
    write(tmp_path / "rows1.csv", ROWS)
    source = write(tmp_path / "rows[1].csv", "town,level,floor\nz,1,0\n")
    assert load(source, columns(), reduce=None).labels.groups == ("z",)


# Formulas


def of_formula(formula, missing=None, drop_missing=False):
    return FormulaColumns(parse_terms(formula), missing or {}, drop_missing)


def assert_same_statistics(found, expected):
    assert found.labels.design == expected.labels.design
    assert found.formula == expected.formula
    assert found.notes == expected.notes
    assert found.left_out == expected.left_out
    order = [found.labels.groups.index(g) for g in expected.labels.groups]
    for name in ("count", "mean_x", "mean_y", "sxx", "sxy", "syy"):
        wanted = getattr(expected, name)
        np.testing.assert_allclose(getattr(found, name)[order], wanted, rtol=1e-9, atol=1e-9)


def odd_rows():
    """Columns of each kind, with what may be mistaken for another."""
    rng = np.random.default_rng(8)
    size = 240
    blanks = rng.choice([b for b in BLANKS if b], size)
    words = rng.choice(["true", "FALSE", "True"], size)
    return pd.DataFrame(
        {
            "town": rng.choice(["01", "1", "NA", "Ort ü"], size),
            "level": 1e5 + rng.normal(size=size),
            "x": np.where(rng.random(size) < 0.1, blanks, rng.normal(size=size).astype(str)),
            'odd "name"': rng.integers(1, 4, size),
            "warm": np.where(rng.random(size) < 0.1, ".", words),
            "fuel": rng.choice(["oil", "None", "NA", "it's"], size),
            "stage": rng.choice(["1", "2", "3+"], size, p=[0.5, 0.4, 0.1]),
            "unused": rng.choice(["a", ""], size),
        }
    )


FORMULA = 'level ~ x * warm + factor(`odd "name"`) + fuel + stage + (1 + x || town)'


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_duckdb_gives_the_statistics_of_a_formula_in_memory(suffix, tmp_path):
    """Else a fit would depend on the size of its file."""
    frame, path = odd_rows(), tmp_path / f"rows.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    else:
        numbers = pd.to_numeric(frame["x"], errors="coerce")
        frame.assign(x=numbers, warm=frame["warm"] == "true").to_parquet(path)
    used = of_formula(FORMULA, {"stage": ["2"], "fuel": ["oil"]}, drop_missing=True)
    expected = GroupStatistics.from_data(load(str(path), used, reduce=False))
    assert set(dict(expected.left_out)) >= {"fuel is oil (missing)", "stage is 2 (missing)"}
    assert_same_statistics(load(str(path), used, reduce=True), expected)


def test_text_is_what_a_formula_takes_it_for_in_memory(tmp_path):
    """Else levels become gaps, or truth values and numbers become categories."""
    path = tmp_path / "rows.csv"
    frame = odd_rows()
    frame.to_csv(path, index=False)
    data = load(str(path), of_formula(FORMULA, drop_missing=True), reduce=False)
    blank = {name: frame[name].isin(BLANKS) for name in ("x", "warm")}
    assert data.num_rows == (~blank["x"] & ~blank["warm"]).sum()
    assert dict(data.left_out)["no x"] == blank["x"].sum()
    assert set(data.labels.groups) == {"01", "1", "NA", "Ort ü"}
    names = set(data.labels.predictors)
    assert {"x", "warm[True]", "x:warm[True]", "stage[3+]"} <= names
    assert {"fuel[None]", "fuel[it's]", "fuel[oil]"} <= names, "NA is the first level, no gap"
    (note,) = [note for note in data.notes if "read as categories" in note]
    assert "stage: read as categories, because" in note
    assert "not a number, such as '3+'" in note


@pytest.mark.parametrize("reduce", [False, True])
def test_a_code_does_not_make_categories_of_numbers(reduce, tmp_path):
    """A column of numbers and one word for a gap is numbers, and the word is refused as a code."""
    text = "town,y,x\na,1,9\na,2,3\nb,3,5\nb,5,4\nb,6,unknown\n"
    source = write(tmp_path / "rows.csv", text)
    with pytest.raises(ValueError, match="code of column 'x' to be a number; got 'unknown'"):
        load(source, of_formula("y ~ x + (1 | town)", {"x": ["unknown"]}), reduce=reduce)
    source = write(tmp_path / "rows.csv", text.replace("unknown", "99"))
    data = load(source, of_formula("y ~ x + (1 | town)", {"x": ["99", "9"]}), reduce=reduce)
    assert dict(data.left_out) == {"x is 99 (missing)": 1, "x is 9 (missing)": 1}
    assert data.labels.predictors == ("x",)


@pytest.mark.parametrize("odd", ["1_000", "0x1F", "1d5", "1e", "NAN", "-nan", "٣", "--1"])
@pytest.mark.parametrize("reduce", [False, True])
def test_what_only_one_reader_takes_for_a_number_is_text(odd, reduce, tmp_path):
    text = f'town,y,x\na,1,1\na,2,1\nb,3,"{odd}"\nb,5,"{odd}"\n'
    data = load(write(tmp_path / "r.csv", text), of_formula("y ~ x + (1 | town)"), reduce=reduce)
    assert data.labels.predictors in ((f"x[{odd}]",), ("x[1]",))


@pytest.mark.parametrize("number", ["+1", " 1.5 ", ".5", "5.", "1E-3"])
@pytest.mark.parametrize("reduce", [False, True])
def test_numbers_are_numbers_however_they_are_written(number, reduce, tmp_path):
    text = f"town,y,x\na,1,1\na,2,7\nb,3,{number}\nb,5,4\n"
    data = load(write(tmp_path / "r.csv", text), of_formula("y ~ x + (1 | town)"), reduce=reduce)
    assert data.labels.predictors == ("x",)


def test_a_group_that_is_a_predictor_too_is_read_once(tmp_path):
    source = write(tmp_path / "rows.csv", "week,y\n1,2\n1,3\n2,5\n2,4\n3,4\n3,6\n")
    data = load(source, of_formula("y ~ I(week) + (1 | week)"), reduce=False)
    assert data.x[:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert data.labels.groups == (1, 2, 3)
    reduced = load(source, of_formula("y ~ I(week) + (1 | week)"), reduce=True)
    assert_same_statistics(reduced, GroupStatistics.from_data(data))


@pytest.mark.parametrize("reduce", [False, True])
def test_codes_of_truth_values_in_parquet_are_truth_values(reduce, tmp_path):
    """Else no row has the code, and none is left out."""
    path = tmp_path / "rows.parquet"
    rows = {"town": [*"aabbb"], "y": [1.0, 2.0, 4.0, 3.0, 5.0], "warm": [True, False] * 2 + [False]}
    pq.write_table(pa.table(rows | {"x": [0, 1, 0, 1, 1]}), path)
    formula = "y ~ x + (warm == FALSE) + (1 | town)"
    with pytest.raises(ValueError, match="code of column 'warm' to be true or false; got '9'"):
        load(str(path), of_formula(formula, {"warm": ["9"]}), reduce=reduce)
    with pytest.raises(ValueError, match="two levels or more"):
        load(str(path), of_formula(formula, {"warm": ["true"]}), reduce=reduce)


def test_what_duckdb_cannot_compute_names_the_option(tmp_path):
    source = write(tmp_path / "rows.csv", ROWS)
    with pytest.raises(ValueError, match=r"poly.*read the whole file with --no-reduce"):
        load(source, of_formula("level ~ poly(floor, 2) + (1 | town)"), reduce=True)


def test_new_rows_are_read_as_the_fit_read_its_own(tmp_path):
    """Else a level 1 of a category would be a number, where the file has no other levels."""
    fitted = pd.DataFrame(
        {
            "town": [*"aabbcc"],
            "y": [1.0, 2.0, 4.0, 3.0, 6.0, 7.0],
            "stage": ["1", "2", "3+", "1", "2", "3+"],
            "warm": [True, False, False, True, True, False],
            "x": [3.0, 1.0, 4.0, 1.0, 5.0, 9.0],
        }
    )
    learnt = GroupedData.from_formula("y ~ stage + warm + x + (1 | town)", fitted).formula
    source = write(tmp_path / "new.csv", "x,stage,warm,town,more\n1,1,true,a,\nNA,2,False,,\n")
    frame, _ = read_table(source, FormulaColumns(ModelFormula.from_json(learnt)))
    assert set(frame.columns) == {"x", "stage", "warm", "town"}, "the outcome is not asked for"
    assert frame["stage"].tolist() == ["1", "2"]
    assert frame["warm"].tolist() == [True, False]
    assert frame["x"].isna().tolist() == [False, True]
    source = write(tmp_path / "new.csv", "x,stage,warn,town\n1,1,true,a\n")
    used = FormulaColumns(ModelFormula.from_json(learnt))
    with pytest.raises(ValueError, match=r"column named 'warm'.*got 0 \(close: 'warn'\)"):
        read_table(source, used)


def test_fixed_columns_have_one_slope(tmp_path):
    text = "town,level,floor,age\na,1,0,3\na,2,1,1\nb,3,0,4\nb,5,1,1\n"
    source = write(tmp_path / "rows.csv", text)
    for reduce in (False, True):
        data = load(source, columns(fixed=("age",)), reduce=reduce)
        assert data.labels.design.fixed == ("age",)
        assert data.labels.design.slopes == ("floor",)


def test_a_typing_error_in_a_column_of_numbers_does_not_make_categories_of_it():
    """One decimal comma among 160 numbers would be 159 coefficients."""
    with pytest.raises(ValueError, match=r"'x' to hold numbers; got 1 of 160 values .*'1,5'"):
        kind_notes("x", 160, 159, "1,5")
    assert "read as categories" in kind_notes("stage", 10, 8, "K")[0]
    assert kind_notes("x", 160, 160, "") == kind_notes("town", 160, 2, "Bonn") == ()
