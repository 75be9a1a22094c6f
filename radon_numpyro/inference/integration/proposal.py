r"""Mixtures of t distributions, folded at 0, as proposals of importance sampling.

.. math:: q(x) = \sum_{d} \sum_k \pi_k\big[(1 - \omega)\,t_5(d \circ x; m_k, S_k)
          + \omega\,t_5(d \circ x; m_k, 2.5^2 S_k)\big]

The sum over d runs over all signs of the folded coordinates. In these coordinates a draw is
replaced by its absolute value, because the target density is defined for positive numbers and may
be largest at 0. The wide parts, with the share :math:`\omega`, keep the importance weights bounded
in the tails.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import special

from radon_numpyro.gaussian.mixtures import log_sum_exp

FREEDOM, WIDE = 5.0, 2.5
# A coordinate is folded if its mean is within this number of standard deviations of 0; and the
# maximum number of folded coordinates.
NEAR, MOST_FOLDED = 4.0, 6
EM_STEPS = 20
# EM has converged if a step moves means and roots by less than this number of standard deviations.
SETTLED = 1e-3
# Weights below this fraction of the largest are left out.
NEGLIGIBLE = 1e-12
# Maximum number of values of an array of images of points that fits into the cache.
CACHED = 2**16
# Share of the covariance of all points that is added to the covariance of each component.
RIDGE = 1e-3


@dataclass(frozen=True)
class Proposal:
    """A folded mixture of K components in D coordinates.

    Attributes
    ----------
    share
        Share of each component in the mixture, shape (K,).
    mean
        Means of the components before folding, shape (K, D).
    root
        Lower triangular roots of the scale matrices, shape (K, D, D).
    wide_share
        Share of each component that is 2.5 times as wide.
    folded
        Positions of the folded coordinates.
    """

    share: np.ndarray
    mean: np.ndarray
    root: np.ndarray
    wide_share: float
    folded: tuple[int, ...]

    @classmethod
    def of(
        cls,
        share: np.ndarray,
        mean: np.ndarray,
        covariance: np.ndarray,
        positive: np.ndarray,
        wide_share: float,
    ) -> Proposal:
        """Return the mixture in which positive coordinates with means near 0 are folded.

        Parameters
        ----------
        share, mean, covariance
            Shares, means and covariances of the components, shapes (K,), (K, D) and (K, D, D).
        positive
            Whether each coordinate is at least 0, shape (D,).
        wide_share
            Share of each component that is 2.5 times as wide.
        """
        sd = np.sqrt(np.einsum("kdd->kd", covariance))
        distance = np.where(positive, mean / sd, np.inf).min(0)
        nearest = np.argsort(distance)[:MOST_FOLDED]
        folded = tuple(sorted(int(d) for d in nearest if distance[d] < NEAR))
        return cls(share, mean, np.linalg.cholesky(covariance), wide_share, folded)

    def draw(self, uniforms: np.ndarray) -> np.ndarray:
        """Map uniform numbers (S, D + 2) to points (S, D) of the mixture."""
        dims = self.mean.shape[1]
        widths = np.array([1.0 - self.wide_share, self.wide_share])
        parts = np.cumsum((self.share[:, None] * widths).ravel())
        part = np.minimum(np.searchsorted(parts, uniforms[:, -1]), 2 * len(self.share) - 1)
        chi_square = 2.0 * special.gammaincinv(FREEDOM / 2.0, uniforms[:, -2])
        stretch = np.where(part % 2, WIDE, 1.0) / np.sqrt(chi_square / FREEDOM)
        z = special.ndtri(uniforms[:, :dims]) * stretch[:, None]
        points = self.mean[part // 2]
        for k in range(len(self.share)):
            own = part // 2 == k
            points[own] += z[own] @ self.root[k].T
        points[:, self.folded] = np.abs(points[:, self.folded])
        return points

    def log_density(self, points: np.ndarray) -> np.ndarray:
        """Compute the log density, (S,), at points (S, D) with folded coordinates of at least 0."""
        dims = points.shape[1]
        density = np.zeros(len(points))
        constant = special.gammaln((FREEDOM + dims) / 2.0) - special.gammaln(FREEDOM / 2.0)
        constant -= 0.5 * dims * np.log(FREEDOM * np.pi)
        highest = -np.log(np.einsum("kdd->kd", self.root)).sum(1).min()
        for k in range(len(self.share)):
            log_det = np.log(np.diagonal(self.root[k])).sum() + highest
            distance = self._distances(points, k, self.folded) / FREEDOM
            for width, share in ((1.0, 1.0 - self.wide_share), (WIDE, self.wide_share)):
                height = share * self.share[k] * np.exp(-log_det) / width**dims
                kernel = (1.0 + distance / width**2) ** (-0.5 * (FREEDOM + dims))
                density += height * kernel.sum(0)
        with np.errstate(divide="ignore"):
            return np.log(density) + constant + highest

    def fitted(
        self, points: np.ndarray, weights: np.ndarray, positive: np.ndarray, num: int, wide: float
    ) -> Proposal:
        """Fit a mixture of ``num`` folded Normals to weighted points by maximum likelihood with EM.

        Parameters
        ----------
        points, weights
            Points and their weights, shapes (S, D) and (S,). The weights sum to 1.
        positive
            As in :meth:`of`.
        num
            Number of components. EM starts from this mixture if it has the same number.
        wide
            Share of the wide parts in the result.
        """
        dims = points.shape[1]
        counts = weights > NEGLIGIBLE * weights.max()
        points, weights = points[counts], weights[counts]
        signs = _signs(dims, self.folded)
        current, steps = self, EM_STEPS if num > 1 or self.folded else 1
        if len(self.share) != num:
            current = _split(self, points, weights, num)
        of_images = np.broadcast_to(weights / len(signs), (len(signs), len(points)))
        overall = _covariance(points, signs, of_images)[1]
        ridge = RIDGE * overall + np.finfo(float).eps * np.eye(dims)
        for _ in range(steps):
            owner = current._responsibilities(points, self.folded) * weights
            share = owner.sum((1, 2))
            some = share > 1e-6
            found = [_covariance(points, signs, own / own.sum()) for own in owner[some]]
            mean, covariance = (np.array(parts) for parts in zip(*found, strict=True))
            before, current = (
                current,
                Proposal.of(
                    share[some] / share[some].sum(), mean, covariance + ridge, positive, wide
                ),
            )
            if num == 1 and current._moved_from(before, np.sqrt(np.diagonal(overall))) < SETTLED:
                break
        return current

    def _moved_from(self, before: Proposal, sd: np.ndarray) -> float:
        """Return the largest change of a mean or root, in standard deviations of its coordinate."""
        if len(self.share) != len(before.share):
            return np.inf
        mean, root = np.abs(self.mean - before.mean), np.abs(self.root - before.root)
        return float(max((mean / sd).max(), (root / sd[:, None]).max()))

    def _distances(self, points: np.ndarray, k: int, folded: tuple[int, ...]) -> np.ndarray:
        """Compute squared distances of images of points from a component, shape (images, S)."""
        inverse = np.linalg.inv(self.root[k])
        signs = _signs(points.shape[1], folded)
        # In z = L^-1 (d x - m), the part of coordinates that are not folded is computed only once.
        free = [d for d in range(points.shape[1]) if d not in folded]
        signed = inverse[:, folded] * signs[:, None, folded]
        out = np.empty((len(signs), len(points)))
        step = max(1, CACHED // signs.size)
        for start in range(0, len(points), step):
            some = points[start : start + step]
            fixed = some[:, free] @ inverse[:, free].T - inverse @ self.mean[k]
            turned = signed @ some[:, folded].T
            out[:, start : start + step] = np.square(fixed.T + turned).sum(1)
        return out

    def _responsibilities(self, points: np.ndarray, folded: tuple[int, ...]) -> np.ndarray:
        """Compute the probability of each component and image of a point, (K, images, S)."""
        log = np.stack([-0.5 * self._distances(points, k, folded) for k in range(len(self.share))])
        log_det = np.log(np.einsum("kdd->kd", self.root)).sum(1)
        log += (np.log(self.share) - log_det)[:, None, None]
        return np.exp(log - log_sum_exp(log, axis=(0, 1)))


def _signs(dims: int, folded: tuple[int, ...]) -> np.ndarray:
    """Return all combinations of signs of the folded coordinates, shape (images, D)."""
    signs = np.ones((2 ** len(folded), dims))
    signs[:, folded] = list(product((1.0, -1.0), repeat=len(folded)))
    return signs


def _covariance(
    points: np.ndarray, signs: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and the covariance of images of points, with weights (images, S)."""
    # Most images of a point are far from the component.
    image, point = np.nonzero(weights > NEGLIGIBLE * weights.max())
    each = weights[image, point]
    flat = signs[image] * points[point]
    mean = each @ flat
    off = flat - mean
    return mean, (each[:, None] * off).T @ off


def _split(proposal: Proposal, points: np.ndarray, weights: np.ndarray, num: int) -> Proposal:
    """Split points along their longest axis into components of equal weight, as a start of EM."""
    mean, covariance = _covariance(points, np.ones((1, points.shape[1])), weights[None])
    along = (points - mean) @ np.linalg.eigh(covariance)[1][:, -1]
    order = np.argsort(along)
    slot = np.empty(len(points), dtype=int)
    slot[order] = np.minimum(np.cumsum(weights[order]) * num, num - 1e-9).astype(int)
    used = [k for k in range(num) if (slot == k).any()]
    share = np.array([weights[slot == k].sum() for k in used])
    centres = [weights[slot == k] @ points[slot == k] / s for k, s in zip(used, share, strict=True)]
    spread = np.array([covariance / len(used)] * len(used))
    roots = np.linalg.cholesky(spread + np.finfo(float).eps * np.eye(len(mean)))
    return Proposal(share / share.sum(), np.array(centres), roots, 0.0, proposal.folded)
