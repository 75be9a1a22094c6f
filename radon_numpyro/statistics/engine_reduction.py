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
from radon_numpyro.data.row_weights import ADVICE, weight_columns
from radon_numpyro.statistics.group_sums import GroupSums

# Names of the columns in the engine's queries, whatever the user's are called.
GROUP, ROW, COUNT, FINITE, FIRST = "label", "row", "count", "finite", "first"
# The column that weighs the rows, and its least value in a group; the weights made of it.
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
    """Reduce the rows of an engine by two passes over their columns.

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
        Groups in the order of the categories where these have one (Enum), else of first
        appearance where the engine keeps rows in order (Polars), else sorted; and the mean of each
        predictor over all rows, without weights.

    Raises
    ------
    TypeError, ValueError
        As ``GroupedData.from_frame``; rows are counted instead of named.
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
    """Reduce columns that are numbers by two passes.

    Parameters
    ----------
    rows
        Columns ``"value 0"``, ``"value 1"``, ..., float64, the outcome last, beside those of the
        labels, of the weights or standard errors if there are any, and of the numbers of the rows.
    names
        Names of these columns.
    group
        Name of the grouping.
    left_out
        Pairs (reason, count) of rows that are not among them.
    design
        Which of the columns vary by group, and which column weighs the rows.

    Returns
    -------
    sums, mean
        As :func:`reduce_rows`.

    Raises
    ------
    TypeError, ValueError
        As ``GroupedData.from_frame``; rows are counted instead of named.
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
        # If it finds nothing, numbers are so large that their sum overflows; let them pass.
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
        # Sums about a mean that is rounded, put right: exact for sums about any point.
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


def renamed(frame: nw.LazyFrame[Any], names: Sequence[tuple[str, str]]) -> nw.LazyFrame[Any]:
    """Take columns by other names; number the rows where the engine keeps them in order.

    Parameters
    ----------
    frame
        The rows of an engine.
    names
        Pairs of the user's name and the other; a column may be taken twice.
    """
    engine, native = frame.implementation, frame.to_native()
    if engine.is_spark_like():
        # To Spark a dot in a name is a path, and upper and lower case are one.
        place = [f"column {k}" for k in range(len(frame.columns))]
        own = dict(zip(frame.columns, place, strict=True))
        frame = nw.from_native(native.toDF(*place))
        names = [(own[name], alias) for name, alias in names]
    columns = frame.select(nw.col(name).alias(alias) for name, alias in names)
    if engine.is_polars():
        return nw.from_native(columns.to_native().with_row_index(ROW))
    return columns


def _sums_about_means(rows: nw.LazyFrame[Any], num_columns: int) -> nw.LazyFrame[Any]:
    """Sums by group of deviations from the group's mean and of their products.

    Of rows with weights they are weighted; the means, from which deviations are counted, need not
    be.
    """
    columns, weighted = range(num_columns), WEIGHT in rows.columns
    values = [nw.col(f"value {j}") for j in columns]
    means = rows.group_by(GROUP).agg(*(values[j].mean().alias(f"mean {j}") for j in columns))
    deviations = [(values[j] - nw.col(f"mean {j}")).alias(f"deviation {j}") for j in columns]
    products = [
        (nw.col(f"deviation {i}") * nw.col(f"deviation {j}")).alias(f"product {i} {j}")
        for i, j in _pairs(num_columns)
    ]
    # Nothing that is missing or infinite can be in a sum that is neither: one test for a row.
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
        # One value in all rows of the group.
        aggregates.append(nw.col(f"mean {j}").min().alias(f"mean {j}"))
        aggregates.append(nw.col(f"{summed} {j}").sum().alias(f"sum {j}"))
    for i, j in _pairs(num_columns):
        aggregates.append(nw.col(f"product {i} {j}").sum().alias(f"sum {i} {j}"))
    if ROW in rows.columns:
        aggregates.append(nw.col(ROW).min().alias(FIRST))
    # Some engines can only sum what is a column, hence each in one of its own first.
    joined = rows.join(_settled(means), on=GROUP, how="left")
    for step in steps:
        joined = joined.with_columns(*step)
    return joined.group_by(GROUP).agg(*aggregates)


def _weight(given: nw.Expr, argument: str) -> list[nw.Expr]:
    """Weight of a row and its logarithm, of a weight or a standard error above 0."""
    # Where a number has no logarithm some engines raise.
    log = nw.when(given > 0.0).then(given).log()
    if argument == "se":
        return [(1.0 / (given * given)).alias(WEIGHT), (-2.0 * log).alias(LOG_WEIGHT)]
    return [given.alias(WEIGHT), log.alias(LOG_WEIGHT)]


def _refuse_weights(rows: nw.LazyFrame[Any], name: str, argument: str) -> None:
    """Say how many weights or standard errors are not above 0, by one more query."""
    flag = (nw.col(GIVEN) <= 0.0).cast(nw.Float64).alias("flag")
    count = int(collect(rows.with_columns(flag).select(nw.col("flag").sum()))["flag"].item())
    raise ValueError(
        f"Expected column {name!r} ({argument}) to be above 0; got {plural(count, 'row')} of 0 or "
        f"below: {ADVICE[argument]}"
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


def check_dtype(dtype: nw.dtypes.DType, name: str, argument: str) -> None:
    """Refuse a column that holds no numbers.

    Parameters
    ----------
    dtype
        What it holds.
    name, argument
        Name of the column, and the argument that names it, for the message.

    Raises
    ------
    TypeError
        It holds none.
    """
    where = f"column {name!r} ({argument})"
    if dtype == nw.Boolean:
        if argument == "y":
            raise TypeError(f"Expected {where} to be a measurement; got dtype {dtype}")
    elif not dtype.is_numeric():
        raise TypeError(f"Expected {where} to be numeric; got dtype {dtype}")


def _check_values(rows: nw.LazyFrame[Any], names: Mapping[str, tuple[str, str]]) -> None:
    """Say what is missing or infinite, by one more query; name and argument of each column."""
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
            # Of a column that is missing altogether no value is infinite, and no sum.
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
