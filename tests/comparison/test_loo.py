"""Leave-one-out predictions against exact ones."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from conftest import draw_unequal_data
from dense import Dense, equations_of, make_priors
from designs import priors_of, simulated
from fits import TUTORIAL
from scipy import stats
from scipy.integrate import quad
from scipy.special import logsumexp
from test_pooled import DESIGNS

from radon_numpyro import fit
from radon_numpyro.comparison.cross_validation import refitting
from radon_numpyro.comparison.held_out import left_out
from radon_numpyro.comparison.leave_one_out import (
    exact_leave_one_out,
    leave_one_out,
    without_each,
)
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.radon import load_radon
from radon_numpyro.gaussian.marginal import individual_log_density
from radon_numpyro.gaussian.predictive import line, residual_variance, scale_vector
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
from radon_numpyro.statistics.group_statistics import GroupStatistics


@cache
def radon_fit(model="hierarchical", seed=0):
    return fit(
        load_radon(),
        model=model,
        priors=TUTORIAL,
        num_advi_steps=0,
        draws=1000,
        seed=seed,
        progress_bar=False,
    )


# Given the scales


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
def test_downdate_given_the_scales_against_the_dense_normal(num_predictors):
    """Every row, a singleton and a group that identifies nothing among them."""
    data, priors = draw_unequal_data(num_predictors), make_priors(num_predictors)
    rng = np.random.default_rng(7)
    draws = 3
    scales = {
        "sigma_alpha": rng.uniform(0.5, 2, draws),
        "sigma_beta": rng.uniform(0.1, 1, (draws, num_predictors)),
        "eps": rng.uniform(0.4, 1.5, draws),
    }
    mean, variance = line("hierarchical", equations_of(data), priors, scales, data.x, data.group)
    noise = residual_variance("hierarchical", scales, data.group)
    got_mean, got_variance = left_out(data.y, mean, variance, noise)
    assert got_mean.shape == got_variance.shape == (draws, data.num_rows)
    for s in range(draws):
        scale = np.append(scales["sigma_alpha"][s], scales["sigma_beta"][s])
        dense = Dense(data, priors, scale, scales["eps"][s])
        for i in range(data.num_rows):
            rest = np.arange(data.num_rows) != i
            gain = np.linalg.solve(dense.y_cov[np.ix_(rest, rest)], dense.y_cov[rest, i])
            expected = dense.y_mean[i] + gain @ (data.y - dense.y_mean)[rest]
            spread = dense.y_cov[i, i] - gain @ dense.y_cov[rest, i]
            assert got_mean[s, i] == pytest.approx(expected, rel=1e-8), (s, i)
            assert got_variance[s, i] == pytest.approx(spread, rel=1e-8), (s, i)


@pytest.mark.parametrize("name", DESIGNS)
def test_downdate_of_any_design_against_the_dense_normal(name):
    """Coefficients that do not vary take part in what a row says of itself."""
    data = simulated(num_groups=4, rows=3, seed=1, **DESIGNS[name])
    design = data.labels.design
    priors, rng = priors_of(design), np.random.default_rng(3)
    scales = {"eps": np.array([0.8])}
    if design.intercept_varies:
        scales["sigma_alpha"] = rng.uniform(0.5, 2, 1)
    if design.slopes:
        scales["sigma_beta"] = rng.uniform(0.1, 1, (1, len(design.slopes)))
    mean, variance = line("hierarchical", equations_of(data), priors, scales, data.x, data.group)
    found = left_out(data.y, mean, variance, residual_variance("hierarchical", scales, data.group))
    dense = Dense(data, priors, scale_vector(scales)[:, 0], 0.8)
    for i in range(data.num_rows):
        rest = np.arange(data.num_rows) != i
        gain = np.linalg.solve(dense.y_cov[np.ix_(rest, rest)], dense.y_cov[rest, i])
        expected = dense.y_mean[i] + gain @ (data.y - dense.y_mean)[rest]
        spread = dense.y_cov[i, i] - gain @ dense.y_cov[rest, i]
        assert found[0][0, i] == pytest.approx(expected, rel=1e-8), i
        assert found[1][0, i] == pytest.approx(spread, rel=1e-8), i


# The hierarchical model


@cache
def radon_loo(seed=0):
    return leave_one_out(radon_fit(seed=seed))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("fixed columns", "marginal"),
        ("a slope about 0", "integrate"),
        ("fixed intercept", "integrate"),
    ],
)
def test_scores_of_any_design_against_weighted_points_without_the_row(name, method):
    """The scales by importance sampling without the row, the row by a dense Normal."""
    data = simulated(seed=1, **DESIGNS[name])
    priors = priors_of(data.labels.design)
    settings = {"draws": 2000, "chains": 2, "num_warmup": 200, "num_advi_steps": 0}
    tree = fit(data, priors=priors, method=method, progress_bar=False, **settings)
    loo = leave_one_out(tree)
    refit = refitting(data, "hierarchical", priors, 500, 4, seed=1)
    assert loo.identified.all()
    for i in (0, 31):
        rest = np.arange(data.num_rows) != i
        train = data.take(rest)
        points = integrate_scales(equations_of(train), priors)
        chosen = np.random.default_rng(0).choice(len(points.weights), 400, p=points.weights)
        densities, means = [], []
        scales = scale_vector(points.scales)
        for s in chosen:
            dense = Dense(data, priors, scales[:, s], points.scales["eps"][s])
            gain = np.linalg.solve(dense.y_cov[np.ix_(rest, rest)], dense.y_cov[rest, i])
            mean = dense.y_mean[i] + gain @ (data.y - dense.y_mean)[rest]
            spread = dense.y_cov[i, i] - gain @ dense.y_cov[rest, i]
            densities += [stats.norm.pdf(data.y[i], mean, np.sqrt(spread))]
            means += [mean]
        allowed = 4 * np.std(densities) / np.mean(densities) / 20 + 0.02
        expected = np.log(np.mean(densities))
        assert loo.log_score[i] == pytest.approx(expected, abs=allowed)
        mean, score, known = refit(train, data.take([i]))
        assert score[0] == pytest.approx(expected, abs=allowed)
        assert mean[0] == pytest.approx(np.mean(means), abs=4 * np.std(means) / 20 + 0.02)
        assert known.all()


def test_a_level_that_one_row_has_is_flagged_in_the_hierarchical_model_too():
    """Its coefficient is the prior's in every model."""
    data = simulated(num_groups=6, rows=5, fixed=("level",), seed=6)
    x = data.x.copy()
    x[:, 1] = np.arange(30) == 8
    data = replace(data, x=x)
    settings = {"method": "integrate", "draws": 200}
    loo = leave_one_out(fit(data, priors=priors_of(data.labels.design), **settings))
    assert np.flatnonzero(~loo.identified).tolist() == [8]
    assert np.isfinite(loo.log_score).all()


def test_hierarchical_scores_against_refits_without_the_row():
    """The rows that lean on themselves most, and some others; each refitted without it."""
    data, loo = load_radon(), radon_loo()
    refit = refitting(data, "hierarchical", TUTORIAL, 1000, 4, seed=1)
    single = np.flatnonzero(data.group_sizes[data.group] == 1)[:2]
    extreme = np.argsort(loo.log_score)[:3]
    for i in (*single, *extreme, 500):
        rest = np.arange(data.num_rows) != i
        mean, score, _ = refit(data.take(rest), data.take([i]))
        # Two runs of 4000 draws: the noise of the log of an average of densities that differ
        # by their scales alone. Over seeds the difference has an sd of 0.02 at the worst of these
        # rows, five standard deviations from its line.
        assert loo.log_score[i] == pytest.approx(score[0], abs=0.08), i
        assert loo.mean[i] == pytest.approx(mean[0], abs=0.02), i


def test_another_seed_changes_little_and_no_row_leans_on_itself():
    first, second = (radon_loo(seed) for seed in (0, 1))
    assert abs(first.elpd().value - second.elpd().value) < 0.5
    for loo in (first, second):
        assert loo.pareto_k.max() < 0.7
        assert loo.identified.all()
        assert np.isfinite(loo.log_score).all()
        np.testing.assert_allclose(loo.error, load_radon().y - loo.mean)
    everything = np.ones(919, dtype=bool)
    # 85 lines that share a population count for fewer than 170 coefficients.
    assert 30 < first.effective_parameters(everything) < 90


def test_rows_whose_weights_fail_are_refitted(monkeypatch):
    """Whatever the Pareto shape, the score is that of a fit without the row."""
    data = load_radon().select(load_radon().labels.groups[:6])
    tree = fit(data, priors=TUTORIAL, method="integrate", draws=500)
    weighted = leave_one_out(tree)
    monkeypatch.setattr("radon_numpyro.comparison.leave_one_out.GOOD_K", -1.0)
    refitted = leave_one_out(tree, seed=5)
    assert refitted.refitted.all()
    assert not weighted.refitted[weighted.pareto_k < 0.5].any()
    np.testing.assert_array_equal(refitted.pareto_k, weighted.pareto_k)
    # Two estimates of one number, from 2000 draws each; the worst row is 0.1 apart.
    np.testing.assert_allclose(refitted.log_score, weighted.log_score, atol=0.2)
    assert abs((refitted.log_score - weighted.log_score).mean()) < 0.03
    assert (refitted.log_score != weighted.log_score).all()


# The individual and the pooled model


@pytest.mark.parametrize("num_predictors", [0, 1])
def test_individual_scores_are_ratios_of_marginal_likelihoods(num_predictors):
    r"""log p(y_i | y_-i) = log p(y) - log p(y_-i), each by adaptive quadrature over eps."""
    data = draw_unequal_data(num_predictors, sizes=(5, 1, 7, 2))
    priors = make_priors(num_predictors)
    loc = np.append(priors.alpha.loc, priors.beta.loc)
    scale = np.append(priors.alpha.scale, priors.beta.scale)
    loo = exact_leave_one_out(data, priors)

    def log_evidence(rows, group):
        if not rows.any():
            return 0.0
        equations = equations_of(data.take(rows)).take([group])

        def log_density(u):
            eps = np.exp(np.atleast_1d(u))
            density = individual_log_density(equations, eps[:, None], loc, scale)[:, 0]
            return density - 0.5 * (eps / priors.eps.scale) ** 2 + u

        peak = log_density(np.linspace(-9.0, 3.5, 2001)).max()
        found = quad(lambda u: np.exp(log_density(u)[0] - peak), -9.0, 3.5, limit=500, epsabs=1e-12)
        normaliser = np.log(priors.eps.scale) + 0.5 * np.log(np.pi / 2)
        return peak + np.log(found[0]) - normaliser

    for i in range(data.num_rows):
        same = data.group == data.group[i]
        rest = same & (np.arange(data.num_rows) != i)
        expected = log_evidence(same, data.group[i]) - log_evidence(rest, data.group[i])
        # Where eps is its prior, 5e-5 of the prior's mass lies below the nodes.
        assert loo.log_score[i] == pytest.approx(expected, abs=1e-4), i


def test_pooled_scores_are_students():
    data = load_radon()
    loo = leave_one_out(radon_fit("pooled"))
    design = np.column_stack([np.ones(data.num_rows), data.x])
    for i in (0, 17, 400, 918):
        rest = np.arange(data.num_rows) != i
        coefficients, rss, *_ = np.linalg.lstsq(design[rest], data.y[rest])
        gram = np.linalg.inv(design[rest].T @ design[rest])
        freedom = rest.sum() - 3
        scale = np.sqrt(rss[0] / freedom * (1 + design[i] @ gram @ design[i]))
        exact = stats.t.logpdf(data.y[i], freedom, design[i] @ coefficients, scale)
        assert loo.log_score[i] == pytest.approx(exact, abs=1e-5)
        assert loo.mean[i] == pytest.approx(design[i] @ coefficients, abs=1e-6)
    # What seeing the rows adds to their scores: three parameters and the houses far out.
    coefficients, rss, *_ = np.linalg.lstsq(design, data.y)
    leverage = np.einsum("ip,pq,iq->i", design, np.linalg.inv(design.T @ design), design)
    scale = np.sqrt(rss[0] / (919 - 3) * (1 + leverage))
    seen = stats.t.logpdf(data.y, 919 - 3, design @ coefficients, scale).sum()
    everything = np.ones(919, dtype=bool)
    expected = seen - loo.log_score.sum()
    assert loo.effective_parameters(everything) == pytest.approx(expected, abs=1e-3)
    assert np.isnan(loo.pareto_k).all()
    assert loo.identified.all()


def test_plain_importance_sampling_fails_where_this_does_not():
    """The individual model: weights over drawn coefficients have no finite variance."""
    tree, data = radon_fit("individual"), load_radon()
    posterior = tree["posterior"].to_dataset()
    alpha, beta, eps = (
        posterior[name].values.reshape(4000, 85) for name in ("alpha", "beta", "eps")
    )
    small = np.flatnonzero(data.group_sizes[data.group] == 4)[:8]
    group = data.group[small]
    mean = alpha[:, group] + beta[:, group] * data.x[small, 0]
    log_density = stats.norm.logpdf(data.y[small], mean, eps[:, group])
    plain = -(logsumexp(-log_density, axis=0) - np.log(4000))
    exact = leave_one_out(tree)
    assert np.abs(plain - exact.log_score[small]).max() > 0.1
    single = data.group_sizes[data.group] == 1
    assert not exact.identified[single].any()


@pytest.mark.parametrize("num_predictors", [0, 2])
def test_statistics_without_each_row_are_those_of_the_others(num_predictors):
    data = draw_unequal_data(num_predictors, sizes=(4, 1, 2, 9))
    rows = np.array([3, 0, 15, 8, 9])
    found = without_each(data, rows)
    for k, i in enumerate(rows):
        rest = np.arange(data.num_rows) != i
        whole, c = GroupStatistics.from_data(data.take(rest)), data.group[i]
        for name in ("count", "mean_x", "mean_y", "sxx", "sxy", "syy"):
            expected = getattr(whole, name)[c]
            got = getattr(found, name)[k]
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10, err_msg=name)


def test_what_rounding_leaves_of_a_removed_row_is_zero():
    """Else one row would seem to have a scatter about its own mean."""
    data = GroupedData.from_arrays([0.1, 0.3, 7.7], [1e6 + 0.1, 1e6 + 0.7, 3.0], list("aab"))
    found = without_each(data, np.array([0, 1, 2]))
    assert found.count.tolist() == [1, 1, 0]
    assert not found.sxx.any()
    assert not found.sxy.any()
    assert not found.syy.any()
    assert found.mean_y.tolist() == pytest.approx([0.3, 0.1, 0.0])


def test_a_fit_of_statistics_has_no_rows_to_leave_out():
    statistics = GroupStatistics.from_data(load_radon().select(["CASS", "FREEBORN"]))
    tree = fit(statistics, model="pooled", draws=50, num_advi_steps=0, progress_bar=False)
    with pytest.raises(ValueError, match="Expected a fit with rows; got one of statistics only"):
        leave_one_out(tree)
