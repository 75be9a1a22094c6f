"""Quantiles and intervals of mixtures of Normals against their definitions and exact cases."""

import subprocess
import sys

import arviz as az
import numpy as np
import pytest
from scipy import special, stats
from scipy.optimize import minimize_scalar

from radon_numpyro.gaussian.mixtures import (
    interval,
    log_sum_exp,
    moments,
    quantile,
    score,
)
from radon_numpyro.results.estimates import Estimate

PROBS = (1e-8, 0.003, 0.05, 0.3, 0.5, 0.77, 0.95, 1 - 1e-6)


def smooth(rng, draws):
    return rng.normal(7.0, 0.1, draws), 0.7 * np.exp(0.05 * rng.normal(size=draws))


def skewed(rng, draws):
    return -2.0 + 3.0 * rng.gamma(3.0, size=draws), np.exp(0.5 * rng.normal(size=draws))


def heavy(rng, draws):
    return np.full(draws, 1e3), np.exp(2.5 * rng.normal(size=draws))


def two_modes(rng, draws):
    return np.where(rng.uniform(size=draws) < 0.3, -50.0, 100.0), np.full(draws, 0.8)


def spikes(rng, draws):
    return 1e3 * rng.standard_cauchy(draws), np.exp(3.0 * rng.normal(size=draws))


CASES = (smooth, skewed, heavy, two_modes, spikes)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)


def below(mean, sd, q):
    return stats.norm(mean, sd).cdf(q).mean()


def above(mean, sd, q):
    return stats.norm(mean, sd).sf(q).mean()


@each_case
@pytest.mark.parametrize("prob", PROBS)
def test_quantiles_solve_the_distribution_function(case, prob):
    mean, sd = case(np.random.default_rng(3), 500)
    found = quantile(mean[:, None], sd[:, None] ** 2, np.array([prob]))
    assert found.shape == (1,)
    assert below(mean, sd, found[0]) == pytest.approx(prob, rel=1e-7)
    assert above(mean, sd, found[0]) == pytest.approx(1 - prob, rel=1e-7)


@pytest.mark.parametrize("ci_kind", ["eti", "hdi"])
@each_case
def test_components_of_twice_the_weight_count_twice(case, ci_kind):
    """Weights 3, 2, 1 as the same components three times, twice and once, of equal weights."""
    mean, sd = case(np.random.default_rng(5), 300)
    times = np.tile([3, 2, 1], 100)
    weight = times / times.sum()
    columns = mean[:, None] + [0.0, 5.0], np.tile(sd[:, None] ** 2, 2)
    copies = [np.repeat(part, times, axis=0) for part in columns]
    np.testing.assert_allclose(moments(*columns, weight), moments(*copies), rtol=1e-10)
    found, expected = interval(*columns, 0.8, ci_kind, weight), interval(*copies, 0.8, ci_kind)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * sd.min())
    plain = interval(*columns, 0.8, ci_kind)
    assert np.abs(np.subtract(found, plain)).max() > 1e-4 * sd.min(), "the weights change nothing"


def test_sums_of_exponentials_against_scipy():
    rng = np.random.default_rng(0)
    values = rng.normal(0.0, 400.0, size=(50, 4, 3))
    values[:, 0, 0] = -np.inf
    values[3, 1, 1] = -np.inf
    for axis in (0, 2, (0, 1)):
        np.testing.assert_allclose(
            log_sum_exp(values, axis), special.logsumexp(values, axis=axis), rtol=1e-14
        )


def test_sums_of_exponentials_do_not_load_jax():
    """As SciPy's would, once ArviZ has put its stand-in for JAX into ``sys.modules``."""
    code = """
import sys
import arviz_base
import numpy as np
from radon_numpyro.gaussian.mixtures import log_sum_exp
assert log_sum_exp(np.zeros(2)) == np.log(2.0)
assert "jax.numpy" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_one_component_is_a_normal():
    mean, sd = np.array([[3.0, -1e6, 0.0]]), np.array([[2.0, 1e-3, 1e8]])
    for prob in PROBS:
        found = quantile(mean, sd**2, np.full(3, prob))
        np.testing.assert_allclose(found, stats.norm(mean[0], sd[0]).ppf(prob), rtol=1e-9)
    for kind in ("eti", "hdi"):
        lower, upper = interval(mean, sd**2, 0.8, kind)
        half = sd[0] * stats.norm.ppf(0.9)
        np.testing.assert_allclose(lower, mean[0] - half, rtol=1e-9)
        np.testing.assert_allclose(upper, mean[0] + half, rtol=1e-9)


def test_moments_are_those_of_the_mixture():
    mean, variance = np.array([[1.0, 2.0], [4.0, 2.0]]), np.array([[0.25, 9.0], [4.0, 1.0]])
    found = moments(mean, variance)
    np.testing.assert_allclose(found[0], [2.5, 2.0])
    np.testing.assert_allclose(found[1], np.sqrt([2.125 + 2.25, 5.0]))


@each_case
@pytest.mark.parametrize("ci_prob", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("ci_kind", ["eti", "hdi"])
def test_intervals_hold_their_probability(case, ci_prob, ci_kind):
    mean, sd = case(np.random.default_rng(4), 300)
    lower, upper = interval(mean[:, None], sd[:, None] ** 2, ci_prob, ci_kind)
    tails = below(mean, sd, lower[0]), above(mean, sd, upper[0])
    assert sum(tails) == pytest.approx(1 - ci_prob, rel=1e-6)
    if ci_kind == "eti":
        assert tails[0] == pytest.approx(tails[1], rel=1e-6)


@pytest.mark.parametrize("case", [smooth, skewed, heavy], ids=lambda case: case.__name__)
@pytest.mark.parametrize("ci_prob", [0.5, 0.9])
def test_the_interval_of_highest_density_is_the_narrowest(case, ci_prob):
    mean, sd = case(np.random.default_rng(5), 2000)
    column, variance = mean[:, None], sd[:, None] ** 2

    def width(tail):
        tails = np.array([tail])
        upper = quantile(column, variance, tails + ci_prob)
        return (upper - quantile(column, variance, tails))[0]

    best = minimize_scalar(width, bounds=(1e-9, 1 - ci_prob - 1e-9), method="bounded")
    lower, upper = interval(column, variance, ci_prob, "hdi")
    assert upper[0] - lower[0] <= best.fun * (1 + 1e-7)
    if case is skewed:
        equal = interval(column, variance, ci_prob, "eti")
        assert upper[0] - lower[0] < 0.95 * (equal[1] - equal[0])[0]


def test_the_highest_density_is_arviz_s_of_draws():
    rng = np.random.default_rng(6)
    mean, sd = skewed(rng, 4000)
    lower, upper = interval(mean[:, None], sd[:, None] ** 2, 0.8, "hdi")
    draws = rng.normal(mean, sd, size=(25, 4000)).ravel()
    expected = az.hdi(draws, prob=0.8)
    assert lower[0] == pytest.approx(expected[0], abs=0.02 * draws.std())
    assert upper[0] == pytest.approx(expected[1], abs=0.02 * draws.std())


@pytest.mark.parametrize("ci_kind", ["eti", "hdi"])
def test_mixtures_side_by_side_do_not_meet(ci_kind):
    """Easy ones are done before hard ones, and keep their answer."""
    rng = np.random.default_rng(7)
    parts = [case(rng, 200) for case in CASES]
    mean, sd = (np.column_stack([part[k] for part in parts]) for k in (0, 1))
    lower, upper = interval(mean, sd**2, 0.9, ci_kind)
    for k in range(len(CASES)):
        alone = interval(mean[:, [k]], sd[:, [k]] ** 2, 0.9, ci_kind)
        np.testing.assert_allclose([lower[k], upper[k]], np.ravel(alone), rtol=1e-9)


@each_case
def test_a_change_of_units_changes_intervals_as_units_demand(case):
    """A negative factor turns the distribution round."""
    mean, sd = (part[:, None] for part in case(np.random.default_rng(8), 400))
    lower, upper = interval(mean, sd**2, 0.9, "eti")
    turned = interval(5.0 - 1000.0 * mean, (1000.0 * sd) ** 2, 0.9, "eti")
    np.testing.assert_allclose(turned, [5.0 - 1000.0 * upper, 5.0 - 1000.0 * lower], rtol=1e-6)


def test_score_of_weighted_components_against_scipy():
    rng = np.random.default_rng(2)
    mean, variance = rng.normal(5, 2, (3, 4)), rng.uniform(0.5, 3, (3, 4))
    weight = rng.dirichlet([1, 2, 3], 4).T
    y = rng.normal(5, 2, 4)
    got_mean, got_density = score(y, mean, variance, np.log(weight))
    np.testing.assert_allclose(got_mean, (weight * mean).sum(0))
    density = (weight * stats.norm.pdf(y, mean, np.sqrt(variance))).sum(0)
    np.testing.assert_allclose(got_density, np.log(density))
    equal = score(y, mean, variance, -np.log(3))
    np.testing.assert_allclose(equal[0], mean.mean(0))


def test_moments_far_from_zero_keep_their_digits():
    """Outcomes of 1e12 with an sd of 0.05: a plain sum of 4000 of them is off by more than that."""
    near = np.random.default_rng(0).normal(0.0, 0.05, size=(4000, 3))
    mean, sd = moments(1e12 + near, np.full((4000, 3), 0.01))
    np.testing.assert_allclose(mean - 1e12, near.mean(0), atol=5e-4)
    np.testing.assert_allclose(sd, np.sqrt(0.01 + near.var(0)), rtol=1e-2)
    found = Estimate.of(1e12 + near, 0.9)
    np.testing.assert_allclose(found.mean - 1e12, near.mean(0), atol=5e-4)
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()


@pytest.mark.parametrize("kind", ["eti", "hdi"])
def test_a_point_is_its_own_interval(kind):
    """A line without an intercept is 0 where its columns are, in every draw."""
    rng = np.random.default_rng(0)
    mean = np.column_stack([np.zeros(50), rng.normal(size=50)])
    variance = np.column_stack([np.zeros(50), np.full(50, 0.5)])
    low, high = interval(mean, variance, 0.9, kind)
    assert low[0] == high[0] == 0.0
    alone = interval(mean[:, 1:], variance[:, 1:], 0.9, kind)
    np.testing.assert_array_equal((low[1], high[1]), np.ravel(alone))
