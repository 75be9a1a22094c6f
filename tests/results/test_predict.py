"""Predictions against draws of the posterior, and against the truth of simulated data."""

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr
from conftest import X_MEAN, X_SD
from fits import assert_moments, fit_of_size, towns, towns_fit
from scipy import stats
from validation.calibration import PRIORS

from radon_numpyro import GroupedData, fit, simulate
from radon_numpyro.gaussian import predictive as conditional
from radon_numpyro.results.datatree import group_dim
from radon_numpyro.results.prediction import predict, predictive_draws

MODELS = ("hierarchical", "individual", "pooled")
KINDS = ("outcome", "mean")


def new_rows(num_predictors=1, labels=("town 2", "town 0", "town 3", "town 1", "town 2")):
    """Rows of known groups, one of them without rows in the fit, under an index of their own."""
    rng = np.random.default_rng(12)
    x = rng.normal(X_MEAN, 2 * X_SD, size=(len(labels), 3))[:, :num_predictors]
    frame = pd.DataFrame(x, columns=[f"x{k + 1}" for k in range(num_predictors)])
    return frame.assign(town=list(labels)).set_index(np.arange(len(labels)) * 10 - 7)


def strangers(num_predictors=1):
    """Two rows of one unseen group, two without a label, two of known groups; x is the same."""
    frame = new_rows(num_predictors, ["town 9", None, "town 2", np.nan, "town 9", "town 2"])
    columns = [f"x{k + 1}" for k in range(num_predictors)]
    frame[columns] = np.repeat(frame[columns].to_numpy()[:1], len(frame), axis=0)
    return frame


def posterior_draws(tree, frame, kind, seed=5):
    """Draws of each row of known groups, straight from the sites: chain, draw, row."""
    posterior = tree["posterior"].to_dataset()
    at = {"town": xr.DataArray(frame["town"].to_numpy(), dims="row")}
    alpha, eps = (
        site.sel(at) if "town" in site.dims else site
        for site in (posterior["alpha"], posterior["eps"])
    )
    line = alpha + xr.DataArray(np.zeros(len(frame)), dims="row")
    for name in frame.columns.drop("town"):
        beta = posterior["beta"].sel(predictor=name)
        beta = beta.sel(at) if "town" in beta.dims else beta
        line = line + beta * xr.DataArray(frame[name].to_numpy(), dims="row")
    line = line.transpose("chain", "draw", "row")
    if kind == "mean":
        return line.values
    eps = eps if "row" in eps.dims else eps.expand_dims(row=len(frame))
    noise = np.random.default_rng(seed).standard_normal(line.shape)
    return line.values + eps.transpose("chain", "draw", "row").values * noise


def assert_holds(draws, lower, upper, ci_prob=0.9):
    """As many draws beyond each end as the interval says, within 4.5 standard errors."""
    tail = (1 - ci_prob) / 2
    n = draws.size
    for beyond in (draws < lower, draws > upper):
        assert abs(beyond.sum() - n * tail) < 4.5 * np.sqrt(n * tail * (1 - tail))


# Against the posterior


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_predictors", [0, 1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_the_table_has_the_moments_and_quantiles_of_draws(model, num_predictors, kind):
    tree, frame = fit_of_size(model, num_predictors), new_rows(num_predictors)
    if model == "individual":
        # A group without rows has its prior's long tail, which 1600 draws do not pin down.
        frame = frame[frame["town"] != "town 3"]
    table, draws = predict(tree, frame, kind=kind), posterior_draws(tree, frame, kind)
    for r in range(len(frame)):
        row = table.iloc[r]
        assert_moments(draws[..., r], row["mean"], row["sd"])
        assert_holds(draws[..., r], row["lower"], row["upper"])


@pytest.mark.parametrize("method", ["noncentered", "centered"])
def test_the_method_of_the_fit_does_not_matter(method):
    """The scales of any method will do: the rest is integrated over them."""
    tree, frame = towns_fit(method=method, draws=2000), new_rows(labels=["town 2", "town 0"])
    table, draws = predict(tree, frame), posterior_draws(tree, frame, "outcome")
    for r in range(2):
        assert_moments(draws[..., r], table["mean"].iloc[r], table["sd"].iloc[r])


def test_what_the_fit_kept_does_not_matter(tmp_path):
    """Draws or a summary of the coefficients, rows or statistics, fresh or loaded: one table."""
    expected = predict(towns_fit(), new_rows())
    others = [towns_fit(coefficients="summary"), towns_fit(statistics_only=True)]
    assert "alpha" not in others[0]["posterior"]
    others[0].to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
    others.append(xr.load_datatree(tmp_path / "fit.nc", engine="h5netcdf"))
    for tree in others:
        pd.testing.assert_frame_equal(predict(tree, new_rows()), expected, rtol=1e-12)


def test_a_fit_in_float32_is_predicted_from_in_float64():
    tree, frame = towns_fit(dtype="float32"), new_rows(labels=["town 2", "town 0"])
    assert tree["posterior"]["eps"].dtype == np.float32
    table, draws = predict(tree, frame), posterior_draws(tree, frame, "outcome")
    for r in range(2):
        assert_moments(draws[..., r], table["mean"].iloc[r], table["sd"].iloc[r])
    assert table["mean"].dtype == np.float64


def test_an_outcome_scatters_about_the_line_by_eps():
    tree, frame = towns_fit("pooled"), new_rows()
    mean, outcome = (predict(tree, frame, kind=kind) for kind in ("mean", "outcome"))
    np.testing.assert_allclose(mean["mean"], outcome["mean"], rtol=1e-12)
    eps = float((tree["posterior"]["eps"] ** 2).mean())
    np.testing.assert_allclose(outcome["sd"] ** 2 - mean["sd"] ** 2, eps, rtol=1e-9)


# The table


def test_the_table_keeps_index_and_labels_and_says_what_it_is():
    frame = new_rows()
    table = predict(towns_fit(), frame, ci_prob=0.5, kind="mean")
    pd.testing.assert_index_equal(table.index, frame.index)
    assert table.columns.tolist() == ["town", "mean", "sd", "lower", "upper", "new_group"]
    pd.testing.assert_series_equal(table["town"], frame["town"])
    assert not table["new_group"].any()
    said = {"outcome": "level", "notes": []}
    assert table.attrs == {"kind": "mean", "ci_prob": 0.5, "ci_kind": "eti", **said}
    assert (table["lower"] < table["mean"]).all()
    assert (table["mean"] < table["upper"]).all()


@pytest.mark.parametrize("other", [pl.from_pandas, pa.Table.from_pandas], ids=["Polars", "Arrow"])
def test_frames_of_other_libraries_are_predicted_alike(other):
    frame = strangers().reset_index(drop=True)
    made = other(frame.assign(unused=frame.index))
    options = {"new_groups": "population"}
    table, expected = (predict(towns_fit(), f, **options) for f in (made, frame))
    pd.testing.assert_frame_equal(table.drop(columns="town"), expected.drop(columns="town"))
    assert table["town"].fillna("").tolist() == expected["town"].fillna("").tolist()
    draws, same = (
        predictive_draws(towns_fit(), f, **options)["predictions"] for f in (made, frame)
    )
    assert draws.to_dataset().equals(same.to_dataset())


@pytest.mark.parametrize("other", [pl.from_pandas, pa.Table.from_pandas], ids=["Polars", "Arrow"])
def test_rows_of_a_formula_without_predictors_are_counted(other):
    """A frame of no columns has no rows in these libraries."""
    rows = pd.DataFrame({"y": towns().y, "g": towns().group.astype(str)})
    tree = fit("y ~ 1 + (1 | g)", rows, method="integrate", draws=50)
    table = predict(tree, other(rows[["g"]]))
    pd.testing.assert_frame_equal(table, predict(tree, rows[["g"]]), check_dtype=False)


@pytest.mark.parametrize("name", ["mean", "sd", "new_group"])
def test_a_group_named_like_a_column_of_the_table(name):
    data = towns()
    data = replace(data, labels=replace(data.labels, group=name))
    tree = fit(data, model="pooled", draws=50, num_advi_steps=0, progress_bar=False)
    frame = new_rows().rename(columns={"town": name})
    table = predict(tree, frame)
    expected = predict(towns_fit("pooled"), new_rows())
    assert table.columns.tolist() == [f"{name}_group", *expected.columns[1:]]
    assert table[f"{name}_group"].tolist() == frame[name].tolist()
    draws = predictive_draws(tree, frame, kind="mean")["predictions"]
    assert draws[group_dim(data.labels)].values.tolist() == frame[name].tolist()
    assert draws["mean"].shape == (4, 50, 5)


@pytest.mark.parametrize("ci_kind", ["eti", "hdi"])
def test_order_and_company_of_the_rows_do_not_matter(ci_kind, monkeypatch):
    """Whatever the block of memory they fall into, and however often they occur."""
    frame = pd.concat([new_rows(), strangers(), new_rows()])
    options = {"new_groups": "population", "ci_kind": ci_kind}
    table = predict(towns_fit(), frame, **options)
    order = np.random.default_rng(1).permutation(len(frame))
    monkeypatch.setattr(conditional, "BLOCK", 1600 * 25 * 2)
    turned = predict(towns_fit(), frame.iloc[order], **options)
    pd.testing.assert_frame_equal(turned, table.iloc[order], rtol=1e-10)
    for r in (0, 6, 8):
        alone = predict(towns_fit(), frame.iloc[[r]], **options)
        pd.testing.assert_frame_equal(alone, table.iloc[[r]], rtol=1e-10)


@pytest.mark.parametrize("model", ["individual", "pooled"])
@pytest.mark.parametrize("ci_kind", ["eti", "hdi"])
def test_a_change_of_units_changes_predictions_as_units_demand(model, ci_kind):
    a, b, s = -1000.0, 7.0, np.array([0.01, -40.0, 1.0])
    data, frame = towns(3), new_rows(3)
    changed = replace(data, y=a * data.y + b, x=data.x * s)
    other = frame.assign(**{f"x{k + 1}": frame[f"x{k + 1}"] * s[k] for k in range(3)})
    tree = fit(
        changed, model=model, draws=400, num_warmup=200, num_advi_steps=0, progress_bar=False
    )
    found = predict(tree, other, ci_kind=ci_kind)
    expected = predict(towns_fit(model, 3), frame, ci_kind=ci_kind)
    np.testing.assert_allclose(found["mean"], a * expected["mean"] + b, rtol=1e-6)
    np.testing.assert_allclose(found["sd"], -a * expected["sd"], rtol=1e-6)
    # The negative factor turns the interval round.
    allowed = 1e-4 if ci_kind == "hdi" else 1e-6
    np.testing.assert_allclose(found["lower"], a * expected["upper"] + b, rtol=allowed)
    np.testing.assert_allclose(found["upper"], a * expected["lower"] + b, rtol=allowed)


# Groups not seen


def test_an_unseen_group_is_drawn_from_the_population():
    """Against draws of a new group from the draws of mu and sigma."""
    tree = towns_fit()
    table = predict(tree, strangers(), new_groups="population")
    assert table["new_group"].tolist() == [True, True, False, True, True, False]
    posterior = tree["posterior"]
    rng = np.random.default_rng(3)
    alpha, beta = (
        posterior[f"mu_{n}"].values.reshape(4, 400)
        + posterior[f"sigma_{n}"].values.reshape(4, 400) * rng.standard_normal((4, 400))
        for n in ("alpha", "beta")
    )
    y = alpha + strangers()["x1"].iloc[0] * beta
    y = y + posterior["eps"].values * rng.standard_normal(y.shape)
    for r in (0, 1, 3, 4):
        assert_moments(y, table["mean"].iloc[r], table["sd"].iloc[r])
        assert_holds(y, table["lower"].iloc[r], table["upper"].iloc[r])
    # A group of the fit that has no rows says no more than one that is not in it.
    empty = predict(tree, strangers().assign(town="town 3"))
    np.testing.assert_allclose(empty["mean"].iloc[0], table["mean"].iloc[0], rtol=1e-12)


def test_an_unseen_group_of_the_pooled_model_has_the_one_line():
    table = predict(towns_fit("pooled"), strangers(), new_groups="population")
    assert table["mean"].nunique() == table["sd"].nunique() == 1
    assert table["new_group"].sum() == 4


@pytest.mark.parametrize("new_groups", ["error", "population"])
def test_the_individual_model_refuses_what_it_has_not_seen(new_groups):
    tree, options = towns_fit("individual"), {"new_groups": new_groups}
    for function in (predict, predictive_draws):
        advice = r"'town 9' \(close: .* knows nothing of other groups: fit the hierarchical one"
        with pytest.raises(ValueError, match=advice):
            function(tree, strangers().dropna(), **options)
        with pytest.raises(ValueError, match=r"without gaps; got 2 rows \(index 3, 23\) missing"):
            function(tree, strangers(), **options)


@pytest.mark.parametrize("function", [predict, predictive_draws])
def test_unknown_and_missing_labels_are_named(function):
    tree = towns_fit()
    frame = new_rows(labels=["Town 2", "twon 0", "town 1", "Mora", "Ely", "Ely"])
    hints = (
        r"4 unknown labels: 'Town 2' \(close: 'town 2'.*\); 'twon 0' \(close: 'town 0'.*\); 'Mora'"
    )
    with pytest.raises(
        ValueError, match=hints + r" \(known: .*\); \.\.\.\. new_groups='population'"
    ):
        function(tree, frame)
    with pytest.raises(ValueError, match=r"without gaps; got 2 rows \(index 3, 23\) missing"):
        function(tree, strangers())


# Joint draws


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("num_predictors", [0, 1, 3])
def test_lines_of_known_groups_are_those_of_the_posterior(model, num_predictors):
    tree, frame = fit_of_size(model, num_predictors), new_rows(num_predictors)
    made = predictive_draws(tree, frame, kind="mean")
    np.testing.assert_allclose(
        made["predictions"]["mean"], posterior_draws(tree, frame, "mean"), rtol=1e-10
    )


@pytest.mark.parametrize("model", MODELS)
def test_outcomes_scatter_independently_by_the_eps_of_their_group(model):
    tree, frame = towns_fit(model), new_rows()
    line = predictive_draws(tree, frame, kind="mean", seed=4)["predictions"]["mean"].values
    y = predictive_draws(tree, frame, seed=4)["predictions"]["y"].values
    eps = tree["posterior"]["eps"]
    if model == "individual":
        eps = eps.sel(town=xr.DataArray(frame["town"].to_numpy(), dims="row"))
        eps = eps.transpose("chain", "draw", "row")
    else:
        eps = eps.expand_dims(row=len(frame)).transpose("chain", "draw", "row")
    noise = ((y - line) / eps.values).reshape(-1, len(frame))
    assert stats.kstest(noise.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(noise.T) - np.eye(len(frame))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(len(noise))


@pytest.mark.parametrize("coefficients", ["draws", "summary"])
def test_rows_of_a_group_share_its_line_whether_known_or_not(coefficients):
    tree, frame = towns_fit(coefficients=coefficients), strangers()
    made = predictive_draws(tree, frame, kind="mean", new_groups="population", seed=2)
    line = made["predictions"]["mean"].values.reshape(-1, 6)
    unseen, first, known, second, unseen_again, known_again = line.T
    # The same x: one label, one line. Each row without a label has its own.
    np.testing.assert_array_equal(unseen, unseen_again)
    np.testing.assert_array_equal(known, known_again)
    assert np.abs(first - second).min() > 0
    assert np.abs(first - unseen).min() > 0
    # Two strangers have the population in common, and nothing else.
    posterior, x = tree["posterior"], frame["x1"].iloc[0]
    mu = (posterior["mu_alpha"] + x * posterior["mu_beta"][..., 0]).values.ravel()
    sd = np.sqrt(posterior["sigma_alpha"] ** 2 + (x * posterior["sigma_beta"][..., 0]) ** 2)
    z = (line[:, [0, 1, 3]] - mu[:, None]) / sd.values.reshape(-1, 1)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(z.T) - np.eye(3)).max() < 4.5 / np.sqrt(len(z))


def test_coefficients_that_were_not_kept_are_drawn_jointly():
    """Moments of lines, and of the difference of two lines of one group, as if kept."""
    frame = new_rows(labels=["town 2", "town 2", "town 0"])
    kept, drawn = (
        predictive_draws(towns_fit(coefficients=c), frame, kind="mean")["predictions"]["mean"]
        for c in ("draws", "summary")
    )
    table = predict(towns_fit(), frame, kind="mean")
    for r in range(3):
        assert_moments(drawn[..., r], table["mean"].iloc[r], table["sd"].iloc[r])
    step, expected = (m[..., 0] - m[..., 1] for m in (drawn, kept))
    assert_moments(step, float(expected.mean()), float(expected.std(ddof=1)), rounding=0.05)
    assert not np.isin(drawn, kept).any()


def test_draws_are_repeated_by_their_seed_alone():
    tree, frame = towns_fit(coefficients="summary"), new_rows()
    first, again, other = (
        predictive_draws(tree, frame, seed=seed)["predictions"]["y"].values for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.isin(first, other).any()


@pytest.mark.parametrize("num_predictors", [0, 2])
def test_predictions_are_a_tree_by_arviz_s_names_and_survive_a_file(num_predictors, tmp_path):
    tree = towns_fit(num_predictors=num_predictors, method="integrate", draws=50)
    frame = strangers(num_predictors).set_index(pd.date_range("2024-05-01", periods=6))
    made = predictive_draws(tree, frame, new_groups="population", seed=3)
    assert set(made.children) == {"predictions", "predictions_constant_data"}
    y, constant = made["predictions"]["y"], made["predictions_constant_data"]
    assert y.dims == ("chain", "draw", "row")
    assert y.shape == (4, 50, 6)
    assert y["town"].values.tolist() == ["town 9", "", "town 2", "", "town 9", "town 2"]
    assert y["row"].values[1] == "2024-05-02 00:00:00"
    np.testing.assert_array_equal(y["draw"], tree["posterior"]["draw"])
    assert constant["new_group"].values.tolist() == [True, True, False, True, True, False]
    if num_predictors:
        assert constant["x"].dims == ("row", "predictor")
        np.testing.assert_array_equal(constant["x"], frame[["x1", "x2"]])
        assert constant["predictor"].values.tolist() == ["x1", "x2"]
    else:
        assert "x" not in constant
    attrs = made.attrs
    assert (attrs["kind"], attrs["new_groups"], attrs["seed"]) == ("outcome", "population", 3)
    assert attrs["data_fingerprint"] == towns(num_predictors).fingerprint()
    made.to_netcdf(tmp_path / "new.nc", engine="h5netcdf")
    assert xr.load_datatree(tmp_path / "new.nc", engine="h5netcdf").identical(made)


def test_a_thinned_fit_predicts_less_often():
    tree = towns_fit().isel(draw=slice(None, None, 10))
    y = predictive_draws(tree, new_rows())["predictions"]["y"]
    assert y.shape == (4, 40, 5)
    assert y["draw"].values.tolist() == list(range(0, 400, 10))
    table, full = predict(tree, new_rows()), predict(towns_fit(), new_rows())
    np.testing.assert_allclose(table["mean"], full["mean"], atol=full["sd"].min())


# Labels


DAYS = pd.to_datetime(["2020-03-01", "2021-01-01", "2019-01-01"])


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(
    ("groups", "asked"),
    [
        ([27, 3, -5], pd.Series([3, 27, -5])),
        ([27, 3, -5], pd.Series([3.0, 27.0, -5.0])),
        ([27, 3, -5], pd.Series([3, 27, -5], dtype="Int64")),
        ([27, 3, -5], pd.Series(["3", "27", "-5"])),
        ([2.5, 3.0, -1.0], pd.Series([3.0, 2.5, -1.0])),
        ([2.5, 3.0, -1.0], pd.Series([3, "2.5", -1], dtype=object)),
        (["03", "27", "5"], pd.Series(["27", "03", "5"], dtype="category")),
        (list(DAYS), pd.Series(DAYS[[1, 0, 2]])),
        ([True, False, "neither"], pd.Series([False, True, "neither"])),
        ([("a", 1), ("a", 2), ("b", 1)], pd.Series([("a", 2), ("a", 1), ("b", 1)])),
    ],
    ids=[
        "int",
        "float for int",
        "Int64",
        "text for int",
        "float",
        "int for float",
        "category",
        "time",
        "bool",
        "tuple",
    ],
)
def test_labels_of_any_type_are_found_again(groups, asked, loaded, tmp_path):
    """A file keeps integers and text; a frame may hold anything that reads the same."""
    y = np.random.default_rng(2).normal(size=12)
    data = GroupedData.from_arrays(y, None, pd.Series(groups * 4))
    assert data.labels.groups == tuple(groups)
    tree = fit(data, model="individual", method="integrate", draws=20)
    if loaded:
        tree.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
        tree = xr.load_datatree(tmp_path / "fit.nc", engine="h5netcdf")
    made = predictive_draws(tree, pd.DataFrame({"group": asked}), kind="mean")
    expected = tree["posterior"]["alpha"].values[..., [1, 0, 2]]
    np.testing.assert_allclose(made["predictions"]["mean"], expected)


def test_a_gap_among_integers_makes_them_floats_and_they_are_still_found():
    y = np.random.default_rng(2).normal(size=12)
    data = GroupedData.from_arrays(y, None, [27, 3, -5] * 4)
    tree = fit(data, method="integrate", draws=100)
    frame = pd.DataFrame({"group": [3, None, 27]})
    assert frame["group"].dtype == float
    table = predict(tree, frame, new_groups="population")
    assert table["new_group"].tolist() == [False, True, False]


# Refusals


@pytest.mark.parametrize("function", [predict, predictive_draws])
@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda f: f.iloc[:0], ValueError, "at least one row; got 0 rows"),
        (lambda f: f.drop(columns="x1"), ValueError, "x to name a column; got 'x1'"),
        (lambda f: f.rename(columns={"town": "Town"}), ValueError, r"'town' \(close: 'Town'\)"),
        (lambda f: f.assign(x1=[1, 2, np.nan, 4, np.nan]), ValueError, r"2 rows \(index 13, 33\)"),
        (lambda f: f.assign(x1=[1, np.inf, 3, 4, 5]), ValueError, r"1 row \(index 3\) infinite"),
        (lambda f: f.assign(x1=list("12a45")), TypeError, r"1 row \(index 13\) not a number"),
        (lambda f: f.to_dict(), TypeError, "frame to be a pandas or Polars DataFrame.*; got dict"),
        (lambda f: pl.from_pandas(f).lazy(), TypeError, "in memory; got LazyFrame: collect it"),
    ],
    ids=["empty", "no predictor", "no group", "missing", "infinite", "text", "no frame", "lazy"],
)
def test_frames_that_are_refused(function, change, error, match):
    with pytest.raises(error, match=match):
        function(towns_fit(), change(new_rows()))


@pytest.mark.parametrize(
    ("argument", "match"),
    [
        ({"kind": "y"}, "kind to be one of outcome, mean; got 'y'"),
        ({"new_groups": True}, "new_groups to be one of error, population; got True"),
        ({"ci_kind": "ETI"}, "ci_kind to be one of eti, hdi; got 'ETI'"),
        ({"ci_prob": 1.0}, "ci_prob between 0 and 1; got 1.0"),
        ({"ci_prob": 90}, "ci_prob between 0 and 1; got 90"),
        ({"ci_prob": float("nan")}, "ci_prob between 0 and 1; got nan"),
    ],
)
def test_arguments_out_of_range(argument, match):
    with pytest.raises(ValueError, match=match):
        predict(towns_fit(), new_rows(), **argument)


def test_something_else_than_a_fit_is_refused():
    with pytest.raises(TypeError, match="tree to be an xarray DataTree; got DataFrame"):
        predict(new_rows(), new_rows())


# Coverage

LEVEL = 0.001
SIZES = (1, 2, 3, 5, 8)


def draw_world(rng, model):
    """Data whose parameters are drawn from the priors of the fit, and one new row of each kind."""
    p, seed = PRIORS, int(rng.integers(2**31))
    if model == "pooled":
        mu = rng.normal(p.alpha.loc, p.alpha.scale), rng.normal(p.beta.loc, p.beta.scale)
        sigma = 0.0, 0.0
    elif model == "individual":
        mu, sigma = (p.alpha.loc, p.beta.loc), (p.alpha.scale, p.beta.scale)
    else:
        mu = (
            rng.normal(p.mu_alpha.loc, p.mu_alpha.scale),
            rng.normal(p.mu_beta.loc, p.mu_beta.scale),
        )
        sigma = abs(rng.normal(0, p.sigma_alpha.scale)), abs(rng.normal(0, p.sigma_beta.scale))
    world = simulate(
        num_groups=len(SIZES),
        rows_per_group=SIZES,
        mu_alpha=mu[0],
        mu_beta=mu[1],
        sigma_alpha=sigma[0],
        sigma_beta=sigma[1],
        eps=abs(rng.normal(0, p.eps.scale)),
        seed=seed,
    )
    c, x = rng.integers(len(SIZES)), rng.normal(0.5, 1.0, size=2)
    frame = pd.DataFrame({"group": [f"g{c}", "new"], "x1": x})
    alpha = np.array([world.alpha[c], rng.normal(mu[0], sigma[0])])
    beta = np.array([world.beta[c, 0], rng.normal(mu[1], sigma[1])])
    line = alpha + beta * x
    truth = {"mean": line, "outcome": line + world.eps * rng.standard_normal(2)}
    return world.data, frame.iloc[: 1 if model == "individual" else 2], truth


# Some of many draws from a prior lie far out in its tail.
FAR_OUT = pytest.mark.filterwarnings("ignore:The prior of .* almost no probability:UserWarning")


def hits(model, num_data_sets, seed, answered=lambda kind: kind):
    """How often intervals hold the truth, by kind, group, probability and kind of interval."""
    rng = np.random.default_rng(seed)
    found: dict[tuple, list] = {}
    for k in range(num_data_sets):
        data, frame, truth = draw_world(rng, model)
        options = {"method": "integrate", "draws": 250, "chains": 2}
        tree = fit(data, model=model, priors=PRIORS, seed=k, **options)
        for kind in KINDS:
            for ci_prob, ci_kind in ((0.5, "eti"), (0.9, "eti"), (0.8, "hdi")):
                options = {"ci_prob": ci_prob, "ci_kind": ci_kind, "new_groups": "population"}
                table = predict(tree, frame, kind=answered(kind), **options)
                y = truth[kind][: len(frame)]
                inside = (table["lower"] < y) & (y < table["upper"])
                for group, hit in zip(("known", "new"), inside, strict=False):
                    found.setdefault((kind, group, ci_prob, ci_kind), []).append(hit)
    assert {len(h) for h in found.values()} == {num_data_sets}
    return {case: sum(h) for case, h in found.items()}


def p_values(counts, num_data_sets):
    return {c: stats.binomtest(k, num_data_sets, c[2]).pvalue for c, k in counts.items()}


def assert_nominal(model, num_data_sets, seed):
    """Binomial tests, at a level of 0.001 for all intervals of a model together."""
    counts = hits(model, num_data_sets, seed)
    assert len(counts) == (6 if model == "individual" else 12)
    p = p_values(counts, num_data_sets)
    worst = min(p, key=p.get)
    assert p[worst] > LEVEL / len(p), f"{worst}: {counts[worst]} of {num_data_sets}"


@FAR_OUT
@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_intervals_cover_at_their_rate(model):
    assert_nominal(model, 100, seed=3)


@FAR_OUT
def test_the_test_sees_intervals_that_are_too_narrow():
    """The power of the above: those of the mean, taken for those of an outcome."""
    counts = hits("pooled", 60, seed=4, answered=lambda kind: "mean")
    p = p_values(counts, 60)
    assert all(p[case] < LEVEL / len(p) for case in p if case[0] == "outcome")


@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_white_space_is_no_label(blank):
    """As in a file: rows without a label are of one new group each, and not of one together."""
    frame = strangers().assign(town=["town 9", blank, "town 2", blank, "town 9", "town 2"])
    table = predict(towns_fit(), frame, new_groups="population")
    pd.testing.assert_frame_equal(table, predict(towns_fit(), strangers(), new_groups="population"))
    assert table.attrs["notes"] == [
        "2 rows without a label of 'town': predicted as of new groups, one for each row"
    ]
    made = predictive_draws(towns_fit(), frame, kind="mean", new_groups="population")
    first, second = made["predictions"]["mean"].values.reshape(-1, 6).T[[1, 3]]
    assert np.abs(first - second).min() > 0
    with pytest.raises(ValueError, match=r"'town' \(group\) without gaps; got 2 rows"):
        predict(towns_fit(), frame)


def test_a_group_of_the_fit_may_be_called_nothing():
    data = GroupedData.from_arrays(np.arange(8.0) ** 1.5, None, pd.Series(["", "a"] * 4))
    tree = fit(data, method="integrate", draws=100)
    table = predict(tree, pd.DataFrame({"group": ["", "a"]}))
    assert not table["new_group"].any()
    assert table.attrs["notes"] == []


def test_predictions_say_of_what_they_are():
    """The logarithm of a price is no price."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"price": rng.lognormal(size=40), "x": rng.normal(size=40)})
    rows["g"] = np.arange(40) % 5
    brief = {"method": "integrate", "draws": 100}
    tree = fit("log(price) ~ offset(x) + (1 | g)", rows, **brief)
    table = predict(tree, rows)
    assert table.attrs["outcome"] == "log(price)"
    assert table.attrs["notes"] == ["Predictions are of log(price), in its unit, as the fit has it"]
    plain = predict(fit("price ~ x + (1 | g)", rows, **brief), rows)
    assert (plain.attrs["outcome"], plain.attrs["notes"]) == ("price", [])
