"""Few groups: no false alarm of divergences, nothing that is cherry-picked, and none hidden."""

import json
import re
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from compiled import compilations
from fits import TUTORIAL, assert_moments, assert_same_tree, radon, towns
from scipy.special import logsumexp

from radon_numpyro import (
    GroupedData,
    GroupStatistics,
    Priors,
    diagnose,
    fit,
    fit_advi,
    resume,
    sample_nuts,
)
from radon_numpyro.inference import settings
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.nuts import compile_ahead as ahead
from radon_numpyro.inference.nuts import sampler as nuts
from radon_numpyro.inference.runs import checkpoint
from radon_numpyro.inference.runs import run_control as bars
from radon_numpyro.inference.runs.run_control import Run
from radon_numpyro.model.priors import HalfNormal, Normal, Uniform

# Travel times of an ultrasonic wave along six rails, three of each: Devore (2000), and nlme.
TRAVEL = (55, 53, 54, 26, 37, 32, 78, 91, 85, 92, 100, 96, 49, 51, 50, 80, 85, 83)


@cache
def rail():
    return GroupedData.from_arrays(TRAVEL, None, np.repeat(np.arange(6), 3))


@cache
def treatments(offset=0.0):
    """Nine treatments with 21 replicates each, as those of NIST's data set SmLs01."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(9), 21)
    y = 1.4 + 0.1 * rng.normal(size=9)[group] + 0.1 * rng.normal(size=len(group))
    return GroupedData.from_arrays(offset + np.round(y, 1), None, group)


@cache
def six_groups(sd, *, predictor):
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(6), 8)
    x, noise = rng.normal(size=(2, len(group)))
    intercept, slope = sd * rng.normal(size=(2, 6))
    if not predictor:
        return GroupedData.from_arrays(intercept[group] + noise, None, group)
    return GroupedData.from_arrays(intercept[group] + (0.5 + slope[group]) * x + noise, x, group)


SMALL = {
    "rail": rail,
    "treatments": treatments,
    "treatments, far from 0": partial(treatments, 1e6),
    **{
        f"6 x 8, sd {sd}, {'a' if predictor else 'no'} predictor": partial(
            six_groups, sd, predictor=predictor
        )
        for sd in (0, 0.3, 1, 5)
        for predictor in (False, True)
    },
}


@pytest.fixture
def few_of_none(monkeypatch):
    """All data start at 0.8, where rail diverges from any seed or nearly so: seed 0 does."""
    monkeypatch.setattr(settings, "FEW_GROUPS", 0)


def fit_rail(**options):
    return fit(rail(), **{"num_advi_steps": 0, "progress_bar": False} | options)


def earlier(tree):
    return json.loads(tree.attrs["earlier_runs"])


# No false alarm


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_ten_seeds_of_small_data_end_without_findings(name):
    for seed in range(10):
        tree = fit(SMALL[name](), seed=seed, progress_bar=False)
        diagnosis = diagnose(tree)
        assert diagnosis.ok, (seed, tree.attrs["earlier_runs"], str(diagnosis))
        assert diagnosis.num_divergences == 0
        assert tree.attrs["target_accept_prob"] == (0.99 if earlier(tree) else 0.95)


def exact_rail():
    """Means and sds of the two sds by a grid: rows of a rail share what is normal."""
    y, priors = np.reshape(TRAVEL, (6, 3)), Priors.weakly_informative(rail())
    log_sigma, log_eps = np.linspace(-6, 6, 1500)[:, None], np.linspace(0, 4, 801)
    sigma, eps = np.exp(log_sigma), np.exp(log_eps)
    means, within = y.mean(1), ((y - y.mean(1, keepdims=True)) ** 2).sum()
    of_mean = sigma**2 + eps**2 / 3
    # The six means have the covariance of_mean I + scale^2 1 1'.
    off, scale = means.mean() - priors.mu_alpha.loc, priors.mu_alpha.scale
    together = of_mean + 6 * scale**2
    apart = ((means - means.mean()) ** 2).sum()
    log_density = (
        -0.5 * (5 * np.log(of_mean) + np.log(together) + apart / of_mean + 6 * off**2 / together)
        - 12 * log_eps
        - 0.5 * within / eps**2
        - 0.5 * (sigma / priors.sigma_alpha.scale) ** 2
        - 0.5 * (eps / priors.eps.scale) ** 2
        + log_sigma
        + log_eps
    )
    weight = np.exp(log_density - logsumexp(log_density))
    first = [(weight * v).sum() for v in (sigma, eps)]
    second = [(weight * v**2).sum() for v in (sigma, eps)]
    return {
        name: (m, np.sqrt(s - m**2))
        for name, m, s in zip(("sigma_alpha", "eps"), first, second, strict=True)
    }


def test_the_posterior_of_rail_is_the_exact_one(few_of_none):
    """The draws of the run that is kept, in the steps of which there is nothing left to diverge."""
    exact = exact_rail()
    assert exact["sigma_alpha"][0] == pytest.approx(26.38, abs=0.01)
    assert exact["eps"][0] == pytest.approx(4.51, abs=0.01)
    tree = fit_rail(draws=4000)
    assert earlier(tree)
    for name, (mean, sd) in exact.items():
        assert_moments(tree["posterior"][name].values, mean, sd)


# How it comes about


def test_acceptances_by_default():
    def acceptances(num_groups, **given):
        asked = {"model": "hierarchical", "method": None, "draws": 4, "chains": 1, "seed": 0}
        asked |= {"num_warmup": 20, "target_accept_prob": None, "max_tree_depth": 10}
        asked |= {"chain_method": None, "coefficients": "auto", "dtype": "float64"}
        asked |= {"target_ess": None, "max_seconds": None}
        return settings.Settings(**asked | given).acceptances(num_groups)

    assert acceptances(20) == (0.95, 0.99)
    assert acceptances(21) == (0.8, 0.95, 0.99)
    assert acceptances(6, target_accept_prob=0.7) == (0.7,)
    for method in ("noncentered", "centered"):
        for num_groups in (6, 85):
            assert acceptances(num_groups, method=method) == (0.9,)
    assert acceptances(6, model="pooled", method="centered") == (0.9,)


def test_groups_without_rows_do_not_count():
    sizes = [8] * 6 + [0] * 100
    group = pd.Categorical.from_codes(np.repeat(np.arange(106), sizes), range(106))
    data = GroupedData.from_arrays(np.arange(48.0) % 7, None, group)
    tree = fit(data, num_advi_steps=0, num_warmup=100, draws=50, progress_bar=False)
    assert tree.attrs["target_accept_prob"] in (0.95, 0.99)


def test_the_run_that_is_kept_is_one_with_its_acceptance_from_the_start(few_of_none):
    tree = fit_rail()
    before, *others = earlier(tree)
    assert before["target_accept_prob"] == 0.8
    assert before["draws"] == 1000
    assert before["divergences"] > 0
    accept = tree.attrs["target_accept_prob"]
    assert accept == (0.99 if others else 0.95)
    alone = fit_rail(target_accept_prob=accept)
    for group in ("posterior", "sample_stats"):
        xr.testing.assert_equal(tree[group].to_dataset(), alone[group].to_dataset())
    assert tree.attrs["complete"] == 1
    assert "unfinished_run" not in tree.attrs


def test_gradients_of_every_run_are_counted(few_of_none, monkeypatch):
    counted = []
    block = blocks.advance

    def spy(states, length, *args, **kwargs):
        states, records = block(states, length, *args, **kwargs)
        counted.append(int(blocks.recorded(records, "n_steps", length).sum()))
        return states, records

    monkeypatch.setattr(blocks, "advance", spy)
    tree = fit_rail()
    assert earlier(tree)
    gradients = [tree.attrs[f"{phase}_gradients"] for phase in ("warmup", "sampling")]
    assert sum(gradients) == sum(counted)
    assert gradients[1] == tree["sample_stats"]["n_steps"].sum()


def test_another_run_compiles_nothing(few_of_none, monkeypatch):
    monkeypatch.setattr(ahead, "_SEEN", set())
    blocks._advance.compiled().clear_cache()
    blocks._begin.compiled().clear_cache()
    with compilations() as names:
        tree = fit_rail()
    assert earlier(tree)
    assert names.count("jit(_advance)") == names.count("jit(_begin)") == 1
    with compilations() as names:
        fit_rail(target_accept_prob=0.9)
    assert not names


def test_the_bar_says_that_it_is_another_run(few_of_none, capsys, monkeypatch):
    monkeypatch.setattr(bars, "watched", lambda: True)
    tree = fit_rail(progress_bar=True)
    shown = capsys.readouterr().err
    accepts = [run["target_accept_prob"] for run in earlier(tree)[1:]]
    for accept in (*accepts, tree.attrs["target_accept_prob"]):
        assert f"NUTS, target acceptance {accept:g}: 100%" in shown
    assert "NUTS: 100%" in shown


# Nothing is hidden


def test_divergences_of_the_last_run_are_reported(monkeypatch):
    """Whatever it found, it is the last one that counts."""
    monkeypatch.setattr(settings.Settings, "acceptances", lambda *_: (0.8, 0.5))
    tree = fit_rail()
    assert [run["target_accept_prob"] for run in earlier(tree)] == [0.8]
    assert tree.attrs["target_accept_prob"] == 0.5
    diverging = int(tree["sample_stats"]["diverging"].sum())
    assert diverging > earlier(tree)[0]["divergences"]
    assert f"{diverging} of 4000 transitions diverged" in str(diagnose(tree))


def test_an_acceptance_that_is_given_gets_one_run():
    tree = fit_rail(target_accept_prob=0.8)
    assert earlier(tree) == []
    assert tree.attrs["target_accept_prob"] == 0.8
    diagnosis = diagnose(tree)
    assert diagnosis.num_divergences > 0
    assert not diagnosis.ok


def test_a_posterior_with_no_end_is_refused_whether_its_last_run_diverges_or_not():
    """Three groups, and priors that allow anything: sigma_alpha has hardly a mean."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(3), 3)
    data = GroupedData.from_arrays(
        6.0 * np.array([-1, 0.1, 0.9])[group] + rng.normal(size=9), None, group
    )
    none, loc = Normal(np.zeros(0), np.zeros(0)), Normal(0.0, 1e5)
    wide = Uniform(1e5)
    priors = Priors(loc, none, wide, HalfNormal(np.zeros(0)), loc, none, wide)
    found = [
        fit(data, priors=priors, seed=seed, num_advi_steps=0, progress_bar=False)
        for seed in range(4)
    ]
    assert sum(bool(earlier(tree)) for tree in found) >= 2
    for tree in found:
        assert not diagnose(tree).ok


def test_chains_that_were_not_tuned_are_reported():
    """Twenty iterations of warm-up, and an acceptance far from the one aimed at."""
    trees = [fit_rail(num_warmup=20, seed=seed) for seed in range(6)]
    diverged = [tree for tree in trees if diagnose(tree).num_divergences]
    assert diverged
    for tree in diverged:
        assert tree.attrs["target_accept_prob"] == 0.99
        assert [run["target_accept_prob"] for run in earlier(tree)] == [0.95]
        assert "transitions diverged" in str(diagnose(tree))


def test_too_few_draws_are_still_too_few():
    assert "Effective sample size below 400" in str(diagnose(fit_rail(draws=80)))


def test_priors_that_cut_the_data_off_are_still_told():
    priors = replace(Priors.weakly_informative(rail()), eps=HalfNormal(0.2))
    with pytest.warns(UserWarning, match="eps"):
        fit_rail(priors=priors, **OPTIONS)


@pytest.mark.slow
def test_the_funnel_of_the_tutorial_is_refused_as_ever():
    """One run of 0.9 whose divergences and effective sample sizes are as they are."""
    tree = fit(radon(), method="centered", priors=TUTORIAL, num_advi_steps=0, progress_bar=False)
    assert tree.attrs["target_accept_prob"] == 0.9
    assert earlier(tree) == []
    assert not diagnose(tree).ok


def test_the_funnel_of_few_groups_gets_one_run():
    tree = fit_rail(method="centered", draws=200, num_warmup=200)
    assert tree.attrs["target_accept_prob"] == 0.9
    assert earlier(tree) == []


# Ended early, and on from there

OPTIONS = {"draws": 300, "num_warmup": 100}


@pytest.fixture
def steps(monkeypatch, few_of_none, end_after):
    """Blocks of a hundred iterations, all of them written; four to a run of ``OPTIONS``.

    Returns
    -------
    function
        From a number of blocks to be computed, and an error to end with, to nothing.
    """
    monkeypatch.setattr(blocks, "BLOCK", 100)
    monkeypatch.setattr(blocks, "PATIENCE", float("inf"))
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))
    return end_after


@cache
def ended_at_last():
    """Three hundred draws of each chain from a seed with two runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "FEW_GROUPS", 0)
        for seed in range(20):
            tree = fit_rail(seed=seed, **OPTIONS)
            if len(earlier(tree)) == 1:
                return seed, tree
    raise AssertionError("no seed of twenty with two runs")


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError("time is up")])
@pytest.mark.parametrize("more", range(4))
def test_a_second_run_that_is_ended_early_leaves_the_first(steps, tmp_path, error, more):
    seed, expected = ended_at_last()
    folder = tmp_path / "run.checkpoint"
    steps(4 + more, error)
    cut = fit_rail(seed=seed, checkpoint=folder, **OPTIONS)
    first = fit_rail_alone(seed)
    for group in ("posterior", "sample_stats"):
        xr.testing.assert_equal(cut[group].to_dataset(), first[group].to_dataset())
    assert cut.attrs["target_accept_prob"] == 0.8
    assert earlier(cut) == []
    unfinished = json.loads(cut.attrs["unfinished_run"])
    draws = 100 * max(0, more - 1)
    assert (unfinished["target_accept_prob"], unfinished["draws"]) == (0.95, draws)
    assert cut.attrs["complete"] == 0
    ends = "interrupted" if error is KeyboardInterrupt else "max_seconds"
    assert cut.attrs["stopped_by"] == ends
    diagnosis = diagnose(cut)
    assert diagnosis.num_divergences == earlier(expected)[0]["divergences"]
    assert re.search(r"incomplete.*\n.*resume", str(diagnosis))
    assert "transitions diverged" in str(diagnosis)
    # And on from there, each block of it computed once.
    steps(4 - more)
    assert_same_tree(resume(folder, progress_bar=False), expected)
    steps(0)
    assert_same_tree(resume(folder, progress_bar=False), expected)


@cache
def fit_rail_alone(seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "step", STEP)
        return fit_rail(seed=seed, target_accept_prob=0.8, **OPTIONS)


STEP = Run.step


def test_a_fit_that_is_extended_is_the_longer_one(steps, tmp_path):
    """Draws asked for later may diverge, and then all are drawn again; fewer are as they were."""
    seed, expected = ended_at_last()
    folder = tmp_path / "run.checkpoint"
    steps(1000)
    longer = fit_rail(seed=seed, **OPTIONS | {"draws": 500})
    fit_rail(seed=seed, checkpoint=folder, **OPTIONS)
    assert_same_tree(resume(folder, draws=500, progress_bar=False), longer)
    again = fit_rail(seed=seed, checkpoint=folder, **OPTIONS)
    assert_same_tree(again, expected)


def test_enough_effective_draws_end_each_run(few_of_none):
    tree = fit_rail(target_ess=800.0, draws=5000)
    assert earlier(tree)
    assert tree.attrs["stopped_by"] == "target_ess reached"
    for draws in (tree["posterior"].sizes["draw"], *(run["draws"] for run in earlier(tree))):
        assert 100 <= draws < 5000
        assert draws % 100 == 0
    assert diagnose(tree).ok


def test_the_result_of_sample_nuts_says_the_same(few_of_none):
    statistics = GroupStatistics.from_data(rail())
    guide = fit_advi(statistics, num_steps=0, progress_bar=False)
    result = sample_nuts(statistics, guide, progress_bar=False)
    tree = fit_rail()
    np.testing.assert_array_equal(result.draws["eps"], tree["posterior"]["eps"])
    assert list(result.earlier_runs) == earlier(tree)
    assert result.target_accept_prob == tree.attrs["target_accept_prob"]
    assert result.unfinished_run is None


def test_each_run_has_a_part_of_its_own():
    assert len(set(nuts.PARTS)) == len(nuts.PARTS) == 3
    assert all(re.fullmatch("[a-z]+", part) for part in nuts.PARTS)
    assert towns().num_groups <= settings.FEW_GROUPS
