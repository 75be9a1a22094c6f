"""Data frames of all libraries that narwhals supports, and arrays as columns of a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from narwhals.exceptions import DuplicateError
from numpy.typing import ArrayLike

from radon_numpyro.data.centers import Centers, zeros
from radon_numpyro.data.checks import as_series, repeated
from radon_numpyro.data.labels import Labels, as_index

ACCEPTED = (
    "a pandas or Polars DataFrame, a PyArrow Table, a Polars LazyFrame, a DuckDB relation, "
    "or a Dask or PySpark DataFrame"
)


def known_frame(frame: Any) -> pd.DataFrame | nw.DataFrame[Any] | nw.LazyFrame[Any]:
    """Wrap a frame of another library than pandas; a lazy frame is in an engine."""
    # Do not wrap pandas: narwhals refuses two columns of one name, even if neither is used.
    if isinstance(frame, pd.DataFrame):
        return frame
    try:
        return nw.from_native(frame)
    except TypeError:
        raise TypeError(f"Expected frame to be {ACCEPTED}; got {type(frame).__name__}") from None
    except DuplicateError:
        names = list(getattr(frame, "column_names", frame.columns))
        raise ValueError(
            f"Expected the columns of frame to have different names; got {repeated(names)} repeated"
        ) from None


def to_pandas(
    frame: nw.DataFrame[Any],
    y: str | None,
    predictors: tuple[str, ...],
    group: str | None,
    *,
    booleans: bool = False,
) -> pd.DataFrame:
    """Convert columns of a frame in memory to pandas, with numbers as float64; y may be None.

    Truth values also become numbers, unless ``booleans`` is true.
    """
    numbers = predictors if y is None else (y, *predictors)
    groups = () if group is None else (group,)
    columns = frame.select(*numbers, *groups)
    schema = columns.schema
    convertible = [name for name in predictors if schema[name] == nw.Boolean and not booleans]
    convertible += [name for name in numbers if schema[name].is_numeric()]
    # A Polars Categorical lists the categories of the whole process, so convert it to text.
    if frame.implementation.is_polars():
        texts = [name for name in columns.columns if schema[name] == nw.Categorical]
        columns = columns.with_columns(nw.col(name).cast(nw.String) for name in texts)
    # Cast before pandas, which would make objects of decimals and of booleans with gaps.
    columns = columns.with_columns(nw.col(name).cast(nw.Float64) for name in convertible)
    # Convert by Arrow, so that a date gives the same label from every library.
    table = columns.to_arrow()
    converted: pd.DataFrame = table.to_pandas()
    # Keep integers with gaps: pandas would make floats of them, and a label 27.0 of 27.
    return converted.assign(
        **{name: table[name].to_pandas(integer_object_nulls=True) for name in groups}
    )


def frame_of_arrays(
    columns: Mapping[str, Any],
    x: ArrayLike | None,
    predictors: str | Sequence[str] | None,
    others: Mapping[str, Any],
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Make a frame from arrays of N rows, and name the predictors.

    Parameters
    ----------
    columns
        Outcome and group labels, by name.
    x
        Predictors, shape (N, K), or (N,) for a single one, or None for none.
    predictors
        Their names; by default x1, ..., xK.
    others
        Other columns, by name.

    Returns
    -------
    frame, names
        The frame, and the names of the K predictors.

    Raises
    ------
    TypeError, ValueError
        If an argument is not an array, or lengths or the number of names do not match.
    """
    # Take single columns, so that a list or a Series keeps its type.
    own: list[Any] = [] if x is None else [x] if np.ndim(x) < 2 else [*np.asarray(x).T]
    if predictors is None:
        names = tuple(f"x{k + 1}" for k in range(len(own)))
    else:
        names = (predictors,) if isinstance(predictors, str) else tuple(predictors)
    if len(names) != len(own):
        raise ValueError(
            f"Expected predictors to have one name for each of the {len(own)} columns of "
            f"x; got {len(names)} names"
        )
    outcome, group = columns.values()
    arrays = {"y": as_series(outcome, "y"), "group": as_series(group, "group")}
    arrays |= {f"x[:, {k}]": as_series(column, "x") for k, column in enumerate(own)}
    arrays |= {name: as_series(column, name) for name, column in others.items()}
    if len({len(series) for series in arrays.values()}) > 1:
        lengths = ", ".join(f"{name} {len(series)}" for name, series in arrays.items())
        raise ValueError(f"Expected y, x and group to have the same length; got {lengths}")
    frame_names = (*columns, *names, *others)
    return pd.DataFrame(dict(zip(frame_names, arrays.values(), strict=True))), names


def frame_of_rows(arrays: Mapping[str, Any], labels: Labels, centers: Centers) -> pd.DataFrame:
    """Make a frame of rows: outcome, predictors, weights or standard errors, and group.

    Parameters
    ----------
    arrays
        The arrays by name, as in ``GroupedData.arrays``.
    labels, centers
        Names of the columns, and centres of predictors.
    """
    columns = {labels.outcome: np.asarray(arrays["y"])}
    x = np.asarray(arrays["x"]) + zeros(centers, labels.predictors)
    columns |= dict(zip(labels.predictors, x.T, strict=True))
    names = {"weights": labels.design.weights, "se": labels.design.se}
    columns |= {name: np.asarray(arrays[key]) for key, name in names.items() if key in arrays}
    groups = as_index(labels.groups)
    group = pd.Categorical.from_codes(np.asarray(arrays["group"]), categories=groups)
    return pd.DataFrame(columns | {labels.group: group})
