"""The commands with a formula: schools and pupils, as a school researcher would type them."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import radon_numpyro
from radon_numpyro import GroupedData, predict
from radon_numpyro.cli import app as cli
from radon_numpyro.cli.commands_compare import without_individual
from radon_numpyro.data.design import Design
from radon_numpyro.results.fit_files import load_fit
from radon_numpyro.results.fit_reader import read_data

SCHOOLS = Path(radon_numpyro.__file__).parent / "datasets" / "mathachieve.csv"
FORMULA = "MathAch ~ SES * Minority + MEANSES + Sex + (1 + SES || School)"
NOTES = ["Minority: Yes against No", "Sex: Male against Female"]
FEW = ["--draws", "50", "--chains", "2", "--num-warmup", "50", "--advi-steps", "0"]


def run(*arguments, **settings):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], **settings)


@pytest.fixture(scope="module")
def schools(tmp_path_factory):
    """Pupils of some schools, in a file of their own."""
    path = tmp_path_factory.mktemp("schools") / "schools.csv"
    frame = pd.read_csv(SCHOOLS, dtype={"School": "str"})
    frame[frame["School"].isin(frame["School"].unique()[:20])].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fitted(schools, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "out"
    return run("fit", schools, FORMULA, *FEW, "--out", out), out


def test_fit_takes_a_formula_and_says_how_it_codes_categories(fitted, schools):
    """Else nobody knows whether the effect of Sex is that of boys or of girls."""
    result, out = fitted
    assert result.exit_code in (0, 3), result.stderr
    for note in NOTES:
        assert f"{note}.\n" in result.stdout
        assert f"{note}.\n" in result.stderr
    for name in ("mu_beta[SES]", "gamma[Sex[Male]]", "gamma[SES:Minority[Yes]]", "sigma_beta[SES]"):
        assert name in result.stdout
    words = "mu: mean over School; gamma: the same in every School; sigma: sd between School; "
    assert words in result.stdout
    tree = load_fit(out / "fit.nc")
    assert tree.attrs["command"].startswith(f"radon-numpyro fit {schools} '{FORMULA}' --draws 50")
    expected = GroupedData.from_formula(FORMULA, pd.read_csv(schools, dtype={"School": "str"}))
    found = read_data(tree)
    assert (found.formula, found.notes) == (expected.formula, expected.notes)
    np.testing.assert_allclose(found.x, expected.x, rtol=1e-12)


def test_audit_and_fit_say_in_json_what_came_of_the_file(schools, tmp_path):
    codes = ["--missing", "MEANSES=-0.428"]
    formula = "MathAch ~ SES + MEANSES + Sex + I(2 * SES) + (1 | School)"
    audit = json.loads(run("audit", schools, formula, *codes, "--json").stdout)
    options = [*codes, *FEW, "--out", tmp_path, "--json"]
    fit = json.loads(run("fit", schools, formula, *options).stdout)
    coded = pd.read_csv(schools)["MEANSES"] == -0.428
    for record in (audit, fit):
        assert record["formula"] == formula
        assert record["rows"] == (~coded).sum()
        assert record["left_out"] == {"MEANSES is -0.428 (missing)": coded.sum()}
        assert record["notes"][0] == "Sex: Male against Female"
        assert "1 column" in record["notes"][1]
        assert "I(2 * SES)" in record["notes"][1]
    assert fit["groups"] == 19
    by_names = ["--y", "MathAch", "--x", "SES", "--group", "School", "--json"]
    assert json.loads(run("audit", schools, *by_names).stdout)["formula"] is None


def test_a_formula_is_the_same_fit_as_the_names_of_its_columns(schools, tmp_path):
    formula = "MathAch ~ SES + MEANSES + (1 + SES || School)"
    names = ["--y", "MathAch", "--x", "SES", "--fixed", "MEANSES", "--group", "School"]
    priors = ["--prior", "SES=Normal(0, 2)", "--prior", "MEANSES=Normal(1, 2)"]
    for name, model in (("a", [formula]), ("b", names)):
        result = run("fit", schools, *model, *priors, *FEW, "--out", tmp_path / name)
        assert result.exit_code in (0, 3), result.stderr
    first, second = (pd.read_csv(tmp_path / n / "parameters.csv", index_col=0) for n in "ab")
    pd.testing.assert_frame_equal(first, second)


def test_duckdb_reduces_by_a_formula_to_the_same_fit(fitted, schools, tmp_path):
    result = run("fit", schools, FORMULA, *FEW, "--reduce", "--out", tmp_path)
    assert "reduced to statistics by DuckDB" in result.stderr
    assert all(f"{note}.\n" in result.stderr for note in NOTES)
    found = load_fit(tmp_path / "fit.nc")
    assert found.attrs["formula"] == load_fit(fitted[1] / "fit.nc").attrs["formula"]


def test_predict_reads_the_columns_that_the_formula_names(fitted, tmp_path):
    """Else new rows would need a column Sex[Male]; columns that are read are shown again."""
    new, fit = tmp_path / "new.csv", fitted[1] / "fit.nc"
    school = pd.read_csv(fitted[1] / "groups.csv", dtype="str")["School"][0]
    rows = [f"{school},0.5,Yes,-0.4,Male,x", f"{school},0.5,No,-0.4,Female,"]
    new.write_text("School,SES,Minority,MEANSES,Sex,note\n" + "\n".join(rows) + "\n")
    result = run("predict", fit, new, "--out", tmp_path / "p.csv", "--kind", "mean")
    assert result.exit_code in (0, 3), result.stderr
    found = pd.read_csv(tmp_path / "p.csv", dtype={"School": "str"})
    columns = ["School", "SES", "Minority", "MEANSES", "Sex", "mean", "sd", "lower", "upper"]
    assert list(found.columns) == [*columns, "new_group"]
    assert found["Sex"].tolist() == ["Male", "Female"]
    expected = predict(load_fit(fit), pd.read_csv(new, dtype={"School": "str"}), kind="mean")
    np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-12)


def test_the_header_says_of_what_predictions_are(schools, tmp_path):
    """Whoever reads a mean in a file would take it for one of MathAch."""
    made = run("fit", schools, "sqrt(abs(MathAch)) ~ SES + (1 | School)", *FEW, "--out", tmp_path)
    assert made.exit_code in (0, 3), made.stderr
    new = tmp_path / "new.csv"
    new.write_text("School,SES\n,0.5\n")
    admit = ("--new-groups", "population")
    result = run("predict", tmp_path / "fit.nc", new, *admit, "--out", tmp_path / "p.csv")
    found = pd.read_csv(tmp_path / "p.csv")
    numbers = [f"{name} of sqrt(abs(MathAch))" for name in ("mean", "sd", "lower", "upper")]
    assert list(found.columns) == ["School", "SES", *numbers, "new_group"]
    assert found["new_group"].tolist() == [True]
    assert (
        "Predictions are of sqrt(abs(MathAch)), in its unit, as the fit has it.\n" in result.stderr
    )
    assert "1 row without a label of 'School': predicted as of new groups" in result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("Sex", "Sx"),
            r"column named 'Sex', which the formula of the fit uses; got 0 \(close: 'S",
        ),
        (("Male", "male"), "'Sex' to hold known levels .*; got 'male'"),
        (("0.5", "half"), r"'SES' \(x\) to be numeric; got .*'half'"),
        (("0.5", "NA"), r"'SES' \(x\) to be finite; got 1 row \(row 1\) missing"),
        (("Male", ""), r"'Sex' \(x\) without gaps; got 1 row \(row 1\) missing"),
    ],
)
def test_new_rows_of_another_kind_are_refused(fitted, tmp_path, change, message):
    """Else an unknown level would count as the reference."""
    new = tmp_path / "new.csv"
    good = "School,SES,Minority,MEANSES,Sex\n1224,0.5,No,-0.4,Male\n"
    new.write_text(good.replace(*change))
    result = run("predict", fitted[1] / "fit.nc", new, "--out", tmp_path / "p.csv")
    assert result.exit_code == 2
    assert re.search(f"^Error: Expected .*{message}", result.stderr), result.stderr
    assert not (tmp_path / "p.csv").exists()


def test_a_formula_with_columns_that_do_not_vary_has_no_individual_model(schools, tmp_path):
    result = run("fit", schools, FORMULA, "--model", "individual", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "Error: Expected every coefficient to vary by group" in result.stderr
    assert not (tmp_path / "out").exists()


def test_why_the_individual_model_is_left_out_is_said():
    assert without_individual(Design.with_fixed(("SES",), ())) == ""
    said = without_individual(Design.with_fixed(("SES",), ("MEANSES", "Sex[Male]")))
    assert "the coefficients of 'MEANSES', 'Sex[Male]' cannot differ between groups" in said
    assert "vary about 0" in without_individual(Design((), ("Intercept",)))


def test_compare_says_which_models_it_compares(schools, monkeypatch):
    """Else a table of two models looks like a mistake."""
    taken = {}

    class Asked(Exception):
        pass

    def compare_pooling(data, **settings):
        taken.update(settings, notes=data.notes)
        raise Asked

    monkeypatch.setattr("radon_numpyro.comparison.table.compare_pooling", compare_pooling)
    result = run("compare", schools, FORMULA, "--draws", "50", "--folds", "3", "--seed", "7")
    assert isinstance(result.exception, Asked)
    assert "The individual model is left out, because" in result.stderr
    assert "Fitting and scoring the pooled and hierarchical models." in result.stderr
    assert (taken["draws"], taken["folds"], taken["seed"]) == (50, 3, 7)
    assert taken["notes"] == tuple(NOTES)
    names = ["--y", "MathAch", "--x", "SES", "--group", "School"]
    assert "pooled, individual and hierarchical" in run("compare", schools, *names).stderr


@pytest.mark.slow
def test_compare_leaves_out_the_model_that_cannot_be_fitted(schools):
    """Else a formula with a column of the school could not be compared at all."""
    options = ["--draws", "200", "--chains", "2", "--folds", "2", "--json"]
    result = run("compare", schools, FORMULA, *options)
    assert result.exit_code in (0, 3), result.stderr
    record = json.loads(result.stdout)
    assert set(record["table"]) == {"pooled", "hierarchical"}
    assert record["formula"] == FORMULA
    assert record["notes"] == NOTES


@pytest.mark.slow
def test_high_school_and_beyond_by_commands(tmp_path):
    """The whole data, against generalised least squares of columns made by hand.

    Else a column is not what its name says, or an option of the command is lost on the way.
    """
    path = tmp_path / "mathachieve.csv"
    path.write_bytes(SCHOOLS.read_bytes())
    result = run("fit", path, FORMULA, "--draws", "500", "--out", tmp_path / "out")
    assert result.exit_code in (0, 3), result.stderr
    assert "7,185 rows in 160 groups." in result.stderr
    found = pd.read_csv(tmp_path / "out" / "parameters.csv", index_col=0)
    frame = pd.read_csv(path)
    minority, male = frame["Minority"] == "Yes", frame["Sex"] == "Male"
    columns = {
        "mu_alpha": np.ones(len(frame)),
        "mu_beta[SES]": frame["SES"],
        "gamma[Minority[Yes]]": minority,
        "gamma[MEANSES]": frame["MEANSES"],
        "gamma[Sex[Male]]": male,
        "gamma[SES:Minority[Yes]]": frame["SES"] * minority,
    }
    x, y = np.column_stack([*columns.values()]).astype(float), frame["MathAch"].to_numpy()
    scales = found.loc[["sigma_alpha", "sigma_beta[SES]"], "mean"].to_numpy()
    xx, xy = 0.0, 0.0
    for rows in frame.groupby("School").indices.values():
        z = x[rows, :2] * scales
        weights = np.linalg.inv(z @ z.T + found.loc["eps", "mean"] ** 2 * np.eye(len(rows)))
        xx = xx + x[rows].T @ weights @ x[rows]
        xy = xy + x[rows].T @ weights @ y[rows]
    expected = np.linalg.solve(xx, xy)
    distance = (found.loc[list(columns), "mean"] - expected) / found.loc[list(columns), "sd"]
    assert distance.abs().max() < 0.15
    report = run("report", tmp_path / "out" / "fit.nc", "--out", tmp_path / "report.html")
    assert report.exit_code == result.exit_code, report.stderr
