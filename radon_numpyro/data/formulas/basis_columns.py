"""Compute polynomials and splines of a column with formulaic; their state fits into JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_COLUMNS = 100

_REGRESSION = ("x", "df", "knots")
# Parameters of each function, as formulas name them.
BASES: dict[str, tuple[str, ...]] = {
    "poly": ("x", "degree", "raw"),
    "bs": ("x", "df", "knots", "degree", "intercept"),
    "ns": _REGRESSION,
    "cr": _REGRESSION,
    "cs": _REGRESSION,
    "cc": _REGRESSION,
}


def basis(
    name: str,
    values: NDArray[np.float64],
    options: Mapping[str, Any],
    state: Mapping[str, Any] | None,
    what: str,
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Compute the columns of a polynomial or of a spline.

    ``poly`` and ``bs`` are as in R. ``ns`` and ``cr`` (or ``cs``) are natural cubic splines with
    knots at equally spaced quantiles, centred so that they do not span the constant. They span the
    same space as R's ``ns``, by different columns. ``cc`` is cyclic.

    Parameters
    ----------
    name
        The function.
    values
        Its argument, shape (N,), finite.
    options
        Its other arguments.
    state
        State from the rows of the fit; None to compute it from these rows.
    what
        The call, for messages.

    Returns
    -------
    columns, state
        Columns of shape (N, m), and the state, which JSON can store.

    Raises
    ------
    ValueError
        If an option is invalid, there are too few values, or new values are outside the range of a
        spline.
    """
    given = {key: _checked(key, value, what) for key, value in options.items()}
    if name == "poly":
        return _poly(values, given, state, what)
    # Imported here, because the import takes time and few formulas need it.
    from formulaic.transforms import basis_spline, cyclic_cubic_spline, natural_cubic_spline

    learnt: dict[str, Any] = dict(state or {})
    if state is not None:
        low, high = learnt["lower_bound"], learnt["upper_bound"]
        outside = int(((values < low) | (values > high)).sum())
        if outside:
            raise ValueError(
                f"Expected values for {what!r} between {low:.6g} and {high:.6g}, the range of its "
                f"fit; got {outside} outside"
            )
    else:
        _check_size(name, given, what)
    try:
        if name == "bs":
            given["include_intercept"] = bool(given.pop("intercept", False))
            result = basis_spline(values, **given, _state=learnt)
        else:
            spline = cyclic_cubic_spline if name == "cc" else natural_cubic_spline
            constraints = np.asarray(learnt.get("constraints", 0.0))
            learnt |= {"constraints": constraints} if state is not None else {}
            result = spline(values, **given, constraints="center", _state=learnt)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise ValueError(
            f"Expected a spline that the column allows; got {what!r}: {error}"
        ) from None
    columns = [
        np.asarray(column) for key, column in result.items() if not str(key).startswith("__")
    ]
    return np.column_stack(columns), {key: _plain(value) for key, value in learnt.items()}


def _check_size(name: str, given: Mapping[str, Any], what: str) -> None:
    """Check that the size of a spline is given once, and is large enough for its kind."""
    if "df" in given and "knots" in given:
        raise ValueError(f"Expected df or knots in {what!r}; got both")
    if "df" not in given:
        if "knots" not in given and name != "bs":
            raise ValueError(f"Expected df or knots in {what!r}; got neither")
        return
    if name == "bs":
        degree = given.get("degree", 3)
        least = degree + bool(given.get("intercept", False))
        why = (
            f"pieces of degree {degree} take so many; ns() takes 2, and a straight line is x itself"
        )
    else:
        least, why = (1, "") if name == "cc" else (2, "since one is a straight line, x itself")
    if given["df"] < least:
        raise ValueError(f"Expected df of at least {least} in {what!r}; got {given['df']}: {why}")


def _poly(
    x: NDArray[np.float64], given: Mapping[str, Any], state: Mapping[str, Any] | None, what: str
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Compute orthonormal polynomials by formulaic, or raw powers."""
    degree = given.get("degree", 1)
    if given.get("raw", False):
        return x[:, None] ** np.arange(1, degree + 1), {}
    if state is None and len(np.unique(x)) <= degree:
        raise ValueError(
            f"Expected more than {degree} different values for {what!r}; got {len(np.unique(x))}"
        )
    from formulaic.transforms import poly

    learnt: dict[str, Any] = {}
    if state is not None:
        learnt = {key: dict(enumerate(numbers)) for key, numbers in state.items()}
    columns = np.asarray(poly(x, degree, _state=learnt))
    return columns, {key: [float(v[k]) for k in sorted(v)] for key, v in learnt.items()}


def _checked(key: str, value: Any, what: str) -> Any:
    """Return an option after checking its type and bounds."""
    if key in ("raw", "intercept"):
        good, wanted = isinstance(value, bool), "TRUE or FALSE"
    elif key == "knots":
        value = value if isinstance(value, list) else [value]
        good = 0 < len(value) <= MAX_COLUMNS and all(isinstance(v, float) for v in value)
        wanted = f"at most {MAX_COLUMNS} numbers"
    else:
        good = isinstance(value, float) and value.is_integer() and 1 <= value <= MAX_COLUMNS
        value, wanted = int(value) if good else value, f"a whole number from 1 to {MAX_COLUMNS}"
    if not good:
        raise ValueError(f"Expected {key} to be {wanted}; got {value!r} in {what!r}")
    return value


def _plain(value: Any) -> Any:
    """Convert a value for JSON without loss."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
