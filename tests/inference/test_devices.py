"""Computing on one device of several, and choosing it; on a machine without a GPU."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest
from fits import TUTORIAL, radon, towns, towns_guide

from radon_numpyro import GroupStatistics, fit
from radon_numpyro.inference.compute import device_choice, devices
from radon_numpyro.inference.compute.device_choice import (
    Choice,
    choose_device,
    quicker,
    seconds_a_step,
)
from radon_numpyro.inference.compute.devices import computing_on, current, describe_current, seen
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.settings import Settings

FEW = {"draws": 20, "num_warmup": 20, "num_advi_steps": 0, "chains": 4, "progress_bar": False}


def settings(**given):
    default = {"model": "hierarchical", "method": None, "draws": 100, "chains": 4}
    default |= {"num_warmup": 20, "seed": 0, "target_accept_prob": None, "max_tree_depth": 10}
    default |= {"chain_method": "sequential", "coefficients": "auto", "dtype": "float64"}
    return Settings(**default | {"target_ess": None, "max_seconds": None} | given)


def statistics():
    return GroupStatistics.from_data(towns())


@pytest.fixture
def two_kinds(monkeypatch):
    """JAX seems to see a GPU."""
    monkeypatch.setattr(device_choice, "seen", lambda: ("cpu", "gpu"))
    monkeypatch.setattr(device_choice, "_measured", {})


# Where JAX computes


def test_a_device_that_computes_anyway_is_not_set():
    with computing_on(current().platform):
        assert jax.config.jax_default_device is None


def test_the_default_device_is_known_by_its_kind_and_by_itself():
    assert current() == jax.devices()[0]
    for default in (jax.devices("cpu")[0], "cpu"):
        with jax.default_device(default):
            assert current() == jax.devices("cpu")[0]
            assert describe_current() == f"{jax.device_count('cpu')} x cpu (cpu)"


@pytest.mark.skipif("gpu" in seen(), reason="there is a GPU")
def test_a_device_that_there_is_not(tmp_path):
    message = (
        r"Expected device to be one that JAX sees, cpu; got 'gpu'. For an NVIDIA GPU, .*cuda13"
    )
    with pytest.raises(ValueError, match=message):
        computing_on("gpu")
    with pytest.raises(ValueError, match=message):
        fit(towns(), device="gpu", checkpoint=tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("device", ["cuda", "GPU", "", None])
def test_the_kinds_of_device_are_named(device):
    with pytest.raises(ValueError, match="Expected device to be one of auto, cpu, gpu; got"):
        fit(towns(), device=device)


@pytest.mark.parametrize(
    ("device", "reason", "words"),
    [
        ("1 x cpu (cpu)", "no GPU found", "CPU (no GPU found)"),
        ("4 x NVIDIA H200 (gpu)", "asked for", "GPU, NVIDIA H200 (asked for)"),
        # Fits from files of earlier versions.
        ("1 x cpu (cpu)", "the only one that JAX sees", "CPU (no GPU found)"),
        ("1 x NVIDIA H100 80GB HBM3 (gpu)", None, "GPU, NVIDIA H100 80GB HBM3"),
        ("TPU v5", None, "TPU v5"),
        (None, None, "not recorded"),
    ],
)
def test_a_device_is_named_as_an_analyst_would(device, reason, words):
    assert devices.in_words(device, reason) == words


# Two devices of one kind stand for a CPU and a GPU: what is computed where is seen all the same.
ON_THE_OTHER = """
import hashlib, json, sys
sys.path[:0] = [sys.argv[1], f"{sys.argv[1]}/inference"]
import jax
import numpy as np
from fits import towns
from radon_numpyro import fit
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.compute import device_choice
from radon_numpyro.inference.compute import devices
from radon_numpyro.inference.compute.programs import Program
from test_devices import FEW

import warnings
from radon_numpyro.data.findings import DataWarning
warnings.simplefilter("ignore", DataWarning)

first, second = jax.devices()
used = set()
call = Program.__call__

def watched(*args, **kwargs):
    out = call(*args, **kwargs)
    used.update(str(d) for leaf in jax.tree.leaves(out) for d in leaf.devices())
    return out

Program.__call__, blocks.num_cores = watched, lambda: 2

def run(**given):
    used.clear()
    tree = fit(towns(), **FEW | given)
    assert jax.config.jax_default_device is before
    values = [v.values for v in tree["posterior"].data_vars.values()]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(v).tobytes() for v in values))
    attrs = tree.attrs
    return [sorted(used), digest.hexdigest(), attrs["device"], attrs["device_reason"]]

def integrated(device, **given):
    used.clear()
    tree = fit(towns(), **{"method": "integrate", "nodes": 512} | given, device=device)
    attrs, nodes = tree.attrs, tree.children.get("nodes")
    return sorted(used), attrs["device"], attrs["device_reason"], nodes and nodes.to_dataset()

found, before = {}, None
found["one"] = run()
with jax.default_device(second):
    before = second
    found["the caller's"] = run()
    found["the caller's, side by side"] = run(chain_method="parallel")
    moments = run(coefficients="summary")[0]
before = None
devices._of_kind = lambda device: [second] if device == "gpu" else [first]
found["asked for"] = run(device="gpu", chain_method="parallel")
device_choice.WORTH_A_GPU = 0.0
found["auto"] = run()
device_choice.seconds_a_step = None
found["auto again"] = run()
*numpy, nodes = integrated("auto")
*gpu, same = integrated("gpu")
# Differences for the curvature at the mode enlarge the rounding errors.
for name in nodes:
    np.testing.assert_allclose(same[name], nodes[name], rtol=1e-4, atol=1e-7)
auto = integrated("gpu", method="auto")[:3]
exact = integrated("gpu", model="individual", nodes=None)[:3]
print(json.dumps([found, moments, numpy, gpu, auto, exact]))
"""


@pytest.mark.slow
def test_a_fit_is_computed_on_the_device_chosen_with_the_same_draws():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ON_THE_OTHER, str(Path(__file__).parents[1])],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found, moments, numpy, gpu, auto, exact = json.loads(done.stdout)
    # Draws that need no integration are made in NumPy on any device.
    assert numpy == exact == [[], "1 x cpu (cpu)", "computed in NumPy"]
    assert gpu == auto == [["cpu:1"], "2 x cpu (cpu)", "asked for"]
    assert moments == ["cpu:1"]
    where, draws, names, reasons = map(list, zip(*found.values(), strict=True))
    assert len(set(draws)) == 1
    assert set(names) == {"2 x cpu (cpu)"}
    assert where[:4] == [["cpu:0"], ["cpu:1"], ["cpu:1"], ["cpu:1"]]
    # Measured on both, then computed on one without measuring again.
    assert where[4] == ["cpu:0", "cpu:1"]
    assert where[5] in (["cpu:0"], ["cpu:1"])
    set_before = "set as JAX's default device"
    assert reasons[:4] == ["no GPU found", set_before, set_before, "asked for"]
    assert re.fullmatch(r"measured: \S+ us a step, [CG]PU \S+", reasons[4])
    assert reasons[5] == reasons[4]


# Which device


@pytest.mark.parametrize(
    ("cpu", "gpu", "expected"),
    [
        (4e-3, 31e-6, Choice("gpu", "measured: 31 us a step, CPU 4000")),
        (240e-6, 310e-6, Choice("cpu", "measured: 240 us a step, GPU 310")),
        (9.26e-6, None, Choice("cpu", "measured: 9.26 us a step, too little for a GPU to pay")),
    ],
)
def test_the_quicker_device_is_chosen(cpu, gpu, expected):
    seconds = {"cpu": cpu, "gpu": gpu}
    looked_at = []
    assert quicker(("cpu", "gpu"), lambda d: looked_at.append(d) or seconds[d]) == expected
    assert looked_at == (["cpu"] if gpu is None else ["cpu", "gpu"])


def test_a_gpu_that_fails_is_not_chosen_and_the_reason_says_why():
    def measure(device):
        if device == "gpu":
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 90 GiB\nin some file")
        return 0.02

    assert quicker(("cpu", "gpu"), measure) == Choice(
        "cpu", "measured: 20000 us a step, GPU failed: RESOURCE_EXHAUSTED: 90 GiB"
    )


def test_a_measurement_is_of_one_gradient_of_each_chain(monkeypatch):
    """With a clock that strikes once a block: seconds by gradients, the first block left out."""
    gradients = []
    advance = blocks.advance

    def counted(states, length, *args, **kwargs):
        states, records = advance(states, length, *args, **kwargs)
        gradients.append(blocks.recorded(records, "n_steps", length).sum())
        return states, records

    monkeypatch.setattr(device_choice.blocks, "advance", counted)
    clock = SimpleNamespace(perf_counter=lambda: float(len(gradients)))
    monkeypatch.setattr(device_choice, "time", clock)
    monkeypatch.setattr(device_choice, "SECONDS", 2.0)
    given = settings(chains=3)
    found = seconds_a_step(given, statistics(), TUTORIAL, towns_guide())
    assert len(gradients) == 3
    assert found == pytest.approx(2.0 * 3 / (gradients[1] + gradients[2]))


def test_one_measurement_serves_all_fits_of_a_shape(monkeypatch, two_kinds):
    measured = []

    def measure(given, *_):
        measured.append((given.method, given.chains))
        return {1: 1e-3, 2: 2e-3}[len(measured) % 2 + 1]

    monkeypatch.setattr(device_choice, "seconds_a_step", measure)
    monkeypatch.setattr(device_choice, "computing_on", lambda device: computing_on("cpu"))
    expected = Choice("gpu", "measured: 1000 us a step, CPU 2000")
    assert choose_device(settings(), statistics(), TUTORIAL) == expected
    other = {"seed": 3, "draws": 1000, "target_ess": 400.0, "max_seconds": 9.0}
    assert choose_device(settings(**other), statistics(), TUTORIAL) == expected
    assert len(measured) == 2
    choose_device(settings(chains=2), statistics(), TUTORIAL)
    choose_device(settings(method="centered"), statistics(), TUTORIAL)
    choose_device(settings(), radon(), TUTORIAL)
    assert len(measured) == 8


def nothing_to_measure(*_):
    raise AssertionError("it was measured")


def test_one_device_costs_no_measurement(monkeypatch):
    monkeypatch.setattr(device_choice, "seen", lambda: ("cpu",))
    monkeypatch.setattr(device_choice, "closed_form_guide", nothing_to_measure)
    only = Choice("cpu", "no GPU found")
    assert choose_device(settings(), statistics(), TUTORIAL) == only


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"device": "gpu"}, Choice("gpu", "asked for")),
        ({"model": "pooled"}, Choice("cpu", "the draws are exact and need no GPU")),
    ],
)
def test_what_is_not_to_be_chosen_is_not_measured(monkeypatch, two_kinds, given, expected):
    monkeypatch.setattr(device_choice, "closed_form_guide", nothing_to_measure)
    assert choose_device(settings(**given), statistics(), TUTORIAL) == expected


def test_a_kept_fit_goes_on_where_it_was_begun(monkeypatch, two_kinds, tmp_path):
    monkeypatch.setattr(device_choice, "closed_form_guide", nothing_to_measure)
    kept = tmp_path / "kept"
    first = fit(towns(), device="cpu", checkpoint=kept, **FEW)
    assert first.attrs["device_reason"] == "asked for"
    again = fit(towns(), checkpoint=kept, **FEW)
    assert again.attrs["resumed"] == 1
    assert again.attrs["device_reason"] == "asked for"
