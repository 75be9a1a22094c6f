"""Rows of a frame that are complete in the columns in use, in pandas."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import pandas as pd

from radon_numpyro.data.checks import group_codes
from radon_numpyro.data.frames import known_frame, to_pandas
from radon_numpyro.data.missing import LeftOut, at_least_one_row, check_missing, leave_out

type Known = pd.DataFrame | nw.DataFrame[Any]


@dataclass(frozen=True, eq=False)
class CompleteRows:
    """Rows that are used.

    Attributes
    ----------
    frame
        The columns in use.
    left_out
        Pairs (reason, count) of rows that are not.
    lost_groups
        Labels of groups of which no row is left.
    """

    frame: pd.DataFrame
    left_out: LeftOut
    lost_groups: tuple[Hashable, ...]


def in_memory(frame: Any, constructor: str) -> Known:
    """Wrap a frame whose rows are here.

    Parameters
    ----------
    frame
        A pandas or Polars DataFrame or a PyArrow Table.
    constructor
        What takes the rows of an engine, to be named in the message.

    Raises
    ------
    TypeError
        It is none.
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
    """Leave out rows with a code for a missing value or, if asked, without a value.

    Parameters
    ----------
    known
        From :func:`in_memory`.
    y, predictors, group
        Columns in use: of the outcome, of the predictors and of the groups.
    missing, drop_missing
        As in ``GroupedData.from_frame``.
    booleans
        Whether truth values of another library than pandas stay what they are.

    Raises
    ------
    TypeError, ValueError
        `missing` is no mapping or names another column, or no row is left.
    """
    used = list(dict.fromkeys((*y, *predictors, group)))
    codes = check_missing(missing, used)
    if not isinstance(known, pd.DataFrame):
        # An outcome that is a truth value is refused later, under its own name.
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
    """Groups that lost all their rows, but for those that are named as missing themselves."""
    expected = {*group_codes(kept.dropna())[1], *codes.get(str(every_label.name), ())}
    return tuple(label for label in group_codes(every_label.dropna())[1] if label not in expected)
