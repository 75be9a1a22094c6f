"""What compiled programs share: precision, strong types, and the coordinates of a model."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density, potential_energy
from numpyro.primitives import _PYRO_STACK

from radon_numpyro import GroupStatistics, Priors, Uniform, simulate
from radon_numpyro.inference.compute import compilation as compilers
from radon_numpyro.inference.compute.programs import (
    in_threads,
    latent_sites,
    latent_transforms,
    precision,
    program,
    random_key,
    strong_types,
    unlabelled,
    unraveller,
)
from radon_numpyro.inference.runs.interrupts import noted_interrupts
from radon_numpyro.model import regressions as models


def statistics(num_predictors):
    truth = simulate(
        num_groups=3,
        rows_per_group=[2, 4, 3],
        mu_alpha=1.0,
        mu_beta=[0.5] * num_predictors,
        sigma_alpha=0.5,
        sigma_beta=[0.2] * num_predictors,
        eps=0.3,
        seed=0,
    )
    return GroupStatistics.from_data(truth.data)


# Precision


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("outside", [False, True])
def test_the_precision_holds_inside_and_the_caller_s_comes_back(dtype, outside):
    with jax.enable_x64(outside):
        with precision(dtype):
            assert jnp.zeros(1).dtype == jnp.exp(1.0).dtype == np.dtype(dtype)
            assert jax.config.jax_enable_x64 == (dtype == "float64")
        assert jax.config.jax_enable_x64 == outside
    assert not jax.config.jax_enable_x64


def test_the_precision_comes_back_after_an_error():
    with pytest.raises(ZeroDivisionError, match="zero"), precision("float64"):
        1 / 0  # noqa: B018
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("dtype", ["float16", "Float64", "", None, np.float64])
def test_there_are_two_precisions(dtype):
    with pytest.raises(ValueError, match="Expected dtype to be 'float64' or 'float32'; got"):
        precision(dtype)


# Compiled ahead


def test_what_is_compiled_ahead_is_not_compiled_again():
    traced = []

    @program("power")
    def raised(x, *, power):
        traced.append(x.shape)
        return {"raised": x**power}

    shapes = raised.compile_ahead(jax.ShapeDtypeStruct((3,), np.float32), power=2)
    assert shapes == {"raised": jax.ShapeDtypeStruct((3,), np.float32)}
    x = np.array([1.0, 2.0, -3.0], dtype=np.float32)
    np.testing.assert_array_equal(raised(x, power=2)["raised"], [1.0, 4.0, 9.0])
    assert traced == [(3,)]
    # Another shape, not foreseen, is compiled when it comes.
    np.testing.assert_array_equal(raised(x[:2], power=2)["raised"], [1.0, 4.0])
    assert traced == [(3,), (2,)]


def test_a_failure_to_compile_ahead_is_an_error_of_the_call(monkeypatch):
    def fail(lowered):
        raise RuntimeError("no code for this")

    @program()
    def doubled(x):
        return 2.0 * x

    ones = np.ones(2, dtype=np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(jax.stages.Lowered, "compile", fail)
        doubled.compile_ahead(ones)
        with pytest.raises(RuntimeError, match="no code for this"):
            doubled(ones)
    # The next call compiles for itself.
    np.testing.assert_array_equal(doubled(ones), [2.0, 2.0])


# Threads


def test_threads_have_the_precision_and_the_device_of_the_caller():
    device = jax.devices()[-1]

    def settings(number):
        return number, jax.config.jax_enable_x64, jax.config.jax_default_device

    assert in_threads(settings, range(3), threads=2) == [(n, False, None) for n in range(3)]
    with precision("float64"), jax.default_device(device):
        assert in_threads(settings, range(3), threads=2) == [(n, True, device) for n in range(3)]
    assert in_threads(pow, [2, 3], [4, 2], threads=1) == [16, 9]


def test_an_error_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda n: 1 // n, [1, 0], threads=2)


def test_threads_wait_for_what_is_compiled_ahead(slow_compiler):
    """All of them: one that went on would compile it once more."""
    doubled = program()(lambda x: 2.0 * x)
    doubled.compile_ahead(np.float32(0.0))
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(doubled, np.float32(n)) for n in range(2)]
        done = wait(calls, timeout=0.3).done
        slow_compiler.set()
        assert not done
        assert [float(call.result()) for call in calls] == [0.0, 2.0]


# Signals and the time limit


@pytest.fixture
def slow_compiler(monkeypatch):
    """A compiler that takes until the event is set."""
    go_on, compile_ = threading.Event(), jax.stages.Lowered.compile

    def slow(lowered):
        go_on.wait(60)
        return compile_(lowered)

    monkeypatch.setattr(jax.stages.Lowered, "compile", slow)
    yield go_on
    go_on.set()


def soon(number):
    """Send this process a signal in a moment."""
    threading.Timer(0.3, os.kill, (os.getpid(), number)).start()


@pytest.mark.parametrize("ahead", [False, True])
def test_a_signal_leaves_the_compiler_behind(usual_handlers, slow_compiler, ahead):
    traced = []
    doubled = program()(lambda x: traced.append(x) or 2.0 * x)
    x, started = np.ones(3, np.float32), time.monotonic()
    with noted_interrupts() as noted:
        if ahead:
            doubled.compile_ahead(x)
        soon(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            doubled(x)
        assert noted.noted
    assert time.monotonic() - started < 20
    # A later call finds what goes on being compiled.
    slow_compiler.set()
    np.testing.assert_array_equal(doubled(x), 2.0 * x)
    assert len(traced) == 1


@pytest.mark.parametrize("threads", [False, True])
def test_the_time_limit_leaves_the_compiler_behind(usual_handlers, slow_compiler, threads):
    """In other threads than the main one, too."""
    doubled = program()(lambda x: 2.0 * x)

    def limited():
        with noted_interrupts() as interrupts:
            interrupts.allow(0.5, since=time.monotonic())
            with pytest.raises(TimeoutError, match=r"within max_seconds=0\.5; got none yet"):
                doubled(np.ones(3, np.float32))

    started = time.monotonic()
    if threads:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(limited).result()
    else:
        limited()
    assert time.monotonic() - started < 20


def test_a_signal_ends_tracing_and_leaves_no_handler_of_numpyro(usual_handlers):
    def endless(x):
        handlers.seed(rng_seed=0).__enter__()
        started = time.monotonic()
        while time.monotonic() - started < 20:
            pass
        return x

    with noted_interrupts():
        soon(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            program()(endless)(np.ones(3, np.float32))
    assert not _PYRO_STACK
    assert float(jax.jit(lambda x: 2.0 * x)(1.5)) == 3.0


def test_after_the_draws_the_first_signal_does_not_disturb(usual_handlers, slow_compiler):
    doubled = program()(lambda x: 2.0 * x)
    threading.Timer(0.8, slow_compiler.set).start()
    with noted_interrupts() as interrupts:
        soon(signal.SIGINT)
        with interrupts.deferred():
            assert float(doubled(np.float32(1.5))) == 3.0
        assert interrupts.noted


def test_what_waits_for_its_turn_when_a_run_ends_is_compiled_when_called(slow_compiler):
    doubled = program()(lambda x: 2.0 * x)
    for size in range(1, 5):
        doubled.compile_ahead(np.ones(size, np.float32))
    compilers.forget_line()
    slow_compiler.set()
    for size in range(1, 5):
        np.testing.assert_array_equal(doubled(np.ones(size, np.float32)), 2.0 * np.ones(size))


# Keys


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**64 - 1])
def test_the_random_key_of_a_seed_is_that_of_jax(x64, seed):
    expected = jax.random.key(np.uint64(seed))
    assert (jax.random.key_data(random_key(seed)) == jax.random.key_data(expected)).all()
    assert jax.random.key_impl(random_key(seed)) == jax.random.key_impl(expected)


# Types


def test_strong_types_change_nothing_else():
    weak = jnp.asarray(2.5)
    assert weak.aval.weak_type
    key = jax.random.key(3)
    tree = {"weak": weak, "strong": jnp.arange(3), "key": key, "flag": jnp.asarray(True)}
    out = strong_types(tree)
    assert set(out) == set(tree)
    for name in ("weak", "strong", "flag"):
        assert not out[name].aval.weak_type
        assert out[name].dtype == tree[name].dtype
        np.testing.assert_array_equal(out[name], tree[name])
    assert (jax.random.key_data(out["key"]) == jax.random.key_data(key)).all()


def test_a_weak_type_would_compile_again():
    """What strong types are for: the same program, called with its own result."""
    again = jax.jit(lambda x: jnp.where(x > 0, 1.0, 2.0))
    assert again(jnp.ones((), jnp.float32)).aval.weak_type
    again(again(jnp.ones((), jnp.float32)))
    assert again._cache_size() == 2
    once = jax.jit(lambda x: strong_types(jnp.where(x > 0, 1.0, 2.0)))
    once(once(jnp.ones((), jnp.float32)))
    assert once._cache_size() == 1


def test_statistics_without_names_are_alike_whatever_the_names():
    a = statistics(1)
    b = replace(a, labels=replace(a.labels, group="school", groups=("x", "y", "z")))
    structure = [jax.tree.structure(s) for s in (a, b)]
    assert structure[0] != structure[1]
    structure = [jax.tree.structure(unlabelled(s)) for s in (a, b)]
    assert structure[0] == structure[1]
    for before, after in zip(jax.tree.leaves(a), jax.tree.leaves(unlabelled(a)), strict=True):
        np.testing.assert_array_equal(before, after)
    assert (unlabelled(a).num_groups, unlabelled(a).num_predictors) == (3, 1)


# Sites and coordinates

SITES = {
    "hierarchical": ["mu_alpha", "sigma_alpha", "mu_beta", "sigma_beta", "alpha", "beta", "eps"],
    "individual": ["alpha", "beta", "eps"],
    "pooled": ["alpha", "beta", "eps"],
}


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("model", SITES)
def test_latent_sites_are_those_of_the_model(model, k):
    sites = latent_sites(models.FUNCTIONS[model], statistics(k), Priors.tutorial())
    expected = [name for name in SITES[model] if k or not name.endswith("beta")]
    assert list(sites) == expected
    assert "y" not in sites
    if k:
        shape = {"hierarchical": (3, k), "individual": (3, k), "pooled": (k,)}[model]
        assert jnp.shape(sites["beta"]["value"]) == shape


def test_scales_are_carried_to_their_support():
    priors = replace(Priors.tutorial(), sigma_beta=Uniform(np.array([2.0, 30.0])))
    transforms = latent_transforms(models.hierarchical, statistics(2), priors)
    np.testing.assert_allclose(transforms["sigma_beta"](jnp.zeros(2)), [1.0, 15.0], rtol=1e-6)
    np.testing.assert_allclose(transforms["eps"](jnp.asarray(50.0)), 100.0, rtol=1e-6)
    np.testing.assert_array_equal(transforms["alpha"](jnp.arange(3.0)), jnp.arange(3.0))
    half_normal = latent_transforms(
        models.pooled, statistics(2), Priors.weakly_informative(statistics(2))
    )
    np.testing.assert_allclose(half_normal["eps"](jnp.asarray(-1.0)), np.exp(-1.0), rtol=1e-6)


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("model", SITES)
def test_a_flat_vector_goes_to_its_sites_and_back(model, k):
    data, priors, function = statistics(k), Priors.tutorial(), models.FUNCTIONS[model]
    sites = latent_sites(function, data, priors)
    size = sum(np.size(site["value"]) for site in sites.values())
    flat = jnp.arange(1.0, size + 1)
    values = unraveller(function, data, priors)(flat)
    assert {n: v.shape for n, v in values.items()} == {
        n: jnp.shape(s["value"]) for n, s in sites.items()
    }
    # By name in alphabetical order, as JAX flattens dicts; each number once.
    back = jax.flatten_util.ravel_pytree(values)[0]
    np.testing.assert_array_equal(back, flat)
    in_order = np.concatenate([np.ravel(values[name]) for name in sorted(values)])
    np.testing.assert_array_equal(in_order, flat)


def test_coordinates_and_transforms_are_those_of_numpyro():
    """Density at the sites plus the Jacobian is what NumPyro's potential energy says."""
    data, priors = statistics(2), Priors.weakly_informative(statistics(2))
    with jax.enable_x64(True):
        flat = jnp.linspace(-0.5, 0.7, 3 * 3 + 1 + 3 + 3)
        z = unraveller(models.hierarchical, data, priors)(flat)
        transforms = latent_transforms(models.hierarchical, data, priors)
        values = {name: transforms[name](z[name]) for name in z}
        jacobian = sum(t.log_abs_det_jacobian(z[n], values[n]).sum() for n, t in transforms.items())
        density = log_density(models.hierarchical, (data, priors), {}, values)[0] + jacobian
        potential = potential_energy(models.hierarchical, (data, priors), {}, z)
        assert float(density) == pytest.approx(-float(potential), rel=1e-12)
