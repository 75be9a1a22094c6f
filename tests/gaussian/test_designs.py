"""Groups of one design put together: the density of all groups, at the cost of their designs."""

import jax
import numpy as np
import pytest
from dense import (
    HIERARCHICAL,
    equations_of,
    log_density,
    log_density_and_gradient,
    make_priors,
)
from designs import priors_of, with_design

from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.gaussian.designs import MANY, by_design
from radon_numpyro.gaussian.predictive import population_prior
from radon_numpyro.inference.advi.closed_form_start import _plug_in_scales
from radon_numpyro.inference.nuts import scales

SCALE = np.array([1.3, 0.4, 0.7])
EPS = 0.6


def rows(num_groups, num_predictors, levels=2, seed=0):
    """Groups of one to five rows, their predictors few values far from zero, and one has none."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, num_groups)
    group = np.repeat(np.arange(num_groups), sizes)
    unit = 10.0 ** np.arange(num_predictors)
    x = (7.0 + rng.integers(levels, size=(len(group), num_predictors))) * unit
    alpha = rng.normal(3.0, 1.5, num_groups)
    y = alpha[group] + x @ (0.3 / unit) + rng.normal(0.0, EPS, len(group))
    return GroupedData.from_arrays(y, x, group)


def other(design, num_groups=2 * MANY):
    """Of another design: a column of few values varies, or the intercept alone; others do not."""
    drawn = rows(num_groups, 3)
    x = drawn.x.copy()
    x[:, 1:] += np.random.default_rng(2).normal(size=(len(x), 2))
    return with_design(GroupedData.from_arrays(drawn.y, x, drawn.group), design)


OTHER = {
    "intercept": Design((INTERCEPT, "x1", "x2", "x3"), (INTERCEPT,)),
    "slope": Design((INTERCEPT, "x1", "x2", "x3"), (INTERCEPT, "x1")),
    "slope alone": Design((INTERCEPT, "x2", "x3"), ("x1",)),
}


def assert_same_density_and_derivatives(found, expected, priors, rtol):
    """Of equations, by NumPy."""
    one, other = (
        log_density_and_gradient(equations, SCALE[: equations.size], EPS, priors)
        for equations in (found, expected)
    )
    np.testing.assert_allclose(one[0], other[0], rtol=rtol)
    for part, wanted in zip(one[1][:2], other[1][:2], strict=True):
        np.testing.assert_allclose(part, wanted, rtol=rtol)


@pytest.mark.parametrize("num_predictors", [0, 1, 2])
def test_the_density_and_its_derivatives_stay(num_predictors):
    equations, priors = equations_of(rows(2 * MANY, num_predictors)), make_priors(num_predictors)
    reduced = by_design(equations)
    assert reduced.target.shape[1] < len(equations.count) / 2
    assert reduced.target[:, reduced.repeats == 0].any(), "targets differ within a design"
    assert_same_density_and_derivatives(reduced, equations, priors, 1e-11)


@pytest.mark.parametrize("design", OTHER.values(), ids=OTHER)
def test_columns_that_do_not_vary_have_means_and_scatters_too(design):
    """They differ in every group, and the groups are put together all the same."""
    data = other(design)
    equations, priors = equations_of(data), priors_of(design)
    reduced = by_design(equations)
    assert reduced.num_groups < equations.num_groups / 2
    assert_same_density_and_derivatives(reduced, equations, priors, 1e-9)


def test_derivatives_with_repeats_are_those_of_the_density():
    """Central differences: a slip in the scatter would be one in both of the above."""
    reduced, priors = by_design(equations_of(rows(MANY, 1))), make_priors(1)
    slopes = log_density_and_gradient(reduced, SCALE[:2], EPS, priors)[1]
    step = 1e-5
    for k, derivative in enumerate([*slopes.scale, slopes.eps]):
        low, high = (
            np.append(SCALE[:2], EPS) + side * step * (np.arange(3) == k) for side in (-1, 1)
        )
        rise = log_density(reduced, high[:2], high[2], priors) - log_density(
            reduced, low[:2], low[2], priors
        )
        np.testing.assert_allclose(derivative, rise / (2 * step), rtol=1e-6)


def test_jax_counts_groups_as_often_as_numpy_does(x64):
    """The density that NUTS has, and its derivatives."""
    reduced, priors = by_design(equations_of(rows(MANY, 1))), make_priors(1)
    prior = population_prior(reduced, priors, HIERARCHICAL)
    compiled = jax.jit(jax.value_and_grad(scales.log_density, argnums=(1, 2)))
    value, slopes = compiled(reduced, SCALE[:2], EPS, prior)
    expected, gradient = log_density_and_gradient(reduced, SCALE[:2], EPS, priors)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for found, wanted in zip(slopes, gradient[:2], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_a_group_counts_once_and_its_rows_do():
    equations = equations_of(rows(MANY, 1))
    reduced = by_design(equations)
    assert reduced.repeats.sum() == MANY
    assert reduced.count.sum() == equations.count.sum()
    assert reduced.remainder == equations.remainder
    mean = (np.sqrt(reduced.repeats) * reduced.target).sum(1)
    np.testing.assert_allclose(mean, equations.target.sum(1), rtol=1e-9, atol=1e-9)


def test_the_order_of_rows_makes_no_other_designs():
    """Means and sums in another order differ by roundings, by which designs must not."""
    data = rows(MANY, 2)
    order = np.random.default_rng(1).permutation(data.num_rows)
    shuffled = GroupedData.from_arrays(data.y[order], data.x[order], data.group[order])
    found, expected = (by_design(equations_of(d)).repeats for d in (shuffled, data))
    assert (found > 0).sum() == (expected > 0).sum()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (rows(MANY - 1, 0), "few groups, each data set of which would be compiled for"),
        (rows(MANY, 1, levels=10**9), "designs of their own"),
    ],
    ids=["few", "own"],
)
def test_groups_stay_where_nothing_is_gained(data, why):
    equations = equations_of(data)
    assert by_design(equations) is equations, why


def test_data_sets_alike_have_one_shape():
    shapes = {by_design(equations_of(rows(MANY, 1, seed=s))).root.shape for s in range(5)}
    assert len(shapes) == 1
    assert shapes.pop()[2] in (64, 128)


def test_designs_that_differ_in_one_group_alone_stay_apart():
    """A millionth of a predictor's spread is a difference."""
    data = rows(2 * MANY, 1)
    x = data.x.copy()
    x[data.group == 5] += 1e-6
    moved = GroupedData.from_arrays(data.y, x, data.group)
    found, expected = (by_design(equations_of(d)).repeats for d in (moved, data))
    assert (found > 0).sum() == (expected > 0).sum() + 1


@pytest.mark.parametrize("num_predictors", [0, 1, 2])
def test_the_guide_starts_from_the_same_scales(num_predictors):
    equations, priors = equations_of(rows(2 * MANY, num_predictors)), make_priors(num_predictors)
    reduced = by_design(equations)
    np.testing.assert_allclose(reduced.rss, equations.rss, rtol=1e-12)
    (scale, eps), (found_scale, found_eps) = (
        _plug_in_scales(e, priors, HIERARCHICAL) for e in (equations, reduced)
    )
    # The update that ends it changes 1e-8 at the most; many further ones would change 1e-7 or so.
    np.testing.assert_allclose(found_scale, scale, rtol=1e-6)
    np.testing.assert_allclose(found_eps, eps, rtol=1e-6)
