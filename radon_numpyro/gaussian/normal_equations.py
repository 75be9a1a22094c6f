"""Normal equations by group in square-root form, the input of all closed forms."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from radon_numpyro.data.design import Design
from radon_numpyro.data.identification import ROUNDING
from radon_numpyro.data.pytrees import namespace, pytree
from radon_numpyro.gaussian.small_matrices import contracted
from radon_numpyro.gaussian.triangles import TriangularColumns, positions, semidefinite_root
from radon_numpyro.statistics.group_statistics import GroupStatistics


@pytree
@dataclass(frozen=True, eq=False)
class NormalEquations:
    r"""Least-squares problem of the rows about the pooled fit, in triangular form.

    Z denotes the P columns that vary by group, and X the Q columns with a population coefficient,
    of which those that are also in Z come first. Let r be the residuals about the pooled
    least-squares fit :math:`\hat b`, and B the triangle of X:

    .. math:: X / \sqrt W = \mathrm{Q} B, \qquad \tilde X = X B^{-1}, \qquad
              \tilde b = B (b - \hat b),

    where W is the number of rows. Rows with weights w are multiplied by :math:`\sqrt w`, and W is
    then the sum of the weights. An orthogonal transformation of the rows of group c turns
    :math:`[Z_c, \tilde X_c, r_c]` into P rows :math:`[R_c, K_c, z_c]`, in which :math:`R_c` is a
    triangle, and further rows in which Z is zero. The further rows of all groups together are
    reduced to one triangle :math:`[R_0, z_0]`:

    .. math:: |y - Xb - Zu|^2 = \sum_c |z_c - K_c\tilde b - R_c u_c|^2
              + |z_0 - R_0\tilde b|^2 + \mathrm{remainder}

    If the intercept varies about a mean, no large squares are subtracted from each other, as would
    happen with :math:`X'X` for a predictor far from zero. Columns that do not vary within a group,
    or are linear combinations of others, give rows of zeros.

    Attributes
    ----------
    root
        :math:`R_c`, upper triangular, shape (P, P, C). If the intercept varies, the first row is
        :math:`\sqrt{w_c}\,(1, \bar x_c)`.
    population
        :math:`K_c`, shape (P, Q, C).
    target
        :math:`z_c`, shape (P, C).
    rest
        Residual sum of squares of each group about its own least-squares fit on Z, shape (C,).
    count
        Number of rows in each group, shape (C,).
    weight, log_weight
        Sums of the weights of the rows and of their logarithms, shape (C,). Without weights they
        are the count and 0.
    repeats
        Number of groups that each entry stands for, shape (C,). It is 1 unless
        ``gaussian/designs.py`` has combined groups.
    stand_for_many
        Whether groups have been combined, so that ``repeats`` are not all 1.
    pooled_root, pooled_target, remainder
        :math:`R_0`, :math:`z_0` and the remainder, shapes (F, Q), (F,) and ().
    centre
        Values subtracted from the columns of X before the fit and B are computed, shape (Q,). If
        the intercept varies about a mean, they are the means of the columns, with 0 for the
        constant; otherwise they are zeros.
    fit
        The pooled fit :math:`\hat b`, shape (Q,).
    basis, inverse_basis
        B and :math:`B^{-1}`, shape (Q, Q).
    log_det_basis
        :math:`\log|B|`.
    design
        The columns of the model.
    """

    root: Any
    population: Any
    target: Any
    rest: Any
    count: Any
    weight: Any
    log_weight: Any
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
        """Compute the square-root form from sufficient statistics, on the host in float64.

        Parameters
        ----------
        statistics
            The data. Their labels contain the design.
        """
        columns = TriangularColumns(statistics)
        root, population, target, rest, below = columns.triangles()
        # Scaling the columns makes the accuracy of the inverse independent of their units.
        size = np.abs(columns.basis).max(0, initial=np.finfo(float).tiny)
        inverse = np.linalg.inv(columns.basis / size) / size[:, None]
        num_fixed = len(columns.fixed)
        # The triangle of the rows in which Z is zero, over all groups.
        factor = semidefinite_root(below[..., None], columns.least_pivot())[..., 0]
        return cls(
            root=root,
            population=np.einsum("prc,rq->pqc", population, inverse),
            target=target,
            rest=rest,
            count=statistics.count,
            weight=statistics.total_weight,
            log_weight=(
                np.zeros(len(rest)) if statistics.log_weight is None else statistics.log_weight
            ),
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
        """Return the equations of all rows without groups: no column varies, and P and C are 0."""
        num_columns = len(self.fit)
        # In the basis of the pooled fit, the columns are orthogonal to each other and to the
        # residuals.
        gram = np.einsum("pqc,prc->qr", self.population, self.population)
        gram += self.pooled_root.T @ self.pooled_root
        pooled_root = np.sqrt(self.total_weight) * np.eye(num_columns)
        pooled_root *= (np.diagonal(gram) > ROUNDING * self.total_weight)[:, None]
        return replace(
            self,
            root=np.zeros((0, 0, 0)),
            population=np.zeros((0, num_columns, 0)),
            target=np.zeros((0, 0)),
            rest=np.zeros(0),
            count=self.count.sum(keepdims=True),
            weight=self.weight.sum(keepdims=True),
            log_weight=self.log_weight.sum(keepdims=True),
            repeats=np.zeros(0),
            pooled_root=pooled_root,
            pooled_target=np.zeros(num_columns),
            remainder=self.rss,
        )

    def take(self, groups: Any) -> NormalEquations:
        """Select groups by mask or position; what all groups share is kept unchanged."""
        return replace(
            self,
            root=self.root[..., groups],
            population=self.population[..., groups],
            target=self.target[..., groups],
            rest=self.rest[groups],
            count=self.count[groups],
            weight=self.weight[groups],
            log_weight=self.log_weight[groups],
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
    def work(self) -> int:
        """Number of array values that the density given the scales needs at one point."""
        columns = self.population.shape[1]
        return max(self.num_groups, 1) * (self.size + 1) * (self.size + columns + 1)

    @property
    def num_rows(self) -> Any:
        """Number of rows, N."""
        return self.count.sum()

    @property
    def total_weight(self) -> Any:
        """Sum of the weights of all rows, which is N without weights."""
        return self.weight.sum()

    @property
    def rss(self) -> Any:
        """Residual sum of squares about the pooled fit."""
        return self.remainder + (self.pooled_target**2).sum() + (self.target**2).sum()

    def at_zero(self) -> tuple[Any, Any]:
        r"""Return the pooled fit and :math:`B^{-1}` for columns that are not centred.

        Returns
        -------
        fit, inverse_basis
            Shapes (Q,) and (Q, Q). The population coefficients :math:`b` are the fit plus the
            inverse basis times :math:`\tilde b`.
        """
        fit, inverse = self.fit, self.inverse_basis
        if not self.design.has_mean_intercept:
            return fit, inverse
        xp, centre = namespace(fit), self.centre[:, None]
        return (
            xp.concatenate([fit[:1] - contracted(centre, fit), fit[1:]]),
            xp.concatenate([inverse[:1] - contracted(centre, inverse), inverse[1:]]),
        )

    def to_model(self, relative: Any) -> Any:
        r"""Convert population coefficients relative to the pooled fit to those of the model.

        Parameters
        ----------
        relative
            :math:`\tilde b`, shape (Q, ...).
        """
        fit, inverse = self.at_zero()
        off = contracted(inverse.T, relative)
        return fit.reshape(-1, *[1] * (relative.ndim - 1)) + off

    def from_model(self, coefficients: Any) -> Any:
        r"""Convert population coefficients of the model to those relative to the pooled fit.

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
        r"""Return the rows of both designs for given predictors, and their pooled fit.

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
        varying, population = positions(self.design)
        about_centre = columns[population] - self.centre[:, None]
        return columns[varying], self.inverse_basis.T @ about_centre, self.fit @ about_centre
