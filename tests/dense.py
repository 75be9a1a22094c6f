"""Compute the joint Gaussian of all coefficients and rows given the scales, as dense matrices."""

import numpy as np
from scipy import stats
from scipy.linalg import block_diag

from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.gaussian.marginal import gradient, marginal
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import population_prior
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import HalfNormal, Normal, Priors, Uniform
from radon_numpyro.statistics.group_statistics import GroupStatistics

HIERARCHICAL = Model.named("hierarchical")


def make_priors(num_predictors):
    """Make priors with non-zero means and a different scale for each slope."""
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
    """Return the constant and the predictors of each row, shape (N, 1 + J)."""
    return np.column_stack([np.ones(data.num_rows), data.x])


def columns_of(data, names):
    """Return columns of the rows by name, shape (N, number of names)."""
    position = {INTERCEPT: 0} | {n: 1 + j for j, n in enumerate(data.labels.predictors)}
    return design_of(data)[:, [position[name] for name in names]]


def log_density(equations, scale, eps, priors, root=None):
    """Return the log density of the scales, which the tests compare with `Dense`, by NumPy."""
    prior = population_prior(equations, priors, HIERARCHICAL)
    return marginal(equations, scale, eps, prior, root).log_density


def log_density_and_gradient(equations, scale, eps, priors, root=None):
    """Return the log density, and its derivatives in scale, eps and root, by NumPy."""
    prior = population_prior(equations, priors, HIERARCHICAL)
    found = marginal(equations, scale, eps, prior, root)
    return found.log_density, gradient(equations, found, prior)


class Dense:
    """Mean and covariance of (b, theta_1, ..., theta_C) and of y, as dense matrices.

    b has the means of the coefficients that vary by group, and the coefficients that do not vary.
    theta_c has the coefficients of group c that vary, including their means.
    """

    def __init__(self, data, priors, scale, eps, correlation=None):
        design, num_groups = data.labels.design, data.num_groups
        self.varying = design.varying
        means = [n for n in design.varying if n in design.population]
        loc, sd = [], []
        for prior, size in (
            (priors.mu_alpha, int(design.has_mean_intercept)),
            (priors.mu_beta, len(design.means)),
            (priors.gamma, len(design.fixed)),
        ):
            if size:
                loc += [prior.loc * np.ones(size)]
                sd += [prior.scale * np.ones(size)]
        loc, sd = np.concatenate(loc), np.concatenate(sd)
        size, num_columns = len(design.varying), len(loc)
        own_mean = np.zeros((size, num_columns))
        for q, name in enumerate(means):
            own_mean[design.varying.index(name), q] = 1.0
        copies = np.vstack([np.eye(num_columns), *[own_mean] * num_groups])
        scale = np.asarray(scale, dtype=float)
        correlation = np.eye(size) if correlation is None else correlation
        covariance = scale[:, None] * correlation * scale
        within = [np.zeros((num_columns,) * 2)] + [covariance] * num_groups
        self.mean = copies @ loc
        self.cov = copies @ np.diag(sd**2) @ copies.T + block_diag(*within)
        own = np.zeros((data.num_rows, num_groups, size))
        own[np.arange(data.num_rows), data.group] = columns_of(data, design.varying)
        same = np.zeros((data.num_rows, num_columns))
        same[:, len(means) :] = columns_of(data, design.fixed)
        self.rows = np.hstack([same, own.reshape(data.num_rows, -1)])
        self.y_mean = self.rows @ self.mean
        # The variance of a row is eps**2 / weight, or the square of its known standard error.
        weight = np.ones(data.num_rows) if data.weights is None else data.weights
        noise = eps**2 / weight if data.se is None else data.se**2
        self.y_cov = self.rows @ self.cov @ self.rows.T + np.diag(noise)

    def log_density(self, y):
        return stats.multivariate_normal(self.y_mean, self.y_cov).logpdf(y)

    def given(self, y):
        """Return mean and covariance of the coefficients given y."""
        gain = np.linalg.solve(self.y_cov, self.rows @ self.cov).T
        return self.mean + gain @ (y - self.y_mean), self.cov - gain @ self.rows @ self.cov
