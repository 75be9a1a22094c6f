"""Draw figures that check a model against the data, its priors, and other models."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from xarray import DataArray, DataTree

from radon_numpyro.data.digits import number
from radon_numpyro.model.parameter_priors import parameter_priors
from radon_numpyro.model.priors import Priors
from radon_numpyro.plots.styling import (
    INTERVALS,
    LEGEND,
    MODEL_STYLES,
    STYLES,
    VERMILION,
    Look,
    add_legend,
    dress,
    group_sizes,
    interval,
    new_axes,
    on_scale,
    shorten,
    size_axis,
    split_sites,
)
from radon_numpyro.results.fit_reader import read_design, read_model, read_priors

MOST_BINS, WIDE = 50, 20
GREY = "0.75"
MISSED: Look = {"color": VERMILION, "mec": "black", "mew": 0.5, "marker": "o", "ls": "", "ms": 3}
LOO: Look = {"marker": "o", "ms": 4.5}
KFOLD: Look = {"marker": "s", "ms": 4.5, "mfc": "white"}


def plot_ppc(
    tree: DataTree,
    *,
    ci_prob: float = 0.9,
    ci_kind: str = "eti",
    outcome: str | None = None,
    unit: str = "rows",
) -> np.ndarray:
    """Plot the outcome beside outcomes that the fit predicts for the same rows.

    The left panel is a histogram of the data. In each bin the bands contain 50 % and `ci_prob` of
    the predicted data sets. The other panels show the mean and the sd of each group against its
    size. Points are the data, vermilion where they lie outside the predicted interval. The model
    was fitted to the means; the sds test its assumptions, such as a common residual sd. A group of
    one row has no sd. Intervals more than 10 times as wide as the lower quartile of widths extend
    beyond the axis.

    Parameters
    ----------
    tree
        A fit with rows and the group ``posterior_predictive`` (``with_groups`` adds it).
    ci_prob, ci_kind
        Probability of the intervals; ``"eti"`` (equal tails) or ``"hdi"`` (highest density).
    outcome, unit
        Words for the labels: the outcome with its unit, default the name of its column; and the
        rows, in the plural.

    Returns
    -------
    numpy.ndarray
        Axes: histogram, means, and, if any group has more than one row, sds.

    Raises
    ------
    ValueError
        If the fit has no predictive draws or no rows, or `ci_prob` or `ci_kind` is invalid.
    """
    observed, drawn = _outcomes(tree, "posterior_predictive")
    words, colour = outcome or tree.attrs["outcome"], MODEL_STYLES[tree.attrs["model"]][0]
    index = tree["constant_data"].to_dataset()["group_index"].values
    data, predicted = _group_moments(observed, index), _group_moments(drawn, index)
    sizes = group_sizes(tree).iloc[np.unique(index)]
    kinds = ["mean", "sd"] if (sizes > 1).any() else ["mean"]
    left, *others = axes = new_axes(1 + len(kinds), 1 + len(kinds), 2.3)
    edges = _edges(observed.values)
    counts = DataArray(_count(drawn.values, edges), dims=("chain", "draw", "bin"))
    for prob in (ci_prob, 0.5):
        low, high = interval(counts, prob, ci_kind)
        left.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.3, lw=0)
    left.stairs(_count(observed.values, edges), edges, color="black", lw=1)
    left.set(xlim=edges[[0, -1]], ylim=(0, None))
    dress(left, "", words, f"{unit} in a bin")
    for ax, kind in zip(others, kinds, strict=True):
        some = sizes.to_numpy() > (kind == "sd")
        ends = interval(predicted[kind][..., some], ci_prob, ci_kind)
        note = _draw_groups(ax, sizes[some], data[kind].values[some], *ends, colour)
        dress(ax, note, f"{unit} in {tree.attrs['group']}", f"{kind} of {words}")
    predictive = f"predicted, {100 * ci_prob:g} % {INTERVALS[ci_kind]} (bins also 50 %)"
    keys = [
        Line2D([], [], color="black", lw=1, marker=".", ms=5, label="data"),
        Line2D([], [], label="data, missed", **MISSED),
        Patch(color=colour, alpha=0.4, lw=0, label=predictive),
    ]
    left.figure.legend(handles=keys, **LEGEND)
    return axes


def plot_prior_predictive(
    tree: DataTree, ax: Axes | None = None, *, outcome: str | None = None
) -> Axes:
    """Plot the outcome beside outcomes that the priors alone predict.

    Priors should allow a wider range than the data, but give little probability to impossible
    values. If their range is more than 20 times that of the data, the axis is linear up to the
    largest absolute outcome and logarithmic beyond. All bins have the same width on the axis.

    Parameters
    ----------
    tree
        A fit with rows and the group ``prior_predictive`` (``with_groups`` adds it).
    ax
        Axes to draw on; default a new figure, one column wide.
    outcome
        Words for the outcome with its unit, default the name of its column.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If the fit has no prior predictive draws or no rows.
    """
    observed, drawn = _outcomes(tree, "prior_predictive")
    y, prior = observed.values, drawn.values.ravel()
    ax = new_axes(1, 1, 2.3)[0] if ax is None else ax
    ends = np.array([*np.quantile(prior, (0.002, 0.998)), y.min(), y.max()])
    reach = np.abs(y).max() or 1.0
    wide = np.ptp(ends) > WIDE * np.ptp(y)
    if wide:
        ax.set_xscale("asinh", linear_width=reach)
        ends = np.arcsinh(ends / reach)
    margin = 0.02 * np.ptp(ends)
    edges = np.linspace(ends.min() - margin, ends.max() + margin, 61)
    edges = reach * np.sinh(edges) if wide else edges
    filled: Look = {"fill": True, "color": GREY, "lw": 0, "label": "from the priors"}
    ax.stairs(_count(prior, edges) / len(prior), edges, **filled)
    ax.stairs(_count(y, edges) / len(y), edges, color="black", lw=1, label="data")
    ax.set(xlim=edges[[0, -1]], ylim=(0, None))
    ax.legend(fontsize=7, frameon=False)
    low, high = np.quantile(prior, (0.025, 0.975))
    width = (high - low) / 4
    title = f"95 % from the priors: {number(low, width)} to {number(high, width)}\n"
    title += f"data: {number(y.min(), y.std())} to {number(y.max(), y.std())}"
    dress(ax, title, outcome or tree.attrs["outcome"], "share of rows in a bin")
    return ax


def plot_prior_posterior(
    tree: DataTree, priors: Priors | None = None, *, outcome: str | None = None
) -> np.ndarray:
    """Plot prior density and posterior histogram of each parameter that the groups share.

    The axis covers the posterior, so a wide prior is a nearly flat line, and the title says how
    wide it is. The axis of a correlation goes from -1 to 1; its prior is the marginal prior of this
    pair under the prior of the correlation matrix. If prior and posterior are alike, the data
    contain no information about the parameter.

    Parameters
    ----------
    tree
        A hierarchical or pooled fit.
    priors
        Priors to draw; default the priors of the fit.
    outcome
        Words for the outcome with its unit, default the name of its column.

    Returns
    -------
    numpy.ndarray
        Axes, one for each shared parameter; a vector has one for each predictor.

    Raises
    ------
    ValueError
        If every parameter belongs to a single group, as in the individual model.
    """
    sites = split_sites(tree, "posterior", outcome)
    sites = {name: draws for name, draws in sites.items() if draws.ndim == 2}
    if not sites:
        raise ValueError(f"Expected a hierarchical or pooled fit; got {tree.attrs['model']!r}")
    priors = read_priors(tree) if priors is None else priors
    of_parameter = parameter_priors(read_model(tree), read_design(tree), priors)
    axes = new_axes(len(sites), 2, 1.85)
    for ax, (name, site) in zip(axes, sites.items(), strict=True):
        prior = of_parameter[name].prior
        draws = site.values.ravel()
        low, high = np.quantile(draws, (0.002, 0.998))
        heights, edges = np.histogram(draws, 40, (low, high))
        ax.stairs(heights / len(draws) / np.diff(edges), edges, color=GREY, fill=True, lw=0)
        # The axis of a correlation covers its whole range, other axes the range of the posterior.
        correlation = name.startswith("correlation")
        around = (-1.0, 1.0) if correlation else (1.1 * low - 0.1 * high, 1.1 * high - 0.1 * low)
        left, right = np.clip(around, prior.lower, prior.upper)
        x = np.linspace(left, right, 201)
        if prior.proper:
            # Not clipped: the line of a wide prior lies on the axis itself.
            density = np.exp(prior.log_density(x))
            ax.plot(x, density, color=VERMILION, lw=1.5, clip_on=False, zorder=3)
        ax.set(xlim=(left, right), ylim=(0, None), yticks=[])
        spread = f"sd: prior {_number(prior.sd)}, posterior {_number(draws.std())}"
        dress(ax, f"{name} ~ {prior.text(_number)}\n{spread}", site.attrs["long_name"], "density")
    keys = [
        Line2D([], [], color=VERMILION, lw=1.5, label="prior density"),
        Patch(color=GREY, label="posterior, histogram"),
    ]
    axes[0].figure.legend(handles=keys, **LEGEND)
    return axes


def plot_comparison(table: pd.DataFrame, *, outcome: str = "outcome") -> np.ndarray:
    """Plot each model's elpd relative to the best, and its RMSD on rows fitted and left out.

    The left panel shows the expected log predictive density (elpd) of each model minus that of the
    best model, which is on top, with 1 (thick) and 2 (thin) standard errors of the difference. The
    right panel shows the root mean square deviation (RMSD) from the rows that were fitted, and from
    rows left out, with 1 standard error. Least squares minimises the first, so the most flexible
    model has the smallest. Where lines cross, the model whose line rises has fitted noise.

    Parameters
    ----------
    table
        ``Comparison.table``: a row for each model; ``Comparison.definitions`` describes the
        columns. K-fold scores are shown if the table has them, else only leave-one-out scores.
        Missing values are not drawn.
    outcome
        Words for the outcome with its unit.

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
        # Bars are shifted sideways, so that they do not overlap.
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


def _outcomes(tree: DataTree, group: str) -> tuple[DataArray, DataArray]:
    """Return outcomes of the data, dims (row,), and draws of them, dims (chain, draw, row)."""
    if "observed_data" not in tree.children:
        raise ValueError("Expected a fit with rows; got one of statistics only")
    if group not in tree.children:
        how = f"with_groups(tree, {group!r}) adds it"
        raise ValueError(f"Expected a fit with the group {group!r}; got none ({how})")
    drawn = tree[group].to_dataset()["y"].transpose("chain", "draw", "row")
    return tree["observed_data"].to_dataset()["y"], drawn


def _group_moments(rows: DataArray, index: np.ndarray) -> dict[str, DataArray]:
    """Compute mean and sd of each group with rows, in their order; the sd of one row is 0."""
    order = np.argsort(index, kind="stable")
    _, start, count = np.unique(index[order], return_index=True, return_counts=True)
    values = rows.values[..., order]
    mean = np.add.reduceat(values, start, axis=-1) / count
    squares = (values - np.repeat(mean, count, axis=-1)) ** 2
    sd = np.sqrt(np.add.reduceat(squares, start, axis=-1) / np.maximum(count - 1, 1))
    dims = (*rows.dims[:-1], "group")
    return {"mean": DataArray(mean, dims=dims), "sd": DataArray(sd, dims=dims)}


def _draw_groups(
    ax: Axes, sizes: pd.Series, data: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str
) -> str:
    """Draw data and intervals of groups, and say how many are inside and which is furthest out."""
    inside, x = (low <= data) & (data <= high), size_axis(ax, sizes)
    _, limits, _ = on_scale(low, high, sizes.index)
    ends = min(limits[0], data.min()), max(limits[1], data.max())
    margin = 0.04 * (ends[1] - ends[0])
    ax.set_ylim(ends[0] - margin, ends[1] + margin)
    ax.vlines(x, low, high, color=colour, alpha=0.5, lw=1)
    ax.plot(x[inside], data[inside], ".", color="black", ms=4)
    ax.plot(x[~inside], data[~inside], **MISSED)
    miss = np.maximum(low - data, data - high)
    note = "" if inside.all() else f"\nmissed most: {shorten(sizes.index[miss.argmax()])}"
    return f"{inside.sum()} of {len(inside)} inside{note}"


def _edges(y: np.ndarray) -> np.ndarray:
    """Return edges of bins: 5 to 50 over the data (Freedman and Diaconis), and some beyond."""
    middle = np.subtract(*np.quantile(y, (0.75, 0.25)))
    wanted = np.ptp(y) * len(y) ** (1 / 3) / (2 * middle) if middle > 0 else np.inf
    edges = np.histogram_bin_edges(y, int(np.clip(wanted, 5, MOST_BINS)))
    width, more = edges[1] - edges[0], 1 + len(edges) // 8
    return edges[0] + width * np.arange(-more, len(edges) + more)


def _count(y: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count values in each bin along the last axis, without values beyond the edges."""
    bins = len(edges) + 1
    draws = y.reshape(-1, y.shape[-1])
    at = np.searchsorted(edges, draws, side="right") + bins * np.arange(len(draws))[:, None]
    counts = np.bincount(at.ravel(), minlength=bins * len(draws))
    return counts.reshape(*y.shape[:-1], bins)[..., 1:-1]


def _number(value: float) -> str:
    """Write a number with three significant digits, without an exponent."""
    if not np.isfinite(value):
        return "infinite"
    return np.format_float_positional(value, 3, fractional=False, trim="-")
