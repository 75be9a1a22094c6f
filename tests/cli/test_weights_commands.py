"""Commands on rows with weights or known standard errors: eight schools in one line."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from radon_numpyro.cli import app as cli
from radon_numpyro.results.fit_files import load_fit

ERRORS = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]
FEW = ["--draws", "200", "--method", "integrate"]


def run(*arguments, **settings):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], **settings)


@pytest.fixture(scope="module")
def schools(tmp_path_factory):
    path = tmp_path_factory.mktemp("schools") / "schools.csv"
    effects = [28, 8, -3, 7, -1, 1, 18, 12]
    frame = pd.DataFrame({"school": [*"ABCDEFGH"], "effect": effects, "error": ERRORS})
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fitted(schools, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "out"
    formula = "effect | se(error) ~ (1 | school)"
    return run("fit", schools, formula, "--priors", "tutorial", *FEW, "--out", out), out


def test_eight_schools_are_one_command(fitted):
    result, out = fitted
    assert result.exit_code == 0, result.stderr
    table = pd.read_csv(out / "parameters.csv", index_col=0)
    assert list(table.index) == ["mu_alpha", "sigma_alpha"]
    assert "eps" not in result.stdout
    np.testing.assert_array_equal(load_fit(out / "fit.nc")["constant_data"]["se"], ERRORS)


@pytest.mark.parametrize("reduce", ["--no-reduce", "--reduce"])
@pytest.mark.parametrize("option", ["--weights", "--se"])
def test_options_name_the_weights_of_a_file(schools, option, reduce, tmp_path):
    options = ["--y", "effect", "--group", "school", option, "error", reduce, "--model", "pooled"]
    result = run("fit", schools, *options, *FEW, "--out", tmp_path)
    assert result.exit_code in (0, 3), result.stderr
    tree = load_fit(tmp_path / "fit.nc")
    weight = np.array(ERRORS) if option == "--weights" else np.array(ERRORS) ** -2.0
    np.testing.assert_allclose(np.sort(tree["constant_data"]["weight"]), np.sort(weight))
    assert ("eps" in tree["posterior"]) == (option == "--weights")


def test_predictions_of_outcomes_need_the_errors_of_their_rows(fitted, tmp_path):
    fit = fitted[1] / "fit.nc"
    new = tmp_path / "new.csv"
    pd.DataFrame({"school": ["A", "Z"], "error": [5.0, 50.0]}).to_csv(new, index=False)
    out = tmp_path / "predictions.csv"
    found = run("predict", fit, new, "--new-groups", "population", "--out", out)
    assert found.exit_code == 0, found.stderr
    assert pd.read_csv(out)["sd"].iloc[1] > 50.0
    bare = tmp_path / "bare.csv"
    pd.DataFrame({"school": ["A"]}).to_csv(bare, index=False)
    refused = run("predict", fit, bare)
    assert refused.exit_code == 2
    assert "Expected se to name one column; got 'error'" in refused.stderr
    line = run("predict", fit, bare, "--kind", "mean")
    assert line.exit_code == 0, line.stderr


def test_the_audit_and_the_report_know_that_errors_are_known(fitted, schools, tmp_path):
    audit = run("audit", schools, "effect | se(error) ~ (1 | school)", "--json")
    assert audit.exit_code == 0, audit.stdout
    assert json.loads(audit.stdout)["findings"] == []
    page = tmp_path / "report.html"
    report = run("report", fitted[1] / "fit.nc", "--out", page)
    assert report.exit_code == 0, report.stderr
    text = page.read_text(encoding="utf-8")
    assert "scatter about the line of their group with known standard errors" in text
    assert "of one new row with" in text


def test_rows_without_a_known_scatter_still_need_groups_of_more_than_one(schools):
    result = run("fit", schools, "effect ~ (1 | school)")
    assert result.exit_code == 2
    assert "unless standard errors are known: --se COLUMN" in result.stderr


@pytest.mark.parametrize("value", ["0", "-3", "", "inf"])
def test_a_standard_error_that_is_none_is_refused_in_one_sentence(schools, value, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(schools.read_text().replace(",15.0", f",{value}"))
    for reduce in ("--reduce", "--no-reduce"):
        result = run("fit", path, "effect | se(error) ~ (1 | school)", reduce, "--model", "pooled")
        assert result.exit_code == 2
        assert "Expected column 'error' (se) to be" in result.stderr
