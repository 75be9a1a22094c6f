"""Evaluate a formula on the rows of a fit: outcome, predictors, design, and notes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radon_numpyro.data.checks import (
    first_few,
    plural,
    storable,
    suggest,
)
from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.formulas.categories import Categories
from radon_numpyro.data.formulas.columns import (
    Layout,
    add,
    check_widths,
    columns_by,
    independent,
    part_layout,
)
from radon_numpyro.data.formulas.dates import dates_named
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.notes import notes_of
from radon_numpyro.data.formulas.syntax import LOGICAL
from radon_numpyro.data.formulas.term_algebra import Part
from radon_numpyro.data.formulas.terms import Terms
from radon_numpyro.data.formulas.values import Basis, Interpreter
from radon_numpyro.data.frame_columns import (
    DATE,
    NUMBER,
    Kind,
    read_column,
)


@dataclass(frozen=True, eq=False)
class FormulaRows:
    """The evaluated rows of a formula.

    Attributes
    ----------
    formula
        The formula with its state.
    y, x
        Outcome, shape (N,), and predictors, shape (N, J).
    notes
        How categories are coded, and which columns are left out, in words.
    """

    formula: ModelFormula
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    notes: tuple[str, ...]


# With so many rows, a category with a level for each of them is taken for a mistake.
MANY_ROWS = 10


def names_used(terms: Terms, columns: list[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of a frame that a formula uses, left and right of ``~``.

    Parameters
    ----------
    terms
        The formula.
    columns
        Names of the columns of the frame.

    Raises
    ------
    ValueError
        If a name is not exactly one column, or the outcome or the intercept is among the
        predictors.
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
    if terms.group in terms.varying_named():
        raise ValueError(
            "Expected other columns left of the bar than the grouping; got "
            f"{terms.group!r} on both sides"
        )
    if "" in (*named, terms.group):
        raise ValueError("Expected columns with names; got one whose name is empty: rename it")
    for name in response:
        if name in predictors:
            raise ValueError(
                f"Expected the outcome on the left of ~ only; got {name!r} on both sides"
            )
        if name == terms.group:
            raise ValueError(f"Expected outcome and group to be two columns; got {name!r} for both")
    return response, predictors


def learn(terms: Terms, frame: pd.DataFrame) -> FormulaRows:
    """Evaluate a formula on the rows of a fit, which have no missing values.

    Parameters
    ----------
    terms
        The formula.
    frame
        The rows.

    Returns
    -------
    FormulaRows
        Outcome, predictors, and the formula with its state.

    Raises
    ------
    TypeError
        If a column cannot be used in a formula, or the outcome is not numeric.
    ValueError
        If values are missing or not finite, a factor has a single level, or the formula is not
        supported in this edition.
    """
    response, predictors = names_used(terms, list(frame.columns))
    dates = {name: Kind(name, DATE) for name in dates_named(terms)}
    read = {
        name: read_column(frame[name], "y", dates.get(name, Kind(name, NUMBER)))
        for name in response
    }
    read |= {name: read_column(frame[name], "x", dates.get(name)) for name in predictors}
    columns = {name: column.values for name, column in read.items()}
    interpreter = Interpreter(columns)
    y = interpreter.numbers(terms.response)
    y = y - sum(interpreter.numbers(node) for node in terms.offsets)
    values = {text: interpreter.factor(node) for text, node in terms.factors.items()}
    for text, value in values.items():
        if isinstance(value, Categories) and len(value.levels) >= len(frame) >= MANY_ROWS:
            raise ValueError(
                f"Expected fewer levels of a predictor than rows; got {len(value.levels)} levels "
                f"of {text!r} in {plural(len(frame), 'row')}: if it names the rows, leave it out; "
                "if it is a column of numbers read as text, convert it"
            )
    plan = plan_of(terms, values)
    made = columns_by(plan.layout, list(plan.layout), values, len(frame))
    design, aliased, redundant = plan.design(
        lambda places, constant: independent(made[:, places], constant=constant)
    )
    formula = ModelFormula(
        terms, tuple(column.kind for column in read.values()), interpreter.state, design
    )
    places = {name: j for j, name in enumerate(plan.layout)}
    return FormulaRows(
        formula,
        y,
        made[:, [places[name] for name in design.predictors]],
        notes_of(formula, plan.layout, list(read.values()), values, aliased, redundant),
    )


@dataclass(frozen=True, eq=False)
class Plan:
    """The columns of a formula, including redundant ones.

    Attributes
    ----------
    terms
        The formula.
    layout
        All columns except the constant.
    common
        Names of the columns of the common part.
    varying
        Names of the columns that vary by group, including the constant if it varies.
    correlated
        Blocks of columns whose coefficients correlate.
    """

    terms: Terms
    layout: Layout
    common: tuple[str, ...]
    varying: tuple[str, ...]
    correlated: tuple[tuple[str, ...], ...]

    def design(
        self, free: Callable[[list[int], bool], list[bool]]
    ) -> tuple[Design, tuple[str, ...], tuple[str, ...]]:
        """Return the design without redundant population columns, and names of redundant columns.

        Varying columns may be redundant, as in ``(1 | g) + (0 + c || g)``, because their
        coefficients have separate distributions, whose standard deviations the rows determine.

        Parameters
        ----------
        free
            Function that returns which columns, at given positions of the layout, are not
            combinations of earlier columns, and of a constant if there is one.

        Returns
        -------
        design, aliased, redundant
            The design; the population columns that are left out; the varying columns that are
            combinations of earlier columns.

        Raises
        ------
        ValueError
            If a varying column is a multiple of another, or 0 in all rows, or redundant in its
            block of correlated columns: then no rows could determine the standard deviations. If
            no column of an interaction is left.
        """
        places = {name: j for j, name in enumerate(self.layout)}

        def bound(columns: tuple[str, ...]) -> list[str]:
            slopes = [name for name in columns if name != INTERCEPT]
            good = free([places[name] for name in slopes], INTERCEPT in columns)
            return [name for name, is_free in zip(slopes, good, strict=True) if not is_free]

        redundant = bound(self.varying)
        # To find multiples, it is sufficient to check pairs.
        others = {name: self.varying[: self.varying.index(name)] for name in redundant}
        alike = [
            name
            for name, before in others.items()
            if bound((name,)) or any(bound((other, name)) for other in before)
        ]
        alike += [name for block in self.correlated for name in bound(block) if name not in alike]
        if alike:
            raise ValueError(
                f"Expected columns left of the bar that differ; got {first_few(alike)}, which is a "
                "multiple of another (or 0 in all rows), or a combination of those with which it "
                "correlates: leave out what is redundant"
            )
        constant = self.terms.common.intercept
        good = free([places[name] for name in self.common], constant)
        kept = tuple(name for name, is_free in zip(self.common, good, strict=True) if is_free)
        population = (INTERCEPT, *kept) if constant else kept
        aliased = tuple(name for name in self.common if name not in kept)
        self._check_interactions(kept)
        return Design(population, self.varying, self.correlated), aliased, tuple(redundant)

    def _check_interactions(self, kept: tuple[str, ...]) -> None:
        """Raise ValueError if all columns of an interaction were left out."""
        columns: dict[frozenset[str], list[str]] = {}
        for name in self.common:
            own = frozenset(piece.factor for piece in self.layout[name])
            columns.setdefault(own, []).append(name)
        for term, names in columns.items():
            if len(term) > 1 and not set(names) & set(kept):
                ordered = ":".join(text for text in self.terms.factors if text in term)
                raise ValueError(
                    f"Expected an interaction of which rows tell something; got {ordered!r}, whose "
                    "columns are 0 in all rows or combinations of those before: leave it out"
                )


def plan_of(terms: Terms, values: Mapping[str, Categories | Basis]) -> Plan:
    """Lay out the columns of a formula.

    Parameters
    ----------
    terms
        The formula.
    values
        Values of its factors, of which only levels and numbers of columns are used.

    Raises
    ------
    ValueError
        If there are too many columns, or two columns with the same name, or the formula is not
        supported in this edition.
    """
    check_widths(values)
    layout = part_layout(terms.common, terms.factors, values)
    common = tuple(layout)
    slopes: Layout = {}
    varying: dict[str, None] = {}
    correlated: list[tuple[str, ...]] = []
    for part in terms.random:
        own = part_layout(part, terms.factors, values)
        names = [*([INTERCEPT] if part.intercept else []), *own]
        _check_part(part, names, varying, terms.group)
        varying |= dict.fromkeys(names)
        if part.correlated and len(names) > 1:
            correlated.append(tuple(names))
        add(slopes, own)
    add(layout, slopes)
    for name in (terms.outcome, terms.group, *layout):
        storable(name, "a column of the formula")
    for name in (terms.outcome, terms.group):
        if name in layout:
            raise ValueError(
                f"Expected predictors with other names than the outcome and the group; got {name!r}"
                f" as one: write I({name}) for a predictor that is numeric"
            )
    every = tuple(n for n in (INTERCEPT, *slopes) if n in varying)
    return Plan(terms, layout, common, every, tuple(correlated))


def apply(formula: ModelFormula, frame: pd.DataFrame) -> FormulaRows:
    """Evaluate a formula on other rows with its state.

    Parameters
    ----------
    formula
        The formula with its state.
    frame
        The rows, with all columns that the formula uses.
    """
    return FormulaRows(formula, *formula.rows_of(frame), notes=())


def _check_part(part: Part, names: Sequence[str], before: Mapping[str, None], group: str) -> None:
    """Check that a random part has columns, and that none of them is in an earlier random part."""
    if not names:
        raise ValueError(f"Expected coefficients left of the bar; got none in {part.text}")
    twice = [name for name in names if name in before]
    if twice:
        raise ValueError(
            f"Expected each column to vary once by {group!r}; got {first_few(twice)} again "
            f"in {part.text}: write 0 + in it, or leave the term out"
        )
