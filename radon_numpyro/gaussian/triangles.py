"""The triangles of the normal equations, made of sufficient statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.identification import ROUNDING
from radon_numpyro.statistics.group_statistics import GroupStatistics


class TriangularColumns:
    """The columns of the design in the order of the algebra, and the pooled fit of them.

    Positions count the columns of the statistics, x, with the constant before them.

    Parameters
    ----------
    statistics
        The data.

    Attributes
    ----------
    varying, population
        Positions of the columns of Z and of X.
    fixed
        Which of ``population`` do not vary.
    basis, fit, centre
        As in :class:`~radon_numpyro.gaussian.normal_equations.NormalEquations`.
    """

    def __init__(self, statistics: GroupStatistics) -> None:
        design = statistics.labels.design
        self.statistics = statistics
        self.varying, self.population = positions(design)
        # Those of `population` that do not vary come last.
        self.fixed = np.arange(len(design.population))[len(design.population) - len(design.fixed) :]
        self._constant_first = design.intercept_varies
        rows = statistics.overall()
        self._mean, self._mean_y = rows.mean_x[0], rows.mean_y[0]
        if INTERCEPT not in design.population:
            self._mean, self._mean_y = np.zeros_like(self._mean), 0.0
        # About the means the constant is orthogonal to the other columns.
        n, off, off_y = (
            rows.total_weight[0],
            rows.mean_x[0] - self._mean,
            rows.mean_y[0] - self._mean_y,
        )
        self._gram = np.zeros((1 + len(off),) * 2)
        self._gram[0, 0], self._gram[1:, 1:] = n, rows.sxx[0] + n * off[:, None] * off
        self._gram[0, 1:] = self._gram[1:, 0] = n * off
        moment = np.append(n * off_y, rows.sxy[0] + n * off * off_y)
        self.basis, self.fit = self._fitted(n if n > 0 else 1.0, moment)
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
        triangle = semidefinite_root(ordered, np.full(len(chosen), ROUNDING))[..., 0]
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
        root_n = np.sqrt(s.total_weight)
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


def positions(design: Design) -> tuple[list[int], list[int]]:
    """Where the columns of Z and of X stand among the constant and the predictors.

    Parameters
    ----------
    design
        Which columns there are.
    """
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


def semidefinite_root(products: Any, least: Any) -> Any:
    """Upper triangle of positive semidefinite products, shape (U, U, C).

    Parameters
    ----------
    products
        The products.
    least
        Pivots that count as zero, shape (U,).
    """
    return _eliminated(products, len(products), np.reshape(least, (-1, 1)))[0]
