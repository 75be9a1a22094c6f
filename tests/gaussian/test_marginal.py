"""The coefficients integrated out, against the same Gaussian written out densely over the rows."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from dense import (
    HIERARCHICAL,
    Dense,
    columns_of,
    design_of,
    equations_of,
    log_density,
    log_density_and_gradient,
    make_priors,
)
from designs import priors_of, simulated
from numpyro import handlers
from numpyro.infer import Predictive
from numpyro.infer.util import log_density as model_log_density
from scipy import stats

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.gaussian.conditional import (
    deviations,
    draw_deviations,
    draw_population,
    group_terms,
    misfit,
    population_posterior,
)
from radon_numpyro.gaussian.group_draws import draw_coefficients
from radon_numpyro.gaussian.marginal import individual_log_density, marginal
from radon_numpyro.gaussian.predictive import (
    individual_prior,
    population_coefficients,
    population_prior,
    prediction,
)
from radon_numpyro.inference.nuts import scales as scale_model
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.scale_priors import Exponential, HalfCauchy, HalfNormal, Uniform

SIZES = (5, 1, 0, 9, 3)
SCALE = np.array([1.3, 0.4, 0.07, 0.9, 0.2, 1.7])
EPS = 0.6
CASES = [
    "no predictor",
    "one predictor",
    "two predictors",
    "three predictors",
    "constant within each group",
    "constant within one group",
    "constant predictor",
    "collinear predictors",
    "groups of one row",
    "one group",
    "columns that do not vary",
    "only the intercept varies",
    "a slope without a mean",
    "the intercept does not vary",
    "no intercept",
    "five slopes that vary",
]
OTHER_DESIGNS = {
    "columns that do not vary": {"fixed": ("age", "height", "site_mean")},
    "only the intercept varies": {"slopes": (), "fixed": ("age", "site_mean")},
    "a slope without a mean": {"slopes": ("dose", "time"), "without_mean": ("dose",)},
    "the intercept does not vary": {"slopes": ("dose", "time"), "intercept": "fixed"},
    "no intercept": {"intercept": "none", "fixed": ("age",)},
    "five slopes that vary": {"slopes": tuple("abcde"), "fixed": ("age",)},
}
each_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture
def data(unequal_data, case):
    """Data sets among which are all ways for a group's design to be singular."""
    if case in CASES[:4]:
        return unequal_data(CASES.index(case), sizes=SIZES)
    if case == "groups of one row":
        return unequal_data(1, sizes=(1,) * 6)
    if case == "one group":
        return unequal_data(2, sizes=(7,))
    if case in OTHER_DESIGNS:
        return simulated(5, 4, **OTHER_DESIGNS[case])
    data = unequal_data(2, sizes=SIZES)
    x = data.x.copy()
    if case == "constant within each group":
        x[:, 0] = np.array([0.5, 2.0, 0.0, -1.0, 3.0])[data.group]
    elif case == "constant within one group":
        x[data.group == 3, 1] = -20.0
    elif case == "constant predictor":
        x[:, 0] = 1.0
    else:
        assert case == "collinear predictors"
        x[:, 1] = 2.0 * x[:, 0] - 1.0
    return replace(data, x=x)


def priors_for(data):
    """Those of the tutorial's designs, or of others."""
    design = data.labels.design
    return make_priors(len(design.slopes)) if design.varies_throughout else priors_of(design)


def scales(size, zero):
    """Scales of different sizes, some of them exactly 0."""
    scale = SCALE[:size].copy()
    scale[list(zero)] = 0.0
    return scale


# Normal equations


@each_case
def test_normal_equations_are_those_of_the_rows_about_the_pooled_fit(data):
    """Any coefficients leave the same squares of the rows and of the triangles."""
    equations, design, rng = equations_of(data), data.labels.design, np.random.default_rng(0)
    z = columns_of(data, design.varying)
    means = [name for name in design.varying if name in design.population]
    x = columns_of(data, [*means, *design.fixed])
    assert equations.size == z.shape[1]
    # Least squares: the residual of the pooled fit is orthogonal to the columns.
    fit = equations.to_model(np.zeros(x.shape[1]))
    size = np.linalg.norm(x, axis=0) * np.linalg.norm(data.y)
    assert np.abs(x.T @ (data.y - x @ fit) / size).max() < 1e-12
    assert equations.rss == pytest.approx(((data.y - x @ fit) ** 2).sum(), rel=1e-10)
    np.testing.assert_array_equal(
        equations.root, np.moveaxis(np.triu(np.moveaxis(equations.root, -1, 0)), 0, -1)
    )
    close = {"rtol": 1e-10, "atol": 1e-10}
    for _ in range(3):
        b, u = rng.normal(size=x.shape[1]), rng.normal(size=(z.shape[1], data.num_groups))
        residual = data.y - x @ b - (z * u.T[data.group]).sum(1)
        relative = equations.from_model(b)
        np.testing.assert_allclose(equations.to_model(relative), b, **close)
        pooled = equations.pooled_target - equations.pooled_root @ relative
        left = (pooled**2).sum() + equations.remainder
        for c in range(data.num_groups):
            target = equations.target[:, c] - equations.population[..., c] @ relative
            left += ((target - equations.root[..., c] @ u[:, c]) ** 2).sum()
        assert left == pytest.approx((residual**2).sum(), rel=1e-10)
    for c in range(data.num_groups):
        rows = data.group == c
        r = (data.y - x @ fit)[rows]
        own = np.linalg.lstsq(z[rows], r, rcond=1e-10)[0] if len(r) else np.zeros(z.shape[1])
        expected = ((r - z[rows] @ own) ** 2).sum()
        np.testing.assert_allclose(equations.rest[c], expected, **close)
        assert equations.count[c] == rows.sum()


@pytest.mark.parametrize("num_predictors", [1, 2, 3])
def test_no_residual_is_negative_where_the_fit_is_exact(unequal_data, num_predictors):
    data = unequal_data(num_predictors, sizes=SIZES)
    for slope in np.linspace(0.1, 2.0, 10):
        exact = replace(data, y=1.5 + slope * data.x.sum(-1))
        assert (equations_of(exact).rest >= 0).all()


@each_case
def test_pooled_equations_are_those_of_all_rows(data):
    """No groups: the squares that the population coefficients alone leave."""
    equations, design = equations_of(data).pooled(), data.labels.design
    means = [name for name in design.varying if name in design.population]
    x = columns_of(data, [*means, *design.fixed])
    assert equations.size == equations.num_groups == 0
    assert equations.num_rows == data.num_rows
    for seed in range(3):
        b = np.random.default_rng(seed).normal(size=x.shape[1])
        rest = equations.pooled_target - equations.pooled_root @ equations.from_model(b)
        expected = ((data.y - x @ b) ** 2).sum()
        assert (rest**2).sum() + equations.remainder == pytest.approx(expected, rel=1e-9)


def test_taking_groups_keeps_their_equations(unequal_data):
    equations = equations_of(unequal_data(2, sizes=SIZES))
    for chosen in ([3, 0], np.array([True, False, False, True, False])):
        taken = equations.take(chosen)
        order = np.arange(5)[chosen]
        assert taken.size == equations.size
        np.testing.assert_array_equal(taken.fit, equations.fit)
        np.testing.assert_array_equal(taken.count, np.array(SIZES)[order])
        for k, c in enumerate(order):
            np.testing.assert_array_equal(taken.root[..., k], equations.root[..., c])
            np.testing.assert_array_equal(taken.population[..., k], equations.population[..., c])
            np.testing.assert_array_equal(taken.target[..., k], equations.target[..., c])
            assert taken.rest[k] == equations.rest[c]


# Marginal likelihood


@pytest.mark.parametrize("zero", [(), (0,), (-1,), (0, -1)], ids=str)
@each_case
def test_log_density_is_the_dense_normal_over_the_rows(data, zero):
    size = len(data.labels.design.varying)
    scale, priors = scales(size, zero), priors_for(data)
    expected = Dense(data, priors, scale, EPS).log_density(data.y)
    found = log_density(equations_of(data), scale, EPS, priors)
    assert found.shape == ()
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("intercept", ["both", "fixed"])
def test_columns_that_vary_may_determine_one_another(intercept):
    """A level each beside an intercept, and a sum: Z has not full rank in any group."""
    data = simulated(slopes=("a", "b", "c", "dose", "time", "sum"), intercept=intercept)
    x = data.x.copy()
    x[:, :3] = np.eye(3)[np.random.default_rng(8).integers(0, 3, data.num_rows)]
    x[:, 5] = x[:, 3] + x[:, 4]
    population = tuple(n for n in data.labels.design.population if n not in ("c", "sum"))
    labels = replace(data.labels, design=replace(data.labels.design, population=population))
    data = replace(data, x=x, labels=labels)
    size = len(data.labels.design.varying)
    assert np.linalg.matrix_rank(columns_of(data, data.labels.design.varying)) < size
    equations, priors = equations_of(data), priors_of(data.labels.design)
    for scale in (0.3 + 0.2 * np.arange(size), 2.0 - 0.2 * np.arange(size)):
        expected = Dense(data, priors, scale, 0.6).log_density(data.y)
        np.testing.assert_allclose(log_density(equations, scale, 0.6, priors), expected, rtol=1e-9)


def test_log_density_at_many_scales(unequal_data):
    """Scales and eps over four orders of magnitude, each alone."""
    data, priors = unequal_data(1, sizes=SIZES), make_priors(1)
    equations = equations_of(data)
    for eps in (0.05, 0.6, 20.0):
        for scale in np.array([[0.01, 3.0], [30.0, 0.002], [5.0, 5.0]]):
            expected = Dense(data, priors, scale, eps).log_density(data.y)
            found = log_density(equations, scale, eps, priors)
            np.testing.assert_allclose(found, expected, rtol=1e-9)


def exact_log_density(data, priors, scale, eps):
    """The dense Normal in rational arithmetic, where a prior sd of 1e4 costs no digit."""
    size, n = data.num_predictors + 1, data.num_rows
    row = [[Fraction(v) for v in r] for r in design_of(data)]
    loc, sd = (
        [getattr(priors.mu_alpha, part), *getattr(priors.mu_beta, part) * np.ones(size - 1)]
        for part in ("loc", "scale")
    )
    loc, sd, s = ([Fraction(float(v)) for v in vector] for vector in (loc, sd, scale))
    matrix = [
        [
            sum(
                row[i][p]
                * row[j][p]
                * (sd[p] ** 2 + (s[p] ** 2 if data.group[i] == data.group[j] else 0))
                for p in range(size)
            )
            + (Fraction(eps) ** 2 if i == j else 0)
            for j in range(n)
        ]
        for i in range(n)
    ]
    residual = [
        Fraction(data.y[i]) - sum(row[i][p] * loc[p] for p in range(size)) for i in range(n)
    ]
    log_det, quadratic = 0.0, Fraction(0)
    for k in range(n):
        pivot = matrix[k][k]
        log_det += math.log(pivot)
        quadratic += residual[k] ** 2 / pivot
        for i in range(k + 1, n):
            ratio = matrix[i][k] / pivot
            residual[i] -= ratio * residual[k]
            for j in range(k + 1, n):
                matrix[i][j] -= ratio * matrix[k][j]
    return -0.5 * (n * math.log(2 * math.pi) + log_det + float(quadratic))


@pytest.mark.parametrize("num_predictors", [0, 1, 2])
def test_log_density_is_exact_under_the_tutorial_priors(unequal_data, num_predictors):
    data = unequal_data(num_predictors, sizes=(4, 1, 0, 2))
    priors, scale = Priors.tutorial(), SCALE[: num_predictors + 1]
    found = log_density(equations_of(data), scale, EPS, priors)
    expected = exact_log_density(data, priors, scale, EPS)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("mean", "sd", "rtol"), [(2000.0, 10.0, 1e-12), (1e6, 100.0, 1e-11), (1e6, 1.0, 1e-9)]
)
@pytest.mark.parametrize("num_predictors", [1, 2])
def test_log_density_is_right_for_predictors_far_from_zero(
    unequal_data, mean, sd, rtol, num_predictors
):
    """A calendar year, a map coordinate: nobody centres them. Only their own digits are lost."""
    data = unequal_data(num_predictors, sizes=(4, 1, 0, 3))
    data = replace(data, x=mean + sd * (data.x - data.x.mean(0)) / data.x.std(0))
    scale = np.array([2.0, 3.0 / sd, 0.5 / sd])[: num_predictors + 1]
    for priors in (Priors.weakly_informative(data), Priors.tutorial()):
        found = log_density(equations_of(data), scale, EPS, priors)
        expected = exact_log_density(data, priors, scale, EPS)
        np.testing.assert_allclose(found, expected, rtol=rtol)


def own_density(data, eps, priors):
    """Log density of each group's rows by a regression of its own."""
    equations = equations_of(data)
    return individual_log_density(equations, eps, *individual_prior(equations, priors))


def exact_group_log_density(data, priors, eps):
    """Of one group with the coefficients of the individual model, in rational arithmetic."""
    individual = replace(priors, mu_alpha=priors.alpha, mu_beta=priors.beta)
    return exact_log_density(data, individual, np.zeros(data.num_predictors + 1), eps)


@pytest.mark.parametrize("priors", [None, Priors.tutorial()], ids=["scaled", "tutorial"])
def test_individual_log_density_is_right_for_predictors_far_from_zero(unequal_data, priors):
    data = unequal_data(2, sizes=(4, 1, 2, 3))
    data = replace(data, x=1e6 + (data.x - data.x.mean(0)) / data.x.std(0))
    priors = Priors.weakly_informative(data) if priors is None else priors
    eps = np.array([0.3, 0.6, 0.5, 1.1])
    found = own_density(data, eps, priors)
    for c, label in enumerate(data.labels.groups):
        expected = exact_group_log_density(data.select(label), priors, eps[c])
        # (1e6)^2 of the 1e16 that a number holds; relative to the largest term.
        np.testing.assert_allclose(found[c], expected, rtol=1e-9, atol=1e-5)


@pytest.mark.parametrize(("ratio", "rtol"), [(1e4, 1e-12), (1e7, 1e-9)])
def test_log_density_is_right_for_precise_measurements(unequal_data, ratio, rtol):
    """Groups that differ by many times the noise, whose square is beyond 16 digits."""
    data, scale, eps = unequal_data(0, sizes=(4, 1, 0, 3)), np.array([2.0]), 2.0 / ratio
    noise = eps * np.random.default_rng(0).normal(size=8)
    data = replace(data, y=np.array([8.0, 11.0, 0.0, 13.0])[data.group] + noise)
    priors = Priors.weakly_informative(data)
    found = log_density(equations_of(data), scale, eps, priors)
    np.testing.assert_allclose(found, exact_log_density(data, priors, scale, eps), rtol=rtol)


def test_the_rational_reference_agrees_with_the_dense_one(unequal_data):
    data, priors = unequal_data(1, sizes=(4, 1, 0, 2)), make_priors(1)
    dense = Dense(data, priors, SCALE[:2], EPS).log_density(data.y)
    exact = exact_log_density(data, priors, SCALE[:2], EPS)
    np.testing.assert_allclose(exact, dense, rtol=1e-11)


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
def test_signs_of_the_scales_do_not_matter(unequal_data, num_predictors):
    equations = equations_of(unequal_data(num_predictors, sizes=SIZES))
    priors, scale = make_priors(num_predictors), SCALE[: num_predictors + 1]
    expected = log_density(equations, scale, EPS, priors)
    relative = np.arange(num_predictors + 1.0)
    terms = group_terms(equations, scale, EPS)
    expected_off = deviations(terms, misfit(terms, relative))
    for signs in (-np.ones(num_predictors + 1), (-1.0) ** np.arange(num_predictors + 1)):
        found = log_density(equations, signs * scale, EPS, priors)
        np.testing.assert_allclose(found, expected, rtol=1e-14)
        flipped = group_terms(equations, signs * scale, EPS)
        off = deviations(flipped, misfit(flipped, relative))
        np.testing.assert_allclose(off, expected_off, rtol=1e-12)
    other = log_density(equations, 1.1 * scale, EPS, priors)
    assert abs(other - expected) > 1e-3, "the scales do not matter at all"


@pytest.mark.parametrize("zero", [(), (0,), (-1,), (0, -1)], ids=str)
@pytest.mark.parametrize(
    "case", ["no predictor", "two predictors", "constant within each group", *OTHER_DESIGNS]
)
def test_gradient_is_that_of_the_dense_normal_also_at_zero(data, zero):
    """By central differences of the dense density; a scale of 0 is the centre of symmetry."""
    size = len(data.labels.design.varying)
    scale, priors, equations = scales(size, zero), priors_for(data), equations_of(data)
    gradient = log_density_and_gradient(equations, scale, EPS, priors)[1]
    found = np.append(gradient.scale, gradient.eps)
    step = 1e-4
    expected = [
        np.diff(
            [
                Dense(data, priors, moved[:-1], moved[-1]).log_density(data.y)
                for moved in np.append(scale, EPS) + step * np.outer([-1, 1], unit)
            ]
        )[0]
        / (2 * step)
        for unit in np.eye(size + 1)
    ]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert not found[:-1][scale == 0].any(), "an even function is level at 0"


# As NUTS has them: JAX takes the derivatives, by the rule of `log_density`.
compiled = jax.jit(jax.value_and_grad(scale_model.log_density, argnums=(1, 2)))


def compiled_density_and_gradient(data, priors, scale, eps):
    equations = equations_of(data)
    prior = population_prior(equations, priors, HIERARCHICAL)
    return compiled(equations, scale, eps, prior)


@pytest.mark.parametrize(
    "case", ["no predictor", "two predictors", "columns that do not vary", "five slopes that vary"]
)
def test_jax_computes_the_density_and_the_gradient_of_numpy(data, x64, case):
    """Written out for few columns, by LAPACK for five; at scales of 0 too."""
    priors, equations = priors_for(data), equations_of(data)
    for zero in ((), (0,), (-1,), (0, -1)):
        scale = scales(len(data.labels.design.varying), zero)
        value, slopes = compiled_density_and_gradient(data, priors, scale, EPS)
        expected, gradient = log_density_and_gradient(equations, scale, EPS, priors)
        assert value.shape == ()
        assert value.dtype == np.float64
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        for found, wanted in zip(slopes, gradient[:2], strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def of_order_one_and_two(density, at, prior):
    def twice(at):
        slope = jax.grad(density)(at, prior)
        return slope, slope

    curved, slope = jax.jacfwd(twice, has_aux=True)(at)
    return slope, curved


@pytest.mark.slow
@pytest.mark.parametrize("num_predictors", [0, 1])
def test_derivatives_are_those_of_the_density_computed(unequal_data, x64, num_predictors):
    """First and second ones, beside those that JAX makes of the density without the formula."""
    equations = equations_of(unequal_data(num_predictors, sizes=SIZES))

    def formula(at, prior):
        return scale_model.log_density(equations, at[:-1], at[-1], prior)

    def written(at, prior):
        return marginal(equations, at[:-1], at[-1], prior).log_density

    # Each is compiled once, for all priors and scales.
    derivatives = jax.jit(of_order_one_and_two, static_argnums=0)
    of_many = jax.jit(jax.vmap(jax.grad(formula), (0, None)))
    for priors, ratio in product((make_priors(num_predictors), Priors.tutorial()), (1.0, 1e-4)):
        prior = population_prior(equations, priors, HIERARCHICAL)
        at = jnp.append(jnp.asarray(SCALE[: num_predictors + 1]), EPS * ratio)
        unit = at * at[:, None]
        (found, curved), (expected, hessian) = (
            derivatives(density, at, prior) for density in (formula, written)
        )
        np.testing.assert_allclose(
            found * at, expected * at, rtol=1e-8, atol=1e-12 * np.abs(expected * at).max()
        )
        beside = of_many(jnp.stack([1.1 * at, at]), prior)[1]
        np.testing.assert_allclose(beside * at, found * at, rtol=1e-10)
        hessian = hessian * unit
        np.testing.assert_allclose(
            curved * unit, hessian, rtol=1e-6, atol=1e-10 * np.abs(hessian).max()
        )


@pytest.mark.parametrize("num_predictors", [1, 2])
def test_derivatives_keep_the_digits_that_the_density_has(unequal_data, x64, num_predictors):
    """Predictors far from zero, measured precisely: a reverse pass is wrong by a factor here."""
    drawn = unequal_data(num_predictors, sizes=(5, 1, 0, 2, 2))
    data = GroupedData.from_arrays(drawn.y, drawn.x + 1e6, drawn.group)
    priors = make_priors(num_predictors)
    at, step = np.append(SCALE[: num_predictors + 1], 1e-4 * EPS), 1e-3

    def relative_difference(k, step):
        moved = [np.where(np.arange(len(at)) == k, at * (1 + s), at) for s in (-step, step)]
        low, high = (exact_log_density(data, priors, m[:-1], m[-1]) for m in moved)
        return (high - low) / (2 * step)

    # Of fourth order.
    expected = [
        (4 * relative_difference(k, step) - relative_difference(k, 2 * step)) / 3
        for k in range(len(at))
    ]
    _, found = compiled_density_and_gradient(data, priors, at[:-1], at[-1])
    np.testing.assert_allclose(np.append(*found) * at, expected, rtol=1e-4)


def test_derivatives_in_the_data_are_refused_and_not_zero(unequal_data, x64):
    equations = equations_of(unequal_data(1, sizes=SIZES))
    prior = population_prior(equations, make_priors(1), HIERARCHICAL)
    with pytest.raises(TypeError, match="derivatives of log_density in scale, eps and root; got"):
        jax.grad(scale_model.log_density)(equations, SCALE[:2], EPS, prior)


# Means and coefficients given the scales


@pytest.mark.parametrize("zero", [(), (0,), (-1,), (0, -1)], ids=str)
@each_case
def test_coefficients_have_the_dense_conditional(data, zero):
    """Mean and covariance of (b, theta) given y, read off by feeding unit vectors as noise."""
    design, num_groups = data.labels.design, data.num_groups
    size, num_columns = len(design.varying), len(design.population)
    scale, priors, equations = scales(size, zero), priors_for(data), equations_of(data)
    mean, cov = Dense(data, priors, scale, EPS).given(data.y)

    terms = group_terms(equations, scale, EPS)
    prior = population_prior(equations, priors, HIERARCHICAL)
    population = population_posterior(equations, terms, prior)
    has_mean = [name in design.population for name in design.varying]

    def drawn(population_noise, group_noise):
        relative = draw_population(population, population_noise)
        b = np.asarray(equations.to_model(relative))
        theta = np.array(draw_deviations(equations, scale, EPS, relative, group_noise))
        assert theta.shape == (size, num_groups)
        theta[has_mean] += b[: sum(has_mean), None]
        return np.append(b, theta.T.ravel())

    none = np.zeros(num_columns), np.zeros((size, num_groups))
    centre = drawn(*none)
    np.testing.assert_allclose(centre, mean, rtol=1e-8, atol=1e-9)
    spread = [drawn(unit, none[1]) - centre for unit in np.eye(num_columns)]
    spread += [
        drawn(none[0], unit.reshape(size, num_groups)) - centre
        for unit in np.eye(size * num_groups)
    ]
    found = np.column_stack(spread) @ np.column_stack(spread).T
    unit = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    np.testing.assert_allclose(found / unit, cov / unit, atol=1e-8)


def test_a_group_without_rows_is_a_draw_of_the_population(unequal_data):
    equations = equations_of(unequal_data(1, sizes=SIZES))
    noise = np.repeat([[0.5], [-1.5]], 5, axis=1)
    off = draw_deviations(equations, SCALE[:2], EPS, np.array([3.0, -2.0]), noise)
    np.testing.assert_allclose(off[:, 2], SCALE[:2] * [0.5, -1.5], rtol=1e-13)
    assert np.abs(off[:, 0] - off[:, 2]).max() > 0.1, "a group with rows is no such draw"


def test_without_scatter_every_group_has_the_population_mean(unequal_data):
    equations = equations_of(unequal_data(2, sizes=SIZES))
    noise = np.random.default_rng(0).normal(size=(3, 5))
    off = draw_deviations(equations, np.zeros(3), EPS, np.array([1.0, 2.0, 3.0]), noise)
    np.testing.assert_array_equal(off, 0.0)


@pytest.mark.parametrize("num_predictors", [0, 2])
def test_draws_have_the_dense_conditional(unequal_data, num_predictors):
    """Mean and covariance of 20 000 draws, within five of their standard errors."""
    data = unequal_data(num_predictors, sizes=SIZES)
    size, num_draws = num_predictors + 1, 20_000
    scale, priors, equations = SCALE[:size], make_priors(num_predictors), equations_of(data)
    mean, cov = Dense(data, priors, scale, EPS).given(data.y)
    scales = {"sigma_alpha": np.full(num_draws, scale[0]), "eps": np.full(num_draws, EPS)}
    if num_predictors:
        scales["sigma_beta"] = np.tile(scale[1:], (num_draws, 1))
    population = population_coefficients("hierarchical", equations, priors, scales)
    sites = draw_coefficients(np.random.default_rng(3), equations, scales, population)
    shapes = {name: value.shape[1:] for name, value in sites.items()}
    slopes = {"mu_beta": (num_predictors,), "beta": (5, num_predictors)} if num_predictors else {}
    assert shapes == {"mu_alpha": (), "alpha": (5,)} | slopes
    columns = np.zeros((num_draws, 6, size))
    columns[:, 0, 0], columns[:, 1:, 0] = sites["mu_alpha"], sites["alpha"]
    if num_predictors:
        columns[:, 0, 1:], columns[:, 1:, 1:] = sites["mu_beta"], sites["beta"]
    # In coordinates that the dense conditional makes independent and standard.
    white = np.linalg.solve(np.linalg.cholesky(cov), (columns.reshape(num_draws, -1) - mean).T)
    error = 1 / np.sqrt(num_draws)
    assert np.abs(white.mean(axis=1)).max() < 5 * error
    found = np.cov(white)
    assert np.abs(np.diag(found) - 1).max() < 5 * np.sqrt(2) * error
    assert np.abs(found - np.diag(np.diag(found))).max() < 5 * error


# Prediction


@each_case
def test_prediction_has_the_dense_conditional(data):
    """For several sets of scales at once, and also in a group without rows."""
    design, rng = data.labels.design, np.random.default_rng(8)
    size, num_columns = len(design.varying), len(design.population)
    priors, equations = priors_for(data), equations_of(data)
    group = np.array([3, 0, 2, 4, 3, 1]) % data.num_groups
    x = rng.normal(1.0, 2.0, size=(6, data.num_predictors))
    draws = np.stack([SCALE[:size], 0.3 * SCALE[:size], np.zeros(size)])
    eps = np.array([EPS, 2.0, 0.9])

    terms = group_terms(equations, draws.T, eps)
    prior = population_prior(equations, priors, HIERARCHICAL)
    population = population_posterior(equations, terms, prior)
    z, row, fitted = equations.rows(x)
    mean, variance = prediction(terms, population.mean, z, row, group, population)
    given_b = prediction(terms, population.mean, z, row, group)
    assert mean.shape == variance.shape == (3, 6)
    np.testing.assert_array_equal(given_b[0], mean)

    new = replace(data, x=x, y=np.zeros(6), group=group)
    line = Dense(new, priors, SCALE[:size], EPS).rows
    for s in range(3):
        centre, cov = Dense(data, priors, draws[s], eps[s]).given(data.y)
        np.testing.assert_allclose(mean[s] + fitted, line @ centre, rtol=1e-8, atol=1e-9)
        expected = np.einsum("ri,ij,rj->r", line, cov, line)
        np.testing.assert_allclose(variance[s], expected, rtol=1e-7)
        # With b known: the covariance of theta given b and y.
        known = cov[:num_columns]
        left = cov - known.T @ np.linalg.solve(known[:, :num_columns], known)
        expected = np.einsum("ri,ij,rj->r", line, left, line)
        np.testing.assert_allclose(given_b[1][s], expected, rtol=1e-6, atol=1e-8)


# Each group on its own


each_tutorial_case = pytest.mark.parametrize(
    "case", [case for case in CASES if case not in OTHER_DESIGNS]
)


def own_prior(priors):
    """Prior means and standard deviations of a group's coefficients."""
    return tuple(
        np.append(getattr(priors.alpha, part), getattr(priors.beta, part))
        for part in ("loc", "scale")
    )


@each_tutorial_case
def test_individual_log_density_is_the_dense_normal_of_each_group(data):
    priors, num_groups = make_priors(data.num_predictors), data.num_groups
    eps = np.linspace(0.4, 1.9, 2 * num_groups).reshape(2, num_groups)
    loc, scale = own_prior(priors)
    found = own_density(data, eps, priors)
    assert found.shape == (2, num_groups)
    np.testing.assert_array_equal(own_density(data, eps[1], priors), found[1])
    for c in range(num_groups):
        x, y = design_of(data)[data.group == c], data.y[data.group == c]
        if len(y) == 0:
            np.testing.assert_array_equal(found[:, c], 0.0)
            continue
        for s in range(2):
            cov = x @ np.diag(np.square(scale)) @ x.T + eps[s, c] ** 2 * np.eye(len(y))
            expected = stats.multivariate_normal(x @ loc, cov).logpdf(y)
            np.testing.assert_allclose(found[s, c], expected, rtol=1e-9)


def own_coefficients(data, priors, eps):
    """Mean (P, C), and root of the covariance (P, P, C), of each group's own coefficients."""
    equations = equations_of(data)
    loc, scale = individual_prior(equations, priors)
    terms, relative = group_terms(equations, scale, eps), equations.from_model(loc)
    mean = deviations(terms, misfit(terms, relative))
    units = [np.repeat(u[:, None], data.num_groups, axis=1) for u in np.eye(equations.size)]
    drawn = [draw_deviations(equations, scale, eps, relative, unit) for unit in units]
    root = np.stack([draw - mean for draw in drawn], axis=1)
    return loc[:, None] + mean, root


@each_tutorial_case
def test_individual_coefficients_have_the_conjugate_posterior(data):
    """Mean and covariance in each group by the textbook formula; the prior where no row speaks."""
    priors = make_priors(data.num_predictors)
    eps = np.linspace(0.4, 1.9, data.num_groups)
    loc, sd = own_prior(priors)
    mean, root = own_coefficients(data, priors, eps)
    for c in range(data.num_groups):
        x, y = design_of(data)[data.group == c], data.y[data.group == c]
        cov = np.linalg.inv(x.T @ x / eps[c] ** 2 + np.diag(1 / sd**2))
        expected = cov @ (x.T @ y / eps[c] ** 2 + loc / sd**2)
        np.testing.assert_allclose(mean[:, c], expected, rtol=1e-8, atol=1e-8)
        unit = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
        found = root[..., c] @ root[..., c].T
        np.testing.assert_allclose(found / unit, cov / unit, atol=1e-8)


@pytest.mark.parametrize(("mean", "sd"), [(2000.0, 10.0), (1e6, 100.0)])
def test_one_row_and_the_tutorial_priors_leave_the_right_covariance(mean, sd):
    """The data say one thing about two coefficients: their line at the row; the prior the rest."""
    eps, prior_sd = 0.6, 1e4
    x = mean + sd * np.array([-1.0, 1.0, 0.0, 0.5])
    y = np.array([1.0, 2.0, 1.0, 3.0])
    data = GroupedData.from_arrays(y, x, [0, 0, 0, 1])
    centre, factor = own_coefficients(data, Priors.tutorial(), np.full(2, eps))
    at_row, factor = np.array([1.0, x[3]]), factor[..., 1]
    fitted = at_row @ centre[:, 1]
    np.testing.assert_allclose(fitted, y[3], atol=1e-6)
    # Along the row's own direction the variance is `known`, across it the prior's.
    norm = at_row @ at_row
    known = 1 / (norm / eps**2 + 1 / prior_sd**2)
    across = np.array([-x[3], 1.0]) / np.sqrt(norm)
    found = factor @ factor.T
    expected = prior_sd**2 * np.outer(across, across) + known * np.outer(at_row, at_row) / norm
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# The NumPyro model of the scales


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
@pytest.mark.parametrize("family", ["half-normal", "uniform", "uniform and half-normal"])
def test_model_is_the_full_one_with_the_coefficients_integrated_out(
    unequal_data, x64, num_predictors, family
):
    """Half of the density of |s| at each of s and -s, times the dense Normal."""
    data, size = unequal_data(num_predictors, sizes=SIZES), num_predictors + 1
    unit = 1.0 + np.arange(num_predictors)
    priors = make_priors(num_predictors)
    if family == "half-normal":
        priors = replace(priors, sigma_beta=HalfNormal(0.5 * unit))
        reference = stats.halfnorm(scale=1.5), stats.halfnorm(scale=0.5 * unit)
    elif family == "uniform":
        priors = replace(priors, sigma_alpha=Uniform(4.0), sigma_beta=Uniform(3.0))
        reference = stats.uniform(0, 4), stats.uniform(0, 3)
    else:
        reference = stats.halfnorm(scale=1.5), stats.uniform(0, 2 * unit)
    signs = (-1.0) ** np.arange(size)
    signed = signs * SCALE[:size]
    values = {"signed_alpha": signed[0], "eps": np.float64(EPS)}
    if num_predictors:
        values["signed_beta"] = signed[1:]
    found, trace = model_log_density(scale_model.scales, (equations_of(data), priors), {}, values)
    expected = Dense(data, priors, SCALE[:size], EPS).log_density(data.y)
    expected += reference[0].logpdf(SCALE[0]) - np.log(2.0)
    expected += (reference[1].logpdf(SCALE[1:size]) - np.log(2.0)).sum()
    expected += stats.halfnorm(scale=2.0).logpdf(EPS)
    np.testing.assert_allclose(found, expected, rtol=1e-9)

    latent = {name for name, site in trace.items() if site["type"] == "sample"}
    assert latent == set(values) | {"y"}
    assert trace["sigma_alpha"]["value"] == SCALE[0]
    assert ("sigma_beta" in trace) == (num_predictors > 0)
    if num_predictors:
        np.testing.assert_array_equal(trace["sigma_beta"]["value"], SCALE[1:size])


@pytest.mark.parametrize(
    ("prior", "reference"),
    [
        (HalfNormal(1.5), stats.halfnorm(scale=1.5)),
        (Uniform(4.0), stats.uniform(0, 4)),
        (HalfCauchy(0.5), stats.halfcauchy(0, 0.5)),
        (Exponential(2.0), stats.expon(0, 0.5)),
    ],
    ids=["half-normal", "uniform", "half-Cauchy", "exponential"],
)
def test_the_absolute_value_of_a_signed_scale_has_the_prior(unequal_data, x64, prior, reference):
    equations = equations_of(unequal_data(1, sizes=SIZES))
    priors = replace(make_priors(1), sigma_alpha=prior, sigma_beta=prior)
    prior_draws = Predictive(scale_model.scales, num_samples=4000)
    draws = prior_draws(jax.random.key(2), equations, priors)
    for name in ("alpha", "beta"):
        signed, sigma = np.ravel(draws[f"signed_{name}"]), np.ravel(draws[f"sigma_{name}"])
        np.testing.assert_array_equal(np.abs(signed), sigma)
        assert stats.kstest(sigma, reference.cdf).pvalue > 1e-3
        # The sign is a fair coin, on its own.
        assert abs(np.mean(signed > 0) - 0.5) < 5 * 0.5 / np.sqrt(4000)

    with handlers.seed(rng_seed=0):
        trace = handlers.trace(scale_model.scales).get_trace(equations, priors)
    density = trace["signed_alpha"]["fn"].log_prob
    inside = np.array([0.01, 0.7, 3.9])
    for sign in (-1.0, 1.0):
        expected = reference.logpdf(inside) - np.log(2.0)
        np.testing.assert_allclose(density(sign * inside), expected, rtol=1e-12)


def test_outside_float64_the_density_is_computed_in_float32(unequal_data):
    """The package sets nothing for the process."""
    assert not jax.config.jax_enable_x64
    data, priors = unequal_data(1, sizes=SIZES), make_priors(1)
    found, _ = compiled_density_and_gradient(data, priors, SCALE[:2], EPS)
    assert found.dtype == np.float32
    expected = Dense(data, priors, SCALE[:2], EPS).log_density(data.y)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_one_compilation_serves_two_data_sets_of_one_shape(unequal_data, x64):
    traces = []

    @jax.jit
    def total(equations, scale, eps, priors):
        traces.append(equations.size)
        prior = population_prior(equations, priors, HIERARCHICAL)
        return scale_model.log_density(equations, scale, eps, prior)

    for seed in (1, 2):
        data, priors = unequal_data(1, sizes=SIZES, seed=seed), make_priors(1)
        found = total(equations_of(data), SCALE[:2], EPS, priors)
        expected = Dense(data, priors, SCALE[:2], EPS).log_density(data.y)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert traces == [2]


@each_case
def test_the_pooled_density_is_the_dense_normal_of_all_rows(data):
    """Of many values of eps at once, the coefficients integrated out; nothing varies."""
    design, priors = data.labels.design, priors_for(data)
    means = [name for name in design.varying if name in design.population]
    x = columns_of(data, [*means, *design.fixed])
    loc, sd = [], []
    for prior, number in (
        (priors.alpha, int(design.has_mean_intercept)),
        (priors.beta, len(design.means)),
        (priors.gamma, len(design.fixed)),
    ):
        loc += list(prior.loc * np.ones(number)) if number else []
        sd += list(prior.scale * np.ones(number)) if number else []
    equations, eps = equations_of(data).pooled(), np.array([0.3, 0.9, 4.0])
    prior = population_prior(equations, priors, Model.named("pooled"))
    found = marginal(equations, np.empty((0, 3)), eps, prior).log_density
    for one, value in zip(eps, found, strict=True):
        cov = x @ np.diag(np.square(sd)) @ x.T + one**2 * np.eye(data.num_rows)
        expected = stats.multivariate_normal(x @ loc, cov).logpdf(data.y)
        assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_the_model_of_the_scales_runs_under_numpyro(x64, unequal_data):
    """AutoNormal, NUTS and Predictive take it like any model."""
    data = unequal_data(1)
    arguments = (equations_of(data), Priors.weakly_informative(data))
    function = scale_model.scales
    guide = numpyro.infer.autoguide.AutoNormal(function)
    optimiser = numpyro.optim.Adam(0.01)
    svi = numpyro.infer.SVI(function, guide, optimiser, numpyro.infer.Trace_ELBO())
    result = svi.run(jax.random.key(0), 50, *arguments, progress_bar=False)
    assert np.isfinite(result.losses).all()
    kernel = numpyro.infer.NUTS(function)
    mcmc = numpyro.infer.MCMC(kernel, num_warmup=50, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.key(1), *arguments)
    samples = mcmc.get_samples()
    assert np.isfinite(samples["eps"]).all()
    predictive = numpyro.infer.Predictive(function, num_samples=5)
    prior = predictive(jax.random.key(2), *arguments)
    assert prior["eps"].shape[0] == 5
