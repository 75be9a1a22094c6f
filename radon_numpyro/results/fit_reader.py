"""Read the parts of a fit from its DataTree, new or loaded from a file.

Numbers are returned exactly. Labels of groups are returned as the tree stores them: integers as
integers, all others as text. Of a correlation matrix, which has each correlation twice, each pair
is read once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from radon_numpyro.data.centers import Centers
from radon_numpyro.data.checks import read_only
from radon_numpyro.data.design import Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.labels import Labels
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import STATISTICS, WEIGHTS, GroupStatistics


def read_labels(tree: xr.DataTree) -> Labels:
    """Return the names of the columns and the labels of the groups.

    Parameters
    ----------
    tree
        A fit.

    Raises
    ------
    TypeError, ValueError
        If ``tree`` is not a fit.
    """
    constants = _constants(tree)
    groups = constants[constants["count"].dims[0]].values.tolist()
    predictors = tuple(json.loads(tree.attrs["predictors"]))
    names = tree.attrs["outcome"], predictors, tree.attrs["group"], tuple(groups)
    return Labels(*names, design=read_design(tree))


def read_design(tree: xr.DataTree) -> Design:
    """Return which columns vary by group. In fits of versions before 0.2, all columns do.

    Parameters
    ----------
    tree
        A fit.
    """
    if "design" not in tree.attrs:
        return Design.all_varying(tuple(json.loads(tree.attrs["predictors"])))
    return Design.from_dict(json.loads(tree.attrs["design"]))


def read_statistics(tree: xr.DataTree) -> GroupStatistics:
    """Return the sufficient statistics that were fitted.

    Parameters
    ----------
    tree
        A fit.

    Raises
    ------
    TypeError, ValueError
        If ``tree`` is not a fit.
    """
    constants, labels = _constants(tree), read_labels(tree)
    c, k = len(labels.groups), len(labels.predictors)
    # A tree without predictors has no empty arrays, because netCDF does not store them.
    empty = {"mean_x": (c, 0), "sxx": (c, 0, 0), "sxy": (c, 0)} if k == 0 else {}
    values: dict[str, Any] = {
        name: np.zeros(empty[name]) if name in empty else _numbers(constants[name])
        for name in (*STATISTICS, *WEIGHTS)
        if name in empty or name in constants
    }
    return GroupStatistics(**values, labels=labels, **_of_rows(tree))


def read_data(tree: xr.DataTree) -> GroupedData:
    """Return the rows that were fitted.

    Parameters
    ----------
    tree
        A fit with rows.

    Raises
    ------
    TypeError, ValueError
        If ``tree`` is not a fit, or was fitted to statistics only.
    """
    constants, labels = _constants(tree), read_labels(tree)
    if "observed_data" not in tree.children:
        raise ValueError("Expected a fit with rows; got one of statistics only")
    y = _numbers(tree["observed_data"].to_dataset()["y"])
    x = _numbers(constants["x"]) if labels.predictors else np.empty((len(y), 0))
    weights: dict[str, Any] = {
        name: read_only(_numbers(constants[name]))
        for name in ("weights", "se")
        if name in constants
    }
    return GroupedData(
        y=read_only(y),
        x=read_only(x),
        group=read_only(constants["group_index"].values.astype(np.int32)),
        labels=labels,
        **weights,
        **_of_rows(tree),
    )


def read_model(tree: xr.DataTree) -> Model:
    """Return the model of a fit.

    Parameters
    ----------
    tree
        A fit.

    Raises
    ------
    ValueError
        If the model is not one of this package.
    """
    return Model.named(tree.attrs["model"])


def read_priors(tree: xr.DataTree) -> Priors:
    """Return the priors of a fit.

    Parameters
    ----------
    tree
        A fit.

    Raises
    ------
    TypeError, ValueError
        If ``tree`` is not a fit.
    """
    _constants(tree)
    return Priors.from_json(tree.attrs["priors"])


def read_scales(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """Return draws of scales and correlations in the form for ``gaussian/predictive.py``.

    Parameters
    ----------
    tree
        A fit.

    Returns
    -------
    dict
        Arrays of float64 with S draws of all chains on the first axis: ``sigma_alpha`` (S,),
        ``sigma_beta`` (S, K) and ``correlation`` (S, P, P) if the model has them, and ``eps``, (S,)
        or (S, C), which is 1 if the standard errors of the rows are known.

    Raises
    ------
    TypeError, ValueError
        If ``tree`` is not a fit.
    """
    labels, model = read_labels(tree), read_model(tree)
    scales = read_draws(tree, model.scales(labels.design))
    if labels.design.known_errors:
        own = (len(labels.groups),) if model.eps_by_group else ()
        scales["eps"] = np.ones((num_draws(tree), *own))
    return scales


def read_weighted_scales(tree: xr.DataTree) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the scales over which posterior averages are computed, and their weights.

    Parameters
    ----------
    tree
        A fit.

    Returns
    -------
    scales, weights
        The nodes of an integration with weights above 0, or else the draws with equal weights. The
        scales are as in :func:`read_scales`; the weights have shape (S,) and sum to 1.

    Raises
    ------
    TypeError, ValueError
        If ``tree`` is not a fit.
    """
    if "nodes" not in tree.children:
        scales = read_scales(tree)
        return scales, np.full(num_draws(tree), 1.0 / num_draws(tree))
    design, nodes = read_design(tree), tree["nodes"].to_dataset().transpose("node", ...)
    weights = nodes["weight"].values.astype(np.float64)
    sites = [name for name in read_model(tree).scales(design) if name in nodes]
    scales = {name: _numbers(nodes[name])[weights > 0] for name in sites}
    weights = weights[weights > 0]
    if design.known_errors:
        scales["eps"] = np.ones(len(weights))
    return scales, weights / weights.sum()


def num_draws(tree: xr.DataTree) -> int:
    """Return the number of draws of all chains, S.

    Parameters
    ----------
    tree
        A fit.
    """
    sizes = tree["posterior"].sizes
    return int(sizes["chain"] * sizes["draw"])


def read_draws(tree: xr.DataTree, sites: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the draws of sites, with all chains on one axis.

    Parameters
    ----------
    tree
        A fit.
    sites
        Names of sites; those that the fit does not have are left out.

    Returns
    -------
    dict
        Draws by site, float64 of shape (S, ...), where S is chains times draws.
    """
    posterior = tree["posterior"].to_dataset()
    draws = {
        name: _numbers(posterior[name].transpose("chain", "draw", ...))
        for name in sites
        if name in posterior
    }
    return {name: values.reshape(-1, *values.shape[2:]) for name, values in draws.items()}


def read_coefficients(tree: xr.DataTree, groups: Any = slice(None)) -> np.ndarray:
    """Return draws of the coefficients that vary by group, with all chains on one axis.

    Parameters
    ----------
    tree
        A fit with draws of the coefficients.
    groups
        Codes of G groups; default all. The pooled model has one group.

    Returns
    -------
    array
        Float64 of shape (S, G, P), in the order of ``design.varying``. In the pooled model,
        coefficients without a mean are 0.
    """
    design = read_design(tree)
    names = ("alpha",) * design.intercept_varies + ("beta",) * bool(design.slopes)
    group = tree["constant_data"]["count"].dims[0]
    parts = []
    for name in names:
        if name not in tree["posterior"]:
            # In the pooled model, a column without a mean has no coefficient.
            continue
        values = tree["posterior"][name].transpose(
            "chain", "draw", group, ..., missing_dims="ignore"
        )
        by_group = group in values.dims
        draws = _numbers(values.isel({group: groups}) if by_group else values)
        draws = draws if by_group else draws[:, :, None]
        parts.append(draws[..., None] if name == "alpha" else draws)
    sizes = tree["posterior"].sizes
    num_groups = parts[0].shape[2] if parts else 1
    none = np.empty((sizes["chain"], sizes["draw"], num_groups, 0))
    out = np.concatenate([none, *parts], axis=-1)
    if out.shape[-1] < len(design.varying):
        known = [name in design.population for name in design.varying]
        full = np.zeros((*out.shape[:-1], len(design.varying)))
        full[..., known] = out
        out = full
    return out.reshape(-1, *out.shape[2:])


def read_population(tree: xr.DataTree) -> np.ndarray:
    """Return draws of the population coefficients, with all chains on one axis.

    Parameters
    ----------
    tree
        A fit of the hierarchical or the pooled model.

    Returns
    -------
    array
        Float64 of shape (S, Q), in the order: the intercept and the slopes that vary about a mean,
        then the columns that do not vary.
    """
    mean = "mu_" if read_model(tree).population else ""
    draws = read_draws(tree, (f"{mean}alpha", f"{mean}beta", "gamma"))
    none = np.empty((num_draws(tree), 0))
    return np.column_stack([none, *draws.values()])


def has_coefficients(tree: xr.DataTree) -> bool:
    """Return whether a fit has draws of the coefficients of groups, not only summaries.

    Parameters
    ----------
    tree
        A fit.
    """
    sites = read_model(tree).sites(read_design(tree))
    return all(name in tree["posterior"] for name, s in sites.items() if not s.is_top_level)


def _constants(tree: Any) -> xr.Dataset:
    if not isinstance(tree, xr.DataTree):
        raise TypeError(f"Expected tree to be an xarray DataTree; got {type(tree).__name__}")
    if "model" not in tree.attrs or "constant_data" not in tree.children:
        raise ValueError(
            "Expected tree to be a fit of this package; got one without the model among its "
            f"attributes or without constant_data; groups: {sorted(tree.children)}"
        )
    return tree["constant_data"].to_dataset()


def read_centers(tree: xr.DataTree) -> Centers:
    """Return the centred predictors of a fit, with the values that were subtracted.

    Parameters
    ----------
    tree
        A fit.
    """
    return tuple(json.loads(tree.attrs.get("centers", "{}")).items())


def _of_rows(tree: xr.DataTree) -> dict[str, Any]:
    """Return the fields of data that describe their rows."""
    left_out = json.loads(tree.attrs["left_out"])
    return {
        "left_out": tuple((reason, count) for reason, count in left_out),
        "lost_groups": tuple(json.loads(tree.attrs.get("lost_groups", "[]"))),
        "centers": read_centers(tree),
        "formula": str(tree.attrs.get("formula", "")),
        "notes": tuple(json.loads(tree.attrs.get("notes", "[]"))),
    }


def _numbers(values: xr.DataArray) -> np.ndarray:
    return values.values.astype(np.float64)


def correlations(design: Design, draws: np.ndarray) -> dict[str, np.ndarray]:
    """Return draws (S,) of each correlation by its name, ``correlation[Intercept, Days]``.

    Parameters
    ----------
    design
        Which coefficients vary, and which of them correlate.
    draws
        Correlation matrices, shape (S, P, P).
    """
    return {
        f"correlation[{name}]": draws[:, i, j]
        for name, (i, j) in zip(design.pair_names, design.pairs, strict=True)
    }


def pairs_alone(posterior: xr.Dataset, design: Design) -> xr.Dataset:
    """Return a posterior whose ``correlation`` has one entry for each pair, with dim ``pair``.

    Parameters
    ----------
    posterior
        Draws of the sites.
    design
        Which coefficients vary, and which of them correlate.
    """
    if "correlation" not in posterior:
        return posterior
    values = posterior["correlation"].transpose("chain", "draw", ...).values
    rows, columns = np.array(design.pairs).T
    pairs = xr.DataArray(
        values[..., rows, columns],
        dims=("chain", "draw", "pair"),
        coords={"pair": list(design.pair_names)},
    )
    others = posterior.drop_vars(["correlation"])
    unused = [dim for dim in posterior["correlation"].dims if dim not in others.dims]
    return others.drop_vars(unused, errors="ignore").assign(correlation=pairs)
