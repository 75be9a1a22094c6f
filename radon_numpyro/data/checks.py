"""Checks of a user's table, with messages of the form "Expected X; got Y"."""

import datetime
from collections.abc import Hashable, Iterable, Sequence
from decimal import Decimal
from difflib import get_close_matches
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import (
    is_bool_dtype,
    is_complex_dtype,
    is_list_like,
    is_numeric_dtype,
    is_object_dtype,
)


def check_columns(
    columns: Sequence[Hashable],
    y: str | None,
    x: str | Sequence[str],
    group: str,
    fixed: str | Sequence[str] = (),
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Check that each name is one column of its own; return the names of x and of fixed.

    ``y`` is None for new rows, which have no outcome.
    """
    listed = []
    for argument, names in (("x", x), ("fixed", fixed)):
        if not isinstance(names, Sequence):
            got = type(names).__name__
            raise TypeError(f"Expected {argument} to be a str or a sequence of str; got {got}")
        listed.append((names,) if isinstance(names, str) else tuple(names))
    predictors, others = listed
    used = [("x", name) for name in predictors] + [("fixed", name) for name in others]
    used.append(("group", group))
    if y is not None:
        used.insert(0, ("y", y))
    for argument, name in used:
        if not isinstance(name, str):
            raise TypeError(f"Expected {argument} to be named by a str; got {name!r}")
        storable(name, argument)
    every = [name for _, name in used]
    if len(set(every)) < len(every):
        raise ValueError(
            f"Expected y, x and group to be different columns; got {repeated(every)} repeated"
        )
    for argument, name in used:
        count = columns.count(name)
        if count == 0:
            raise ValueError(
                f"Expected {argument} to name a column; got {name!r} ({suggest(name, columns)})"
            )
        if count > 1:
            raise ValueError(f"Expected one column named {name!r} ({argument}); got {count}")
    return predictors, others


def storable(name: str, argument: str) -> None:
    """Raise ValueError for a name that netCDF and JSON cannot store."""
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        raise ValueError(
            f"Expected {argument} to have a name that a file can hold, UTF-8 without NUL; got "
            f"{name!r}"
        )


def numeric_column(column: pd.Series, argument: str) -> NDArray[np.float64]:
    """Convert a column to finite float64 numbers; the message of an error names invalid rows."""
    if holds_numbers(column):
        column = column.where(column.notna(), np.nan).astype("float64")
    dtype, where = column.dtype, f"column {column.name!r} ({argument})"
    if dates := dates_in(column):
        raise TypeError(f"Expected {where} to be numeric; got {dates}")
    if is_object_dtype(dtype) or isinstance(dtype, pd.StringDtype):
        text = pd.to_numeric(column.astype("str"), errors="coerce").isna().to_numpy()
        what = "with numbers as text; pandas.to_numeric converts"
        if text.any():
            values = first_few(column[text].tolist(), 3)
            what = f"with {rows_named(text, column)} not a number: {values}"
        raise TypeError(f"Expected {where} to be numeric; got dtype {dtype} {what}")
    if not is_numeric_dtype(dtype) or is_complex_dtype(dtype):
        raise TypeError(f"Expected {where} to be numeric; got dtype {dtype}")
    if argument == "y" and is_bool_dtype(dtype):
        raise TypeError(f"Expected {where} to be a measurement; got dtype {dtype}")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    for bad, what in ((np.isnan(values), "missing"), (np.isinf(values), "infinite")):
        if bad.any():
            raise ValueError(f"Expected {where} to be finite; got {rows_named(bad, column)} {what}")
    return values


def holds_numbers(column: pd.Series) -> bool:
    """Return whether a column of dtype object has only numbers, as after transposing a frame."""
    if not is_object_dtype(column.dtype):
        return False
    types = {type(value) for value in column.dropna().tolist()}
    number = (int, float, np.integer, np.floating, Decimal)
    return bool(types) and all(issubclass(t, number) and t is not bool for t in types)


def dates_in(column: pd.Series) -> str:
    """Describe the dates, times or durations of a column and what to do; empty if it has none."""
    dtype = column.dtype
    if is_object_dtype(dtype):
        types = {type(value) for value in column.dropna().tolist()}
        kinds = (datetime.date, datetime.time, datetime.timedelta)
        of = [kind for kind in kinds if types and all(issubclass(t, kind) for t in types)]
        what = "dates" if datetime.date in of else "times" if of else ""
    elif dtype.kind in "mM" or isinstance(dtype, pd.PeriodDtype):
        what = "times" if dtype.kind == "m" else "dates"
    else:
        return ""
    got = what if is_object_dtype(dtype) else f"dtype {dtype}"
    return {
        "": "",
        "dates": f"{got}: {count_days(column.name)}",
        "times": f"{got}: make a number of it, such as hours",
    }[what]


def count_days(name: Hashable) -> str:
    """Return the advice for a column of dates."""
    return (
        f"days({name}) in a formula counts days for a number, and text, such as the month, makes "
        "categories"
    )


def group_codes(
    column: pd.Series, *, gaps: bool = False
) -> tuple[NDArray[np.int32], tuple[Hashable, ...]]:
    """Return the group code of each row, and the labels; gaps, if allowed, have code -1."""
    where = f"column {column.name!r} (group)"
    missing = column.isna().to_numpy()
    if missing.any() and not gaps:
        raise ValueError(
            f"Expected {where} without gaps; got {rows_named(missing, column)} missing"
        )
    if isinstance(column.dtype, pd.CategoricalDtype):
        used = column.cat.remove_unused_categories().cat
        return used.codes.to_numpy(dtype=np.int32), tuple(used.categories.tolist())
    try:
        codes, labels = pd.factorize(column)
    except TypeError as error:
        raise TypeError(f"Expected {where} to hold hashable labels; got {error}") from error
    return codes.astype(np.int32), tuple(labels.tolist())


def row_positions(rows: ArrayLike, num_rows: int) -> NDArray[Any]:
    """Return positions of rows from positions or from a mask of shape (num_rows,)."""
    chosen = np.asarray(rows)
    if chosen.dtype == np.bool_:
        if chosen.shape != (num_rows,):
            raise ValueError(f"Expected rows as a mask of shape ({num_rows},); got {chosen.shape}")
        chosen = np.flatnonzero(chosen)
    if chosen.ndim != 1 or chosen.size == 0:
        raise ValueError(f"Expected rows to name at least one row; got shape {chosen.shape}")
    if chosen.dtype.kind not in "iu":
        raise TypeError(f"Expected rows to be integers or a mask; got dtype {chosen.dtype}")
    outside = chosen[(chosen < 0) | (chosen >= num_rows)]
    if outside.size:
        raise ValueError(
            f"Expected rows between 0 and {num_rows - 1}; got {outside.size} outside: "
            f"{first_few(outside.tolist())}"
        )
    return chosen


def as_series(values: Any, argument: str) -> pd.Series:
    """Return values as a column with rows 0..N-1, without their index."""
    if not is_list_like(values):
        raise TypeError(f"Expected {argument} to be an array; got {type(values).__name__}")
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"Expected {argument} with columns of shape (N,); got {values.shape}")
    return pd.Series(values).reset_index(drop=True)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only copy of an array."""
    copy = np.array(array, order="C")
    copy.setflags(write=False)
    return copy


def rows_named(mask: NDArray[np.bool_], column: pd.Series) -> str:
    """Name rows by number and index label: ``2 rows (index 3, 8)``."""
    named = column.index.name if isinstance(column.index.name, str) else "index"
    return f"{plural(int(mask.sum()), 'row')} ({named} {first_few(column.index[mask].tolist())})"


def first_few(items: Iterable[Any], count: int = 5) -> str:
    """List the first few of many things."""
    shown = [repr(item) for item in islice(items, count + 1)]
    return ", ".join(shown[:count] + ["..."] * (len(shown) > count))


def repeated(items: Sequence[Hashable]) -> str:
    """List the first few items that occur more than once."""
    return first_few(dict.fromkeys(item for item in items if items.count(item) > 1))


def plural(count: int, noun: str) -> str:
    """Count things: ``1 row``, ``2 rows``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def suggest(wanted: Hashable, known: Iterable[Hashable]) -> str:
    """List known names that are similar to the wanted one, ignoring case."""
    spelling = {str(name).casefold(): name for name in known}
    close = get_close_matches(str(wanted).casefold(), spelling)
    if close:
        return f"close: {first_few(spelling[name] for name in close)}"
    return f"known: {first_few(spelling.values())}"
