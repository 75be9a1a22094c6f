"""Normal equations by group: the form of the statistics that the closed forms work on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from radon_numpyro.statistics import GroupStatistics


class NormalEquations(NamedTuple):
    """Normal equations of each group about the pooled least-squares fit.

    Attributes
    ----------
    gram
        :math:`X_c'X_c`, shape (P, P, C).
    moment
        :math:`X_c'r_c`, shape (P, C).
    rss
        :math:`r_c'r_c`, shape (C,).
    count
        Rows in each group, shape (C,).
    offset
        The pooled fit, intercept first, shape (P,).
    """

    gram: Any
    moment: Any
    rss: Any
    count: Any
    offset: Any

    @classmethod
    def from_statistics(cls, statistics: GroupStatistics) -> NormalEquations:
        """Normal equations from sufficient statistics, on the host in float64."""
        s = statistics
        n, total = s.count, max(s.count.sum(), 1.0)
        mean_x, mean_y = (n[:, None] * s.mean_x).sum(0) / total, (n * s.mean_y).sum() / total
        dx, dy = s.mean_x - mean_x, s.mean_y - mean_y
        sxx = (s.sxx + n[:, None, None] * dx[:, :, None] * dx[:, None, :]).sum(0)
        sxy = (s.sxy + n[:, None] * dx * dy[:, None]).sum(0)
        slope = np.linalg.lstsq(sxx, sxy, rcond=None)[0]
        offset = np.concatenate([[mean_y - mean_x @ slope], slope])

        size = s.num_predictors + 1
        centre = s.mean_y - offset[0] - s.mean_x @ slope
        design = np.concatenate([np.ones((1, s.num_groups)), s.mean_x.T])
        gram = n * design[:, None] * design[None, :]
        gram[1:, 1:] += np.moveaxis(s.sxx, 0, -1)
        moment = n * centre * design
        moment[1:] += (s.sxy - s.sxx @ slope).T
        assert gram.shape == (size, size, s.num_groups)
        return cls(gram, moment, np.maximum(s.sum_of_squares(offset[0], slope), 0.0), n, offset)

    def pooled(self) -> NormalEquations:
        """The same for all rows in one group."""
        gram, moment, rss, count = (
            a.sum(-1, keepdims=True) for a in (self.gram, self.moment, self.rss, self.count)
        )
        return NormalEquations(gram, moment, rss, count, self.offset)

    def take(self, groups: Any) -> NormalEquations:
        """The same for some of the groups only, by mask or position."""
        return NormalEquations(
            self.gram[..., groups],
            self.moment[..., groups],
            self.rss[groups],
            self.count[groups],
            self.offset,
        )

    @property
    def size(self) -> int:
        """Number of coefficients of a group, P = K + 1."""
        return self.moment.shape[0]
