"""Draw how a fit was made: the bound of ADVI, its Normals over the draws, and the chains."""

import textwrap
from itertools import cycle

import arviz as az
import numpy as np
import seaborn as sns
from matplotlib import cm, colors
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import norm
from xarray import DataTree

from radon_numpyro.inference.settings import WINDOW
from radon_numpyro.plots.styling import (
    BLUE,
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


def plot_elbo(tree: DataTree, ax: Axes | None = None) -> Axes:
    """Plot the evidence lower bound against the step of ADVI, and say why it stopped.

    The band is the range of the bound, in nats, over short runs of steps. If the bound rises far,
    the axis is cut off below, and the title gives the lowest value.

    Parameters
    ----------
    tree
        A fit.
    ax
        Axes to draw on; default a new figure, one column wide.

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

    As in the tutorial, a line is the Normal density with the guide's mean and sd in the units of
    the site. A group whose interval is more than 10 times as wide as the lower quartile of widths
    is named but not drawn.

    Parameters
    ----------
    tree
        A fit.
    groups
        Groups to colour and label; default the largest, the median and the smallest.
    outcome, unit
        Words for the labels: the outcome with its unit, default the name of its column; and the
        rows, in the plural.

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

    Each line is a chain or, for a site with groups, a group, coloured by its size. Traces are
    thinned. Very wide groups are named but not drawn, as in :func:`plot_advi_vs_nuts`.

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
        If the draws do not come from chains.
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
            # The largest group has the narrowest density, so it is drawn last, on top.
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


def _require(tree: DataTree, group: str, what: str) -> None:
    """Check that a fit has the part that a figure shows."""
    if group not in tree.children:
        raise ValueError(
            f"Expected a fit with {what}, which the figure shows; got one by the method "
            f"{tree.attrs['method']!r} of the {tree.attrs['model']} model"
        )
