"""Leave out rows with missing values, which are marked by a code or are blank."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import pandas as pd

from radon_numpyro.data.checks import group_codes, suggest
from radon_numpyro.data.frames import known_frame, to_pandas

# Texts for a missing value among numbers and truth values; in text columns only an empty field is.
BLANKS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", ".")
LeftOut = tuple[tuple[str, int], ...]


def check_missing(missing: Mapping[str, Any] | None, used: Sequence[str]) -> dict[str, list[Any]]:
    """Return the codes of each column, and check that the columns are in use.

    Parameters
    ----------
    missing
        A code or a sequence of codes by column.
    used
        The columns in use.

    Raises
    ------
    TypeError
        If ``missing`` is not a mapping.
    ValueError
        If ``missing`` names a column that is not in use.
    """
    if missing is None:
        return {}
    if not isinstance(missing, Mapping):
        raise TypeError(
            "Expected missing to be a mapping from column to code, such as {'floor': 9}; "
            f"got {missing!r}"
        )
    for name in missing:
        if name not in used:
            raise ValueError(
                f"Expected missing to name columns in use; got {name!r} ({suggest(name, used)})"
            )
    return {
        name: list(codes) if isinstance(codes, list | tuple | set | frozenset) else [codes]
        for name, codes in missing.items()
    }


def leave_out[Frame: (nw.DataFrame[Any], nw.LazyFrame[Any])](
    frame: Frame, names: Mapping[str, str], missing: Mapping[str, list[Any]], *, drop_missing: bool
) -> tuple[Frame, LeftOut]:
    """Leave out the rows with a code for a missing value or, on request, with a blank.

    Parameters
    ----------
    frame
        Rows in memory or in an engine.
    names
        The user's name of each column of the frame.
    missing
        Codes by the user's name.
    drop_missing
        Whether to leave out rows with a blank or NaN in any column.

    Returns
    -------
    frame, left_out
        The remaining rows, and pairs (reason, count). A row counts only for its first reason.
    """
    schema = frame.collect_schema()
    reasons: dict[str, nw.Expr] = {}
    for column, name in names.items():
        for code in missing.get(name, ()):
            reasons[f"{name} is {code} (missing)"] = nw.col(column) == code
    for column, name in names.items() if drop_missing else ():
        blank = nw.col(column).is_null()
        reasons[f"no {name}"] = blank | nw.col(column).is_nan() if _nan(schema[column]) else blank
    if not reasons:
        return frame, ()
    # Use numbers, because a comparison with a blank is neither true nor false. Each is a column,
    # because some engines can only sum columns.
    flags = [f"reason {i}" for i in range(len(reasons))]
    taken = nw.lit(0.0)
    marked = frame
    for flag, condition in zip(flags, reasons.values(), strict=True):
        marked = marked.with_columns(
            nw.when(condition).then(nw.lit(1.0)).otherwise(nw.lit(0.0)).alias(flag)
        )
        marked = marked.with_columns((nw.col(flag) * (1.0 - taken)).alias(flag))
        taken = taken + nw.col(flag)
    sums = marked.select(nw.col(flag).sum() for flag in flags)
    counts = sums.collect() if isinstance(sums, nw.LazyFrame) else sums
    left_out = tuple(
        (reason, int(counts[flag].item() or 0)) for reason, flag in zip(reasons, flags, strict=True)
    )
    kept = marked.filter(taken == 0.0).select(*names)
    return kept, tuple((reason, count) for reason, count in left_out if count)


def _nan(dtype: nw.dtypes.DType) -> bool:
    return dtype in (nw.Float64, nw.Float32)


def at_least_one_row(count: int, left_out: LeftOut) -> None:
    """Check that there is at least one row.

    Parameters
    ----------
    count
        Number of remaining rows.
    left_out
        Pairs (reason, count) of rows that were left out.

    Raises
    ------
    ValueError
        If there is no row.
    """
    if count == 0:
        reasons = "".join(f"; left out {number}: {reason}" for reason, number in left_out)
        raise ValueError(f"Expected frame to have at least one row; got 0 rows{reasons}")


type Known = pd.DataFrame | nw.DataFrame[Any]


@dataclass(frozen=True, eq=False)
class CompleteRows:
    """The rows that are used.

    Attributes
    ----------
    frame
        The columns in use.
    left_out
        Pairs (reason, count) of rows that were left out.
    lost_groups
        Labels of the groups that have no row left.
    """

    frame: pd.DataFrame
    left_out: LeftOut
    lost_groups: tuple[Hashable, ...]


def in_memory(frame: Any, constructor: str) -> Known:
    """Wrap a frame whose rows are in memory.

    Parameters
    ----------
    frame
        A pandas or Polars DataFrame or a PyArrow Table.
    constructor
        Name of the method of `GroupStatistics` that takes the rows of an engine, for the message.

    Raises
    ------
    TypeError
        If the frame is not a data frame in memory.
    """
    known = known_frame(frame)
    if isinstance(known, nw.LazyFrame):
        raise TypeError(
            f"Expected frame to be in memory; got {type(frame).__name__}, which holds no rows "
            f"yet: collect it, or reduce it where it is with GroupStatistics.{constructor}"
        )
    return known


def complete_rows(
    known: Known,
    y: Sequence[str],
    predictors: Sequence[str],
    group: str,
    *,
    missing: Mapping[str, Any] | None,
    drop_missing: bool,
    booleans: bool = False,
) -> CompleteRows:
    """Leave out rows with a code for a missing value or, on request, with a blank.

    Parameters
    ----------
    known
        From :func:`in_memory`.
    y, predictors, group
        Columns in use: of the outcome, of the predictors and of the groups.
    missing, drop_missing
        As in ``GroupedData.from_frame``.
    booleans
        Whether to keep truth values of other libraries than pandas as they are.

    Raises
    ------
    TypeError, ValueError
        If `missing` is not a mapping or names another column, or no row is left.
    """
    used = list(dict.fromkeys((*y, *predictors, group)))
    codes = check_missing(missing, used)
    if not isinstance(known, pd.DataFrame):
        # A boolean outcome is refused later, with its name.
        numbers = tuple(name for name in used if name not in (*y, group))
        outcome, others = (y[0], y[1:]) if y else (None, ())
        known = to_pandas(known, outcome, (*others, *numbers), group, booleans=booleans)
    every_label = known[group]
    left_out: LeftOut = ()
    if codes or drop_missing:
        kept, left_out = leave_out(
            nw.from_native(known[used], eager_only=True),
            dict(zip(used, used, strict=True)),
            codes,
            drop_missing=drop_missing,
        )
        known = kept.to_native()
    at_least_one_row(len(known), left_out)
    lost = _lost(every_label, known[group], codes) if left_out else ()
    return CompleteRows(known, left_out, lost)


def _lost(
    every_label: pd.Series, kept: pd.Series, codes: Mapping[str, list[Any]]
) -> tuple[Hashable, ...]:
    """Return groups that lost all their rows, except labels that are codes for missing values."""
    expected = {*group_codes(kept.dropna())[1], *codes.get(str(every_label.name), ())}
    return tuple(label for label in group_codes(every_label.dropna())[1] if label not in expected)
