"""Read the dates that ``days()`` in formulas converts to days since an origin."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radon_numpyro.data.checks import rows_named
from radon_numpyro.data.formulas.syntax import Call, Name, spelled, walk
from radon_numpyro.data.formulas.terms import Terms

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ].*)?")


@dataclass(frozen=True, eq=False)
class Dates:
    """A column of dates or times.

    Attributes
    ----------
    times
        The times to the microsecond, shape (N,), dtype ``datetime64[us]``.
    """

    times: NDArray[np.datetime64]

    def since(self, origin: str) -> NDArray[np.float64]:
        """Return the days since a date, shape (N,), with fractions for the time of day.

        Parameters
        ----------
        origin
            The date, such as ``"2024-03-31"``.
        """
        return np.asarray((self.times - np.datetime64(origin)) / np.timedelta64(1, "D"))

    def origin(self, given: Any, call: Call) -> str:
        """Return the date from which days are counted: the first date, or a given one.

        Parameters
        ----------
        given
            A text such as ``"2024-03-31"``, or None.
        call
            The call, for messages.

        Raises
        ------
        ValueError
            If the text is not a date.
        """
        if given is None:
            return str(self.times.min().astype("datetime64[D]"))
        try:
            return str(datetime.date.fromisoformat(given))
        except (TypeError, ValueError):
            raise ValueError(
                f'Expected an origin such as "2024-03-31"; got {given!r} in {spelled(call)!r}'
            ) from None


def read_dates(column: pd.Series, where: str) -> Dates:
    """Read a column of dates, times, or text with dates in the form of ISO 8601.

    Parameters
    ----------
    column
        The column, without missing values. Times with a time zone are converted to UTC.
    where
        Name of the column in messages.

    Raises
    ------
    TypeError
        If the column has other values.
    ValueError
        If a text is not a date, or a date is out of the range of pandas.
    """
    dtype = column.dtype
    if isinstance(dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    elif isinstance(dtype, pd.CategoricalDtype):
        column = column.astype(object)
    types = {datetime.date} if column.dtype.kind == "M" else set(map(type, column.tolist()))
    texts = types == {str}
    if not texts and not all(issubclass(t, datetime.date) for t in types):
        raise TypeError(f"Expected {where} to hold dates, which days() counts; got dtype {dtype}")
    if texts:
        odd = ~column.str.fullmatch(_ISO).to_numpy(np.bool_)
        if odd.any():
            raise ValueError(
                f"Expected {where} to hold dates such as 2024-03-31; got {column[odd].iloc[0]!r} "
                f"in {rows_named(odd, column)}"
            )
    try:
        times = pd.to_datetime(column, utc=True, **({"format": "ISO8601"} if texts else {}))
    except (ValueError, OverflowError) as error:
        what = str(error).partition("\n")[0]
        raise ValueError(f"Expected {where} to hold dates; got: {what}") from None
    return Dates(times.dt.tz_localize(None).to_numpy("datetime64[us]"))


def date_calls(terms: Terms) -> tuple[Call, ...]:
    """Return the calls of ``days()`` on a column.

    Parameters
    ----------
    terms
        The formula.
    """
    trees = (terms.response, *terms.factors.values(), *terms.offsets)
    return tuple(
        node
        for tree in trees
        for node in walk(tree)
        if isinstance(node, Call)
        and node.function == "days"
        and node.arguments
        and isinstance(node.arguments[0][1], Name)
    )


def dates_named(terms: Terms) -> tuple[str, ...]:
    """Return the columns in calls of ``days()``.

    Parameters
    ----------
    terms
        The formula.
    """
    nodes = (call.arguments[0][1] for call in date_calls(terms))
    return tuple(dict.fromkeys(node.value for node in nodes if isinstance(node, Name)))


def origin_notes(state: dict[str, Any]) -> tuple[str, ...]:
    """Write notes on the dates from which a formula counts days.

    Parameters
    ----------
    state
        State of the functions of the formula, by call.
    """
    return tuple(
        f"{call} counts days from {origin}"
        for call, origin in state.items()
        if call.startswith("days(")
    )
