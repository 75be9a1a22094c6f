"""Read columns of a frame for a formula, as numbers, truth values, categories or dates."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_bool_dtype, is_numeric_dtype, is_object_dtype, is_string_dtype

from radon_numpyro.data.checks import (
    dates_in,
    first_few,
    holds_numbers,
    numeric_column,
    plural,
    repeated,
    rows_named,
)
from radon_numpyro.data.formulas.categories import Categories, level_text
from radon_numpyro.data.formulas.dates import Dates, read_dates

NUMBER, BOOLEAN, CATEGORY, DATE = "number", "boolean", "category", "date"


@dataclass(frozen=True)
class Kind:
    """The kind of a column.

    Attributes
    ----------
    name
        Name of the column.
    kind
        ``"number"``, ``"boolean"``, ``"category"`` or ``"date"``.
    levels
        Levels of a category in the rows of the fit, in order.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FrameColumn:
    """A column with its kind.

    Attributes
    ----------
    kind
        The kind of the column.
    values
        Numbers or truth values, shape (N,), categories, or dates.
    unused
        Declared categories that no row has.
    ordered
        Whether the categories are declared as ordered.
    of_text
        Whether the categories come from text, and are not declared.
    """

    kind: Kind
    values: NDArray[Any] | Categories | Dates
    unused: tuple[str, ...] = ()
    ordered: bool = False
    of_text: bool = False


def read_column(column: pd.Series, argument: str, known: Kind | None = None) -> FrameColumn:
    """Read a column by its kind, or by its kind in the rows of a fit.

    Parameters
    ----------
    column
        The column.
    argument
        ``"x"`` or ``"y"``, for messages.
    known
        Kind in the rows of the fit, or the kind that a formula needs; None to find it.

    Returns
    -------
    FrameColumn
        Levels of text are sorted. Levels of a pandas, Polars or Arrow category keep its order,
        without unused levels. New rows have the levels of the fit.

    Raises
    ------
    TypeError
        If the column has dates, or other values than numbers, truth values or texts, or another
        kind than in the rows of the fit.
    ValueError
        If values are missing or infinite, or a level is new.
    """
    where = f"column {column.name!r} ({argument})"
    name = str(column.name)
    kind = known.kind if known else _kind(column, where)
    if kind == NUMBER:
        return FrameColumn(Kind(name, NUMBER), numeric_column(column, argument))
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"Expected {where} without gaps; got {rows_named(missing, column)} missing"
        )
    if kind == DATE:
        return FrameColumn(Kind(name, DATE), read_dates(column, where))
    if kind == BOOLEAN:
        if known and _kind(column, where) != BOOLEAN:
            raise TypeError(f"Expected {where} to hold True or False; got dtype {column.dtype}")
        return FrameColumn(Kind(name, BOOLEAN), column.to_numpy(dtype=np.bool_))
    if known and not isinstance(column.dtype, pd.CategoricalDtype):
        column = column.map(level_text)
    categories, unused = _categories(column, where)
    if known:
        categories = categories.among(known.levels, name)
    declared = isinstance(column.dtype, pd.CategoricalDtype)
    ordered = declared and bool(column.dtype.ordered)
    kind_of_levels = Kind(name, CATEGORY, categories.levels)
    return FrameColumn(kind_of_levels, categories, unused, ordered, not declared)


def _kind(column: pd.Series, where: str) -> str:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return CATEGORY
    if is_bool_dtype(dtype):
        return BOOLEAN
    if is_numeric_dtype(dtype):
        return NUMBER
    if holds_numbers(column):
        return NUMBER
    if dates := dates_in(column):
        raise TypeError(f"Expected {where} to be numbers or categories; got {dates}")
    if is_object_dtype(dtype) or is_string_dtype(dtype):
        present = column.dropna()
        types = {type(value) for value in present.tolist()}
        if types <= {str}:
            return CATEGORY
        if types <= {bool, np.bool_}:
            return BOOLEAN
        names = ", ".join(sorted(t.__name__ for t in types))
        raise TypeError(
            f"Expected {where} to be all numbers, all text or all True and False; got {names}: "
            "astype(float) makes numbers of it, astype(str) makes categories"
        )
    raise TypeError(f"Expected {where} to be numbers or categories; got dtype {dtype}")


def _categories(column: pd.Series, where: str) -> tuple[Categories, tuple[str, ...]]:
    """Return the categories in use, and the declared categories that are not in use."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        declared = column.cat.categories.tolist()
        codes = column.cat.codes.to_numpy()
    else:
        codes, uniques = pd.factorize(column, sort=True)
        declared = list(uniques)
    levels = [level_text(level) for level in declared]
    if len(set(levels)) < len(levels):
        raise ValueError(
            f"Expected {where} to have categories that differ as text; got {repeated(levels)} "
            "repeated"
        )
    every = Categories(np.asarray(codes, np.int64), tuple(levels))
    used = every.used()
    return used, tuple(level for level in levels if level not in set(used.levels))


def level_notes(columns: Sequence[FrameColumn], plain: Collection[str]) -> tuple[str, ...]:
    """Write notes on categories without rows, on ordered categories, and on numbers as text.

    Parameters
    ----------
    columns
        The columns in use.
    plain
        Names of columns that are themselves factors of the formula, with the default coding.
    """
    unused = [
        f"{c.kind.name}: {plural(len(c.unused), 'level')} without rows left out, "
        f"{first_few(c.unused)}"
        for c in columns
        if c.unused
    ]
    # With two levels, the order only determines the reference.
    ordered = [
        f"{c.kind.name}: the order of its levels says which is the reference, and no more; "
        f"C({c.kind.name}, contr.poly) has the polynomial contrasts of ordered factors in R"
        for c in columns
        if c.ordered and c.kind.name in plain and len(c.kind.levels) > 2
    ]
    numbers = [
        f"{c.kind.name}: text is read as categories, though all of it is numbers, such as "
        f"{c.kind.levels[0]!r}: if these are measurements, make the column one of numbers, in "
        "pandas by pandas.to_numeric"
        for c in columns
        if c.of_text and c.kind.name in plain and all(map(_is_number, c.kind.levels))
    ]
    return (*unused, *ordered, *numbers)


def _is_number(text: str) -> bool:
    try:
        return np.isfinite(float(text)).item()
    except ValueError:
        return False
