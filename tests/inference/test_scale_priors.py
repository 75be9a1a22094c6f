"""Inference under priors of scales beyond the half-normal and the uniform."""

from dataclasses import replace

import numpy as np
import pytest
from dense import HIERARCHICAL, equations_of, make_priors
from fits import towns
from scipy import stats

from radon_numpyro import (
    Exponential,
    HalfCauchy,
    HalfFlat,
    HalfStudentT,
    Priors,
    fit,
)
from radon_numpyro.inference.advi.closed_form_start import mean_field_start
from radon_numpyro.inference.integration.scale_density import ScaleDensity
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
from radon_numpyro.statistics.group_statistics import GroupStatistics


def test_integration_weights_points_by_the_prior_of_each_scale(unequal_data):
    """The posterior densities under two priors differ by the priors', entry by entry."""
    equations, base = equations_of(unequal_data(2)), make_priors(2)
    flat = replace(base, sigma_alpha=HalfFlat(), sigma_beta=HalfFlat(), eps=HalfFlat())
    others = replace(
        base,
        sigma_alpha=HalfCauchy(0.7),
        sigma_beta=HalfStudentT(3.0, [0.5, 2.0]),
        eps=Exponential(1.5),
    )
    points = np.random.default_rng(0).uniform(0.1, 2.0, (20, 4))
    target = ScaleDensity(equations, flat, HIERARCHICAL)
    scales = target.scales(points)
    log_prior = (
        stats.halfcauchy(0, 0.7).logpdf(scales["sigma_alpha"])
        + sum(
            np.log(2.0) + stats.t(3, 0, scale).logpdf(scales["sigma_beta"][:, k])
            for k, scale in enumerate((0.5, 2.0))
        )
        + stats.expon(0, 1 / 1.5).logpdf(scales["eps"])
    )
    density = ScaleDensity(equations, others, HIERARCHICAL)
    # The coordinates have other units under other priors.
    unit = density.coordinates.values(np.full((1, 4), np.arcsinh(1.0)))
    values = target.coordinates.values(points)
    moved = np.arcsinh(np.vstack([values.scale, values.eps]) / np.vstack([unit.scale, unit.eps])).T

    def without_jacobian(density, points):
        return density.at_nodes(points)[0] - density.coordinates.values(points).log_jacobian

    found = without_jacobian(density, moved) - without_jacobian(target, points)
    np.testing.assert_allclose(found, log_prior, rtol=1e-8, atol=1e-8)


def test_the_start_is_no_further_out_than_the_prior_reaches(unequal_data):
    """A plug-in beyond the prior would start the chains where there is no density."""
    statistics = GroupStatistics.from_data(unequal_data(1))
    for eps in (Exponential(1e3), HalfStudentT(30.0, 1e-3), HalfFlat()):
        priors = replace(Priors.weakly_informative(statistics), eps=eps)
        for model in ("hierarchical", "pooled", "individual"):
            start = mean_field_start(statistics, model, priors)["eps"]
            assert np.isfinite(start.mean).all()
            # The median of the guide lies up to e^0.5 above the plug-in.
            assert (np.asarray(start.mean) <= np.exp(0.5) * eps.start_limit).all()


@pytest.mark.slow
def test_nuts_and_integration_agree_under_other_families():
    """They share no prior code: NumPyro's densities of signed scales, and those of the host."""
    data = towns(1)
    priors = replace(
        Priors.weakly_informative(data),
        sigma_alpha=HalfStudentT(2.0, 0.3),
        sigma_beta=HalfCauchy([0.2]),
        eps=Exponential(1.0),
    )
    settings = {"draws": 1000, "num_warmup": 200, "num_advi_steps": 0, "progress_bar": False}
    tree = fit(data, priors=priors, **settings)
    found = integrate_scales(equations_of(data), priors)
    for site in ("sigma_alpha", "sigma_beta", "eps", "mu_beta"):
        mean, sd = (float(np.ravel(value)[0]) for value in found.moments()[site])
        draws = tree["posterior"][site].values.ravel()
        allowed = 5.0 * sd / np.sqrt(min(found.ess, 1000.0))
        assert abs(draws.mean() - mean) < allowed, site
