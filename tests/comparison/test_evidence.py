"""Log evidence beside dense densities and quadrature; when there is no Bayes factor."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dense import columns_of, make_priors
from fits import towns, towns_fit
from scipy import integrate, stats

from radon_numpyro import Flat, GroupedData, HalfFlat, Normal, Priors, compare, fit
from radon_numpyro.comparison.cross_validation import _sampling, kfold
from radon_numpyro.comparison.evidence import log_evidence, without_bayes_factors
from radon_numpyro.inference.integration.scale_posterior import ScalePosterior
from radon_numpyro.statistics.group_statistics import GroupStatistics


def quadrature(log_density, low=1e-4, high=60.0):
    """Log of the integral of a density of eps, after its largest value is taken out."""
    grid = np.geomspace(low, high, 400)
    values = np.array([log_density(eps) for eps in grid])
    peak, mode = values.max(), grid[values.argmax()]
    points = [mode * factor for factor in (0.3, 0.6, 0.8, 1.0, 1.25, 1.6, 3.0)]
    value, _ = integrate.quad(
        lambda eps: np.exp(log_density(eps) - peak), low, high, points=points, limit=400
    )
    return peak + np.log(value)


def of_lines(y, x, loc, scale, prior):
    """Dense: y ~ N(x loc, x S x' + eps^2 I), integrated over eps."""

    def log_density(eps):
        covariance = x @ np.diag(scale**2) @ x.T + eps**2 * np.eye(len(y))
        off = y - x @ loc
        log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
        return -0.5 * (log_det + off @ np.linalg.solve(covariance, off)) + prior(eps)

    return quadrature(log_density)


def half_normal(scale):
    return lambda eps: stats.halfnorm(scale=scale).logpdf(eps)


def test_the_individual_evidence_is_that_of_dense_lines(unequal_data):
    data = unequal_data(1, sizes=(5, 1, 9, 3))
    priors = make_priors(1)
    tree = fit(data, model="individual", priors=priors, method="integrate", draws=10)
    loc, scale = np.array([7.0, -0.3]), np.array([5.0, 0.8])
    expected = 0.0
    for code in range(data.num_groups):
        rows = data.group == code
        x = columns_of(data, data.labels.design.varying)[rows]
        expected += of_lines(data.y[rows], x, loc, scale, half_normal(2.0))
    assert log_evidence(tree).value == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("method", ["integrate", "marginal"])
def test_the_pooled_evidence_is_that_of_a_dense_line(unequal_data, method):
    """Of whatever method the fit is."""
    data = unequal_data(1, sizes=(5, 1, 9, 3))
    priors = make_priors(1)
    settings = {} if method == "integrate" else {"num_advi_steps": 0, "progress_bar": False}
    tree = fit(data, model="pooled", priors=priors, method=method, draws=10, **settings)
    loc, scale = np.array([7.0, -0.3]), np.array([5.0, 0.8])
    x = columns_of(data, data.labels.design.varying)
    expected = of_lines(data.y, x, loc, scale, half_normal(2.0))
    found = log_evidence(tree)
    assert abs(found.value - expected) < 4 * found.se + 1e-4
    assert found.se < 0.05


def test_fits_of_both_routes_have_one_evidence():
    # Chains like those of the folds below, so that they are compiled once.
    nuts = towns_fit(draws=10, chains=2, num_warmup=300)
    nodes = fit(towns(), method="integrate", seed=5)
    one, other = log_evidence(nuts), log_evidence(nodes)
    assert abs(one.value - other.value) < 4 * np.hypot(one.se, other.se)


def two_models(priors=None, others=None):
    """A slope that is there, and fits with and without it."""
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(8), 6)
    x = rng.normal(size=48)
    y = rng.normal(size=8)[group] + 0.9 * x + rng.normal(size=48)
    rows = {"y": y, "x": x, "g": group}
    frame = pd.DataFrame(rows)
    how = {"method": "integrate"}
    return {
        "with": fit("y ~ x + (1 | g)", frame, priors=priors, **how),
        "without": fit("y ~ 1 + (1 | g)", frame, priors=others, **how),
    }


SAME = replace(Priors.tutorial(), mu_alpha=Normal(0.0, 5.0), gamma=Normal(0.0, 2.0))


def test_bayes_factors_of_fits_with_the_same_priors():
    fits = two_models(SAME, replace(SAME, gamma=None))
    assert without_bayes_factors(fits) == ""
    found = compare(fits, folds=0)
    table = found.table
    assert table.loc["with", "log_bayes_factor"] == 0.0
    assert table.loc["without", "log_bayes_factor"] == pytest.approx(
        fits["without"]["nodes"].attrs["log_evidence"] - fits["with"]["nodes"].attrs["log_evidence"]
    )
    assert table.loc["without", "log_bayes_factor"] < -5
    assert "depends on the priors" in found.definitions["log_bayes_factor"]
    assert "depends on the priors" in str(found)


def test_a_wider_prior_of_the_slope_costs_its_model():
    """Ten times as wide: log 10, and what the narrower one held against the slope itself."""
    wide = replace(SAME, gamma=Normal(0.0, 20.0))
    one, other = (two_models(p, replace(p, gamma=None))["with"] for p in (SAME, wide))
    cost = log_evidence(one).value - log_evidence(other).value
    slope = other["posterior"]["gamma"].sel(fixed="x")
    pull = 0.5 * float((slope**2).mean()) * (1 / 2.0**2 - 1 / 20.0**2)
    assert cost == pytest.approx(np.log(10) - pull, abs=0.03)


def test_different_priors_have_no_bayes_factor():
    other = replace(SAME, mu_alpha=Normal(0.0, 50.0), gamma=None)
    fits = two_models(SAME, other)
    said = without_bayes_factors(fits)
    assert said.startswith("No Bayes factors: 'with' and 'without' have different priors of mu_a")
    found = compare(fits, folds=0)
    assert "log_bayes_factor" not in found.table
    assert found.table["log_evidence"].notna().all()
    assert said in str(found)


def test_a_model_that_can_predict_no_row_has_a_line_all_the_same():
    """As the individual model where each group is one row."""
    compared = compare(two_models(SAME, replace(SAME, gamma=None)), folds=0)
    table = compared.table.copy()
    scores = [name for name in table if "loo" in name or name.startswith("elpd")]
    table.loc["without", scores] = np.nan
    (line,) = (row for row in str(replace(compared, table=table)).splitlines() if "without" in row)
    assert line.split()[-2:] == ["-", "0"]


def test_improper_priors_have_no_evidence():
    flat = replace(SAME, mu_alpha=Flat(), gamma=None)
    tree = two_models(SAME, flat)["without"]
    assert np.isnan(log_evidence(tree).value)
    tree = two_models(SAME, replace(SAME, eps=HalfFlat(), gamma=None))["without"]
    assert np.isnan(log_evidence(tree).value)


# Refits by integration


@pytest.mark.slow
def test_folds_by_integration_are_those_by_nuts(unequal_data, monkeypatch):
    data = unequal_data(1, sizes=(8, 4, 9, 6, 5))
    models = {"hierarchical": ("hierarchical", Priors.weakly_informative(data))}
    by_nodes = kfold(data, models, folds=3)["hierarchical"]
    monkeypatch.setattr(ScalePosterior, "reliable", False)
    by_nuts = kfold(data, models, folds=3, draws=1000, chains=2)["hierarchical"]
    assert not np.array_equal(by_nodes.log_score, by_nuts.log_score)
    # Scores of rows far out depend on few draws.
    np.testing.assert_allclose(by_nodes.log_score, by_nuts.log_score, rtol=0.03, atol=0.03)
    spread = data.y.std()
    np.testing.assert_allclose(by_nodes.mean, by_nuts.mean, atol=0.05 * spread)


def test_nuts_is_ready_where_integration_is_not(unequal_data):
    """Scales, and correlations, by the names that predictions read."""
    data = GroupedData.from_frame(
        unequal_data(1, sizes=(6, 5, 7)).to_frame(),
        y="level",
        x=list(unequal_data(1).labels.predictors),
        group="town",
        correlated=True,
    )
    priors = Priors.weakly_informative(data)
    scales = _sampling(data, "hierarchical", priors, 20, 2, 0)(GroupStatistics.from_data(data))
    assert scales["correlation"].shape == (40, 2, 2)
    assert scales["sigma_beta"].shape == (40, 1)
    assert scales["eps"].shape == (40,)
