"""Normal equations by group, in square-root form: what the closed forms work on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.identification import ROUNDING
from radon_numpyro.data.pytrees import pytree
from radon_numpyro.gaussian.small_matrices import namespace
from radon_numpyro.statistics.group_statistics import GroupStatistics


@pytree
@dataclass(frozen=True, eq=False)
class NormalEquations:
    r"""Least-squares problem of the rows about the pooled fit, made triangular.

    The columns that vary by group are Z (P of them), those with a population coefficient X (Q of
    them: those of Z that have one come first). With r the residuals about the pooled least-squares
    fit :math:`\hat b`, and B the triangle of X,

    .. math:: X / \sqrt N = \mathrm{Q} B, \qquad \tilde X = X B^{-1}, \qquad
              \tilde b = B (b - \hat b),

    an orthogonal transform of the rows of group c makes of :math:`[Z_c, \tilde X_c, r_c]` the P
    rows :math:`[R_c, K_c, z_c]` with :math:`R_c` a triangle, and rows in which Z is zero. These are
    taken together over all groups, and made a triangle :math:`[R_0, z_0]` too:

    .. math:: |y - Xb - Zu|^2 = \sum_c |z_c - K_c\tilde b - R_c u_c|^2
              + |z_0 - R_0\tilde b|^2 + \mathrm{remainder}

    Squares of large numbers that cancel, as those of :math:`X'X` do where a predictor lies far
    from zero, never arise where the intercept varies about a mean. Columns that do not vary within
    a group, or are combinations of others, leave rows of zeros.

    Attributes
    ----------
    root
        :math:`R_c`, upper triangular, shape (P, P, C); where the intercept varies its first row is
        :math:`\sqrt{n_c}\,(1, \bar x_c)`.
    population
        :math:`K_c`, shape (P, Q, C).
    target
        :math:`z_c`, shape (P, C).
    rest
        Residual sum of squares about the least-squares fit on Z in the group alone, shape (C,).
    count
        Rows in each group, shape (C,).
    repeats
        How many groups each stands for, shape (C,): one, but after ``gaussian/designs.py``.
    stand_for_many
        Whether ``repeats`` are not all one.
    pooled_root, pooled_target, remainder
        :math:`R_0`, :math:`z_0` and the remainder, shapes (F, Q), (F,) and ().
    centre
        Means of the columns of X, that of the constant 0, where the intercept varies about a mean;
        else zeros: shape (Q,). The fit and B are those of columns less their centre.
    fit
        The pooled fit :math:`\hat b`, shape (Q,).
    basis, inverse_basis
        B and :math:`B^{-1}`, shape (Q, Q).
    log_det_basis
        :math:`\log|B|`.
    design
        Which columns these are.
    """

    root: Any
    population: Any
    target: Any
    rest: Any
    count: Any
    repeats: Any
    pooled_root: Any
    pooled_target: Any
    remainder: Any
    centre: Any
    fit: Any
    basis: Any
    inverse_basis: Any
    log_det_basis: Any
    design: Design = field(metadata={"static": True})
    stand_for_many: bool = field(default=False, metadata={"static": True})

    @classmethod
    def from_statistics(cls, statistics: GroupStatistics) -> NormalEquations:
        """Square-root form of sufficient statistics, on the host in float64.

        Parameters
        ----------
        statistics
            The data, with the design of their labels.
        """
        columns = _Columns(statistics)
        root, population, target, rest, below = columns.triangles()
        inverse = np.linalg.inv(columns.basis)
        num_fixed = len(columns.fixed)
        # The squares of what is left below the triangles, of all groups.
        factor = _semidefinite_root(below[..., None], columns.least_pivot())[..., 0]
        return cls(
            root=root,
            population=np.einsum("prc,rq->pqc", population, inverse),
            target=target,
            rest=rest,
            count=statistics.count,
            repeats=np.ones(len(rest)),
            pooled_root=factor[:num_fixed, :num_fixed] @ inverse[columns.fixed],
            pooled_target=factor[:num_fixed, num_fixed],
            remainder=factor[num_fixed, num_fixed] ** 2,
            centre=columns.centre,
            fit=columns.fit,
            basis=columns.basis,
            inverse_basis=inverse,
            log_det_basis=np.linalg.slogdet(columns.basis)[1],
            design=statistics.labels.design,
        )

    def pooled(self) -> NormalEquations:
        """All rows without the groups: no column varies, so that P and C are 0."""
        num_columns = len(self.fit)
        # In the basis of the pooled fit the columns are orthogonal, the residuals orthogonal to
        # them.
        gram = np.einsum("pqc,prc->qr", self.population, self.population)
        gram += self.pooled_root.T @ self.pooled_root
        pooled_root = np.sqrt(self.count.sum()) * np.eye(num_columns)
        pooled_root *= (np.diagonal(gram) > ROUNDING * self.count.sum())[:, None]
        return replace(
            self,
            root=np.zeros((0, 0, 0)),
            population=np.zeros((0, num_columns, 0)),
            target=np.zeros((0, 0)),
            rest=np.zeros(0),
            count=self.count.sum(keepdims=True),
            repeats=np.zeros(0),
            pooled_root=pooled_root,
            pooled_target=np.zeros(num_columns),
            remainder=self.rss,
        )

    def take(self, groups: Any) -> NormalEquations:
        """Some of the groups only, by mask or position; what all groups share stays whole."""
        return replace(
            self,
            root=self.root[..., groups],
            population=self.population[..., groups],
            target=self.target[..., groups],
            rest=self.rest[groups],
            count=self.count[groups],
            repeats=self.repeats[groups],
        )

    @property
    def size(self) -> int:
        """Number of columns that vary by group, P."""
        return self.target.shape[0]

    @property
    def num_groups(self) -> int:
        """Number of groups, C."""
        return self.target.shape[1]

    @property
    def num_rows(self) -> Any:
        """Number of rows, N."""
        return self.count.sum()

    @property
    def rss(self) -> Any:
        """Residual sum of squares about the pooled fit."""
        return self.remainder + (self.pooled_target**2).sum() + (self.target**2).sum()

    def at_zero(self) -> tuple[Any, Any]:
        r"""The pooled fit and :math:`B^{-1}` of columns as they are, not about their centre.

        Returns
        -------
        fit, inverse_basis
            Shapes (Q,) and (Q, Q): :math:`b` is the fit plus the inverse basis times
            :math:`\tilde b`.
        """
        fit, inverse = self.fit, self.inverse_basis
        if not self.design.has_mean_intercept:
            return fit, inverse
        xp = namespace(fit)
        return (
            xp.concatenate([fit[:1] - self.centre @ fit, fit[1:]]),
            xp.concatenate([inverse[:1] - self.centre @ inverse, inverse[1:]]),
        )

    def to_model(self, relative: Any) -> Any:
        r"""Population coefficients of the model, from those relative to the pooled fit.

        Parameters
        ----------
        relative
            :math:`\tilde b`, shape (Q, ...).
        """
        fit, inverse = self.at_zero()
        off = namespace(relative, inverse).tensordot(inverse, relative, 1)
        return fit.reshape(-1, *[1] * (relative.ndim - 1)) + off

    def from_model(self, coefficients: Any) -> Any:
        r"""Population coefficients relative to the pooled fit, from those of the model.

        Parameters
        ----------
        coefficients
            b, shape (Q, ...).
        """
        xp, at_centre = namespace(coefficients, self.fit), coefficients
        if self.design.has_mean_intercept:
            first = coefficients[:1] + xp.tensordot(self.centre, coefficients, 1)
            at_centre = xp.concatenate([first, coefficients[1:]])
        fit = self.fit.reshape(-1, *[1] * (coefficients.ndim - 1))
        return xp.tensordot(self.basis, at_centre - fit, 1)

    def rows(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        r"""Rows of both designs, and the pooled fit of them.

        Parameters
        ----------
        x
            Predictors of R rows, shape (R, J).

        Returns
        -------
        z, population, fitted
            Shapes (P, R), (Q, R) and (R,): the columns that vary, :math:`\tilde x`, and
            :math:`x\hat b`.
        """
        columns = np.vstack([np.ones(len(x)), np.asarray(x, dtype=float).T])
        varying, population = _positions(self.design)
        about_centre = columns[population] - self.centre[:, None]
        return columns[varying], self.inverse_basis.T @ about_centre, self.fit @ about_centre


class _Columns:
    """The columns of the design in the order of the algebra, and the pooled fit of them.

    Internally the columns are those of the statistics, x, and the constant before them.
    """

    def __init__(self, statistics: GroupStatistics) -> None:
        design = statistics.labels.design
        self.statistics = statistics
        self.varying, self.population = _positions(design)
        # Those of `population` that do not vary come last.
        self.fixed = np.arange(len(design.population))[len(design.population) - len(design.fixed) :]
        self._constant_first = design.intercept_varies
        rows = statistics.overall()
        self._mean, self._mean_y = rows.mean_x[0], rows.mean_y[0]
        if INTERCEPT not in design.population:
            self._mean, self._mean_y = np.zeros_like(self._mean), 0.0
        # About the means the constant is orthogonal to the other columns.
        n, off, off_y = rows.count[0], rows.mean_x[0] - self._mean, rows.mean_y[0] - self._mean_y
        self._gram = np.zeros((1 + len(off),) * 2)
        self._gram[0, 0], self._gram[1:, 1:] = n, rows.sxx[0] + n * off[:, None] * off
        self._gram[0, 1:] = self._gram[1:, 0] = n * off
        moment = np.append(n * off_y, rows.sxy[0] + n * off * off_y)
        self.basis, self.fit = self._fitted(n, moment)
        self.centre = np.append(0.0, self._mean)[self.population]
        if not design.has_mean_intercept:
            # The columns that vary are not about their means, then.
            self._go_to_zero()

    def _fitted(self, n: Any, moment: Any) -> tuple[np.ndarray, np.ndarray]:
        """B and the least-squares coefficients, of columns about their means."""
        chosen = self.population
        gram, moment = self._gram[np.ix_(chosen, chosen)], moment[chosen]
        # The constant first, so that its row of B holds the means.
        order = np.argsort([position != 0 for position in chosen], kind="stable")
        back = np.argsort(order)
        size = np.diagonal(gram)
        # In units of the columns: whether one is a combination of others is no matter of units.
        unit = np.sqrt(np.where(size > 0, size, 1.0))
        scaled = gram / unit[:, None] / unit
        ordered = scaled[np.ix_(order, order)][..., None]
        triangle = _semidefinite_root(ordered, np.full(len(chosen), ROUNDING))[..., 0]
        # A combination of columns before it has no part of its own to be measured in.
        triangle[np.diag_indices(len(chosen))] += np.diagonal(triangle) == 0
        fit = np.linalg.lstsq(scaled, moment / unit, rcond=None)[0] / unit
        if 0 in chosen:
            fit[chosen.index(0)] += self._mean_y
        return (triangle[:, back] * unit)[back] / np.sqrt(n), fit

    def _go_to_zero(self) -> None:
        """Columns as they are, in place of columns about their means."""
        if 0 in self.population:
            constant = self.population.index(0)
            self.fit[constant] -= self.centre @ self.fit
            self.basis[constant] += self.centre * self.basis[constant, constant]
        self.centre = np.zeros_like(self.centre)

    def triangles(self) -> tuple[Any, Any, Any, Any, Any]:
        """R (P, P, C), K of plain columns (P, Q, C), z (P, C), the rest (C,), and what is below."""
        s = self.statistics
        coefficient = np.zeros(len(self._gram))
        coefficient[self.population] = self.fit
        slope = coefficient[1:]
        root_n = np.sqrt(s.count)
        num_groups, num_columns = s.mean_x.shape
        # Products within groups of [x, r] about the means of each group.
        explained = (s.sxx * slope).sum(-1)
        products = np.empty((num_columns + 1, num_columns + 1, num_groups))
        products[:-1, :-1] = np.moveaxis(s.sxx, 0, -1)
        products[:-1, -1] = products[-1, :-1] = (s.sxy - explained).T
        products[-1, -1] = s.syy - 2.0 * (s.sxy * slope).sum(-1) + (explained * slope).sum(-1)
        mean_r = s.mean_y - self._mean_y - (s.mean_x - self._mean) @ slope
        means = np.vstack([np.ones(num_groups), s.mean_x.T, mean_r]) * root_n
        if self._constant_first:
            return self._constant_varies(products, means)
        return self._constant_is_fixed(products, means)

    def _constant_varies(self, products: Any, means: Any) -> tuple[Any, Any, Any, Any, Any]:
        """The constant is the first row; the others are about the means of the groups."""
        num_varying = len(self.varying) - 1
        tolerance = ROUNDING * np.einsum("uuc->uc", products)
        rows, below = _eliminated(products, num_varying, tolerance)
        rows = np.concatenate([np.zeros((1, *means.shape)), _with_constant(rows)])
        rows[0] = means
        return self._parts(rows, below, first=num_varying)

    def _constant_is_fixed(self, products: Any, means: Any) -> tuple[Any, Any, Any, Any, Any]:
        """The constant, if it is there, is a column like others, behind those that vary."""
        size = len(products)
        tolerance = ROUNDING * np.einsum("uuc->uc", products)
        within, _ = _eliminated(products, size, tolerance)
        tall = np.concatenate([means[None], _with_constant(within)])
        # Those that vary first, then the constant and the others, then the residual.
        others = [j for j in range(size + 1) if j not in self.varying]
        order = [*self.varying, *others]
        found = np.linalg.qr(np.moveaxis(tall[:, order], -1, 0), mode="r")
        sign = np.where(np.einsum("cuu->cu", found) < 0, -1.0, 1.0)
        found = np.moveaxis(found * sign[:, :, None], 0, -1)
        num_varying = len(self.varying)
        rows = np.empty((num_varying, *means.shape))
        rows[:, order] = found[:num_varying]
        rest = found[num_varying:, num_varying:]
        below = np.einsum("uvc,uwc->vwc", rest, rest)
        # As if the constant were the first of the columns below, as it is in `others`.
        return self._parts(rows, below, first=None)

    def _parts(self, rows: Any, below: Any, *, first: int | None) -> tuple[Any, Any, Any, Any, Any]:
        """Pick columns out of [1, x, r]; ``below`` has those that are left of them, and r."""
        if first is None:
            left = [j for j in range(rows.shape[1] - 1) if j not in self.varying]
        else:
            left = list(range(1 + first, rows.shape[1] - 1))
        chosen = [left.index(self.population[q]) for q in self.fixed] + [len(left)]
        # Of columns about the centre, the constant for itself.
        about_centre = rows[:, self.population].copy()
        about_centre[:1] -= rows[:1, :1] * self.centre[:, None]
        return (
            rows[:, self.varying],
            about_centre,
            rows[:, -1],
            below[-1, -1],
            below[np.ix_(chosen, chosen)].sum(-1),
        )

    def least_pivot(self) -> np.ndarray:
        """Squares of the columns below the triangles, and of the residual, that are rounding."""
        fixed = [self.population[q] for q in self.fixed]
        return ROUNDING * np.append(np.diagonal(self._gram)[fixed], 0.0)


def population_columns(design: Design) -> tuple[str, ...]:
    """Columns of X in order: those that vary too, then those that do not.

    Parameters
    ----------
    design
        Which columns there are.
    """
    return (*(name for name in design.varying if name in design.population), *design.fixed)


def _positions(design: Design) -> tuple[list[int], list[int]]:
    """Where the columns of Z and of X stand among the constant and the predictors."""
    position = {INTERCEPT: 0} | {name: 1 + j for j, name in enumerate(design.predictors)}
    return (
        [position[name] for name in design.varying],
        [position[name] for name in population_columns(design)],
    )


def _with_constant(rows: Any) -> Any:
    """Rows of [x, r] as rows of [1, x, r]."""
    return np.concatenate([np.zeros((len(rows), 1, rows.shape[-1])), rows], axis=1)


def _eliminated(products: Any, num_pivots: int, least: Any) -> tuple[Any, Any]:
    """Rows of the triangle of the first columns, and the products of the others without them.

    Parameters
    ----------
    products
        Positive semidefinite, shape (U, U, C).
    num_pivots
        How many columns.
    least
        Pivots that count as zero, shape (U, C): their rows are zeros.
    """
    left = np.array(products, dtype=float)
    rows = np.zeros((num_pivots, *left.shape[1:]))
    for p in range(num_pivots):
        pivot = left[p, p]
        counts = pivot > least[p]
        root = np.sqrt(np.where(counts, pivot, 1.0))
        rows[p, p:] = np.where(counts, left[p, p:] / root, 0.0)
        left[p:, p:] -= rows[p, p:, None] * rows[p, None, p:]
    return rows, np.maximum(left, 0.0, out=left, where=_diagonal_mask(left))[
        num_pivots:, num_pivots:
    ]


def _diagonal_mask(products: Any) -> Any:
    return np.broadcast_to(np.eye(len(products), dtype=bool)[..., None], products.shape)


def _semidefinite_root(products: Any, least: Any) -> Any:
    """Upper triangle of positive semidefinite products, shape (U, U, C)."""
    return _eliminated(products, len(products), np.reshape(least, (-1, 1)))[0]
