"""Moments of all columns by group, the outcome last, and the sum of those of disjoint rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.labels import Labels
from radon_numpyro.data.missing import LeftOut
from radon_numpyro.data.moments import overall_moments

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GroupSums:
    """Moments of the P = K + 1 columns, predictors before the outcome, in each group.

    Attributes
    ----------
    labels
        Names of the columns and of the C groups.
    count
        Number of rows, shape (C,).
    weight, log_weight
        Sums of the weights of the rows and of their logarithms, shape (C,). If all rows have the
        same weight, these are the count and 0.
    means
        Weighted means, shape (C, P), in the units of the columns.
    products
        Weighted centred sums of products, shape (C, P, P).
    left_out
        Pairs (reason, count) of rows that were left out.
    lost_groups
        Labels of the groups that have no row left.
    """

    labels: Labels
    count: Array
    weight: Array
    log_weight: Array
    means: Array
    products: Array
    left_out: LeftOut = ()
    lost_groups: tuple[Any, ...] = ()

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Any], labels: Labels, **others: Any) -> GroupSums:
        """Combine the arrays of statistics; the inverse of :meth:`arrays`.

        Parameters
        ----------
        arrays
            Arrays by name. ``weight`` and ``log_weight`` may be absent.
        labels
            Names of the columns and of the groups.
        **others
            ``left_out`` and ``lost_groups``.
        """
        known = {name: np.asarray(values, dtype=np.float64) for name, values in arrays.items()}
        means = np.column_stack([known["mean_x"], known["mean_y"]])
        products = np.empty((*means.shape, means.shape[1]))
        products[:, :-1, :-1], products[:, -1, -1] = known["sxx"], known["syy"]
        products[:, :-1, -1] = products[:, -1, :-1] = known["sxy"]
        count = known["count"]
        weight = known.get("weight", count), known.get("log_weight", np.zeros_like(count))
        return cls(labels, count, *weight, means, products, **others)

    def arrays(self) -> dict[str, Any]:
        """Return the arrays of statistics, in which predictors and outcome are separate."""
        weights = {"weight": self.weight, "log_weight": self.log_weight}
        return {
            "count": self.count,
            "mean_x": self.means[:, :-1],
            "mean_y": self.means[:, -1],
            "sxx": self.products[:, :-1, :-1],
            "sxy": self.products[:, :-1, -1],
            "syy": self.products[:, -1, -1],
            **(weights if self.labels.design.weighted else {}),
        }

    def select(self, columns: list[int], labels: Labels) -> GroupSums:
        """Return the moments of some columns, in the given order.

        Parameters
        ----------
        columns
            Positions of the columns.
        labels
            Labels with the names of these columns.
        """
        return replace(
            self,
            labels=labels,
            means=self.means[:, columns],
            products=self.products[:, columns][:, :, columns],
        )

    def overall(self) -> GroupSums:
        """Return the moments of all rows as one group with an empty label."""
        weight, means, products = overall_moments(self.weight, self.means, self.products)
        count, log_weight = (a.sum(keepdims=True) for a in (self.count, self.log_weight))
        labels = replace(self.labels, groups=("",))
        return GroupSums(labels, count, weight, log_weight, means, products)

    def merge(self, other: GroupSums) -> GroupSums:
        r"""Return the moments of both sets of rows; w are the sums of the weights.

        .. math:: S = S_a + S_b + \frac{w_a w_b}{w_a + w_b} (m_b - m_a)(m_b - m_a)'

        Parameters
        ----------
        other
            Moments of other rows of the same columns. Groups are matched by label; those that only
            ``other`` has come last.
        """
        index = {label: code for code, label in enumerate(self.labels.groups)}
        for label in other.labels.groups:
            index.setdefault(label, len(index))
        a = self._placed(list(range(len(self.count))), len(index))
        b = other._placed([index[g] for g in other.labels.groups], len(index))
        weight = a.weight + b.weight
        share = b.weight / np.where(weight > 0, weight, 1.0)
        step = b.means - a.means
        between = (a.weight * share)[:, None, None] * step[:, :, None] * step[:, None, :]
        lost = dict.fromkeys((*self.lost_groups, *other.lost_groups))
        return GroupSums(
            labels=replace(self.labels, groups=tuple(index)),
            count=a.count + b.count,
            weight=weight,
            log_weight=a.log_weight + b.log_weight,
            means=a.means + step * share[:, None],
            products=a.products + b.products + between,
            left_out=_added(self.left_out, other.left_out),
            lost_groups=tuple(label for label in lost if label not in index),
        )

    def _placed(self, position: list[int], num_groups: int) -> GroupSums:
        """Put the groups at their positions among ``num_groups`` groups; the others are empty."""

        def spread(values: Array) -> Array:
            out = np.zeros((num_groups, *values.shape[1:]))
            out[position] = values
            return out

        names = ("count", "weight", "log_weight", "means", "products")
        placed: dict[str, Any] = {name: spread(getattr(self, name)) for name in names}
        return replace(self, **placed)


def _added(a: LeftOut, b: LeftOut) -> LeftOut:
    counts = dict(a)
    for reason, count in b:
        counts[reason] = counts.get(reason, 0) + count
    return tuple(counts.items())
