"""Data of kinds that have gone wrong: said by the command, in the file and first in the report.

Each test types what a user would, and then what the answer advises.
"""

import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_advice import options_of, run

from radon_numpyro import GroupedData, GroupStatistics, diagnose, fit
from radon_numpyro.data.findings import DataWarning
from radon_numpyro.report.document import html_report
from radon_numpyro.results.fit_files import load_fit

CASES = Path(__file__).parents[1] / "cases"
ZERO = ["--y", "y", "--x", "b", "--x", "c", "--group", "category"]
YEAR = ["--y", "Reaction", "--x", "year", "--group", "Subject"]
EPOCH = ["--y", "yield", "--x", "dose", "--x", "epoch", "--group", "site"]
CHAINS = ["--advi-steps", "0"]
NODES = ["--method", "integrate"]


def fitted(name, options, out, *more, route=NODES):
    """The command on one of the files: result and diagnosis as JSON."""
    file = name if isinstance(name, Path) else CASES / name
    result = run("fit", file, *options, *route, "--out", out, "--json", *more)
    assert result.exit_code in (0, 3), result.stderr
    record = json.loads(result.stdout)
    assert record["ok"] is (result.exit_code == 0)
    return record["parameters"], record["diagnosis"]["findings"], record["ok"]


def verdict_of(path):
    """Text of the first section of the report of a fit."""
    page = html_report(load_fit(path / "fit.nc"))
    first = re.search(r'<section[^>]* id="([\w-]+)".*?</section>', page, re.DOTALL)
    assert first[1] == "verdict"
    return text_of(first[0])


def text_of(page):
    return html.unescape(re.sub(r"<[^>]+>", "", page))


def test_a_column_of_zeros_is_no_good(tmp_path):
    """Its slope is the prior, beside real numbers."""
    parameters, findings, ok = fitted("zero_column.csv", ["--x", "a", *ZERO], tmp_path)
    assert not ok
    constant, few = findings
    assert few["what"].startswith("4 groups say little")
    assert few["caution"]
    assert constant["what"].startswith("'a' is the same in every row")
    assert constant["advice"] == "leave out --x a"
    assert not constant["caution"]
    assert "'a' is the same in every row" in verdict_of(tmp_path)
    # Python says so too, and the file remembers.
    assert [f.what for f in diagnose(load_fit(tmp_path / "fit.nc")).findings] == [
        f["what"] for f in findings
    ]
    assert "mu_beta[a]" in parameters
    # The advice is taken.
    _, findings, ok = fitted("zero_column.csv", ZERO, tmp_path)
    assert (findings, ok) == ([few], True)


def test_python_warns_of_what_the_data_do_not_say():
    frame = pd.read_csv(CASES / "zero_column.csv")
    columns = {"y": "y", "x": ["a", "b"], "group": "category"}
    for data in (
        GroupedData.from_frame(frame, **columns),
        GroupStatistics.from_frame(frame, **columns),
    ):
        for model in ("hierarchical", "individual", "pooled"):
            with pytest.warns(DataWarning, match="'a' is the same in every row") as caught:
                tree = fit(data, model=model, method="integrate", draws=50)
            assert Path(caught[0].filename) == Path(__file__)
            found = diagnose(tree).findings[0]
            assert found.what.startswith("'a' is the same")
            assert found.advice == "leave 'a' out of x"


def test_years_are_centred_on_request_and_not_called_good_before(tmp_path):
    parameters, findings, ok = fitted("uncentred_year.csv", YEAR, tmp_path, route=CHAINS)
    assert not ok
    assert parameters["sigma_beta[year]"]["mean"] < 0.1
    assert findings[0]["what"].startswith("'year' is hardly ever near 0")
    assert findings[0]["advice"] == "--center year"
    # Nobody is told to draw more of a model that is wrong.
    assert all("--draws" not in f["advice"] and "--target" not in f["advice"] for f in findings)
    assert "hardly ever near 0" in verdict_of(tmp_path)
    advised = options_of(findings[0]["advice"])
    parameters, findings, ok = fitted("uncentred_year.csv", YEAR, tmp_path, *advised, route=CHAINS)
    assert (findings, ok) == ([], True)
    # By days from the first it is 6.47 with a posterior sd of 1.42.
    assert parameters["sigma_beta[year]"]["mean"] == pytest.approx(6.4, abs=0.35)
    assert parameters["mu_beta[year]"]["mean"] == pytest.approx(10.47, abs=0.3)
    # The report counts years, and says from where.
    text = text_of(html_report(load_fit(tmp_path / "fit.nc")))
    assert "year is centred: its 0 in the model is 2019.5." in text
    assert "(year \N{MINUS SIGN} 2019.5)" in text
    assert re.search(r"Where year is 2,?0(19\.5|20), its mean", text)
    # New rows are given in years.
    new = tmp_path / "new.csv"
    new.write_text("Subject,year\n308,2024\n308,2015\n")
    result = run("predict", tmp_path / "fit.nc", new, "--kind", "mean")
    late, early = pd.read_csv(pd.io.common.StringIO(result.stdout))["mean"]
    assert (late, early) == (pytest.approx(430, abs=25), pytest.approx(255, abs=25))


def test_seconds_since_1970_are_told_to_be_centred(tmp_path):
    _, findings, ok = fitted("epoch_seconds.csv", EPOCH, tmp_path)
    assert not ok
    assert findings[0]["what"].startswith("'epoch' is hardly ever near 0")
    assert findings[0]["advice"] == "--center epoch"
    assert all("--draws" not in f["advice"] for f in findings)
    _, findings, ok = fitted("epoch_seconds.csv", EPOCH, tmp_path, "--center", "epoch")
    assert ok, findings


def test_one_group_has_no_others_to_differ_from(tmp_path):
    frame = pd.read_csv(CASES / "zero_column.csv").assign(category="all")
    frame.to_csv(tmp_path / "one.csv", index=False)
    _, findings, ok = fitted(tmp_path / "one.csv", ZERO, tmp_path)
    assert not ok
    assert findings[0]["what"].startswith("All rows are of one group, 'all'")
    advised = options_of(findings[0]["advice"])
    assert advised == ["--model", "pooled"]
    _, findings, ok = fitted(tmp_path / "one.csv", ZERO, tmp_path, *advised)
    assert (findings, ok) == ([], True)


def test_a_column_that_others_determine_is_named(tmp_path):
    frame = pd.read_csv(CASES / "zero_column.csv")
    frame["sum"] = frame["b"] + 2 * frame["c"]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    _, findings, ok = fitted(tmp_path / "rows.csv", [*ZERO, "--x", "sum"], tmp_path)
    assert not ok
    assert findings[0]["what"].startswith("'b', 'c', 'sum' are collinear over all rows")
    assert findings[0]["advice"] == (
        "fit without one of them: leave out --x b or leave out --x c or leave out --x sum"
    )


def test_a_group_that_lost_every_row_is_named(tmp_path):
    """The numbers stand, but nothing is said of that group: a caution, not a verdict."""
    frame = pd.read_csv(CASES / "rail.csv").assign(Rail=lambda f: "rail " + f["Rail"].astype(str))
    frame.loc[frame["Rail"] == "rail 3", "travel"] = np.nan
    frame.to_csv(tmp_path / "rows.csv", index=False)
    options = ["--y", "travel", "--group", "Rail", "--drop-missing", "--model", "pooled"]
    _, (finding,), ok = fitted(tmp_path / "rows.csv", options, tmp_path)
    assert ok
    assert finding["caution"]
    assert "All rows of 1 group of 'Rail' ('rail 3') have missing values" in finding["what"]
    result = run("fit", tmp_path / "rows.csv", *options, "--out", tmp_path)
    assert "Good: the draws can be trusted. But read this first:" in result.stdout
    assert "Read the numbers with this in mind:" in verdict_of(tmp_path)
    tree = load_fit(tmp_path / "fit.nc")
    assert json.loads(tree.attrs["lost_groups"]) == ["rail 3"]
    # Engines know it as well.
    polars = pytest.importorskip("polars")
    lazy = polars.from_pandas(frame).lazy()
    found = GroupStatistics.from_frame(lazy, y="travel", group="Rail", drop_missing=True)
    assert found.lost_groups == ("rail 3",)
    more = frame.fillna(80.0)
    assert found.update(more).lost_groups == ()
    # Named as missing itself, it is not missed.
    kept = GroupedData.from_frame(
        frame.dropna(), y="travel", group="Rail", missing={"Rail": "rail 1"}
    )
    assert kept.lost_groups == ()


def test_a_code_for_missing_values_is_said_by_the_fit(tmp_path):
    frame = pd.read_csv(CASES / "uncentred_year.csv")
    frame.loc[::17, "Days"] = 999
    frame.to_csv(tmp_path / "rows.csv", index=False)
    options = ["--y", "Reaction", "--x", "Days", "--group", "Subject", "--model", "pooled"]
    _, findings, ok = fitted(tmp_path / "rows.csv", options, tmp_path)
    assert ok
    assert findings[0]["what"].startswith("'Days' is 999 in 11 of 180 rows")
    advised = options_of(findings[0]["advice"])
    assert advised == ["--missing", "Days=999"]
    _, findings, ok = fitted(tmp_path / "rows.csv", options, tmp_path, *advised)
    assert (findings, ok) == ([], True)


def test_slopes_of_single_groups_that_are_the_prior_are_marked(tmp_path):
    """The individual model of a group whose predictor does not vary."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"site": np.repeat(["a", "b", "c"], 8), "x": rng.normal(size=24)})
    frame.loc[frame["site"] == "b", "x"] = 1.0
    frame["y"] = 2.0 - frame["x"] + rng.normal(0.0, 0.5, 24)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    options = ["--y", "y", "--x", "x", "--group", "site", "--model", "individual"]
    _, (finding,), ok = fitted(tmp_path / "rows.csv", options, tmp_path)
    assert ok
    assert "The slope of 'x' is its prior in 1 of 3 groups" in finding["what"]
    assert finding["advice"].startswith("--model hierarchical")
    groups = pd.read_csv(tmp_path / "groups.csv").set_index(["site", "coefficient"])
    assert groups["identified"].to_dict() == {
        ("a", "intercept"): True,
        ("a", "x"): True,
        ("b", "intercept"): False,
        ("b", "x"): False,
        ("c", "intercept"): True,
        ("c", "x"): True,
    }
    assert "\N{DAGGER}: the prior's number;" in text_of(html_report(load_fit(tmp_path / "fit.nc")))
