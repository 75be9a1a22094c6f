"""Two tables of a fit: its parameters, and the coefficients of each group."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from radon_numpyro.results.diagnostics import Diagnosis
from radon_numpyro.results.estimates import Estimate, Numbers


def parameter_table(tree: xr.DataTree, diagnosis: Diagnosis, ci_prob: float) -> pd.DataFrame:
    """Tabulate the parameters that do not belong to a single group.

    The individual model has no such parameters.

    Parameters
    ----------
    tree
        A fit.
    diagnosis
        The diagnosis of the fit.
    ci_prob
        Probability of the equal-tailed intervals.

    Returns
    -------
    pandas.DataFrame
        One row for each parameter: ``mean``, ``sd``, ``lower``, ``upper``, and ``r_hat``,
        ``ess_bulk``, ``ess_tail`` of the diagnosis.
    """
    draws = Numbers(tree, ci_prob).parameters()
    estimates = {name: Estimate.of(values, ci_prob) for name, values in draws.items()}
    columns = ["mean", "sd", "lower", "upper"]
    table = pd.DataFrame.from_dict(estimates, orient="index", columns=columns, dtype=float)
    return table.join(diagnosis.table)


def group_table(tree: xr.DataTree, ci_prob: float) -> pd.DataFrame:
    """Tabulate the coefficients that vary by group; for the pooled model, those of all rows.

    Parameters
    ----------
    tree
        A fit.
    ci_prob
        Probability of the equal-tailed intervals.

    Returns
    -------
    pandas.DataFrame
        One row for each group and coefficient: the group, ``rows``, ``coefficient``, ``mean``,
        ``sd``, ``lower``, ``upper``, and ``identified``, which says whether the group's own rows
        determine the coefficient. If they do not, the individual model shows its prior, and the
        hierarchical model uses the information of other groups. If the coefficients were
        summarised instead of drawn, the intervals are those of Normal distributions.
    """
    numbers = Numbers(tree, ci_prob)
    labels, estimate = numbers.labels, numbers.coefficients
    pooled = not numbers.model.by_group
    groups = ["all"] if pooled else list(labels.groups)
    rows = [numbers.statistics.num_rows] if pooled else numbers.statistics.count.astype(int)
    coefficients = ["intercept"] * labels.design.intercept_varies + list(labels.design.slopes)
    size = len(coefficients)
    name = labels.group if labels.group not in ("rows", "coefficient") else f"{labels.group}_group"
    table = pd.DataFrame(
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
    # In the pooled model, a column that varies about 0 has no coefficient.
    design = labels.design
    absent = [n not in design.population for n in design.varying] if pooled else [False] * size
    return table[np.tile(~np.array(absent, dtype=bool), len(groups))]
