r"""The table that compares models. Each number has a definition and a standard error."""

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
from radon_numpyro.comparison.evidence import evidence_columns
from radon_numpyro.comparison.held_out import HeldOut
from radon_numpyro.comparison.leave_one_out import GOOD_K, LeaveOneOut, leave_one_out
from radon_numpyro.comparison.rmsd import has_coefficients, rmsd_in_sample, rmsd_per_draw
from radon_numpyro.data.checks import first_few
from radon_numpyro.data.digits import texts_of
from radon_numpyro.data.formulas.formula import text_of
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.labels import stored
from radon_numpyro.inference.runs.run_control import with_one_blas_thread
from radon_numpyro.model.priors import Priors
from radon_numpyro.pipeline import fit
from radon_numpyro.results.fit_reader import read_data, read_labels, read_model, read_priors

DEFINITIONS = {
    "model": "how the groups are pooled: hierarchical, individual or pooled",
    "formula": "outcome, columns with one coefficient for all groups, columns that vary by group",
    "elpd_loo": "sum over the common rows of log p(y_i | all other rows), in nats; the "
    "coefficients are integrated out",
    "elpd_diff": "elpd_loo minus that of the best model, paired by row",
    "p_loo": "effective number of parameters: log score of the rows by the fit to all rows, "
    "minus elpd_loo",
    "weight": "stacking weight: the weight of the model in the mixture that predicts best",
    "rmsd_loo": "root mean square of y_i minus its mean given all other rows",
    "elpd_kfold": "as elpd_loo, with each row predicted by a fit without its fold",
    "elpd_kfold_diff": "elpd_kfold minus that of the best model, paired by row",
    "rmsd_kfold": "root mean square of y_i minus its mean by a fit without its fold",
    "elpd_logo": "sum over all rows of log p(y_i | all other groups), in nats; each row is "
    "predicted as the first of a new group",
    "elpd_logo_diff": "elpd_logo minus that of the best model, paired by group",
    "rmsd_logo": "root mean square of y_i minus its mean given all other groups",
    "log_evidence": "log p(y) of all rows under the model and its priors, in nats; missing if a "
    "prior is improper",
    "log_bayes_factor": "log_evidence minus that of the best model; depends on the priors; missing "
    "if the models have different priors of common parameters",
    "rmsd_in_sample": "root mean square of y_i minus the posterior mean of its line, over all "
    "rows; the fit used these rows",
    "rmsd_per_draw": "root mean square of y_i minus its line in one draw, over all rows; mean over "
    "draws",
    "rows_loo": "common rows of elpd_loo: those that every model can predict from other rows",
    "rows_kfold": "common rows of elpd_kfold: those that every model can predict from other folds",
    "rows_logo": "common rows of elpd_logo: all rows, for models that can predict a new group",
    "rows_from_prior": "rows that the model predicts from its prior, because no other row (for the "
    "individual model: no other row of the group) identifies the line or its scatter; the scores "
    "above exclude them",
    "rmsd_loo_all_rows": "rmsd_loo including these rows",
    "pareto_k_max": "largest Pareto shape of the importance weights; missing if the model needs "
    "no weights",
    "rows_refitted": "rows predicted by a refit because their Pareto shape is above 0.7",
}
_SUFFIXES = {
    "_se": "standard error over rows, of ",
    "_sd": "standard deviation over draws, of ",
}


@dataclass(frozen=True)
class Comparison:
    """A comparison of models.

    Attributes
    ----------
    table
        One row for each fit, the best first; ``definitions`` explains the columns.
    loo, kfold, logo
        Predictions of each row, by label of the fit: from all other rows, without its fold, and
        without its group. The last two are empty unless requested.
    fits
        The fits that were compared.
    evidence
        A warning about the log evidence, or the reason why there are no Bayes factors.
    """

    table: pd.DataFrame
    loo: Mapping[str, LeaveOneOut]
    kfold: Mapping[str, HeldOut]
    logo: Mapping[str, HeldOut]
    fits: Mapping[str, xr.DataTree]
    evidence: str = ""

    @property
    def definitions(self) -> dict[str, str]:
        """Definition of each column of the table, in words."""
        return {str(column): _define(str(column)) for column in self.table}

    def __str__(self) -> str:
        shown = pd.DataFrame(index=self.table.index)
        if self.table["formula"].nunique() > 1:
            shown["formula"] = self.table["formula"]
        for name in ("elpd_loo", "elpd_diff", "elpd_kfold", "elpd_logo"):
            if name in self.table:
                shown[name] = self._with_se(name)
        shown["p_loo"] = [f"{p:.1f}" if p == p else "-" for p in self.table["p_loo"]]
        for name in ("rmsd_kfold", "rmsd_loo", "rmsd_in_sample"):
            if name in self.table:
                shown[name] = self._with_se(name)
        for name in ("log_evidence", "log_bayes_factor"):
            if name in self.table and self.table[name].notna().any():
                shown[name] = [f"{value:,.2f}" for value in self.table[name]]
        # A model that cannot predict any row from the others has no number of rows.
        rows = self.table[["rows_loo", "rows_from_prior"]].map(
            lambda count: "-" if pd.isna(count) else f"{count:.0f}"
        )
        text = shown.join(rows).to_string()
        return f"{text}\n{self.evidence}" if self.evidence else text

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

    The individual model is left out if some columns have one coefficient for all groups, because it
    does not support them.

    Parameters
    ----------
    data
        Rows.
    priors
        Default: :meth:`Priors.weakly_informative` of the data.
    folds, leave_group_out
        As in :func:`compare`.
    draws, chains, seed, progress_bar
        As in :func:`radon_numpyro.fit`. The models are fitted by integration, or by NUTS where
        integration is not reliable. NUTS then starts from the closed-form guide without steps of
        ADVI, which serves the marginal method equally well.

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
            method="auto",
            num_advi_steps=0,
            progress_bar=progress_bar,
        )
        for model in ("pooled", "individual", "hierarchical")
        if model != "individual" or data.labels.design.varies_throughout
    }
    return compare(fits, data, folds=folds, leave_group_out=leave_group_out, seed=seed)


@with_one_blas_thread
def compare(
    fits: Mapping[str, xr.DataTree],
    data: GroupedData | None = None,
    *,
    folds: int = 10,
    leave_group_out: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compare fits of the same rows by their predictions of rows that were left out.

    Parameters
    ----------
    fits
        Fits by label. Models, formulas and priors may differ. Outcome and groups must be the same,
        in the same order. A column that two fits have under one name must have the same values, up
        to a constant shift.
    data
        The rows, to be checked against those of the fits.
    folds
        Number of folds of the cross-validation; 0 for none.
    leave_group_out
        Also leave out each group in turn, to assess predictions of new groups. This needs one refit
        for each group.
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
    rows = _rows_of(fits, data)
    loo = {label: leave_one_out(tree, seed=seed) for label, tree in fits.items()}
    refitted: dict[str, HeldOut] = {}
    logo: dict[str, HeldOut] = {}
    # Each fit has its own columns. The folds are the same, because they depend only on the seed.
    for label, tree in fits.items():
        of = {label: (read_model(tree).name, read_priors(tree))}
        if folds:
            refitted |= kfold(rows[label], of, folds=folds, seed=seed)
        if leave_group_out:
            logo |= leave_one_group_out(rows[label], of, seed=seed)
    table = pd.DataFrame.from_dict(
        {label: _in_sample(tree) for label, tree in fits.items()}, orient="index"
    )
    table = (
        _names(fits)
        .join(_loo_columns(loo))
        .join(_held_out_columns(refitted, "kfold"))
        .join(_held_out_columns(logo, "logo"))
        .join(table)
    )
    evidence, said = evidence_columns(fits, seed=seed)
    table = table.join(evidence).sort_values("elpd_loo", ascending=False)
    return Comparison(table, loo, refitted, logo, dict(fits), said)


def _rows_of(fits: Mapping[str, xr.DataTree], data: GroupedData | None) -> dict[str, GroupedData]:
    """Return the rows of each fit; raise ValueError if they are not the same rows."""
    # A DataTree is itself a mapping, from names to groups.
    if isinstance(fits, xr.DataTree) or not isinstance(fits, Mapping):
        raise TypeError(
            f"Expected fits to be a mapping of labels to fits; got {type(fits).__name__}"
        )
    if not fits:
        raise ValueError("Expected at least one fit; got none")
    rows = {}
    for label, tree in fits.items():
        if "data_fingerprint" not in tree.attrs:
            raise ValueError(f"Expected fits with rows; got {label!r} of statistics only")
        rows[label] = read_data(tree)
    known = {"data": data} if data is not None else {}
    first, *others = [*known.items(), *rows.items()]
    different = {label: what for label, own in others if (what := _difference(first[1], own))}
    if different:
        raise ValueError(
            f"Expected fits of the same rows as {first[0]!r}; got others in "
            f"{first_few(list(different))}: {next(iter(different.values()))}"
        )
    return rows


def _difference(one: GroupedData, other: GroupedData) -> str:
    """Describe how the rows of two fits differ; empty if only their sets of columns differ."""
    if one.num_rows != other.num_rows:
        return f"{other.num_rows} rows in place of {one.num_rows}"
    if not np.allclose(one.y, other.y, rtol=1e-12, atol=0.0):
        return f"the outcome {other.labels.outcome!r} has other values"
    mine, theirs = (stored(rows.labels.groups)[rows.group].astype(str) for rows in (one, other))
    if not np.array_equal(mine, theirs):
        return f"the group column {other.labels.group!r} has other labels"
    columns = [dict(zip(rows.labels.predictors, rows.x.T, strict=True)) for rows in (one, other)]
    for name in columns[0].keys() & columns[1].keys():
        # The same column may be centred at another value.
        a, b = (of[name] - of[name].mean() for of in columns)
        if np.abs(a - b).max() > 1e-9 * np.abs(a).max():
            return f"the column {name!r} has other values"
    return ""


def _names(fits: Mapping[str, xr.DataTree]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": [read_model(tree).name for tree in fits.values()],
            "formula": [_formula(tree) for tree in fits.values()],
        },
        index=list(fits),
    )


def _formula(tree: xr.DataTree) -> str:
    """Return the formula of a fit as the user wrote it, or one made from its columns."""
    if stored_formula := tree.attrs.get("formula"):
        return text_of(stored_formula)
    return read_labels(tree).formula


def _in_sample(tree: xr.DataTree) -> dict[str, float]:
    score = rmsd_in_sample(tree)
    columns = {"rmsd_in_sample": score.value, "rmsd_in_sample_se": score.se}
    if has_coefficients(tree):
        per_draw = rmsd_per_draw(tree)
        columns |= {
            "rmsd_per_draw": float(per_draw.mean()),
            "rmsd_per_draw_sd": float(per_draw.std()),
        }
    return columns


def _loo_columns(loo: Mapping[str, LeaveOneOut]) -> pd.DataFrame:
    able = _able(loo)
    common = _common(able)
    table = _held_out_columns(loo, "loo")
    table = table.rename(columns=lambda name: name.replace("elpd_loo_diff", "elpd_diff"))
    return table.assign(
        p_loo=pd.Series({n: held.effective_parameters(common) for n, held in able.items()}),
        weight=_stacking_weights(able, common),
        rows_from_prior=[int((~held.identified).sum()) for held in loo.values()],
        rmsd_loo_all_rows=[held.rmsd().value for held in loo.values()],
        pareto_k_max=[float(held.pareto_k.max()) for held in loo.values()],
        rows_refitted=[int(held.refitted.sum()) for held in loo.values()],
    )


def _held_out_columns(held_out: Mapping[str, HeldOut], scheme: str) -> pd.DataFrame:
    """Compute the scores on the rows that every model can predict from the data.

    A model that cannot predict any row, such as the individual model for new groups, gets no score
    and does not reduce the common rows.
    """
    able = _able(held_out)
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


def _able[Held: HeldOut](held_out: Mapping[str, Held]) -> dict[str, Held]:
    """Return the models that can predict some rows from the data, or all models if none can."""
    able = {label: held for label, held in held_out.items() if held.identified.any()}
    return able or dict(held_out)


def _common(held_out: Mapping[str, HeldOut]) -> np.ndarray:
    """Return the mask of the rows that every model can predict from the data."""
    common: np.ndarray = np.logical_and.reduce([h.identified for h in held_out.values()])
    return common


def _stacking_weights(loo: Mapping[str, LeaveOneOut], common: np.ndarray) -> Any:
    """Compute ArviZ's stacking weights from the pointwise scores."""
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
    return pd.Series({label: float(weights[label]) for label in loo})
