"""Tables from files of Stata, whose labelled values are categories."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pandas as pd
from pandas.api.types import is_float_dtype

STATA = (".dta",)


def read_stata(
    source: str, among: Callable[[Sequence[str]], list[str]], group: str
) -> pd.DataFrame:
    """Read columns of a file of Stata into memory.

    Parameters
    ----------
    source
        Path of the file.
    among
        Lists the columns to take from the names of all.
    group
        Column of the groups, of which whole numbers stay such beside missing ones.

    Returns
    -------
    pandas.DataFrame
        Numbers, texts, and categories where values have labels.

    Raises
    ------
    ValueError
        It is no such file, or lacks a column.
    """
    try:
        with pd.read_stata(source, iterator=True) as reader:
            names = list(reader.variable_labels())
            used = among(names)
            frame = reader.read(columns=used, order_categoricals=False)
    except (ValueError, struct.error, KeyError) as error:
        if str(error).startswith("Expected"):
            raise
        what = str(error).strip().partition("\n")[0]
        raise ValueError(f"Expected {source!r} to be a file of Stata; got: {what}") from None
    label = frame[group]
    if is_float_dtype(label.dtype) and (label.dropna() % 1 == 0).all():
        whole = label.astype("Int64").astype(object)
        frame[group] = whole.where(whole.notna(), None)
    return frame
