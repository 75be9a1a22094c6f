"""Sufficient statistics by group: everything that a Gaussian regression needs from its rows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from radon_numpyro.data.audit import Audit, audit_moments
from radon_numpyro.data.centers import Center, Centers, resolve_centers, zeros
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.frames import known_frame
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.labels import Labels, fingerprint
from radon_numpyro.data.missing import LeftOut
from radon_numpyro.data.moments import group_moments
from radon_numpyro.data.pytrees import pytree
from radon_numpyro.statistics.engine_formula import reduce_formula
from radon_numpyro.statistics.engine_reduction import reduce_rows
from radon_numpyro.statistics.group_sums import GroupSums

STATISTICS = ("count", "mean_x", "mean_y", "sxx", "sxy", "syy")
WEIGHTS = ("weight", "log_weight")


@pytree
@dataclass(frozen=True, eq=False)
class GroupStatistics:
    r"""Count, means and centred sums of squares and cross-products of each group.

    The Gaussian likelihood depends on the rows of a group only through these numbers,

    .. math:: \sum_i (y_i - \alpha - x_i\beta)^2
              = n(\bar y - \alpha - \bar x\beta)^2
                + S_{yy} - 2\,\beta' s_{xy} + \beta' S_{xx}\beta ,

    so the cost of a fit does not grow with the number of rows, and statistics of disjoint sets of
    rows can be added (:meth:`merge`). If the rows have weights, means and sums are weighted, and
    the sum of the weights replaces n.

    Attributes
    ----------
    count
        Number of rows in each group, shape (C,); a group may be empty.
    mean_x, mean_y
        Means of predictors and outcome, shapes (C, K) and (C,), in the units of the columns; 0 for
        an empty group.
    sxx, sxy, syy
        Centred sums of products, shapes (C, K, K), (C, K) and (C,), in products of the units.
    weight, log_weight
        Sums of the weights of the rows and of their logarithms, shape (C,). The weight of a row
        with a known standard error is 1 / se^2. None if all rows have the same weight.
    labels
        Names of the columns and of the groups.
    left_out
        Pairs (reason, count) of rows that were left out.
    lost_groups
        Labels of the groups that have no row left.
    centers
        Pairs (predictor, value) of the predictors from which this value was subtracted.
    formula, notes
        As in :class:`GroupedData`.

    References
    ----------
    Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance,
    doi:10.1080/00031305.1983.10483115.
    """

    count: Any
    mean_x: Any
    mean_y: Any
    sxx: Any
    sxy: Any
    syy: Any
    labels: Labels = field(metadata={"static": True})
    left_out: LeftOut = field(default=(), metadata={"static": True})
    lost_groups: tuple[Hashable, ...] = field(default=(), metadata={"static": True})
    centers: Centers = field(default=(), metadata={"static": True})
    formula: str = field(default="", metadata={"static": True})
    notes: tuple[str, ...] = field(default=(), metadata={"static": True})
    weight: Any = None
    log_weight: Any = None

    @classmethod
    def from_data(cls, data: GroupedData) -> GroupStatistics:
        """Reduce rows to statistics in float64, in two centred passes.

        Parameters
        ----------
        data
            The rows.

        Returns
        -------
        GroupStatistics
            Statistics of ``data.num_groups`` groups, in the order of the data.
        """
        columns = np.column_stack([data.x, data.y]).astype(np.float64)
        w, group, num_groups = data.precision, data.group, data.num_groups
        weight, means, products = group_moments(columns, group, num_groups, w)
        count, log_weight = weight, np.zeros_like(weight)
        if w is not None:
            count = np.bincount(group, minlength=num_groups).astype(np.float64)
            log_weight = np.bincount(group, weights=np.log(w), minlength=num_groups)
        lost: dict[str, Any] = {"left_out": data.left_out, "lost_groups": data.lost_groups}
        sums = GroupSums(data.labels, count, weight, log_weight, means, products, **lost)
        return cls._of_columns(sums, centers=data.centers, formula=data.formula, notes=data.notes)

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        y: str,
        x: str | Sequence[str] = (),
        group: str,
        fixed: str | Sequence[str] = (),
        correlated: bool = False,
        missing: Mapping[str, Any] | None = None,
        drop_missing: bool = False,
        center: Center = (),
        weights: str | None = None,
        se: str | None = None,
    ) -> GroupStatistics:
        r"""Reduce the rows of a data frame where they are stored, in memory or in an engine.

        An engine reads the columns twice: first for the means m of each group, then for the sums of
        deviations :math:`d_i = u_i - m_u` from them and of their products. From these follow

        .. math:: \bar u = m_u + \tfrac1n \sum d_i, \qquad
                  S_{uv} = \sum d_i e_i - \tfrac1n \sum d_i \sum e_i

        for columns u, v with deviations d, e. This is exact for any m. In float64 the error is at
        most 1e-9 of the scatter, even if the mean and the distances between groups are 1e6 times
        the scatter. The engine returns one small table and never the rows. The partitioning of the
        rows changes only the rounding.

        Parameters
        ----------
        frame
            A table with one row for each observation. In memory: a pandas or Polars DataFrame or a
            PyArrow Table, reduced by :meth:`from_data`. In an engine: a Polars LazyFrame, a DuckDB
            relation, a Dask or a PySpark DataFrame.
        y, x, group, fixed
            Columns of the outcome, of the predictors whose slopes vary (one name, a sequence of
            names, or none), of the group labels and of the predictors with one slope.
        missing, drop_missing
            Rows to leave out, as in :meth:`GroupedData.from_frame`.
        center
            Predictors to centre at their mean or at a given value, as in
            :meth:`GroupedData.from_frame`.
        weights, se
            Columns of precision weights or of known standard errors, as in
            :meth:`GroupedData.from_frame`.

        Returns
        -------
        GroupStatistics
            The order of the groups is the order of the categories if the labels are ordered
            categories (a pandas Categorical, a Polars or DuckDB Enum); else sorted if the engine
            does not keep the order of rows (DuckDB, Dask, PySpark); else the order of first
            appearance.

        Raises
        ------
        TypeError, ValueError
            As :meth:`GroupedData.from_frame`. For the rows of an engine the message gives the
            number of invalid rows instead of their names.

        Examples
        --------
        Each engine takes the same call. The names here are those of the radon file:

        >>> columns = {"y": "log_radon", "x": "floor", "group": "county"}
        >>> GroupStatistics.from_frame(pl.scan_parquet("radon/*.parquet"), **columns)
        >>> GroupStatistics.from_frame(duckdb.read_parquet("radon/*.parquet"), **columns)
        >>> GroupStatistics.from_frame(dask.dataframe.read_parquet("radon"), **columns)
        >>> GroupStatistics.from_frame(spark.read.parquet("radon"), **columns)
        """
        known = known_frame(frame)
        columns: dict[str, Any] = {"y": y, "x": x, "group": group, "fixed": fixed}
        columns |= {"correlated": correlated, "missing": missing, "drop_missing": drop_missing}
        columns |= {"weights": weights, "se": se}
        if isinstance(known, nw.LazyFrame):
            sums, mean = reduce_rows(known, **columns)
            statistics = cls._of_columns(sums)
            return statistics.counted_from(
                resolve_centers(center, statistics.labels.predictors, mean)
            )
        return cls.from_data(GroupedData.from_frame(frame, **columns, center=center))

    @classmethod
    def from_formula(
        cls,
        formula: str | ModelFormula,
        frame: Any,
        *,
        missing: Mapping[str, Any] | None = None,
        drop_missing: bool = False,
        weights: str | None = None,
        se: str | None = None,
    ) -> GroupStatistics:
        """Reduce the columns that a formula makes from a frame, in memory or in an engine.

        Parameters
        ----------
        formula
            As in :meth:`GroupedData.from_formula`. An engine computes arithmetic, elementwise
            functions, categories, ``scale(x)`` and ``center(x)``; ``poly`` and splines need the
            rows in memory.
        frame, missing, drop_missing, weights, se
            As in :meth:`from_frame`.

        Returns
        -------
        GroupStatistics
            Groups in the order of :meth:`from_frame`.

        Raises
        ------
        TypeError, ValueError
            As :meth:`GroupedData.from_formula`, or if the engine cannot compute a term.
        """
        known = known_frame(frame)
        options: dict[str, Any] = {"missing": missing, "drop_missing": drop_missing}
        options |= {"weights": weights, "se": se}
        if isinstance(known, nw.LazyFrame):
            sums, learnt, notes = reduce_formula(formula, known, **options)
            return cls._of_columns(sums, formula=learnt.to_json(), notes=notes)
        return cls.from_data(GroupedData.from_formula(formula, frame, **options))

    @classmethod
    def _of_columns(cls, sums: GroupSums, **static: Any) -> GroupStatistics:
        """Make statistics from the moments of all columns, the outcome last."""
        static |= {"left_out": sums.left_out, "lost_groups": sums.lost_groups}
        return cls(**sums.arrays(), labels=sums.labels, **static)

    @property
    def _static(self) -> dict[str, Any]:
        """Fields that are the same in statistics of other rows of the same columns."""
        return {"centers": self.centers, "formula": self.formula, "notes": self.notes}

    def _sums(self) -> GroupSums:
        """Return the moments of all columns together, the outcome last."""
        rows: dict[str, Any] = {"left_out": self.left_out, "lost_groups": self.lost_groups}
        return GroupSums.of_arrays(self.arrays, self.labels, **rows)

    @property
    def arrays(self) -> dict[str, Any]:
        """The arrays by name; those of the weights only if the rows have weights."""
        names = STATISTICS if self.weight is None else (*STATISTICS, *WEIGHTS)
        return {name: getattr(self, name) for name in names}

    @property
    def total_weight(self) -> Any:
        """Sum of the weights of the rows of each group, (C,); the count if there are no weights."""
        return self.count if self.weight is None else self.weight

    @property
    def num_groups(self) -> int:
        """Number of groups, C."""
        return self.count.shape[0]

    @property
    def num_predictors(self) -> int:
        """Number of predictors, K."""
        return self.mean_x.shape[1]

    @property
    def num_rows(self) -> int:
        """Number of rows behind the statistics, N."""
        return int(np.sum(self.count))

    def fingerprint(self) -> str:
        """Return the SHA-256 hash of names, labels and numbers, as `GroupedData.fingerprint`."""
        arrays = (np.asarray(values, dtype="<f8") for values in self.arrays.values())
        return fingerprint(self.labels, np.shape(self.mean_x), self.centers, arrays)

    def audit(self) -> Audit:
        """Report what each group determines on its own, and what looks wrong in the sums.

        Codes for missing values and predictors far from zero can be found only in the rows; see
        :meth:`GroupedData.audit`.
        """
        s, of = self._sums(), (self.labels, self.lost_groups, self.formula)
        return audit_moments(s.count, s.weight, s.means, s.products, *of)

    def sum_of_squares(self, alpha: Any, beta: Any) -> Any:
        """Compute the residual sum of squares of each group about a line.

        Parameters
        ----------
        alpha
            Intercepts, shape (C,) or ().
        beta
            Slopes, shape (C, K) or (K,).

        Returns
        -------
        array
            Shape (C,), in squared units of the outcome.
        """
        centre = self.mean_y - alpha - (self.mean_x * beta).sum(-1)
        quadratic = (self.sxx * beta[..., :, None] * beta[..., None, :]).sum((-2, -1))
        within = self.syy - 2.0 * (self.sxy * beta).sum(-1) + quadratic
        return self.total_weight * centre**2 + within

    def overall(self) -> GroupStatistics:
        r"""Return the statistics of all rows as one group with an empty label.

        .. math:: S = \sum_c \big(S_c + w_c (m_c - m)(m_c - m)'\big)
        """
        return self._of_columns(self._sums().overall(), **self._static)

    def merge(self, other: GroupStatistics) -> GroupStatistics:
        """Combine statistics of disjoint rows, as if all rows had been reduced at once.

        Groups are matched by label; those that only ``other`` has come last. Predictors are centred
        as in these statistics.

        Parameters
        ----------
        other
            Statistics of other rows of the same columns.

        Raises
        ------
        ValueError
            If the columns differ, or a formula was evaluated with different levels, means or knots.
        """
        mine, theirs = (s._columns for s in (self, other))
        if mine != theirs:
            raise ValueError(
                "Expected statistics of the same outcome, predictors, group and weights, "
                f"{mine}; got {theirs}"
            )
        if self.formula and other.formula and self.formula != other.formula:
            raise ValueError(
                "Expected statistics by one formula with the same levels, means and knots; got two "
                "that differ. Make the others by ModelFormula.from_json(statistics.formula)"
            )
        other = other.counted_from(self.centers)
        return self._of_columns(self._sums().merge(other._sums()), **self._static)

    def counted_from(self, centers: Centers) -> GroupStatistics:
        """Centre the predictors at other values.

        Parameters
        ----------
        centers
            Pairs (predictor, value that becomes 0, in the original units of the predictor).
        """
        if centers == self.centers:
            return self
        names = self.labels.predictors
        moved = zeros(centers, names) - zeros(self.centers, names)
        # The means of a group without rows remain 0.
        return replace(
            self,
            mean_x=np.where(self.count[:, None] > 0, self.mean_x - moved, 0.0),
            centers=centers,
        )

    def update(self, rows: Any) -> GroupStatistics:
        """Add new rows without reading the old rows again; see :meth:`merge`.

        Groups are matched by label; new groups come last.

        Parameters
        ----------
        rows
            Rows that are not yet included: a data frame with the same columns, as
            :meth:`from_frame` takes it, or a GroupedData, or their statistics.

        Raises
        ------
        TypeError, ValueError
            As :meth:`from_frame` and :meth:`merge`.
        """
        if isinstance(rows, GroupedData):
            rows = self.from_data(rows)
        if isinstance(rows, GroupStatistics):
            return self.merge(rows)
        if self.formula:
            return self.merge(self.from_formula(ModelFormula.from_json(self.formula), rows))
        outcome, predictors, group, *_ = self._columns
        design = self.labels.design
        weights: dict[str, Any] = {"weights": design.weights or None, "se": design.se or None}
        return self.merge(self.from_frame(rows, y=outcome, x=predictors, group=group, **weights))

    @property
    def _columns(self) -> tuple[Any, ...]:
        """Names of columns that must agree when statistics are merged."""
        names, of = self.labels, self.labels.design
        weights = (f"weights={of.weights!r}", f"se={of.se!r}") if of.weighted else ()
        return names.outcome, names.predictors, names.group, *weights
