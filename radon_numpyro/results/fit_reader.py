"""What a fit was made of, read back from its DataTree, fresh or loaded from a file.

Numbers come back to the last digit. Labels of groups come back as the tree keeps them: integers
as integers, all others as text.
A matrix of correlations is read pair by pair, since it has each of them twice.
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
    """Names of the columns and labels of the groups.

    Parameters
    ----------
    tree
        A fit.

    Raises
    ------
    TypeError, ValueError
        If it is something else.
    """
    constants = _constants(tree)
    groups = constants[constants["count"].dims[0]].values.tolist()
    predictors = tuple(json.loads(tree.attrs["predictors"]))
    names = tree.attrs["outcome"], predictors, tree.attrs["group"], tuple(groups)
    return Labels(*names, design=read_design(tree))


def read_design(tree: xr.DataTree) -> Design:
    """Which columns vary by group; in fits of versions before 0.2 all did.

    Parameters
    ----------
    tree
        A fit.
    """
    if "design" not in tree.attrs:
        return Design.all_varying(tuple(json.loads(tree.attrs["predictors"])))
    return Design.from_dict(json.loads(tree.attrs["design"]))


def read_statistics(tree: xr.DataTree) -> GroupStatistics:
    """The sufficient statistics that were fitted.

    Parameters
    ----------
    tree
        A fit.

    Raises
    ------
    TypeError, ValueError
        If it is something else.
    """
    constants, labels = _constants(tree), read_labels(tree)
    c, k = len(labels.groups), len(labels.predictors)
    # Without predictors a tree has no empty arrays, which netCDF does not keep.
    empty = {"mean_x": (c, 0), "sxx": (c, 0, 0), "sxy": (c, 0)} if k == 0 else {}
    values: dict[str, Any] = {
        name: np.zeros(empty[name]) if name in empty else _numbers(constants[name])
        for name in (*STATISTICS, *WEIGHTS)
        if name in empty or name in constants
    }
    return GroupStatistics(**values, labels=labels, **_of_rows(tree))


def read_data(tree: xr.DataTree) -> GroupedData:
    """The rows that were fitted.

    Parameters
    ----------
    tree
        A fit with rows.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or saw statistics only.
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
    """The model of the fit.

    Parameters
    ----------
    tree
        A fit.

    Raises
    ------
    ValueError
        If it names no model of this package.
    """
    return Model.named(tree.attrs["model"])


def read_priors(tree: xr.DataTree) -> Priors:
    """The priors of the fit.

    Parameters
    ----------
    tree
        A fit.

    Raises
    ------
    TypeError, ValueError
        If it is something else.
    """
    _constants(tree)
    return Priors.from_json(tree.attrs["priors"])


def read_scales(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """Draws of scales and correlations, as ``gaussian/predictive.py`` takes them.

    Parameters
    ----------
    tree
        A fit.

    Returns
    -------
    dict
        Those of ``sigma_alpha`` (S,) and ``sigma_beta`` (S, K) that the hierarchical model has,
        ``correlation`` (S, P, P) of those that correlate, and ``eps``, (S,) or (S, C), ones where
        the standard errors of the rows are known, in float64; all chains in one axis.

    Raises
    ------
    TypeError, ValueError
        If it is something else.
    """
    labels, model = read_labels(tree), read_model(tree)
    scales = read_draws(tree, model.scales(labels.design))
    if labels.design.known_errors:
        own = (len(labels.groups),) if model.eps_by_group else ()
        scales["eps"] = np.ones((num_draws(tree), *own))
    return scales


def read_weighted_scales(tree: xr.DataTree) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Scales that averages over the posterior are taken over, and their weights.

    Parameters
    ----------
    tree
        A fit.

    Returns
    -------
    scales, weights
        The nodes of an integration, of weights above 0, or else the draws, which weigh the same: as
        in :func:`read_scales`, and shape (S,), of sum 1.

    Raises
    ------
    TypeError, ValueError
        If it is something else.
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
    """Draws of all chains, S.

    Parameters
    ----------
    tree
        A fit.
    """
    sizes = tree["posterior"].sizes
    return int(sizes["chain"] * sizes["draw"])


def read_draws(tree: xr.DataTree, sites: Iterable[str]) -> dict[str, np.ndarray]:
    """Draws of those of the sites that the fit has, all chains in one axis.

    Parameters
    ----------
    tree
        A fit.
    sites
        Names.

    Returns
    -------
    dict
        Shapes (S, ...) with S chains times draws, in float64.
    """
    posterior = tree["posterior"].to_dataset()
    draws = {
        name: _numbers(posterior[name].transpose("chain", "draw", ...))
        for name in sites
        if name in posterior
    }
    return {name: values.reshape(-1, *values.shape[2:]) for name, values in draws.items()}


def read_coefficients(tree: xr.DataTree, groups: Any = slice(None)) -> np.ndarray:
    """Draws of the coefficients that vary by group, all chains in one axis.

    Parameters
    ----------
    tree
        A fit whose coefficients were drawn.
    groups
        Codes of G groups; default all. The pooled model has one.

    Returns
    -------
    array
        Shape (S, G, P) in the order of ``design.varying``, in float64. In the pooled model those
        that have no mean are 0.
    """
    design = read_design(tree)
    names = ("alpha",) * design.intercept_varies + ("beta",) * bool(design.slopes)
    group = tree["constant_data"]["count"].dims[0]
    parts = []
    for name in names:
        if name not in tree["posterior"]:
            # A column without a mean, in the pooled model.
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
    """Draws of the population coefficients, all chains in one axis.

    Parameters
    ----------
    tree
        A fit, not of the individual model.

    Returns
    -------
    array
        Shape (S, Q), in float64: the intercept if it varies about a mean, slopes that do, and the
        columns that do not vary.
    """
    mean = "mu_" if read_model(tree).population else ""
    draws = read_draws(tree, (f"{mean}alpha", f"{mean}beta", "gamma"))
    none = np.empty((num_draws(tree), 0))
    return np.column_stack([none, *draws.values()])


def has_coefficients(tree: xr.DataTree) -> bool:
    """Whether the coefficients of the groups were drawn, not summarised.

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
    """The predictors that the fit counts from a value of their own, and these values.

    Parameters
    ----------
    tree
        A fit.
    """
    return tuple(json.loads(tree.attrs.get("centers", "{}")).items())


def _of_rows(tree: xr.DataTree) -> dict[str, Any]:
    """What data record of the rows that they were made of."""
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
    """Draws (S,) of each correlation by its name, ``correlation[Intercept, Days]``.

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
    """A posterior whose site ``correlation`` has one entry a pair, with a dimension ``pair``.

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
