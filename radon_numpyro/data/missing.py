"""Rows without a value: those that a code marks, and those that are blank."""

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw

from radon_numpyro.data.checks import suggest

# What stands for no value among numbers and truth values; among text only an empty field does.
BLANKS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A", ".")
LeftOut = tuple[tuple[str, int], ...]


def check_missing(missing: Mapping[str, Any] | None, used: Sequence[str]) -> dict[str, list[Any]]:
    """List the codes of each column, refusing columns that are not used.

    Parameters
    ----------
    missing
        A code or a sequence of codes by column.
    used
        The columns in use.

    Raises
    ------
    TypeError
        It is no mapping.
    ValueError
        It names a column that is not used.
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
    """Leave out the rows that have a code for a missing value or, if asked, none at all.

    Parameters
    ----------
    frame
        Rows, in memory or an engine's.
    names
        The user's name of each column of the frame.
    missing
        Codes by the user's name.
    drop_missing
        Whether to leave out rows with a blank or NaN in any column.

    Returns
    -------
    frame, left_out
        The rows kept, and pairs (reason, count); a row counts for the first of its reasons.
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
    # Numbers, since what compares with a blank is neither true nor false; each in a column of its
    # own, which some engines need to sum it.
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
    """Refuse a frame that has no rows, or none left.

    Parameters
    ----------
    count
        Rows kept.
    left_out
        Pairs (reason, count) of rows left out.

    Raises
    ------
    ValueError
        There is no row.
    """
    if count == 0:
        reasons = "".join(f"; left out {number}: {reason}" for reason, number in left_out)
        raise ValueError(f"Expected frame to have at least one row; got 0 rows{reasons}")
