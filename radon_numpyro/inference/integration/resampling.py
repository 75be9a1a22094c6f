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
doi:10.1080/10618600.1996.10474692.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from radon_numpyro.gaussian.coefficient_moments import coefficient_moments, draws_to_average
from radon_numpyro.gaussian.conditional import Population
from radon_numpyro.gaussian.group_draws import draw_coefficients
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.integration.scale_posterior import ScalePosterior, integrate_scales
from radon_numpyro.inference.inversion import ExactResult, draw_exact
from radon_numpyro.inference.runs.run_control import ALL_DRAWS
from radon_numpyro.inference.settings import INTEGRATE, Settings
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

# Target effective number of nodes per draw, and its minimum in total. The effective number of nodes
# limits the effective sample size of the draws. A node costs about as much as a draw, and all nodes
# cost less than the steps before them, so that up to one node per draw is worth its cost. The
# number of nodes is rounded up to a power of two: a target of one half gives one half to one.
ESS_PER_DRAW, LEAST_ESS = 0.5, 1000.0


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
    return draw_integrated(posterior, settings.model, coefficients=kept, **how)


def draw_integrated(
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
    posterior
        Nodes of the scales of the model.
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
    of, moments = Model.named(model), {}
    groups = of.by_group and coefficients == "draws"
    sites = draw_coefficients(rng, posterior.equations, scales, population, groups=groups)
    mean = "" if of.population else "mu_"
    drawn = {name.removeprefix(mean): values for name, values in sites.items()} | scales
    if posterior.equations.design.known_errors:
        del drawn["eps"]
    if of.by_group and coefficients == "summary":
        moments = moments_over_nodes(posterior, seed=seed)
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


def moments_over_nodes(
    posterior: ScalePosterior, *, seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Compute the posterior mean and standard deviation of alpha and beta without drawing them.

    If there are more nodes than are worth averaging, some are chosen by systematic resampling.

    Parameters
    ----------
    posterior
        Nodes of the scales of the hierarchical model.
    seed
        Seed of the choice of nodes.

    Returns
    -------
    dict
        As from :func:`~radon_numpyro.gaussian.coefficient_moments.coefficient_moments`.
    """
    size = draws_to_average(len(posterior.weights), posterior.equations.num_groups)
    node = systematic(np.random.default_rng((seed, 2)), posterior.weights, size)
    scales = {name: values[node] for name, values in posterior.scales.items()}
    population = Population(*(values[..., node] for values in posterior.population))
    return coefficient_moments(posterior.equations, scales, population)
