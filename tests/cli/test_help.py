"""The help of every command: it fits a terminal of 80 columns, and its examples run."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import radon_numpyro
from radon_numpyro.cli import app as cli

DATASETS = Path(radon_numpyro.__file__).parent / "datasets"
COMMANDS = ["audit", "fit", "resume", "compare", "predict", "report", "doctor", "reproduce"]
# In the order in which each finds the files that the others wrote.
RUN = ["audit", "fit", "predict", "report", "resume", "compare", "doctor"]


def run(*arguments, **settings):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], **settings)


def help_of(*command):
    result = run(*command, "--help", env={"COLUMNS": "80"})
    assert result.exit_code == 0
    return result.stdout


def examples_of(*command):
    """Arguments of the examples in a help, each of which must be whole on one line."""
    found = re.findall(r"^ (?:Example|Or): (.*)$", help_of(*command), flags=re.M)
    return [shlex.split(line) for line in found]


def test_the_commands_are_those_that_are_tested_here():
    assert [command.name for command in cli.app.registered_commands] == COMMANDS


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_the_help_fits_80_columns_and_shows_two_examples(command):
    """Otherwise an example cannot be copied from a terminal of usual width."""
    text = help_of(*command)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text, "an option is truncated"
    examples = examples_of(*command)
    assert len(examples) == 2
    for program, name, *_ in examples:
        assert program == "radon-numpyro"
        assert name in (command or COMMANDS)


@pytest.mark.parametrize("name", ["audit", "fit", "compare"])
def test_the_examples_show_options_and_a_formula(name):
    by_options, by_formula = examples_of(name)
    assert {"--y", "--x", "--group"} <= set(by_options)
    assert "|" in by_formula[3]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the examples name."""
    monkeypatch.chdir(tmp_path)
    radon = pd.read_csv(DATASETS / "radon_minnesota.csv").rename(columns={"log_radon": "radon"})
    schools = pd.read_csv(DATASETS / "mathachieve.csv", dtype={"School": "str"})
    radon.to_csv("radon.csv", index=False)
    few = schools["School"].isin(schools["School"].unique()[:20])
    schools[few].to_csv("hsb.csv", index=False)
    new = {"School": ["1224", "1288"], "SES": [0.5, -0.5]}
    pd.DataFrame(new).to_csv("new.csv", index=False)
    return tmp_path


@pytest.mark.slow
def test_the_examples_run(folder):
    """Also those of the program as a whole, fit and report, which are among these."""
    kept = ["--checkpoint", "run.checkpoint", "--draws", "500"]
    assert run("fit", *examples_of("fit")[0][2:], *kept).exit_code in (0, 3)
    ran = []
    for name in RUN:
        for words in examples_of(name):
            result = run(*words[1:])
            ran.append(words)
            # Status 3 has a result too, with findings.
            assert result.exit_code in (0, 3), (words, result.stderr)
            assert result.exception is None or isinstance(result.exception, SystemExit)
    made = {path.name for path in folder.iterdir()}
    assert {"predictions.csv", "report.html", "results"} <= made
    assert "Radon in Minnesota" in (folder / "report.html").read_text()
    general = examples_of()
    assert general[0] in ran
    assert run(*general[1][1:]).exit_code in (0, 3)


def test_the_examples_of_reproduce_are_calls_of_the_tutorial(folder, monkeypatch):
    """Its run is tested in test_tutorial.py."""
    given = []

    def record(**arguments):
        given.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr("radon_numpyro.tutorial.reproduction.reproduce", record)
    for words in examples_of("reproduce"):
        run(*words[1:])
    assert [call["folds"] for call in given] == [10, 3]
    assert [call["seed"] for call in given] == [1, 0]
