r"""Comparison of two routes to one posterior: draws by NUTS, and integration over the scales.

The two routes share little except the algebra of the density. If chains have missed a part of the
posterior, or if a proposal does not cover it, the results therefore differ. For each top-level
parameter,

.. math:: z = \frac{|\bar x_\mathrm{NUTS} - \bar x_\mathrm{nodes}|}
                   {\sqrt{e_\mathrm{NUTS}^2 + e_\mathrm{nodes}^2}}

where the standard errors are the Monte Carlo standard error of the draws, and that from the scatter
of the independent shifts of the nodes. Standard deviations are compared as
:math:`\sinh^{-1}(\sigma/c)` with c the median, correlations as :math:`\tanh^{-1} r`, and eps as its
logarithm, because with few groups the mean of a standard deviation depends on a few extreme draws.
If both routes are correct, the largest z of dozens of parameters is about 2 to 3. Chains that
disagree with one another have no trustworthy standard error, so that they are not compared.

References
----------
Geyer (1992), Practical Markov chain Monte Carlo, doi:10.1214/ss/1177011137, for the standard error
of the draws.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from radon_numpyro.data.design import Design
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.marginal import marginal
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import population_prior, scale_vector
from radon_numpyro.inference.integration.scale_posterior import ScalePosterior, integrate_scales
from radon_numpyro.inference.settings import MAX_MARGINAL_SLOPES, MAX_RHAT
from radon_numpyro.model.correlations import root_of_correlation
from radon_numpyro.model.models import COEFFICIENT, Model, coordinates
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

# Maximum share of the time of the run that the check may take, and the time in seconds that it may
# always take.
SHARE, FREE_SECONDS = 0.1, 0.5
# Approximate number of evaluations of the density in an integration.
EVALUATIONS = 6000
# Number of points at which the density is timed. If one point takes longer than LONG seconds, only
# that one is timed.
TIMED, LONG = 64, 0.005

Draws = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TwoRoutes:
    """Result of the comparison.

    Attributes
    ----------
    largest
        Largest difference of any parameter, in combined standard errors.
    parameter
        Name of the parameter with the largest difference.
    skipped
        Reason why the routes were not compared, else empty. With a reason, the other attributes are
        0 and empty.
    """

    largest: float = 0.0
    parameter: str = ""
    skipped: str = ""

    def record(self) -> dict[str, Any]:
        """Return the JSON object that is stored in an attribute of the fit."""
        if self.skipped:
            return {"skipped": self.skipped}
        return {"largest": float(self.largest), "parameter": self.parameter}


def compare_routes(
    statistics: GroupStatistics, priors: Priors, draws: Draws, *, seconds: float, seed: int = 0
) -> TwoRoutes:
    """Integrate over the scales and compare the result with draws by NUTS.

    Parameters
    ----------
    statistics, priors
        The data and the priors of the fit.
    draws
        Draws of the sites of the hierarchical model, shape (chains, draws, ...).
    seconds
        Time that the run has taken, in seconds. The check may take a tenth of it, or half a second.
    seed
        Seed of the nodes.

    Returns
    -------
    TwoRoutes
    """
    equations = by_design(NormalEquations.from_statistics(statistics))
    if len(equations.design.slopes) > MAX_MARGINAL_SLOPES:
        return TwoRoutes(skipped="too many slopes vary to integrate over their spreads")
    expected = EVALUATIONS * seconds_an_evaluation(equations, priors, draws)
    if expected > max(SHARE * seconds, FREE_SECONDS):
        return TwoRoutes(
            skipped=f"integration would take about {expected:.0f} s, over a tenth of the run"
        )
    parameter, rhat = worst_rhat(equations.design, draws)
    if not rhat <= MAX_RHAT:
        disagree = f"the chains of {parameter} do not agree with one another, R-hat {rhat:.3f}"
        return TwoRoutes(skipped=f"{disagree}, so that a comparison would mean nothing")
    posterior = integrate_scales(equations, priors, seed=seed, further_rounds=0)
    if not posterior.reliable:
        verdict = posterior.verdict.rstrip(".")
        return TwoRoutes(skipped=verdict[0].lower() + verdict[1:])
    found = differences(posterior, draws)
    parameter = max(found, key=found.__getitem__)
    return TwoRoutes(found[parameter], parameter)


def differences(posterior: ScalePosterior, draws: Draws) -> dict[str, float]:
    """Compute the differences of the means in combined standard errors, by parameter.

    Parameters
    ----------
    posterior
        Nodes of the scales.
    draws
        Draws of the sites of the hierarchical model, shape (chains, draws, ...).
    """
    design = posterior.equations.design
    moments, errors = posterior.moments(), posterior.errors()
    found: dict[str, float] = {}
    for name, dims in _compared(design).items():
        drawn = np.asarray(draws[name], dtype=float)
        if name in posterior.scales:
            nodes = posterior.scales[name]
            drawn, nodes = _coordinates(name, drawn, nodes, posterior.weights, design)
            mean, _, error = posterior.nodes.average(nodes.reshape(len(nodes), -1))
        else:
            mean, error = np.ravel(moments[name][0]), np.ravel(errors[name])
        drawn = drawn.reshape(*drawn.shape[:2], -1)
        both = np.hypot(error, _monte_carlo_error(drawn))
        z = np.abs(drawn.mean((0, 1)) - mean) / np.where(both > 0, both, np.inf)
        found |= dict(zip(_names(name, dims, design), z.tolist(), strict=True))
    return found


def worst_rhat(design: Design, draws: Draws) -> tuple[str, float]:
    """Return the compared parameter whose chains disagree most, and its R-hat.

    Parameters
    ----------
    design
        The columns of the model.
    draws
        As in :func:`differences`.
    """
    from arviz_stats.base.array import array_stats

    found: dict[str, float] = {}
    for name, dims in _compared(design).items():
        drawn = np.asarray(draws[name], dtype=float)
        if name == "correlation":
            drawn = drawn[..., *np.array(design.pairs).T]
        drawn = drawn.reshape(*drawn.shape[:2], -1)
        # R-hat of constant chains is NaN.
        with np.errstate(invalid="ignore", divide="ignore"):
            rhat = np.asarray(array_stats.rhat(drawn, chain_axis=0, draw_axis=1))
        found |= dict(zip(_names(name, dims, design), rhat.tolist(), strict=True))
    # NaN counts as the worst value.
    worst = max(found, key=lambda name: np.nan_to_num(found[name], nan=np.inf))
    return worst, found[worst]


def seconds_an_evaluation(equations: NormalEquations, priors: Priors, draws: Draws) -> float:
    """Measure the seconds that the density of the scales takes at one point, at some draws.

    Parameters
    ----------
    equations, priors
        The data and the priors of the fit.
    draws
        Draws of the scales, shape (chains, draws, ...).
    """
    names = [n for n in ("sigma_alpha", "sigma_beta", "correlation", "eps") if n in draws]
    some = {n: np.asarray(draws[n], dtype=float) for n in names}
    some = {n: v.reshape(-1, *v.shape[2:])[:TIMED] for n, v in some.items()}
    # If the standard errors of the rows are known, eps is 1.
    some.setdefault("eps", np.ones(len(next(iter(some.values())))))
    root = root_of_correlation(some["correlation"]) if "correlation" in some else None
    prior = population_prior(equations, priors, Model.named("hierarchical"))

    def seconds_of(size: int) -> float:
        # Only the CPU time of this thread counts, because others may keep the machine busy.
        started = time.thread_time()
        of_size = None if root is None else root[..., :size]
        marginal(equations, scale_vector(some)[:, :size], some["eps"][:size], prior, of_size)
        return time.thread_time() - started

    alone = min(seconds_of(1) for _ in range(2))
    # For such an expensive point, the overhead of a call is negligible.
    if alone > LONG:
        return alone
    size = len(some["eps"])
    return min(seconds_of(size) for _ in range(2)) / size


def _coordinates(
    name: str, drawn: np.ndarray, nodes: np.ndarray, weights: np.ndarray, design: Design
) -> tuple[np.ndarray, np.ndarray]:
    """Transform draws and nodes of a site to a scale on which their means are stable."""
    if name == "correlation":
        rows, columns = np.array(design.pairs).T
        near = 1.0 - 1e-12
        return tuple(
            np.arctanh(np.clip(v[..., rows, columns], -near, near)) for v in (drawn, nodes)
        )
    if name == "eps":
        return np.log(drawn), np.log(nodes)
    nodes = nodes.reshape(len(nodes), -1)
    order = np.argsort(nodes, axis=0)
    middle = (np.cumsum(weights[order], axis=0) < 0.5).sum(0)
    unit = np.take_along_axis(nodes, np.take_along_axis(order, middle[None], 0), 0)[0]
    unit = np.where(unit > 0, unit, 1.0)
    return np.arcsinh(drawn.reshape(*drawn.shape[:2], -1) / unit), np.arcsinh(nodes / unit)


def _monte_carlo_error(drawn: np.ndarray) -> np.ndarray:
    """Compute the Monte Carlo standard errors, (n,), of means of draws (chains, draws, n)."""
    from arviz_stats.base.array import array_stats

    ess = array_stats.ess(drawn, chain_axis=0, draw_axis=1, method="mean")
    return np.asarray(drawn.std((0, 1)) / np.sqrt(ess))


def _compared(design: Design) -> dict[str, tuple[str, ...]]:
    """Return the top-level sites with their dimensions."""
    sites = Model.named("hierarchical").sites(design)
    return {name: site.dims for name, site in sites.items() if site.is_top_level}


def _names(site: str, dims: tuple[str, ...], design: Design) -> list[str]:
    """Return the names of the entries of a site."""
    if not dims:
        return [site]
    if dims[0] == COEFFICIENT:
        varying = design.varying
        return [f"{site}[{varying[i]}, {varying[j]}]" for i, j in design.pairs]
    return [f"{site}[{column}]" for column in coordinates(design)[dims[0]]]
