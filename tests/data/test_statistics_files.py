"""Files of Stata, SPSS and SAS: labelled values, what is missing by the file, and damage."""

import datetime
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pyreadstat
import pytest
from test_text_tables import is_right, loaded, of, outcome_of, put

from radon_numpyro.data.files.file_columns import Columns, FormulaColumns
from radon_numpyro.data.files.table_files import read_table
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.statistics.loading import load

FRAME = pd.DataFrame(
    {
        "school": [1, 1, 2, 2, 3, np.nan],
        "score": [1.5, 2.5, 3.0, 4.5, 2.0, 1.0],
        "sex": [1.0, 2, 1, 2, 2, 1],
        "age": [10.0, 11, 12, np.nan, 10, 12],
    }
)
LABELS = {"sex": {1: "male", 2: "female"}}


def stata(path, frame=FRAME, labels=LABELS):
    frame.to_stata(path, write_index=False, value_labels=labels, version=118)


def spss(path, frame=FRAME, labels=LABELS, missing=None):
    compressed = path.suffix == ".zsav"
    pyreadstat.write_sav(
        frame, path, variable_value_labels=labels, missing_ranges=missing, compress=compressed
    )


@pytest.mark.parametrize(
    ("suffix", "write"), [("dta", stata), ("sav", spss), ("zsav", spss), ("SAV", spss)]
)
def test_labelled_values_are_categories_in_the_order_of_their_codes(suffix, write, tmp_path):
    path = tmp_path / f"rows.{suffix}"
    write(path)
    data = load(str(path), of("score ~ sex + age + (1 | school)", drop_missing=True), reduce=None)
    # As text is sorted, "female" would be first.
    assert data.labels.predictors == ("sex[female]", "age")
    assert data.labels.groups == (1, 2, 3)
    assert all(isinstance(label, int) for label in data.labels.groups)
    assert data.x.tolist() == [[0, 10], [1, 11], [0, 12], [1, 10]]
    assert dict(data.left_out) == {"no age": 1, "no school": 1}


@pytest.mark.parametrize(("suffix", "write"), [("dta", stata), ("sav", spss)])
def test_labels_of_some_values_leave_numbers_numbers(suffix, write, tmp_path):
    path = tmp_path / f"rows.{suffix}"
    write(path, FRAME.dropna(), {"age": {12: "twelve or older"}, "school": {1: "first"}})
    data = loaded(path, "score ~ age + (1 | school)")
    assert data.labels.predictors == ("age",)
    assert data.labels.groups == (1, 2, 3)
    assert any("read as numbers, though 1 of 3 have labels, such as 12" in n for n in data.notes)


@pytest.mark.parametrize(("suffix", "write"), [("dta", stata), ("sav", spss)])
def test_an_outcome_keeps_its_values(suffix, write, tmp_path):
    path = tmp_path / f"rows.{suffix}"
    codes = {1: "never", 2: "often"}
    write(path, FRAME.dropna(), {"sex": codes})
    data = loaded(path, "sex ~ score + (1 | school)")
    assert data.y.tolist() == [1, 2, 1, 2]
    assert any("sex: its values are read as numbers, though 2 of 2" in n for n in data.notes)
    named = load(str(path), Columns("score", ("sex",), "school", {}, False), reduce=None)
    assert named.x[:, 0].tolist() == [1, 2, 1, 2]


def test_two_values_of_one_label_stay_apart(tmp_path):
    path = tmp_path / "rows.sav"
    spss(path, FRAME.dropna(), {"age": {10: "young", 11: "other", 12: "other"}})
    data = loaded(path, "score ~ age + (1 | school)")
    assert data.labels.predictors == ("age[other (11)]", "age[other (12)]")


def test_values_that_are_missing_by_the_file_are_missing_and_said(tmp_path):
    frame = FRAME.dropna().assign(kind=["a", "x", "a", "b"], age=[10.0, 97, 99, 12])
    labels = {"sex": {1: "male", 2: "refused"}, "kind": {"x": "unknown"}}
    spans = {"sex": [2], "age": [{"lo": 97, "hi": 99}], "kind": ["x"]}
    path = tmp_path / "rows.sav"
    spss(path, frame.assign(sex=[1, 1, 1, 2.0]), labels, spans)
    data = load(str(path), of("score ~ age + kind + (1 | school)", drop_missing=True), reduce=None)
    assert data.y.tolist() == [1.5, 2.0]
    assert dict(data.left_out) == {"no age": 2}
    assert "age: '97', '99' in 2 rows: missing values, as the file says" in data.notes
    assert "kind: 'x' in 1 row: missing values, as the file says" in data.notes
    with pytest.raises(ValueError, match=r"'sex'.*one, 'male'"):
        load(str(path), of("score ~ sex + (1 | school)", drop_missing=True), reduce=None)


@pytest.mark.parametrize("suffix", ["por", "xpt"])
def test_other_files_of_spss_and_sas_hold_what_was_written(suffix, tmp_path):
    frame = FRAME.dropna().assign(kind=["b", "a", "b", "a"])
    frame = frame.rename(columns=str.upper)
    path = tmp_path / f"rows.{suffix}"
    if suffix == "por":
        pyreadstat.write_por(frame, path)
    else:
        pyreadstat.write_xport(frame, path, file_format_version=5)
    data = loaded(path, "SCORE ~ AGE + KIND + (1 | SCHOOL)")
    assert data.labels.predictors == ("AGE", "KIND[b]")
    assert data.x.tolist() == [[10, 1], [11, 0], [12, 1], [10, 0]]
    assert data.y.tolist() == frame["SCORE"].tolist()
    with pytest.raises(ValueError, match=r"name columns; got 'Age' \(close: 'AGE'"):
        loaded(path, "SCORE ~ Age + (1 | SCHOOL)")


@pytest.mark.parametrize(("suffix", "write"), [("dta", stata), ("sav", spss)])
def test_dates_are_counted_by_days_and_refused_elsewhere(suffix, write, tmp_path):
    day = [datetime.date(2024, 2, 28) + datetime.timedelta(days=j) for j in (1, 0, 4, 2, 3, 9)]
    frame = FRAME.assign(day=pd.to_datetime(day) if suffix == "dta" else day, school=list("aabbcc"))
    path = tmp_path / f"rows.{suffix}"
    write(path, frame)
    data = loaded(path, "score ~ days(day) + (1 | school)")
    assert data.x[:, 0].tolist() == [1, 0, 4, 2, 3, 9]
    assert "days(day) counts days from 2024-02-28" in data.notes
    with pytest.raises(TypeError, match=r"'day' .*days\(day\) in a formula"):
        loaded(path, "score ~ day + (1 | school)")


def test_empty_texts_are_missing(tmp_path):
    path = tmp_path / "rows.sav"
    spss(path, FRAME.assign(school=["a", "", "b", "b", "a", "a"]))
    with pytest.raises(ValueError, match=r"'school' .* without gaps; got 1 row \(row 2\) missing"):
        loaded(path, "score ~ sex + (1 | school)")


def test_new_rows_are_read_by_the_kinds_of_the_fit(tmp_path):
    path = tmp_path / "rows.sav"
    spss(path, FRAME.dropna())
    fit = ModelFormula.from_json(loaded(path, "score ~ sex + (1 | school)").formula)
    # A value without a label would make numbers of the column, if the fit did not say otherwise.
    new = tmp_path / "new.sav"
    spss(new, FRAME.assign(sex=[2.0, 1, 1, 1, 1, 3]))
    frame, _ = read_table(str(new), FormulaColumns(fit))
    assert frame["sex"].tolist() == ["female", "male", "male", "male", "male", "3"]
    with pytest.raises(ValueError, match=r"'sex' to hold known levels .*; got '3'"):
        fit.columns_of(frame)


@pytest.mark.parametrize(
    ("suffix", "program"),
    [
        ("dta", "Stata"),
        ("sav", "SPSS"),
        ("zsav", "SPSS"),
        ("por", "SPSS"),
        ("xpt", "SAS"),
        ("sas7bdat", "SAS"),
    ],
)
def test_files_that_are_no_such_files_are_refused_in_a_sentence(suffix, program, tmp_path):
    good = tmp_path / "good.sav"
    spss(good)
    for content in (b"", b"site,dose\n", bytes(3000), good.read_bytes()[:150]):
        broken = put(tmp_path / f"broken.{suffix}", content)
        with pytest.raises(
            ValueError, match=rf"Expected .*broken\.{suffix}' to be a file of {program}; got one"
        ) as refused:
            loaded(broken)
        assert "\n" not in str(refused.value)


def test_duckdb_and_options_of_text_are_refused(tmp_path):
    path = tmp_path / "rows.sav"
    spss(path)
    with pytest.raises(ValueError, match="Expected text or Parquet, to be reduced by DuckDB"):
        loaded(path, "score ~ sex + (1 | school)", reduce=True)
    with pytest.raises(ValueError, match="Expected no --decimal for this kind of file"):
        loaded(path, "score ~ sex + (1 | school)", decimal=",")
    other = tmp_path / "rows.dta"
    stata(other)
    with pytest.raises(ValueError, match="Expected no --encoding for this kind of file"):
        loaded(other, "score ~ sex + (1 | school)", encoding="cp1252")


@pytest.mark.parametrize("suffix", ["sav", "xpt"])
def test_text_of_another_encoding_is_read_if_it_is_named(suffix, tmp_path):
    path = tmp_path / f"rows.{suffix}"
    frame = FRAME.dropna().assign(school=["Zürich", "Zürich", "b", "b"])
    if suffix == "sav":
        spss(path, frame)
    else:
        pyreadstat.write_xport(frame, path, file_format_version=5)
    path.write_bytes(path.read_bytes().replace("Zürich".encode(), b"Z\xfcrich "))
    with pytest.raises(ValueError, match=r"the text of .* in the encoding that it names; .*cp1252"):
        loaded(path, "score ~ age + (1 | school)")
    data = loaded(path, "score ~ age + (1 | school)", encoding="cp1252")
    assert data.labels.groups == ("Zürich", "b")
    with pytest.raises(ValueError, match=r"in ascii; got another"):
        loaded(path, "score ~ age + (1 | school)", encoding="ascii")


def test_a_missing_package_is_named_with_what_installs_it(tmp_path, monkeypatch):
    path = tmp_path / "rows.sav"
    spss(path)
    monkeypatch.setitem(sys.modules, "pyreadstat", None)
    with pytest.raises(ImportError, match=r'the package pyreadstat.*"radon-numpyro\[files\]"'):
        loaded(path, "score ~ sex + (1 | school)")


def test_the_packages_are_imported_for_their_files_alone(tmp_path):
    source = put(tmp_path / "rows.csv", "g,y\na,1\na,2\nb,4\nb,5\n")
    code = (
        "import sys, radon_numpyro\n"
        "from radon_numpyro.cli import commands_data\n"
        "from radon_numpyro.data.files.file_columns import FormulaColumns\n"
        "from radon_numpyro.data.formulas.terms import parse_terms\n"
        "from radon_numpyro.statistics.loading import load\n"
        f"load({str(source)!r}, FormulaColumns(parse_terms('y ~ 1 + (1 | g)')), reduce=False)\n"
        "print([n for n in ('openpyxl', 'pyreadstat') if n in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_mutated_file_of_spss_is_read_right_or_refused(tmp_path):
    rng = random.Random(21)
    rows = [("Ort A", 3.13, 1390.18), ("Ort A", -1.88, 1399.07), ("Ort B", 2.96, 1392.28)]
    rows += [("Ort B", 0.5, 998.5), ("Zürich", 12.0, 1001.25), ("Zürich", 4.25, 987.0)]
    frame = pd.DataFrame(rows, columns=["site", "dose", "yield"])
    right = refused = 0
    for _ in range(100):
        path = tmp_path / rng.choice(["rows.sav", "rows.zsav"])
        kind = rng.choice(["plain", "shuffled", "more", "labels", "cut", "header", "bytes"])
        more = frame if kind != "more" else frame.assign(note="x", when=pd.Timestamp("2024-01-01"))
        columns = rng.sample(list(more), len(more.columns)) if kind == "shuffled" else list(more)
        labels = {"dose": {12.0: "much"}} if kind == "labels" else None
        spss(path, more[columns], labels)
        content = bytearray(path.read_bytes())
        if kind == "cut":
            content = content[: rng.randrange(len(content))]
        elif kind == "header":
            content[rng.randrange(8)] = rng.randrange(256)
        elif kind == "bytes":
            for _ in range(rng.randrange(1, 20)):
                content[rng.randrange(176, len(content))] = rng.randrange(256)
        path.write_bytes(content)
        data = outcome_of(path)
        if isinstance(data, str):
            assert data.startswith("Expected "), kind
            assert "\n" not in data, kind
            refused += 1
        else:
            # The format has no sums that would tell a changed number.
            assert kind == "bytes" or is_right(data), kind
            right += 1
    assert right > 40
    assert refused > 15
