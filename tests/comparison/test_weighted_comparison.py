"""Scores of rows with weights or known errors, against the Normal of all rows written out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dense import Dense
from designs import priors_of, simulated
from scipy import stats
from scipy.special import logsumexp

from radon_numpyro import GroupedData, GroupStatistics, Priors, compare, compare_pooling, fit
from radon_numpyro.comparison.cross_validation import kfold
from radon_numpyro.comparison.evidence import log_evidence
from radon_numpyro.comparison.leave_one_out import (
    exact_leave_one_out,
    leave_one_out,
    without_each,
)
from radon_numpyro.comparison.pooled import pooled_leave_one_out

SCHOOLS = pd.DataFrame(
    {
        "effect": [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0],
        "error": [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0],
        "school": [*"ABCDEFGH"],
    }
)


def weighted(data, by):
    values = 10.0 ** np.random.default_rng(0).uniform(-1, 1, data.num_rows)
    labels = replace(data.labels, design=replace(data.labels.design, **{by: "w"}))
    return replace(data, labels=labels, **{by: values})


def normal_of_rows(data, priors, eps):
    """Mean and covariance of the rows of the pooled model."""
    columns = np.column_stack([np.ones(data.num_rows), data.x])
    loc = np.append(priors.alpha.loc, priors.beta.loc)
    sd = np.append(priors.alpha.scale, priors.beta.scale)
    noise = eps**2 / (data.weights if data.se is None else data.se**-2.0)
    return columns @ loc, columns @ np.diag(sd**2) @ columns.T + np.diag(noise)


def brute_force(data, priors, groups=None):
    """Log density of each row given the others (of its group), by a fine grid over log eps."""
    log_eps = np.linspace(-6, 4, 400) if data.se is None else np.zeros(1)
    out = np.empty(data.num_rows)
    for i in range(data.num_rows):
        mates = np.arange(data.num_rows) if groups is None else np.flatnonzero(groups == groups[i])
        others = mates[mates != i]
        joint = np.empty((2, len(log_eps)))
        for k, log in enumerate(log_eps):
            mean, cov = normal_of_rows(data, priors, np.exp(log))
            for j, rows in enumerate((mates, others)):
                one = stats.multivariate_normal(mean[rows], cov[np.ix_(rows, rows)])
                joint[j, k] = one.logpdf(data.y[rows])
        prior = 0.0 if data.se is not None else priors.eps.log_density(np.exp(log_eps)) + log_eps
        out[i] = logsumexp(joint[0] + prior) - logsumexp(joint[1] + prior)
    return out


@pytest.mark.parametrize("by", ["weights", "se"])
def test_leave_one_out_of_the_pooled_model_is_brute_force(by):
    data = weighted(simulated(3, 4, fixed=()), by)
    priors = priors_of(data.labels.design)
    mean, score, known, _ = pooled_leave_one_out(data, priors)
    np.testing.assert_allclose(score, brute_force(data, priors), atol=2e-4)
    assert known.all()
    assert np.isfinite(mean).all()


@pytest.mark.parametrize("by", ["weights", "se"])
def test_leave_one_out_of_the_individual_model_is_brute_force(by):
    data = weighted(simulated(2, 6, fixed=()), by)
    priors = priors_of(data.labels.design)
    found = exact_leave_one_out(data, priors)
    np.testing.assert_allclose(found.log_score, brute_force(data, priors, data.group), atol=2e-4)


@pytest.mark.parametrize("by", ["weights", "se"])
def test_statistics_without_a_row_are_those_of_the_other_rows(by):
    data = weighted(simulated(4, 3), by)
    rows = np.array([0, 5, 11])
    found = without_each(data, rows)
    for place, i in enumerate(rows):
        others = data.take(np.arange(data.num_rows) != i)
        expected, c = GroupStatistics.from_data(others), data.group[i]
        for name, values in expected.arrays.items():
            np.testing.assert_allclose(found.arrays[name][place], values[c], atol=1e-12)


def test_leave_one_out_of_eight_schools_is_brute_force():
    """By the dense Normal of the effects over a grid of the one scale that there is."""
    data = GroupedData.from_formula("effect | se(error) ~ (1 | school)", SCHOOLS)
    priors = Priors.weakly_informative(data)
    tree = fit(data, priors=priors, method="integrate", draws=4000)
    found = leave_one_out(tree)
    # Middles of cells.
    step = 8 * priors.sigma_alpha.scale / 1000
    tau = step * (np.arange(1000) + 0.5)
    log_prior = priors.sigma_alpha.log_density(tau)
    every = np.arange(8)
    whole, *others = (
        logsumexp([_density(data.take(rows), priors, t) for t in tau] + log_prior)
        for rows in (every, *(every[every != i] for i in every))
    )
    expected = whole - np.array(others)
    # What the draws of the scale leave uncertain, by halves of the draws.
    half = leave_one_out(tree.isel(chain=slice(0, 2))).log_score
    error = np.abs(half - found.log_score).max()
    np.testing.assert_allclose(found.log_score, expected, atol=max(3 * error, 0.01))

    integrated = log_evidence(tree)
    assert integrated.se < 0.01
    assert abs(integrated.value - whole - np.log(step)) < 4 * integrated.se


def _density(data, priors, tau):
    """Log density of effects of schools, each a group of one row."""
    y, noise = data.y, data.se**2
    cov = priors.mu_alpha.scale**2 + np.diag(tau**2 + noise)
    return stats.multivariate_normal(np.full(len(y), priors.mu_alpha.loc), cov).logpdf(y)


def test_the_evidence_of_known_errors_has_a_closed_form_without_a_population():
    data = weighted(simulated(3, 4, fixed=()), "se")
    priors = priors_of(data.labels.design)
    for model in ("pooled", "individual"):
        tree = fit(data, model=model, priors=priors, method="integrate", draws=20)
        mean, cov = normal_of_rows(data, priors, 1.0)
        blocks = [np.arange(data.num_rows)]
        if model == "individual":
            blocks = [np.flatnonzero(data.group == c) for c in range(3)]
        expected = sum(
            stats.multivariate_normal(mean[b], cov[np.ix_(b, b)]).logpdf(data.y[b]) for b in blocks
        )
        np.testing.assert_allclose(log_evidence(tree).value, expected, rtol=1e-10)


@pytest.mark.parametrize("by", ["weights", "se"])
def test_folds_are_scored_by_the_weights_of_their_rows(by):
    """Of two folds: each is the dense Normal given the other, averaged over draws of the scales."""
    data = weighted(simulated(6, 4, fixed=()), by)
    priors = Priors.weakly_informative(data)
    found = kfold(data, {"h": ("hierarchical", priors)}, folds=2, seed=0)["h"]
    fold = np.random.default_rng(0).permutation(np.arange(data.num_rows) % 2)
    for k in (0, 1):
        train, held = data.take(fold != k), np.flatnonzero(fold == k)
        tree = fit(train, priors=priors, method="integrate", draws=100)["posterior"]
        scores = []
        for s in range(100):
            draw = tree.isel(chain=0, draw=s)
            scale = [float(draw["sigma_alpha"]), *np.atleast_1d(draw["sigma_beta"])]
            eps = float(draw["eps"]) if by == "weights" else 1.0
            dense = Dense(data, priors, scale, eps)
            seen = np.flatnonzero(fold != k)
            inner = np.ix_(seen, seen)
            gain = np.linalg.solve(dense.y_cov[inner], dense.y_cov[np.ix_(seen, held)]).T
            mean = dense.y_mean[held] + gain @ (data.y[seen] - dense.y_mean[seen])
            variance = np.diag(dense.y_cov)[held]
            variance = variance - (gain * dense.y_cov[np.ix_(held, seen)]).sum(1)
            scores.append(stats.norm(mean, np.sqrt(variance)).logpdf(data.y[held]))
        expected = logsumexp(scores, axis=0) - np.log(100)
        spread = np.std(scores, axis=0) / np.sqrt(100)
        assert (np.abs(found.log_score[held] - expected) < 5 * spread + 0.05).all()


def test_weights_are_an_assumption_that_scores_compare():
    """Rows that scatter by their weights are predicted better by the model that knows these."""
    rng = np.random.default_rng(0)
    plain = simulated(10, 12, fixed=())
    w = 10.0 ** rng.uniform(-1, 1, plain.num_rows)
    y = plain.x[:, 0] + rng.normal(size=10)[plain.group] + rng.normal(size=len(w)) / np.sqrt(w)
    labels = replace(plain.labels, design=replace(plain.labels.design, weights="w"))
    rows = {"equal": replace(plain, y=y), "weights": replace(plain, y=y, weights=w, labels=labels)}
    fits = {label: fit(data, method="integrate", draws=200) for label, data in rows.items()}
    table = compare(fits, folds=0).table
    assert table.index[0] == "weights"
    assert table.loc["equal", "elpd_diff"] < -3 * table.loc["equal", "elpd_diff_se"]


@pytest.mark.filterwarnings("error:.*(divide|empty slice|invalid value)")
def test_a_model_that_can_predict_no_row_takes_none_from_the_others():
    """Each school is a group of one row: alone it has nothing to learn from."""
    data = GroupedData.from_formula("effect | se(error) ~ (1 | school)", SCHOOLS)
    table = compare_pooling(data, folds=0).table
    assert np.isnan(table.loc["individual", ["elpd_loo", "p_loo", "weight"]].astype(float)).all()
    assert (table.loc[["pooled", "hierarchical"], "rows_loo"] == 8).all()
    # One mean, of which a prior and a population know something.
    assert table.loc["pooled", "p_loo"] == pytest.approx(0.6, abs=0.4)
    assert table.loc[["pooled", "hierarchical"], "weight"].sum() == pytest.approx(1.0)
