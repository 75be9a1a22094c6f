"""Figure of a comparison of models: which one predicts better, and by how much."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from radon_numpyro.axes import LEGEND, MODEL_STYLES, STYLES, Look, dress, new_axes

COLUMNS = (
    "elpd_diff",
    "elpd_diff_se",
    "elpd_kfold_diff",
    "elpd_kfold_diff_se",
    "rmsd_in_sample",
    "rmsd_kfold",
    "rmsd_kfold_se",
)
LOO: Look = {"marker": "o", "ms": 4.5}
KFOLD: Look = {"marker": "s", "ms": 4.5, "mfc": "white"}


def plot_comparison(table: pd.DataFrame, *, outcome: str = "outcome") -> np.ndarray:
    """Plot how far each model's elpd is from the best, and its RMSD on rows seen and left out.

    Left the expected log predictive density of a model less that of the best, the best on top,
    with 1 (thick) and 2 (thin) standard errors of the difference. Right the root mean square
    deviation from the rows that were fitted, which least squares minimises, so that the most
    flexible model wins; and from rows left out, with 1 standard error. Where lines cross, the one
    that climbs has fitted noise.

    Parameters
    ----------
    table
        A row a model, with columns ``elpd_diff`` (leave-one-out), ``elpd_kfold_diff`` and their
        ``_se``: the model less the best, in nats; ``rmsd_in_sample``, ``rmsd_kfold`` and
        ``rmsd_kfold_se``, in the unit of y. Other columns are left alone; a gap is not drawn.
    outcome
        Word for the outcome, with its unit.

    Returns
    -------
    numpy.ndarray
        Axes: elpd and RMSD.

    Raises
    ------
    ValueError
        If the table has no row or lacks a column.
    """
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise ValueError(f"Expected table with columns {', '.join(COLUMNS)}; got no {missing[0]}")
    if table.empty:
        raise ValueError("Expected table with a row for each model; got none")
    table = table.sort_values("elpd_diff", ascending=False, kind="stable")
    spare = cycle(STYLES[len(MODEL_STYLES) :])
    styles = [MODEL_STYLES.get(model) or next(spare) for model in table.index]
    left, right = axes = new_axes(2, 2, 2.3)
    left.axvline(0, color="black", lw=0.8, zorder=0)
    for k, (row, (colour, style)) in enumerate(zip(table.itertuples(), styles, strict=True)):
        differences = (
            (k - 0.14, row.elpd_diff, row.elpd_diff_se, LOO),
            (k + 0.14, row.elpd_kfold_diff, row.elpd_kfold_diff_se, KFOLD),
        )
        for y, difference, se, marker in differences:
            for times, width in ((2, 0.8), (1, 2.4)):
                ends = difference - times * se, difference + times * se
                left.hlines(y, *ends, color=colour, lw=width)
            left.plot(difference, y, color=colour, **marker)
        # Side by side, so that the bars can be told apart.
        x = 0, 1 + 0.06 * (k - (len(table) - 1) / 2)
        look = {"color": colour, "ls": style, "lw": 1.4, "marker": "o", "ms": 4}
        right.plot(x, (row.rmsd_in_sample, row.rmsd_kfold), label=str(row.Index), **look)
        right.errorbar(x[1], row.rmsd_kfold, row.rmsd_kfold_se, color=colour, lw=1)
    left.set_yticks(range(len(table)), table.index.astype(str))
    left.set_ylim(len(table) - 0.5, -0.5)
    right.set_xticks((0, 1), ("rows seen", "rows left out (K-fold)"))
    right.set_xlim(-0.2, 1.3)
    dress(left, "", "elpd less that of the best (nats)", "")
    dress(right, "", "", f"RMSD, {outcome}")
    keys = right.get_legend_handles_labels()[0]
    keys += [
        Line2D([], [], color="0.3", lw=1.4, label="LOO, 1 and 2 se", **LOO),
        Line2D([], [], color="0.3", lw=1.4, label="K-fold, 1 and 2 se", **KFOLD),
    ]
    left.figure.legend(handles=keys, **LEGEND)
    return axes
