r"""Correlation matrices: their prior, and their triangular roots from partial correlations.

A correlation matrix of P coefficients is :math:`R = TT'` with T upper triangular and rows of length
1. Each partial correlation :math:`z_{ij}` of coefficients i < j, given those after j, can take any
value in (-1, 1), and

.. math:: T_{ij} = z_{ij}\prod_{m > j}\sqrt{1 - z_{im}^2}, \qquad
          T_{ii} = \prod_{m > i}\sqrt{1 - z_{im}^2}

Coefficients that are independent have partial correlations of 0. Under the LKJ prior of a block of
p coefficients, :math:`p(R) \propto |R|^{\eta - 1}`, the partial correlations are independent,

.. math:: \frac{1 + z_{ij}}{2} \sim \mathrm{Beta}(b, b), \qquad b = \eta + \frac{p - 2 - m}{2}

where m is the number of coefficients of the block that are conditioned on. This is the vine of
Lewandowski et al. in reversed order, which makes T upper triangular.

References
----------
Lewandowski, Kurowicka and Joe (2009), Generating random correlation matrices based on vines and
extended onion method, doi:10.1016/j.jmva.2009.04.008.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, override

import numpy as np
from scipy import special

from radon_numpyro.data.design import Design
from radon_numpyro.data.pytrees import namespace, pytree
from radon_numpyro.model.location_priors import PriorFamily


@pytree
@dataclass(frozen=True)
class LKJ(PriorFamily):
    r"""Prior of a correlation matrix R of P coefficients, :math:`p(R) \propto |R|^{\eta - 1}`.

    Marginally, each correlation is distributed as 2B - 1 with B ~ Beta(b, b) and
    :math:`b = \eta - 1 + P/2`. With ``concentration`` 1 all correlation matrices have the same
    density; larger values shrink the correlations towards 0.

    Attributes
    ----------
    concentration
        The positive number :math:`\eta`.
    """

    concentration: Any

    def of_pair(self, size: int) -> PairPrior:
        """Return the marginal prior of one correlation among ``size`` coefficients.

        Parameters
        ----------
        size
            Number of coefficients that correlate, at least 2.
        """
        return PairPrior(float(self.concentration), size)


@dataclass(frozen=True)
class PairPrior(PriorFamily):
    r"""Prior of a correlation r under LKJ: (1 + r) / 2 ~ Beta(b, b), :math:`b = \eta - 1 + P/2`.

    Attributes
    ----------
    concentration
        The positive number :math:`\eta`.
    size
        Number of coefficients that correlate, P.
    """

    concentration: float
    size: int
    lower: ClassVar[float] = -1.0

    @property
    def b(self) -> float:
        """Both parameters of the Beta distribution."""
        return self.concentration - 1.0 + self.size / 2

    @property
    def upper(self) -> Any:
        """Upper end of the support, 1."""
        return 1.0

    @property
    def sd(self) -> Any:
        """Standard deviation."""
        return 1.0 / np.sqrt(2.0 * self.b + 1.0)

    @override
    def text(self, number: Callable[[float], str]) -> str:
        return LKJ(self.concentration).text(number)

    @override
    def log_density(self, value: Any) -> np.ndarray:
        inside = np.clip(value, -1.0, 1.0)
        normaliser = special.betaln(self.b, self.b) + (2.0 * self.b - 1.0) * np.log(2.0)
        with np.errstate(divide="ignore"):
            log = special.xlog1py(self.b - 1.0, -np.square(inside)) - normaliser
        return np.where(np.abs(value) <= 1.0, log, -np.inf)

    @override
    def cdf(self, value: Any) -> np.ndarray:
        return np.asarray(special.betainc(self.b, self.b, (1.0 + np.clip(value, -1, 1)) / 2))

    @override
    def quantile(self, prob: Any) -> np.ndarray:
        return np.asarray(2.0 * special.betaincinv(self.b, self.b, prob) - 1.0)


def correlation_root(design: Design, partial: Any) -> Any:
    """Compute the upper triangular root T of the correlation matrix of the varying coefficients.

    Parameters
    ----------
    design
        Which coefficients correlate.
    partial
        Partial correlations in the order of ``design.pairs``, shape (L, ...).

    Returns
    -------
    array
        Shape (P, P, ...).
    """
    xp = namespace(partial)
    size = len(design.varying)
    one, zero = xp.ones(partial.shape[1:]), xp.zeros(partial.shape[1:])
    number = {pair: k for k, pair in enumerate(design.pairs)}
    rows = []
    for i in range(size):
        left, row = one, [zero] * size
        for j in reversed(range(i + 1, size)):
            if (i, j) in number:
                z = partial[number[i, j]]
                row[j] = left * z
                left = left * xp.sqrt((1.0 - z) * (1.0 + z))
        row[i] = left
        rows.append(xp.stack(row))
    return xp.stack(rows)


def root_of_correlation(correlation: Any) -> Any:
    """Compute the upper triangular root T of correlation matrices.

    Parameters
    ----------
    correlation
        Positive semidefinite matrices, shape (..., P, P).

    Returns
    -------
    array
        Shape (P, P, ...).
    """
    xp, size = namespace(correlation), correlation.shape[-1]
    left = xp.moveaxis(xp.asarray(correlation, dtype=float), (-2, -1), (0, 1))
    columns = []
    for j in reversed(range(size)):
        pivot = xp.sqrt(xp.maximum(left[j, j], 0.0))
        column = xp.where(pivot > 0, left[:, j] / xp.where(pivot > 0, pivot, 1.0), 0.0)
        # Set the entries below the diagonal to exactly zero: rounding leaves small residues there.
        column = xp.concatenate([column[: j + 1], xp.zeros_like(column[j + 1 :])])
        columns.append(column)
        left = left - column[:, None] * column[None]
    return xp.stack(columns[::-1], axis=1)


def correlation_of(root: Any) -> Any:
    """Return the correlation matrices (..., P, P) of the roots T, shape (P, P, ...)."""
    xp = namespace(root)
    return xp.einsum("pr...,qr...->...pq", root, root)


def beta_parameters(design: Design, concentration: Any) -> Any:
    r"""Return the parameter b of the Beta prior of each partial correlation, shape (L,).

    Parameters
    ----------
    design
        Which coefficients correlate.
    concentration
        :math:`\eta` of the LKJ prior.
    """
    position = {name: p for p, name in enumerate(design.varying)}
    half = []
    for i, j in design.pairs:
        (block,) = (b for b in design.correlated if design.varying[i] in b)
        conditioned_on = sum(position[name] > j for name in block)
        half.append((len(block) - 2 - conditioned_on) / 2)
    return concentration + np.array(half)
