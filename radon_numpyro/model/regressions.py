r"""The regressions as plain NumPyro model functions, independent of any inference method.

Each takes rows (:class:`~radon_numpyro.data.grouped_data.GroupedData`) or sufficient statistics
(:class:`~radon_numpyro.statistics.group_statistics.GroupStatistics`) and has the same log density
on both, so NumPyro's ``SVI``, ``MCMC`` and ``Predictive`` work with either. If the ``y`` of the
rows is None, the outcome is sampled.

============================  =================  ==========================================
symbol                        site               shape and unit
============================  =================  ==========================================
:math:`\mu_\alpha`            ``mu_alpha``       (), unit of y
:math:`\sigma_\alpha`         ``sigma_alpha``    (), unit of y
:math:`\mu_\beta`             ``mu_beta``        (K,), unit of y per unit of x
:math:`\sigma_\beta`          ``sigma_beta``     (K,), unit of y per unit of x
:math:`\alpha_c`              ``alpha``          (C,), or () when pooled; unit of y
:math:`\beta_c`               ``beta``           (C, K), or (K,) when pooled
:math:`\gamma`                ``gamma``          (F,), unit of y per unit of the column
:math:`R`                     ``correlation``    (P, P), no unit; derived from
                              ``partial_correlation`` (L,)
:math:`\epsilon`              ``eps``            (), or (C,) when individual; unit of y; with
                              weights, for a row of weight 1
:math:`y_i`                   ``y``              (N,) rows, or one factor on statistics
============================  =================  ==========================================

C is the number of groups. K slopes vary by group; with the intercept these are P coefficients, of
which L pairs correlate (``model/correlations.py``). F columns have one coefficient for all groups.
The design of the data (:class:`~radon_numpyro.data.design.Design`) lists all of them. A quantity
that the design does not have gets no site: a column that varies by group about 0 has no
``mu_alpha`` or entry of ``mu_beta``. A row with precision weight w has the residual standard
deviation :math:`\epsilon / \sqrt w`. If the standard errors of the rows are known, there is no
``eps``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro import distributions as dist

from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.pytrees import namespace
from radon_numpyro.model.correlations import beta_parameters, correlation_of, correlation_root
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

Data = GroupedData | GroupStatistics
ModelFunction = Callable[..., None]


def hierarchical(data: Data, priors: Priors | None = None) -> None:
    r"""Varying intercepts and slopes that share a population (partial pooling).

    .. math:: y_i \sim N(\alpha_{c(i)} + x_i\beta_{c(i)} + v_i\gamma, \epsilon),\quad
              \alpha_c \sim N(\mu_\alpha, \sigma_\alpha),\quad
              \beta_{ck} \sim N(\mu_{\beta k}, \sigma_{\beta k})

    where the coefficients of a group are independent given the scales. In a block of correlated
    coefficients, the deviations from the means are multivariate Normal with correlation matrix R.

    Parameters
    ----------
    data
        Rows or statistics.
    priors
        Default: those of the tutorial.
    """
    priors = Priors.tutorial() if priors is None else priors
    design = data.labels.design
    mu_alpha = 0.0
    means = alpha = beta = off = None
    if design.has_mean_intercept:
        mu_alpha = numpyro.sample("mu_alpha", priors.mu_alpha.distribution())
    if design.intercept_varies:
        sigma_alpha = numpyro.sample("sigma_alpha", priors.sigma_alpha.distribution())
    if design.means and design.means != design.slopes:
        with numpyro.plate("mean_slope", len(design.means)):
            means = numpyro.sample("mu_beta", priors.mu_beta.distribution())
    if design.slopes:
        with numpyro.plate("predictor", len(design.slopes)):
            if design.means == design.slopes:
                means = numpyro.sample("mu_beta", priors.mu_beta.distribution())
            sigma_beta = numpyro.sample("sigma_beta", priors.sigma_beta.distribution())
    root = _correlation(design, priors)
    with numpyro.plate("group", data.num_groups):
        if design.intercept_varies:
            alpha = numpyro.sample("alpha", dist.Normal(mu_alpha, sigma_alpha))
            off = (alpha - mu_alpha) / sigma_alpha
        if design.slopes:
            slopes = dist.Normal(of_slopes(design, means), sigma_beta).to_event(1)
            if root is not None:
                slopes = _correlated(of_slopes(design, means), sigma_beta, root, off)
            beta = numpyro.sample("beta", slopes)
    gamma = _fixed(data, priors)
    _outcome(data, alpha, beta, gamma, residual_sd(design, priors))


def individual(data: Data, priors: Priors | None = None) -> None:
    r"""A separate regression for each group (no pooling).

    .. math:: y_i \sim N(\alpha_{c(i)} + x_i\beta_{c(i)}, \epsilon_{c(i)})

    Parameters
    ----------
    data
        Rows or statistics.
    priors
        Default: those of the tutorial.
    """
    priors = Priors.tutorial() if priors is None else priors
    data.labels.design.require_all_varying()
    with numpyro.plate("group", data.num_groups):
        alpha = numpyro.sample("alpha", priors.alpha.distribution())
        beta = _slopes(data, priors)
        eps = residual_sd(data.labels.design, priors)
    _outcome(data, alpha, beta, None, eps)


def pooled(data: Data, priors: Priors | None = None) -> None:
    r"""One regression for all rows, regardless of their groups (complete pooling).

    .. math:: y_i \sim N(\alpha + x_i\beta + v_i\gamma, \epsilon)

    A column that varies by group about 0 in the hierarchical model is left out of this one.

    Parameters
    ----------
    data
        Rows or statistics.
    priors
        Default: those of the tutorial.
    """
    priors = Priors.tutorial() if priors is None else priors
    design = data.labels.design
    alpha = beta = None
    if design.has_mean_intercept:
        alpha = numpyro.sample("alpha", priors.alpha.distribution())
    if design.means:
        beta = of_slopes(design, _slopes(data, priors))
    gamma = _fixed(data, priors)
    _outcome(data, alpha, beta, gamma, residual_sd(design, priors))


FUNCTIONS: dict[str, ModelFunction] = {
    "hierarchical": hierarchical,
    "individual": individual,
    "pooled": pooled,
}


def residual_sd(design: Design, priors: Priors) -> Any:
    """Sample site ``eps``, or return 1 if the standard errors of the rows are known.

    Known standard errors are part of the weights, so the remaining factor is 1.

    Parameters
    ----------
    design
        Whether the standard errors are known.
    priors
        Only ``eps`` is used.
    """
    if design.known_errors:
        return jnp.ones(())
    return numpyro.sample("eps", priors.eps.distribution())


def of_slopes(design: Design, means: Any) -> Any:
    """Return the population means of all varying slopes, 0 for slopes that vary about 0.

    Parameters
    ----------
    design
        Which columns vary by group.
    means
        Means of the slopes that have one, shape (..., M), in NumPy or JAX; None if none has.

    Returns
    -------
    array
        Shape (..., K).
    """
    if design.means == design.slopes:
        return means
    if not design.means:
        return np.zeros(len(design.slopes))
    xp, zero = namespace(means), 0.0 * means[..., 0]
    of = {name: means[..., k] for k, name in enumerate(design.means)}
    return xp.stack([of.get(name, zero) for name in design.slopes], axis=-1)


def partial_correlations(design: Design, priors: Priors) -> Any:
    """Return the prior of the partial correlations that gives R an LKJ distribution.

    Parameters
    ----------
    design
        Which coefficients correlate.
    priors
        Only ``correlation`` is used.
    """
    b = jnp.asarray(beta_parameters(design, priors.correlation.concentration))
    unit = dist.constraints.unit_interval
    to_interval = dist.transforms.AffineTransform(-1.0, 2.0, domain=unit)
    return dist.TransformedDistribution(dist.Beta(b, b), to_interval).to_event(1)


def _correlation(design: Design, priors: Priors) -> Any:
    """Sample R, add site ``correlation`` and return the lower Cholesky factor (P, P), or None."""
    if not design.pairs:
        return None
    partial = numpyro.sample("partial_correlation", partial_correlations(design, priors))
    correlation = correlation_of(correlation_root(design, partial))
    numpyro.deterministic("correlation", correlation)
    return jnp.linalg.cholesky(correlation)


def _correlated(means: Any, scale: Any, root: Any, intercept: Any) -> Any:
    """Return the distribution of slopes given the standardised intercepts of groups, (C,)."""
    if intercept is not None:
        means = means + scale * root[1:, 0] * intercept[:, None]
        root = root[1:, 1:]
    return dist.MultivariateNormal(means, scale_tril=scale[:, None] * root)


def _slopes(data: Data, priors: Priors) -> Any:
    num_slopes = len(data.labels.design.means)
    if not num_slopes:
        return None
    prior = priors.beta.distribution()
    return numpyro.sample("beta", prior.expand((num_slopes,)).to_event(1))


def _fixed(data: Data, priors: Priors) -> Any:
    """Sample site ``gamma``: the coefficients of the columns that do not vary by group."""
    num_fixed = len(data.labels.design.fixed)
    if not num_fixed:
        return None
    if priors.gamma is None:
        raise ValueError("Expected priors to have gamma, for columns that do not vary; got None")
    prior = priors.gamma.distribution()
    return numpyro.sample("gamma", prior.expand((num_fixed,)).to_event(1))


def _outcome(data: Data, alpha: Any, beta: Any, gamma: Any, eps: Any) -> None:
    """Add site ``y``: the rows or, for statistics, one factor with the same log density."""
    design = data.labels.design
    alpha = 0.0 if alpha is None else alpha
    beta = jnp.zeros(0) if beta is None else beta
    if gamma is not None and INTERCEPT in design.fixed:
        alpha, gamma = gamma[0], gamma[1:]
    if isinstance(data, GroupStatistics):
        if gamma is None:
            squares = data.sum_of_squares(alpha, beta)
        else:
            squares = _sum_of_squares(data, alpha, beta, gamma)
        # Summed by group, because eps has shape () or (C,).
        rows = data.count * (jnp.log(eps) + 0.5 * jnp.log(2.0 * jnp.pi))
        log_density = (-0.5 / eps**2 * squares).sum() - rows.sum()
        if data.log_weight is not None:
            log_density = log_density + 0.5 * data.log_weight.sum()
        numpyro.factor("y", log_density)
        return

    def of_row(value: Any, event_dim: int) -> Any:
        return value[data.group] if jnp.ndim(value) > event_dim else value

    with numpyro.plate("row", data.group.shape[0]):
        num_slopes = jnp.shape(beta)[-1]
        mean = of_row(alpha, 0) + (data.x[:, :num_slopes] * of_row(beta, 1)).sum(-1)
        if gamma is not None:
            mean = mean + data.x[:, num_slopes:] @ gamma
        sd, weight = of_row(eps, 0), data.precision
        sd = sd if weight is None else sd / jnp.sqrt(weight)
        numpyro.sample("y", dist.Normal(mean, sd), obs=data.y)


def _sum_of_squares(data: GroupStatistics, alpha: Any, beta: Any, gamma: Any) -> Any:
    """Compute the residual sum of squares of all rows.

    The products of fixed columns are summed over groups first, so that many fixed columns do not
    need one matrix for each group in every step.
    """
    k = jnp.shape(beta)[-1]
    slopes = jnp.broadcast_to(beta, (data.num_groups, k))
    centre = data.mean_y - alpha - (data.mean_x[:, :k] * slopes).sum(-1)
    centre = centre - data.mean_x[:, k:] @ gamma
    own = (data.sxx[:, :k, :k] * slopes[:, :, None] * slopes[:, None, :]).sum()
    own = own - 2.0 * (data.sxy[:, :k] * slopes).sum()
    both = jnp.einsum("ck,ckf->f", slopes, data.sxx[:, :k, k:]) - data.sxy[:, k:].sum(0)
    within = jnp.sum(data.syy) + own + 2.0 * both @ gamma
    return (
        (data.total_weight * centre**2).sum() + within + gamma @ data.sxx[:, k:, k:].sum(0) @ gamma
    )
