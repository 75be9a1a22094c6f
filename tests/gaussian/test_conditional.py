"""Lines given the scales, against dense Gaussians and conjugate formulas over the rows."""

from dataclasses import replace

import numpy as np
import pytest
from dense import Dense, design_of, equations_of, make_priors

from radon_numpyro.gaussian import predictive as conditional
from radon_numpyro.gaussian.group_draws import draw_groups
from radon_numpyro.gaussian.predictive import (
    line,
    line_blocks,
    population_coefficients,
    residual_variance,
)
from radon_numpyro.model.priors import Priors

SIZES = (5, 1, 0, 9, 3)
SIGMA = np.array([[1.3, 0.4, 0.07, 0.9], [0.2, 1.1, 0.5, 0.03], [0.0, 0.8, 0.0, 0.0], [0.0] * 4])
EPS = np.array([0.6, 2.0, 0.9, 1.4])
GROUP = np.array([3, 0, -1, 2, 4, 3, 1, -1])
CASES = ["no predictor", "one predictor", "three predictors", "singular", "singletons"]
each_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture
def data(unequal_data, case):
    """Among them groups of one row, groups of none, and designs that identify no slope."""
    if case == "singletons":
        return unequal_data(1, sizes=(1,) * 5)
    num_predictors = {"no predictor": 0, "one predictor": 1, "three predictors": 3}.get(case, 2)
    data = unequal_data(num_predictors, sizes=SIZES)
    if case != "singular":
        return data
    x = data.x.copy()
    x[:, 0] = np.array([0.5, 2.0, 0.0, -1.0, 3.0])[data.group]
    return replace(data, x=x)


def new_rows(num_predictors):
    rng = np.random.default_rng(8)
    return rng.normal([3.0, -20.0, 0.5], [0.5, 4.0, 30.0], size=(len(GROUP), 3))[:, :num_predictors]


def hierarchical_scales(num_predictors):
    scales = {"sigma_alpha": SIGMA[:, 0], "eps": EPS}
    return scales | ({"sigma_beta": SIGMA[:, 1 : num_predictors + 1]} if num_predictors else {})


def individual_eps(num_groups):
    return np.linspace(0.4, 1.9, 4 * num_groups).reshape(4, num_groups)


def conjugate(x, y, eps, priors):
    """Posterior mean and covariance of one line by the textbook formula."""
    loc, sd = (np.append(getattr(priors.alpha, a), getattr(priors.beta, a)) for a in PARAMETERS)
    cov = np.linalg.inv(x.T @ x / eps**2 + np.diag(1 / sd**2))
    return cov @ (x.T @ y / eps**2 + loc / sd**2), cov


PARAMETERS = ("loc", "scale")


@each_case
def test_hierarchical_lines_have_the_dense_conditional(data, case):
    """Known groups, groups without rows and groups not seen; scales of 0."""
    k, priors = data.num_predictors, make_priors(data.num_predictors)
    x = new_rows(k)
    scales = hierarchical_scales(k)
    mean, variance = line("hierarchical", equations_of(data), priors, scales, x, GROUP)
    assert mean.shape == variance.shape == (4, 8)
    assert mean.dtype == variance.dtype == np.float64
    # The dense reference has a last group of its own for what was not seen: index -1.
    labels = replace(data.labels, groups=(*data.labels.groups, "not seen"))
    extended = replace(data, labels=labels)
    weights = np.zeros((8, extended.num_groups + 1, k + 1))
    weights[np.arange(8), np.where(GROUP < 0, -1, GROUP + 1)] = np.column_stack([np.ones(8), x])
    weights = weights.reshape(8, -1)
    for s in range(4):
        centre, cov = Dense(extended, priors, SIGMA[s, : k + 1], EPS[s]).given(data.y)
        np.testing.assert_allclose(mean[s], weights @ centre, rtol=1e-8)
        expected = np.einsum("ri,ij,rj->r", weights, cov, weights)
        np.testing.assert_allclose(variance[s], expected, rtol=1e-7)


def test_a_group_not_seen_is_the_population_with_its_scatter(unequal_data):
    """z'm and z'(V + D^2)z: with the scatter doubled the variance grows by z'D^2z alone."""
    data, priors = unequal_data(1, sizes=SIZES), make_priors(1)
    equations, scales = equations_of(data), hierarchical_scales(1)
    x, unseen = new_rows(1), np.full(8, -1)
    mean, variance = line("hierarchical", equations, priors, scales, x, unseen)
    population = population_coefficients("hierarchical", equations, priors, scales)
    wider = {**scales, "sigma_alpha": 2 * SIGMA[:, 0], "sigma_beta": 2 * SIGMA[:, 1:2]}
    same, wide = line("hierarchical", equations, priors, wider, x, unseen, population=population)
    np.testing.assert_array_equal(same, mean)
    added = SIGMA[:, :1] ** 2 + SIGMA[:, 1:2] ** 2 * x[:, 0] ** 2
    np.testing.assert_allclose(wide - variance, 3 * added, rtol=1e-9, atol=1e-12)
    assert (variance[3] > 0).all(), "without scatter the population is still uncertain"


@each_case
def test_individual_lines_have_the_conjugate_posterior(data, case):
    k, priors = data.num_predictors, make_priors(data.num_predictors)
    x, eps = new_rows(k), individual_eps(data.num_groups)
    mean, variance = line("individual", equations_of(data), priors, {"eps": eps}, x, GROUP)
    design = design_of(data)
    for r, c in enumerate(GROUP):
        rows, z = data.group == c, np.append(1.0, x[r])
        for s in range(4):
            theta, cov = conjugate(design[rows], data.y[rows], eps[s, c], priors)
            assert mean[s, r] == pytest.approx(z @ theta, rel=1e-8)
            assert variance[s, r] == pytest.approx(z @ cov @ z, rel=1e-7)


@each_case
def test_the_pooled_line_is_that_of_all_rows_whatever_the_group(data, case):
    k, priors = data.num_predictors, make_priors(data.num_predictors)
    x = new_rows(k)
    mean, variance = line("pooled", equations_of(data), priors, {"eps": EPS}, x, GROUP)
    z = np.column_stack([np.ones(8), x])
    for s in range(4):
        theta, cov = conjugate(design_of(data), data.y, EPS[s], priors)
        np.testing.assert_allclose(mean[s], z @ theta, rtol=1e-8)
        np.testing.assert_allclose(variance[s], np.einsum("rp,pq,rq->r", z, cov, z), rtol=1e-7)


@pytest.mark.parametrize("model", ["hierarchical", "individual"])
def test_tutorial_priors_leave_a_group_without_slope_its_prior(model, unequal_data):
    """A house without an upstairs: one direction has sd 1e4, another 0.6, side by side."""
    data = unequal_data(1, sizes=SIZES)
    x = data.x.copy()
    x[data.group == 3, 0] = 0.0
    data = replace(data, x=x)
    at = np.array([[0.0], [1.0]])
    scales = hierarchical_scales(1)
    if model == "individual":
        scales = {"eps": individual_eps(5)}
    mean, variance = line(
        model, equations_of(data), Priors.tutorial(), scales, at, np.array([3, 3])
    )
    rows = data.group == 3
    if model == "individual":
        eps = scales["eps"][:, 3]
        known = 1 / (rows.sum() / eps**2 + 1e-8)
        np.testing.assert_allclose(mean[:, 0], known * data.y[rows].sum() / eps**2, rtol=1e-9)
        np.testing.assert_allclose(variance[:, 0], known, rtol=1e-9)
        np.testing.assert_allclose(variance[:, 1], 1e8 + known, rtol=1e-9)
    else:
        assert (variance[:, 1] < 100).all(), "the population lends its slope"


@pytest.mark.parametrize("model", ["hierarchical", "individual", "pooled"])
@pytest.mark.parametrize("block", [1, 600, 2**20])
def test_blocks_of_any_size_give_the_same_lines(unequal_data, monkeypatch, model, block):
    data, priors = unequal_data(2, sizes=SIZES), make_priors(2)
    equations, x = equations_of(data), new_rows(2)
    scales = hierarchical_scales(2)
    if model != "hierarchical":
        scales = {"eps": individual_eps(5) if model == "individual" else EPS}
    expected = line(model, equations, priors, scales, x, GROUP)
    monkeypatch.setattr(conditional, "BLOCK", block)
    blocks = list(line_blocks(model, equations, priors, scales, x, GROUP))
    # The pooled model, in which no column varies, has smaller terms.
    of_600 = 1 if model == "pooled" else 4
    assert len(blocks) == {1: 8, 600: of_600, 2**20: 1}[block]
    assert np.concatenate([np.arange(8)[rows] for rows, *_ in blocks]).tolist() == list(range(8))
    for k in (0, 1):
        found = np.concatenate([b[k + 1] for b in blocks], axis=1)
        np.testing.assert_allclose(found, expected[k], rtol=1e-12)


def test_a_block_holds_its_own_groups_only(monkeypatch, unequal_data):
    """100 000 groups and 4000 draws are 3 GiB an array; two rows need two groups."""
    equations = equations_of(unequal_data(1, sizes=SIZES))
    many = equations.take(np.tile(np.arange(5), 20_000))
    held = []
    group_terms = conditional.group_terms

    def record(equations, scale, eps, root=None):
        held.append((equations.count.size, np.size(eps)))
        return group_terms(equations, scale, eps, root)

    monkeypatch.setattr(conditional, "group_terms", record)
    draws = 50
    scales = {"sigma_alpha": np.full(draws, 0.5), "sigma_beta": np.full((draws, 1), 0.1)}
    scales["eps"] = np.linspace(0.5, 1.0, draws)
    group = np.array([99_999, 7])
    blocks = list(
        line_blocks("hierarchical", many, make_priors(1), scales, np.array([[1.0], [2.0]]), group)
    )
    assert len(blocks) == 1
    assert held[-1] == (2, draws)
    assert all(groups * draws * 25 <= conditional.BLOCK for groups, draws in held)
    # The sum over all groups, some draws at a time, is the sum.
    arguments = ("hierarchical", many, make_priors(1), scales)
    parts = population_coefficients(*arguments)
    monkeypatch.setattr(conditional, "BLOCK", 2**40)
    whole = population_coefficients(*arguments)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.cholesky, whole.cholesky, rtol=1e-12)


@pytest.mark.parametrize("num_predictors", [0, 2])
def test_drawn_groups_have_the_dense_conditional(unequal_data, monkeypatch, num_predictors):
    """Given mu: mean and covariance of 20 000 draws, within five of their standard errors."""
    data, size, num_draws = unequal_data(num_predictors, sizes=SIZES), num_predictors + 1, 20_000
    priors, equations = make_priors(num_predictors), equations_of(data)
    sigma, eps = SIGMA[1, :size], EPS[0]
    mu = np.array([9.0, 1.5, -0.3])[:size]
    group = np.array([3, -1, 1, -1])
    scales = {"sigma_alpha": np.full(num_draws, sigma[0]), "eps": np.full(num_draws, eps)}
    if num_predictors:
        scales["sigma_beta"] = np.tile(sigma[1:], (num_draws, 1))
    # Some groups at a time.
    monkeypatch.setattr(conditional, "BLOCK", 2 * num_draws * (2 * size + 1) ** 2)
    rng = np.random.default_rng(6)
    theta = mu + draw_groups(rng, equations, scales, np.tile(mu, (num_draws, 1)), group)
    assert theta.shape == (num_draws, 4, size)

    mean, cov = Dense(data, priors, sigma, eps).given(data.y)
    gain = np.linalg.solve(cov[:size, :size], cov[:size]).T
    mean = (mean + gain @ (mu - mean[:size])).reshape(-1, size)
    cov = (cov - gain @ cov[:size]).reshape(6, size, 6, size)
    error = 1 / np.sqrt(num_draws)
    white = []
    for k, c in enumerate(group):
        centre = mu if c < 0 else mean[c + 1]
        spread = np.diag(sigma**2) if c < 0 else cov[c + 1, :, c + 1]
        white.append(np.linalg.solve(np.linalg.cholesky(spread), (theta[:, k] - centre).T))
    # Given mu, groups are independent: also the two that were not seen.
    white = np.concatenate(white)
    assert np.abs(white.mean(axis=1)).max() < 5 * error
    found = np.cov(white)
    assert np.abs(np.diag(found) - 1).max() < 5 * np.sqrt(2) * error
    assert np.abs(found - np.diag(np.diag(found))).max() < 5 * error


@pytest.mark.parametrize("model", ["hierarchical", "individual", "pooled"])
def test_a_change_of_units_changes_lines_as_units_demand(unequal_data, model):
    """And priors, which follow the data; a predictor is not moved, for its origin has a meaning."""
    data, x = unequal_data(2, sizes=SIZES), new_rows(2)
    a, b, s = -1000.0, 7.0, np.array([0.01, -40.0])
    changed = replace(data, y=a * data.y + b, x=data.x * s)
    scales = hierarchical_scales(2) if model == "hierarchical" else {"eps": EPS}
    if model == "individual":
        scales = {"eps": individual_eps(5)}
    other = {name: np.abs(a) * draws for name, draws in scales.items()}
    if model == "hierarchical":
        other["sigma_beta"] = other["sigma_beta"] / np.abs(s)
    mean, variance = line(
        model, equations_of(data), Priors.weakly_informative(data), scales, x, GROUP
    )
    found = line(
        model, equations_of(changed), Priors.weakly_informative(changed), other, x * s, GROUP
    )
    np.testing.assert_allclose(found[0], a * mean + b, rtol=1e-8)
    np.testing.assert_allclose(found[1], a**2 * variance, rtol=1e-8)


def test_residual_variance_belongs_to_the_groups_of_the_individual_model_alone():
    group = np.array([2, 0, 2])
    eps = individual_eps(3)
    found = residual_variance("individual", {"eps": eps}, group)
    np.testing.assert_array_equal(found, eps[:, [2, 0, 2]] ** 2)
    for model in ("pooled", "hierarchical"):
        np.testing.assert_array_equal(
            residual_variance(model, {"eps": EPS}, group), EPS[:, None] ** 2
        )
