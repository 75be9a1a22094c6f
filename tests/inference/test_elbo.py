"""The lattice estimate of the bound: unbiased, even in every coordinate, and less noisy."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import TraceMeanField_ELBO
from numpyro.infer.autoguide import AutoNormal
from scipy import stats

from radon_numpyro.inference.advi.windows import LatticeELBO, lattice_normals


@cache
def draws(num_draws, size=3, repeats=4000):
    """Draws of many lattices, in one program."""

    @jax.jit
    def drawn(key):
        return jax.vmap(lambda key: lattice_normals(key, num_draws, size))(
            jax.random.split(key, repeats)
        )

    return np.asarray(drawn(jax.random.key(0)))


@pytest.mark.parametrize("num_draws", [1, 2, 3, 17])
def test_every_draw_is_standard_normal_in_every_coordinate(num_draws, x64):
    z = draws(num_draws)
    assert z.shape == (4000, num_draws, 3)
    assert np.isfinite(z).all()
    for s in range(num_draws):
        for j in range(3):
            assert stats.kstest(z[:, s, j], "norm").pvalue > 1e-4 / (3 * num_draws)


def test_coordinates_are_uncorrelated(x64):
    z = draws(17)
    products = (z[..., 0] * z[..., 1]).mean(1)
    assert abs(products.mean()) < 4.5 * products.std() / np.sqrt(4000)
    # Not the worst case either: that of independent draws would be 1 / 17.
    assert products.var() < 2 / 17


@pytest.mark.parametrize("num_draws", [2, 3, 17])
def test_the_draws_of_a_coordinate_are_evenly_spaced_in_probability(num_draws, x64):
    uniform = np.sort(stats.norm.cdf(draws(num_draws)[:50]), axis=1)
    # To the single precision that they are made in.
    np.testing.assert_allclose(np.diff(uniform, axis=1), 1 / num_draws, atol=3e-7)


def test_the_tails_are_finite_in_single_precision():
    z = draws(17, size=50, repeats=2000)
    assert z.dtype == np.float32
    assert np.isfinite(z).all()


def model(loc, sd):
    mu = numpyro.sample("mu", dist.Normal(loc, sd))
    tau = numpyro.sample("tau", dist.HalfNormal(2.0))
    with numpyro.plate("group", 6):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("y", dist.Normal(theta, 0.7), obs=jnp.array([3.0, -1.0, 2.0, 0.5, 4.0, 1.0]))


def losses(elbo, repeats, seed=0):
    """Loss and gradient of the flat parameters, repeated with other keys."""
    guide = AutoNormal(model)
    with numpyro.handlers.seed(rng_seed=0):
        guide(1.0, 3.0)
    rng = np.random.default_rng(1)
    params = {}
    for name, shape in (("mu", ()), ("tau", ()), ("theta", (6,))):
        params[f"{name}_auto_loc"] = jnp.asarray(rng.normal(0.5, 0.5, shape))
        params[f"{name}_auto_scale"] = jnp.asarray(rng.uniform(0.1, 0.6, shape))

    def loss(params, key):
        return elbo.loss(key, params, model, guide, 1.0, 3.0)

    keys = jax.random.split(jax.random.key(seed), repeats)
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(None, 0)))(params, keys)
    flat = np.concatenate(
        [np.asarray(g).reshape(repeats, -1) for g in jax.tree.leaves(gradients)], axis=1
    )
    return np.column_stack([values, flat])


def test_bound_and_gradient_have_the_expectation_of_numpyros_with_less_noise(x64):
    repeats = 2000
    ours = losses(LatticeELBO(17), repeats)
    theirs = losses(TraceMeanField_ELBO(num_particles=17), repeats, seed=1)
    assert ours.shape == theirs.shape == (repeats, 17)
    error = np.sqrt((ours.var(0) + theirs.var(0)) / repeats)
    assert (np.abs(ours.mean(0) - theirs.mean(0)) < 4.5 * error).all()
    # Products of coordinates keep their noise, sums lose it; nothing gets worse.
    assert (ours.var(0) < theirs.var(0)).all()
    assert ours[:, 0].var() < 0.3 * theirs[:, 0].var()
