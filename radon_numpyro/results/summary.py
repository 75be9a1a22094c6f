"""A fit as two tables: its parameters, and what it says of each group."""

from __future__ import annotations

import pandas as pd
import xarray as xr

from radon_numpyro.results.diagnostics import Diagnosis
from radon_numpyro.results.estimates import Estimate, Numbers


def parameter_table(tree: xr.DataTree, diagnosis: Diagnosis, ci_prob: float) -> pd.DataFrame:
    """Parameters that no group has for itself; of the individual model there are none.

    Parameters
    ----------
    tree
        A fit.
    diagnosis
        What the checks found of it.
    ci_prob
        Probability of the equal-tailed intervals.

    Returns
    -------
    pandas.DataFrame
        ``mean``, ``sd``, ``lower``, ``upper``, and ``r_hat``, ``ess_bulk``, ``ess_tail`` of the
        diagnosis.
    """
    draws = Numbers(tree, ci_prob).parameters()
    estimates = {name: Estimate.of(values, ci_prob) for name, values in draws.items()}
    columns = ["mean", "sd", "lower", "upper"]
    table = pd.DataFrame.from_dict(estimates, orient="index", columns=columns, dtype=float)
    return table.join(diagnosis.table)


def group_table(tree: xr.DataTree, ci_prob: float) -> pd.DataFrame:
    """Coefficients that vary by group, of every group; of the pooled model those of all rows.

    Parameters
    ----------
    tree
        A fit.
    ci_prob
        Probability of the equal-tailed intervals.

    Returns
    -------
    pandas.DataFrame
        A row a group and coefficient: the group, ``rows``, ``coefficient``, ``mean``, ``sd``,
        ``lower``, ``upper``, and ``identified``: whether the group's own rows determine it. If
        they do not, the individual model shows its prior, the hierarchical model what other groups
        lend. Where the coefficients were summarised, not drawn, the intervals are those of Normals.
    """
    numbers = Numbers(tree, ci_prob)
    labels, estimate = numbers.labels, numbers.coefficients
    pooled = not numbers.model.by_group
    groups = ["all"] if pooled else list(labels.groups)
    rows = [numbers.statistics.num_rows] if pooled else numbers.statistics.count.astype(int)
    coefficients = ["intercept"] * labels.design.intercept_varies + list(labels.design.slopes)
    size = len(coefficients)
    name = labels.group if labels.group not in ("rows", "coefficient") else f"{labels.group}_group"
    return pd.DataFrame(
        {
            name: [g for g in groups for _ in range(size)],
            "rows": [n for n in rows for _ in range(size)],
            "coefficient": coefficients * len(groups),
            "mean": estimate.mean.ravel(),
            "sd": estimate.sd.ravel(),
            "lower": estimate.low.ravel(),
            "upper": estimate.high.ravel(),
            "identified": numbers.identified.ravel(),
        }
    )
