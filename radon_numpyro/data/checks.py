"""Checks of a user's table, and the words to refuse it in: "Expected X; got Y"."""

from collections.abc import Hashable, Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import (
    is_bool_dtype,
    is_complex_dtype,
    is_list_like,
    is_numeric_dtype,
    is_object_dtype,
)


def check_columns(
    columns: Sequence[Hashable], y: str | None, x: str | Sequence[str], group: str
) -> tuple[str, ...]:
    """Refuse names that do not each mean one column of their own; list the predictors.

    New rows, to be predicted, have no outcome.
    """
    if not isinstance(x, Sequence):
        raise TypeError(f"Expected x to be a str or a sequence of str; got {type(x).__name__}")
    predictors = (x,) if isinstance(x, str) else tuple(x)
    used = [("x", name) for name in predictors] + [("group", group)]
    if y is not None:
        used.insert(0, ("y", y))
    for argument, name in used:
        if not isinstance(name, str):
            raise TypeError(f"Expected {argument} to be named by a str; got {name!r}")
        if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
            raise ValueError(
                f"Expected {argument} to have a name that a file can hold, UTF-8 without NUL; got "
                f"{name!r}"
            )
    names = [name for _, name in used]
    if len(set(names)) < len(names):
        raise ValueError(
            f"Expected y, x and group to be different columns; got {repeated(names)} repeated"
        )
    for argument, name in used:
        count = columns.count(name)
        if count == 0:
            raise ValueError(
                f"Expected {argument} to name a column; got {name!r} ({suggest(name, columns)})"
            )
        if count > 1:
            raise ValueError(f"Expected one column named {name!r} ({argument}); got {count}")
    return predictors


def numeric_column(column: pd.Series, argument: str) -> NDArray[np.float64]:
    """Turn a column into finite float64 numbers or say which rows are in the way."""
    dtype, where = column.dtype, f"column {column.name!r} ({argument})"
    if is_object_dtype(dtype) or isinstance(dtype, pd.StringDtype):
        text = pd.to_numeric(column.astype("str"), errors="coerce").isna().to_numpy()
        what = "with numbers as text; pandas.to_numeric converts"
        if text.any():
            values = first_few(column[text].tolist(), 3)
            what = f"with {_rows(text, column)} not a number: {values}"
        raise TypeError(f"Expected {where} to be numeric; got dtype {dtype} {what}")
    if not is_numeric_dtype(dtype) or is_complex_dtype(dtype):
        raise TypeError(f"Expected {where} to be numeric; got dtype {dtype}")
    if argument == "y" and is_bool_dtype(dtype):
        raise TypeError(f"Expected {where} to be a measurement; got dtype {dtype}")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    for bad, what in ((np.isnan(values), "missing"), (np.isinf(values), "infinite")):
        if bad.any():
            raise ValueError(f"Expected {where} to be finite; got {_rows(bad, column)} {what}")
    return values


def group_codes(
    column: pd.Series, *, gaps: bool = False
) -> tuple[NDArray[np.int32], tuple[Hashable, ...]]:
    """Give each row the code of its group, and list the labels; with gaps allowed, theirs is -1."""
    where = f"column {column.name!r} (group)"
    missing = column.isna().to_numpy()
    if missing.any() and not gaps:
        raise ValueError(f"Expected {where} without gaps; got {_rows(missing, column)} missing")
    if isinstance(column.dtype, pd.CategoricalDtype):
        used = column.cat.remove_unused_categories().cat
        return used.codes.to_numpy(dtype=np.int32), tuple(used.categories.tolist())
    try:
        codes, labels = pd.factorize(column)
    except TypeError as error:
        raise TypeError(f"Expected {where} to hold hashable labels; got {error}") from error
    return codes.astype(np.int32), tuple(labels.tolist())


def as_series(values: Any, argument: str) -> pd.Series:
    """Make a column with rows 0..N-1, whatever index the values had."""
    if not is_list_like(values):
        raise TypeError(f"Expected {argument} to be an array; got {type(values).__name__}")
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"Expected {argument} with columns of shape (N,); got {values.shape}")
    return pd.Series(values).reset_index(drop=True)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Copy an array and lock the copy."""
    copy = np.array(array, order="C")
    copy.setflags(write=False)
    return copy


def _rows(mask: NDArray[np.bool_], column: pd.Series) -> str:
    """Name rows by number and index label: ``2 rows (index 3, 8)``."""
    named = column.index.name if isinstance(column.index.name, str) else "index"
    return f"{plural(int(mask.sum()), 'row')} ({named} {first_few(column.index[mask].tolist())})"


def first_few(items: Iterable[Any], count: int = 5) -> str:
    """List the first few of many things."""
    shown = [repr(item) for item in islice(items, count + 1)]
    return ", ".join(shown[:count] + ["..."] * (len(shown) > count))


def repeated(items: Sequence[Hashable]) -> str:
    """List what occurs more than once."""
    return first_few(dict.fromkeys(item for item in items if items.count(item) > 1))


def plural(count: int, noun: str) -> str:
    """Count things: ``1 row``, ``2 rows``."""
    return f"{count} {noun}{'s' * (count != 1)}"


def suggest(wanted: Hashable, known: Iterable[Hashable]) -> str:
    """Point to known names that look like the wanted one, upper and lower case alike."""
    spelling = {str(name).casefold(): name for name in known}
    close = get_close_matches(str(wanted).casefold(), spelling)
    if close:
        return f"close: {first_few(spelling[name] for name in close)}"
    return f"known: {first_few(spelling.values())}"
