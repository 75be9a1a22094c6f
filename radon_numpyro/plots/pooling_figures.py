"""Draw partial pooling: how the population changes the estimate of each group."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Patch
from scipy.stats import chi2, norm
from xarray import DataArray, DataTree

from radon_numpyro.data.checks import first_few
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.data.identification import identified_coefficients
from radon_numpyro.model.models import PREDICTOR
from radon_numpyro.plots.styling import (
    BLUE,
    GREEN,
    LEGEND,
    SHADE,
    VERMILION,
    Groups,
    Look,
    check_labels,
    dress,
    group_sizes,
    new_axes,
    size_axis,
    slope_name,
    split_sites,
)
from radon_numpyro.results.fit_reader import read_design, read_model

COVERAGE = (0.5, 0.95)
ALONE: Look = {"color": BLUE, "mfc": "white", "marker": "o", "ls": "", "ms": 3.5, "mew": 0.8}
SHARED: Look = {"color": GREEN, "marker": "o", "ls": "", "ms": 3, "mew": 0.6}
TICK: Look = {"color": BLUE, "marker": "|", "ls": "", "ms": 7}


class _Pull(NamedTuple):
    """Estimates of groups and of their population, with a column for each coefficient.

    `alone` and `shared` are the estimates of the individual and of the hierarchical model. `alone`
    is missing where a group's own rows do not identify the coefficient. `mean` and `covariance`
    are those of the population.
    """

    alone: pd.DataFrame
    shared: pd.DataFrame
    mean: pd.Series
    covariance: pd.DataFrame
    pooled: pd.Series | None

    @property
    def sd(self) -> pd.Series:
        """Standard deviation of each coefficient between groups."""
        return pd.Series(np.sqrt(np.diag(self.covariance)), index=self.covariance.index)


def plot_shrinkage(
    trees: Mapping[str, DataTree],
    *,
    predictor: str | None = None,
    groups: Groups | None = None,
    outcome: str | None = None,
    unit: str = "rows",
) -> np.ndarray:
    """Plot partial pooling: each group's individual estimate, and its hierarchical estimate.

    The left panel shows intercept and slope, the right panel the intercept against the size of the
    group. A line leads from the individual estimate to the hierarchical one. Both are posterior
    medians, because the individual posterior of a small group has such long tails that the mean of
    its draws is mostly noise. Shaded regions contain 50 % and 95 % of the groups of the population,
    at the posterior means of its mean and covariance. If the coefficients correlate, the ellipse is
    tilted.

    If a group's own rows do not identify its slope, no line is drawn; a tick on the axis marks the
    individual intercept, if that is identified. The axes cover the population, the hierarchical
    estimates, and the individual estimates within three interquartile ranges of the quartiles
    (Tukey's outer fences). The title counts the groups beyond.

    Parameters
    ----------
    trees
        ``{"individual": one, "hierarchical": other}``, fits of the same data. A third fit,
        ``"pooled"``, is marked if given.
    predictor
        Predictor of the slope; default the first. Without predictors there is only the right panel.
    groups
        Groups to name, if they are on the panel and there is room. The default is three groups in
        each panel that move far, in units of the population sds.
    outcome, unit
        Words for the labels: the outcome with its unit, default the name of its column; and the
        rows, in the plural.

    Returns
    -------
    numpy.ndarray
        Axes: slope against intercept, and intercept against size; or only the second.

    Raises
    ------
    TypeError, ValueError
        If `trees` lacks one of the fits or has fits of other groups, a group or predictor is
        unknown, or the intercept does not vary by group.
    """
    _check_trees(trees)
    individual, hierarchical = trees["individual"], trees["hierarchical"]
    sites, sizes = split_sites(hierarchical, "posterior", outcome), group_sizes(hierarchical)
    slope = slope_name(hierarchical, predictor)
    names = ["alpha"] if slope is None else ["alpha", slope]
    if "sigma_alpha" not in sites:
        raise ValueError("Expected fits in which the intercept varies by group; got others")
    of_model = read_model(hierarchical).sites(read_design(hierarchical))
    words = {"y": outcome or hierarchical.attrs["outcome"], "x": (slope or "")[5:-1]}
    labels = [of_model[name.partition("[")[0]].words.format(**words) for name in names]
    wanted = None if groups is None else check_labels(groups, sizes.index)
    pull = _Pull(
        _estimates(individual).where(_identified(individual))[names],
        _estimates(hierarchical)[names],
        pd.Series({name: _mean(sites, name) for name in names}),
        _covariance(sites, names),
        _estimates(trees["pooled"])[names].iloc[0] if "pooled" in trees else None,
    )
    axes = new_axes(len(names), len(names), 3.1)
    if slope is not None:
        title = _draw_plane(axes[0], pull, wanted)
        dress(axes[0], title, *labels)
    title = _draw_sizes(axes[-1], pull, sizes, wanted)
    dress(axes[-1], title, f"{unit} in {hierarchical.attrs['group']}", labels[0])
    _add_key(axes, pull)
    return axes


def _draw_plane(ax: Axes, pull: _Pull, wanted: Groups | None) -> str:
    """Draw slopes against intercepts, and return a note on the groups beyond the axes."""
    note, lost = _limit(ax, "xy", pull), pull.alone.iloc[:, 1].isna()
    variances, axes = np.linalg.eigh(pull.covariance)
    angle = np.degrees(np.arctan2(axes[1, 0], axes[0, 0]))
    for p in COVERAGE:
        size = 2 * np.sqrt(chi2.ppf(p, 2) * np.maximum(variances, 0.0))
        ax.add_patch(Ellipse(tuple(pull.mean), *size, angle=angle, **SHADE))
    ax.plot(*pull.mean, "k+", ms=7, zorder=5)
    if pull.pooled is not None:
        ax.plot(*pull.pooled, "x", color=VERMILION, ms=5, zorder=5)
    ticks = pull.alone["alpha"][lost].dropna()
    ax.plot(ticks, 0 * ticks, transform=ax.get_xaxis_transform(), **TICK)
    move = (((pull.alone - pull.shared) / pull.sd) ** 2).sum(axis=1, skipna=False)
    _draw_moves(ax, pull.alone, pull.shared, move, wanted)
    missing = f"{lost.sum()} of {len(lost)} slopes not identified alone" if lost.any() else ""
    return f"{missing}\n{note}".strip()


def _draw_sizes(ax: Axes, pull: _Pull, sizes: pd.Series, wanted: Groups | None) -> str:
    """Draw intercepts against sizes, and return a note on the groups beyond the axis."""
    note, mean, sd = _limit(ax, "y", pull), pull.mean["alpha"], pull.sd["alpha"]
    for p in COVERAGE:
        half = norm.ppf(0.5 + p / 2) * sd
        ax.axhspan(mean - half, mean + half, **SHADE)
    ax.axhline(mean, color="black", lw=0.8, zorder=0.5)
    if pull.pooled is not None:
        ax.axhline(pull.pooled["alpha"], color=VERMILION, lw=1, ls="-.", zorder=0.5)
    places = pd.DataFrame({"size": size_axis(ax, sizes)}, index=sizes.index)
    alone, shared = (places.join(frame["alpha"]) for frame in (pull.alone, pull.shared))
    _draw_moves(ax, alone, shared, (alone["alpha"] - shared["alpha"]).abs(), wanted)
    return note


def _draw_moves(
    ax: Axes, alone: pd.DataFrame, shared: pd.DataFrame, move: pd.Series, wanted: Groups | None
) -> None:
    """Draw lines from individual to hierarchical estimates, and names of groups.

    The hierarchical estimate of a group without an individual estimate is an open mark.
    """
    start, end, moved = alone.to_numpy(), shared.to_numpy(), alone.notna().all(axis=1)
    lines = np.stack([start[moved], end[moved]], axis=1)
    ax.add_collection(LineCollection(list(lines), colors="0.55", linewidths=0.6, zorder=1))
    ax.plot(*start[moved].T, zorder=2, **ALONE)
    ax.plot(*end[~moved].T, zorder=3, mfc="white", **SHARED)
    ax.plot(*end[moved].T, zorder=4, **SHARED)
    along = np.linspace(start[moved], end[moved], 20).reshape(-1, 2)
    marks = np.concatenate([along, end])
    if wanted is None:
        far = move.dropna().sort_values(ascending=False, kind="stable").index[:50]
        _name_groups(ax, alone.loc[far], marks, most=3)
    else:
        _name_groups(ax, alone.loc[wanted].dropna(), marks[:0], most=len(alone))


def _name_groups(ax: Axes, at: pd.DataFrame, marks: np.ndarray, *, most: int) -> None:
    """Write names beside the first `most` groups whose names cover no other name and no mark.

    The size of a name is estimated as 1/25 of the height of the panel, and 1/50 of its width for
    each letter.
    """
    to_panel = (ax.transScale + ax.transLimits).transform
    marks = to_panel(marks)
    taken: list[tuple[np.ndarray, np.ndarray]] = []
    for group, place in at.iterrows():
        (x, y), width = to_panel(place), 0.04 + 0.02 * len(str(group))
        for left, side, shift in ((x, "left", 4), (x - width, "right", -4)):
            low, high = np.array((left, y - 0.02)), np.array((left + width, y + 0.02))
            covers = ((marks > low) & (marks < high)).all(axis=1).any()
            clashes = any(((low < end) & (high > start)).all() for start, end in taken)
            inside = (low >= 0).all() and (high <= 1).all()
            if inside and not covers and not clashes:
                taken.append((low, high))
                how: Look = {"ha": side, "va": "center", "fontsize": 7, "parse_math": False}
                ax.annotate(str(group), place, (shift, 0), textcoords="offset points", **how)
                break
        if len(taken) == most:
            return


def _limit(ax: Axes, which: str, pull: _Pull) -> str:
    """Set the limits of the named axes, the intercept on the first; count the groups beyond."""
    off = pd.Series(False, index=pull.alone.index)
    for axis, name in zip(which, pull.alone, strict=False):
        alone = pull.alone[name]
        low, high = alone.quantile([0.25, 0.75])
        near = alone[alone.between(low - 3 * (high - low), high + 3 * (high - low))]
        population = pull.mean[name] + 2.6 * pull.sd[name] * np.array((-1, 1))
        values = np.concatenate([near, pull.shared[name], population])
        margin = 0.04 * np.ptp(values)
        ends = values.min() - margin, values.max() + margin
        off |= alone.notna() & ~alone.between(*ends)
        ax.set(**{f"{axis}lim": ends})
    return f"{off.sum()} off the scale: {first_few(off.index[off], 2)}" if off.any() else ""


def _add_key(axes: np.ndarray, pull: _Pull) -> None:
    lost = Line2D([], [], **TICK), Line2D([], [], **SHARED, mfc="white")
    population = Patch(color="0.85"), Line2D([], [], color="black", lw=0.8, marker="+", ms=7)
    keys: dict[str, Any] = {
        "individual": Line2D([], [], **ALONE),
        "hierarchical": Line2D([], [], **SHARED),
        "not identified alone": lost,
        "population, 50 and 95 %": population,
        "pooled": Line2D([], [], color=VERMILION, marker="x", ms=5, lw=1, ls="-."),
    }
    if pull.pooled is None:
        del keys["pooled"]
    if pull.alone.notna().all(axis=None):
        del keys["not identified alone"]
    look = LEGEND | {"handler_map": {lost: HandlerTuple(ndivide=None)}}
    look |= {"ncols": 2} if len(axes) == 1 else {}
    axes[0].figure.legend(list(keys.values()), list(keys), **look)


def _check_trees(trees: Mapping[str, DataTree]) -> None:
    """Check that there are an individual and a hierarchical fit of the same groups."""
    if isinstance(trees, DataTree):
        raise TypeError("Expected trees to be a mapping of models to fits; got a fit")
    missing = [model for model in ("individual", "hierarchical") if model not in trees]
    if missing:
        raise ValueError(f"Expected trees to hold {first_few(missing)}; got {first_few(trees)}")
    for model, tree in trees.items():
        if tree.attrs["model"] != model:
            got = tree.attrs["model"]
            raise ValueError(f"Expected trees[{model!r}] to be a fit of that model; got {got!r}")
        if not group_sizes(tree).equals(group_sizes(trees["hierarchical"])):
            raise ValueError(f"Expected fits of the same groups; got others in trees[{model!r}]")


def _estimates(tree: DataTree) -> pd.DataFrame:
    """Return posterior medians of each group's coefficients, or means if no draws were kept."""
    kept = "alpha" in tree["posterior"].data_vars
    sites = split_sites(tree, "posterior" if kept else "coefficients/means", None)
    sites = {name: site for name, site in sites.items() if name.startswith(("alpha", "beta"))}
    values = {n: (s.median(("chain", "draw")) if kept else s).values for n, s in sites.items()}
    return pd.DataFrame(values, index=group_sizes(tree).index)


def _covariance(sites: Mapping[str, DataArray], names: list[str]) -> pd.DataFrame:
    """Compute the posterior mean of the covariance of coefficients between groups."""
    found = pd.DataFrame(0.0, index=names, columns=names)
    for name in names:
        found.loc[name, name] = float((sites[f"sigma_{name}"] ** 2).mean())
    if len(names) == 2 and (pair := f"correlation[{INTERCEPT}, {names[1][5:-1]}]") in sites:
        first, second = (sites[f"sigma_{name}"] for name in names)
        both = float((first * sites[pair] * second).mean())
        found.loc[names[0], names[1]] = found.loc[names[1], names[0]] = both
    return found


def _mean(sites: Mapping[str, DataArray], name: str) -> float:
    """Return the posterior mean of a population mean; 0 if the model has none."""
    return float(sites[f"mu_{name}"].mean()) if f"mu_{name}" in sites else 0.0


def _identified(tree: DataTree) -> pd.DataFrame:
    """Return whether each group's own rows determine its intercept and each of its slopes."""
    constants, count = tree["constant_data"].to_dataset(), group_sizes(tree)
    names, mean_x, sxx = ["alpha"], np.zeros((len(count), 0)), np.zeros((len(count), 0, 0))
    if "sxx" in constants:
        mean_x, sxx = constants["mean_x"].values, constants["sxx"].values
        names += [f"beta[{name}]" for name in constants[PREDICTOR].values]
    weight = constants["weight" if "weight" in constants else "count"].to_numpy()
    known = identified_coefficients(weight, mean_x, sxx)
    return pd.DataFrame(known, index=count.index, columns=names)
