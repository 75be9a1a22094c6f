"""A fit by integration: draws from the nodes, what is refused, and what auto goes on with."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dense import Dense, equations_of
from fits import TUTORIAL, line, radon, radon_nuts, three_counties

from radon_numpyro import GroupedData, Priors, diagnose, fit, load_radon
from radon_numpyro.data.findings import DataWarning
from radon_numpyro.gaussian.conditional import Population
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.integration.resampling import (
    draw_integrated,
    moments_over_nodes,
    systematic,
)
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
from radon_numpyro.inference.inversion import draw_exact

DRAWS = 4000


@pytest.fixture(scope="module")
def radon_nodes():
    return integrate_scales(NormalEquations.from_statistics(radon()), TUTORIAL, seed=3)


def correlated(num_groups=6, seed=1):
    """Groups of unequal size with intercepts, slopes and a column that does not vary."""
    rng = np.random.default_rng(seed)
    sizes = 2 + np.arange(num_groups)
    group = np.repeat(np.arange(num_groups), sizes)
    frame = pd.DataFrame({"g": group, "x": rng.normal(2.0, 3.0, len(group))})
    frame["z"] = rng.normal(-1.0, 2.0, len(group))
    own = rng.multivariate_normal([1.0, -0.5], [[1.0, 0.3], [0.3, 0.4]], num_groups)[group]
    frame["y"] = own[:, 0] + own[:, 1] * frame["x"] + 0.7 * frame["z"]
    frame["y"] += rng.normal(0.0, 0.8, len(group))
    return GroupedData.from_formula("y ~ x + z + (1 + x | g)", frame)


def at_one_node(posterior, node):
    """The posterior as if this node had all the weight."""
    some = slice(node, node + 1)
    return replace(
        posterior,
        scales={name: values[some] for name, values in posterior.scales.items()},
        population=Population(*(values[..., some] for values in posterior.population)),
        weights=np.ones(1),
        shift=np.zeros(1, dtype=int),
    )


# Draws


def test_a_node_is_drawn_as_often_as_its_weight_says():
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.full(300, 0.3))
    weights[[0, 17, 299]] = 0.0
    weights /= weights.sum()
    for size in (1, 7, 1000, 4001):
        times = np.bincount(systematic(rng, weights, size), minlength=300)
        assert times.sum() == size
        expected = weights * size
        assert (times >= np.floor(expected - 1e-9)).all()
        assert (times <= np.ceil(expected + 1e-9)).all()
        assert not times[[0, 17, 299]].any()


def test_every_node_has_its_chance():
    """Fewer draws than nodes: over many seeds a node is drawn in proportion to its weight."""
    weights = np.array([0.05, 0.4, 0.15, 0.1, 0.3])
    drawn = [systematic(np.random.default_rng(seed), weights, 2) for seed in range(4000)]
    share = np.bincount(np.concatenate(drawn), minlength=5) / 8000
    error = np.sqrt(weights * (1 - weights) / 8000)
    assert (np.abs(share - weights) < 4 * error).all()


@pytest.mark.parametrize("node", [0, 100])
def test_coefficients_given_the_scales_are_those_of_the_dense_normal(node):
    """All coefficients of all groups, with the covariances between them."""
    data = correlated()
    priors = Priors.weakly_informative(data)
    equations = equations_of(data)
    posterior = at_one_node(integrate_scales(equations, priors), node)
    drawn = draw_integrated(posterior, draws=10_000, chains=2, seed=5).draws
    scales = {name: values[0] for name, values in posterior.scales.items()}
    sds = [scales["sigma_alpha"], *scales["sigma_beta"]]
    dense = Dense(data, priors, sds, scales["eps"], scales["correlation"])
    mean, covariance = dense.given(data.y)
    population = [drawn["mu_alpha"][..., None], drawn["mu_beta"], drawn["gamma"]]
    groups = np.concatenate([drawn["alpha"][..., None], drawn["beta"]], axis=-1)
    found = np.concatenate([*population, groups.reshape(2, 10_000, -1)], axis=-1)
    found = found.reshape(20_000, -1)
    sd = np.sqrt(np.diagonal(covariance))
    z = (found.mean(0) - mean) / sd * np.sqrt(len(found))
    assert np.abs(z).max() < 4.5
    off = (np.cov(found.T) - covariance) / np.outer(sd, sd)
    # The standard error of a correlation is at most 1 / sqrt(n), of a variance sqrt(2 / n).
    assert np.abs(off).max() < 4.5 * np.sqrt(2 / len(found))


@pytest.mark.slow
def test_draws_are_those_of_nuts(radon_nodes):
    """Means, and quantiles of the scales, within the errors of both."""
    drawn = draw_integrated(radon_nodes, draws=2000).draws
    nuts = radon_nuts("marginal").draws
    assert drawn.keys() == nuts.keys()
    for name, values in nuts.items():
        assert drawn[name].shape == values.shape
        flat = [v.reshape(8000, -1) for v in (drawn[name], values)]
        # Chains of NUTS are worth at least a fifth of their draws here, nodes 1000 draws.
        error = flat[1].std(0) * np.sqrt(1 / 1000 + 1 / 1600)
        assert (np.abs(flat[0].mean(0) - flat[1].mean(0)) < 4 * error).all(), name
        ratio = flat[0].std(0) / flat[1].std(0)
        assert (np.abs(np.log(ratio)) < 4 * np.sqrt(0.5 / 1000 + 0.5 / 1600) * 2).all(), name


def test_each_chain_is_a_sample_of_the_whole_posterior(radon_nodes):
    """Without the shuffle the first chain would have the first nodes alone."""
    eps = draw_integrated(radon_nodes, seed=9).draws["eps"]
    mean, sd = (moment.item() for moment in radon_nodes.moments()["eps"])
    z = (eps.mean(1) - mean) / (sd / np.sqrt(eps.shape[1]))
    assert np.abs(z).max() < 4
    first = eps[:, :-1] - mean
    lag = (first * (eps[:, 1:] - mean)).mean() / sd**2
    assert abs(lag) < 4 / np.sqrt(eps.size)


def test_summaries_are_the_moments_of_the_draws(radon_nodes):
    drawn = draw_integrated(radon_nodes, draws=5000, seed=1).draws
    moments = moments_over_nodes(radon_nodes)
    for name in ("alpha", "beta"):
        mean, sd = moments[name]
        own = drawn[name].reshape(20_000, *mean.shape)
        # Averages over 512 nodes and over the draws.
        error = sd * np.sqrt(1 / 512 + 1 / 1000)
        assert (np.abs(own.mean(0) - mean) < 4 * error).all()
        assert np.abs(own.std(0) / sd - 1).max() < 0.15


def test_a_summary_is_kept_where_draws_are_not_wanted():
    tree = fit(load_radon(), method="integrate", coefficients="summary")
    assert "alpha" not in tree["posterior"]
    full = fit(load_radon(), method="integrate")["posterior"]
    mean = tree["coefficients/means"]["beta"]
    sd = tree["coefficients/sds"]["beta"]
    z = (full["beta"].mean(("chain", "draw")) - mean) / sd
    assert float(np.abs(z).max()) < 4 * np.sqrt(1 / 512 + 1 / 1000)


def test_the_pooled_posterior_is_that_of_exact_draws():
    tree = fit(line(), model="pooled", method="integrate", draws=DRAWS)
    exact = draw_exact(line(), "pooled", draws=DRAWS, seed=2).draws
    for name, values in exact.items():
        own = tree["posterior"][name].values.reshape(4 * DRAWS, -1)
        values = values.reshape(4 * DRAWS, -1)
        error = values.std(0) * np.sqrt(1 / 1000 + 1 / (4 * DRAWS))
        assert (np.abs(own.mean(0) - values.mean(0)) < 4 * error).all(), name
        assert np.abs(own.std(0) / values.std(0) - 1).max() < 0.1, name


def test_the_individual_model_is_inverted():
    tree = fit(three_counties(), model="individual", priors=TUTORIAL, method="integrate", seed=4)
    exact = draw_exact(three_counties(), "individual", priors=TUTORIAL, seed=4).draws
    for name, values in exact.items():
        np.testing.assert_array_equal(tree["posterior"][name], values)
    assert "nodes" not in tree.children
    assert diagnose(tree).min_ess == 4000


# What a fit records


def test_a_fit_has_its_nodes_and_no_chains():
    tree = fit(correlated(), method="integrate", seed=6)
    assert {"sample_stats", "advi"}.isdisjoint(tree.children)
    nodes = tree["nodes"]
    assert nodes["weight"].dims == ("node",)
    assert nodes["sigma_beta"].dims == ("node", "predictor")
    assert nodes["correlation"].dims == ("node", "coefficient", "coefficient_other")
    np.testing.assert_allclose(nodes["weight"].sum(), 1.0)
    ess = 1 / np.square(nodes["weight"].values).sum()
    np.testing.assert_allclose(nodes.attrs["ess"], ess)
    mean = float((nodes["weight"] * nodes["eps"]).sum())
    sd = float(tree["posterior"]["eps"].std())
    assert abs(float(tree["posterior"]["eps"].mean()) - mean) < 4 * sd / np.sqrt(4000)
    assert tree.attrs["method"] == "integrate"
    assert tree.attrs["device_reason"] == "computed in NumPy"


def test_seed_and_nodes_fix_the_result():
    one, same, other = (
        fit(line(), method="integrate", nodes=512, seed=seed)["posterior"]["alpha"].values
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_more_effective_nodes_are_taken_where_asked_for():
    few, many = (
        fit(load_radon(), method="integrate", target_ess=target)["nodes"].attrs["ess"]
        for target in (300, 3000)
    )
    assert many >= 3000 > few >= 300


# What is refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"checkpoint": "run"}, r"^Expected no checkpoint with method='integrate', .*'run'"),
        ({"dtype": "float32"}, r"^Expected dtype='float64' with method='integrate', .*'float32'"),
        ({"nodes": 10}, r"^Expected nodes to be an integer of at least 256; got 10"),
        ({"nodes": 512.0}, r"^Expected nodes to be an integer of at least 256; got 512.0"),
        ({"nodes": 512, "method": "marginal"}, r"^Expected nodes only with method='integrate' or"),
        ({"nodes": 512, "method": None}, r"^Expected nodes only with method='integrate' or"),
    ],
)
def test_what_has_no_meaning_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        fit(line(), **{"method": "integrate", **given})


def test_more_slopes_than_can_be_integrated_out_are_refused():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 22))
    data = GroupedData.from_arrays(rows[:, 0], rows[:, 1:], np.repeat(np.arange(6), 10))
    with pytest.raises(ValueError, match=r"^Expected method='noncentered' for 21 slopes .*integra"):
        fit(data, method="integrate")


# The verdict


def hard():
    """Four correlated coefficients in three groups under wide priors: too few nodes find it."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(["a", "b", "c"], 8)})
    for name in ("u", "v", "w"):
        frame[name] = rng.normal(size=24)
    own = rng.normal(size=(3, 4))[np.repeat([0, 1, 2], 8)]
    frame["y"] = own[:, 0] + (own[:, 1:] * frame[["u", "v", "w"]]).sum(axis=1)
    frame["y"] += rng.normal(size=24)
    return GroupedData.from_formula("y ~ u + v + w + (1 + u + v + w | g)", frame)


def test_a_verdict_that_fails_is_said():
    with pytest.warns(DataWarning, match=r"integration over the scales is not reliable"):
        tree = fit(hard(), method="integrate", priors=TUTORIAL, nodes=256)
    diagnosis = diagnose(tree)
    assert not diagnosis.ok
    found = [f for f in diagnosis.findings if "integration over the scales" in f.what]
    assert len(found) == 1
    assert found[0].advice.startswith("method='auto'")
    assert found[0].command.startswith("--method auto")


def test_auto_is_integration_where_that_is_reliable():
    tree = fit(line(), method="auto", seed=8)
    same = fit(line(), method="integrate", seed=8)
    np.testing.assert_array_equal(tree["posterior"]["alpha"], same["posterior"]["alpha"])
    assert tree.attrs["method"] == "integrate"
    assert "method='auto'" in tree.attrs["call"]


@pytest.mark.slow
def test_auto_goes_on_by_nuts_where_it_is_not(tmp_path):
    few = {"draws": 20, "chains": 2, "num_warmup": 20, "progress_bar": False}
    tree = fit(
        hard(),
        method="auto",
        priors=TUTORIAL,
        nodes=256,
        num_advi_steps=0,
        max_tree_depth=3,
        checkpoint=tmp_path / "run",
        **few,
    )
    assert tree.attrs["method"] == "marginal"
    assert "sample_stats" in tree.children
    assert tree.attrs["method_reason"].startswith("the integration over the scales is not reliab")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert "marginal" in json.dumps(manifest)


# Start-up

PROCESS = """
import sys
from radon_numpyro.cli.app import app
sys.argv = ["radon-numpyro", *sys.argv[1:]]
try:
    app()
except SystemExit as end:
    assert end.code == 0, end.code
loaded = [name for name in ("jax.numpy", "numpyro.infer", "arviz_stats.loo", "scipy.stats",
                            "matplotlib.pyplot", "formulaic", "scipy.optimize",
                            "distributed") if name in sys.modules]
print("loaded:", loaded)
"""


@pytest.mark.parametrize("model", ["hierarchical", "individual", "pooled"])
def test_the_whole_process_needs_neither_jax_nor_arviz_statistics(model, tmp_path):
    data = three_counties() if model == "individual" else load_radon()
    labels = np.array(data.labels.groups)[data.group]
    frame = pd.DataFrame({"radon": data.y, "floor": data.x[:, 0], "county": labels})
    frame.to_csv(tmp_path / "radon.csv", index=False)
    formula = "radon ~ floor + (1 + floor || county)"
    options = ["--method", "integrate", "--model", model, "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, "fit", str(tmp_path / "radon.csv"), formula, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("loaded: []\n")
    assert (tmp_path / "fit.nc").exists()
