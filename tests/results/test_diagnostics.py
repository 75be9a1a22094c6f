"""Draws that can be trusted pass; each fault is found, alone, and told with what to try.

Every tree here is made by hand. Only the fault at hand is put into it.
"""

import json
import re

import numpy as np
import pytest
import xarray as xr

from radon_numpyro import diagnose
from radon_numpyro.data.findings import Finding, to_json
from radon_numpyro.results.diagnostics import (
    MAX_RHAT,
    MIN_BFMI,
    MIN_ESS_PER_CHAIN,
    Diagnosis,
    drawn_again,
)

CHAINS, DRAWS = 4, 500


def iid(chains=CHAINS, draws=DRAWS, seed=0):
    return np.random.default_rng(seed).normal(size=(chains, draws))


def autoregressive(rho, chains=CHAINS, draws=DRAWS):
    """Chains that start in their stationary distribution, each draw leaning on the last."""
    noise = iid(chains, draws, seed=1)
    values = noise.copy()
    for i in range(1, draws):
        values[:, i] = rho * values[:, i - 1] + np.sqrt(1 - rho**2) * noise[:, i]
    return values


def make_tree(chains=CHAINS, draws=DRAWS, method="marginal", complete=1, sites=(), **stats):
    dims = ("chain", "draw")
    posterior = {
        "mu": (dims, 50 + 0.2 * iid(chains, draws, seed=2)),
        "alpha": ((*dims, "county"), np.stack([iid(chains, draws, s) for s in (3, 4)], axis=-1)),
    }
    posterior |= {name: (dims, values) for name, values in dict(sites).items()}
    sample_stats = {
        "diverging": np.zeros((chains, draws), dtype=bool),
        "n_steps": np.full((chains, draws), 7),
        "energy": iid(chains, draws, seed=5),
    } | stats
    return xr.DataTree.from_dict(
        {
            "/": xr.Dataset(attrs={"method": method, "complete": complete, "max_tree_depth": 10}),
            "posterior": xr.Dataset(posterior, coords={"county": ["CASS", "ST LOUIS"]}),
            "sample_stats": xr.Dataset({name: (dims, v) for name, v in sample_stats.items()}),
            "advi": xr.Dataset(attrs={"verdict": "only to start NUTS (k-hat 1.00)"}),
        }
    )


def only_finding(tree):
    diagnosis = diagnose(tree)
    assert not diagnosis.ok
    assert len(diagnosis.findings) == 1, [f.what for f in diagnosis.findings]
    return diagnosis.findings[0]


def test_independent_draws_can_be_trusted():
    diagnosis = diagnose(make_tree())
    assert diagnosis.findings == ()
    assert diagnosis.ok
    assert diagnosis.num_draws == CHAINS * DRAWS
    assert diagnosis.num_divergences == 0
    assert list(diagnosis.table.index) == ["mu", "alpha[CASS]", "alpha[ST LOUIS]"]
    assert list(diagnosis.table.columns) == ["r_hat", "ess_bulk", "ess_tail"]
    assert diagnosis.max_rhat == diagnosis.table["r_hat"].max() < 1.005
    assert diagnosis.min_ess == diagnosis.table[["ess_bulk", "ess_tail"]].min().min() > 1500
    # Twice the variance of one over that of the other: white noise has 2.
    assert diagnosis.min_bfmi == pytest.approx(2, abs=0.3)
    assert str(diagnosis) == (
        "Good: the draws can be trusted.\n"
        f"  2000 draws, largest R-hat {diagnosis.max_rhat:.4f}, smallest ESS "
        f"{diagnosis.min_ess:.0f}, 0 divergences, smallest E-BFMI {diagnosis.min_bfmi:.2f}\n"
        "  ADVI: only to start NUTS (k-hat 1.00)"
    )


def test_findings_are_printed_with_their_advice():
    tree = make_tree(diverging=iid() > 2.5, n_steps=np.full((CHAINS, DRAWS), 1023))
    diagnosis = diagnose(tree)
    lines = str(diagnosis).splitlines()
    assert lines[0] == "Do not trust these numbers yet."
    assert len(diagnosis.findings) == 2
    for k, finding in enumerate(diagnosis.findings):
        assert lines[2 + 2 * k] == f"  - {finding.what}"
        assert lines[3 + 2 * k] == f"    Try: {finding.advice}"
    assert lines[-1] == "  ADVI: only to start NUTS (k-hat 1.00)"
    assert len(lines) == 7


# One fault at a time


def test_chains_that_disagree():
    apart = iid() + np.array([0.0, 0.0, 0.0, 0.5])[:, None]
    finding = only_finding(make_tree(sites={"apart": apart}))
    expected = r"R-hat above 1\.01 or not a number for 1 of 4 parameters \(apart 1\.0\d+\)"
    assert re.match(expected, finding.what)
    assert finding.advice == "draws=1000 and num_warmup=1000"
    other = make_tree(sites={"apart": apart}, method="noncentered")
    assert only_finding(other).advice.startswith("method='marginal', or draws=1000")


def test_the_worst_three_are_named_first():
    shifts = {"a": 0.5, "b": 3.0, "c": 1.0, "d": 2.0}
    sites = {
        name: iid(seed=6) + np.array([0.0, 0.0, 0.0, shift])[:, None]
        for name, shift in shifts.items()
    }
    what = diagnose(make_tree(sites=sites)).findings[0].what
    assert "for 4 of 7 parameters" in what
    assert re.search(r"\(b [\d.]+, d [\d.]+, c [\d.]+, \.\.\.\)", what)


def test_draws_that_lean_on_one_another():
    """About a tenth as many as there are, in chains that agree with one another to the digit."""
    halves = autoregressive(0.8).reshape(2 * CHAINS, DRAWS // 2)
    halves = (halves - halves.mean(1, keepdims=True)) / halves.std(1, keepdims=True)
    finding = only_finding(make_tree(sites={"slow": halves.reshape(CHAINS, DRAWS)}))
    expected = r"Effective sample size below 400 for 1 of 4 parameters \(slow \d+[\d.]*\)"
    assert re.match(expected, finding.what)
    # For twice the 400 that are needed, since few draws say little of how many they are worth.
    assert re.fullmatch(r"draws=\d+00", finding.advice)
    draws, ess = int(finding.advice[6:]), float(re.search(r"slow ([\d.]+)", finding.what)[1])
    assert 800 <= draws / DRAWS * ess <= 900


def test_tails_that_come_in_runs_are_found_where_the_bulk_is_well():
    values = iid(seed=7) * np.exp(autoregressive(0.97))
    diagnosis = diagnose(make_tree(sites={"tails": values}))
    row = diagnosis.table.loc["tails"]
    assert row["ess_tail"] < 400 < row["ess_bulk"]
    assert any("Effective sample size below 400 for 1 of 4" in f.what for f in diagnosis.findings)


def test_divergences():
    diverging = np.zeros((CHAINS, DRAWS), dtype=bool)
    diverging[2, 17] = True
    tree = make_tree(diverging=diverging)
    finding = only_finding(tree)
    assert finding.what.startswith("1 of 2000 transitions diverged")
    assert finding.advice == "target_accept_prob=0.95"
    assert diagnose(tree).num_divergences == 1
    centered = only_finding(make_tree(diverging=diverging, method="centered"))
    assert centered.advice.startswith("method='marginal'")
    assert "target_accept_prob=0.95" in centered.advice
    tree.attrs["target_accept_prob"] = 0.99
    assert only_finding(tree).advice == "target_accept_prob=0.999"


def test_trajectories_that_were_cut_short():
    n_steps = np.full((CHAINS, DRAWS), 7)
    n_steps[:2] = 1023
    finding = only_finding(make_tree(n_steps=n_steps))
    assert finding.what.startswith("50% of the trajectories reached the tree depth of 10")
    assert finding.advice.startswith("max_tree_depth=12")


def test_energy_that_hardly_moves():
    finding = only_finding(make_tree(energy=np.cumsum(iid(), axis=1), method="centered"))
    assert re.match(r"E-BFMI 0\.0\d is below 0\.3", finding.what)
    assert "method='marginal'" in finding.advice


def test_one_bad_chain_is_enough_for_the_energy():
    energy = iid(seed=5)
    energy[3] = np.cumsum(energy[3])
    assert "E-BFMI" in only_finding(make_tree(energy=energy)).what


def test_one_chain():
    finding = only_finding(make_tree(chains=1))
    assert finding.what.startswith("One chain: R-hat cannot see")
    assert finding.advice == "chains=4"


@pytest.mark.parametrize(
    ("stopped_by", "words"),
    [("interrupted", "was interrupted"), ("max_seconds", "ran out of time")],
)
def test_an_incomplete_run(stopped_by, words):
    tree = make_tree(complete=0)
    tree.attrs["stopped_by"] = stopped_by
    finding = only_finding(tree)
    assert finding.what == f"The run is incomplete: it {words} after 500 draws a chain."
    assert finding.advice.startswith("the same fit again, with checkpoint='run.checkpoint'")
    tree.attrs["checkpoint"] = "my run"
    assert only_finding(tree).advice == "resume('my run')"
    assert only_finding(tree).command == "radon-numpyro resume 'my run'"
    # Of a tree that does not say why.
    assert "it ended after 500 draws" in only_finding(make_tree(complete=0)).what


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_draws_that_are_not_finite(bad):
    values = iid()
    values[1, 40] = bad
    diagnosis = diagnose(make_tree(sites={"broken": values}))
    rhat, ess = diagnosis.findings
    assert "or not a number for 1 of 4 parameters (broken nan)" in rhat.what
    assert "for 1 of 4 parameters (broken nan)" in ess.what
    assert np.isnan(diagnosis.max_rhat)
    assert np.isnan(diagnosis.min_ess)
    assert not diagnosis.ok
    assert "largest R-hat nan, smallest ESS nan" in str(diagnosis)


def test_draws_that_never_move():
    finding = only_finding(make_tree(sites={"stuck": np.full((CHAINS, DRAWS), 1.5)}))
    assert "or not a number for 1 of 4 parameters (stuck nan)" in finding.what


def test_a_broken_draw_of_a_single_chain():
    """R-hat has nothing to say of one chain, so another check must find it."""
    values = iid(chains=1)
    values[0, 9] = np.inf
    _, finding = diagnose(make_tree(chains=1, sites={"broken": values})).findings
    assert "Effective sample size below 100 for 1 of 4 parameters (broken nan)" in finding.what


def test_an_energy_that_is_not_a_number():
    tree = make_tree(energy=np.full((CHAINS, DRAWS), np.nan))
    assert "E-BFMI nan" in only_finding(tree).what
    # Not to be taken for draws that had no energy.
    assert "0 divergences, smallest E-BFMI nan" in str(diagnose(tree))


def exact_tree(**sites):
    """Draws without a sampler, as those of the individual model are by default."""
    tree = make_tree(method="marginal", sites=sites)
    del tree["sample_stats"]
    del tree.attrs["max_tree_depth"]
    return tree


def test_exact_draws_have_no_sampler_to_be_wrong():
    diagnosis = diagnose(exact_tree())
    assert diagnosis.ok
    assert diagnosis.num_divergences == 0
    assert str(diagnosis).splitlines()[1].endswith("independent and exact")


def test_exact_draws_that_are_not_finite_are_found():
    broken = iid()
    broken[0, 0] = np.nan
    (ess,) = diagnose(exact_tree(broken=broken)).findings
    assert "Effective sample size" in ess.what


def test_independent_draws_need_no_r_hat():
    # R-hat of a few independent draws exceeds 1.01 by chance, and there is no chain to doubt.
    shifted = iid() + np.arange(CHAINS)[:, None] * 0.2
    assert diagnose(exact_tree(shifted=shifted)).max_rhat > 1.01
    assert diagnose(exact_tree(shifted=shifted)).ok


# At the edge


def findings_about(tree, word):
    return [f for f in diagnose(tree).findings if word in f.what]


@pytest.mark.parametrize(("saturated", "found"), [(19, False), (20, True)])
def test_one_saturated_trajectory_in_a_hundred_counts(saturated, found):
    n_steps = np.full((CHAINS, DRAWS), 1022)
    n_steps.flat[:saturated] = 1023
    assert bool(findings_about(make_tree(n_steps=n_steps), "tree depth")) == found


def test_the_tree_depth_is_that_of_the_run():
    tree = make_tree(n_steps=np.full((CHAINS, DRAWS), 7))
    tree.attrs["max_tree_depth"] = 3
    finding = only_finding(tree)
    assert finding.what.startswith("100% of the trajectories reached the tree depth of 3")
    assert finding.advice.startswith("max_tree_depth=5")


def with_bfmi(value):
    """Energies 0, 0, s, s, ...: half of the steps are s, so E-BFMI is about 2 before the trend."""
    energy = iid(seed=5)
    trend = np.linspace(-1, 1, DRAWS)
    low, high = 0.0, 1e3
    for _ in range(100):
        middle = (low + high) / 2
        trial = energy + middle * trend
        bfmi = ((np.diff(trial, axis=1) ** 2).mean(1) / trial.var(axis=1, ddof=1)).min()
        low, high = (middle, high) if bfmi > value else (low, middle)
    return energy + low * trend


@pytest.mark.parametrize(("value", "found"), [(MIN_BFMI + 1e-3, False), (MIN_BFMI - 1e-3, True)])
def test_the_edge_of_the_energy(value, found):
    tree = make_tree(energy=with_bfmi(value))
    assert diagnose(tree).min_bfmi == pytest.approx(value, abs=1e-4)
    assert bool(findings_about(tree, "E-BFMI")) == found


def test_the_edges_of_rhat_and_of_the_effective_sample_size(monkeypatch):
    """Exactly at the edge is good, the next number is not."""
    tree = make_tree()
    table = diagnose(tree).table
    worst_rhat = float(table["r_hat"].max())
    worst_ess = float(table[["ess_bulk", "ess_tail"]].min().min())
    module = "radon_numpyro.results.diagnostics"
    monkeypatch.setattr(f"{module}.MAX_RHAT", worst_rhat)
    monkeypatch.setattr(f"{module}.MIN_ESS_PER_CHAIN", worst_ess / CHAINS)
    assert diagnose(tree).ok
    monkeypatch.setattr(f"{module}.MAX_RHAT", np.nextafter(worst_rhat, 0))
    assert "R-hat" in only_finding(tree).what
    monkeypatch.setattr(f"{module}.MAX_RHAT", 2.0)
    monkeypatch.setattr(f"{module}.MIN_ESS_PER_CHAIN", np.nextafter(worst_ess / CHAINS, np.inf))
    assert "Effective sample size" in only_finding(tree).what


def test_thresholds_are_those_of_the_literature():
    assert (MAX_RHAT, MIN_ESS_PER_CHAIN, MIN_BFMI) == (1.01, 100, 0.3)


def test_a_saved_tree_gives_the_same_diagnosis(tmp_path):
    tree = make_tree(diverging=iid() > 2.5)
    tree.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    loaded = diagnose(xr.load_datatree(tmp_path / "fit.nc", engine="h5netcdf"))
    assert isinstance(loaded, Diagnosis)
    assert loaded.findings == diagnose(tree).findings
    assert str(loaded) == str(diagnose(tree))


# What was found of the data


def with_findings(tree, *findings):
    tree.attrs["findings"] = to_json(findings)
    return tree


def test_a_caution_is_told_and_leaves_the_verdict():
    caution = Finding("9 looks like a code.", "missing={'x': 9}", "--missing x=9", caution=True)
    diagnosis = diagnose(with_findings(make_tree(), caution))
    assert diagnosis.ok
    lines = str(diagnosis).splitlines()
    assert lines[0] == "Good: the draws can be trusted. But read this first:"
    assert lines[2:4] == ["  - 9 looks like a code.", "    Try: missing={'x': 9}"]
    assert "    Try: --missing x=9" in diagnosis.text(command=True).splitlines()


def test_data_that_spoil_a_number_come_before_draws_that_more_of_would_not_help():
    spoilt = Finding("'x' is the same in every row.", "leave 'x' out of x")
    diagnosis = diagnose(with_findings(make_tree(diverging=iid() > 2.5), spoilt))
    assert not diagnosis.ok
    first, second = diagnosis.findings
    assert first == spoilt
    assert "diverged" in second.what
    assert second.advice == second.command == "first what is said above of the data and the priors"
    # A caution does not take the advice away.
    caution = Finding("9 looks like a code.", "mend it", caution=True)
    second = diagnose(with_findings(make_tree(diverging=iid() > 2.5), caution)).findings[1]
    assert second.advice == "target_accept_prob=0.95"


def test_chains_that_were_run_again_are_told():
    tree = make_tree()
    assert drawn_again(tree) is None
    run = {"target_accept_prob": 0.8, "draws": 500, "divergences": 3}
    tree.attrs |= {"target_accept_prob": 0.95, "earlier_runs": json.dumps([run])}
    assert drawn_again(tree) == (
        "Draws diverged (3 of 2000 at 0.8), so all chains were run again, with a target acceptance "
        "of 0.95"
    )
