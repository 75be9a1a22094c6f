"""Rows of grouped data, from which every fit starts.

`GroupedData` has an outcome, predictors and a group for each row. Make it with
`GroupedData.from_frame`, `GroupedData.from_formula` or `GroupedData.from_arrays`, which check their
arguments.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from radon_numpyro.data.audit import Audit, audit
from radon_numpyro.data.centers import Center, Centers, resolve_centers, zeros
from radon_numpyro.data.checks import (
    check_columns,
    group_codes,
    numeric_column,
    plural,
    read_only,
    row_positions,
)
from radon_numpyro.data.design import Design
from radon_numpyro.data.formulas.formula import ModelFormula, text_of
from radon_numpyro.data.formulas.frames import rows_by_formula
from radon_numpyro.data.frames import frame_of_arrays, frame_of_rows
from radon_numpyro.data.labels import Labels, find_groups, fingerprint
from radon_numpyro.data.missing import LeftOut, complete_rows, in_memory
from radon_numpyro.data.pytrees import pytree
from radon_numpyro.data.row_weights import precision, read_weights, weight_columns

# Numbers of the rows, in the order of the fingerprint.
ROWS = ("y", "x", "group", "weights", "se")


@dataclass(frozen=True, eq=False, repr=False)
class GroupedData:
    """N rows of an outcome and K predictors in C groups.

    Use the constructors `from_frame`, `from_formula` and `from_arrays`: they check their input and
    make read-only arrays. The class itself checks nothing, because it is a JAX pytree, whose leaves
    are the arrays and whose other fields are static. It can be passed to ``jax.jit`` and NumPyro.

    Parameters
    ----------
    y
        Outcome, shape (N,), float64, in the user's own unit.
    x
        Predictors, shape (N, K) with K >= 0, float64, in the user's own units, minus their centre
        if they are in `centers`.
    group
        Group codes 0..C-1, shape (N,), int32.
    labels
        Names of outcome, predictors and groups.
    left_out
        Pairs (reason, count) of rows that were left out.
    lost_groups
        Labels of the groups that have no row left.
    centers
        Pairs (predictor, value) of the predictors from which this value was subtracted.
    formula
        The formula that made the columns, with its state, as JSON for `ModelFormula.from_json`;
        empty if there was none.
    notes
        How categories are coded and which columns are left out, in words.
    weights, se
        Precision weights of the rows, or known standard errors of the outcomes, shape (N,); None
        if there are none.
    """

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    group: NDArray[np.int32]
    labels: Labels
    left_out: LeftOut = ()
    lost_groups: tuple[Hashable, ...] = ()
    centers: Centers = ()
    formula: str = ""
    notes: tuple[str, ...] = ()
    weights: NDArray[np.float64] | None = None
    se: NDArray[np.float64] | None = None

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
    ) -> Self:
        """Make data from the columns of a data frame, which is not changed.

        Groups are numbered in order of first appearance. If they are a pandas Categorical, a Polars
        Enum or an Arrow dictionary, they are numbered in the order of the categories, without the
        unused ones. Boolean predictors become 0/1.

        Parameters
        ----------
        frame
            A pandas or Polars DataFrame or a PyArrow Table, with one row for each observation.
        y
            Column of the outcome.
        x
            Columns of the predictors whose slopes vary by group, one name or a sequence of names.
        group
            Column of the group labels, of any hashable type.
        fixed
            Columns of the predictors with one slope for all groups.
        correlated
            Whether the intercepts and slopes of a group correlate, as in ``(1 + x | group)``.
        missing
            Codes for a missing value, one or a list for each column: ``{"floor": 9}``. Rows with
            a code are left out and counted in ``left_out``.
        drop_missing
            Whether to leave out, and count, rows with a blank or NaN in a column that is used.
            Otherwise they are refused.
        center
            Predictors to centre at their mean over the used rows, one name or a sequence of
            names, or at given values: ``{"year": 2015}``. The values are stored in `centers`
            and in every result; `predict` subtracts them from new rows.
        weights
            Column of precision weights w: the residual standard deviation of a row is
            eps / sqrt(w), as in lme4. A row of weight 2 is not a row that counts twice.
        se
            Column of known standard errors of the outcomes, in place of eps, as in a meta-analysis.

        Returns
        -------
        The checked data, shapes (N,), (N, K) and (N,).

        Raises
        ------
        TypeError
            If `frame` is not a data frame in memory, a name is not a str, a column is not numeric,
            or a group label is not hashable.
        ValueError
            If a column is missing, ambiguous or used twice, there are no rows, values are missing
            or infinite, weights or standard errors are not above 0, both are given, or `center`
            does not name predictors.
        """
        known = in_memory(frame, "from_frame")
        predictors, others = check_columns(list(known.columns), y, x, group, fixed)
        given = weight_columns(list(known.columns), weights, se)
        names = (*predictors, *others)
        used = (*names, *given.values())
        rows = complete_rows(known, (y,), used, group, missing=missing, drop_missing=drop_missing)
        columns = [numeric_column(rows.frame[name], "x") for name in names]
        outcome = numeric_column(rows.frame[y], "y")
        codes, groups = group_codes(rows.frame[group])
        x_values = np.column_stack([np.empty((len(codes), 0)), *columns])
        centers = resolve_centers(center, names, x_values.mean(0))
        design = Design.with_fixed(predictors, others, correlated=correlated, **given)
        row_weights = read_weights(rows.frame, given)
        return cls(
            y=read_only(outcome),
            x=read_only(x_values - zeros(centers, names)),
            group=read_only(codes),
            labels=Labels(y, names, group, groups, design),
            left_out=rows.left_out,
            lost_groups=rows.lost_groups,
            centers=centers,
            **row_weights,
        )

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
    ) -> Self:
        """Make data from the columns that a formula in lme4's notation makes from a data frame.

        In ``y ~ x * c + (1 + x || g)`` the columns of ``x * c`` have one coefficient for all
        groups; the constant and ``x``, left of the bar, vary by ``g`` about this coefficient. Text,
        truth values and categories have treatment coding: a column for each level except the first.
        Coefficients left of a single bar correlate. A factor left of ``||`` gives a column for each
        level, and these vary independently, whereas lme4 lets them correlate.

        Parameters
        ----------
        formula
            The formula as text; or a formula with its state from other rows, whose levels, means
            and knots are used again.
        frame
            As in `from_frame`.
        missing, drop_missing
            As in `from_frame`; rows are left out before anything is computed.
        weights, se
            As in `from_frame`; a formula ``y | se(s) ~ ...`` names the standard errors itself.

        Returns
        -------
        The data, with the formula in `formula`, and facts about its columns in `notes`.

        Raises
        ------
        TypeError
            If `frame` is not a data frame in memory, or a column cannot be used in a formula.
        ValueError
            If the formula is invalid or not supported (the message says what to write instead), or
            a column is missing, has gaps or a single level.
        """
        of_rows = rows_by_formula(
            formula, frame, missing=missing, drop_missing=drop_missing, weights=weights, se=se
        )
        return cls(**of_rows)

    @classmethod
    def from_arrays(
        cls,
        y: ArrayLike,
        x: ArrayLike | None,
        group: ArrayLike | Sequence[Hashable],
        *,
        outcome: str = "y",
        predictors: str | Sequence[str] | None = None,
        group_name: str = "group",
        center: Center = (),
        weights: ArrayLike | None = None,
        se: ArrayLike | None = None,
    ) -> Self:
        """Make data from arrays, with the checks of `from_frame`; rows are named by position.

        Parameters
        ----------
        y
            Outcome, shape (N,).
        x
            Predictors, shape (N, K), or (N,) for a single one, or None for none.
        group
            Group label of each row, shape (N,).
        outcome
            Name of the outcome.
        predictors
            Names of the K predictors; by default x1, ..., xK.
        group_name
            Name of the grouping.
        center
            As in `from_frame`.
        weights, se
            Precision weights or known standard errors of the rows, shape (N,).

        Returns
        -------
        The checked data, shapes (N,), (N, K) and (N,).

        Raises
        ------
        TypeError
            As `from_frame`, or if an argument is not an array.
        ValueError
            As `from_frame`, or if shapes or the number of names do not match.
        """
        every = {"weights": weights, "se": se}
        given: dict[str, Any] = {name: v for name, v in every.items() if v is not None}
        frame, names = frame_of_arrays({outcome: y, group_name: group}, x, predictors, given)
        options: dict[str, Any] = {"center": center, **dict(zip(given, given, strict=True))}
        return cls.from_frame(frame, y=outcome, x=names, group=group_name, **options)

    @property
    def num_rows(self) -> int:
        """Number of rows, N."""
        return self.group.shape[0]

    @property
    def num_groups(self) -> int:
        """Number of groups, C, including those without rows."""
        return len(self.labels.groups)

    @property
    def precision(self) -> NDArray[np.float64] | None:
        """Weight of each row, 1 / se^2 for known standard errors; None without weights."""
        return precision(self.weights, self.se)

    @property
    def arrays(self) -> dict[str, Any]:
        """The arrays of the rows by name: y, x, group, and weights or se if there are any."""
        every = {name: getattr(self, name) for name in ROWS}
        return {name: array for name, array in every.items() if array is not None}

    @property
    def num_predictors(self) -> int:
        """Number of predictors, K."""
        return len(self.labels.predictors)

    @property
    def group_sizes(self) -> NDArray[np.int64]:
        """Number of rows in each group, shape (C,); not available inside ``jax.jit``."""
        return np.bincount(self.group, minlength=self.num_groups).astype(np.int64)

    def select(self, groups: Hashable | Iterable[Hashable]) -> Self:
        """Return the rows of some groups, renumbered in the given order; rows keep their order.

        Parameters
        ----------
        groups
            Labels of the groups. A str, or anything else that is not iterable, is one label.

        Returns
        -------
        The rows of these groups, with codes 0..len(groups)-1.

        Raises
        ------
        ValueError
            If there is no label, a label is unknown or given twice, or no row is left.
        """
        chosen = find_groups(groups, self.labels)
        recoded = np.full(self.num_groups, -1, dtype=np.int32)
        recoded[chosen] = np.arange(len(chosen))
        labels = replace(self.labels, groups=tuple(self.labels.groups[c] for c in chosen))
        kept = self.take(recoded[self.group] >= 0)
        return replace(kept, group=read_only(recoded[kept.group]), labels=labels)

    def take(self, rows: ArrayLike) -> Self:
        """Return some rows with all groups, so that codes and labels do not change.

        This serves the folds of a cross-validation, in which a group may have no rows.

        Parameters
        ----------
        rows
            Positions 0..N-1, which may be repeated, or a boolean mask of shape (N,).

        Returns
        -------
        The rows in the given order, with all C groups.

        Raises
        ------
        TypeError
            If `rows` is neither integer nor boolean.
        ValueError
            If a mask has another shape, positions are out of range, or no row is left.
        """
        chosen = row_positions(rows, self.num_rows)
        taken = {name: np.asarray(values)[chosen] for name, values in self.arrays.items()}
        kept: dict[str, Any] = {name: read_only(values) for name, values in taken.items()}
        return replace(self, **kept)

    def audit(self) -> Audit:
        """Report what each group determines on its own, and what looks wrong; read it first."""
        y, x, group = np.asarray(self.y), np.asarray(self.x), np.asarray(self.group)
        return audit(y, x, group, self.labels, self.lost_groups, self.formula)

    def fingerprint(self) -> str:
        """Hash names, labels and numbers; the hash is the same on every platform.

        Returns
        -------
        SHA-256 of the data as 64 hexadecimal digits.
        """
        arrays = (
            np.asarray(array, dtype="<i4" if name == "group" else "<f8")
            for name, array in self.arrays.items()
        )
        return fingerprint(self.labels, self.x.shape, self.centers, arrays)

    def to_frame(self) -> pd.DataFrame:
        """Return the data as a pandas frame, in which the group is a Categorical.

        Returns
        -------
        A new frame of N rows with outcome, predictors in their original units, group, and weights
        or standard errors if there are any. `from_frame` with ``center=dict(data.centers)`` makes
        the same data from it.
        """
        return frame_of_rows(self.arrays, self.labels, self.centers)

    def __repr__(self) -> str:
        counts = f"{plural(self.num_rows, 'row')}, {plural(self.num_groups, 'group')}"
        formula = text_of(self.formula) if self.formula else self.labels.formula
        centers = "".join(f"; {name} from {value:.6g}" for name, value in self.centers)
        weights = f"; weights {self.labels.design.weights}" if self.labels.design.weights else ""
        left_out = "".join(f"; left out {count}: {reason}" for reason, count in self.left_out)
        return f"GroupedData({counts}; {formula}{weights}{centers}{left_out})"


pytree(
    GroupedData,
    data_fields=["x", "y", "group", "weights", "se"],
    meta_fields=["labels", "left_out", "lost_groups", "centers", "formula", "notes"],
)
