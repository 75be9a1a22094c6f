"""A fit by integration in files, pages, tables, figures and predictions; two routes in diagnose."""

import json

import arviz as az
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dense import Dense
from fits import TUTORIAL, three_counties
from scipy import stats
from scipy.optimize import brentq

from radon_numpyro import (
    GroupedData,
    GroupStatistics,
    HalfNormal,
    Normal,
    Priors,
    diagnose,
    fit,
    html_report,
    load_fit,
    load_radon,
    plots,
    predict,
    save_fit,
    with_groups,
)
from radon_numpyro.results.summary import group_table, parameter_table

MODELS = ("hierarchical", "individual", "pooled")


@pytest.fixture(scope="module", params=MODELS)
def tree(request):
    data = three_counties() if request.param == "individual" else load_radon()
    return fit(data, model=request.param, method="integrate", priors=TUTORIAL)


@pytest.fixture(scope="module")
def hierarchical():
    return fit(load_radon(), method="integrate", priors=TUTORIAL)


def test_a_file_has_all_of_it(tree, tmp_path):
    back = load_fit(save_fit(tree, tmp_path / "fit.nc"))
    xr.testing.assert_identical(back, tree)
    assert str(diagnose(back)) == str(diagnose(tree))


def test_a_fit_of_statistics_alone_has_it_too(tmp_path):
    statistics = GroupStatistics.from_data(load_radon())
    tree = fit(statistics, method="integrate", priors=TUTORIAL)
    xr.testing.assert_identical(load_fit(save_fit(tree, tmp_path / "fit.nc")), tree)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tree: tree.__delitem__("nodes"), r"got no group /nodes"),
        (lambda tree: tree["nodes"].attrs.update(reliable="yes"), r"reliable of /nodes .* number"),
        (lambda tree: tree["nodes"].attrs.pop("verdict"), r"verdict of /nodes .* text"),
        (lambda tree: tree["nodes"].attrs.update(khat="0.1"), r"khat of /nodes .* a real number"),
    ],
)
def test_a_damaged_file_is_refused(hierarchical, damage, message, tmp_path):
    tree = hierarchical.copy(deep=True)
    damage(tree)
    with pytest.raises(ValueError, match=message):
        save_fit(tree, tmp_path / "fit.nc")


def test_weights_below_zero_are_refused(hierarchical, tmp_path):
    tree = hierarchical.copy(deep=True)
    tree["nodes"]["weight"][3] = -0.1
    with pytest.raises(ValueError, match=r"nodes/weight .* finite and at least 0"):
        save_fit(tree, tmp_path / "fit.nc")


def test_the_diagnosis_has_no_rhat(tree):
    diagnosis = diagnose(tree)
    assert list(diagnosis.table) == ["ess_bulk", "ess_tail"]
    names = set(az.summary(tree, ci_prob=0.9, ci_kind="eti").index)
    assert set(diagnosis.table.index) == names
    assert np.isnan(diagnosis.max_rhat)
    if "nodes" in tree.children:
        assert diagnosis.min_ess == pytest.approx(tree["nodes"].attrs["ess"])
        assert "k-hat" in str(diagnosis)
    else:
        assert diagnosis.min_ess == 4000
    assert "ADVI" not in str(diagnosis)
    assert "R-hat" not in str(diagnosis)


def test_few_draws_are_found():
    tree = fit(load_radon(), method="integrate", draws=10, chains=4)
    (finding,) = diagnose(tree).findings
    assert finding.what.startswith("Effective sample size below 100")
    assert finding.advice.startswith("draws=")
    assert "method" not in finding.advice


def test_one_chain_is_as_good_as_four():
    tree = fit(load_radon(), method="integrate", draws=4000, chains=1)
    assert diagnose(tree).ok
    assert not diagnose(tree).findings


def test_the_page_speaks_of_nodes(tree):
    page = html_report(tree)
    assert "R-hat" not in page
    assert "ADVI" not in page
    if "nodes" in tree.children:
        assert "weighted nodes" in page
        assert "log evidence" in page


def test_tables_have_no_rhat(hierarchical):
    diagnosis = diagnose(hierarchical)
    table = parameter_table(hierarchical, diagnosis, 0.9)
    assert list(table) == ["mean", "sd", "lower", "upper", "ess_bulk", "ess_tail"]
    assert table.notna().all(axis=None)
    assert len(group_table(hierarchical, 0.9)) == 2 * 85


@pytest.mark.parametrize("figure", ["plot_elbo", "plot_advi_vs_nuts", "plot_trace"])
def test_figures_of_chains_are_refused(tree, figure, agg):
    with pytest.raises(ValueError, match=r"^Expected a fit with (ADVI|chains), .*'integrate'"):
        getattr(plots, figure)(tree)


def test_other_figures_are_drawn(hierarchical, agg):
    assert plots.plot_forest(hierarchical) is not None
    assert plots.plot_prior_posterior(hierarchical) is not None
    assert plots.plot_group_lines({"hierarchical": hierarchical}, ["CASS"]) is not None


def test_predictions_are_those_of_the_draws(hierarchical):
    """The mean and sd of a line in closed form beside those of drawn coefficients."""
    rows = pd.DataFrame({"floor": [0.0, 1.0], "county": ["CASS", "ANOKA"]})
    found = predict(hierarchical, rows, kind="mean")
    posterior, nodes = hierarchical["posterior"], hierarchical["nodes"].attrs["ess"]
    for i, county in enumerate(rows["county"]):
        own = posterior.sel(county=county)
        line = own["alpha"] + own["beta"].sel(predictor="floor") * rows["floor"][i]
        error = float(line.std()) * np.sqrt(1 / 4000 + 1 / nodes)
        assert abs(found["mean"][i] - float(line.mean())) < 4 * error
        assert abs(found["sd"][i] / float(line.std()) - 1) < 0.1


@pytest.fixture(scope="module")
def few_groups():
    """Four groups of rows about an intercept each, and the exact mixture of their lines."""
    rng = np.random.default_rng(8)
    group = np.repeat(np.arange(4), [3, 5, 8, 2])
    x = rng.normal(size=len(group))
    y = 1.0 + 0.5 * x + np.array([-0.6, 0.2, 0.9, -0.1])[group] + 0.4 * rng.normal(size=len(group))
    frame = pd.DataFrame({"y": y, "x": x, "g": np.array(list("abcd"))[group]})
    data = GroupedData.from_frame(frame, y="y", fixed="x", group="g")
    priors = Priors(
        mu_alpha=Normal(0.0, 3.0),
        gamma=Normal(0.0, 2.0),
        sigma_alpha=HalfNormal(1.0),
        eps=HalfNormal(1.0),
        mu_beta=Normal(0.0, 1.0),
        sigma_beta=HalfNormal(1.0),
        alpha=Normal(0.0, 1.0),
        beta=Normal(0.0, 1.0),
    )
    return data, priors


def lines_by_quadrature(data, priors, x, code):
    """Weights, means and sds of a group's line at x, and eps, over a dense grid of the scales."""
    node, weight = np.polynomial.legendre.leggauss(40)
    sigma, eps = 2.0 * (node + 1.0), 0.1 + 0.95 * (node + 1.0)
    rows = []
    for i, s in enumerate(sigma):
        for k, e in enumerate(eps):
            dense = Dense(data, priors, [s], e)
            log = dense.log_density(data.y) - 0.5 * (s**2 + e**2) + np.log(weight[i] * weight[k])
            mean, cov = dense.given(data.y)
            # The population coefficients are the intercept and the slope.
            take = np.zeros(len(mean))
            take[1], take[2 + code] = x, 1.0
            rows.append((log, take @ mean, np.sqrt(take @ cov @ take), e))
    log, mean, sd, e = np.array(rows).T
    mass = np.exp(log - log.max())
    return mass / mass.sum(), mean, sd, e


def quantile_of(weight, mean, sd, prob):
    return brentq(lambda q: weight @ stats.norm(mean, sd).cdf(q) - prob, -20, 20)


@pytest.mark.parametrize("kind", ["mean", "outcome"])
def test_predictions_are_those_of_a_dense_grid(few_groups, kind):
    """Moments and quantiles by quadrature over the scales and plain matrices, to 1 % of an sd.

    Predictions from 4000 draws would be off by several times that.
    """
    data, priors = few_groups
    tree = fit(data, method="integrate", priors=priors, nodes=16384)
    rows = pd.DataFrame({"x": [0.7, -2.0], "g": ["b", "d"]})
    found = predict(tree, rows, kind=kind, ci_prob=0.8)
    for i, (x, code) in enumerate([(0.7, 1), (-2.0, 3)]):
        weight, mean, sd, eps = lines_by_quadrature(data, priors, x, code)
        sd = np.hypot(sd, eps) if kind == "outcome" else sd
        centre = weight @ mean
        spread = np.sqrt(weight @ (sd**2 + (mean - centre) ** 2))
        ends = [quantile_of(weight, mean, sd, prob) for prob in (0.1, 0.9)]
        expected = [centre, spread, *ends]
        off = (found.iloc[i][["mean", "sd", "lower", "upper"]].to_numpy(float) - expected) / spread
        assert np.abs(off).max() < 0.01, off


def test_without_nodes_the_draws_will_do(hierarchical):
    """Both are of one posterior: within 5 standard errors of the draws."""
    rows = pd.DataFrame({"floor": [0.0, 1.0], "county": ["CASS", "ANOKA"]})
    alone = hierarchical.copy()
    del alone["nodes"]
    found, expected = predict(alone, rows), predict(hierarchical, rows)
    assert not found["mean"].equals(expected["mean"]), "both are from the same points"
    assert (np.abs(found["mean"] - expected["mean"]) < 5 * expected["sd"] / 4000**0.5).all()
    np.testing.assert_allclose(found["sd"], expected["sd"], rtol=5 / 8000**0.5)


def test_nodes_of_weight_0_and_some_of_the_nodes(hierarchical):
    """Nodes without weight change nothing, and every other node predicts about the same."""
    rows = pd.DataFrame({"floor": [1.0], "county": ["ANOKA"]})
    expected = predict(hierarchical, rows)
    more = hierarchical.copy(deep=True)
    nodes = more["nodes"].to_dataset()
    empty = xr.zeros_like(nodes).assign_coords(node=nodes["node"] + nodes.sizes["node"])
    more["nodes"] = xr.DataTree(xr.concat([nodes, empty], "node"))
    pd.testing.assert_frame_equal(predict(more, rows), expected)
    half = predict(hierarchical.isel(node=slice(None, None, 2)), rows)
    assert abs(half["mean"][0] - expected["mean"][0]) < 0.05 * expected["sd"][0]


def test_arviz_runs_on_it(hierarchical):
    full = with_groups(hierarchical, "log_likelihood", "log_prior")
    assert full["log_likelihood"]["y"].shape == (4, 1000, 919)
    sensitivity = az.psense_summary(full, var_names=["mu_alpha", "eps"])
    assert sensitivity.loc["eps", "likelihood"] > 0.05


# Two routes


def routes(largest, **others):
    """A small fit by NUTS, as if the routes had differed so much."""
    rng = np.random.default_rng(0)
    values = {"mu_alpha": (("chain", "draw"), rng.normal(size=(4, 500)))}
    stats = {"diverging": np.zeros((4, 500), bool), "n_steps": np.full((4, 500), 7)}
    stats["energy"] = rng.normal(size=(4, 500))
    found = {"largest": largest, "parameter": "sigma_beta[floor]"} if largest else others
    attrs = {"method": "marginal", "complete": 1, "max_tree_depth": 10}
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs=attrs | {"two_routes": json.dumps(found)}),
            "posterior": xr.Dataset(values),
            "sample_stats": xr.Dataset({n: (("chain", "draw"), v) for n, v in stats.items()}),
            "advi": xr.Dataset(attrs={"verdict": "only to start NUTS"}),
        }
    )


@pytest.mark.parametrize(
    ("largest", "count", "ok"), [(3.9, 0, True), (4.1, 1, True), (5.1, 1, False)]
)
def test_a_large_difference_is_found(largest, count, ok):
    diagnosis = diagnose(routes(largest))
    assert len(diagnosis.findings) == count
    assert diagnosis.ok is ok
    agree = "agree" if largest < 4 else "differ"
    line = f"  Two routes, NUTS and integration, {agree}: largest difference {largest} standard"
    assert line in str(diagnosis)
    for finding in diagnosis.findings:
        assert "sigma_beta[floor]" in finding.what
        assert finding.command == (
            "--draws 1000, and the same fit by --method integrate, to see which of them moves"
        )


def test_why_there_is_no_difference_is_said():
    text = str(diagnose(routes(None, skipped="the run is incomplete")))
    assert "NUTS was not compared with integration (the run is incomplete)." in text


def test_a_fit_of_an_earlier_version_has_no_such_line():
    tree = routes(1.0)
    del tree.attrs["two_routes"]
    assert "routes" not in str(diagnose(tree))
