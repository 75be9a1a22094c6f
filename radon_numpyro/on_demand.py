"""Groups of a fit that are made when they are wanted, so that ArviZ's functions run on it.

======================== =====================================================================
name                     adds
======================== =====================================================================
``prior``                ``prior`` and ``prior_predictive``: draws of the model without data
``posterior_predictive`` ``y`` of new measurements at the rows of the data
``log_likelihood``       log density of each row given its coefficients and eps
``log_prior``            log density of the draws under the model's own priors
======================== =====================================================================

``log_prior`` holds the top-level priors alone: of the means, the scales and eps in the hierarchical
model. The population distribution of alpha and beta is the part of the model that partial pooling
consists of; to scale its power would be to ask another question (Kallioinen, Paananen, Buerkner and
Vehtari 2024, Detecting and diagnosing prior and likelihood sensitivity with power-scaling,
doi:10.1007/s11222-023-10366-5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import xarray as xr
from numpyro.infer import Predictive, log_likelihood

from radon_numpyro.checks import suggest
from radon_numpyro.data import GroupedData
from radon_numpyro.inference_data import add_groups
from radon_numpyro.models import MODELS
from radon_numpyro.priors import Priors
from radon_numpyro.programs import precision
from radon_numpyro.reading import read_data, read_priors

GROUPS = ("prior", "posterior_predictive", "log_likelihood", "log_prior")
TOP_LEVEL = {
    "hierarchical": ("mu_alpha", "mu_beta", "sigma_alpha", "sigma_beta", "eps"),
    "individual": ("alpha", "beta", "eps"),
    "pooled": ("alpha", "beta", "eps"),
}
Draws = Mapping[str, np.ndarray]


def with_groups(tree: xr.DataTree, *names: str, seed: int = 0) -> xr.DataTree:
    """Add groups to a copy of a fit.

    Parameters
    ----------
    tree
        A fit with rows, its coefficients drawn.
    *names
        ``"prior"``, ``"posterior_predictive"``, ``"log_likelihood"``, ``"log_prior"``.
    seed
        Seed of what is drawn.

    Returns
    -------
    xarray.DataTree
        With as many draws and chains as the fit.

    Raises
    ------
    ValueError
        If a name is unknown, or the fit kept no rows or no draws of the coefficients.

    Examples
    --------
    >>> tree = with_groups(tree, "log_likelihood", "log_prior")  # doctest: +SKIP
    >>> arviz.psense_summary(tree)  # doctest: +SKIP
    """
    for name in names:
        if name not in GROUPS:
            hint = suggest(name, GROUPS)
            raise ValueError(f"Expected names among {', '.join(GROUPS)}; got {name!r} ({hint})")
    data, priors, model = read_data(tree), read_priors(tree), str(tree.attrs["model"])
    posterior = tree["posterior"].to_dataset()
    if "alpha" not in posterior:
        raise ValueError(
            "Expected draws of the coefficients; got a fit that kept none: fit with "
            "coefficients='draws'"
        )
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    draws = {
        name: values.transpose("chain", "draw", ...).values.reshape(-1, *values.shape[2:])
        for name, values in posterior.items()
    }
    contents: dict[str, dict[str, Any]] = {}
    with precision("float64"):
        prior_key, posterior_key = jax.random.split(jax.random.key(seed))
        if "prior" in names:
            drawn = _draw_prior(prior_key, model, data, priors, int(np.prod(shape)))
            contents["prior_predictive"] = {"y": drawn.pop("y")}
            contents["prior"] = drawn
        if "posterior_predictive" in names:
            unseen = replace(data, y=None)  # type: ignore[arg-type]
            predictive = Predictive(MODELS[model], dict(draws), batch_ndims=1)
            contents["posterior_predictive"] = {"y": predictive(posterior_key, unseen, priors)["y"]}
        if "log_likelihood" in names:
            contents["log_likelihood"] = dict(
                log_likelihood(MODELS[model], dict(draws), data, priors, batch_ndims=1)
            )
        if "log_prior" in names:
            contents["log_prior"] = {
                name: getattr(priors, name).distribution().log_prob(draws[name])
                for name in TOP_LEVEL[model]
                if name in draws
            }
    arrays = {
        group: {
            name: np.asarray(values).reshape(*shape, *np.shape(values)[1:])
            for name, values in sites.items()
        }
        for group, sites in contents.items()
    }
    return add_groups(tree, arrays, data.labels)


def _draw_prior(
    key: Any, model: str, data: GroupedData, priors: Priors, num_draws: int
) -> dict[str, Any]:
    unseen = replace(data, y=None)  # type: ignore[arg-type]
    predictive = Predictive(MODELS[model], num_samples=num_draws)
    return dict(predictive(key, unseen, priors))
