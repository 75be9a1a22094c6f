r"""Compute the log evidence of models, and Bayes factors.

.. math:: \log p(y) = \log \int p(y \mid \theta)\, p(\theta)\, d\theta

The coefficients are integrated out in closed form and the scales numerically, with a standard error
(``inference/integration/scale_posterior.py``). In the individual model each group has one scale,
and at any :math:`\epsilon` the evidence of a group is :math:`p(y_c \mid \epsilon)\, p(\epsilon) /
p(\epsilon \mid y_c)`, where the denominator is known on a grid (Chib 1995).

The difference of two log evidences is the logarithm of a Bayes factor. Unlike cross-validation
scores, it depends on the priors for any number of rows: if only one model has a coefficient, a
prior of this coefficient that is ten times as wide lowers the log evidence by about log 10.
Therefore Bayes factors are reported only if the fits have the same priors of their common
parameters and no prior is improper.

References
----------
Chib (1995), Marginal likelihood from the Gibbs output, doi:10.1080/01621459.1995.10476635. Kass and
Raftery (1995), Bayes factors, doi:10.1080/01621459.1995.10476572.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from radon_numpyro.comparison.held_out import Score
from radon_numpyro.gaussian.marginal import individual_log_density, marginal
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import individual_prior, population_prior
from radon_numpyro.inference.integration.scale_posterior import integrate_scales
from radon_numpyro.inference.inversion import eps_quadrature
from radon_numpyro.model.coefficient_priors import columns_of_sites
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.results.fit_reader import read_design, read_model, read_priors, read_statistics
from radon_numpyro.results.integration_checks import NODES

WARNING = (
    "A log evidence depends on the priors even if the estimates do not. Before you rely on a "
    "difference, check that it remains with priors twice and half as wide."
)
UNKNOWN = Score(float("nan"), float("nan"))


def evidence_columns(fits: Mapping[str, xr.DataTree], *, seed: int = 0) -> tuple[pd.DataFrame, str]:
    """Tabulate the log evidence and Bayes factors of fits of the same outcome.

    Parameters
    ----------
    fits
        Fits by label.
    seed
        Seed of the nodes.

    Returns
    -------
    table, words
        A table with one row for each fit; a warning, or the reason why there are no Bayes factors.
    """
    scores = {label: log_evidence(tree, seed=seed) for label, tree in fits.items()}
    table = pd.DataFrame(
        {
            "log_evidence": [score.value for score in scores.values()],
            "log_evidence_se": [score.se for score in scores.values()],
        },
        index=list(scores),
    )
    if table["log_evidence"].isna().all():
        return table, ""
    different = without_bayes_factors(fits)
    if different:
        return table, different
    best = table["log_evidence"].idxmax()
    difference = table["log_evidence"] - table.loc[best, "log_evidence"]
    error = np.hypot(table["log_evidence_se"], table.loc[best, "log_evidence_se"])
    table = table.assign(
        log_bayes_factor=difference,
        log_bayes_factor_se=error.where(table.index != best, 0.0),
    )
    return table, WARNING


def log_evidence(tree: xr.DataTree, *, seed: int = 0) -> Score:
    """Compute the log evidence of the model of a fit, in nats, and its standard error.

    Parameters
    ----------
    tree
        A fit by any method.
    seed
        Seed of the nodes, if the fit has no nodes yet.

    Returns
    -------
    Score
        NaN if a prior is improper or the integration is not reliable.
    """
    model, priors = read_model(tree), read_priors(tree)
    if not all(getattr(priors, site).proper for site in _sites(tree)):
        return UNKNOWN
    if NODES in tree.children:
        about = tree[NODES].attrs
        if not about["reliable"]:
            return UNKNOWN
        return Score(float(about["log_evidence"]), float(about["log_evidence_error"]))
    equations = NormalEquations.from_statistics(read_statistics(tree))
    if equations.design.known_errors and not model.population:
        return Score(_given_errors(equations, priors, model), 0.0)
    if model.eps_by_group:
        return Score(_of_individual(equations, priors), 0.0)
    found = integrate_scales(equations, priors, model=model.name, seed=seed)
    return Score(found.log_evidence, found.log_evidence_error) if found.reliable else UNKNOWN


def _given_errors(equations: NormalEquations, priors: Priors, of: Model) -> float:
    """Compute the log evidence in closed form, for known standard errors and no scales."""
    if of.by_group:
        eps, prior = np.ones(equations.num_groups), individual_prior(equations, priors)
        return float(individual_log_density(equations, eps, *prior).sum())
    equations = equations.pooled()
    prior_of_rows = population_prior(equations, priors, of)
    return float(marginal(equations, np.empty(0), np.ones(()), prior_of_rows).log_density)


def _of_individual(equations: NormalEquations, priors: Priors) -> float:
    """Compute the log evidence of the individual model, at the densest node of each group."""
    eps, log_weight = eps_quadrature(equations, priors)
    groups = np.arange(eps.shape[1])
    best = 1 + log_weight[1:-1].argmax(0)
    log_eps = np.log(eps)
    step = 0.5 * (log_eps[best + 1, groups] - log_eps[best - 1, groups])
    posterior = log_weight[best, groups] - np.log(step)
    at = eps[best, groups]
    likelihood = individual_log_density(equations, at, *individual_prior(equations, priors))
    joint = likelihood + priors.eps.log_density(at) + log_eps[best, groups]
    return float((joint - posterior).sum())


def without_bayes_factors(fits: Mapping[str, xr.DataTree]) -> str:
    """Return why fits of the same outcome have no Bayes factors, or an empty text if they have.

    Parameters
    ----------
    fits
        Fits by label.
    """
    (first, reference), *others = ((label, _prior_texts(tree)) for label, tree in fits.items())
    for label, own in others:
        for name in reference.keys() & own.keys():
            if reference[name] != own[name]:
                return (
                    f"No Bayes factors: {first!r} and {label!r} have different priors of {name}, "
                    f"{reference[name]} and {own[name]}. Give both fits the same priors."
                )
    return ""


def _prior_texts(tree: xr.DataTree) -> dict[str, str]:
    """Return the prior of each parameter as text, by site and column."""
    priors, columns = read_priors(tree), columns_of_sites(read_design(tree))
    found = {}
    for site in _sites(tree):
        prior = getattr(priors, site)
        if site not in columns:
            found[site] = str(prior)
        else:
            for k, column in enumerate(columns[site]):
                found[f"{site}[{column}]"] = str(prior.component(k))
    return found


def _sites(tree: xr.DataTree) -> list[str]:
    """Return the top-level sites except correlations, whose priors are always proper."""
    names = read_model(tree).top_level(read_design(tree))
    return [name for name in names if name != "correlation"]
