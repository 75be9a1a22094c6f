r"""Averages and quantiles over weighted nodes, with errors from independent shifts of the nodes.

The nodes consist of R random shifts of one lattice, and each shift gives an independent estimate.
Means and quantiles solve :math:`\sum_i w_i g_i = 0`, with :math:`g_i = x_i - \bar x` for a mean,
and :math:`g_i = F_i(q) - p` for the quantile q of probability p, where :math:`F_i` is the
distribution function given node i. The contributions of the shifts to this sum scatter about 0 with

.. math:: e^2 = \frac{R}{R - 3}\sum_r\Big(\sum_{i\in r} w_i g_i\Big)^2

with R - 3 as in ``importance_sampling.py``. For a mean, e is its standard error. For a quantile, e
is the error of p, and the standard error of the quantile is half the distance between the quantiles
of :math:`p + e` and :math:`p - e`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from radon_numpyro.gaussian import mixtures

# Smallest distance of a probability from 0 and 1, whose quantiles do not exist.
TINY = 1e-12


class Nodes(NamedTuple):
    """Normalised weights of nodes, (S,), index of the shift of each, (S,), and number of shifts."""

    weights: np.ndarray
    shift: np.ndarray
    num_shifts: int

    def average(
        self, values: np.ndarray, variance: np.ndarray | float = 0.0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute the mean, the standard deviation, and the standard error of the mean.

        Parameters
        ----------
        values
            Values at the nodes, or means given the nodes, shape (S, ...).
        variance
            Variances given the nodes, of the same shape; 0 for values at the nodes.
        """
        mean = np.tensordot(self.weights, values, 1)
        spread = np.tensordot(self.weights, np.square(values - mean) + variance, 1)
        return mean, np.sqrt(spread), self._scatter(values - mean)

    def quantiles(
        self, probabilities: np.ndarray, values: np.ndarray, sd: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute quantiles and their standard errors, each of shape (K, ...).

        Parameters
        ----------
        probabilities
            Probabilities between 0 and 1, shape (K,).
        values
            Values at the nodes, or means given the nodes, shape (S, ...).
        sd
            Standard deviations of the Normal distributions given the nodes, of the same shape; None
            for values at the nodes.
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
        """Compute the standard error of a weighted sum, whose value is 0, of terms (S, ...)."""
        sums = np.zeros((self.num_shifts, *parts.shape[1:]))
        np.add.at(sums, self.shift, self.weights.reshape(-1, *[1] * (parts.ndim - 1)) * parts)
        count = self.num_shifts
        error: np.ndarray = np.sqrt(count / (count - 3) * np.square(sums).sum(0))
        return error

    def _quantile(self, p: float, x: np.ndarray, sd: np.ndarray | None) -> float:
        if sd is None:
            order = np.argsort(x)
            # The quantile interpolates between the midpoints of the steps of the ECDF.
            middle = np.cumsum(self.weights[order]) - 0.5 * self.weights[order]
            return float(np.interp(p, middle, x[order]))
        used, within = self.weights > 0, np.clip([p], TINY, 1.0 - TINY)
        return float(
            mixtures.quantile(x[used, None], sd[used, None] ** 2, within, self.weights[used])[0]
        )


def _below(quantile: float, x: np.ndarray, sd: np.ndarray | None) -> np.ndarray:
    """Compute the probability of a value below ``quantile`` given each node, shape (S,)."""
    if sd is None:
        return (x < quantile).astype(float)
    below: np.ndarray = special.ndtr((quantile - x) / sd)
    return below
