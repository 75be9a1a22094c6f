"""The posterior of the scales by importance sampling, beside dense densities and quadrature."""

import numpy as np
import pytest
from benchmarks.reference import radon_moments
from dense import HIERARCHICAL, Dense, equations_of, make_priors
from fits import TUTORIAL, radon

from radon_numpyro import GroupedData, Priors, load_radon
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import population_prior
from radon_numpyro.inference.integration import _log_likelihood as of_points
from radon_numpyro.inference.integration import _Target, integrate_scales
from radon_numpyro.model.priors import HalfNormal, Normal


def _log_likelihood(equations, priors, values):
    return of_points(equations, population_prior(equations, priors, HIERARCHICAL), values.T)


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
def test_the_likelihood_is_that_of_all_rows_together(unequal_data, num_predictors):
    """Up to a constant, the N-dimensional Normal density with the coefficients integrated out."""
    data = unequal_data(num_predictors, sizes=(5, 1, 9, 3, 2))
    priors = make_priors(num_predictors)
    rng = np.random.default_rng(1)
    values = rng.uniform(0.05, 2.0, size=(12, num_predictors + 2))
    values[3, 0] = 1e-9
    found = _log_likelihood(equations_of(data), priors, values)
    wanted = np.array([Dense(data, priors, v[:-1], v[-1]).log_density(data.y) for v in values])
    np.testing.assert_allclose(found - found[0], wanted - wanted[0], rtol=1e-7, atol=1e-6)


def test_groups_of_one_design_count_as_often_as_there_are():
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(1200), 3)
    y = rng.normal(2.0, 1.0, 1200)[group] + rng.normal(0.0, 0.5, 3600)
    equations = equations_of(GroupedData.from_arrays(y, None, group))
    together = by_design(equations)
    assert len(together.count) < 10
    values = rng.uniform(0.3, 1.5, size=(6, 2))
    priors = make_priors(0)
    apart = _log_likelihood(equations, priors, values)
    np.testing.assert_allclose(_log_likelihood(together, priors, values), apart, rtol=1e-10)


def test_no_digit_is_lost_where_a_predictor_lies_far_from_zero():
    """The same rows about their mean, which a wide prior of the intercept cannot tell apart."""
    rng = np.random.default_rng(3)
    x, group = rng.normal(0.0, 1.0, 40), np.repeat(np.arange(8), 5)
    y = rng.normal(0.0, 1.0, 8)[group] + x + rng.normal(0.0, 0.3, 40)
    priors = Priors.tutorial()
    flat = Normal(0.0, 1e9)
    wide = Priors(flat, Normal(0.0, 1.0), *[HalfNormal(2.0)] * 2, flat, flat, HalfNormal(1.0))
    values = np.array([[0.5, 0.0, 0.3], [1.5, 0.0, 0.4], [0.2, 0.0, 0.2]])
    near, far = (
        _log_likelihood(equations_of(GroupedData.from_arrays(y, x + at, group)), wide, values)
        for at in (0.0, 1e6)
    )
    np.testing.assert_allclose(far - far[0], near - near[0], atol=1e-6)
    assert priors.mu_alpha.scale == 1e4


def test_radon_is_right():
    """Means within a twentieth of a posterior sd of the exact ones: far below what is reported."""
    data = load_radon()
    exact = radon_moments(data.y, data.x[:, 0].astype(int), data.group)
    found = integrate_scales(NormalEquations.from_statistics(radon()), TUTORIAL)
    assert found.reliable
    assert found.ess > 300
    moments = found.moments()
    for site in ("sigma_alpha", "sigma_beta", "eps", "mu_beta"):
        mean, sd = (float(np.ravel(value)[0]) for value in moments[site])
        reference = exact[site]
        allowed = 4.0 * reference[1] / np.sqrt(found.ess)
        assert abs(mean - reference[0]) < allowed, site
        assert sd == pytest.approx(reference[1], rel=0.15), site


def test_points_beyond_a_prior_do_not_count(unequal_data):
    data = unequal_data(1)
    target = _Target(equations_of(data), make_priors(1))
    inside = target(np.full((1, 3), -2.0))
    beyond = np.array([[0.0, 30.0, 0.0], [0.0, 1e4, 0.0], [-1e4, 0.0, 0.0]])
    assert np.isfinite(inside).all()
    assert (target(beyond) == -np.inf).all()
    found = integrate_scales(equations_of(data), make_priors(1))
    assert found.scales["sigma_beta"].max() < 2.0
    assert found.weights.sum() == pytest.approx(1.0)


def test_the_seed_fixes_the_result(unequal_data):
    equations, priors = equations_of(unequal_data(1)), make_priors(1)
    first, again, other = (integrate_scales(equations, priors, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.weights, again.weights)
    assert len(first.weights) != len(other.weights) or (first.weights != other.weights).any()
