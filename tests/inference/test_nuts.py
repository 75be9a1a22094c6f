"""NUTS starts from the guide, draws from the posterior, and its draws depend on nothing else."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import arviz as az
import jax
import numpy as np
import numpyro
import pytest
from compiled import compilations
from fits import (
    THREE_COUNTIES,
    TUTORIAL,
    assert_moments,
    line,
    line_advi,
    line_nuts,
    radon,
    radon_advi,
    radon_nuts,
    three_counties,
    three_counties_advi,
    three_counties_nuts,
    towns,
    towns_guide,
)
from numpyro.infer import MCMC, NUTS
from numpyro.infer.reparam import LocScaleReparam
from tqdm.auto import tqdm

from radon_numpyro import GroupStatistics, Priors, fit_advi, sample_nuts, simulate
from radon_numpyro.inference import settings
from radon_numpyro.inference.compute.devices import current
from radon_numpyro.inference.compute.programs import unraveller
from radon_numpyro.inference.nuts import blocks, warm_start
from radon_numpyro.inference.nuts import draws as constrain
from radon_numpyro.inference.nuts.parametrisation import parametrisation
from radon_numpyro.inference.runs import run_control as bars
from radon_numpyro.model import regressions as models

SLOW = pytest.mark.slow


@pytest.fixture(autouse=True)
def whole_blocks(monkeypatch):
    """A hundred iterations, however busy the machine is."""
    monkeypatch.setattr(blocks, "PATIENCE", float("inf"))
    monkeypatch.setattr(blocks, "BLOCK", 100)


def assert_same_draws(a, b):
    assert set(a.draws) == set(b.draws)
    for name, values in a.draws.items():
        np.testing.assert_array_equal(values, b.draws[name], err_msg=name)
    for name, values in a.stats.items():
        np.testing.assert_array_equal(values, b.stats[name], err_msg=name)


def line_run(**arguments):
    """The run of ``line_nuts``, but for what is given."""
    settings = {"draws": 500, "num_warmup": 150, "progress_bar": False, **arguments}
    return sample_nuts(line(), line_advi(), **settings)


# The start


def logit(p):
    return np.log(p) - np.log1p(-p)


def pushed_guide_draws(advi, method, num_draws=50_000):
    """Draws of a guide under the tutorial's priors in a sampler's coordinates, by NumPy."""
    rng = np.random.default_rng(0)
    z = {
        name: loc + advi.scales[name] * rng.normal(size=(num_draws, *np.shape(loc)))
        for name, loc in advi.locs.items()
    }
    if method == "centered":
        return z
    sigma = {name: 100 / (1 + np.exp(-z[name])) for name in ("sigma_alpha", "sigma_beta")}
    if method == "noncentered":
        z["alpha_decentered"] = (z.pop("alpha").T - z["mu_alpha"]).T / sigma["sigma_alpha"][:, None]
        beta = z.pop("beta") - z["mu_beta"][:, None]
        z["beta_decentered"] = beta / sigma["sigma_beta"][:, None]
        return z
    signed = {f"signed_{n}": logit((sigma[f"sigma_{n}"] + 100) / 200) for n in ("alpha", "beta")}
    return {**signed, "eps": z["eps"]}


def settings_of(method, chains):
    names = ("target_accept_prob", "chain_method", "target_ess", "max_seconds")
    return settings.Settings(
        model="hierarchical",
        method=method,
        draws=4,
        chains=chains,
        num_warmup=20,
        seed=3,
        max_tree_depth=10,
        coefficients="auto",
        dtype="float64",
        **dict.fromkeys(names),
    )


def warm_start_by_site(advi, statistics, method, chains):
    """Starting points and variances of each site, by the order that the sampler itself uses."""
    coordinates = parametrisation(advi.model, method)
    with jax.enable_x64(True):
        start = warm_start.warm_start(advi, statistics, TUTORIAL, settings_of(method, chains))
        unravel = unraveller(coordinates.model, coordinates.data(statistics), TUTORIAL)
        assert start.position.shape == (chains, *start.variance.shape)
        np.testing.assert_allclose(start.unit**2, start.variance, rtol=1e-12)
        sites = jax.vmap(unravel)(start.position), unravel(start.variance)
    return jax.tree.map(np.asarray, sites)


@pytest.mark.parametrize(
    "method",
    ["noncentered", pytest.param("centered", marks=SLOW), pytest.param("marginal", marks=SLOW)],
)
def test_the_warm_start_is_the_guide_in_the_coordinates_of_the_sampler(method):
    chains = 200
    positions, variances = warm_start_by_site(radon_advi(), radon(), method, chains)
    expected = pushed_guide_draws(radon_advi(), method)
    assert set(variances) == set(expected)
    for name, draws in expected.items():
        assert np.shape(variances[name]) == draws.shape[1:], name
        variance = draws.var(0)
        kurtosis = ((draws - draws.mean(0)) ** 4).mean(0) / variance**2
        # Variances, not standard deviations: here they differ by up to a factor of 40.
        error = variances[name] / variance - 1
        allowed = 4.5 * np.sqrt((kurtosis - 1) / warm_start.GUIDE_DRAWS)
        assert (np.abs(error) < allowed).all(), name
        # Starting points: the guide's centre, and twice its spread.
        position = positions[name]
        error = (position.mean(0) - draws.mean(0)) / np.sqrt(4 * variance)
        assert (np.abs(error) < 4.5 / np.sqrt(chains)).all(), name
        error = position.var(0) / (4 * variance) - 1
        allowed = 4.5 * np.sqrt((kurtosis - 1) / chains)
        assert (np.abs(error) < allowed).all(), name
        assert len(np.unique(position)) == position.size, name


def test_the_scales_of_the_guide_spare_the_warm_up():
    """Scales of 0.2 and 10 000 side by side: without them a step of the one is 10 000 of the
    other, and every trajectory ends at the tree depth."""
    result = three_counties_nuts()
    assert result.warmup_gradients < 30 * 4 * result.num_warmup
    run = partial(sample_nuts, three_counties(), three_counties_advi(), priors=TUTORIAL, draws=4)
    first = nuts_blocks(lambda: run(progress_bar=False))[0]
    assert first["n_steps"].shape == (4, 100)
    assert first["n_steps"].mean() < 30


# The posterior


@pytest.mark.parametrize("method", ["noncentered", pytest.param("marginal", marks=SLOW)])
def test_the_radon_posterior_is_the_exact_one(method):
    result = radon_nuts(method)
    exact = {
        "mu_alpha": (1.4920, 0.0511),
        "mu_beta": (-0.6485, 0.0822),
        "sigma_alpha": (0.3250, 0.0454),
        "sigma_beta": (0.2595, 0.1290),
        "eps": (0.7206, 0.0181),
    }
    assert result.stats["diverging"].sum() == 0
    for name, (mean, sd) in exact.items():
        draws = result.draws[name].reshape(4, 2000)
        assert_moments(draws, mean, sd, rounding=0.00005)


@pytest.mark.slow
def test_both_parametrisations_have_the_coefficients_of_every_county():
    """The exact numbers above are of the population; here is the order of the counties."""
    a, b = (radon_nuts(method).draws for method in ("noncentered", "marginal"))
    for name in ("alpha", "beta"):
        x, y = (draws[name].reshape(4, 2000, 85) for draws in (a, b))
        error = [
            (x[..., c].mean() - y[..., c].mean())
            / np.hypot(az.mcse(x[..., c], method="mean"), az.mcse(y[..., c], method="mean"))
            for c in range(85)
        ]
        assert np.abs(error).max() < 4.5, name
        # Counties differ, so a wrong order would show.
        assert x.mean((0, 1)).std() > 10 * np.median(np.abs(x.mean((0, 1)) - y.mean((0, 1))))


@pytest.mark.parametrize(
    ("county", "site", "mean", "sd"),
    [
        ("CROW WING", "alpha", 0.9872, 0.2672),
        ("CROW WING", "beta", 0.0021, 0.5343),
        ("CROW WING", "eps", 0.7734, 0.2101),
        ("FREEBORN", "alpha", 2.1521, 0.3727),
        ("FREEBORN", "beta", -0.8654, 0.7905),
        ("FREEBORN", "eps", 0.9268, 0.3364),
        ("CASS", "beta", 0.0, 1e4),
    ],
)
def test_counties_on_their_own_have_the_exact_posterior(county, site, mean, sd):
    result = three_counties_nuts()
    assert result.stats["diverging"].sum() == 0
    draws = result.draws[site].reshape(4, 2000, 3)[..., THREE_COUNTIES.index(county)]
    assert_moments(draws, mean, sd, rounding=0.00005)


@pytest.mark.slow
def test_numpyro_s_own_sampler_on_the_rows_agrees():
    truth = simulate(
        num_groups=5,
        rows_per_group=[20, 6, 12, 30, 9],
        mu_alpha=3.0,
        mu_beta=-1.0,
        sigma_alpha=1.0,
        sigma_beta=0.5,
        eps=0.5,
        seed=2,
    )
    priors = Priors.weakly_informative(truth.data)
    config = {name: LocScaleReparam(centered=0) for name in ("alpha", "beta")}
    model = numpyro.handlers.reparam(models.hierarchical, config=config)
    with jax.enable_x64(True):
        reference = MCMC(
            NUTS(model, target_accept_prob=0.95),
            num_warmup=1000,
            num_samples=2000,
            num_chains=2,
            chain_method="sequential",
            progress_bar=False,
        )
        reference.run(jax.random.key(0), truth.data, priors)
    expected = reference.get_samples(group_by_chain=True)
    advi = fit_advi(truth.data, num_steps=0, progress_bar=False)
    result = sample_nuts(truth.data, advi, draws=2000, target_accept_prob=0.95, progress_bar=False)
    for name, values in result.draws.items():
        mine = values.reshape(4, 2000, -1)
        theirs = np.asarray(expected[name]).reshape(2, 2000, -1)
        for k in range(mine.shape[2]):
            a, b = mine[..., k], theirs[..., k]
            assert min(az.ess(a, method="bulk"), az.ess(b, method="bulk")) > 200
            for moment, method in ((np.mean, "mean"), (np.std, "sd")):
                error = np.hypot(az.mcse(a, method=method), az.mcse(b, method=method))
                assert abs(moment(a) - moment(b)) < 4.5 * error, (name, k, method)


# What is recorded


def test_draws_and_statistics_have_their_shapes():
    result = line_nuts()
    shapes = {name: values.shape for name, values in result.draws.items()}
    assert shapes == {"alpha": (4, 500), "beta": (4, 500, 1), "eps": (4, 500)}
    assert set(result.stats) == {
        "lp",
        "energy",
        "n_steps",
        "acceptance_rate",
        "step_size",
        "diverging",
    }
    assert {values.shape for values in result.stats.values()} == {(4, 500)}
    assert result.stats["diverging"].dtype == bool
    assert result.inverse_mass_matrix.shape == (4, 3)
    assert result.method == "centered"
    assert result.chain_method == settings.default_chain_method(4, current().platform)
    assert (result.num_warmup, result.max_tree_depth, result.seed) == (150, 10, 0)
    assert result.complete
    for values in result.draws.values():
        assert np.isfinite(values).all()
        assert values.dtype == np.float64


def test_lp_is_the_log_density_of_its_own_draw():
    """In the sampler's coordinates: with the Jacobian of eps = exp(u)."""
    result, data, priors = line_nuts(), line(), Priors.weakly_informative(line())
    alpha, beta, eps = result.draws["alpha"], result.draws["beta"][..., 0], result.draws["eps"]
    deviation = data.y - alpha[..., None] - beta[..., None] * data.x[:, 0]
    log_density = (
        -0.5 * ((deviation / eps[..., None]) ** 2).sum(-1)
        - data.num_rows * (np.log(eps) + 0.5 * np.log(2 * np.pi))
        - 0.5 * ((alpha - priors.alpha.loc) / priors.alpha.scale) ** 2
        - 0.5 * (beta / priors.beta.scale) ** 2
        - np.log(2 * np.pi * priors.alpha.scale * priors.beta.scale)
        - 0.5 * (eps / priors.eps.scale) ** 2
        + 0.5 * np.log(2 / np.pi)
        - np.log(priors.eps.scale)
        + np.log(eps)
    )
    np.testing.assert_allclose(result.stats["lp"], log_density, rtol=1e-9)
    # Potential and kinetic energy.
    assert (result.stats["energy"] + result.stats["lp"] > 0).all()


def test_the_step_size_is_tuned_in_warm_up_alone():
    step_size = line_nuts().stats["step_size"]
    assert (step_size == step_size[:, :1]).all()
    assert len(np.unique(step_size)) == 4
    assert np.abs(line_nuts().stats["acceptance_rate"].mean(1) - 0.9).max() < 0.06


def test_the_adapted_mass_matrix_is_of_posterior_variances():
    """Each variance in the place of its own coordinate, in the units of the coordinate."""
    result, statistics = radon_nuts("noncentered"), radon()
    coordinates = parametrisation("hierarchical", "noncentered")
    with jax.enable_x64(True):
        unravel = unraveller(coordinates.model, coordinates.data(statistics), TUTORIAL)
        adapted = jax.tree.map(np.asarray, jax.vmap(unravel)(result.inverse_mass_matrix))
    draws = {name: values.reshape(8000, *values.shape[2:]) for name, values in result.draws.items()}
    for name in ("sigma_alpha", "sigma_beta", "eps"):
        draws[name] = logit(draws[name] / 100)
    for name in ("alpha", "beta"):
        mean, sd = (result.draws[f"{s}_{name}"].reshape(8000, 1) for s in ("mu", "sigma"))
        values = draws.pop(name).reshape(8000, 85)
        draws[f"{name}_decentered"] = ((values - mean) / sd).reshape(
            8000, *adapted[f"{name}_decentered"].shape[1:]
        )
    assert set(adapted) == set(draws)
    for name, values in draws.items():
        # Tuned on a few hundred draws of each chain: here the mean over the four.
        ratio = adapted[name].mean(0) / values.var(0)
        assert (np.abs(np.log(ratio)) < np.log(2)).all(), name
    assert result.inverse_mass_matrix.max() > 50 * result.inverse_mass_matrix.min()


def test_settings_of_the_sampler_are_used():
    settings = {"target_accept_prob": 0.6, "max_tree_depth": 2, "chains": 1}
    result = line_run(**settings, chain_method="vectorized")
    assert result.stats["lp"].shape == (1, 500)
    assert set(np.unique(result.stats["n_steps"])) <= {1, 2, 3}
    assert line_nuts().stats["n_steps"].max() > 3
    assert result.stats["step_size"].min() > line_nuts().stats["step_size"].max()
    assert result.max_tree_depth == 2


def nuts_blocks(run):
    """What each block of a run recorded, of which ``length`` iterations count."""
    recorded = []
    block = blocks.advance

    def spy(states, length, *args, **kwargs):
        states, records = block(states, length, *args, **kwargs)
        recorded.append({name: blocks.recorded(records, name, length) for name in records[0]})
        return states, records

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "advance", spy)
        run()
    return recorded


def test_gradients_of_the_warm_up_are_counted():
    """Blocks end with the warm-up, so no draw is counted, and none is lost."""
    results = []
    recorded = nuts_blocks(lambda: results.append(line_run(draws=130)))
    n_steps = [block["n_steps"] for block in recorded]
    assert [steps.shape for steps in n_steps] == [(4, 100), (4, 50), (4, 100), (4, 30)]
    assert results[0].warmup_gradients == n_steps[0].sum() + n_steps[1].sum() > 600
    np.testing.assert_array_equal(results[0].stats["n_steps"], np.hstack(n_steps[2:]))


# The same bits


def test_same_seed_same_bits_and_another_seed_others():
    assert_same_draws(line_nuts(), line_run())
    other = line_run(seed=1)
    assert not np.isin(other.draws["alpha"], line_nuts().draws["alpha"]).any()
    chains = line_nuts().draws["alpha"]
    assert len(np.unique(chains)) > 0.9 * chains.size


def test_the_bar_changes_nothing(capsys, monkeypatch):
    monkeypatch.setattr(bars, "watched", lambda: True)
    shown = line_run(progress_bar=True)
    text = capsys.readouterr().err
    assert_same_draws(line_nuts(), shown)
    size = shown.stats["n_steps"][:, -100:].mean()
    assert "NUTS: 100%" in text
    assert "650/650" in text
    assert f"0 divergences, tree size {size:.0f}" in text
    line_run(draws=4)
    assert capsys.readouterr() == ("", "")


def test_longer_runs_begin_with_shorter_ones():
    short = line_run(draws=170)
    for name, values in short.draws.items():
        np.testing.assert_array_equal(values, line_nuts().draws[name][:, :170])


def test_rows_and_their_statistics_give_the_same_bits():
    statistics = GroupStatistics.from_data(line())
    again = sample_nuts(statistics, line_advi(), draws=500, num_warmup=150, progress_bar=False)
    assert_same_draws(line_nuts(), again)


@pytest.mark.slow
def test_vectorized_chains_draw_from_the_same_posterior():
    """The same at first, up to roundings; then other draws of the same posterior."""
    result = line_run(chain_method="vectorized", draws=2000)
    assert result.chain_method == "vectorized"
    reference = line_run(draws=2000)
    first = (slice(None), slice(0, 5))
    lp = result.stats["lp"][first]
    assert (lp != reference.stats["lp"][first]).any()
    np.testing.assert_allclose(lp, reference.stats["lp"][first], rtol=1e-9)
    for name, values in result.draws.items():
        a, b = values.reshape(4, 2000), reference.draws[name].reshape(4, 2000)
        assert min(az.ess(a, method="bulk"), az.ess(b, method="bulk")) > 1000
        for moment, method in ((np.mean, "mean"), (np.std, "sd")):
            error = np.hypot(az.mcse(a, method=method), az.mcse(b, method=method))
            assert abs(moment(a) - moment(b)) < 4.5 * error, (name, method)


TOWNS = {"priors": TUTORIAL, "draws": 60, "num_warmup": 50, "progress_bar": False}


@pytest.mark.parametrize(
    ("method", "cases"),
    [
        ("marginal", [(4, 2), (4, 3), (4, 16)]),
        pytest.param("marginal", [(3, 2), (1, 2), (5, 4)], marks=SLOW),
        pytest.param("noncentered", [(4, 3), (3, 2)], marks=SLOW),
        pytest.param("centered", [(4, 3), (3, 2)], marks=SLOW),
    ],
)
def test_chains_side_by_side_draw_the_bits_of_chains_one_after_another(monkeypatch, method, cases):
    """On hard data, so that a rounding would grow, for any number of chains and cores."""
    run = partial(sample_nuts, towns(), towns_guide(), method=method, **TOWNS)
    for chains, cores in cases:
        monkeypatch.setattr(blocks, "num_cores", lambda cores=cores: cores)
        side_by_side = run(chains=chains, chain_method="parallel")
        assert side_by_side.chain_method == "parallel"
        assert_same_draws(side_by_side, run(chains=chains, chain_method="sequential"))


def test_chains_side_by_side_are_compiled_once(monkeypatch):
    monkeypatch.setattr(blocks, "num_cores", lambda: 4)
    blocks._advance.compiled().clear_cache()
    with compilations() as names:
        line_run(draws=10, chain_method="parallel")
        line_run(draws=10, chain_method="sequential")
    assert names.count("jit(_advance)") == 1
    constrain._constrain.compiled().clear_cache()
    with compilations() as names:
        sample_nuts(towns(), towns_guide(), **TOWNS, chain_method="parallel")
    assert names.count("jit(_constrain)") == 1


def test_side_by_side_in_the_precision_asked_for():
    """The setting belongs to a thread."""
    run = partial(line_run, draws=10, dtype="float32")
    parallel = run(chain_method="parallel")
    assert parallel.draws["alpha"].dtype == np.float32
    assert_same_draws(parallel, run(chain_method="sequential"))


ON_OTHER_DEVICES = """
import sys
sys.path[:0] = [sys.argv[1], f"{sys.argv[1]}/inference"]
import jax
from fits import towns, towns_guide
from radon_numpyro import sample_nuts
from test_nuts import TOWNS, digest

print(jax.local_device_count())
for chain_method in ("sequential", "parallel"):
    print(digest(sample_nuts(towns(), towns_guide(), chain_method=chain_method, **TOWNS)))
"""


def digest(result):
    values = [*result.draws.values(), *result.stats.values()]
    return hashlib.sha256(b"".join(np.ascontiguousarray(v).tobytes() for v in values)).hexdigest()


@pytest.mark.slow
def test_the_number_of_devices_changes_nothing():
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cpu"}
    arguments = [ON_OTHER_DEVICES, str(Path(__file__).parents[1])]
    command = [sys.executable, "-W", "error", "-c", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    expected = digest(sample_nuts(towns(), towns_guide(), **TOWNS))
    assert (done.returncode, done.stdout.split()) == (0, ["4", expected, expected]), done.stderr


@pytest.mark.parametrize(
    ("device", "cores", "chains", "expected"),
    [
        ("cpu", 1, 4, "sequential"),
        ("cpu", 2, 4, "parallel"),
        ("cpu", 8, 3, "parallel"),
        ("cpu", 8, 1, "sequential"),
        ("gpu", 8, 4, "vectorized"),
    ],
)
def test_chains_run_as_suits_the_machine(monkeypatch, device, cores, chains, expected):
    monkeypatch.setattr(settings, "num_cores", lambda: cores)
    assert settings.default_chain_method(chains, device) == expected


def test_there_is_a_core():
    assert 1 <= blocks.num_cores() <= os.cpu_count()


def test_the_size_of_the_blocks_changes_nothing(monkeypatch):
    line_nuts()
    monkeypatch.setattr(blocks, "BLOCK", 37)
    recorded = nuts_blocks(lambda: assert_same_draws(line_nuts(), line_run()))
    assert {block["lp"].shape[1] for block in recorded} == {37, 150 % 37, 500 % 37}


def test_a_block_takes_about_a_second_at_the_most(monkeypatch):
    monkeypatch.setattr(blocks, "PATIENCE", 1.0)
    monkeypatch.setattr(blocks, "BLOCK", 500)
    pace = blocks.Pace(num_groups=85, size=12)
    assert pace.length == 100
    pace.took(100, 30.0)  # with the time to compile
    assert pace.length == 100
    pace.took(100, 20.0)
    assert pace.length == 5
    # At most four times as many: the next may be longer ones.
    pace.took(5, 0.01)
    assert pace.length == 20
    for length in (80, 320, 500):
        pace.took(pace.length, 0.1)
        assert pace.length == length
    # A block that the end of the warm-up cut short tells as well.
    pace.took(10, 0.05)
    assert pace.length == 200
    pace.took(100, 1000.0)
    assert pace.length == 1
    pace.took(1, 0.0)
    assert pace.length == 4
    assert blocks.Pace(num_groups=1000, size=12).length == 10
    assert blocks.Pace(num_groups=10**6, size=12).length == 1


def test_a_block_of_many_coordinates_is_short(monkeypatch):
    """The positions in it, of every iteration that it has room for, take 8 MB at the most."""
    monkeypatch.setattr(blocks, "BLOCK", 500)
    assert [blocks.capacity(size) for size in (3, 2000, 200_000, 10**7)] == [500, 500, 5, 1]
    pace = blocks.Pace(num_groups=85, size=200_000)
    assert pace.length == 5
    pace.took(5, 0.0)
    pace.took(5, 0.0)
    assert pace.length == 5


def test_longer_blocks_have_the_same_draws(monkeypatch):
    """And have room for them: a hundred iterations in the other tests."""
    line_nuts()
    monkeypatch.setattr(blocks, "BLOCK", 500)
    recorded = nuts_blocks(lambda: assert_same_draws(line_nuts(), line_run()))
    assert [block["lp"].shape[1] for block in recorded] == [100, 50, 400, 100]


def test_the_clock_keeps_what_is_drawn(monkeypatch):
    now = 0.0
    advance = blocks.advance

    def slow(*args, **kwargs):
        nonlocal now
        now += 10.0
        return advance(*args, **kwargs)

    monkeypatch.setattr(blocks, "advance", slow)
    monkeypatch.setattr("radon_numpyro.inference.runs.run_control.time.monotonic", lambda: now)
    result = line_run(max_seconds=45.0)
    # Two blocks of warm-up, three of draws, the last of which begins in time.
    assert result.stopped_by == "max_seconds"
    assert not result.complete
    assert result.stats["lp"].shape == (4, 300)
    for name, values in result.draws.items():
        np.testing.assert_array_equal(values, line_nuts().draws[name][:, :300])
    with pytest.raises(TimeoutError, match="within max_seconds=15; got none yet"):
        line_run(max_seconds=15)


# Compiled once


def test_one_compilation_serves_warm_up_sampling_and_all_data_of_a_shape():
    programs = (blocks._begin, blocks._advance, constrain._constrain)
    for program in programs:
        program.compiled().clear_cache()
    with compilations() as names:
        line_run(draws=210)
        other = line(300)
        renamed = replace(other, labels=replace(other.labels, groups=("d", "e", "f")))
        advi = fit_advi(renamed, "pooled", num_steps=1000, progress_bar=False)
        sample_nuts(renamed, advi, num_warmup=150, draws=210, progress_bar=False)
    for program in programs:
        assert names.count(f"jit({program.__name__})") == 1


def test_a_block_leaves_the_types_of_the_state_as_they_were(monkeypatch):
    def types(state):
        found = map(jax.typeof, jax.tree.leaves(state))
        return [(x.shape, x.dtype, x.weak_type) for x in found]

    seen = []
    block = blocks.advance

    def spy(state, *args, **kwargs):
        new_state, buffers = block(state, *args, **kwargs)
        seen.extend([types(state), types(new_state)])
        return new_state, buffers

    monkeypatch.setattr(blocks, "advance", spy)
    line_run(draws=100, chain_method="sequential")
    assert len(seen) == 6
    assert all(types == seen[0] for types in seen)
    assert not any(weak for _, _, weak in seen[0])


def test_the_setting_of_the_caller_is_left_alone():
    assert not jax.config.jax_enable_x64
    line_run(draws=4)
    assert not jax.config.jax_enable_x64


@pytest.mark.slow
def test_float32_draws_from_the_same_posterior():
    result = line_run(dtype="float32", draws=2000)
    reference = line_run(draws=2000)
    for name, values in result.draws.items():
        assert values.dtype == np.float32
        a, b = values.reshape(4, 2000).astype(float), reference.draws[name].reshape(4, 2000)
        error = np.hypot(az.mcse(a, method="mean"), az.mcse(b, method="mean"))
        assert abs(a.mean() - b.mean()) < 4.5 * error, name
        assert a.std() == pytest.approx(b.std(), rel=0.1), name
    assert result.stats["diverging"].mean() < 0.01


# Interrupts


@pytest.fixture
def interrupt_after(monkeypatch):
    """Send this process a real SIGINT after so many blocks."""

    def install(num_blocks):
        class Interrupting(tqdm):
            def update(self, n=1):
                nonlocal num_blocks
                super().update(n)
                num_blocks -= 1
                if num_blocks == 0:
                    os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr("tqdm.auto.tqdm", Interrupting)

    # Whoever runs the tests may have turned interrupts off.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield install
    signal.signal(signal.SIGINT, handler)


def run_to_the_end():
    """The run, where an interrupt that is not caught fails the test and does not end the tests."""
    try:
        return line_run()
    except KeyboardInterrupt:
        pytest.fail("the interrupt was not caught")


def test_an_interrupt_keeps_what_is_drawn(interrupt_after):
    line_nuts()
    interrupt_after(5)
    result = run_to_the_end()
    assert not result.complete
    assert result.stats["lp"].shape == (4, 300)
    for name, values in result.draws.items():
        np.testing.assert_array_equal(values, line_nuts().draws[name][:, :300])
    assert result.warmup_gradients == line_nuts().warmup_gradients
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_an_interrupt_before_the_first_draw_interrupts(interrupt_after, num_blocks):
    line_nuts()
    interrupt_after(num_blocks)
    with pytest.raises(KeyboardInterrupt):
        line_run()
    assert not jax.config.jax_enable_x64


def test_an_interrupt_after_the_last_block_loses_nothing(interrupt_after):
    line_nuts()
    interrupt_after(7)
    result = run_to_the_end()
    assert result.complete
    assert_same_draws(line_nuts(), result)


# Failure


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_start_that_is_not_finite_is_an_error(bad):
    guide = replace(line_advi(), locs={**line_advi().locs, "alpha": np.array(bad)})
    message = "Expected a finite log density where each chain starts; got .*nan|inf"
    with pytest.raises(FloatingPointError, match=message):
        sample_nuts(line(), guide, draws=500, num_warmup=150, progress_bar=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"method": "noncentered"},
            "Expected method of the pooled model to be one of marginal, centered, integrate;",
        ),
        ({"chain_method": "serial"}, "Expected chain_method to be one of sequential, parallel, ve"),
        ({"draws": 3}, "Expected draws to be an integer of at least 4; got 3"),
        ({"draws": 100.0}, "Expected draws to be an integer of at least 4; got 100.0"),
        ({"chains": 0}, "Expected chains to be an integer of at least 1; got 0"),
        ({"num_warmup": 19}, "Expected num_warmup to be an integer of at least 20; got 19"),
        ({"seed": -1}, "Expected seed to be an integer of at least 0; got -1"),
        ({"seed": 0.5}, "Expected seed to be an integer of at least 0; got 0.5"),
        ({"max_tree_depth": 0}, "Expected max_tree_depth to be an integer of at least 1; got 0"),
        ({"target_accept_prob": 1.0}, "Expected target_accept_prob to be between 0 and 1; got 1.0"),
        ({"target_ess": -1}, "Expected target_ess to be positive; got -1"),
        ({"target_ess": "many"}, "Expected target_ess to be positive; got many"),
        ({"max_seconds": 0}, "Expected max_seconds to be positive; got 0"),
        (
            {"coefficients": "all"},
            "Expected coefficients to be one of auto, draws, summary, none; got 'all",
        ),
        (
            {"coefficients": "summary"},
            "Expected method='marginal' or 'integrate' of the hierarchical",
        ),
        ({"coefficients": "none"}, "Expected method='marginal' or 'integrate' of the hierarchical"),
        ({"dtype": "double"}, "Expected dtype to be 'float64' or 'float32'; got 'double'"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        line_run(**arguments)


def test_a_model_without_a_sampler():
    guide = replace(line_advi(), model="flat")
    with pytest.raises(ValueError, match=r"Expected model to be one of .*; got 'flat'"):
        sample_nuts(line(), guide, progress_bar=False)


def test_data_of_another_type():
    with pytest.raises(TypeError, match="Expected data to be a GroupedData or GroupStatistics"):
        sample_nuts(line().to_frame(), line_advi(), progress_bar=False)
