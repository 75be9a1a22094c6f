r"""The individual model without a Markov chain: each group's posterior is one-dimensional.

With the coefficients integrated out (``marginal.py``) a group has one unknown, its residual
standard deviation :math:`\epsilon_c`. Its distribution function is computed on a grid of
:math:`\log\epsilon` and inverted, all groups at once, so draws are independent and the tails
are right: with one degree of freedom the density falls as :math:`1/\epsilon` all the way to the
prior's bound, which a chain explores slowly and this does not feel. Where eps is its prior, the
lowest 1e-5 of the prior's range is left out. The coefficients are Normal given
:math:`\epsilon_c`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radon_numpyro.checks import first_few
from radon_numpyro.marginal import NormalEquations, individual_log_density
from radon_numpyro.priors import Priors, Uniform

GRID = 2048
LOG_RANGE = 12.0
NEGLIGIBLE = 60.0


def draw_eps(
    rng: np.random.Generator, equations: NormalEquations, priors: Priors, num_draws: int
) -> np.ndarray:
    """Independent draws of each group's residual standard deviation.

    Parameters
    ----------
    rng
        Source of the uniforms.
    equations
        The data, in float64.
    priors
        ``alpha``, ``beta`` and ``eps`` are used.
    num_draws
        Draws of each group, S.

    Returns
    -------
    array
        Shape (S, C), in the unit of y.

    Raises
    ------
    ValueError
        If a group with more rows than identified coefficients is fitted exactly: then the
        density has no finite integral near 0.
    """
    log_eps, cdf = _distribution(equations, priors)
    uniforms = rng.uniform(size=(num_draws, cdf.shape[1]))
    draws = [np.interp(uniforms[:, c], cdf[:, c], log_eps[:, c]) for c in range(cdf.shape[1])]
    return np.exp(np.column_stack(draws))


def residual_freedom(equations: NormalEquations) -> tuple[np.ndarray, np.ndarray]:
    """Rows less identified coefficients of each group, and its least residual sum of squares.

    Parameters
    ----------
    equations
        The data, in float64.

    Returns
    -------
    freedom, rss
        Shapes (C,). Where there is freedom but no residual, eps has no proper posterior.
    """
    gram, moment = np.moveaxis(equations.gram, -1, 0), equations.moment.T
    rank = np.linalg.matrix_rank(gram, hermitian=True)
    fitted = np.einsum("cpq,cq->cp", np.linalg.pinv(gram, hermitian=True), moment)
    rss = equations.rss - (fitted * moment).sum(-1)
    exact = rss <= 1e-12 * np.maximum(equations.rss, np.finfo(float).tiny)
    return equations.count - rank, np.where(exact, 0.0, rss)


def _distribution(equations: NormalEquations, priors: Priors) -> tuple[np.ndarray, np.ndarray]:
    """Grid of log eps and its distribution function, shapes (GRID, C)."""
    lower, upper = _range(equations, priors)
    # A second grid covers only where the first found mass: narrow posteriors are resolved too.
    for _ in range(2):
        grid = np.linspace(lower, upper, GRID)
        density = _log_density(equations, priors, grid)
        density -= density.max(axis=0)
        inside = density > -NEGLIGIBLE
        first = np.maximum(inside.argmax(axis=0) - 1, 0)
        last = np.minimum(GRID - inside[::-1].argmax(axis=0), GRID - 1)
        groups = np.arange(grid.shape[1])
        lower, upper = grid[first, groups], grid[last, groups]
    weight = np.exp(density)
    cells = 0.5 * (weight[1:] + weight[:-1]) * np.diff(grid, axis=0)
    cdf = np.concatenate([np.zeros((1, cells.shape[1])), np.cumsum(cells, axis=0)])
    return grid, cdf / cdf[-1]


def _log_density(equations: NormalEquations, priors: Priors, log_eps: np.ndarray) -> Any:
    """Posterior log density of log eps, up to a constant."""
    eps = np.exp(log_eps)
    prior = 0.0 if isinstance(priors.eps, Uniform) else -0.5 * (eps / priors.eps.scale) ** 2
    return individual_log_density(equations, eps, priors) + prior + log_eps


def _range(equations: NormalEquations, priors: Priors) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of log eps outside which a group's posterior has no mass."""
    freedom, rss = residual_freedom(equations)
    overfitted = np.flatnonzero((freedom > 0) & (rss == 0.0))
    if overfitted.size:
        raise ValueError(
            "Expected the outcomes of each group to leave a residual; got an exact fit of more "
            f"rows than coefficients in groups {first_few(overfitted.tolist())} (by position): "
            "eps has no proper posterior there"
        )
    if isinstance(priors.eps, Uniform):
        upper = np.log(priors.eps.high)
    else:
        upper = np.log(priors.eps.scale) + np.log(np.sqrt(2.0 * NEGLIGIBLE))
    lower = np.full(len(rss), upper - LOG_RANGE)
    squared = np.where(freedom > 0, rss, 1.0) / (20.0 * NEGLIGIBLE)
    lower = np.where(freedom > 0, np.maximum(lower, 0.5 * np.log(squared)), lower)
    return np.minimum(lower, upper - 1e-3), np.full(len(rss), upper)
