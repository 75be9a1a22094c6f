"""Find the mean-field optimum of the hierarchical model without Monte Carlo.

Under a fully factorised Normal guide in the unconstrained space, the evidence lower bound of
the hierarchical model with uniform priors of the scales is a sum of Gaussian moments and of
expectations over one scale at a time, which Gauss-Hermite quadrature computes to machine
precision. L-BFGS maximises the bound, so the optimum of the stochastic optimisation is known.
If predictors are far from zero, intercepts and slopes are strongly correlated; then the bound
has several maxima, and L-BFGS finds one of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from radon_numpyro.gaussian.normal_equations import NormalEquations

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
LOG_2PI = np.log(2 * np.pi)


class Sums(NamedTuple):
    """Sums over the rows of each group about the pooled fit ``offset``; the intercept is first."""

    gram: np.ndarray
    moment: np.ndarray
    rss: np.ndarray
    count: np.ndarray
    offset: np.ndarray


def sums_about_fit(s):
    """Compute Gram matrices, moments and residual sums of squares, with groups as the last axis."""
    equations = NormalEquations.from_statistics(s)
    offset = np.array(equations.to_model(np.zeros(equations.size)))
    design = np.concatenate([np.ones((1, s.num_groups)), s.mean_x.T])
    gram = s.count * design[:, None] * design[None, :]
    gram[1:, 1:] += np.moveaxis(s.sxx, 0, -1)
    moment = s.count * (s.mean_y - offset @ design) * design
    moment[1:] += (s.sxy - s.sxx @ offset[1:]).T
    return Sums(gram, moment, s.sum_of_squares(offset[0], offset[1:]), s.count, offset)


def negative_elbo(guide, gram, moment, rss, count, offset, high, location_sd):
    """Compute the negative evidence lower bound, with coefficients relative to ``offset``."""

    def scale_terms(loc, log_sd):
        u = loc + jnp.exp(log_sd) * NODES
        value = high * jax.nn.sigmoid(u)
        log_value = jnp.log(high) + jax.nn.log_sigmoid(u)
        log_jacobian = log_value + jax.nn.log_sigmoid(-u)
        log_prior = -jnp.log(high) + log_jacobian
        return WEIGHTS @ value**-2.0, WEIGHTS @ log_value, WEIGHTS @ log_prior

    theta, theta_sd = guide["theta"]
    mu, mu_sd = guide["mu"]
    theta_var, mu_var = jnp.exp(2 * theta_sd), jnp.exp(2 * mu_sd)
    num_groups = theta.shape[1]
    residual = (
        rss.sum()
        - 2 * (theta * moment).sum()
        + jnp.einsum("pc,pqc,qc->", theta, gram, theta)
        + jnp.einsum("ppc,pc->", gram, theta_var)
    )
    precision, log_eps, log_prior = scale_terms(*guide["eps"])
    elbo = -0.5 * precision * residual - count.sum() * (log_eps + 0.5 * LOG_2PI) + log_prior
    for p in range(theta.shape[0]):
        precision, log_sigma, log_prior = scale_terms(guide["sigma"][0][p], guide["sigma"][1][p])
        spread = ((theta[p] - mu[p]) ** 2 + theta_var[p] + mu_var[p]).sum()
        elbo += -0.5 * precision * spread - num_groups * (log_sigma + 0.5 * LOG_2PI) + log_prior
        elbo += -0.5 * ((mu[p] + offset[p]) ** 2 + mu_var[p]) / location_sd**2
        elbo += -jnp.log(location_sd) - 0.5 * LOG_2PI
    log_sds = [guide[name][1] for name in ("theta", "mu", "eps", "sigma")]
    entropy = sum(jnp.sum(s) + 0.5 * jnp.size(s) * (1 + LOG_2PI) for s in log_sds)
    return -(elbo + entropy)


def mean_field_optimum(statistics, high=100.0, location_sd=1e4):
    """Return means and sds by site (constrained space) and the optimal bound, as float64."""
    with jax.enable_x64(True):
        sums = sums_about_fit(statistics)
        size, num_groups = sums.moment.shape
        start = {
            "theta": (np.zeros((size, num_groups)), np.full((size, num_groups), -1.0)),
            "mu": (np.zeros(size), np.full(size, -2.0)),
            "sigma": (np.full(size, np.log(0.3 / high)), np.full(size, -2.0)),
            "eps": (np.log(1.0 / high), np.array(-3.0)),
        }
        flat, unravel = ravel_pytree(jax.tree.map(jnp.asarray, start))
        loss = jax.jit(
            jax.value_and_grad(lambda v: negative_elbo(unravel(v), *sums, high, location_sd))
        )
        # Threads of BLAS would wait for each other in thousands of small steps.
        with threadpool_limits(1, user_api="blas"):
            found = minimize(
                lambda v: tuple(np.asarray(r, dtype=float) for r in loss(v)),
                np.asarray(flat),
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": 20_000, "maxfun": 40_000, "ftol": 1e-15, "gtol": 1e-8},
            )
        guide = jax.tree.map(np.asarray, unravel(jnp.asarray(found.x)))

    def scale_moments(loc, log_sd):
        value = high / (1 + np.exp(-(loc + np.exp(log_sd) * NODES)))
        mean = WEIGHTS @ value
        return mean, np.sqrt(WEIGHTS @ (value - mean) ** 2)

    offset, (theta, theta_sd), (mu, mu_sd) = sums.offset, guide["theta"], guide["mu"]
    sigma = np.array([scale_moments(*pair) for pair in zip(*guide["sigma"], strict=True)])
    eps = scale_moments(*guide["eps"])
    return {
        "means": {
            "mu_alpha": mu[0] + offset[0],
            "mu_beta": mu[1:] + offset[1:],
            "sigma_alpha": sigma[0, 0],
            "sigma_beta": sigma[1:, 0],
            "alpha": theta[0] + offset[0],
            "beta": (theta[1:] + offset[1:, None]).T,
            "eps": eps[0],
        },
        "sds": {
            "mu_alpha": np.exp(mu_sd[0]),
            "mu_beta": np.exp(mu_sd[1:]),
            "sigma_alpha": sigma[0, 1],
            "sigma_beta": sigma[1:, 1],
            "alpha": np.exp(theta_sd[0]),
            "beta": np.exp(theta_sd[1:]).T,
            "eps": eps[1],
        },
        "elbo": -found.fun,
        "converged": found.success,
    }
