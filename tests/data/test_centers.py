"""Centred predictors: the same lines counted from elsewhere, recorded, and applied to new rows."""

import dataclasses

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from fits import assert_same_tree

from radon_numpyro import GroupedData, GroupStatistics, fit, predict, resume
from radon_numpyro.results.fit_files import load_fit, save_fit
from radon_numpyro.results.fit_reader import read_centers, read_data, read_statistics
from radon_numpyro.results.prediction import predictive_draws

QUICK = {"draws": 200, "num_warmup": 200, "num_advi_steps": 0, "progress_bar": False}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    site = np.repeat(["a", "b", "c", "d", "e"], 12)
    year = rng.integers(2001, 2020, 60).astype(float)
    depth = rng.normal(3.0, 1.0, 60)
    y = 5.0 + rng.normal(0.0, 1.0, 5).repeat(12) + 0.3 * (year - 2010) - depth
    y += rng.normal(0.0, 0.5, 60)
    return pd.DataFrame({"y": y, "year": year, "depth": depth, "site": site})


def columns(**more):
    return {"y": "y", "x": ["year", "depth"], "group": "site", **more}


def test_a_named_predictor_is_counted_from_its_mean(frame):
    plain = GroupedData.from_frame(frame, **columns())
    data = GroupedData.from_frame(frame, **columns(center="year"))
    assert data.centers == (("year", frame["year"].mean()),)
    np.testing.assert_allclose(data.x[:, 0], frame["year"] - frame["year"].mean())
    np.testing.assert_array_equal(data.x[:, 1], plain.x[:, 1])
    assert plain.centers == ()
    assert f"year from {frame['year'].mean():.6g}" in repr(data)
    # In the user's units again, and back.
    np.testing.assert_allclose(data.to_frame()["year"], frame["year"])
    again = GroupedData.from_frame(data.to_frame(), **columns(center=dict(data.centers)))
    np.testing.assert_allclose(again.x, data.x, atol=1e-9)
    assert again.centers == data.centers
    assert data.fingerprint() != plain.fingerprint()
    assert data.take([0, 1]).centers == data.centers


def test_a_value_of_ones_own_and_arrays(frame):
    data = GroupedData.from_frame(frame, **columns(center={"year": 2010}))
    assert data.centers == (("year", 2010.0),)
    np.testing.assert_array_equal(data.x[:, 0], frame["year"] - 2010)
    arrays = GroupedData.from_arrays(
        frame["y"], frame["year"], frame["site"], predictors="year", center=["year"]
    )
    assert arrays.centers == (("year", frame["year"].mean()),)


@pytest.mark.parametrize(
    ("center", "message"),
    [
        ("yaer", r"Expected center to name predictors; got 'yaer' \(close: 'year'\)"),
        ("y", "Expected center to name predictors; got 'y'"),
        ({"year": float("nan")}, "Expected center of 'year' to be a finite number; got nan"),
        ({"year": "2010"}, "Expected center of 'year' to be a finite number; got '2010'"),
    ],
)
def test_what_is_no_center_is_refused(frame, center, message):
    with pytest.raises(ValueError, match=message):
        GroupedData.from_frame(frame, **columns(center=center))
    with pytest.raises(ValueError, match=message):
        GroupStatistics.from_frame(pl.from_pandas(frame).lazy(), **columns(center=center))


def test_none_is_no_centre_and_what_is_neither_name_nor_value_is_refused(frame):
    assert GroupedData.from_frame(frame, **columns(center=None)).centers == ()
    with pytest.raises(TypeError, match=r"Expected center to be names of predictors, .*; got 5"):
        GroupedData.from_frame(frame, **columns(center=5))
    with pytest.raises(ValueError, match="Expected center of 'year' to be a finite number; got Tr"):
        GroupedData.from_frame(frame, **columns(center={"year": True}))


def test_engines_count_from_the_same_value(frame):
    wanted = GroupStatistics.from_data(GroupedData.from_frame(frame, **columns(center="year")))
    with duckdb.connect() as connection:
        for rows in (pl.from_pandas(frame).lazy(), connection.from_df(frame)):
            found = GroupStatistics.from_frame(rows, **columns(center="year"))
            assert found.centers[0][0] == "year"
            assert found.centers[0][1] == pytest.approx(wanted.centers[0][1], rel=1e-12)
            np.testing.assert_allclose(found.mean_x, wanted.mean_x, atol=1e-9)
            np.testing.assert_allclose(found.sxy, wanted.sxy, rtol=1e-9)


def test_statistics_of_other_rows_are_counted_from_there_too(frame):
    """The mean of the first rows is not that of the second: what is merged must not mix them."""
    first = GroupStatistics.from_frame(frame[:40], **columns(center="year"))
    second = GroupStatistics.from_frame(frame[40:], **columns(center="year"))
    assert first.centers != second.centers
    whole = GroupStatistics.from_frame(frame, **columns(center=dict(first.centers)))
    for merged in (first.merge(second), first.update(frame[40:])):
        assert merged.centers == first.centers
        for name in ("count", "mean_x", "mean_y", "sxx", "sxy", "syy"):
            expected = getattr(whole, name)
            np.testing.assert_allclose(getattr(merged, name), expected, rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def centred_fit(frame):
    data = GroupedData.from_frame(frame, **columns(center=["year", "depth"]))
    return fit(data, method="integrate", draws=200)


def test_new_rows_are_given_in_their_own_units(frame, centred_fit):
    """Of the pooled model the two predictions are the same up to the priors' influence."""
    plain = fit(GroupedData.from_frame(frame, **columns()), model="pooled", **QUICK)
    centred = fit(
        GroupedData.from_frame(frame, **columns(center=["year", "depth"])), model="pooled", **QUICK
    )
    new = frame.head(7)
    a, b = (predict(tree, new, kind="mean") for tree in (plain, centred))
    np.testing.assert_allclose(a["mean"], b["mean"], atol=0.15 * a["sd"].max())
    # A row whose year is not shifted would lie 600 off.
    assert abs(predict(centred_fit, new)["mean"] - new["y"]).max() < 3.0
    draws = predictive_draws(centred_fit, new)
    assert abs(draws["predictions"]["y"].mean(("chain", "draw")) - new["y"]).max() < 3.0


def test_a_file_and_the_readers_keep_the_centers(centred_fit, tmp_path):
    tree = load_fit(save_fit(centred_fit, tmp_path / "fit.nc"))
    expected = read_centers(centred_fit)
    assert [name for name, _ in expected] == ["year", "depth"]
    assert read_centers(tree) == expected
    assert read_data(tree).centers == read_statistics(tree).centers == expected
    for bad in ('{"year": "x"}', '{"other": 1.0}', "[1]", '{"year": NaN}'):
        broken = centred_fit.copy()
        broken.attrs["centers"] = bad
        with pytest.raises(ValueError, match=r"attribute centers of .* finite number for some"):
            save_fit(broken, tmp_path / "broken.nc")


def test_a_checkpoint_keeps_them_too(frame, tmp_path):
    data = GroupedData.from_frame(frame, **columns(center=["year", "depth"]))
    kept = fit(data, model="pooled", checkpoint=tmp_path / "run", **QUICK)
    assert len(read_centers(kept)) == 2
    assert_same_tree(resume(tmp_path / "run", progress_bar=False), kept)
    other = GroupedData.from_frame(frame, **columns(center={"year": 2000, "depth": 0}))
    with pytest.raises(ValueError, match=r"Expected to continue the fit in .* fingerprint"):
        fit(other, model="pooled", checkpoint=tmp_path / "run", **QUICK)


def test_records_hash_and_compare_with_their_centers(frame):
    data = GroupedData.from_frame(frame, **columns(center="year"))
    moved = dataclasses.replace(data, centers=(("year", 0.0),))
    assert moved.fingerprint() != data.fingerprint()
