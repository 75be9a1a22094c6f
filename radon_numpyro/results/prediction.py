r"""Predictions for new rows, in groups of the fit and in new groups.

Given the scales, the line of a row is Normal with known mean and variance
(``gaussian/predictive.py``). Over the draws of the scales, or the weighted nodes of an integration,
it is therefore a mixture of Normals. :func:`predict` computes its mean, standard deviation and
intervals without drawing coefficients. For statements about several rows together, such as the
difference of two or the total of many, :func:`predictive_draws` returns joint draws.

All rows with the same label that is unknown to the fit belong to one new group. A row without a
label belongs to a new group of its own; white space alone does not count as a label. The
coefficients of a new group are drawn from the population in the hierarchical model, and are those
of all rows in the pooled model. The individual model cannot predict new groups. Labels are compared
as text, because a file preserves only the type of integers: a label 27 matches "27", 27.0 and
"27.0". A new label that is another spelling of a known one ("027", "town a" for "Town A") raises an
error.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import xarray as xr

from radon_numpyro.data.centers import zeros
from radon_numpyro.data.checks import (
    check_columns,
    group_codes,
    numeric_column,
    plural,
    suggest,
)
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.frames import known_frame, to_pandas
from radon_numpyro.data.labels import Labels, check_spellings, match
from radon_numpyro.data.row_weights import precision_of
from radon_numpyro.gaussian import mixtures as mixture
from radon_numpyro.gaussian.group_draws import draw_groups
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import Scales, line_blocks, residual_variance
from radon_numpyro.gaussian.triangles import population_columns
from radon_numpyro.results.datatree import predictions_to_datatree
from radon_numpyro.results.fit_reader import (
    has_coefficients,
    read_centers,
    read_coefficients,
    read_labels,
    read_model,
    read_population,
    read_priors,
    read_scales,
    read_statistics,
    read_weighted_scales,
)

KINDS = ("outcome", "mean")
NEW_GROUPS = ("error", "population")
CI_KINDS = ("eti", "hdi")


def predict(
    tree: xr.DataTree,
    frame: Any,
    *,
    kind: str = "outcome",
    new_groups: str = "error",
    ci_prob: float = 0.9,
    ci_kind: str = "eti",
) -> pd.DataFrame:
    r"""Compute the predictive mean, standard deviation and interval of each new row.

    Let :math:`m_s, v_s` be the mean and variance of the line given the scales s. These are draws
    with equal weights :math:`w_s`, or the weighted nodes of a fit by integration. Then

    .. math:: y^\mathrm{new} \sim \sum_s w_s N(m_s, v_s + \epsilon_s^2), \qquad
              \mathrm{mean} = \bar m, \quad
              \mathrm{sd}^2 = \overline{v + \epsilon^2} + \overline{(m - \bar m)^2}.

    Nothing is simulated, so that the same fit and row give the same numbers. Their Monte Carlo
    error comes only from the scales s; for an integration it is the stated error. For a row of
    weight w, :math:`\epsilon_s^2 / w` replaces :math:`\epsilon_s^2`; for a row with a known
    standard error, the square of that error does.

    Parameters
    ----------
    tree
        A fit, new or loaded from a file, by any model and method. It needs no draws of the
        coefficients, and may be a fit to statistics.
    frame
        A pandas or Polars DataFrame or a PyArrow Table, with one row for each prediction. It has
        the columns of the predictors, in their original units, and of the group; other columns are
        ignored. For a fit by a formula, it has the columns that occur in the formula, which are
        transformed as the rows of the fit were.
    kind
        ``"outcome"``: a new measurement; the frame then needs the column of the weights or of the
        standard errors, if the fit has one. ``"mean"``: the regression line, without the residual
        scatter eps of single measurements.
    new_groups
        Treatment of new groups and missing labels: ``"error"`` raises an error, ``"population"``
        predicts them from the population.
    ci_prob
        Probability of the interval, between 0 and 1.
    ci_kind
        ``"eti"``: equal-tailed interval. ``"hdi"``: highest-density interval.

    Returns
    -------
    pandas.DataFrame
        The predictions, with the index of ``frame`` if that is a pandas DataFrame. The columns are
        the group (with ``_group`` appended if its name is one of the others), ``mean``, ``sd``,
        ``lower``, ``upper`` in the unit of the outcome, and ``new_group``, which says whether the
        group is new to the fit. Its ``attrs`` contain ``kind``, ``ci_prob`` and ``ci_kind``;
        ``outcome``, the predicted quantity, such as ``"log(y)"`` for a fit by ``log(y) ~ ...``; and
        ``notes``, remarks in words.

    Raises
    ------
    TypeError
        If ``tree`` or ``frame`` has another type, or a predictor is not numeric.
    ValueError
        If a column is missing, values are missing or infinite, there are no rows, a group is
        unknown, or an argument is out of range.

    Notes
    -----
    Time grows with distinct rows times draws or nodes; memory does not. For a million distinct
    rows, ``predict(tree.isel(draw=slice(None, None, 10)), frame)`` uses every tenth draw, and
    ``tree.isel(node=slice(None, None, 10))`` every tenth node of a fit by integration.

    Examples
    --------
    >>> predict(tree, frame, new_groups="population")  # doctest: +SKIP
    """
    _check_choice("kind", kind, KINDS)
    _check_choice("ci_kind", ci_kind, CI_KINDS)
    if not 0.0 < ci_prob < 1.0:
        raise ValueError(f"Expected ci_prob between 0 and 1; got {ci_prob!r}")
    rows = _new_rows(tree, frame, kind, new_groups, str(tree.attrs.get("formula", "")))
    return _predicted(tree, rows, kind, ci_prob, ci_kind)


def predict_at(
    tree: xr.DataTree,
    frame: pd.DataFrame,
    *,
    kind: str,
    new_groups: str = "error",
    ci_prob: float,
    ci_kind: str = "eti",
) -> pd.DataFrame:
    """Predict as :func:`predict` does, from columns of the design such as ``Sex[Male]``.

    Parameters
    ----------
    tree, kind, new_groups, ci_prob, ci_kind
        As in :func:`predict`.
    frame
        One column for each predictor in ``design.predictors``, and one for the group.
    """
    rows = _new_rows(tree, frame, kind, new_groups, formula="")
    return _predicted(tree, rows, kind, ci_prob, ci_kind)


def _predicted(
    tree: xr.DataTree, rows: _Rows, kind: str, ci_prob: float, ci_kind: str
) -> pd.DataFrame:
    model, (scales, weight) = tree.attrs["model"], read_weighted_scales(tree)
    equations = NormalEquations.from_statistics(read_statistics(tree))

    # Each distinct row is computed once. Rows are sorted by group, so that a block has few groups.
    weights = np.ones(len(rows.x)) if rows.precision is None else rows.precision
    distinct = np.column_stack([rows.group, weights, rows.x])
    keys, place = np.unique(distinct, axis=0, return_inverse=True)
    group, weights, x = keys[:, 0].astype(int), keys[:, 1], keys[:, 2:]
    columns = np.empty((4, len(keys)))
    for block, mean, variance in line_blocks(model, equations, read_priors(tree), scales, x, group):
        if kind == "outcome":
            variance = variance + residual_variance(model, scales, group[block], weights[block])
        columns[:2, block] = mixture.moments(mean, variance, weight)
        columns[2:, block] = mixture.interval(mean, variance, ci_prob, ci_kind, weight)

    columns = columns[:, place]
    columns[[0, 2, 3]] += rows.offset  # not the standard deviation
    named = dict(zip(("mean", "sd", "lower", "upper"), columns, strict=True))
    label = rows.labels.group
    label = f"{label}_group" if label in (*named, "new_group") else label
    table = pd.DataFrame(
        {label: rows.label, **named, "new_group": rows.group < 0}, index=rows.label.index
    )
    outcome, notes = _said(tree, rows)
    table.attrs = {"kind": kind, "ci_prob": ci_prob, "ci_kind": ci_kind}
    table.attrs |= {"outcome": outcome, "notes": notes}
    return table


def _said(tree: xr.DataTree, rows: _Rows) -> tuple[str, list[str]]:
    """Return the name of the predicted quantity, and notes about the predictions."""
    outcome, notes = rows.labels.outcome, []
    if formula := str(tree.attrs.get("formula", "")):
        stored = ModelFormula.from_json(formula)
        outcome = stored.measured
        if stored.is_transformed:
            notes.append(f"Predictions are of {outcome}, in its unit, as the fit has it")
    if alone := int(rows.label.isna().sum()):
        notes.append(
            f"{plural(alone, 'row')} without a label of {rows.labels.group!r}: predicted as of new "
            "groups, one for each row"
        )
    return outcome, notes


def predictive_draws(
    tree: xr.DataTree,
    frame: Any,
    *,
    kind: str = "outcome",
    new_groups: str = "error",
    seed: int = 0,
) -> xr.DataTree:
    """Draw new rows jointly, once for each draw of the posterior.

    Within a draw, rows of one group share its coefficients, even if the group is new, so that
    differences, totals and other functions of several rows are correct.

    Parameters
    ----------
    tree, frame, kind, new_groups
        As in :func:`predict`.
    seed
        Seed of the coefficients that the fit has no draws of, and of the residual scatter.

    Returns
    -------
    xarray.DataTree
        Groups ``predictions``, with ``y`` or, for ``kind="mean"``, ``mean`` (chain, draw, row),
        and ``predictions_constant_data``, with ``x`` (row, predictor) and ``new_group`` (row).
        The coordinates of ``row`` are the index of ``frame`` and the label of the group, which is
        empty if missing. The size is chains times draws times rows; for many rows, thin the fit by
        ``tree.isel(draw=slice(None, None, 10))``.

    Raises
    ------
    TypeError, ValueError
        As in :func:`predict`.
    """
    _check_choice("kind", kind, KINDS)
    rows = _new_rows(tree, frame, kind, new_groups, str(tree.attrs.get("formula", "")))
    model, scales = tree.attrs["model"], read_scales(tree)
    rng = np.random.default_rng(seed)
    draws = _lines(tree, rows, scales, rng) + rows.offset
    if kind == "outcome":
        sd = np.sqrt(residual_variance(model, scales, rows.group, rows.precision))
        draws += sd * rng.standard_normal(draws.shape)
    label = rows.label
    return predictions_to_datatree(
        tree,
        rows.labels,
        {"y" if kind == "outcome" else "mean": draws},
        x=rows.x,
        groups=["" if gap else group for group, gap in zip(label, label.isna(), strict=True)],
        new_group=rows.group < 0,
        index=label.index.tolist(),
        attributes={"kind": kind, "new_groups": new_groups, "seed": seed},
    )


@dataclass(frozen=True)
class _Rows:
    """New rows.

    ``x`` are the predictors, (R, J), after subtracting the centers of the fit; ``label`` are the
    labels of the groups with the index of the frame; ``offset`` is of shape (R,); ``group`` are the
    codes, (R,), -1 for new groups; ``identity`` is the code, or a number from C on for each new
    group, (R,); ``precision`` are the weights, (R,), if the residual variance needs them.
    """

    labels: Labels
    x: np.ndarray
    label: pd.Series
    offset: np.ndarray
    group: np.ndarray
    identity: np.ndarray
    precision: np.ndarray | None


def _new_rows(tree: xr.DataTree, frame: Any, kind: str, new_groups: str, formula: str) -> _Rows:
    labels = read_labels(tree)
    _check_choice("new_groups", new_groups, NEW_GROUPS)
    rows = known_frame(frame)
    if isinstance(rows, nw.LazyFrame):
        raise TypeError(f"Expected frame to be in memory; got {type(frame).__name__}: collect it")
    label, x, offset = _columns(tree, labels, frame, rows, formula)
    label = _without_blanks(label, labels.groups)
    alone = read_model(tree).eps_by_group
    admitted = new_groups == "population" and not alone
    codes, given = group_codes(label, gaps=admitted)
    known = match(given, labels.groups)
    unknown = [name for name, code in zip(given, known, strict=True) if code < 0]
    if unknown and not admitted:
        hints = [f"{name!r} ({suggest(name, labels.groups)})" for name in unknown[:3]]
        hints += ["..."] * (len(unknown) > 3)
        advice = "new_groups='population' draws them from the population"
        if alone:
            advice = "The individual model knows nothing of other groups: fit the hierarchical one"
        raise ValueError(
            f"Expected column {labels.group!r} to hold groups of the fit; got "
            f"{plural(len(unknown), 'unknown label')}: {'; '.join(hints)}. {advice}"
        )
    check_spellings(unknown, labels)
    group = np.append(known, -1)[codes]
    # Each unknown label is a new group, and so is each row without a label.
    newcomer = np.where(codes < 0, len(given) + np.arange(len(codes)), codes)
    return _Rows(
        labels,
        x=x,
        offset=offset,
        label=label,
        group=group,
        identity=np.where(group < 0, len(labels.groups) + newcomer, group),
        precision=precision_of(rows, labels.design) if kind == "outcome" else None,
    )


def _without_blanks(label: pd.Series, groups: tuple[Hashable, ...]) -> pd.Series:
    """Treat labels of white space as missing, as in files, unless such a label is a known group."""
    blank = [isinstance(one, str) and not one.strip() and one not in groups for one in label]
    return label.mask(np.array(blank)) if any(blank) else label


def _columns(
    tree: xr.DataTree,
    labels: Labels,
    frame: Any,
    rows: pd.DataFrame | nw.DataFrame[Any],
    formula: str,
) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    """Return labels of the groups, predictors (R, J) less the centers, and offsets (R,)."""
    predictors = () if formula else labels.predictors
    check_columns(list(rows.columns), None, predictors, labels.group)
    plain = rows
    if not isinstance(plain, pd.DataFrame):
        plain = to_pandas(plain, None, predictors, labels.group)
    if len(plain) == 0:
        raise ValueError("Expected frame to have at least one row; got 0 rows")
    if formula:
        stored = ModelFormula.from_json(formula)
        return plain[labels.group], stored.columns_of(frame), stored.offset_of(frame)
    columns = [numeric_column(plain[name], "x") for name in predictors]
    zero = zeros(read_centers(tree), predictors)
    x = np.column_stack([np.empty((len(plain), 0)), *columns]) - zero
    return plain[labels.group], x, np.zeros(len(plain))


def _lines(tree: xr.DataTree, rows: _Rows, scales: Scales, rng: np.random.Generator) -> np.ndarray:
    """Draw the line at each row, shape (S, R)."""
    design, of = rows.labels.design, read_model(tree)
    columns = dict(zip(design.predictors, rows.x.T, strict=True))
    columns[INTERCEPT] = np.ones(len(rows.x))
    # All groups share these columns. Draws by group of the other columns include their means.
    names = design.fixed if of.by_group else population_columns(design)
    lines = np.zeros((len(scales["eps"]), len(rows.x)))
    population = None if of.eps_by_group else read_population(tree)
    if population is not None and names:
        lines += population[:, -len(names) :] @ np.stack([columns[name] for name in names])
    if not of.by_group:
        return lines
    _, first, own = np.unique(rows.identity, return_index=True, return_inverse=True)
    # Sorted by identity, so that new groups come last.
    group = rows.group[first]
    kept = group[group >= 0] if has_coefficients(tree) else group[:0]
    parts = [read_coefficients(tree, kept)] if len(kept) else []
    if len(kept) < len(group):
        assert population is not None
        equations = NormalEquations.from_statistics(read_statistics(tree))
        theta = draw_groups(rng, equations, scales, population, group[len(kept) :])
        has_mean = [name in design.population for name in design.varying]
        theta[..., has_mean] += population[:, None, : sum(has_mean)]
        parts.append(theta)
    theta = np.concatenate(parts, axis=1)
    for p, name in enumerate(design.varying):
        lines += theta[:, own, p] * columns[name]
    return lines


def _check_choice(argument: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"Expected {argument} to be one of {', '.join(choices)}; got {value!r}")
