"""Advice can be followed: it names what the interface that gives it has, and it helps."""

import inspect
import re
import shlex
from ast import literal_eval
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_diagnostics import CHAINS, DRAWS, autoregressive, iid, make_tree
from typer.testing import CliRunner

from radon_numpyro import GroupedData, diagnose, fit
from radon_numpyro.cli import app as cli
from radon_numpyro.inference.settings import Settings
from radon_numpyro.model.prior_conflict import ADVICE
from radon_numpyro.results.diagnostics import ACCEPT_PROBS

CASES = Path(__file__).parents[1] / "cases"
RAIL = [str(CASES / "rail.csv"), "--y", "travel", "--group", "Rail"]


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


def arguments_of(advice):
    """Arguments of Python that advice names."""
    found = re.findall(r"(\w+)=('[^']*'|[\w.]+)", advice)
    return {name: literal_eval(value) for name, value in found}


def options_of(command):
    """Options of the command line that advice names, as words."""
    words = [word.rstrip(",") for word in shlex.split(command)]
    taken = []
    for k, word in enumerate(words):
        if word.startswith("--"):
            taken += [word, words[k + 1]]
    return taken


def faults():
    """Trees with one fault each that more or other draws would mend, by name."""
    halves = autoregressive(0.8).reshape(2 * CHAINS, DRAWS // 2)
    halves = (halves - halves.mean(1, keepdims=True)) / halves.std(1, keepdims=True)
    apart = iid() + np.array([0.0, 0.0, 0.0, 0.5])[:, None]
    diverging = iid() > 2.5
    made = {
        "rhat": {"sites": {"apart": apart}},
        "ess": {"sites": {"slow": halves.reshape(CHAINS, DRAWS)}},
        "divergences": {"diverging": diverging},
        "tree depth": {"n_steps": np.full((CHAINS, DRAWS), 1023)},
        "energy": {"energy": np.cumsum(iid(), axis=1)},
        "one chain": {"chains": 1},
        "incomplete": {"complete": 0},
    }
    for name, options in made.items():
        for method in ("marginal", "noncentered"):
            yield f"{name}, {method}", make_tree(method=method, **options)
    for accept in ACCEPT_PROBS:
        tree = make_tree(diverging=diverging)
        tree.attrs["target_accept_prob"] = accept
        yield f"divergences at {accept}", tree
    tree = make_tree(complete=0)
    tree.attrs |= {"stopped_by": "max_seconds", "max_seconds": 30.0}
    yield "out of time", tree


FAULTS = dict(faults())


@pytest.mark.parametrize("name", FAULTS)
def test_python_and_the_command_line_are_advised_to_the_same_call(name, monkeypatch, tmp_path):
    """What the terminal says is typed, and gives `fit` the arguments that Python is told."""
    (finding,) = diagnose(FAULTS[name]).findings
    wanted = arguments_of(finding.advice)
    assert wanted, finding.advice
    assert set(wanted) <= set(inspect.signature(fit).parameters)
    names = {"model", "method", "draws", "chains", "num_warmup", "seed", "target_accept_prob"}
    names |= {"max_tree_depth", "chain_method", "coefficients", "dtype", "target_ess"}
    defaults = {n: p.default for n, p in inspect.signature(fit).parameters.items()}
    settings = {n: defaults[n] for n in names | {"max_seconds"}} | wanted
    settings.pop("checkpoint", None)
    Settings(**settings)

    given = {}

    def record(data, model, **arguments):
        given.update(arguments, model=model)
        raise KeyboardInterrupt

    monkeypatch.setattr("radon_numpyro.pipeline.fit", record)
    monkeypatch.chdir(tmp_path)
    result = run("fit", *RAIL, *options_of(finding.command))
    assert result.exit_code == 130, result.stderr
    assert {n: str(given[n]) for n in wanted} == {n: str(v) for n, v in wanted.items()}


def test_a_run_that_was_kept_is_resumed_by_the_command_that_is_advised(tmp_path):
    """An interrupted run: the words of the advice are typed, and the run goes on to its end."""
    frame = pd.read_csv(RAIL[0])
    data = GroupedData.from_frame(frame, y="travel", group="Rail")
    folder = tmp_path / "my run"
    tree = fit(data, checkpoint=folder, draws=8, num_advi_steps=0, progress_bar=False)
    tree.attrs |= {"complete": 0, "stopped_by": "interrupted", "checkpoint": str(folder)}
    finding = next(f for f in diagnose(tree).findings if "incomplete" in f.what)
    program, *words = shlex.split(finding.command)
    assert program == "radon-numpyro"
    result = run(*words, "--out", tmp_path, "--draws", "12")
    assert "12 draws" in result.stdout or "48 draws" in result.stdout, result.stderr
    assert finding.advice == f"resume({str(folder)!r})"


def test_more_draws_as_advised_are_enough():
    data = GroupedData.from_frame(pd.read_csv(RAIL[0]), y="travel", group="Rail")
    options = {"num_advi_steps": 0, "progress_bar": False}
    first = diagnose(fit(data, draws=100, **options))
    finding = next(f for f in first.findings if "Effective sample size" in f.what)
    second = diagnose(fit(data, **arguments_of(finding.advice), **options))
    assert not any("Effective sample size" in f.what for f in second.findings)


def test_the_advice_about_priors_is_an_option_and_an_argument(monkeypatch):
    given = {}

    def record(data, model, **arguments):
        given.update(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("radon_numpyro.pipeline.fit", record)
    python, command = ADVICE
    assert python.startswith("priors=None, ")
    assert run("fit", *RAIL, *options_of(command)).exit_code == 130
    assert given["priors"] is None
