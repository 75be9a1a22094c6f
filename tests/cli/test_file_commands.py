"""Commands on files of other programs: which sheet, what is missing by the file, and dates."""

import datetime

import openpyxl
import pandas as pd
import pyreadstat
import pytest
from typer.testing import CliRunner

from radon_numpyro.cli import app as cli

QUICK = ("--method", "integrate")
FORMULA = "y ~ days(day) + sex + (1 | site)"


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def rows():
    day = datetime.date(2024, 1, 31)
    return pd.DataFrame(
        {
            "site": list("aabbccddee") * 4,
            "day": [day + datetime.timedelta(days=7 * j % 40) for j in range(40)],
            "sex": [1.0, 2.0, 2.0, 1.0] * 10,
            "y": [(j * 37 % 11) / 4 + j % 10 // 2 for j in range(40)],
        }
    )


@pytest.fixture
def spreadsheet(rows, tmp_path):
    with pd.ExcelWriter(tmp_path / "rows.xlsx") as writer:
        rows.replace({"sex": {1.0: "male", 2.0: "female"}}).to_excel(
            writer, sheet_name="rows", index=False
        )
        pd.DataFrame({"about": ["what the columns are"]}).to_excel(writer, sheet_name="about")
    return tmp_path / "rows.xlsx"


@pytest.fixture
def spss(rows, tmp_path):
    labels = {"sex": {1: "male", 2: "female", 9: "refused"}}
    new = rows.assign(sex=rows["sex"].where(rows.index != 3, 9.0))
    pyreadstat.write_sav(
        new, tmp_path / "rows.sav", variable_value_labels=labels, missing_ranges={"sex": [9]}
    )
    return tmp_path / "rows.sav"


def test_a_spreadsheet_is_audited_fitted_and_predicted(spreadsheet, tmp_path):
    refused = run("audit", spreadsheet, FORMULA)
    assert refused.exit_code == 2
    assert "got 2, 'rows', 'about': name it by --sheet" in refused.stderr
    audit = run("audit", spreadsheet, FORMULA, "--sheet", "rows")
    assert audit.exit_code in (0, 3), audit.stderr
    assert "The sheet 'rows' of 2 is read." in audit.stderr
    assert "days(day) counts days from 2024-01-31." in audit.stderr
    out = tmp_path / "out"
    made = run("fit", spreadsheet, FORMULA, "--sheet", "rows", *QUICK, "--out", out)
    assert made.exit_code in (0, 3), made.stderr
    assert "gamma[days(day)]" in made.stdout
    assert "days(day) counts days from 2024-01-31." in made.stdout
    # New rows are those of another program, with dates as text.
    new = tmp_path / "new.csv"
    new.write_text("site,day,sex\na,2024-01-31,male\na,2024-02-29,female\n")
    said = run("predict", out / "fit.nc", new, "--kind", "mean")
    assert said.exit_code in (0, 3), said.stderr
    lines = said.stdout.splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["2024-01-31", "2024-02-29"]
    book = openpyxl.load_workbook(spreadsheet)
    del book["about"]
    book.save(spreadsheet)
    assert run("predict", out / "fit.nc", spreadsheet, "--kind", "mean").exit_code in (0, 3)
    report = run("report", out / "fit.nc", "--out", tmp_path / "report.html")
    assert report.exit_code in (0, 3), report.stderr
    assert "days(day)" in (tmp_path / "report.html").read_text()


def test_what_is_missing_by_a_file_of_spss_is_said(spss, tmp_path):
    refused = run("audit", spss, FORMULA)
    assert refused.exit_code == 2
    assert "'sex' (x) without gaps; got 1 row (row 4) missing" in refused.stderr
    assert "--drop-missing" in refused.stderr
    audit = run("audit", spss, FORMULA, "--drop-missing")
    assert audit.exit_code in (0, 3), audit.stderr
    assert "sex: '9' in 1 row: missing values, as the file says." in audit.stderr
    assert "Left out 1 row: no sex." in audit.stderr
    assert "sex: female against male." in audit.stderr


def test_an_option_of_another_kind_of_file_is_refused(spss):
    refused = run("audit", spss, FORMULA, "--sheet", "rows")
    assert refused.exit_code == 2
    assert "Expected no --sheet for this kind of file" in refused.stderr
