"""The commands with a formula whose coefficients correlate: the reaction times of sleepstudy."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from radon_numpyro import LKJ
from radon_numpyro.cli import app as cli
from radon_numpyro.results.fit_files import load_fit
from radon_numpyro.results.fit_reader import read_priors

SLEEP = Path(__file__).parents[1] / "cases/sleepstudy.csv"
FORMULA = "Reaction ~ Days + (Days | Subject)"
PAIR = "correlation[Intercept, Days]"
BRIEF = ["--method", "integrate", "--draws", "200"]


def run(*arguments, **settings):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], **settings)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "out"
    prior = ["--prior", "correlation=LKJ(4)"]
    return run("fit", SLEEP, FORMULA, *BRIEF, *prior, "--out", out), out


def test_fit_prints_and_writes_each_correlation_once(fitted):
    result, out = fitted
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count(PAIR) == 1
    assert "correlation: of the coefficients of a Subject" in " ".join(result.stdout.split())
    table = pd.read_csv(out / "parameters.csv", index_col=0)
    names = ["mu_alpha", "mu_beta[Days]", "sigma_alpha", "sigma_beta[Days]", PAIR, "eps"]
    assert list(table.index) == names
    tree = load_fit(out / "fit.nc")
    assert read_priors(tree).correlation == LKJ(4.0)
    draws = tree["posterior"]["correlation"].sel(coefficient="Intercept", coefficient_other="Days")
    assert table.loc[PAIR, "mean"] == pytest.approx(float(draws.mean()), rel=1e-9)


def test_report_and_predict_go_on_from_the_file(fitted, tmp_path):
    _, out = fitted
    page = tmp_path / "report.html"
    assert run("report", out / "fit.nc", "--out", page).exit_code == 0
    assert "correlate by" in page.read_text()
    rows = tmp_path / "rows.csv"
    rows.write_text("Days,Subject\n0,308\n9,308\n9,new\n")
    result = run("predict", out / "fit.nc", rows, "--new-groups", "population")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("new,9,")
    assert lines[-1].endswith(",True")


def test_audit_and_fit_in_json(tmp_path):
    audit = json.loads(run("audit", SLEEP, FORMULA, "--json").stdout)
    assert audit["formula"] == FORMULA
    assert audit["rows"] == 180
    record = json.loads(run("fit", SLEEP, FORMULA, *BRIEF, "--out", tmp_path, "--json").stdout)
    assert set(record["parameters"][PAIR]) >= {"mean", "sd", "lower", "upper"}
    assert -1 < record["parameters"][PAIR]["lower"] < record["parameters"][PAIR]["upper"] < 1


@pytest.mark.parametrize(
    ("formula", "prior", "message"),
    [
        (FORMULA, "correlation=Normal(0, 1)", "Expected the prior of 'correlation' to be LKJ"),
        (FORMULA, "correlation=LKJ(-1)", "Expected concentration of LKJ to be positive"),
        (FORMULA, "correlation=LKJ(1, 2)", "Expected LKJ(concentration); got 2 numbers"),
        (FORMULA, "Days=LKJ(2)", "Expected the prior of 'Days' to be Normal or Flat; got LKJ"),
        ("Reaction ~ Days + (Days || Subject)", "correlation=LKJ(2)", "got 'correlation'"),
    ],
)
def test_a_prior_that_is_none_of_a_correlation_is_refused(formula, prior, message, tmp_path):
    result = run("fit", SLEEP, formula, *BRIEF, "--prior", prior, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_compare_takes_part_of_all_three_models():
    """The individual model does not care whether coefficients correlate."""
    result = run("compare", SLEEP, FORMULA, "--folds", "0", "--draws", "200")
    assert result.exit_code in (0, 3), result.stderr
    for model in ("pooled", "individual", "hierarchical"):
        assert model in result.stdout
