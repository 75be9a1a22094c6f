"""Rows that engines hold: the same statistics as in memory, by every engine, for real."""

import datetime
import decimal

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from radon_numpyro import GroupedData, GroupStatistics

# On Dask itself, of a package that is not published yet; no release of narwhals is without it.
pytestmark = pytest.mark.filterwarnings("ignore:Dask support is moving out:FutureWarning")

NAMES = {"y": "level", "x": ["height", "warm", "floor"], "group": "town"}


@pytest.fixture(scope="module")
def dask_frames():
    """Frames of a Dask cluster on this machine, in partitions of about 100 rows."""
    import dask.dataframe as dd
    import distributed

    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None
    )
    with cluster, distributed.Client(cluster):
        yield lambda table: dd.from_pandas(table.to_pandas(), chunksize=100, sort=False)


@pytest.fixture(scope="module")
def duckdb_frames():
    """Relations of a connection that is not DuckDB's default one."""
    with duckdb.connect() as connection:
        yield lambda table: connection.from_arrow(table)


@pytest.fixture(
    params=[
        "polars",
        "duckdb",
        pytest.param("dask", marks=pytest.mark.slow),
        pytest.param("spark", marks=pytest.mark.slow),
    ]
)
def engine(request):
    return request.param


@pytest.fixture
def frames(engine, request):
    """Make frames of the engine from Arrow tables."""
    if engine == "polars":
        return lambda table: pl.from_arrow(table).lazy()
    return request.getfixturevalue(f"{engine}_frames")


def towns(num_rows=1000, num_groups=40, seed=0):
    """Rows that hide no error: groups of 1 to many rows, far apart beside their own scatter."""
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(num_groups), rng.integers(0, num_groups // 2, num_rows)])
    rng.shuffle(group)
    height = 1e6 + rng.normal(size=len(group))
    warm = rng.random(len(group)) < 0.3
    # Constant in each town, as a predictor of groups is.
    floor = group % 3
    level = rng.normal(0.0, 1e6, num_groups)[group] + 0.7 * (height - 1e6) - 2.0 * warm
    level += rng.normal(size=len(group))
    town = [f"Ort {c} ü" for c in group]
    return pa.table({"town": town, "level": level, "height": height, "warm": warm, "floor": floor})


def assert_same(found, expected, rtol=1e-9):
    """Compare statistics; means and sums of products in units of each group's own scatter.

    Where a column is constant in a group there is no scatter, and the two must be equal.
    """
    assert set(found.labels.groups) == set(expected.labels.groups)
    assert {type(g) for g in found.labels.groups} == {type(g) for g in expected.labels.groups}
    place = {label: c for c, label in enumerate(found.labels.groups)}
    order = [place[label] for label in expected.labels.groups]
    np.testing.assert_array_equal(found.count[order], expected.count)
    sx = np.sqrt(np.einsum("ckk->ck", expected.sxx))
    sy = np.sqrt(expected.syy)
    scales = {
        "mean_x": sx,
        "mean_y": sy,
        "sxx": sx[:, :, None] * sx[:, None, :],
        "sxy": sx * sy[:, None],
        "syy": sy**2,
    }
    for name, scale in scales.items():
        wanted = getattr(expected, name)
        error = np.abs(getattr(found, name)[order] - wanted)
        # Of a mean that is large beside the scatter float64 holds no more than this.
        rounding = 4 * np.spacing(np.abs(wanted)) if rtol and name.startswith("mean") else 0.0
        assert (error <= rtol * scale + rounding).all(), (name, error.max())


# Agreement with memory


def test_an_engine_gives_the_statistics_of_the_rows_in_memory(engine, frames):
    table = towns()
    found = GroupStatistics.from_frame(frames(table), **NAMES)
    expected = GroupStatistics.from_frame(table.to_pandas(), **NAMES)
    assert_same(found, expected)
    assert {a.dtype for a in (found.count, found.mean_x, found.sxx)} == {np.dtype("float64")}
    # The data are hard enough: one shift for a whole column is not.
    assert np.ptp(expected.mean_y) > 1e6
    assert expected.count.min() == 1
    level, town = table["level"].to_numpy(), np.array(table["town"].to_pylist())
    own = level[town == expected.labels.groups[0]] - level.mean()
    shifted = own @ own - own.sum() ** 2 / len(own)
    assert abs(shifted / expected.syy[0] - 1) > 1e-6


def heavy_towns(**others):
    """The same with a column w of weights, over four powers of ten."""
    table = towns()
    w = 10.0 ** np.random.default_rng(7).uniform(-2, 2, len(table))
    for position, value in others.items():
        w[int(position.removeprefix("row"))] = value
    return table.append_column("w", pa.array(w, from_pandas=True))


@pytest.mark.parametrize("by", ["weights", "se"])
def test_an_engine_weighs_the_rows_as_in_memory(engine, frames, by):
    table = heavy_towns()
    options = {**NAMES, by: "w"}
    found = GroupStatistics.from_frame(frames(table), **options)
    expected = GroupStatistics.from_frame(table.to_pandas(), **options)
    assert_same(found, expected)
    order = [found.labels.groups.index(label) for label in expected.labels.groups]
    np.testing.assert_allclose(found.weight[order], expected.weight, rtol=1e-12)
    np.testing.assert_allclose(found.log_weight[order], expected.log_weight, atol=1e-9)
    assert found.labels.design == expected.labels.design
    # The mean to count from is that of the rows, whatever they weigh.
    centred = GroupStatistics.from_frame(frames(table), **options, center="height")
    mean = table["height"].to_numpy().mean()
    np.testing.assert_allclose(dict(centred.centers)["height"], mean, rtol=1e-14)


def test_an_engine_weighs_the_rows_of_a_formula_as_in_memory(engine, frames):
    table = heavy_towns()
    for formula, weights in (
        ("level | se(w) ~ height + warm + (1 + warm || town)", {}),
        ("level ~ warm * floor + (1 | town)", {"weights": "w"}),
    ):
        found = GroupStatistics.from_formula(formula, frames(table), **weights)
        expected = GroupStatistics.from_formula(formula, table.to_pandas(), **weights)
        assert found.labels.design == expected.labels.design
        assert_same(found, expected, rtol=1e-8)
        order = [found.labels.groups.index(label) for label in expected.labels.groups]
        np.testing.assert_allclose(found.weight[order], expected.weight, rtol=1e-12)


NO_WEIGHTS = {
    0.0: "to be above 0; got 1 row of 0 or below",
    -1.0: "to be above 0; got 1 row of 0 or below",
    np.inf: "to be finite; got 1 row infinite",
    np.nan: "to be finite; got 1 row missing",
}


def assert_refused(frames, by, value):
    with pytest.raises(ValueError, match=f"Expected column 'w' .{by}. {NO_WEIGHTS[value]}"):
        GroupStatistics.from_frame(frames(heavy_towns(row3=value)), **NAMES, **{by: "w"})


@pytest.mark.parametrize("engine", ["polars", "duckdb"], indirect=True)
@pytest.mark.parametrize("by", ["weights", "se"])
@pytest.mark.parametrize("value", NO_WEIGHTS)
def test_an_engine_refuses_what_is_no_weight(engine, frames, by, value):
    assert_refused(frames, by, value)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["dask", "spark"], indirect=True)
@pytest.mark.parametrize(("by", "value"), [("weights", 0.0), ("se", np.nan)])
def test_a_cluster_refuses_what_is_no_weight(engine, frames, by, value):
    assert_refused(frames, by, value)


def test_the_order_of_groups_is_that_of_the_rows_or_else_sorted(engine, frames):
    table = towns()
    found = GroupStatistics.from_frame(frames(table), **NAMES).labels
    in_order = tuple(dict.fromkeys(table["town"].to_pylist()))
    assert found.groups == (in_order if engine == "polars" else tuple(sorted(in_order)))
    assert (found.outcome, found.predictors) == ("level", ("height", "warm", "floor"))
    assert found.group == "town"


def test_a_constant_column_has_no_scatter(frames):
    """Not even where the mean of equal numbers is rounded: 0.1 three times is not 0.3."""
    table = pa.table({"g": ["a"] * 3 + ["b"], "y": [0.1, 0.1, 0.1, 7.7], "x": [1e6 / 3] * 4})
    found = GroupStatistics.from_frame(frames(table), y="y", x="x", group="g")
    for name in ("sxx", "sxy", "syy"):
        assert np.abs(getattr(found, name)).max() < 1e-20, name
    assert (found.syy >= 0).all()
    assert (found.sxx >= 0).all()


@pytest.mark.parametrize("x", [(), "height"])
def test_predictors_may_be_one_or_none(frames, x):
    table = towns(100)
    found = GroupStatistics.from_frame(frames(table), y="level", x=x, group="town")
    expected = GroupStatistics.from_frame(table.to_pandas(), y="level", x=x, group="town")
    assert found.mean_x.shape == (40, len(expected.labels.predictors))
    assert_same(found, expected)


DAYS = [datetime.date(2024, 2, 29), datetime.date(2023, 1, 1)]


@pytest.mark.parametrize(
    "labels",
    [
        pa.array([30, -1, 30, 7]),
        pa.array(["東京", "", "東京", "Łódź"]),
        pa.array([2.5, float("inf"), 2.5, -0.5]),
        pa.array([True, False, True, True]),
        pa.array([DAYS[0], DAYS[1], DAYS[0], DAYS[0]]),
        pa.array(["b", "a", "b", "c"]).dictionary_encode(),
    ],
    ids=["int", "text", "float", "bool", "date", "dictionary"],
)
def test_labels_are_those_of_memory(engine, frames, labels):
    table = pa.table({"g": labels, "y": [1.0, 2.0, 4.0, 3.0]})
    if engine == "spark" and pa.types.is_dictionary(labels.type):
        pytest.skip("Spark has no categories")
    if engine == "dask" and pa.types.is_date(labels.type):
        pytest.skip("Dask makes text of dates, before anyone sees them")
    found = GroupStatistics.from_frame(frames(table), y="y", group="g")
    expected = GroupStatistics.from_frame(table, y="y", group="g")
    assert_same(found, expected)
    keys = expected.labels.groups if engine == "polars" else sorted(expected.labels.groups)
    assert found.labels.groups == tuple(keys)


def test_categories_in_order_bring_their_order(duckdb_frames):
    kind = pl.Enum(["low", "none", "high"])
    rows = pl.DataFrame({"g": pl.Series(["high", "low", "high"], dtype=kind), "y": [1.0, 2.0, 3.0]})
    relation = duckdb_frames(rows.cast({"g": pl.String}).to_arrow())
    relation = relation.select("y, g::ENUM('low', 'none', 'high') AS g")
    for frame in (rows, rows.lazy(), rows.to_pandas(), rows.to_arrow(), relation):
        found = GroupStatistics.from_frame(frame, y="y", group="g")
        assert found.labels.groups == ("low", "high"), type(frame)
        assert found.mean_y.tolist() == [2.0, 2.0]
        assert found.syy.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("kind", ["int8", "uint64", "float32", "decimal"])
def test_numbers_of_every_kind_become_float64(engine, frames, kind):
    if engine == "spark" and kind == "uint64":
        pytest.skip("Spark has no unsigned numbers")
    values = [3, 1, 100, 1]
    if kind == "decimal":
        column = pa.array([decimal.Decimal(v) / 4 for v in values], pa.decimal128(9, 2))
    else:
        column = pa.array(values).cast(getattr(pa, kind)())
    table = pa.table({"g": [1, 2, 1, 2], "y": column})
    if engine == "dask" and kind == "decimal":
        pytest.skip("pandas has no decimals of its own")
    expected = GroupStatistics.from_frame(table, y="y", group="g")
    assert expected.syy[0] > 100
    assert_same(GroupStatistics.from_frame(frames(table), y="y", group="g"), expected)


def test_columns_of_any_name(frames):
    """Also those that the query uses itself, and what SQL would take for syntax."""
    names = {"y": "label", "x": ["row", 'a "b`c', "x.1"], "group": "sum 0 0"}
    table = towns(50).rename_columns(["sum 0 0", "label", "row", 'a "b`c', "x.1"])
    expected = GroupStatistics.from_frame(table, **names)
    assert_same(GroupStatistics.from_frame(frames(table), **names), expected)


def test_upper_and_lower_case_are_different_columns(engine, frames):
    if engine == "duckdb":
        pytest.skip("DuckDB renames the second of them")
    table = pa.table({"G": [1.0, 5.0, 2.0], "g": [7, 8, 7], "Y": [3.0, 1.0, 2.0], "y": [1, 2, 4]})
    found = GroupStatistics.from_frame(frames(table), y="y", x="Y", group="g")
    assert found.mean_y.tolist() == [2.5, 2.0]
    assert found.mean_x.tolist() == [[2.5], [1.0]]
    assert found.sxy.tolist() == [[-1.5], [0.0]]


def test_partitions_change_rounding_only(frames):
    table = towns()
    pieces = [table.slice(start, 130) for start in range(0, len(table), 130)]
    other = pa.concat_tables(pieces[::-1])
    found, expected = (GroupStatistics.from_frame(frames(t), **NAMES) for t in (other, table))
    assert_same(found, expected)


def test_a_hundred_thousand_groups(duckdb_frames):
    rng = np.random.default_rng(3)
    group = rng.permutation(np.concatenate([np.arange(10**5), rng.integers(0, 10**5, 3 * 10**5)]))
    table = pa.table({"g": group, "y": rng.normal(group, 1.0), "x": rng.normal(size=len(group))})
    expected = GroupStatistics.from_frame(table, y="y", x="x", group="g")
    for frame in (duckdb_frames(table), pl.from_arrow(table).lazy()):
        found = GroupStatistics.from_frame(frame, y="y", x="x", group="g")
        assert found.num_groups == 10**5
        assert_same(found, expected)


def test_files_are_reduced_where_they_are(tmp_path):
    table = towns()
    for shard in range(3):
        pq.write_table(table.slice(400 * shard, 400), tmp_path / f"{shard}.parquet")
    files = str(tmp_path / "*.parquet")
    expected = GroupStatistics.from_frame(table, **NAMES)
    in_order = GroupStatistics.from_frame(pl.scan_parquet(files), **NAMES)
    assert in_order.labels == expected.labels
    assert_same(in_order, expected)
    with duckdb.connect() as connection:
        assert_same(GroupStatistics.from_frame(connection.read_parquet(files), **NAMES), expected)


def test_frames_in_memory_are_reduced_as_grouped_data():
    table = towns()
    expected = GroupStatistics.from_data(GroupedData.from_frame(table.to_pandas(), **NAMES))
    for frame in (table, pl.from_arrow(table), table.to_pandas()):
        found = GroupStatistics.from_frame(frame, **NAMES)
        assert found.labels == expected.labels
        assert_same(found, expected, rtol=0)


# What is refused


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"y": "levle"}, r"Expected y to name a column; got 'levle' \(close: 'level'"),
        ({"x": ["floor", "WARM"]}, r"Expected x to name a column; got 'WARM' \(close: 'warm'"),
        ({"group": "zzz"}, r"Expected group .* got 'zzz' \(known: 'town', 'level', 'height'"),
        ({"x": ["floor", "floor"]}, "to be different columns; got 'floor' repeated"),
    ],
)
def test_every_name_must_be_a_column_of_its_own(frames, names, message):
    frame = frames(towns(20))
    with pytest.raises(ValueError, match=message):
        GroupStatistics.from_frame(frame, **NAMES | names)
    with pytest.raises(TypeError, match="Expected group to be named by a str; got None"):
        GroupStatistics.from_frame(frame, **NAMES | {"group": None})


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("level", ["1", "2", "3"], r"'level' \(y\) to be numeric; got dtype String"),
        ("floor", DAYS + DAYS[:1], r"'floor' \(x\) to be numeric; got dtype"),
        ("level", [True, False, True], r"'level' \(y\) to be a measurement; got dtype Boolean"),
    ],
)
def test_columns_must_be_numeric(frames, column, values, message):
    columns = {"town": ["a", "b", "a"], "level": [1.0, 2.0, 3.0], "floor": [1, 2, 3]}
    frame = frames(pa.table(columns | {column: values}))
    with pytest.raises(TypeError, match=message):
        GroupStatistics.from_frame(frame, y="level", x="floor", group="town")


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("level", [1.0, None, 3.0, None], r"'level' \(y\) to be finite; got 2 rows missing"),
        ("level", [1.0, 2.0, NAN, 3.0], r"'level' \(y\) to be finite; got 1 row missing"),
        ("floor", [1, None, 3, None], r"'floor' \(x\) to be finite; got 2 rows missing"),
        ("floor", [1.0, INF, -INF, 2.0], r"'floor' \(x\) to be finite; got 2 rows infinite"),
        ("town", ["a", None, "a", None], r"'town' \(group\) without gaps; got 2 rows missing"),
        ("town", [1, None, 2, 2], r"'town' \(group\) without gaps; got 1 row missing"),
        ("town", [NAN, 1.0, NAN, 2.0], r"'town' \(group\) without gaps; got 2 rows missing"),
    ],
)
def test_missing_and_infinite_values_are_counted(frames, column, values, message):
    """Also where a whole group is missing, as town b in two cases."""
    columns = {"town": ["a", "b", "a", "b"], "level": [1.0, 2.0, 3.0, 4.0], "floor": [1, 2, 3, 4]}
    frame = frames(pa.table(columns | {column: values}))
    with pytest.raises(ValueError, match=message):
        GroupStatistics.from_frame(frame, y="level", x="floor", group="town")


def test_zero_rows_are_refused(frames):
    frame = frames(towns(20).slice(0, 0))
    with pytest.raises(ValueError, match="at least one row; got 0 rows"):
        GroupStatistics.from_frame(frame, **NAMES)


def test_labels_must_be_hashable(duckdb_frames):
    table = pa.table({"g": [[1], [2], [1]], "y": [1.0, 2.0, 3.0]})
    for frame in (pl.from_arrow(table).lazy(), duckdb_frames(table)):
        with pytest.raises(TypeError, match=r"'g' \(group\) to hold hashable labels; got un"):
            GroupStatistics.from_frame(frame, y="y", group="g")


@pytest.mark.parametrize("frame", [None, {"level": [1.0]}, np.ones((2, 2)), pl.Series([1])])
def test_what_is_no_frame_is_told_what_is(frame):
    message = "Expected frame to be a pandas or Polars DataFrame, .* PySpark DataFrame; got "
    with pytest.raises(TypeError, match=message + type(frame).__name__):
        GroupStatistics.from_frame(frame, **NAMES)


# Shards and new rows


def test_statistics_of_several_engines_add_up(duckdb_frames):
    table = towns()
    first = GroupStatistics.from_frame(duckdb_frames(table.slice(0, 500)), **NAMES)
    second = first.update(pl.from_arrow(table.slice(500, 300)).lazy())
    last = GroupedData.from_frame(table.slice(800).to_pandas(), **NAMES)
    assert_same(second.update(last), GroupStatistics.from_frame(table, **NAMES))
    assert second.update(last).labels.groups[: first.num_groups] == first.labels.groups
    assert_same(second.update(GroupStatistics.from_data(last)), second.update(last), rtol=0)


def test_an_update_needs_the_columns_of_the_statistics():
    statistics = GroupStatistics.from_frame(towns(50), **NAMES)
    with pytest.raises(ValueError, match="Expected x to name a column; got 'warm'"):
        statistics.update(towns(50).drop_columns("warm"))
    other = GroupStatistics.from_frame(towns(50), **NAMES | {"x": "floor"})
    with pytest.raises(ValueError, match="the same outcome, predictors, group and weights"):
        statistics.update(other)
