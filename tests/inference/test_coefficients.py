"""Coefficients that are drawn given the draws of NUTS: prefixes, blocks of draws, a device."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from dense import equations_of, make_priors

from radon_numpyro.gaussian import group_draws
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.predictive import population_coefficients
from radon_numpyro.inference.compute import devices
from radon_numpyro.inference.nuts import coefficients
from radon_numpyro.inference.nuts.coefficients import given_scales


def scales(chains=3, draws=40, num_predictors=2):
    rng = np.random.default_rng(4)
    sites = {"sigma_alpha": rng.uniform(0.3, 1.5, (chains, draws))}
    sites["sigma_beta"] = rng.uniform(0.1, 0.9, (chains, draws, num_predictors))
    return sites | {"eps": rng.uniform(0.4, 0.9, (chains, draws))}


def drawn(data, sites, kept="draws"):
    equations = equations_of(data)
    return given_scales(sites, equations, by_design(equations), make_priors(2), seed=7, kept=kept)


@pytest.mark.parametrize("cached", [1, 20, 2**14])
def test_more_draws_and_chains_begin_with_the_same_bits(unequal_data, monkeypatch, cached):
    """A run that goes on would otherwise change the draws that it has, and so would the cache."""
    data, sites = unequal_data(2, (5, 1, 0, 9)), scales()
    whole = drawn(data, sites)[0]
    monkeypatch.setattr(group_draws, "CACHED", cached)
    for chains, draws in ((3, 40), (3, 23), (2, 1)):
        part = drawn(data, {name: v[:chains, :draws] for name, v in sites.items()})[0]
        assert part.keys() == whole.keys() == {"mu_alpha", "mu_beta", "alpha", "beta"}
        for name, values in part.items():
            np.testing.assert_array_equal(values, whole[name][:chains, :draws])


def test_chains_have_noise_of_their_own(unequal_data):
    """Even if the scales of two chains are the same."""
    sites = {name: v[[0, 0]] for name, v in scales().items()}
    for values in drawn(unequal_data(2), sites)[0].values():
        assert (values[0] != values[1]).all()


def test_draws_have_the_precision_of_the_scales(unequal_data):
    single = {name: v.astype(np.float32) for name, v in scales().items()}
    found = drawn(unequal_data(2), single)[0]
    assert {v.dtype for v in found.values()} == {np.dtype("float32")}
    for name, values in drawn(unequal_data(2), scales())[0].items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4)


def test_groups_are_drawn_summarised_or_left_out(unequal_data):
    population = {"mu_alpha", "mu_beta"}
    none, nothing = drawn(unequal_data(2), scales(), "none")
    summary, moments = drawn(unequal_data(2), scales(), "summary")
    assert none.keys() == summary.keys() == population
    assert not nothing
    assert {name: mean.shape for name, (mean, _) in moments.items()} == {
        "alpha": (4,),
        "beta": (4, 2),
    }


def test_on_a_gpu_the_sums_over_groups_are_computed_there(unequal_data, monkeypatch):
    """A CPU device of JAX stands for a GPU."""
    equations, priors = equations_of(unequal_data(2)), make_priors(2)
    flat = {name: v.reshape(-1, *v.shape[2:]) for name, v in scales().items()}
    expected = population_coefficients("hierarchical", equations, priors, flat)
    monkeypatch.setattr(devices, "_of_kind", lambda kind: jax.devices())
    monkeypatch.setattr(coefficients, "current", lambda: SimpleNamespace(platform="gpu"))
    monkeypatch.setattr(coefficients, "population_coefficients", None)
    found = coefficients._population(equations, priors, flat)
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-10)
