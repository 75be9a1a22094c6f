"""Records are JAX's to take apart, whichever is imported first."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from radon_numpyro import GroupedData, GroupStatistics, HalfNormal, Normal, Priors, Uniform
from radon_numpyro.data.pytrees import _FINDER

FIRST = """
import importlib.util, json, sys
from radon_numpyro import GroupedData, GroupStatistics, Priors
finders = len(sys.meta_path)
data = GroupedData.from_arrays([1.0, 2.0, 4.0], [0.0, 1.0, 1.0], ["a", "b", "b"])
# That someone looks whether there is JAX is not its import.
assert importlib.util.find_spec("jax") is not None
assert "jax" not in sys.modules
import {module}
import jax
assert len(sys.meta_path) == finders - 1
leaves = [len(jax.tree.leaves(record)) for record in (data, GroupStatistics.from_data(data))]
total = jax.jit(lambda data, priors: data.y.sum() + priors.eps.high)(data, Priors.tutorial())
print(json.dumps([leaves, float(total)]))
"""


@pytest.mark.parametrize("module", ["jax", "jax.numpy", "numpyro"])
def test_jax_may_be_imported_after_the_data_are_made(module):
    done = subprocess.run(
        [sys.executable, "-c", FIRST.replace("{module}", module)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[3, 6], 107.0]


def test_a_jax_that_is_not_loaded_stays_so():
    """ArviZ puts a JAX into ``sys.modules`` that the first look at it would load, in a second."""
    code = """
import sys
import arviz_base
from radon_numpyro import GroupStatistics, Priors, load_radon
from radon_numpyro.gaussian.normal_equations import NormalEquations
statistics = GroupStatistics.from_data(load_radon())
NormalEquations.from_statistics(statistics)
assert "jax" in sys.modules and "jax.numpy" not in sys.modules
import jax
print(len(jax.tree.leaves(statistics)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "6\n"


def test_jax_that_cannot_be_imported_is_not_needed():
    code = "import sys; sys.modules['jax'] = None; from radon_numpyro import load_radon; "
    code += "print(load_radon().num_rows)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "919\n"


def test_the_leaves_are_the_numbers():
    data = GroupedData.from_arrays([1.0, 2.0, 4.0], [0.0, 1.0, 1.0], ["a", "b", "b"])
    for leaf, expected in zip(jax.tree.leaves(data), (data.x, data.y, data.group), strict=True):
        assert leaf is expected
    assert jax.tree.map(np.asarray, data).labels == data.labels
    statistics = GroupStatistics.from_data(data)
    assert jax.tree.leaves(statistics)[0] is statistics.count
    for prior, numbers in ((Normal(1.0, 2.0), 2), (HalfNormal(1.0), 1), (Uniform(1.0), 1)):
        assert len(jax.tree.leaves(prior)) == numbers
    assert len(jax.tree.leaves(Priors.tutorial())) == 14
    assert _FINDER not in sys.meta_path
