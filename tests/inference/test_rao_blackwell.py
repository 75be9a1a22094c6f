"""Moments of the coefficients over draws of the scales, beside those written out densely."""

import numpy as np
import pytest
from conftest import draw_unequal_data
from dense import Dense, equations_of, make_priors

from radon_numpyro.inference.nuts import rao_blackwell

SIZES = (5, 1, 0, 9, 3, 2, 7)


def scales(num_predictors, draws=6):
    """Of two chains, one of the scales now and then 0."""
    rng = np.random.default_rng(2)
    sites = {
        "sigma_alpha": rng.uniform(0.3, 1.5, (2, draws)),
        "eps": rng.uniform(0.4, 0.9, (2, draws)),
    }
    if num_predictors:
        sites["sigma_beta"] = rng.uniform(0.1, 0.9, (2, draws, num_predictors))
        sites["sigma_beta"][0, 0] = 0.0
    return sites


@pytest.mark.parametrize("chunk", [3, 7, 1000])
@pytest.mark.parametrize("num_predictors", [0, 1, 2])
def test_moments_are_those_of_the_mixture_of_dense_normals(x64, monkeypatch, num_predictors, chunk):
    """Whatever number of groups is at a time, the last few among them."""
    monkeypatch.setattr(rao_blackwell, "CHUNK", chunk)
    data, priors = draw_unequal_data(num_predictors, sizes=SIZES), make_priors(num_predictors)
    sites, size = scales(num_predictors), num_predictors + 1
    found = rao_blackwell.posterior_moments(sites, equations_of(data), priors)

    means, variances = [], []
    for chain, draw in np.ndindex(sites["eps"].shape):
        at = (chain, draw)
        scale = np.append(
            sites["sigma_alpha"][at], sites.get("sigma_beta", np.zeros((2, 6, 0)))[at]
        )
        mean, cov = Dense(data, priors, scale, sites["eps"][at]).given(data.y)
        means.append(mean[size:].reshape(-1, size))
        variances.append(np.diag(cov)[size:].reshape(-1, size))
    mean, sd = np.mean(means, 0), np.sqrt(np.var(means, 0) + np.mean(variances, 0))
    np.testing.assert_allclose(found["alpha"], (mean[:, 0], sd[:, 0]), rtol=1e-9)
    assert ("beta" in found) == (num_predictors > 0)
    if num_predictors:
        np.testing.assert_allclose(found["beta"], (mean[:, 1:], sd[:, 1:]), rtol=1e-9)
