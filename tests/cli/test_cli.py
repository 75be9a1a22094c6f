"""The commands, as a user types them: from a file to an answer, exit statuses, what goes where."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import arviz as az
import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

import radon_numpyro
from radon_numpyro import HalfStudentT, Normal, Priors, diagnose, fit, load_radon, predict
from radon_numpyro.cli import app as cli
from radon_numpyro.cli import terminal
from radon_numpyro.inference.compute.devices import seen
from radon_numpyro.results.fit_files import load_fit

DATASETS = Path(radon_numpyro.__file__).parent / "datasets"
MINNESOTA = [str(DATASETS / "radon_minnesota.csv"), "--y", "log_radon", "--x", "floor"]
MINNESOTA += ["--group", "county"]
US = [str(DATASETS / "radon_us.csv"), "--y", "activity", "--x", "floor", "--group", "fips"]


def run(*arguments, **settings):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], **settings)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A fit of the radon data by the command, and where its files are."""
    out = tmp_path_factory.mktemp("cli") / "my results"
    options = ["--priors", "tutorial", "--seed", "3", "--out", out, "--ci-prob", "0.8"]
    return run("fit", *MINNESOTA, *options), out


def test_fit_prints_the_answer_and_writes_whole_files(fitted):
    result, out = fitted
    assert result.exit_code == 0, result.stderr
    assert "mu_beta[floor]" in result.stdout
    assert "80% intervals" in result.stdout
    assert "Good: the draws can be trusted." in result.stdout
    assert "919 rows in 85 groups." in result.stderr
    assert re.search(r"Device: [CG]PU.* \(\w.*\)\.", result.stderr)
    assert {path.name for path in out.iterdir()} == {"fit.nc", "parameters.csv", "groups.csv"}


def test_the_fit_is_that_of_python_and_knows_its_command(fitted):
    tree = load_fit(fitted[1] / "fit.nc")
    same = fit(load_radon(), priors=Priors.tutorial(), seed=3, progress_bar=False)
    np.testing.assert_array_equal(tree["posterior"]["beta"], same["posterior"]["beta"])
    command = tree.attrs["command"]
    assert command.startswith("radon-numpyro fit ")
    assert f"--out '{fitted[1]}' --ci-prob 0.8" in command
    for option in ("--y log_radon", "--x floor", "--group county", "--priors tutorial", "--seed 3"):
        assert option in command
    # What was not typed is not in it.
    assert "--draws" not in command


def test_the_tables_are_the_posterior(fitted):
    out = fitted[1]
    posterior = load_fit(out / "fit.nc")["posterior"].to_dataset()
    parameters = pd.read_csv(out / "parameters.csv", index_col=0)
    draws = posterior["mu_beta"].values.ravel()
    row = parameters.loc["mu_beta[floor]"]
    assert row["mean"] == pytest.approx(draws.mean(), rel=1e-9)
    assert row["lower"] == pytest.approx(np.quantile(draws, 0.1), rel=1e-6)
    assert row["upper"] == pytest.approx(np.quantile(draws, 0.9), rel=1e-6)
    # One effective sample size, wherever it stands.
    checked = diagnose(load_fit(out / "fit.nc"))
    for column in ("r_hat", "ess_bulk", "ess_tail"):
        assert row[column] == pytest.approx(checked.table.loc["mu_beta[floor]", column])
    groups = pd.read_csv(out / "groups.csv").set_index(["county", "coefficient"])
    assert len(groups) == 85 * 2
    assert groups.loc[("CASS", "floor"), "rows"] == 5
    slope = posterior["beta"].sel(county="CASS", predictor="floor").values.ravel()
    assert groups.loc[("CASS", "floor"), "mean"] == pytest.approx(slope.mean(), rel=1e-9)
    assert groups.loc[("CASS", "floor"), "upper"] == pytest.approx(np.quantile(slope, 0.9))
    intercept = posterior["alpha"].sel(county="CASS").values.ravel()
    assert groups.loc[("CASS", "intercept"), "sd"] == pytest.approx(intercept.std())


def test_arviz_reads_the_file(fitted):
    tree = az.from_netcdf(fitted[1] / "fit.nc")
    assert float(az.summary(tree, var_names=["eps"], round_to="none")["mean"].iloc[0]) > 0.6


def test_json_is_all_of_standard_output(tmp_path):
    options = ["--model", "pooled", "--out", tmp_path, "--json"]
    result = run("fit", *MINNESOTA, *options)
    record = json.loads(result.stdout)
    assert record["ok"] is (result.exit_code == 0) is True
    assert record["rows"] == 919
    assert set(record["parameters"]) == {"alpha", "beta[floor]", "eps"}
    assert record["parameters"]["eps"]["mean"] == pytest.approx(0.79, abs=0.05)
    assert record["diagnosis"]["ok"] is True
    assert record["files"][0] == str(tmp_path / "fit.nc")


def test_quiet_prints_nothing(tmp_path):
    result = run("fit", *MINNESOTA, "--model", "individual", "--out", tmp_path, "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "fit.nc").exists()


def test_draws_that_cannot_be_trusted_are_exit_status_3_and_are_kept(tmp_path):
    options = ["--method", "centered", "--draws", "20", "--chains", "2", "--out", tmp_path]
    result = run("fit", *MINNESOTA, *options)
    assert result.exit_code == 3
    assert "Do not trust these numbers yet." in result.stdout
    assert "Try: " in result.stdout
    assert load_fit(tmp_path / "fit.nc")["posterior"].sizes["draw"] == 20


def test_a_fault_of_the_program_is_not_called_bad_input(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr("radon_numpyro.pipeline.fit", broken)
    result = run("fit", *MINNESOTA, "--out", tmp_path)
    assert isinstance(result.exception, ValueError)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_one_sentence(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("radon_numpyro.results.fit_files.save_fit", full)
    result = run("fit", *MINNESOTA, "--model", "pooled", "--out", tmp_path)
    assert result.exit_code == 2
    assert "Error: [Errno 28] No space left on device" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_kept_goes_on_to_the_same_draws(tmp_path):
    kept = tmp_path / "run.checkpoint"
    options = ["--out", tmp_path / "a", "--draws", "100", "--checkpoint", kept, "--quiet"]
    assert run("fit", *MINNESOTA, *options).exit_code == 3, "so few draws are not to be trusted"
    result = run("resume", kept, "--draws", "400", "--out", tmp_path / "b")
    assert result.exit_code == 0, result.stderr
    assert "mu_beta[floor]" in result.stdout
    again = run("resume", kept, "--draws", "400")
    assert again.exit_code == 0
    assert f"Wrote {tmp_path / 'a' / 'fit.nc'}" in again.stderr, "where fit was to write"
    options = ["--out", tmp_path / "c", "--draws", "400", "--quiet"]
    assert run("fit", *MINNESOTA, *options).exit_code == 0
    gone_on, at_once = (load_fit(tmp_path / name / "fit.nc")["posterior"] for name in "bc")
    assert gone_on.to_dataset().equals(at_once.to_dataset())


def test_a_checkpoint_of_another_fit_is_refused_with_the_difference(tmp_path):
    kept = tmp_path / "run.checkpoint"
    options = ["--model", "pooled", "--out", tmp_path, "--checkpoint", kept, "--quiet"]
    assert run("fit", *MINNESOTA, *options).exit_code == 0
    result = run("fit", *MINNESOTA, *options, "--seed", "1")
    assert result.exit_code == 2
    assert re.search(r"of seed 0; got seed 1", result.stderr)
    assert run("resume", tmp_path / "fit.nc").exit_code == 2
    (kept / "command.json").write_text("[")
    result = run("resume", kept)
    assert result.exit_code == 2
    assert (
        "command.json to name the output folder; got something else. Name it with --out"
        in result.stderr
    )


def test_a_folder_that_is_no_checkpoint_is_left_as_it_is(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    options = ["--model", "pooled", "--out", tmp_path / "out", "--checkpoint", tmp_path]
    result = run("fit", *MINNESOTA, *options)
    assert result.exit_code == 2
    assert "a checkpoint or an empty folder; got one with 'mine.txt'" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupt_before_the_first_draw_says_that_nothing_is_written(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("radon_numpyro.pipeline.fit", interrupted)
    result = run("fit", *MINNESOTA, "--out", tmp_path)
    assert (result.exit_code, result.stdout) == (130, "")
    assert "Interrupted: nothing is written" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("gpu" in seen(), reason="there is a GPU")
def test_a_platform_that_there_is_not_is_one_sentence(tmp_path):
    result = run("fit", *MINNESOTA, "--platform", "gpu", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "Error: Expected device to be one that JAX sees, cpu; got 'gpu'." in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_platform_is_handed_on(tmp_path):
    options = ["--draws", "50", "--platform", "cpu", "--checkpoint", tmp_path / "kept"]
    result = run("fit", *MINNESOTA, *options, "--out", tmp_path)
    assert "Device: CPU (asked for)." in result.stderr
    resumed = run("resume", tmp_path / "kept")
    assert "Device: CPU (asked for)." in resumed.stderr


def test_a_target_ends_the_run(tmp_path):
    options = ["--target-ess", "1500", "--draws", "10000", "--out", tmp_path, "--quiet"]
    assert run("fit", *MINNESOTA, *options).exit_code == 0
    tree = load_fit(tmp_path / "fit.nc")
    assert tree.attrs["stopped_by"] == "target_ess reached"
    assert tree["posterior"].sizes["draw"] < 5000


def test_priors_that_cut_off_the_data_are_said(tmp_path):
    frame = pd.read_csv(MINNESOTA[0])
    path = tmp_path / "rows.csv"
    frame.assign(log_radon=1e4 * frame["log_radon"]).to_csv(path, index=False)
    options = ["--model", "pooled", "--priors", "tutorial", "--out", tmp_path]
    result = run("fit", path, *MINNESOTA[1:], *options)
    assert result.exit_code == 3
    assert re.search(r"- The prior of eps, Uniform", result.stdout), result.stdout
    assert "Try: --priors weakly-informative" in result.stdout
    # Said once, with the verdict.
    assert "Warning" not in result.stderr
    ours = run("fit", path, *MINNESOTA[1:], "--model", "pooled", "--out", tmp_path)
    assert ours.exit_code == 0
    assert "The prior of" not in ours.stdout


def test_priors_by_coefficient_are_those_of_the_fit(tmp_path):
    """If this failed, a prior that was asked for would not be the one that the result has."""
    options = ["--model", "pooled", "--draws", "50", "--prior", "floor=Normal(0, 2)"]
    options += ["--prior", "Intercept=Normal(1, 3)", "--prior", "eps=HalfStudentT(3, 1)"]
    for name in ("tutorial", "weakly-informative"):
        result = run("fit", *MINNESOTA, *options, "--priors", name, "--out", tmp_path)
        assert result.exit_code in (0, 3), result.stderr
        tree = load_fit(tmp_path / "fit.nc")
        changes = {"floor": Normal(0.0, 2.0), "Intercept": Normal(1.0, 3.0)}
        changes["eps"] = HalfStudentT(3.0, 1.0)
        data = load_radon()
        whole = Priors.tutorial() if name == "tutorial" else Priors.weakly_informative(data)
        assert tree.attrs["priors"] == whole.with_coefficients(changes, data.labels).to_json()
    assert "--prior 'floor=Normal(0, 2)'" in tree.attrs["command"]


@pytest.mark.parametrize("command", ["fit", "compare"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["flor=Normal(0, 2)"], "got 'flor' (close: 'floor'"),
        (["floor=HalfNormal(2)"], "Expected the prior of 'floor' to be Normal or Flat; got HalfN"),
        (["floor=Norml(0, 2)"], "Expected a family of priors; got 'Norml' (close: 'Normal'"),
        (["floor"], "Expected a prior as NAME=FAMILY(NUMBERS)"),
        (["eps=Flat()", "eps=Uniform(0, 1)"], "Expected one --prior of 'eps'; got Flat() and Unif"),
    ],
)
def test_a_prior_that_is_none_is_refused_at_once(tmp_path, command, given, message):
    options = [part for text in given for part in ("--prior", text)]
    result = run(command, *MINNESOTA, *options, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("Error: Expected") == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("offset", "unit"), [(1e6, 1.0), (1e12, 1.0), (0.4, 1e-12)])
def test_the_table_tells_the_mean_from_the_ends_of_its_interval(tmp_path, offset, unit):
    """By four figures all three were 1,000,000, whatever the sd; the files keep all digits."""
    scatter = np.random.default_rng(0).normal(0.0, 0.3, size=60).round(2)
    frame = pd.DataFrame({"y": (offset + scatter) * unit, "group": ["a", "b", "c"] * 20})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    options = ["--y", "y", "--group", "group", "--model", "pooled", "--out", tmp_path]
    result = run("fit", tmp_path / "rows.csv", *options, "--advi-steps", "0")
    assert result.exit_code == 0, result.stderr
    (shown,) = [line.split()[1:5] for line in result.stdout.splitlines() if "alpha" in line]
    assert len(set(shown)) == 4
    row = pd.read_csv(tmp_path / "parameters.csv", index_col=0).loc["alpha"]
    for text, name in zip(shown, ("mean", "sd", "lower", "upper"), strict=True):
        assert abs(float(text.replace(",", "")) - row[name]) <= 0.0501 * row["sd"]
    draws = load_fit(tmp_path / "fit.nc")["posterior"]["alpha"].values
    assert row["upper"] == np.quantile(draws, 0.95)


# Audit


def test_audit_finds_the_code_in_the_national_file():
    result = run("audit", *US)
    assert result.exit_code == 3
    assert "'floor' is 9 in 287 of 12777 rows" in result.stdout
    assert "--missing floor=9" in result.stdout
    clean = run("audit", *US, "--missing", "floor=9", "--json")
    assert clean.exit_code == 0
    record = json.loads(clean.stdout)
    (lost,) = record["findings"]
    assert (record["ok"], lost["caution"]) == (True, True)
    assert "All rows of 1 group of 'fips' ('55071') have missing values" in lost["what"]
    assert record["left_out"] == {"floor is 9 (missing)": 287}
    assert record["groups"]["04001"]["slope[floor]"] == "identified"
    assert len(record["groups"]) == 471


# Predict


def write_new(path, rows):
    path.write_text("county,floor,note\n" + "".join(f"{r}\n" for r in rows), encoding="utf-8")
    return path


def test_predict_writes_a_line_for_each_row(fitted, tmp_path):
    new = write_new(tmp_path / "new.csv", ["CASS,1,a", "AITKIN,0,b", "CASS,0,c"])
    out = tmp_path / "predictions.csv"
    result = run("predict", fitted[1] / "fit.nc", new, "--out", out)
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    found = pd.read_csv(out)
    assert found["county"].tolist() == ["CASS", "AITKIN", "CASS"]
    assert found["floor"].tolist() == [1, 0, 0]
    expected = predict(load_fit(fitted[1] / "fit.nc"), pd.read_csv(new))
    for name in ("mean", "sd", "lower", "upper"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-12)


def test_predict_writes_to_standard_output_and_reads_standard_input(fitted):
    options = ["--new-groups", "population", "--kind", "mean", "--ci-kind", "hdi"]
    rows = "floor,county\n0,NOWHERE\n1,\n"
    result = run("predict", fitted[1] / "fit.nc", "-", *options, input=rows)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "county,floor,mean,sd,lower,upper,new_group"
    assert [line.split(",")[0] for line in lines[1:]] == ["NOWHERE", ""]
    assert all(line.endswith("True") for line in lines[1:])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["CASS,1,", "NOWHERE,0,"], "got 1 unknown label: 'NOWHERE' .*--new-groups population"),
        (["CASS,,"], r"'floor' \(x\) to be finite; got 1 row \(row 1\) missing"),
        (["CASS,up,"], r"1 row \(row 1\) not a number: 'up'"),
        ([], "at least one row; got 0 rows"),
    ],
)
def test_predict_refuses_bad_rows_and_keeps_what_was_there(fitted, tmp_path, rows, message):
    new, out = write_new(tmp_path / "new.csv", rows), tmp_path / "predictions.csv"
    out.write_text("earlier")
    result = run("predict", fitted[1] / "fit.nc", new, "--out", out)
    assert result.exit_code == 2
    assert re.search(message, result.stderr), result.stderr
    assert out.read_text() == "earlier"


def test_predict_refuses_what_is_no_fit(tmp_path):
    new = write_new(tmp_path / "new.csv", ["CASS,1,"])
    result = run("predict", new, new)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Expected ")


# Compare


@pytest.mark.slow
def test_compare_ranks_the_models(tmp_path):
    out = tmp_path / "comparison.csv"
    options = ["--folds", "2", "--draws", "500", "--out", out, "--json"]
    result = run("compare", *MINNESOTA, *options)
    assert result.exit_code == 0, result.stderr
    record = json.loads(result.stdout)
    assert next(iter(record["table"])) == "hierarchical"
    assert set(record["table"]) == {"hierarchical", "pooled", "individual"}
    assert record["table"]["hierarchical"]["elpd_diff"] == 0
    assert set(record["definitions"]) >= {"elpd_loo", "rmsd_kfold"}
    assert pd.read_csv(out, index_col=0).index.tolist() == list(record["table"])


# The program


def test_the_version_is_that_of_the_package():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, "radon-numpyro 0.2.0\n")


def test_completion_is_offered():
    environment = os.environ | {"_RADON_NUMPYRO_COMPLETE": "complete_bash"}
    environment |= {"COMP_WORDS": "radon-numpyro pre", "COMP_CWORD": "1"}
    command = Path(sys.executable).with_name("radon-numpyro")
    found = subprocess.run([command], capture_output=True, text=True, env=environment)
    assert found.stdout.split() == ["predict"]


def test_the_cache_can_be_placed_and_switched_off(tmp_path):
    code = (
        "from radon_numpyro.cli.terminal import use_compilation_cache as use; import jax; "
        "print(use(), jax.config.jax_compilation_cache_dir)"
    )

    def found(**settings):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **settings}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        return done.stdout.split()

    assert found()[0] == str(tmp_path / ".cache" / "radon-numpyro" / "jax")
    assert found(XDG_CACHE_HOME="/x")[0] == "/x/radon-numpyro/jax"
    assert found(JAX_COMPILATION_CACHE_DIR="/y")[0] == "/y"
    assert found(JAX_ENABLE_COMPILATION_CACHE="false")[0] == "None"


def test_a_table_wider_than_the_terminal_is_shown_whole(capsys):
    names = [f"a_long_name_of_column_{k}" for k in range(8)]
    rows = ["mu_beta[floor]", "sigma_beta[a_rather_long_predictor]"]
    frame = pd.DataFrame(1234.0, index=rows, columns=names)
    terminal.Terminal(out=Console(width=40)).show(terminal.table("title", frame))
    lines = capsys.readouterr().out.splitlines()
    assert all(any(name in line for line in lines) for name in names)
    for row in rows:
        (line,) = [line for line in lines if row in line]
        assert line.count("1,234") == len(names)


def test_labels_with_markup_are_shown_as_they_are(capsys):
    frame = pd.DataFrame({"[red]mean": [1.0, float("nan")]}, index=["mu_beta[floor]", "[/]"])
    terminal.Terminal().show(terminal.table("[b]title", frame))
    shown = capsys.readouterr().out
    for text in ("[b]title", "[red]mean", "mu_beta[floor]", "[/]", "-"):
        assert text in shown
