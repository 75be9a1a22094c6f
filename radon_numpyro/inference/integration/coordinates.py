r"""Coordinates of the scales in which their posterior is near Normal and has no edge.

A standard deviation is :math:`v = c\sinh t`, linear through 0 and logarithmic in its tail, with c
0.3 times the residual standard deviation over the root mean square of its column. Where its prior
ends at h, as a uniform one does, it is :math:`s = v / \sqrt{1 + (v/h)^2}`, so that its bound lies
at infinity. A partial correlation is :math:`z = \tanh t`. Negative t stand for signed standard
deviations, in which the density is smooth (``gaussian/conditional.py``).

Where intercepts correlate with slopes of a predictor far from zero, and groups are known well,
intercepts at zero and slopes are nearly one. Coordinates about the means are then those of
intercepts at the means :math:`\bar x` of the predictors: the first row of the root U of the
covariance loses :math:`\bar x'` times the others, which leaves volumes of U as they are. Where the
prior of intercepts at zero ends at h, the standard deviations of these slopes are multiplied by
:math:`(1 + \kappa^{-2})^{-1/2}`, with :math:`\kappa` the number that would lead to the bound. Where
the groups are hardly known the prior rules, which is even in intercepts at zero. So points of both
kinds are taken where a predictor is far (``scale_posterior.py``).

Where hardly any scatter is seen within very many groups the data determine the sum of the variances
much better than their parts. The coordinates are then

.. math:: \lambda = \tfrac12\log\Big(\epsilon^2 + \sum_p v_p^2 r_p^2\Big), \qquad
          v_p r_p / \epsilon = 0.3\sinh t_p

with r the root mean square of each column. Where the standard errors of the rows are known there is
no coordinate of :math:`\epsilon`, which is 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radon_numpyro.data.design import Design
from radon_numpyro.data.identification import ROUNDING
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.model.correlations import correlation_root
from radon_numpyro.model.priors import Priors

# Where sinh turns from linear to logarithmic, in units of a scale.
BEND = 0.3
# Beyond these coordinates scales overflow, and 1 - z^2 is 0.
FAR, FAR_CORRELATION = 300.0, 18.0
# Powers of e, in units of a scale, that no proper posterior reaches with any mass.
ENDLESS = 100.0
# Coarse points: powers of e that scales reach beyond their units, and how far the residual one is
# from where it is seen, either way; partial correlations.
REACH, RESIDUAL_REACH, CORRELATION_REACH = 3.5, 1.0, 1.0
# Share of the rows whose scatter is that within groups, below which it is hardly seen.
HARDLY = 0.1
# Rows beyond the population coefficients that determine the sum of the variances.
ENOUGH_ROWS = 20
# Standard deviations from 0 beyond which the mean of a predictor is far.
FAR_MEAN = 3.0


class ScaleValues(NamedTuple):
    r"""Scales at S points.

    Attributes
    ----------
    scale
        Signed standard deviations of the columns that vary, shape (P, S).
    eps
        Residual standard deviation, shape (S,).
    partial
        Partial correlations, shape (L, S).
    log_gap
        :math:`\log(1 - z^2)` of them, shape (L, S).
    log_jacobian
        Logarithm of the derivative of all of these in the coordinates, shape (S,).
    """

    scale: np.ndarray
    eps: np.ndarray
    partial: np.ndarray
    log_gap: np.ndarray
    log_jacobian: np.ndarray


class Coordinates:
    """D coordinates: P of standard deviations, one of the residual one, L of correlations.

    Parameters
    ----------
    equations
        The data, which the units come from.
    priors
        Their bounds, and how large a scale can be under them.
    about_means
        Whether intercepts count at the means of the predictors whose slopes correlate with them.

    Attributes
    ----------
    positive
        Whether each coordinate is at least 0, shape (D,).
    """

    def __init__(
        self, equations: NormalEquations, priors: Priors, *, about_means: bool = False
    ) -> None:
        self._num_scales, self._pairs = equations.size, pairs_of(equations)
        self._design = equations.design
        self._known_errors = equations.design.known_errors
        # Coordinates of standard deviations, which come before those of correlations.
        self._num_sds = self._num_scales + (not self._known_errors)
        residual, total, seen = _plug_in(equations)
        self._means = _means(equations) if about_means else np.zeros(equations.size)
        rms = np.sqrt(_variance(_rms(equations), self._means))
        self._of_intercept = [k for k, (i, _) in enumerate(self._pairs) if i == 0]
        spare = equations.num_rows - equations.population.shape[1]
        self._by_ratio = bool(equations.size) and not seen and spare >= ENOUGH_ROWS
        families = scale_families(equations.design, priors, equations.size)
        self._upper = np.array([family.upper for family in families], dtype=float)[:, None]
        self._far = np.flatnonzero(self._means)
        limit = np.array([family.start_limit for family in families], dtype=float)
        self._rms, self._total = rms, total
        # Known errors may be next to nothing: the unit is at least what counts of all scatter.
        seen_unit = max(residual, ROUNDING * total)
        units = np.append(seen_unit / rms, residual)[: self._num_sds]
        self._bend = BEND * np.minimum(units, limit)[:, None]
        self._residual = residual if self._known_errors else min(residual, limit[-1])
        self.positive = np.arange(self.size) < self._num_sds
        if self._by_ratio:
            self.positive[self._num_scales] = False

    @property
    def size(self) -> int:
        """Number of coordinates, D."""
        return self._num_sds + len(self._pairs)

    def values(self, points: np.ndarray) -> ScaleValues:
        """Scales at points, shape (S, D)."""
        t = np.clip(points[:, : self._num_sds].T, -FAR, FAR)
        v, log_jacobian = self._from_ratios(t) if self._by_ratio else self._from_sinh(t)
        with np.errstate(over="ignore"):
            log_bound = np.log1p(np.square(v / self._upper))
            # Not beyond the bound by rounding.
            s = np.clip(v * np.exp(-0.5 * log_bound), -self._upper, self._upper)
        angle = np.clip(points[:, self._num_sds :].T, -FAR_CORRELATION, FAR_CORRELATION)
        log_gap = -2.0 * _log_cosh(angle)
        log_jacobian = log_jacobian - 1.5 * log_bound.sum(0) + log_gap.sum(0)
        eps = np.ones(len(points)) if self._known_errors else np.abs(s[-1])
        values = ScaleValues(s[: self._num_scales], eps, np.tanh(angle), log_gap, log_jacobian)
        if not self._far.size:
            return values
        return self._sheared(self._within_bound(values), self._means)

    def points(self, values: ScaleValues) -> np.ndarray:
        """Points (S, D) of positive scales, the inverse of :meth:`values`.

        Not a number where these coordinates do not reach: about the means, standard deviations of
        the intercepts there are below the bound of the prior.
        """
        with np.errstate(all="ignore"):
            if self._far.size:
                values = self._sheared(values, -self._means)
                if np.isfinite(self._upper[0]):
                    scale = values.scale.copy()
                    scale[self._far] /= np.sqrt(1.0 - np.square(self._bound_ratio(values)))
                    values = values._replace(scale=scale)
            s = np.concatenate([values.scale, values.eps[None]])[: self._num_sds]
            v = s / np.sqrt(1.0 - np.square(s / self._upper))
            if self._by_ratio:
                ratio = v[:-1] * self._rms[:, None] / v[-1]
                size = np.log(v[-1]) + 0.5 * np.log1p(np.square(ratio).sum(0))
                t = np.concatenate([np.arcsinh(ratio / BEND), size[None]])
            else:
                t = np.arcsinh(v / self._bend)
            # The inverse of tanh, by the gap where z is nearly one.
            angle = np.log1p(np.abs(values.partial)) - 0.5 * values.log_gap
        return np.concatenate([t, np.sign(values.partial) * angle]).T

    def endless(self, points: np.ndarray) -> np.ndarray:
        """Which points are so far out that only an improper posterior has any there, shape (S,)."""
        return (np.abs(points[:, : self._num_sds]) > ENDLESS).any(1)

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Which points are so near that their scales neither overflow nor vanish, shape (S,)."""
        limit = np.full(self.size, FAR)
        limit[self._num_sds :] = FAR_CORRELATION
        return (np.abs(points) < limit).all(1)

    def coarse(self, uniforms: np.ndarray) -> np.ndarray:
        """Points all over the range of what is plausible, from uniform numbers of shape (S, D)."""
        last = self._num_scales
        points = CORRELATION_REACH * (2.0 * uniforms - 1.0)
        points[:, :last] = uniforms[:, :last] * np.arcsinh(np.exp(REACH) / BEND)
        if self._known_errors:
            return points
        around = RESIDUAL_REACH * (2.0 * uniforms[:, last] - 1.0)
        if self._by_ratio:
            points[:, last] = np.log(self._total) + around
        else:
            points[:, last] = np.arcsinh(self._residual / self._bend[-1] * np.exp(around))
        return points

    def _bound_ratio(self, values: ScaleValues) -> np.ndarray:
        r"""How near far slopes bring intercepts at zero to the bound of their prior, shape (S,).

        With a the first row of the root U about the means and c the means times the other rows,
        the bound h of intercepts at zero is that of :math:`|a - \kappa c|`, and the ratio is
        :math:`1/\kappa` of where it is reached.
        """
        root = correlation_root(self._design, values.partial)
        own = values.scale[0] * root[0]
        shear = np.einsum("k,ks,kjs->js", self._means, values.scale, root)
        left = np.square(self._upper[0]) - np.square(values.scale[0])
        both = (own * shear).sum(0)
        return (np.sqrt(np.square(both) + np.square(shear).sum(0) * left) - both) / left

    def _within_bound(self, values: ScaleValues) -> ScaleValues:
        """Far slopes drawn in, so that intercepts at zero stay within the bound of their prior."""
        if np.isinf(self._upper[0]):
            return values
        with np.errstate(all="ignore"):
            log_bound = np.nan_to_num(np.log1p(np.square(self._bound_ratio(values))), nan=np.inf)
        scale = values.scale.copy()
        scale[self._far] *= np.exp(-0.5 * log_bound)
        log_jacobian = values.log_jacobian - 0.5 * (len(self._far) + 2) * log_bound
        return values._replace(scale=scale, log_jacobian=log_jacobian)

    def _sheared(self, values: ScaleValues, by: np.ndarray) -> ScaleValues:
        """Intercepts where predictors are lower by so much, given those where they are."""
        root = correlation_root(self._design, values.partial)
        shear = np.einsum("k,ks,kjs->js", by, values.scale, root)
        row = values.scale[0] * root[0] - shear
        scale, partial, log_gap = values.scale.copy(), values.partial.copy(), values.log_gap.copy()
        before = _log_volume(scale[0], log_gap[self._of_intercept])
        scale[0] = np.where(scale[0] < 0, -1.0, 1.0) * np.sqrt(np.square(row).sum(0))
        for k in self._of_intercept:
            j = self._pairs[k][1]
            angle = row[j] / np.sqrt(np.square(row[:j]).sum(0)) * np.sign(scale[0])
            partial[k] = angle / np.hypot(1.0, angle)
            log_gap[k] = -np.log1p(np.square(angle))
        after = _log_volume(scale[0], log_gap[self._of_intercept])
        log_jacobian = values.log_jacobian + before - after
        return ScaleValues(scale, values.eps, partial, log_gap, log_jacobian)

    def mirrored(self, signs: np.ndarray) -> np.ndarray:
        """Signs (D,) of all coordinates where those of the standard deviations change.

        The density is the same at :math:`d_i s_i` and :math:`d_i d_j t_{ij}` for all signs d.
        """
        own = signs[: self._num_scales]
        pairs = [own[i] * own[j] for i, j in self._pairs]
        return np.concatenate([signs[: self._num_sds], pairs])

    def _from_sinh(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._bend * np.sinh(t), (np.log(self._bend) + _log_cosh(t)).sum(0)

    def _from_ratios(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ratio = BEND * np.sinh(t[:-1])
        with np.errstate(over="ignore"):
            log_eps = t[-1] - 0.5 * np.log1p(np.square(ratio).sum(0))
        v = np.concatenate([ratio * np.exp(log_eps) / self._rms[:, None], np.exp(log_eps)[None]])
        log_jacobian = (np.log(BEND) + _log_cosh(t[:-1]) - np.log(self._rms)[:, None]).sum(0)
        return v, log_jacobian + len(t) * log_eps


def scale_families(design: Design, priors: Priors, num_scales: int) -> list:
    """Priors of the standard deviations one by one, that of eps last, if it is not known.

    Parameters
    ----------
    design
        Which columns vary.
    priors
        Of the fit.
    num_scales
        How many standard deviations the model has: P, or 0 if its rows are pooled.
    """
    families = []
    if num_scales:
        families += [priors.sigma_alpha.component(0)] if design.intercept_varies else []
        families += [priors.sigma_beta.component(k) for k in range(len(design.slopes))]
    return families if design.known_errors else [*families, priors.eps.component(0)]


def pairs_of(equations: NormalEquations) -> tuple[tuple[int, int], ...]:
    """Positions of the coefficients that correlate, L pairs; none where the rows are pooled."""
    return equations.design.pairs if equations.size else ()


def _plug_in(equations: NormalEquations) -> tuple[float, float, bool]:
    """Residual and total standard deviation; is the former seen?"""
    rows = float(equations.num_rows)
    mean_square, of_fit = equations.rss / rows, np.square(equations.basis @ equations.fit).sum()
    # Where the pooled fit is exact there is no unit but the size of the outcomes.
    exact = mean_square <= ROUNDING * of_fit
    total = float(np.sqrt(of_fit if exact else mean_square)) or 1.0
    if equations.design.known_errors:
        return 1.0, total, True
    # Rows of zeros are no degrees of freedom lost.
    used = np.einsum("ppc->pc", equations.root) != 0
    lost = (used * equations.repeats).sum() + (np.diagonal(equations.pooled_root) != 0).sum()
    freedom = rows - lost
    seen = freedom >= max(1.0, HARDLY * rows) and equations.remainder > 0
    residual = float(np.sqrt(equations.remainder / freedom)) if seen else total
    return residual, total, seen


def predictors_are_far(equations: NormalEquations) -> bool:
    """Whether slopes of a predictor far from zero correlate with the intercept.

    Parameters
    ----------
    equations
        The data.
    """
    rms, means = _rms(equations), _means(equations)
    far = np.abs(means) * rms[:1] > FAR_MEAN * np.sqrt(_variance(rms, means))
    return bool(far.any())


def _means(equations: NormalEquations) -> np.ndarray:
    """Means of the columns whose slopes correlate with the intercept, shape (P,); else 0."""
    means = np.zeros(equations.size)
    with_intercept = [j for i, j in pairs_of(equations) if i == 0]
    if with_intercept and equations.design.intercept_varies:
        first = equations.root[0] * equations.repeats
        total = first @ equations.root[0, 0]
        means[with_intercept] = (total / total[0])[with_intercept]
    return means


def _rms(equations: NormalEquations) -> np.ndarray:
    """Root mean squares of the columns that vary, shape (P,)."""
    rows = float(equations.num_rows)
    squares = np.einsum("c,rpc->p", equations.repeats, np.square(equations.root))
    return np.sqrt(np.where(squares > 0, squares, rows) / rows)


def _variance(rms: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Mean squares of columns about their means; with weights that of the constant is not 1."""
    return np.maximum(np.square(rms) - np.square(means * rms[:1]), ROUNDING * np.square(rms))


def _log_volume(scale: np.ndarray, log_gap: np.ndarray) -> np.ndarray:
    """Log derivative of a row of the root of a covariance, in its scale and partial correlations.

    The row is the scale times a point of the unit sphere, whose angles have the sines z.
    """
    powers = (np.arange(len(log_gap)) - 1.0) / 2.0
    return len(log_gap) * np.log(np.abs(scale)) + powers @ log_gap


def _log_cosh(t: np.ndarray) -> np.ndarray:
    size = np.abs(t)
    return size + np.log1p(np.exp(-2.0 * size)) - np.log(2.0)
