r"""The regressions, as plain NumPyro model functions that know nothing of inference.

Each takes rows (:class:`~radon_numpyro.data.grouped_data.GroupedData`) or sufficient statistics
(:class:`~radon_numpyro.statistics.group_statistics.GroupStatistics`) and has the same log density
on both, so NumPyro's own ``SVI``, ``MCMC`` and ``Predictive`` run on them. With rows whose ``y`` is
None the outcome is sampled.

============================  =================  ==========================================
symbol                        site               shape and unit
============================  =================  ==========================================
:math:`\mu_\alpha`            ``mu_alpha``       (), unit of y
:math:`\sigma_\alpha`         ``sigma_alpha``    (), unit of y
:math:`\mu_\beta`             ``mu_beta``        (K,), unit of y per unit of x
:math:`\sigma_\beta`          ``sigma_beta``     (K,), unit of y per unit of x
:math:`\alpha_c`              ``alpha``          (C,), or () when pooled; unit of y
:math:`\beta_c`               ``beta``           (C, K), or (K,) when pooled
:math:`\epsilon`              ``eps``            (), or (C,) when individual; unit of y
:math:`y_i`                   ``y``              (N,) rows, or one factor on statistics
============================  =================  ==========================================

With no predictor (K = 0) the sites of the slopes are absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

Data = GroupedData | GroupStatistics
ModelFunction = Callable[..., None]


def hierarchical(data: Data, priors: Priors | None = None) -> None:
    r"""Varying intercepts and slopes that share a population (partial pooling).

    .. math:: y_i \sim N(\alpha_{c(i)} + x_i\beta_{c(i)}, \epsilon),\quad
              \alpha_c \sim N(\mu_\alpha, \sigma_\alpha),\quad
              \beta_{ck} \sim N(\mu_{\beta k}, \sigma_{\beta k})

    Parameters
    ----------
    data
        Rows or statistics.
    priors
        Default: those of the tutorial.
    """
    priors = Priors.tutorial() if priors is None else priors
    num_predictors = data.num_predictors
    mu_alpha = numpyro.sample("mu_alpha", priors.mu_alpha.distribution())
    sigma_alpha = numpyro.sample("sigma_alpha", priors.sigma_alpha.distribution())
    if num_predictors:
        with numpyro.plate("predictor", num_predictors):
            mu_beta = numpyro.sample("mu_beta", priors.mu_beta.distribution())
            sigma_beta = numpyro.sample("sigma_beta", priors.sigma_beta.distribution())
    with numpyro.plate("group", data.num_groups):
        alpha = numpyro.sample("alpha", dist.Normal(mu_alpha, sigma_alpha))
        beta = None
        if num_predictors:
            beta = numpyro.sample("beta", dist.Normal(mu_beta, sigma_beta).to_event(1))
    eps = numpyro.sample("eps", priors.eps.distribution())
    _outcome(data, alpha, beta, eps)


def individual(data: Data, priors: Priors | None = None) -> None:
    r"""A regression for each group on its own (no pooling).

    .. math:: y_i \sim N(\alpha_{c(i)} + x_i\beta_{c(i)}, \epsilon_{c(i)})

    Parameters
    ----------
    data
        Rows or statistics.
    priors
        Default: those of the tutorial.
    """
    priors = Priors.tutorial() if priors is None else priors
    with numpyro.plate("group", data.num_groups):
        alpha = numpyro.sample("alpha", priors.alpha.distribution())
        beta = _slopes(data, priors)
        eps = numpyro.sample("eps", priors.eps.distribution())
    _outcome(data, alpha, beta, eps)


def pooled(data: Data, priors: Priors | None = None) -> None:
    r"""One regression for all rows, whatever their group (complete pooling).

    .. math:: y_i \sim N(\alpha + x_i\beta, \epsilon)

    Parameters
    ----------
    data
        Rows or statistics.
    priors
        Default: those of the tutorial.
    """
    priors = Priors.tutorial() if priors is None else priors
    alpha = numpyro.sample("alpha", priors.alpha.distribution())
    beta = _slopes(data, priors)
    eps = numpyro.sample("eps", priors.eps.distribution())
    _outcome(data, alpha, beta, eps)


FUNCTIONS: dict[str, ModelFunction] = {
    "hierarchical": hierarchical,
    "individual": individual,
    "pooled": pooled,
}


def _slopes(data: Data, priors: Priors) -> Any:
    if not data.num_predictors:
        return None
    prior = priors.beta.distribution()
    return numpyro.sample("beta", prior.expand((data.num_predictors,)).to_event(1))


def _outcome(data: Data, alpha: Any, beta: Any, eps: Any) -> None:
    """Site ``y``: the rows, or one factor with the same log density on statistics."""
    if beta is None:
        beta = jnp.zeros(0)
    if isinstance(data, GroupStatistics):
        precision = 1.0 / eps**2
        # sum, not a product with an (N,) array of ones: eps is (C,) or ().
        log_density = -0.5 * precision * data.sum_of_squares(alpha, beta) - data.count * (
            jnp.log(eps) + 0.5 * jnp.log(2.0 * jnp.pi)
        )
        numpyro.factor("y", log_density.sum())
        return

    def of_row(value: Any, event_dim: int) -> Any:
        return value[data.group] if jnp.ndim(value) > event_dim else value

    with numpyro.plate("row", data.group.shape[0]):
        mean = of_row(alpha, 0) + (data.x * of_row(beta, 1)).sum(-1)
        numpyro.sample("y", dist.Normal(mean, of_row(eps, 0)), obs=data.y)
