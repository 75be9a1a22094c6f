"""Reduce the columns of a formula to statistics in an engine.

Queries for the levels of categorical columns, and for means and standard deviations in ``scale``,
come first. Then one reduction covers all columns, and redundant columns are removed from its
result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from radon_numpyro.data.checks import first_few
from radon_numpyro.data.design import Design
from radon_numpyro.data.formulas.categories import Categories
from radon_numpyro.data.formulas.columns import Piece, independent_by_moments
from radon_numpyro.data.formulas.dates import date_calls
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.frames import named_weights
from radon_numpyro.data.formulas.notes import notes_of
from radon_numpyro.data.formulas.rows import names_used, plan_of
from radon_numpyro.data.formulas.terms import parse_terms
from radon_numpyro.data.formulas.values import Basis
from radon_numpyro.data.missing import check_missing, leave_out
from radon_numpyro.data.row_weights import weight_columns
from radon_numpyro.statistics.engine_expressions import EngineColumns, Levels, Numbers, needs_memory
from radon_numpyro.statistics.engine_reduction import (
    GIVEN,
    GROUP,
    ROW,
    check_dtype,
    lost_groups,
    reduce_values,
    renamed,
)
from radon_numpyro.statistics.group_sums import GroupSums


def reduce_formula(
    formula: str | ModelFormula,
    frame: nw.LazyFrame[Any],
    *,
    missing: Mapping[str, Any] | None = None,
    drop_missing: bool = False,
    weights: str | None = None,
    se: str | None = None,
) -> tuple[GroupSums, ModelFormula, tuple[str, ...]]:
    """Reduce the columns that a formula makes from the rows of an engine.

    Parameters
    ----------
    formula
        The formula as text; or a formula with its state, as evaluated on other rows before.
    frame
        The rows.
    missing, drop_missing, weights, se
        As in ``GroupedData.from_formula``.

    Returns
    -------
    sums, formula, notes
        Moments of the columns, the formula with its state, and notes about the columns.

    Raises
    ------
    TypeError, ValueError
        As ``GroupedData.from_formula``, or if a term needs the rows in memory.
    """
    stored = formula if isinstance(formula, ModelFormula) else None
    terms = formula.terms if isinstance(formula, ModelFormula) else parse_terms(formula)
    for call in date_calls(terms):
        raise needs_memory(call)
    response, right = names_used(terms, list(frame.columns))
    named = named_weights(terms, weights, se, None if stored is None else stored.design)
    given = weight_columns(frame.columns, *named)
    used = list(dict.fromkeys((*response, *right, terms.group)))
    codes = check_missing(missing, [*used, *given.values()])
    aliases = {name: f"used {j}" for j, name in enumerate(used)} | {terms.group: GROUP}
    every_row = renamed(frame, [*aliases.items(), *((name, GIVEN) for name in given.values())])
    own = {aliases[name]: name for name in used}
    for argument, name in given.items():
        own[GIVEN] = name
        check_dtype(every_row.collect_schema()[GIVEN], name, argument)
    if ROW in every_row.columns:
        own[ROW] = ROW
    rows, left_out = leave_out(every_row, own, codes, drop_missing=drop_missing)

    engine = EngineColumns(rows, aliases, stored)
    y = engine.outcome(terms.response, "y")
    for node in terms.offsets:
        y = y - engine.outcome(node, "x")
    for name in right:
        engine.column(name)
    values = {text: engine.factor(node) for text, node in terms.factors.items()}
    shapes = {text: _shape(value) for text, value in values.items()}
    plan = plan_of(terms, shapes)
    names = tuple(plan.layout) if stored is None else stored.design.predictors
    expressions = [_product(plan.layout[name], values) for name in names if name in plan.layout]
    if len(expressions) < len(names):
        raise ValueError(f"Expected a stored formula of these columns; got {first_few(names)}")
    keep = [nw.col(GROUP)] + ([nw.col(ROW)] if ROW in own else [])
    keep += [nw.col(GIVEN).cast(nw.Float64)] if given else []
    computed = rows.select(*keep, *(e.alias(f"value {j}") for j, e in enumerate([*expressions, y])))
    every_name = (*names, terms.outcome)
    every = Design.with_fixed(names, (), **given)
    sums, _ = reduce_values(computed, every_name, terms.group, left_out, every)
    if left_out:
        lost = lost_groups(every_row, sums, codes.get(terms.group, []))
        sums = replace(sums, lost_groups=lost)
    if stored is not None:
        stored = stored.weighted_by(**given)
        return _of_design(sums, stored.design), stored, ()
    overall = sums.overall()
    mean, products = overall.means[0], overall.products[0]

    def free(places: list[int], with_constant: bool) -> list[bool]:
        block = products[np.ix_(places, places)]
        return independent_by_moments(
            float(overall.weight[0]), mean[places], block, constant=with_constant
        )

    design, aliased, redundant = plan.design(free)
    order = dict.fromkeys((*response, *right))
    kinds = tuple(engine.kinds[name] for name in order)
    learnt = ModelFormula(terms, kinds, engine.state, design).weighted_by(**given)
    notes = notes_of(learnt, plan.layout, engine.categories, shapes, aliased, redundant)
    return _of_design(sums, learnt.design), learnt, notes


def _of_design(sums: GroupSums, design: Design) -> GroupSums:
    """Select the columns of a design, in its order, and the outcome."""
    place = {name: j for j, name in enumerate(sums.labels.predictors)}
    columns = [place[name] for name in design.predictors]
    labels = replace(sums.labels, predictors=design.predictors, design=design)
    return sums.select([*columns, len(place)], labels)


def _shape(value: Numbers | Levels) -> Categories | Basis:
    """Return a factor without rows, which is all that the layout of columns needs."""
    if isinstance(value, Levels):
        return Categories(np.empty(0, np.int64), value.levels, value.contrast)
    return Basis(np.empty((0, 1)))


def _product(pieces: Sequence[Piece], values: Mapping[str, Numbers | Levels]) -> nw.Expr:
    """Return a column as the product of numeric expressions and of the codes of levels."""
    product: nw.Expr | None = None
    for piece in pieces:
        value = values[piece.factor]
        if isinstance(value, Numbers):
            own = value.number
        else:
            weights = zip(np.atleast_1d(piece.column).tolist(), value.values, strict=True)
            own = nw.lit(0.0)
            for weight, level in weights:
                if weight:
                    own = own + weight * (value.expression == level).cast(nw.Float64)
        product = own if product is None else product * own
    assert product is not None
    return product
