"""Coefficients that correlate: densities and draws against the dense Normal, LKJ by simulation."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from dense import HIERARCHICAL, Dense, equations_of, log_density, log_density_and_gradient
from designs import priors_of, simulated
from scipy import stats

from radon_numpyro.data.design import Design
from radon_numpyro.gaussian.conditional import (
    deviations,
    draw_deviations,
    group_terms,
    misfit,
)
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.marginal import gradient, marginal
from radon_numpyro.gaussian.predictive import line, population_prior
from radon_numpyro.inference.nuts import scales
from radon_numpyro.model.correlations import (
    LKJ,
    beta_parameters,
    correlation_of,
    correlation_root,
    root_of_correlation,
)

EPS = 0.6
SCALE = np.array([1.3, 0.4, 0.9, 0.2, 1.7])
DESIGNS = {
    "intercept and slope": {"slopes": ("dose",)},
    "three coefficients": {"slopes": ("dose", "time"), "fixed": ("age",)},
    "four coefficients": {"slopes": ("a", "b", "c"), "fixed": ()},
    "a slope without a mean": {"slopes": ("dose", "time"), "without_mean": ("dose",)},
    "no intercept": {"slopes": ("dose", "time"), "intercept": "none", "fixed": ()},
    "five coefficients": {"slopes": tuple("abcd"), "fixed": ("age",)},
}
each_design = pytest.mark.parametrize("case", DESIGNS)


def correlated(case, blocks=None, num_groups=6, rows=3):
    """Groups of three rows, so that those of four and five coefficients are singular."""
    data = simulated(num_groups, rows, **DESIGNS[case])
    design = data.labels.design
    blocks = (design.varying,) if blocks is None else blocks
    labels = replace(data.labels, design=replace(design, correlated=blocks))
    return replace(data, labels=labels)


def partials(design, seed=0, size=0.9):
    return np.random.default_rng(seed).uniform(-size, size, len(design.pairs))


def at(data, seed=0, size=0.9):
    design = data.labels.design
    root = correlation_root(design, partials(design, seed, size))
    return SCALE[: len(design.varying)], root


@each_design
@pytest.mark.parametrize("size", [0.9, 1.0 - 1e-9], ids=["moderate", "nearly singular"])
def test_log_density_is_the_dense_normal_over_the_rows(case, size):
    data = correlated(case)
    priors = priors_of(data.labels.design)
    for seed in range(3):
        scale, root = at(data, seed, size)
        scale = np.where(np.arange(len(scale)) == seed, 0.0, scale)
        found = log_density(equations_of(data), scale, EPS, priors, root)
        dense = Dense(data, priors, scale, EPS, correlation_of(root))
        np.testing.assert_allclose(found, dense.log_density(data.y), rtol=1e-9)


@each_design
def test_a_root_of_no_correlation_is_that_of_independent_coefficients(case):
    data = correlated(case)
    priors, equations = priors_of(data.labels.design), equations_of(data)
    scale, _ = at(data)
    expected = log_density(equations, scale, EPS, priors)
    found = log_density(equations, scale, EPS, priors, np.eye(len(scale)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@each_design
def test_gradient_is_that_of_the_density(case):
    """Against differences of the density; for correlations by the chain rule."""
    data = correlated(case)
    design, equations = data.labels.design, equations_of(data)
    prior = population_prior(equations, priors_of(design), HIERARCHICAL)
    size = len(design.varying)

    def density(point):
        root = correlation_root(design, point[size + 1 :])
        return marginal(equations, point[:size], point[size], prior, root).log_density

    point = np.concatenate([SCALE[:size], [EPS], partials(design)])
    found = marginal(
        equations, point[:size], EPS, prior, correlation_root(design, point[-len(design.pairs) :])
    )
    slopes = gradient(equations, found, prior)
    step = 1e-5
    moved = [
        (density(point + h) - density(point - h)) / (2 * step) for h in step * np.eye(len(point))
    ]
    np.testing.assert_allclose(np.append(slopes.scale, slopes.eps), moved[: size + 1], rtol=1e-6)
    by_partial = chain_rule(design, slopes.root, point[size + 1 :])
    np.testing.assert_allclose(by_partial, moved[size + 1 :], rtol=1e-5, atol=1e-6)


def chain_rule(design, by_root, z):
    """Derivatives in partial correlations, by complex steps through the root: all digits."""
    steps = 1e-30j * np.eye(len(z))
    return [(by_root * correlation_root(design, z + h).imag / 1e-30).sum() for h in steps]


@pytest.mark.parametrize("case", ["three coefficients", "five coefficients"])
def test_jax_has_the_gradient_of_numpy_down_to_partial_correlations(case, x64):
    """In all that NUTS moves."""
    data = correlated(case)
    design, equations = data.labels.design, equations_of(data)
    priors = priors_of(design)
    prior = population_prior(equations, priors, HIERARCHICAL)
    size = len(design.varying)

    def density(point):
        root = correlation_root(design, point[size + 1 :])
        return scales.log_density(equations, point[:size], point[size], prior, root)

    z = partials(design)
    found = jax.jit(jax.grad(density))(np.concatenate([SCALE[:size], [EPS], z]))
    root = correlation_root(design, z)
    slopes = log_density_and_gradient(equations, SCALE[:size], EPS, priors, root)[1]
    expected = np.concatenate([slopes.scale, [slopes.eps], chain_rule(design, slopes.root, z)])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


def test_numpy_computes_many_points_at_once_as_jax_does_one(x64):
    data = correlated("three coefficients")
    design, equations = data.labels.design, equations_of(data)
    prior = population_prior(equations, priors_of(design), HIERARCHICAL)
    compiled = jax.jit(jax.value_and_grad(scales.log_density, argnums=(1, 2, 4)))
    rng = np.random.default_rng(1)
    z = rng.uniform(-0.9, 0.9, (len(design.pairs), 7))
    scale, eps = rng.uniform(0.1, 2.0, (3, 7)), rng.uniform(0.3, 1.0, 7)
    found = marginal(equations, scale, eps, prior, correlation_root(design, z))
    slopes = gradient(equations, found, prior)
    for k in range(7):
        root = correlation_root(design, z[:, k])
        value, gradients = compiled(equations, scale[:, k], eps[k], prior, root)
        np.testing.assert_allclose(found.log_density[k], value, rtol=1e-11)
        for of_all, one in zip(slopes, gradients, strict=True):
            np.testing.assert_allclose(of_all[..., k], one, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("blocks", [(("Intercept", "b"), ("a", "c")), (("b", "c"),)], ids=str)
def test_blocks_correlate_within_themselves_alone(blocks):
    """Two terms of one grouping are independent of each other."""
    data = correlated("four coefficients", blocks)
    design = data.labels.design
    scale, root = at(data)
    matrix, names = correlation_of(root), design.varying
    block_of = {name: k for k, block in enumerate(blocks) for name in block}
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            together = one == other or block_of.get(one, one) == block_of.get(other, other)
            assert (matrix[i, j] != 0) == together
    priors = priors_of(design)
    found = log_density(equations_of(data), scale, EPS, priors, root)
    dense = Dense(data, priors, scale, EPS, matrix)
    np.testing.assert_allclose(found, dense.log_density(data.y), rtol=1e-9)


@each_design
def test_coefficients_given_the_scales_are_those_of_the_dense_normal(case):
    """Mean and covariance of the deviations, from draws of them at unit noise."""
    data = correlated(case)
    priors, equations = priors_of(data.labels.design), equations_of(data)
    scale, root = at(data)
    dense = Dense(data, priors, scale, EPS, correlation_of(root))
    mean, cov = dense.given(data.y)
    size = len(scale)
    q = len(mean) - size * data.num_groups
    b, gain = mean[:q], np.linalg.solve(cov[:q, :q], cov[:q, q:])
    within = cov[q:, q:] - cov[q:, :q] @ gain
    terms = group_terms(equations, scale, EPS, root)
    relative = equations.from_model(b)
    off = deviations(terms, misfit(terms, relative))
    means = [n for n in data.labels.design.varying if n in data.labels.design.population]
    shift = np.zeros(size)
    for k, name in enumerate(means):
        shift[data.labels.design.varying.index(name)] = b[k]
    expected = mean[q:].reshape(-1, size).T
    np.testing.assert_allclose(off + shift[:, None], expected, rtol=1e-8, atol=1e-9)
    # The deviations are linear in the noise: columns of the root of their covariance.
    units = [np.repeat(e[:, None], data.num_groups, axis=1) for e in np.eye(size)]
    columns = [draw_deviations(equations, scale, EPS, relative, unit, root) - off for unit in units]
    factor = np.stack(columns, axis=1)
    for c in range(data.num_groups):
        block = slice(c * size, (c + 1) * size)
        np.testing.assert_allclose(
            factor[..., c] @ factor[..., c].T, within[block, block], rtol=1e-7, atol=1e-10
        )


@each_design
def test_lines_of_seen_and_new_groups_are_those_of_the_dense_normal(case):
    """A new group has the population's covariance, correlations included."""
    data = correlated(case)
    design, priors, equations = (
        data.labels.design,
        priors_of(data.labels.design),
        equations_of(data),
    )
    scale, root = at(data)
    first = int(design.intercept_varies)
    sites = {"eps": np.array([EPS]), "correlation": correlation_of(root)[None]}
    if first:
        sites["sigma_alpha"] = scale[:1]
    sites["sigma_beta"] = scale[None, first:]
    x = np.random.default_rng(3).normal(size=(2, data.x.shape[1]))
    mean, variance = line("hierarchical", equations, priors, sites, x, np.array([2, -1]))
    dense = Dense(data, priors, scale, EPS, correlation_of(root))
    b_mean, b_cov = dense.given(data.y)
    size, num_groups = len(scale), data.num_groups
    q = len(b_mean) - size * num_groups
    columns = {"Intercept": np.ones(2)} | dict(zip(design.predictors, x.T, strict=True))
    means = [n for n in design.varying if n in design.population]
    row = np.zeros((2, len(b_mean)))
    for k, name in enumerate([*means, *design.fixed]):
        own = k >= len(means)
        row[0, k] = columns[name][0] if own else 0.0
        row[1, k] = columns[name][1]
    z = np.array([columns[n] for n in design.varying])
    row[0, q + 2 * size : q + 3 * size] = z[:, 0]
    covariance = scale[:, None] * correlation_of(root) * scale
    extra = [0.0, z[:, 1] @ covariance @ z[:, 1]]
    np.testing.assert_allclose(mean[0], row @ b_mean, rtol=1e-8)
    np.testing.assert_allclose(
        variance[0], np.einsum("rd,de,re->r", row, b_cov, row) + extra, rtol=1e-8
    )


def test_groups_of_one_design_are_one_with_correlations_too():
    """Density and gradient of 1500 groups, of four designs."""
    data = correlated("intercept and slope", num_groups=1500, rows=2)
    x = data.x.copy()
    x[:, 0] = np.tile([0.0, 1.0], 1500) * (1 + data.group % 4)
    data = replace(data, x=x)
    equations, design = equations_of(data), data.labels.design
    reduced = by_design(equations)
    assert reduced.num_groups < 100
    prior = population_prior(equations, priors_of(design), HIERARCHICAL)
    scale, root = at(data)
    one, other = (marginal(e, scale, EPS, prior, root) for e in (equations, reduced))
    np.testing.assert_allclose(other.log_density, one.log_density, rtol=1e-11)
    for found, expected in zip(
        gradient(reduced, other, prior), gradient(equations, one, prior), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


def test_signed_scales_turn_the_correlations():
    """Flipping a scale is flipping its correlations, not nothing."""
    data = correlated("intercept and slope")
    equations, priors = equations_of(data), priors_of(data.labels.design)
    scale, root = at(data)
    mirrored = np.array([-1.0, 1.0])
    turned = log_density(equations, scale, EPS, priors, mirrored[:, None] * root)
    found = log_density(equations, mirrored * scale, EPS, priors, root)
    np.testing.assert_allclose(found, turned, rtol=1e-12)
    assert abs(found - log_density(equations, scale, EPS, priors, root)) > 0.01


# Correlation matrices


@pytest.mark.parametrize("size", [2, 3, 4])
def test_root_and_matrix_are_inverses(size):
    design = Design.all_varying(tuple("abc"[: size - 1]), correlated=True)
    z = np.random.default_rng(0).uniform(-1, 1, (len(design.pairs), 50))
    root = correlation_root(design, z)
    matrix = correlation_of(root)
    np.testing.assert_allclose(np.diagonal(matrix, axis1=1, axis2=2), 1.0, atol=1e-14)
    np.testing.assert_allclose(root_of_correlation(matrix), root, atol=1e-7)
    np.testing.assert_array_equal(np.tril(np.moveaxis(root, -1, 0), -1), 0.0)


def test_a_singular_matrix_has_a_root():
    matrix = np.array([[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 1.0]])
    root = root_of_correlation(matrix)
    np.testing.assert_allclose(root @ root.T, matrix, atol=1e-12)
    assert np.isfinite(root).all()


@pytest.mark.parametrize("concentration", [1.0, 2.5])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_partial_correlations_make_lkj_matrices(size, concentration):
    """Uniform matrices by rejection, weighted by |R|^(eta - 1), have the same moments."""
    rng, num = np.random.default_rng(size), 200_000
    upper = np.triu_indices(size, 1)
    matrices = np.zeros((num, size, size)) + np.eye(size)
    matrices[:, upper[0], upper[1]] = rng.uniform(-1, 1, (num, len(upper[0])))
    matrices += np.triu(matrices, 1).swapaxes(1, 2)
    # Positive definite if all leading minors are positive.
    minors = [np.linalg.det(matrices[:, :k, :k]) for k in range(2, size + 1)]
    kept = np.min(minors, axis=0) > 0
    matrices, weight = matrices[kept], minors[-1][kept] ** (concentration - 1)
    design = Design.all_varying(tuple("abc"[: size - 1]), correlated=True)
    b = beta_parameters(design, concentration)
    z = 2 * rng.beta(b[:, None], b[:, None], (len(b), 50_000)) - 1
    made = correlation_of(correlation_root(design, z))

    def features(matrices):
        r = matrices[:, upper[0], upper[1]]
        products = [r[:, i] * r[:, j] for i in range(r.shape[1]) for j in range(i)]
        return np.column_stack([r**2, r**4, np.linalg.det(matrices), *products])

    expected, found = features(matrices), features(made)
    weight = weight / weight.sum()
    mean = weight @ expected
    error = np.sqrt(weight**2 @ (expected - mean) ** 2)
    error = np.hypot(error, found.std(0) / np.sqrt(len(found)))
    assert (np.abs(found.mean(0) - mean) < 4.5 * error).all()
    marginal_b = concentration - 1 + size / 2
    for i, j in zip(*upper, strict=True):
        share = (made[:, i, j] + 1) / 2
        assert stats.kstest(share[:5000], stats.beta(marginal_b, marginal_b).cdf).pvalue > 1e-4


def test_a_concentration_that_is_not_positive_is_refused():
    for value in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="concentration of LKJ to be positive and finite"):
            LKJ(value)


@pytest.mark.parametrize(
    "blocks", [(("dose",),), (("Intercept", "age"),), (("Intercept", "dose"), ("dose", "time"))]
)
def test_blocks_that_are_none_are_refused(blocks):
    with pytest.raises(ValueError, match="correlated to have blocks of at least two columns"):
        Design(("Intercept", "dose", "time", "age"), ("Intercept", "dose", "time"), blocks)
