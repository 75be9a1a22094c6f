r"""Draws from an integrated posterior: resampled nodes, and exact draws of coefficients given them.

The posterior of the scales is a weighted sum over nodes
(``inference/integration/scale_posterior.py``). Nodes are resampled systematically: among N draws a
node of weight w occurs :math:`\lfloor Nw\rfloor` or :math:`\lceil Nw\rceil` times. The draws are
shuffled before they are divided into chains, so that each chain is a sample of the whole posterior.
Given the scales, the coefficients are Gaussian (``gaussian/conditional.py``). Each draw of them is
new, even if two draws share a node. The draws therefore need no warm-up, and no draw is computed
from the one before it. Draws cannot reveal a part of the posterior that the nodes have missed; the
verdict of the integration assesses this. The draws are made in NumPy.

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

# Minimum and maximum number of nodes for moments of coefficients that are not drawn, and maximum of
# groups times nodes. The more groups there are, the less the coefficients differ between nodes.
FEWEST_MOMENT_NODES, MOMENT_NODES, MOMENT_WORK = 64, 512, 2**23
# Target effective number of nodes per draw, and its minimum in total. The effective number of nodes
# limits the effective sample size of the draws. A node costs about as much as a draw, and all nodes
# cost less than the steps before them, so that up to one node per draw is worth its cost. The
# number of nodes is rounded up to a power of two: a target of one half gives one half to one.
ESS_PER_DRAW, LEAST_ESS = 0.5, 1000.0
# Maximum of draws times groups in a block whose arrays fit into the cache.
CACHED = 2**14


@dataclass(frozen=True)
class IntegratedResult:
    """Draws from an integrated posterior.

    Attributes
    ----------
    draws
        Draws of each site in the constrained space, shape (chains, draws, ...). A chain is a batch
        of independent draws.
    nodes
        The nodes from which the scales are drawn, with the verdict.
    seed
        Seed of the nodes and of the draws.
    coefficients
        ``(mean, sd)`` of alpha and beta, with the shape of the site, if their draws were not kept;
        otherwise empty.
    stats
        Empty, because no sampler was run.
    """

    draws: Mapping[str, np.ndarray]
    nodes: ScalePosterior
    seed: int
    coefficients: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    stats: Mapping[str, np.ndarray] = field(default_factory=dict, init=False)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the result that describe how it was drawn."""
        return {
            "method": INTEGRATE,
            "seed": self.seed,
            "complete": 1,
            "stopped_by": ALL_DRAWS,
        }


def draw_by_integration(
    statistics: GroupStatistics, priors: Priors, settings: Settings, nodes: int | None = None
) -> IntegratedResult | ExactResult:
    """Draw every site after integration over the scales, or exactly if the model allows it.

    Parameters
    ----------
    statistics, priors, settings
        The data, the priors, and the settings of the fit, in which ``target_ess`` is the target
        effective number of nodes. The default is half the number of draws, but at least 1000.
    nodes
        Number of nodes; None to determine it from the target.

    Returns
    -------
    IntegratedResult or ExactResult
        An ``ExactResult`` for the individual model, in which each group has one scale whose
        distribution function is computed and inverted, and for the pooled model with known standard
        errors, which has no scale; otherwise an ``IntegratedResult``.

    Raises
    ------
    FloatingPointError
        If the density of the scales is finite at too few points.
    ValueError
        If JAX does not see the device.
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
        device="gpu" if settings.device == "gpu" else None,
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
        The data, with an entry for each group.
    posterior
        Nodes of the scales for the same data and model.
    model
        ``"hierarchical"`` or ``"pooled"``.
    draws, chains
        Number of draws of each chain, and number of chains. All draws are independent given the
        nodes.
    seed
        Seed of the draws.
    coefficients
        Form of the coefficients of the groups in the result: ``"draws"``, ``"summary"`` (means and
        standard deviations only) or ``"none"``.

    Returns
    -------
    IntegratedResult
    """
    # The stream differs from that of the nodes, which may have the same seed.
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
    r"""Resample systematically, at the positions :math:`(i + u)/N` in the cumulative weights.

    Parameters
    ----------
    rng
        Random number generator of the single uniform number u.
    weights
        Normalised weights, shape (S,).
    size
        Number of draws, N.

    Returns
    -------
    array
        Index of the node of each draw, in increasing order, shape (N,).
    """
    edges = np.cumsum(weights)
    points = (np.arange(size) + rng.random()) * (edges[-1] / size)
    # Rounding may move the last point to the last edge.
    last = int(np.flatnonzero(weights)[-1])
    return np.minimum(np.searchsorted(edges, points, side="right"), last)


def coefficient_moments(
    equations: NormalEquations, posterior: ScalePosterior, *, seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    r"""Compute the posterior mean and standard deviation of alpha and beta without drawing them.

    .. math:: E[\theta_c] = \sum_s w_s E[\theta_c \mid s], \qquad
              \mathrm{var}[\theta_c] = \sum_s w_s \mathrm{var}[\theta_c \mid s]
              + \mathrm{var}_w(E[\theta_c \mid s])

    The sums contain at most 512 nodes s, or 64 for very many groups. If there are more nodes, a
    subset is chosen by systematic resampling (Rao-Blackwellisation).

    Parameters
    ----------
    equations
        The data, with an entry for each group.
    posterior
        Nodes of the scales of the hierarchical model.
    seed
        Seed of the choice of nodes.

    Returns
    -------
    dict
        ``(mean, sd)`` of alpha, shape (C,), and of beta, shape (C, K), in the units of the
        coefficients.
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
    """Return the number of groups in a block: an eighth of what memory allows suits the caches."""
    return max(1, fitting(num_draws, equations) // 8)


def _draw_groups(
    rng: np.random.Generator,
    equations: NormalEquations,
    scales: Scales,
    population: Mapping[str, np.ndarray],
    relative: np.ndarray,
) -> dict[str, np.ndarray]:
    """Draw alpha and beta, shape (N, ...), in blocks of draws."""
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
    """Compute mean and standard deviation of the coefficients of groups, each of shape (P, C)."""
    terms, design = hierarchical_terms(equations, scales), equations.design
    (fit, inverse), size = equations.at_zero(), equations.size
    means = [name for name in design.varying if name in design.population]
    # A coefficient is the value of the line at a row where its column is 1 and the others are 0.
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
