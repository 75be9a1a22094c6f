"""Data by a formula: the same from every library, complete rows first, and kept with the data."""

import json
import subprocess
import sys
from decimal import Decimal

import jax
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from radon_numpyro import GroupedData, GroupStatistics
from radon_numpyro.data.design import Design
from radon_numpyro.data.formulas.formula import ModelFormula

pytestmark = pytest.mark.filterwarnings("error")

FORMULA = "y ~ scale(x) * Sex + warm + year + (1 + scale(x) || town)"


@pytest.fixture
def frame():
    rng = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "town": rng.choice(["b", "a", "c"], 30),
            "y": rng.normal(5.0, 1.0, 30),
            "x": rng.normal(1000.0, 1.0, 30),
            "year": rng.integers(2001, 2009, 30),
            "warm": rng.random(30) < 0.5,
            "Sex": rng.choice(["Male", "Female"], 30),
            "size": pd.Categorical(rng.choice(["small", "large"], 30), ["small", "mid", "large"]),
            "unused": np.nan,
        },
        index=[f"r{i}" for i in range(30)],
    )


def libraries(frame):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sizes = pl.Enum(["small", "mid", "large"])
    polars = pl.from_arrow(table).with_columns(pl.col("size").cast(sizes))
    return {"pandas": frame, "polars": polars, "arrow": table}


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_every_library_gives_the_same_data(frame, library):
    formula = f"{FORMULA.replace(' + (', ' + size + (')}"
    expected = GroupedData.from_formula(formula, frame)
    data = GroupedData.from_formula(formula, libraries(frame)[library])
    assert data.labels == expected.labels
    assert data.formula == expected.formula
    np.testing.assert_array_equal(data.x, expected.x)
    assert data.fingerprint() == expected.fingerprint()
    assert "size[large]" in data.labels.predictors
    assert "size: 1 level without rows left out, 'mid'" in data.notes
    stored = ModelFormula.from_json(data.formula)
    np.testing.assert_array_equal(stored.columns_of(libraries(frame)[library]), expected.x)


def test_a_polars_categorical_has_sorted_levels_and_an_enum_its_own_order(frame):
    table = pl.from_arrow(pa.Table.from_pandas(frame[["y", "town", "Sex"]], preserve_index=False))
    for dtype, named in (
        (pl.Categorical, "Sex[Male]"),
        (pl.Enum(["Male", "Female"]), "Sex[Female]"),
    ):
        data = GroupedData.from_formula(
            "y ~ Sex + (1 | town)", table.with_columns(pl.col("Sex").cast(dtype))
        )
        assert data.labels.predictors == (named,)


def test_rows_that_are_left_out_have_no_part_in_a_transformation(frame):
    # One gap under scale() would make every row missing, and one code 999 would move the mean.
    gaps = frame.assign(x=frame.x.where(frame.index != "r3"), Sex=frame.Sex.where(frame.y < 6))
    gaps.loc["r7", "year"] = 999
    kept = gaps[gaps.x.notna() & gaps.Sex.notna() & (gaps.year != 999)]
    assert 10 < len(kept) < 29
    expected = GroupedData.from_formula(FORMULA, kept)
    for library in libraries(gaps).values():
        data = GroupedData.from_formula(FORMULA, library, missing={"year": 999}, drop_missing=True)
        np.testing.assert_array_equal(data.x, expected.x)
        assert data.formula == expected.formula
        assert dict(data.left_out)["year is 999 (missing)"] == 1
        assert sum(count for _, count in data.left_out) == 30 - len(kept)
    assert abs(data.x[:, 0].mean()) < 1e-12


def test_gaps_are_refused_unless_they_are_to_be_dropped(frame):
    with pytest.raises(
        ValueError, match=r"'x' \(x\) to be finite; got 1 row \(index 'r3'\) missing"
    ):
        GroupedData.from_formula(FORMULA, frame.assign(x=frame.x.where(frame.index != "r3")))
    with pytest.raises(ValueError, match=r"'Sex' \(x\) without gaps; got 1 row \(index 'r3'\)"):
        GroupedData.from_formula(FORMULA, frame.assign(Sex=frame.Sex.where(frame.index != "r3")))
    with pytest.raises(ValueError, match=r"'town' \(group\) without gaps"):
        GroupedData.from_formula(FORMULA, frame.assign(town=frame.town.where(frame.index != "r3")))
    with pytest.raises(ValueError, match="Expected missing to name columns in use; got 'unused'"):
        GroupedData.from_formula(FORMULA, frame, missing={"unused": 9})


def test_rows_held_by_an_engine_are_pointed_to_their_reduction(frame):
    with pytest.raises(TypeError, match=r"with GroupStatistics\.from_formula"):
        GroupedData.from_formula(FORMULA, libraries(frame)["polars"].lazy())


def test_a_group_that_loses_all_rows_is_listed(frame):
    gaps = frame.assign(y=frame.y.where(frame.town != "c"))
    data = GroupedData.from_formula(FORMULA, gaps, drop_missing=True)
    assert data.lost_groups == ("c",)


def test_state_has_the_digits_of_the_fit(frame):
    data = GroupedData.from_formula(FORMULA, frame)
    shift, divisor = json.loads(data.formula)["state"]["scale(x)"]
    assert (shift, divisor) == (frame.x.mean(), pytest.approx(frame.x.std(), rel=1e-14))
    one = ModelFormula.from_json(data.formula).columns_of(frame.iloc[[4]])
    np.testing.assert_array_equal(one, data.x[[4]])


def test_a_stored_formula_makes_data_of_other_rows_by_its_own_means(frame):
    data = GroupedData.from_formula(FORMULA, frame)
    stored = ModelFormula.from_json(data.formula)
    other = GroupedData.from_formula(stored, frame.iloc[10:14])
    np.testing.assert_array_equal(other.x, data.x[10:14])
    np.testing.assert_array_equal(other.y, data.y[10:14])
    assert other.labels.design == data.labels.design
    assert other.formula == data.formula


def test_formula_and_notes_go_with_the_data(frame):
    data = GroupedData.from_formula(FORMULA, frame)
    assert repr(data) == f"GroupedData(30 rows, 3 groups; {FORMULA})"
    for part in (data.select("a"), data.take([0, 1]), jax.tree.map(lambda leaf: leaf, data)):
        assert (part.formula, part.notes) == (data.formula, data.notes)
    scaled = "scale(x): 0 is the mean of x, 1000, and one unit is its standard deviation, 0.949499"
    assert data.notes == ("Sex: Male against Female", "warm: True against False", scaled)
    columns = ["scale(x)", "Sex[Male]", "warm[True]", "year", "scale(x):Sex[Male]"]
    assert list(data.to_frame()) == ["y", *columns, "town"]
    again = GroupedData.from_frame(data.to_frame(), y="y", x=columns, group="town")
    np.testing.assert_array_equal(again.x, data.x)
    assert again.fingerprint() != data.fingerprint()


def test_columns_that_do_not_vary_follow_those_that_do(frame):
    names = {"y": "y", "group": "town"}
    data = GroupedData.from_frame(frame, **names, x="x", fixed=["year", "warm"], center="year")
    assert data.labels.design == Design(("Intercept", "x", "year", "warm"), ("Intercept", "x"))
    np.testing.assert_array_equal(data.x[:, [0, 2]], frame[["x", "warm"]].to_numpy(float))
    assert dict(data.centers) == {"year": frame.year.mean()}
    assert repr(data).startswith(
        "GroupedData(30 rows, 3 groups; y ~ 1 + x + year + warm + (1 + x || town);"
    )
    by_formula = GroupedData.from_formula("y ~ x + year + warm + (x || town)", frame)
    assert by_formula.labels.predictors == ("x", "year", "warm[True]")
    one = GroupedData.from_frame(frame, **names, x="x", fixed="year")
    assert one.labels.predictors == ("x", "year")
    with pytest.raises(ValueError, match=r"fixed to name a column; got 'yeer' \(close: 'year'\)"):
        GroupedData.from_frame(frame, **names, x="x", fixed="yeer")
    with pytest.raises(ValueError, match="different columns; got 'x' repeated"):
        GroupedData.from_frame(frame, **names, x="x", fixed="x")
    with pytest.raises(TypeError, match="Expected fixed to be a str or a sequence"):
        GroupedData.from_frame(frame, **names, fixed=3)


def test_a_formula_without_splines_loads_neither_formulaic_nor_jax():
    code = (
        "import sys, pandas as pd\n"
        "from radon_numpyro.data.grouped_data import GroupedData\n"
        "f = pd.DataFrame({'y': [1., 2., 4.], 'c': ['a', 'b', 'a'], 'g': [1, 1, 2]})\n"
        "GroupedData.from_formula('y ~ c + (1 | g)', f)\n"
        "print(sorted({'formulaic', 'jax', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_order_that_has_no_part_is_said():
    """In R ordered factors have polynomial contrasts, and their coefficients other meanings."""
    rng = np.random.default_rng(2)
    levels = ["low", "mid", "high"]
    rows = pd.DataFrame({"y": rng.normal(size=60), "g": np.arange(60) % 4})
    rows["dose"] = pd.Categorical(rng.choice(levels, 60), levels, ordered=True)
    rows["pair"] = pd.Categorical(rng.choice(["no", "yes"], 60), ordered=True)
    said = (
        "dose: the order of its levels says which is the reference, and no more; "
        "C(dose, contr.poly) has the polynomial contrasts of ordered factors in R"
    )
    data = GroupedData.from_formula("y ~ dose + pair + (1 | g)", rows)
    assert data.labels.predictors == ("dose[mid]", "dose[high]", "pair[yes]")
    assert data.notes[-1] == said
    assert sum("order of its levels" in note for note in data.notes) == 1
    for formula, frame in (
        ("y ~ C(dose, contr.poly) + (1 | g)", rows),
        ("y ~ dose + (1 | g)", rows.assign(dose=rows.dose.cat.as_unordered())),
    ):
        assert said not in GroupedData.from_formula(formula, frame).notes


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        (pd.Series([True, False, None, True], dtype=object), "x[True]", [1, 0, 1]),
        (pd.array([True, False, None, True], dtype="boolean"), "x[True]", [1, 0, 1]),
        (pd.array([True, False, None, True], pd.ArrowDtype(pa.bool_())), "x[True]", [1, 0, 1]),
        (["yes", "no", None, "yes"], "x[yes]", [1, 0, 1]),
        (["T", "F", None, "T"], "x[T]", [1, 0, 1]),
        (pd.array([1, 2, None, 4], dtype="Int64"), "x", [1, 2, 4]),
        (pd.array([1, 2, None, 4], dtype=pd.ArrowDtype(pa.float64())), "x", [1, 2, 4]),
        (pd.Series([1.5, 2, None, 4], dtype=object), "x", [1.5, 2, 4]),
        (pd.Series([1.5, 2, pd.NA, 4], dtype=object), "x", [1.5, 2, 4]),
        (pd.Series([Decimal("1.5"), 2, None, 4], dtype=object), "x", [1.5, 2, 4]),
    ],
)
def test_columns_with_a_gap_are_what_their_values_are(values, name, expected):
    frame = pd.DataFrame({"y": [1.0, 2.0, 9.0, 5.5], "g": list("abab"), "x": values})
    data = GroupedData.from_formula("y ~ x + (1 | g)", frame, drop_missing=True)
    assert data.labels.predictors == (name,)
    assert data.x[:, 0].tolist() == expected
    assert dict(data.left_out) == {"no x": 1}


@pytest.mark.parametrize("library", ["pandas", "objects", "polars", "arrow", "engine"])
def test_text_that_holds_numbers_is_categories_as_in_r_and_is_said(frame, library):
    frame = frame[["y", "town", "year"]].assign(year=frame["year"].astype(str))
    rows = pl.from_pandas(frame)
    of = {
        "pandas": frame,
        "objects": frame.astype({"year": object}),
        "polars": rows,
        "arrow": rows.to_arrow(),
        "engine": rows.lazy(),
    }[library]
    made = GroupStatistics if library == "engine" else GroupedData
    data = made.from_formula("y ~ year + (1 | town)", of)
    levels = sorted(set(frame["year"]))
    assert data.labels.predictors == tuple(f"year[{level}]" for level in levels[1:])
    (said,) = [note for note in data.notes if "though all of it is numbers" in note]
    assert said.startswith(
        f"year: text is read as categories, though all of it is numbers, such as {levels[0]!r}"
    )
    assert "pandas.to_numeric" in said


def test_categories_that_are_meant_are_no_numbers_by_mistake(frame):
    text = frame.assign(year=frame["year"].astype(str))
    meant = [
        ("year", frame.assign(year=frame["year"].astype("category"))),
        ("factor(year)", frame),
        ("factor(year)", text),
        ("Sex", frame),
        ("year", text.assign(year=text["year"].where(text["year"] != "2003", "2003?"))),
    ]
    for column, rows in meant:
        data = GroupedData.from_formula(f"y ~ {column} + (1 | town)", rows)
        assert not any("is numbers" in note for note in data.notes)
