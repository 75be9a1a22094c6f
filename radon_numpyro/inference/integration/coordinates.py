r"""Coordinates of the scales in which their posterior is nearly Normal and has no boundary.

A standard deviation is :math:`v = c\sinh t`, which is linear near 0 and exponential in the tail. c
is 0.3 times the residual standard deviation, divided by the root mean square of the column. If the
prior has an upper bound h, as a uniform prior has, the standard deviation is instead
:math:`s = v / \sqrt{1 + (v/h)^2}`, so that the bound is at infinity. A partial correlation is
:math:`z = \tanh t`. Negative t mean negative standard deviations, in which the density is smooth
(``gaussian/conditional.py``).

If intercepts correlate with the slopes of a predictor far from zero, and the data determine the
coefficients of each group well, then the intercepts at zero and the slopes are almost perfectly
correlated. Coordinates about the means describe intercepts at the means :math:`\bar x` of the
predictors instead. Subtracting :math:`\bar x'` times the other rows from the first row of the root
U of the covariance gives the intercepts at zero; this does not change volumes of U. If the prior of
intercepts at zero has an upper bound h, the standard deviations of these slopes are multiplied by
:math:`(1 + \kappa^{-2})^{-1/2}`, where the factor :math:`\kappa` would bring the intercepts at zero
to the bound. If the data hardly determine the coefficients of the groups, the prior dominates, and
it has a simple form for intercepts at zero. Points in both kinds of coordinates are therefore used
if a predictor is far from zero (``scale_posterior.py``).

If there are few residual degrees of freedom within very many groups, the data determine the sum of
the variances much better than its parts. The coordinates are then

.. math:: \lambda = \tfrac12\log\Big(\epsilon^2 + \sum_p v_p^2 r_p^2\Big), \qquad
          v_p r_p / \epsilon = 0.3\sinh t_p

with r the root mean square of each column. If the standard errors of the rows are known,
:math:`\epsilon` is 1 and has no coordinate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radon_numpyro.data.design import Design
from radon_numpyro.data.identification import ROUNDING
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.model.correlations import correlation_root
from radon_numpyro.model.priors import Priors

# Standard deviation, in its unit, at which sinh changes from linear to exponential.
BEND = 0.3
# Largest absolute coordinates: beyond them scales overflow, and 1 - z^2 rounds to 0.
FAR, FAR_CORRELATION = 300.0, 18.0
# Absolute coordinate of a standard deviation that only improper posteriors exceed. It is about the
# logarithm of the standard deviation in its unit.
ENDLESS = 100.0
# Range of the coarse points: logarithm of the largest standard deviation in its unit, log distance
# of eps from its estimate in both directions, and largest coordinate of a partial correlation.
REACH, RESIDUAL_REACH, CORRELATION_REACH = 3.5, 1.0, 1.0
# Residual degrees of freedom within groups, as a share of the rows, that suffice to estimate eps.
HARDLY = 0.1
# Rows, less population coefficients, that suffice to determine the sum of the variances.
ENOUGH_ROWS = 20
# A predictor is far from zero if its mean exceeds this multiple of its standard deviation.
FAR_MEAN = 3.0


class ScaleValues(NamedTuple):
    r"""Scales at S points.

    Attributes
    ----------
    scale
        Standard deviations, which may be negative, of the columns that vary, shape (P, S).
    eps
        Residual standard deviation, shape (S,).
    partial
        Partial correlations, shape (L, S).
    log_gap
        :math:`\log(1 - z^2)` of the partial correlations z, shape (L, S).
    log_jacobian
        Log determinant of the derivatives of the scales with respect to the coordinates, (S,).
    """

    scale: np.ndarray
    eps: np.ndarray
    partial: np.ndarray
    log_gap: np.ndarray
    log_jacobian: np.ndarray


class Coordinates:
    """D coordinates: P of standard deviations, one of eps unless known, and L of correlations.

    Parameters
    ----------
    equations
        The data, which determine the units.
    priors
        The priors, which determine bounds and largest plausible values of the scales.
    about_means
        Whether the coordinates describe intercepts at the means of the predictors whose slopes
        correlate with them, not at zero.

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
        # Number of coordinates of standard deviations, which come before those of correlations.
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
        # Known standard errors may be tiny, so that the unit gets a lower limit.
        seen_unit = max(residual, ROUNDING * total)
        units = np.append(seen_unit / rms, residual)[: self._num_sds]
        # If the scatter within groups is tiny, coarse points extend to the total scatter.
        self._reach = max(np.exp(REACH), total / seen_unit)
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
        """Compute the scales at points, shape (S, D)."""
        t = np.clip(points[:, : self._num_sds].T, -FAR, FAR)
        v, log_jacobian = self._from_ratios(t) if self._by_ratio else self._from_sinh(t)
        with np.errstate(over="ignore"):
            log_bound = np.log1p(np.square(v / self._upper))
            # Rounding could exceed the bound.
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
        """Compute the points (S, D) of positive scales, as the inverse of :meth:`values`.

        Points are NaN if these coordinates cannot represent the scales. Coordinates about the means
        represent only standard deviations of intercepts at the means below the bound of the prior.
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
            # The inverse of tanh, computed from the gap because z may round to 1.
            angle = np.log1p(np.abs(values.partial)) - 0.5 * values.log_gap
        return np.concatenate([t, np.sign(values.partial) * angle]).T

    def endless(self, points: np.ndarray) -> np.ndarray:
        """Return which points only an improper posterior reaches, shape (S,)."""
        return (np.abs(points[:, : self._num_sds]) > ENDLESS).any(1)

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Return which points have scales that neither overflow nor underflow, shape (S,)."""
        limit = np.full(self.size, FAR)
        limit[self._num_sds :] = FAR_CORRELATION
        return (np.abs(points) < limit).all(1)

    def coarse(self, uniforms: np.ndarray) -> np.ndarray:
        """Map uniform numbers (S, D) to points that cover the plausible range of the scales."""
        last = self._num_scales
        points = CORRELATION_REACH * (2.0 * uniforms - 1.0)
        points[:, :last] = uniforms[:, :last] * np.arcsinh(self._reach / BEND)
        if self._known_errors:
            return points
        around = RESIDUAL_REACH * (2.0 * uniforms[:, last] - 1.0)
        if self._by_ratio:
            points[:, last] = np.log(self._total) + around
        else:
            points[:, last] = np.arcsinh(self._residual / self._bend[-1] * np.exp(around))
        return points

    def _bound_ratio(self, values: ScaleValues) -> np.ndarray:
        r"""Return :math:`1/\kappa` for the factor of far slopes that reaches the bound, shape (S,).

        Let a be the first row of the root U about the means, and c the means times the other rows.
        The factor solves :math:`|a - \kappa c| = h`, with h the bound of the standard deviation of
        intercepts at zero.
        """
        root = correlation_root(self._design, values.partial)
        own = values.scale[0] * root[0]
        shear = np.einsum("k,ks,kjs->js", self._means, values.scale, root)
        left = np.square(self._upper[0]) - np.square(values.scale[0])
        both = (own * shear).sum(0)
        return (np.sqrt(np.square(both) + np.square(shear).sum(0) * left) - both) / left

    def _within_bound(self, values: ScaleValues) -> ScaleValues:
        """Shrink the sds of far slopes to keep intercepts at zero within the bound of the prior."""
        if np.isinf(self._upper[0]):
            return values
        with np.errstate(all="ignore"):
            log_bound = np.nan_to_num(np.log1p(np.square(self._bound_ratio(values))), nan=np.inf)
        scale = values.scale.copy()
        scale[self._far] *= np.exp(-0.5 * log_bound)
        log_jacobian = values.log_jacobian - 0.5 * (len(self._far) + 2) * log_bound
        return values._replace(scale=scale, log_jacobian=log_jacobian)

    def _sheared(self, values: ScaleValues, by: np.ndarray) -> ScaleValues:
        """Move the point at which intercepts are defined to predictors that are lower by ``by``."""
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
        """Return signs (D,) of all coordinates, given signs (D,) of the standard deviations.

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
    """List the priors of the single standard deviations, with that of eps last unless it is known.

    Parameters
    ----------
    design
        The columns of the model.
    priors
        The priors of the fit.
    num_scales
        Number of standard deviations of coefficients: P, or 0 in the pooled model.
    """
    families = []
    if num_scales:
        families += [priors.sigma_alpha.component(0)] if design.intercept_varies else []
        families += [priors.sigma_beta.component(k) for k in range(len(design.slopes))]
    return families if design.known_errors else [*families, priors.eps.component(0)]


def pairs_of(equations: NormalEquations) -> tuple[tuple[int, int], ...]:
    """Return the L pairs of positions of coefficients that correlate; none in the pooled model."""
    return equations.design.pairs if equations.size else ()


def _plug_in(equations: NormalEquations) -> tuple[float, float, bool]:
    """Estimate the residual and the total standard deviation; return whether rows inform eps."""
    rows = float(equations.num_rows)
    mean_square, of_fit = equations.rss / rows, np.square(equations.basis @ equations.fit).sum()
    # If the pooled fit is exact, the only available unit is the size of the outcomes.
    exact = mean_square <= ROUNDING * of_fit
    total = float(np.sqrt(of_fit if exact else mean_square)) or 1.0
    if equations.design.known_errors:
        return 1.0, total, True
    # Rows of zeros in the triangles do not use degrees of freedom.
    used = np.einsum("ppc->pc", equations.root) != 0
    lost = (used * equations.repeats).sum() + (np.diagonal(equations.pooled_root) != 0).sum()
    freedom = rows - lost
    seen = freedom >= max(1.0, HARDLY * rows) and equations.remainder > 0
    residual = float(np.sqrt(equations.remainder / freedom)) if seen else total
    return residual, total, seen


def predictors_are_far(equations: NormalEquations) -> bool:
    """Return whether slopes of a predictor far from zero correlate with the intercept.

    Parameters
    ----------
    equations
        The data.
    """
    rms, means = _rms(equations), _means(equations)
    far = np.abs(means) * rms[:1] > FAR_MEAN * np.sqrt(_variance(rms, means))
    return bool(far.any())


def _means(equations: NormalEquations) -> np.ndarray:
    """Return means of the columns whose slopes correlate with the intercept, 0 of others, (P,)."""
    means = np.zeros(equations.size)
    with_intercept = [j for i, j in pairs_of(equations) if i == 0]
    if with_intercept and equations.design.intercept_varies:
        first = equations.root[0] * equations.repeats
        total = first @ equations.root[0, 0]
        means[with_intercept] = (total / total[0])[with_intercept]
    return means


def _rms(equations: NormalEquations) -> np.ndarray:
    """Compute the root mean squares of the columns that vary, shape (P,); 1 for a column of 0."""
    rows = float(equations.num_rows)
    squares = np.einsum("c,rpc->p", equations.repeats, np.square(equations.root))
    return np.sqrt(np.where(squares > 0, squares, rows) / rows)


def _variance(rms: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Compute mean squares of columns about their means, (P,).

    The means are multiplied by the root mean square of the constant, which is not 1 with weights.
    """
    return np.maximum(np.square(rms) - np.square(means * rms[:1]), ROUNDING * np.square(rms))


def _log_volume(scale: np.ndarray, log_gap: np.ndarray) -> np.ndarray:
    """Compute the log Jacobian of a row of U with respect to its scale and partial correlations.

    The row is the scale times a point on the unit sphere; z are the sines of its angles.
    """
    powers = (np.arange(len(log_gap)) - 1.0) / 2.0
    return len(log_gap) * np.log(np.abs(scale)) + powers @ log_gap


def _log_cosh(t: np.ndarray) -> np.ndarray:
    size = np.abs(t)
    return size + np.log1p(np.exp(-2.0 * size)) - np.log(2.0)
