"""Figure of every group's coefficient, or of the parameters that groups share."""

import textwrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from xarray import DataTree

from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.plots.styling import (
    INTERVALS,
    LEGEND,
    MODEL_STYLES,
    SHADE,
    dress,
    group_sizes,
    interval,
    new_axes,
    on_scale,
    shorten,
    slope_name,
    split_sites,
)

EXTREMES, COLUMN = 50, 30


def plot_forest(
    tree: DataTree,
    site: str = "alpha",
    *,
    predictor: str | None = None,
    ci_prob: float = 0.9,
    ci_kind: str = "eti",
    outcome: str | None = None,
    unit: str = "rows",
) -> np.ndarray:
    """Plot every group's coefficient: posterior mean and interval, the highest on top.

    Or, in the order of the model and with a line at 0: for ``"gamma"`` the coefficients that all
    groups share, but the intercept, whose unit is another; for ``"correlation"`` the correlations
    of coefficients between groups, on an axis from -1 to 1.

    The number behind a group is its size. The band is the interval of the population mean. Of more
    than 100 groups the 50 highest and the 50 lowest are shown. A group 10 times as wide as those
    of the narrowest quarter is off the scale: named, not drawn.

    Parameters
    ----------
    tree
        A fit with a coefficient for each group.
    site
        ``"alpha"``, ``"beta"``, ``"gamma"``, ``"correlation"`` or, of the individual model,
        ``"eps"``.
    predictor
        The predictor of the slope; default the first.
    ci_prob, ci_kind
        Probability of the intervals; ``"eti"`` (equal tails) or ``"hdi"`` (highest density).
    outcome, unit
        Words for the labels: the outcome with its unit, default its column; rows in the plural.

    Returns
    -------
    numpy.ndarray
        Axes, one column of groups or two.

    Raises
    ------
    ValueError
        If the fit has no draws of such a site, a predictor is unknown, or `ci_prob` or `ci_kind`
        is no such thing.
    """
    if site in ("gamma", "correlation"):
        return _plot_shared(tree, site, ci_prob, ci_kind, outcome)
    sites, sizes = split_sites(tree, "posterior", outcome), group_sizes(tree)
    name = slope_name(tree, predictor) if site == "beta" else site
    grouped = [key for key, draws in sites.items() if sizes.index.name in draws.dims]
    if name not in grouped:
        got = f"those of {', '.join(grouped)}" if grouped else "none"
        raise ValueError(f"Expected draws of {site} for each group; got {got}")
    draws, population = sites[name], sites.get(f"mu_{name}")
    low, high = interval(draws, ci_prob, ci_kind)
    mean, colour = draws.mean(("chain", "draw")).values, MODEL_STYLES[tree.attrs["model"]][0]
    shown, _, note = on_scale(low, high, sizes.index)
    order = shown[np.argsort(-mean[shown], kind="stable")]
    if len(order) > 2 * EXTREMES:
        note = f"{EXTREMES} highest and {EXTREMES} lowest of {len(order)}, {note}"
        order = np.concatenate([order[:EXTREMES], order[-EXTREMES:]])
    columns = np.array_split(order, 1 if len(order) <= COLUMN else 2)
    axes = new_axes(len(columns), len(columns), max(1.4, 0.7 + 0.13 * len(columns[0])))
    for ax, column in zip(axes, columns, strict=True):
        rows, first = np.arange(len(column)), ax is axes[0]
        if population is not None:
            ax.axvspan(*np.ravel(interval(population, ci_prob, ci_kind)), **SHADE)
            ax.axvline(float(population.mean()), color="black", lw=0.8, zorder=1)
        ax.set_axisbelow(True)
        ax.grid(axis="y", color="0.93", lw=0.5)
        ax.hlines(rows, low[column], high[column], color=colour, lw=1, zorder=2)
        ax.plot(mean[column], rows, "o", color=colour, ms=3, zorder=3)
        counts = sizes.iloc[column].items()
        labels = [f"{shorten(group)} ({count})" for group, count in counts]
        ax.set_yticks(rows, labels, parse_math=False)
        ax.set_ylim(len(columns[0]) - 0.4, -0.6)
        title = f"{name}, {note}".strip(", ") if first else ""
        words = textwrap.fill(draws.attrs["long_name"], 34)
        dress(ax, title, words, f"{tree.attrs['group']} ({unit})" if first else "")
        ax.tick_params(axis="y", length=0)
    ends = np.concatenate([low[order], high[order]])
    margin = 0.03 * np.ptp(ends)
    plt.setp(list(axes), xlim=(ends.min() - margin, ends.max() + margin))
    words = f"posterior mean, {100 * ci_prob:g} % {INTERVALS[ci_kind]} interval"
    keys: dict[str, Any] = {words: Line2D([], [], color=colour, marker="o", ms=3, lw=1)}
    if population is not None:
        keys["population mean"] = Patch(color="0.85"), Line2D([], [], color="black", lw=0.8)
    axes[0].figure.legend(list(keys.values()), list(keys), **LEGEND | {"ncols": len(axes)})
    return axes


def _plot_shared(
    tree: DataTree, site: str, ci_prob: float, ci_kind: str, outcome: str | None
) -> np.ndarray:
    """Parameters of a site that all groups share, a row each."""
    sites = split_sites(tree, "posterior", outcome)
    draws = {
        key[len(site) + 1 : -1]: values
        for key, values in sites.items()
        if key.startswith(f"{site}[") and key != f"{site}[{INTERCEPT}]"
    }
    if not draws:
        what = {
            "gamma": "predictors with one coefficient for all groups",
            "correlation": "coefficients that correlate, as in (x | group)",
        }
        raise ValueError(f"Expected {what[site]}; got none")
    ends = np.array([interval(one, ci_prob, ci_kind) for one in draws.values()]).reshape(-1, 2)
    colour = MODEL_STYLES[tree.attrs["model"]][0]
    axes = new_axes(1, 1, max(1.4, 0.7 + 0.2 * len(draws)))
    ax, rows = axes[0], np.arange(len(draws))
    ax.axvline(0, color="black", lw=0.8, zorder=1)
    ax.set_axisbelow(True)
    ax.grid(axis="y", color="0.93", lw=0.5)
    ax.hlines(rows, *ends.T, color=colour, lw=1, zorder=2)
    ax.plot([float(one.mean()) for one in draws.values()], rows, "o", color=colour, ms=3, zorder=3)
    ax.set_yticks(rows, [shorten(x) for x in draws], parse_math=False)
    ax.set_ylim(len(draws) - 0.4, -0.6)
    y = outcome or tree.attrs["outcome"]
    words = {
        "gamma": f"coefficient, {y} per unit of the column",
        "correlation": f"correlation between groups ({tree.attrs['group']})",
    }
    if site == "correlation":
        ax.set(xlim=(-1.0, 1.0), xticks=np.linspace(-1.0, 1.0, 5))
    dress(ax, site, textwrap.fill(words[site], 34), "")
    ax.tick_params(axis="y", length=0)
    text = f"posterior mean, {100 * ci_prob:g} % {INTERVALS[ci_kind]} interval"
    key = Line2D([], [], color=colour, marker="o", ms=3, lw=1, label=text)
    ax.figure.legend(handles=[key], **LEGEND)
    return axes
