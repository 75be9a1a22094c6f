"""Find values and labels that are probably errors of typing or coding."""

import re
import shlex
import unicodedata
from collections.abc import Hashable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.checks import first_few, plural
from radon_numpyro.data.findings import Finding
from radon_numpyro.data.labels import folded
from radon_numpyro.data.missing import BLANKS

# 9, 99, 99.9, and other common codes: 7 and 8, 77 and 88, 97 and 98.
CODE = re.compile(r"9+|7+|8+|9+[78]|99+\.9+")
MANY = 10
_BLANKS = frozenset(blank.casefold() for blank in BLANKS)


def missing_code(name: str, values: NDArray[np.float64]) -> Finding | None:
    """Find a number that looks like a code for "missing": -9, 9, 99, 99.9, or 7, 8, 77, 88, 98.

    The distance of the code from all other values must be at least their range, or the code must be
    the only negative number. Because a long tail can also reach such a number, it must in addition
    have several nines, occur more than once, or be in a column that is otherwise 0 or 1. A code of
    one digit is not reported together with a few numbers that are not consecutive (1, 3, 9 may be
    the levels of an experiment), nor if it is positive and below all other values.

    Parameters
    ----------
    name
        Column.
    values
        Its values, shape (N,).
    """
    distinct, counts = np.unique(values, return_counts=True)
    low, high, size = _run(distinct), _run(distinct[::-1]), len(distinct)
    codes = np.zeros(size, dtype=bool)
    # Find the longest run of codes at either end that is apart: 98 and 99 above ages up to 60.
    for n in range(low, 0, -1):
        if _apart(distinct[:n], counts[:n], distinct[n : size - high]):
            codes[:n] = True
            break
    for n in range(high, 0, -1):
        if _apart(distinct[size - n :], counts[size - n :], distinct[low : size - n]):
            codes[size - n :] = True
            break
    if not codes.any():
        return None
    found, rest = [_number(v) for v in distinct[codes]], distinct[~codes]
    return Finding(
        f"{name!r} is {' or '.join(map(str, found))} in {counts[codes].sum()} of "
        f"{plural(len(values), 'row')}, apart from the other values, {rest[0]:.6g} to "
        f"{rest[-1]:.6g}: it looks like a code for a missing value.",
        "if it is one, leave these rows out: "
        f"GroupedData.from_frame(..., missing={{{name!r}: {found}}})",
        "if it is one, leave these rows out: "
        + " ".join(f"--missing {shlex.quote(f'{name}={code}')}" for code in found),
    )


def _run(values: NDArray[np.float64]) -> int:
    """Return how many of the first values could be codes."""
    size = 0
    while size < len(values) and CODE.fullmatch(str(abs(_number(values[size])))):
        size += 1
    return size


def _apart(
    codes: NDArray[np.float64], counts: NDArray[np.int64], rest: NDArray[np.float64]
) -> bool:
    """Return whether codes at one end of a column are apart from its other distinct values."""
    if len(rest) < 2:
        return False
    gap = max(codes[0] - rest[-1], rest[0] - codes[-1])
    if gap < rest[-1] - rest[0] and not codes[-1] < 0 <= rest[0]:
        return False
    few_with_gaps = len(rest) < MANY and (np.diff(rest) != 1).any()
    if np.abs(codes).max() < 10 and (few_with_gaps or 0 < codes[-1] < rest[0]):
        return False
    several_nines = any(re.fullmatch(r"99+|99+\.9+", str(abs(_number(v)))) for v in codes)
    return several_nines or bool(counts.sum() > 1) or rest.tolist() == [0, 1]


def _number(value: float) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


def missing_label(name: str, labels: Sequence[Hashable], what: str) -> Finding | None:
    """Find labels that look like a missing value: ``NA``, ``null``, or an empty text.

    In text columns these are valid values, because NA can also mean Namibia.

    Parameters
    ----------
    name
        Column.
    labels
        The labels of its groups, or the levels of its categories.
    what
        ``"group"`` or ``"level"``.
    """
    found = [
        label for label in labels if isinstance(label, str) and label.strip().casefold() in _BLANKS
    ]
    if not found:
        return None
    one = len(found) == 1
    return Finding(
        f"{first_few(found)} {'is a' if one else 'are'} {what}{'' if one else 's'} of {name!r} and "
        f"{'looks' if one else 'look'} like {'a missing value' if one else 'missing values'}.",
        f"if {'it is one' if one else 'they are'}, leave these rows out: missing="
        f"{{{name!r}: {found}}}",
        f"if {'it is one' if one else 'they are'}, leave these rows out: "
        + " ".join(f"--missing {shlex.quote(f'{name}={label}')}" for label in found),
    )


def look_alike_labels(group: str, labels: Sequence[Hashable]) -> Finding | None:
    """Find labels that differ only in case, white space, invisible characters or Unicode form.

    Different spellings of a number also count as equal: 1, 1.0 and 01, as number or text.

    Parameters
    ----------
    group
        Name of the grouping, or of a column of categories.
    labels
        Labels of the groups, or the levels of the categories.
    """
    spellings: dict[str, list[Hashable]] = {}
    for label in labels:
        spellings.setdefault(folded(label), []).append(label)
    alike = [same for same in spellings.values() if len(same) > 1]
    if not alike:
        return None
    shown = [_in_full(same) for same in islice(alike, 3)] + ["..."] * (len(alike) > 3)
    numbers = all(_DIGITS.fullmatch(folded(label)) for same in alike for label in same)
    only = "as spellings of a number" if numbers else "only in case, white space or Unicode form"
    return Finding(
        f"{sum(map(len, alike))} labels of {group!r} ({'; '.join(shown)}) differ from one another "
        f"{only}.",
        "one spelling for each group, if they mean the same",
    )


_DIGITS = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def total_label(name: str, labels: Sequence[Hashable]) -> Finding | None:
    """Find labels that are common for rows of totals or means in spreadsheets.

    Parameters
    ----------
    name
        Name of the grouping.
    labels
        Labels of the groups.
    """
    found = [label for label in labels if isinstance(label, str) and _TOTAL.fullmatch(label)]
    if not found:
        return None
    return Finding(
        f"{first_few(found)} of {name!r} {'is' if len(found) == 1 else 'are'} named as a row of "
        "totals is.",
        f"if so, leave it out: missing={{{name!r}: {found}}}",
        "if so, leave it out: "
        + " ".join(f"--missing {shlex.quote(f'{name}={label}')}" for label in found),
    )


_TOTAL = re.compile(
    r"\s*(?:(?:grand|sub|overall)[ -]?)?(?:totals?|sums?|means?|averages?|summe|gesamt|insgesamt|"
    r"mittelwert|durchschnitt|totaux|moyenne|totale|media|promedio|suma)\s*:?\s*",
    re.IGNORECASE,
)


def thousands_as_decimals(name: str, values: NDArray[np.float64]) -> Finding | None:
    """Find numbers such as 1.390 beside 900: a separator of thousands read as a decimal point.

    All other values must be whole numbers from 100 to 999. The numbers found must have at most
    three decimals, and be less than a twentieth of the others.

    Parameters
    ----------
    name
        Column.
    values
        Its values, shape (N,).
    """
    distinct = np.unique(values)
    whole = distinct[distinct == np.round(distinct)]
    broken = distinct[distinct != np.round(distinct)]
    if len(whole) == 0 or len(broken) == 0 or whole.min() < 100 or whole.max() > 999:
        return None
    if broken.min() < 1 or broken.max() > whole.min() / 20:
        return None
    if not np.allclose(broken * 1000, np.round(broken * 1000), rtol=0, atol=1e-6):
        return None
    return Finding(
        f"{name!r} has numbers such as {broken[0]:.3f} beside numbers such as {whole[-1]:.0f}: the "
        "point may stand between thousands.",
        "if so, multiply these numbers by 1000",
        "if so, say --thousands .",
    )


def _in_full(labels: list[Hashable]) -> str:
    """List labels, with their code points if they look the same."""
    seen = {unicodedata.normalize("NFC", repr(label)) for label in labels}
    return first_few(labels) if len(seen) == len(labels) else ", ".join(map(ascii, labels[:5]))
