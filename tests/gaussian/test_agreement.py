"""Every method against one answer: the posterior of the radon scales on a dense grid."""

import numpy as np
import pytest
from benchmarks.reference import radon_moments, regression_moments
from fits import TUTORIAL, assert_moments, radon_advi, three_counties

from radon_numpyro.data.radon import load_radon
from radon_numpyro.inference.nuts.sampler import sample_nuts
from radon_numpyro.pipeline import fit


@pytest.fixture(scope="module")
def exact():
    data = load_radon()
    return radon_moments(data.y, data.x[:, 0].astype(int), data.group)


def test_the_grid_gives_the_published_reference(exact):
    reference = {
        "mu_alpha": (1.4920, 0.0511),
        "mu_beta": (-0.6485, 0.0822),
        "sigma_alpha": (0.3250, 0.0454),
        "sigma_beta": (0.2595, 0.1290),
        "eps": (0.7206, 0.0181),
    }
    for name, moments in reference.items():
        assert exact[name] == pytest.approx(moments, abs=6e-5), name


def test_exact_draws_agree_with_the_quadrature_of_one_group():
    """CASS too, whose slope is its prior."""
    data = three_counties()
    settings = {"priors": TUTORIAL, "num_advi_steps": 0, "draws": 5000, "progress_bar": False}
    drawn = fit(data, model="individual", **settings)["posterior"].to_dataset()
    for code in range(3):
        rows = data.group == code
        exact = regression_moments(data.y[rows], data.x[rows, 0])
        for name, (mean, sd) in exact.items():
            assert_moments(drawn[name].values[:, :, code].reshape(4, 5000), mean, sd)


@pytest.mark.parametrize("method", ["marginal", "noncentered"])
def test_hierarchical_methods_agree_with_the_grid(exact, method):
    drawn = sample_nuts(
        load_radon(), radon_advi(), method=method, priors=TUTORIAL, draws=4000, progress_bar=False
    ).draws
    for name, (mean, sd) in exact.items():
        assert_moments(drawn[name].reshape(4, -1), mean, sd)


def test_summary_of_coefficients_agrees_with_their_draws():
    """Rao-Blackwell means and sds against draws of the same coefficients."""
    settings = {"method": "marginal", "priors": TUTORIAL, "draws": 2000, "progress_bar": False}
    drawn = sample_nuts(load_radon(), radon_advi(), coefficients="draws", **settings)
    summary = sample_nuts(load_radon(), radon_advi(), coefficients="summary", **settings)
    assert drawn.coefficients == {}
    assert set(summary.draws) == {"mu_alpha", "sigma_alpha", "mu_beta", "sigma_beta", "eps"}
    np.testing.assert_array_equal(summary.draws["eps"], drawn.draws["eps"])
    none = sample_nuts(load_radon(), radon_advi(), coefficients="none", **settings)
    assert none.coefficients == {}
    assert set(none.draws) == set(summary.draws)
    np.testing.assert_array_equal(none.draws["eps"], drawn.draws["eps"])
    for name in ("alpha", "beta"):
        mean, sd = summary.coefficients[name]
        assert mean.shape == drawn.draws[name].shape[2:]
        for group in (0, 10, 60, 84):
            flat = drawn.draws[name].reshape(4, 2000, 85)[:, :, group]
            assert_moments(flat, mean.ravel()[group], sd.ravel()[group])


@pytest.mark.parametrize("model", ["individual", "pooled"])
def test_exact_draws_agree_with_nuts_on_the_model_as_written(model):
    data = load_radon().select(["ST LOUIS", "FREEBORN", "CROW WING"])
    exact, nuts = (
        fit(
            data,
            model=model,
            method=method,
            priors=TUTORIAL,
            draws=2000,
            seed=1,
            progress_bar=False,
        )
        for method in ("marginal", "centered")
    )
    for name in exact["posterior"].data_vars:
        ours = exact["posterior"][name].values.reshape(8000, -1)
        theirs = nuts["posterior"][name].values.reshape(4, 2000, -1)
        for k in range(ours.shape[1]):
            # The exact draws have an error of their own.
            error = 4.5 * ours[:, k].std() / np.sqrt(8000)
            assert_moments(theirs[:, :, k], ours[:, k].mean(), ours[:, k].std(), 2 * error)
