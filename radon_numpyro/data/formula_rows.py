"""Rows of a fit by a formula: outcome, predictors, design, and what is left out or coded how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radon_numpyro.data.categories import Categories
from radon_numpyro.data.checks import first_few, plural, suggest
from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.formula import ModelFormula, stacked
from radon_numpyro.data.formula_columns import (
    check_widths,
    codings,
    independent,
    part_columns,
)
from radon_numpyro.data.formula_syntax import LOGICAL
from radon_numpyro.data.formula_terms import Part, Terms
from radon_numpyro.data.formula_values import Basis, Interpreter
from radon_numpyro.data.frame_columns import (
    NUMBER,
    FrameColumn,
    Kind,
    read_column,
    unused_notes,
)


@dataclass(frozen=True, eq=False)
class FormulaRows:
    """Rows by a formula that learnt from them.

    Attributes
    ----------
    formula
        What it learnt.
    y, x
        Outcome and predictors, shapes (N,) and (N, J).
    notes
        How categories are coded, and what is left out, in words.
    """

    formula: ModelFormula
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    notes: tuple[str, ...]


def names_used(terms: Terms, columns: list[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Columns of a frame that a formula takes: left and right of ``~``.

    Parameters
    ----------
    terms
        The formula.
    columns
        Names of the columns of the frame.

    Raises
    ------
    ValueError
        A name is no column, or of several, or the outcome or the intercept is among the predictors.
    """
    named = (*terms.response_named(), *terms.predictors_named(), *terms.offsets_named())
    for name in (terms.group, *named):
        count = columns.count(name)
        if count > 1:
            raise ValueError(f"Expected one column named {name!r}; got {count}")
        if count == 0 and name not in (*LOGICAL, "pi"):
            raise ValueError(
                f"Expected the formula to name columns; got {name!r} ({suggest(name, columns)})"
            )
    response = tuple(name for name in terms.response_named() if name in columns)
    right = dict.fromkeys((*terms.predictors_named(), *terms.offsets_named()))
    predictors = tuple(name for name in right if name in columns)
    if not response:
        raise ValueError(f"Expected an outcome left of ~; got {terms.outcome!r}, not a column")
    if INTERCEPT in (*predictors, *response) or (terms.names_intercept and INTERCEPT in columns):
        raise ValueError(
            f"Expected no column named {INTERCEPT!r}, which is the name of the constant; got one: "
            "rename it"
        )
    for name in response:
        if name in predictors:
            raise ValueError(
                f"Expected the outcome on the left of ~ only; got {name!r} on both sides"
            )
        if name == terms.group:
            raise ValueError(f"Expected outcome and group to be two columns; got {name!r} for both")
    return response, predictors


def learn(terms: Terms, frame: pd.DataFrame) -> FormulaRows:
    """Evaluate a formula on the rows of a fit, complete in the columns that it uses.

    Parameters
    ----------
    terms
        The formula.
    frame
        The rows.

    Returns
    -------
    FormulaRows
        Outcome, predictors, and the formula with what it learnt.

    Raises
    ------
    TypeError
        A column is of no use in a formula, or the outcome is not numeric.
    ValueError
        Values are missing or not finite, a factor has a single level, or the formula asks for what
        this edition does not fit.
    """
    response, predictors = names_used(terms, list(frame.columns))
    read = {name: read_column(frame[name], "y", Kind(name, NUMBER)) for name in response}
    read |= {name: read_column(frame[name], "x") for name in predictors}
    columns = {name: column.values for name, column in read.items()}
    interpreter = Interpreter(columns)
    y = interpreter.numbers(terms.response)
    y = y - sum(interpreter.numbers(node) for node in terms.offsets)
    values = {text: interpreter.factor(node) for text, node in terms.factors.items()}
    check_widths(values)

    common = part_columns(terms.common, terms.factors, values)
    kept, aliased = _kept(common, terms.common)
    population = ((INTERCEPT,) if terms.common.intercept else ()) + kept
    varying: dict[str, NDArray[np.float64] | None] = {}
    for part in terms.random:
        own = part_columns(part, terms.factors, values)
        _check_part(part, own, varying, terms)
        varying |= {INTERCEPT: None} if part.intercept else {}
        varying |= own
    made = common | {name: column for name, column in varying.items() if column is not None}
    _check_names(made, common, terms, varying)
    design = Design(population, tuple(n for n in (INTERCEPT, *made) if n in varying))
    formula = ModelFormula(
        terms, tuple(column.kind for column in read.values()), interpreter.state, design
    )
    return FormulaRows(
        formula,
        y,
        stacked(made, design.predictors, len(frame)),
        _notes(terms, list(read.values()), values, aliased),
    )


def apply(formula: ModelFormula, frame: pd.DataFrame) -> FormulaRows:
    """Evaluate a formula on other rows by what it learnt.

    Parameters
    ----------
    formula
        The formula.
    frame
        The rows, with all columns used.
    """
    return FormulaRows(formula, *formula.rows_of(frame), notes=())


def _kept(common: dict[str, Any], part: Part) -> tuple[tuple[str, ...], list[str]]:
    """Names of the columns that are no combination of those before, and of those that are."""
    free = independent(list(common.values()), constant=part.intercept)
    kept = tuple(name for name, good in zip(common, free, strict=True) if good)
    return kept, [name for name in common if name not in kept]


def _check_part(
    part: Part, own: Mapping[str, Any], before: Mapping[str, Any], terms: Terms
) -> None:
    """Refuse correlated coefficients, none at all, and columns that vary twice."""
    names = [*([INTERCEPT] if part.intercept else []), *own]
    if not names:
        raise ValueError(f"Expected coefficients left of the bar; got none in {part.text}")
    if part.correlated and len(names) > 1:
        raise ValueError(
            f"Expected independent coefficients; got {part.text}, whose {len(names)} columns "
            f"({first_few(names)}) would be correlated, which is not in this edition: write || "
            "for independent coefficients"
        )
    twice = [name for name in names if name in before]
    if twice:
        raise ValueError(
            f"Expected each column to vary once by {terms.group!r}; got {first_few(twice)} again "
            f"in {part.text}: write 0 + in it, or leave the term out"
        )


def _check_names(
    made: Mapping[str, Any], common: Mapping[str, Any], terms: Terms, varying: Mapping[str, Any]
) -> None:
    """Refuse names with two meanings, and columns that vary but cannot be told apart."""
    for name in (terms.outcome, terms.group):
        if name in made:
            raise ValueError(
                f"Expected predictors with other names than the outcome and the group; got {name!r}"
                f" as one: write I({name}) for a predictor that is numeric"
            )
    slopes = {name: column for name, column in varying.items() if column is not None}
    for name, column in slopes.items():
        if name in common and not np.array_equal(column, common[name]):
            raise ValueError(
                f"Expected columns with names of their own; got two that are called {name!r}"
            )
    free = independent(list(slopes.values()), constant=INTERCEPT in varying)
    bound = [name for name, good in zip(slopes, free, strict=True) if not good]
    if bound:
        raise ValueError(
            f"Expected columns left of the bar that differ; got {first_few(bound)}, which the "
            "columns before determine (or which are 0 in all rows): leave out what is redundant"
        )


def _notes(
    terms: Terms,
    columns: list[FrameColumn],
    values: Mapping[str, Categories | Basis],
    aliased: list[str],
) -> tuple[str, ...]:
    notes = [*codings((terms.common, *terms.random), terms.factors, values)]
    notes += unused_notes(columns)
    if aliased:
        notes.append(
            f"left out of the population {plural(len(aliased), 'column')} that those before "
            f"determine: {first_few(aliased, 20)}"
        )
    if terms.offsets:
        notes.append(
            f"the outcome is {terms.outcome}: predictions are of this difference, and the offset "
            "is to be added to them"
        )
    return tuple(notes)
