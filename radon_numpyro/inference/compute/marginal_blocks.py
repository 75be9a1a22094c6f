"""The log density of the outcomes at many scales, in blocks of points that fit into the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from radon_numpyro.gaussian.conditional import Population, PriorRows
from radon_numpyro.gaussian.marginal import Gradient, gradient, marginal
from radon_numpyro.gaussian.normal_equations import NormalEquations

# Maximum size of an array for a block of points: a few such arrays fit into the cache.
BLOCK = 2**14

Array = np.ndarray


class MarginalBlocks:
    """Computes the log density and its gradient in NumPy.

    Parameters
    ----------
    equations, prior
        The data, and the prior of the population coefficients.
    """

    def __init__(self, equations: NormalEquations, prior: PriorRows) -> None:
        self._equations, self._prior = equations, prior

    def at(self, scale: Array, eps: Array, root: Any) -> tuple[Array, Population]:
        """Compute the log density and the posterior of the population coefficients at S points.

        Parameters
        ----------
        scale
            Standard deviations of the columns that vary, shape (P, S).
        eps
            Residual standard deviations, shape (S,).
        root
            Roots of the correlations, shape (P, P, S), or None if the coefficients are independent.

        Returns
        -------
        log_density, population
            Shape (S,); and the mean, (Q, S), and Cholesky factor, (Q, Q, S), of the population
            coefficients.
        """
        size, num_columns = len(eps), self._equations.population.shape[1]
        log_density, mean = np.empty(size), np.empty((num_columns, size))
        factor = np.empty((num_columns, num_columns, size))
        step = max(1, BLOCK // max(self._equations.num_groups, 1))
        for first in range(0, size, step):
            some = slice(first, first + step)
            of_some = None if root is None else root[..., some]
            found = marginal(self._equations, scale[:, some], eps[some], self._prior, of_some)
            log_density[some] = found.log_density
            mean[:, some], factor[..., some] = found.population
        return log_density, Population(mean, factor)

    def with_gradient(self, scale: Array, eps: Array, root: Any) -> tuple[Array, Gradient]:
        """Compute the log density, shape (S,), and its derivatives in the scales."""
        found = marginal(self._equations, scale, eps, self._prior, root)
        return found.log_density, gradient(self._equations, found, self._prior)
