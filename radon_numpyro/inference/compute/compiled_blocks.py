"""The log density of the outcomes at many scales, in blocks that JAX compiles for a device.

The programs call the same functions as ``marginal_blocks.py``. Each block has a fixed number of
points, so that the density and its gradient are compiled once each. Missing points are filled with
copies of the last one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from radon_numpyro.gaussian.conditional import Population, PriorRows
from radon_numpyro.gaussian.marginal import Gradient, gradient, marginal
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.compute.devices import computing_on, current
from radon_numpyro.inference.compute.programs import Program, precision, program

# Maximum number of values of an array of a block, and of its points.
BLOCK, MOST_POINTS = 2**25, 512

Array = np.ndarray


class CompiledBlocks:
    """Computes the log density and its gradient in JAX, in float64.

    Parameters
    ----------
    equations, prior
        The data, and the prior of the population coefficients.
    device
        ``"cpu"`` or ``"gpu"``.

    Raises
    ------
    ValueError
        If JAX does not see such a device.
    """

    def __init__(self, equations: NormalEquations, prior: PriorRows, device: str) -> None:
        self._device = device
        # Names are static: each set of them would need its own compilation.
        equations = replace(equations, design=equations.design.anonymous())
        with computing_on(device), precision("float64"):
            # The data are copied to the device once, not with each block.
            self._data = jax.device_put((equations, prior), current())
        affordable = max(BLOCK // equations.work, 1)
        self._points = min(1 << affordable.bit_length() - 1, MOST_POINTS)

    def at(self, scale: Array, eps: Array, root: Any) -> tuple[Array, Population]:
        """Compute as ``MarginalBlocks.at``."""
        log_density, mean, factor = self._in_blocks(_density, self._points, scale, eps, root)
        return log_density, Population(mean, factor)

    def with_gradient(self, scale: Array, eps: Array, root: Any) -> tuple[Array, Gradient]:
        """Compute as ``MarginalBlocks.with_gradient``."""
        # The search for the mode asks for one point, or for two points a coordinate.
        size = len(scale)
        most_dims = size + 1 + (0 if root is None else size * (size - 1) // 2)
        points = min(2 * most_dims, self._points)
        log_density, *slopes = self._in_blocks(_with_gradient, points, scale, eps, root)
        return log_density, Gradient(*slopes)

    def _in_blocks(self, compute: Program, points: int, *arguments: Any) -> list[Any]:
        """Map a program over blocks of points, which are the last axis of each array."""
        size = len(arguments[1])
        found = []
        with computing_on(self._device), precision("float64"):
            for first in range(0, size, points):
                # Positions after the last point repeat it.
                some = np.minimum(np.arange(first, first + points), size - 1)
                block = jax.tree.map(lambda array, some=some: array[..., some], arguments)
                found.append(compute(*self._data, *block))
            parts = [jax.tree.map(np.asarray, part) for part in found]
        return list(jax.tree.map(lambda *p: np.concatenate(p, axis=-1)[..., :size], *parts))


@program()
def _density(
    equations: NormalEquations, prior: PriorRows, scale: Any, eps: Any, root: Any
) -> tuple[Any, ...]:
    found = marginal(equations, scale, eps, prior, root)
    return found.log_density, *found.population


@program()
def _with_gradient(
    equations: NormalEquations, prior: PriorRows, scale: Any, eps: Any, root: Any
) -> tuple[Any, ...]:
    found = marginal(equations, scale, eps, prior, root)
    return found.log_density, *gradient(equations, found, prior)
