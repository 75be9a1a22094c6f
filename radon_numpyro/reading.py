"""From a result back to what it was made of: data, statistics, priors, draws of the scales.

Integers and text come back as the labels that they were. Labels of any other type, which netCDF
cannot keep, come back as text, from a fresh result too.
"""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from radon_numpyro.checks import read_only
from radon_numpyro.data import GroupedData
from radon_numpyro.labels import Labels
from radon_numpyro.priors import Priors
from radon_numpyro.statistics import GroupStatistics

SCALES = ("sigma_alpha", "sigma_beta", "eps")


def read_labels(tree: xr.DataTree) -> Labels:
    """Names of the columns and of the groups.

    Parameters
    ----------
    tree
        A fit.
    """
    count = tree["constant_data"].to_dataset()["count"]
    groups = tuple(count[count.dims[0]].values.tolist())
    predictors = tuple(json.loads(tree.attrs["predictors"]))
    return Labels(tree.attrs["outcome"], predictors, tree.attrs["group"], groups)


def read_statistics(tree: xr.DataTree) -> GroupStatistics:
    """Sufficient statistics of the data that were fitted.

    Parameters
    ----------
    tree
        A fit.
    """
    labels, constant = read_labels(tree), tree["constant_data"].to_dataset()
    num_groups, size = len(labels.groups), len(labels.predictors)
    shapes = {
        "count": (num_groups,),
        "mean_x": (num_groups, size),
        "mean_y": (num_groups,),
        "sxx": (num_groups, size, size),
        "sxy": (num_groups, size),
        "syy": (num_groups,),
    }
    # Without predictors there is nothing to store of them.
    arrays = {
        name: constant[name].values if name in constant else np.zeros(shape)
        for name, shape in shapes.items()
    }
    return GroupStatistics(**arrays, labels=labels)


def read_data(tree: xr.DataTree) -> GroupedData:
    """The rows that were fitted.

    Parameters
    ----------
    tree
        A fit with rows.

    Raises
    ------
    ValueError
        If the fit has statistics only.
    """
    if "observed_data" not in tree.children:
        raise ValueError("Expected a fit with rows; got one of statistics only")
    labels, constant = read_labels(tree), tree["constant_data"].to_dataset()
    y = tree["observed_data"].to_dataset()["y"].values
    x = constant["x"].values if "x" in constant else np.empty((len(y), 0))
    left_out = tuple((reason, count) for reason, count in json.loads(tree.attrs["left_out"]))
    return GroupedData(
        y=read_only(y),
        x=read_only(x),
        group=read_only(constant["group_index"].values.astype(np.int32)),
        labels=labels,
        left_out=left_out,
    )


def read_priors(tree: xr.DataTree) -> Priors:
    """The priors of a fit, to the last digit.

    Parameters
    ----------
    tree
        A fit.
    """
    return Priors.from_json(tree.attrs["priors"])


def read_scales(tree: xr.DataTree) -> dict[str, np.ndarray]:
    """Draws of the scales, chains one after the other, in the shapes of ``conditional.py``.

    Parameters
    ----------
    tree
        A fit.
    """
    posterior = tree["posterior"].to_dataset()
    scales = {}
    for name in SCALES:
        if name in posterior:
            values = posterior[name].values.astype(np.float64)
            scales[name] = values.reshape(-1, *values.shape[2:])
    return scales
