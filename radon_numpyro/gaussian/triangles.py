"""The triangles of the normal equations, computed from sufficient statistics."""

from __future__ import annotations

from typing import Any

import numpy as np

from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.identification import ROUNDING
from radon_numpyro.statistics.group_statistics import GroupStatistics


class TriangularColumns:
    """The columns of the design in the order of the algebra, and their pooled fit.

    A position is an index into the constant followed by the columns x of the statistics.

    Parameters
    ----------
    statistics
        The data.

    Attributes
    ----------
    varying, population
        Positions of the columns of Z and of X.
    fixed
        Indices into ``population`` of the columns that do not vary.
    basis, fit, centre
        As in :class:`~radon_numpyro.gaussian.normal_equations.NormalEquations`.
    """

    def __init__(self, statistics: GroupStatistics) -> None:
        design = statistics.labels.design
        self.statistics = statistics
        self.varying, self.population = positions(design)
        # The columns of `population` that do not vary are its last ones.
        self.fixed = np.arange(len(design.population))[len(design.population) - len(design.fixed) :]
        self._constant_first = design.intercept_varies
        rows = statistics.overall()
        self._mean, self._mean_y = rows.mean_x[0], rows.mean_y[0]
        if INTERCEPT not in design.population:
            self._mean, self._mean_y = np.zeros_like(self._mean), 0.0
        # Centring at the means makes the constant orthogonal to the other columns.
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
            # Without a mean intercept, the columns that vary are not centred.
            self._go_to_zero()

    def _fitted(self, n: Any, moment: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return B and the least-squares coefficients of the centred columns."""
        chosen = self.population
        gram, moment = self._gram[np.ix_(chosen, chosen)], moment[chosen]
        # The constant comes first, so that its row of B contains the means.
        order = np.argsort([position != 0 for position in chosen], kind="stable")
        back = np.argsort(order)
        size = np.diagonal(gram)
        # Scaling each column makes the detection of collinear columns independent of units.
        unit = np.sqrt(np.where(size > 0, size, 1.0))
        scaled = gram / unit[:, None] / unit
        ordered = scaled[np.ix_(order, order)][..., None]
        triangle = semidefinite_root(ordered, np.full(len(chosen), ROUNDING))[..., 0]
        # The pivot of a column that is a combination of earlier ones is 0; 1 keeps B invertible.
        triangle[np.diag_indices(len(chosen))] += np.diagonal(triangle) == 0
        fit = np.linalg.lstsq(scaled, moment / unit, rcond=None)[0] / unit
        if 0 in chosen:
            fit[chosen.index(0)] += self._mean_y
        return (triangle[:, back] * unit)[back] / np.sqrt(n), fit

    def _go_to_zero(self) -> None:
        """Change ``fit``, ``basis`` and ``centre`` from centred columns to uncentred ones."""
        if 0 in self.population:
            constant = self.population.index(0)
            self.fit[constant] -= self.centre @ self.fit
            self.basis[constant] += self.centre * self.basis[constant, constant]
        self.centre = np.zeros_like(self.centre)

    def triangles(self) -> tuple[Any, Any, Any, Any, Any]:
        """Compute the triangles of all groups.

        Returns
        -------
        root, population, target, rest, below
            R, shape (P, P, C); K for columns not yet multiplied by the inverse of B, (P, Q, C);
            z, (P, C); the residual sums of squares, (C,); and the products of the F fixed columns
            and the residual below the triangles, summed over groups, (F + 1, F + 1).
        """
        s = self.statistics
        coefficient = np.zeros(len(self._gram))
        coefficient[self.population] = self.fit
        slope = coefficient[1:]
        root_n = np.sqrt(s.total_weight)
        num_groups, num_columns = s.mean_x.shape
        # Products of [x, r] within groups, about the means of each group.
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
        """Make the triangles if the constant varies: its row comes first, the rest is centred."""
        num_varying = len(self.varying) - 1
        tolerance = ROUNDING * np.einsum("uuc->uc", products)
        rows, below = _eliminated(products, num_varying, tolerance)
        rows = np.concatenate([np.zeros((1, *means.shape)), _with_constant(rows)])
        rows[0] = means
        return self._parts(rows, below, first=num_varying)

    def _constant_is_fixed(self, products: Any, means: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Make the triangles if the constant does not vary: it comes after the columns that do."""
        size = len(products)
        tolerance = ROUNDING * np.einsum("uuc->uc", products)
        within, _ = _eliminated(products, size, tolerance)
        tall = np.concatenate([means[None], _with_constant(within)])
        # Order: the columns that vary, the constant, the other columns, the residual.
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
        # With first=None, the constant is the first of the columns below, as in `others`.
        return self._parts(rows, below, first=None)

    def _parts(self, rows: Any, below: Any, *, first: int | None) -> tuple[Any, Any, Any, Any, Any]:
        """Select the results of ``triangles`` from rows over [1, x, r] and the products below.

        ``first`` is the number of columns of x that vary if the constant varies, else None.
        ``below`` contains the remaining columns and r.
        """
        if first is None:
            left = [j for j in range(rows.shape[1] - 1) if j not in self.varying]
        else:
            left = list(range(1 + first, rows.shape[1] - 1))
        chosen = [left.index(self.population[q]) for q in self.fixed] + [len(left)]
        # Centre the columns; the centre of the constant is 0, so that it does not change.
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
        """Return the sums of squares, shape (F + 1,), up to which a pivot is rounding error."""
        fixed = [self.population[q] for q in self.fixed]
        return ROUNDING * np.append(np.diagonal(self._gram)[fixed], 0.0)


def population_columns(design: Design) -> tuple[str, ...]:
    """Return the names of the columns of X: first those that also vary, then the others.

    Parameters
    ----------
    design
        The columns of the model.
    """
    return (*(name for name in design.varying if name in design.population), *design.fixed)


def positions(design: Design) -> tuple[list[int], list[int]]:
    """Return the positions of the columns of Z and of X in [constant, predictors].

    Parameters
    ----------
    design
        The columns of the model.
    """
    position = {INTERCEPT: 0} | {name: 1 + j for j, name in enumerate(design.predictors)}
    return (
        [position[name] for name in design.varying],
        [position[name] for name in population_columns(design)],
    )


def _with_constant(rows: Any) -> Any:
    """Extend rows over [x, r] to rows over [1, x, r], with zeros for the constant."""
    return np.concatenate([np.zeros((len(rows), 1, rows.shape[-1])), rows], axis=1)


def _eliminated(products: Any, num_pivots: int, least: Any) -> tuple[Any, Any]:
    """Eliminate the first columns from products by partial Cholesky factorisation.

    Parameters
    ----------
    products
        Positive semidefinite matrices, shape (U, U, C).
    num_pivots
        Number of columns to eliminate, k.
    least
        Largest pivots that count as zero, shape (U, C). Their rows become zeros.

    Returns
    -------
    rows, left
        First k rows of the triangle, shape (k, U, C), and the products of the other columns after
        the elimination, shape (U - k, U - k, C).
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
    """Compute the upper triangle T with T'T equal to positive semidefinite products.

    Parameters
    ----------
    products
        The products, shape (U, U, C).
    least
        Largest pivots that count as zero, shape (U,). Their rows become zeros.
    """
    return _eliminated(products, len(products), np.reshape(least, (-1, 1)))[0]
