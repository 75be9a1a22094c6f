"""Data frames of any library that narwhals knows: in memory, or held by an engine."""

from typing import Any

import narwhals.stable.v2 as nw
import pandas as pd
from narwhals.exceptions import DuplicateError

from radon_numpyro.data.checks import repeated

ACCEPTED = (
    "a pandas or Polars DataFrame, a PyArrow Table, a Polars LazyFrame, a DuckDB relation, "
    "or a Dask or PySpark DataFrame"
)


def known_frame(frame: Any) -> pd.DataFrame | nw.DataFrame[Any] | nw.LazyFrame[Any]:
    """Wrap a frame of another library than pandas; a lazy one is an engine's, not in memory."""
    # Not for narwhals: it refuses two columns of one name even where neither is asked for.
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
    """Take columns of a frame in memory into pandas, numbers as float64; y may be absent.

    Truth values become numbers too, unless they are to be kept.
    """
    numbers = predictors if y is None else (y, *predictors)
    groups = () if group is None else (group,)
    columns = frame.select(*numbers, *groups)
    schema = columns.schema
    convertible = [name for name in predictors if schema[name] == nw.Boolean and not booleans]
    convertible += [name for name in numbers if schema[name].is_numeric()]
    # The categories that a Polars Categorical lists are those of the whole process.
    if frame.implementation.is_polars():
        texts = [name for name in columns.columns if schema[name] == nw.Categorical]
        columns = columns.with_columns(nw.col(name).cast(nw.String) for name in texts)
    # Before pandas, which would make objects of decimals and of booleans with gaps.
    columns = columns.with_columns(nw.col(name).cast(nw.Float64) for name in convertible)
    # By way of Arrow, so that a date is the same label from every library.
    table = columns.to_arrow()
    converted: pd.DataFrame = table.to_pandas()
    # Else a gap among whole numbers would make them floats, and labels of 27 into 27.0.
    return converted.assign(
        **{name: table[name].to_pandas(integer_object_nulls=True) for name in groups}
    )
