r"""Averages and quantiles over weighted nodes, with errors from independent shifts of the nodes.

Nodes are of R shifts of one lattice, each of which is an estimate of its own. A mean, and a
quantile q of probability p, solve :math:`\sum_i w_i g_i = 0` with :math:`g_i = x_i - \bar x`, or
:math:`g_i = F_i(q) - p`, where :math:`F_i` is the distribution function given the node. What each
shift adds to that sum scatters about 0 with

.. math:: e^2 = \frac{R}{R - 1}\sum_r\Big(\sum_{i\in r} w_i g_i\Big)^2

which is the squared error of the mean. Of the quantile e is the error in p: its own is half of how
far the quantiles of :math:`p \pm e` are apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from radon_numpyro.gaussian import mixtures

# A probability of 0 or 1 has no quantile.
TINY = 1e-12


class Nodes(NamedTuple):
    """Normalised weights (S,) of nodes, the shift (S,) of each, and the number of shifts."""

    weights: np.ndarray
    shift: np.ndarray
    num_shifts: int

    def average(
        self, values: np.ndarray, variance: np.ndarray | float = 0.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, standard deviation and error of the mean.

        Parameters
        ----------
        values
            Of each node, or their means given the node, shape (S, ...).
        variance
            Variances given the node, of the same shape.
        """
        mean = np.tensordot(self.weights, values, 1)
        spread = np.tensordot(self.weights, np.square(values - mean) + variance, 1)
        return mean, np.sqrt(spread), self._scatter(values - mean)

    def quantiles(
        self, probabilities: np.ndarray, values: np.ndarray, sd: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Quantiles and their errors, each of shape (probabilities, ...).

        Parameters
        ----------
        probabilities
            Between 0 and 1, shape (K,).
        values
            Of each node, or means given the node, shape (S, ...).
        sd
            Standard deviations of Normal distributions given the node, of the same shape.
        """
        flat = values.reshape(len(values), -1)
        spread = None if sd is None else sd.reshape(len(values), -1)
        found = np.empty((len(probabilities), flat.shape[1], 2))
        for k, p in enumerate(probabilities):
            for j, x in enumerate(flat.T):
                own = None if spread is None else spread[:, j]
                quantile = self._quantile(p, x, own)
                error = float(self._scatter(_below(quantile, x, own) - p))
                ends = [self._quantile(np.clip(p + s * error, 0, 1), x, own) for s in (1, -1)]
                found[k, j] = quantile, 0.5 * (ends[0] - ends[1])
        shape = (len(probabilities), *values.shape[1:])
        return found[..., 0].reshape(shape), found[..., 1].reshape(shape)

    def _scatter(self, parts: np.ndarray) -> np.ndarray:
        """Error of a weighted sum of numbers (S, ...) that is 0."""
        sums = np.zeros((self.num_shifts, *parts.shape[1:]))
        np.add.at(sums, self.shift, self.weights.reshape(-1, *[1] * (parts.ndim - 1)) * parts)
        count = self.num_shifts
        error: np.ndarray = np.sqrt(count / (count - 1) * np.square(sums).sum(0))
        return error

    def _quantile(self, p: float, x: np.ndarray, sd: np.ndarray | None) -> float:
        if sd is None:
            order = np.argsort(x)
            # The middle of each step of the distribution function.
            middle = np.cumsum(self.weights[order]) - 0.5 * self.weights[order]
            return float(np.interp(p, middle, x[order]))
        used, within = self.weights > 0, np.clip([p], TINY, 1.0 - TINY)
        return float(
            mixtures.quantile(x[used, None], sd[used, None] ** 2, within, self.weights[used])[0]
        )


def _below(quantile: float, x: np.ndarray, sd: np.ndarray | None) -> np.ndarray:
    """Probability given each node of being below."""
    if sd is None:
        return (x < quantile).astype(float)
    below: np.ndarray = special.ndtr((quantile - x) / sd)
    return below
