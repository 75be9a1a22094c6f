"""Scores of correlated coefficients against a dense Normal over the rows."""

import arviz_stats
import numpy as np
import pytest
from dense import Dense
from fits import CORRELATED, correlated_fit
from scipy import stats
from scipy.special import logsumexp

from radon_numpyro import compare
from radon_numpyro.comparison.cross_validation import refitting
from radon_numpyro.comparison.leave_one_out import leave_one_out
from radon_numpyro.results.fit_reader import read_data, read_priors, read_scales


def thinned(name="blocks"):
    """A fit of 200 draws, so that each can have its own dense matrices."""
    return correlated_fit(name).isel(draw=slice(None, None, 4))


def dense_normals(data, priors, scales):
    """The distribution of all rows for each draw of the scales and correlations."""
    sds = np.column_stack([scales["sigma_alpha"], scales["sigma_beta"]])
    for sd, eps, correlation in zip(sds, scales["eps"], scales["correlation"], strict=True):
        yield Dense(data, priors, sd, eps, correlation)


@pytest.mark.parametrize("name", ["pair", "blocks"])
def test_leave_one_out_against_the_dense_normal(name):
    """With the correlations left out of the variance the scores would be others."""
    tree = thinned(name)
    data, priors = read_data(tree), read_priors(tree)
    found = leave_one_out(tree)
    assert (found.pareto_k < 0.7).all()
    scales, scores, means = read_scales(tree), [], []
    for dense in dense_normals(data, priors, scales):
        precision = np.linalg.inv(dense.y_cov)
        spread = 1.0 / np.diag(precision)
        means.append(data.y - spread * (precision @ (data.y - dense.y_mean)))
        scores.append(stats.norm.logpdf(data.y, means[-1], np.sqrt(spread)))
    # Plain importance weights: of rows on which the scales hardly lean smoothing changes little.
    expected = np.log(len(scores)) - logsumexp(-np.array(scores), axis=0)
    steady = found.pareto_k < 0.3
    assert steady.mean() > 0.5
    # It changes the scores of rows far out most.
    np.testing.assert_allclose(found.log_score[steady], expected[steady], rtol=0.003, atol=0.005)
    np.testing.assert_allclose(found.log_score, expected, atol=0.1)
    weights = np.exp(-np.array(scores) - logsumexp(-np.array(scores), axis=0))
    expected = (weights * means).sum(0)
    np.testing.assert_allclose(found.mean[steady], expected[steady], rtol=0.002, atol=0.005)


def test_the_constants_of_the_matrix_do_not_count_as_draws(monkeypatch):
    """They would pass for independent ones, and the weights for better than they are."""
    seen, plain = [], arviz_stats.loo

    def loo(data, **options):
        seen.append(data["posterior"].to_dataset())
        return plain(data, **options)

    monkeypatch.setattr(arviz_stats, "loo", loo)
    leave_one_out(thinned())
    spread = seen[0].std(("chain", "draw"))
    assert "correlation" in spread
    assert all((values > 0).all() for values in spread.values())


@pytest.mark.slow
def test_folds_are_predicted_with_the_correlations():
    """Whole groups left out: their lines are as wide as the population with its correlations."""
    tree = correlated_fit("blocks")
    data, priors = read_data(tree), read_priors(tree)
    held = data.group < 3
    train, test = data.take(~held), data.take(held)
    refit = refitting(data, "hierarchical", priors, 200, 2, seed=3)
    mean, score, known = refit(train, test)
    assert known.all()
    # The posterior of nearly the same rows stands in for that of the others: scales lean little
    # on 3 groups of 30, by about one standard deviation over the root of 10 in each.
    scores, means = [], []
    rows, rest = np.flatnonzero(held), np.flatnonzero(~held)
    for dense in dense_normals(data, priors, read_scales(thinned("blocks"))):
        gain = np.linalg.solve(dense.y_cov[np.ix_(rest, rest)], dense.y_cov[np.ix_(rest, rows)]).T
        means.append(dense.y_mean[rows] + gain @ (data.y - dense.y_mean)[rest])
        cov = dense.y_cov[rows, rows] - (gain * dense.y_cov[np.ix_(rows, rest)]).sum(1)
        scores.append(stats.norm.logpdf(data.y[rows], means[-1], np.sqrt(cov)))
    expected = logsumexp(scores, axis=0) - np.log(len(scores))
    np.testing.assert_allclose(mean, np.mean(means, axis=0), atol=0.6)
    np.testing.assert_allclose(score, expected, atol=0.25)


def test_independent_and_correlated_fits_are_compared():
    """The formula column says which is which; the rows are the same."""
    pair, blocks = correlated_fit("pair"), correlated_fit("blocks")
    compared = compare({"pair": pair, "blocks": blocks}, folds=0)
    for name in ("pair", "blocks"):
        assert compared.table["formula"][name] == CORRELATED[name]
    assert compared.table.index[0] == "blocks"
    assert compared.table["elpd_diff"]["pair"] < -5 * compared.table["elpd_diff_se"]["pair"] / 2
