"""Sufficient statistics: they are the sums of the rows, exactly, and they add up."""

import math
from dataclasses import replace
from fractions import Fraction
from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.statistics.consistency import as_statistics
from radon_numpyro.statistics.group_statistics import GroupStatistics

FIELDS = ("count", "mean_x", "mean_y", "sxx", "sxy", "syy")


def assert_close(actual, expected, *, rtol=1e-12, atol=0.0):
    """Compare two statistics group by group, whatever the order of the groups."""
    assert set(actual.labels.groups) == set(expected.labels.groups)
    assert len(actual.labels.groups) == len(expected.labels.groups)
    order = [actual.labels.groups.index(label) for label in expected.labels.groups]
    np.testing.assert_array_equal(actual.count[order], expected.count)
    for name in FIELDS:
        found, wanted = getattr(actual, name)[order], getattr(expected, name)
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol, err_msg=name)


def in_shards(data, shard):
    """Statistics of the rows of each shard, which knows only its own groups."""
    frame = data.to_frame()
    labels = data.labels
    # Plain labels: a shard lists its groups by first appearance.
    frame[labels.group] = frame[labels.group].astype(str)
    return [
        GroupStatistics.from_data(
            GroupedData.from_frame(
                frame[shard == s], y=labels.outcome, x=labels.predictors, group=labels.group
            )
        )
        for s in np.unique(shard)
    ]


# From rows


@pytest.mark.parametrize("num_predictors", [0, 1, 2, 3])
def test_statistics_are_the_sums_over_the_rows_of_each_group(unequal_data, num_predictors):
    data = unequal_data(num_predictors)
    statistics = GroupStatistics.from_data(data)
    assert statistics.labels == data.labels
    assert (statistics.num_groups, statistics.num_rows) == (4, 18)
    assert statistics.num_predictors == num_predictors
    for c, size in enumerate((5, 1, 9, 3)):
        x, y = data.x[data.group == c], data.y[data.group == c]
        dx, dy = x - x.mean(axis=0), y - y.mean()
        assert statistics.count[c] == len(y) == size
        close = {"rtol": 1e-12, "atol": 1e-13}
        np.testing.assert_allclose(statistics.mean_x[c], x.mean(axis=0), **close)
        np.testing.assert_allclose(statistics.mean_y[c], y.mean(), **close)
        np.testing.assert_allclose(statistics.sxx[c], dx.T @ dx, **close)
        np.testing.assert_allclose(statistics.sxy[c], dx.T @ dy, **close)
        np.testing.assert_allclose(statistics.syy[c], dy @ dy, **close)


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
def test_shapes_and_types(unequal_data, num_predictors):
    statistics = GroupStatistics.from_data(unequal_data(num_predictors))
    k = num_predictors
    shapes = {"count": (4,), "mean_x": (4, k), "mean_y": (4,)}
    shapes |= {"sxx": (4, k, k), "sxy": (4, k), "syy": (4,)}
    assert {name: getattr(statistics, name).shape for name in FIELDS} == shapes
    assert {getattr(statistics, name).dtype for name in FIELDS} == {np.dtype("float64")}


@pytest.mark.parametrize("mean", [1e6, 1e9])
def test_a_large_mean_costs_no_accuracy(mean):
    """Centred sums of columns with mean 1e6 or 1e9 and sd 1, against exact rational sums."""
    rng = np.random.default_rng(1)
    group = rng.permutation(np.repeat([0, 1, 2], [40, 17, 103]))
    x = mean + rng.normal(size=len(group))
    y = x - 2 * mean + rng.normal(size=len(group))
    statistics = GroupStatistics.from_data(GroupedData.from_arrays(y, x, group))

    def exact(a, b):
        a, b = [Fraction(v) for v in a], [Fraction(v) for v in b]
        mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
        return float(sum((s - mean_a) * (t - mean_b) for s, t in zip(a, b, strict=True)))

    for c, label in enumerate(statistics.labels.groups):
        a, b = x[group == label], y[group == label]
        np.testing.assert_allclose(statistics.sxx[c, 0, 0], exact(a, a), rtol=1e-9)
        np.testing.assert_allclose(statistics.sxy[c, 0], exact(a, b), rtol=1e-9)
        np.testing.assert_allclose(statistics.syy[c], exact(b, b), rtol=1e-9)
        # The data are hard enough: the textbook formula is wrong on them.
        uncentred = a @ a - a.sum() ** 2 / len(a)
        assert abs(uncentred / exact(a, a) - 1) > 1e-8


def test_means_are_right_to_the_last_digit():
    """A single pass over 20 000 rows leaves the rounding of their running sum in the mean."""
    y = 1e9 + np.random.default_rng(2).normal(size=20_000)
    statistics = GroupStatistics.from_data(GroupedData.from_arrays(y, None, np.zeros(20_000)))
    exact = math.fsum(y) / len(y)
    assert abs(statistics.mean_y[0] - exact) <= np.spacing(exact)
    single_pass = np.bincount(np.zeros(20_000, dtype=int), weights=y)[0] / len(y)
    assert abs(single_pass - exact) > 3 * np.spacing(exact), "the data are not hard enough"


def test_a_group_without_rows_counts_nothing(unequal_data):
    data = unequal_data(2, sizes=(5, 0, 9, 3))
    statistics = GroupStatistics.from_data(data)
    assert statistics.count.tolist() == [5, 0, 9, 3]
    for name in FIELDS:
        assert not getattr(statistics, name)[1].any(), name
        assert getattr(statistics, name)[[0, 2, 3]].any(), name
    assert statistics.sum_of_squares(3.0, np.array([1.0, -2.0]))[1] == 0
    full = GroupStatistics.from_data(data.select([data.labels.groups[c] for c in (0, 2, 3)]))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(statistics, name)[[0, 2, 3]], getattr(full, name))


# Residual sum of squares


@pytest.mark.parametrize("num_predictors", [0, 1, 2, 3])
@pytest.mark.parametrize("by_group", [True, False])
def test_sum_of_squares_is_that_of_the_rows(unequal_data, num_predictors, by_group):
    data = unequal_data(num_predictors, sizes=(5, 1, 0, 9, 3))
    statistics = GroupStatistics.from_data(data)
    rng = np.random.default_rng(3)
    alpha = rng.normal(5.0, 3.0, size=5)
    beta = rng.normal(-1.0, 2.0, size=(5, num_predictors))
    if by_group:
        fitted = alpha[data.group] + (data.x * beta[data.group]).sum(-1)
    else:
        alpha, beta = alpha[0], beta[0]
        fitted = alpha + data.x @ beta
    expected = np.bincount(data.group, weights=(data.y - fitted) ** 2, minlength=5)
    found = statistics.sum_of_squares(alpha, beta)
    assert found.shape == (5,)
    np.testing.assert_allclose(found, expected, rtol=1e-11)


# Merging


def test_shards_merge_to_the_whole_and_keep_the_order_of_labels(unequal_data):
    data = unequal_data(2, sizes=(5, 1, 9, 3, 7))
    shards = in_shards(data, np.arange(25) % 3 + (data.group == 1))
    known = [shard.labels.groups for shard in shards]
    assert any(set(groups) - set(known[0]) for groups in known[1:]), "no group is new"
    assert any(set(groups) & set(known[0]) for groups in known[1:]), "no group is in two shards"
    merged = reduce(GroupStatistics.merge, shards)
    assert_close(merged, GroupStatistics.from_data(data), atol=1e-12)
    assert merged.labels.groups == tuple(dict.fromkeys(sum(known, ())))
    assert merged.labels.outcome == "level"
    assert merged.labels.predictors == ("x1", "x2")
    assert merged.labels.group == "town"


row = st.tuples(st.sampled_from("abcde"), st.integers(0, 2), *[st.floats(-100, 100)] * 3)
tables = st.lists(row, min_size=1, max_size=30)
# 1e-12 of the largest square that the rows can hold.
SMALL = 1e-8


def shards_of(rows):
    frame = pd.DataFrame(rows, columns=["g", "shard", "y", "a", "b"])
    data = GroupedData.from_frame(frame, y="y", x=["a", "b"], group="g")
    return data, in_shards(data, frame["shard"].to_numpy())


@given(tables)
def test_any_shards_merge_to_the_whole(rows):
    data, shards = shards_of(rows)
    merged = reduce(GroupStatistics.merge, shards)
    assert_close(merged, GroupStatistics.from_data(data), atol=SMALL)
    assert merged.num_rows == len(rows)


@given(tables)
def test_merging_is_associative_and_commutative_but_for_the_order_of_groups(rows):
    _, shards = shards_of(rows)
    a, b, c = (shards * 3)[:3]
    left, right = a.merge(b).merge(c), a.merge(b.merge(c))
    assert left.labels == right.labels
    assert_close(left, right, atol=SMALL)
    assert_close(a.merge(b), b.merge(a), atol=SMALL)
    assert a.merge(b).labels.groups[: a.num_groups] == a.labels.groups
    assert b.merge(a).labels.groups[: b.num_groups] == b.labels.groups


@given(tables)
def test_updates_are_merges(rows):
    """Whatever the new rows come as."""
    data, shards = shards_of(rows)
    first = shards[0]
    names = {"y": "y", "x": ["a", "b"], "group": "g"}
    for new in (data, GroupStatistics.from_data(data), data.to_frame()):
        updated = first.update(new)
        assert_close(updated, first.merge(GroupStatistics.from_frame(data.to_frame(), **names)))
        assert updated.labels.groups[: first.num_groups] == first.labels.groups


def test_an_empty_group_takes_the_numbers_of_the_other_side_as_they_are(unequal_data):
    data = unequal_data(2)
    whole = GroupStatistics.from_data(data)
    second = GroupStatistics.from_data(data.take(data.group == 2))
    others = GroupStatistics.from_data(data.take(data.group != 2))
    for merged in (second.merge(others), others.merge(second)):
        assert merged.labels == data.labels
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(merged, name), getattr(whole, name), name)
    nothing = jax.tree.map(np.zeros_like, whole)
    for merged in (nothing.merge(whole), whole.merge(nothing), nothing.merge(nothing)):
        assert all(np.isfinite(getattr(merged, name)).all() for name in FIELDS)
    assert_close(whole.merge(nothing), whole, rtol=0)
    assert not nothing.merge(nothing).count.any()


def test_merging_with_itself_doubles_the_sums_and_keeps_the_means(unequal_data):
    statistics = GroupStatistics.from_data(unequal_data(3))
    twice = statistics.merge(statistics)
    double = {name: 2 * getattr(statistics, name) for name in ("count", "sxx", "sxy", "syy")}
    assert_close(twice, replace(statistics, **double), rtol=1e-15)


def test_merging_leaves_both_sides_alone(unequal_data):
    a, b = (GroupStatistics.from_data(unequal_data(1, seed=s)) for s in (1, 2))
    before = jax.tree.map(np.copy, (a, b))
    a.merge(b)
    jax.tree.map(np.testing.assert_array_equal, (a, b), before)


@pytest.mark.parametrize("mean", [1e6, 1e9])
def test_merging_keeps_the_accuracy_of_columns_with_a_large_mean(mean):
    """As accurate as the means of the shards, which are rounded to 1e-16 of themselves."""
    rng = np.random.default_rng(4)
    group = rng.permutation(np.repeat(["a", "b", "c"], [40, 17, 103]))
    x = mean + rng.normal(size=len(group))
    y = 3 * (mean - x) + mean + rng.normal(size=len(group))
    data = GroupedData.from_arrays(y, x, group)
    merged = reduce(GroupStatistics.merge, in_shards(data, np.arange(len(group)) % 7))
    assert_close(merged, GroupStatistics.from_data(data), rtol=1e-15 * mean)


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({"outcome": "radon"}, "'radon', \\('x1', 'x2'\\), 'town'"),
        ({"predictors": ("x2", "x1")}, "'level', \\('x2', 'x1'\\), 'town'"),
        ({"group": "city"}, "'level', \\('x1', 'x2'\\), 'city'"),
    ],
)
def test_statistics_of_other_columns_do_not_merge(unequal_data, changes, other):
    statistics = GroupStatistics.from_data(unequal_data(2))
    theirs = replace(statistics, labels=replace(statistics.labels, **changes))
    message = (
        "Expected statistics of the same outcome, predictors, group and weights, "
        f"\\('level', \\('x1', 'x2'\\), 'town'\\); got \\({other}\\)"
    )
    with pytest.raises(ValueError, match=message):
        statistics.merge(theirs)


# As an argument


def test_as_statistics_reduces_rows_and_hands_statistics_through(unequal_data):
    data = unequal_data(1)
    statistics = as_statistics(data)
    assert_close(statistics, GroupStatistics.from_data(data), rtol=0)
    assert as_statistics(statistics) is statistics


@pytest.mark.parametrize("wrong", [pd.DataFrame({"y": [1.0]}), [1.0, 2.0], None])
def test_as_statistics_says_what_it_wants(wrong):
    message = (
        "Expected data to be a GroupedData or GroupStatistics; "
        rf"got {type(wrong).__name__}. Make one with GroupedData.from_frame"
    )
    with pytest.raises(TypeError, match=message):
        as_statistics(wrong)


def test_a_jitted_function_takes_statistics_and_keeps_their_labels(unequal_data, x64):
    first, second = (GroupStatistics.from_data(unequal_data(2, seed=s)) for s in (1, 2))
    traces = []

    @jax.jit
    def halve(statistics):
        traces.append(statistics.num_groups)
        return jax.tree.map(lambda leaf: leaf / 2, statistics), statistics.sum_of_squares(
            1.0, jnp.array([2.0, 3.0])
        )

    halved, residual = halve(first)
    halve(second)
    assert traces == [4], "the same labels and shapes must not be compiled again"
    assert halved.labels == first.labels
    np.testing.assert_array_equal(halved.sxx, first.sxx / 2)
    expected = first.sum_of_squares(1.0, np.array([2.0, 3.0]))
    np.testing.assert_allclose(residual, expected, rtol=1e-12)


def test_statistics_of_all_rows_are_those_of_the_rows_in_one_group(unequal_data):
    """Means and scatter of all rows: computed from the rows, which the groups must add up to."""
    data = unequal_data(2)
    overall = GroupStatistics.from_data(data).overall()
    columns = np.column_stack([data.x, data.y])
    centred = columns - columns.mean(0)
    products = centred.T @ centred
    assert overall.num_groups == 1
    assert overall.num_rows == data.num_rows
    means = np.append(overall.mean_x[0], overall.mean_y[0])
    np.testing.assert_allclose(means, columns.mean(0), rtol=1e-12)
    np.testing.assert_allclose(overall.sxx[0], products[:-1, :-1], rtol=1e-10)
    np.testing.assert_allclose(overall.sxy[0], products[:-1, -1], rtol=1e-10)
    np.testing.assert_allclose(overall.syy[0], products[-1, -1], rtol=1e-10)
