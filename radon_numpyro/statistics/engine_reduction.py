"""Rows that an engine holds, reduced there: sums by group come back, never the rows.

Two passes, as in memory: the first finds the means of each group, the second sums deviations from
them and products of these. One pass with a shift for a whole column would lose digits wherever
the groups lie far apart beside their own scatter, and could not tell a predictor that is constant
in a group from one that nearly is. What the first pass rounds, the sums of the second make good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radon_numpyro.data.checks import check_columns, plural
from radon_numpyro.data.design import Design
from radon_numpyro.data.labels import Labels
from radon_numpyro.data.missing import LeftOut, at_least_one_row, check_missing, leave_out
from radon_numpyro.statistics.group_sums import GroupSums

# Names of the columns in the engine's queries, whatever the user's are called.
GROUP, ROW, COUNT, FINITE, FIRST = "label", "row", "count", "finite", "first"


def reduce_rows(
    frame: nw.LazyFrame[Any],
    *,
    y: str,
    x: str | Sequence[str],
    group: str,
    fixed: str | Sequence[str] = (),
    correlated: bool = False,
    missing: Mapping[str, Any] | None = None,
    drop_missing: bool = False,
) -> GroupSums:
    """Reduce the rows of an engine by two passes over their columns.

    Parameters
    ----------
    frame
        The rows.
    y, x, group, fixed
        Names of the outcome, of the predictors whose slopes vary, of the group column and of the
        other predictors.
    correlated, missing, drop_missing
        As in ``GroupedData.from_frame``.

    Returns
    -------
    GroupSums
        Groups in the order of the categories where these have one (Enum), else of first
        appearance where the engine keeps rows in order (Polars), else sorted.

    Raises
    ------
    TypeError, ValueError
        As ``GroupedData.from_frame``; rows are counted instead of named.
    """
    predictors, others = check_columns(frame.columns, y, x, group, fixed)
    names = (*predictors, *others, y)
    codes = check_missing(missing, (*names, group))
    aliases = {group: GROUP} | {n: f"value {j}" for j, n in enumerate(names)}
    every_row = renamed(frame, aliases)
    schema = every_row.collect_schema()
    for j, name in enumerate(names):
        _check_dtype(schema[f"value {j}"], name, "y" if name == y else "x")
    own = {aliases[name]: name for name in (y, *predictors, *others, group)}
    if ROW in schema:
        own[ROW] = ROW
    columns, left_out = leave_out(every_row, own, codes, drop_missing=drop_missing)
    rows = columns.with_columns(nw.col(f"value {j}").cast(nw.Float64) for j in range(len(names)))
    design = Design.with_fixed(predictors, others, correlated=correlated)
    sums = reduce_values(rows, names, group, left_out, design)
    if not left_out:
        return sums
    return replace(sums, lost_groups=lost_groups(every_row, sums, codes.get(group, [])))


def reduce_values(
    rows: nw.LazyFrame[Any], names: tuple[str, ...], group: str, left_out: LeftOut, design: Design
) -> GroupSums:
    """Reduce columns that are numbers by two passes.

    Parameters
    ----------
    rows
        Columns ``"value 0"``, ``"value 1"``, ..., float64, the outcome last, beside those of the
        labels and of the numbers of the rows.
    names
        Names of these columns.
    group
        Name of the grouping.
    left_out
        Pairs (reason, count) of rows that are not among them.
    design
        Which of the columns vary by group.

    Raises
    ------
    TypeError, ValueError
        As ``GroupedData.from_frame``; rows are counted instead of named.
    """
    table = collect(_sums_about_means(rows, len(names)))
    labels = table[GROUP].to_list()
    at_least_one_row(len(labels), left_out)
    numbers = {name: table[name].to_numpy() for name in table.columns if name != GROUP}
    count = numbers[COUNT].astype(np.float64)
    if np.nansum(numbers[FINITE]) < count.sum():
        # If it finds nothing, numbers are so large that their sum overflows; let them pass.
        _check_values(rows, names)
    _check_labels(labels, count, group)

    order = _order(labels, rows.collect_schema()[GROUP], numbers.get(FIRST))
    means = np.stack([numbers[f"mean {j}"] for j in range(len(names))], axis=-1)
    sums = np.stack([numbers[f"sum {j}"] for j in range(len(names))], axis=-1)
    products = np.empty((*means.shape, len(names)))
    for i, j in _pairs(len(names)):
        # Sums about a mean that is rounded, put right: exact for sums about any point.
        about_mean = numbers[f"sum {i} {j}"] - sums[:, i] * sums[:, j] / count
        products[:, i, j] = products[:, j, i] = np.maximum(about_mean, 0) if i == j else about_mean
    means += sums / count[:, None]
    return GroupSums(
        labels=Labels(names[-1], names[:-1], group, tuple(labels[c] for c in order), design),
        count=count[order],
        means=means[order],
        products=products[order],
        left_out=left_out,
    )


def lost_groups(every_row: nw.LazyFrame[Any], sums: GroupSums, codes: list[Any]) -> tuple[Any, ...]:
    """Labels, sorted, of groups that lost all their rows and are not codes themselves.

    Parameters
    ----------
    every_row
        All rows, with the column of the labels.
    sums
        What the rows kept were reduced to.
    codes
        Labels that stand for a missing one.
    """
    labels = collect(every_row.select(GROUP).unique())[GROUP].to_list()
    expected = {*sums.labels.groups, *codes}
    return tuple(sorted(g for g in labels if not is_gap(g) and g not in expected))


def _pairs(num_columns: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(num_columns) for j in range(i + 1)]


def renamed(frame: nw.LazyFrame[Any], names: dict[str, str]) -> nw.LazyFrame[Any]:
    """Take columns by other names; number the rows where the engine keeps them in order.

    Parameters
    ----------
    frame
        The rows of an engine.
    names
        Other names by the user's.
    """
    engine, native = frame.implementation, frame.to_native()
    if engine.is_spark_like():
        # To Spark a dot in a name is a path, and upper and lower case are one.
        place = [f"column {k}" for k in range(len(frame.columns))]
        own = dict(zip(frame.columns, place, strict=True))
        frame = nw.from_native(native.toDF(*place))
        names = {own[name]: alias for name, alias in names.items()}
    columns = frame.select(nw.col(name).alias(alias) for name, alias in names.items())
    if engine.is_polars():
        return nw.from_native(columns.to_native().with_row_index(ROW))
    return columns


def _sums_about_means(rows: nw.LazyFrame[Any], num_columns: int) -> nw.LazyFrame[Any]:
    """Sums by group of deviations from the group's mean and of their products."""
    columns = range(num_columns)
    values = [nw.col(f"value {j}") for j in columns]
    means = rows.group_by(GROUP).agg(*(values[j].mean().alias(f"mean {j}") for j in columns))
    deviations = [(values[j] - nw.col(f"mean {j}")).alias(f"deviation {j}") for j in columns]
    products = [
        (nw.col(f"deviation {i}") * nw.col(f"deviation {j}")).alias(f"product {i} {j}")
        for i, j in _pairs(num_columns)
    ]
    # Nothing that is missing or infinite can be in a sum that is neither: one test for a row.
    finite = reduce(add, values).is_finite().cast(nw.Float64).alias(FINITE)
    aggregates = [nw.len().alias(COUNT), nw.col(FINITE).sum().alias(FINITE)]
    for j in columns:
        # One value in all rows of the group.
        aggregates.append(nw.col(f"mean {j}").min().alias(f"mean {j}"))
        aggregates.append(nw.col(f"deviation {j}").sum().alias(f"sum {j}"))
    for i, j in _pairs(num_columns):
        aggregates.append(nw.col(f"product {i} {j}").sum().alias(f"sum {i} {j}"))
    if ROW in rows.columns:
        aggregates.append(nw.col(ROW).min().alias(FIRST))
    # Some engines can only sum what is a column, hence each in one of its own first.
    return (
        rows.join(_settled(means), on=GROUP, how="left")
        .with_columns(finite, *deviations)
        .with_columns(*products)
        .group_by(GROUP)
        .agg(*aggregates)
    )


def _settled(means: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Compute the means at once, for the engine to join them as a small table.

    In a single query Polars and Dask would hold all rows in memory from one pass to the next, and
    Spark, not knowing that one side is small, would shuffle them. DuckDB reads them twice by
    itself, and could not join a table made here, which would belong to another connection.
    """
    engine = means.implementation
    if engine.is_polars() or engine.is_dask() or engine.is_spark_like():
        session = getattr(means.to_native(), "sparkSession", None)
        return collect(means).lazy(backend=engine, session=session)
    return means


def collect(query: nw.LazyFrame[Any]) -> nw.DataFrame[Any]:
    """Run a query, by Polars without holding the rows in memory.

    Parameters
    ----------
    query
        The query.
    """
    if query.implementation.is_polars():
        return query.collect(engine="streaming")
    return query.collect()


def _check_dtype(dtype: nw.dtypes.DType, name: str, argument: str) -> None:
    where = f"column {name!r} ({argument})"
    if dtype == nw.Boolean:
        if argument == "y":
            raise TypeError(f"Expected {where} to be a measurement; got dtype {dtype}")
    elif not dtype.is_numeric():
        raise TypeError(f"Expected {where} to be numeric; got dtype {dtype}")


def _check_values(rows: nw.LazyFrame[Any], names: tuple[str, ...]) -> None:
    """Say what is missing or infinite, by one more query."""
    flags: dict[str, nw.Expr] = {}
    for j in range(len(names)):
        value = nw.col(f"value {j}")
        flags[f"missing {j}"] = value.is_null() | value.is_nan()
        flags[f"infinite {j}"] = value.abs() == float("inf")
    columns = rows.with_columns(flag.cast(nw.Float64).alias(name) for name, flag in flags.items())
    counts = collect(columns.select(nw.col(name).sum() for name in flags))
    for j, name in enumerate(names):
        where = f"column {name!r} ({'y' if j == len(names) - 1 else 'x'})"
        for what in ("missing", "infinite"):
            # Of a column that is missing altogether no value is infinite, and no sum.
            if count := int(counts[f"{what} {j}"].item() or 0):
                rows_with = plural(count, "row")
                raise ValueError(f"Expected {where} to be finite; got {rows_with} {what}")


def _check_labels(labels: list[Any], count: NDArray[np.float64], group: str) -> None:
    where = f"column {group!r} (group)"
    gaps = [c for c, label in enumerate(labels) if is_gap(label)]
    if gaps:
        raise ValueError(
            f"Expected {where} without gaps; got {plural(int(count[gaps].sum()), 'row')} missing"
        )
    try:
        set(labels)
    except TypeError as error:
        raise TypeError(f"Expected {where} to hold hashable labels; got {error}") from error


def is_gap(label: Any) -> bool:
    """Whether a label is missing: NaN and its like for times differ from themselves.

    Parameters
    ----------
    label
        The label.
    """
    return label is None or label is pd.NA or bool(label != label)


def _order(
    labels: list[Any], dtype: nw.dtypes.DType, first_rows: NDArray[Any] | None
) -> NDArray[np.intp]:
    """Put the groups, which come in any order, into one that every run gives."""
    keys: Any = labels if first_rows is None else first_rows
    if isinstance(dtype, nw.Enum):
        place = {label: i for i, label in enumerate(dtype.categories)}
        keys = [place[label] for label in labels]
    return np.array(sorted(range(len(labels)), key=keys.__getitem__), dtype=np.intp)
