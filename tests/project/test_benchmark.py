"""The benchmark: what it measures, judges and reports; and a run of it without the peers."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import benchmark
import numpy as np
import pytest
from benchmarks import cases, measured, process, quality, rows
from benchmarks.cases import QUICK
from benchmarks.process import NUMPYRO, OURS, PYMC, Laboratory, Peer, find_peers
from benchmarks.report import figure, markdown
from benchmarks.targets import TARGETS, targets

from radon_numpyro import Priors, fit_advi, load_radon

ROOT = Path(__file__).parents[2]
NAMES = [
    "nuts_process_cold",
    "nuts_process_cached",
    "ess_per_second",
    "integrate_process_lme4",
    "integrate_process_cold",
    "integrate_ess_per_second",
    "advi_cold",
    "advi_compiled",
    "tutorial_process_cold",
    "individual_85",
    "rows_growth",
    "groups_1e5",
    "kfold_10",
    "groups_125k_intercepts",
    "groups_125k_slopes",
    "groups_125k_coefficients",
]


def spread(*values):
    return measured.spread(values)


# Quality


def draws(mean=0.0, sd=1.0, correlation=0.0, seed=0):
    """Chains of known autocorrelation, shape (4, 2000, 1)."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((4, 2000))
    chain = noise[:, :1]
    out = [chain[:, 0]]
    for t in range(1, 2000):
        out.append(correlation * out[-1] + np.sqrt(1 - correlation**2) * noise[:, t])
    return mean + sd * np.stack(out, axis=1)[..., None]


REFERENCE = {"eps[0]": {"mean": 3.0, "sd": 0.5}}


def agreement(**options):
    return quality.agreement(quality.moments({"eps": draws(**options)}), REFERENCE)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_draws_of_the_reference_agree_with_it(correlation):
    found = agreement(mean=3.0, sd=0.5, correlation=correlation)
    assert found["agrees"]
    assert 0 < found["z"] < 4.5


@pytest.mark.parametrize("wrong", [{"mean": 3.1, "sd": 0.5}, {"mean": 3.0, "sd": 0.6}])
def test_draws_of_another_mean_or_sd_do_not(wrong):
    found = agreement(**wrong)
    assert not found["agrees"]
    assert found["mean_off"] == pytest.approx((wrong["mean"] - 3.0) / 0.5, abs=0.05)
    assert found["sd_off"] == pytest.approx(wrong["sd"] / 0.5 - 1, abs=0.05)


def test_an_estimate_without_monte_carlo_error_is_compared_in_posterior_sds_alone():
    found = quality.agreement({"eps[0]": {"mean": 3.05, "sd": 0.45}}, REFERENCE)
    assert found == {"mean_off": pytest.approx(0.1), "sd_off": pytest.approx(0.1)}


def test_convergence_is_the_worst_of_all_numbers():
    good, slow = draws(), draws(correlation=0.95, seed=1)
    found = quality.convergence({"a": good, "b": np.concatenate([good, slow], axis=-1)})
    assert found["ess_bulk"] == quality.convergence({"b": slow})["ess_bulk"] < 500
    assert quality.converged(quality.convergence({"a": good}))
    moved = good + np.arange(4)[:, None, None]
    assert not quality.converged(quality.convergence({"a": moved}))


def calls(tmp_path, *chains):
    """Runs of one call each, whose draws are those given."""
    runs = []
    for n, values in enumerate(chains):
        np.savez(tmp_path / f"draws-{n}.npz", eps=values[..., 0])
        call = {"kind": "first" if n == 0 else "sampling", "seconds": 2.0, "diverging": n}
        runs.append({"calls": [call | {"draws": tmp_path / f"draws-{n}.npz"}]})
    return runs


def test_good_is_what_mostly_converges_and_always_agrees(tmp_path):
    right = [draws(mean=3.0, sd=0.5, seed=n) for n in range(2)]
    stuck = right[0] + np.arange(4)[:, None, None] / 10
    found = measured.judged(calls(tmp_path, *right, stuck))
    assert found["good"]
    assert found["r_hat"]["high"] > 1.01 > found["r_hat"]["median"]
    assert found["diverging"]["high"] == 2
    # Only calls of a compiled program give a rate.
    assert found["ess_per_second"]["n"] == 2
    assert not measured.judged(calls(tmp_path, right[0], stuck, stuck))["good"]
    wrong = draws(mean=3.2, sd=0.5, seed=5)
    assert not measured.judged(calls(tmp_path, *right, wrong), REFERENCE)["good"]
    assert measured.judged(calls(tmp_path, *right), REFERENCE)["good"]


def test_draws_come_back_as_they_were_written(tmp_path):
    beta = np.arange(2 * 3 * 300 * 1.0).reshape(2, 3, 300, 1)
    np.savez(tmp_path / "draws.npz", beta=beta, eps=beta[:, :, 0, 0])
    loaded = quality.load(tmp_path / "draws.npz")
    np.testing.assert_array_equal(loaded["beta"], beta[:, :, : quality.CHECKED, 0])
    assert loaded["eps"].shape == (2, 3, 1)
    table = "mu_alpha,eps,chain\n" + "".join(f"{c}.{d},{d},{c}\n" for c in (1, 2) for d in range(3))
    (tmp_path / "draws.csv").write_text(table)
    loaded = quality.load(tmp_path / "draws.csv")
    assert list(loaded) == ["mu_alpha", "eps"]
    np.testing.assert_array_equal(loaded["mu_alpha"][..., 0], [[1.0, 1.1, 1.2], [2.0, 2.1, 2.2]])


def test_the_bound_of_a_guide_is_the_one_that_advi_reports():
    data = load_radon()
    found = fit_advi(data, num_steps=1000, priors=Priors.tutorial(), progress_bar=False)
    guide = {f"loc of {n}": v for n, v in found.locs.items()}
    guide |= {f"scale of {n}": v for n, v in found.scales.items()}
    value, error = measured.bound(guide, data)
    # Of the last steps, between which the guide hardly moves.
    steps = found.elbo[-200:]
    allowed = 4.5 * (error + steps.std() / np.sqrt(200)) + 0.5
    assert value == pytest.approx(steps.mean(), abs=allowed)
    worse = guide | {"loc of eps": guide["loc of eps"] + 5 * guide["scale of eps"]}
    assert measured.bound(worse, data)[0] < value - 5


# Rows


def test_chunks_are_of_one_population_and_differ():
    population = rows.Population(6, 2)
    first, second = (population.draw(5000, chunk) for chunk in (0, 1))
    assert not np.array_equal(first[0], second[0])
    assert np.bincount(first[2], minlength=6).min() >= 2
    for y, x, group in (first, second):
        assert (len(y), x.shape, len(group)) == (5000, (5000, 2), 5000)
        assert set(x[:, 0]) == {0.0, 1.0}
        residual = y - population.alpha[group] - (x * population.beta[group]).sum(1)
        assert residual.std() == pytest.approx(rows.TRUTH["eps"], rel=0.05)


def test_groups_are_picked_from_the_smallest_to_the_largest():
    group = np.repeat([0, 1, 2, 3, 4], [9, 1, 5, 3, 7])
    assert cases.picked_groups(group, 3) == [1, 2, 0]


# Targets


def result(ours, theirs, good=True):
    """The case of NUTS with a row of ours and one of PyMC's; what is not given is 1."""
    named = (
        {"peer": OURS, "variant": None, "good": good},
        {"peer": PYMC, "variant": "noncentered", "good": True},
    )
    usual = dict.fromkeys(("cold", "cached", "ess_per_second"), 1.0)
    table = [
        names | {name: spread(value) for name, value in (usual | given).items()}
        for names, given in zip(named, (ours, theirs), strict=True)
    ]
    return {"nuts": {"date": "2026", "quick": False, "table": table}}


def row(name, found):
    return next(r for r in targets(found) if r["name"] == name)


def test_the_targets_are_those_set():
    assert list(TARGETS) == NAMES
    for found in targets({}):
        assert set(found) >= {"name", "measured", "target", "met", "how"}
        assert found["measured"] is found["met"] is None
        assert found["how"].startswith("not run")


@pytest.mark.parametrize(("seconds", "met"), [(3.9, True), (4.1, False)])
def test_a_ratio_is_met_below_its_target(seconds, met):
    found = result({"cold": seconds, "cached": 1.0}, {"cold": 10.0, "cached": 9.0})
    cold = row("nuts_process_cold", found)
    assert cold["measured"] == pytest.approx(seconds / 10)
    assert (cold["target"], cold["met"]) == (0.4, met)


def test_a_fast_wrong_answer_meets_nothing():
    found = result({"cold": 1.0, "cached": 1.0}, {"cold": 10.0, "cached": 9.0}, good=False)
    assert row("nuts_process_cold", found)["met"] is False
    assert "did not pass" in row("nuts_process_cold", found)["how"]


def test_a_quick_run_meets_nothing_and_misses_nothing():
    found = result({"cold": 1.0}, {"cold": 10.0})
    found["nuts"]["quick"] = True
    assert row("nuts_process_cold", found)["met"] is None


def test_draws_a_second_are_compared_with_the_best_that_converged():
    found = result({"ess_per_second": 5000.0}, {"ess_per_second": 100.0})
    found["nuts"]["table"] += [
        {"peer": PYMC, "variant": name, "good": good, "ess_per_second": spread(rate)}
        for name, good, rate in (("mixed", True, 400.0), ("centered", False, 9000.0))
    ]
    rate = row("ess_per_second", found)
    assert (rate["measured"], rate["best"], rate["met"]) == (12.5, "mixed", False)


def test_memory_counts_beside_the_time():
    for mib, met in ((3000.0, True), (5000.0, False)):
        ours = {"peer": OURS, "label": 100_000, "good": True}
        ours |= {"cold": spread(40.0), "peak_mib": spread(mib)}
        small = ours | {"label": 100, "cold": spread(900.0)}
        found = {"groups": {"date": "2026", "quick": False, "table": [small, ours]}}
        assert row("groups_1e5", found)["measured"] == 40.0
        assert row("groups_1e5", found)["met"] is met


def test_of_very_many_groups_the_slower_design_counts_for_the_coefficients():
    ours = {"peer": OURS, "good": True, "cpu_scales": spread(0.2), "cpu_coefficients": spread(1.0)}
    slower = {"variant": "slopes", "cpu_scales": spread(6.0)}
    slower["cpu_coefficients"] = spread(2.0)
    table = [ours | {"variant": "intercepts"}, ours | slower]
    found = {"many": {"date": "2026", "quick": False, "table": table}}
    names = [f"groups_125k_{part}" for part in ("intercepts", "slopes", "coefficients")]
    assert [row(name, found)["measured"] for name in names] == [0.2, 6.0, 2.0]
    assert [row(name, found)["met"] for name in names] == [True, False, True]
    table[1]["good"] = False
    assert row(names[2], found)["met"] is False


def test_without_the_peer_a_ratio_is_not_met_but_said_to_be_unknown():
    found = result({"cold": 1.0}, {"cold": 10.0})
    del found["nuts"]["table"][1]
    assert row("nuts_process_cold", found)["met"] is None
    assert "no peer there" in row("nuts_process_cold", found)["how"]


def test_a_loop_of_all_groups_is_its_first_and_the_others_multiplied():
    """The first compiles: it counts once."""
    taken = (("group 3", 20.0), ("group 5", 2.0), ("group 8", 4.0), ("compiled, group 3", 1.0))
    run = {"imports": 1.5, "calls": [{"kind": k, "seconds": s} for k, s in taken]}
    assert measured._whole_loop(run, "group", 85) == 1.5 + 20.0 + 84 * 3.0
    assert measured._whole_loop({"imports": 1.5, "calls": []}, "group", 85) is None


# Processes


def worker(tmp_path, code):
    """A peer that is a few lines of Python."""
    file = tmp_path / "peer.py"
    file.write_text(code)
    return Peer(PYMC, (sys.executable, str(file)))


WRITES = """
import json, os, sys
from pathlib import Path
folder = Path(sys.argv[1])
cache = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
full = cache.exists()
cache.mkdir(parents=True, exist_ok=True)
task = json.loads((folder / "task.json").read_text())
found = {"calls": [{"kind": "first", "seconds": 1.0, "draws": "draws-0.npz"}], "cache": full}
(folder / "result.json").write_text(json.dumps(found | {"seen": task}))
"""


@pytest.mark.slow
def test_plain_numpyro_runs_and_what_it_compiles_is_counted(tmp_path):
    file = ROOT / "scripts/benchmarks/with_numpyro.py"
    peer = Peer(NUMPYRO, (sys.executable, str(file)))
    lab = Laboratory({NUMPYRO: peer}, tmp_path, say=lambda text: None)
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=12), rng.normal(size=(12, 1)), np.arange(12) % 3
    found = lab.run(NUMPYRO, "nuts", "cold", drawn, draws=5, chains=1)
    assert found is not None, lab.runs
    (call,) = found["calls"]
    assert call["compiled"] > 0
    assert np.load(call["draws"])["alpha"].shape == (1, 5, 3)


def test_a_cold_process_finds_no_cache_and_the_next_one_its_own(tmp_path):
    lab = Laboratory({PYMC: worker(tmp_path, WRITES)}, tmp_path, say=lambda text: None)
    kinds = ("cold", "cached", "cold")
    assert [lab.run(PYMC, "nuts", kind, seed=3)["cache"] for kind in kinds] == [False, True, False]
    other = lab.run(PYMC, "nuts", "cached", cache="other", seed=3)
    assert other["cache"] is False
    assert other["seen"] == {"action": "nuts", "seed": 3, "again": 0}
    assert other["calls"][0]["draws"].name == "draws-0.npz"
    assert other["seconds"] > 0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('no such sampler')", "ValueError: no such sampler"),
        ("import time; time.sleep(60)", "stopped after 1 s"),
    ],
)
def test_a_peer_that_fails_or_hangs_is_recorded_and_no_more(tmp_path, code, reason):
    lab = Laboratory({PYMC: worker(tmp_path, code)}, tmp_path, say=lambda text: None)
    assert lab.run(PYMC, "nuts", "cold", limit=1.0) is None
    assert [run["failed"] for run in lab.runs] == [reason]


def test_peers_that_are_not_there_say_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    peers = find_peers(tmp_path / "python")
    assert [name for name, peer in peers.items() if peer.command] == [OURS]
    assert "nutpie is not installed" in peers[PYMC].absent
    assert peers["lme4"].absent == peers["rstanarm"].absent == "Rscript was not found"


# The whole, without the peers


def arguments(out, *more):
    return ["--quick", "--out", str(out), "--peers", str(out / "none"), *more]


@pytest.mark.slow
def test_a_case_runs_in_processes_of_its_own(tmp_path):
    """By the command; the case that compiles nothing."""
    command = [sys.executable, ROOT / "scripts/benchmark.py", *arguments(tmp_path)]
    done = subprocess.run(
        [*command, "--cases", "integrate"],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Without PyMC: nutpie is not installed" in done.stdout
    cases = json.loads((tmp_path / "benchmark.json").read_text())["cases"]
    assert list(cases) == ["integrate"]
    (table,) = cases["integrate"]["table"]
    assert table["cold"]["n"] == QUICK.again
    assert table["cold"]["low"] > table["imports"]["low"] > 0


@pytest.fixture
def in_this_process(monkeypatch):
    """Processes of the benchmark are calls in this one, where each shape is compiled once."""
    commands = []

    def run(command, **_):
        commands.append(command[1:-1])
        if command[1] == "-m":
            with monkeypatch.context() as patch:
                patch.setattr("sys.argv", [command[2], command[-1]])
                runpy.run_module(command[2], run_name="__main__")
        return subprocess.CompletedProcess(command, 0, "", "")

    # Of the module that starts processes alone.
    monkeypatch.setattr(
        process, "subprocess", SimpleNamespace(run=run, TimeoutExpired=TimeoutError)
    )
    return commands


@pytest.mark.slow
def test_every_case_runs_and_one_run_again_leaves_the_others(
    tmp_path, monkeypatch, in_this_process, agg
):
    monkeypatch.setenv("PATH", str(tmp_path))

    def run(*more):
        monkeypatch.setattr("sys.argv", ["benchmark.py", *arguments(tmp_path, *more)])
        benchmark.main()
        return json.loads((tmp_path / "benchmark.json").read_text())

    found = run()
    assert in_this_process.count(["-m", "benchmarks.with_radon_numpyro"]) > len(cases.CASES)
    assert list(found["cases"]) == list(cases.CASES)
    assert [target["name"] for target in found["targets"]] == NAMES
    for name, case in found["cases"].items():
        assert set(case["absent"]) == {PYMC, NUMPYRO, "lme4", "rstanarm"}, name
        assert case["failed"] == []
        assert {run["peer"] for run in case["table"]} == {OURS}
        assert case["machine"]["cores"] == os.cpu_count()
        assert case["versions"]["radon-numpyro"]
    growth = row("rows_growth", found["cases"])
    assert growth["measured"] > 0
    assert (growth["from_rows"], growth["to_rows"]) == (1_000, 10_000)
    # A second fit of the same shape compiles nothing, whatever the case.
    for name in ("nuts", "advi", "rows", "datasets"):
        for contestant in found["cases"][name]["table"]:
            assert contestant["compiled_again"]["high"] == 0, name
    assert found["cases"]["nuts"]["table"][0]["gradients_per_second"]["median"] > 0
    assert found["cases"]["nuts"]["table"][0]["z"] < quality.ALLOWED
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "benchmark.md").read_text() == markdown(found)

    again = run("--cases", "integrate")
    assert again["cases"].pop("integrate") != found["cases"].pop("integrate")
    assert again["cases"] == found["cases"]


def test_the_figure_shows_every_peer_that_is_there_and_nothing_of_others(agg):
    found = result({"cold": 4.0, "cached": 3.0}, {"cold": 10.0, "cached": 9.0})
    for entry in found["nuts"]["table"]:
        entry["ess_per_second"] = spread(1.0, 2.0, 4.0)
    drawn = figure({"cases": found, "targets": []})
    processes, rates, *growth = drawn.axes
    assert [t.get_text() for t in processes.get_yticklabels()] == [
        f"NUTS, {kind}: {peer}" for kind in ("cold", "cached") for peer in (OURS, PYMC)
    ]
    medians = [line.get_xdata() for line in rates.lines if line.get_marker() == "o"]
    assert [float(x[0]) for x in medians] == [2.0, 2.0]
    ranges = [line.get_xdata() for line in rates.lines if line.get_marker() != "o"]
    assert [list(x) for x in ranges] == [[1.0, 4.0]] * 2
    assert not growth, "no panel of a case that was not run"


@pytest.mark.skipif(not (ROOT / "figures/benchmark.md").exists(), reason="not measured yet")
def test_the_page_has_the_numbers_of_the_last_run():
    section = (ROOT / "docs/performance.md").read_text().partition("\n## ")[0]
    tables = [line for line in section.splitlines() if line.startswith("|")]
    assert len(tables) > len(NAMES)
    page = (ROOT / "figures/benchmark.md").read_text().splitlines()
    assert [line for line in tables if line not in page] == []
