"""Algebra unrolled over P: where it differs from what linalg and JAX would do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from radon_numpyro.gaussian.small_matrices import sum_of_logs
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
