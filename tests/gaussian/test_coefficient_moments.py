"""Moments of the coefficients over draws of the scales, beside those written out densely."""

import numpy as np
import pytest
from conftest import draw_unequal_data
from dense import Dense, equations_of, make_priors

from radon_numpyro.gaussian import predictive
from radon_numpyro.gaussian.coefficient_moments import coefficient_moments, draws_to_average
from radon_numpyro.gaussian.predictive import population_coefficients

SIZES = (5, 1, 0, 9, 3, 2, 7)


def scales(num_predictors, draws=6):
    """One of the scales is 0 in a draw."""
    rng = np.random.default_rng(2)
    sites = {"sigma_alpha": rng.uniform(0.3, 1.5, draws), "eps": rng.uniform(0.4, 0.9, draws)}
    if num_predictors:
        sites["sigma_beta"] = rng.uniform(0.1, 0.9, (draws, num_predictors))
        sites["sigma_beta"][0] = 0.0
    return sites


@pytest.mark.parametrize("block", [1, 10_000, 2**23])
@pytest.mark.parametrize("num_predictors", [0, 1, 2])
def test_moments_are_those_of_the_mixture_of_dense_normals(x64, monkeypatch, num_predictors, block):
    """For any number of groups at a time."""
    monkeypatch.setattr(predictive, "BLOCK", block)
    data, priors = draw_unequal_data(num_predictors, sizes=SIZES), make_priors(num_predictors)
    sites, size = scales(num_predictors), num_predictors + 1
    equations = equations_of(data)
    population = population_coefficients("hierarchical", equations, priors, sites)
    found = coefficient_moments(equations, sites, population)

    means, variances = [], []
    for at in range(len(sites["eps"])):
        scale = np.append(sites["sigma_alpha"][at], sites.get("sigma_beta", np.zeros((6, 0)))[at])
        mean, cov = Dense(data, priors, scale, sites["eps"][at]).given(data.y)
        means.append(mean[size:].reshape(-1, size))
        variances.append(np.diag(cov)[size:].reshape(-1, size))
    mean, sd = np.mean(means, 0), np.sqrt(np.var(means, 0) + np.mean(variances, 0))
    np.testing.assert_allclose(found["alpha"], (mean[:, 0], sd[:, 0]), rtol=1e-9)
    assert ("beta" in found) == (num_predictors > 0)
    if num_predictors:
        np.testing.assert_allclose(found["beta"], (mean[:, 1:], sd[:, 1:]), rtol=1e-9)


def test_few_draws_are_all_averaged_and_many_groups_need_fewer():
    assert draws_to_average(300, 85) == 300
    assert draws_to_average(4000, 85) == 512
    assert draws_to_average(4000, 50_000) == 167
    assert draws_to_average(4000, 1_000_000) == 64
