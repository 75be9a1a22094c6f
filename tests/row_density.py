"""The joint log density of each model, row by row with SciPy."""

import numpy as np
from scipy import stats

from radon_numpyro.model.priors import HalfNormal, Normal


def log_prior(prior, value):
    """Log density of a prior, summed over the parameters that it is of."""
    if isinstance(prior, Normal):
        return stats.norm.logpdf(value, prior.loc, prior.scale).sum()
    if isinstance(prior, HalfNormal):
        return stats.halfnorm.logpdf(value, scale=prior.scale).sum()
    return stats.uniform.logpdf(value, 0.0, prior.high).sum()


def row_log_density(name, data, priors, values):
    """The formulas of a model of intercepts and slopes that all vary, at a value for each site."""
    has_slopes = "beta" in values
    alpha = values["alpha"]
    beta = values["beta"] if has_slopes else np.zeros((*np.shape(alpha), 0))
    if name == "hierarchical":
        names = ["mu_alpha", "sigma_alpha", "eps"] + ["mu_beta", "sigma_beta"] * has_slopes
        total = stats.norm.logpdf(alpha, values["mu_alpha"], values["sigma_alpha"]).sum()
        if has_slopes:
            total += stats.norm.logpdf(beta, values["mu_beta"], values["sigma_beta"]).sum()
    else:
        names = ["alpha", "eps"] + ["beta"] * has_slopes
        total = 0.0
    total += sum(log_prior(getattr(priors, site), values[site]) for site in names)
    if name != "pooled":
        alpha, beta = alpha[data.group], beta[data.group]
    eps = values["eps"][data.group] if name == "individual" else values["eps"]
    return total + stats.norm.logpdf(data.y, alpha + (data.x * beta).sum(-1), eps).sum()
