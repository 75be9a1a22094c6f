"""Formulas that engines compute: the statistics, levels and refusals of the rows in memory."""

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from radon_numpyro import GroupedData, GroupStatistics
from radon_numpyro.data.formulas.formula import ModelFormula

pytestmark = pytest.mark.filterwarnings("error", "ignore:Dask support is moving out:FutureWarning")

ARRAYS = ("count", "mean_x", "mean_y", "sxx", "sxy", "syy")


@pytest.fixture(scope="module")
def frame():
    """Rows in no order, with a level that the categories declare and no row has."""
    rng = np.random.default_rng(3)
    size = 400
    columns = {f"x{i}": rng.gamma(2.0, 1.0, size) + 0.2 for i in range(1, 4)}
    columns |= {"y": rng.gamma(3.0, 1.0, size), "town": rng.choice(list("dbca"), size)}
    columns |= {"c": rng.choice(list("pqr"), size), "Sex": rng.choice(["Male", "Female"], size)}
    columns |= {"warm": rng.random(size) < 0.4, "k": rng.integers(1, 5, size)}
    columns["size"] = pd.Categorical(rng.choice(["s", "l"], size), ["s", "m", "l"])
    return pd.DataFrame(columns)


@pytest.fixture(
    params=[
        "polars",
        "duckdb",
        pytest.param("dask", marks=pytest.mark.slow),
        pytest.param("spark", marks=pytest.mark.slow),
    ]
)
def frames(request):
    """Make frames of an engine from pandas."""

    def make(frame):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        if request.param == "duckdb":
            return duckdb.from_arrow(table)
        if request.param == "spark":
            return request.getfixturevalue("spark_frames")(table)
        if request.param == "dask":
            import dask.dataframe as dd

            return dd.from_pandas(frame, npartitions=3)
        sizes = [pl.col("size").cast(pl.Enum(["s", "m", "l"]))] if "size" in frame else []
        return pl.from_arrow(table).with_columns(sizes).lazy()

    return make


def assert_same(found, expected):
    assert found.labels.design == expected.labels.design
    assert found.labels.predictors == expected.labels.predictors
    assert found.labels.outcome == expected.labels.outcome
    order = [found.labels.groups.index(label) for label in expected.labels.groups]
    for name in ARRAYS:
        wanted = getattr(expected, name)
        np.testing.assert_allclose(getattr(found, name)[order], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x1 * Sex + (1 + x1 || town)",
        "log(y) ~ warm * c + I(x1^2) + log(x2/x3) + (0 + c || town)",
        "y ~ factor(k) + C(c, contr.sum) + relevel(Sex, ref = 'Male') + (1 | town)",
        "y ~ factor(k, levels = c(4, 3, 2, 1)) + offset(x2) + (1 | town)",
        "1000/y ~ (x1 > 1) + (Sex == 'Male') + sin(2*pi*x1) + x1 + I(2 * x1) + (1 | town)",
        "y^(1/3) ~ 0 + c * Sex + sqrt(x2) + abs(-x3) + log10(x1) + exp(-x1) + (1 | town)",
        "y ~ log(x1, 3) + log1p(x1) + log2(x2) + cos(x1) + tan(x3/9) + I(warm * x1) + (1 | town)",
        "y ~ c:Sex + x1 %in% c - 1 + (x2 || town)",
        "y ~ 1 + (1 | town)",
        "y ~ x1 + (x1 | town)",
        "y ~ c + (1 | town) + (0 + c || town)",
    ],
)
def test_an_engine_gives_the_statistics_of_the_rows_in_memory(frames, frame, formula):
    expected = GroupStatistics.from_formula(formula, frame)
    found = GroupStatistics.from_formula(formula, frames(frame.drop(columns="size")))
    assert_same(found, expected)
    assert found.formula == expected.formula
    assert found.notes == expected.notes


def test_means_and_sds_are_found_by_queries(frames, frame):
    far = frame.assign(x1=frame.x1 + 1e6).drop(columns="size")
    formula = "scale(y) ~ scale(x1) * Sex + center(log(x2)) + (1 + scale(x1) || town)"
    expected = GroupStatistics.from_formula(formula, far)
    found = GroupStatistics.from_formula(formula, frames(far))
    assert_same(found, expected)


def test_an_empty_cell_is_left_out_as_in_memory(frames, frame):
    holed = frame[~((frame.c == "q") & (frame.Sex == "Male"))].drop(columns="size")
    formula = "y ~ c * Sex + x1 + I(x1 - 3) + (1 | town)"
    expected = GroupStatistics.from_formula(formula, holed)
    found = GroupStatistics.from_formula(formula, frames(holed))
    assert_same(found, expected)
    assert found.notes == expected.notes
    assert "'I(x1 - 3)', 'c[q]:Sex[Male]'" in found.notes[-1]


@pytest.mark.parametrize("names", [{"p": "s", "q": "l", "r": "l"}, {"p": "s", "q": "m", "r": "l"}])
def test_an_enum_has_its_own_order(frame, names):
    """With a level that no row has, and with three, whose order has no part: both are said."""
    size = pd.Categorical(frame.c.map(names), ["s", "m", "l"], ordered=True)
    frame = frame.assign(size=size)
    text = pl.from_pandas(frame.assign(size=frame["size"].astype(str)))
    lazy = text.with_columns(pl.col("size").cast(pl.Enum(["s", "m", "l"]))).lazy()
    found = GroupStatistics.from_formula("y ~ size + (1 | town)", lazy)
    expected = GroupStatistics.from_formula("y ~ size + (1 | town)", frame)
    assert_same(found, expected)
    assert found.notes == expected.notes
    assert len(found.notes) == 2


def test_rows_are_left_out_before_levels_are_asked(frames, frame):
    gaps = frame.drop(columns="size").assign(
        x1=frame.x1.where(frame.c != "r"), Sex=frame.Sex.where(frame.town != "d")
    )
    gaps.loc[gaps.k == 4, "k"] = 99
    options = {"missing": {"k": 99}, "drop_missing": True}
    formula = "y ~ x1 * c + Sex + k + (1 | town)"
    expected = GroupStatistics.from_formula(formula, gaps, **options)
    found = GroupStatistics.from_formula(formula, frames(gaps), **options)
    assert_same(found, expected)
    assert dict(found.left_out) == dict(expected.left_out)
    assert found.lost_groups == expected.lost_groups == ("d",)
    assert "c[r]" not in found.labels.predictors


@pytest.mark.parametrize(
    ("formula", "error", "says"),
    [
        ("y ~ poly(x1, 2) + (1 | town)", ValueError, "need the rows in memory"),
        ("y ~ ns(x1, 3) + (1 | town)", ValueError, "need the rows in memory"),
        ("y ~ poly(x1, 2)[, 1] + (1 | town)", ValueError, "need the rows in memory"),
        (
            "y ~ log(x1 - 1) + (1 | town)",
            ValueError,
            r"'log\(x1 - 1\)' \(x\) to be finite; got \d+",
        ),
        ("y ~ I(1/(x1 - x1)) + (1 | town)", ValueError, "to be finite; got 400 rows"),
        ("Sex ~ x1 + (1 | town)", TypeError, r"'Sex' \(y\) to be numeric"),
        ("warm ~ x1 + (1 | town)", TypeError, r"'warm' \(y\) to be numeric"),
        ("y ~ I(c * 2) + (1 | town)", TypeError, "which has the categories 'p', 'q', 'r'"),
        ("y ~ (x1 > 1000) + (1 | town)", ValueError, "two levels or more; got one, 'False'"),
        ("y ~ (Sex == 'Mail') + (1 | town)", ValueError, r"got 'Mail' \(close: 'Male'"),
        ("y ~ sex + (1 | town)", ValueError, r"got 'sex' \(close: 'Sex'\)"),
        ("y ~ __import__('os') + (1 | town)", ValueError, "a function that formulas have"),
    ],
)
def test_what_is_refused_in_memory_is_refused_of_an_engine(frames, frame, formula, error, says):
    with pytest.raises(error, match=says):
        GroupStatistics.from_formula(formula, frames(frame.drop(columns="size")))


def test_gaps_of_a_category_are_counted(frames, frame):
    gaps = frame.drop(columns="size").assign(Sex=frame.Sex.where(frame.index > 2))
    with pytest.raises(ValueError, match=r"'Sex' \(x\) without gaps; got 3 rows missing"):
        GroupStatistics.from_formula("y ~ Sex + (1 | town)", frames(gaps))


# Statistics with a formula


def test_new_rows_are_coded_as_the_old_ones_were(frames, frame):
    frame = frame.drop(columns="size")
    formula = "log(y) ~ scale(x1) * c + factor(k) + warm + (1 | town)"
    whole = GroupedData.from_formula(formula, frame)
    stored = ModelFormula.from_json(whole.formula)
    few = frame[(frame.c == "q") & (frame.k > 2) & frame.warm]
    assert 5 < len(few) < 50
    expected = GroupStatistics.from_data(GroupedData.from_formula(stored, few))
    for rows in (few, frames(few)):
        found = GroupStatistics.from_formula(stored, rows)
        assert_same(found, expected)
        assert found.formula == whole.formula
    with pytest.raises(ValueError, match=r"known levels \('p', 'q', 'r'\); got 'z'"):
        GroupStatistics.from_formula(stored, frames(few.assign(c="z")))
    with pytest.raises(TypeError, match="a category as in the fit; got dtype"):
        GroupStatistics.from_formula(stored, frames(few.assign(c=1.0)))


def test_an_update_takes_raw_rows_by_the_formula(frame):
    formula = "log(y) ~ scale(x1) * c + (1 | town)"
    stored = ModelFormula.from_json(GroupedData.from_formula(formula, frame).formula)
    first = GroupStatistics.from_formula(stored, frame.iloc[:250])
    assert_same(first.update(frame.iloc[250:]), GroupStatistics.from_formula(formula, frame))
    assert first.merge(first).formula == first.overall().formula == stored.to_json()
    other = GroupStatistics.from_formula(formula, frame.iloc[250:])
    with pytest.raises(ValueError, match="one formula with the same levels, means and knots"):
        first.merge(other)


def test_columns_that_do_not_vary_are_reduced_too(frames, frame):
    names = {"y": "y", "x": "x1", "fixed": ["x2", "k"], "group": "town"}
    frame = frame.drop(columns="size")
    expected = GroupStatistics.from_frame(frame, **names)
    assert_same(GroupStatistics.from_frame(frames(frame), **names), expected)
    assert expected.labels.design.fixed == ("x2", "k")
