"""Sums of rows with weights: by brute force, how they add up, and what no weights can be."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from radon_numpyro import GroupedData, GroupStatistics, Priors
from radon_numpyro.statistics.consistency import check_statistics


def frame(num_rows=60, seed=0, groups="abcd"):
    rng = np.random.default_rng(seed)
    columns = {"y": rng.normal(size=num_rows), "x": 3.0 + rng.normal(size=num_rows)}
    columns |= {"w": 10.0 ** rng.uniform(-1, 1, num_rows), "g": rng.choice([*groups], num_rows)}
    return pd.DataFrame(columns)


COLUMNS = {"y": "y", "x": "x", "group": "g"}
ARRAYS = ("count", "weight", "log_weight", "mean_x", "mean_y", "sxx", "sxy", "syy")


def assert_same(found, expected):
    order = [found.labels.groups.index(label) for label in expected.labels.groups]
    for name in ARRAYS:
        wanted = getattr(expected, name)
        np.testing.assert_allclose(getattr(found, name)[order], wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("by", ["weights", "se"])
def test_the_sums_of_a_group_are_those_of_its_rows(by):
    rows = frame()
    found = GroupStatistics.from_frame(rows, **COLUMNS, **{by: "w"})
    for c, label in enumerate(found.labels.groups):
        own = rows[rows["g"] == label]
        w = own["w"].to_numpy() if by == "weights" else own["w"].to_numpy() ** -2.0
        x, y = own["x"].to_numpy(), own["y"].to_numpy()
        assert found.count[c] == len(own)
        np.testing.assert_allclose(found.weight[c], w.sum())
        np.testing.assert_allclose(found.log_weight[c], np.log(w).sum())
        mean_x, mean_y = (w * x).sum() / w.sum(), (w * y).sum() / w.sum()
        np.testing.assert_allclose([found.mean_x[c, 0], found.mean_y[c]], [mean_x, mean_y])
        np.testing.assert_allclose(found.sxy[c, 0], (w * (x - mean_x) * (y - mean_y)).sum())
        np.testing.assert_allclose(found.syy[c], (w * (y - mean_y) ** 2).sum())


def test_statistics_of_parts_add_up_to_those_of_all_rows():
    rows = frame()
    whole = GroupStatistics.from_frame(rows, **COLUMNS, weights="w")
    first = GroupStatistics.from_frame(rows[:25], **COLUMNS, weights="w")
    assert_same(first.update(rows[25:]), whole)
    assert_same(first.merge(GroupStatistics.from_frame(rows[25:], **COLUMNS, weights="w")), whole)
    one = GroupStatistics.from_frame(rows.assign(g="a"), **COLUMNS, weights="w")
    overall = whole.overall()
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(overall, name), getattr(one, name), rtol=1e-11)


def test_statistics_by_a_formula_add_up_with_the_column_that_it_names():
    rows = frame()
    formula = "y | se(w) ~ x + (1 | g)"
    whole = GroupStatistics.from_formula(formula, rows)
    first = GroupStatistics.from_formula(formula, rows[:25])
    assert whole.labels.design.se == "w"
    assert_same(first.update(rows[25:]), whole)


def test_statistics_with_weights_and_without_do_not_add_up():
    rows = frame()
    plain = GroupStatistics.from_frame(rows, **COLUMNS)
    heavy = GroupStatistics.from_frame(rows, **COLUMNS, weights="w")
    for one, other in ((plain, heavy), (heavy, plain)):
        with pytest.raises(ValueError, match="Expected statistics of the same outcome"):
            one.merge(other)


def test_data_with_weights_survive_a_frame_and_a_choice_of_rows():
    data = GroupedData.from_frame(frame(), **COLUMNS, weights="w", center="x")
    again = GroupedData.from_frame(
        data.to_frame(), **COLUMNS, weights="w", center=dict(data.centers)
    )
    np.testing.assert_array_equal(again.weights, data.weights)
    np.testing.assert_array_equal(data.take([5, 2]).weights, data.weights[[5, 2]])
    np.testing.assert_array_equal(data.select("b").weights, data.weights[frame()["g"] == "b"])
    assert "weights w" in repr(data)


def test_the_mean_that_a_predictor_is_counted_from_is_that_of_the_rows():
    data = GroupedData.from_frame(frame(), **COLUMNS, weights="w", center="x")
    np.testing.assert_allclose(dict(data.centers)["x"], frame()["x"].mean())


def test_fingerprints_tell_weights_apart():
    rows = frame()
    prints = {
        GroupedData.from_frame(rows, **COLUMNS).fingerprint(),
        GroupedData.from_frame(rows, **COLUMNS, weights="w").fingerprint(),
        GroupedData.from_frame(rows, **COLUMNS, se="w").fingerprint(),
        GroupedData.from_frame(rows.assign(w=2 * rows["w"]), **COLUMNS, weights="w").fingerprint(),
    }
    assert len(prints) == 4
    of_statistics = {
        GroupStatistics.from_frame(rows, **COLUMNS, **{by: "w"}).fingerprint()
        for by in ("weights", "se")
    }
    assert len(of_statistics) == 2


@pytest.mark.parametrize("by", ["weights", "se"])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0.0, r"above 0; got 1 row \(index 3\) of 0 or below"),
        (-2.0, r"above 0; got 1 row \(index 3\) of 0 or below"),
        (1e-160, r"between 1e-100 and 1e\+100; got 1 row \(index 3\) of others"),
        (1e-90, r"within 1e\+20 times its median .*; got 1 row \(index 3\) farther off"),
        (np.nan, r"finite; got 1 row \(index 3\) missing"),
        (np.inf, r"finite; got 1 row \(index 3\) infinite"),
    ],
)
def test_what_is_no_weight_is_refused_by_its_row(by, value, says):
    rows = frame()
    rows.loc[3, "w"] = value
    with pytest.raises(ValueError, match=f"Expected column 'w' .{by}. to be {says}"):
        GroupedData.from_frame(rows, **COLUMNS, **{by: "w"})
    with pytest.raises(ValueError, match=f"Expected column 'w' .{by}. to be {says}"):
        GroupedData.from_formula("y ~ x + (1 | g)", rows, **{by: "w"})


def test_a_row_without_a_weight_is_left_out_if_asked():
    rows = frame()
    rows.loc[[3, 8], "w"] = [np.nan, -9.0]
    options = {"drop_missing": True, "missing": {"w": -9.0}}
    for data in (
        GroupedData.from_frame(rows, **COLUMNS, **options, weights="w"),
        GroupedData.from_formula("y ~ x + (x || g)", rows, **options, weights="w"),
    ):
        assert data.num_rows == 58
        assert data.left_out == (("w is -9.0 (missing)", 1), ("no w", 1))


def test_names_of_weights_are_checked():
    rows = frame()
    with pytest.raises(ValueError, match=r"weights to name one column; got 'v', 0 columns"):
        GroupedData.from_frame(rows, **COLUMNS, weights="v")
    with pytest.raises(TypeError, match="Expected se to be named by a str; got 3"):
        GroupedData.from_frame(rows, **COLUMNS, se=3)
    # Not the values themselves, over many lines.
    with pytest.raises(TypeError, match=r"got Series of length 60: put it into a column"):
        GroupedData.from_frame(rows, **COLUMNS, weights=rows["w"])
    with pytest.raises(ValueError, match="Expected weights or se, not both"):
        GroupedData.from_frame(rows, **COLUMNS, weights="w", se="x")
    with pytest.raises(ValueError, match="named once; got 'w' in the formula and se 'x'"):
        GroupedData.from_formula("y | se(w) ~ x + (1 | g)", rows, se="x")
    with pytest.raises(TypeError, match=r"dtype (str|object)"):
        GroupedData.from_frame(rows.assign(w="heavy"), **COLUMNS, weights="w")


def test_plain_arrays_take_weights():
    rows = frame()
    data = GroupedData.from_arrays(rows["y"], rows["x"], rows["g"], se=rows["w"].to_numpy())
    np.testing.assert_array_equal(data.se, rows["w"])
    with pytest.raises(ValueError, match=r"same length; got y 60, group 60, .*weights 59"):
        GroupedData.from_arrays(rows["y"], rows["x"], rows["g"], weights=rows["w"][1:])


@pytest.mark.parametrize(
    "change",
    [
        {"weight": lambda s: -s.weight},
        {"weight": lambda s: s.weight[:-1]},
        {"weight": lambda s: s.weight * np.nan},
        # More than any weights of this sum can have.
        {"log_weight": lambda s: s.count * np.log(s.weight / s.count) + 0.1},
        {"weight": lambda s: None, "log_weight": lambda s: None},
    ],
)
def test_sums_that_no_weights_have_are_refused(change):
    good = GroupStatistics.from_frame(frame(), **COLUMNS, weights="w")
    check_statistics(good)
    bad = replace(good, **{name: make(good) for name, make in change.items()})
    with pytest.raises(ValueError, match="weight"):
        check_statistics(bad)


def test_equal_weights_are_consistent_whatever_rounding_makes_of_their_logarithms():
    for weight in (1e-8, 0.1, 1 / 3, 7e9):
        statistics = GroupStatistics.from_frame(frame().assign(w=weight), **COLUMNS, weights="w")
        check_statistics(statistics)


def test_default_priors_are_the_same_whatever_all_weights_are_multiplied_by():
    """But for that of eps, the residual sd of a row of weight 1."""
    rows = frame()
    one, four = (
        Priors.weakly_informative(
            GroupedData.from_frame(rows.assign(w=c * rows["w"]), **COLUMNS, weights="w")
        )
        for c in (1.0, 4.0)
    )
    np.testing.assert_allclose(four.eps.scale, 2.0 * one.eps.scale)
    np.testing.assert_allclose(four.sigma_beta.scale, one.sigma_beta.scale)
    np.testing.assert_allclose(four.mu_alpha.scale, one.mu_alpha.scale)
    plain = Priors.weakly_informative(GroupedData.from_frame(rows, **COLUMNS))
    ones = GroupedData.from_frame(rows.assign(w=1.0), **COLUMNS, weights="w")
    np.testing.assert_allclose(Priors.weakly_informative(ones).eps.scale, plain.eps.scale)


@pytest.mark.parametrize("by", ["rows", "statistics"])
def test_the_audit_does_not_miss_a_scatter_that_is_known(by):
    """Of groups of one row, and of outcomes on a line, the standard errors tell the scatter."""
    rows = pd.DataFrame({"y": np.arange(6.0), "x": np.arange(6.0), "g": [*"abcdef"], "s": 1.0})
    of = GroupedData if by == "rows" else GroupStatistics
    known = of.from_formula("y | se(s) ~ x + (1 | g)", rows).audit()
    assert known.ok, str(known)
    estimated = of.from_formula("y ~ x + (1 | g)", rows).audit()
    assert "Every group of 'g' has a single row" in str(estimated)
    assert "without a residual" in str(estimated)
