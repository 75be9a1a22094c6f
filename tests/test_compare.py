"""Deviations and held-out scores against brute force."""

import dataclasses

import arviz as az
import numpy as np
import pytest
from scipy import stats

from radon_numpyro import compare
from radon_numpyro.compare import HeldOut
from radon_numpyro.data import GroupedData, load_radon
from radon_numpyro.priors import Priors


@pytest.fixture(scope="module")
def held_out():
    return compare.kfold(load_radon(), priors=Priors.tutorial(), folds=5, draws=250, seed=3)


def test_order_of_the_models_out_of_sample(held_out):
    """Partial pooling ahead of complete pooling ahead of none: the tutorial's conclusion."""
    table = compare.table(held_out)
    assert table["elpd"].rank(ascending=False).to_dict() == {
        "hierarchical": 1.0,
        "pooled": 2.0,
        "individual": 3.0,
    }
    for model in ("pooled", "individual"):
        assert table.loc[model, "elpd_diff"] < -2 * table.loc[model, "elpd_diff_se"]
    assert table.loc["hierarchical", "elpd_diff"] == table.loc["hierarchical", "elpd_diff_se"] == 0


def test_every_row_is_predicted_once_and_only_the_individual_model_rests_on_priors(held_out):
    data = load_radon()
    for name, held in held_out.items():
        np.testing.assert_allclose(held.error, data.y - held.mean)
        assert held.identified.all() == (name != "individual")
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
    held = compare.kfold(data, models=("pooled",), priors=Priors.tutorial(), folds=folds, seed=seed)
    fold = np.random.default_rng(seed).permutation(np.arange(data.num_rows) % folds)
    design = np.column_stack([np.ones(data.num_rows), data.x])
    for k in range(folds):
        train, test = fold != k, fold == k
        coefficients, rss, *_ = np.linalg.lstsq(design[train], data.y[train])
        mean = design[test] @ coefficients
        np.testing.assert_allclose(held["pooled"].mean[test], mean, atol=1e-6)
        freedom = train.sum() - 3
        gram = np.linalg.inv(design[train].T @ design[train])
        leverage = np.einsum("ip,pq,iq->i", design[test], gram, design[test])
        scale = np.sqrt(rss[0] / freedom * (1 + leverage))
        exact = stats.t.logpdf(data.y[test], freedom, mean, scale)
        np.testing.assert_allclose(held["pooled"].log_score[test], exact, atol=0.01)


def test_hierarchical_prediction_of_a_county_without_rows_is_the_population():
    """Leave a whole county out: its line is the population's, with the population's spread."""
    data = load_radon()
    alone = data.select(data.labels.groups[:20])
    mask = alone.group != 5
    with_empty = alone.take(mask)
    assert with_empty.group_sizes[5] == 0
    priors = Priors.tutorial()
    refit = compare._refits(alone, ("hierarchical",), priors, 300, 4, 0)["hierarchical"]
    train = compare.GroupStatistics.from_data(with_empty)
    x = np.array([[0.0], [1.0]])
    mean, variance, _ = refit(train, x, np.array([5, 5]))
    result = refit.sample(train, refit.advi).draws
    population = result["mu_alpha"].mean()
    error = 4 * result["mu_alpha"].std() / np.sqrt(300)
    assert mean[:, 0].mean() == pytest.approx(population, abs=error)
    spread = result["sigma_alpha"] ** 2 + result["eps"] ** 2
    assert variance[:, 0].mean() > spread.mean()


@pytest.fixture
def tree():
    """Two chains of three draws of lines of two towns, for four rows."""
    rng = np.random.default_rng(8)
    contents = {
        "posterior": {"alpha": rng.normal(2, 1, (2, 3, 2)), "beta": rng.normal(0, 3, (2, 3, 2, 1))},
        "observed_data": {"y": np.array([1.0, 4.0, 2.0, -3.0])},
        "constant_data": {
            "x": np.array([[0.0], [1.0], [2.0], [0.5]]),
            "group_index": np.array([1, 0, 1, 1]),
            "count": np.array([1.0, 3.0]),
        },
    }
    dims = {
        "alpha": ["town"],
        "beta": ["town", "predictor"],
        "y": ["row"],
        "x": ["row", "predictor"],
        "group_index": ["row"],
        "count": ["town"],
    }
    coords = {"town": ["b", "a"], "predictor": ["z"]}
    tree = az.from_dict(contents, dims=dims, coords=coords)
    tree.attrs["predictors"] = '["z"]'
    return tree


def test_rmsd_in_sample_and_per_draw_by_hand(tree):
    posterior, rows = tree["posterior"], tree["constant_data"]
    y, index = tree["observed_data"]["y"].values, rows["group_index"].values
    line = posterior["alpha"].values[..., index]
    line = line + rows["x"].values[:, 0] * posterior["beta"].values[..., index, 0]
    expected = np.sqrt(((y - line.mean((0, 1))) ** 2).mean())
    assert compare.rmsd_in_sample(tree) == pytest.approx(expected)
    per_draw = np.sqrt(((y - line) ** 2).mean(-1))
    np.testing.assert_allclose(compare.rmsd_per_draw(tree), per_draw)
    one_town = np.sqrt(((y - line)[..., [0, 2, 3]] ** 2).mean(-1))
    np.testing.assert_allclose(compare.rmsd_per_draw(tree, ["a"]), one_town)


def test_rmsd_needs_rows_and_known_groups(tree):
    with pytest.raises(ValueError, match="groups of the fit; got \\['c'\\]"):
        compare.rmsd_per_draw(tree, ["c"])
    del tree["observed_data"]
    with pytest.raises(ValueError, match="a fit with rows; got one of statistics only"):
        compare.rmsd_in_sample(tree)


def test_posterior_mean_deviation_of_the_individual_model_is_that_of_least_squares():
    data = load_radon()
    found = compare.rmsd_posterior_mean(data, models=("individual",), priors=Priors.tutorial())
    squares = 0.0
    for c in range(data.num_groups):
        rows = data.group == c
        design = np.column_stack([np.ones(rows.sum()), data.x[rows]])
        fitted = design @ np.linalg.lstsq(design, data.y[rows])[0]
        squares += ((data.y[rows] - fitted) ** 2).sum()
    assert found["individual"] == pytest.approx(np.sqrt(squares / data.num_rows), rel=1e-6)


def test_scores_by_hand():
    error = np.array([1.0, -2.0, 3.0, 0.5])
    score = np.array([-1.0, -2.0, -4.0, np.nan])
    identified = np.array([True, True, True, False])
    held = HeldOut("m", np.zeros(4), score, error, identified)
    found = held.scores(identified)
    squared = error[:3] ** 2
    rmse = np.sqrt(squared.mean())
    assert found["rmse"] == pytest.approx(rmse)
    assert found["rmse_se"] == pytest.approx(squared.std(ddof=1) / (2 * rmse * np.sqrt(3)))
    assert found["elpd"] == pytest.approx(-7.0)
    assert found["elpd_se"] == pytest.approx(score[:3].std(ddof=1) * np.sqrt(3))
    better = dataclasses.replace(held, log_score=score + 1.0)
    table = compare.table({"worse": held, "better": better})
    assert table.loc["worse", "elpd_diff"] == pytest.approx(-3.0)
    assert table.loc["worse", "rows"] == 3
    assert table.loc["worse", "rows_from_prior"] == 1


def test_improper_group_gets_no_score_but_its_mean():
    """Two equal outcomes left in training: eps has no posterior, the mean is theirs."""
    y = [1.0, 1.0, 7.0, 2.0, 3.0, 4.5, 6.0]
    data = GroupedData.from_arrays(y, None, list("aaabbbb"))
    train = compare.GroupStatistics.from_data(data.take([0, 1, 3, 4, 5]))
    refit = compare._refits(data, ("individual",), Priors.tutorial(), 100, 2, 0)["individual"]
    mean, variance, identified = refit(train, np.empty((2, 0)), np.array([0, 1]))
    assert mean.mean(0) == pytest.approx([1.0, 9.5 / 3], abs=1e-5)
    assert np.isnan(variance[:, 0]).all()
    assert np.isfinite(variance[:, 1]).all()
    assert identified.tolist() == [False, True]


@pytest.mark.parametrize("folds", [1, 920])
def test_number_of_folds_is_checked(folds):
    with pytest.raises(ValueError, match=f"folds between 2 and 919; got {folds}"):
        compare.kfold(load_radon(), folds=folds)


def test_unknown_model_is_refused():
    with pytest.raises(ValueError, match="models among pooled, individual, hierarchical"):
        compare.kfold(load_radon(), models=("random",))
