"""Can these draws be trusted? Findings with advice, never a bare number.

References
----------
Vehtari, Gelman, Simpson, Carpenter and Buerkner (2021), Rank-normalization, folding, and
localization: an improved R-hat, doi:10.1214/20-BA1221. Betancourt (2016), Diagnosing suboptimal
cotangent disintegrations in Hamiltonian Monte Carlo, arXiv:1604.00695.
"""

from __future__ import annotations

from dataclasses import dataclass

import arviz_stats
import numpy as np
import pandas as pd
import xarray as xr
from arviz_base import dataset_to_dataframe

from radon_numpyro.ess import TAILS
from radon_numpyro.finding import Finding
from radon_numpyro.inference_data import PREDICTOR
from radon_numpyro.parametrisation import MAX_MARGINAL_PREDICTORS
from radon_numpyro.run import INTERRUPTED, MAX_SECONDS

MAX_RHAT = 1.01
MIN_ESS_PER_CHAIN = 100
MIN_BFMI = 0.3
MARGINAL = "method='marginal'"


@dataclass(frozen=True)
class Diagnosis:
    """What the checks found.

    Attributes
    ----------
    findings
        What is wrong; empty when nothing is.
    table
        ``r_hat``, ``ess_bulk`` and ``ess_tail`` of every parameter, a row each.
    num_draws
        Draws in all, over the chains.
    num_divergences
        Divergent transitions among them.
    min_bfmi
        Smallest energy Bayesian fraction of missing information over the chains; infinite when
        the draws are exact and no chain was run.
    advi_verdict
        What the guide is good for; it does not bear on the draws.
    """

    findings: tuple[Finding, ...]
    table: pd.DataFrame
    num_draws: int
    num_divergences: int
    min_bfmi: float
    advi_verdict: str

    @property
    def ok(self) -> bool:
        """Whether the draws can be trusted."""
        return not self.findings

    @property
    def max_rhat(self) -> float:
        """Largest R-hat of any parameter; NaN if any is."""
        return float(self.table["r_hat"].max(skipna=False))

    @property
    def min_ess(self) -> float:
        """Smallest bulk or tail effective sample size of any parameter; NaN if any is."""
        return float(self.table[["ess_bulk", "ess_tail"]].min(skipna=False).min(skipna=False))

    def _sampler(self) -> str:
        if np.isposinf(self.min_bfmi):
            return "independent and exact"
        return f"{self.num_divergences} divergences, smallest E-BFMI {self.min_bfmi:.2f}"

    def __str__(self) -> str:
        head = "Good: the draws can be trusted." if self.ok else "Do not trust these draws yet."
        lines = [
            head,
            f"  {self.num_draws} draws, largest R-hat {self.max_rhat:.4f}, smallest ESS "
            f"{self.min_ess:.0f}, {self._sampler()}",
        ]
        for finding in self.findings:
            lines += [f"  - {finding.what}", f"    Try: {finding.advice}"]
        lines.append(f"  ADVI: {self.advi_verdict}")
        return "\n".join(lines)


def diagnose(tree: xr.DataTree) -> Diagnosis:
    """Check a fit: convergence, effective sample sizes, divergences, trajectories, energy.

    Parameters
    ----------
    tree
        From :func:`fit`, or loaded from its netCDF file.

    Returns
    -------
    Diagnosis
        Poor convergence is a finding, not an exception.
    """
    posterior = tree["posterior"].to_dataset()
    # R-hat and ESS go by ranks, to which infinity is a number like others.
    posterior = posterior.where(np.isfinite(posterior))
    table = _table(posterior)
    posterior = tree["posterior"].to_dataset()
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    # Whether the marginal method can be advised: it does not take many predictors.
    many = posterior.sizes.get(PREDICTOR, 0) > MAX_MARGINAL_PREDICTORS
    integrable = not (many and "mu_alpha" in posterior)
    findings = [
        _incomplete(tree),
        _chains(chains),
        _rhat(table, integrable) if chains > 1 else None,
        _ess(table, MIN_ESS_PER_CHAIN * chains),
    ]
    divergences, bfmi = 0, float("inf")
    if "sample_stats" in tree.children:
        stats = tree["sample_stats"].to_dataset()
        divergences = int(stats["diverging"].sum())
        bfmi = float(np.min(arviz_stats.bfmi(tree)["energy"].values))
        findings += [
            _divergences(
                divergences, chains * draws, integrable and tree.attrs["method"] != "marginal"
            ),
            _saturated(stats["n_steps"].values, int(tree.attrs["max_tree_depth"])),
            _energy(bfmi, integrable),
        ]
    return Diagnosis(
        findings=tuple(f for f in findings if f is not None),
        table=table,
        num_draws=chains * draws,
        num_divergences=divergences,
        min_bfmi=bfmi,
        advi_verdict=str(tree["advi"].attrs["verdict"]),
    )


def _table(posterior: xr.Dataset) -> pd.DataFrame:
    """As ``arviz_stats.summary`` names the rows; its standard errors would take as long again."""
    with np.errstate(invalid="ignore"):
        columns = {
            "r_hat": arviz_stats.rhat(posterior),
            "ess_bulk": arviz_stats.ess(posterior, method="bulk"),
            "ess_tail": arviz_stats.ess(posterior, method="tail", prob=TAILS),
        }
    names = xr.DataArray(list(columns), dims="summary", name="summary")
    stacked = xr.concat(list(columns.values()), dim=names)
    return dataset_to_dataframe(stacked, sample_dims=["summary"]).T.astype(float)


def _incomplete(tree: xr.DataTree) -> Finding | None:
    if tree.attrs["complete"]:
        return None
    ends = {INTERRUPTED: "was interrupted", MAX_SECONDS: "ran out of max_seconds"}
    end = ends.get(tree.attrs.get("stopped_by", ""), "ended")
    return Finding(
        f"The run is incomplete: it {end} after {tree['posterior'].sizes['draw']} draws a chain.",
        "resume(checkpoint) if the fit kept one, else fit again with more time",
    )


def _chains(chains: int) -> Finding | None:
    if chains > 1:
        return None
    return Finding(
        "One chain: R-hat cannot see whether it missed a part of the posterior.", "chains=4"
    )


def _worst(values: pd.Series, *, largest: bool) -> str:
    ordered = values.sort_values(ascending=not largest, na_position="first")
    shown = ", ".join(f"{name} {value:.4g}" for name, value in ordered.head(3).items())
    return f"{shown}{', ...' if len(ordered) > 3 else ''}"


def _rhat(table: pd.DataFrame, integrable: bool) -> Finding | None:
    bad = table["r_hat"][~(table["r_hat"] <= MAX_RHAT)]
    if bad.empty:
        return None
    return Finding(
        f"R-hat above {MAX_RHAT} or not a number for {len(bad)} of {len(table)} parameters "
        f"({_worst(bad, largest=True)}): the chains disagree.",
        f"more draws or a longer warm-up{', and ' + MARGINAL if integrable else ''}",
    )


def _ess(table: pd.DataFrame, least: int) -> Finding | None:
    ess = table[["ess_bulk", "ess_tail"]].min(axis=1, skipna=False)
    bad = ess[~(ess >= least)]
    if bad.empty:
        return None
    return Finding(
        f"Effective sample size below {least} for {len(bad)} of {len(table)} parameters "
        f"({_worst(bad, largest=False)}): quantiles and standard errors are unreliable.",
        "more draws",
    )


def _divergences(count: int, total: int, integrable: bool) -> Finding | None:
    if not count:
        return None
    other = f"{MARGINAL}, or " if integrable else ""
    return Finding(
        f"{count} of {total} transitions diverged: a part of the posterior was not reached.",
        f"{other}target_accept_prob=0.99",
    )


def _saturated(n_steps: np.ndarray, max_tree_depth: int) -> Finding | None:
    share = float((n_steps >= 2**max_tree_depth - 1).mean())
    if share < 0.01:
        return None
    return Finding(
        f"{share:.0%} of the trajectories reached the tree depth of {max_tree_depth}: they were "
        "cut short.",
        f"max_tree_depth={max_tree_depth + 2}, or predictors that are centred and scaled",
    )


def _energy(bfmi: float, integrable: bool) -> Finding | None:
    if bfmi >= MIN_BFMI:
        return None
    other = f"{MARGINAL}, or " if integrable else ""
    return Finding(
        f"E-BFMI {bfmi:.2f} is below {MIN_BFMI}: the momenta change the energy too little.",
        f"{other}more draws and a look at the scales near zero",
    )
