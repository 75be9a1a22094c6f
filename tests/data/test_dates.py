"""Dates in formulas: ``days()`` counts them from one origin, in the fit and in new rows."""

import datetime
import json

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from test_text_tables import loaded, put

from radon_numpyro import GroupedData, GroupStatistics, fit, predict
from radon_numpyro.data.formulas.formula import ModelFormula

DAYS = [5, 3, 32, 4, 400, 3]
# 2024 is a leap year: the first of March is two days behind the 28th of February.
DATES = [datetime.date(2024, 2, 25) + datetime.timedelta(days=d) for d in DAYS]
FORMULA = "y ~ days(day) + (1 | g)"


def frame(day):
    return pd.DataFrame({"y": [1.0, 2, 4, 5.5, 3, 2], "g": list("ababab"), "day": day})


KINDS = {
    "dates": DATES,
    "datetimes": pd.to_datetime(DATES),
    "seconds": pd.to_datetime(DATES).as_unit("s"),
    "zone": pd.to_datetime(DATES).tz_localize("UTC"),
    "periods": pd.PeriodIndex(DATES, freq="D"),
    "text": [str(date) for date in DATES],
    "categories": pd.Categorical([str(date) for date in DATES]),
    "text with times": [f"{date}T00:00:00" for date in DATES],
    "arrow": pd.array(DATES, dtype="date32[pyarrow]"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_dates_of_every_kind_are_days_since_the_first(kind):
    data = GroupedData.from_formula(FORMULA, frame(KINDS[kind]))
    # The first date is the third of the list, and of the sixth row too.
    assert data.x[:, 0].tolist() == [2, 0, 29, 1, 397, 0]
    assert data.labels.predictors == ("days(day)",)
    assert "days(day) counts days from 2024-02-28" in data.notes


@pytest.mark.parametrize("kind", ["dates", "datetimes", "text"])
@pytest.mark.parametrize("library", ["polars", "arrow"])
def test_frames_of_other_libraries_are_read_alike(kind, library):
    other = pl.from_pandas(frame(KINDS[kind]))
    data = GroupedData.from_formula(FORMULA, other if library == "polars" else other.to_arrow())
    assert data.x[:, 0].tolist() == [2, 0, 29, 1, 397, 0]


def test_times_count_as_parts_of_days_from_the_first_midnight():
    times = pd.to_datetime(["2024-03-01 18:00", "2024-03-02 06:00"] * 3)
    data = GroupedData.from_formula(FORMULA, frame(times))
    assert data.x[:, 0].tolist() == [0.75, 1.25] * 3
    zoned = times.tz_localize("Europe/Berlin")
    # Winter time is one hour ahead of universal time.
    expected = (np.array([18, 30] * 3) - 1) / 24
    found = GroupedData.from_formula(FORMULA, frame(zoned)).x[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_new_rows_count_from_the_origin_of_the_fit():
    data = GroupedData.from_formula(FORMULA, frame(DATES))
    formula = ModelFormula.from_json(data.formula)
    assert json.loads(data.formula)["state"] == {"days(day)": "2024-02-28"}
    # Also those before it, and whatever the kind of the column.
    for new in (["2024-02-27", "2025-02-28"], pd.to_datetime(["2024-02-27", "2025-02-28"])):
        days = formula.columns_of(pd.DataFrame({"day": new}))[:, 0]
        assert days.tolist() == [-1, 366]
    with pytest.raises(ValueError, match=r"'day' .* dates such as 2024-03-31; got '27.2.2024'"):
        formula.columns_of(pd.DataFrame({"day": ["27.2.2024"]}))
    with pytest.raises(TypeError, match=r"'day' .* to hold dates, .*; got dtype float64"):
        formula.columns_of(pd.DataFrame({"day": [3.5]}))


def test_an_origin_may_be_given():
    rows = frame(DATES).assign(end=[d + datetime.timedelta(days=j) for j, d in enumerate(DATES)])
    data = GroupedData.from_formula('y ~ days(day, "2024-01-01") + (1 | g)', rows)
    assert data.x[:, 0].tolist() == [60, 58, 87, 59, 455, 58]
    both = 'y ~ I(days(end, origin = "2024-01-01") - days(day, "2024-01-01")) + (1 | g)'
    assert GroupedData.from_formula(both, rows).x[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"origin such as .*; got '1.1.2024'"):
        GroupedData.from_formula('y ~ days(day, "1.1.2024") + (1 | g)', rows)
    with pytest.raises(ValueError, match=r"origin such as .*; got 3.0"):
        GroupedData.from_formula("y ~ days(day, 3) + (1 | g)", rows)


def test_days_may_stand_in_other_functions_and_left_of_the_bar():
    text = "y ~ I(days(day) / 7) + scale(days(day)) + (0 + days(day) | g)"
    data = GroupedData.from_formula(text.replace(" + scale(days(day))", ""), frame(DATES))
    weeks = data.x[:, data.labels.predictors.index("I(days(day)/7)")]
    np.testing.assert_allclose(weeks, np.array([2, 0, 29, 1, 397, 0]) / 7, rtol=1e-15)
    outcome = frame(DATES).assign(x=[1.0, 2, 3, 4, 5, 7])
    assert GroupedData.from_formula("days(day) ~ x + (1 | g)", outcome).y.tolist() == [
        *[2, 0, 29, 1, 397, 0]
    ]


@pytest.mark.parametrize(
    ("formula", "day", "message"),
    [
        ("y ~ day + (1 | g)", pd.to_datetime(DATES), r"got dtype datetime64.*: days\(day\) in a f"),
        (
            "y ~ day + (1 | g)",
            pd.to_timedelta(DAYS, "D"),
            r"timedelta64.*: make a number of it",
        ),
        (
            "y ~ day + (1 | g)",
            [datetime.time(3)] * 6,
            "got times: make a number of it",
        ),
        ("y ~ day + (1 | g)", DATES, r"'day' \(x\) .*; got dates: days\(day\) in a formula"),
        ("y ~ day + days(day) + (1 | g)", DATES, r"dates of 'day' inside days\(\) only"),
        ("y ~ I(day + days(day)) + (1 | g)", DATES, r"dates of 'day' inside days\(\) only"),
        ("y ~ days(y) + (1 | g)", DATES, "on the left of ~ only"),
        ("y ~ days(I(day)) + (1 | g)", [1.0, 2, 3, 4, 5, 6], r"a column of dates in 'days\(I\(day"),
        ("y ~ days(2) + (1 | g)", DATES, r"a term that names a column; got 'days\(2\)'"),
        ("y ~ days(day, by = 2) + (1 | g)", DATES, "arguments x, origin of days; got by = 2"),
        (FORMULA, [*DATES[:5], None], r"'day' \(x\) without gaps; got 1 row \(index 5\) missing"),
        (FORMULA, [1, 2, 3, 4, 5, 6], r"'day' .* to hold dates, which days\(\) counts; got dtype"),
        (FORMULA, ["2024-13-01"] * 6, r"'day' .* to hold dates; got: "),
        (FORMULA, ["1/2/2024"] * 6, r"dates such as 2024-03-31; got '1/2/2024' in 6 rows"),
        (
            FORMULA,
            [datetime.time(3)] * 6,
            r"to hold dates, .*; got dtype object",
        ),
    ],
)
def test_what_is_no_date_and_dates_elsewhere_are_refused(formula, day, message):
    with pytest.raises((ValueError, TypeError), match=rf"Expected .*{message}") as refused:
        GroupedData.from_formula(formula, frame(day))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("engine", ["duckdb", "polars"])
def test_engines_refuse_days_in_a_sentence(engine):
    rows = frame(pd.to_datetime(DATES))
    lazy = duckdb.from_df(rows) if engine == "duckdb" else pl.from_pandas(rows).lazy()
    with pytest.raises(ValueError, match=r"engine computes; got 'days\(day\)': .* collect the col"):
        GroupStatistics.from_formula(FORMULA, lazy)


def test_text_files_hold_dates_and_blanks_as_they_do(tmp_path):
    lines = [f"{y},{g},{d}" for y, g, d in frame(DATES).itertuples(index=False)]
    source = put(tmp_path / "rows.csv", "\n".join(["y,g,day", *lines]) + "\n")
    assert loaded(source, FORMULA).x[:, 0].tolist() == [2, 0, 29, 1, 397, 0]
    with pytest.raises(ValueError, match=r"got 'days\(day\)': .*--no-reduce"):
        loaded(source, FORMULA, reduce=True)
    put(source, source.read_text().replace(str(DATES[0]), "NA"))
    with pytest.raises(ValueError, match=r"'day' \(x\) without gaps; got 1 row \(row 1\) missing"):
        loaded(source, FORMULA)


def test_predictions_follow_the_line_of_the_days():
    rng = np.random.default_rng(4)
    dates = pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 1000, 400), "D")
    days = (dates - dates.min()).days.to_numpy()
    rows = pd.DataFrame({"day": dates, "g": rng.integers(0, 20, 400).astype(str)})
    rows["y"] = 3 + 0.01 * days + rng.normal(size=400) * 0.1
    tree = fit("y ~ days(day) + (1 | g)", rows, method="integrate")
    new = pd.DataFrame({"day": [str(dates.min().date()), "2030-01-01"], "g": ["1", "1"]})
    found = predict(tree, new, kind="mean")["mean"].to_numpy()
    later = (pd.Timestamp("2030-01-01") - dates.min()).days
    # Least squares on the same rows, which know the line to some 2e-5 a day.
    slope, constant = np.polyfit(days, rows["y"], 1)
    np.testing.assert_allclose(found, constant + slope * np.array([0, later]), atol=0.2)
