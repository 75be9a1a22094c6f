"""Results of designs other than the tutorial's: columns that do not vary, or vary about 0."""

import numpy as np
import pandas as pd
import pytest
from designs import priors_of, simulated
from scipy import stats

from radon_numpyro import diagnose, fit, load_fit, predict, save_fit, with_groups
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_data, read_statistics
from radon_numpyro.results.prediction import predictive_draws
from radon_numpyro.results.summary import group_table, parameter_table

DESIGNS = {
    "columns that do not vary": {},
    "only the intercept varies": {"slopes": (), "fixed": ("age",)},
    "slopes without a mean": {"slopes": ("dose", "time"), "without_mean": ("dose",)},
    "the intercept does not vary": {"intercept": "fixed", "fixed": ()},
    "nothing has a mean": {"intercept": "varying", "without_mean": ("dose",), "fixed": ()},
}
SITES = {
    "columns that do not vary": {
        "mu_alpha": [], "sigma_alpha": [], "mu_beta": ["predictor"], "sigma_beta": ["predictor"],
        "alpha": ["g"], "beta": ["g", "predictor"], "gamma": ["fixed"], "eps": [],
    },
    "only the intercept varies": {
        "mu_alpha": [], "sigma_alpha": [], "alpha": ["g"], "gamma": ["fixed"], "eps": [],
    },
    "slopes without a mean": {
        "mu_alpha": [], "sigma_alpha": [], "mu_beta": ["mean_slope"], "sigma_beta": ["predictor"],
        "alpha": ["g"], "beta": ["g", "predictor"], "gamma": ["fixed"], "eps": [],
    },
    "the intercept does not vary": {
        "mu_beta": ["predictor"], "sigma_beta": ["predictor"], "beta": ["g", "predictor"],
        "gamma": ["fixed"], "eps": [],
    },
    "nothing has a mean": {
        "sigma_alpha": [], "sigma_beta": ["predictor"], "alpha": ["g"],
        "beta": ["g", "predictor"], "eps": [],
    },
}  # fmt: skip
BRIEF = {"draws": 200, "chains": 2, "num_warmup": 200, "num_advi_steps": 0, "progress_bar": False}


@pytest.fixture(
    scope="module", params=["integrate", pytest.param("marginal", marks=pytest.mark.slow)]
)
def trees(request):
    made = {}
    for name, options in DESIGNS.items():
        data = simulated(**options)
        priors = priors_of(data.labels.design)
        for model in ("hierarchical", "pooled"):
            if model == "pooled" and not data.labels.design.population:
                continue
            method = {"method": request.param} if model == "hierarchical" else {}
            made[name, model] = fit(data, model=model, priors=priors, **method, **BRIEF)
    return made


def line_of(tree, name, rows):
    """Draws (S, R) of the line at rows of the fit's own data, from the sites by hand."""
    data, posterior = read_data(tree), tree["posterior"].to_dataset()
    design, pooled = data.labels.design, tree.attrs["model"] == "pooled"
    stack = {
        site: posterior[site].stack(sample=("chain", "draw")).transpose("sample", ...).values
        for site in posterior
    }
    column = dict(zip(design.predictors, data.x[rows].T, strict=True))
    column[INTERCEPT] = np.ones(len(rows))
    line = np.zeros((400, len(rows)))
    code = data.group[rows]
    for p, x in enumerate(design.slopes):
        if not pooled:
            line += stack["beta"][:, code, p] * column[x]
        elif x in design.means:
            line += stack["beta"][:, [design.means.index(x)]] * column[x]
    if "alpha" in stack:
        line += stack["alpha"][:, None] if pooled else stack["alpha"][:, code]
    for k, x in enumerate(design.fixed):
        line += stack["gamma"][:, [k]] * column[x]
    return line


@pytest.mark.parametrize("name", SITES)
def test_sites_have_the_dimensions_of_the_design(trees, name):
    """A reader of the tree finds each coefficient under its own name."""
    posterior, design = (
        trees[name, "hierarchical"]["posterior"],
        simulated(**DESIGNS[name]).labels.design,
    )
    found = {site: list(values.dims[2:]) for site, values in posterior.items()}
    assert found == SITES[name]
    names = {"predictor": design.slopes, "fixed": design.fixed, "mean_slope": design.means}
    for dim in {dim for dims in found.values() for dim in dims} - {"g"}:
        assert posterior[dim].values.tolist() == list(names[dim])


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("model", ["hierarchical", "pooled"])
def test_predictions_are_those_of_the_coefficients(trees, name, model):
    """Mean of the lines of known groups, by hand, within the noise of drawn coefficients."""
    if (name, model) not in trees:
        pytest.skip("a pooled model without any coefficient")
    tree = trees[name, model]
    data, rows = read_data(tree), np.arange(0, 72, 7)
    frame = data.to_frame().iloc[rows]
    table = predict(tree, frame, kind="mean")
    line = line_of(tree, name, rows)
    error = 5.0 * line.std(0) / np.sqrt(200) + 1e-9
    assert (np.abs(table["mean"] - line.mean(0)) < error).all()
    assert (np.abs(table["sd"] / line.std(0) - 1.0) < 0.35).all()
    drawn = predictive_draws(tree, frame, kind="mean")["predictions"]["mean"]
    np.testing.assert_allclose(drawn.values.reshape(400, -1), line, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", DESIGNS)
def test_a_group_not_seen_is_as_wide_as_the_population(trees, name):
    """Draws of two routes: the closed form, and draws of the deviations."""
    tree = trees[name, "hierarchical"]
    frame = (
        read_data(tree).to_frame().iloc[:3].astype({"g": object}).assign(g=["new", "new", "other"])
    )
    table = predict(tree, frame, kind="mean", new_groups="population")
    drawn = predictive_draws(tree, frame, kind="mean", new_groups="population")
    values = drawn["predictions"]["mean"].values.reshape(400, -1)
    assert (np.abs(table["mean"] - values.mean(0)) < 5.0 * values.std(0) / np.sqrt(200)).all()
    assert (np.abs(table["sd"] / values.std(0) - 1.0) < 0.35).all()


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("model", ["hierarchical", "pooled"])
def test_a_file_gives_back_the_fit_and_its_tables(trees, name, model, tmp_path):
    if (name, model) not in trees:
        pytest.skip("a pooled model without any coefficient")
    tree = trees[name, model]
    loaded = load_fit(save_fit(tree, tmp_path / "fit.nc"))
    assert loaded.identical(tree)
    design = read_statistics(loaded).labels.design
    assert design == simulated(**DESIGNS[name]).labels.design
    table = parameter_table(loaded, diagnose(loaded), 0.9)
    assert np.isfinite(table[["mean", "sd"]]).all(axis=None)
    for column in design.fixed:
        assert f"gamma[{column}]" in table.index
    groups = group_table(loaded, 0.9)
    expected = [c for c in design.varying if model == "hierarchical" or c in design.population]
    assert len(groups) == len(expected) * (12 if model == "hierarchical" else 1)
    assert np.isfinite(Numbers(loaded, 0.9).displayed["posterior"]["eps"]).all()


@pytest.mark.parametrize("name", DESIGNS)
def test_densities_on_demand_are_those_of_the_rows(trees, name):
    """Of each row the Normal about its line; of gamma its prior."""
    tree = trees[name, "hierarchical"]
    data = read_data(tree)
    made = with_groups(tree, "log_likelihood", "log_prior", "prior_predictive")
    eps = tree["posterior"]["eps"].values.reshape(400, 1)
    expected = stats.norm.logpdf(data.y, line_of(tree, name, np.arange(72)), eps)
    found = made["log_likelihood"]["y"].values.reshape(400, 72)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    if data.labels.design.fixed:
        prior = priors_of(data.labels.design).gamma
        draws = tree["posterior"]["gamma"].values
        expected = stats.norm.logpdf(draws, prior.loc, prior.scale)
        np.testing.assert_allclose(made["log_prior"]["gamma"], expected, rtol=1e-10)
    assert made["prior_predictive"]["y"].shape == (2, 200, 72)


def test_the_line_in_the_average_and_in_another_group(trees):
    """A line at any row: fixed columns move the mean, not the spread between groups."""
    numbers = Numbers(trees["columns that do not vary", "hierarchical"], 0.9)
    posterior = numbers.tree["posterior"]
    average, other = numbers.of_population(np.array([1.0, 2.0, -1.0, 0.5]))
    mean = posterior["mu_alpha"] + 2.0 * posterior["mu_beta"][..., 0]
    mean = mean - posterior["gamma"][..., 0] + 0.5 * posterior["gamma"][..., 1]
    assert average.mean == pytest.approx(float(mean.mean()), rel=1e-9)
    variance = posterior["sigma_alpha"] ** 2 + 4.0 * posterior["sigma_beta"][..., 0] ** 2
    assert other.sd**2 == pytest.approx(float(variance.mean() + mean.var()), rel=1e-9)


def test_predictions_have_the_offset_of_the_new_rows():
    """Without it they would be of a difference that nobody asked for."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=80), "z": rng.uniform(50.0, 150.0, 80)})
    frame["y"] = frame["z"] + 2.0 * frame["x"] + rng.normal(size=80)
    frame["g"] = np.arange(80) % 8
    tree = fit("y ~ x + offset(z) + (1 | g)", frame, method="integrate", draws=200, chains=2)
    table = predict(tree, frame, kind="mean")
    assert np.abs(table["mean"] - frame["z"] - 2.0 * frame["x"]).max() < 3.0
    moved = predict(tree, frame.assign(z=frame["z"] + 10.0), kind="mean")
    for column in ("mean", "lower", "upper"):
        np.testing.assert_allclose(moved[column], table[column] + 10.0, rtol=1e-12)
    drawn = predictive_draws(tree, frame, kind="mean")["predictions"]["mean"]
    assert np.abs(drawn.mean(("chain", "draw")) - table["mean"].to_numpy()).max() < 0.5
    with pytest.raises(ValueError, match="'z'"):
        predict(tree, frame.drop(columns="z"))
