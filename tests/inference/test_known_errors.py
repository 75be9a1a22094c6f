"""Fits of rows with weights or known standard errors: posteriors, sites, routes and refusals."""

from dataclasses import replace

import arviz_stats
import numpy as np
import numpyro
import pandas as pd
import pytest
from designs import priors_of, simulated
from numpyro.infer.util import log_density
from scipy import stats

from radon_numpyro import (
    GroupedData,
    GroupStatistics,
    HalfNormal,
    Priors,
    diagnose,
    fit,
    load_fit,
    predict,
    resume,
    save_fit,
    simulate,
)
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.advi.guide import fit_advi
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
from radon_numpyro.model.models import MODELS
from radon_numpyro.results.fit_reader import read_data, read_statistics

# Coaching for the SAT in eight schools (Rubin 1981, doi:10.3102/10769986006004377).
EFFECTS = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
ERRORS = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]
FORMULA = "effect | se(error) ~ (1 | school)"
FEW = {"draws": 100, "num_warmup": 200, "num_advi_steps": 0, "progress_bar": False}


def schools():
    return pd.DataFrame({"effect": EFFECTS, "error": ERRORS, "school": [*"ABCDEFGH"]})


def weighted(data, by="weights", seed=0):
    values = 10.0 ** np.random.default_rng(seed).uniform(-1, 1, data.num_rows)
    labels = replace(data.labels, design=replace(data.labels.design, **{by: "w"}))
    return replace(data, labels=labels, **{by: values})


@pytest.fixture(scope="module")
def tree():
    settings = {"priors": Priors.tutorial(), "draws": 2000, "num_advi_steps": 0}
    return fit(FORMULA, schools(), progress_bar=False, **settings)


@pytest.fixture(scope="module")
def integrated():
    priors = Priors.tutorial()
    return fit(FORMULA, schools(), priors=priors, draws=4000, method="integrate")


# Posterior means and sds under the tutorial's priors, by importance sampling of the dense Normal
# over the rows, with 7460 effective draws.
REFERENCE = {"mu_alpha": (7.936, 5.199), "sigma_alpha": (6.575, 5.638)}


@pytest.mark.parametrize("route", ["tree", "integrated"])
def test_the_posterior_of_eight_schools_is_that_of_brute_force(route, request):
    found = request.getfixturevalue(route)
    assert diagnose(found).ok, str(diagnose(found))
    for name, (mean, sd) in REFERENCE.items():
        draws = found["posterior"][name]
        ess = float(arviz_stats.ess(draws))
        if route == "integrated":
            ess = min(ess, float(found["nodes"].attrs["ess"]))
        share = np.hypot(1 / np.sqrt(ess), 1 / np.sqrt(7460))
        assert abs(float(draws.mean()) - mean) < 4 * sd * share, name
        # Of a standard deviation the error is larger where the tail is heavy.
        fourth = float(stats.kurtosis(draws.values.ravel(), fisher=False))
        assert abs(float(draws.std()) / sd - 1) < 4 * np.sqrt((fourth - 1) / 4) * share, name


def test_there_is_no_residual_sd_where_the_errors_are_known(tree, integrated):
    for found in (tree, integrated):
        assert set(found["posterior"].data_vars) == {"mu_alpha", "sigma_alpha", "alpha"}
        np.testing.assert_array_equal(found["constant_data"]["se"], ERRORS)
    assert not {"eps", "eps_log"} & set(tree["advi/means"].data_vars)
    with pytest.raises(ValueError, match=r"Expected the name of a coefficient.*got 'eps'"):
        fit(FORMULA, schools(), priors={"eps": HalfNormal(1.0)}, **FEW)


def test_effects_are_drawn_to_their_mean_by_as_much_as_their_errors_say(tree):
    """Given the scales the mean of a school is a weighted mean of its effect and of mu."""
    posterior = tree["posterior"].to_dataset()
    mu, tau = (posterior[name].values[..., None] for name in ("mu_alpha", "sigma_alpha"))
    share = tau**2 / (tau**2 + np.array(ERRORS) ** 2)
    expected = (share * np.array(EFFECTS) + (1 - share) * mu).mean((0, 1))
    # The draws about these means are independent.
    error = np.sqrt((share * np.array(ERRORS) ** 2).mean((0, 1)) / (4 * 2000))
    found = posterior["alpha"].mean(("chain", "draw")).values
    assert (np.abs(found - expected) < 5 * error).all()


@pytest.mark.parametrize("by", ["weights", "se"])
@pytest.mark.parametrize("model", MODELS)
def test_the_model_has_one_density_on_rows_and_on_statistics(by, model, x64):
    """Rows by NumPyro's Normal; the sites of the model are those that it declares."""
    fixed = () if model == "individual" else ("age",)
    data = weighted(simulated(5, 4, fixed=fixed), by)
    of, priors = MODELS[model], priors_of(data.labels.design)
    trace = numpyro.handlers.trace(numpyro.handlers.seed(of.function, 3)).get_trace(data, priors)
    latent = {
        name: site["value"]
        for name, site in trace.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
    assert set(latent) == set(of.sites(data.labels.design))
    assert ("eps" in latent) == (by == "weights")
    of_rows = log_density(of.function, (data, priors), {}, latent)[0]
    statistics = GroupStatistics.from_data(data)
    np.testing.assert_allclose(
        log_density(of.function, (statistics, priors), {}, latent)[0], of_rows, rtol=1e-11
    )
    y = trace["y"]["fn"]
    weight = data.weights if by == "weights" else data.se**-2.0
    eps = np.asarray(latent.get("eps", 1.0))
    eps = eps[data.group] if eps.ndim else eps
    np.testing.assert_allclose(y.scale, eps / np.sqrt(weight))


@pytest.mark.parametrize("by", ["weights", "se"])
@pytest.mark.parametrize("model", MODELS)
def test_the_guide_starts_with_the_sites_of_the_model(by, model):
    fixed = () if model == "individual" else ("age",)
    data = weighted(simulated(8, 5, fixed=fixed), by)
    guide = fit_advi(data, model, num_steps=0, progress_bar=False)
    assert set(guide.means) >= set(MODELS[model].sites(data.labels.design))
    assert all(np.isfinite(values).all() for values in guide.means.values())


def test_weights_twice_as_large_double_the_residual_variance_in_the_posterior():
    """Under flat priors, which do not know the unit of eps; and nothing else changes."""
    data = weighted(simulated(12, 6))
    double = replace(data, weights=2.0 * data.weights)
    found = [
        integrate_scales(
            NormalEquations.from_statistics(GroupStatistics.from_data(d)), Priors.flat(), nodes=4096
        ).moments()
        for d in (data, double)
    ]
    for name in found[0]:
        factor = np.sqrt(2.0) if name == "eps" else 1.0
        for one, other in zip(found[0][name], found[1][name], strict=True):
            np.testing.assert_allclose(other, factor * one, rtol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["centered", "noncentered"])
@pytest.mark.parametrize("by", ["weights", "se"])
def test_every_method_has_the_posterior_of_the_integration(by, method):
    data = weighted(simulated(20, 8, fixed=()), by)
    priors = Priors.weakly_informative(data)
    found = fit(
        data, method=method, priors=priors, draws=1500, num_advi_steps=0, progress_bar=False
    )
    exact = integrate_scales(read_equations(data), priors).moments()
    for name in found["posterior"].data_vars:
        if name not in exact:
            continue
        draws = found["posterior"][name]
        mean, sd = exact[name]
        ess = arviz_stats.ess(draws).to_numpy()
        assert (np.abs(draws.mean(("chain", "draw")) - mean) < 5 * sd / np.sqrt(ess)).all(), name


def read_equations(data):
    return NormalEquations.from_statistics(GroupStatistics.from_data(data))


def test_models_without_a_population_have_the_conjugate_posterior_of_known_errors():
    """Normal outcomes with known scatter and Normal priors: mean and covariance in closed form."""
    data = weighted(simulated(4, 6, fixed=()), "se")
    priors = priors_of(data.labels.design)
    columns = np.column_stack([np.ones(data.num_rows), data.x])
    loc = np.append(priors.alpha.loc, priors.beta.loc)
    sd = np.append(priors.alpha.scale, priors.beta.scale)
    for model in ("pooled", "individual"):
        found = fit(
            data, model=model, priors=priors, draws=4000, num_advi_steps=0, progress_bar=False
        )["posterior"]
        assert "eps" not in found
        for c in range(4):
            rows = np.full(data.num_rows, True) if model == "pooled" else data.group == c
            z, w = columns[rows], data.se[rows] ** -2.0
            cov = np.linalg.inv(z.T @ (w[:, None] * z) + np.diag(sd**-2.0))
            mean = cov @ (z.T @ (w * data.y[rows]) + loc / sd**2)
            where = {} if model == "pooled" else {"g": c}
            alpha, beta = found["alpha"].isel(where), found["beta"].isel(where)
            drawn = np.column_stack([alpha.values.ravel(), beta.values.ravel()])
            error = np.sqrt(np.diag(cov) / len(drawn))
            assert (np.abs(drawn.mean(0) - mean) < 5 * error).all()
            np.testing.assert_allclose(np.cov(drawn.T), cov, rtol=0.15)


def test_a_fit_comes_back_from_its_file_with_its_weights(tmp_path):
    for by in ("weights", "se"):
        data = weighted(simulated(5, 4), by)
        found = fit(data, method="integrate", draws=50)
        loaded = load_fit(save_fit(found, tmp_path / f"{by}.nc"))
        again = read_data(loaded)
        np.testing.assert_array_equal(getattr(again, by), getattr(data, by))
        assert again.labels.design == data.labels.design
        assert again.fingerprint() == data.fingerprint() == loaded.attrs["data_fingerprint"]
        statistics = GroupStatistics.from_data(data)
        np.testing.assert_array_equal(read_statistics(loaded).log_weight, statistics.log_weight)


@pytest.mark.parametrize("of", ["rows", "statistics"])
def test_a_fit_goes_on_from_its_checkpoint_with_its_weights(of, tmp_path):
    data = weighted(simulated(5, 5, fixed=()))
    data = data if of == "rows" else GroupStatistics.from_data(data)
    whole = fit(data, **FEW)
    begun = fit(data, **FEW | {"draws": 50}, checkpoint=tmp_path / "run")
    assert begun["posterior"].sizes["draw"] == 50
    more = resume(tmp_path / "run", draws=100, progress_bar=False)
    np.testing.assert_array_equal(more["posterior"]["eps"], whole["posterior"]["eps"])
    other = weighted(simulated(5, 5, fixed=()), seed=9)
    with pytest.raises(ValueError, match="fingerprint"):
        fit(other, **FEW, checkpoint=tmp_path / "run")


def test_a_new_outcome_scatters_by_its_own_weight_or_error():
    for by in ("weights", "se"):
        data = weighted(simulated(6, 5), by)
        found = fit(data, method="integrate", draws=200)
        new = data.to_frame().head(2).assign(w=[0.5, 8.0])
        line, row = (predict(found, new, kind=kind)["sd"] ** 2 for kind in ("mean", "outcome"))
        nodes = found["nodes"]
        noise = 1.0 if by == "se" else float((nodes["weight"] * nodes["eps"] ** 2).sum())
        weight = new["w"] if by == "weights" else new["w"] ** -2.0
        np.testing.assert_allclose(row - line, noise / weight, rtol=1e-10)
        without = new.drop(columns="w")
        assert predict(found, without, kind="mean")["sd"].notna().all()
        with pytest.raises(ValueError, match=f"one column 'w' .{by}. in the new rows for kind='ou"):
            predict(found, without)
        with pytest.raises(ValueError, match=f"'w' .{by}. to be above 0; got 1 row"):
            predict(found, new.assign(w=[0.0, 1.0]))


def test_formulas_and_keywords_name_the_same_errors():
    by_formula = GroupedData.from_formula(FORMULA, schools())
    named = GroupedData.from_formula("effect ~ (1 | school)", schools(), se="error")
    columns = GroupedData.from_frame(schools(), y="effect", group="school", se="error")
    for data in (by_formula, named, columns):
        np.testing.assert_array_equal(data.se, ERRORS)
        assert data.labels.formula == "effect | se(error) ~ 1 + (1 | school)"
    with pytest.raises(TypeError, match="Expected a formula before a data frame and its weights"):
        fit(named, weights="error")


def test_simulated_rows_scatter_by_their_weights():
    settings = {"num_groups": 4, "rows_per_group": 3000, "mu_alpha": 0.0, "mu_beta": 0.0}
    settings |= {"sigma_alpha": 0.0, "sigma_beta": 0.0, "eps": 2.0, "seed": 1}
    weights = np.tile([0.25, 1.0, 16.0], 4000)
    data = simulate(**settings, weights=weights).data
    np.testing.assert_array_equal(data.weights, weights)
    for w in (0.25, 1.0, 16.0):
        sd = data.y[weights == w].std()
        assert abs(sd / (2.0 / np.sqrt(w)) - 1.0) < 5 / np.sqrt(2 * 4000)
    with pytest.raises(ValueError, match="Expected weights to be above 0; got 1 of 0"):
        simulate(**settings, weights=np.append(np.zeros(1), np.ones(11999)))


def test_simulated_rows_scatter_by_their_known_errors():
    settings = {"num_groups": 4, "rows_per_group": 3000, "mu_alpha": 0.0, "mu_beta": 0.0}
    settings |= {"sigma_alpha": 0.0, "sigma_beta": 0.0, "seed": 1}
    se = np.tile([0.25, 1.0, 16.0], 4000)
    simulation = simulate(**settings, se=se)
    data = simulation.data
    assert (data.labels.design.se, data.labels.design.weights) == ("se", "")
    assert simulation.eps == 1.0
    for s in (0.25, 1.0, 16.0):
        assert abs(data.y[se == s].std() / s - 1.0) < 5 / np.sqrt(2 * 4000)
    with pytest.raises(ValueError, match="Expected eps, with or without weights, or se; got none"):
        simulate(**settings)
    for others in ({"eps": 1.0}, {"weights": se}, {"eps": 1.0, "weights": se}):
        with pytest.raises(ValueError, match=f"or se; got {' and '.join(others)} and se"):
            simulate(**settings, se=se, **others)


# One study, or one row, is far more precise than all others.
PRECISE = pd.DataFrame(
    {
        "school": [*"ABCDEFGH"],
        "effect": [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0],
        "error": [0.001, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0],
    }
)


def test_one_precise_row_does_not_decide_on_the_default_priors():
    """Scaled by weighted moments, they would say that all studies have its effect."""
    data = GroupedData.from_formula("effect | se(error) ~ (1 | school)", PRECISE)
    priors = Priors.weakly_informative(data)
    y = PRECISE["effect"]
    assert priors.mu_alpha.loc == pytest.approx(y.mean(), rel=1e-12)
    assert priors.mu_alpha.scale == pytest.approx(2.5 * y.std(ddof=0), rel=1e-12)
    assert priors.sigma_alpha.scale == pytest.approx(y.std(ddof=0), rel=1e-12)
    tree = fit(data, method="integrate")
    assert tree.attrs["findings"] == "[]"
    assert 8.0 < float(tree["posterior"]["mu_alpha"].mean()) < 15.0
    assert float(tree["posterior"]["sigma_alpha"].mean()) > 8.0


def test_default_priors_of_weights_within_groups():
    """Each group counts by its rows, and eps is that of a row of weight 1."""
    rng = np.random.default_rng(3)
    rows = pd.DataFrame({"g": np.repeat([*"abcdef"], 5), "x": rng.normal(2.0, 3.0, 30)})
    rows["y"] = rng.normal(5.0, 2.0, 30)
    rows["w"] = np.repeat(rng.uniform(0.5, 2.0, 6), 5)
    rows.loc[rows.g == "a", "w"] = 1e8
    priors = Priors.weakly_informative(
        GroupedData.from_formula("y ~ x + (x || g)", rows, weights="w")
    )
    sd_y, sd_x = rows.y.std(ddof=0), rows.x.std(ddof=0)
    assert priors.sigma_beta.scale == pytest.approx([sd_y / sd_x], rel=1e-9)
    assert priors.mu_alpha.loc == pytest.approx(rows.y.mean(), rel=1e-9)
    assert priors.eps.scale == pytest.approx(sd_y * np.exp(np.log(rows.w).mean() / 2), rel=1e-9)
