"""Scores of held-out predictions, by hand."""

import numpy as np
import pytest

from radon_numpyro.comparison.held_out import HeldOut, identified, root_mean_square, se_of_sum
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.statistics.group_statistics import GroupStatistics


def held_out(error, score, cluster=None, known=True):
    n = len(error)
    cluster = np.arange(n) if cluster is None else np.array(cluster)
    known = np.broadcast_to(known, n)
    return HeldOut(np.zeros(n), np.array(score, float), np.array(error, float), known, cluster)


def test_scores_by_hand():
    held = held_out([1, -2, 3, 0.5], [-1, -2, -4, np.nan])
    rows = np.array([True, True, True, False])
    squared = np.array([1.0, 4.0, 9.0])
    rmsd = held.rmsd(rows)
    assert rmsd.value == pytest.approx(np.sqrt(14 / 3))
    assert rmsd.se == pytest.approx(squared.std(ddof=1) / np.sqrt(3) / (2 * rmsd.value))
    elpd = held.elpd(rows)
    assert elpd.value == -7.0
    assert elpd.se == pytest.approx(np.std([1, 2, 4], ddof=1) * np.sqrt(3))
    better = held_out([1, 1, 1, 1], [-0.5, -2.5, -1, 0])
    difference = held.elpd_difference(better, rows)
    assert difference.value == pytest.approx(-0.5 + 0.5 - 3)
    assert difference.se == pytest.approx(np.std([-0.5, 0.5, -3], ddof=1) * np.sqrt(3))


def test_rows_left_out_together_count_as_one():
    """Two copies of every row in a cluster of their own tell no more than one."""
    values = np.random.default_rng(0).normal(2.0, 3.0, 30)
    once = se_of_sum(values, np.arange(30))
    assert once == pytest.approx(values.std(ddof=1) * np.sqrt(30))
    twice = se_of_sum(np.repeat(values, 2), np.repeat(np.arange(30), 2))
    assert twice == pytest.approx(2 * once)
    assert np.isnan(se_of_sum(values, np.zeros(30)))
    # The error of the mean, hence of the root, stays that of 30 rows.
    rmsd = root_mean_square(values, np.arange(30))
    doubled = root_mean_square(np.repeat(values, 2), np.repeat(np.arange(30), 2))
    assert doubled.value == pytest.approx(rmsd.value)
    assert doubled.se == pytest.approx(rmsd.se)


def test_standard_error_of_the_root_is_that_of_repeated_samples():
    rng = np.random.default_rng(1)
    errors = rng.normal(0.3, 2.0, (4000, 50))
    found = [root_mean_square(e, np.arange(50)) for e in errors]
    spread = np.std([f.value for f in found])
    assert np.mean([f.se for f in found]) == pytest.approx(spread, rel=0.05)


def test_what_the_rows_of_a_group_identify():
    group = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4, 4])
    x = np.array([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1.0])
    y = np.array([1, 2, 4, 1, 3, 2, 5, 5, 5, 1, 2, 2.0])
    data = GroupedData.from_arrays(y, x, group)
    equations = NormalEquations.from_statistics(GroupStatistics.from_data(data))
    groups = np.arange(5)

    def known(at):
        return identified(equations, np.full((5, 1), float(at)), groups).tolist()

    # 0: both levels seen. 1: only x = 0. 2: a single row leaves no scatter. 3: three equal
    # outcomes leave none either. 4: its three rows lie on a line.
    assert known(0) == [True, True, False, False, False]
    assert known(1) == [True, False, False, False, False]


def test_what_is_identified_does_not_depend_on_where_zero_is():
    """A row one unit away from two rows that share their x is not predicted by these."""
    rng = np.random.default_rng(0)
    for shift in (0.0, 1e6):
        x = shift + np.array([1.0, 1.0, 1.0, 2.0, 1.0, 3.0])
        data = GroupedData.from_arrays(rng.normal(5, 1, 6), x, list("aaabbb"))
        equations = NormalEquations.from_statistics(GroupStatistics.from_data(data))
        new = shift + np.array([[1.0], [2.0], [1.0], [7.0]])
        found = identified(equations, new, np.array([0, 0, 1, 1]))
        assert found.tolist() == [True, False, True, True]
