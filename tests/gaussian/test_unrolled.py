"""Algebra unrolled over P: where it differs from what linalg and JAX would do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense import HIERARCHICAL, equations_of, make_priors

from radon_numpyro.gaussian.conditional import gram
from radon_numpyro.gaussian.marginal import marginal
from radon_numpyro.gaussian.predictive import population_prior
from radon_numpyro.gaussian.small_matrices import (
    cholesky,
    cholesky_of_one_plus,
    is_unrolled,
    multiply,
    ridge,
    root_of_one_plus,
    solve_lower,
    solve_upper,
    sum_of_logs,
    transposed,
)
from radon_numpyro.inference.compute.programs import precision


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
@pytest.mark.parametrize("number", [1, 6])
@pytest.mark.parametrize("size", [1, 49, 50, 51, 85, 1234])
def test_a_sum_of_logs_whose_product_is_out_of_range(dtype, tolerance, number, size):
    """The product of all is far beyond the largest number, or 0; each is one that can be held."""
    limits = np.log(np.finfo(dtype).max), np.log(np.finfo(dtype).tiny)
    rng = np.random.default_rng(0)
    for limit in limits:
        values = np.exp(rng.uniform(0.5, 0.99, (number, size)) * limit).astype(dtype)
        logs = np.log(values.astype(np.longdouble))
        with precision(dtype):
            found = jax.jit(sum_of_logs)(list(jnp.asarray(values)))
        assert found.dtype == dtype
        assert abs(float(found) - logs.sum()) <= tolerance * abs(logs).sum()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_sum_of_logs_near_zero_is_not_lost_in_roundings(dtype):
    """Where scales are small the pivots are just above 1, and groups without rows have ones."""
    rng = np.random.default_rng(0)
    values = (1.0 + 1e-3 * rng.uniform(size=(2, 100_000))).astype(dtype)
    exact = np.log(values.astype(np.longdouble)).sum()
    with precision(dtype):
        found = sum_of_logs(list(jnp.asarray(values)))
        ones = sum_of_logs(list(jnp.ones((2, 1000), dtype)))
    assert abs(float(found) - exact) <= 100 * np.finfo(dtype).eps * exact
    assert float(ones) == 0.0


def test_a_sum_of_logs_is_over_the_last_axis():
    values = np.random.default_rng(1).gamma(2.0, size=(3, 4, 130))
    with precision("float64"):
        found = sum_of_logs(list(jnp.asarray(values)))
    np.testing.assert_allclose(found, np.log(values).sum(axis=(0, 2)), rtol=1e-13)


def test_a_sum_of_logs_is_not_finite_where_a_logarithm_is_not():
    for bad in (np.nan, np.inf, 0.0):
        with precision("float64"):
            assert not np.isfinite(sum_of_logs([jnp.array([2.0, bad, 3.0])]))


# Written out term by term, and by LAPACK


SIZES = (1, 2, 4, 5, 9, 12, 13)
FEW, MANY = (3, 2), (4, 300)


def triangles(size, batch, seed=0):
    """Upper triangles of entries about 1, as R_c U / eps has them, shape (P, P, ...)."""
    entries = np.random.default_rng(seed).normal(size=(size, size, *batch))
    return entries * np.triu(np.ones((size, size))).reshape(size, size, 1, 1)


def last(a):
    """Matrices with their axes last."""
    return np.moveaxis(a, (0, 1), (-2, -1))


def test_what_is_written_out():
    assert is_unrolled(4, triangles(4, FEW))
    assert is_unrolled(5, triangles(5, MANY))
    assert not is_unrolled(5, triangles(5, FEW))
    assert not is_unrolled(13, triangles(13, MANY))
    assert not is_unrolled(5, jnp.asarray(triangles(5, MANY)))


@pytest.mark.parametrize("batch", [FEW, MANY], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_factors_and_solutions_are_those_of_linalg(size, batch):
    a, rng = triangles(size, batch), np.random.default_rng(1)
    one = np.eye(size)
    exact = np.linalg.cholesky(one + last(a) @ last(a).swapaxes(-1, -2))
    factor = cholesky_of_one_plus(a)
    np.testing.assert_allclose(last(factor), exact, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(last(cholesky(multiply(factor, transposed(factor)))), exact, 1e-9)
    right = rng.normal(size=(size, 3, *batch))
    for solve, matrix in ((solve_lower, exact), (solve_upper, exact.swapaxes(-1, -2))):
        np.testing.assert_allclose(last(solve(factor, right)), np.linalg.solve(matrix, last(right)))
        vector = np.linalg.solve(matrix, last(right)[..., :1])[..., 0]
        np.testing.assert_allclose(np.moveaxis(solve(factor, right[:, 0]), 0, -1), vector)
    root = last(root_of_one_plus(a)).swapaxes(-1, -2)
    np.testing.assert_allclose(np.tril(root, -1), 0.0, atol=1e-12)
    gram = one + last(a).swapaxes(-1, -2) @ last(a)
    np.testing.assert_allclose(root.swapaxes(-1, -2) @ root, gram, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("batch", [FEW, MANY], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_a_ridge_is_the_posterior_of_a_regression(size, batch):
    """Mean from the normal equations, covariance from unit vectors as noise."""
    a, target = triangles(size, batch), np.random.default_rng(2).normal(size=(size, *batch))
    precision_of = np.eye(size) + last(a).swapaxes(-1, -2) @ last(a)
    moment = (last(a).swapaxes(-1, -2) @ np.moveaxis(target, 0, -1)[..., None])[..., 0]
    mean = ridge(a, target, np.zeros_like(target))
    expected = np.linalg.solve(precision_of, moment[..., None])[..., 0]
    np.testing.assert_allclose(np.moveaxis(mean, 0, -1), expected, rtol=1e-8, atol=1e-10)
    units = np.eye(size).reshape(size, size, 1, 1) * np.ones(batch)
    root = last(np.stack([ridge(a, target, unit) - mean for unit in units], axis=1))
    found = root @ root.swapaxes(-1, -2)
    np.testing.assert_allclose(found, np.linalg.inv(precision_of), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("columns", [3, 7])
def test_sums_of_products_over_groups(columns):
    """Few groups by one call of ``einsum``, many column by column."""
    for batch in (FEW, MANY):
        w = np.random.default_rng(3).normal(size=(2, columns, *batch))
        expected = np.einsum("pqsc,prsc->qrs", w, w)
        np.testing.assert_allclose(gram(w), expected, rtol=1e-11, atol=1e-11)


def test_one_program_serves_many_data_sets_of_one_shape(unequal_data):
    """The density at nodes in JAX, over a batch of data sets, has the numbers of NumPy."""
    sets = [equations_of(unequal_data(1, sizes=(3, 5, 4), seed=seed)) for seed in range(3)]
    priors = make_priors(1)
    scale = np.random.default_rng(4).gamma(2.0, size=(2, 5))
    eps = np.linspace(0.5, 1.5, 5)

    def at_nodes(equations):
        prior = population_prior(equations, priors, HIERARCHICAL)
        found = marginal(equations, scale, eps, prior)
        return found.log_density, found.population.mean

    expected = [np.stack(parts) for parts in zip(*map(at_nodes, sets), strict=True)]
    assert np.ptp(expected[0], axis=0).min() > 0.1, "the data sets are alike"
    with precision("float64"):
        together = jax.tree.map(lambda *parts: jnp.stack(list(map(jnp.asarray, parts))), *sets)
        found = jax.jit(jax.vmap(at_nodes))(together)
    for part, of_numpy in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, of_numpy, rtol=1e-9, atol=1e-9)
