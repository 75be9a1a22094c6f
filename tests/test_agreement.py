"""Every method against one answer: the posterior of the radon scales on a dense grid.

The grid works with the means of the houses of each county and floor, whose joint Normal
distribution it writes down as such: an algebra that shares no line with the package.
"""

import numpy as np
import pytest
from fits import TUTORIAL, assert_moments, radon_advi

from radon_numpyro.fit import fit
from radon_numpyro.nuts import sample_nuts
from radon_numpyro.radon import load_radon

# The mass beyond these bounds is below 1e-6.
BOUNDS = {"sigma_alpha": (0.08, 0.65), "sigma_beta": (0.0, 1.3), "eps": (0.62, 0.84)}
NODES = {"sigma_alpha": 20, "sigma_beta": 26, "eps": 16}


def cells():
    """Mean and number of the houses of each county and floor, and their scatter within."""
    data = load_radon()
    floor = data.x[:, 0].astype(int)
    assert set(floor) == {0, 1}
    count, total = np.zeros((85, 2)), np.zeros((85, 2))
    np.add.at(count, (data.group, floor), 1)
    np.add.at(total, (data.group, floor), data.y)
    mean = total / np.maximum(count, 1)
    return mean, count, ((data.y - mean[data.group, floor]) ** 2).sum()


def posterior_given_scales(sigma_alpha, sigma_beta, eps):
    """Log marginal likelihood up to a constant, and mean and covariance of the means.

    Cell means are jointly Normal with covariance Z D^2 Z' + diag(eps^2 / n). The means of the
    population are flat (the tutorial's sd is 10 000). Arguments have shape (G,).
    """
    mean, count, within = cells()
    information = np.zeros((len(eps), 2, 2))
    score, value = np.zeros((len(eps), 2)), np.zeros(len(eps))
    for z, floors in ((np.array([[1, 0], [1, 1]]), (0, 1)), (np.array([[1, 0]]), (0,))):
        here = (count > 0).sum(1) == len(floors)
        n, m = count[here][:, floors], mean[here][:, floors]
        scales = np.stack([sigma_alpha, sigma_beta], axis=1)
        between = np.einsum("ip,gp,jp->gij", z, scales**2, z)
        noise = eps[:, None, None] ** 2 / n
        covariance = between[:, None] + noise[..., None] * np.eye(len(floors))
        precision = np.linalg.inv(covariance)
        information += np.einsum("ip,gcij,jq->gpq", z, precision, z)
        score += np.einsum("ip,gcij,cj->gp", z, precision, m)
        value -= 0.5 * np.linalg.slogdet(covariance)[1].sum(1)
        value -= 0.5 * np.einsum("ci,gcij,cj->g", m, precision, m)
    value -= (count.sum() - (count > 0).sum()) * np.log(eps) + 0.5 * within / eps**2
    centre = np.linalg.solve(information, score[..., None])[..., 0]
    value += 0.5 * (score * centre).sum(1) - 0.5 * np.linalg.slogdet(information)[1]
    return value, centre, np.linalg.inv(information)


@pytest.fixture(scope="module")
def exact():
    """Mean and sd of scales and means by Gauss-Legendre quadrature."""
    axes = {}
    for name, (low, high) in BOUNDS.items():
        node, weight = np.polynomial.legendre.leggauss(NODES[name])
        axes[name] = (low + (high - low) * (node + 1) / 2, weight)
    grid = np.meshgrid(*(a[0] for a in axes.values()), indexing="ij")
    weights = np.prod(np.meshgrid(*(a[1] for a in axes.values()), indexing="ij"), axis=0)
    points = np.stack([g.ravel() for g in grid], axis=1)
    log_density, means, covariances = posterior_given_scales(*points.T)
    mass = np.exp(log_density - log_density.max()) * weights.ravel()
    mass /= mass.sum()
    moments = {}
    for k, name in enumerate(BOUNDS):
        mean = mass @ points[:, k]
        moments[name] = (mean, np.sqrt(mass @ (points[:, k] - mean) ** 2))
    for k, name in enumerate(("mu_alpha", "mu_beta")):
        mean = mass @ means[:, k]
        variance = mass @ (covariances[:, k, k] + (means[:, k] - mean) ** 2)
        moments[name] = (mean, np.sqrt(variance))
    return moments


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
        fit(data, model, method=method, priors=TUTORIAL, draws=2000, seed=1, progress_bar=False)
        for method in ("marginal", "centered")
    )
    for name in exact["posterior"].data_vars:
        ours = exact["posterior"][name].values.reshape(8000, -1)
        theirs = nuts["posterior"][name].values.reshape(4, 2000, -1)
        for k in range(ours.shape[1]):
            # The exact draws have an error of their own.
            error = 4.5 * ours[:, k].std() / np.sqrt(8000)
            assert_moments(theirs[:, :, k], ours[:, k].mean(), ours[:, k].std(), 2 * error)
