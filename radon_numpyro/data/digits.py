"""Format numbers with as many digits as their standard deviations justify.

A number with a standard deviation is rounded to the second digit of the standard deviation:
1,000,000.345 with an sd of 0.038. Digits beyond the precision of float64 are not written. Numbers
without a standard deviation have four significant digits, or all digits before the point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LARGEST_PLAIN = 1e15
# Smaller numbers are written with a power of ten if they would need more than six places.
SMALLEST_PLAIN, MOST_PLACES = 1e-4, 6
NOT_FINITE = "not finite"


def number(value: Any, sd: Any = None) -> str:
    """Format a number.

    Parameters
    ----------
    value
        The number.
    sd
        Its standard deviation, or the width of its interval. If it is 0, the number is exact and
        has up to 12 digits.
    """
    value, sd = float(value), np.nan if sd is None else float(sd)
    if not np.isfinite(value):
        return NOT_FINITE
    if sd == 0:
        return f"{value + 0.0:,.12g}"
    if not (np.isfinite(sd) and sd > 0):
        return short(value)
    return _written([value], min(places(sd), _held(value)))[0]


def estimate(mean: Any, sd: Any, lower: Any, upper: Any) -> tuple[str, str, str, str]:
    """Format mean, standard deviation and ends of an interval with the same number of places.

    If float64 does not have all places that the standard deviation justifies, one more place is
    written if mean and ends would otherwise be equal.

    Parameters
    ----------
    mean, sd, lower, upper
        The numbers.
    """
    values, sd = [float(v) for v in (mean, lower, upper)], float(sd)
    if not (np.isfinite(values).all() and np.isfinite(sd) and sd > 0):
        texts = [number(v, sd) for v in values]
    else:
        called, held = places(sd), min(map(_held, values))
        texts = _written(values, min(called, held))
        if called > held and len(set(texts)) < len(set(values)):
            texts = _written(values, held + 1)
    return texts[0], number(sd, sd if sd > 0 else None), texts[1], texts[2]


def texts_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Format the numbers in a row of a table.

    The names of the columns determine the standard deviations: ``sd`` belongs to ``mean``,
    ``lower`` and ``upper``; ``A_sd`` or ``A_se`` belongs to ``A`` and ``A_mean``. Text is not
    changed, and a missing number becomes a dash.

    Parameters
    ----------
    row
        Numbers by names of columns.
    """
    texts = {name: _cell(name, row) for name in row}
    together = ("mean", "sd", "lower", "upper")
    if all(name in row and row[name] == row[name] for name in together):
        texts |= zip(together, estimate(*(row[name] for name in together)), strict=True)
    return texts


def short(value: Any) -> str:
    """Format a number without a standard deviation: four digits, or all before the point.

    Parameters
    ----------
    value
        The number.
    """
    value = float(value)
    if not np.isfinite(value):
        return NOT_FINITE
    figures = f"{value + 0.0:.4g}"
    return f"{value:,.0f}" if 1000 <= abs(float(figures)) < LARGEST_PLAIN else figures


def stated(value: Any, sd: Any) -> str:
    """Format a number that was chosen, such as a prior mean: short, if its sd allows that.

    Parameters
    ----------
    value, sd
        The number and its standard deviation.
    """
    size, sd = abs(float(value)), float(sd)
    if not sd > 0:
        return number(value, sd)
    shown = 0.0 if size >= 1000 else 3 - np.floor(np.log10(size)) if size else np.inf
    return number(value, sd) if places(sd) > shown else short(value)


def places(sd: float) -> int:
    """Return the decimal places up to the second digit of an sd; negative for whole tens.

    Parameters
    ----------
    sd
        The standard deviation, positive and finite.
    """
    return 1 - int(f"{sd:.1e}".partition("e")[2])


def _held(value: float) -> int:
    """Return the number of decimal places of a number of this size in float64."""
    return int(np.floor(-np.log10(np.spacing(abs(value)))))


def _written(values: list[float], places: int) -> list[str]:
    largest = max(map(abs, values))
    tiny = largest < SMALLEST_PLAIN and places > MOST_PLACES
    # Adding 0 removes the sign of a negative zero.
    rounded = [round(v, places) + 0.0 for v in values]
    if largest < LARGEST_PLAIN and not tiny:
        return [f"{v:,.{max(places, 0)}f}" for v in rounded]
    return [_power_of_ten(v, places) for v in rounded]


def _power_of_ten(value: float, places: int) -> str:
    if not value:
        return "0"
    exponent = int(f"{value:e}".partition("e")[2])
    return f"{value:.{max(exponent + places, 0)}e}"


def _cell(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    if isinstance(value, str):
        return value
    if value != value:
        return "-"
    return number(value, _sd_of(name, row))


def _sd_of(name: str, row: Mapping[str, Any]) -> Any:
    if name == "sd" or name.startswith("mcse") or name.endswith(("_sd", "_se")):
        return row[name] or None
    if name in ("mean", "lower", "upper"):
        return row.get("sd")
    names = [f"{name}_sd", f"{name}_se"]
    if name.endswith("_mean"):
        names.append(f"{name.removesuffix('mean')}sd")
    return next((row[n] for n in names if n in row), None)
