"""NUTS beside integration: what the difference is measured in, and when it is not measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fits import TUTORIAL, radon
from test_integrate_route import correlated, hard

from radon_numpyro import GroupedData, GroupStatistics, Priors, diagnose, fit
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference import two_routes
from radon_numpyro.inference.integration.resampling import draw_integrated
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
from radon_numpyro.inference.two_routes import compare_routes, differences


@pytest.fixture(scope="module")
def nodes():
    return integrate_scales(NormalEquations.from_statistics(radon()), TUTORIAL, seed=11)


def drawn_from(nodes, seed=0):
    return dict(draw_integrated(nodes, draws=2000, chains=4, seed=seed).draws)


def test_draws_from_the_nodes_agree_with_them(nodes):
    found = differences(nodes, drawn_from(nodes))
    names = {"mu_alpha", "mu_beta[floor]", "sigma_alpha", "sigma_beta[floor]", "eps"}
    assert found.keys() == names
    assert max(found.values()) < 4


@pytest.mark.parametrize("site", ["mu_beta", "sigma_alpha", "eps"])
def test_the_difference_is_in_standard_errors_of_both(nodes, site):
    """A shift by a fifth of a standard deviation, of draws and nodes whose errors are known."""
    draws = drawn_from(nodes)
    name = f"{site}[floor]" if site == "mu_beta" else site
    sd = np.ravel(nodes.moments()[site][1]).item()
    before = differences(nodes, draws)
    draws[site] = draws[site] + 0.2 * sd
    after = differences(nodes, draws)
    assert max(after, key=after.get) == name
    error = np.hypot(sd / np.sqrt(8000), np.ravel(nodes.errors()[site]).item())
    # To first order the transformations of the scales change nothing; the draws' own error is
    # known to a few percent, and they begin up to 4 of it off.
    assert abs(after[name] - 0.2 * sd / error) < 0.1 * 0.2 * sd / error + before[name]
    others = after.keys() - {name}
    assert all(after[other] == before[other] for other in others)


def test_correlations_are_compared_pair_by_pair():
    data = correlated(num_groups=12)
    priors = Priors.weakly_informative(data)
    statistics = GroupStatistics.from_data(data)
    found = integrate_scales(NormalEquations.from_statistics(statistics), priors)
    draws = drawn_from(found)
    agreeing = differences(found, draws)
    assert "correlation[Intercept, x]" in agreeing
    assert "gamma[z]" in agreeing
    assert max(agreeing.values()) < 4
    # The mirror image.
    sign = np.array([[1.0, -1.0], [-1.0, 1.0]])
    draws["correlation"] = draws["correlation"] * sign
    differing = differences(found, draws)
    assert differing["correlation[Intercept, x]"] > 10


def test_an_integration_that_would_take_too_long_is_left_out(nodes, monkeypatch):
    monkeypatch.setattr(two_routes, "seconds_an_evaluation", lambda *_: 0.01)
    monkeypatch.setattr(two_routes, "integrate_scales", None)
    found = compare_routes(radon(), TUTORIAL, drawn_from(nodes), seconds=100.0)
    assert found.skipped == "integration would take about 60 s, over a tenth of the run"
    assert found.record() == {"skipped": found.skipped}


def test_an_integration_that_is_not_reliable_says_nothing_of_the_draws(nodes, monkeypatch):
    def few(*args, **kwargs):
        return replace(nodes, ess=40.0)

    monkeypatch.setattr(two_routes, "integrate_scales", few)
    found = compare_routes(radon(), TUTORIAL, drawn_from(nodes), seconds=100.0)
    assert found.skipped.startswith("the integration over the scales is not reliable: 40 effec")


@pytest.mark.parametrize("site", ["mu_alpha", "sigma_beta"])
def test_chains_that_disagree_are_not_called_agreeing(nodes, monkeypatch, site):
    """One chain of four apart by half a standard deviation: R-hat is about 1.05."""
    monkeypatch.setattr(two_routes, "integrate_scales", lambda *_, **__: nodes)
    draws = drawn_from(nodes)
    assert not compare_routes(radon(), TUTORIAL, draws, seconds=100.0).skipped
    apart = np.zeros((4, *draws[site].shape[1:]))
    apart[0] = 0.5 * draws[site].std()
    draws[site] = draws[site] + apart
    found = compare_routes(radon(), TUTORIAL, draws, seconds=100.0)
    name = f"{site}[floor]" if site == "sigma_beta" else site
    start = f"the chains of {name} do not agree with one another, R-hat 1.0"
    assert found.skipped.startswith(start)
    assert "would mean nothing" in found.skipped
    # A chain that stands still has no R-hat.
    draws[site] = np.ones_like(draws[site])
    found = compare_routes(radon(), TUTORIAL, draws, seconds=100.0)
    assert f"the chains of {name} do not agree with one another, R-hat nan" in found.skipped


def test_more_slopes_than_can_be_integrated_out_are_left_out(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(60, 22))
    data = GroupedData.from_arrays(rows[:, 0], rows[:, 1:], np.repeat(np.arange(6), 10))
    monkeypatch.setattr(two_routes, "integrate_scales", None)
    found = compare_routes(GroupStatistics.from_data(data), TUTORIAL, {}, seconds=100.0)
    assert found.skipped == "too many slopes vary to integrate over their spreads"


def test_time_is_that_of_the_density(nodes):
    """For 100 times as many groups it is longer by far more than the clock is wrong."""
    draws, equations = drawn_from(nodes), nodes.equations
    many = equations.take(np.arange(85 * 200) % 85)
    few = two_routes.seconds_an_evaluation(equations, TUTORIAL, draws)
    assert two_routes.seconds_an_evaluation(many, TUTORIAL, draws) > 5 * few


def test_a_fit_has_the_comparison():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(12), 6)
    y = rng.normal(size=12)[group] + rng.normal(size=72)
    tree = fit(GroupedData.from_arrays(y, None, group), num_advi_steps=0, progress_bar=False)
    found = json.loads(tree.attrs["two_routes"])
    assert set(found) == {"largest", "parameter"}
    assert 0 < found["largest"] < 4
    assert found["parameter"] in ("mu_alpha", "sigma_alpha", "eps")
    words = f"largest difference {found['largest']:.1f} standard errors ({found['parameter']})"
    assert f"Two routes, NUTS and integration, agree: {words}." in str(diagnose(tree))


@pytest.mark.slow
def test_a_posterior_that_integration_misses_is_left_out():
    """Four correlated coefficients in three groups under wide priors."""
    few = {"draws": 100, "chains": 2, "num_warmup": 20, "max_tree_depth": 2}
    tree = fit(hard(), priors=TUTORIAL, num_advi_steps=0, progress_bar=False, **few)
    found = json.loads(tree.attrs["two_routes"])
    assert found.keys() in ({"skipped"}, {"largest", "parameter"})
