r"""Which model predicts better? One table, every number with its definition and standard error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import arviz_stats
import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats.utils import ELPDDataLOO

from radon_numpyro.comparison.cross_validation import kfold, leave_one_group_out
from radon_numpyro.comparison.held_out import HeldOut
from radon_numpyro.comparison.leave_one_out import GOOD_K, LeaveOneOut, leave_one_out
from radon_numpyro.comparison.rmsd import rmsd_in_sample, rmsd_per_draw
from radon_numpyro.data.checks import first_few
from radon_numpyro.data.digits import texts_of
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.model.priors import Priors
from radon_numpyro.pipeline import fit
from radon_numpyro.results.fit_reader import read_data, read_priors

DEFINITIONS = {
    "elpd_loo": "sum over the common rows of log p(y_i | all other rows), in nats; the "
    "coefficients are integrated out",
    "elpd_diff": "elpd_loo less that of the best model, paired by row",
    "p_loo": "effective number of parameters: log score of the rows by a fit that saw them, "
    "less elpd_loo",
    "weight": "stacking weight: the mixture of the models that predicts best",
    "rmsd_loo": "root mean square of y_i less its mean given all other rows",
    "elpd_kfold": "as elpd_loo, each row predicted by a fit without its fold",
    "elpd_kfold_diff": "elpd_kfold less that of the best model, paired by row",
    "rmsd_kfold": "root mean square of y_i less its mean by a fit without its fold",
    "elpd_logo": "sum over all rows of log p(y_i | all other groups), in nats: each row as the "
    "first of a new group",
    "elpd_logo_diff": "elpd_logo less that of the best model, paired by group",
    "rmsd_logo": "root mean square of y_i less its mean given all other groups",
    "rmsd_in_sample": "root mean square of y_i less the posterior mean of its line, all rows; the "
    "fit saw them",
    "rmsd_per_draw": "root mean square of y_i less its line in one draw, all rows; mean over draws",
    "rows_loo": "common rows of elpd_loo: those that every model can predict from other rows",
    "rows_kfold": "common rows of elpd_kfold: those that every model can predict from other folds",
    "rows_logo": "common rows of elpd_logo: all, for the models that can predict a new group",
    "rows_from_prior": "rows that the model predicts from its prior, since no other row of the "
    "group identifies the line or its scatter; left out of the scores above",
    "rmsd_loo_all_rows": "rmsd_loo with these rows",
    "pareto_k_max": "largest Pareto shape of the importance weights; none where the "
    "model needs no weights",
    "rows_refitted": "rows predicted by a fit without them: Pareto shape above 0.7",
}
_SUFFIXES = {
    "_se": "standard error over rows, of ",
    "_sd": "standard deviation over draws, of ",
}


@dataclass(frozen=True)
class Comparison:
    """Models side by side.

    Attributes
    ----------
    table
        A row a model, the best first; ``definitions`` says what the columns are.
    loo, kfold, logo
        Predictions of each row by label of the model: from all other rows, without its fold,
        without its group; the last two are empty if not asked for.
    fits
        The fits that were compared.
    """

    table: pd.DataFrame
    loo: Mapping[str, LeaveOneOut]
    kfold: Mapping[str, HeldOut]
    logo: Mapping[str, HeldOut]
    fits: Mapping[str, xr.DataTree]

    @property
    def definitions(self) -> dict[str, str]:
        """What each column of the table is, in words."""
        return {str(column): _define(str(column)) for column in self.table}

    def __str__(self) -> str:
        shown = pd.DataFrame(index=self.table.index)
        for name in ("elpd_loo", "elpd_diff", "elpd_kfold", "elpd_logo"):
            if name in self.table:
                shown[name] = self._with_se(name)
        shown["p_loo"] = [f"{p:.1f}" for p in self.table["p_loo"]]
        for name in ("rmsd_kfold", "rmsd_loo", "rmsd_in_sample"):
            if name in self.table:
                shown[name] = self._with_se(name)
        rows = self.table[["rows_loo", "rows_from_prior"]].astype(int)
        return shown.join(rows).to_string()

    def _with_se(self, name: str) -> list[str]:
        rows = self.table[[name, f"{name}_se"]].to_dict(orient="records")
        texts = [list(texts_of(row).values()) for row in rows]
        return ["-" if value == "-" else f"{value} +- {se}" for value, se in texts]


def _define(column: str) -> str:
    for suffix, words in _SUFFIXES.items():
        if column.endswith(suffix):
            return words + column.removesuffix(suffix)
    return DEFINITIONS[column]


def compare_pooling(
    data: GroupedData,
    *,
    priors: Priors | None = None,
    folds: int = 10,
    leave_group_out: bool = False,
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    progress_bar: bool = True,
) -> Comparison:
    """Fit the pooled, the individual and the hierarchical model and compare them.

    Parameters
    ----------
    data
        Rows.
    priors
        Default: :meth:`Priors.weakly_informative` of the data.
    folds, leave_group_out
        As in :func:`compare`.
    draws, chains, seed, progress_bar
        As in :func:`radon_numpyro.fit`. ADVI stays at its closed-form start, from which NUTS
        by the marginal method does as well.

    Returns
    -------
    Comparison
    """
    fits = {
        model: fit(
            data,
            model=model,
            priors=priors,
            draws=draws,
            chains=chains,
            seed=seed,
            num_advi_steps=0,
            progress_bar=progress_bar,
        )
        for model in ("pooled", "individual", "hierarchical")
    }
    return compare(fits, data, folds=folds, leave_group_out=leave_group_out, seed=seed)


def compare(
    fits: Mapping[str, xr.DataTree],
    data: GroupedData | None = None,
    *,
    folds: int = 10,
    leave_group_out: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare fits of the same rows by what they predict for rows they did not see.

    Parameters
    ----------
    fits
        Fits by label; models and priors may differ.
    data
        The rows; default those of the fits.
    folds
        Folds of the cross-validation; 0 for none.
    leave_group_out
        Leave out each group in turn too: what the models say of a new group. As many refits as
        there are groups.
    seed
        Seed of the folds and of the refits.

    Returns
    -------
    Comparison

    Raises
    ------
    TypeError
        If ``fits`` is not a mapping of labels to fits.
    ValueError
        If there is no fit, a fit has no rows, or the fits are of different data.
    """
    rows = _check_same_data(fits, data)
    models = {label: (tree.attrs["model"], read_priors(tree)) for label, tree in fits.items()}
    loo = {label: leave_one_out(tree, seed=seed) for label, tree in fits.items()}
    refitted = kfold(rows, models, folds=folds, seed=seed) if folds else {}
    logo = leave_one_group_out(rows, models, seed=seed) if leave_group_out else {}
    table = pd.DataFrame.from_dict(
        {label: _in_sample(tree) for label, tree in fits.items()}, orient="index"
    )
    table = (
        _loo_columns(loo)
        .join(_held_out_columns(refitted, "kfold"))
        .join(_held_out_columns(logo, "logo"))
        .join(table)
    )
    return Comparison(
        table.sort_values("elpd_loo", ascending=False), loo, refitted, logo, dict(fits)
    )


def _check_same_data(fits: Mapping[str, xr.DataTree], data: GroupedData | None) -> GroupedData:
    # A DataTree is a mapping too, of its groups.
    if isinstance(fits, xr.DataTree) or not isinstance(fits, Mapping):
        raise TypeError(
            f"Expected fits to be a mapping of labels to fits; got {type(fits).__name__}"
        )
    if not fits:
        raise ValueError("Expected at least one fit; got none")
    prints = {}
    if data is not None:
        prints["data"] = data.fingerprint()
    for label, tree in fits.items():
        if "data_fingerprint" not in tree.attrs:
            raise ValueError(f"Expected fits with rows; got {label!r} of statistics only")
        prints[label] = tree.attrs["data_fingerprint"]
    first = next(iter(prints))
    other = [label for label, mark in prints.items() if mark != prints[first]]
    if other:
        raise ValueError(
            f"Expected fits of the same rows as {first!r}; got others in {first_few(other)}"
        )
    return read_data(next(iter(fits.values()))) if data is None else data


def _in_sample(tree: xr.DataTree) -> dict[str, float]:
    score = rmsd_in_sample(tree)
    columns = {"rmsd_in_sample": score.value, "rmsd_in_sample_se": score.se}
    if "alpha" in tree["posterior"]:
        per_draw = rmsd_per_draw(tree)
        columns |= {
            "rmsd_per_draw": float(per_draw.mean()),
            "rmsd_per_draw_sd": float(per_draw.std()),
        }
    return columns


def _loo_columns(loo: Mapping[str, LeaveOneOut]) -> pd.DataFrame:
    common = _common(loo)
    table = _held_out_columns(loo, "loo")
    table = table.rename(columns=lambda name: name.replace("elpd_loo_diff", "elpd_diff"))
    return table.assign(
        p_loo=[held.effective_parameters(common) for held in loo.values()],
        weight=_stacking_weights(loo, common),
        rows_from_prior=[int((~held.identified).sum()) for held in loo.values()],
        rmsd_loo_all_rows=[held.rmsd().value for held in loo.values()],
        pareto_k_max=[float(held.pareto_k.max()) for held in loo.values()],
        rows_refitted=[int(held.refitted.sum()) for held in loo.values()],
    )


def _held_out_columns(held_out: Mapping[str, HeldOut], scheme: str) -> pd.DataFrame:
    """Scores on the rows that every model can predict from the data.

    A model that can predict none, as the individual model a new group, gets no score and does
    not take the rows away from the others.
    """
    able = {label: held for label, held in held_out.items() if held.identified.any()}
    common = _common(able)
    elpd = {label: held.elpd(common) for label, held in able.items()}
    rows: dict[str, dict[str, float]] = {label: {} for label in held_out}
    for label, held in able.items():
        best = able[max(elpd, key=lambda name: elpd[name].value)]
        rmsd, difference = held.rmsd(common), held.elpd_difference(best, common)
        rows[label] = {
            f"elpd_{scheme}": elpd[label].value,
            f"elpd_{scheme}_se": elpd[label].se,
            f"elpd_{scheme}_diff": difference.value,
            f"elpd_{scheme}_diff_se": difference.se,
            f"rmsd_{scheme}": rmsd.value,
            f"rmsd_{scheme}_se": rmsd.se,
            f"rows_{scheme}": float(common.sum()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _common(held_out: Mapping[str, HeldOut]) -> np.ndarray:
    """Rows that every model can predict from the data."""
    common: np.ndarray = np.logical_and.reduce([h.identified for h in held_out.values()])
    return common


def _stacking_weights(loo: Mapping[str, LeaveOneOut], common: np.ndarray) -> Any:
    """ArviZ's stacking weights of the pointwise scores."""
    if len(loo) < 2:
        return 1.0
    elpds = {}
    for label, held in loo.items():
        score = held.elpd(common)
        elpds[label] = ELPDDataLOO(
            elpd=score.value,
            se=score.se,
            p=held.effective_parameters(common),
            n_samples=1,
            n_data_points=int(common.sum()),
            scale="log",
            warning=False,
            good_k=GOOD_K,
            elpd_i=xr.DataArray(held.log_score[common], dims="row"),
            pareto_k=xr.DataArray(held.pareto_k[common], dims="row"),
        )
    weights = arviz_stats.compare(elpds, method="stacking", round_to="none")["weight"]
    return [float(weights[label]) for label in loo]
