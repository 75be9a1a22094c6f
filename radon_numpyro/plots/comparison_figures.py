"""Figure of a comparison of models: which one predicts better, and by how much."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from radon_numpyro.plots.styling import (
    LEGEND,
    MODEL_STYLES,
    STYLES,
    Look,
    add_legend,
    dress,
    new_axes,
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
        ``Comparison.table``: a row a model, columns as its ``definitions`` say. K-fold is shown if
        it is there, else leave-one-out alone. A gap is not drawn.
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
    folds = "elpd_kfold_diff" in table
    schemes = {"elpd_diff": LOO} | ({"elpd_kfold_diff": KFOLD} if folds else {})
    rmsd, way = ("rmsd_kfold", "K-fold") if folds else ("rmsd_loo", "LOO")
    needed = [*schemes, *(f"{name}_se" for name in schemes), "rmsd_in_sample", rmsd, f"{rmsd}_se"]
    missing = [name for name in needed if name not in table]
    if missing:
        raise ValueError(f"Expected table with columns {', '.join(needed)}; got no {missing[0]}")
    if table.empty:
        raise ValueError("Expected table with a row for each model; got none")
    table = table.sort_values("elpd_diff", ascending=False, kind="stable")
    spare = cycle(STYLES[len(MODEL_STYLES) :])
    left, right = axes = new_axes(2, 2, 2.3)
    left.axvline(0, color="black", lw=0.8, zorder=0)
    for k, (model, row) in enumerate(table.iterrows()):
        colour, style = MODEL_STYLES.get(model) or next(spare)
        for (name, marker), shift in zip(schemes.items(), (-0.14, 0.14), strict=False):
            y, difference, se = k + shift * folds, row[name], row[f"{name}_se"]
            for times, width in ((2, 0.8), (1, 2.4)):
                ends = difference - times * se, difference + times * se
                left.hlines(y, *ends, color=colour, lw=width)
            left.plot(difference, y, color=colour, **marker)
        # Side by side, so that the bars can be told apart.
        x = 0, 1 + 0.06 * (k - (len(table) - 1) / 2)
        look: Look = {"color": colour, "ls": style, "lw": 1.4, "marker": "o", "ms": 4}
        right.plot(x, (row["rmsd_in_sample"], row[rmsd]), label=str(model), **look)
        right.errorbar(x[1], row[rmsd], row[f"{rmsd}_se"], color=colour, lw=1)
    left.set_yticks(range(len(table)), table.index.astype(str), parse_math=False)
    left.set_ylim(len(table) - 0.5, -0.5)
    right.set_xticks((0, 1), ("rows seen", f"rows left out ({way})"))
    right.set_xlim(-0.2, 1.3)
    dress(left, "", "elpd less that of the best (nats)", "")
    rows = table.get(rmsd.replace("rmsd", "rows"))
    note = "" if rows is None else f"left out: {rows.max():.0f} rows that every model can predict"
    dress(right, note, "", f"RMSD, {outcome}")
    keys = right.get_legend_handles_labels()[0]
    for words, marker in zip(("LOO", "K-fold"), schemes.values(), strict=False):
        keys.append(Line2D([], [], color="0.3", lw=1.4, label=f"{words}, 1 and 2 se", **marker))
    add_legend(left.figure, handles=keys, **LEGEND)
    return axes
