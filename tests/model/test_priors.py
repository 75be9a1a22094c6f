"""Priors: what they say is what is computed, and units do not matter."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from radon_numpyro import HalfNormal, Normal, Priors, Uniform
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.radon import load_radon
from radon_numpyro.model.correlations import LKJ
from radon_numpyro.statistics.group_statistics import GroupStatistics

LOCATIONS = ("mu_alpha", "mu_beta", "alpha", "beta", "gamma")
SCALES = ("sigma_alpha", "sigma_beta", "eps")


def assert_priors_close(actual, expected, rtol=1e-12):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for found, wanted in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert np.shape(found) == np.shape(wanted)
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-300)


# The tutorial


def test_tutorial_values():
    priors = Priors.tutorial()
    assert {(getattr(priors, n).loc, getattr(priors, n).scale) for n in LOCATIONS} == {(0.0, 1e4)}
    assert {type(getattr(priors, n)) for n in LOCATIONS} == {Normal}
    assert {getattr(priors, n).high for n in SCALES} == {100.0}
    assert {type(getattr(priors, n)) for n in SCALES} == {Uniform}


# In words, and to the last digit


def test_a_prior_reads_as_it_is_written():
    assert str(Normal([1.0, -2.5], 3)) == "Normal([ 1. , -2.5], 3.)"
    assert str(HalfNormal([0.5, 4.0])) == "HalfNormal([0.5, 4. ])"
    assert str(HalfNormal(2.5e-9)) == "HalfNormal(2.5e-09)"
    assert str(Uniform(100)) == "Uniform(0, 100.)"


def test_json_is_readable():
    found = json.loads(replace(Priors.tutorial(), mu_beta=Normal([1.0, -2.5], 3)).to_json())
    location = {"family": "Normal", "loc": 0.0, "scale": 10000.0}
    scale = {"family": "Uniform", "high": 100.0}
    assert found == {
        "mu_alpha": location,
        "mu_beta": {"family": "Normal", "loc": [1.0, -2.5], "scale": 3},
        "sigma_alpha": scale,
        "sigma_beta": scale,
        "alpha": location,
        "beta": location,
        "eps": scale,
        "gamma": location,
        "correlation": {"family": "LKJ", "concentration": 1.0},
    }


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
def test_json_loses_no_digit(unequal_data, num_predictors):
    """One number or one a slope, numbers without a short decimal form, of any NumPy type."""
    priors = Priors.weakly_informative(unequal_data(num_predictors))
    priors = replace(
        priors,
        mu_alpha=Normal(np.float32(0.1), 1 / 3),
        eps=HalfNormal(np.float64(2.5e-9)),
        sigma_alpha=Uniform(7),
    )
    assert_priors_close(Priors.from_json(priors.to_json()), priors, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        {"eps": "HalfNormal(2.)"},
        {"eps": {"family": "Cauchy", "scale": 2.0}},
        {"eps": {"family": "HalfNormal", "width": 2.0}},
        {"eps": {"family": "Normal", "loc": 0.0, "scale": 1.0}},
        {"tau": {"family": "HalfNormal", "scale": 2.0}},
    ],
    ids=["words", "family", "parameter", "site's family", "site"],
)
def test_what_to_json_did_not_write_is_refused(change):
    text = json.dumps(json.loads(Priors.tutorial().to_json()) | change)
    with pytest.raises(ValueError, match=r"priors as to_json writes them; got \{"):
        Priors.from_json(text)


# Scaled by the data


@pytest.mark.parametrize("num_predictors", [0, 1, 2, 3])
def test_weakly_informative_follows_its_formula(unequal_data, num_predictors):
    data = unequal_data(num_predictors)
    sd_y, sd_x = np.std(data.y), np.std(data.x, axis=0)
    factor = np.sqrt(1 + ((data.x.mean(axis=0) / sd_x) ** 2).sum())
    intercept = Normal(data.y.mean(), 2.5 * factor * sd_y)
    slope = Normal(np.zeros(num_predictors), 2.5 * sd_y / sd_x)
    expected = Priors(
        mu_alpha=intercept,
        sigma_alpha=HalfNormal(factor * sd_y),
        mu_beta=slope,
        sigma_beta=HalfNormal(sd_y / sd_x),
        alpha=intercept,
        beta=slope,
        eps=HalfNormal(sd_y),
        correlation=LKJ(2.0),
    )
    assert_priors_close(Priors.weakly_informative(data), expected)


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
def test_rows_and_statistics_give_the_same_priors(unequal_data, num_predictors):
    data = unequal_data(num_predictors, sizes=(5, 0, 9, 3))
    from_rows = Priors.weakly_informative(data)
    assert_priors_close(Priors.weakly_informative(GroupStatistics.from_data(data)), from_rows, 0)


def test_the_grouping_does_not_matter(unequal_data):
    data = unequal_data(2)
    one_group = GroupedData.from_arrays(data.y, data.x, np.zeros(data.num_rows))
    assert_priors_close(Priors.weakly_informative(data), Priors.weakly_informative(one_group))


@pytest.mark.parametrize("a", [1000.0, -0.25])
def test_a_change_of_units_changes_the_priors_as_units_demand(unequal_data, a):
    data, b, s = unequal_data(2), -7.0, np.array([1e-6, -40.0])
    before = Priors.weakly_informative(data)
    after = Priors.weakly_informative(replace(data, y=a * data.y + b, x=s * data.x))
    for name in ("mu_alpha", "alpha"):
        old = getattr(before, name)
        expected = Normal(a * old.loc + b, abs(a) * old.scale)
        assert_priors_close(getattr(after, name), expected)
    for name in ("mu_beta", "beta"):
        old = getattr(before, name)
        assert_priors_close(getattr(after, name), Normal(0 * s, abs(a / s) * old.scale))
    for name, unit in (("sigma_alpha", a), ("sigma_beta", a / s), ("eps", a)):
        old = getattr(before, name)
        assert_priors_close(getattr(after, name), HalfNormal(abs(unit) * old.scale))


def test_a_far_predictor_widens_the_intercept_alone(unequal_data):
    data = unequal_data(1)
    shift = 50 * data.x.std()
    near = Priors.weakly_informative(replace(data, x=data.x - data.x.mean()))
    far = Priors.weakly_informative(replace(data, x=data.x - data.x.mean() + shift))
    wider = np.sqrt(1 + 50**2)
    np.testing.assert_allclose(far.mu_alpha.scale, wider * near.mu_alpha.scale, rtol=1e-12)
    np.testing.assert_allclose(far.sigma_alpha.scale, wider * near.sigma_alpha.scale, rtol=1e-12)
    for name in ("mu_beta", "sigma_beta", "beta", "eps"):
        assert_priors_close(getattr(far, name), getattr(near, name))


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, -7.7, 1e6 + 0.1])
def test_a_constant_column_counts_with_standard_deviation_1(constant):
    """Also when the mean of a constant, computed by group, is off in the last digit."""
    rng = np.random.default_rng(0)
    for trial in range(20):
        sizes = rng.integers(1, 12, size=2 + trial % 7)
        group = np.repeat(np.arange(len(sizes)), sizes)
        noise, same = rng.normal(5.0, 3.0, size=len(group)), np.full(len(group), constant)
        priors = Priors.weakly_informative(GroupedData.from_arrays(noise, same, group))
        np.testing.assert_allclose(priors.sigma_beta.scale, [noise.std()], rtol=1e-12)
        factor = np.sqrt(1 + constant**2)
        np.testing.assert_allclose(priors.sigma_alpha.scale, factor * noise.std(), rtol=1e-12)
        priors = Priors.weakly_informative(GroupedData.from_arrays(same, noise, group))
        assert priors.eps.scale == 1.0
        np.testing.assert_allclose(priors.mu_alpha.loc, constant, rtol=1e-14)


def test_a_small_but_real_variation_is_no_constant():
    x = 1e6 + 1e-3 * np.arange(10.0)
    priors = Priors.weakly_informative(GroupedData.from_arrays(np.arange(10.0), x, np.arange(10)))
    np.testing.assert_allclose(priors.sigma_beta.scale, [1e3], rtol=1e-6)


# Distributions


@pytest.mark.parametrize(
    ("prior", "reference", "inside", "outside"),
    [
        (Normal(-3.0, 0.25), stats.norm(-3, 0.25), [-4.0, -3.0, 2.5], []),
        (HalfNormal(2.5), stats.halfnorm(scale=2.5), [0.01, 1.0, 9.0], [-0.01]),
        (Uniform(7.0), stats.uniform(0, 7), [0.01, 3.0, 6.99], [-0.01, 7.01]),
    ],
)
def test_distributions_are_what_their_names_say(x64, prior, reference, inside, outside):
    distribution = prior.distribution()
    found = distribution.log_prob(np.array(inside))
    np.testing.assert_allclose(found, reference.logpdf(inside), rtol=1e-13)
    assert all(distribution.support(value) for value in inside)
    assert not any(distribution.support(value) for value in outside)


def test_vector_priors_of_slopes_make_vector_distributions():
    assert Normal(np.arange(2), np.arange(1, 3)).distribution().batch_shape == (2,)
    assert Normal(np.zeros(3), 2.0).distribution().batch_shape == (3,)
    assert HalfNormal(np.ones(2)).distribution().batch_shape == (2,)
    assert Uniform(np.ones(2)).distribution().batch_shape == (2,)


@pytest.mark.parametrize(
    "prior",
    [Normal([1.0, -2.0], (2.0, 3.0)), HalfNormal([2.0, 3.0]), Uniform((2.0, 3.0))],
    ids=lambda prior: type(prior).__name__,
)
def test_a_list_of_numbers_serves_as_a_vector(prior):
    """A list that stayed a list would be two priors to JAX, and is deprecated in its functions."""
    assert {np.shape(leaf) for leaf in jax.tree.leaves(prior)} == {(2,)}
    assert prior.distribution().batch_shape == (2,)


# Checks


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normal(np.nan, 1.0), "Expected loc of Normal to be finite; got nan"),
        (lambda: Normal([0, np.inf], 1.0), r"Expected loc of Normal to be finite; got \[ *0., inf"),
        (lambda: Normal(0.0, 0.0), "Expected scale of Normal to be positive and finite; got 0."),
        (lambda: Normal(0, -2), "Expected scale of Normal to be positive and finite; got -2."),
        (lambda: Normal(0, np.inf), "Expected scale of Normal to be positive and finite; got inf"),
        (
            lambda: Normal(0.0, np.array([1.0, 0.0])),
            r"Expected scale of Normal to be positive and finite; got \[1., 0.\]",
        ),
        (
            lambda: HalfNormal(np.float64(-1)),
            "Expected scale of HalfNormal to be positive and finite; got -1.",
        ),
        (lambda: HalfNormal((1, np.nan)), "Expected scale of HalfNormal to be positive and finite"),
        (lambda: Uniform(0), "Expected high of Uniform to be positive and finite; got 0."),
        (lambda: Uniform([3, -3]), "Expected high of Uniform to be positive and finite; got"),
    ],
)
def test_numbers_that_make_no_prior_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", LOCATIONS)
@pytest.mark.parametrize("wrong", [Uniform(2.0), HalfNormal(2.0)])
def test_a_location_takes_no_prior_of_a_scale(name, wrong):
    with pytest.raises(
        TypeError, match=f"Expected {name} to be Normal or Flat; got {type(wrong).__name__}"
    ):
        replace(Priors.tutorial(), **{name: wrong})


@pytest.mark.parametrize("name", SCALES)
def test_a_scale_takes_no_normal(name):
    message = rf"Expected {name} to be HalfNormal or .* or HalfFlat; got Normal\(1., 2.\)"
    with pytest.raises(TypeError, match=message):
        replace(Priors.tutorial(), **{name: Normal(1.0, 2.0)})


# JAX


def test_one_compilation_serves_two_sets_of_numbers_but_not_two_families(unequal_data, x64):
    traces = []

    @jax.jit
    def total(priors):
        traces.append(type(priors.eps))
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(priors))

    def expected(priors):
        return sum(np.sum(leaf) for leaf in jax.tree.leaves(priors))

    weak = [Priors.weakly_informative(unequal_data(2, seed=s)) for s in (1, 2)]
    for priors in weak:
        np.testing.assert_allclose(total(priors), expected(priors), rtol=1e-12)
    assert traces == [HalfNormal]
    tutorial = Priors.tutorial()
    for priors in (tutorial, replace(tutorial, eps=Uniform(30.0), alpha=Normal(5.0, 2.0))):
        np.testing.assert_allclose(total(priors), expected(priors), rtol=1e-12)
    assert traces == [HalfNormal, Uniform]


def test_tree_transformations_rebuild_priors_around_anything():
    priors = Priors.weakly_informative(load_radon())
    doubled = jax.tree.map(lambda leaf: 2 * leaf, priors)
    assert isinstance(doubled, Priors)
    assert doubled.eps.scale == 2 * priors.eps.scale
    shapes = jax.tree.map(lambda leaf: object(), priors)
    assert isinstance(shapes.eps, HalfNormal)
    batched = jax.vmap(lambda p, k: jax.tree.map(lambda leaf: leaf * k, p), in_axes=(None, 0))
    assert batched(priors, jnp.array([1.0, -1.0])).eps.scale.shape == (2,)


def test_an_interaction_far_from_zero_is_not_crushed_by_its_prior():
    """Years times a group: least squares and the fit's default priors agree on the difference."""
    rng = np.random.default_rng(1)
    year, programme = rng.integers(2012, 2024, 400), rng.integers(0, 2, 400)
    frame = pd.DataFrame({"year": year, "programme": programme, "product": year * programme})
    frame["y"] = 0.1 * year + programme * (1.0 * (year - 2018)) + rng.normal(0.0, 2.0, 400)
    frame["school"] = rng.integers(0, 20, 400)
    data = GroupedData.from_frame(
        frame, y="y", fixed=["year", "programme", "product"], group="school"
    )
    priors = Priors.weakly_informative(data)
    design = np.column_stack([np.ones(400), frame[["year", "programme", "product"]]])
    estimate = np.linalg.lstsq(design, frame["y"], rcond=None)[0][1:]
    assert (np.abs(estimate) < 2.0 * priors.gamma.scale).all()
    # No wider than its own part can be: the spread of the product within the programme.
    assert priors.gamma.scale[2] < 5.0 * 2.5 * frame["y"].std() / frame["year"].std()
    # A spread of intercepts between groups has nothing to do with years.
    assert priors.sigma_alpha.scale == pytest.approx(frame["y"].std(ddof=0))
