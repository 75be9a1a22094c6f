"""Build results as ArviZ ``DataTree`` objects. No other module builds one.

==================== ==========================================================================
group                content
==================== ==========================================================================
``posterior``        draws of every site; dims chain, draw, the user's group column, predictor
                     (slopes that vary by group), fixed (columns that do not vary)
``sample_stats``     statistics of the sampler for each draw, with ArviZ's names (absent if no chain
                     was run)
``coefficients/...`` ``means`` and ``sds`` of alpha and beta, if their draws were not kept
``nodes``            for an integration: ``weight`` and the scales at each node; attributes ess,
                     khat, reliable, verdict, log_evidence, log_evidence_error
``advi``             attributes converged, reason, verdict, khat (if optimised), num_steps, ...
                     (absent, with its child groups, if there was no guide)
``advi/trace``       ``elbo`` by step, in nats
``advi/means``       mean of each site under the guide, in the unit of the site
``advi/sds``         standard deviation of each site under the guide, in the unit of the site
``observed_data``    ``y`` by row (absent if statistics were fitted, not rows)
``constant_data``    ``x``, ``group_index`` and ``weights`` or ``se``, if there are any, by row;
                     the sufficient statistics by group
==================== ==========================================================================

The attributes of the root describe how the fit was made: model, method, priors, seed, versions,
device, dtype, timings, fingerprint of the data, and the call. ``centers`` has the values that are
subtracted from predictors, in ``x`` and the statistics too. ``design`` says which columns vary by
group. ``formula`` contains, in JSON, what a formula has learnt from the rows, and ``notes`` has
remarks about its columns. ``findings`` are those about the data and the priors before the fit.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.labels import Labels, stored
from radon_numpyro.inference.runs.fit_identity import package_versions
from radon_numpyro.model.models import (
    COEFFICIENT,
    COEFFICIENT_OTHER,
    FIXED,
    GROUP,
    MEAN_SLOPE,
    PREDICTOR,
    Model,
    coordinates,
)
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import STATISTICS, WEIGHTS, GroupStatistics

if TYPE_CHECKING:
    from radon_numpyro.inference.advi.guide import ADVIResult
    from radon_numpyro.inference.integration.resampling import IntegratedResult
    from radon_numpyro.inference.integration.scale_posterior import ScalePosterior
    from radon_numpyro.inference.inversion import ExactResult
    from radon_numpyro.inference.nuts.result import NUTSResult

# Dimensions of draws.
SAMPLED = ("chain", "draw")
# Dimension of all predictors if some do not vary by group.
COLUMN = "column"
_SITES = {"mu_alpha", "sigma_alpha", "mu_beta", "sigma_beta", "alpha", "beta", "eps"}
_DIMS = {".", "chain", "draw", "sample", "row", "step", "node", PREDICTOR, f"{PREDICTOR}_other"}
_DIMS |= {MEAN_SLOPE, FIXED, COEFFICIENT, COEFFICIENT_OTHER}
_TAKEN = _DIMS.union(_SITES, STATISTICS, ("x", "y", "mean", "group_index", "new_group", "elbo"))
# Also taken if some column does not vary by group about a mean.
_TAKEN_BY_OTHERS = {"gamma", COLUMN, f"{COLUMN}_other"}
# Also taken if coefficients correlate.
_TAKEN_BY_CORRELATED = {"correlation", "pair"}
# Names that xarray and ArviZ use for arguments or for their own dimensions.
_KEYWORDS = ("self", "coords", "summary", "variable", "label")


def group_dim(labels: Labels) -> str:
    """Return the dimension of the groups, named after the user's column.

    ``_group`` is appended to a name that another dimension or variable has, or that xarray does not
    accept. A slash becomes an underscore, because it separates paths in a DataTree.

    Parameters
    ----------
    labels
        Names of the data.
    """
    name = labels.group.replace("/", "_") or "group"
    taken = _TAKEN if labels.design.varies_throughout else _TAKEN | _TAKEN_BY_OTHERS
    taken = taken | _TAKEN_BY_CORRELATED if labels.design.correlated else taken
    taken = taken.union(WEIGHTS, ("weights", "se")) if labels.design.weighted else taken
    return f"{name}_group" if name in taken or name in _KEYWORDS else name


def site_dims(model: str, labels: Labels) -> dict[str, list[str]]:
    """Return the dimensions of each site of a model, in their order in results.

    Parameters
    ----------
    model
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.
    labels
        Names of the data.
    """
    group = group_dim(labels)
    sites = Model.named(model).sites(labels.design)
    return {
        name: [group if dim == GROUP else dim for dim in site.dims] for name, site in sites.items()
    }


def column_dim(labels: Labels) -> str:
    """Return the dimension of all columns of x, which is that of the slopes if every slope varies.

    Parameters
    ----------
    labels
        Names of the data.
    """
    return PREDICTOR if labels.predictors == labels.design.slopes else COLUMN


def to_datatree(
    data: GroupedData | GroupStatistics,
    statistics: GroupStatistics,
    priors: Priors,
    model: str,
    drawn: NUTSResult | ExactResult | IntegratedResult,
    attributes: Mapping[str, Any],
    *,
    advi: ADVIResult | None = None,
    nodes: ScalePosterior | None = None,
) -> xr.DataTree:
    """Put a fit into a DataTree.

    Parameters
    ----------
    data, statistics
        The fitted rows or statistics, and their sufficient statistics.
    priors
        The priors of the fit.
    model
        Name of the model.
    drawn
        The draws.
    attributes
        Further attributes of the root.
    advi
        The guide, if there was one.
    nodes
        Nodes of the scales, if they were integrated.

    Returns
    -------
    xarray.DataTree
        The groups in the table at the head of this module.
    """
    labels = statistics.labels
    dims: dict[Any, Any] = dict(site_dims(model, labels))
    group, column = group_dim(labels), column_dim(labels)
    coords: dict[Any, Any] = {
        group: stored(labels.groups),
        column: np.array(labels.predictors, dtype=str),
        f"{column}_other": np.array(labels.predictors, dtype=str),
    }
    coords |= {dim: np.array(names, dtype=str) for dim, names in coordinates(labels.design).items()}
    constant = {name: np.asarray(values) for name, values in statistics.arrays.items()}
    constant_dims = {
        "count": [group],
        "mean_x": [group, column],
        "mean_y": [group],
        "sxx": [group, column, f"{column}_other"],
        "sxy": [group, column],
        "syy": [group],
        **{name: [group] for name in WEIGHTS},
        "x": ["row", column],
        **{name: ["row"] for name in ("group_index", "y", "weights", "se")},
    }
    sites = {name: drawn.draws[name] for name in dims if name in drawn.draws}
    groups = {"posterior": _dataset(sites, dims, coords, sampled=SAMPLED)}
    if drawn.stats:
        groups["sample_stats"] = _dataset(drawn.stats, {}, {}, sampled=SAMPLED)
    if isinstance(data, GroupedData):
        groups["observed_data"] = _dataset({"y": data.y}, constant_dims, coords)
        groups["observed_data"]["y"].attrs["long_name"] = labels.outcome
        rows = data.arrays | {"group_index": data.group}
        constant |= {n: rows[n] for n in ("x", "group_index", "weights", "se") if n in rows}
    if not labels.predictors:
        empty = ("mean_x", "sxx", "sxy", "x")
        constant = {name: value for name, value in constant.items() if name not in empty}
    groups["constant_data"] = _dataset(constant, constant_dims, coords)

    moments = {}
    if advi is not None:
        groups["advi"] = xr.Dataset(attrs=_advi_attributes(advi))
        groups["advi/trace"] = _dataset({"elbo": advi.elbo}, {"elbo": ["step"]}, {})
        moments["advi"] = (advi.means, advi.sds)
    if nodes is not None:
        scales = {name: values for name, values in nodes.scales.items() if name in dims}
        weighted = {"weight": nodes.weights, **scales}
        groups["nodes"] = _dataset(weighted, dims, coords, sampled=("node",))
        groups["nodes"].attrs.update(_node_attributes(nodes))
    if drawn.coefficients:
        means, sds = ({n: m[k] for n, m in drawn.coefficients.items()} for k in (0, 1))
        moments["coefficients"] = (means, sds)
    for parent, pair in moments.items():
        for name, values in zip(("means", "sds"), pair, strict=True):
            of_sites = {site: values[site] for site in dims if site in values}
            groups[f"{parent}/{name}"] = _dataset(of_sites, dims, coords)
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(_provenance(data, labels, priors, model), **drawn.attributes(), **attributes)
    return tree


def _dataset(
    values: Mapping[str, Any],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, Any],
    *,
    sampled: Sequence[str] = (),
) -> xr.Dataset:
    """Make a dataset whose arrays have the dimensions ``sampled``, then their own of ``dims``.

    A dimension without labels in ``coords`` is labelled by position.
    """
    variables = {
        name: xr.Variable((*sampled, *dims.get(name, ())), np.asarray(array))
        for name, array in values.items()
    }
    sizes = {str(dim): size for found in variables.values() for dim, size in found.sizes.items()}
    labels = {dim: coords[dim] if dim in coords else np.arange(n) for dim, n in sizes.items()}
    return xr.Dataset(variables, labels)


def add_draws(
    tree: xr.DataTree, name: str, values: Mapping[str, Any], labels: Labels, **attributes: Any
) -> None:
    """Put draws of sites, or of ``y`` by row, into a group of a fit.

    Parameters
    ----------
    tree
        The fit, which is changed in place.
    name
        Name of the group. An existing group is replaced.
    values
        Arrays of shape (chains, draws, ...), with dimensions as in the posterior.
    labels
        Names of the data.
    **attributes
        Attributes of the group.
    """
    dims: dict[Any, Any] = {**site_dims(tree.attrs["model"], labels), "y": ["row"]}
    arrays = {site: np.asarray(values[site]) for site in dims if site in values}
    # Each array has the leading dimensions of its site: the log prior of a correlation matrix is
    # one number per draw.
    dims = {site: dims[site][: array.ndim - 2] for site, array in arrays.items()}
    coords: dict[Any, Any] = {n: c.values for n, c in tree["posterior"].coords.items()}
    dataset = _dataset(arrays, dims, coords, sampled=SAMPLED)
    tree[name] = xr.DataTree(dataset.assign_attrs(attributes))


def predictions_to_datatree(
    tree: xr.DataTree,
    labels: Labels,
    values: Mapping[str, np.ndarray],
    *,
    x: np.ndarray,
    groups: Sequence[Hashable],
    new_group: np.ndarray,
    index: Sequence[Hashable],
    attributes: Mapping[str, Any],
) -> xr.DataTree:
    """Put draws for new rows into a separate DataTree.

    Parameters
    ----------
    tree
        The fit that the draws come from, with the same chains and draws.
    labels
        Names of the data.
    values
        Draws by name, shape (S, R), where S is chains times draws.
    x, groups, new_group
        Predictors (R, K), labels of the groups (R,), and whether each group is new to the fit (R,).
    index
        Labels of the R rows.
    attributes
        Further attributes of the root.

    Returns
    -------
    xarray.DataTree
        Groups ``predictions`` and ``predictions_constant_data``.
    """
    posterior = tree["posterior"].to_dataset()
    sampled = {name: posterior[name].values for name in SAMPLED}
    shape = tuple(len(values) for values in sampled.values())
    draws = {name: v.reshape(*shape, -1) for name, v in values.items()}
    column = column_dim(labels)
    constant = {"new_group": new_group} | ({"x": x} if labels.predictors else {})
    dims = {**{name: ["row"] for name in (*draws, "new_group")}, "x": ["row", column]}
    coords = {**sampled, "row": stored(index), column: np.array(labels.predictors, dtype=str)}
    made = {
        "predictions": _dataset(draws, dims, coords, sampled=SAMPLED),
        "predictions_constant_data": _dataset(constant, dims, coords),
    }
    of_row = {group_dim(labels): ("row", stored(groups))}
    out = xr.DataTree.from_dict({name: part.assign_coords(of_row) for name, part in made.items()})
    kept = (
        "model",
        "outcome",
        "predictors",
        "design",
        "group",
        "centers",
        "priors",
        "data_fingerprint",
    )
    out.attrs.update({name: tree.attrs[name] for name in kept if name in tree.attrs})
    out.attrs.update(attributes)
    return out


def describe_call(function: str, **arguments: Any) -> str:
    """Return the Python expression of the call that made a result.

    Parameters
    ----------
    function
        Name of the function.
    **arguments
        Its arguments, without the data.
    """
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"{function}(data, {given})"


def _advi_attributes(advi: ADVIResult) -> dict[str, Any]:
    khat = {"khat": advi.khat} if advi.num_steps else {}
    return {
        "converged": int(advi.converged),
        "reason": advi.reason,
        "verdict": advi.verdict,
        **khat,
        "num_steps": advi.num_steps,
        "num_particles": advi.num_particles,
        "skipped_steps": advi.skipped_steps,
    }


def _node_attributes(nodes: ScalePosterior) -> dict[str, Any]:
    return {
        "ess": nodes.ess,
        "khat": nodes.khat,
        "reliable": int(nodes.reliable),
        "verdict": nodes.verdict,
        "log_evidence": nodes.log_evidence,
        "log_evidence_error": nodes.log_evidence_error,
    }


def _provenance(
    data: GroupedData | GroupStatistics, labels: Labels, priors: Priors, model: str
) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "model": model,
        "outcome": labels.outcome,
        "predictors": json.dumps(labels.predictors),
        "design": json.dumps(asdict(labels.design)),
        "group": labels.group,
        "left_out": json.dumps(data.left_out),
        "lost_groups": json.dumps(stored(data.lost_groups).tolist()),
        "centers": json.dumps(dict(data.centers)),
        "formula": data.formula,
        "notes": json.dumps(data.notes),
        "priors": priors.to_json(),
        "versions": json.dumps({"python": platform.python_version(), **package_versions()}),
    }
    if isinstance(data, GroupedData):
        attributes["data_fingerprint"] = data.fingerprint()
    return attributes
