"""The Gaussian of all coefficients and rows given the scales, written out densely."""

import numpy as np
from scipy import stats
from scipy.linalg import block_diag

from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.model.priors import HalfNormal, Normal, Priors, Uniform
from radon_numpyro.statistics.group_statistics import GroupStatistics


def make_priors(num_predictors):
    """Means that are not zero, and scales of their own for each slope."""
    unit = 1.0 + np.arange(num_predictors)
    return Priors(
        mu_alpha=Normal(4.0, 6.0),
        mu_beta=Normal(0.5 * unit, 2 / unit),
        sigma_alpha=HalfNormal(1.5),
        sigma_beta=Uniform(2.0 * unit),
        alpha=Normal(7.0, 5.0),
        beta=Normal(-0.3 * unit, 0.8 * unit),
        eps=HalfNormal(2.0),
    )


def equations_of(data):
    return NormalEquations.from_statistics(GroupStatistics.from_data(data))


def design_of(data):
    return np.column_stack([np.ones(data.num_rows), data.x])


class Dense:
    """Mean and covariance of (mu, theta_1, ..., theta_C) and of y, as plain matrices."""

    def __init__(self, data, priors, scale, eps):
        size, num_groups = data.num_predictors + 1, data.num_groups
        loc = np.append(priors.mu_alpha.loc, priors.mu_beta.loc * np.ones(size - 1))
        sd = np.append(priors.mu_alpha.scale, priors.mu_beta.scale * np.ones(size - 1))
        copies = np.tile(np.eye(size), (num_groups + 1, 1))
        within = [np.zeros((size, size))] + [np.diag(scale**2)] * num_groups
        self.mean = copies @ loc
        self.cov = copies @ np.diag(sd**2) @ copies.T + block_diag(*within)
        self.rows = np.zeros((data.num_rows, num_groups + 1, size))
        self.rows[np.arange(data.num_rows), data.group + 1] = design_of(data)
        self.rows = self.rows.reshape(data.num_rows, -1)
        self.y_mean = self.rows @ self.mean
        self.y_cov = self.rows @ self.cov @ self.rows.T + eps**2 * np.eye(data.num_rows)

    def log_density(self, y):
        return stats.multivariate_normal(self.y_mean, self.y_cov).logpdf(y)

    def given(self, y):
        """Mean and covariance of the coefficients given y."""
        gain = np.linalg.solve(self.y_cov, self.rows @ self.cov).T
        return self.mean + gain @ (y - self.y_mean), self.cov - gain @ self.rows @ self.cov
