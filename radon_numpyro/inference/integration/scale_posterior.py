"""The posterior of the scales by numerical integration: weighted points, and the evidence.

With the coefficients integrated out (``gaussian/marginal.py``) only the scales are left: standard
deviations of the coefficients that vary, their correlations and the residual one. Their posterior
is integrated by adaptive importance sampling (``importance_sampling.py``) in coordinates in which
it is near Normal (``coordinates.py``). The first proposal is a t distribution about the mode, as
wide as the curvature there says. Given each point the coefficients are Normal, so that their
posterior is a mixture of Normals, without any random draws of them. It runs in NumPy, in a fraction
of a second for some dozens of groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from radon_numpyro.data.checks import plural
from radon_numpyro.gaussian.conditional import Population
from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import Scales
from radon_numpyro.gaussian.sites import population_sites
from radon_numpyro.gaussian.small_matrices import solve_lower, squared_norm
from radon_numpyro.inference.integration.importance_sampling import (
    LAST_ROUND,
    MAX_KHAT,
    MIN_ESS,
    WIDE_SHARE,
    sample,
)
from radon_numpyro.inference.integration.lattice import shifted_lattices
from radon_numpyro.inference.integration.mode import inverse_curvature, mode_of
from radon_numpyro.inference.integration.proposal import Proposal
from radon_numpyro.inference.integration.scale_density import ScaleDensity
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors

# Points that are compared to start from; fewer where the density is expensive.
COARSE, FEW_COARSE = 256, 64
# Numbers that a round may take, about a second's work, and the least number of its points.
WORK, LEAST_NODES = 2**29, 256
# Share of the posterior so far out that it is improper.
ENDLESS_SHARE = 1e-3

Array = np.ndarray


@dataclass(frozen=True)
class ScalePosterior:
    r"""Weighted points of the scales, and the coefficients given each of them.

    Attributes
    ----------
    scales
        Those of ``sigma_alpha`` (S,), ``sigma_beta`` (S, K), ``correlation`` (S, P, P) and ``eps``
        (S,) that there are, in their own units.
    population
        Posterior of the population coefficients given each point.
    equations
        The data, groups apart.
    weights
        Normalised importance weights, shape (S,).
    shift
        The independent estimate, of ``num_shifts``, that each point belongs to, shape (S,).
    num_shifts
        How many independent estimates there are.
    num_nodes
        How many points were taken; those of density 0 are left out of the arrays.
    ess
        Effective number of points, one over the sum of the squared weights.
    khat
        Pareto shape of the largest weights; infinity too where the posterior does not end, as an
        improper one.
    log_evidence, log_evidence_error
        Logarithm of :math:`p(y)` and its standard error. The density of an improper prior counts
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
        """Whether averages over the weights can be relied on."""
        return self.ess >= MIN_ESS and self.khat < MAX_KHAT

    @property
    def verdict(self) -> str:
        """A sentence: whether the integration can be relied on, and why not."""
        found = (
            f"{self.ess:.0f} effective of {plural(self.num_nodes, 'node')}, Pareto k-hat "
            f"{self.khat:.2f}"
        )
        if self.reliable:
            return f"The integration over the scales is reliable: {found}."
        return (
            f"The integration over the scales is not reliable: {found}, expected are at least "
            f"{MIN_ESS:.0f} effective nodes and a k-hat below {MAX_KHAT}."
        )

    def moments(self) -> dict[str, tuple[Array, Array]]:
        """Posterior mean and standard deviation of each scale and population coefficient.

        Returns
        -------
        dict
            By site, shaped as the site.
        """
        return {name: (found[0], found[1]) for name, found in self._summaries.items()}

    def errors(self) -> dict[str, Array]:
        """Standard errors of the posterior means in :meth:`moments`, by site.

        They come from the scatter of the independent shifts of the points.
        """
        return {name: found[2] for name, found in self._summaries.items()}

    @cached_property
    def _summaries(self) -> dict[str, tuple[Array, Array, Array]]:
        found = {name: self._summary(values, 0.0) for name, values in self.scales.items()}
        _, inverse = self.equations.at_zero()
        # Of a coefficient given the scales: the norm of L^-1 times its row of the inverse basis.
        rows = np.broadcast_to(inverse.T[..., None], (*inverse.shape, len(self.weights)))
        variance = squared_norm(solve_lower(self.population.cholesky, rows))
        first = 0
        for name, values in population_sites(self.equations, self.population.mean).items():
            size = 1 if values.ndim == 1 else len(values)
            own = variance[first : first + size].reshape(values.shape)
            site = name if self.model == "hierarchical" else name.removeprefix("mu_")
            found[site] = self._summary(values.T, own.T)
            first += size
        return found

    def _summary(self, values: Array, variance: Array | float) -> tuple[Array, Array, Array]:
        """Mean, standard deviation and error of the mean of values (S, ...) at the points."""
        mean = np.tensordot(self.weights, values, 1)
        spread = np.tensordot(self.weights, np.square(values - mean) + variance, 1)
        # The mean is a ratio: what each shift adds to its numerator less the mean times its share.
        parts = np.zeros((self.num_shifts, *values.shape[1:]))
        axes = (-1, *[1] * (values.ndim - 1))
        np.add.at(parts, self.shift, self.weights.reshape(axes) * (values - mean))
        error = np.sqrt(self.num_shifts / (self.num_shifts - 1) * np.square(parts).sum(0))
        return mean, np.sqrt(spread), error


def integrate_scales(
    equations: NormalEquations,
    priors: Priors,
    *,
    model: str = "hierarchical",
    ess: float = 1000.0,
    nodes: int | None = None,
    seed: int = 0,
) -> ScalePosterior:
    """Posterior of the scales given data, as weighted points.

    Parameters
    ----------
    equations
        The data, groups apart or put together by design (``gaussian/designs.py``).
    priors
        Of the population coefficients, the scales and the correlations.
    model
        ``"hierarchical"`` or ``"pooled"``.
    ess
        Effective number of points that is enough. Where there are so many groups that the density
        takes milliseconds, fewer are found; at least 100 must be for a reliable result.
    nodes
        Number of points, rounded up to a power of two; None for as many as ``ess`` takes.
    seed
        Seed of the points.

    Returns
    -------
    ScalePosterior
        Look at ``reliable`` before anything else.

    Raises
    ------
    FloatingPointError
        If the density is hardly anywhere finite.
    ValueError
        If ``model`` is another, or ``ess`` or ``nodes`` is not positive.
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
    density = ScaleDensity(by_design(equations), priors, of)
    affordable = WORK // density.work
    most = int(np.clip(1 << affordable.bit_length() - 1, LEAST_NODES, LAST_ROUND))
    start = proposal_at_mode(density, COARSE if most == LAST_ROUND else FEW_COARSE, rng)
    found = sample(
        density.at_nodes,
        start,
        density.coordinates.positive,
        ess=ess,
        nodes=nodes,
        most=most,
        rng=rng,
    )
    log_evidence, error = found.log_integral()
    endless = found.weights @ density.coordinates.endless(found.points) > ENDLESS_SHARE
    kept = np.flatnonzero(np.isfinite(found.log_ratio))
    population: Population = found.detail
    size = len(found.log_ratio)
    return ScalePosterior(
        scales=density.scales(found.points[kept]),
        population=Population(population.mean[:, kept], population.cholesky[..., kept]),
        equations=equations,
        weights=found.weights[kept],
        shift=kept // (size // found.replicates),
        num_shifts=found.replicates,
        num_nodes=size,
        ess=found.ess,
        khat=np.inf if endless else found.khat,
        log_evidence=log_evidence,
        log_evidence_error=error,
        model=model,
    )


def proposal_at_mode(density: ScaleDensity, coarse: int, rng: np.random.Generator) -> Proposal:
    """A t distribution about the mode, as wide as the curvature there says.

    Parameters
    ----------
    density
        Log density of the scales.
    coarse
        How many points all over the plausible range are compared to start from, a power of two.
    rng
        Source of these points.
    """
    coordinates, dims = density.coordinates, density.coordinates.size
    points = coordinates.coarse(shifted_lattices(rng, 1, coarse, dims))
    start = points[np.argmax(density.at_nodes(points)[0])]
    mode = mode_of(density.with_gradient, start)
    covariance = inverse_curvature(density.with_gradient, mode)
    # The mirror image whose standard deviations are positive.
    signs = np.where(coordinates.positive & (mode < 0), -1.0, 1.0)
    signs = coordinates.mirrored(signs)
    mode, covariance = signs * mode, signs[:, None] * covariance * signs
    return Proposal.of(np.ones(1), mode[None], covariance[None], coordinates.positive, WIDE_SHARE)
