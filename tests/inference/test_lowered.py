"""What the programs ask of a GPU, read from what JAX hands to the compiler for one.

Lowered for a GPU on any machine; nothing is compiled or run there.
"""

import re
from functools import cache

import jax
import numpy as np
import pytest
from fits import TUTORIAL, towns, towns_guide
from numpyro.infer.util import potential_energy

from radon_numpyro import GroupStatistics
from radon_numpyro.inference.advi import windows
from radon_numpyro.inference.compute import programs
from radon_numpyro.inference.compute.programs import (
    latent_sites,
    precision,
    random_key,
    unlabelled,
    unraveller,
)
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.nuts.parametrisation import parametrisation
from radon_numpyro.model.regressions import FUNCTIONS

METHODS = ("marginal", "noncentered", "centered")
# Of the host: what a program calls there, or hands there and back.
HOST = {"custom_call", "infeed", "outfeed", "send", "recv"}


def for_gpu(function, *args, **kwargs):
    """The text of a jitted function, lowered for a GPU of NVIDIA."""
    return function.trace(*args, **kwargs).lower(lowering_platforms=("cuda",)).as_text()


def operations(text):
    return set(re.findall(r"\bstablehlo\.(\w+)", text))


def combined(text):
    """What each scatter does with an element that was there and the new one."""
    bodies = re.findall(r'"stablehlo\.scatter".*?\n\s*\^bb0(.*?)\n\s*\}\)', text, flags=re.DOTALL)
    assert len(bodies) == text.count('"stablehlo.scatter"')
    return bodies


def is_write(body):
    """Whether a scatter leaves the new element there, whatever was."""
    return bool(re.fullmatch(r"\(%\w+: \S+, (%\w+): \S+\):\s*stablehlo\.return \1 : \S+", body))


@cache
def statistics():
    return unlabelled(GroupStatistics.from_data(towns()))


def number_of_coordinates(model, data):
    return sum(np.size(s["value"]) for s in latent_sites(model, data, TUTORIAL).values())


@cache
def block(method):
    """A block of NUTS iterations of all chains at once."""
    coordinates = parametrisation("hierarchical", method)
    fixed = {"coordinates": coordinates, "num_warmup": 50}
    fixed |= {"target_accept_prob": 0.8, "max_tree_depth": 10, "vectorized": True}
    with precision("float64"):
        data = coordinates.data(statistics())
        size = number_of_coordinates(coordinates.model, data)
        arguments = (data, TUTORIAL, np.ones(size))
        chains = (np.zeros((4, 2), dtype=np.uint32), np.zeros((4, size)))
        states = blocks._begin.compiled().eval_shape(*chains, *arguments, **fixed)
        advance = blocks._advance.compiled()
        return for_gpu(advance, states, 10, *arguments, room=100, **fixed)


def window():
    """Steps of ADVI."""
    fixed = {"model": FUNCTIONS["hierarchical"], "num_particles": 17}
    guide = towns_guide()
    with precision("float64"):
        arguments = (statistics(), TUTORIAL)
        begin, key = windows.begin.compiled(), random_key(0)
        state, units = begin.eval_shape(key, guide.locs, guide.scales, *arguments, **fixed)
        return for_gpu(windows.advance.compiled(), state, units, 0.01, *arguments, **fixed)


def gradient(model, data):
    """The gradient of the density that the sampler moves in."""
    with precision("float64"):
        unravel = unraveller(model, data, TUTORIAL)
        function = jax.jit(
            jax.grad(lambda z, data: potential_energy(model, (data, TUTORIAL), {}, unravel(z)))
        )
        return for_gpu(function, np.zeros(number_of_coordinates(model, data)), data)


@pytest.mark.parametrize("method", METHODS)
def test_a_gradient_is_arithmetic_alone(method):
    """No index, no loop and no call: arithmetic on all groups at once, and sums over them."""
    coordinates = parametrisation("hierarchical", method)
    found = operations(gradient(coordinates.model, coordinates.data(statistics())))
    assert found >= {"multiply", "reduce"}
    assert found & (HOST | {"scatter", "gather", "while", "sort", "dynamic_slice"}) == set()


def test_the_gradient_by_rows_would_add_up_by_scattering():
    """What the statistics are for; else the tests here could not fail."""
    text = gradient(FUNCTIONS["hierarchical"], towns())
    assert "gather" in operations(text)
    assert not all(map(is_write, combined(text)))


@pytest.mark.parametrize("method", METHODS)
def test_a_block_of_nuts_stays_on_the_device_and_adds_nothing_by_scattering(method):
    """What is scattered is written, not added: a row of the records, and NumPyro's of the tree."""
    text = block(method)
    found = operations(text)
    assert "while" in found
    assert found & HOST == set()
    assert "callback" not in text
    assert all(map(is_write, combined(text)))
    # All chains in it: 4 rows of 100 iterations.
    assert "tensor<4x100xf64>" in text


def test_a_window_of_advi_stays_on_the_device_and_adds_nothing_by_scattering():
    text = window()
    found = operations(text)
    assert "while" in found
    assert found & HOST == set()
    assert "callback" not in text
    assert all(map(is_write, combined(text)))


def test_a_call_of_the_host_would_be_found():
    function = jax.jit(lambda x: jax.pure_callback(np.sin, x, x))
    assert operations(function.lower(np.float32(1.0)).as_text()) & HOST == {"custom_call"}


def test_the_compiler_takes_the_options_of_a_gpu():
    """It reads them whatever it compiles for, and refuses what it does not know."""
    options = programs._COMPILER_OPTIONS["gpu"]

    def compiled(**changed):
        return jax.jit(lambda x: x + 1.0, compiler_options=options | changed)(np.zeros(3))

    assert np.all(compiled() == 1.0)
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_gpu_enable_command_buffer"):
        compiled(xla_gpu_enable_command_buffer="FUSION,LOOPS")
