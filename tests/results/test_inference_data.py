"""A DataTree says what was computed, under the user's names, and survives its file.

No sampler runs here: the results are made by hand, every number of them different.
"""

import json
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from radon_numpyro import GroupedData, GroupStatistics, Normal, Priors, fit
from radon_numpyro.inference.advi.guide import ADVIResult
from radon_numpyro.inference.nuts.result import NUTSResult
from radon_numpyro.results.datatree import describe_call, group_dim, site_dims, to_datatree

CHAINS, DRAWS, GROUPS = 2, 6, 3
MODELS = ("hierarchical", "individual", "pooled")


def make_data(num_predictors=1, group="county", labels=("b", "a", "c")):
    rng = np.random.default_rng(1)
    codes = [0, 1, 1, 2, 2, 2, 0]
    names = [f"x{k}" for k in range(num_predictors)]
    data = GroupedData.from_arrays(
        rng.normal(size=7),
        rng.normal(size=(7, num_predictors)),
        codes,
        outcome="level",
        predictors=names,
    )
    return replace(data, labels=replace(data.labels, group=group, groups=tuple(labels)))


def site_shapes(model, k):
    groups = {"hierarchical": (GROUPS,), "individual": (GROUPS,), "pooled": ()}[model]
    shapes = {"alpha": groups, "eps": groups if model == "individual" else ()}
    if k:
        shapes["beta"] = (*groups, k)
    if model == "hierarchical":
        shapes |= {"mu_alpha": (), "sigma_alpha": ()}
        shapes |= {"mu_beta": (k,), "sigma_beta": (k,)} if k else {}
    return shapes


def make_results(model="hierarchical", k=1, **changes):
    """An ADVI and a NUTS result whose sites stand in another order than the tree's."""
    rng = np.random.default_rng(2)
    shapes = dict(sorted(site_shapes(model, k).items()))
    advi = ADVIResult(
        means={name: rng.normal(size=shape) for name, shape in shapes.items()},
        sds={name: rng.uniform(size=shape) for name, shape in shapes.items()},
        locs={},
        scales={},
        elbo=rng.normal(size=1500),
        converged=True,
        reason="it stopped moving",
        khat=0.625,
        skipped_steps=3,
        model=model,
        seed=8,
        num_particles=16,
    )
    stats = ("lp", "energy", "acceptance_rate", "step_size")
    nuts = NUTSResult(
        draws={name: rng.normal(size=(CHAINS, DRAWS, *s)) for name, s in shapes.items()},
        stats={name: rng.uniform(size=(CHAINS, DRAWS)) for name in stats}
        | {
            "n_steps": rng.integers(1, 16, size=(CHAINS, DRAWS)),
            "diverging": rng.uniform(size=(CHAINS, DRAWS)) < 0.5,
        },
        inverse_mass_matrix=np.ones((CHAINS, 2)),
        warmup_gradients=1234,
        stopped_by="all draws taken",
        method="centered",
        chain_method="sequential",
        num_warmup=50,
        max_tree_depth=9,
        seed=8,
        target_accept_prob=0.95,
    )
    return advi, replace(nuts, **changes)


def make_tree(data=None, model="hierarchical", statistics_only=False, results=None):
    data = make_data() if data is None else data
    statistics = GroupStatistics.from_data(data)
    advi, nuts = make_results(model, data.num_predictors) if results is None else results
    return to_datatree(
        statistics if statistics_only else data,
        statistics,
        Priors.tutorial(),
        model,
        nuts,
        {"timings": json.dumps({"advi": 1.5}), "call": "fit(data)"},
        advi=advi,
    )


# Names


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_sites_have_the_dimensions_of_the_model_and_the_names_of_the_user(model, k):
    tree = make_tree(make_data(k), model)
    groups = () if model == "pooled" else ("county",)
    dims = {"alpha": groups, "eps": groups if model == "individual" else ()}
    if k:
        dims["beta"] = (*groups, "predictor")
    if model == "hierarchical":
        dims |= {"mu_alpha": (), "sigma_alpha": ()}
        dims |= {"mu_beta": ("predictor",), "sigma_beta": ("predictor",)} if k else {}
    posterior = tree["posterior"].to_dataset()
    assert {n: v.dims for n, v in posterior.items()} == {
        n: ("chain", "draw", *d) for n, d in dims.items()
    }
    for part in ("means", "sds"):
        assert {n: v.dims for n, v in tree[f"advi/{part}"].to_dataset().items()} == dims
    for group in (posterior, tree["advi/means"].to_dataset(), tree["advi/sds"].to_dataset()):
        if k:
            assert group["predictor"].values.tolist() == [f"x{i}" for i in range(k)]
        else:
            assert "predictor" not in group.dims
        if groups:
            assert group["county"].values.tolist() == ["b", "a", "c"]
    assert site_dims(model, make_data(k).labels)["alpha"] == list(groups)


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_every_number_lands_under_its_own_label(model, k):
    data, (advi, nuts) = make_data(k), make_results(model, k)
    tree = make_tree(data, model)
    for name, values in nuts.draws.items():
        np.testing.assert_array_equal(tree["posterior"][name], values)
        np.testing.assert_array_equal(tree["advi/means"][name], advi.means[name])
        np.testing.assert_array_equal(tree["advi/sds"][name], advi.sds[name])
    for name, values in nuts.stats.items():
        np.testing.assert_array_equal(tree["sample_stats"][name], values)
        assert tree["sample_stats"][name].dims == ("chain", "draw")
        assert tree["sample_stats"][name].dtype == values.dtype
    np.testing.assert_array_equal(tree["advi/trace"]["elbo"], advi.elbo)
    assert tree["advi/trace"]["elbo"].dims == ("step",)
    if model != "pooled":
        alpha = tree["posterior"]["alpha"].sel(county="a")
        np.testing.assert_array_equal(alpha, nuts.draws["alpha"][:, :, 1])
    if model != "pooled" and k == 2:
        beta = tree["posterior"]["beta"].sel(county="c", predictor="x1")
        np.testing.assert_array_equal(beta, nuts.draws["beta"][:, :, 2, 1])


def test_sites_stand_in_the_order_of_the_model():
    sites = ["mu_alpha", "sigma_alpha", "mu_beta", "sigma_beta", "alpha", "beta", "eps"]
    assert list(make_tree()["posterior"].data_vars) == sites
    assert list(make_tree()["advi/means"].data_vars) == sites


@pytest.mark.parametrize(
    ("column", "dim"),
    [
        ("county", "county"),
        ("county name", "county name"),
        ("comté", "comté"),
        ("group", "group"),
        ("chain", "chain_group"),
        ("draw", "draw_group"),
        ("sample", "sample_group"),
        ("row", "row_group"),
        ("step", "step_group"),
        ("node", "node_group"),
        ("coefficient", "coefficient_group"),
        ("fixed", "fixed_group"),
        ("mean_slope", "mean_slope_group"),
        ("predictor", "predictor_group"),
        ("predictor_other", "predictor_other_group"),
        ("alpha", "alpha_group"),
        ("eps", "eps_group"),
        ("count", "count_group"),
        ("self", "self_group"),
        ("coords", "coords_group"),
        ("syy", "syy_group"),
        ("x", "x_group"),
        ("y", "y_group"),
        ("elbo", "elbo_group"),
        ("group_index", "group_index_group"),
        ("state/county", "state_county"),
        ("", "group"),
    ],
)
def test_the_group_dimension_bears_the_column_name_unless_it_is_taken(column, dim):
    data = make_data(group=column)
    assert group_dim(data.labels) == dim
    tree = make_tree(data)
    assert tree["posterior"]["alpha"].dims == ("chain", "draw", dim)
    assert tree["constant_data"]["count"].dims == (dim,)
    assert tree.attrs["group"] == column


@pytest.mark.parametrize("column", ["node", "coefficient", "fixed", "mean_slope"])
@pytest.mark.parametrize("formula", ["y ~ 1 + (1 | g)", "y ~ x + (x | g)", "y ~ x + (x || g)"])
def test_a_group_named_like_a_dimension_of_results_is_fitted(formula, column):
    """Also like one that this design does not need: its arrays of length 0 are there."""
    rows = make_data().to_frame()
    rows = pd.DataFrame({"y": rows.iloc[:, 0], "x": rows.iloc[:, 1], column: rows["county"]})
    tree = fit(formula.replace("g)", f"{column})"), rows, method="integrate", draws=50)
    assert tree["posterior"].sizes[f"{column}_group"] == rows[column].nunique()


@pytest.mark.parametrize(
    ("labels", "expected", "kind"),
    [
        ((30, 10, 20), [30, 10, 20], "i"),
        ((-(2**63) + 1, 0, 2**63 - 1), [-(2**63) + 1, 0, 2**63 - 1], "i"),
        ((2**64, 0, 1), [str(2**64), "0", "1"], "U"),
        ((True, False, 2), ["True", "False", "2"], "U"),
        ((1.5, 2.0, -1.0), ["1.5", "2.0", "-1.0"], "U"),
        (("São", "", "c d"), ["São", "", "c d"], "U"),
        (
            tuple(pd.date_range("2024-01-30", periods=3)),
            ["2024-01-30 00:00:00", "2024-01-31 00:00:00", "2024-02-01 00:00:00"],
            "U",
        ),
        ((("a", 1), ("a", 2), ("b", 1)), ["('a', 1)", "('a', 2)", "('b', 1)"], "U"),
    ],
)
def test_integer_labels_stay_integers_and_all_others_become_text(labels, expected, kind, tmp_path):
    tree = make_tree(make_data(labels=labels))
    coordinate = tree["posterior"]["county"]
    assert coordinate.values.tolist() == expected
    assert coordinate.dtype.kind == kind
    assert_survives_its_file(tree, tmp_path)


# Data


@pytest.mark.parametrize("k", [0, 1, 2])
def test_rows_and_statistics_are_kept(k):
    data, tree = make_data(k), make_tree(make_data(k))
    statistics = GroupStatistics.from_data(data)
    observed = tree["observed_data"].to_dataset()
    assert set(observed.data_vars) == {"y"}
    assert observed["y"].dims == ("row",)
    assert observed["y"].attrs["long_name"] == "level"
    np.testing.assert_array_equal(observed["y"], data.y)
    constant = tree["constant_data"].to_dataset()
    dims = {
        "count": ("county",),
        "mean_y": ("county",),
        "syy": ("county",),
        "group_index": ("row",),
    }
    if k:
        dims |= {
            "mean_x": ("county", "predictor"),
            "sxx": ("county", "predictor", "predictor_other"),
            "sxy": ("county", "predictor"),
            "x": ("row", "predictor"),
        }
    assert {name: v.dims for name, v in constant.items()} == dims
    np.testing.assert_array_equal(constant["group_index"], data.group)
    for name in dims.keys() - {"x", "group_index"}:
        np.testing.assert_array_equal(constant[name], getattr(statistics, name))
    if k:
        np.testing.assert_array_equal(constant["x"], data.x)


def test_a_fit_to_statistics_has_no_rows():
    tree = make_tree(statistics_only=True)
    assert set(tree.children) == {"posterior", "sample_stats", "constant_data", "advi"}
    assert set(tree["constant_data"].data_vars) == {
        "count",
        "mean_x",
        "mean_y",
        "sxx",
        "sxy",
        "syy",
    }
    assert "row" not in tree["constant_data"].dims
    assert "data_fingerprint" not in tree.attrs
    assert json.loads(tree.attrs["left_out"]) == []


def test_coefficients_that_were_not_drawn_are_kept_as_moments(tmp_path):
    rng = np.random.default_rng(3)
    advi, nuts = make_results(k=2)
    shapes = {"beta": (GROUPS, 2), "alpha": (GROUPS,)}
    moments = {name: (rng.normal(size=s), rng.uniform(size=s)) for name, s in shapes.items()}
    scales = {name: v for name, v in nuts.draws.items() if name not in shapes}
    nuts = replace(nuts, draws=scales, coefficients=moments)
    tree = make_tree(make_data(2), results=(advi, nuts))
    assert set(tree["posterior"].data_vars) == set(scales)
    dims = {"alpha": ("county",), "beta": ("county", "predictor")}
    for k, part in enumerate(("means", "sds")):
        dataset = tree[f"coefficients/{part}"].to_dataset()
        assert {name: v.dims for name, v in dataset.items()} == dims
        for name, values in moments.items():
            np.testing.assert_array_equal(dataset[name], values[k])
        assert dataset["county"].values.tolist() == ["b", "a", "c"]
    assert "coefficients" not in make_tree().children
    assert_survives_its_file(tree, tmp_path)


# Attributes


def test_attributes_say_how_the_fit_was_made():
    data = replace(make_data(2), left_out=(("floor not recorded", 4),))
    advi, nuts = make_results(k=2, stopped_by="interrupted")
    tree = make_tree(data, results=(advi, nuts))
    attrs = dict(tree.attrs)
    assert attrs.pop("priors") == Priors.tutorial().to_json()
    versions = json.loads(attrs.pop("versions"))
    assert set(versions) > {"python", "numpyro", "jax", "jaxlib", "arviz", "numpy"}
    assert versions["radon-numpyro"] == version("radon-numpyro")
    assert json.loads(attrs.pop("predictors")) == ["x0", "x1"]
    columns = ["Intercept", "x0", "x1"]
    design = json.loads(attrs.pop("design"))
    assert design.pop("population") == design.pop("varying") == columns
    assert design == {"correlated": [], "weights": "", "se": ""}
    assert json.loads(attrs.pop("left_out")) == [["floor not recorded", 4]]
    assert json.loads(attrs.pop("timings")) == {"advi": 1.5}
    assert attrs == {
        "model": "hierarchical",
        "method": "centered",
        "complete": 0,
        "stopped_by": "interrupted",
        "outcome": "level",
        "group": "county",
        "seed": 8,
        "num_warmup": 50,
        "warmup_gradients": 1234,
        "sampling_gradients": int(nuts.stats["n_steps"].sum()),
        "chain_method": "sequential",
        "max_tree_depth": 9,
        "target_accept_prob": 0.95,
        "earlier_runs": "[]",
        "lost_groups": "[]",
        "centers": "{}",
        "formula": "",
        "notes": "[]",
        "data_fingerprint": data.fingerprint(),
        "call": "fit(data)",
    }
    assert tree["advi"].attrs == {
        "converged": 1,
        "reason": "it stopped moving",
        "verdict": advi.verdict,
        "khat": 0.625,
        "num_steps": 1500,
        "num_particles": 16,
        "skipped_steps": 3,
    }


def test_a_call_reads_as_python():
    call = describe_call("fit", model="pooled", seed=3, method=None, target_accept_prob=0.9)
    assert call == "fit(data, model='pooled', seed=3, method=None, target_accept_prob=0.9)"


# Files


def assert_survives_its_file(tree, folder):
    file = folder / "fit.nc"
    tree.to_netcdf(file, engine="h5netcdf")
    loaded = xr.load_datatree(file, engine="h5netcdf")
    # Names, values, dimensions, coordinates and attributes, throughout.
    assert loaded.identical(tree)
    for node in tree.subtree:
        for name, variable in {**node.data_vars, **node.coords}.items():
            back = loaded[node.path][name]
            assert back.dtype.kind == variable.dtype.kind, name
            # Text comes back without a length.
            assert back.dtype.kind in "UO" or back.dtype == variable.dtype, name
    assert loaded["sample_stats"]["diverging"].dtype == bool


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("model", MODELS)
def test_a_tree_survives_its_file(model, k, tmp_path):
    assert_survives_its_file(make_tree(make_data(k), model), tmp_path)


def test_a_tree_without_rows_survives_its_file(tmp_path):
    assert_survives_its_file(make_tree(statistics_only=True), tmp_path)


@pytest.mark.parametrize("column", ["county name", "comté", "state/county", "chain", ""])
def test_awkward_column_names_survive_too(column, tmp_path):
    assert_survives_its_file(make_tree(make_data(group=column)), tmp_path)


@pytest.mark.parametrize("khat", [np.inf, np.nan])
def test_what_is_not_finite_survives_too(khat, tmp_path):
    advi, nuts = make_results()
    draws = {**nuts.draws, "eps": np.full((CHAINS, DRAWS), np.nan)}
    results = (replace(advi, khat=khat), replace(nuts, draws=draws))
    assert_survives_its_file(make_tree(results=results), tmp_path)


def test_float32_survives_too(tmp_path):
    advi, nuts = make_results()
    draws = {name: v.astype(np.float32) for name, v in nuts.draws.items()}
    tree = make_tree(results=(advi, replace(nuts, draws=draws)))
    assert tree["posterior"]["alpha"].dtype == np.float32
    assert_survives_its_file(tree, tmp_path)


def test_priors_by_predictor_are_written_out():
    priors = replace(Priors.tutorial(), mu_beta=Normal(np.array([0.0, 1.0]), np.array([2.0, 3.5])))
    data = make_data(2)
    advi, nuts = make_results(k=2)
    statistics = GroupStatistics.from_data(data)
    tree = to_datatree(data, statistics, priors, "hierarchical", nuts, {}, advi=advi)
    expected = {"family": "Normal", "loc": [0.0, 1.0], "scale": [2.0, 3.5]}
    assert json.loads(tree.attrs["priors"])["mu_beta"] == expected
