"""Each family: its numbers against SciPy and NumPyro, its signed form, and the ranges it states."""

from dataclasses import fields

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from radon_numpyro import (
    Exponential,
    Flat,
    HalfCauchy,
    HalfFlat,
    HalfNormal,
    HalfStudentT,
    Normal,
    Uniform,
)
from radon_numpyro.model.scale_priors import FAMILIES

# A family, and as SciPy has the symmetric variable whose absolute value is its scale.
SCALES = {
    "HalfNormal": (HalfNormal(2.5), stats.norm(0, 2.5)),
    "Uniform": (Uniform(7.0), stats.uniform(-7, 14)),
    "HalfStudentT": (HalfStudentT(3.0, 2.5), stats.t(3, 0, 2.5)),
    "HalfStudentT of few df": (HalfStudentT(0.7, 0.2), stats.t(0.7, 0, 0.2)),
    "HalfCauchy": (HalfCauchy(0.4), stats.cauchy(0, 0.4)),
    "Exponential": (Exponential(0.25), stats.laplace(0, 4)),
}
EACH_SCALE = pytest.mark.parametrize(("prior", "reference"), SCALES.values(), ids=SCALES)
VALUES = np.array([0.0, 1e-12, 0.01, 0.3, 1.0, 2.5, 6.99, 40.0, 1e6])
VECTORS = [
    Normal([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]),
    HalfNormal([1.0, 2.0, 3.0]),
    Uniform([1.0, 2.0, 3.0]),
    HalfStudentT(4.0, [1.0, 2.0, 3.0]),
    HalfCauchy([1.0, 2.0, 3.0]),
    Exponential([1.0, 2.0, 3.0]),
]
EVERY_PROPER = [*(prior for prior, _ in SCALES.values()), Normal(-3.0, 0.25)]


def name(value):
    return type(value).__name__


# If these failed, the integration route would weight its points by another prior than the one that
# NUTS samples under and the report prints.


@EACH_SCALE
def test_the_log_density_is_that_of_scipy_folded_at_zero(prior, reference):
    with np.errstate(divide="ignore"):
        expected = np.log(2.0) + reference.logpdf(VALUES)
    # SciPy takes the logarithm of a Laplace density that underflows.
    held = VALUES if reference.dist.name != "laplace" else VALUES[:-1]
    np.testing.assert_allclose(
        prior.log_density(held), expected[: len(held)], rtol=1e-11, atol=1e-12
    )
    assert prior.log_density(-1e-9) == -np.inf


@EACH_SCALE
def test_distribution_function_and_quantiles_are_those_of_scipy(prior, reference):
    expected = 2.0 * reference.cdf(VALUES) - 1.0
    np.testing.assert_allclose(prior.cdf(VALUES), expected, rtol=1e-9, atol=1e-15)
    prob = np.array([1e-5, 0.1, 0.5, 0.95, 0.999])
    np.testing.assert_allclose(prior.cdf(prior.quantile(prob)), prob, rtol=1e-9)
    assert prior.cdf(-1.0) == 0.0


@EACH_SCALE
def test_the_standard_deviation_is_that_of_the_density(prior, reference):
    if not np.isfinite(reference.var()):
        assert prior.sd == np.inf
        return
    mean, _ = integrate.quad(lambda v: v * 2 * reference.pdf(v), 0, prior.upper, limit=200)
    np.testing.assert_allclose(prior.sd, np.sqrt(reference.var() - mean**2), rtol=1e-6)


def test_normal_is_that_of_scipy():
    prior, reference = Normal(-3.0, 0.25), stats.norm(-3, 0.25)
    values, prob = np.array([-4.0, -3.0, 2.5]), np.array([0.01, 0.5, 0.9])
    np.testing.assert_allclose(prior.log_density(values), reference.logpdf(values), rtol=1e-13)
    np.testing.assert_allclose(prior.cdf(values), reference.cdf(values), rtol=1e-13)
    np.testing.assert_allclose(prior.quantile(prob), reference.ppf(prob), rtol=1e-13)
    assert (prior.sd, prior.precision) == (0.25, 16.0)


@pytest.mark.parametrize("prior", EVERY_PROPER, ids=name)
def test_numpyro_has_the_same_density(x64, prior):
    """Else NUTS would sample under another prior than the host computes with."""
    inside = VALUES[(VALUES > 0) & (prior.upper >= VALUES)]
    found = prior.distribution().log_prob(inside)
    np.testing.assert_allclose(found, prior.log_density(inside), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("prior", [prior for prior, _ in SCALES.values()], ids=name)
def test_a_signed_scale_folded_at_zero_has_the_prior(x64, prior):
    """Else the model of signed scales, which NUTS runs, would have another prior than the result
    says."""
    signed = prior.signed()
    inside = VALUES[(VALUES > 0) & (prior.upper >= VALUES)]
    both = np.logaddexp(signed.log_prob(inside), signed.log_prob(-inside))
    np.testing.assert_allclose(both, prior.log_density(inside), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(signed.log_prob(inside), signed.log_prob(-inside), rtol=1e-13)


@pytest.mark.parametrize("prior", VECTORS, ids=name)
def test_entries_of_a_vector_are_priors_of_their_own(x64, prior):
    """Else a slope would be given the prior of another slope."""
    value = np.array([[0.5, 0.7, 0.9], [1.5, 0.2, 0.1]])
    together = prior.log_density(value)
    for k in range(3):
        one = prior.component(k)
        assert {np.shape(v) for v in one.parameters.values()} == {()}
        np.testing.assert_allclose(one.log_density(value[:, k]), together[:, k], rtol=1e-13)
        np.testing.assert_allclose(one.quantile(0.3), prior.quantile(0.3)[k], rtol=1e-13)
    assert prior.distribution().batch_shape == (3,)
    if prior.lower == 0:
        assert prior.signed().batch_shape == (3,)


# Ranges


@EACH_SCALE
def test_the_range_that_is_searched_holds_the_mass(prior, reference):
    """Else draws by inversion would be cut off, or the grid would miss where the mass is."""
    low, high = (np.exp(end) for end in prior.log_range())
    assert 0.0 < prior.cdf(low) < 1e-4
    assert 2.0 * reference.sf(high * (1 + 1e-9)) < 2e-13
    assert prior.log_density(min(prior.start_limit, prior.upper)) > -np.inf
    assert 2.0 * reference.sf(prior.far * (1 + 1e-9)) < 6.4e-5


def test_old_families_keep_their_ranges():
    """Else fits of 0.1.0 would not be drawn again to the last bit."""
    assert HalfNormal(2.5).log_range()[1] == np.log(2.5) + np.log(np.sqrt(120.0))
    assert Uniform(7.0).log_range() == (np.log(7.0) - 12.0, np.log(7.0))
    assert (HalfNormal(2.5).start_limit, Uniform(7.0).start_limit) == (2.5, 3.5)
    assert (HalfNormal(2.5).far, Uniform(7.0).far) == (10.0, 7.0)
    assert Uniform(7.0).log_density(7.0) == -np.log(7.0)
    assert Uniform(7.0).log_density(7.0001) == -np.inf


# Improper priors


def test_a_flat_location_is_the_limit_of_wide_normals(x64):
    prior = Flat()
    assert (prior.loc, prior.scale, prior.precision, prior.proper) == (0.0, np.inf, 0.0, False)
    np.testing.assert_array_equal(prior.log_density([-1e9, 0.0, 3.0]), 0.0)
    np.testing.assert_array_equal(prior.distribution().expand((3,)).log_prob(VALUES[:3]), 0.0)
    assert prior.component(2) == prior


def test_a_flat_scale_is_constant_above_zero(x64):
    prior = HalfFlat()
    np.testing.assert_array_equal(prior.log_density([-1e-9, 0.0, 3.0]), [-np.inf, 0.0, 0.0])
    support = prior.distribution().support
    assert support(1e9)
    assert not support(-1e-9)
    assert prior.signed().log_prob(-3.0) == 0.0
    assert (prior.sd, prior.far, prior.start_limit) == (np.inf, np.inf, np.inf)
    assert prior.log_range() == (-np.inf, np.inf)


@pytest.mark.parametrize("prior", [Flat(), HalfFlat()], ids=name)
def test_an_improper_prior_has_no_quantiles(prior):
    for method in (prior.cdf, prior.quantile):
        with pytest.raises(ValueError, match=f"Expected a proper prior; got {name(prior)}"):
            method(0.5)


# Text and trees


@pytest.mark.parametrize(
    ("prior", "text"),
    [
        (HalfStudentT(3, 2.5), "HalfStudentT(3., 2.5)"),
        (HalfCauchy([1.0, 2.5]), "HalfCauchy([1. , 2.5])"),
        (Exponential(0.1), "Exponential(0.1)"),
        (Flat(), "Flat()"),
        (HalfFlat(), "HalfFlat()"),
    ],
)
def test_a_prior_reads_as_it_is_written(prior, text):
    assert str(prior) == text


def test_one_parameter_is_written_by_the_function_that_writes_numbers():
    def short(value):
        return f"{value:.1f}"

    assert Normal(0.123456, 2.0).text(short) == "Normal(0.1235, 2.0)"
    assert Uniform(7.0).text(short) == "Uniform(0, 7.0)"
    assert HalfStudentT(3.0, 2.5).text(short) == "HalfStudentT(3.0, 2.5)"
    assert HalfFlat().text(short) == "HalfFlat()"


@pytest.mark.parametrize("prior", [*VECTORS, Flat(), HalfFlat()], ids=name)
def test_jax_takes_a_family_apart_and_rebuilds_it(prior):
    """Else a compiled model could not have priors as an argument."""
    leaves, structure = jax.tree.flatten(prior)
    assert len(leaves) == len(prior.parameters)
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is type(prior)
    assert jax.jit(lambda p: p)(prior).parameters.keys() == prior.parameters.keys()


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_parameters_that_make_no_prior_are_refused(family):
    names = [field.name for field in fields(family)]
    for wrong in names:
        numbers = dict.fromkeys(names, 1.0)
        for value in (np.nan, np.inf, *([] if wrong == "loc" else [0.0, -1.0])):
            with pytest.raises(ValueError, match=f"Expected {wrong} of {family.__name__} to be"):
                family(**numbers | {wrong: value})
