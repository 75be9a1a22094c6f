"""Reduce the rows of an engine to sums by group. The engine returns only the sums.

There are two passes, as in memory: the first computes the means of each group, the second sums the
deviations from them and the products of deviations. A single pass with one shift for a whole column
would lose digits if the groups are far apart compared with the scatter within them, and could not
distinguish a predictor that is constant in a group from one that is nearly constant. The sums of
deviations in the second pass correct the rounding of the means in the first.
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
from radon_numpyro.data.row_weights import ADVICE, weight_columns
from radon_numpyro.statistics.group_sums import GroupSums

# Names of the columns in the queries; they replace the user's names.
GROUP, ROW, COUNT, FINITE, FIRST = "label", "row", "count", "finite", "first"
# The column of weights or standard errors, its minimum in a group, and the weights made from it.
GIVEN, LEAST, WEIGHT, LOG_WEIGHT = "given", "least", "weight", "log weight"


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
    weights: str | None = None,
    se: str | None = None,
) -> tuple[GroupSums, NDArray[np.float64]]:
    """Reduce the rows of an engine in two passes over their columns.

    Parameters
    ----------
    frame
        The rows.
    y, x, group, fixed
        Names of the outcome, of the predictors whose slopes vary, of the group column and of the
        other predictors.
    correlated, missing, drop_missing, weights, se
        As in ``GroupedData.from_frame``.

    Returns
    -------
    sums, mean
        Moments by group, and the unweighted mean of each predictor over all rows. The order of the
        groups is that of ordered categories (Enum); else of first appearance if the engine keeps
        the order of rows (Polars); else sorted.

    Raises
    ------
    TypeError, ValueError
        As ``GroupedData.from_frame``; the message counts invalid rows instead of naming them.
    """
    predictors, others = check_columns(frame.columns, y, x, group, fixed)
    given = weight_columns(frame.columns, weights, se)
    names = (*predictors, *others, y)
    codes = check_missing(missing, (*names, group, *given.values()))
    aliases = {group: GROUP} | {n: f"value {j}" for j, n in enumerate(names)}
    own = {aliases[name]: name for name in (y, *predictors, *others, group)}
    every_row = renamed(frame, [*aliases.items(), *((name, GIVEN) for name in given.values())])
    schema = every_row.collect_schema()
    for j, name in enumerate(names):
        check_dtype(schema[f"value {j}"], name, "y" if name == y else "x")
    for argument, name in given.items():
        check_dtype(schema[GIVEN], name, argument)
        own[GIVEN] = name
    if ROW in schema:
        own[ROW] = ROW
    columns, left_out = leave_out(every_row, own, codes, drop_missing=drop_missing)
    numeric = [*(f"value {j}" for j in range(len(names))), *([GIVEN] if given else [])]
    rows = columns.with_columns(nw.col(name).cast(nw.Float64) for name in numeric)
    design = Design.with_fixed(predictors, others, correlated=correlated, **given)
    sums, mean = reduce_values(rows, names, group, left_out, design)
    if left_out:
        lost = lost_groups(every_row, sums, codes.get(group, []))
        sums = replace(sums, lost_groups=lost)
    return sums, mean


def reduce_values(
    rows: nw.LazyFrame[Any], names: tuple[str, ...], group: str, left_out: LeftOut, design: Design
) -> tuple[GroupSums, NDArray[np.float64]]:
    """Reduce numeric columns in two passes.

    Parameters
    ----------
    rows
        Columns ``"value 0"``, ``"value 1"``, ... of float64, the outcome last, and the columns of
        labels, of weights or standard errors if there are any, and of row numbers.
    names
        Names of these columns.
    group
        Name of the grouping.
    left_out
        Pairs (reason, count) of rows that were left out before.
    design
        Which of the columns vary by group, and which column has weights or standard errors.

    Returns
    -------
    sums, mean
        As :func:`reduce_rows`.

    Raises
    ------
    TypeError, ValueError
        As ``GroupedData.from_frame``; the message counts invalid rows instead of naming them.
    """
    weighted = [("weights", design.weights), ("se", design.se)]
    given = {argument: name for argument, name in weighted if name}
    if given:
        rows = rows.with_columns(_weight(nw.col(GIVEN), *given))
    table = collect(_sums_about_means(rows, len(names)))
    labels = table[GROUP].to_list()
    at_least_one_row(len(labels), left_out)
    numbers = {name: table[name].to_numpy() for name in table.columns if name != GROUP}
    count = numbers[COUNT].astype(np.float64)
    if np.nansum(numbers[FINITE]) < count.sum():
        # If no value is missing or infinite, only the sum of large numbers overflowed: accept them.
        columns = {f"value {j}": (name, "x") for j, name in enumerate(names)}
        columns[f"value {len(names) - 1}"] = (names[-1], "y")
        for argument, name in given.items():
            columns[GIVEN] = (name, argument)
        _check_values(rows, columns)
    _check_labels(labels, count, group)
    for argument, name in given.items():
        if (numbers[LEAST] <= 0.0).any():
            _refuse_weights(rows, name, argument)

    order = _order(labels, rows.collect_schema()[GROUP], numbers.get(FIRST))
    means = np.stack([numbers[f"mean {j}"] for j in range(len(names))], axis=-1)
    plain_mean = count @ means[:, :-1] / count.sum()
    sums = np.stack([numbers[f"sum {j}"] for j in range(len(names))], axis=-1)
    weight = numbers[WEIGHT] if given else count
    log_weight = numbers[LOG_WEIGHT] if given else np.zeros_like(count)
    products = np.empty((*means.shape, len(names)))
    for i, j in _pairs(len(names)):
        # Correct for the rounding of the mean; the formula is exact for sums about any point.
        about_mean = numbers[f"sum {i} {j}"] - sums[:, i] * sums[:, j] / weight
        products[:, i, j] = products[:, j, i] = np.maximum(about_mean, 0) if i == j else about_mean
    means += sums / weight[:, None]
    found = GroupSums(
        labels=Labels(names[-1], names[:-1], group, tuple(labels[c] for c in order), design),
        count=count[order],
        weight=weight[order],
        log_weight=log_weight[order],
        means=means[order],
        products=products[order],
        left_out=left_out,
    )
    return found, plain_mean


def lost_groups(every_row: nw.LazyFrame[Any], sums: GroupSums, codes: list[Any]) -> tuple[Any, ...]:
    """Return the sorted labels of groups that lost all their rows and are not missing-value codes.

    Parameters
    ----------
    every_row
        All rows, with the column of the labels.
    sums
        Moments of the rows that were kept.
    codes
        Labels that are codes for a missing label.
    """
    labels = collect(every_row.select(GROUP).unique())[GROUP].to_list()
    expected = {*sums.labels.groups, *codes}
    return tuple(sorted(g for g in labels if not is_gap(g) and g not in expected))


def _pairs(num_columns: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(num_columns) for j in range(i + 1)]


def renamed(frame: nw.LazyFrame[Any], names: Sequence[tuple[str, str]]) -> nw.LazyFrame[Any]:
    """Select and rename columns, and number the rows if the engine keeps their order.

    Parameters
    ----------
    frame
        The rows of an engine.
    names
        Pairs of the user's name and the new name; a column may occur twice.
    """
    engine, native = frame.implementation, frame.to_native()
    if engine.is_spark_like():
        # Spark reads a dot in a name as a path, and ignores the case of names.
        place = [f"column {k}" for k in range(len(frame.columns))]
        own = dict(zip(frame.columns, place, strict=True))
        frame = nw.from_native(native.toDF(*place))
        names = [(own[name], alias) for name, alias in names]
    columns = frame.select(nw.col(name).alias(alias) for name, alias in names)
    if engine.is_polars():
        return nw.from_native(columns.to_native().with_row_index(ROW))
    return columns


def _sums_about_means(rows: nw.LazyFrame[Any], num_columns: int) -> nw.LazyFrame[Any]:
    """Return the query of sums by group of deviations from the group mean and of their products.

    With weights the sums are weighted. The means may be unweighted, because the result is exact for
    deviations from any point.
    """
    columns, weighted = range(num_columns), WEIGHT in rows.columns
    values = [nw.col(f"value {j}") for j in columns]
    means = rows.group_by(GROUP).agg(*(values[j].mean().alias(f"mean {j}") for j in columns))
    deviations = [(values[j] - nw.col(f"mean {j}")).alias(f"deviation {j}") for j in columns]
    products = [
        (nw.col(f"deviation {i}") * nw.col(f"deviation {j}")).alias(f"product {i} {j}")
        for i, j in _pairs(num_columns)
    ]
    # One test for each row: a sum is finite only if no term is missing or infinite.
    every = [*values, nw.col(GIVEN)] if weighted else values
    finite = reduce(add, every).is_finite().cast(nw.Float64).alias(FINITE)
    aggregates = [nw.len().alias(COUNT), nw.col(FINITE).sum().alias(FINITE)]
    steps = [[finite, *deviations], products]
    summed = "deviation"
    if weighted:
        summed = "weighted"
        weight = nw.col(WEIGHT)
        own = [(nw.col(f"deviation {j}") * weight).alias(f"weighted {j}") for j in columns]
        steps[1] = [
            (nw.col(f"weighted {i}") * nw.col(f"deviation {j}")).alias(f"product {i} {j}")
            for i, j in _pairs(num_columns)
        ]
        steps.insert(1, own)
        aggregates += [nw.col(name).sum().alias(name) for name in (WEIGHT, LOG_WEIGHT)]
        aggregates.append(nw.col(GIVEN).min().alias(LEAST))
    for j in columns:
        # The mean is the same in all rows of a group, so min returns it.
        aggregates.append(nw.col(f"mean {j}").min().alias(f"mean {j}"))
        aggregates.append(nw.col(f"{summed} {j}").sum().alias(f"sum {j}"))
    for i, j in _pairs(num_columns):
        aggregates.append(nw.col(f"product {i} {j}").sum().alias(f"sum {i} {j}"))
    if ROW in rows.columns:
        aggregates.append(nw.col(ROW).min().alias(FIRST))
    # Some engines can only sum columns, not expressions, so make each expression a column first.
    joined = rows.join(_settled(means), on=GROUP, how="left")
    for step in steps:
        joined = joined.with_columns(*step)
    return joined.group_by(GROUP).agg(*aggregates)


def _weight(given: nw.Expr, argument: str) -> list[nw.Expr]:
    """Return the weight of a row and its logarithm, from a weight or standard error above 0."""
    # Some engines raise for the logarithm of a number that has none.
    log = nw.when(given > 0.0).then(given).log()
    if argument == "se":
        return [(1.0 / (given * given)).alias(WEIGHT), (-2.0 * log).alias(LOG_WEIGHT)]
    return [given.alias(WEIGHT), log.alias(LOG_WEIGHT)]


def _refuse_weights(rows: nw.LazyFrame[Any], name: str, argument: str) -> None:
    """Raise ValueError with the number of weights or standard errors that are not above 0."""
    flag = (nw.col(GIVEN) <= 0.0).cast(nw.Float64).alias("flag")
    count = int(collect(rows.with_columns(flag).select(nw.col("flag").sum()))["flag"].item())
    raise ValueError(
        f"Expected column {name!r} ({argument}) to be above 0; got {plural(count, 'row')} of 0 or "
        f"below: {ADVICE[argument]}"
    )


def _settled(means: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
    """Compute the means now, so that the engine joins them as a small table.

    In a single query, Polars and Dask would hold all rows in memory between the passes, and Spark
    would shuffle them because it does not know that one side is small. DuckDB is left alone: it
    reads the rows twice, and cannot join a table that belongs to another connection.
    """
    engine = means.implementation
    if engine.is_polars() or engine.is_dask() or engine.is_spark_like():
        session = getattr(means.to_native(), "sparkSession", None)
        return collect(means).lazy(backend=engine, session=session)
    return means


def collect(query: nw.LazyFrame[Any]) -> nw.DataFrame[Any]:
    """Run a query; Polars streams it, so that the rows are not held in memory.

    Parameters
    ----------
    query
        The query.
    """
    if query.implementation.is_polars():
        return query.collect(engine="streaming")
    return query.collect()


def check_dtype(dtype: nw.dtypes.DType, name: str, argument: str) -> None:
    """Raise TypeError for a column that is not numeric.

    Parameters
    ----------
    dtype
        The dtype of the column.
    name, argument
        Name of the column, and the argument that names it, for the message.

    Raises
    ------
    TypeError
        If the dtype is not numeric, or is boolean for the outcome.
    """
    where = f"column {name!r} ({argument})"
    if dtype == nw.Boolean:
        if argument == "y":
            raise TypeError(f"Expected {where} to be a measurement; got dtype {dtype}")
    elif not dtype.is_numeric():
        raise TypeError(f"Expected {where} to be numeric; got dtype {dtype}")


def _check_values(rows: nw.LazyFrame[Any], names: Mapping[str, tuple[str, str]]) -> None:
    """Query which values are missing or infinite, and raise ValueError if there are any.

    ``names`` has the name and the argument of each column.
    """
    flags: dict[str, nw.Expr] = {}
    for column in names:
        value = nw.col(column)
        flags[f"missing {column}"] = value.is_null() | value.is_nan()
        flags[f"infinite {column}"] = value.abs() == float("inf")
    columns = rows.with_columns(flag.cast(nw.Float64).alias(name) for name, flag in flags.items())
    counts = collect(columns.select(nw.col(name).sum() for name in flags))
    for column, (name, argument) in names.items():
        where = f"column {name!r} ({argument})"
        for what in ("missing", "infinite"):
            # The sum is null if the whole column is missing.
            if count := int(counts[f"{what} {column}"].item() or 0):
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
    """Return whether a label is missing. NaN and NaT are recognised by differing from themselves.

    Parameters
    ----------
    label
        A label of a group or a level.
    """
    return label is None or label is pd.NA or bool(label != label)


def _order(
    labels: list[Any], dtype: nw.dtypes.DType, first_rows: NDArray[Any] | None
) -> NDArray[np.intp]:
    """Return the positions of the groups in an order that is the same in every run."""
    keys: Any = labels if first_rows is None else first_rows
    if isinstance(dtype, nw.Enum):
        place = {label: i for i, label in enumerate(dtype.categories)}
        keys = [place[label] for label in labels]
    return np.array(sorted(range(len(labels)), key=keys.__getitem__), dtype=np.intp)
