r"""Means and standard deviations of the coefficients of groups, averaged over draws of the scales.

.. math:: E[\theta_c] = \overline{E[\theta_c \mid s]}, \qquad
          \mathrm{var}[\theta_c] = \overline{\mathrm{var}[\theta_c \mid s]}
          + \mathrm{var}(E[\theta_c \mid s])

where averages and variances are over the draws s (Rao-Blackwell). This needs no draws of the
coefficients, which may not fit in memory.

References
----------
Gelfand and Smith (1990), Sampling-based approaches to calculating marginal densities,
doi:10.1080/01621459.1990.10476213.
"""

from __future__ import annotations

import numpy as np

from radon_numpyro.gaussian import mixtures
from radon_numpyro.gaussian.conditional import Population
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import (
    Scales,
    fitting,
    hierarchical_terms,
    prediction,
)

# Minimum and maximum number of draws that are worth averaging, and maximum of groups times draws.
# The more groups there are, the less their coefficients differ between draws of the scales.
FEWEST_DRAWS, MOST_DRAWS, WORK = 64, 512, 2**23


def draws_to_average(num_draws: int, num_groups: int) -> int:
    """Return the number of draws of the scales to average over: 512, or 64 for very many groups.

    Parameters
    ----------
    num_draws
        Number of draws that there are.
    num_groups
        Number of groups.
    """
    affordable = np.clip(WORK // max(num_groups, 1), FEWEST_DRAWS, MOST_DRAWS)
    return min(int(affordable), num_draws)


def coefficient_moments(
    equations: NormalEquations, scales: Scales, population: Population
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Compute the posterior mean and standard deviation of alpha and beta without drawing them.

    Parameters
    ----------
    equations
        The data, with an entry for each group.
    scales
        S draws of the scales of the hierarchical model, as in ``gaussian/predictive.py``.
    population
        Posterior of the population coefficients given each draw of the scales.

    Returns
    -------
    dict
        ``(mean, sd)`` of alpha, shape (C,), and of beta, shape (C, K), in the units of the
        coefficients.
    """
    # Blocks of an eighth of what memory allows suit the caches.
    step = max(1, fitting(len(scales["eps"]), equations) // 8)
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
