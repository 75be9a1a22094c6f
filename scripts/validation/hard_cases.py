"""Posteriors of the scales that are hard to integrate, compared with exact references."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from radon_numpyro.data.design import Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.labels import Labels
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
from radon_numpyro.model.correlations import LKJ
from radon_numpyro.model.location_priors import Normal
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.scale_priors import HalfCauchy, HalfNormal, Uniform
from radon_numpyro.statistics.group_statistics import GroupStatistics
from validation.balanced import (
    Balanced,
    features,
    independent_quadrature,
    moments,
    quadrature,
)
from validation.walkers import walked

FAMILIES = {"uniform": Uniform, "half-normal": HalfNormal, "half-Cauchy": HalfCauchy}
# Number of chains and of their steps, for the case without a quadrature.
CHAINS, STEPS = 400, 6000


@dataclass(frozen=True)
class HardCase:
    """Data of groups with the same predictors, and priors.

    Attributes
    ----------
    x
        Predictors of the rows of each group, with the constant first, shape (n, P).
    y
        Outcomes, shape (G, n).
    family, width
        Family of the priors of all standard deviations, and their bound or scale.
    eta
        Concentration of the LKJ prior of correlated coefficients; None if they are independent.
    location
        Standard deviation of the Normal priors, with mean 0, of the population coefficients.
    reference
        Function that computes the exact log evidence, or None, and the exact moments.
    """

    x: np.ndarray
    y: np.ndarray
    family: str = "uniform"
    width: float = 100.0
    eta: float | None = None
    location: float = 1e4
    reference: Callable = quadrature

    @property
    def statistics(self):
        groups, rows = self.y.shape
        names = tuple(f"x{k}" for k in range(1, self.x.shape[1]))
        design = Design.with_fixed(names, (), correlated=self.eta is not None)
        labels = Labels("y", names, "g", tuple(map(str, range(groups))), design)
        group = np.repeat(np.arange(groups), rows).astype(np.int32)
        columns = np.tile(self.x[:, 1:], (groups, 1))
        return GroupStatistics.from_data(GroupedData(self.y.ravel(), columns, group, labels))

    @property
    def priors(self):
        size = self.x.shape[1]
        scale = FAMILIES[self.family]
        wide = Normal(0.0, self.location)
        wides = Normal(np.zeros(size - 1), np.full(size - 1, self.location))
        many = scale(np.full(size - 1, self.width))
        one = scale(self.width)
        lkj = LKJ(self.eta or 1.0)
        return Priors(wide, wides, one, many, wide, wides, one, correlation=lkj)

    @property
    def balanced(self):
        size = self.x.shape[1]
        log_prior = {
            "uniform": stats.uniform(0.0, self.width),
            "half-normal": stats.halfnorm(0.0, self.width),
            "half-Cauchy": stats.halfcauchy(0.0, self.width),
        }[self.family].logpdf
        return Balanced.of_rows(
            self.x,
            self.y,
            loc=np.zeros(size),
            scale=np.full(size, self.location),
            log_priors=(log_prior,) * (size + 1),
            upper=np.full(size + 1, self.width if self.family == "uniform" else np.inf),
            eta=self.eta,
        )


def _one_way(groups, rows, sd, eps=1.0, seed=0, **priors):
    rng = np.random.default_rng(seed)
    y = (
        5.0 * max(sd, eps)
        + sd * rng.normal(size=(groups, 1))
        + eps * rng.normal(size=(groups, rows))
    )
    return HardCase(np.ones((rows, 1)), y, **priors)


def _without_variance():
    case = _one_way(6, 5, 0.0)
    return HardCase(case.x, case.y - case.y.mean(1, keepdims=True) + 5.0)


def _lines(correlation, *, at=4.5, groups=18, eps=5.0, sds=(25.0, 6.0), unit=1.0, seed=0, **priors):
    """Make a case with ten rows in each group, at 0 to 9 or around another mean ``at``."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([np.ones(10), np.arange(10.0) - 4.5 + at])
    root = np.linalg.cholesky([[1.0, correlation], [correlation, 1.0]]) * np.array(sds)[:, None]
    own = np.array([250.0, 10.0]) + rng.normal(size=(groups, 2)) @ root.T
    # If the predictor is far from zero, the intercepts are those at its mean.
    about = x - [0.0, at if at > 100.0 else 0.0]
    y = own @ about.T + eps * rng.normal(size=(groups, 10))
    return HardCase(x, unit * y, eta=1.0, **priors)


def _in_units_of(unit):
    priors = {"family": "half-normal", "width": 100.0 * unit, "location": 1e4 * unit}
    return _lines(0.3, unit=unit, **priors)


def _four(groups, *, eta=None, seed=0, **priors):
    rng = np.random.default_rng(seed)
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    x = np.tile(signs, (3, 1)).astype(float)
    own = rng.normal(size=(groups, 4)) * [1.0, 0.5, 0.2, 2.0]
    y = (1.0 + own) @ x.T + rng.normal(size=(groups, len(x)))
    return HardCase(x, y, eta=eta, **priors)


def at_mean(data):
    return quadrature(data, about_mean=True)


def four_correlated(data):
    """Compute moments by independent random walks over the density of :class:`Balanced`.

    The evidence is None. A correlation matrix is LL', where the rows of L come from canonical
    partial correlations tanh(angle). Under LKJ(eta), the density of L is proportional to the
    product over the rows k = 1 to P of its diagonal entries to the power P - k + 2 eta - 2.
    """
    size, (units, eps) = data.fits.shape[1], data.units
    below = [(i, j) for i in range(size) for j in range(i)]

    def scales(points):
        root = np.zeros((len(points), size, size))
        root[:, 0, 0] = 1.0
        left, log_jacobian = np.ones((len(points), size)), np.zeros(len(points))
        for k, (i, j) in enumerate(below):
            z = np.tanh(points[:, size + k])
            root[:, i, j] = z * np.sqrt(left[:, i])
            log_jacobian += 0.5 * np.log(left[:, i]) + np.log1p(-np.square(z))
            left[:, i] *= 1.0 - np.square(z)
        for i in range(1, size):
            root[:, i, i] = np.sqrt(left[:, i])
            log_jacobian += (size - i - 3.0 + 2.0 * data.eta) * np.log(root[:, i, i])
        sds = units * np.sinh(np.abs(points[:, :size]))
        return sds, root, np.exp(points[:, -1]), log_jacobian

    def log_density(points):
        sds, root, eps, log_jacobian = scales(points)
        scaled = sds[:, :, None] * root
        found = data.log_likelihood(scaled @ scaled.swapaxes(1, 2), eps) + log_jacobian
        found += sum(f(s) for f, s in zip(data.log_priors, [*sds.T, eps], strict=True))
        return found + points[:, -1] + np.log(np.cosh(points[:, :size])).sum(1)

    rng = np.random.default_rng(0)
    start = rng.uniform(-0.5, 0.5, (CHAINS, size + len(below) + 1))
    start[:, :size] = rng.uniform(0.0, 2.0, (CHAINS, size))
    start[:, -1] += np.log(eps)
    late = walked(log_density, start, STEPS, rng)
    sds, root, eps, _ = scales(late.reshape(-1, late.shape[-1]))
    r = (root @ root.swapaxes(1, 2))[:, 0, 1]
    found = moments(features(sds, r, eps, units), np.full(len(eps), 1.0 / len(eps)))
    by_chain = {
        name: values.reshape(*late.shape[:2]).mean(0)
        for name, values in features(sds, r, eps, units).items()
    }
    errors = {name: v.std(ddof=1) / np.sqrt(CHAINS) for name, v in by_chain.items()}
    return None, {name: (*found[name], errors[name]) for name in found}


CASES = {
    "2 groups of 10 rows": lambda: _one_way(2, 10, 1.0),
    "3 groups of 5 rows, a tail of sd^-2": lambda: _one_way(3, 5, 1.0, seed=1),
    "3 groups, half-Cauchy priors": lambda: _one_way(3, 5, 1.0, family="half-Cauchy", width=5.0),
    "no variance between the groups": _without_variance,
    "one group of 12 rows": lambda: _one_way(1, 12, 1.0, family="half-normal", width=2.0),
    "eps 1e-6 of the groups' sd": lambda: _one_way(12, 4, 1.0, 1e-6),
    "eps 1000 times the groups' sd": lambda: _one_way(20, 5, 0.02, 20.0),
    "100 000 groups of 4 rows": lambda: _one_way(100_000, 4, 0.7, 0.5),
    "correlation 0.999": lambda: _lines(0.999),
    "correlation -0.999": lambda: _lines(-0.999, reference=at_mean),
    "in units of 1e-9": lambda: _lines(
        0.3, unit=1e-9, family="half-normal", width=1e-7, location=1e-5
    ),
    "in units of 1e9": lambda: _lines(
        0.3, unit=1e9, family="half-normal", width=1e11, location=1e13
    ),
    "a predictor at 300, intercepts at 0 bounded by 100": lambda: _lines(
        0.3,
        at=300.0,
        eps=0.3,
        groups=20,
        sds=(1.0, 1.0),
        reference=at_mean,
    ),
    "4 independent coefficients, 12 groups": lambda: _four(12, reference=independent_quadrature),
    "4 correlated coefficients, 20 groups": lambda: _four(
        20, eta=2.0, family="half-normal", width=2.0, reference=four_correlated
    ),
}


@dataclass(frozen=True)
class Compared:
    """An integrated case compared with its reference.

    Attributes
    ----------
    posterior
        Result of the integration.
    seconds
        Seconds that the integration took.
    evidence, evidence_error
        Difference of the log evidence from the exact one, or None; and its stated standard error.
    errors, sds, worst
        Largest difference of a mean in standard errors, largest difference of a mean in posterior
        standard deviations, and name of the function with the former.
    """

    posterior: object
    seconds: float
    evidence: float | None
    evidence_error: float
    errors: float
    sds: float
    worst: str


def compared(name, seed=0):
    """Integrate over the scales of a case and compare the result with its reference."""
    case = CASES[name]()
    started = time.perf_counter()
    equations = NormalEquations.from_statistics(case.statistics)
    posterior = integrate_scales(equations, case.priors, seed=seed)
    seconds = time.perf_counter() - started
    data = case.balanced
    evidence, exact = case.reference(data)
    scales, size = posterior.scales, case.x.shape[1]
    count = len(posterior.weights)
    slopes = scales.get("sigma_beta", np.zeros((count, 0)))
    sds = np.column_stack([scales["sigma_alpha"], slopes]).reshape(count, size)
    r = scales["correlation"][:, 0, 1] if case.eta is not None else None
    worst, largest = (0.0, ""), 0.0
    for what, values in features(sds, r, scales["eps"], data.units[0]).items():
        mean, sd, error = posterior.nodes.average(values)
        exact_mean, _, *of_reference = exact[what]
        off = abs(float(mean) - exact_mean)
        worst = max(worst, (off / float(np.hypot(error, sum(of_reference))), what))
        largest = max(largest, off / float(sd))
    difference = None if evidence is None else posterior.log_evidence - evidence
    return Compared(
        posterior, seconds, difference, posterior.log_evidence_error, worst[0], largest, worst[1]
    )


def case_table():
    """Return the lines of a table of all cases."""
    lines = [
        "| case | scales | nodes | ESS | k-hat | log evidence less exact (error) | "
        "largest difference of a mean, in errors (in sds) | s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in CASES:
        found = compared(name)
        p = found.posterior
        evidence = "by chains"
        if found.evidence is not None:
            evidence = f"{found.evidence:+.4f} ({found.evidence_error:.4f})"
        lines.append(
            f"| {name} | {p.num_scales} | {p.num_nodes} | {p.ess:.0f} | {p.khat:.2f} | {evidence} "
            f"| {found.errors:.1f} ({found.sds:.3f}) | {found.seconds:.2f} |"
        )
    return lines
