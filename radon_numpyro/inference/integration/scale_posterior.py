"""The posterior of the scales by numerical integration: weighted points, and the evidence.

Integrating out the coefficients (``gaussian/marginal.py``) leaves the scales: the standard
deviations of the coefficients that vary, their correlations, and the residual standard deviation.
Their posterior is integrated by adaptive importance sampling (``importance_sampling.py``) in
coordinates in which it is nearly Normal (``coordinates.py``). The first proposal is a t
distribution around the mode, whose scale matrix comes from the curvature at the mode. The
coefficients are Normal given each point, so that their posterior is a mixture of Normals and needs
no random draws. The integration runs in NumPy, unless JAX is asked to compute the density on a
device, and takes a fraction of a second for dozens of groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from radon_numpyro.data.checks import plural
from radon_numpyro.gaussian.conditional import Population
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import Scales
from radon_numpyro.gaussian.sites import population_sites
from radon_numpyro.gaussian.small_matrices import solve_lower, squared_norm
from radon_numpyro.inference.integration.averages import Nodes
from radon_numpyro.inference.integration.coordinates import pairs_of, predictors_are_far
from radon_numpyro.inference.integration.importance_sampling import (
    FURTHER_ROUNDS,
    LAST_ROUND,
    MAX_KHAT,
    MIN_ESS,
    WIDE_SHARE,
    WeightedPoints,
    balanced,
    sample,
)
from radon_numpyro.inference.integration.lattice import shifted_lattices
from radon_numpyro.inference.integration.mode import inverse_curvature, mode_of
from radon_numpyro.inference.integration.proposal import Proposal
from radon_numpyro.inference.integration.scale_density import ScaleDensity
from radon_numpyro.inference.runs.run_control import with_one_blas_thread
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors

# Number of coarse points among which the start is chosen; fewer if the density is expensive.
COARSE, FEW_COARSE = 256, 32
# Maximum number of array values of a round, about one second of work; and the smallest limit on the
# number of points of a round.
WORK, LEAST_NODES = 2**29, 256
# Limit on the points of a round in the second kind of coordinates if the first was reliable.
SECOND = 1024
# A posterior with more than this share of its mass at extreme points is improper.
ENDLESS_SHARE = 1e-3

Array = np.ndarray


@dataclass(frozen=True)
class ScalePosterior:
    r"""Weighted points of the scales, and the coefficients given each of them.

    Attributes
    ----------
    scales
        ``sigma_alpha`` (S,), ``sigma_beta`` (S, K), ``correlation`` (S, P, P) and ``eps`` (S,) in
        their own units; scales that the model does not have are absent.
    population
        Posterior of the population coefficients given each point.
    equations
        The data, as given; for the pooled model, after ``pooled()``.
    weights
        Normalised importance weights, shape (S,).
    shift
        Index of the lattice shift that each point belongs to, shape (S,).
    num_shifts
        Number of shifts, each of which gives an independent estimate.
    num_nodes
        Number of points, including those of density 0, which are not in the arrays.
    ess
        Effective number of points: the reciprocal of the sum of the squared weights.
    khat
        Pareto shape of the largest weights. It is infinite if the posterior seems to be improper.
    log_evidence, log_evidence_error
        Logarithm of :math:`p(y)` and its standard error. The density of an improper prior is taken
        as 1.
    model
        ``"hierarchical"`` or ``"pooled"``.
    """

    scales: Scales
    population: Population
    equations: NormalEquations
    weights: Array
    shift: Array
    num_shifts: int
    num_nodes: int
    ess: float
    khat: float
    log_evidence: float
    log_evidence_error: float
    model: str

    @property
    def reliable(self) -> bool:
        """Whether weighted averages are reliable."""
        return self.ess >= MIN_ESS and self.khat < MAX_KHAT

    @property
    def verdict(self) -> str:
        """A sentence that says whether the integration is reliable, and if not, why."""
        found = (
            f"{self.ess:.0f} effective of {plural(self.num_nodes, 'node')}, Pareto k-hat "
            f"{self.khat:.2f}"
        )
        if self.reliable:
            return f"The integration over the scales is reliable: {found}."
        many = ""
        if self.ess < self.num_scales:
            many = f" More nodes would not help with {self.num_scales} standard deviations and "
            many += "correlations."
        return (
            f"The integration over the scales is not reliable: {found}, expected are at least "
            f"{MIN_ESS:.0f} effective nodes and a k-hat below {MAX_KHAT}.{many}"
        )

    @property
    def num_scales(self) -> int:
        """Number of standard deviations and correlations that were integrated over."""
        design = self.equations.design
        return self.equations.size + len(pairs_of(self.equations)) + (not design.known_errors)

    def moments(self) -> dict[str, tuple[Array, Array]]:
        """Compute the posterior mean and sd of each scale and population coefficient.

        Returns
        -------
        dict
            ``(mean, sd)`` by site, each with the shape of the site.
        """
        return {name: (found[0], found[1]) for name, found in self._summaries.items()}

    def errors(self) -> dict[str, Array]:
        """Compute standard errors of the posterior means of :meth:`moments`, by site.

        They come from the scatter of the estimates of the independent shifts.
        """
        return {name: found[2] for name, found in self._summaries.items()}

    def quantiles(self, probabilities: Sequence[float]) -> dict[str, tuple[Array, Array]]:
        """Compute quantiles of each scale and population coefficient, and their standard errors.

        Parameters
        ----------
        probabilities
            Probabilities between 0 and 1, shape (K,).

        Returns
        -------
        dict
            ``(quantiles, errors)`` by site, each of shape (K, ...), where ... is the shape of the
            site. Quantiles of coefficients are those of a mixture of Normals.
        """
        at = np.asarray(probabilities, dtype=float)
        return {
            name: self.nodes.quantiles(at, mean, None if variance is None else np.sqrt(variance))
            for name, (mean, variance) in self._given_nodes.items()
        }

    @property
    def nodes(self) -> Nodes:
        """The weighted nodes, for averages of any function of the scales."""
        return Nodes(self.weights, self.shift, self.num_shifts)

    @cached_property
    def _summaries(self) -> dict[str, tuple[Array, Array, Array]]:
        return {
            name: self.nodes.average(mean, 0.0 if variance is None else variance)
            for name, (mean, variance) in self._given_nodes.items()
        }

    @cached_property
    def _given_nodes(self) -> dict[str, tuple[Array, Array | None]]:
        """Scales, and means and variances of coefficients, given each node, with nodes first."""
        found: dict[str, tuple[Array, Array | None]] = {
            name: (values, None) for name, values in self.scales.items()
        }
        _, inverse = self.equations.at_zero()
        # The variance of a coefficient given the scales is the squared norm of L^-1 times its row
        # of the inverse basis.
        rows = np.broadcast_to(inverse.T[..., None], (*inverse.shape, len(self.weights)))
        variance = squared_norm(solve_lower(self.population.cholesky, rows))
        first = 0
        for name, values in population_sites(self.equations, self.population.mean).items():
            size = 1 if values.ndim == 1 else len(values)
            own = variance[first : first + size].reshape(values.shape)
            site = name if self.model == "hierarchical" else name.removeprefix("mu_")
            found[site] = (values.T, own.T)
            first += size
        return found


@with_one_blas_thread
def integrate_scales(
    equations: NormalEquations,
    priors: Priors,
    *,
    model: str = "hierarchical",
    ess: float = 1000.0,
    nodes: int | None = None,
    seed: int = 0,
    device: str | None = None,
    further_rounds: int = FURTHER_ROUNDS,
) -> ScalePosterior:
    """Integrate the posterior of the scales; the result is a set of weighted points.

    Parameters
    ----------
    equations
        The data, by group or combined by design (``gaussian/designs.py``).
    priors
        Priors of the population coefficients, the scales and the correlations.
    model
        ``"hierarchical"`` or ``"pooled"``.
    ess
        Effective number of points that is sufficient. The result has fewer if there are so many
        groups that the density takes milliseconds. A reliable result has at least 100.
    nodes
        Number of points, rounded up to a power of two; None to determine it from ``ess``. If a
        predictor is far from zero, there are this many points in each of two kinds of coordinates.
    seed
        Seed of the points.
    device
        ``"cpu"`` or ``"gpu"`` to compute the density by programs of JAX on this kind of device;
        None to compute it in NumPy. The results differ by rounding, which the search for the mode
        enlarges.
    further_rounds
        Number of further rounds of the largest size while the weights are unreliable.

    Returns
    -------
    ScalePosterior
        The result. Check ``reliable`` before using it.

    Raises
    ------
    FloatingPointError
        If the density is finite at too few points.
    ValueError
        If ``model`` is not one of the two, if ``ess`` or ``nodes`` is not positive, or if JAX does
        not see the device.
    """
    of = Model.named(model)
    if of.eps_by_group:
        raise ValueError(f"Expected model to be hierarchical or pooled; got {model!r}")
    if not ess > 0:
        raise ValueError(f"Expected ess to be positive; got {ess}")
    if nodes is not None and nodes < 1:
        raise ValueError(f"Expected nodes to be at least 1; got {nodes}")
    rng = np.random.default_rng(seed)
    equations = equations if of.by_group else equations.pooled()
    together = by_design(equations)
    # If a predictor is far from zero, either kind of coordinates may be the better one, so both
    # are used (`coordinates.py`).
    ways = (True, False) if predictors_are_far(together) else (False,)
    densities = [ScaleDensity(together, priors, of, about_means=way, device=device) for way in ways]
    affordable = WORK // together.work
    most = int(np.clip(1 << affordable.bit_length() - 1, LEAST_NODES, LAST_ROUND))
    coarse, samples = COARSE if most == LAST_ROUND else FEW_COARSE, []
    for density in densities:
        start = proposal_at_mode(density, coarse, rng)
        positive = density.coordinates.positive
        found = sample(
            density.at_nodes,
            start,
            positive,
            ess=ess,
            nodes=nodes,
            most=most,
            further=further_rounds,
            rng=rng,
        )
        samples.append(found)
        # After a reliable sample, the next one may be small.
        most = min(most, SECOND) if found.reliable else most
    found, scales, endless = _of_all(densities, samples)
    log_evidence, error = found.log_integral()
    kept = np.flatnonzero(np.isfinite(found.log_ratio))
    population: Population = found.detail
    size = len(found.log_ratio)
    return ScalePosterior(
        scales={name: values[kept] for name, values in scales.items()},
        population=Population(population.mean[:, kept], population.cholesky[..., kept]),
        equations=equations,
        weights=found.weights[kept],
        shift=kept // (size // found.replicates),
        num_shifts=found.replicates,
        num_nodes=size,
        ess=found.ess,
        khat=np.inf if found.weights @ endless > ENDLESS_SHARE else found.khat,
        log_evidence=log_evidence,
        log_evidence_error=error,
        model=model,
    )


def _of_all(
    densities: list[ScaleDensity], samples: list[WeightedPoints]
) -> tuple[WeightedPoints, Scales, Array]:
    """Combine samples in several kinds of coordinates into one.

    Returns the combined sample, its scales, and whether each point is so extreme that only improper
    posteriors have mass there, shape (S,).
    """
    parts = list(zip(densities, samples, strict=True))
    if len(parts) == 1:
        density, only = parts[0]
        return only, density.scales(only.points), density.coordinates.endless(only.points)
    values = [density.coordinates.values(one.points) for density, one in parts]

    def in_scales(k: int, points: Array) -> Array:
        """Compute the log density, over the scales, of a proposal at points in its coordinates."""
        found = np.full(len(points), -np.inf)
        near = densities[k].coordinates.inside(points)
        jacobian = densities[k].coordinates.values(points[near]).log_jacobian
        found[near] = samples[k].proposal.log_density(points[near]) - jacobian
        return found

    rows = []
    for k, density in enumerate(densities):
        points = [density.coordinates.points(own) for own in values]
        points[k] = samples[k].points
        rows.append([in_scales(k, some) for some in points])
    own = np.concatenate([row[k] for k, row in enumerate(rows)])
    log_target = np.concatenate([one.log_ratio for one in samples])
    # Where the density is 0, the Jacobian may be 0 too.
    some = np.isfinite(log_target)
    log_target[some] += own[some]
    log_proposal = np.array([np.concatenate(row) for row in rows])
    log_ratio, order, replicates = balanced(samples, log_target, log_proposal)
    population = zip(*(one.detail for one in samples), strict=True)
    found = replace(
        samples[0],
        points=np.concatenate([one.points for one in samples])[order],
        log_ratio=log_ratio,
        replicates=replicates,
        detail=Population(*(np.concatenate(some, axis=-1)[..., order] for some in population)),
    )
    each = [density.scales(one.points) for density, one in parts]
    scales = {name: np.concatenate([some[name] for some in each])[order] for name in each[0]}
    endless = [density.coordinates.endless(one.points) for density, one in parts]
    return found, scales, np.concatenate(endless)[order]


def proposal_at_mode(density: ScaleDensity, coarse: int, rng: np.random.Generator) -> Proposal:
    """Return a t distribution around the mode, with the scale matrix given by the curvature there.

    Parameters
    ----------
    density
        Log density of the scales.
    coarse
        Number of points over the plausible range, a power of two. The search for the mode starts at
        the best of them.
    rng
        Random number generator of these points.
    """
    coordinates, dims = density.coordinates, density.coordinates.size
    points = coordinates.coarse(shifted_lattices(rng, 1, coarse, dims))
    start = points[np.argmax(density.at_nodes(points)[0])]
    mode = mode_of(density.with_gradient, start)
    covariance = inverse_curvature(density.with_gradient, mode)
    # Choose the mirror image of the mode whose standard deviations are positive.
    signs = np.where(coordinates.positive & (mode < 0), -1.0, 1.0)
    signs = coordinates.mirrored(signs)
    mode, covariance = signs * mode, signs[:, None] * covariance * signs
    return Proposal.of(np.ones(1), mode[None], covariance[None], coordinates.positive, WIDE_SHARE)
