"""Normal equations by group, in square-root form: what the closed forms work on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from radon_numpyro.data.identification import ROUNDING
from radon_numpyro.statistics.group_statistics import GroupStatistics


class NormalEquations(NamedTuple):
    r"""Least-squares problem of each group about the pooled fit, made triangular.

    With :math:`x - m` for x, m the mean of all rows, the design of group c is
    :math:`X_c' = Q_c R_c` with orthonormal :math:`Q_c`, and its residuals about the pooled
    least-squares fit are, but for a rotation, the P numbers :math:`z_c = Q_c'r_c` and what is left:

    .. math:: |r_c - X_c'\theta|^2 = |z_c - R_c\theta|^2 + \mathrm{rest}_c

    Squares of large numbers that cancel, as those of :math:`X_c'X_c` do where a predictor lies far
    from zero, never arise. Predictors that do not vary, or are combinations of others, leave rows
    of zeros. Coefficients here and in ``gaussian/conditional.py`` are relative to the pooled fit
    and have their intercept at the centre m; :meth:`to_model` and :meth:`from_model` go from and to
    those of the model as written.

    Attributes
    ----------
    root
        :math:`R_c`, upper triangular, shape (P, P, C); its first row is
        :math:`\sqrt{n_c}\,(1, \bar x_c - m)`.
    target
        :math:`z_c`, shape (P, C).
    rest
        Residual sum of squares about the group's own least-squares fit, shape (C,).
    count
        Rows in each group, shape (C,).
    centre
        m, shape (K,).
    offset
        The pooled fit, intercept at the centre first, shape (P,).
    repeats
        How many groups each stands for, shape (C,): one, but after ``gaussian/designs.py``.
    scatter
        Targets of groups put together, about their mean, shape (Q, P, C): none, Q = 0, but
        after ``gaussian/designs.py``.
    """

    root: Any
    target: Any
    rest: Any
    count: Any
    centre: Any
    offset: Any
    repeats: Any
    scatter: Any

    @classmethod
    def from_statistics(cls, statistics: GroupStatistics) -> NormalEquations:
        """Square-root form of sufficient statistics, on the host in float64."""
        s, rows = statistics, statistics.overall()
        n, mean_x, mean_y, sxx, sxy = (
            s.count,
            rows.mean_x[0],
            rows.mean_y[0],
            rows.sxx[0],
            rows.sxy[0],
        )
        dx, dy = s.mean_x - mean_x, s.mean_y - mean_y
        # In units of the predictors: whether one is a combination of others is no matter of units.
        unit = np.sqrt(np.where(np.diagonal(sxx) > 0, np.diagonal(sxx), 1.0))
        slope = np.linalg.lstsq(sxx / unit[:, None] / unit, sxy / unit, rcond=None)[0] / unit

        explained = (s.sxx * slope).sum(-1)
        within = s.syy - 2.0 * (s.sxy * slope).sum(-1) + (explained * slope).sum(-1)
        return cls._triangular(
            n,
            dx,
            dy - dx @ slope,
            np.moveaxis(s.sxx, 0, -1),
            (s.sxy - explained).T,
            within,
            mean_x,
            np.append(mean_y, slope),
        )

    @classmethod
    def _triangular(
        cls,
        count: Any,
        mean_x: Any,
        mean_r: Any,
        sxx: Any,
        sxr: Any,
        srr: Any,
        centre: Any,
        offset: Any,
    ) -> NormalEquations:
        """From means about the centre and centred sums of products; sums have groups last."""
        size, num_groups = len(offset), len(count)
        root, target = np.zeros((size, size, num_groups)), np.zeros((size, num_groups))
        root[0, 0] = np.sqrt(count)
        root[0, 1:] = root[0, 0] * mean_x.T
        target[0] = root[0, 0] * mean_r
        for p in range(1, size):
            above = root[1:p, p]
            pivot = sxx[p - 1, p - 1] - (above**2).sum(0)
            varies = pivot > ROUNDING * sxx[p - 1, p - 1]
            root[p, p] = np.sqrt(np.where(varies, pivot, 0.0))
            inverse = np.divide(1.0, root[p, p], out=np.zeros(num_groups), where=varies)
            for q in range(p + 1, size):
                root[p, q] = (sxx[p - 1, q - 1] - (above * root[1:p, q]).sum(0)) * inverse
            target[p] = (sxr[p - 1] - (above * target[1:p]).sum(0)) * inverse
        rest = np.maximum(srr - (target[1:] ** 2).sum(0), 0.0)
        repeats, scatter = np.ones(num_groups), np.zeros((0, size, num_groups))
        return cls(root, target, rest, count, centre, offset, repeats, scatter)

    def pooled(self) -> NormalEquations:
        """The same for all rows in one group."""
        gram = np.einsum("c,rpc,rqc->pq", self.repeats, self.root, self.root)
        moment = np.einsum("c,rpc,rc->p", self.repeats, self.root, self.target)
        count = self.count.sum(keepdims=True)
        mean_x, mean_r = gram[:1, 1:] / count, moment[:1] / count
        between = count * mean_x[0][:, None] * mean_x[0]
        sxr = moment[1:] - mean_x[0] * moment[0]
        srr = self.rss.sum() - count * mean_r**2
        sxx = (gram[1:, 1:] - between)[..., None]
        return self._triangular(
            count, mean_x, mean_r, sxx, sxr[:, None], srr, self.centre, self.offset
        )

    def take(self, groups: Any) -> NormalEquations:
        """The same for some of the groups only, by mask or position."""
        return NormalEquations(
            self.root[..., groups],
            self.target[..., groups],
            self.rest[groups],
            self.count[groups],
            self.centre,
            self.offset,
            self.repeats[groups],
            self.scatter[..., groups],
        )

    @property
    def size(self) -> int:
        """Number of coefficients of a group, P = K + 1."""
        return self.target.shape[0]

    @property
    def rss(self) -> Any:
        """Residual sum of squares of each group about the pooled fit, shape (C,)."""
        about_mean = (self.scatter**2).sum((0, 1))
        return self.rest + self.repeats * (self.target**2).sum(0) + about_mean

    def to_model(self, theta: Any) -> list[Any]:
        """Coefficients of the model as written, from those relative to the pooled fit.

        Parameters
        ----------
        theta
            P arrays of one shape, intercept at the centre first.
        """
        slopes = [b + o for b, o in zip(theta[1:], self.offset[1:], strict=True)]
        at_centre = theta[0] + self.offset[0]
        return [at_centre - sum(b * m for b, m in zip(slopes, self.centre, strict=True)), *slopes]

    def from_model(self, theta: Any) -> list[Any]:
        """Coefficients relative to the pooled fit, from those of the model as written.

        Parameters
        ----------
        theta
            P arrays of one shape, intercept at zero first.
        """
        at_centre = theta[0] + sum(b * m for b, m in zip(theta[1:], self.centre, strict=True))
        slopes = [b - o for b, o in zip(theta[1:], self.offset[1:], strict=True)]
        return [at_centre - self.offset[0], *slopes]

    def fitted(self, design: Any) -> Any:
        """The pooled fit at rows.

        Parameters
        ----------
        design
            P arrays of one shape: ones, then the predictors.
        """
        rows = centred(design, self.centre)
        return sum(o * z for o, z in zip(self.offset, rows, strict=True))


def centred(design: Any, centre: Any) -> list[Any]:
    """Rows of the design about the centre: those of an intercept at zero from one there.

    Parameters
    ----------
    design
        P arrays: ones, then the predictors; or any contrast of coefficients.
    centre
        Shape (K,).
    """
    first, *others = design
    return [first, *(x - m * first for x, m in zip(others, centre, strict=True))]
