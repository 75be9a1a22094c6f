"""A prior that leaves no room for the data is named before the fit; one that does is not."""

from dataclasses import replace

import numpy as np
import pytest
from fits import towns

from radon_numpyro import (
    Exponential,
    GroupedData,
    GroupStatistics,
    HalfCauchy,
    HalfFlat,
    HalfNormal,
    HalfStudentT,
    Normal,
    Priors,
    Uniform,
    fit,
    load_radon,
    simulate,
)
from radon_numpyro.data.design import Design
from radon_numpyro.model.prior_conflict import prior_conflicts

MODELS = ("hierarchical", "individual", "pooled")
TUTORIAL = Priors.tutorial()


def in_unit(data, unit=1.0, shift=0.0):
    return replace(data, y=unit * data.y + shift)


def sites(findings):
    return [finding.what.split()[3].rstrip(",") for finding in findings]


@pytest.mark.parametrize("model", MODELS)
def test_the_priors_of_the_tutorial_suit_its_data_and_scaled_ones_any(model):
    radon = load_radon()
    assert prior_conflicts(TUTORIAL, radon, model) == ()
    for data in (radon, towns(0), towns(3)):
        for unit, shift in ((1e-9, 0.0), (1.0, 1e4), (1e9, -1e12)):
            scaled = in_unit(data, unit, shift)
            assert prior_conflicts(Priors.weakly_informative(scaled), scaled, model) == ()


@pytest.mark.parametrize(
    ("model", "conflicting"),
    [
        ("hierarchical", ["eps", "sigma_alpha", "mu_alpha", "mu_beta[floor]"]),
        ("individual", ["eps"]),
        ("pooled", ["eps", "alpha", "beta[floor]"]),
    ],
)
def test_an_outcome_in_another_unit_is_cut_off_by_them(model, conflicting):
    data = in_unit(load_radon(), 1e6)
    for kind in (data, GroupStatistics.from_data(data)):
        findings = prior_conflicts(TUTORIAL, kind, model)
        assert sites(findings) == conflicting
        assert all(finding.advice.startswith("priors=None, ") for finding in findings)
        assert all("--priors weakly-informative" in finding.command for finding in findings)
        assert not any(finding.caution for finding in findings)


def test_the_numbers_are_those_of_the_data():
    """Known truth: residual sd 300, sd of the intercepts 5000; then priors just wide enough."""
    truth = simulate(
        num_groups=60,
        rows_per_group=20,
        mu_alpha=1e6,
        mu_beta=-2e5,
        sigma_alpha=5000.0,
        sigma_beta=1.0,
        eps=300.0,
        seed=2,
    )
    findings = prior_conflicts(TUTORIAL, truth.data)
    numbers = [
        float(finding.what.split("about ")[1].rstrip(".").replace(",", "")) for finding in findings
    ]
    np.testing.assert_allclose(numbers, [300.0, 5000.0, 1e6, -2e5], rtol=0.15)
    wide = Priors(
        Normal(0.0, 1e6), Normal(0.0, 1e5), Uniform(6500.0), TUTORIAL.sigma_beta,
        TUTORIAL.alpha, TUTORIAL.beta, Uniform(330.0),
    )  # fmt: skip
    assert prior_conflicts(wide, truth.data) == ()
    assert sites(prior_conflicts(replace(wide, eps=Uniform(300.0)), truth.data)) == ["eps"]


def test_a_half_normal_is_in_conflict_only_far_out_in_its_tail():
    data = load_radon()  # residual sd within counties 0.73
    priors = Priors.weakly_informative(data)
    for scale, conflicting in ((0.25, []), (0.15, ["eps"])):
        found = prior_conflicts(replace(priors, eps=HalfNormal(scale)), data)
        assert sites(found) == conflicting
        assert all("gives almost no probability to" in finding.what for finding in found)


def test_other_priors_are_in_conflict_only_where_they_have_no_mass():
    """Residual sd within counties 0.73; a heavy tail reaches it from far below."""
    data = load_radon()
    priors = Priors.weakly_informative(data)
    for eps, conflicting in (
        (HalfStudentT(3.0, 0.05), []),
        (HalfStudentT(3.0, 0.01), ["eps"]),
        (HalfCauchy(1e-3), []),
        (HalfCauchy(1e-5), ["eps"]),
        (Exponential(10.0), []),
        (Exponential(20.0), ["eps"]),
        (HalfFlat(), []),
    ):
        assert sites(prior_conflicts(replace(priors, eps=eps), data)) == conflicting, eps


def test_flat_priors_conflict_with_nothing():
    for data in (load_radon(), in_unit(load_radon(), 1e9, 1e12)):
        for model in MODELS:
            assert prior_conflicts(Priors.flat(), data, model) == ()


@pytest.mark.parametrize(
    ("design", "conflicting"),
    [
        (Design(("Intercept", "x1", "x2"), ("Intercept", "x1")), ["mu_alpha", "gamma[x2]"]),
        (Design(("Intercept", "x1", "x2"), ("x1",)), ["gamma[Intercept]", "gamma[x2]"]),
        (Design(("Intercept", "x1"), ("Intercept", "x1", "x2")), ["mu_alpha"]),
    ],
    ids=["x2 does not vary", "the intercept neither", "x2 without a mean"],
)
def test_each_coefficient_is_asked_by_the_site_that_holds_it(design, conflicting):
    """Else the prior of another column would be named, or that of a site that there is not."""
    rng = np.random.default_rng(4)
    x, group = rng.normal([1.0, -2.0], [1.0, 3.0], (400, 2)), np.repeat(np.arange(20), 20)
    y = 1e6 + 0.5 * x[:, 0] + 3e5 * x[:, 1] * ("x2" in design.population)
    y = y + rng.normal(0.0, 3.0, 20)[group] + rng.normal(0.0, 1.0, 400)
    data = GroupedData.from_arrays(y, x, group)
    data = replace(data, labels=replace(data.labels, design=design))
    assert sites(prior_conflicts(TUTORIAL, data)) == conflicting
    assert prior_conflicts(Priors.weakly_informative(data), data) == ()


def test_without_an_intercept_the_fit_goes_through_the_origin():
    """About the means, the slope would be 0 here, and its prior wrongly in conflict."""
    group = np.repeat(np.arange(10), 10)
    x = np.random.default_rng(5).normal(100.0, 1.0, 100)
    y = np.full(100, 300.0) + np.random.default_rng(6).normal(0.0, 1.0, 100)
    data = GroupedData.from_arrays(y, x, group)
    design = Design(("x1",), ("Intercept",))
    data = replace(data, labels=replace(data.labels, design=design))
    priors = replace(Priors.weakly_informative(data), gamma=Normal(3.0, 0.01))
    assert prior_conflicts(priors, data) == ()
    wrong = replace(priors, gamma=Normal(0.0, 0.01))
    assert sites(prior_conflicts(wrong, data)) == ["gamma[x1]"]


def test_the_individual_model_names_the_groups():
    group = np.repeat(["quiet", "loud", "single"], [6, 6, 1])
    y = np.random.default_rng(0).normal(size=13) * np.where(group == "loud", 1e4, 1.0)
    data = GroupedData.from_arrays(y, None, group)
    (finding,) = prior_conflicts(TUTORIAL, data, "individual")
    assert finding.what.startswith("The prior of eps, Uniform(0, 100.), excludes what the data sug")
    assert finding.what.endswith(" at most, in 1 group: 'loud'.")


def test_data_that_say_nothing_conflict_with_nothing():
    single = GroupedData.from_arrays([3.0, 5e5, -2e6], [0.1, 0.2, 0.3], ["a", "b", "c"])
    assert sites(prior_conflicts(TUTORIAL, single)) == ["sigma_alpha"]
    assert prior_conflicts(TUTORIAL, single, "individual") == ()
    assert prior_conflicts(TUTORIAL, single.select("a")) == ()


def test_fit_warns_and_goes_on():
    data = in_unit(towns(1), 1e4)
    options = {"draws": 4, "num_advi_steps": 0, "progress_bar": False}
    with pytest.warns(UserWarning, match=r"prior of eps, Uniform\(0, 100.\), excludes") as caught:
        tree = fit(data, model="pooled", priors=TUTORIAL, **options)
    assert caught[0].filename == __file__
    assert float(tree["posterior"]["eps"].max()) <= 100.0
    fit(data, model="pooled", **options)
