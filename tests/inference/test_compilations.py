"""A second fit of the same shape, of other data and from another seed, compiles nothing."""

import jax
import numpy as np
import pytest
from compiled import compilations

from radon_numpyro import GroupStatistics, diagnose, fit
from radon_numpyro.inference.nuts import compile_ahead as ahead


def test_compilations_are_counted():
    """Else the tests below could not fail."""
    with compilations() as names:
        jax.jit(lambda x: x + 1.25).lower(np.zeros(7)).compile()
    assert len(names) == 1
    jax.jit(lambda x: x + 1.75).lower(np.zeros(7)).compile()
    assert len(names) == 1


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_what_is_compiled_ahead_is_what_is_called(unequal_data, dtype, monkeypatch):
    """A first fit of a shape compiles each program once, and none beside them."""
    # What other tests of this process have compiled is of no use here.
    jax.clear_caches()
    monkeypatch.setattr(ahead, "_SEEN", set())
    data = unequal_data(1, (4, 7, 5, 6, 3, 8))
    options = {"num_warmup": 60, "num_advi_steps": 0, "progress_bar": False, "dtype": dtype}
    with compilations() as names:
        fit(GroupStatistics.from_data(data), draws=50, chains=3, **options)
    programs = ("_begin", "_advance", "_constrain")
    assert sorted(names) == sorted(f"jit({name})" for name in programs)


OPTIONS = {
    "hierarchical": {"num_warmup": 100},
    "noncentered": {"model": "hierarchical", "method": "noncentered", "num_warmup": 100},
    "summary": {"model": "hierarchical", "coefficients": "summary", "num_warmup": 100},
    "individual": {},
    "pooled": {},
}

MARKS = dict.fromkeys([case for case in OPTIONS if case != "hierarchical"], pytest.mark.slow)


@pytest.mark.parametrize("advi", [0, 1000], ids=["closed form", "ADVI"])
@pytest.mark.parametrize(
    "case",
    [
        "hierarchical",
        *(pytest.param(c, marks=pytest.mark.slow) for c in OPTIONS if c != "hierarchical"),
    ],
)
def test_a_second_fit_of_the_same_shape_compiles_nothing(unequal_data, case, advi):
    options = {"model": case, "draws": 100, "chains": 2} | OPTIONS[case]
    options |= {"num_advi_steps": advi, "progress_bar": False}
    # Other rows, other sizes of the groups and so other default priors; the shape is groups by
    # predictors.
    first, second = (unequal_data(2, sizes) for sizes in ((4, 7, 5, 6), (9, 5, 6, 8)))
    a = fit(GroupStatistics.from_data(first), seed=1, **options)
    with compilations() as names:
        b = fit(GroupStatistics.from_data(second), seed=2, **options)
        diagnose(b)
    assert not names
    a, b = (tree["posterior"].to_dataset() for tree in (a, b))
    for name in a.data_vars:
        assert a[name].shape == b[name].shape
        assert not np.array_equal(a[name], b[name]), name
