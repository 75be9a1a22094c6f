r"""Root mean square deviations of regression lines from the rows to which they were fitted.

The tutorial publishes an RMSD of 0.13 for the individual and 0.08 for the hierarchical model
without a definition. The scatter of single houses within a county is about 0.66, so no deviation of
predictions from measured houses can be close to those figures. Here each definition has a name and
a formula. Deviations of rows that were left out are in ``comparison/held_out.py``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from radon_numpyro.comparison.held_out import Score, root_mean_square
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import line_blocks
from radon_numpyro.model.models import FIXED
from radon_numpyro.results.fit_reader import (
    read_data,
    read_design,
    read_model,
    read_priors,
    read_scales,
)
from radon_numpyro.statistics.group_statistics import GroupStatistics


def rmsd_in_sample(tree: xr.DataTree) -> Score:
    r"""Compute the deviation of the posterior-mean line from the rows to which it was fitted.

    .. math:: \sqrt{\tfrac1N\sum_i \big(y_i - E[\alpha_{c(i)} + x_i\beta_{c(i)}
              + w_i\gamma \mid y]\big)^2}

    where w are the columns that do not vary by group, if there are any.

    The expectation over the coefficients is computed in closed form, that over the scales as a mean
    over draws. Least squares minimises this deviation, so it is smallest for the individual model,
    and it does not measure predictive accuracy.

    Parameters
    ----------
    tree
        A fit with rows.

    Returns
    -------
    Score
        The deviation in the unit of y, with its standard error over rows.
    """
    data, model = read_data(tree), read_model(tree).name
    equations = NormalEquations.from_statistics(GroupStatistics.from_data(data))
    blocks = line_blocks(model, equations, read_priors(tree), read_scales(tree), data.x, data.group)
    fitted = np.concatenate([mean.mean(0) for _, mean, _ in blocks])
    return root_mean_square(data.y - fitted, np.arange(data.num_rows))


def rmsd_per_draw(tree: xr.DataTree, groups: Sequence[Hashable] | None = None) -> xr.DataArray:
    r"""Compute the deviation of the line of each draw from the rows, as the tutorial describes it.

    .. math:: \sqrt{\tfrac1N\sum_i (y_i - \alpha^{(s)}_{c(i)} - x_i\beta^{(s)}_{c(i)}
              - w_i\gamma^{(s)})^2}

    Parameters
    ----------
    tree
        A fit with rows and with draws of the coefficients.
    groups
        Labels of the groups whose rows are included. Default: all groups.

    Returns
    -------
    xarray.DataArray
        Deviations with dims chain and draw, in the unit of y.

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


def has_coefficients(tree: xr.DataTree) -> bool:
    """Return whether a fit has draws of all coefficients, including those of the groups.

    Parameters
    ----------
    tree
        A fit.
    """
    return set(read_model(tree).sites(read_design(tree))) <= set(tree["posterior"].data_vars)


def _line(tree: xr.DataTree) -> xr.DataArray:
    """Compute the regression line at each row for each draw, with dims chain, draw, row."""
    if "observed_data" not in tree.children:
        raise ValueError("Expected a fit with rows; got one of statistics only")
    if not has_coefficients(tree):
        raise ValueError(
            "Expected draws of the coefficients; got a fit without them. Fit with "
            "coefficients='draws'"
        )
    rows, draws = tree["constant_data"].to_dataset(), tree["posterior"].to_dataset()
    design, by_group = read_design(tree), read_model(tree).by_group
    columns = {name: rows["x"][:, j] for j, name in enumerate(design.predictors)}
    own = {rows["count"].dims[0]: rows["group_index"]} if by_group else {}
    line = xr.zeros_like(tree["observed_data"].to_dataset()["y"])
    if "alpha" in draws:
        line = line + draws["alpha"].isel(own)
    # The pooled model has only the slopes that vary about a mean.
    for k, name in enumerate(design.slopes if by_group else design.means):
        slope = draws["beta"]
        line = line + slope.isel({slope.dims[-1]: k, **own}) * columns[name]
    for f, name in enumerate(design.fixed):
        line = line + draws["gamma"].isel({FIXED: f}) * columns.get(name, 1.0)
    return line.reset_coords(drop=True)
