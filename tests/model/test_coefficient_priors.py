"""Priors by coefficient: the right entry of the right site, and text that is read, not run."""

import json
from dataclasses import replace

import numpy as np
import pytest

from radon_numpyro import (
    Exponential,
    Flat,
    GroupStatistics,
    HalfCauchy,
    HalfFlat,
    HalfNormal,
    HalfStudentT,
    Normal,
    Priors,
    Uniform,
)
from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.model.coefficient_priors import parse_prior
from radon_numpyro.model.correlations import LKJ
from radon_numpyro.model.priors import resolve_priors

# y ~ 1 + a + c + (1 + a + b | town): b has no mean slope, c does not vary.
MIXED = Design(("Intercept", "a", "c"), ("Intercept", "a", "b"))
# y ~ 1 + a + c + (0 + a + b | town)
NO_VARYING_INTERCEPT = Design(("Intercept", "a", "c"), ("a", "b"))
# y ~ 0 + a + c + (1 + a + b | town)
NO_INTERCEPT = Design(("a", "c"), ("Intercept", "a", "b"))


@pytest.fixture
def data(unequal_data):
    """Three columns a, b, c with unequal means and units, by design."""

    def make(design=None):
        found = unequal_data(3)
        names = ("a", "b", "c")
        labels = replace(found.labels, predictors=names, design=design or Design.all_varying(names))
        return replace(found, labels=labels)

    return make


def same(one, other):
    return one.to_json() == other.to_json()


# By coefficient


def test_one_slope_among_several_is_replaced_where_it_stands(data):
    """If this failed, a prior for b would go to another slope, or not to all models."""
    before = Priors.weakly_informative(data())
    after = before.with_coefficients(
        {"b": Normal(1.0, 2.0), "sd(c)": HalfNormal(0.5)}, data().labels
    )
    loc, scale = before.mu_beta.loc.copy(), before.mu_beta.scale.copy()
    loc[1], scale[1] = 1.0, 2.0
    for site in ("mu_beta", "beta"):
        np.testing.assert_array_equal(getattr(after, site).loc, loc)
        np.testing.assert_array_equal(getattr(after, site).scale, scale)
    np.testing.assert_array_equal(after.sigma_beta.scale[:2], before.sigma_beta.scale[:2])
    assert after.sigma_beta.scale[2] == 0.5
    untouched = {"mu_beta": before.mu_beta, "beta": before.beta, "sigma_beta": before.sigma_beta}
    assert same(replace(after, **untouched), before)


def test_shared_numbers_are_expanded(data):
    after = Priors.tutorial().with_coefficients({"a": Normal(1.0, 2.0)}, data().labels)
    np.testing.assert_array_equal(after.mu_beta.loc, [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(after.mu_beta.scale, [2.0, 1e4, 1e4])


def test_parameters_of_shape_nothing_take_any_family(data):
    changes = {"Intercept": Normal(0, 10), "sd(Intercept)": HalfCauchy(2), "eps": Exponential(1)}
    after = Priors.weakly_informative(data()).with_coefficients(changes, data().labels)
    assert after.mu_alpha == after.alpha == Normal(0, 10)
    assert (after.sigma_alpha, after.eps) == (HalfCauchy(2), Exponential(1))


def test_a_column_that_does_not_vary_has_its_prior_in_gamma(data):
    before = Priors.weakly_informative(data(MIXED))
    after = before.with_coefficients({"c": Normal(1.0, 2.0), "a": Normal(3, 4)}, data(MIXED).labels)
    assert (after.gamma.loc.tolist(), after.gamma.scale.tolist()) == ([1.0], [2.0])
    assert (after.mu_beta.loc.tolist(), after.mu_beta.scale.tolist()) == ([3.0], [4.0])
    labels = data(NO_VARYING_INTERCEPT).labels
    fixed = Priors.weakly_informative(data(NO_VARYING_INTERCEPT))
    fixed = fixed.with_coefficients({"Intercept": Normal(7, 8)}, labels)
    assert labels.design.fixed == ("Intercept", "c")
    assert fixed.gamma.loc.tolist() == [7.0, 0.0]
    assert fixed.gamma.scale[0] == 8.0


def test_one_slope_or_all_of_them_may_change_the_family(unequal_data, data):
    """The slopes of a site are one array of one distribution."""
    one = unequal_data(1)
    (column,) = one.labels.predictors
    change = {f"sd({column})": HalfStudentT(3, 2.5)}
    found = Priors.weakly_informative(one).with_coefficients(change, one.labels).sigma_beta
    assert (found.df.tolist(), found.scale.tolist()) == ([3.0], [2.5])

    changes = {
        f"sd({name})": Exponential(rate) for name, rate in zip("abc", (1, 2, 3), strict=True)
    }
    priors = Priors.weakly_informative(data())
    assert priors.with_coefficients(changes, data().labels).sigma_beta.rate.tolist() == [1, 2, 3]
    del changes["sd(b)"]
    message = (
        r"of one family for the standard deviations of 'a', 'b', 'c', which share one site, "
        r"sigma_beta; got .*HalfNormal of 'b'"
    )
    with pytest.raises(ValueError, match=message):
        priors.with_coefficients(changes, data().labels)


def test_flat_for_a_scale_is_flat_above_zero(data):
    assert replace(Priors.tutorial(), eps=Flat()).eps == HalfFlat()
    changed = Priors.tutorial().with_coefficients({"eps": Flat()}, data().labels)
    assert changed.eps == HalfFlat()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"intercpt": Normal(0, 1)}, ValueError, r"got 'intercpt' \(close: 'Intercept'"),
        ({"sd(c)": HalfNormal(1)}, ValueError, r"got 'sd\(c\)' \(close"),
        ({"b": Normal(0, 1)}, ValueError, "got 'b' "),
        ({"a": HalfNormal(1)}, TypeError, r"the prior of 'a' to be Normal or Flat; got HalfN"),
        ({"eps": Normal(0, 1)}, TypeError, "the prior of 'eps' to be HalfNormal or .*; got Normal"),
        ({"eps": 2.0}, TypeError, "the prior of 'eps' to be HalfNormal or .*; got 2.0"),
        ({"a": Normal([0.0], 1)}, ValueError, "Expected numbers in the prior of 'a'; got Normal"),
    ],
)
def test_what_is_no_prior_of_a_coefficient_is_refused(data, changes, error, message):
    priors, labels = Priors.weakly_informative(data(MIXED)), data(MIXED).labels
    with pytest.raises(error, match=message):
        priors.with_coefficients(changes, labels)


def test_a_column_called_eps_is_not_taken_for_the_residual(data):
    """Else its prior would go to the residual standard deviation, or the other way round."""
    labels = replace(data().labels, predictors=("eps",), design=Design.all_varying(("eps",)))
    with pytest.raises(ValueError, match="name no other parameter; got 'eps'"):
        Priors.tutorial().with_coefficients({"Intercept": Normal(0, 1)}, labels)


# What a caller may give


def test_priors_of_a_fit_are_the_default_with_what_is_given(data):
    for rows in (data(MIXED), GroupStatistics.from_data(data(MIXED))):
        default = Priors.weakly_informative(rows)
        assert same(resolve_priors(None, rows), default)
        change = {"c": Normal(0, 2)}
        expected = default.with_coefficients(change, rows.labels)
        assert same(resolve_priors(change, rows), expected)
        assert resolve_priors(expected, rows) is expected


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"gamma": None}, ValueError, "priors with gamma, for the coefficients of 'c'; got gamma="),
        (
            {"mu_beta": Normal(np.zeros(3), 1.0)},
            ValueError,
            r"loc of the prior of mu_beta .* shape \(1,\), .* 'a'; got shape \(3,\)",
        ),
        ({"sigma_beta": HalfNormal([1.0])}, ValueError, r"of sigma_beta .*'a', 'b'; got shape"),
    ],
)
def test_priors_of_another_number_of_columns_are_refused(data, change, error, message):
    """Else NumPyro would broadcast one prior over coefficients that it was not meant for."""
    priors = replace(Priors.weakly_informative(data(MIXED)), **change)
    with pytest.raises(error, match=message):
        resolve_priors(priors, data(MIXED))


def test_a_name_is_no_priors(data):
    with pytest.raises(TypeError, match=r"Expected priors to be Priors, a mapping .*; got str"):
        resolve_priors("flat", data())


# Scaled by the data, when not all columns vary


def own_sds(rows):
    """Sd of what least squares on the other population columns leaves of each."""
    design, column = rows.labels.design, dict(zip(rows.labels.predictors, rows.x.T, strict=True))
    constant = [np.ones(rows.num_rows)] if INTERCEPT in design.population else []
    names = [name for name in design.population if name != INTERCEPT]
    found = {}
    for name in names:
        others = np.column_stack(
            [*constant, *(column[n] for n in names if n != name), 0 * column[name]]
        )
        rest = column[name] - others @ np.linalg.lstsq(others, column[name], rcond=None)[0]
        found[name] = np.sqrt(np.mean(rest**2))
    return found


def test_coefficients_of_all_groups_are_scaled_by_what_is_theirs_alone(data):
    rows = data(MIXED)
    priors, own = Priors.weakly_informative(rows), own_sds(rows)
    sd_y, sd_x = rows.y.std(), rows.x.std(axis=0)
    means = np.array([own[name] for name in rows.labels.design.means])
    fixed = np.array([own[name] for name in rows.labels.design.fixed])
    np.testing.assert_allclose(priors.mu_beta.scale, 2.5 * sd_y / means, rtol=1e-9)
    np.testing.assert_allclose(priors.beta.scale, 2.5 * sd_y / means, rtol=1e-9)
    np.testing.assert_allclose(priors.sigma_beta.scale, sd_y / sd_x[:2], rtol=1e-12)
    np.testing.assert_allclose(priors.gamma.scale, 2.5 * sd_y / fixed, rtol=1e-9)
    # All population columns widen the intercept, those that do not vary too.
    mean = dict(zip(rows.labels.predictors, rows.x.mean(0), strict=True))
    factor = np.sqrt(1.0 + sum((mean[name] / sd) ** 2 for name, sd in own.items()))
    assert priors.mu_alpha.scale == pytest.approx(2.5 * factor * sd_y, rel=1e-9)


def test_an_intercept_that_does_not_vary_has_the_prior_of_an_intercept(data):
    rows = data(NO_VARYING_INTERCEPT)
    priors, own = Priors.weakly_informative(rows), own_sds(rows)
    assert priors.gamma.loc[0] == pytest.approx(rows.y.mean())
    assert priors.gamma.loc[1] == 0.0
    assert priors.gamma.scale[0] == priors.mu_alpha.scale
    last = rows.labels.design.fixed[1]
    assert priors.gamma.scale[1] == pytest.approx(2.5 * rows.y.std() / own[last], rel=1e-9)


def test_without_an_intercept_the_units_are_root_mean_squares(data):
    """Else intercepts that vary about 0 could not reach outcomes that lie far from 0."""
    rows = data(NO_INTERCEPT)
    priors = Priors.weakly_informative(replace(rows, y=rows.y + 1000.0))
    rms_y = np.sqrt(np.mean((rows.y + 1000.0) ** 2))
    rms_x = np.sqrt(np.mean(rows.x**2, axis=0))
    np.testing.assert_allclose(priors.sigma_alpha.scale, rms_y, rtol=1e-12)
    own = own_sds(rows)
    fixed = np.array([own[name] for name in rows.labels.design.fixed])
    np.testing.assert_allclose(priors.gamma.scale, 2.5 * rms_y / fixed, rtol=1e-9)
    np.testing.assert_allclose(priors.sigma_beta.scale, rms_y / rms_x[:2], rtol=1e-12)


# JSON


@pytest.mark.parametrize("design", [None, MIXED, NO_VARYING_INTERCEPT, NO_INTERCEPT])
def test_json_keeps_gamma_and_every_family(data, design):
    priors = Priors.weakly_informative(data(design))
    assert ("gamma" in json.loads(priors.to_json())) == (design is not None)
    for eps in (HalfStudentT(3, 0.1), HalfCauchy(1 / 3), Exponential(2.0), HalfFlat(), Uniform(3)):
        changed = replace(priors, eps=eps)
        again = Priors.from_json(changed.to_json())
        assert again.eps == eps
        assert same(again, changed)


def test_priors_of_version_0_1_0_are_read():
    """Its fits have no gamma."""
    old = json.loads(Priors.tutorial().to_json())
    del old["gamma"]
    found = Priors.from_json(json.dumps(old))
    assert found.gamma is None
    assert same(replace(found, gamma=Normal(0.0, 1e4)), Priors.tutorial())


def test_flat_priors_are_flat_throughout():
    priors = Priors.flat()
    assert same(Priors.from_json(priors.to_json()), priors)
    sites = json.loads(priors.to_json())
    assert {site for site, prior in sites.items() if prior == {"family": "HalfFlat"}} == {
        "sigma_alpha",
        "sigma_beta",
        "eps",
    }
    assert len(sites) == 9
    assert priors.mu_beta == priors.gamma == Flat()
    assert priors.correlation == LKJ(1.0)


# As text


@pytest.mark.parametrize(
    ("text", "name", "prior"),
    [
        ("SES=Normal(0, 2)", "SES", Normal(0, 2)),
        (" SES = Normal( -1.5 , +2e-3 ) ", "SES", Normal(-1.5, 2e-3)),
        ("sd(SES)=HalfStudentT(3, 2.5)", "sd(SES)", HalfStudentT(3, 2.5)),
        ("Sex[Male]:SES=Normal(0,1)", "Sex[Male]:SES", Normal(0, 1)),
        ("I(a == 2)=Normal(0, 1)", "I(a == 2)", Normal(0, 1)),
        ("my column=Flat()", "my column", Flat()),
        ("eps=Uniform(0, 100)", "eps", Uniform(100)),
        ("eps=Uniform(100)", "eps", Uniform(100)),
        ("eps=Exponential(1)", "eps", Exponential(1)),
        ("eps=HalfCauchy(1)", "eps", HalfCauchy(1)),
        ("eps=HalfFlat()", "eps", HalfFlat()),
    ],
)
def test_a_prior_is_read_as_it_is_written(text, name, prior):
    assert parse_prior(text) == (name, prior)


@pytest.mark.parametrize(
    "prior",
    [Normal(-0.25, 3), HalfNormal(2), Uniform(7), HalfStudentT(3, 2.5), HalfCauchy(1), Flat()],
    ids=str,
)
def test_what_a_result_prints_can_be_given_again(prior):
    assert parse_prior(f"a={prior}") == ("a", prior)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected a prior as NAME=FAMILY"),
        ("Normal(0, 2)", "Expected a prior as NAME=FAMILY"),
        ("=Normal(0, 2)", "Expected a prior as NAME=FAMILY"),
        ("SES=", "Expected a prior as NAME=FAMILY"),
        ("SES=Normal", "Expected a family with its numbers"),
        ("SES=Normal(0, 2", "Expected a family with its numbers"),
        ("SES=Normal(0, True)", "Expected a family with its numbers"),
        ("SES=Normal(0, 1j)", "Expected a family with its numbers"),
        ("SES=Normal(0, '2')", "Expected a family with its numbers"),
        ("SES=Normal(0, 1+1)", "Expected a family with its numbers"),
        ("SES=Normal(*[0, 1])", "Expected a family with its numbers"),
        ("SES=Normal(0, [1, 2])", "Expected a family with its numbers"),
        ("SES=Normal(0, print(1))", "Expected a family with its numbers"),
        ("SES=__import__('os').system('true')", "Expected a family with its numbers"),
        ("SES=Normal(0, 2); 1", "Expected a family with its numbers"),
        ("SES=Normal(0, \0)", "Expected a family with its numbers"),
        ("SES=" + "(" * 150, "Expected a family with its numbers"),
        ("SES=" + "(" * 10**6, "Expected a family with its numbers"),
        ("SES=Normal(0, " + "9" * 10**4 + ")", "Expected a family with its numbers"),
        ("SES=Norml(0, 2)", r"Expected a family of priors; got 'Norml' \(close: 'Normal'"),
        ("SES=print(0)", "Expected a family of priors; got 'print'"),
        ("SES=Normal(2)", r"Expected Normal\(loc, scale\); got 1 number"),
        ("SES=HalfNormal(0, 2)", r"Expected HalfNormal\(scale\); got 2 numbers"),
        ("SES=Flat(1)", r"Expected Flat\(\); got 1 number"),
        ("eps=Uniform(1, 2)", r"Expected Uniform\(0, high\) for a scale; got a lower end of 1"),
        ("SES=Normal(0, 0)", "Expected scale of Normal to be positive and finite; got 0."),
        ("SES=Normal(0, 1e999)", "Expected scale of Normal to be positive and finite; got inf"),
    ],
)
def test_other_text_is_refused_and_never_run(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_prior(text)
    assert len(str(caught.value)) < 400


def test_a_prior_of_numpyro_is_refused_by_its_name(data):
    """Not as "Normal or Flat; got <... Normal object at 0x...>", which says what was given."""
    from numpyro.distributions import Normal as OfNumPyro

    with pytest.raises(TypeError, match="got Normal of NumPyro: import priors from radon_numpyro"):
        resolve_priors({"a": OfNumPyro(0.0, 1.0)}, data(MIXED))
