"""Fits of correlated coefficients: the posterior, its guide, and what is refused."""

from dataclasses import replace
from pathlib import Path

import arviz_stats
import jax
import numpy as np
import pandas as pd
import pytest
from arviz_stats.base.array import array_stats
from numpyro.infer import MCMC, NUTS
from scipy import stats

from radon_numpyro import LKJ, GroupedData, Priors, diagnose, fit, simulate
from radon_numpyro.inference.settings import choose_method
from radon_numpyro.model.regressions import hierarchical

SLEEP = Path(__file__).parents[1] / "cases/sleepstudy.csv"
FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleepstudy():
    return pd.read_csv(SLEEP)


@pytest.fixture(scope="module")
def tree(sleepstudy):
    priors = Priors.tutorial()
    return fit(FORMULA, sleepstudy, priors=priors, draws=2000, num_advi_steps=0, progress_bar=False)


# Posterior means and sds under the tutorial's priors, by importance sampling of the dense Normal
# over the rows, with 5762 effective draws.
REFERENCE = {
    "sigma_alpha": (27.381, 7.138),
    "sigma_beta": (6.587, 1.536),
    "correlation": (0.083, 0.302),
    "eps": (25.926, 1.561),
}


def test_the_posterior_of_sleepstudy_is_that_of_brute_force(tree):
    diagnosis = diagnose(tree)
    assert diagnosis.ok, str(diagnosis)
    posterior = tree["posterior"].to_dataset()
    for name, (mean, sd) in REFERENCE.items():
        draws = posterior[name]
        if name == "correlation":
            draws = draws.sel(coefficient="Intercept", coefficient_other="Days")
        draws = draws.squeeze(drop=True)
        ess = float(arviz_stats.ess(draws))
        error = sd * np.hypot(1 / np.sqrt(ess), 1 / np.sqrt(5762))
        assert abs(float(draws.mean()) - mean) < 4 * error, name
        # Of a standard deviation the error is larger where the tail is heavy.
        fourth = float(stats.kurtosis(draws.values.ravel(), fisher=False))
        relative = np.sqrt((fourth - 1) / 4) * np.hypot(1 / np.sqrt(ess), 1 / np.sqrt(5762))
        assert abs(float(draws.std()) / sd - 1) < 4 * relative, name


def test_the_matrix_is_a_correlation_matrix_in_every_draw(tree):
    matrices = tree["posterior"]["correlation"].values.reshape(-1, 2, 2)
    np.testing.assert_allclose(np.diagonal(matrices, axis1=1, axis2=2), 1.0, atol=1e-14)
    np.testing.assert_array_equal(matrices, matrices.swapaxes(1, 2))
    assert np.linalg.eigvalsh(matrices).min() > 0
    assert (tree["posterior"]["sigma_alpha"] >= 0).all()


@pytest.mark.slow
def test_the_model_as_written_has_the_posterior_of_the_integration():
    """NumPyro's own NUTS on the public model function, three coefficients that correlate."""
    matrix = [[1.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 1.0]]
    simulation = simulate(
        num_groups=12,
        rows_per_group=10,
        mu_alpha=1.0,
        mu_beta=[0.5, -1.0],
        sigma_alpha=1.0,
        sigma_beta=[0.8, 1.2],
        eps=0.7,
        seed=1,
        correlation=matrix,
    )
    data = simulation.data
    priors = Priors.weakly_informative(data)
    tree = fit(data, draws=2000, method="integrate")
    with jax.enable_x64(True):
        sampler = MCMC(
            NUTS(hierarchical, target_accept_prob=0.9),
            num_warmup=500,
            num_samples=1000,
            num_chains=2,
            chain_method="vectorized",
            progress_bar=False,
        )
        sampler.run(jax.random.key(0), data, priors)
        written = sampler.get_samples(group_by_chain=True)
    posterior = tree["posterior"].to_dataset()
    for name in ("mu_alpha", "mu_beta", "sigma_alpha", "sigma_beta", "correlation", "eps"):
        ours = posterior[name].values.reshape(4, 2000, -1)
        theirs = np.asarray(written[name]).reshape(2, 1000, -1)
        for k in range(ours.shape[-1]):
            if ours[..., k].std() < 1e-12:
                continue
            pair = ours[..., k], theirs[..., k]
            squares = [d.var() / array_stats.ess(d, chain_axis=0, draw_axis=1) for d in pair]
            error = np.sqrt(sum(squares))
            assert abs(ours[..., k].mean() - theirs[..., k].mean()) < 4.5 * error, (name, k)


@pytest.mark.parametrize("method", ["marginal", "integrate"])
def test_a_concentration_far_above_one_draws_the_correlation_to_zero(sleepstudy, method):
    """And the name by which a prior of it is given."""
    if method == "integrate":
        settings = {"priors": {"correlation": LKJ(200.0)}}
    else:
        priors = replace(Priors.tutorial(), correlation=LKJ(200.0))
        settings = {"priors": priors, "num_advi_steps": 0}
    tree = fit(FORMULA, sleepstudy, method=method, draws=250, progress_bar=False, **settings)
    draws = tree["posterior"]["correlation"].values[..., 0, 1]
    assert abs(draws.mean()) < 0.05
    assert draws.std() == pytest.approx(1 / np.sqrt(401), rel=0.25)


@pytest.mark.slow
def test_the_guide_has_moments_of_the_matrix(sleepstudy):
    settings = {"priors": Priors.tutorial(), "draws": 50, "num_advi_steps": 1000}
    tree = fit(FORMULA, sleepstudy, progress_bar=False, **settings)
    means, sds = (tree[f"advi/{part}"]["correlation"] for part in ("means", "sds"))
    assert means.dims == ("coefficient", "coefficient_other")
    np.testing.assert_allclose(np.diagonal(means), 1.0)
    np.testing.assert_allclose(means, means.T)
    assert abs(float(means[0, 1])) < 1
    assert 0 < float(sds[0, 1]) < 1


@pytest.mark.parametrize("method", ["centered", "noncentered"])
def test_other_methods_are_refused(sleepstudy, method):
    with pytest.raises(
        ValueError, match=f"method='marginal' or 'integrate', the only ones.*got method='{method}'"
    ):
        fit(FORMULA, sleepstudy, method=method)


def test_very_many_correlated_slopes_are_refused_with_what_to_write():
    from radon_numpyro.data.design import Design

    design = Design.all_varying(tuple(f"x{k}" for k in range(21)), correlated=True)
    with pytest.raises(ValueError, match=r"at most 20 slopes.*got 21. Write \|\|"):
        choose_method("hierarchical", None, design)


def test_columns_by_name_are_the_formula(sleepstudy):
    by_name = GroupedData.from_frame(
        sleepstudy, y="Reaction", x="Days", group="Subject", correlated=True
    )
    by_formula = GroupedData.from_formula(FORMULA, sleepstudy)
    assert by_name.labels == by_formula.labels
    assert by_name.fingerprint() == by_formula.fingerprint()
    independent = GroupedData.from_frame(sleepstudy, y="Reaction", x="Days", group="Subject")
    assert independent.fingerprint() != by_name.fingerprint()


def test_simulated_coefficients_have_the_correlations_asked_for():
    matrix = np.array([[1.0, 0.8], [0.8, 1.0]])
    one = dict(
        num_groups=4000,
        rows_per_group=1,
        mu_alpha=1.0,
        mu_beta=2.0,
        sigma_alpha=3.0,
        sigma_beta=0.5,
        eps=1.0,
        seed=0,
    )
    simulation = simulate(**one, correlation=0.8)
    found = np.corrcoef(simulation.alpha, simulation.beta[:, 0])
    np.testing.assert_allclose(found, matrix, atol=4 * (1 - 0.64) / np.sqrt(4000))
    assert simulation.alpha.std() == pytest.approx(3.0, rel=0.05)
    np.testing.assert_array_equal(simulate(**one, correlation=matrix).alpha, simulation.alpha)
    assert simulation.data.labels.design.correlated == (("Intercept", "x1"),)
    for wrong in (1.2, [[1.0, 0.5], [0.4, 1.0]], np.eye(3)):
        with pytest.raises(ValueError, match="Expected correlation to be a correlation matrix"):
            simulate(**one, correlation=wrong)
