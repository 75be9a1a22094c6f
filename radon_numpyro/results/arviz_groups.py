r"""Groups that are added to a fit on request, with ArviZ's names, for ArviZ's functions.

========================  =====================================================================
group                     content
========================  =====================================================================
``prior``                 draws of every site from the prior
``prior_predictive``      ``y`` of each row for each of these draws
``posterior_predictive``  ``y`` of each row for each draw of the posterior
``log_likelihood``        log density of ``y`` by row, given the coefficients and eps of a draw
``log_prior``             log density of a draw under the prior of each top-level parameter
========================  =====================================================================

The first four come from NumPyro's ``Predictive`` and ``log_likelihood`` on the NumPyro models
(``model/regressions.py``). The top-level parameters are ``mu_*``, ``sigma_*``, ``correlation``,
``gamma`` and ``eps`` in the hierarchical model, and all sites in the other models.

``log_prior`` does not include the population :math:`N(\mu, \sigma)` of the hierarchical model.
Power-scaling tests how the posterior would change if the prior assumptions had more or less weight.
For the hyperparameters of the population, the coefficients act as data: raising the population
density to the power of 1.01 would have the effect of more groups.

References
----------
Kallioinen, Paananen, Buerkner and Vehtari (2024), Detecting and diagnosing prior and likelihood
sensitivity with power-scaling, doi:10.1007/s11222-023-10366-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import xarray as xr
from numpyro import distributions as dist
from numpyro import handlers
from numpyro.infer import Predictive, log_likelihood

from radon_numpyro.data.design import Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.inference.compute.programs import precision
from radon_numpyro.model.models import Site
from radon_numpyro.model.priors import Priors
from radon_numpyro.results.datatree import add_draws
from radon_numpyro.results.fit_reader import (
    has_coefficients,
    read_data,
    read_design,
    read_labels,
    read_model,
    read_priors,
)

GROUPS = ("prior", "prior_predictive", "posterior_predictive", "log_likelihood", "log_prior")


def with_groups(tree: xr.DataTree, *names: str, seed: int = 0) -> xr.DataTree:
    """Return a copy of a fit with more groups.

    Parameters
    ----------
    tree
        A fit with rows, new or loaded from a file. For ``log_prior``, a fit to statistics is
        sufficient.
    *names
        Names of the groups to add: ``"prior"``, ``"prior_predictive"``,
        ``"posterior_predictive"``, ``"log_likelihood"`` or ``"log_prior"``. Existing groups are
        replaced.
    seed
        Seed of the draws from the prior and of predictions.

    Returns
    -------
    xarray.DataTree
        The fit, which shares its arrays with ``tree``, and the new groups, with as many chains and
        draws as the posterior.

    Raises
    ------
    TypeError
        If ``tree`` is not a DataTree.
    ValueError
        If a name is unknown, the fit has statistics only, or ``posterior_predictive`` or
        ``log_likelihood`` is requested for a fit without draws of the coefficients.

    Examples
    --------
    >>> arviz.psense_summary(with_groups(tree, "log_prior", "log_likelihood"))  # doctest: +SKIP
    """
    unknown = [name for name in names if name not in GROUPS]
    if unknown or not names:
        raise ValueError(f"Expected names among {', '.join(GROUPS)}; got {unknown or 'none'}")
    labels = read_labels(tree)
    out = tree.copy()
    keys = dict(zip(("prior", "posterior"), jax.random.split(jax.random.key(seed)), strict=True))
    with precision("float64"):
        if "log_prior" in names:
            add_draws(out, "log_prior", _log_prior(tree), labels)
        if "prior" in names or "prior_predictive" in names:
            sites = _prior(tree, keys["prior"])
            y = {"y": sites.pop("y")}
            for name, values in (("prior", sites), ("prior_predictive", y)):
                if name in names:
                    add_draws(out, name, values, labels, seed=seed)
        if "posterior_predictive" in names:
            drawn = _posterior_predictive(tree, keys["posterior"])
            add_draws(out, "posterior_predictive", drawn, labels, seed=seed)
        if "log_likelihood" in names:
            add_draws(out, "log_likelihood", _log_likelihood(tree), labels)
    return out


def _sites(tree: xr.DataTree) -> dict[str, Site]:
    return read_model(tree).sites(read_labels(tree).design)


def _draws(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """Return draws of every site, shape (chains, draws, ...)."""
    posterior = tree["posterior"].to_dataset().transpose("chain", "draw", ...)
    names = [name for name in _sites(tree) if name in posterior]
    return {name: posterior[name].values.astype(np.float64) for name in names}


def _coefficients_too(tree: xr.DataTree, name: str) -> dict[str, np.ndarray]:
    draws = _draws(tree)
    if not has_coefficients(tree):
        raise ValueError(
            f"Expected a fit whose coefficients were drawn for {name}; got one that summarised "
            "them. Fit with coefficients='draws'"
        )
    return draws


def _without_outcome(tree: xr.DataTree) -> GroupedData:
    """Return the rows without the outcome, which the models then sample."""
    return replace(read_data(tree), y=None)  # type: ignore[arg-type]


def _log_prior(tree: xr.DataTree) -> dict[str, Any]:
    priors, draws = read_priors(tree), _draws(tree)
    sites = [name for name, site in _sites(tree).items() if site.is_top_level]
    plain = [name for name in sites if name != "correlation"]
    found = {s: getattr(priors, s).distribution().log_prob(draws[s]) for s in plain}
    if "correlation" in sites:
        found["correlation"] = _log_lkj(read_design(tree), priors, draws["correlation"])
    return found


def _log_lkj(design: Design, priors: Priors, draws: np.ndarray) -> Any:
    """Compute the log density of the blocks of a correlation matrix, shape (chains, draws)."""
    total = 0.0
    for block in design.correlated:
        places = [design.varying.index(name) for name in block]
        of_block = dist.LKJ(len(block), priors.correlation.concentration)
        total = total + of_block.log_prob(draws[..., places, :][..., places])
    return total


def _prior(tree: xr.DataTree, key: Any) -> dict[str, Any]:
    sizes = tree["posterior"].sizes
    shape = sizes["chain"], sizes["draw"]
    model = Predictive(read_model(tree).function, num_samples=shape[0] * shape[1])
    drawn = model(key, _without_outcome(tree), read_priors(tree))
    return {name: value.reshape(*shape, *value.shape[1:]) for name, value in drawn.items()}


def _posterior_predictive(tree: xr.DataTree, key: Any) -> Mapping[str, Any]:
    draws = _coefficients_too(tree, "posterior_predictive")
    model = Predictive(read_model(tree).function, draws, batch_ndims=2)
    drawn = model(key, _without_outcome(tree), read_priors(tree))
    # Correlations are functions of parameters, and belong to the posterior.
    return {"y": drawn["y"]}


def _log_likelihood(tree: xr.DataTree) -> Mapping[str, Any]:
    draws = _coefficients_too(tree, "log_likelihood")
    # A fit does not store partial correlations. They are drawn at random here, which has no effect
    # on the density of the outcome.
    model = handlers.seed(read_model(tree).function, 0)
    found: Mapping[str, Any] = log_likelihood(
        model, draws, read_data(tree), read_priors(tree), batch_ndims=2
    )
    return found
