r"""Which model predicts better? Root mean square deviations and held-out scores.

The tutorial publishes an RMSD of 0.13 for the individual and 0.08 for the hierarchical model
without saying how it was computed. The scatter of single houses within a county is about 0.66,
so no deviation of predictions from measured houses comes near those figures. Each definition
here has a name, a formula and a standard error.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp

from radon_numpyro.advi import fit_advi
from radon_numpyro.data import GroupedData
from radon_numpyro.equations import NormalEquations
from radon_numpyro.inference_data import PREDICTOR
from radon_numpyro.inversion import draw_eps, residual_freedom
from radon_numpyro.marginal import (
    group_terms,
    individual_prior,
    population_mean,
    prediction,
)
from radon_numpyro.nuts import sample_nuts
from radon_numpyro.priors import Priors
from radon_numpyro.statistics import GroupStatistics

MODELS = ("pooled", "individual", "hierarchical")


@dataclass(frozen=True)
class HeldOut:
    """Predictions of rows by a model that did not see them.

    Attributes
    ----------
    model
        Name of the model.
    mean
        Predictive mean of each row, shape (N,), in the unit of y.
    log_score
        Log predictive density of each row, shape (N,), in nats; NaN where the model gives no
        proper one.
    error
        Outcome less predictive mean, shape (N,).
    identified
        Whether the training rows determine the line at the row and the residual scatter,
        shape (N,). Where they do not (individual model), the prediction rests on the prior.
    """

    model: str
    mean: np.ndarray
    log_score: np.ndarray
    error: np.ndarray
    identified: np.ndarray

    def scores(self, rows: Any = slice(None)) -> dict[str, float]:
        r"""Root mean square error and mean log score, with standard errors over rows.

        .. math:: \mathrm{RMSE} = \sqrt{\overline{e^2}},\quad
                  \mathrm{se} = \frac{\mathrm{sd}(e^2)}{2\,\mathrm{RMSE}\sqrt{n}}

        Parameters
        ----------
        rows
            Rows to score: a mask or positions.
        """
        squared, score = self.error[rows] ** 2, self.log_score[rows]
        n = len(squared)
        rmse = float(np.sqrt(squared.mean()))
        return {
            "rmse": rmse,
            "rmse_se": float(squared.std(ddof=1) / (2.0 * rmse * np.sqrt(n))),
            "elpd": float(score.sum()),
            "elpd_se": float(score.std(ddof=1) * np.sqrt(n)),
        }


def rmsd_in_sample(tree: xr.DataTree) -> float:
    r"""Deviation of the posterior-mean line from the rows it was fitted to.

    .. math:: \sqrt{\tfrac1N\sum_i \big(y_i - E[\alpha_{c(i)} + x_i\beta_{c(i)}\mid y]\big)^2}

    Least squares minimises it, so the individual model always wins: it says nothing about
    prediction.

    Parameters
    ----------
    tree
        A fit with rows.
    """
    mean = _line(tree).mean(("chain", "draw"))
    return float(np.sqrt(((tree["observed_data"]["y"] - mean) ** 2).mean()))


def rmsd_posterior_mean(
    data: GroupedData,
    *,
    models: tuple[str, ...] = MODELS,
    priors: Priors | None = None,
    draws: int = 500,
    chains: int = 4,
    seed: int = 0,
) -> dict[str, float]:
    """:func:`rmsd_in_sample` of several models at once, without noise of drawn coefficients.

    Parameters
    ----------
    data, models, priors, draws, chains, seed
        As in :func:`kfold`.

    Returns
    -------
    dict
        Deviation by model, in the unit of y.
    """
    statistics = GroupStatistics.from_data(data)
    out = {}
    for model, refit in _refits(data, models, priors, draws, chains, seed).items():
        mean = refit(statistics, data.x, data.group)[0].mean(0)
        out[model] = float(np.sqrt(((data.y - mean) ** 2).mean()))
    return out


def rmsd_per_draw(tree: xr.DataTree, groups: Sequence[Hashable] | None = None) -> xr.DataArray:
    r"""Deviation of the line of each draw from the rows: the tutorial's description in words.

    .. math:: \sqrt{\tfrac1N\sum_i (y_i - \alpha^{(s)}_{c(i)} - x_i\beta^{(s)}_{c(i)})^2}

    Parameters
    ----------
    tree
        A fit with rows.
    groups
        Labels of the groups whose rows count; default all.

    Returns
    -------
    xarray.DataArray
        Dims chain and draw, in the unit of y.
    """
    deviation = tree["observed_data"].to_dataset()["y"] - _line(tree)
    if groups is not None:
        rows = tree["constant_data"].to_dataset()
        index = rows.indexes[rows["count"].dims[0]].get_indexer(list(groups))
        if (index < 0).any():
            raise ValueError(f"Expected groups of the fit; got {list(groups)}")
        deviation = deviation.isel(row=np.isin(rows["group_index"], index))
    return ((deviation**2).mean("row")) ** 0.5


def kfold(
    data: GroupedData,
    *,
    models: tuple[str, ...] = MODELS,
    priors: Priors | None = None,
    folds: int = 10,
    draws: int = 500,
    chains: int = 4,
    seed: int = 0,
) -> dict[str, HeldOut]:
    """Refit without each fold of rows in turn and predict it.

    Rows are dealt to folds at random, the same folds for every model. The scales are drawn
    from their posterior given the training rows; given the scales the prediction of a row is
    Normal with known mean and variance, so no noise of drawn coefficients enters.

    Parameters
    ----------
    data
        Rows.
    models
        Which models to refit.
    priors
        Default: :meth:`Priors.weakly_informative` of all the data.
    folds
        Number of folds, 2 to N.
    draws, chains
        Draws of the scales for each fold, in each chain.
    seed
        Seed of the folds and of the draws.

    Returns
    -------
    dict
        :class:`HeldOut` by model.

    Raises
    ------
    ValueError
        If there are not between 2 and N folds, or a model is unknown.
    """
    if not 2 <= folds <= data.num_rows:
        raise ValueError(f"Expected folds between 2 and {data.num_rows}; got {folds}")
    refits = _refits(data, models, priors, draws, chains, seed)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(np.arange(data.num_rows) % folds)
    out: dict[str, HeldOut] = {}
    for model, refit in refits.items():
        mean, score = np.empty(data.num_rows), np.empty(data.num_rows)
        identified = np.empty(data.num_rows, dtype=bool)
        for k in range(folds):
            held = fold == k
            train = GroupStatistics.from_data(data.take(~held))
            location, variance, identified[held] = refit(train, data.x[held], data.group[held])
            mean[held] = location.mean(0)
            log_density = -0.5 * (
                (data.y[held] - location) ** 2 / variance + np.log(2.0 * np.pi * variance)
            )
            score[held] = logsumexp(log_density, axis=0) - np.log(len(log_density))
        out[model] = HeldOut(model, mean, score, data.y - mean, identified)
    return out


def table(held_out: Mapping[str, HeldOut]) -> pd.DataFrame:
    """Held-out scores, a row a model, on the rows that every model can predict from data.

    Columns: ``rmse`` and ``elpd`` with standard errors over rows; ``elpd_diff`` to the best
    model with the standard error of the paired difference; ``rows`` scored. ``rmse_all_rows``
    includes the rows that a model predicts from its prior, counted in ``rows_from_prior``.

    Parameters
    ----------
    held_out
        From :func:`kfold`.
    """
    common = np.logical_and.reduce([h.identified for h in held_out.values()])
    scores = {name: held.scores(common) for name, held in held_out.items()}
    best = held_out[max(scores, key=lambda name: scores[name]["elpd"])]
    rows = {}
    for name, held in held_out.items():
        difference = (held.log_score - best.log_score)[common]
        rows[name] = {
            **scores[name],
            "elpd_diff": float(difference.sum()),
            "elpd_diff_se": float(difference.std(ddof=1) * np.sqrt(len(difference))),
            "rows": int(common.sum()),
            "rmse_all_rows": held.scores()["rmse"],
            "rows_from_prior": int((~held.identified).sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _refits(
    data: GroupedData,
    models: tuple[str, ...],
    priors: Priors | None,
    draws: int,
    chains: int,
    seed: int,
) -> dict[str, Any]:
    unknown = [m for m in models if m not in MODELS]
    if unknown:
        raise ValueError(f"Expected models among {', '.join(MODELS)}; got {unknown}")
    priors = Priors.weakly_informative(data) if priors is None else priors
    refits: dict[str, Any] = {}
    for model in models:
        if model == "hierarchical":
            refits[model] = _HierarchicalScales(data, priors, draws, chains, seed)
        else:
            kind = _PooledScales if model == "pooled" else _IndividualScales
            refits[model] = kind(priors, draws * chains, seed)
    return refits


Prediction = tuple[np.ndarray, np.ndarray, Any]


class _IndividualScales:
    """Refit of the individual model: predictive means and variances (S, R), identified (R,)."""

    def __init__(self, priors: Priors, num_draws: int, seed: int) -> None:
        self.priors, self.num_draws = priors, num_draws
        self.rng = np.random.default_rng([seed, 1])

    def __call__(self, train: GroupStatistics, x: np.ndarray, group: np.ndarray) -> Prediction:
        return self.predict(NormalEquations.from_statistics(train), x, group)

    def predict(self, equations: NormalEquations, x: np.ndarray, group: np.ndarray) -> Prediction:
        freedom, rss = residual_freedom(equations)
        proper = (freedom <= 0) | (rss > 0)
        # Without a proper posterior of eps the mean stands (it does not depend on eps beyond
        # the prior's 1e-8), but there is no score.
        eps = np.ones((self.num_draws, len(freedom)))
        eps[:, proper] = draw_eps(self.rng, equations.take(proper), self.priors, self.num_draws)
        scale, mu = individual_prior(equations, self.priors)
        terms = group_terms(equations, scale, eps)
        design = np.stack([np.ones(len(x)), *x.T])
        mean, variance = prediction(terms, mu, list(design), group)
        variance = np.where(proper[group], variance + eps[:, group] ** 2, np.nan)
        identified = _identified(equations, design, group) & (freedom > 0)[group] & proper[group]
        return mean + equations.offset @ design, variance, identified


class _PooledScales(_IndividualScales):
    """Refit of the pooled model: the individual model with all rows in one group."""

    def __call__(self, train: GroupStatistics, x: np.ndarray, group: np.ndarray) -> Prediction:
        equations = NormalEquations.from_statistics(train).pooled()
        return self.predict(equations, x, np.zeros_like(group))


class _HierarchicalScales:
    """Refit of the hierarchical model, every fold started from the guide of all the data."""

    def __init__(
        self, data: GroupedData, priors: Priors, draws: int, chains: int, seed: int
    ) -> None:
        self.priors = priors
        self.sample = partial(
            sample_nuts,
            priors=priors,
            method="marginal",
            draws=draws,
            chains=chains,
            seed=seed,
            progress_bar=False,
        )
        self.advi = fit_advi(data, priors=priors, seed=seed, progress_bar=False)

    def __call__(self, train: GroupStatistics, x: np.ndarray, group: np.ndarray) -> Prediction:
        equations = NormalEquations.from_statistics(train)
        drawn = self.sample(train, self.advi).draws
        eps = drawn["eps"].reshape(-1, 1)
        scale = [drawn["sigma_alpha"].reshape(-1, 1)]
        if train.num_predictors:
            sigma_beta = drawn["sigma_beta"].reshape(len(eps), -1)
            scale += [s[:, None] for s in sigma_beta.T]
        terms = group_terms(equations, scale, eps)
        population = population_mean(equations, terms, eps, self.priors)
        mu = [m[:, None] for m in population.mean]
        design = np.stack([np.ones(len(x)), *x.T])
        mean, variance = prediction(terms, mu, list(design), group, population)
        return mean + equations.offset @ design, variance + eps**2, True


def _identified(equations: NormalEquations, design: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Whether the rows of its group determine the line at each new row."""
    gram = np.moveaxis(equations.gram, -1, 0)
    projection = np.linalg.pinv(gram, hermitian=True) @ gram
    missed = design - np.einsum("rpq,qr->pr", projection[group], design)
    return np.linalg.norm(missed, axis=0) < 1e-6 * np.linalg.norm(design, axis=0)


def _line(tree: xr.DataTree) -> xr.DataArray:
    """Regression line at each row for each draw, dims chain, draw, row."""
    if "observed_data" not in tree.children:
        raise ValueError("Expected a fit with rows; got one of statistics only")
    posterior = tree["posterior"].to_dataset()
    alpha = posterior["alpha"]
    group = next((d for d in alpha.dims if d not in ("chain", "draw")), None)
    rows = tree["constant_data"].to_dataset()
    at_row = {} if group is None else {group: rows["group_index"]}
    line = alpha.isel(at_row)
    for k in range(len(json.loads(tree.attrs["predictors"]))):
        slope = posterior["beta"].isel({PREDICTOR: k, **at_row})
        line = line + slope * rows["x"].isel({PREDICTOR: k})
    return line.reset_coords(drop=True)
