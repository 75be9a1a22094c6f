"""Refits without some rows, against brute force."""

from dataclasses import replace

import numpy as np
import pytest
from fits import TUTORIAL, towns
from scipy import stats

from radon_numpyro.comparison.cross_validation import (
    kfold,
    leave_one_group_out,
    refit_individual,
)
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.radon import load_radon
from radon_numpyro.data.simulation import simulate
from radon_numpyro.inference.integration.scale_posterior import ScalePosterior
from radon_numpyro.inference.nuts import sampler as nuts
from radon_numpyro.inference.runs.run_control import INTERRUPTED
from radon_numpyro.model.priors import Priors

ALL = {model: (model, TUTORIAL) for model in ("pooled", "individual", "hierarchical")}


@pytest.fixture(scope="module")
def held_out():
    return kfold(load_radon(), ALL, folds=5, draws=250, seed=3)


def test_order_of_the_models_out_of_sample(held_out):
    """Partial pooling ahead of complete pooling ahead of none: the tutorial's conclusion."""
    common = held_out["individual"].identified
    elpd = {model: held.elpd(common).value for model, held in held_out.items()}
    assert sorted(elpd, key=elpd.get) == ["individual", "pooled", "hierarchical"]
    for model in ("pooled", "individual"):
        difference = held_out[model].elpd_difference(held_out["hierarchical"], common)
        assert difference.value < -2 * difference.se


def test_every_row_is_predicted_once_and_only_the_individual_model_rests_on_priors(held_out):
    data = load_radon()
    for name, held in held_out.items():
        np.testing.assert_allclose(held.error, data.y - held.mean)
        assert held.identified.all() == (name != "individual")
        assert held.cluster.tolist() == list(range(data.num_rows))
    assert np.isfinite(held_out["pooled"].log_score).all()
    assert np.isfinite(held_out["hierarchical"].log_score).all()
    individual = held_out["individual"]
    assert np.isfinite(individual.log_score[individual.identified]).all()
    # A county with one house has no other row to learn from.
    single = data.group_sizes[data.group] == 1
    assert not individual.identified[single].any()


def test_pooled_folds_against_least_squares():
    """Flat priors: the held-out mean is the least-squares line, the score a Student t."""
    data = load_radon()
    folds, seed = 4, 11
    held = kfold(data, {"pooled": ("pooled", TUTORIAL)}, folds=folds, seed=seed)["pooled"]
    fold = np.random.default_rng(seed).permutation(np.arange(data.num_rows) % folds)
    design = np.column_stack([np.ones(data.num_rows), data.x])
    for k in range(folds):
        train, test = fold != k, fold == k
        coefficients, rss, *_ = np.linalg.lstsq(design[train], data.y[train])
        mean = design[test] @ coefficients
        np.testing.assert_allclose(held.mean[test], mean, atol=1e-6)
        freedom = train.sum() - 3
        gram = np.linalg.inv(design[train].T @ design[train])
        leverage = np.einsum("ip,pq,iq->i", design[test], gram, design[test])
        scale = np.sqrt(rss[0] / freedom * (1 + leverage))
        exact = stats.t.logpdf(data.y[test], freedom, mean, scale)
        np.testing.assert_allclose(held.log_score[test], exact, atol=1e-5)


def test_a_group_left_out_is_predicted_from_the_population():
    """Many groups: the mean is that of the population, the variance all of its parts."""
    truth = simulate(
        num_groups=60,
        rows_per_group=[8, 12, 20] * 20,
        mu_alpha=10.0,
        mu_beta=-3.0,
        sigma_alpha=2.0,
        sigma_beta=1.0,
        eps=0.5,
        seed=3,
    )
    data = truth.data
    models = {m: (m, Priors.weakly_informative(data)) for m in ALL}
    few = data.select(data.labels.groups[:12])
    held = leave_one_group_out(few, models, draws=250)
    for label in models:
        assert held[label].cluster.tolist() == few.group.tolist()
    assert held["hierarchical"].identified.all()
    assert held["pooled"].identified.all()
    assert not held["individual"].identified.any()
    # Rows of a group with the same x have one prediction: none of them was seen.
    for group in range(few.num_groups):
        here = (few.group == group) & (few.x[:, 0] == 1.0)
        assert np.ptp(held["hierarchical"].mean[here]) < 1e-9
    # Coverage of mean +- 2 sd of a Normal with the true variance, with room for the estimate.
    variance = 2.0**2 + few.x[:, 0] ** 2 + 0.5**2
    z = held["hierarchical"].error / np.sqrt(variance)
    assert 0.5 < z.std() < 1.6
    density = stats.norm.logpdf(few.y, held["hierarchical"].mean, np.sqrt(variance))
    assert abs(held["hierarchical"].log_score.mean() - density.mean()) < 0.4


def test_improper_group_gets_no_score_but_its_mean():
    """Two equal outcomes left in training: eps has no posterior, the mean is theirs."""
    y = [1.0, 1.0, 7.0, 2.0, 3.0, 4.5, 6.0]
    data = GroupedData.from_arrays(y, None, list("aaabbbb"))
    train, test = data.take([0, 1, 3, 4, 5]), data.take([2, 6])
    mean, score, known = refit_individual(train, test, priors=TUTORIAL)
    assert mean == pytest.approx([1.0, 9.5 / 3], abs=1e-5)
    assert np.isnan(score).tolist() == [True, False]
    assert known.tolist() == [False, True]
    # And where no other group is asked for.
    mean, score, _ = refit_individual(train, data.take([2]), priors=TUTORIAL)
    assert mean == pytest.approx([1.0], abs=1e-5)
    assert np.isnan(score).all()


def test_same_folds_for_every_model_and_seed_by_seed():
    data = load_radon().select(["CASS", "CROW WING", "FREEBORN"])
    pooled = {"a": ("pooled", TUTORIAL), "b": ("pooled", TUTORIAL)}
    held = kfold(data, pooled, folds=3, seed=5)
    np.testing.assert_array_equal(held["a"].mean, held["b"].mean)
    other = kfold(data, pooled, folds=3, seed=6)
    assert (held["a"].mean != other["a"].mean).any()


@pytest.mark.parametrize("folds", [1, 920])
def test_number_of_folds_is_checked(folds):
    with pytest.raises(ValueError, match=f"folds between 2 and 919; got {folds}"):
        kfold(load_radon(), ALL, folds=folds)


def test_unknown_model_and_lonely_group_are_refused():
    with pytest.raises(ValueError, match="one of hierarchical, individual, pooled; got 'random'"):
        kfold(load_radon(), {"r": ("random", TUTORIAL)})
    with pytest.raises(ValueError, match="at least two groups; got 1"):
        leave_one_group_out(load_radon().select("CASS"), ALL)


def test_an_interrupt_ends_the_folds_and_scores_no_short_run(monkeypatch):
    """A fold with fewer draws than asked for would be scored as if it had them.

    By NUTS, to which folds come where integration is not reliable.
    """
    sample, calls = nuts.sample_nuts, []

    def interrupted(*args, **kwargs):
        calls.append(args)
        result = sample(*args, **kwargs)
        return replace(result, stopped_by=INTERRUPTED) if len(calls) == 2 else result

    monkeypatch.setattr(nuts, "sample_nuts", interrupted)
    monkeypatch.setattr(ScalePosterior, "reliable", False)
    models = {"hierarchical": ("hierarchical", TUTORIAL)}
    with pytest.raises(KeyboardInterrupt, match="fold"):
        kfold(towns(), models, folds=3, draws=50, chains=2, seed=0)
    assert len(calls) == 2
