"""The posterior of the scales by integration, beside quadrature of dense Normal densities."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks.reference import radon_moments
from dense import equations_of, make_priors
from fits import TUTORIAL, line, radon
from scipy import special

from radon_numpyro import (
    Flat,
    GroupedData,
    GroupStatistics,
    HalfFlat,
    HalfNormal,
    Normal,
    Priors,
    load_radon,
)
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
from radon_numpyro.model.correlations import LKJ

CASES = Path(__file__).parents[1] / "cases"
# Of the stated standard errors; seeds are fixed, so that this is no matter of chance.
ERRORS = 4.0


def one_way(sizes, *, sd, seed=0, zero_variance=False):
    """Rows of groups of these sizes about intercepts of this standard deviation."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    y = 5.0 + rng.normal(0.0, sd, len(sizes))[group] + rng.normal(0.0, 1.0, len(group))
    if zero_variance:
        y -= (np.bincount(group, y) / sizes)[group] - 5.0
    return GroupedData.from_arrays(y, None, group)


def one_way_quadrature(data, priors, log_prior, high, num=(240, 160)):
    """Log evidence, and mean and sd of sigma_alpha and eps, from the Normal of all rows.

    Trapezoids in asinh(10 sigma) and log eps; ``log_prior`` is that of both scales.
    """
    angle = np.linspace(0.0, np.arcsinh(10.0 * high), num[0])
    log_eps = np.linspace(np.log(0.15), np.log(min(high, 60.0)), num[1])
    sigma, eps = np.meshgrid(np.sinh(angle) / 10.0, np.exp(log_eps), indexing="ij")
    same = data.group[:, None] == data.group
    prior = priors.mu_alpha
    off = data.y - prior.loc
    log_density = np.empty(sigma.shape)
    for i, s in enumerate(sigma[:, 0]):
        noise = eps[i][:, None, None] ** 2 * np.eye(data.num_rows)
        root = np.linalg.cholesky(s**2 * same + prior.scale**2 + noise)
        z = np.linalg.solve(root, off[:, None])[..., 0]
        log_det = np.log(np.einsum("gnn->gn", root)).sum(1)
        log_density[i] = -0.5 * np.square(z).sum(1) - log_det
    log_density -= 0.5 * data.num_rows * np.log(2.0 * np.pi)
    log_density += log_prior(sigma, eps) + np.log(np.cosh(angle) / 10.0)[:, None] + log_eps
    ends = np.ones(sigma.shape)
    ends[[0, -1]] *= 0.5
    ends[:, [0, -1]] *= 0.5
    step = (angle[1] - angle[0]) * (log_eps[1] - log_eps[0])
    evidence = special.logsumexp(log_density, b=ends * step)
    mass = ends * step * np.exp(log_density - evidence)
    moments = {}
    for name, values in (("sigma_alpha", sigma), ("eps", eps)):
        mean = (mass * values).sum()
        moments[name] = (mean, np.sqrt((mass * (values - mean) ** 2).sum()))
    return evidence, moments


def assert_agrees(found, evidence, moments):
    assert found.reliable, found.verdict
    assert found.log_evidence_error < 0.02
    assert abs(found.log_evidence - evidence) < ERRORS * found.log_evidence_error + 1e-3
    errors = found.errors()
    for site, (mean, sd) in moments.items():
        own_mean, own_sd = (float(np.ravel(value)[0]) for value in found.moments()[site])
        error = float(np.ravel(errors[site])[0])
        assert error < 0.05 * sd, site
        assert abs(own_mean - mean) < ERRORS * error + 2e-3 * sd, site
        if site not in found.scales:
            assert own_sd == pytest.approx(sd, rel=0.05), site
            continue
        # The variance is the mean of a square, whose error is known; that of the sd follows.
        square = np.square(found.scales[site].reshape(len(found.weights)) - own_mean)
        error = found.nodes.average(square)[2] / (2.0 * own_sd)
        assert error < 0.1 * sd, site
        assert abs(own_sd - sd) < ERRORS * error + 2e-3 * sd, site


ONE_WAY = {
    "six unequal groups": one_way((5, 1, 9, 3, 2, 4), sd=1.5),
    "no variance between groups": one_way((5,) * 6, sd=0.0, zero_variance=True),
    "three groups, a tail of sigma^-2": one_way((5,) * 3, sd=1.0, seed=1),
    "two groups": one_way((10,) * 2, sd=1.0, seed=2),
    "far apart": one_way((3,) * 5, sd=10.0, seed=3),
}


@pytest.mark.parametrize("case", ONE_WAY)
@pytest.mark.parametrize("family", ["uniform", "half-normal"])
def test_random_intercepts_are_those_of_quadrature(case, family):
    data, priors = ONE_WAY[case], Priors.tutorial()

    def log_prior(sigma, eps):
        return -2.0 * np.log(100.0) * np.ones(sigma.shape)

    high = 100.0
    if family == "half-normal":
        priors = replace(priors, sigma_alpha=HalfNormal(4.0), eps=HalfNormal(3.0))
        high = 40.0

        def log_prior(sigma, eps):
            normaliser = np.log(2.0 / np.pi) - np.log(4.0) - np.log(3.0)
            return normaliser - 0.5 * (sigma / 4.0) ** 2 - 0.5 * (eps / 3.0) ** 2

    evidence, moments = one_way_quadrature(data, priors, log_prior, high)
    found = integrate_scales(equations_of(data), priors)
    assert_agrees(found, evidence, moments)


def test_one_group_leaves_its_standard_deviation_to_the_prior():
    data = one_way((12,), sd=1.0)
    priors = replace(Priors.tutorial(), sigma_alpha=HalfNormal(2.0), mu_alpha=Normal(5.0, 0.1))
    evidence, moments = one_way_quadrature(
        data,
        priors,
        lambda sigma, eps: (
            0.5 * np.log(2.0 / np.pi) - np.log(2.0) - sigma**2 / 8.0 - np.log(100.0) + 0.0 * eps
        ),
        40.0,
    )
    assert_agrees(integrate_scales(equations_of(data), priors), evidence, moments)


def test_radon_under_the_priors_of_the_tutorial():
    data = load_radon()
    exact = radon_moments(data.y, data.x[:, 0].astype(int), data.group)
    found = integrate_scales(NormalEquations.from_statistics(radon()), TUTORIAL, ess=4000.0)
    # -1088.3351 from a run of 2^16 points of another program.
    assert_agrees(found, -1088.3351, exact)
    assert exact["sigma_beta"] == pytest.approx((0.2595, 0.1290), abs=1e-4)


def test_pooled_regression_is_one_integral_over_eps():
    data = line(40)
    priors = replace(make_priors(1), gamma=None)
    found = integrate_scales(equations_of(data), priors, model="pooled")
    eps = np.geomspace(0.05, 12.0, 4001)
    columns = np.column_stack([np.ones(data.num_rows), data.x])
    loc = np.append(priors.alpha.loc, priors.beta.loc)
    variance = np.append(priors.alpha.scale, priors.beta.scale) ** 2
    log_density = np.empty(len(eps))
    for i, e in enumerate(eps):
        covariance = columns * variance @ columns.T + e**2 * np.eye(data.num_rows)
        off = data.y - columns @ loc
        _, log_det = np.linalg.slogdet(2.0 * np.pi * covariance)
        log_density[i] = -0.5 * (log_det + off @ np.linalg.solve(covariance, off))
    log_density += 0.5 * np.log(2.0 / np.pi) - np.log(2.0) - eps**2 / 8.0
    step = np.log(eps[1] / eps[0]) * eps
    evidence = special.logsumexp(log_density, b=step)
    mass = step * np.exp(log_density - evidence)
    mean = mass @ eps
    assert_agrees(found, evidence, {"eps": (mean, np.sqrt(mass @ (eps - mean) ** 2))})
    assert set(found.moments()) == {"eps", "alpha", "beta"}


def sleepstudy(*, correlated):
    frame = pd.read_csv(CASES / "sleepstudy.csv")
    bar = "|" if correlated else "||"
    return GroupedData.from_formula(f"Reaction ~ Days + (Days {bar} Subject)", frame)


@cache
def sleepstudy_quadrature(eta):
    """Log evidence and moments of correlated intercepts and slopes; every subject has ten days.

    The fits of the subjects, each of its own rows, are Normal about the population coefficients
    with covariance S R S + eps^2 (X'X)^-1; what is left over of each is eps^2 chi-square.
    Uniform(0, 100) priors of the scales, LKJ(eta) of the correlation, flat population
    coefficients of density 1 / (2 pi 1e8).
    """
    frame = pd.read_csv(CASES / "sleepstudy.csv")
    y = frame.pivot(index="Subject", columns="Days", values="Reaction").to_numpy()
    x = np.column_stack([np.ones(10), np.arange(10.0)])
    inverse = np.linalg.inv(x.T @ x)
    fits = y @ x @ inverse
    rest = np.square(y - fits @ x.T).sum()
    num = len(y)

    def axis(low, high, count):
        node, weight = np.polynomial.legendre.leggauss(count)
        return low + (high - low) * (node + 1) / 2, weight * (high - low) / 2

    axes = [axis(0.0, 100.0, 60), axis(1.0, 22.0, 40), axis(-1.0, 1.0, 40), axis(18.0, 36.0, 30)]
    a, b, r, eps = np.meshgrid(*(v for v, _ in axes), indexing="ij")
    mass = np.prod(np.meshgrid(*(w for _, w in axes), indexing="ij"), axis=0)
    v11 = a**2 + eps**2 * inverse[0, 0]
    v12 = a * b * r + eps**2 * inverse[0, 1]
    v22 = b**2 + eps**2 * inverse[1, 1]
    det = v11 * v22 - v12**2
    off = fits - fits.mean(0)
    s11, s12, s22 = off[:, 0] @ off[:, 0], off[:, 0] @ off[:, 1], off[:, 1] @ off[:, 1]
    distance = (v22 * s11 - 2.0 * v12 * s12 + v11 * s22) / det
    log_density = -0.5 * distance - 0.5 * (num - 1) * np.log(det) - np.log(num)
    log_density -= (num - 1) * np.log(2.0 * np.pi)
    # From the rows to the fits and what is left over.
    log_density -= num * 8 * np.log(eps * np.sqrt(2.0 * np.pi)) + 0.5 * rest / eps**2
    log_density -= 0.5 * num * np.log(np.linalg.det(x.T @ x))
    # r is 2 Beta(eta, eta) - 1.
    log_lkj = (eta - 1.0) * np.log(1.0 - r**2) - special.betaln(eta, eta)
    log_lkj -= (2.0 * eta - 1.0) * np.log(2.0)
    log_density += log_lkj - 3.0 * np.log(100.0) - np.log(2.0 * np.pi * 1e8)
    evidence = special.logsumexp(log_density, b=mass)
    mass *= np.exp(log_density - evidence)
    moments = {}
    for name, values in (("a", a), ("b", b), ("r", r), ("eps", eps)):
        mean = (mass * values).sum()
        moments[name] = (mean, np.sqrt((mass * (values - mean) ** 2).sum()))
    return evidence, moments


@pytest.mark.parametrize("eta", [1.0, 2.0])
def test_correlated_coefficients_are_those_of_quadrature(eta):
    evidence, exact = sleepstudy_quadrature(eta)
    priors = replace(Priors.tutorial(), correlation=LKJ(eta))
    found = integrate_scales(equations_of(sleepstudy(correlated=True)), priors, ess=2000.0)
    moments, errors = found.moments(), found.errors()
    sites = {"a": "sigma_alpha", "b": "sigma_beta", "eps": "eps"}
    assert_agrees(found, evidence, {site: exact[name] for name, site in sites.items()})
    mean, sd, error = (v[0, 1] for v in (*moments["correlation"], errors["correlation"]))
    assert abs(mean - exact["r"][0]) < ERRORS * error
    assert sd == pytest.approx(exact["r"][1], rel=0.05)
    np.testing.assert_allclose(np.einsum("spp->sp", found.scales["correlation"]), 1.0)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_units_change_nothing(unit):
    """The same nodes, in other units: scales are multiplied, and the evidence by unit^-N."""
    data = sleepstudy(correlated=True)
    other = replace(data, y=data.y * unit, x=data.x / unit)
    found, changed = (
        integrate_scales(equations_of(d), Priors.weakly_informative(d)) for d in (data, other)
    )
    assert changed.reliable
    wanted = found.log_evidence - data.num_rows * np.log(unit)
    assert changed.log_evidence == pytest.approx(wanted, abs=ERRORS * found.log_evidence_error)
    mean, other_mean = found.moments()["sigma_alpha"][0], changed.moments()["sigma_alpha"][0]
    error = found.errors()["sigma_alpha"]
    assert abs(other_mean / unit - mean) < ERRORS * error
    mean, other_mean = found.moments()["sigma_beta"][0], changed.moments()["sigma_beta"][0]
    assert abs(other_mean / unit**2 - mean) < ERRORS * found.errors()["sigma_beta"]


def test_seeds_move_the_result_by_its_stated_errors():
    equations = equations_of(sleepstudy(correlated=False))
    priors = Priors.tutorial()
    many = integrate_scales(equations, priors, nodes=2**16, seed=1000)
    squares = []
    for seed in range(30):
        found = integrate_scales(equations, priors, seed=seed)
        error = np.hypot(found.log_evidence_error, many.log_evidence_error)
        off = [(found.log_evidence - many.log_evidence) / error]
        for site, (mean, _) in found.moments().items():
            error = np.hypot(found.errors()[site], many.errors()[site])
            off += np.ravel((mean - many.moments()[site][0]) / error).tolist()
        squares.append(np.square(off))
    assert np.max(squares) < ERRORS**2
    # Neither too small nor much too large.
    assert 0.3 < np.mean(squares) < 2.0


def test_the_seed_and_the_number_of_nodes_fix_the_result(unequal_data):
    equations, priors = equations_of(unequal_data(1)), make_priors(1)
    first, again, other = (
        integrate_scales(equations, priors, nodes=1000, seed=s) for s in (0, 0, 1)
    )
    assert first.num_nodes == 1024
    assert len(first.weights) <= 1024
    np.testing.assert_array_equal(first.weights, again.weights)
    np.testing.assert_array_equal(first.scales["eps"], again.scales["eps"])
    assert len(first.weights) != len(other.weights) or (first.weights != other.weights).any()


def test_more_nodes_are_taken_where_more_are_asked_for():
    equations = NormalEquations.from_statistics(radon())
    few, many = (integrate_scales(equations, TUTORIAL, ess=e) for e in (300.0, 5000.0))
    assert few.ess >= 300.0
    assert many.ess >= 5000.0
    assert few.num_nodes < many.num_nodes


def test_very_many_groups_of_one_design_are_as_those_of_a_closed_form():
    """The sds of 50 000 groups of four rows are known to half a percent: those of the ANOVA."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(50_000), 4)
    y = rng.normal(1.0, 0.7, 50_000)[group] + rng.normal(0.0, 0.5, len(group))
    data = GroupedData.from_arrays(y, None, group)
    found = integrate_scales(equations_of(data), Priors.tutorial())
    means = y.reshape(-1, 4).mean(1)
    eps = np.sqrt(((y.reshape(-1, 4) - means[:, None]) ** 2).sum() / (3 * 50_000))
    sigma = np.sqrt(means.var(ddof=1) - eps**2 / 4)
    moments = found.moments()
    assert found.reliable
    assert moments["eps"][0] == pytest.approx(eps, rel=1e-4)
    assert moments["eps"][1] == pytest.approx(eps / np.sqrt(2 * 3 * 50_000), rel=0.03)
    assert moments["sigma_alpha"][0] == pytest.approx(sigma, rel=1e-4)


def test_one_row_a_group_leaves_the_sum_of_the_variances():
    """With one row in each of 400 groups only sigma^2 + eps^2 is known, as the variance of y."""
    data = one_way((1,) * 400, sd=1.0)
    priors = replace(Priors.tutorial(), sigma_alpha=HalfNormal(2.0), eps=HalfNormal(2.0))
    found = integrate_scales(equations_of(data), priors, ess=3000.0)
    assert found.reliable
    total = np.sqrt(found.scales["sigma_alpha"] ** 2 + found.scales["eps"] ** 2)
    # Dense: the total alone has a Normal likelihood, over the quarter circle of its parts.
    angle = np.linspace(0.0, np.pi / 2, 801)[:, None]
    grid = np.linspace(0.9, 2.2, 801)
    sigma, eps = grid * np.sin(angle), grid * np.cos(angle)
    log_density = np.log(grid) - 399 * np.log(grid) - 0.5 * data.y.var() * 400 / grid**2
    log_density = log_density - (sigma**2 + eps**2) / 8.0
    mass = np.exp(log_density - log_density.max())
    mass /= mass.sum()
    mean = (mass * grid).sum()
    spread = np.sqrt((mass * (grid - mean) ** 2).sum())
    assert abs(found.weights @ total - mean) < 0.1 * spread
    error = found.errors()["eps"]
    assert abs(found.moments()["eps"][0] - (mass * eps).sum()) < ERRORS * error


def test_what_cannot_be_integrated_is_not_called_reliable():
    """Two groups under flat priors: the posterior of sigma falls as 1 / sigma, without an end."""
    data = one_way((4, 5), sd=1.0)
    priors = replace(Priors.tutorial(), sigma_alpha=HalfFlat(), mu_alpha=Flat())
    found = integrate_scales(equations_of(data), priors)
    assert not found.reliable
    assert "not reliable" in found.verdict
    assert "k-hat" in found.verdict


def test_scales_stay_within_their_priors(unequal_data):
    found = integrate_scales(equations_of(unequal_data(1)), make_priors(1))
    # A point far out is rounded to the bound.
    assert found.scales["sigma_beta"].max() <= 2.0
    assert min(values.min() for values in found.scales.values()) >= 0
    assert found.weights.sum() == pytest.approx(1.0)


def test_arguments_are_checked(unequal_data):
    equations, priors = equations_of(unequal_data(1)), make_priors(1)
    with pytest.raises(ValueError, match="hierarchical or pooled; got 'individual'"):
        integrate_scales(equations, priors, model="individual")
    with pytest.raises(ValueError, match="Expected ess to be positive; got 0"):
        integrate_scales(equations, priors, ess=0)
    with pytest.raises(ValueError, match="Expected nodes to be at least 1; got 0"):
        integrate_scales(equations, priors, nodes=0)


def test_priors_that_the_data_contradict_wholly_are_refused():
    data = one_way((4, 4, 4), sd=1.0)
    priors = replace(Priors.tutorial(), eps=HalfNormal(1e-160))
    with pytest.raises(FloatingPointError, match="Check the units of the data against the priors"):
        integrate_scales(equations_of(data), priors)


WITHOUT_JAX = """
import json, sys
from radon_numpyro import GroupStatistics, Priors, load_radon
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
equations = NormalEquations.from_statistics(GroupStatistics.from_data(load_radon()))
found = integrate_scales(equations, Priors.tutorial())
found.moments()
print(json.dumps([found.log_evidence, sorted(sys.modules)]))
"""


def test_neither_jax_nor_what_else_is_slow_to_import_is_needed():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_JAX], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    evidence, modules = json.loads(done.stdout)
    assert evidence == pytest.approx(-1088.3351, abs=0.05)
    slow = {"jax", "numpyro", "optax", "arviz", "arviz_stats", "xarray"}
    slow |= {"scipy.stats", "scipy.optimize"}
    assert slow & set(modules) == set()


def test_statistics_and_rows_are_one():
    """What a data set of any size is reduced to is all that the integration reads."""
    statistics = GroupStatistics.from_data(load_radon())
    found = integrate_scales(NormalEquations.from_statistics(statistics), TUTORIAL, nodes=512)
    assert found.num_nodes == 512
    assert found.equations.num_groups == 85
