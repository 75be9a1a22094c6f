"""Statistics that no rows can have are refused in a line, and those of any rows pass."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radon_numpyro import GroupedData, GroupStatistics, fit
from radon_numpyro.inference.compute.programs import unlabelled
from radon_numpyro.statistics.consistency import as_statistics


@pytest.fixture
def statistics(unequal_data):
    return GroupStatistics.from_data(unequal_data(2, sizes=(5, 1, 0, 9, 3)))


def with_entry(statistics, name, index, value):
    array = np.array(getattr(statistics, name))
    array[index] = value
    return replace(statistics, **{name: array})


REFUSALS = {
    "NaN": (
        lambda s: with_entry(s, "mean_y", 3, np.nan),
        "Expected mean_y to be finite; got nan in 1 group: 'town 3'",
    ),
    "infinite": (
        lambda s: with_entry(s, "sxy", (0, 1), -np.inf),
        "sxy to be finite; got -inf in 1 group: 'town 0'. Give the columns in other units",
    ),
    "negative count": (
        lambda s: with_entry(s, "count", 1, -1),
        "count to be finite and not negative; got -1.0 in 1 group: 'town 1'",
    ),
    "no rows": (
        lambda s: jax.tree.map(np.zeros_like, s),
        "statistics of at least one row; got a count of 0 in all groups",
    ),
    "wrong shape": (
        lambda s: replace(s, sxx=s.sxx[:, 0]),
        r"sxx of 5 groups and 2 predictors to have shape \(5, 2, 2\); got \(5, 2\)",
    ),
    "too few groups": (
        lambda s: replace(s, labels=replace(s.labels, groups=("a", "b"))),
        r"count of 2 groups and 2 predictors to have shape \(2,\); got \(5,\)",
    ),
    "negative variance": (
        lambda s: with_entry(s, "syy", 3, -1.0),
        "without negative eigenvalues; got another in 1 group: 'town 3'",
    ),
    "asymmetric": (
        lambda s: with_entry(s, "sxx", (3, 0, 1), s.sxx[3, 0, 1] + 1.0),
        "a symmetric matrix without negative eigenvalues; got another in 1 group: 'town 3'",
    ),
    "beyond Cauchy-Schwarz": (
        lambda s: with_entry(s, "sxy", (3, 0), 1.01 * np.sqrt(s.sxx[3, 0, 0] * s.syy[3])),
        "without negative eigenvalues; got another in 1 group: 'town 3'",
    ),
    "far beyond it": (
        lambda s: with_entry(s, "sxy", (0, 0), 1e300),
        "without negative eigenvalues; got another in 1 group: 'town 0'",
    ),
    "scatter of one row": (
        lambda s: with_entry(s, "sxy", (1, 0), 0.5),
        "without negative eigenvalues; got another in 1 group: 'town 1'",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_statistics_that_no_rows_have_are_refused(statistics, case):
    change, message = REFUSALS[case]
    with pytest.raises(ValueError, match=message) as caught:
        fit(change(statistics), progress_bar=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("mean", [0.0, 1e6])
@pytest.mark.parametrize("num_predictors", [0, 1, 3])
def test_statistics_of_rows_pass_whatever_their_units(unequal_data, num_predictors, mean, scale):
    data = unequal_data(num_predictors, sizes=(5, 1, 0, 9, 3))
    data = replace(data, x=scale * (data.x + mean), y=(data.y + mean) / scale)
    statistics = GroupStatistics.from_data(data)
    for kind in (data, statistics, unlabelled(statistics), statistics.merge(statistics)):
        assert as_statistics(kind).num_groups == 5
    single = jax.tree.map(jnp.float32, statistics)
    assert as_statistics(single) is single


def test_constant_and_collinear_columns_pass(unequal_data):
    data = unequal_data(3)
    x = data.x.copy()
    x[:, 1] = 0.1
    x[:, 2] = -1e6 * x[:, 0]
    as_statistics(replace(data, x=x, y=np.full(len(data.y), 1e7 / 3)))


rows = st.lists(
    st.tuples(st.sampled_from("abc"), *[st.floats(-1e6, 1e6, width=32)] * 3),
    min_size=1,
    max_size=12,
)


@given(rows)
def test_statistics_of_any_rows_pass(table):
    group, y, a, b = zip(*table, strict=True)
    data = GroupedData.from_arrays(np.array(y), np.column_stack([a, b]), list(group))
    statistics = GroupStatistics.from_data(data)
    as_statistics(statistics.merge(statistics))


def test_they_are_not_asked_inside_a_compiled_function(statistics, x64):
    @jax.jit
    def total(some):
        return as_statistics(some).count.sum()

    assert total(statistics) == 18
    assert total(jax.tree.map(np.negative, statistics)) == -18


@pytest.mark.parametrize(
    ("y", "x", "message"),
    [
        (1e60, 1.0, "deviation of 'level' to lie between 1e-50 and 1e.50; got .*another unit"),
        (1e-60, 1.0, "deviation of 'level' to lie between"),
        (1.0, 1e-70, "deviation of 'x1' to lie between"),
        (1e200, 1.0, "syy to be finite; got inf, inf, .* Give the columns in other units"),
    ],
)
def test_units_beyond_floating_point_are_refused(unequal_data, y, x, message):
    data = unequal_data(1)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=message):
        fit(replace(data, y=y * data.y, x=x * data.x), progress_bar=False)


def test_a_constant_outcome_is_no_extreme_unit(unequal_data):
    """It passes, and is refused by the fit for what it is."""
    data = unequal_data(1)
    constant = replace(data, y=np.full(len(data.y), 3.0))
    assert not as_statistics(constant).syy.any()
    with pytest.raises(ValueError, match="to leave a residual about its line"):
        fit(constant, progress_bar=False)
