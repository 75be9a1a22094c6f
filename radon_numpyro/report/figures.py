"""Draw the figures of a report: embedded in the page, with alternative text."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from xarray import DataTree

from radon_numpyro import plots
from radon_numpyro.comparison.table import Comparison
from radon_numpyro.data.checks import plural
from radon_numpyro.data.design import Design
from radon_numpyro.pipeline import fit
from radon_numpyro.plots.group_figures import plot_curve
from radon_numpyro.plots.styling import apart_from_pyplot
from radon_numpyro.report.coefficients import difference
from radon_numpyro.report.curves import Curve
from radon_numpyro.report.terms import terms
from radon_numpyro.report.words import Picture, capital, listing, percent, plain
from radon_numpyro.results.arviz_groups import with_groups
from radon_numpyro.results.datatree import group_dim
from radon_numpyro.results.estimates import Estimate, Numbers, display
from radon_numpyro.results.fit_reader import read_draws, read_labels, read_statistics
from radon_numpyro.statistics.group_statistics import GroupStatistics

# Fixed settings, so that the page does not depend on the caller's settings of matplotlib. Text in
# SVG stays text, because browsers have characters that the font of matplotlib lacks.
STYLE: list[Any] = ["default", {"svg.fonttype": "none", "svg.hashsalt": "radon-numpyro"}]
LARGEST_SVG, DPI = 400_000, 200
MOST_ROWS, MOST_PREDICTORS, PREDICTED = 50_000, 3, 400
MOST_CURVES, POINTS = 3, 60


def figure(draw: Callable[[], Any], alt: str, caption: Any) -> Picture:
    """Draw a figure and embed it: as SVG, or as PNG if the SVG has more than `LARGEST_SVG` bytes.

    Parameters
    ----------
    draw
        Function without arguments that makes the figure and returns its axes.
    alt
        Alternative text: what the figure shows, for readers who cannot see it.
    caption
        Words below the figure.
    """
    # Matplotlib warns of characters missing in its font; in SVG the browser draws the text.
    ignore = warnings.catch_warnings(action="ignore", category=UserWarning)
    with style.context(STYLE), apart_from_pyplot(), ignore:
        made = np.ravel(np.array(draw(), object))[0].figure
        data, kind = _save(made, "svg", metadata={"Date": None}), "svg+xml"
        if len(data) > LARGEST_SVG:
            data, kind = _save(made, "png", dpi=DPI), "png"
    width, height = (round(96 * inches) for inches in made.get_size_inches())
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return Picture(source, width, height, alt, caption)


def forests(numbers: Numbers) -> list[Picture]:
    """Draw the intercepts and slopes of the groups in the table of groups, a figure each."""
    tree = _only(numbers, numbers.chosen)
    design = read_labels(tree).design
    known, original = terms(numbers), numbers.labels.design.slopes
    sites: list[tuple[str, str | None, list[Any]]] = [("alpha", None, ["The intercept"])]
    sites *= design.intercept_varies
    for x, shown in list(zip(original, design.slopes, strict=True))[:MOST_PREDICTORS]:
        what = difference(known, x, by_group=True)
        sites.append(("beta", shown, capital(what)))
    prob = percent(numbers.prob)
    some = "" if len(numbers.chosen) == len(numbers.labels.groups) else " of the table"
    return [
        figure(
            partial(plots.plot_forest, tree, site, predictor=x, ci_prob=numbers.prob),
            f"{plain(what)} in {plural(len(numbers.chosen), 'group')} from the highest to the "
            f"lowest, each a point with its {prob} interval; the table of groups has the numbers.",
            [
                *what,
                f" in each group{some}, the highest on top. The longer a line, the less the data "
                "say; behind a group stands its number of rows.",
            ],
        )
        for site, x, what in sites
    ]


def shrinkage(numbers: Numbers) -> Picture:
    """Draw how the population changes the estimates of groups (shrinkage).

    Raises
    ------
    ValueError
        If a group has no individual estimate.
    """
    tree = _only(numbers, numbers.sampled)
    statistics, less = read_statistics(tree), ""
    if statistics.labels.design.fixed:
        gamma = read_draws(tree, ["gamma"])["gamma"].mean(0)
        statistics = _of_groups(statistics, gamma)
        less = ", after what the shared coefficients make of the other columns"
    # The individual model fits each group by itself, so the statistics of the shown groups suffice.
    # Warnings are ignored, because the priors of the fit may not suit a single group. The figure
    # shows this.
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        alone = fit(
            statistics,
            model="individual",
            priors=replace(numbers.priors, gamma=None),
            seed=int(tree.attrs["seed"]),
            num_advi_steps=0,
            progress_bar=False,
        )
    shown, total = len(numbers.sampled), len(numbers.labels.groups)
    some = "" if shown == total else f"{shown} of {total:,} groups, evenly by size. "
    return figure(
        partial(plots.plot_shrinkage, {"individual": alone, "hierarchical": tree}),
        f"Estimates of {plural(shown, 'group')} on their own and in the hierarchical model, joined "
        "by lines that lead towards the mean of the population, longest for groups of few rows.",
        f"{some}Partial pooling. Open: what a group's own rows say{less}, with the priors of the "
        "individual model. Filled: what the hierarchical model says, which lends to groups of few "
        "rows from all others.",
    )


def has_shrinkage(numbers: Numbers) -> bool:
    """Return whether the intercept and all slopes of groups vary about an estimated mean."""
    design = numbers.labels.design
    return design.has_mean_intercept and design.means == design.slopes


def _of_groups(statistics: GroupStatistics, gamma: np.ndarray) -> GroupStatistics:
    """Return the statistics of y minus the part of the columns that do not vary by group.

    ``gamma`` are the coefficients of these columns, which follow the columns that vary.
    """
    labels, s, k = statistics.labels, statistics, len(statistics.labels.design.slopes)
    design = Design.all_varying(labels.design.slopes)
    sxx, sxy, mean_x = (np.asarray(part) for part in (s.sxx, s.sxy, s.mean_x))
    rest = sxx[:, k:, k:] @ gamma
    return replace(
        s,
        labels=replace(labels, predictors=labels.design.slopes, design=design),
        mean_x=mean_x[:, :k],
        mean_y=np.asarray(s.mean_y) - mean_x[:, k:] @ gamma,
        sxx=sxx[:, :k, :k],
        sxy=sxy[:, :k] - sxx[:, :k, k:] @ gamma,
        syy=np.maximum(np.asarray(s.syy) - 2 * sxy[:, k:] @ gamma + rest @ gamma, 0.0),
        centers=tuple((x, value) for x, value in s.centers if x in design.slopes),
    )


def lines(numbers: Numbers) -> Picture:
    """Draw the regression lines of a few groups over their rows."""
    tree, labels = numbers.displayed, read_labels(numbers.displayed)
    chosen = [labels.groups[code] for code in numbers.examples()]
    x = labels.predictors[axis_of_lines(numbers) or 0]
    others = " Other columns are at their mean in the group." if numbers.labels.design.fixed else ""
    count = np.asarray(numbers.statistics.count)
    which = "The largest, the median and the smallest group"
    if len(set(count[numbers.examples()])) == 1:
        which = f"{plural(len(chosen), 'group')} of {plural(int(count.max()), 'row')} each"
    return figure(
        partial(plots.plot_group_lines, {numbers.model.name: tree}, chosen, predictor=x),
        f"Rows and regression lines against {x}. {which}.",
        f"{which}: dots are rows, the thick line is the posterior mean, thin lines are single "
        f"draws. Where they fan out, little is known.{others}",
    )


def curve(
    numbers: Numbers,
    shown: Curve,
    values: np.ndarray,
    lines: Sequence[tuple[Estimate, Estimate | None]],
) -> Picture:
    """Draw the expected outcome over the range of the variable of a polynomial or spline.

    Parameters
    ----------
    numbers
        A fit.
    shown
        The curve.
    values
        Values of the variable, shape (N,).
    lines
        Estimates of the line at each value: in the average group, and in a new group.
    """
    average = Estimate(*map(np.array, zip(*(line for line, _ in lines), strict=True)))
    others = [other for _, other in lines if other]
    spread = Estimate(*map(np.array, zip(*others, strict=True))) if len(others) else None
    variable, y = display([shown.variable, numbers.labels.outcome])
    whose = "the average group" if numbers.model.population else "all rows"
    more = "; the wide one holds groups like these" if spread else ""
    return figure(
        partial(plot_curve, values, average, spread, variable, y, numbers.prob),
        f"The mean of {y} over the range of {variable}, with its {percent(numbers.prob)} interval.",
        [
            "The curves " if len(shown.shape.factors) > 1 else "The curve ",
            *listing(shown.shape.factors),
            f" over the range of {variable}, in {whose}: posterior mean, and intervals of the "
            f"line{more}. Other predictors are at their mean or their more frequent value.",
        ],
    )


def axis_of_lines(numbers: Numbers) -> int | None:
    """Return the position of the predictor for the x axis of :func:`lines`; None if there is none.

    It is the first that varies within groups and is not an interaction, a contrast or a curve. An
    interaction of it must be a product of columns of the model, which can follow it.
    """
    known = terms(numbers)
    products = (t for t in known.values() if not {p.column for p in t.parts} <= known.keys())
    bound = {variable for term in products for variable in term.variables}
    fit = [
        k
        for k, term in enumerate(known.values())
        if term.is_measured and not term.of_groups and not term.every_level
        if bound.isdisjoint(term.variables)
    ]
    return fit[0] if fit else None


def shared(numbers: Numbers) -> Picture:
    """Draw the coefficients that all groups share."""
    return figure(
        partial(plots.plot_forest, numbers.displayed, "gamma", ci_prob=numbers.prob),
        "The coefficient of each column that does not vary by group, a point with its interval, "
        "beside a line at 0; the table of parameters has the numbers.",
        "Coefficients that do not vary by group. Each is in its own unit, so that a "
        "larger one need not matter more. An interval that crosses the line at 0 leaves the "
        "direction open.",
    )


def predictive_check(numbers: Numbers) -> Picture:
    """Draw the outcome beside outcomes that the model predicts for the same rows."""
    tree = numbers.displayed
    sizes = tree["posterior"].sizes
    every = -(-sizes["chain"] * sizes["draw"] // PREDICTED)
    thinned = tree.isel(draw=slice(None, None, every))
    drawn = with_groups(thinned, "posterior_predictive", seed=int(tree.attrs["seed"]))
    return figure(
        partial(plots.plot_ppc, drawn, ci_prob=numbers.prob),
        "Histogram of the outcome over the bands that the model predicts, and the mean and sd of "
        "each group over their predicted intervals.",
        "Does the model describe the data? Black is the data, colour what the model predicts for "
        f"the same rows. About {percent(1 - numbers.prob)} of the groups may be missed; if many "
        "more are, the model lacks something, for instance different scatter in different groups.",
    )


def prior_and_posterior(numbers: Numbers) -> Picture:
    """Draw the prior beside the posterior of each parameter that the groups share."""
    return figure(
        partial(plots.plot_prior_posterior, numbers.displayed),
        "Prior density and posterior histogram of each parameter that the groups share.",
        "Before the data (line) and after (grey). Where the two are alike, the data say nothing.",
    )


def elbo(numbers: Numbers) -> Picture:
    """Draw the evidence lower bound against the step of ADVI."""
    return figure(
        partial(plots.plot_elbo, numbers.displayed),
        "The evidence lower bound against the step of ADVI, which rises and becomes level.",
        "The bound that ADVI maximises, step by step.",
    )


def comparison(numbers: Numbers, compared: Comparison) -> Picture:
    """Draw the comparison of models."""
    table = compared.table.set_axis(display(compared.table.index))
    return figure(
        partial(plots.plot_comparison, table, outcome=numbers.displayed.attrs["outcome"]),
        "Left the difference of each model from the best in expected log predictive density; right "
        "the deviation on rows that the fit saw and on rows left out; the table has the numbers.",
        "Left: how far behind the best a model is, with one and two standard errors. Right: the "
        "deviation from rows the fit saw and from rows left out; only the second counts.",
    )


def _only(numbers: Numbers, groups: Any) -> DataTree:
    """Return the fit restricted to some groups."""
    return numbers.displayed.isel({group_dim(numbers.labels): groups})


def _save(made: Figure, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    made.savefig(buffer, format=kind, **options)
    return buffer.getvalue()
