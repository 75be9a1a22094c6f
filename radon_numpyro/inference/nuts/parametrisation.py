r"""The coordinates in which a sampler moves, and the transformations to and from them.

=================  ============================================================================
``"centered"``     the model as written
``"noncentered"``  :math:`\alpha_c = \mu_\alpha + \sigma_\alpha z_c` with z standard normal, and
                   slopes in the same way (Papaspiliopoulos, Roberts and Skold 2007,
                   doi:10.1214/088342307000000014)
``"marginal"``     only signed scales, partial correlations and eps; means and coefficients are
                   drawn exactly (``inference/nuts/coefficients.py``). For the individual and pooled
                   models this needs no sampler (``inference/inversion.py``)
=================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpyro import handlers
from numpyro.infer.reparam import LocScaleReparam

from radon_numpyro.gaussian.designs import by_design
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.inference.nuts.scales import latent_scales, scales
from radon_numpyro.model.priors import Priors
from radon_numpyro.model.regressions import (
    FUNCTIONS,
    ModelFunction,
    hierarchical,
    of_slopes,
)
from radon_numpyro.statistics.group_statistics import GroupStatistics

Sites = dict[str, Any]


@dataclass(frozen=True)
class Parametrisation:
    """A model in the coordinates of a sampler.

    Attributes
    ----------
    model
        NumPyro model of (data, priors), whose latent sites the sampler moves.
    latent
        The same model with or without its likelihood: a NumPyro model of (data, priors) with the
        same latent and deterministic sites. To trace it may take less time.
    data
        Function from sufficient statistics to the first argument of ``model``.
    reduced
        Function from data to smaller data with the same density.
    integrated_out
        Sites of the model as written that ``model`` does not have, because they are integrated out.
    to_sampler
        Function from values of the other sites of the model as written, and data, to values of the
        sites of ``model``. The first axis of all values may be one of draws.
    """

    model: ModelFunction
    latent: ModelFunction
    data: Callable[[GroupStatistics], Any]
    reduced: Callable[[Any], Any]
    integrated_out: frozenset[str]
    to_sampler: Callable[[Sites, Any], Sites]


def parametrisation(model: str, method: str) -> Parametrisation:
    """Return the parametrisation of a model by name.

    Parameters
    ----------
    model, method
        As in ``inference/settings.py``.
    """
    return _PARAMETRISATIONS[model, method]


def _same(values: Any, *_: Any) -> Any:
    return values


def _decentred_hierarchical(statistics: GroupStatistics, priors: Priors) -> None:
    config = {name: LocScaleReparam(centered=0) for name in ("alpha", "beta")}
    with handlers.reparam(config=config):
        hierarchical(statistics, priors)


def _decentre(values: Sites, data: GroupStatistics) -> Sites:
    out, design = dict(values), data.labels.design
    if "alpha" in out:
        mean, sd = (np.asarray(values.get(n, 0.0))[..., None] for n in ("mu_alpha", "sigma_alpha"))
        out["alpha_decentered"] = (out.pop("alpha") - mean) / sd
    if "beta" in out:
        mean = of_slopes(design, values.get("mu_beta"))[..., None, :]
        sd = values["sigma_beta"][..., None, :]
        out["beta_decentered"] = (out.pop("beta") - mean) / sd
    return out


def _signed_scales(values: Sites, *_: Any) -> Sites:
    # Each sign gives the same scale; chains start at the positive one and may change the sign.
    return {name.replace("sigma_", "signed_", 1): value for name, value in values.items()}


_NONE: frozenset[str] = frozenset()
_COEFFICIENTS = frozenset({"mu_alpha", "mu_beta", "gamma", "alpha", "beta"})
_PARAMETRISATIONS = {
    **{
        (name, "centered"): Parametrisation(function, function, _same, _same, _NONE, _same)
        for name, function in FUNCTIONS.items()
    },
    ("hierarchical", "noncentered"): Parametrisation(
        _decentred_hierarchical, _decentred_hierarchical, _same, _same, _NONE, _decentre
    ),
    ("hierarchical", "marginal"): Parametrisation(
        scales,
        latent_scales,
        NormalEquations.from_statistics,
        by_design,
        _COEFFICIENTS,
        _signed_scales,
    ),
}
