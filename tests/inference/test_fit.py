"""From data to a tree: the parts are put together as they are, and the record is true."""

import importlib
import json
import os
import signal
from dataclasses import asdict, replace

import jax
import numpy as np
import pytest
import xarray as xr
from fits import (
    THREE_COUNTIES,
    TUTORIAL,
    line,
    line_advi,
    line_nuts,
    radon_advi,
    radon_nuts,
    three_counties,
)
from tqdm.auto import tqdm

from radon_numpyro import GroupStatistics, Priors, diagnose, fit, load_radon, simulate
from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.nuts import sampler as nuts
from radon_numpyro.inference.runs import run_control as bars
from radon_numpyro.inference.settings import default_advi_steps, default_chain_method

LINE = {
    "model": "pooled",
    "method": "centered",
    "draws": 500,
    "num_warmup": 150,
    "progress_bar": False,
}


@pytest.fixture(autouse=True)
def whole_blocks(monkeypatch):
    """A hundred iterations, however busy the machine is."""
    monkeypatch.setattr(blocks, "PATIENCE", float("inf"))
    monkeypatch.setattr(blocks, "BLOCK", 100)


@pytest.fixture(scope="session")
def line_tree():
    return fit(line(), **LINE)


@pytest.fixture(scope="session")
def radon_tree():
    return fit(load_radon(), priors=TUTORIAL, method="noncentered", draws=400, progress_bar=False)


def assert_same_numbers(a, b):
    """All that was computed; times and versions aside."""
    for group in ("posterior", "sample_stats", "constant_data", "advi/trace", "advi/means"):
        xr.testing.assert_equal(a[group].to_dataset(), b[group].to_dataset())
    assert a["advi"].attrs == b["advi"].attrs


def test_a_tree_has_the_guide_and_the_draws_of_the_two_functions(line_tree):
    for name, values in line_advi().means.items():
        np.testing.assert_array_equal(line_tree["advi/means"][name], values)
        np.testing.assert_array_equal(line_tree["advi/sds"][name], line_advi().sds[name])
        np.testing.assert_array_equal(line_tree["posterior"][name], line_nuts().draws[name])
    np.testing.assert_array_equal(line_tree["advi/trace"]["elbo"], line_advi().elbo)
    for name, values in line_nuts().stats.items():
        np.testing.assert_array_equal(line_tree["sample_stats"][name], values)
    assert line_tree["advi"].attrs["khat"] == line_advi().khat
    assert line_tree["advi"].attrs["verdict"] == line_advi().verdict


def test_a_good_fit_is_found_good(line_tree):
    diagnosis = diagnose(line_tree)
    assert diagnosis.ok, str(diagnosis)
    assert diagnosis.num_draws == 2000
    assert diagnosis.advi_verdict == line_advi().verdict


def test_the_record_is_true(line_tree):
    attrs = line_tree.attrs
    assert attrs["call"] == (
        "fit(data, model='pooled', method='centered', draws=500, chains=4, num_warmup=150, "
        "seed=0, num_advi_steps=100000, target_accept_prob=None, max_tree_depth=10, "
        "chain_method=None, coefficients='auto', dtype='float64', device='cpu', "
        "target_ess=None, max_seconds=None)"
    )
    assert attrs["model"] == "pooled"
    assert attrs["method"] == "centered"
    assert attrs["chain_method"] == default_chain_method(4, "cpu")
    assert attrs["complete"] == 1
    assert attrs["warmup_gradients"] == line_nuts().warmup_gradients
    assert attrs["data_fingerprint"] == line().fingerprint()
    # Those of the data, when none are given.
    assert attrs["priors"] == Priors.weakly_informative(line()).to_json()
    timings = json.loads(attrs["timings"])
    assert set(timings) == {"advi", "draws"}
    assert all(0 < seconds < 600 for seconds in timings.values())


def test_the_recorded_call_makes_the_same_numbers(line_tree):
    again = eval(line_tree.attrs["call"], {"fit": fit, "data": line()})
    assert_same_numbers(line_tree, again)
    assert again.attrs["call"] == line_tree.attrs["call"]


def test_another_seed_makes_others(line_tree):
    other = fit(line(), **LINE, seed=1)
    assert other.attrs["seed"] == 1
    assert not np.isin(other["posterior"]["alpha"], line_tree["posterior"]["alpha"]).any()
    assert other["advi/means"]["alpha"] != line_tree["advi/means"]["alpha"]


def test_statistics_alone_give_the_same_numbers(line_tree):
    tree = fit(GroupStatistics.from_data(line()), **LINE)
    assert "observed_data" not in tree.children
    xr.testing.assert_equal(tree["posterior"].to_dataset(), line_tree["posterior"].to_dataset())


@pytest.mark.parametrize(
    ("model", "rounding"), [("pooled", 1e-6), ("individual", 1e-6), ("hierarchical", 1e-2)]
)
def test_a_fit_of_merged_statistics_is_the_fit_of_all_rows(unequal_data, model, rounding):
    """The same draws: few of the hierarchical model, for each step of NUTS enlarges a rounding."""
    data = unequal_data(1, sizes=(30, 4, 12, 1, 25))
    frame = data.to_frame()
    # All towns are in the first shard: in another order they would be given other random numbers.
    shard = frame.groupby("town", observed=True).cumcount() % 3
    first, *others = (rows for _, rows in frame.groupby(shard))
    merged = GroupStatistics.from_frame(first, y="level", x="x1", group="town")
    for rows in others:
        merged = merged.update(rows)
    whole = GroupStatistics.from_data(data)
    assert merged.labels == whole.labels
    assert (merged.syy != whole.syy).any(), "nothing is rounded differently"
    few = {"draws": 4, "num_warmup": 20, "num_advi_steps": 1000, "seed": 1, "progress_bar": False}
    found, expected = (fit(statistics, model=model, **few) for statistics in (merged, whole))
    for group, allowed in (("posterior", rounding), ("advi/means", 1e-6), ("advi/sds", 1e-6)):
        for name, values in expected[group].data_vars.items():
            sd = float(expected["advi/sds"][name].min())
            close = {"rtol": 0, "atol": allowed * sd}
            np.testing.assert_allclose(found[group][name], values, **close, err_msg=name)


def test_a_fit_survives_its_file(line_tree, tmp_path):
    line_tree.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    loaded = xr.load_datatree(tmp_path / "fit.nc", engine="h5netcdf")
    assert loaded.identical(line_tree)
    assert str(diagnose(loaded)) == str(diagnose(line_tree))


def test_every_setting_is_handed_on(monkeypatch):
    """None of these is a default, so one that is left out would show."""
    given = {
        "method": "centered",
        "draws": 11,
        "chains": 3,
        "num_warmup": 77,
        "seed": 7,
        "num_advi_steps": 1234,
        "target_accept_prob": 0.6,
        "max_tree_depth": 4,
        "chain_method": "vectorized",
        "coefficients": "draws",
        "dtype": "float32",
        "device": "cpu",
        "target_ess": 300.0,
        "max_seconds": 600.0,
    }
    calls = []

    def record(result):
        return lambda *args, **kwargs: calls.append((args, kwargs)) or result

    module = importlib.import_module("radon_numpyro.inference.sampling")
    monkeypatch.setattr(module, "fit_guide", record(line_advi()))
    monkeypatch.setattr(module, "draw_nuts", record(line_nuts()))
    fit(line(), model="pooled", priors=TUTORIAL, progress_bar=False, **given)
    (advi_args, advi), (nuts_args, nuts) = calls
    assert advi == {"num_steps": 1234, "seed": 7, "dtype": "float32", "progress_bar": False}
    assert nuts == {"progress_bar": False}
    statistics, model, priors, run = advi_args
    assert (model, priors) == ("pooled", TUTORIAL)
    assert nuts_args[0] is statistics
    assert nuts_args[1:3] == (line_advi(), TUTORIAL)
    assert asdict(nuts_args[3]) == {"model": "pooled", **given}
    assert nuts_args[4] is run
    np.testing.assert_array_equal(statistics.syy, GroupStatistics.from_data(line()).syy)


def test_counties_keep_their_names(radon_tree):
    """Under each label the line of that county: its rows scatter about it as eps says."""
    data, posterior = load_radon(), radon_tree["posterior"].to_dataset()
    assert posterior["alpha"].dims == ("chain", "draw", "county")
    assert posterior["beta"].dims == ("chain", "draw", "county", "predictor")
    assert posterior["county"].values.tolist() == list(data.labels.groups)
    means = posterior.mean(("chain", "draw"))
    shuffled = np.random.default_rng(0).permutation(means["county"].values)
    scatter = {}
    for which, labels in (("own", means["county"].values), ("other", shuffled)):
        total = 0.0
        for county, label in zip(means["county"].values, labels, strict=True):
            rows = data.select(county)
            line = means.sel(county=label)
            fitted = float(line["alpha"]) + rows.x[:, 0] * float(line["beta"][0])
            total += ((rows.y - fitted) ** 2).sum()
        scatter[which] = np.sqrt(total / data.num_rows)
    assert scatter["own"] < float(means["eps"])
    assert scatter["other"] > scatter["own"] + 0.05


def test_the_radon_fit_is_that_of_the_parts(radon_tree):
    assert radon_tree["advi"].attrs["khat"] == radon_advi().khat
    shape = (4, 400)
    assert radon_tree["posterior"]["mu_alpha"].shape == shape
    np.testing.assert_array_equal(
        radon_tree["posterior"]["mu_alpha"], radon_nuts("noncentered").draws["mu_alpha"][:, :400]
    )
    assert radon_tree.attrs["priors"] == TUTORIAL.to_json()
    assert radon_tree.attrs["group"] == "county"
    assert json.loads(radon_tree.attrs["predictors"]) == ["floor"]


def test_each_county_on_its_own_has_its_own_eps():
    tree = fit(three_counties(), model="individual", priors=TUTORIAL, draws=100, progress_bar=False)
    assert tree["posterior"]["eps"].dims == ("chain", "draw", "county")
    assert tree["posterior"]["county"].values.tolist() == list(THREE_COUNTIES)
    assert tree["posterior"]["beta"].sel(county="CASS").std() > 5000
    assert tree["posterior"]["beta"].sel(county="FREEBORN").std() < 5


@pytest.mark.parametrize("model", ["individual", "pooled"])
def test_a_model_without_a_population_is_drawn_exactly_by_default(model):
    tree = fit(line(), model=model, draws=500, num_advi_steps=1000, progress_bar=False)
    assert tree.attrs["method"] == "marginal"
    assert "method='marginal'" in tree.attrs["call"]
    assert "sample_stats" not in tree.children
    # Draw after draw independent: as many effective ones as there are.
    diagnosis = diagnose(tree)
    assert diagnosis.ok
    assert diagnosis.min_ess > 1200
    assert "independent and exact" in str(diagnosis)
    again = fit(line(), model=model, draws=500, num_advi_steps=1000, progress_bar=False)
    other = fit(line(), model=model, draws=500, num_advi_steps=1000, seed=1, progress_bar=False)
    xr.testing.assert_equal(again["posterior"].to_dataset(), tree["posterior"].to_dataset())
    assert not np.isin(other["posterior"]["alpha"], tree["posterior"]["alpha"]).any()


@pytest.mark.slow
def test_float32_on_request():
    tree = fit(line(), **LINE, dtype="float32")
    assert tree.attrs["dtype"] == "float32"
    assert "dtype='float32'" in tree.attrs["call"]
    assert {v.dtype for v in tree["posterior"].data_vars.values()} == {np.dtype("float32")}
    assert diagnose(tree).ok


def test_the_precision_asked_for_is_recorded_without_a_step_of_advi():
    tree = fit(line(), **{**LINE, "draws": 20}, dtype="float32", num_advi_steps=0)
    assert tree.attrs["dtype"] == "float32"
    assert {v.dtype for v in tree["posterior"].data_vars.values()} == {np.dtype("float32")}


def test_a_guide_that_was_not_optimised_has_no_khat():
    """A number that is not one could not be compared after a file was read."""
    tree = fit(line(), **{**LINE, "draws": 20}, num_advi_steps=0)
    assert "khat" not in tree["advi"].attrs
    assert tree["advi"].attrs["num_steps"] == 0


def test_both_bars_are_shown_on_request_alone(capsys, monkeypatch):
    monkeypatch.setattr(bars, "watched", lambda: True)
    fit(line(), **{**LINE, "draws": 20, "progress_bar": True})
    text = capsys.readouterr().err
    assert text.index("ADVI") < text.index("NUTS")
    fit(line(), **{**LINE, "draws": 20})
    assert capsys.readouterr() == ("", "")


def test_the_setting_of_the_caller_is_left_alone():
    assert not jax.config.jax_enable_x64
    tree = fit(line(), **{**LINE, "draws": 20})
    assert tree["posterior"]["alpha"].dtype == np.float64
    assert not jax.config.jax_enable_x64


def test_an_interrupted_fit_is_returned_and_found_wanting(monkeypatch):
    class Interrupting(tqdm):
        def update(self, n=1):
            super().update(n)
            self.blocks = getattr(self, "blocks", 0) + 1
            if self.blocks == 3:
                os.kill(os.getpid(), signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(nuts, "progress", lambda **_: Interrupting(disable=True))
        tree = fit(line(), **LINE)
    except KeyboardInterrupt:
        # Else it would end the tests.
        pytest.fail("the interrupt was not caught")
    finally:
        signal.signal(signal.SIGINT, handler)
    assert tree.attrs["complete"] == 0
    assert tree["posterior"].sizes["draw"] == 100
    findings = [f.what for f in diagnose(tree).findings]
    assert findings[0] == "The run is incomplete: it was interrupted after 100 draws a chain."


# Refused before any work


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "nested"}, "Expected model to be one of .*; got 'nested'"),
        ({"method": "gibbs"}, "Expected method of the hierarchical model to be one of .*; got 'gi"),
        ({"model": "individual", "method": "noncentered"}, "Expected method of the individual"),
        ({"draws": 0}, "Expected draws to be an integer of at least 4; got 0"),
        ({"chains": 1.5}, "Expected chains to be an integer of at least 1; got 1.5"),
        ({"num_warmup": 5}, "Expected num_warmup to be an integer of at least 20; got 5"),
        ({"chain_method": "loop"}, "Expected chain_method to be one of .*; got 'loop'"),
        ({"num_advi_steps": 10}, "Expected num_advi_steps to be 0 or at least 1000; got 10"),
        ({"dtype": "int8"}, "Expected dtype to be 'float64' or 'float32'; got 'int8'"),
    ],
)
def test_arguments_out_of_range(monkeypatch, arguments, message):
    # The guide is not even begun.
    monkeypatch.setattr("radon_numpyro.inference.advi.windows.begin", None)
    with pytest.raises(ValueError, match=message):
        fit(line(), progress_bar=False, **arguments)


def test_data_of_another_type():
    with pytest.raises(TypeError, match="Expected data to be a GroupedData or GroupStatistics"):
        fit(line().to_frame())


def test_a_formula_after_its_frame_is_told_to_come_first():
    """Else the sentence would take the formula for the name of a model."""
    frame = line().to_frame()
    with pytest.raises(TypeError, match=r"formula before the data frame, fit\(formula, frame\)"):
        fit(frame, "y ~ x + (1 | g)")
    with pytest.raises(TypeError, match=r"Pass the model by name: fit\(data, model='pooled'\)"):
        fit(line(), "pooled")


def test_a_log_density_that_is_not_finite_is_an_error_that_names_the_site():
    """Squares of 1e-25 are 0 in float32, and so is a variance."""
    tiny = replace(line(), y=1e-25 * line().y)
    with pytest.raises(FloatingPointError, match="Sites with a log density that is not finite"):
        fit(tiny, model="pooled", dtype="float32", progress_bar=False)


@pytest.mark.parametrize(
    ("model", "method", "size", "steps"),
    [
        ("hierarchical", None, 2000, 100_000),
        ("hierarchical", None, 2001, 0),
        ("individual", "marginal", 2001, 0),
        ("hierarchical", "noncentered", 10**6, 100_000),
    ],
)
def test_advi_stays_at_its_start_where_draws_need_no_more(model, method, size, steps):
    assert default_advi_steps(model, method, size) == steps


@pytest.mark.slow
def test_of_many_groups_the_truth_is_found_without_a_step_of_advi():
    truth = simulate(
        num_groups=1100,
        rows_per_group=[1, 5] * 550,
        mu_alpha=2.0,
        mu_beta=-0.7,
        sigma_alpha=0.5,
        sigma_beta=0.3,
        eps=0.8,
        seed=2,
    )
    tree = fit(truth.data, progress_bar=False)
    assert tree["advi"].attrs["num_steps"] == 0
    assert diagnose(tree).ok
    for name in ("mu_alpha", "mu_beta", "sigma_alpha", "sigma_beta", "eps"):
        draws = tree["posterior"][name].values
        assert abs(draws.mean() - np.squeeze(getattr(truth, name))) < 4 * draws.std(), name
