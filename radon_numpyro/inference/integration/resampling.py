r"""Draws from an integrated posterior: nodes resampled, coefficients drawn exactly given them.

The scales come from a weighted sum over nodes (``inference/integration/scale_posterior.py``). Nodes
are resampled systematically: N draws hold a node of weight w either :math:`\lfloor Nw\rfloor` or
:math:`\lceil Nw\rceil` times. They are shuffled before they are cut into chains, so that each chain
is a sample of the whole posterior. Given its scales a draw of the coefficients is Gaussian
(``gaussian/conditional.py``) and made anew, also where two draws share a node. So the draws need no
warm-up, and no chain leans on its last step; what they cannot show is what the nodes have missed,
which is the verdict's to say. Everything runs in NumPy.

References
----------
Kitagawa (1996), Monte Carlo filter and smoother for non-Gaussian nonlinear state space models,
doi:10.1080/10618600.1996.10474692. Gelfand and Smith (1990), Sampling-based approaches to
calculating marginal densities, doi:10.1080/01621459.1990.10476213.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from radon_numpyro.gaussian import mixtures
from radon_numpyro.gaussian.conditional import Population, draw_population
from radon_numpyro.gaussian.group_draws import hierarchical_deviations
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import (
    Scales,
    fitting,
    hierarchical_terms,
    prediction,
)
from radon_numpyro.gaussian.sites import group_sites, population_sites
from radon_numpyro.inference.integration.scale_posterior import ScalePosterior, integrate_scales
from radon_numpyro.inference.inversion import ExactResult, draw_exact
from radon_numpyro.inference.runs.run_control import ALL_DRAWS
from radon_numpyro.inference.settings import INTEGRATE, Settings
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

# Nodes that moments of the coefficients are averaged over, where these are not drawn; and groups
# times nodes. The more groups there are, the less the coefficients differ between nodes.
FEWEST_MOMENT_NODES, MOMENT_NODES, MOMENT_WORK = 64, 512, 2**23
# Effective nodes to aim at, for each draw and at least. Draws are worth no more than the effective
# nodes. A node costs about as much as a draw, and all nodes less than what comes before them, so
# nodes pay up to one for each draw. Their number is rounded up to a power of two: what aims at one
# half ends between one half and one.
ESS_PER_DRAW, LEAST_ESS = 0.5, 1000.0
# Draws times groups of a block whose arrays fit into the cache.
CACHED = 2**14


@dataclass(frozen=True)
class IntegratedResult:
    """Draws from an integrated posterior.

    Attributes
    ----------
    draws
        Draws of each site in its own (constrained) space, shape (chains, draws, ...). A chain is
        a batch of independent draws.
    nodes
        The nodes that they are from, with the verdict.
    seed
        Seed of the nodes and of the draws.
    coefficients
        Where draws of alpha and beta were not kept: their ``(mean, sd)``, shaped as the site.
    stats
        Empty: no sampler was run.
    """

    draws: Mapping[str, np.ndarray]
    nodes: ScalePosterior
    seed: int
    coefficients: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    stats: Mapping[str, np.ndarray] = field(default_factory=dict, init=False)

    def attributes(self) -> dict[str, Any]:
        """What a result records of how it was drawn."""
        return {
            "method": INTEGRATE,
            "seed": self.seed,
            "complete": 1,
            "stopped_by": ALL_DRAWS,
        }


def draw_by_integration(
    statistics: GroupStatistics, priors: Priors, settings: Settings, nodes: int | None = None
) -> IntegratedResult | ExactResult:
    """Integrate over the scales and draw every site; of the individual model, invert.

    Parameters
    ----------
    statistics, priors, settings
        What is fitted, and how; ``target_ess`` is the effective number of nodes to aim at, by
        default half the number of draws, and 1000 at the least.
    nodes
        Number of nodes, in place of as many as that takes.

    Returns
    -------
    IntegratedResult or ExactResult
        The latter of the individual model, in which each group has one scale, whose distribution
        function is computed and inverted, and of the pooled model of known standard errors, which
        has none.

    Raises
    ------
    FloatingPointError
        If the density of the scales is hardly anywhere finite.
    """
    of = Model.named(settings.model)
    how = {"draws": settings.draws, "chains": settings.chains, "seed": settings.seed}
    known_errors = statistics.labels.design.known_errors
    if of.eps_by_group or (known_errors and not of.by_group):
        exact = draw_exact(statistics, settings.model, priors=priors, **how)
        return replace(exact, method=INTEGRATE)
    equations = NormalEquations.from_statistics(statistics)
    wanted = settings.target_ess
    if wanted is None:
        wanted = max(LEAST_ESS, settings.draws * settings.chains * ESS_PER_DRAW)
    posterior = integrate_scales(
        equations,
        priors,
        model=settings.model,
        ess=wanted,
        nodes=nodes,
        seed=settings.seed,
    )
    num_groups, size = statistics.num_groups, len(statistics.labels.design.varying)
    kept = settings.coefficients_kept(num_groups, size)
    return draw_integrated(equations, posterior, settings.model, coefficients=kept, **how)


def draw_integrated(
    equations: NormalEquations,
    posterior: ScalePosterior,
    model: str = "hierarchical",
    *,
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    coefficients: str = "draws",
) -> IntegratedResult:
    """Draw every site of a model from its integrated posterior.

    Parameters
    ----------
    equations
        The data, with each group apart.
    posterior
        Nodes of the scales, of the same data and model.
    model
        ``"hierarchical"`` or ``"pooled"``.
    draws, chains
        Draws of each chain and number of chains; all are independent given the nodes.
    seed
        Seed of the draws.
    coefficients
        Of the groups: ``"draws"``, ``"summary"`` (means and standard deviations alone) or
        ``"none"``.

    Returns
    -------
    IntegratedResult
    """
    # Another stream than that of the nodes, which may have the same seed.
    rng = np.random.default_rng((seed, 1))
    node = systematic(rng, posterior.weights, draws * chains)
    rng.shuffle(node)
    scales = {name: values[node] for name, values in posterior.scales.items()}
    population = Population(*(values[..., node] for values in posterior.population))
    relative = draw_population(population, rng.standard_normal(population.mean.shape))
    sites, moments = population_sites(posterior.equations, relative), {}
    of = Model.named(model)
    mean = "" if of.population else "mu_"
    drawn = {n.removeprefix(mean): np.moveaxis(values, -1, 0) for n, values in sites.items()}
    drawn |= scales
    if posterior.equations.design.known_errors:
        del drawn["eps"]
    if of.by_group and coefficients == "draws":
        drawn |= _draw_groups(rng, equations, scales, sites, relative)
    elif of.by_group and coefficients == "summary":
        moments = coefficient_moments(equations, posterior, seed=seed)
    shaped = {n: v.reshape(chains, draws, *v.shape[1:]) for n, v in drawn.items()}
    return IntegratedResult(shaped, posterior, seed, moments)


def systematic(rng: np.random.Generator, weights: np.ndarray, size: int) -> np.ndarray:
    r"""Resample systematically: positions :math:`(i + u)/N` in the cumulated weights.

    Parameters
    ----------
    rng
        Source of the one uniform number u.
    weights
        Normalised weights, shape (S,).
    size
        Draws, N.

    Returns
    -------
    array
        Position of the node of each draw, in order, shape (N,).
    """
    edges = np.cumsum(weights)
    points = (np.arange(size) + rng.random()) * (edges[-1] / size)
    # Rounding may put the last point at the last edge.
    last = int(np.flatnonzero(weights)[-1])
    return np.minimum(np.searchsorted(edges, points, side="right"), last)


def coefficient_moments(
    equations: NormalEquations, posterior: ScalePosterior, *, seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    r"""Posterior mean and standard deviation of alpha and beta, without drawing them.

    .. math:: E[\theta_c] = \sum_s w_s E[\theta_c \mid s], \qquad
              \mathrm{var}[\theta_c] = \sum_s w_s \mathrm{var}[\theta_c \mid s]
              + \mathrm{var}_w(E[\theta_c \mid s])

    over at most 512 nodes s, and 64 for very many groups, resampled systematically where there are
    more (Rao-Blackwell).

    Parameters
    ----------
    equations
        The data, with each group apart.
    posterior
        Nodes of the scales of the hierarchical model.
    seed
        Seed of the choice of the nodes.

    Returns
    -------
    dict
        ``(mean, sd)`` by name, shapes (C,) and (C, K), in the units of the coefficients.
    """
    affordable = np.clip(MOMENT_WORK // equations.num_groups, FEWEST_MOMENT_NODES, MOMENT_NODES)
    size = min(int(affordable), len(posterior.weights))
    node = systematic(np.random.default_rng((seed, 2)), posterior.weights, size)
    scales = {name: values[node] for name, values in posterior.scales.items()}
    population = Population(*(values[..., node] for values in posterior.population))
    step = _groups_at_once(size, equations)
    blocks = [
        _moments(
            equations.take(np.arange(start, min(start + step, equations.num_groups))),
            scales,
            population,
        )
        for start in range(0, equations.num_groups, step)
    ]
    mean, sd = (np.concatenate(parts, axis=1).T for parts in zip(*blocks, strict=True))
    first = int(equations.design.intercept_varies)
    moments = {"alpha": (mean[:, 0], sd[:, 0])} if first else {}
    if equations.design.slopes:
        moments["beta"] = (mean[:, first:], sd[:, first:])
    return moments


def _groups_at_once(num_draws: int, equations: NormalEquations) -> int:
    """Groups of one block: an eighth of what fits into memory, which is near the caches."""
    return max(1, fitting(num_draws, equations) // 8)


def _draw_groups(
    rng: np.random.Generator,
    equations: NormalEquations,
    scales: Scales,
    population: Mapping[str, np.ndarray],
    relative: np.ndarray,
) -> dict[str, np.ndarray]:
    """Draws (N, ...) of alpha and beta, of some draws at a time."""
    num_draws, num_groups = relative.shape[1], equations.num_groups
    off = np.empty((equations.size, num_draws, num_groups))
    step = max(1, CACHED // num_groups)
    for start in range(0, num_draws, step):
        some = slice(start, start + step)
        of_some = {name: values[some] for name, values in scales.items()}
        noise = rng.standard_normal(off[:, some].shape)
        off[:, some] = hierarchical_deviations(equations, of_some, relative[:, some], noise)
    return group_sites(equations, population, off)


def _moments(
    equations: NormalEquations, scales: Scales, population: Population
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the coefficients of some groups, shapes (P, C)."""
    terms, design = hierarchical_terms(equations, scales), equations.design
    (fit, inverse), size = equations.at_zero(), equations.size
    means = [name for name in design.varying if name in design.population]
    # A coefficient is the line where its own column is 1, and the others are 0.
    row, at_zero = np.zeros((len(fit), size)), np.zeros(size)
    for p, name in enumerate(design.varying):
        if name in means:
            own = means.index(name)
            row[:, p], at_zero[p] = inverse[own], fit[own]
    each = np.arange(equations.num_groups)
    moments = np.empty((2, size, len(each)))
    for p in range(size):
        z, rows = (np.repeat(part[:, [p]], len(each), axis=1) for part in (np.eye(size), row))
        line = prediction(terms, population.mean, z, rows, slice(None), population)
        moments[:, p] = mixtures.moments(*line)
    return moments[0] + at_zero[:, None], moments[1]
