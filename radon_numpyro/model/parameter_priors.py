"""The prior of each single parameter, by its name in tables."""

from __future__ import annotations

from typing import NamedTuple

from radon_numpyro.data.design import Design
from radon_numpyro.model.coefficient_priors import columns_of_sites
from radon_numpyro.model.location_priors import PriorFamily
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors


class ParameterPrior(NamedTuple):
    """The prior of one parameter.

    Attributes
    ----------
    site
        Name of the site that holds the parameter.
    column
        Name of its column, or of its pair of columns, ``"Intercept, Days"``; None if the site is a
        single number.
    prior
        The prior of this parameter alone; for a correlation, its marginal prior.
    """

    site: str
    column: str | None
    prior: PriorFamily


def parameter_priors(model: Model, design: Design, priors: Priors) -> dict[str, ParameterPrior]:
    """Return the priors of the parameters whose prior depends on no other parameter.

    The keys are the names in tables, such as ``mu_alpha``, ``mu_beta[Days]`` and
    ``correlation[Intercept, Days]``. Locations come first, then scales and correlations.

    Parameters
    ----------
    model
        The model that has the parameters.
    design
        Which columns vary by group, and which do not.
    priors
        A ``Priors``.
    """
    found: dict[str, ParameterPrior] = {}
    columns = columns_of_sites(design)
    for site in model.top_level(design):
        prior = getattr(priors, site)
        if site == "correlation":
            for name, pair in zip(design.pair_names, design.pairs, strict=True):
                of_pair = prior.of_pair(design.block_size(pair))
                found[f"{site}[{name}]"] = ParameterPrior(site, name, of_pair)
        elif site in columns:
            for k, name in enumerate(columns[site]):
                found[f"{site}[{name}]"] = ParameterPrior(site, name, prior.component(k))
        else:
            found[site] = ParameterPrior(site, None, prior.component(0))
    return found
