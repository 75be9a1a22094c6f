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
    to_sampler
        Function from values of the sites of the model as written, and data, to values of the sites
        of ``model``.
    """

    model: ModelFunction
    latent: ModelFunction
    data: Callable[[GroupStatistics], Any]
    reduced: Callable[[Any], Any]
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
    out, means = dict(values), {"alpha": values.get("mu_alpha", 0.0)}
    means["beta"] = of_slopes(data.labels.design, values.get("mu_beta"))
    for name, mean in means.items():
        if name in out:
            out[f"{name}_decentered"] = (out.pop(name) - mean) / out[f"sigma_{name}"]
    return out


def _signed_scales(values: Sites, data: Any) -> Sites:
    # Each sign gives the same scale; chains start at the positive one and may change the sign.
    renamed = {"signed_alpha": "sigma_alpha", "signed_beta": "sigma_beta"}
    renamed |= {name: name for name in ("partial_correlation", "eps")}
    return {new: values[old] for new, old in renamed.items() if old in values}


_PARAMETRISATIONS = {
    **{
        (name, "centered"): Parametrisation(function, function, _same, _same, _same)
        for name, function in FUNCTIONS.items()
    },
    ("hierarchical", "noncentered"): Parametrisation(
        _decentred_hierarchical, _decentred_hierarchical, _same, _same, _decentre
    ),
    ("hierarchical", "marginal"): Parametrisation(
        scales, latent_scales, NormalEquations.from_statistics, by_design, _signed_scales
    ),
}
