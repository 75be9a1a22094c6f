"""Evidence beside quadrature that shares no code with the package, and what seeds change."""

import numpy as np
import pandas as pd
import pytest
from benchmarks.reference import BOUNDS, NODES, PRIOR_SD, cells, posterior_given_scales
from dense import equations_of
from fits import TUTORIAL
from scipy import special, stats
from test_integration import one_way, sleepstudy
from validation.balanced import Balanced, quadrature

from radon_numpyro import GroupedData, Priors, load_radon
from radon_numpyro.inference.integration.averages import Nodes
from radon_numpyro.inference.integration.scale_posterior import integrate_scales

# Yields of dyestuff, six batches of five (Davies 1949; lme4's Dyestuff).
DYESTUFF = np.array(
    [
        [1545, 1440, 1440, 1520, 1580],
        [1540, 1555, 1490, 1560, 1495],
        [1595, 1550, 1605, 1510, 1560],
        [1445, 1440, 1595, 1465, 1545],
        [1595, 1630, 1515, 1635, 1625],
        [1520, 1455, 1450, 1480, 1445],
    ],
    dtype=float,
)
# Coaching for the SAT in eight schools (Rubin 1981, doi:10.3102/10769986006004377).
EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
STANDARD_ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
CLOSE = 0.02


def dyestuff():
    return GroupedData.from_arrays(DYESTUFF.ravel(), None, np.repeat(np.arange(6), 5))


def eight_schools():
    frame = pd.DataFrame({"y": EFFECTS, "s": STANDARD_ERRORS, "school": list("ABCDEFGH")})
    return GroupedData.from_formula("y | se(s) ~ (1 | school)", frame)


def dyestuff_evidence():
    def log_prior(sd):
        return np.full(np.shape(sd), -np.log(100.0))

    data = Balanced.of_rows(
        np.ones((5, 1)),
        DYESTUFF,
        loc=np.zeros(1),
        scale=np.full(1, 1e4),
        log_priors=(log_prior, log_prior),
        upper=np.full(2, 100.0),
    )
    return quadrature(data)[0]


def eight_schools_evidence():
    """One integral over tau; given it the effects are Normal about a Normal mean."""
    node, weight = np.polynomial.legendre.leggauss(400)
    tau = 50.0 * (node + 1.0)
    variance = tau[:, None] ** 2 + STANDARD_ERRORS**2
    covariance = variance[:, :, None] * np.eye(8) + 1e8
    log_density = [stats.multivariate_normal(np.zeros(8), c).logpdf(EFFECTS) for c in covariance]
    return special.logsumexp(log_density, b=50.0 * weight / 100.0)


def radon_evidence():
    """Over the three scales, with the constants that the posterior of the tutorial leaves out."""
    data = load_radon()
    floor = data.x[:, 0].astype(int)
    mean, count, within = cells(data.y, floor, data.group)
    axes = []
    for name, (low, high) in BOUNDS.items():
        node, weight = np.polynomial.legendre.leggauss(2 * NODES[name])
        axes.append((low + (high - low) * (node + 1) / 2, weight * (high - low) / 2))
    points = np.stack([g.ravel() for g in np.meshgrid(*(a for a, _ in axes), indexing="ij")], 1)
    mass = np.prod(np.meshgrid(*(w for _, w in axes), indexing="ij"), axis=0).ravel()
    value = posterior_given_scales(mean, count, within, *points.T)[0]
    # N outcomes, of which two degrees of freedom are the means with a density of 1 / (2 pi sd^2);
    # each mean of a cell has the variance eps^2 / n, whose n is a constant.
    value -= 0.5 * data.num_rows * np.log(2.0 * np.pi) + 2.0 * np.log(PRIOR_SD)
    value -= 0.5 * np.log(count[count > 0]).sum()
    return special.logsumexp(value - 3.0 * np.log(100.0), b=mass)


@pytest.mark.parametrize(
    ("data", "exact"),
    [
        (dyestuff, dyestuff_evidence),
        (eight_schools, eight_schools_evidence),
        (load_radon, radon_evidence),
    ],
    ids=["dyestuff", "eight schools", "radon"],
)
def test_evidence_is_that_of_quadrature(data, exact):
    wanted = exact()
    for seed in range(5):
        found = integrate_scales(equations_of(data()), TUTORIAL, seed=seed)
        assert abs(found.log_evidence - wanted) < CLOSE


@pytest.mark.parametrize("size", [1e-3, 1e-20, 1e-100])
def test_standard_errors_of_next_to_nothing_are_those_of_known_effects(size):
    """The effects themselves are drawn from the population then: their evidence and its scale."""
    frame = pd.DataFrame({"y": EFFECTS, "s": np.full(8, size), "school": list("ABCDEFGH")})
    data = GroupedData.from_formula("y | se(s) ~ (1 | school)", frame)
    node, weight = np.polynomial.legendre.leggauss(400)
    tau = 50.0 * (node + 1.0)
    # Their mean about its prior, and their scatter about it.
    log_density = stats.norm.logpdf(EFFECTS.mean(), 0.0, np.sqrt(1e8 + tau**2 / 8.0))
    log_density -= 3.5 * np.log(2.0 * np.pi * tau**2) + 4.0 * EFFECTS.var() / tau**2
    log_density -= 0.5 * np.log(8.0)
    mass = np.exp(log_density - special.logsumexp(log_density, b=weight)) * weight
    found = integrate_scales(equations_of(data), TUTORIAL)
    assert found.reliable
    wanted = special.logsumexp(log_density, b=50.0 * weight / 100.0)
    assert abs(found.log_evidence - wanted) < CLOSE
    mean, error = found.moments()["sigma_alpha"][0], found.errors()["sigma_alpha"]
    assert abs(mean - mass @ tau) < 4.0 * error


SEEDS, PROBABILITIES = 50, (0.05, 0.5, 0.95)


def statements(posterior):
    """Numbers and stated errors: evidence, means and quantiles of scales and coefficients."""
    found = [(posterior.log_evidence, posterior.log_evidence_error)]
    quantiles, errors = posterior.quantiles(PROBABILITIES), posterior.errors()
    for name, (mean, _) in posterior.moments().items():
        # The diagonal of a correlation matrix is known; that of known errors is no scale.
        if name == "correlation":
            found.append((mean[0, 1], errors[name][0, 1]))
            found.append(tuple(part[:, 0, 1] for part in quantiles[name]))
        elif not (name == "eps" and posterior.equations.design.known_errors):
            found += [(mean, errors[name]), quantiles[name]]
    return (
        np.concatenate([np.ravel(part) for part in parts]) for parts in zip(*found, strict=True)
    )


def off_by(data, priors):
    """Differences from a long run, in the stated errors of both, of all numbers at all seeds."""
    equations, off = equations_of(data), []
    exact, error = statements(integrate_scales(equations, priors, nodes=2**16, seed=1000))
    # The mean of balanced groups is known whatever the scales are: it has no error.
    known = error < 1e-9
    for seed in range(SEEDS):
        values, own = statements(integrate_scales(equations, priors, seed=seed))
        np.testing.assert_allclose(values[known], exact[known])
        off.append((values - exact)[~known] / np.hypot(own, error)[~known])
    return np.ravel(off)


@pytest.mark.slow
def test_seeds_move_everything_by_its_stated_errors():
    """Radon, correlated coefficients, known standard errors and four groups of five rows.

    Errors come from 16 or 32 shifts, so that differences over them have longer tails than a Normal.
    Measured are a root mean square of 1.04, 0.15 % of 3300 numbers beyond 4, and 4.4 at most.
    """
    few = one_way((5,) * 4, sd=1.0, seed=1)
    parts = [off_by(data, TUTORIAL) for data in (load_radon(), eight_schools())]
    parts.append(off_by(sleepstudy(correlated=True), TUTORIAL))
    parts.append(off_by(few, Priors.weakly_informative(few)))
    off = np.concatenate(parts)
    assert len(off) > 3000
    assert np.abs(off).max() < 7.0
    assert (np.abs(off) > 4.0).mean() < 0.003
    assert 0.85 < np.square(off).mean() < 1.15
    # Neither too small nor too large, in each of them.
    for part in parts:
        assert 0.7 < np.square(part).mean() < 1.4


def test_quantiles_of_nodes_are_those_of_a_known_distribution():
    """A Normal by weighted points of a wider one, and a mixture over points of its mean."""
    rng = np.random.default_rng(0)
    points = rng.normal(0.0, 1.5, 16_000)
    weights = special.softmax(stats.norm.logpdf(points) - stats.norm.logpdf(points, 0.0, 1.5))
    nodes = Nodes(weights, np.repeat(np.arange(16), 1000), 16)
    at = np.array([0.05, 0.5, 0.95])
    for sd in (None, np.full((16_000, 1), 0.75)):
        found, error = nodes.quantiles(at, points[:, None], sd)
        assert found.shape == error.shape == (3, 1)
        wanted = stats.norm.ppf(at) * (1.0 if sd is None else 1.25)
        assert (error < 0.05).all()
        assert (np.abs(found[:, 0] - wanted) < 4.0 * error[:, 0]).all()
    mean, sd, error = nodes.average(points)
    assert abs(mean) < 4.0 * error
    assert sd == pytest.approx(1.0, rel=0.05)
    # Independent points: the error of their weighted mean.
    assert error == pytest.approx(np.sqrt(np.sum((weights * points) ** 2)), rel=0.5)
