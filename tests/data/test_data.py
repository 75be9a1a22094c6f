"""Grouped data: what comes in is kept exactly, and what is wrong is named."""

import datetime
import decimal
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import radon_numpyro
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.labels import Labels
from radon_numpyro.data.radon import load_radon

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def frame():
    """Six houses in three towns, with an index that is not 0..5."""
    return pd.DataFrame(
        {
            "level": [1.5, -2.0, 0.25, 4.0, 3.0, 8.0],
            "floor": [0, 1, 1, 0, 2, 0],
            "warm": [True, False, True, True, False, False],
            "town": ["b", "a", "b", "c", "a", "b"],
        },
        index=[10, 20, 30, 40, 50, 60],
    )


@pytest.fixture
def data(frame):
    return GroupedData.from_frame(frame, y="level", x=["floor", "warm"], group="town")


# The radon files


def test_minnesota_is_the_data_of_the_tutorial():
    data = load_radon()
    assert (data.num_rows, data.num_groups, data.num_predictors) == (919, 85, 1)
    assert (data.labels.outcome, data.labels.predictors) == ("log_radon", ("floor",))
    assert data.labels.group == "county"
    assert data.left_out == ()
    assert data.labels.groups[:2] == ("AITKIN", "ANOKA")
    assert list(data.labels.groups) == sorted(data.labels.groups)
    assert data.group_sizes[data.labels.groups.index("ST LOUIS")] == 116
    assert Counter(data.x[:, 0]) == {0.0: 766, 1.0: 153}
    np.testing.assert_allclose(data.y[:4], np.log(np.array([2.2, 2.2, 2.9, 1.0]) + 0.1))
    np.testing.assert_allclose(data.y.mean(), 1.264779, atol=1e-6)


def test_cass_has_no_upstairs_house_nor_have_24_other_counties():
    data = load_radon()
    cass = data.select("CASS")
    assert cass.labels.groups == ("CASS",)
    assert cass.x.tolist() == [[0.0]] * 5
    np.testing.assert_allclose(cass.y, np.log(np.array([3.7, 7.4, 1.9, 5.3, 4.0]) + 0.1))
    upstairs = np.bincount(data.group, weights=data.x[:, 0], minlength=85)
    assert (upstairs == 0).sum() == 25


def test_log_radon_of_the_minnesota_file_is_log_of_activity_plus_a_tenth():
    file = Path(radon_numpyro.__file__).parent / "datasets" / "radon_minnesota.csv"
    frame = pd.read_csv(file)
    np.testing.assert_allclose(load_radon().y, np.log(frame["activity"] + 0.1), rtol=1e-14)


def test_us_keeps_the_rows_with_a_recorded_floor_and_counts_the_others():
    data = load_radon("us")
    assert (data.num_rows, data.num_groups) == (12_490, 471)
    assert data.left_out == (("floor is 9 (missing)", 287),)
    assert (data.labels.outcome, data.labels.predictors) == ("log_radon", ("floor",))
    assert data.labels.group == "fips"
    assert data.labels.groups[0] == "04001"
    assert {len(code) for code in data.labels.groups} == {5}
    assert "55071" not in data.labels.groups
    assert Counter(data.x[:, 0]) == {0.0: 8465, 1.0: 3983, 2.0: 23, 3.0: 19}
    # The first house is upstairs with 0.3 pCi/L; the second has no floor and is gone.
    np.testing.assert_allclose(data.y[:2], np.log([0.4, 0.6]))
    assert data.group_sizes.sum() == 12_490
    assert data.group_sizes.min() == 1


def test_every_minnesota_house_is_among_those_of_the_us():
    us, minnesota = load_radon("us"), load_radon()
    codes = [code for code in us.labels.groups if code.startswith("27")]
    both = us.select(codes)
    difference = Counter(zip(both.y.round(9), both.x[:, 0], strict=True))
    difference.subtract(Counter(zip(minnesota.y.round(9), minnesota.x[:, 0], strict=True)))
    assert min(difference.values()) == 0


@pytest.mark.parametrize("which", ["Minnesota", "", None, 3])
def test_load_radon_knows_two_files(which):
    with pytest.raises(ValueError, match="Expected which to be 'minnesota' or 'us'; got"):
        load_radon(which)


# From frames


def test_from_frame_keeps_values_types_and_order_of_first_appearance(data):
    assert data.labels == Labels("level", ("floor", "warm"), "town", ("b", "a", "c"))
    assert (data.y.dtype, data.x.dtype, data.group.dtype) == (np.float64, np.float64, np.int32)
    assert data.y.tolist() == [1.5, -2.0, 0.25, 4.0, 3.0, 8.0]
    assert data.x.tolist() == [[0, 1], [1, 0], [1, 1], [0, 1], [2, 0], [0, 0]]
    assert data.group.tolist() == [0, 1, 0, 2, 1, 0]
    assert data.group_sizes.tolist() == [3, 2, 1]


def test_from_frame_leaves_the_frame_alone_and_keeps_nothing_of_it(frame):
    before = frame.copy(deep=True)
    data = GroupedData.from_frame(frame, y="level", x="floor", group="town")
    pd.testing.assert_frame_equal(frame, before)
    frame.loc[10, ["level", "floor"]] = 99
    assert data.y[0] == 1.5
    assert data.x[0, 0] == 0


@pytest.mark.parametrize("name", ["y", "x", "group"])
def test_arrays_are_read_only(data, name):
    for subset in (data, data.take([0, 1]), data.select("b")):
        with pytest.raises(ValueError, match="read-only"):
            getattr(subset, name)[0] = 1


def test_x_may_be_one_name_or_none(frame):
    assert GroupedData.from_frame(frame, y="level", x="floor", group="town").x.shape == (6, 1)
    without = GroupedData.from_frame(frame, y="level", group="town")
    assert without.x.shape == (6, 0)
    assert without.x.dtype == np.float64
    assert without.labels.predictors == ()


def test_a_categorical_brings_its_order_and_loses_unused_categories(frame):
    frame["town"] = pd.Categorical(frame["town"], categories=["c", "none", "b", "a"])
    data = GroupedData.from_frame(frame, y="level", group="town")
    assert data.labels.groups == ("c", "b", "a")
    assert data.group.tolist() == [1, 2, 1, 0, 2, 1]


@pytest.mark.parametrize(
    "labels",
    [
        ["Łódź", "東京", "Łódź"],
        [30, -1, 30],
        [2.5, float("inf"), 2.5],
        [pd.Timestamp("2024-02-29"), pd.Timestamp("2023-01-01", tz=None)] * 2,
        [("MN", 1), ("MN", 2), ("MN", 1)],
        ["1", 1, "1"],
        ["", " ", ""],
        [False, True, False],
    ],
    ids=str,
)
def test_group_labels_stay_as_they_came(labels):
    data = GroupedData.from_arrays(np.arange(len(labels)), None, labels)
    assert data.labels.groups == tuple(labels[:2])
    assert [type(label) for label in data.labels.groups] == [type(label) for label in labels[:2]]
    assert data.select([labels[1]]).num_rows == labels.count(labels[1])
    hash(data.labels)
    assert GroupedData.from_frame(data.to_frame(), y="y", group="group").labels == data.labels


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "Float32", "int8", "uint64", "float32"])
def test_nullable_and_narrow_dtypes_become_float64(frame, dtype):
    frame = frame.assign(level=pd.array([3, 1, 4, 1, 5, 9], dtype=dtype))
    data = GroupedData.from_frame(frame, y="level", group="town")
    assert data.y.dtype == np.float64
    assert data.y.tolist() == [3, 1, 4, 1, 5, 9]


def test_nullable_booleans_and_strings(frame):
    frame = frame.astype({"warm": "boolean", "town": "string"})
    data = GroupedData.from_frame(frame, y="level", x="warm", group="town")
    assert data.x[:, 0].tolist() == [1, 0, 1, 1, 0, 0]
    assert data.labels.groups == ("b", "a", "c")


def test_integers_too_big_for_float64_are_rounded(frame):
    frame["floor"] = 2**60 + np.arange(6)
    data = GroupedData.from_frame(frame, y="level", x="floor", group="town")
    assert data.x[5, 0] == 2.0**60


@pytest.mark.parametrize("frame", [None, {"level": [1.0]}, np.ones((2, 2))])
def test_frame_must_be_a_data_frame(frame):
    with pytest.raises(TypeError, match=r"to be a pandas or Polars DataFrame, .*; got"):
        GroupedData.from_frame(frame, y="level", group="town")


# From frames of other libraries


def libraries(frame):
    """The same columns in Arrow and in Polars."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return {"arrow": table, "polars": pl.from_arrow(table)}


@pytest.mark.parametrize("library", ["arrow", "polars"])
def test_other_libraries_give_the_same_data(frame, data, library):
    other = libraries(frame)[library]
    found = GroupedData.from_frame(other, y="level", x=["floor", "warm"], group="town")
    assert found.labels == data.labels
    assert found.fingerprint() == data.fingerprint()
    assert not found.y.flags.writeable


@pytest.mark.parametrize("library", ["arrow", "polars"])
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"level": [1, 2, None, 4, 5, 6]}, ValueError, r"\(y\) .* got 1 row \(index 2\) missing"),
        ({"floor": [0, 1, 2, 0, 1, np.inf]}, ValueError, r"\(x\) .* \(index 5\) infinite"),
        ({"warm": [True, None] * 3}, ValueError, r"'warm' \(x\) .* \(index 1, 3, 5\) missing"),
        ({"town": [*"abcde", None]}, ValueError, r"without gaps; got 1 row \(index 5\) missing"),
        ({"level": ["1", "n/a", "3", "4", "5", "6"]}, TypeError, r"1 row \(index 1\) not a number"),
        ({"level": [True, False] * 3}, TypeError, "to be a measurement; got dtype bool"),
        ({"tow": ["a"] * 6}, ValueError, None),
    ],
)
def test_other_libraries_are_checked_alike(frame, library, changes, error, message):
    other = libraries(frame.assign(**changes))[library]
    names = {"y": "level", "x": ["floor", "warm"], "group": "town"}
    if message is None:
        names["group"] = "Tow n"
        message = r"got 'Tow n' \(close: 'town', 'tow'\)"
    with pytest.raises(error, match=message):
        GroupedData.from_frame(other, **names)


def test_labels_and_numbers_of_other_libraries_stay_what_they_are():
    days = [datetime.date(2024, 2, 29), datetime.date(2023, 1, 1)]
    for frame in (pl.DataFrame({"y": [1, 2], "g": days}), pa.table({"y": [1, 2], "g": days})):
        assert GroupedData.from_frame(frame, y="y", group="g").labels.groups == tuple(days)
    quarters = [decimal.Decimal("0.25"), decimal.Decimal("1.75")]
    for frame in (
        pl.DataFrame({"y": quarters, "g": [7, 8]}),
        pa.table({"y": quarters, "g": [7, 8]}),
    ):
        data = GroupedData.from_frame(frame, y="y", group="g")
        assert data.y.tolist() == [0.25, 1.75]
        assert data.labels.groups == (7, 8)


def test_a_polars_categorical_forgets_what_other_frames_hold():
    other = pl.Series(["z", "c", "a"], dtype=pl.Categorical)
    frame = pl.DataFrame({"y": [1.0, 2.0, 3.0], "g": ["b", "a", "b"]})
    frame = frame.cast({"g": pl.Categorical})
    assert GroupedData.from_frame(frame, y="y", group="g").labels.groups == ("b", "a")
    assert other.len() == 3


def test_two_arrow_columns_of_one_name_are_refused():
    table = pa.table([[1.0], [2.0], [3]], names=["y", "y", "g"])
    with pytest.raises(ValueError, match="columns of frame to have different names; got 'y' rep"):
        GroupedData.from_frame(table, y="y", group="g")


def test_a_lazy_frame_is_sent_to_the_statistics():
    frame = pl.LazyFrame({"y": [1.0], "g": [1]})
    with pytest.raises(TypeError, match=r"in memory; got LazyFrame.* GroupStatistics\.from_frame"):
        GroupedData.from_frame(frame, y="y", group="g")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"y": "levle"}, r"Expected y to name a column; got 'levle' \(close: 'level'"),
        ({"y": "LEVEL"}, r"got 'LEVEL' \(close: 'level'"),
        ({"x": ["floor", "flor"]}, r"Expected x to name a column; got 'flor' \(close: 'floor'"),
        ({"group": "zzz"}, r"Expected group .* got 'zzz' \(known: 'level', 'floor', 'warm'"),
        ({"y": "floor", "x": "floor"}, "Expected y, x and group to be different.* got 'floor' rep"),
        ({"x": ["floor", "floor"]}, "to be different columns; got 'floor' repeated"),
        ({"x": "town"}, "to be different columns; got 'town' repeated"),
    ],
)
def test_every_name_must_be_a_column_of_its_own(frame, names, message):
    with pytest.raises(ValueError, match=message):
        GroupedData.from_frame(frame, **{"y": "level", "group": "town"} | names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"y": 3}, "Expected y to be named by a str; got 3"),
        ({"y": ["level"]}, r"Expected y to be named by a str; got \['level'\]"),
        ({"x": ["floor", None]}, "Expected x to be named by a str; got None"),
        ({"group": None}, "Expected group to be named by a str; got None"),
        ({"x": {"floor"}}, "Expected x to be a str or a sequence of str; got set"),
        ({"x": None}, "Expected x to be a str or a sequence of str; got NoneType"),
    ],
)
def test_names_must_be_strings(frame, names, message):
    with pytest.raises(TypeError, match=message):
        GroupedData.from_frame(frame, **{"y": "level", "group": "town"} | names)


def test_two_columns_of_one_name_are_refused_only_if_used(frame):
    frame = pd.concat([frame, frame[["warm"]]], axis=1)
    with pytest.raises(ValueError, match=r"Expected one column named 'warm' \(x\); got 2"):
        GroupedData.from_frame(frame, y="level", x="warm", group="town")
    assert GroupedData.from_frame(frame, y="level", x="floor", group="town").num_rows == 6


def test_zero_rows_are_refused(frame):
    with pytest.raises(ValueError, match="at least one row; got 0 rows"):
        GroupedData.from_frame(frame.iloc[:0], y="level", group="town")


@pytest.mark.parametrize(
    ("column", "argument", "values", "message"),
    [
        ("level", "y", ["1", "n/a", "3", "?", "5", "6"], r"with 2 rows \(index 20, 40\) not a num"),
        ("level", "y", [1, 2, "x", 4, 5, 6], r"object with 1 row \(index 30\) not a number"),
        ("floor", "x", list("123456"), "with numbers as text; pandas.to_numeric"),
        ("floor", "x", pd.to_datetime(["2024-01-01"] * 6), "dtype datetime64"),
        ("floor", "x", pd.to_timedelta([1] * 6, unit="s"), "dtype timedelta64"),
        ("floor", "x", pd.Categorical([1, 2, 3] * 2), "to be numeric; got dtype category"),
        ("level", "y", np.ones(6) * 1j, "to be numeric; got dtype complex128"),
        ("level", "y", [True, False] * 3, "to be a measurement; got dtype bool"),
    ],
)
def test_columns_must_be_numeric(frame, column, argument, values, message):
    frame = frame.assign(**{column: values})
    with pytest.raises(TypeError, match=rf"Expected column '{column}' \({argument}\) .*{message}"):
        GroupedData.from_frame(frame, y="level", x="floor", group="town")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("level", [1, None, 3, 4, np.nan, 6], r"\(y\) .* 2 rows \(index 20, 50\) missing"),
        ("level", [np.nan] * 6, r"\(y\) .* 6 rows \(index 10, 20, 30, 40, 50, \.\.\.\) missing"),
        ("level", [1, 2, np.inf, -np.inf, 5, 6], r"\(y\) .* 2 rows \(index 30, 40\) infinite"),
        ("floor", pd.array([1, None, 3, 4, 5, 6], "Int64"), r"\(x\) .* 1 row \(index 20\) missing"),
        ("floor", pd.array([None, *[True] * 5], "boolean"), r"\(x\) .* 1 row \(index 10\) missing"),
        ("floor", [0, 0, 0, 0, 0, np.inf], r"\(x\) .* 1 row \(index 60\) infinite"),
        ("town", ["a", None, "b", np.nan, "c", pd.NA], r"\(group\) .* 3 rows \(index 20, 40, 60\)"),
        ("town", [1, 2, np.nan, 1, 2, 1], r"\(group\) .* 1 row \(index 30\) missing"),
        ("town", pd.Categorical([*"aabb", None, "a"]), r"\(group\) .* 1 row \(index 50\) missing"),
        ("town", [pd.Timestamp(0), *[pd.NaT] * 5], r"\(group\) .* 5 rows .* 50, 60\) missing"),
    ],
)
def test_missing_and_infinite_values_are_refused_by_row(frame, column, values, message):
    frame = frame.assign(**{column: values})
    with pytest.raises(ValueError, match=rf"Expected column '{column}' {message}"):
        GroupedData.from_frame(frame, y="level", x="floor", group="town")


def test_group_labels_must_be_hashable(frame):
    frame["town"] = [["a"]] * 6
    with pytest.raises(
        TypeError, match=r"Expected column 'town' \(group\) to hold hashable labels"
    ):
        GroupedData.from_frame(frame, y="level", group="town")


# From arrays


@pytest.mark.parametrize("convert", [list, tuple, np.asarray, jnp.asarray, pd.array])
def test_from_arrays_takes_any_array(convert):
    data = GroupedData.from_arrays(convert([1.0, 2.0, 4.0]), convert([0, 1, 0]), convert([7, 7, 5]))
    assert data.y.tolist() == [1, 2, 4]
    assert data.x.tolist() == [[0], [1], [0]]
    assert data.labels == Labels("y", ("x1",), "group", (7, 5))


def test_from_arrays_names_its_columns():
    x = [[0.0, 10.0], [1.0, 11.0]]
    data = GroupedData.from_arrays(
        [1, 2], x, ["u", "v"], outcome="z", predictors=["p", "q"], group_name="site"
    )
    assert data.labels == Labels("z", ("p", "q"), "site", ("u", "v"))
    assert data.x.tolist() == x
    assert GroupedData.from_arrays([1, 2], x, ["u", "v"]).labels.predictors == ("x1", "x2")
    assert GroupedData.from_arrays([1], [2], [3], predictors="warm").labels.predictors == ("warm",)
    assert GroupedData.from_arrays([1], None, [3]).x.shape == (1, 0)


def test_from_arrays_goes_by_position_whatever_the_index():
    y = pd.Series([1.0, 2.0], index=[5, 6])
    data = GroupedData.from_arrays(y, pd.Series([3, 4], index=[6, 5]), pd.Series(["a", "b"]))
    assert data.y.tolist() == [1, 2]
    assert data.x.tolist() == [[3], [4]]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1, 2], None, [1]), ValueError, "the same length; got y 2, group 1"),
        (([1, 2], [[1], [2], [3]], [1, 2]), ValueError, r"got y 2, group 2, x\[:, 0\] 3"),
        (([[1], [2]], None, [1, 2]), TypeError, r"Expected column 'y' \(y\) to be numeric"),
        ((np.ones((2, 1)), None, [1, 2]), ValueError, r"Expected y .* got \(2, 1\)"),
        (([1, 2], None, np.ones((2, 2))), ValueError, r"Expected group .* got \(2, 2\)"),
        (([1, 2], np.ones((2, 2, 2)), [1, 2]), ValueError, r"Expected x .* got \(2, 2\)"),
        ((1.0, None, [1]), TypeError, "Expected y to be an array; got float"),
        (([1], 1.0, [1]), TypeError, "Expected x to be an array; got float"),
        (([1], None, "a"), TypeError, "Expected group to be an array; got str"),
        (([], None, []), ValueError, "at least one row; got 0 rows"),
        (([1, np.nan], None, [1, 2]), ValueError, r"1 row \(index 1\) missing"),
        (([1, 2], [[1, 2], [3, np.inf]], [1, 2]), ValueError, r"'x2' \(x\) .* \(index 1\) inf"),
        (([1, 2], None, ["a", None]), ValueError, r"\(group\) without gaps; got 1 row \(index 1\)"),
    ],
)
def test_from_arrays_checks_like_from_frame(arguments, error, message):
    with pytest.raises(error, match=message):
        GroupedData.from_arrays(*arguments)


def test_from_arrays_checks_names():
    with pytest.raises(ValueError, match="each of the 2 columns of x; got 1 names"):
        GroupedData.from_arrays([1], [[1, 2]], [1], predictors="p")
    with pytest.raises(ValueError, match="different columns; got 'y' repeated"):
        GroupedData.from_arrays([1], [1], [1], predictors="y")


# Subsets


def test_select_orders_groups_as_asked_and_rows_as_they_were(data):
    some = data.select(["c", "b"])
    assert some.labels.groups == ("c", "b")
    assert some.y.tolist() == [1.5, 0.25, 4.0, 8.0]
    assert some.group.tolist() == [1, 1, 0, 1]
    assert some.group.dtype == np.int32
    assert some.labels.predictors == data.labels.predictors
    assert data.num_groups == 3


def test_select_takes_one_label():
    data = GroupedData.from_arrays([1, 2, 3], None, [101, 102, 101])
    assert data.select(101).y.tolist() == [1, 3]
    assert data.select(np.int64(101)).labels.groups == (101,)
    assert load_radon().select("LAKE").labels.groups == ("LAKE",)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("Cass", r"labels of 'county'; got 'Cass' \(close: 'CASS'\)"),
        (["CASS", "HENEPIN"], r"got 'HENEPIN' \(close: 'HENNEPIN'"),
        ("?", r"got '\?' \(known: 'AITKIN', 'ANOKA', 'BECKER', 'BELTRAMI', 'BENTON', \.\.\.\)"),
        (27001, "got 27001"),
        ([], "at least one label; got none"),
        (["CASS", "CLAY", "CASS"], "distinct; got 'CASS' repeated"),
    ],
)
def test_select_refuses_labels(groups, message):
    with pytest.raises(ValueError, match=message):
        load_radon().select(groups)


def test_take_keeps_groups_that_have_no_row_left(data):
    for rows in ([3, 1], np.array([3, 1], dtype=np.uint8), jnp.array([3, 1])):
        some = data.take(rows)
        assert some.labels == data.labels
        assert some.y.tolist() == [4.0, -2.0]
        assert some.x.tolist() == [[0, 1], [1, 0]]
        assert some.group.tolist() == [2, 1]
        assert some.group_sizes.tolist() == [0, 1, 1]
    assert data.take([0]).group_sizes.tolist() == [1, 0, 0]
    mask = data.y > 2
    assert data.take(mask).y.tolist() == [4.0, 3.0, 8.0]
    assert data.take(pd.Series(mask)).y.tolist() == [4.0, 3.0, 8.0]
    assert data.take([0, 0]).y.tolist() == [1.5, 1.5]


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([6], ValueError, "between 0 and 5; got 1 outside: 6"),
        ([-1, 0, 7], ValueError, "between 0 and 5; got 2 outside: -1, 7"),
        ([True, False], ValueError, r"mask of shape \(6,\); got \(2,\)"),
        ([False] * 6, ValueError, "at least one row"),
        ([], ValueError, "at least one row"),
        (2, ValueError, "at least one row"),
        ([0.0, 1.0], TypeError, "integers or a mask; got dtype float64"),
        (["a"], TypeError, "integers or a mask; got dtype <U1"),
    ],
)
def test_take_refuses_rows(data, rows, error, message):
    with pytest.raises(error, match=message):
        data.take(rows)


def test_subsets_remember_what_was_left_out():
    us = load_radon("us")
    assert us.take([0]).left_out == us.select("04001").left_out == us.left_out


@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.text(max_size=3)), min_size=1))
def test_a_frame_and_its_data_hold_the_same(rows):
    y, group = zip(*rows, strict=True)
    data = GroupedData.from_arrays(y, None, group)
    assert [data.labels.groups[code] for code in data.group] == list(group)
    again = GroupedData.from_frame(data.to_frame(), y="y", group="group")
    assert again.labels == data.labels
    assert again.fingerprint() == data.fingerprint()


def test_to_frame_goes_back(frame, data):
    back = data.to_frame()
    assert back.columns.tolist() == ["level", "floor", "warm", "town"]
    assert back["town"].tolist() == frame["town"].tolist()
    assert back["floor"].tolist() == frame["floor"].tolist()
    # A group without rows is still a category.
    assert data.take([0]).to_frame()["town"].cat.categories.tolist() == ["b", "a", "c"]


def test_repr_says_what_it_is(data):
    formula = "log_radon ~ 1 + floor + (1 + floor || county)"
    assert repr(load_radon()) == f"GroupedData(919 rows, 85 groups; {formula})"
    assert "12490 rows, 471 groups" in repr(load_radon("us"))
    assert "left out 287: floor is 9 (missing)" in repr(load_radon("us"))
    formula = "level ~ 1 + floor + warm + (1 + floor + warm || town)"
    assert repr(data.select("c")) == f"GroupedData(1 row, 1 group; {formula})"
    assert "y ~ 1 + (1 | group)" in repr(GroupedData.from_arrays([1], None, [1]))


# Fingerprint


def test_fingerprint_changes_with_every_part(frame):
    def fingerprint(changes=(), rename=(), **names):
        other = frame.copy()
        for (row, column), value in dict(changes).items():
            other.loc[row, column] = value
        arguments = {"y": "level", "x": ["floor", "warm"], "group": "town"} | names
        return GroupedData.from_frame(other.rename(columns=dict(rename)), **arguments).fingerprint()

    prints = [
        fingerprint(),
        fingerprint({(60, "level"): np.nextafter(8.0, 9.0)}),
        fingerprint({(60, "floor"): 1}),
        fingerprint({(60, "town"): "c"}),
        fingerprint({(40, "town"): "d"}),
        fingerprint(x=["warm", "floor"]),
        fingerprint(x=["floor"]),
        fingerprint(rename={"level": "height"}, y="height"),
        fingerprint(rename={"floor": "height"}, x=["height", "warm"]),
        fingerprint(rename={"town": "city"}, group="city"),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint() == prints[0]
    assert all(len(digest) == 64 for digest in prints)


def test_fingerprint_tells_labels_of_different_type_apart():
    def fingerprint(labels):
        return GroupedData.from_arrays([1, 2], None, labels).fingerprint()

    assert len({fingerprint(labels) for labels in ([1, 2], ["1", "2"], [1.0, 2.0])}) == 3
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])


def test_fingerprint_is_the_same_in_another_process():
    code = "from radon_numpyro.data.radon import load_radon; print(load_radon().fingerprint())"
    root = Path(radon_numpyro.__file__).parents[1]
    environment = os.environ | {"PYTHONHASHSEED": "17"}
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=root,
    )
    expected = "ab5606061edf82feb290a37c5c7187bb2e02ee65253512c5e30ceb37b144b84d"
    assert load_radon().fingerprint() == there.stdout.strip() == expected


# JAX


def test_a_jitted_function_takes_data_and_keeps_their_labels():
    data = load_radon("us")
    traces = []

    @jax.jit
    def double(data):
        traces.append(data.num_rows)
        totals = jnp.zeros(data.num_groups).at[data.group].add(data.y)
        return jax.tree.map(lambda leaf: 2 * leaf, data), totals

    with jax.enable_x64(True):
        doubled, totals = double(data)
        double(data.take(np.arange(data.num_rows)))
    assert traces == [12_490], "the same labels and shapes must not be compiled again"
    assert isinstance(doubled, GroupedData)
    assert (doubled.labels, doubled.left_out) == (data.labels, data.left_out)
    np.testing.assert_array_equal(doubled.y, 2 * data.y)
    np.testing.assert_array_equal(doubled.x, 2 * data.x)
    np.testing.assert_allclose(totals, np.bincount(data.group, weights=data.y), rtol=1e-12)


def test_the_leaves_are_the_three_arrays(data):
    leaves, structure = jax.tree.flatten(data)
    assert [leaf.shape for leaf in leaves] == [(6, 2), (6,), (6,)]
    again = jax.tree.unflatten(structure, leaves)
    assert again.fingerprint() == data.fingerprint()
    hash(structure)
