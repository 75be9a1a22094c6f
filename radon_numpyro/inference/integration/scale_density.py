"""The posterior density of the scales in the coordinates of integration, with its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from radon_numpyro.gaussian.conditional import Population
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import population_prior
from radon_numpyro.inference.compute.marginal_blocks import MarginalBlocks
from radon_numpyro.inference.integration.coordinates import (
    Coordinates,
    ScaleValues,
    pairs_of,
    scale_families,
)
from radon_numpyro.model.correlations import beta_parameters, correlation_of, correlation_root
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors

if TYPE_CHECKING:
    from radon_numpyro.inference.compute.compiled_blocks import CompiledBlocks

# Step of central differences, for coordinates of order one.
STEP = 1e-5


class ScaleDensity:
    r"""Joint log density of the outcomes and the scales as a density of the coordinates.

    .. math:: \log p(y \mid s) + \log p(s) + \log|\partial s / \partial t|

    It includes all normalising constants, so that the integral of the density over the coordinates,
    those of standard deviations at least 0, is the evidence :math:`p(y)`.

    Parameters
    ----------
    equations
        The data; for the pooled model, after ``pooled()``.
    priors
        Priors of the population coefficients and the scales.
    of
        The hierarchical or the pooled model.
    about_means
        Whether the coordinates describe intercepts at the means of the predictors.
    device
        Device for which JAX compiles the density, ``"cpu"`` or ``"gpu"``; None for NumPy.

    Attributes
    ----------
    coordinates
        The map from points to scales.
    """

    def __init__(
        self,
        equations: NormalEquations,
        priors: Priors,
        of: Model,
        *,
        about_means: bool = False,
        device: str | None = None,
    ) -> None:
        self.coordinates = Coordinates(equations, priors, about_means=about_means)
        self._equations = equations
        self._families = scale_families(equations.design, priors, equations.size)
        prior = population_prior(equations, priors, of)
        self._outcomes: MarginalBlocks | CompiledBlocks
        if device is None:
            self._outcomes = MarginalBlocks(equations, prior)
        else:
            from radon_numpyro.inference.compute.compiled_blocks import CompiledBlocks

            self._outcomes = CompiledBlocks(equations, prior, device)
        self._beta = np.zeros((0, 1))
        if pairs_of(equations):
            concentration = priors.correlation.concentration
            self._beta = beta_parameters(equations.design, concentration)[:, None]

    def at_nodes(self, points: np.ndarray) -> tuple[np.ndarray, Population]:
        """Compute the log density and the posterior of the population coefficients at points.

        Parameters
        ----------
        points
            Coordinates of the points, shape (S, D).

        Returns
        -------
        log_density, population
            The log density, shape (S,), which is minus infinity if a standard deviation is negative
            or outside the support of its prior; and the mean, (Q, S), and Cholesky factor,
            (Q, Q, S), of the population coefficients, which are then NaN.
        """
        num_points, num_columns = len(points), self._equations.population.shape[1]
        values = self.coordinates.values(points)
        log_prior = self._log_prior(values)
        inside = self.coordinates.inside(points) & np.isfinite(log_prior)
        inside &= (points[:, self.coordinates.positive] >= 0).all(1)
        out = np.full(num_points, -np.inf)
        mean = np.full((num_columns, num_points), np.nan)
        factor = np.full((num_columns, num_columns, num_points), np.nan)
        some = np.flatnonzero(inside)
        if some.size:
            # A factor may overflow at extreme points, whose density then counts as 0.
            with np.errstate(all="ignore"):
                log_density, found = self._outcomes.at(*self._arguments(values, some))
            out[some] = log_density + log_prior[some]
            mean[:, some], factor[..., some] = found
        return np.where(np.isfinite(out), out, -np.inf), Population(mean, factor)

    def with_gradient(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the log density, (S,), and its derivatives in the coordinates, (S, D).

        Negative coordinates mean negative standard deviations, so that the density is smooth at 0.

        The derivatives of the likelihood with respect to the scales have a closed form. Those of
        the scales and of their prior with respect to the coordinates are cheap central differences.
        """
        # A factor may overflow at extreme points. The search for the mode steps back from these.
        with np.errstate(all="ignore"):
            return self._with_gradient(points)

    def _with_gradient(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        num_points, dims = points.shape
        values = self.coordinates.values(points)
        log_density, slopes = self._outcomes.with_gradient(*self._arguments(values, slice(None)))
        offsets = STEP * np.concatenate([np.eye(dims), -np.eye(dims)])
        moved = self.coordinates.values((points + offsets[:, None]).reshape(-1, dims))

        def change(numbers: np.ndarray) -> np.ndarray:
            """Compute derivatives by central differences, shape (..., D, S)."""
            apart = numbers.reshape(*numbers.shape[:-1], 2, dims, num_points)
            return (apart[..., 0, :, :] - apart[..., 1, :, :]) / (2.0 * STEP)

        slope = change(self._log_prior(moved)) + slopes.eps * change(moved.eps)
        slope = slope + np.einsum("ps,pds->ds", slopes.scale, change(moved.scale))
        if slopes.root is not None:
            root = change(correlation_root(self._equations.design, moved.partial))
            slope = slope + np.einsum("prs,prds->ds", slopes.root, root)
        value = log_density + self._log_prior(values)
        return np.where(self.coordinates.inside(points), value, -np.inf), slope.T

    def scales(self, points: np.ndarray) -> dict[str, np.ndarray]:
        """Return scales by site at points with positive coordinates, with the points first."""
        values, design = self.coordinates.values(points), self._equations.design
        scales, first = {"eps": values.eps}, 0
        if self._equations.size and design.intercept_varies:
            scales["sigma_alpha"], first = values.scale[0], 1
        if self._equations.size and design.slopes:
            scales["sigma_beta"] = values.scale[first:].T
        if len(values.partial):
            scales["correlation"] = correlation_of(correlation_root(design, values.partial))
        return scales

    def _arguments(self, values: ScaleValues, some: np.ndarray | slice) -> tuple[Any, ...]:
        """Return standard deviations, eps and roots of correlations at some of the points."""
        root = None
        if len(values.partial):
            root = correlation_root(self._equations.design, values.partial[:, some])
        return values.scale[:, some], values.eps[some], root

    def _log_prior(self, values: ScaleValues) -> np.ndarray:
        """Compute the log prior density of the scales in the coordinates, with the Jacobian."""
        log_prior = values.log_jacobian
        scales = [*np.abs(values.scale), values.eps][: len(self._families)]
        for family, scale in zip(self._families, scales, strict=True):
            log_prior = log_prior + family.log_density(scale)
        # 1 + z is twice a Beta(b, b) variable.
        normaliser = (2.0 * self._beta - 1.0) * np.log(2.0) + special.betaln(self._beta, self._beta)
        return log_prior + ((self._beta - 1.0) * values.log_gap - normaliser).sum(0)
