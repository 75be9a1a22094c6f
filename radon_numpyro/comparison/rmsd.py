r"""Root mean square deviations of regression lines from the rows they were fitted to.

The tutorial publishes an RMSD of 0.13 for the individual and 0.08 for the hierarchical model
without saying how it was computed. The scatter of single houses within a county is about 0.66, so
no deviation of predictions from measured houses comes near those figures. Each definition here has
a name and a formula; deviations from rows that were left out are in ``comparison/held_out.py``.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from radon_numpyro.comparison.held_out import Score, root_mean_square
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import line_blocks
from radon_numpyro.model.models import PREDICTOR
from radon_numpyro.results.fit_reader import read_data, read_priors, read_scales
from radon_numpyro.statistics.group_statistics import GroupStatistics


def rmsd_in_sample(tree: xr.DataTree) -> Score:
    r"""Deviation of the posterior-mean line from the rows it was fitted to.

    .. math:: \sqrt{\tfrac1N\sum_i \big(y_i - E[\alpha_{c(i)} + x_i\beta_{c(i)}\mid y]\big)^2}

    The expectation over the coefficients is taken in closed form, that over the scales over the
    draws. Least squares minimises this deviation, so the individual model always wins: it says
    nothing about prediction.

    Parameters
    ----------
    tree
        A fit with rows.

    Returns
    -------
    Score
        In the unit of y, with the standard error over rows.
    """
    data, model = read_data(tree), str(tree.attrs["model"])
    equations = NormalEquations.from_statistics(GroupStatistics.from_data(data))
    blocks = line_blocks(model, equations, read_priors(tree), read_scales(tree), data.x, data.group)
    fitted = np.concatenate([mean.mean(0) for _, mean, _ in blocks])
    return root_mean_square(data.y - fitted, np.arange(data.num_rows))


def rmsd_per_draw(tree: xr.DataTree, groups: Sequence[Hashable] | None = None) -> xr.DataArray:
    r"""Deviation of the line of each draw from the rows: the tutorial's description in words.

    .. math:: \sqrt{\tfrac1N\sum_i (y_i - \alpha^{(s)}_{c(i)} - x_i\beta^{(s)}_{c(i)})^2}

    Parameters
    ----------
    tree
        A fit with rows, its coefficients drawn.
    groups
        Labels of the groups whose rows count; default all.

    Returns
    -------
    xarray.DataArray
        Dims chain and draw, in the unit of y.

    Raises
    ------
    ValueError
        If a group is unknown, or rows or draws are missing.
    """
    line = _line(tree)
    deviation = tree["observed_data"].to_dataset()["y"] - line
    if groups is not None:
        rows = tree["constant_data"].to_dataset()
        index = rows.indexes[rows["count"].dims[0]].get_indexer(list(groups))
        if (index < 0).any():
            raise ValueError(f"Expected groups of the fit; got {list(groups)}")
        deviation = deviation.isel(row=np.isin(rows["group_index"], index))
    return ((deviation**2).mean("row")) ** 0.5


def _line(tree: xr.DataTree) -> xr.DataArray:
    """Regression line at each row for each draw, dims chain, draw, row."""
    if "observed_data" not in tree.children:
        raise ValueError("Expected a fit with rows; got one of statistics only")
    posterior = tree["posterior"].to_dataset()
    if "alpha" not in posterior:
        raise ValueError(
            "Expected draws of the coefficients; got a fit that kept none: fit with "
            "coefficients='draws'"
        )
    alpha = posterior["alpha"]
    group = next((d for d in alpha.dims if d not in ("chain", "draw")), None)
    rows = tree["constant_data"].to_dataset()
    at_row = {} if group is None else {group: rows["group_index"]}
    line = alpha.isel(at_row)
    for k in range(len(json.loads(tree.attrs["predictors"]))):
        slope = posterior["beta"].isel({PREDICTOR: k, **at_row})
        line = line + slope * rows["x"].isel({PREDICTOR: k})
    return line.reset_coords(drop=True)
