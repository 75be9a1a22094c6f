"""Cross-validation: refit without some rows, and predict them. By K folds or by group.

The scales come from their posterior given the training rows: by exact quadrature for the individual
and pooled models; by integration for the hierarchical model
(``inference/integration/scale_posterior.py``), or by NUTS where integration is not reliable. Given
the scales, the prediction of a row is Normal with known mean and variance
(``gaussian/predictive.py``), so it has no Monte Carlo error from drawn coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from radon_numpyro.comparison.held_out import (
    HeldOut,
    identified,
    population_identified,
    predict_rows,
)
from radon_numpyro.comparison.pooled import refit_pooled
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.gaussian.normal_equations import NormalEquations
from radon_numpyro.gaussian.predictive import Scales
from radon_numpyro.inference.integration.scale_posterior import ScalePosterior, integrate_scales
from radon_numpyro.inference.inversion import eps_quadrature, residual_freedom
from radon_numpyro.inference.settings import AUTO, INTEGRATE, choose_method
from radon_numpyro.model.models import Model
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics

# Effective number of nodes of each refit. Their error in a log score is far below its scatter.
EFFECTIVE_NODES = 400.0
# From training and test rows to predictive means, log scores, and whether the line is identified.
Refit = Callable[[GroupedData, GroupedData], tuple[np.ndarray, np.ndarray, np.ndarray]]


def kfold(
    data: GroupedData,
    models: Mapping[str, tuple[str, Priors]],
    *,
    folds: int = 10,
    draws: int = 500,
    chains: int = 4,
    seed: int = 0,
) -> dict[str, HeldOut]:
    """Refit without each fold of rows in turn and predict it.

    Rows are assigned to folds at random. All models have the same folds.

    Parameters
    ----------
    data
        Rows.
    models
        Names of models with their priors, by label.
    folds
        Number of folds, 2 to N.
    draws, chains
        Draws of the scales in each chain, and number of chains. They are used for folds of the
        hierarchical model in which integration is not reliable.
    seed
        Seed of the folds, of the nodes and of the draws.

    Returns
    -------
    dict
        :class:`HeldOut` by label, in which each row is a cluster of its own.

    Raises
    ------
    ValueError
        If ``folds`` is not between 2 and N.
    """
    if not 2 <= folds <= data.num_rows:
        raise ValueError(f"Expected folds between 2 and {data.num_rows}; got {folds}")
    fold = np.random.default_rng(seed).permutation(np.arange(data.num_rows) % folds)
    return _cross_validate(data, models, fold, np.arange(data.num_rows), draws, chains, seed)


def leave_one_group_out(
    data: GroupedData,
    models: Mapping[str, tuple[str, Priors]],
    *,
    draws: int = 500,
    chains: int = 4,
    seed: int = 0,
) -> dict[str, HeldOut]:
    """Refit without each group in turn and predict each of its rows as the first of a new group.

    The hierarchical model takes the line of the new group from the population; the pooled model has
    one line for all groups. The individual model has no information about a group without rows: it
    predicts from its prior, and these predictions are marked as not identified.

    Parameters
    ----------
    data, models, draws, chains, seed
        As in :func:`kfold`.

    Returns
    -------
    dict
        :class:`HeldOut` by label, in which the rows of a group are one cluster.

    Raises
    ------
    ValueError
        If there are fewer than two groups with rows.
    """
    present = np.count_nonzero(data.group_sizes)
    if present < 2:
        raise ValueError(f"Expected data in at least two groups; got {present}")
    return _cross_validate(data, models, data.group, data.group, draws, chains, seed)


def _cross_validate(
    data: GroupedData,
    models: Mapping[str, tuple[str, Priors]],
    fold: np.ndarray,
    cluster: np.ndarray,
    draws: int,
    chains: int,
    seed: int,
) -> dict[str, HeldOut]:
    out = {}
    for label, (model, priors) in models.items():
        refit = refitting(data, model, priors, draws, chains, seed)
        mean, score = np.empty(data.num_rows), np.empty(data.num_rows)
        known = np.empty(data.num_rows, dtype=bool)
        for k in np.unique(fold):
            held = fold == k
            mean[held], score[held], known[held] = refit(data.take(~held), data.take(held))
        out[label] = HeldOut(mean, score, data.y - mean, known, cluster)
    return out


def refitting(
    data: GroupedData, model: str, priors: Priors, draws: int, chains: int, seed: int
) -> Refit:
    """Return a function that fits a model to some rows and predicts others.

    Parameters
    ----------
    data
        All rows. Chains start from the guide for all rows.
    model, priors
        Name of the model, and its priors.
    draws, chains, seed
        As in :func:`kfold`.

    Returns
    -------
    callable
        A function of training rows and test rows with the same groups. It returns predictive means,
        log scores and whether the line is identified, each of shape (R,).

    Raises
    ------
    ValueError
        If the model is unknown, or does not support the columns of the data.
    """
    of, design = Model.named(model), data.labels.design
    of.check(design)
    if of.eps_by_group:
        return partial(refit_individual, priors=priors)
    if not of.by_group:
        return partial(refit_pooled, priors=priors)
    by_nuts: Callable[[GroupStatistics], Scales] | None = None

    def refit(train: GroupedData, test: GroupedData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        nonlocal by_nuts
        statistics = GroupStatistics.from_data(train)
        equations = NormalEquations.from_statistics(statistics)
        known = population_identified(equations.pooled(), test.x)
        if choose_method(model, AUTO, design)[0] == INTEGRATE:
            found = integrate_scales(equations, priors, ess=EFFECTIVE_NODES, seed=seed)
            if found.reliable:
                return *_predict_from_nodes(found, equations, priors, test), known
        if by_nuts is None:
            by_nuts = _sampling(data, model, priors, draws, chains, seed)
        scales = by_nuts(statistics)
        log_weight = -np.log(len(scales["eps"]))
        return *predict_rows(model, equations, priors, scales, log_weight, test), known

    return refit


def _predict_from_nodes(
    found: ScalePosterior, equations: NormalEquations, priors: Priors, test: GroupedData
) -> tuple[np.ndarray, np.ndarray]:
    """Compute predictive means and log scores of rows, averaged over the nodes of the scales."""
    with np.errstate(divide="ignore"):
        log_weight = np.log(found.weights)[:, None]
    return predict_rows(
        found.model,
        equations,
        priors,
        found.scales,
        np.broadcast_to(log_weight, (len(log_weight), test.num_rows)),
        test,
        population=found.population,
    )


def _sampling(
    data: GroupedData, model: str, priors: Priors, draws: int, chains: int, seed: int
) -> Callable[[GroupStatistics], Scales]:
    """Return a function that draws the scales of the hierarchical model by NUTS."""
    from radon_numpyro.inference.advi.guide import fit_advi
    from radon_numpyro.inference.nuts.sampler import sample_nuts

    # All folds start from the closed-form guide for all rows, which is close to that of each fold.
    guide = fit_advi(data, priors=priors, num_steps=0, progress_bar=False)
    method, _ = choose_method(model, None, data.labels.design)
    names = Model.named(model).scales(data.labels.design)

    def sample(statistics: GroupStatistics) -> Scales:
        found = sample_nuts(
            statistics,
            guide,
            method=method,
            priors=priors,
            draws=draws,
            chains=chains,
            num_warmup=300,
            coefficients="none" if method == "marginal" else "draws",
            seed=seed,
            progress_bar=False,
        )
        if not found.complete:
            raise KeyboardInterrupt("a fold was interrupted")
        drawn = {name: found.draws[name] for name in names}
        scales = {name: values.reshape(-1, *values.shape[2:]) for name, values in drawn.items()}
        # eps is 1, and not a site, if the standard errors of the rows are known.
        scales.setdefault("eps", np.ones(len(next(iter(scales.values())))))
        return scales

    return sample


def refit_individual(
    train: GroupedData | GroupStatistics, test: GroupedData, *, priors: Priors
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predict rows by the individual model given other rows, by exact quadrature over eps.

    Parameters
    ----------
    train, test
        Rows (or statistics) to fit, and rows to predict, with the same groups.
    priors
        Only ``alpha``, ``beta`` and ``eps`` are used.

    Returns
    -------
    mean, log_score, identified
        As in :class:`HeldOut`, shapes (R,).
    """
    statistics = train if isinstance(train, GroupStatistics) else GroupStatistics.from_data(train)
    equations = NormalEquations.from_statistics(statistics)
    freedom, rss = residual_freedom(equations)
    # If the posterior of eps is improper, the mean is still valid, because it depends on eps only
    # through the weight of the prior; the log score is NaN.
    proper = (freedom <= 0) | (rss > 0) | equations.design.known_errors
    # The other groups have no part in the predictions.
    asked = proper & np.isin(np.arange(len(proper)), test.group)
    nodes, weights = eps_quadrature(equations.take(asked), priors)
    eps = np.ones((len(nodes), len(proper)))
    log_weight = np.full(eps.shape, -np.log(len(nodes)))
    eps[:, asked], log_weight[:, asked] = nodes, weights
    mean, score = predict_rows(
        "individual", equations, priors, {"eps": eps}, log_weight[:, test.group], test
    )
    known = identified(equations, test.x, test.group)
    return mean, np.where(proper[test.group], score, np.nan), known
