"""The Normal priors of the population coefficients, in the order used by ``gaussian/``."""

from __future__ import annotations

from typing import Any

import numpy as np

from radon_numpyro.data.design import Design
from radon_numpyro.data.pytrees import namespace
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors


def population_priors(priors: Priors, design: Design, of: Model) -> tuple[Any, Any]:
    """Return the prior means and standard deviations of the population coefficients.

    Parameters
    ----------
    priors
        For the hierarchical model, ``mu_alpha``, ``mu_beta`` and ``gamma`` are used; for the other
        models, ``alpha``, ``beta`` and ``gamma``.
    design
        The columns of the model.
    of
        The model.

    Returns
    -------
    loc, scale
        Shape (Q,), in the order: the intercept and the slopes that vary about a mean, then the
        columns that do not vary.

    Raises
    ------
    ValueError
        If the prior of ``gamma`` is missing, or a prior has the wrong number of entries.
    """
    intercept, slopes = ("mu_alpha", "mu_beta") if of.population else ("alpha", "beta")
    parts = [(intercept, int(design.has_mean_intercept))]
    parts += [(slopes, len(design.means)), ("gamma", len(design.fixed))]
    columns: dict[str, list[Any]] = {"loc": [], "scale": []}
    for name, size in parts:
        prior = getattr(priors, name)
        if not size:
            continue
        if prior is None:
            raise ValueError(
                f"Expected priors to have {name}, for {', '.join(design.fixed)}; got None"
            )
        for parameter, values in columns.items():
            values.append(_of_size(getattr(prior, parameter), size, f"{parameter} of {name}"))
    loc, scale = (_joined(values) for values in columns.values())
    return loc, scale


def _of_size(value: Any, size: int, what: str) -> Any:
    shape = np.shape(value)
    if shape not in ((), (size,)):
        raise ValueError(f"Expected {what} to have shape () or ({size},); got {shape}")
    return namespace(value).broadcast_to(value, (size,))


def _joined(values: list[Any]) -> Any:
    return namespace(*values).concatenate([*values, np.zeros(0)])
