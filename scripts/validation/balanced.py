r"""Exact posteriors for data in which every group has the same predictors, by separate algebra.

The rows of group g are :math:`y_g = X(b + u_g) + e_g`, with the same X for all groups. The
least-squares fits :math:`B_g` and the residual sum of squares are sufficient statistics:

.. math:: B_g \mid b \sim N(b, V), \quad V = \Sigma + \epsilon^2(X'X)^{-1}, \qquad
          \sum_g|y_g - XB_g|^2 \sim \epsilon^2\chi^2_{G(n - P)}

b is integrated out over its Normal prior. This module and the package do not use each other.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

# Largest coordinates: asinh of a standard deviation in its unit, and atanh of a correlation.
FAR, FAR_CORRELATION = 14.0, 12.0
# Number of passes that locate the mass, nodes per axis in these passes, by number of axes, and
# difference of log density from the maximum beyond which nodes are ignored.
PASSES, COARSE, DEPTH = 4, {2: 60, 3: 30, 4: 16}, 25.0
# Nodes per axis of the final grid, by number of axes.
FINE = {2: 400, 3: 90, 4: 32}
NEAR_ONE = 1.0 - 1e-15


@dataclass(frozen=True)
class Balanced:
    """Data and priors.

    Attributes
    ----------
    x
        Predictors of the rows of every group, shape (n, P), including the constant.
    fits
        Least-squares fits of the groups, shape (G, P).
    rest
        Residual sum of squares about these fits, summed over groups.
    loc, scale
        Means and standard deviations of the Normal priors of b, shape (P,).
    log_priors
        Log prior densities, as functions, of the P standard deviations of the coefficients, and
        last of eps.
    upper
        Upper bounds of these priors, shape (P + 1,).
    eta
        Concentration of the LKJ prior of correlated coefficients; None if they are independent.
    """

    x: np.ndarray
    fits: np.ndarray
    rest: float
    loc: np.ndarray
    scale: np.ndarray
    log_priors: tuple
    upper: np.ndarray
    eta: float | None = None

    @classmethod
    def of_rows(cls, x, y, **priors):
        """Make the data from the predictors (n, P) and the outcomes (G, n) of all groups."""
        fits = np.linalg.lstsq(x, y.T, rcond=None)[0].T
        return cls(x, fits, float(np.square(y - fits @ x.T).sum()), **priors)

    def log_likelihood(self, sigma, eps):
        """Compute the log likelihood, (S,), at covariances (S, P, P) and residual sds (S,)."""
        groups, size = self.fits.shape
        v = sigma + eps[:, None, None] ** 2 * np.linalg.inv(self.x.T @ self.x)
        mean = self.fits.mean(0)
        off = self.fits - mean
        distance = (np.linalg.inv(v) * (off.T @ off)).sum((1, 2))
        found = -0.5 * (distance + (groups - 1) * np.linalg.slogdet(2.0 * np.pi * v)[1])
        found -= 0.5 * size * np.log(groups)
        # Density of the mean of the fits, with b integrated out over its prior.
        of_mean = np.diag(self.scale**2) + v / groups
        away = mean - self.loc
        found -= 0.5 * np.linalg.slogdet(2.0 * np.pi * of_mean)[1]
        found -= 0.5 * (np.linalg.inv(of_mean) * np.outer(away, away)).sum((1, 2))
        # Density of the residuals, and Jacobian from the rows to the fits and residuals.
        spare = groups * (len(self.x) - size)
        found -= spare * np.log(eps * np.sqrt(2.0 * np.pi)) + 0.5 * self.rest / eps**2
        return found - 0.5 * groups * np.linalg.slogdet(self.x.T @ self.x)[1]

    def log_prior(self, scales):
        """Compute the log prior of scales, (S,); the correlation r is 2 Beta(eta, eta) - 1."""
        parts = zip(self.log_priors, [*scales.sds.T, scales.eps], strict=True)
        found = sum(log_prior(s) for log_prior, s in parts)
        if scales.r is None:
            return found
        normaliser = special.betaln(self.eta, self.eta) + (2.0 * self.eta - 1.0) * np.log(2.0)
        log_gap = np.log1p(-np.square(np.clip(scales.r, -NEAR_ONE, NEAR_ONE)))
        return found + (self.eta - 1.0) * log_gap - normaliser

    @property
    def units(self):
        """Units of the coordinates: standard deviations of the fits, (P,), and the residual sd."""
        spread = self.fits.std(0) if len(self.fits) > 1 else np.abs(self.fits[0])
        eps = np.sqrt(self.rest / (len(self.fits) * (len(self.x) - self.x.shape[1])))
        smallest = eps * np.sqrt(np.diagonal(np.linalg.inv(self.x.T @ self.x)))
        return np.maximum(spread, smallest), eps

    @property
    def unit_at_mean(self):
        """Standard deviation of the fits at the mean of the predictor."""
        return float(np.std(self.fits @ np.array([1.0, self.x[:, 1].mean()])))


def _axis(low, high, count, panels=4):
    """Return Gauss-Legendre nodes and weights on panels of equal length."""
    node, weight = np.polynomial.legendre.leggauss(max(count // panels, 2))
    ends = np.linspace(low, high, panels + 1)
    half = 0.5 * np.diff(ends)[:, None]
    return ((ends[:-1, None] + half) + half * node).ravel(), (half * weight).ravel()


class Scales(NamedTuple):
    """Scales at S points: sds (S, P), correlation (S,) or None, eps (S,), and the log Jacobian."""

    sds: np.ndarray
    r: np.ndarray | None
    eps: np.ndarray
    log_jacobian: np.ndarray

    @property
    def covariance(self):
        sigma = self.sds[:, :, None] * self.sds[:, None, :]
        if self.r is None:
            return sigma * np.eye(self.sds.shape[1])
        sigma[:, 0, 1] *= self.r
        sigma[:, 1, 0] *= self.r
        return sigma


def _log_gap(angle):
    """Compute log(1 - z^2) for z = tanh(angle)."""
    return -2.0 * np.logaddexp(angle, -angle) + 2.0 * np.log(2.0)


def _evenly(data, grid):
    """Return scales at a grid of asinh(sd / unit), atanh of the correlation, and log eps."""
    size, units = data.fits.shape[1], data.units[0]
    sds, eps, r = units * np.sinh(grid[:, :size]), np.exp(grid[:, -1]), None
    log_jacobian = np.log(units * np.cosh(grid[:, :size])).sum(1) + grid[:, -1]
    if data.eta is not None:
        r = np.tanh(grid[:, size])
        log_jacobian += _log_gap(grid[:, size])
    return Scales(sds, r, eps, log_jacobian)


def _about_mean(data, grid):
    r"""Return scales if the mean m of a predictor is far from 0, and intercepts have a bound h.

    The coordinates describe intercepts at m: asinh of their standard deviation v, and atanh of
    their correlation z with the slopes. The root of the covariance at 0 has the first row
    :math:`(v\sqrt{1 - z^2},\ vz - ms)` and the last row (0, s). The coordinate of s is its share of
    the value at which the length of the first row is h.
    """
    mean, unit = data.x[:, 1].mean(), data.unit_at_mean
    v, z = unit * np.sinh(grid[:, 0]), np.tanh(grid[:, 2])
    first = v * np.exp(0.5 * _log_gap(grid[:, 2]))
    with np.errstate(invalid="ignore"):
        most = (v * z + np.sqrt(data.upper[0] ** 2 - first**2)) / mean
    slope = most * grid[:, 1]
    other = v * z - mean * slope
    intercept = np.hypot(first, other)
    log_jacobian = np.log(unit * np.cosh(grid[:, 0])) + _log_gap(grid[:, 2]) + np.log(most)
    log_jacobian += 2.0 * np.log(v / intercept) + grid[:, -1]
    sds = np.stack([intercept, slope], 1)
    return Scales(sds, other / intercept, np.exp(grid[:, -1]), log_jacobian)


def quadrature(data, *, about_mean=False):
    """Compute the log evidence, and mean and sd of the functions of scales in :func:`features`.

    There are one or two coefficients that vary; two are correlated if ``eta`` is given. The
    integrals use a grid of Gauss-Legendre nodes whose edges come from coarser grids.
    """
    units, eps = data.units
    scales = zip(data.upper[:-1], units, strict=True)
    edges = [(0.0, min(float(np.arcsinh(bound / unit)), FAR)) for bound, unit in scales]
    if data.eta is not None:
        edges.append((-FAR_CORRELATION, FAR_CORRELATION))
    if about_mean:
        edges[0] = (0.0, min(float(np.arcsinh(data.upper[0] / data.unit_at_mean)), FAR))
        edges[1] = (0.0, 1.0)
    edges.append((np.log(eps) - 4.0, min(np.log(eps) + 4.0, float(np.log(data.upper[-1])))))
    dims, chart = len(edges), _about_mean if about_mean else _evenly

    def evaluate(count):
        axes = [_axis(low, high, count) for low, high in edges]
        grid = np.stack(np.meshgrid(*(a for a, _ in axes), indexing="ij"), -1).reshape(-1, dims)
        mass = np.prod(np.meshgrid(*(w for _, w in axes), indexing="ij"), axis=0).ravel()
        scales, log_density = chart(data, grid), np.empty(len(grid))
        covariance = scales.covariance
        for first in range(0, len(grid), 200_000):
            some = slice(first, first + 200_000)
            log_density[some] = data.log_likelihood(covariance[some], scales.eps[some])
        log_density += data.log_prior(scales) + scales.log_jacobian
        log_density = np.where(np.isnan(log_density), -np.inf, log_density)
        return [a for a, _ in axes], log_density.reshape([len(a) for a, _ in axes]), mass, scales

    for _ in range(PASSES):
        axes, log_density, _, _ = evaluate(COARSE[dims])
        for d, nodes in enumerate(axes):
            others = tuple(k for k in range(dims) if k != d)
            seen = np.flatnonzero(log_density.max(others) > log_density.max() - DEPTH)
            low = edges[d][0] if seen[0] == 0 else nodes[seen[0] - 1]
            high = edges[d][1] if seen[-1] == len(nodes) - 1 else nodes[seen[-1] + 1]
            edges[d] = (low, high)
    _, log_density, mass, scales = evaluate(FINE[dims])
    evidence = special.logsumexp(log_density.ravel(), b=mass)
    mass = mass * np.exp(log_density.ravel() - evidence)
    return evidence, moments(features(scales.sds, scales.r, scales.eps, units), mass)


def independent_quadrature(data, num_eps=160, num_sd=400):
    """Compute what :func:`quadrature` does for any number of independent, orthogonal columns.

    Given eps, the coefficients are independent, so that the evidence is an integral over eps of a
    product of integrals.
    """
    groups, size = data.fits.shape
    units, eps = data.units
    gram = np.diagonal(data.x.T @ data.x)
    assert np.allclose(data.x.T @ data.x, np.diag(gram))
    width = 8.0 / np.sqrt(groups * (len(data.x) - size))
    log_eps, eps_weight = _axis(np.log(eps) - width, np.log(eps) + width, num_eps)
    eps = np.exp(log_eps)
    spare = groups * (len(data.x) - size)
    log_mass = log_eps + data.log_priors[-1](eps) - spare * np.log(eps * np.sqrt(2.0 * np.pi))
    log_mass -= 0.5 * data.rest / eps**2 + 0.5 * groups * np.log(gram).sum()
    means, squares = [], []
    for p in range(size):
        high = min(float(np.arcsinh(data.upper[p] / units[p])), FAR)
        t, weight = _axis(0.0, high, num_sd, panels=20)
        sd = units[p] * np.sinh(t)
        v = sd**2 + eps[:, None] ** 2 / gram[p]
        fits = data.fits[:, p]
        one = -0.5 * (
            np.square(fits - fits.mean()).sum() / v + (groups - 1) * np.log(2 * np.pi * v)
        )
        of_mean = data.scale[p] ** 2 + v / groups
        one -= 0.5 * np.log(groups) + 0.5 * np.log(2.0 * np.pi * of_mean)
        one -= 0.5 * (fits.mean() - data.loc[p]) ** 2 / of_mean
        one += data.log_priors[p](sd) + np.log(units[p] * np.cosh(t))
        total = special.logsumexp(one, axis=1, b=weight)
        share = weight * np.exp(one - total[:, None])
        means.append(share @ t)
        squares.append(share @ t**2)
        log_mass += total
    evidence = special.logsumexp(log_mass, b=eps_weight)
    mass = eps_weight * np.exp(log_mass - evidence)
    found = {}
    for p in range(size):
        mean = mass @ means[p]
        found[f"sd {p}"] = (mean, np.sqrt(mass @ squares[p] - mean**2))
    mean = mass @ log_eps
    found["eps"] = (mean, np.sqrt(mass @ (log_eps - mean) ** 2))
    return evidence, found


def features(sds, r, eps, units):
    """Return functions of the scales that have stable means, by name, each of shape (S,)."""
    found = {f"sd {p}": np.arcsinh(sds[:, p] / units[p]) for p in range(sds.shape[1])}
    if r is not None:
        found["r"] = np.asarray(r)
    if eps is not None:
        found["eps"] = np.log(eps)
    return found


def moments(values, mass):
    """Compute mean and sd of each function under weights that sum to 1."""
    found = {}
    for name, value in values.items():
        mean = mass @ value
        found[name] = (mean, np.sqrt(mass @ (value - mean) ** 2))
    return found
