"""What the integration is made of: coordinates, gradient, proposal, lattice, k-hat, designs."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats
from dense import HIERARCHICAL, Dense, equations_of, make_priors
from designs import priors_of, simulated
from scipy import special, stats

from radon_numpyro import GroupedData, Priors
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.inference.compute import compiled_blocks
from radon_numpyro.inference.integration import coordinates
from radon_numpyro.inference.integration.coordinates import Coordinates, predictors_are_far
from radon_numpyro.inference.integration.importance_sampling import (
    WeightedPoints,
    balanced,
    pareto_shape,
    sample,
)
from radon_numpyro.inference.integration.lattice import shifted_lattices
from radon_numpyro.inference.integration.proposal import Proposal
from radon_numpyro.inference.integration.scale_density import ScaleDensity
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
from radon_numpyro.model.correlations import correlation_root
from radon_numpyro.model.priors import HalfNormal, Normal, Uniform


def correlated(num_groups, rows, **columns):
    """Groups whose coefficients all correlate."""
    data = simulated(num_groups, rows, **columns)
    design = data.labels.design
    return replace(
        data, labels=replace(data.labels, design=replace(design, correlated=(design.varying,)))
    )


def far_from_zero(*slopes):
    """Intercepts and slopes that correlate, of predictors whose means are six sds from zero."""
    data = correlated(8, 6, slopes=slopes, fixed=("age",))
    return replace(data, x=data.x + np.append([6.0, -12.0][: len(slopes)], 0.0))


DATA = {
    "intercepts": simulated(slopes=(), fixed=()),
    "independent": simulated(slopes=("dose", "time")),
    "without intercepts": simulated(slopes=("dose",), intercept="none", fixed=()),
    "correlated": correlated(8, 6, slopes=("dose", "time")),
    "five correlated": correlated(8, 7, slopes=tuple("abcd"), fixed=()),
    "correlated, far from zero": far_from_zero("dose", "time"),
    "one row a group": correlated(40, 1, slopes=("dose",)),
}
each_data = pytest.mark.parametrize("case", DATA)


def density_of(data, device=None, **changes):
    priors, equations = replace(priors_of(data.labels.design), **changes), equations_of(data)
    far = predictors_are_far(equations)
    return ScaleDensity(equations, priors, HIERARCHICAL, about_means=far, device=device), priors


def points_of(density, num=12, seed=0):
    """Points all over, the standard deviations positive."""
    rng = np.random.default_rng(seed)
    return density.coordinates.coarse(rng.random((num, density.coordinates.size)))


@each_data
def test_the_density_is_that_of_all_rows_the_prior_and_the_jacobian(case):
    """All normalisers included: the dense Normal, SciPy's priors, differences of the map."""
    data = DATA[case]
    density, priors = density_of(data, eps=Uniform(30.0))
    design = data.labels.design
    points = points_of(density)
    found = density.at_nodes(points)[0]
    for point, value in zip(points, found, strict=True):
        scales = {name: v[0] for name, v in density.scales(point[None]).items()}
        sd = np.append(scales.get("sigma_alpha", []), scales.get("sigma_beta", []))
        dense = Dense(data, priors, sd, scales["eps"], scales.get("correlation"))
        wanted = dense.log_density(data.y) - np.log(30.0)
        limits = [2.0] if design.intercept_varies else []
        limits += (1.5 + np.arange(len(design.slopes))).tolist()
        wanted += stats.halfnorm(0.0, limits).logpdf(sd).sum()

        def flat(point, density=density):
            values = density.coordinates.values(point[None])
            return np.concatenate([values.scale[:, 0], values.eps, values.partial[:, 0]])

        step = 1e-6 * np.eye(len(point))
        jacobian = [(flat(point + h) - flat(point - h)) / 2e-6 for h in step]
        wanted += np.linalg.slogdet(jacobian)[1]
        if design.pairs:
            # LKJ(1): every correlation matrix has the same density; partial correlations have the
            # one that the vine gives them.
            block = len(design.varying)
            gap = density.coordinates.values(point[None]).log_gap[:, 0]
            for (_, j), log_gap in zip(design.pairs, gap, strict=True):
                b = 1.0 + (block - 2 - (block - 1 - j)) / 2.0
                z = np.sqrt(-np.expm1(log_gap))
                wanted += stats.beta(b, b).logpdf((1.0 + z) / 2.0) - np.log(2.0)
        assert value == pytest.approx(wanted, rel=1e-6, abs=1e-5)


@each_data
def test_the_gradient_is_that_of_the_density(case):
    density, _ = density_of(DATA[case], eps=Uniform(30.0))
    points = points_of(density)
    value, slope = density.with_gradient(points)
    np.testing.assert_allclose(value, density.at_nodes(points)[0], rtol=1e-12)
    step = 1e-4
    for d in range(points.shape[1]):
        moved = np.zeros(points.shape[1])
        moved[d] = step
        up, down = (density.with_gradient(points + s * moved)[0] for s in (1.0, -1.0))
        scale = 1.0 + np.abs(value)
        np.testing.assert_allclose(slope[:, d], (up - down) / (2 * step), atol=1e-5 * scale.max())


@each_data
def test_the_density_is_the_same_at_its_mirror_images(case):
    density, _ = density_of(DATA[case])
    points, own = points_of(density), density.coordinates
    value = density.with_gradient(points)[0]
    for d in np.flatnonzero(own.positive):
        signs = np.where(np.arange(points.shape[1]) == d, -1.0, 1.0)
        mirrored = own.mirrored(signs) * points
        np.testing.assert_allclose(density.with_gradient(mirrored)[0], value, rtol=1e-9)
        # A node there is none of the posterior.
        assert (density.at_nodes(mirrored)[0] == -np.inf).all()


def test_coordinates_far_out_do_not_count():
    density, _ = density_of(DATA["correlated"])
    points = np.repeat(points_of(density, 1), 4, axis=0)
    points[0, 0], points[1, 3], points[2, -1] = 1e4, 700.0, 50.0
    found = density.at_nodes(points)[0]
    assert (found[:3] == -np.inf).all()
    assert np.isfinite(found[3])


def test_a_bound_of_a_prior_is_approached_and_never_passed():
    density, _ = density_of(DATA["independent"], sigma_beta=Uniform([0.5, 2.0]))
    points = np.zeros((3, 4))
    points[:, 1:3] = np.array([1.0, 20.0, 200.0])[:, None]
    points[:, 3] = 1.0
    found = density.scales(points)["sigma_beta"]
    assert (found[0] < [0.4, 1.6]).all()
    np.testing.assert_allclose(found[1:], [[0.5, 2.0]] * 2)
    assert np.isfinite(density.at_nodes(points)[0]).all()


BOUNDED = {"half-normal": HalfNormal(2.0), "bounded": Uniform(40.0)}


@pytest.mark.parametrize("family", BOUNDED)
@pytest.mark.parametrize("slopes", [("dose",), ("dose", "time")])
def test_coordinates_about_the_means_and_at_zero_lead_to_each_other(family, slopes):
    """The inverse, the Jacobian, and the bound of the intercepts at zero that slopes bring near."""
    data = far_from_zero(*slopes)
    priors = replace(priors_of(data.labels.design), sigma_alpha=BOUNDED[family])
    equations = equations_of(data)
    assert predictors_are_far(equations)
    about, at_zero = (Coordinates(equations, priors, about_means=way) for way in (True, False))
    points = about.coarse(np.random.default_rng(0).random((200, about.size)))
    values = about.values(points)
    if family == "bounded":
        assert (values.scale[0] < 40.0).all()
        assert values.scale[0].max() > 38.0
    there = at_zero.points(values)
    same = at_zero.values(there)
    np.testing.assert_allclose(same.scale, values.scale, rtol=1e-8)
    np.testing.assert_allclose(same.eps, values.eps, rtol=1e-12)
    np.testing.assert_allclose(same.log_gap, values.log_gap, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(about.points(same), points, atol=1e-5)

    def flat(point):
        found = about.values(point[None])
        return np.concatenate([found.scale[:, 0], found.eps, found.partial[:, 0]])

    for point in points[:10]:
        step = 1e-6 * np.eye(len(point))
        jacobian = np.transpose([(flat(point + h) - flat(point - h)) / 2e-6 for h in step])
        wanted = np.linalg.slogdet(jacobian)[1]
        assert about.values(point[None]).log_jacobian[0] == pytest.approx(wanted, abs=1e-3)
    # Intercepts at the means whose standard deviation is beyond the bound are not reached.
    if family == "bounded":
        beyond = at_zero.values(np.where(at_zero.positive, 12.0, 0.0)[None])
        assert np.isnan(about.points(beyond)).any()


@pytest.mark.parametrize("family", BOUNDED)
def test_both_kinds_of_coordinates_have_the_same_integral(monkeypatch, family):
    """Points in one kind alone, and in both as one sample."""
    data = far_from_zero("dose")
    equations, base = equations_of(data), priors_of(data.labels.design)
    priors = replace(base, sigma_alpha=BOUNDED[family])
    found = [integrate_scales(equations, priors, ess=3000.0)]
    monkeypatch.setattr(coordinates, "FAR_MEAN", np.inf)
    found.append(integrate_scales(equations, priors, ess=3000.0, seed=1))
    for one in found:
        assert one.reliable
        assert one.weights.sum() == pytest.approx(1.0)
    both, at_zero = found
    assert both.num_nodes > 2 * 1024
    assert (np.bincount(both.shift, minlength=both.num_shifts) > 0).all()
    error = np.hypot(both.log_evidence_error, at_zero.log_evidence_error)
    assert error < 0.05
    assert abs(both.log_evidence - at_zero.log_evidence) < 4.0 * error
    for site, (mean, _) in both.moments().items():
        error = np.hypot(both.errors()[site], at_zero.errors()[site])
        off = np.abs(mean - at_zero.moments()[site][0])
        assert (off <= 4.5 * error + 1e-12).all(), site


def test_a_part_that_one_proposal_misses_is_weighted_as_the_other_sees_it():
    """Two Normals far apart, a proposal at each: the sum of both, and shares of 0.7 and 0.3."""
    rng = np.random.default_rng(0)

    def log_target(x):
        parts = stats.norm.logpdf(x, [0.0, 30.0])
        return special.logsumexp(parts, b=[0.7, 0.3], axis=1)

    proposals = [
        Proposal.of(np.ones(1), np.full((1, 1), m), np.ones((1, 1, 1)), np.zeros(1, bool), 0.15)
        for m in (0.0, 30.0)
    ]
    samples = []
    for own, size in zip(proposals, (1024, 2048), strict=True):
        points = own.draw(shifted_lattices(rng, 16, size // 16, 3))
        log_ratio = log_target(points) - own.log_density(points)
        samples.append(WeightedPoints(points, log_ratio, 16, own, None))
    assert samples[0].log_integral()[0] == pytest.approx(np.log(0.7), abs=0.02)
    points = np.concatenate([one.points for one in samples])
    log_proposal = np.array([own.log_density(points) for own in proposals])
    log_ratio, order, replicates = balanced(samples, log_target(points), log_proposal)
    found = WeightedPoints(points[order], log_ratio, replicates, proposals[0], None)
    value, error = found.log_integral()
    assert abs(value) < 4.0 * error < 0.1
    assert found.weights @ (found.points[:, 0] > 15.0) == pytest.approx(0.3, abs=0.02)
    # Shifts stand one after the other, each with its part of both samples.
    first = np.sort(order[: len(order) // 16])
    np.testing.assert_array_equal(first, np.r_[np.arange(64), 1024 + np.arange(128)])


def test_what_is_hopeless_is_given_up_early():
    """A proposal far from a Normal in 40 dimensions: the rounds end before they cost much."""
    dims, sizes = 40, []

    def density(points):
        sizes.append(len(points))
        return stats.norm.logpdf(points, 6.0, 0.05).sum(1), None

    start = Proposal.of(
        np.ones(1), np.zeros((1, dims)), np.eye(dims)[None], np.zeros(dims, bool), 0.15
    )
    how = {"ess": 1000.0, "most": 16384, "further": 0}
    positive = np.zeros(dims, bool)
    found = sample(density, start, positive, nodes=None, rng=np.random.default_rng(0), **how)
    assert not found.reliable
    assert found.ess < dims
    assert sum(sizes) <= 2048
    # A number of nodes that is asked for is taken.
    found = sample(density, start, positive, nodes=4096, rng=np.random.default_rng(0), **how)
    assert len(found.log_ratio) == 4096


def test_a_verdict_of_too_many_scales_says_so():
    """Ten correlated coefficients are 55 scales and eps."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 20)
    names = [f"x{k}" for k in range(9)]
    frame = pd.DataFrame(rng.normal(size=(600, 9)), columns=names).assign(g=group)
    own = rng.normal(size=(30, 10))[group]
    frame["y"] = own[:, 0] + (own[:, 1:] * frame[names]).sum(axis=1) + rng.normal(size=600)
    terms = " + ".join(names)
    data = GroupedData.from_formula(f"y ~ {terms} + (1 + {terms} | g)", frame)
    found = integrate_scales(equations_of(data), Priors.weakly_informative(data))
    assert found.num_scales == 56
    assert not found.reliable
    assert found.num_nodes <= 1024
    assert found.verdict.endswith(
        "More nodes would not help with 56 standard deviations and correlations."
    )


@pytest.mark.parametrize("distance", [1e2, 1e4])
def test_a_correlation_of_nearly_one_is_found(distance):
    """Lines that cross near the data: at zero intercepts are nearly multiples of slopes."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 6)
    x = rng.normal(size=180)
    off = rng.normal(size=(30, 2))[group]
    y = 1.0 + x + off[:, 0] + off[:, 1] * x + 0.3 * rng.normal(size=180)
    frame = pd.DataFrame({"y": y, "x": x + distance, "g": group})
    data = GroupedData.from_formula("y ~ x + (x | g)", frame)
    found = integrate_scales(equations_of(data), Priors.weakly_informative(data))
    assert found.reliable
    eps, sd = found.moments()["eps"]
    assert abs(eps - 0.3) < 4.0 * sd
    slopes = np.array([np.polyfit(x[group == g], y[group == g], 1)[0] for g in range(30)])
    mean, sd = found.moments()["sigma_beta"]
    assert abs(mean - slopes.std()) < 4.0 * sd
    assert found.moments()["correlation"][0][0, 1] < -1.0 + 10.0 / distance**2


def test_units_of_the_coordinates_are_those_of_the_data():
    data = DATA["independent"]
    other = replace(data, y=1e6 * data.y, x=data.x * 1e3)
    here, there = (
        Coordinates(equations_of(d), Priors.weakly_informative(d)) for d in (data, other)
    )
    points = np.random.default_rng(0).uniform(0.0, 3.0, (5, here.size))
    first, second = here.values(points), there.values(points)
    np.testing.assert_allclose(second.eps, 1e6 * first.eps)
    np.testing.assert_allclose(second.scale[0], 1e6 * first.scale[0])
    np.testing.assert_allclose(second.scale[1:], 1e3 * first.scale[1:])


@pytest.mark.parametrize("case", ["independent", "correlated, far from zero"])
def test_jax_computes_the_density_of_numpy_in_blocks(case, monkeypatch):
    """Points at which the density is 0 are left out of the blocks; the last block is not full."""
    monkeypatch.setattr(compiled_blocks, "MOST_POINTS", 8)
    ours, compiled = (density_of(DATA[case], device)[0] for device in (None, "cpu"))
    points = points_of(ours, num=21)
    points[3, 0] = -1.0
    (value, of_value), (expected, of_expected) = (d.at_nodes(points) for d in (compiled, ours))
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    assert value[3] == -np.inf
    np.testing.assert_allclose(of_value.mean, of_expected.mean, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(of_value.cholesky, of_expected.cholesky, rtol=1e-8, atol=1e-10)
    for some in (points[:1], points):
        found, wanted = compiled.with_gradient(some), ours.with_gradient(some)
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-10)
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-7, atol=1e-7)


def test_other_names_of_columns_need_no_other_compilation():
    compiled = []
    for name in ("dose", "time"):
        density_of(simulated(slopes=(name,)), "cpu")[0].at_nodes(np.full((1, 3), 0.5))
        compiled.append(len(compiled_blocks._density._compilations))
    assert compiled[0] == compiled[1]


def test_no_digit_is_lost_where_a_predictor_lies_far_from_zero():
    """The same rows about their mean, which a wide prior of the intercept cannot tell apart."""
    rng = np.random.default_rng(3)
    x, group = rng.normal(0.0, 1.0, 40), np.repeat(np.arange(8), 5)
    y = rng.normal(0.0, 1.0, 8)[group] + x + rng.normal(0.0, 0.3, 40)
    flat = Normal(0.0, 1e9)
    wide = Priors(flat, Normal(0.0, 1.0), *[HalfNormal(2.0)] * 2, flat, flat, HalfNormal(1.0))
    found = []
    for at in (0.0, 1e6):
        density = ScaleDensity(
            equations_of(GroupedData.from_arrays(y, x + at, group)), wide, HIERARCHICAL
        )
        wanted = np.array([[0.5, 0.0, 0.3], [1.5, 0.0, 0.4], [0.2, 0.0, 0.2]])
        unit = density.coordinates.values(np.full((1, 3), np.arcsinh(1.0)))
        unit = np.append(unit.scale[:, 0], unit.eps)
        points = np.arcsinh(wanted / unit)
        jacobian = density.coordinates.values(points).log_jacobian
        found.append(density.at_nodes(points)[0] - jacobian)
    near, far = found
    np.testing.assert_allclose(far - far[0], near - near[0], atol=1e-6)


def test_groups_of_one_design_count_as_often_as_there_are():
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(1200), 3)
    y = rng.normal(2.0, 1.0, 1200)[group] + rng.normal(0.0, 0.5, 3600)
    equations = equations_of(GroupedData.from_arrays(y, None, group))
    together = by_design(equations)
    assert len(together.count) < 10
    assert by_design(together) is together
    apart, merged = (ScaleDensity(e, make_priors(0), HIERARCHICAL) for e in (equations, together))
    points = points_of(apart)
    np.testing.assert_allclose(merged.at_nodes(points)[0], apart.at_nodes(points)[0], rtol=1e-10)


def proposal(num=2, dims=3, folded=(0, 2), seed=0):
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(num))
    root = np.tril(rng.normal(size=(num, dims, dims))) * 0.3 + np.eye(dims)
    return Proposal(share, rng.normal(size=(num, dims)), root, 0.15, folded)


def test_a_folded_mixture_is_the_sum_over_its_images():
    """SciPy's multivariate t at every combination of signs."""
    some = proposal()
    points = np.abs(np.random.default_rng(1).normal(size=(20, 3))) * 3.0
    wanted = np.zeros(20)
    for first in (1.0, -1.0):
        for third in (1.0, -1.0):
            image = points * [first, 1.0, third]
            for k in range(2):
                shape = some.root[k] @ some.root[k].T
                for width, share in ((1.0, 0.85), (2.5, 0.15)):
                    t = stats.multivariate_t(some.mean[k], width**2 * shape, df=5)
                    wanted += some.share[k] * share * t.pdf(image)
    np.testing.assert_allclose(some.log_density(points), np.log(wanted), rtol=1e-10)


def test_draws_of_a_proposal_have_its_density():
    """The expectation of the ratio of another density to it is 1, within four standard errors."""
    some = proposal()
    points = some.draw(np.random.default_rng(0).random((100_000, 5)))
    assert (points[:, [0, 2]] >= 0).all()
    ratio = np.exp(stats.expon.logpdf(points[:, [0, 2]]).sum(1))
    ratio *= stats.norm.pdf(points[:, 1]) * np.exp(-some.log_density(points))
    assert abs(ratio.mean() - 1.0) < 4.0 * ratio.std() / np.sqrt(len(ratio))


def test_fitted_components_are_those_that_the_points_came_from():
    """Two folded Normals well apart: their shares, and the mean of the one that lies at 0."""
    rng = np.random.default_rng(0)
    points = np.concatenate(
        [rng.normal([0.0, 4.0], 0.5, (6000, 2)), rng.normal(6.0, 1.0, (2000, 2))]
    )
    points[:, 0] = np.abs(points[:, 0])
    positive = np.array([True, False])
    start = Proposal.of(np.ones(1), np.full((1, 2), 2.0), np.eye(2)[None] * 4.0, positive, 0.15)
    found = start.fitted(points, np.full(8000, 1.0 / 8000), positive, 2, 0.25)
    order = np.argsort(found.mean[:, 0])
    np.testing.assert_allclose(found.share[order], [0.75, 0.25], atol=0.02)
    np.testing.assert_allclose(found.mean[order], [[0.0, 4.0], [6.0, 6.0]], atol=0.15)
    # One folded Normal: no closed form of the mean of absolute values gives this sd.
    one = start.fitted(points[:6000], np.full(6000, 1.0 / 6000), positive, 1, 0.15)
    assert np.square(one.mean[0, 0]) + one.root[0, 0, 0] ** 2 == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("dims", [1, 4, 13])
def test_lattices_are_uniform_and_better_than_independent_points(dims):
    rng = np.random.default_rng(0)
    points = shifted_lattices(rng, 64, 256, dims)
    assert points.shape == (64 * 256, dims)
    assert ((points > 0) & (points < 1)).all()
    # Every coordinate of every shift is even to a few points.
    counts = np.sort(points.reshape(64, 256, dims), axis=1)
    even = (np.arange(256) + 0.5)[:, None] / 256
    assert np.abs(counts - even).max() < 2.0 / 256
    values = np.exp(special.ndtri(points).sum(1) / np.sqrt(dims) / 2.0)
    means = values.reshape(64, 256).mean(1)
    error = means.std(ddof=1) / 8.0
    assert abs(means.mean() - np.exp(0.125)) < 4.0 * error
    assert means.std() < 0.3 * values.std() / 16.0


@pytest.mark.parametrize("shape", [0.05, 0.4, 0.9])
def test_pareto_shape_is_that_of_arviz(shape):
    rng = np.random.default_rng(0)
    log_weights = shape * rng.exponential(size=4000)
    wanted = array_stats.psislw(-log_weights)[1]
    assert pareto_shape(log_weights) == pytest.approx(float(wanted), rel=1e-10)
    assert pareto_shape(log_weights + 700.0) == pytest.approx(float(wanted), rel=1e-6)


def test_pareto_shape_of_weights_without_a_tail():
    assert pareto_shape(np.zeros(1000)) == -np.inf
    assert pareto_shape(np.arange(10.0)) == np.inf
    assert pareto_shape(np.append(np.full(999, -np.inf), 0.0)) == np.inf


def test_the_integral_has_an_honest_error():
    """A Normal in three dimensions from a proposal that is off; the errors are t variables."""
    start = Proposal.of(
        np.ones(1), np.full((1, 3), 0.5), 2.0 * np.eye(3)[None], np.zeros(3, dtype=bool), 0.15
    )

    def density(points):
        return stats.multivariate_normal(np.zeros(3), np.diag([1.0, 0.5, 2.0])).logpdf(points), None

    off = []
    for seed in range(40):
        found = sample(
            density,
            start,
            np.zeros(3, dtype=bool),
            ess=1000.0,
            nodes=1024,
            most=4096,
            further=0,
            rng=np.random.default_rng(seed),
        )
        value, error = found.log_integral()
        assert error < 0.02
        off.append(value / error)
    assert np.max(np.abs(off)) < 4.5
    assert 0.5 < np.mean(np.square(off)) < 2.0


def test_a_density_that_is_nowhere_finite_is_refused():
    start = Proposal.of(
        np.ones(1), np.zeros((1, 2)), np.eye(2)[None], np.zeros(2, dtype=bool), 0.15
    )
    with pytest.raises(FloatingPointError, match="got 0 finite values at 512 points"):
        sample(
            lambda points: (np.full(len(points), np.nan), None),
            start,
            np.zeros(2, dtype=bool),
            ess=100.0,
            nodes=None,
            most=512,
            further=0,
            rng=np.random.default_rng(0),
        )


def test_few_effective_or_heavy_weights_are_not_reliable():
    points = np.zeros((1600, 1))
    even = WeightedPoints(
        points, np.random.default_rng(0).normal(0.0, 0.1, 1600), 16, proposal(), None
    )
    heavy = WeightedPoints(
        points, 0.6 * np.random.default_rng(0).exponential(size=1600), 16, proposal(), None
    )
    assert even.reliable
    assert heavy.ess > 100.0
    assert not heavy.reliable
    assert not WeightedPoints(points, np.linspace(0.0, 200.0, 1600), 16, proposal(), None).reliable


def test_the_root_of_correlations_is_that_of_the_partial_ones():
    """Of two coefficients the partial correlation is the correlation."""
    data = DATA["one row a group"]
    density, _ = density_of(data)
    points = points_of(density)
    partial = density.coordinates.values(points).partial
    root = correlation_root(data.labels.design, partial)
    np.testing.assert_allclose(density.scales(points)["correlation"][:, 0, 1], partial[0])
    np.testing.assert_allclose(root[0, 1], partial[0])
