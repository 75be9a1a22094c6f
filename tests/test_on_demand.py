"""Groups made on demand: densities by hand, draws by their moments, and what ArviZ says of them."""

import arviz as az
import numpy as np
import pytest
from conftest import draw_unequal_data
from fits import TUTORIAL
from scipy import stats
from test_loo import radon_fit

from radon_numpyro import GroupStatistics, HalfNormal, Normal, Priors, fit, load_radon, with_groups
from radon_numpyro.loo import leave_one_out

ALL = ("prior", "posterior_predictive", "log_likelihood", "log_prior")
SETTINGS = {"draws": 60, "chains": 2, "num_advi_steps": 0, "progress_bar": False}


def line(tree, data):
    """Regression line at each row, shape (chains, draws, N)."""
    posterior = tree["posterior"].to_dataset()
    alpha = posterior["alpha"].values
    pooled = alpha.ndim == 2
    out = alpha[..., None] if pooled else alpha[..., data.group]
    if data.num_predictors:
        beta = posterior["beta"].values
        beta = beta[..., None, :] if pooled else beta[..., data.group, :]
        out = out + (beta * data.x).sum(-1)
    eps = posterior["eps"].values
    return out, eps[..., data.group] if eps.ndim == 3 else eps[..., None]


@pytest.mark.parametrize("num_predictors", [0, 2])
@pytest.mark.parametrize("model", ["hierarchical", "individual", "pooled"])
def test_densities_by_hand(model, num_predictors):
    data = draw_unequal_data(num_predictors)
    priors = Priors.weakly_informative(data)
    before = fit(data, model, priors=priors, **SETTINGS)
    tree = with_groups(before, *ALL)
    mean, eps = line(tree, data)
    expected = stats.norm.logpdf(data.y, mean, eps)
    np.testing.assert_allclose(tree["log_likelihood"]["y"].values, expected, rtol=1e-8)
    posterior = tree["posterior"].to_dataset()
    sites = {"alpha", "beta", "eps"}
    if model == "hierarchical":
        sites = {"mu_alpha", "mu_beta", "sigma_alpha", "sigma_beta", "eps"}
    if num_predictors == 0:
        sites = {name for name in sites if "beta" not in name}
    assert set(tree["log_prior"].data_vars) == sites
    for name in sites:
        prior, draws = getattr(priors, name), posterior[name].values
        if isinstance(prior, Normal):
            density = stats.norm.logpdf(draws, prior.loc, prior.scale)
        else:
            density = stats.halfnorm.logpdf(draws, scale=prior.scale)
        assert tree["log_prior"][name].dims == posterior[name].dims
        np.testing.assert_allclose(tree["log_prior"][name].values, density, rtol=1e-8)
    # The fit itself is left as it was.
    assert not set(ALL) & set(before.children)
    assert tree.attrs == before.attrs
    assert set(tree.children) == {*before.children, *ALL, "prior_predictive"}
    for group in ("posterior_predictive", "prior_predictive", "log_likelihood"):
        assert tree[group]["y"].dims == ("chain", "draw", "row")
        assert tree[group]["y"].shape == (2, 60, data.num_rows)
    for name in posterior.data_vars:
        assert tree["prior"][name].dims == posterior[name].dims


def test_new_measurements_scatter_about_the_lines_of_their_draws():
    data = load_radon()
    tree = with_groups(radon_fit(), "posterior_predictive", seed=3)
    mean, eps = line(tree, data)
    z = (tree["posterior_predictive"]["y"].values - mean) / eps
    assert z.shape == (4, 1000, 919)
    # Independent standard normals: four million of them.
    assert abs(z.mean()) < 4.5 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 4.5 * np.sqrt(2 / z.size)
    other = with_groups(radon_fit(), "posterior_predictive", seed=4)
    again = with_groups(radon_fit(), "posterior_predictive", seed=3)
    same, drawn = (t["posterior_predictive"]["y"].values for t in (again, tree))
    np.testing.assert_array_equal(same, drawn)
    assert (other["posterior_predictive"]["y"].values != drawn).all()


def test_prior_draws_have_the_moments_of_the_prior():
    data = draw_unequal_data(1)
    priors = Priors.weakly_informative(data)
    tree = fit(data, priors=priors, draws=1000, num_advi_steps=0, progress_bar=False)
    prior = with_groups(tree, "prior")["prior"].to_dataset()
    for name in ("mu_alpha", "mu_beta"):
        spec = getattr(priors, name)
        draws = prior[name].values.ravel()
        exact = stats.norm(float(np.ravel(spec.loc)[0]), float(np.ravel(spec.scale)[0]))
        assert stats.kstest(draws, exact.cdf).pvalue > 1e-4
    for name in ("sigma_alpha", "sigma_beta", "eps"):
        scale = float(np.ravel(getattr(priors, name).scale)[0])
        draws = prior[name].values.ravel()
        assert stats.kstest(draws, stats.halfnorm(scale=scale).cdf).pvalue > 1e-4


def test_arviz_flags_a_prior_that_pulls_and_not_one_that_is_flat():
    """A prior on the scales ten times too narrow for the counties, and the tutorial's."""
    narrow = Priors(
        mu_alpha=Normal(0.0, 1e4),
        mu_beta=Normal(0.0, 1e4),
        sigma_alpha=HalfNormal(0.03),
        sigma_beta=HalfNormal(1.0),
        alpha=Normal(0.0, 1e4),
        beta=Normal(0.0, 1e4),
        eps=HalfNormal(1.0),
    )
    names = ["mu_alpha", "mu_beta", "sigma_alpha", "eps"]
    found = {}
    for label, tree in (
        ("flat", radon_fit()),
        ("narrow", fit(load_radon(), priors=narrow, num_advi_steps=0, progress_bar=False)),
    ):
        tree = with_groups(tree, "log_likelihood", "log_prior")
        found[label] = az.psense_summary(tree, var_names=names)["prior"]
    assert (found["flat"].astype(float) < 0.05).all()
    assert float(found["narrow"]["sigma_alpha"]) > 0.05


def test_plain_loo_of_arviz_runs_on_it():
    tree = with_groups(radon_fit("pooled"), "log_likelihood")
    found, exact = az.loo(tree), leave_one_out(radon_fit("pooled"))
    # Three parameters and 919 rows: plain importance sampling is right here, to its noise.
    assert found.elpd == pytest.approx(exact.elpd().value, abs=0.3)
    everything = np.ones(919, dtype=bool)
    assert found.p == pytest.approx(exact.effective_parameters(everything), abs=0.3)


def test_what_it_refuses():
    data = draw_unequal_data(1)
    tree = fit(data, "pooled", **SETTINGS)
    with pytest.raises(ValueError, match=r"names among prior, .*; got 'log_lik' \(close: 'log_li"):
        with_groups(tree, "log_lik")
    bare = fit(GroupStatistics.from_data(data), "pooled", **SETTINGS)
    with pytest.raises(ValueError, match="Expected a fit with rows; got one of statistics only"):
        with_groups(bare, "log_prior")
    summary = fit(data, priors=TUTORIAL, num_warmup=50, coefficients="summary", **SETTINGS)
    with pytest.raises(ValueError, match="draws of the coefficients; got a fit that kept none"):
        with_groups(summary, "log_prior")
