r"""Predictions for new rows: of groups that the fit knows, and of others.

Given the scales the line of a row is Normal with known mean and variance
(``gaussian/predictive.py``), so over the draws of the scales, or the weighted nodes of an
integration, it is a mixture of Normals, whose mean, standard deviation and intervals are computed
without drawing coefficients (:func:`predict`).
For statements about several rows at once, the difference of two or the total of many,
:func:`predictive_draws` has joint draws.

A row whose label the fit does not know belongs to a group not seen, shared with all rows of that
label. A row without a label belongs to one of its own; white space alone is no label. In the
hierarchical model the coefficients of such a group are drawn from the population, in the pooled
model they are those of all rows; the individual model knows nothing of it. Labels are compared as
text, since a file keeps only integers as they are: a label 27 is also "27", 27.0 and "27.0". A new
label that is a known one in another spelling ("027", "town a" for "Town A") is refused.
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
    r"""Mean, standard deviation and interval of each new row.

    With :math:`m_s, v_s` the mean and variance of the line given the scales s, draws of equal
    weights :math:`w_s` or the nodes of a fit by integration with theirs,

    .. math:: y^\mathrm{new} \sim \sum_s w_s N(m_s, v_s + \epsilon_s^2), \qquad
              \mathrm{mean} = \bar m, \quad
              \mathrm{sd}^2 = \overline{v + \epsilon^2} + \overline{(m - \bar m)^2}.

    Nothing is simulated, so the same fit and row give the same numbers. They vary with the scales
    s alone, of an integration by its stated error. Of a row of weight w
    :math:`\epsilon_s^2 / w` takes the place of :math:`\epsilon_s^2`, of one of known standard error
    its square.

    Parameters
    ----------
    tree
        A fit, fresh or loaded from a file, of any model and method; its coefficients need not
        have been drawn, and it may have seen statistics only.
    frame
        A pandas or Polars DataFrame or a PyArrow Table, one row a prediction, with the columns of
        the predictors, in their own units, and of the group; others are ignored. For a fit by a
        formula: the columns that stand in the formula, to which it does what it did to the rows of
        the fit.
    kind
        ``"outcome"``: a new measurement, for which the frame needs the column of the weights or of
        the standard errors, if the fit has one. ``"mean"``: the regression line, without the
        scatter eps of single measurements.
    new_groups
        What to do with groups that the fit has not seen, and with missing labels: ``"error"``
        refuses them, ``"population"`` predicts them from the population.
    ci_prob
        Probability of the interval, between 0 and 1.
    ci_kind
        ``"eti"``: equal tails. ``"hdi"``: highest density.

    Returns
    -------
    pandas.DataFrame
        With the index of ``frame``, if it is of pandas, and the columns: the group (``_group``
        behind its name if that is one of the following), ``mean``, ``sd``, ``lower``, ``upper`` in
        the unit of the outcome, and ``new_group``, whether the fit has not seen the group. Its
        ``attrs`` record ``kind``, ``ci_prob`` and ``ci_kind``, in ``outcome`` what is predicted,
        such as ``"log(y)"`` of a fit by ``log(y) ~ ...``, and in ``notes`` what to know, in words.

    Raises
    ------
    TypeError
        If ``tree`` or ``frame`` is something else, or a predictor is not numeric.
    ValueError
        If a column is missing, values are missing or infinite, there are no rows, a group is
        unknown, or an argument is out of range.

    Notes
    -----
    Time grows with distinct rows times draws or nodes, memory does not. For a million distinct
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
    """:func:`predict` at given values of the columns of the design, ``Sex[Male]``, not of a frame.

    Parameters
    ----------
    tree, kind, new_groups, ci_prob, ci_kind
        As in :func:`predict`.
    frame
        A column for each predictor of the fit, ``design.predictors``, and the group.
    """
    rows = _new_rows(tree, frame, kind, new_groups, formula="")
    return _predicted(tree, rows, kind, ci_prob, ci_kind)


def _predicted(
    tree: xr.DataTree, rows: _Rows, kind: str, ci_prob: float, ci_kind: str
) -> pd.DataFrame:
    model, (scales, weight) = tree.attrs["model"], read_weighted_scales(tree)
    equations = NormalEquations.from_statistics(read_statistics(tree))

    # Each distinct row once, and the rows of a group side by side, so that a block has few groups.
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
    """What is predicted, and what to know about it."""
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
    """Joint draws of new rows, one for each draw of the posterior.

    Rows of one group share its coefficients within a draw, also where the fit has not seen the
    group, so that differences, totals and other functions of several rows are right.

    Parameters
    ----------
    tree, frame, kind, new_groups
        As in :func:`predict`.
    seed
        Seed of the coefficients that the fit has no draws of, and of the scatter.

    Returns
    -------
    xarray.DataTree
        Groups ``predictions``, with ``y`` or, for ``kind="mean"``, ``mean`` (chain, draw, row),
        and ``predictions_constant_data``, with ``x`` (row, predictor) and ``new_group`` (row).
        The coordinates of ``row`` are the index of ``frame`` and the label of the group, empty
        where it is missing. It holds chains times draws times rows numbers: for many rows, thin
        the fit by ``tree.isel(draw=slice(None, None, 10))``.

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

    Predictors (R, J), counted from where the fit counts them, label of the group under the index
    of the frame, offset (R,), code of the group with -1 for one not seen (R,), a number that
    rows of one group share: its code, or, for those not seen, one from C on (R,), and what each row
    weighs, where its scatter is asked for and depends on it (R,).
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
    # Each unknown label is a group, and each row without one.
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
    """Labels in which white space alone is a gap, as it is in a file; unless it names a group."""
    blank = [isinstance(one, str) and not one.strip() and one not in groups for one in label]
    return label.mask(np.array(blank)) if any(blank) else label


def _columns(
    tree: xr.DataTree,
    labels: Labels,
    frame: Any,
    rows: pd.DataFrame | nw.DataFrame[Any],
    formula: str,
) -> tuple[pd.Series, np.ndarray, np.ndarray]:
    """Labels of the groups, predictors (R, J), counted as the fit counts them, and offsets (R,)."""
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
    """Draws of the line at each row, shape (S, R)."""
    design, of = rows.labels.design, read_model(tree)
    columns = dict(zip(design.predictors, rows.x.T, strict=True))
    columns[INTERCEPT] = np.ones(len(rows.x))
    # What all groups have: all but the columns whose draws by group include their mean.
    names = design.fixed if of.by_group else population_columns(design)
    lines = np.zeros((len(scales["eps"]), len(rows.x)))
    population = None if of.eps_by_group else read_population(tree)
    if population is not None and names:
        lines += population[:, -len(names) :] @ np.stack([columns[name] for name in names])
    if not of.by_group:
        return lines
    _, first, own = np.unique(rows.identity, return_index=True, return_inverse=True)
    # In order, so that those not seen come last.
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
