"""Figures of one fit: ADVI, chains, and the regression lines of groups."""

import textwrap
from collections.abc import Hashable, Mapping, Sequence
from itertools import cycle
from typing import Any

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import cm, colors
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import norm
from xarray import DataTree

from radon_numpyro.data.centers import zeros
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.inference.settings import WINDOW
from radon_numpyro.model.models import PREDICTOR
from radon_numpyro.plots.styling import (
    BLUE,
    GREEN,
    LEGEND,
    STYLES,
    Groups,
    add_legend,
    check_labels,
    dress,
    group_name,
    group_sizes,
    new_axes,
    on_scale,
    split_sites,
)
from radon_numpyro.results.estimates import Estimate, factors
from radon_numpyro.results.fit_reader import read_centers, read_design, read_model


def plot_elbo(tree: DataTree, ax: Axes | None = None) -> Axes:
    """Plot the evidence lower bound against the step of ADVI, and say why it stopped.

    The band is the range of single steps in short stretches. A long climb is cut off below, and
    the title then says how low it began.

    Parameters
    ----------
    tree
        A fit.
    ax
        Where to draw; default a new figure, one column wide.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the fit was made without ADVI.
    """
    _require(tree, "advi", "ADVI")
    advi, elbo = tree["advi"].attrs, tree["advi/trace"].to_dataset()["elbo"].to_series()
    steps, elbo = len(elbo), elbo[np.isfinite(elbo)]
    every = -(-steps // 400)
    band = elbo.groupby(elbo.index // every * every).agg(["min", "max"])
    mean = elbo.groupby(elbo.index // WINDOW).mean()
    bottom = max(elbo.min(), mean.iloc[-1] - 30 * elbo.tail(WINDOW).std())
    margin = elbo.max() - bottom
    ax = new_axes(1, 1, 2.3)[0] if ax is None else ax
    look = {"color": BLUE, "alpha": 0.35, "lw": 0, "label": "single steps, range"}
    ax.fill_between(band.index, band["min"], band["max"], step="post", **look)
    ax.plot((mean.index + 0.5) * WINDOW, mean, "k.-", lw=1, ms=3, label=f"mean of {WINDOW} steps")
    ax.axvline(steps, color="0.4", lw=0.8, ls=":")
    ax.set_ylim(bottom - 0.3 * margin, bottom + 1.05 * margin)
    ax.legend(loc="lower center", fontsize=7, frameon=False, labelspacing=0.2)
    climb = f" from {elbo.min():,.0f} nats" if bottom > elbo.min() else ""
    head = f"{'converged' if advi['converged'] else 'not converged'} after {steps:,} steps{climb}"
    why = "" if advi["reason"] in advi["verdict"] else f": {advi['reason']}"
    story = textwrap.fill(f"{head}{why}. Verdict: {advi['verdict']}", 44)
    dress(ax, story, "step", "ELBO (nats)")
    return ax


def plot_advi_vs_nuts(
    tree: DataTree, groups: Groups | None = None, *, outcome: str | None = None, unit: str = "rows"
) -> np.ndarray:
    """Plot ADVI against NUTS: Normal densities over histograms of the draws, for every site.

    As in the tutorial, a line is the Normal with the guide's mean and sd in the site's own units.
    A group 10 times as wide as those of the narrowest quarter is off the scale: named, not drawn.

    Parameters
    ----------
    tree
        A fit.
    groups
        Groups to colour and label; default the largest, the median and the smallest.
    outcome, unit
        Words for the labels: the outcome with its unit, default its column; rows in the plural.

    Returns
    -------
    numpy.ndarray
        Axes, one for each site and predictor.

    Raises
    ------
    ValueError
        If the fit was made without ADVI.
    """
    _require(tree, "advi", "ADVI")
    by_size = group_sizes(tree).sort_values(kind="stable").index
    wanted = by_size[[-1, len(by_size) // 2, 0]].unique() if groups is None else groups
    styles = dict(zip(check_labels(wanted, by_size), cycle(STYLES), strict=False))
    of = ("posterior", "advi/means", "advi/sds")
    sites, *advi = (split_sites(tree, part, outcome) for part in of)
    axes = new_axes(len(sites), 2, 1.75)
    for ax, (name, site) in zip(axes, sites.items(), strict=True):
        mean, sd = (moment[name].values.ravel() for moment in advi)
        alone = site.ndim == 2
        labels = [None] if alone else site[site.dims[2]].values.tolist()
        draws = site.values.reshape(-1, len(labels)).T
        low, high = np.quantile(draws, (0.002, 0.998), axis=1)
        floor = 0.0 if low.min() > 0 else -np.inf
        least, most = (mean - 4 * sd).clip(floor, low), np.maximum(high, mean + 4 * sd)
        if name.startswith("correlation"):
            least, most = np.maximum(least, -1.0), np.minimum(most, 1.0)
        shown, limits, note = on_scale(least, most, labels)
        for c in sorted(shown, key=lambda c: labels[c] in styles):
            named = labels[c] in styles
            colour, style = styles.get(labels[c], ("black" if alone else "0.5", "-"))
            heights, edges = np.histogram(draws[c], 40, (low[c], high[c]))
            heights = heights / len(draws[c]) / np.diff(edges)
            ax.stairs(heights, edges, color=colour, alpha=0.25, fill=named or alone, lw=0.4)
            x = mean[c] + sd[c] * np.linspace(-4, 4, 201)
            line = {"color": colour, "ls": style, "lw": 1.2 if named or alone else 0.3}
            line["label"] = group_name(tree, labels[c], unit) if named else None
            ax.plot(x, norm.pdf(x, mean[c], sd[c]), **line)
        ax.set(xlim=limits, ylim=(0, None), yticks=[])
        if not alone:
            ax.set_ylim(top=1.6 * ax.get_ylim()[1])
            keys = ax.get_legend_handles_labels()[0]
            add_legend(ax, handles=keys, loc="upper right", fontsize=7, frameon=False)
        spread = f"sd: ADVI {np.median(sd):.3g}, NUTS {np.median(draws.std(1)):.3g}"
        title = f"{name}, {'' if alone else 'median '}{spread}\n{note}"
        dress(ax, title.strip(), site.attrs["long_name"], "density")
    key = Line2D([], [], color="black", lw=1.2, label="ADVI, Normal density")
    axes[0].figure.legend(handles=[key, Patch(color="0.75", label="NUTS, histogram")], **LEGEND)
    return axes


def plot_trace(tree: DataTree, *, outcome: str | None = None, unit: str = "rows") -> np.ndarray:
    """Plot marginal densities (left) and traces (right).

    A line is a chain or, for a site with groups, a group, coloured by its size. Traces are
    thinned. Groups off the scale are named, not drawn, as in :func:`plot_advi_vs_nuts`.

    Parameters
    ----------
    tree
        A fit.
    outcome, unit
        As in :func:`plot_advi_vs_nuts`.

    Returns
    -------
    numpy.ndarray
        Axes of shape (sites and predictors, 2).

    Raises
    ------
    ValueError
        If the draws are not those of chains.
    """
    _require(tree, "sample_stats", "chains")
    sites, size = split_sites(tree, "posterior", outcome), group_sizes(tree).sort_values()
    diverging = tree["sample_stats"].to_dataset()["diverging"].values
    chains = sns.color_palette("colorblind", len(diverging))
    ends = max(1, size.min()), max(2, size.min() + 1, size.max())
    shades = cm.ScalarMappable(colors.LogNorm(*ends, clip=True), "flare")
    axes = new_axes(2 * len(sites), 2, 1.15).reshape(-1, 2)
    for (left, right), (name, site) in zip(axes, sites.items(), strict=True):
        note, colours, lines = "", chains, site.values[..., None]
        if site.ndim == 3:
            # The largest group comes last, on top: it has the narrowest density.
            lines = site.sel({site.dims[2]: size.index}).values.transpose(2, 1, 0)
            low, high = np.quantile(lines, (0.002, 0.998), axis=(1, 2))
            shown, limits, note = on_scale(low, high, size.index)
            lines, colours = lines[shown], shades.to_rgba(size)[shown]
            left.set_xlim(limits)
            right.set_ylim(limits)
        draw, every = site["draw"].values, -(-site.sizes["draw"] // 250)
        densities = zip(*az.kde(lines, axis=(1, 2))[:2], lines, colours, strict=True)
        for grid, density, line, colour in densities:
            left.plot(grid, density, color=colour, lw=0.7)
            right.plot(draw[::every], line[::every], color=colour, lw=0.3, rasterized=True)
        marks = draw[np.nonzero(diverging)[1]]
        right.plot(marks, 0.0 * marks, "k|", ms=5, transform=right.get_xaxis_transform())
        left.set(ylim=(0, None), yticks=[])
        dress(left, f"{name}, {note}".strip(", "), site.attrs["long_name"], "density")
        dress(right, name, "draw" if right is axes[-1, 1] else "", "")
        right.tick_params(labelbottom=right is axes[-1, 1])
    figure, grouped = axes[0, 0].figure, np.array([site.ndim == 3 for site in sites.values()])
    keys = [Line2D([], [], color=c, lw=1.5, label=f"chain {k}") for k, c in enumerate(chains)]
    rug = Line2D([], [], color="black", ls="", marker="|", ms=5, label="divergence")
    figure.legend(handles=keys * int(not grouped.all()) + [rug] * int(diverging.any()), **LEGEND)
    if grouped.any():
        bar = figure.colorbar(shades, ax=list(axes[grouped].flat), format="{x:.0f}", aspect=30)
        bar.set_ticks(np.unique(np.geomspace(*ends, 5).round()))
        bar.minorticks_off()
        dress(bar.ax, "", "", f"{unit} in {tree.attrs['group']}")
    return axes


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

    The thick line is the posterior mean; the 60 thin lines are single draws of that group, taken
    evenly over chains and draws. Other predictors are held at their mean in the group, or over all
    rows where the group has none; an interaction goes with the predictor that is on the axis. The
    y axis holds the rows and the means, save that of an individual slope that the rows do not
    identify.

    Parameters
    ----------
    trees
        Fits by label: ``{"individual": one, "hierarchical": other}`` is dashed blue and green.
        The rows are those of the first that has any.
    groups
        Labels of the groups.
    predictor
        The predictor of the x axis; default the first.
    outcome, unit
        As in :func:`plot_advi_vs_nuts`.
    x_labels
        Words for values of the predictor, for example ``{0: "basement", 1: "no basement"}``.
    axes
        Where to draw, one for each group, the legend left to you; default a new figure.

    Returns
    -------
    numpy.ndarray
        Axes, one for each group.

    Raises
    ------
    TypeError, ValueError
        If a group or predictor is unknown, no tree has rows, or the axes are too few or many.
    """
    if isinstance(trees, DataTree):
        raise TypeError("Expected trees to be a mapping of labels to fits; got a fit")
    source = next((tree for tree in trees.values() if "x" in tree["constant_data"]), None)
    if source is None:
        raise ValueError("Expected a fit with rows and a predictor; got none, so no line to draw")
    constants, rows = (source[of].to_dataset() for of in ("constant_data", "observed_data"))
    chosen = [check_labels(groups, group_sizes(tree).index) for tree in trees.values()][-1]
    # In the units of the columns, wherever each fit counts them from.
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
    heights, ticks = [rows["y"].values[seen]], x_labels or ({0: "0", 1: "1"} if binary else {})
    for k, (ax, group) in enumerate(zip(axes, chosen, strict=True)):
        row = labels == group
        at = _along((x[row] if row.any() else x).mean(0), predictors, predictor, ends)
        for (label, tree), (colour, style) in zip(trees.items(), cycle(STYLES), strict=False):
            lines, name = _lines(tree, group, at), f"{label}: mean and draws"
            ax.plot(ends, lines[:: -(-len(lines) // 60)].T, color=colour, lw=0.4, alpha=0.3)
            ax.plot(ends, lines.mean(0), color=colour, ls=style, lw=1.8, zorder=3, label=name)
            if read_model(tree).eps_by_group and len(set(values[row])) < 2:
                text = f"{label} slope\nnot identified:\n{predictor} does not vary"
                how = {"ha": "center", "va": "top", "fontsize": 7, "color": colour}
                ax.text(0.5, 0.98, text, transform=ax.transAxes, parse_math=False, **how)
            else:
                heights.append(lines.mean(0))
        # Multiples of the golden ratio spread rows that share a value, the same at each call.
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


def plot_curve(
    values: np.ndarray,
    line: Estimate,
    spread: Estimate | None,
    predictor: str,
    outcome: str,
    ci_prob: float,
) -> Axes:
    """Plot a line that is no straight one, with its intervals.

    Parameters
    ----------
    values
        Of the predictor, shape (N,).
    line
        Of the average group, or of all rows, at each value.
    spread
        Of groups that were not seen, if groups differ.
    predictor, outcome
        Words for the labels.
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


def _require(tree: DataTree, group: str, what: str) -> None:
    """Refuse a fit that was made without what a figure shows."""
    if group not in tree.children:
        raise ValueError(
            f"Expected a fit with {what}, which the figure shows; got one by the method "
            f"{tree.attrs['method']!r} of the {tree.attrs['model']} model"
        )


def _along(
    means: np.ndarray, columns: Sequence[str], predictor: str, ends: np.ndarray
) -> dict[str, np.ndarray]:
    """Every column at the two ends of the x axis, others being as they are on average."""
    at = dict(zip(columns, means, strict=True))
    found = {INTERCEPT: np.ones(len(ends))}
    for column in columns:
        parts = factors(column, columns)
        others = np.prod([at[part] for part in parts if part != predictor])
        along = ends ** parts.count(predictor) * others
        found[column] = along if predictor in parts else np.full(len(ends), at[column])
    return found


def _lines(tree: DataTree, group: Hashable, at: Mapping[str, np.ndarray]) -> np.ndarray:
    """Each draw's line of a group at the two ends of the x axis, shape (draws, 2)."""
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
    """Value of each predictor that a fit counts as 0."""
    return zeros(read_centers(tree), read_design(tree).predictors)
