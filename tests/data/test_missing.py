"""Rows that are left out are those asked for, each counted once; nothing is dropped unasked."""

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from radon_numpyro import GroupedData, GroupStatistics

NAMES = {"y": "y", "x": ["floor"], "group": "town"}
FRAME = pd.DataFrame(
    {
        "y": [1.0, 2.0, np.nan, 4.0, np.nan, 6.0, 7.0],
        "floor": [0, 9, 9, 1, 0, 1, -7],
        "town": ["a", "a", "b", "b", None, "c", "a"],
        "unused": [np.nan] * 7,
    },
    index=[f"r{i}" for i in range(7)],
)
CODED = (
    ("floor is 9 (missing)", 2),
    ("floor is -7 (missing)", 1),
)


def engines(frame):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return {
        "pandas": frame,
        "polars": pl.from_arrow(table),
        "arrow": table,
        "lazy": pl.from_arrow(table).lazy(),
        "duckdb": duckdb.from_arrow(table),
    }


def test_a_row_counts_for_the_first_of_its_reasons():
    data = GroupedData.from_frame(FRAME, **NAMES, missing={"floor": [9, -7]}, drop_missing=True)
    # The third row has code 9 and no y; the fifth neither y nor town.
    assert data.left_out == (*CODED, ("no y", 1))
    assert data.y.tolist() == [1.0, 4.0, 6.0]
    assert data.labels.groups == ("a", "b", "c")


def test_a_code_leaves_blanks_to_be_refused_under_the_names_of_their_rows():
    frame = FRAME.assign(town="a")
    with pytest.raises(ValueError, match=r"'y' \(y\) to be finite; got 1 row \(index 'r4'\) miss"):
        GroupedData.from_frame(frame, **NAMES, missing={"floor": [9, -7]})


def test_a_column_that_is_not_used_may_be_blank():
    frame = FRAME.iloc[[0, 1, 3, 5]]
    data = GroupedData.from_frame(frame, **NAMES, drop_missing=True)
    assert (data.num_rows, data.left_out) == (4, ())


def test_a_code_that_no_row_has_is_not_reported():
    frame = FRAME.iloc[[0, 3, 5]]
    assert GroupedData.from_frame(frame, **NAMES, missing={"floor": 99}).left_out == ()


def test_a_code_may_mark_a_group():
    frame = FRAME.iloc[[0, 1, 3, 5]]
    data = GroupedData.from_frame(frame, **NAMES, missing={"town": "c"})
    assert data.labels.groups == ("a", "b")
    assert data.left_out == (("town is c (missing)", 1),)


@pytest.mark.parametrize("engine", ["pandas", "polars", "arrow", "lazy", "duckdb"])
def test_every_engine_leaves_out_the_same_rows(engine):
    frame = engines(FRAME)[engine]
    arguments = {**NAMES, "missing": {"floor": [9, -7]}, "drop_missing": True}
    found = GroupStatistics.from_frame(frame, **arguments)
    expected = GroupedData.from_frame(FRAME, **arguments)
    assert found.left_out == expected.left_out
    assert found.labels == expected.labels
    np.testing.assert_array_equal(found.count, [1, 1, 1])
    np.testing.assert_array_equal(found.mean_y, [1.0, 4.0, 6.0])


def test_rows_left_out_of_shards_add_up():
    arguments = {**NAMES, "missing": {"floor": [9, -7]}, "drop_missing": True}
    a = GroupStatistics.from_frame(FRAME.iloc[:4], **arguments)
    b = GroupStatistics.from_frame(FRAME.iloc[4:], **arguments)
    # In the order of their first appearance.
    assert dict(a.merge(b).left_out) == dict((*CODED, ("no y", 1)))


@pytest.mark.parametrize("engine", ["pandas", "polars", "lazy", "duckdb"])
def test_when_no_row_is_left_the_reasons_are_named(engine):
    frame = engines(FRAME.iloc[[1, 2]])[engine]
    expected = r"at least one row; got 0 rows; left out 2: floor is 9 \(missing\)"
    with pytest.raises(ValueError, match=expected):
        GroupStatistics.from_frame(frame, **NAMES, missing={"floor": 9})


@pytest.mark.parametrize("engine", ["pandas", "polars", "lazy", "duckdb"])
def test_a_code_of_a_column_that_is_not_used_is_refused(engine):
    with pytest.raises(ValueError, match=r"name columns in use; got 'flor' \(close: 'floor'\)"):
        GroupStatistics.from_frame(engines(FRAME)[engine], **NAMES, missing={"flor": 9})


def test_codes_without_their_column_are_refused():
    with pytest.raises(TypeError, match=r"missing to be a mapping .*; got 9"):
        GroupedData.from_frame(FRAME, **NAMES, missing=9)
