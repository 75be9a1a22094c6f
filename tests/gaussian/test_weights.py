"""Rows that weigh differently: against the dense Normal, rows that count twice, and lme4."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dense import HIERARCHICAL, Dense, equations_of, log_density
from designs import priors_of, simulated
from scipy import optimize, stats

from radon_numpyro import GroupedData, GroupStatistics
from radon_numpyro.gaussian.conditional import prior_rows
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.marginal import gradient, individual_log_density, marginal
from radon_numpyro.gaussian.predictive import line, population_prior
from radon_numpyro.model.correlations import correlation_of, correlation_root
from radon_numpyro.model.models import Model

CASES = Path(__file__).parents[1] / "cases"
EPS = 0.6
SCALE = np.array([1.3, 0.4, 0.9])
DESIGNS = {
    "intercept and slope": {"slopes": ("dose",)},
    "intercepts alone": {"slopes": ()},
    "a slope without a mean": {"slopes": ("dose", "time"), "without_mean": ("dose",)},
    "intercept that does not vary": {"slopes": ("dose",), "intercept": "fixed"},
    "intercepts about 0": {"slopes": ("dose",), "intercept": "varying"},
    "no intercept": {"slopes": ("dose", "time"), "intercept": "none", "fixed": ()},
}
each_design = pytest.mark.parametrize("case", DESIGNS)


def weighted(data, *, seed=0, by="weights"):
    """Rows with weights, or standard errors, over two powers of ten."""
    values = 10.0 ** np.random.default_rng(seed).uniform(-1, 1, data.num_rows)
    labels = replace(data.labels, design=replace(data.labels.design, **{by: "w"}))
    return replace(data, labels=labels, **{by: values})


def density(data, eps, scale=None, root=None):
    size = len(data.labels.design.varying)
    scale = SCALE[:size] if scale is None else scale
    priors = priors_of(data.labels.design)
    return float(log_density(equations_of(data), scale, eps, priors, root))


@each_design
def test_log_density_is_the_dense_normal_of_rows_with_weights(case):
    for seed in range(3):
        data = weighted(simulated(7, 4, **DESIGNS[case], seed=seed), seed=seed)
        priors, size = priors_of(data.labels.design), len(data.labels.design.varying)
        scale = np.where(np.arange(size) == seed, 0.0, SCALE[:size])
        dense = Dense(data, priors, scale, EPS)
        np.testing.assert_allclose(density(data, EPS, scale), dense.log_density(data.y), rtol=1e-11)


def test_log_density_of_correlated_coefficients_is_the_dense_normal():
    data = weighted(simulated(7, 3, slopes=("dose", "time")))
    design = replace(data.labels.design, correlated=(data.labels.design.varying,))
    data = replace(data, labels=replace(data.labels, design=design))
    root = correlation_root(design, np.array([0.7, -0.4, 0.5]))
    dense = Dense(data, priors_of(design), SCALE, EPS, correlation_of(root))
    np.testing.assert_allclose(
        density(data, EPS, SCALE, root), dense.log_density(data.y), rtol=1e-11
    )


@each_design
def test_log_density_of_known_errors_is_the_dense_normal(case):
    """Also of groups of one row, whose scatter eps could not tell apart."""
    for rows in (1, 4):
        data = weighted(simulated(12, rows, **DESIGNS[case]), by="se")
        priors, size = priors_of(data.labels.design), len(data.labels.design.varying)
        dense = Dense(data, priors, SCALE[:size], eps=1.0)
        np.testing.assert_allclose(density(data, 1.0), dense.log_density(data.y), rtol=1e-11)


@each_design
def test_gradient_is_that_of_the_density_of_rows_with_weights(case):
    data = weighted(simulated(7, 4, **DESIGNS[case]))
    equations, size = equations_of(data), len(data.labels.design.varying)
    prior = population_prior(equations, priors_of(data.labels.design), HIERARCHICAL)
    found = gradient(equations, marginal(equations, SCALE[:size], EPS, prior), prior)
    point = np.append(SCALE[:size], EPS)
    for p, h in enumerate(1e-5 * np.eye(size + 1)):
        up, down = (density(data, q[-1], q[:-1]) for q in (point + h, point - h))
        slope = np.append(found.scale, found.eps)[p]
        np.testing.assert_allclose(slope, (up - down) / 2e-5, rtol=1e-6, atol=1e-6)


@each_design
def test_lines_given_the_scales_are_those_of_the_dense_normal(case):
    """Mean and variance of the line at the rows themselves."""
    data = weighted(simulated(7, 4, **DESIGNS[case]))
    priors, size = priors_of(data.labels.design), len(data.labels.design.varying)
    dense = Dense(data, priors, SCALE[:size], EPS)
    mean, cov = dense.given(data.y)
    scales = {"eps": np.array([EPS])}
    varies = data.labels.design.intercept_varies
    scales |= {"sigma_alpha": SCALE[:1]} if varies else {}
    if slopes := len(data.labels.design.slopes):
        scales["sigma_beta"] = SCALE[None, int(varies) : int(varies) + slopes]
    found = line("hierarchical", equations_of(data), priors, scales, data.x, data.group)
    np.testing.assert_allclose(found[0][0], dense.rows @ mean, rtol=1e-9)
    variance = np.einsum("nk,kl,nl->n", dense.rows, cov, dense.rows)
    np.testing.assert_allclose(found[1][0], variance, rtol=1e-7)


def test_the_models_without_a_population_have_the_dense_normal_of_their_rows():
    data = weighted(simulated(5, 6, fixed=()))
    priors, equations = priors_of(data.labels.design), equations_of(data)
    columns = np.column_stack([np.ones(data.num_rows), data.x])
    loc = np.append(priors.alpha.loc, priors.beta.loc)
    sd = np.append(priors.alpha.scale, priors.beta.scale)

    def dense(rows, eps):
        z = columns[rows]
        covariance = z @ np.diag(sd**2) @ z.T + np.diag(eps**2 / data.weights[rows])
        return stats.multivariate_normal(z @ loc, covariance).logpdf(data.y[rows])

    eps = np.linspace(0.4, 1.2, 5)
    found = individual_log_density(equations, eps, loc, sd)
    expected = [dense(data.group == c, eps[c]) for c in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-11)

    pooled = equations.pooled()
    prior = population_prior(pooled, priors, Model.named("pooled"))
    found = marginal(pooled, np.empty((0,)), EPS, prior).log_density
    np.testing.assert_allclose(found, dense(np.full(data.num_rows, True), EPS), rtol=1e-11)


def test_groups_of_one_design_are_those_of_one_size_and_weight():
    """Two sizes of groups with weights of two values: the density is that of every group alone."""
    rng = np.random.default_rng(0)
    data = simulated(3000, 2, slopes=(), fixed=("age",))
    weights = np.repeat(rng.choice([0.5, 3.0], 3000), 2)
    design = replace(data.labels.design, weights="w")
    data = replace(data, weights=weights, labels=replace(data.labels, design=design))
    every, few = equations_of(data), by_design(equations_of(data))
    assert few.num_groups < 50
    prior = population_prior(every, priors_of(design), HIERARCHICAL)
    for scale, eps in ((0.3, 0.5), (2.0, 1.0)):
        found, expected = (marginal(e, np.array([scale]), eps, prior) for e in (few, every))
        np.testing.assert_allclose(found.log_density, expected.log_density, rtol=1e-12)


def test_weights_twice_as_large_double_the_residual_variance_and_change_nothing_else():
    """log p(y | sd, eps; w) is log p(y | sd, sqrt(2) eps; 2 w), for every sd and eps."""
    data = weighted(simulated(7, 4))
    double = replace(data, weights=2.0 * data.weights)
    for scale in ([0.2, 1.0], [1.5, 0.0]):
        for eps in (0.3, 1.0):
            one = density(data, eps, np.array(scale))
            other = density(double, np.sqrt(2.0) * eps, np.array(scale))
            np.testing.assert_allclose(other, one, rtol=1e-12)


def test_a_row_of_weight_2_is_one_outcome_and_not_a_row_that_counts_twice():
    """The sums agree, but two rows are two residuals to learn eps from."""
    data = simulated(7, 4)
    chosen = np.arange(5)
    weights = np.where(np.arange(data.num_rows) < 5, 2.0, 1.0)
    design = replace(data.labels.design, weights="w")
    heavy = replace(data, weights=weights, labels=replace(data.labels, design=design))
    twice = data.take(np.append(np.arange(data.num_rows), chosen))
    a, b = GroupStatistics.from_data(heavy), GroupStatistics.from_data(twice)
    np.testing.assert_allclose(a.weight, b.count)
    for name in ("mean_x", "mean_y", "sxx", "sxy", "syy"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-12)
    for eps in (0.3, 1.0):
        lost = 5 * (np.log(eps * np.sqrt(2 * np.pi)) + 0.5 * np.log(2.0))
        np.testing.assert_allclose(density(heavy, eps) - density(twice, eps), lost, rtol=1e-9)


# By lme4 1.1-31 in R 4.2.2: lmer(formula, data, weights = w, control = lmerControl(optimizer =
# "bobyqa", optCtrl = list(rhoend = 1e-12))), with w of `sleepstudy` and `machines` below.
# Standard deviations, that of the residual last; correlation; REML criterion; coefficients;
# standard errors.
FITS = {
    "Reaction ~ Days + (Days || Subject)": (
        (24.9035448487807, 6.5895162482298, 40.2114540258962),
        (),
        1787.601515990465,
        (249.972562270574, 10.854393344907),
        (6.8571323763870, 1.6895810321302),
    ),
    "Reaction ~ Days + (Days | Subject)": (
        (25.120166039615860, 6.637976321847004, 40.182547639123150),
        (-0.047194555443119,),
        1787.578215358769,
        (249.958411522063, 10.855848720336),
        (6.8996839782860, 1.6999022611886),
    ),
    "score ~ Machine + (1 | Worker)": (
        (4.9012747092194, 4.8554728924374),
        (),
        289.479212524090,
        (52.2151421273554, 8.4800120832932, 14.2404255319149),
        (2.1233357087206, 1.0299841698143, 1.0016075803787),
    ),
}


def sleepstudy():
    frame = pd.read_csv(CASES / "sleepstudy.csv")
    subject = pd.Categorical(frame["Subject"]).codes + 1
    return frame.assign(w=0.5 + (7 * frame["Days"] + subject) % 5)


def machines():
    frame = pd.read_csv(CASES / "machines.csv")
    return frame.assign(w=1 + 3 * (1 + np.arange(len(frame))) % 4)


@pytest.mark.parametrize("formula", FITS)
def test_the_mode_under_flat_priors_is_that_of_lme4_with_weights(formula):
    frame = sleepstudy() if "Reaction" in formula else machines()
    sds, correlation, criterion, coefficients, errors = FITS[formula]
    equations = equations_of(GroupedData.from_formula(formula, frame, weights="w"))
    num_columns, size = len(coefficients), len(sds)
    prior = prior_rows(equations, np.zeros(num_columns), np.full(num_columns, np.inf))

    def at(point):
        root = None
        if correlation:
            root = correlation_root(equations.design, np.tanh(point[size:]))
        return marginal(equations, np.exp(point[: size - 1]), np.exp(point[size - 1]), prior, root)

    start = np.append(np.log(sds) + 0.2 * (-1.0) ** np.arange(size), np.zeros(len(correlation)))
    best = optimize.minimize(
        lambda point: -at(point).log_density, start, method="BFGS", options={"gtol": 1e-7}
    )
    np.testing.assert_allclose(np.exp(best.x[:size]), sds, rtol=1e-5)
    np.testing.assert_allclose(np.tanh(best.x[size:]), correlation, atol=1e-5)
    assert 2.0 * best.fun == pytest.approx(criterion, abs=1e-7 * criterion)

    found = at(np.append(np.log(sds), np.arctanh(correlation))).population
    np.testing.assert_allclose(equations.to_model(found.mean), coefficients, rtol=1e-7)
    inverse = np.linalg.solve(found.cholesky, equations.at_zero()[1].T)
    np.testing.assert_allclose(np.sqrt((inverse**2).sum(0)), errors, rtol=1e-6)
