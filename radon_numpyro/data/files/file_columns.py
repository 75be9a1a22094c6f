"""Choose the columns to read from a file, and convert their text to numbers or categories."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from radon_numpyro.data.checks import check_columns, suggest
from radon_numpyro.data.files.number_texts import ERRORS, PLAIN, Notation
from radon_numpyro.data.formulas.dates import dates_named
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.frames import named_weights
from radon_numpyro.data.formulas.rows import names_used
from radon_numpyro.data.formulas.terms import Terms
from radon_numpyro.data.frame_columns import BOOLEAN, CATEGORY, DATE, NUMBER
from radon_numpyro.data.missing import BLANKS
from radon_numpyro.data.row_weights import weight_columns

TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")


@dataclass(frozen=True)
class Columns:
    """Names of the columns to read from a file, and rules for rows to leave out.

    Attributes
    ----------
    y, x, group
        Names of the outcome, the predictors and the grouping; y is None for rows to predict.
    missing
        Codes for missing values as text, by column.
    drop_missing
        Whether to leave out rows with missing values.
    center
        Predictors to centre at their mean.
    fixed
        Predictors with one slope for all groups.
    weights, se
        Column of precision weights or of known standard errors of the rows; None without one.
    """

    y: str | None
    x: tuple[str, ...]
    group: str
    missing: Mapping[str, Sequence[str]]
    drop_missing: bool
    center: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    weights: str | None = None
    se: str | None = None

    @property
    def kinds(self) -> dict[str, str]:
        """Kind of each column except the grouping: all are numbers."""
        weights = (name for name in (self.weights, self.se) if name is not None)
        predictors = (*self.x, *self.fixed, *weights)
        return dict.fromkeys(predictors if self.y is None else (self.y, *predictors), NUMBER)

    def among(self, known: Sequence[str]) -> list[str]:
        """Return the columns to read, after checking that the table has each name exactly once.

        Parameters
        ----------
        known
            Names of the columns of the table.
        """
        check_columns(known, self.y, self.x, self.group, self.fixed)
        weight_columns(known, self.weights, self.se)
        return [*self.kinds, self.group]


@dataclass(frozen=True)
class FormulaColumns:
    """Columns of a formula to read from a file, and rules for rows to leave out.

    Attributes
    ----------
    formula
        The parsed formula for rows to fit, or the formula of a fit with its state for rows to
        predict, for which only predictors and grouping are read.
    missing, drop_missing, weights, se
        As in `Columns`.
    """

    formula: Terms | ModelFormula
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    drop_missing: bool = False
    weights: str | None = None
    se: str | None = None

    @property
    def weighed_by(self) -> dict[str, str]:
        """Column of weights or of standard errors, by the name of the argument."""
        names = self.weights, self.se
        if isinstance(self.formula, Terms):
            names = named_weights(self.formula, *names, None)
        return {n: v for n, v in zip(("weights", "se"), names, strict=True) if v is not None}

    @property
    def group(self) -> str:
        """Column of the grouping."""
        return self.formula.group

    @property
    def kinds(self) -> dict[str, str]:
        """Kinds of the columns whose kind is known before the file is read."""
        weights = dict.fromkeys(self.weighed_by.values(), NUMBER)
        if isinstance(self.formula, Terms):
            response = dict.fromkeys(self.formula.response_named(), NUMBER)
            return response | dict.fromkeys(dates_named(self.formula), DATE) | weights
        used = self.formula.predictors_used
        kinds = {kind.name: kind.kind for kind in self.formula.kinds if kind.name in used}
        return weights | kinds

    def among(self, known: Sequence[str]) -> list[str]:
        """Return the columns to read, after checking that the table has each name exactly once.

        Parameters
        ----------
        known
            Names of the columns of the table.
        """
        weights = weight_columns(known, **{"weights": None, "se": None} | self.weighed_by).values()
        if isinstance(self.formula, Terms):
            response, right = names_used(self.formula, list(known))
            return list(dict.fromkeys((*response, *right, *weights, self.group)))
        used = list(dict.fromkeys((*self.formula.predictors_used, *weights, self.group)))
        for name in used:
            if list(known).count(name) != 1:
                raise ValueError(
                    f"Expected one column named {name!r}, which the formula of the fit uses; got "
                    f"{list(known).count(name)} ({suggest(name, known)})"
                )
        return used

    def undecided(self, used: Sequence[str]) -> list[str]:
        """Return the columns whose text determines their kind.

        Parameters
        ----------
        used
            Columns to read, from `among`.
        """
        right = self.formula.predictors_named() if isinstance(self.formula, Terms) else ()
        offsets = self.formula.offsets_named() if isinstance(self.formula, Terms) else ()
        return [name for name in used if name in (*right, *offsets) and name not in self.kinds]


def kind_of(values: int, numbers: int, truths: int) -> str:
    """Return the kind of a column of text: numbers, truth values, or otherwise categories.

    Parameters
    ----------
    values
        Number of fields that are neither blank nor a code for a missing value.
    numbers, truths
        Number of these fields that are numbers, and that are truth values.
    """
    if numbers == values:
        return NUMBER
    return BOOLEAN if truths == values else CATEGORY


def kind_notes(name: str, values: int, numbers: int, example: str) -> tuple[str, ...]:
    """Write a note on a column that is read as categories although most fields are numbers.

    If almost all fields are numbers, the other fields are mistakes, and an error is raised.

    Parameters
    ----------
    name
        Name of the column.
    values, numbers
        As in `kind_of`.
    example
        A field that is not a number.

    Raises
    ------
    ValueError
        If at most one field in twenty is not a number.
    """
    if numbers == values or 2 * numbers <= values:
        return ()
    are = "is" if values - numbers == 1 else "are"
    if example in ERRORS:
        raise ValueError(
            f"Expected column {name!r} to hold numbers; got {example!r}, the mark of a spreadsheet "
            "for what it cannot compute: correct the file, or leave such fields empty"
        )
    if 20 * (values - numbers) <= values:
        raise ValueError(
            f"Expected column {name!r} to hold numbers; got {values - numbers} of {values} values "
            f"that {are} not, such as {example!r}: correct the file, or empty such fields and "
            "leave their rows out by --drop-missing"
        )
    return (
        f"{name}: read as categories, because {values - numbers} of {values} values {are} not a "
        f"number, such as {example!r}",
    )


def read_texts(
    column: pd.Series, kind: str | None, codes: Sequence[str], notation: Notation = PLAIN
) -> tuple[pd.Series, tuple[str, ...]]:
    """Convert a column of text to numbers or truth values, if its fields allow.

    Parameters
    ----------
    column
        The fields; empty fields are missing values.
    kind
        Kind of the column; None to determine it from the text.
    codes
        Codes for missing values, which are ignored when the kind is determined.
    notation
        Notation of numbers.

    Returns
    -------
    column, notes
        Numbers, truth values or text, and notes on the column. A column with fields that do not
        fit a given kind stays text; the check of its rows then raises an error.
    """
    filled = column.mask(column.isin(BLANKS))
    numbers, notes = notation.read(filled)
    truths = filled.isin((*TRUE, *FALSE))
    if kind is None:
        coded = filled.isin(codes)
        present = filled.notna() & ~coded
        values, number = int(present.sum()), int((present & numbers.notna()).sum())
        kind = kind_of(values, number, 0 if coded.any() else int(truths.sum()))
        if kind == CATEGORY:
            notes = kind_notes(
                str(column.name), values, number, filled[present & numbers.isna()].min()
            )
            notes += date_notes(str(column.name), filled[present])
    elif kind == NUMBER and (numbers.isna() & filled.notna()).any():
        return filled, ()
    if kind == NUMBER:
        return numbers.astype("float64") if numbers.dtype == object else numbers, notes
    if kind == BOOLEAN and (truths | filled.isna()).all():
        truth = filled.isin(TRUE)
        return truth if truths.all() else truth.astype("boolean").mask(filled.isna()), notes
    return column, notes if kind == CATEGORY else ()


def date_notes(name: str, texts: pd.Series) -> tuple[str, ...]:
    """Write a note if all fields of a column of categories are dates.

    Parameters
    ----------
    name
        Name of the column.
    texts
        Fields of the column without missing values.
    """
    distinct = texts.unique()
    if len(distinct) == 0 or not all(_DATE.match(text) for text in distinct):
        return ()
    return (
        f"{name}: read as categories, one for each date, such as {distinct[0]!r}: days({name}) "
        "counts days, from dates such as 2024-03-31",
    )


_DATE = re.compile(r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))\b")
