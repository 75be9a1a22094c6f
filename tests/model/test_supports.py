"""The maps between supports and the real line are NumPyro's own."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from fits import CORRELATED, sites
from numpyro.distributions import biject_to

from radon_numpyro import GroupedData, GroupStatistics
from radon_numpyro.inference.compute.programs import latent_transforms
from radon_numpyro.inference.nuts.parametrisation import parametrisation
from radon_numpyro.model import scale_priors
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.supports import support

TWO = np.array([2.0, 30.0])
FAMILIES = {
    "HalfNormal": scale_priors.HalfNormal(TWO),
    "Uniform": scale_priors.Uniform(TWO),
    "HalfStudentT": scale_priors.HalfStudentT(3.0, TWO),
    "HalfCauchy": scale_priors.HalfCauchy(TWO),
    "Exponential": scale_priors.Exponential(TWO),
    "HalfFlat": scale_priors.HalfFlat(),
}
X = np.linspace(-3.0, 3.0, 14).reshape(7, 2)


def assert_same_map(of, transform):
    """Assert that values, unconstrained numbers and derivatives are those of a transform."""
    with jax.enable_x64(True):
        values, of_values = np.asarray(transform(X)), of.constrained(X)
        np.testing.assert_allclose(of_values, values, rtol=1e-13)
        np.testing.assert_allclose(of.unconstrained(values), X, rtol=1e-12, atol=1e-12)
        slope = jax.jvp(transform.inv, (values,), (np.ones_like(values),))[1]
        np.testing.assert_allclose(of.slope(values), slope, rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
def test_scales_of_every_family(family):
    prior = FAMILIES[family]
    priors = replace(Priors.tutorial(), sigma_beta=prior)
    assert_same_map(support("sigma_beta", priors), biject_to(prior.distribution().support))
    assert_same_map(support("signed_beta", priors), biject_to(prior.signed().support))


@pytest.mark.parametrize(
    ("model", "method"),
    [
        ("hierarchical", "centered"),
        ("hierarchical", "noncentered"),
        ("hierarchical", "marginal"),
        ("individual", "centered"),
        ("pooled", "centered"),
    ],
)
def test_every_site_of_every_model(model, method, unequal_data):
    """A site that is left out here would start elsewhere than its guide."""
    statistics = GroupStatistics.from_data(unequal_data(2))
    coordinates = parametrisation(model, method)
    priors = Priors.tutorial()
    transforms = latent_transforms(coordinates.model, coordinates.data(statistics), priors)
    assert transforms
    for name, transform in transforms.items():
        assert_same_map(support(name, priors), transform)


def test_partial_correlations():
    statistics = GroupStatistics.from_data(GroupedData.from_formula(CORRELATED["pair"], sites()))
    priors = Priors.weakly_informative(statistics)
    coordinates = parametrisation("hierarchical", "marginal")
    transforms = latent_transforms(coordinates.model, coordinates.data(statistics), priors)
    assert_same_map(support("partial_correlation", priors), transforms["partial_correlation"])
