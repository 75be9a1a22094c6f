"""Moments of all columns by group, the outcome last, and how those of disjoint rows add up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.labels import Labels
from radon_numpyro.data.missing import LeftOut
from radon_numpyro.data.moments import overall_moments


@dataclass(frozen=True, eq=False)
class GroupSums:
    """Moments of the P = K + 1 columns, predictors before the outcome, in each group.

    Attributes
    ----------
    labels
        Names of the columns and of the C groups.
    count
        Rows, shape (C,).
    means
        Shape (C, P), in the units of the columns.
    products
        Centred sums of products, shape (C, P, P).
    left_out
        Pairs (reason, count) of rows that were left out.
    lost_groups
        Labels of groups of which no row was left.
    """

    labels: Labels
    count: NDArray[np.float64]
    means: NDArray[np.float64]
    products: NDArray[np.float64]
    left_out: LeftOut = ()
    lost_groups: tuple[Any, ...] = ()

    def select(self, columns: list[int], labels: Labels) -> GroupSums:
        """Keep some columns, in the order asked.

        Parameters
        ----------
        columns
            Their positions.
        labels
            Names of those that are kept.
        """
        return replace(
            self,
            labels=labels,
            means=self.means[:, columns],
            products=self.products[:, columns][:, :, columns],
        )

    def overall(self) -> GroupSums:
        """Moments of all rows, put into one group without a label."""
        moments = overall_moments(self.count, self.means, self.products)
        return GroupSums(replace(self.labels, groups=("",)), *moments)

    def merge(self, other: GroupSums) -> GroupSums:
        r"""Moments of the rows of both.

        .. math:: S = S_a + S_b + \frac{n_a n_b}{n_a + n_b} (m_b - m_a)(m_b - m_a)'

        Parameters
        ----------
        other
            Moments of other rows of the same columns. Groups are matched by label; those that only
            `other` has come last.
        """
        index = {label: code for code, label in enumerate(self.labels.groups)}
        for label in other.labels.groups:
            index.setdefault(label, len(index))
        a = self._placed(list(range(len(self.count))), len(index))
        b = other._placed([index[g] for g in other.labels.groups], len(index))
        count = a.count + b.count
        share = b.count / np.maximum(count, 1.0)
        step = b.means - a.means
        between = (a.count * share)[:, None, None] * step[:, :, None] * step[:, None, :]
        lost = dict.fromkeys((*self.lost_groups, *other.lost_groups))
        return GroupSums(
            labels=replace(self.labels, groups=tuple(index)),
            count=count,
            means=a.means + step * share[:, None],
            products=a.products + b.products + between,
            left_out=_added(self.left_out, other.left_out),
            lost_groups=tuple(label for label in lost if label not in index),
        )

    def _placed(self, position: list[int], num_groups: int) -> GroupSums:
        """Spread the groups over ``num_groups`` places, the others empty."""

        def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
            out = np.zeros((num_groups, *values.shape[1:]))
            out[position] = values
            return out

        count, means, products = map(spread, (self.count, self.means, self.products))
        return replace(self, count=count, means=means, products=products)


def _added(a: LeftOut, b: LeftOut) -> LeftOut:
    counts = dict(a)
    for reason, count in b:
        counts[reason] = counts.get(reason, 0) + count
    return tuple(counts.items())
