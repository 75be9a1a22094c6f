"""Groups on demand against densities by hand, and ArviZ's functions that read them."""

from dataclasses import replace
from functools import cache

import arviz as az
import numpy as np
import pytest
import xarray as xr
from fits import TUTORIAL, fit_of_size, towns, towns_fit
from scipy import stats
from scipy.special import logsumexp

from radon_numpyro import GroupStatistics, HalfNormal, Normal, Priors, Uniform, fit, load_radon
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import line, residual_variance
from radon_numpyro.results.arviz_groups import GROUPS, with_groups
from radon_numpyro.results.fit_reader import read_coefficients, read_priors, read_scales

MODELS = ("hierarchical", "individual", "pooled")
each_model = pytest.mark.parametrize("model", MODELS)


def reference(prior):
    """SciPy's distribution of a prior."""
    if isinstance(prior, Uniform):
        return stats.uniform(0, prior.high)
    if isinstance(prior, HalfNormal):
        return stats.halfnorm(scale=prior.scale)
    return stats.norm(prior.loc, prior.scale)


def lines(tree, sites):
    """Line and eps of every row, shape (chains, draws, N), from the sites of a group."""
    data, sites = towns(len(tree["posterior"]["predictor"])), sites.to_dataset().astype(float)
    at = {"town": xr.DataArray(data.group, dims="row")}
    found = {
        name: sites[name].isel(at) if "town" in sites[name].dims else sites[name]
        for name in ("alpha", "beta", "eps")
        if name in sites
    }
    mean = found["alpha"] + xr.DataArray(np.zeros(data.num_rows), dims="row")
    for k in range(data.num_predictors):
        mean = mean + found["beta"][{"predictor": k}] * xr.DataArray(data.x[:, k], dims="row")
    eps = found["eps"] + xr.zeros_like(mean)
    return (v.transpose("chain", "draw", "row").values for v in (mean, eps))


def assert_standard_normal(z):
    """Draw after draw and column after column independent, shape (..., columns)."""
    z = z.reshape(-1, z.shape[-1])
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(z.T) - np.eye(z.shape[1])
    assert np.abs(correlation).max() < 4.5 / np.sqrt(len(z))


# Densities


@pytest.mark.parametrize("num_predictors", [1, 3])
@each_model
def test_log_likelihood_is_the_normal_density_of_each_row(model, num_predictors):
    tree = fit_of_size(model, num_predictors)
    found = with_groups(tree, "log_likelihood")["log_likelihood"]["y"]
    assert found.dims == ("chain", "draw", "row")
    mean, eps = lines(tree, tree["posterior"])
    expected = stats.norm(mean, eps).logpdf(towns(num_predictors).y)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
@each_model
def test_log_prior_is_that_of_the_top_level(model, num_predictors):
    tree = fit_of_size(model, num_predictors)
    found = with_groups(tree, "log_prior")["log_prior"].to_dataset()
    names = {"mu_alpha", "mu_beta", "sigma_alpha", "sigma_beta", "eps"}
    names = names if model == "hierarchical" else {"alpha", "beta", "eps"}
    assert set(found) == {n for n in names if num_predictors or "beta" not in n}
    priors = Priors.weakly_informative(towns(num_predictors))
    for name, values in found.items():
        posterior = tree["posterior"][name]
        assert values.dims == posterior.dims
        expected = reference(getattr(priors, name)).logpdf(posterior)
        np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_log_prior_of_uniform_and_of_slopes_of_their_own():
    priors = replace(TUTORIAL, beta=Normal([0.1, -0.3, 7.0], [0.2, 2.0, 5.0]))
    tree = fit(
        towns(3), model="pooled", priors=priors, draws=50, num_advi_steps=0, progress_bar=False
    )
    found = with_groups(tree, "log_prior")["log_prior"]
    np.testing.assert_allclose(found["eps"], -np.log(100.0))
    expected = reference(priors.beta).logpdf(tree["posterior"]["beta"])
    np.testing.assert_allclose(found["beta"], expected, rtol=1e-12)


def test_statistics_and_summaries_have_a_log_prior_and_no_rows():
    expected = with_groups(towns_fit(), "log_prior")["log_prior"].to_dataset()
    for options in ({"statistics_only": True}, {"coefficients": "summary"}):
        found = with_groups(towns_fit(**options), "log_prior")["log_prior"].to_dataset()
        xr.testing.assert_allclose(found, expected)
    for name in ("prior", "posterior_predictive", "log_likelihood"):
        with pytest.raises(ValueError, match="a fit with rows; got one of statistics only"):
            with_groups(towns_fit(statistics_only=True), name)


# Draws


@each_model
def test_posterior_predictive_scatters_about_the_lines_by_eps(model):
    tree = towns_fit(model)
    found = with_groups(tree, "posterior_predictive", seed=6)["posterior_predictive"]["y"]
    assert found.dims == ("chain", "draw", "row")
    mean, eps = lines(tree, tree["posterior"])
    assert_standard_normal((found.values - mean) / eps)


@each_model
def test_prior_is_that_of_the_model(model):
    tree = with_groups(fit_of_size(model, 3), "prior", "prior_predictive", seed=6)
    prior, priors = tree["prior"].to_dataset(), read_priors(tree)
    assert {n: v.dims for n, v in prior.items()} == {
        n: v.dims for n, v in tree["posterior"].data_vars.items()
    }
    assert prior.sizes == tree["posterior"].to_dataset().sizes
    uniform = {
        name: reference(getattr(priors, name)).cdf(values)
        for name, values in prior.items()
        if model != "hierarchical" or name not in ("alpha", "beta")
    }
    if model == "hierarchical":
        for name in ("alpha", "beta"):
            z = (prior[name] - prior[f"mu_{name}"]) / prior[f"sigma_{name}"]
            uniform[name] = stats.norm.cdf(z.transpose(*prior[name].dims))
    for name, values in uniform.items():
        assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-3, name
    mean, eps = lines(tree, tree["prior"])
    assert_standard_normal((tree["prior_predictive"]["y"].values - mean) / eps)


def test_a_seed_repeats_its_draws_whatever_is_asked_beside_them():
    tree = towns_fit()
    names = ("prior", "posterior_predictive")
    first, other = (with_groups(tree, *GROUPS, seed=s) for s in (3, 4))
    for name in names:
        alone = with_groups(tree, name, seed=3)[name].to_dataset()
        xr.testing.assert_equal(alone, first[name].to_dataset())
        variable = "y" if "y" in alone else "mu_alpha"
        assert not np.isin(alone[variable], other[name][variable]).any()
        assert first[name].attrs["seed"] == 3
    assert not np.isin(first["prior_predictive"]["y"], first["posterior_predictive"]["y"]).any()


# The tree


@pytest.mark.parametrize("num_predictors", [1, 3])
def test_the_fit_itself_is_left_alone_and_groups_have_its_coordinates(num_predictors):
    tree = fit_of_size("hierarchical", num_predictors)
    before = tree.copy(deep=True)
    made = with_groups(tree, *GROUPS)
    assert tree.identical(before)
    assert set(made.children) == set(tree.children) | set(GROUPS)
    for name in tree.children:
        assert made[name].identical(tree[name])
    for name in GROUPS:
        for dim, coordinate in made[name].coords.items():
            of = "observed_data" if dim == "row" else "posterior"
            np.testing.assert_array_equal(coordinate, tree[of][dim])
    again = with_groups(made, "log_prior")
    xr.testing.assert_equal(again["log_prior"].to_dataset(), made["log_prior"].to_dataset())


@pytest.mark.parametrize("num_predictors", [1, 3])
def test_fresh_and_loaded_fits_have_the_same_groups(num_predictors, tmp_path):
    tree = fit_of_size("hierarchical", num_predictors)
    tree.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    loaded = with_groups(xr.load_datatree(tmp_path / "fit.nc", engine="h5netcdf"), *GROUPS)
    made = with_groups(tree, *GROUPS)
    for name in GROUPS:
        xr.testing.assert_equal(loaded[name].to_dataset(), made[name].to_dataset())
    made.to_netcdf(tmp_path / "more.nc", engine="h5netcdf")
    assert xr.load_datatree(tmp_path / "more.nc", engine="h5netcdf").identical(made)


def test_a_fit_in_float32_has_its_groups_in_float64():
    tree = towns_fit(dtype="float32")
    assert tree["posterior"]["alpha"].dtype == np.float32
    made = with_groups(tree, *GROUPS)
    for name in GROUPS:
        assert {v.dtype for v in made[name].data_vars.values()} == {np.dtype(np.float64)}
    mean, eps = lines(tree, tree["posterior"])
    expected = stats.norm(mean, eps).logpdf(towns().y)
    np.testing.assert_allclose(made["log_likelihood"]["y"], expected, rtol=1e-9)


def test_what_cannot_be_had_is_refused():
    with pytest.raises(ValueError, match=r"names among prior, .*; got \['log_lik'\]"):
        with_groups(towns_fit(), "prior", "log_lik")
    with pytest.raises(ValueError, match="got none"):
        with_groups(towns_fit())
    summary = towns_fit(coefficients="summary")
    for name in ("posterior_predictive", "log_likelihood"):
        match = f"were drawn for {name}; got one that summarised them.*coefficients='draws'"
        with pytest.raises(ValueError, match=match):
            with_groups(summary, name)
    with pytest.raises(TypeError, match="an xarray DataTree"):
        with_groups(towns(), "prior")


# ArviZ


def test_leave_one_out_of_arviz_is_that_of_refits():
    """Every row left out in turn, and its density under the draws of that refit."""
    data = towns()
    found = az.loo(with_groups(towns_fit("pooled"), "log_likelihood"), pointwise=True)
    expected = np.empty(data.num_rows)
    for i in range(data.num_rows):
        rest = data.take(np.arange(data.num_rows) != i)
        tree = fit(
            rest,
            model="pooled",
            priors=Priors.weakly_informative(data),
            draws=1000,
            num_advi_steps=0,
            progress_bar=False,
        )
        equations = NormalEquations.from_statistics(GroupStatistics.from_data(rest))
        scales, one = read_scales(tree), slice(i, i + 1)
        mean, variance = line(
            "pooled", equations, read_priors(tree), scales, data.x[one], data.group[one]
        )
        sd = np.sqrt(variance + residual_variance("pooled", scales, data.group[one]))
        expected[i] = logsumexp(stats.norm(mean, sd).logpdf(data.y[i])) - np.log(len(mean))
    assert found.elpd == pytest.approx(expected.sum(), abs=0.3)
    np.testing.assert_allclose(found.elpd_i, expected, atol=0.2)


@cache
def radon_sensitivity(priors):
    tree = fit(load_radon(), priors=PRIORS[priors], method="integrate")
    made = with_groups(tree, "log_prior", "log_likelihood")
    names = ["mu_alpha", "mu_beta", "sigma_alpha", "sigma_beta", "eps"]
    return az.psense_summary(made, var_names=names)


PRIORS = {
    "tutorial": TUTORIAL,
    # Log radon of a house with a basement is 1.5 on the average.
    "wrong mean": replace(TUTORIAL, mu_alpha=Normal(-2.0, 0.1)),
    "wrong scale": replace(TUTORIAL, sigma_beta=HalfNormal(0.02)),
}


def test_the_tutorial_s_flat_priors_do_not_move_the_posterior():
    table = radon_sensitivity("tutorial")
    assert (table["prior"] < 0.01).all()
    assert (table["likelihood"] > 4 * table["prior"].max()).all()


@pytest.mark.filterwarnings("ignore:The prior of mu_alpha, .* almost no probability:UserWarning")
@pytest.mark.parametrize(
    ("priors", "site"), [("wrong mean", "mu_alpha"), ("wrong scale", "sigma_beta[floor]")]
)
def test_a_strong_wrong_prior_is_found_out(priors, site):
    table = radon_sensitivity(priors)
    assert table.loc[site, "prior"] > 0.1
    assert table["prior"].idxmax() == site
    assert "prior" in table.loc[site, "diagnosis"]
    assert table.loc["eps", "prior"] < 0.05


def test_checks_of_the_predictive_draw_their_figure():
    made = with_groups(towns_fit("pooled"), "posterior_predictive", "prior_predictive")
    for group in ("posterior_predictive", "prior_predictive"):
        figure = az.plot_ppc_dist(made, group=group, num_samples=10, backend="none")
        assert figure is not None


def test_densities_agree_with_the_closed_form_on_radon():
    """The likelihood of rows, summed, is that of the statistics the fit was made from."""
    data = load_radon()
    tree = fit(
        data, model="individual", draws=20, num_advi_steps=0, progress_bar=False, priors=TUTORIAL
    )
    found = with_groups(tree, "log_likelihood")["log_likelihood"]["y"].sum("row").values.ravel()
    theta = read_coefficients(tree)
    eps = read_scales(tree)["eps"]
    statistics = GroupStatistics.from_data(data)
    for s in (0, 33, 79):
        squares = statistics.sum_of_squares(theta[s, :, 0], theta[s, :, 1:])
        densities = -0.5 * squares / eps[s] ** 2 - statistics.count * (
            np.log(eps[s]) + 0.5 * np.log(2 * np.pi)
        )
        assert found[s] == pytest.approx(densities.sum(), rel=1e-9)
