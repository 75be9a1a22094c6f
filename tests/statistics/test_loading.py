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
from radon_numpyro.data.file_columns import Columns
from radon_numpyro.data.table_files import read_table
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
