"""Shared parts of figures: colours, words, names of groups, and the style of an axis.

Sizes and colours are set for each artist, so that matplotlib's settings and backend remain those
of the caller. Text has 7 or 8 points in figures of 3.4 or 7 inches width, printed at full size.
"""

import textwrap
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from xarray import DataArray, DataTree

from radon_numpyro.data.checks import first_few, suggest
from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.model.models import (
    COEFFICIENT,
    COEFFICIENT_OTHER,
    GROUP,
    PREDICTOR,
    coordinates,
)
from radon_numpyro.results.fit_reader import read_design, read_model

Groups = Iterable[Hashable]
Look = dict[str, Any]
BLUE, _, GREEN, VERMILION, PINK = sns.color_palette("colorblind").as_hex()[:5]
LEGEND: Look = {"loc": "outside upper center", "ncols": 5, "fontsize": 8, "frameon": False}
STYLES = ((BLUE, "--"), (GREEN, "-"), (VERMILION, "-."), (PINK, ":"))
MODEL_STYLES = dict(zip(("individual", "hierarchical", "pooled"), STYLES, strict=False))
SHADE: Look = {"color": "black", "alpha": 0.08, "lw": 0, "zorder": 0}
INTERVALS = {"eti": "equal-tailed", "hdi": "highest-density"}
_make_figure: ContextVar[Callable[..., Figure]] = ContextVar("_make_figure", default=plt.figure)


def group_sizes(tree: DataTree) -> pd.Series:
    """Return the number of rows in each group, by label."""
    return tree["constant_data"].to_dataset()["count"].to_series().astype(int)


def group_name(tree: DataTree, group: Hashable, unit: str) -> str:
    """Write a group and its size: ``CASS, 5 houses`` or ``school 7, 1 pupil``."""
    count = group_sizes(tree)[group]
    name = group if isinstance(group, str) else f"{tree.attrs['group']} {group}"
    return f"{name}, {count} {unit.removesuffix('s') if count == 1 else unit}"


def shorten(group: Hashable) -> str:
    """Shorten a label to at most 24 characters."""
    return text if len(text := str(group)) <= 24 else f"{text[:23]}\N{HORIZONTAL ELLIPSIS}"


def check_labels(wanted: Any, known: pd.Index) -> list[Any]:
    """Return one label or several as a list; raise an error that names the first unknown label."""
    labels = [wanted] if isinstance(wanted, str) else list(wanted)
    for label in labels:
        if label not in known:
            hint = suggest(label, known)
            raise ValueError(f"Expected a label of {known.name!r}; got {label!r} ({hint})")
    return labels


def split_sites(tree: DataTree, of: str, outcome: str | None) -> dict[str, DataArray]:
    """Return sites in the order of the model, split by column or pair: ``beta[floor]``."""
    sites: dict[str, DataArray] = {}
    y, dataset = outcome or tree.attrs["outcome"], tree[of].to_dataset()
    design = read_design(tree)
    of_model, columns = read_model(tree).sites(design), coordinates(design)
    for name in filter(dataset.data_vars.__contains__, of_model):
        whole = dataset[name]
        if name == "correlation":
            sites |= _split_pairs(whole, design)
            continue
        dim = next((d for d in of_model[name].dims if d != GROUP), None)
        for x in [None] if dim is None else columns[dim]:
            one = whole if x is None else whole.sel({dim: x})
            words = _words(of_model[name].words, x).format(y=y, x=x)
            sites[name if x is None else f"{name}[{x}]"] = one.assign_attrs(long_name=words)
    return sites


def _split_pairs(matrix: DataArray, design: Design) -> dict[str, DataArray]:
    """Return the correlation of each pair of coefficients: ``correlation[Intercept, Days]``."""
    pairs = {}
    for name, places in zip(design.pair_names, design.pairs, strict=True):
        first, second = (design.varying[place] for place in places)
        own = "coefficients" if set(first + second) & set("[:") else "slopes"
        both = f"intercepts and {own} of" if first == INTERCEPT else f"{own} of {first} and of"
        one = matrix.isel(dict(zip((COEFFICIENT, COEFFICIENT_OTHER), places, strict=True)))
        words = f"correlation of {both} {second}"
        pairs[f"correlation[{name}]"] = one.assign_attrs(long_name=words)
    return pairs


def _words(words: str, x: str | None) -> str:
    """Describe a site in words.

    Columns of levels, curves and interactions have no unit, so their words do not mention one.
    """
    if x == INTERCEPT:
        return "intercept, {y}"
    if not x or not set(x) & set("[:"):
        return words
    what = words.removesuffix(", {y} per unit of {x}").replace("slope", "coefficient")
    return f"{what} of {{x}}, {{y}}"


def slope_name(tree: DataTree, predictor: str | None) -> str | None:
    """Return the name of a predictor's slopes, default the first: ``beta[floor]``, or None."""
    known = pd.Index(read_design(tree).slopes, name=PREDICTOR, dtype=object)
    chosen = check_labels(predictor or known[:1], known)
    return f"beta[{chosen[0]}]" if chosen else None


def interval(draws: DataArray, ci_prob: float, ci_kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of the interval over chains and draws, each with the other dimensions.

    Raises
    ------
    ValueError
        If `ci_prob` is not between 0 and 1, or `ci_kind` is neither ``"eti"`` nor ``"hdi"``.
    """
    if not 0 < ci_prob < 1:
        raise ValueError(f"Expected ci_prob between 0 and 1; got {ci_prob!r}")
    if ci_kind not in INTERVALS:
        raise ValueError(f"Expected ci_kind to be 'eti' or 'hdi'; got {ci_kind!r}")
    ends = getattr(az, ci_kind)(draws, prob=ci_prob, dim=("chain", "draw"))
    low, high = (ends.sel(ci_bound=bound).values for bound in ("lower", "upper"))
    return low, high


def on_scale(low: np.ndarray, high: np.ndarray, labels: Groups) -> tuple[np.ndarray, Any, str]:
    """Return positions of the groups that fit on one axis, its limits, and a note on the others.

    A group does not fit if its interval is more than 10 times as wide as the lower quartile of
    widths.
    """
    wide = high - low > 10 * np.quantile(high - low, 0.25)
    names = [label for label, off in zip(labels, wide, strict=True) if off]
    note = f"{len(names)} off the scale: {first_few(names, 2)}" if names else ""
    return np.flatnonzero(~wide), (low[~wide].min(), high[~wide].max()), note


@contextmanager
def apart_from_pyplot() -> Iterator[None]:
    """Make new figures without pyplot, which would keep them, and without a display."""
    token = _make_figure.set(Figure)
    try:
        yield
    finally:
        _make_figure.reset(token)


def new_axes(number: int, columns: int, height: float) -> np.ndarray:
    """Return the axes of a new figure, row by row; `height` is that of each row, in inches."""
    rows, width = -(-number // columns), 3.4 if number == 1 else 7.0
    size = width, 0.3 + height * rows
    figure = _make_figure.get()(figsize=size, layout="constrained")
    return np.array([figure.add_subplot(rows, columns, k + 1) for k in range(number)], object)


def dress(ax: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Set the title and labels of an axis, with line breaks, and the common style.

    Dollar signs are shown as such, and do not start formulas.
    """
    ax.set_title(title, loc="left", fontsize=8, parse_math=False)
    for put, words in ((ax.set_xlabel, xlabel), (ax.set_ylabel, ylabel)):
        put(textwrap.fill(words, 48), fontsize=8, parse_math=False)
    ax.tick_params(labelsize=7, width=0.6, length=3)
    plt.setp([ax.xaxis.get_offset_text(), ax.yaxis.get_offset_text()], fontsize=7)
    ax.spines[["top", "right"]].set_visible(False)


def add_legend(of: Axes | Figure, *keys: Any, **look: Any) -> Legend:
    """Add a legend in which dollar signs do not start formulas."""
    legend = of.legend(*keys, **look)
    plt.setp(legend.get_texts(), parse_math=False)
    return legend


def size_axis(ax: Axes, sizes: pd.Series) -> np.ndarray:
    """Make the x axis a log axis of group sizes, and return the position of each group on it.

    Groups of equal size are placed side by side, within two fifths of the distance to the next
    size. Groups without rows are placed at one half, labelled 0.
    """
    logs = np.log(np.maximum(sizes.to_numpy(float), 0.5))
    distinct, which, tied = np.unique(logs, return_inverse=True, return_counts=True)
    span = max(distinct[-1] - distinct[0], np.log(2))
    gap = np.diff(distinct, prepend=-np.inf, append=np.inf)
    room = np.minimum(np.minimum(gap[:-1], gap[1:]), 0.3 * span)[which]
    nth = pd.Series(which).groupby(which).cumcount().to_numpy()
    places = np.exp(logs + 0.8 * room * ((nth + 0.5) / tied[which] - 0.5))
    ax.set_xscale("log")
    ax.set_xlim(np.exp(distinct[[0, -1]] + 0.15 * span * np.array((-1, 1))))
    ends = max(1, sizes.min()), max(1, sizes.max())
    ticks = dict.fromkeys(np.geomspace(*ends, 5).round(), "{:.0f}")
    ticks |= {0.5: "0"} if sizes.min() < 1 else {}
    ax.set_xticks(list(ticks), [text.format(at) for at, text in ticks.items()])
    ax.minorticks_off()
    return places
