"""Figures of a fit: DataTree in, matplotlib Axes out.

==================== ===========================================================================
function             shows
==================== ===========================================================================
`plot_elbo`          how ADVI climbed, where it stopped and why
`plot_advi_vs_nuts`  the guide's densities over histograms of the draws, for every site
`plot_trace`         marginal densities and traces, by chain or by group
`plot_group_lines`   regression lines of single groups under several models, over their rows
==================== ===========================================================================

Nothing is fitted, saved or shown here. Sizes and colours are given to each artist, so that
matplotlib's settings and backend stay the caller's; text is 7 to 8 points when a figure is
printed at the size it is made in (3.4 inches for one panel, 7 for several).
"""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.stats import norm

from radon_numpyro.advi import WINDOW
from radon_numpyro.checks import suggest
from radon_numpyro.inference_data import PREDICTOR, SITES

BLUE, ORANGE, GREEN, VERMILION, PINK = sns.color_palette("colorblind").as_hex()[:5]
MODEL_LINES = {"individual": (BLUE, "--"), "hierarchical": (GREEN, "-"), "pooled": (VERMILION, ":")}
OTHER_LINES = ((ORANGE, "-."), (PINK, (0, (5, 1, 1, 1, 1, 1))))
WORDS = {
    "mu_alpha": "mean intercept",
    "sigma_alpha": "sd of the intercepts",
    "mu_beta": "mean slope",
    "sigma_beta": "sd of the slopes",
    "alpha": "intercept",
    "beta": "slope",
    "eps": "residual sd",
}
POSITIVE = ("sigma_alpha", "sigma_beta", "eps")
TOO_WIDE = 20.0
TRACE_POINTS = 250


def plot_elbo(tree: xr.DataTree, ax: Axes | None = None, *, window: int = WINDOW) -> Axes:
    """Plot the evidence lower bound against the step of ADVI.

    Single steps are a band from their smallest to their largest value in short stretches, so
    that 100 000 steps print like 4000. A long climb is cut off below, and the panel says so.

    Parameters
    ----------
    tree
        A fit.
    ax
        Where to draw; default a new figure, one column wide.
    window
        Steps of each average.

    Returns
    -------
    matplotlib.axes.Axes
    """
    elbo = _dataset(tree, "advi/trace")["elbo"].values
    elbo = np.where(np.isfinite(elbo), elbo, np.nan)
    steps = len(elbo)
    bands = np.arange(0, steps, -(-steps // 400))
    low, high = np.fmin.reduceat(elbo, bands), np.fmax.reduceat(elbo, bands)
    windows = np.arange(0, steps, window)
    averages = [np.nanmean(elbo[start : start + window]) for start in windows]
    centres = [(start + min(start + window, steps)) / 2 for start in windows]

    ax = _new_axes(1, 1, (3.4, 2.6))[0] if ax is None else ax
    ax.fill_between(
        bands, low, high, step="post", color=BLUE, alpha=0.3, lw=0, label="single steps (range)"
    )
    ax.plot(centres, averages, color="black", lw=1, marker=".", ms=4 if steps < 50 * window else 0)
    ax.lines[-1].set_label(f"average of {window} steps")
    ax.axvline(steps, color="0.4", lw=0.8, ls=":")
    bottom = max(np.nanmin(low), averages[-1] - 30 * np.nanstd(elbo[-window:]))
    top = np.nanmax(high)
    ax.set_ylim(bottom - 0.3 * (top - bottom), top + 0.05 * (top - bottom))
    if np.nanmin(low) < bottom:
        text = f" starts at {elbo[np.isfinite(elbo)][0]:,.0f}"
        ax.annotate(text, (0.02, 0.2), xycoords="axes fraction", fontsize=7, color="0.3")
    ax.legend(loc="lower center", ncols=2, fontsize=7, frameon=False)
    _dress(ax, _stopped(tree["advi"].attrs, steps), "step", "ELBO (nats)")
    return ax


def plot_advi_vs_nuts(
    tree: xr.DataTree,
    groups: Iterable[Hashable] | None = None,
    *,
    outcome: str | None = None,
    unit: str = "rows",
) -> np.ndarray:
    """Plot ADVI against NUTS: Normal densities over histograms of the draws, for every site.

    As in the tutorial, the line is the Normal with the guide's mean and sd in the site's own
    units. Groups more than 20 times as wide as the median group are named, not drawn.

    Parameters
    ----------
    tree
        A fit.
    groups
        Groups to bring out and label; default the largest, the median and the smallest. The
        others are grey.
    outcome
        Name and unit of the outcome in the labels; default its column.
    unit
        What the rows are, in the plural, for example ``"houses"``.

    Returns
    -------
    numpy.ndarray
        Axes, one a site and predictor: those without groups first.

    Raises
    ------
    ValueError
        If a group is unknown, or the tree has no ADVI.
    """
    panels = sorted(_panels(tree, outcome), key=lambda panel: panel.grouped)
    means, sds = _dataset(tree, "advi/means"), _dataset(tree, "advi/sds")
    chosen = _chosen(tree, groups)
    plain = sum(not panel.grouped for panel in panels)
    rows = -(-plain // 3) + -(-(len(panels) - plain) // 2)
    figure = plt.figure(figsize=(7, 0.4 + 1.9 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, 6)
    axes = []
    for k, panel in enumerate(panels):
        below = k - plain
        row, start, span = (
            (-(-plain // 3) + below // 2, 3 * (below % 2), 3)
            if panel.grouped
            else (k // 3, 2 * (k % 3), 2)
        )
        axes.append(figure.add_subplot(grid[row, start : start + span]))
        _compare(axes[-1], panel, panel.take(means), panel.take(sds), chosen, unit)
    handles = [
        Line2D([], [], color="black", lw=1.2, label="ADVI, Normal density"),
        Patch(color="0.8", label="NUTS, histogram of draws"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return np.array(axes, dtype=object)


def plot_trace(tree: xr.DataTree, *, outcome: str | None = None, unit: str = "rows") -> np.ndarray:
    """Plot marginal densities (left) and traces (right).

    Sites without groups have a line a chain; sites with groups a line a group, coloured by the
    size of the group. Traces are thinned, densities are of all draws. Groups more than 20 times
    as wide as the median group are counted, not drawn.

    Parameters
    ----------
    tree
        A fit.
    outcome
        Name and unit of the outcome in the labels; default its column.
    unit
        What the rows are, in the plural, for example ``"houses"``.

    Returns
    -------
    numpy.ndarray
        Axes of shape (sites and predictors, 2).
    """
    panels = _panels(tree, outcome)
    diverging = _dataset(tree, "sample_stats")["diverging"]
    count = _dataset(tree, "constant_data")["count"]
    chains = sns.color_palette("colorblind", diverging.sizes["chain"])
    sizes = ScalarMappable(LogNorm(1, max(2, count.max().item()), clip=True), "viridis_r")
    axes = _new_axes(len(panels), 2, (7, 0.4 + 1.15 * len(panels)), width_ratios=(2, 3))
    axes = axes.reshape(-1, 2)
    for (left, right), panel in zip(axes, panels, strict=True):
        if panel.grouped:
            order = np.argsort(count.values, kind="stable")
            _trace(left, right, panel, order, sizes.to_rgba(count.values))
        else:
            _trace(left, right, panel, np.arange(len(chains)), chains)
            left.plot(*_rug(left, panel.draws.values[diverging.values]), **RUG)
        right.plot(*_rug(right, np.nonzero(diverging.values)[1]), **RUG)
    return axes
