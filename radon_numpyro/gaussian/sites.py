"""Coefficients of the algebra as sites of the hierarchical model, for NumPy and for JAX."""

from __future__ import annotations

from typing import Any

import numpy as np

from radon_numpyro.gaussian.normal_equations import NormalEquations


def population_sites(equations: NormalEquations, relative: Any) -> dict[str, Any]:
    """Population coefficients by site.

    Parameters
    ----------
    equations
        The data.
    relative
        Relative to the pooled fit, shape (Q,).
    """
    design, coefficients = equations.design, equations.to_model(relative)
    first, slopes = int(design.has_mean_intercept), len(design.means)
    sites = {"mu_alpha": coefficients[0]} if first else {}
    sites |= {"mu_beta": coefficients[first : first + slopes]} if slopes else {}
    return sites | ({"gamma": coefficients[first + slopes :]} if design.fixed else {})


def group_sites(equations: NormalEquations, population: dict[str, Any], off: Any) -> dict[str, Any]:
    """Coefficients of the groups by site.

    Parameters
    ----------
    equations
        The data.
    population
        From :func:`population_sites`.
    off
        Deviations from the population, shape (P, C).
    """
    design = equations.design
    first, sites = int(design.intercept_varies), {}
    if first:
        sites["alpha"] = population.get("mu_alpha", 0.0) + off[0]
    if design.slopes:
        known = [k for k, name in enumerate(design.slopes) if name in design.means]
        means = np.eye(len(design.slopes))[:, known] @ population["mu_beta"] if known else 0.0
        sites["beta"] = means + off[first:].T
    return sites
