"""Draw lines and coefficients of single groups, of all groups, and of the average group."""

import textwrap
from collections.abc import Hashable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from xarray import DataTree

from radon_numpyro.data.centers import zeros
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.model.models import PREDICTOR
from radon_numpyro.plots.styling import (
    GREEN,
    INTERVALS,
    LEGEND,
    MODEL_STYLES,
    SHADE,
    STYLES,
    Groups,
    add_legend,
    check_labels,
    dress,
    group_name,
    group_sizes,
    interval,
    new_axes,
    on_scale,
    shorten,
    slope_name,
    split_sites,
)
from radon_numpyro.results.estimates import Estimate, factors
from radon_numpyro.results.fit_reader import read_centers, read_design, read_model

EXTREMES, COLUMN = 50, 30


def plot_group_lines(
    trees: Mapping[str, DataTree],
    groups: Groups,
    *,
    predictor: str | None = None,
    outcome: str | None = None,
    unit: str = "rows",
    x_labels: Mapping[float, str] | None = None,
    axes: Any = None,
) -> np.ndarray:
    """Plot the regression lines of single groups under several models, over their rows.

    The thick line is the posterior mean. The 60 thin lines are single draws for the group, at even
    steps over chains and draws. Other predictors are held at their mean in the group, or over all
    rows if the group has no rows; interactions are computed from the predictor on the axis. The y
    axis covers the rows and the mean lines, except the mean line of an individual slope that the
    rows do not identify.

    Parameters
    ----------
    trees
        Fits by label, such as ``{"individual": one, "hierarchical": other}``. Each of the three
        models has its own style: these two are dashed blue and green. The rows are those of the
        first fit with rows.
    groups
        Labels of the groups.
    predictor
        Predictor on the x axis; default the first.
    outcome, unit
        As in :func:`plot_advi_vs_nuts`.
    x_labels
        Words for values of the predictor, for example ``{0: "basement", 1: "no basement"}``.
    axes
        Axes to draw on, one for each group, without a legend; default a new figure with a legend.

    Returns
    -------
    numpy.ndarray
        Axes, one for each group.

    Raises
    ------
    TypeError, ValueError
        If `trees` is not a mapping, a group or predictor is unknown, no fit has rows, or the
        number of axes is not the number of groups.
    """
    if isinstance(trees, DataTree):
        raise TypeError("Expected trees to be a mapping of labels to fits; got a fit")
    source = next((tree for tree in trees.values() if "x" in tree["constant_data"]), None)
    if source is None:
        raise ValueError("Expected a fit with rows and a predictor; got none, so no line to draw")
    constants, rows = (source[of].to_dataset() for of in ("constant_data", "observed_data"))
    chosen = [check_labels(groups, group_sizes(tree).index) for tree in trees.values()][-1]
    # In the units of the columns, because fits may count a predictor from different zeros.
    predictors = pd.Index(read_design(source).predictors, name=PREDICTOR, dtype=object)
    x = constants["x"].values + _zeros(source)
    predictor = check_labels(predictor or predictors[:1], predictors)[0]
    outcome = outcome or source.attrs["outcome"]
    labels = group_sizes(source).index[constants["group_index"].values]
    values, seen = x[:, predictors.get_loc(predictor)], labels.isin(chosen)
    binary = np.isin(values, (0, 1)).all()
    span = values[seen] if len(set(values[seen])) > 1 else values
    ends = np.array((-0.2, 1.2) if binary else (span.min(), span.max()))
    own, columns = axes is None, min(3, len(chosen))
    axes = new_axes(len(chosen), columns, 2.4) if own else np.ravel(np.array(axes, object))
    if len(axes) != len(chosen):
        raise ValueError(f"Expected an Axes for each of {len(chosen)} groups; got {len(axes)}")
    models = trees.keys() <= MODEL_STYLES.keys()
    styles = [MODEL_STYLES[label] for label in trees] if models else list(STYLES)
    heights, ticks = [rows["y"].values[seen]], x_labels or ({0: "0", 1: "1"} if binary else {})
    for k, (ax, group) in enumerate(zip(axes, chosen, strict=True)):
        row = labels == group
        at = _along((x[row] if row.any() else x).mean(0), predictors, predictor, ends)
        for (label, tree), (colour, style) in zip(trees.items(), cycle(styles), strict=False):
            lines, name = _lines(tree, group, at), f"{label}: mean and draws"
            ax.plot(ends, lines[:: -(-len(lines) // 60)].T, color=colour, lw=0.4, alpha=0.3)
            ax.plot(ends, lines.mean(0), color=colour, ls=style, lw=1.8, zorder=3, label=name)
            if read_model(tree).eps_by_group and len(set(values[row])) < 2:
                text = f"{label} slope\nnot identified:\n{predictor} does not vary"
                how = {"ha": "center", "va": "top", "fontsize": 7, "color": colour}
                ax.text(0.5, 0.98, text, transform=ax.transAxes, parse_math=False, **how)
            else:
                heights.append(lines.mean(0))
        # Multiples of the golden ratio spread rows with equal values, in the same way at each call.
        shift = 0.08 * ((0.618 * np.arange(row.sum())) % 1 - 0.5) if binary else 0.0
        ax.plot(values[row] + shift, rows["y"][row], "k.", ms=5, mew=0, zorder=4, label=unit)
        first = k % columns == 0 or not own
        dress(ax, group_name(source, group, unit), predictor, outcome if first else "")
        ax.tick_params(labelleft=first)
        if ticks:
            ax.set_xticks(list(ticks), list(ticks.values()), parse_math=False)
    low, high = np.min(np.concatenate(heights)), np.max(np.concatenate(heights))
    plt.setp(list(axes), ylim=(low - 0.1 * (high - low), high + 0.1 * (high - low)))
    if own:
        keys = axes[0].get_legend_handles_labels()[0]
        add_legend(axes[0].figure, handles=keys, **LEGEND)
    return axes


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

    The number after the name of a group is its size. The band is the interval of the population
    mean. Of more than 100 groups the 50 highest and the 50 lowest are shown. A group whose interval
    is more than 10 times as wide as the lower quartile of widths is named but not drawn.

    Two sites are shown without groups, in the order of the model and with a line at 0: ``"gamma"``,
    the coefficients that all groups share, without the intercept, because its unit differs; and
    ``"correlation"``, the correlations of coefficients between groups, on an axis from -1 to 1.

    Parameters
    ----------
    tree
        A fit with a coefficient for each group.
    site
        ``"alpha"``, ``"beta"``, ``"gamma"``, ``"correlation"`` or, for the individual model,
        ``"eps"``.
    predictor
        Predictor of the slope; default the first.
    ci_prob, ci_kind
        Probability of the intervals; ``"eti"`` (equal tails) or ``"hdi"`` (highest density).
    outcome, unit
        Words for the labels: the outcome with its unit, default the name of its column; and the
        rows, in the plural.

    Returns
    -------
    numpy.ndarray
        Axes, one for each column of groups; there are one or two columns.

    Raises
    ------
    ValueError
        If the fit has no draws of the site, a predictor is unknown, or `ci_prob` or `ci_kind` is
        invalid.
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


def plot_curve(
    values: np.ndarray,
    line: Estimate,
    spread: Estimate | None,
    predictor: str,
    outcome: str,
    ci_prob: float,
) -> Axes:
    """Plot a curved regression line with its intervals.

    Parameters
    ----------
    values
        Values of the predictor, shape (N,).
    line
        Estimate for the average group, or for all rows, at each value.
    spread
        Estimate for new groups at each value; None if groups do not differ.
    predictor, outcome
        Words for the labels of the axes.
    ci_prob
        Probability of the intervals, for the legend.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax, interval = new_axes(1, 1, 2.3)[0], f"{100 * ci_prob:g} % interval"
    if spread is not None:
        label = f"groups, {interval}"
        ax.fill_between(values, spread.low, spread.high, color="0.85", lw=0, label=label)
    ax.fill_between(values, line.low, line.high, color=GREEN, alpha=0.4, lw=0, label=interval)
    ax.plot(values, line.mean, color=GREEN, lw=1.8, label="posterior mean")
    ax.margins(x=0)
    dress(ax, "", predictor, outcome)
    keys = ax.get_legend_handles_labels()[0][::-1]
    ax.figure.legend(handles=keys, **LEGEND | {"ncols": 2})
    return ax


def _along(
    means: np.ndarray, columns: Sequence[str], predictor: str, ends: np.ndarray
) -> dict[str, np.ndarray]:
    """Return every column at the ends of the x axis, with other predictors at their means."""
    at = dict(zip(columns, means, strict=True))
    found = {INTERCEPT: np.ones(len(ends))}
    for column in columns:
        parts = factors(column, columns)
        others = np.prod([at[part] for part in parts if part != predictor])
        along = ends ** parts.count(predictor) * others
        found[column] = along if predictor in parts else np.full(len(ends), at[column])
    return found


def _lines(tree: DataTree, group: Hashable, at: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute each draw's line of a group at the ends of the x axis, shape (draws, 2)."""
    design, model, draws = read_design(tree), read_model(tree), tree["posterior"].to_dataset()
    zero = dict(zip(design.predictors, _zeros(tree), strict=True)) | {INTERCEPT: 0.0}
    slopes = design.slopes if model.by_group else design.means
    columns = {"alpha": (INTERCEPT,), "beta": slopes, "gamma": design.fixed}
    lines, groups = np.zeros((1, 1)), group_sizes(tree).index.name
    for site in columns.keys() & model.sites(design).keys():
        if site not in draws:
            raise ValueError(f"Expected draws of {site}; got a fit that kept none")
        own = draws[site].sel({groups: group} if groups in draws[site].dims else {})
        values = own.transpose("chain", "draw", ...).values.reshape(-1, len(columns[site]))
        lines = lines + values @ np.stack([at[x] - zero[x] for x in columns[site]])
    return lines


def _zeros(tree: DataTree) -> np.ndarray:
    """Return the value of each predictor that the fit counts as 0."""
    return zeros(read_centers(tree), read_design(tree).predictors)


def _plot_shared(
    tree: DataTree, site: str, ci_prob: float, ci_kind: str, outcome: str | None
) -> np.ndarray:
    """Plot the parameters of a site that all groups share, a row each."""
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
