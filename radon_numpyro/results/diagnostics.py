"""Checks whether the draws of a fit can be trusted, with advice for each finding.

References
----------
Vehtari, Gelman, Simpson, Carpenter and Buerkner (2021), Rank-normalization, folding, and
localization: an improved R-hat, doi:10.1214/20-BA1221. Betancourt (2016), Diagnosing suboptimal
cotangent disintegrations in Hamiltonian Monte Carlo, arXiv:1604.00695.
"""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from radon_numpyro.data.findings import Finding, from_json
from radon_numpyro.inference.runs.run_control import INTERRUPTED, MAX_SECONDS
from radon_numpyro.inference.settings import INTEGRATE, MAX_MARGINAL_SLOPES, MAX_RHAT
from radon_numpyro.model.models import PREDICTOR
from radon_numpyro.results.contraction import prior_only
from radon_numpyro.results.fit_reader import pairs_alone, read_design, read_model
from radon_numpyro.results.integration_checks import (
    effective_sizes,
    is_integrated,
    nodes_in_words,
    routes_differ,
    routes_in_words,
    unreliable,
)

MIN_ESS_PER_CHAIN = 100
MIN_BFMI = 0.3
# Target acceptance probabilities to advise: the first one above that of the draws.
ACCEPT_PROBS = (0.95, 0.99, 0.999)


@dataclass(frozen=True)
class Diagnosis:
    """Result of the checks.

    Attributes
    ----------
    findings
        Findings about the data and the priors, then about the draws. A finding with ``caution``
        does not affect whether the numbers can be trusted.
    table
        ``r_hat``, ``ess_bulk`` and ``ess_tail``, with one row for each parameter. An integration
        has no chains and no ``r_hat``.
    num_draws
        Total number of draws of all chains.
    num_divergences
        Number of divergent transitions among them.
    min_bfmi
        Smallest energy Bayesian fraction of missing information over the chains; infinite if the
        draws are exact and no chain was run.
    advi_verdict
        Assessment of the guide, which does not affect the draws. Empty if there was no guide.
    nodes
        For an integration, the number of nodes that the draws come from, in words; else empty.
    routes
        A sentence about the difference between draws by NUTS and an integration, or about why they
        were not compared. Empty if there is nothing to compare.
    """

    findings: tuple[Finding, ...]
    table: pd.DataFrame
    num_draws: int
    num_divergences: int
    min_bfmi: float
    advi_verdict: str
    nodes: str = ""
    routes: str = ""

    @property
    def ok(self) -> bool:
        """Whether the numbers can be trusted: there are no findings except cautions."""
        return all(finding.caution for finding in self.findings)

    @property
    def max_rhat(self) -> float:
        """Largest R-hat of any parameter; NaN if one is NaN or if there are no chains."""
        if "r_hat" not in self.table:
            return float("nan")
        return float(self.table["r_hat"].max(skipna=False))

    @property
    def min_ess(self) -> float:
        """Smallest bulk or tail effective sample size of any parameter; NaN if one is NaN."""
        return float(self.table[["ess_bulk", "ess_tail"]].min(skipna=False).min(skipna=False))

    def _checks(self) -> str:
        rhat = f"largest R-hat {self.max_rhat:.4f}, " if "r_hat" in self.table else ""
        sampler = f"{self.num_divergences} divergences, smallest E-BFMI {self.min_bfmi:.2f}"
        if np.isposinf(self.min_bfmi):
            sampler = self.nodes or "independent and exact"
        return f"  {self.num_draws} draws, {rhat}smallest ESS {self.min_ess:.0f}, {sampler}"

    def text(self, *, command: bool = False, again: bool = False) -> str:
        """Return the verdict, the checks that it is based on, and the findings, as lines of text.

        Parameters
        ----------
        command
            Whether to advise options of the command line instead of arguments of Python.
        again
            Whether to say that the options are those of a new fit, because the current command has
            other options.
        """
        head = "Good: the draws can be trusted." if self.ok else "Do not trust these numbers yet."
        if self.ok and self.findings:
            head += " But read this first:"
        lines = [head, self._checks()]
        for finding in self.findings:
            lines += finding.lines(command=command, again=again)
        if self.routes:
            lines.append(f"  {self.routes}")
        if self.advi_verdict:
            lines.append(f"  ADVI: {self.advi_verdict}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


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
    # R-hat and ESS use ranks, which would hide infinite draws.
    posterior = posterior.where(np.isfinite(posterior))
    named, integrated = posterior, is_integrated(tree)
    markov = "sample_stats" in tree.children
    if "correlation" in posterior:
        named = pairs_alone(posterior, read_design(tree))
    table = effective_sizes(tree, named) if integrated else _table(named)
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    # Without Markov chains, the limit applies to all draws together, not to each chain.
    least = MIN_ESS_PER_CHAIN * (chains if markov else 1)
    run = _Run.of(tree, table, least)
    of_data = list(from_json(tree.attrs.get("findings", "[]")))
    of_draws = [
        unreliable(tree) if integrated else None,
        _rhat(table, run) if chains > 1 and markov else None,
        _ess(table, least, run),
    ]
    divergences, bfmi = 0, float("inf")
    if markov:
        import arviz_stats

        stats = tree["sample_stats"].to_dataset()
        divergences = int(stats["diverging"].sum())
        bfmi = float(np.min(arviz_stats.bfmi(tree)["energy"].values))
        of_draws += [
            _divergences(divergences, chains * draws, run),
            _saturated(stats["n_steps"].values, int(tree.attrs["max_tree_depth"])),
            _energy(bfmi, run),
        ]
    of_draws.append(routes_differ(tree))
    if "priors" in tree.attrs:
        of_data += prior_only(tree, table, of_data)
    spoiled = not all(finding.caution for finding in of_data)
    findings = [
        *of_data,
        *(f for f in (_incomplete(tree), _chains(chains, tree)) if f is not None),
        # More draws do not solve problems of the data.
        *(_after_the_data(f) if spoiled else f for f in of_draws if f is not None),
    ]
    return Diagnosis(
        findings=tuple(findings),
        table=table,
        num_draws=chains * draws,
        num_divergences=divergences,
        min_bfmi=bfmi,
        advi_verdict=str(tree["advi"].attrs["verdict"]) if "advi" in tree.children else "",
        nodes=nodes_in_words(tree) if integrated else "",
        routes=routes_in_words(tree),
    )


def drawn_again(tree: xr.DataTree) -> str | None:
    """Return a sentence on why chains were run again with shorter steps; None if they were not.

    Parameters
    ----------
    tree
        A fit.
    """
    earlier = json.loads(tree.attrs.get("earlier_runs", "[]"))
    if not earlier:
        return None
    chains = tree["posterior"].sizes["chain"]
    runs = [
        f"{run['divergences']} of {run['draws'] * chains} at {run['target_accept_prob']:g}"
        for run in earlier
    ]
    return (
        f"Draws diverged ({', '.join(runs)}), so all chains were run again, with a target "
        f"acceptance of {tree.attrs['target_accept_prob']:g}"
    )


def _table(posterior: xr.Dataset) -> pd.DataFrame:
    """Tabulate R-hat and ESS by parameter, with the row names of ``arviz_stats.summary``.

    That function is not used, because its standard errors would double the time.
    """
    import arviz_stats
    from arviz_base import dataset_to_dataframe

    from radon_numpyro.inference.nuts.effective_size import TAILS

    with np.errstate(invalid="ignore"):
        columns = {
            "r_hat": arviz_stats.rhat(posterior),
            "ess_bulk": arviz_stats.ess(posterior, method="bulk"),
            "ess_tail": arviz_stats.ess(posterior, method="tail", prob=TAILS),
        }
    names = xr.DataArray(list(columns), dims="summary", name="summary")
    stacked = xr.concat(list(columns.values()), dim=names)
    return dataset_to_dataframe(stacked, sample_dims=["summary"]).T.astype(float)


@dataclass(frozen=True)
class _Run:
    """How the draws were made, and whether the marginal method is an alternative."""

    method: str
    draws: int
    num_warmup: int
    target_accept_prob: float
    integrable: bool
    enough: int

    @classmethod
    def of(cls, tree: xr.DataTree, table: pd.DataFrame, least: int) -> _Run:
        attrs, posterior = tree.attrs, tree["posterior"].to_dataset()
        method = str(attrs["method"])
        # The marginal method does not support many predictors.
        many = posterior.sizes.get(PREDICTOR, 0) > MAX_MARGINAL_SLOPES
        return cls(
            method,
            posterior.sizes["draw"],
            int(attrs.get("num_warmup", 500)),
            float(attrs.get("target_accept_prob", 0.8)),
            method not in ("marginal", INTEGRATE) and not (many and read_model(tree).population),
            _enough(posterior.sizes["draw"], table[["ess_bulk", "ess_tail"]], least),
        )

    def longer(self) -> dict[str, Any]:
        return {"draws": self.enough, "num_warmup": 2 * self.num_warmup}


def _enough(draws: int, ess: pd.DataFrame, least: int) -> int:
    """Return the draws per chain for twice the ESS needed, at least doubled, rounded up to 100."""
    smallest = float(np.nanmin(ess.to_numpy())) if ess.notna().any(axis=None) else float(least)
    lacking = np.clip(least / max(smallest, 1.0), 1.0, 50.0)
    return 100 * math.ceil(2 * draws * lacking / 100)


def _after_the_data(finding: Finding) -> Finding:
    advice = "first what is said above of the data and the priors"
    return replace(finding, advice=advice, command=advice)


def _incomplete(tree: xr.DataTree) -> Finding | None:
    attrs = tree.attrs
    if attrs["complete"]:
        return None
    stopped_by = attrs.get("stopped_by", "")
    ends = {INTERRUPTED: "was interrupted", MAX_SECONDS: "ran out of time"}
    what = (
        f"The run is incomplete: it {ends.get(stopped_by, 'ended')} after "
        f"{tree['posterior'].sizes['draw']} draws a chain."
    )
    if "checkpoint" in attrs:
        path = str(attrs["checkpoint"])
        return Finding(what, f"resume({path!r})", f"radon-numpyro resume {shlex.quote(path)}")
    if stopped_by == MAX_SECONDS and "max_seconds" in attrs:
        more = 2 * float(attrs["max_seconds"])
        return Finding.advising(what, "{max_seconds}, or more", max_seconds=more)
    return Finding.advising(
        what,
        "the same fit again, with {checkpoint} to be able to go on after an interruption",
        checkpoint="run.checkpoint",
    )


def _chains(chains: int, tree: xr.DataTree) -> Finding | None:
    if chains > 1 or is_integrated(tree):
        return None
    return Finding.advising(
        "One chain: R-hat cannot see whether it missed a part of the posterior.",
        "{chains}",
        chains=4,
    )


def _worst(values: pd.Series, *, largest: bool) -> str:
    ordered = values.sort_values(ascending=not largest, na_position="first")
    form = "{:.4f}" if largest else "{:.0f}"
    shown = ", ".join(f"{name} {form.format(value)}" for name, value in ordered.head(3).items())
    return f"{shown}{', ...' if len(ordered) > 3 else ''}"


def _rhat(table: pd.DataFrame, run: _Run) -> Finding | None:
    bad = table["r_hat"][~(table["r_hat"] <= MAX_RHAT)]
    if bad.empty:
        return None
    return _advising_method(
        f"R-hat above {MAX_RHAT} or not a number for {len(bad)} of {len(table)} parameters "
        f"({_worst(bad, largest=True)}): the chains disagree.",
        "{draws} and {num_warmup}",
        run,
        **run.longer(),
    )


def _ess(table: pd.DataFrame, least: int, run: _Run) -> Finding | None:
    ess = table[["ess_bulk", "ess_tail"]].min(axis=1, skipna=False)
    bad = ess[~(ess >= least)]
    if bad.empty:
        return None
    return _advising_method(
        f"Effective sample size below {least} for {len(bad)} of {len(table)} parameters "
        f"({_worst(bad, largest=False)}): quantiles and standard errors are unreliable.",
        "{draws}",
        run,
        draws=run.enough,
    )


def _divergences(count: int, total: int, run: _Run) -> Finding | None:
    if not count:
        return None
    what = f"{count} of {total} transitions diverged: a part of the posterior was not reached."
    higher = [accept for accept in ACCEPT_PROBS if accept > run.target_accept_prob]
    if higher:
        return _advising_method(what, "{target_accept_prob}", run, target_accept_prob=higher[0])
    return _advising_method(what, "{num_warmup}", run, num_warmup=2 * run.num_warmup)


def _saturated(n_steps: np.ndarray, max_tree_depth: int) -> Finding | None:
    share = float((n_steps >= 2**max_tree_depth - 1).mean())
    if share < 0.01:
        return None
    return Finding.advising(
        f"{share:.0%} of the trajectories reached the tree depth of {max_tree_depth}: they were "
        "cut short.",
        "{max_tree_depth}, or predictors that are centred and scaled",
        max_tree_depth=max_tree_depth + 2,
    )


def _energy(bfmi: float, run: _Run) -> Finding | None:
    if bfmi >= MIN_BFMI:
        return None
    return _advising_method(
        f"E-BFMI {bfmi:.2f} is below {MIN_BFMI}: the momenta change the energy too little.",
        "{draws} and {num_warmup}",
        run,
        **run.longer(),
    )


def _advising_method(what: str, template: str, run: _Run, **arguments: Any) -> Finding:
    """Advise the marginal method first if the draws come from another and the model supports it."""
    if not run.integrable:
        return Finding.advising(what, template, **arguments)
    return Finding.advising(what, "{method}, or " + template, method="marginal", **arguments)
