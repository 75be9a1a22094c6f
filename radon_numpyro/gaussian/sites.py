"""Conversion of the coefficients of the algebra to sites of the model, for NumPy and JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from radon_numpyro.data.pytrees import namespace
from radon_numpyro.gaussian.normal_equations import NormalEquations


def population_sites(equations: NormalEquations, relative: Any) -> dict[str, Any]:
    """Return the population coefficients by site.

    Parameters
    ----------
    equations
        The data.
    relative
        Population coefficients relative to the pooled fit, shape (Q, ...).

    Returns
    -------
    dict
        ``mu_alpha`` (...), ``mu_beta`` (K, ...) and ``gamma`` (F, ...) in the units of the model;
        sites that the design does not have are absent.
    """
    design, coefficients = equations.design, equations.to_model(relative)
    first, slopes = int(design.has_mean_intercept), len(design.means)
    sites = {"mu_alpha": coefficients[0]} if first else {}
    sites |= {"mu_beta": coefficients[first : first + slopes]} if slopes else {}
    return sites | ({"gamma": coefficients[first + slopes :]} if design.fixed else {})


def group_sites(
    equations: NormalEquations, population: Mapping[str, Any], off: Any
) -> dict[str, Any]:
    """Return the coefficients of the groups by site.

    Parameters
    ----------
    equations
        The data.
    population
        From :func:`population_sites`.
    off
        Deviations from the population, shape (P, ..., C).

    Returns
    -------
    dict
        ``alpha`` (..., C) and ``beta`` (..., C, K); a site that does not vary is absent.
    """
    design, xp = equations.design, namespace(off)
    first, sites = int(design.intercept_varies), {}
    if first:
        mean = population.get("mu_alpha")
        sites["alpha"] = off[0] if mean is None else mean[..., None] + off[0]
    if design.slopes:
        slopes = off[first:]
        known = [k for k, name in enumerate(design.slopes) if name in design.means]
        if known:
            means = xp.tensordot(np.eye(len(design.slopes))[:, known], population["mu_beta"], 1)
            slopes = means[..., None] + slopes
        sites["beta"] = xp.moveaxis(slopes, 0, -1)
    return sites
