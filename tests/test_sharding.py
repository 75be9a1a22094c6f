"""Groups on several devices: the same density, and the draws of one device but for roundings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from fits import TUTORIAL, radon, towns

from radon_numpyro import fit
from radon_numpyro.equations import NormalEquations
from radon_numpyro.marginal import log_density
from radon_numpyro.sharding import split_groups

ON_SEVERAL = """
import json, re, sys
sys.path.insert(0, sys.argv[1])
import jax
import numpy as np
from radon_numpyro import GroupStatistics, fit, load_radon, resume
from radon_numpyro.equations import NormalEquations
from radon_numpyro.sharding import split_groups
from test_sharding import COLLECTIVE, FEW, SCALES, density

data = load_radon()
whole = NormalEquations.from_statistics(GroupStatistics.from_data(data))
found = {"density": {}, "between": {}, "where": {}, "draws": {}, "kept": {}}
with jax.enable_x64(True):
    for n in (1, 2, 3):
        split = split_groups(whole, n)
        program = jax.jit(jax.value_and_grad(density)).lower(SCALES, split).compile()
        value, gradient = program(SCALES, split)
        found["between"][n] = sorted(set(re.findall(COLLECTIVE, program.as_text())))
        found["density"][n] = [float(value), *map(float, gradient)]
        if n > 1:
            shards = split.root.addressable_shards
            found["where"][n] = [[str(s.device), s.data.shape[-1]] for s in shards]
for method, numbers in (("sequential", (1, 2)), ("vectorized", (1, 3))):
    for n in numbers:
        tree = fit(data, num_devices=n, chain_method=method, **FEW)
        draws = {k: v.values.ravel().tolist() for k, v in tree["posterior"].data_vars.items()}
        found["draws"][f"{method} {n}"] = draws
# Half of it, and on from there.
begun = fit(data, num_devices=2, checkpoint=sys.argv[2], **FEW | {"draws": 4})
extended = resume(sys.argv[2], draws=FEW["draws"], progress_bar=False)
found["kept"] = {k: v.values.ravel().tolist() for k, v in extended["posterior"].data_vars.items()}
assert (begun.attrs["chain_method"], extended.attrs["resumed"]) == ("sequential", 1)
try:
    fit(data, num_devices=4, **FEW)
except ValueError as error:
    found["refused"] = str(error)
print(json.dumps(found))
"""

FEW = {"draws": 6, "num_warmup": 20, "num_advi_steps": 0, "chains": 2, "progress_bar": False}
SCALES = np.array([0.7, 0.3, 0.9])
COLLECTIVE = r"\b(all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("


def density(scales, equations):
    return log_density(equations, [scales[0], scales[1]], scales[2], TUTORIAL)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=3",
        "JAX_PLATFORMS": "cpu",
    }
    folder = tmp_path_factory.mktemp("sharding") / "kept"
    arguments = [ON_SEVERAL, str(Path(__file__).parent), str(folder)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_each_device_has_as_many_groups(found):
    """In whole runs of 64: of 85 counties, groups without rows fill them up."""
    assert found["where"]["2"] == [["cpu:0", 64], ["cpu:1", 64]]
    assert found["where"]["3"] == [["cpu:0", 64], ["cpu:1", 64], ["cpu:2", 64]]


@pytest.mark.slow
def test_nothing_but_sums_goes_from_device_to_device(found):
    """Else a gradient would gather the groups, of which there are very many, at every step."""
    assert found["between"] == {"1": [], "2": ["all-reduce"], "3": ["all-reduce"]}


@pytest.mark.slow
def test_density_and_gradient_are_those_of_one_device(found):
    for n in ("2", "3"):
        np.testing.assert_allclose(found["density"][n], found["density"]["1"], rtol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize(("chain_method", "n"), [("sequential", 2), ("vectorized", 3)])
def test_draws_are_those_of_one_device_but_for_roundings(found, chain_method, n):
    """Coefficients too, group by group: what was added is not among them.

    Few draws, for each step of NUTS enlarges a rounding.
    """
    one, several = (found["draws"][f"{chain_method} {number}"] for number in (1, n))
    assert len(one["alpha"]) == 2 * 6 * 85
    for name, values in one.items():
        atol = 1e-4 * np.std(values)
        np.testing.assert_allclose(several[name], values, rtol=0, atol=atol, err_msg=name)


@pytest.mark.slow
def test_a_split_fit_goes_on_as_if_it_had_not_ended(found):
    assert found["kept"] == found["draws"]["sequential 2"]


@pytest.mark.slow
def test_more_devices_than_there_are_are_refused(found):
    assert found["refused"] == (
        "Expected num_devices to be at most the number that JAX sees of the cpu, 3; got 4"
    )


def test_groups_without_rows_add_exactly_nothing(x64):
    equations = NormalEquations.from_statistics(radon())
    longer = equations._replace(
        **{
            name: np.concatenate([v := getattr(equations, name), np.zeros_like(v[..., :2])], -1)
            for name in ("root", "target", "rest", "count", "repeats", "scatter")
        }
    )
    without, padded = (jax.value_and_grad(density)(SCALES, e) for e in (equations, longer))
    np.testing.assert_allclose(padded[0], without[0], rtol=1e-14)
    np.testing.assert_allclose(padded[1], without[1], rtol=1e-12)


def test_of_one_device_nothing_is_moved():
    equations = NormalEquations.from_statistics(radon())
    assert split_groups(equations, 1) is equations


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_devices": 0}, "Expected num_devices to be an integer of at least 1; got 0"),
        ({"num_devices": 2, "method": "centered"}, "Expected method='marginal' of the hier.*'cent"),
        ({"num_devices": 2, "model": "pooled"}, "for num_devices=2; got 'marginal' of the pooled"),
        ({"num_devices": 2, "chain_method": "parallel"}, "chains not in parallel, for num_devices"),
    ],
)
def test_what_cannot_be_split_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(towns(), progress_bar=False, **arguments)
