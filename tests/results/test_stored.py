"""A fit comes back from its file to the last digit; a file that is no fit is refused in a line."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import xarray as xr
from fits import towns, towns_fit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radon_numpyro import diagnose, fit, predict, with_groups
from radon_numpyro.results.fit_files import load_fit, save_fit


def brief_fit(model="hierarchical", num_predictors=1, **options):
    return towns_fit(model, num_predictors, draws=20, **options)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "fit.nc"


# There and back


@pytest.mark.parametrize(
    ("model", "num_predictors", "options"),
    [
        ("hierarchical", 3, {"method": "integrate"}),
        ("hierarchical", 0, {"method": "integrate", "coefficients": "summary"}),
        ("hierarchical", 1, {"coefficients": "summary"}),
        ("hierarchical", 1, {"statistics_only": True}),
        ("hierarchical", 1, {"dtype": "float32"}),
        ("individual", 3, {}),
        ("individual", 1, {"method": "centered"}),
        ("pooled", 0, {}),
    ],
)
def test_a_fit_comes_back_without_loss(file, model, num_predictors, options):
    tree = brief_fit(model, num_predictors, **options)
    assert save_fit(tree, file) == file
    loaded = load_fit(str(file))
    assert loaded.identical(tree)
    for node in tree.subtree:
        for name, variable in node.variables.items():
            back = loaded[node.path].variables[name]
            np.testing.assert_array_equal(back.values, variable.values)
            assert back.dtype == variable.dtype or variable.dtype.kind == "U"


def test_the_file_is_closed_and_can_be_replaced_by_what_was_read(file):
    save_fit(brief_fit(), file)
    loaded = load_fit(file)
    save_fit(loaded, file)
    assert load_fit(file).identical(loaded)
    assert [path.name for path in file.parent.iterdir()] == ["fit.nc"]


def test_further_groups_come_along(file):
    tree = with_groups(brief_fit().copy(), "log_likelihood", "prior")
    save_fit(tree, file)
    assert load_fit(file).identical(tree)


def test_what_a_loaded_fit_says_and_predicts_is_what_the_fit_did(file):
    tree = brief_fit()
    save_fit(tree, file)
    loaded = load_fit(file)
    assert str(diagnose(loaded)) == str(diagnose(tree))
    new = towns().to_frame().drop(columns="level")
    expected, found = (predict(t, new, ci_prob=0.9, ci_kind="eti") for t in (tree, loaded))
    assert found.equals(expected)


def test_files_of_xarray_and_thinned_fits_are_fits_too(file):
    thinned = brief_fit().isel(draw=slice(None, None, 3))
    thinned.to_netcdf(file, engine="h5netcdf")
    assert load_fit(file).identical(thinned)
    save_fit(thinned, file)
    assert load_fit(file).identical(thinned)


def test_compressed_files_are_read(file):
    tree = brief_fit()
    encoding = {"/posterior": {"alpha": {"zlib": True, "complevel": 4}}}
    tree.to_netcdf(file, engine="h5netcdf", encoding=encoding)
    assert load_fit(file).identical(tree)


def test_what_is_no_fit_is_not_written(file):
    with pytest.raises(TypeError, match="Expected tree to be an xarray DataTree; got Dataset"):
        save_fit(xr.Dataset(), file)
    with pytest.raises(ValueError, match="Expected tree to be a fit; got no group /posterior"):
        save_fit(brief_fit().drop_nodes("posterior"), file)
    assert list(file.parent.iterdir()) == []


# Refusals


def attribute(name, value, group="/"):
    def change(tree):
        tree[group].attrs[name] = value

    return change


def no_attribute(name):
    return lambda tree: tree.attrs.pop(name)


def no_group(path):
    def change(tree):
        parent, _, name = f"/{path}".rpartition("/")
        del tree[parent or "/"][name]

    return change


def variable(group, name, edit):
    """Replace a variable by what `edit` makes of it."""

    def change(tree):
        dataset = tree[group].to_dataset()
        tree[group] = xr.DataTree(dataset.assign({name: edit(dataset[name])}))

    return change


def no_variable(group, name):
    def change(tree):
        tree[group] = xr.DataTree(tree[group].to_dataset().drop_vars(name))

    return change


def entry(value):
    def edit(array):
        array = array.copy()
        array[(0,) * array.ndim] = value
        return array

    return edit


def prior(**changes):
    def change(tree):
        priors = json.loads(tree.attrs["priors"])
        tree.attrs["priors"] = json.dumps(priors | changes)

    return change


REFUSALS = {
    "another model": (
        attribute("model", "mixture"),
        "a model of this package and one of its methods",
    ),
    "another method": (attribute("method", "exact"), "got model 'hierarchical' and method 'exact'"),
    "a model that is a number": (attribute("model", 3), r"attribute model of / .* text; got .*3"),
    "no model": (no_attribute("model"), "attribute model of / in .* to be text; got None"),
    "no group column": (no_attribute("group"), "attribute group of / in .*; got None"),
    "another group column": (attribute("group", "city"), "to have a dimension 'city'; got 'chain'"),
    "complete in words": (attribute("complete", "yes"), "complete of / .* a number; got 'yes'"),
    "no verdict": (attribute("verdict", 1.5, "/advi"), "verdict of /advi in .* text; got .*1.5"),
    "no depth": (no_attribute("max_tree_depth"), "attribute max_tree_depth of / .*; got None"),
    "predictors not JSON": (attribute("predictors", "x1"), "attribute predictors of .* in JSON"),
    "predictors nested": (attribute("predictors", "[" * 10**5), "predictors of .* in JSON"),
    "predictors a number": (attribute("predictors", "3"), "to list unique names; got 3"),
    "predictors twice": (attribute("predictors", '["x1", "x1"]'), "to list unique names"),
    "other predictors": (attribute("predictors", '["x2"]'), r"the columns \('x2',\); got \('x1"),
    "left out, a number": (attribute("left_out", "[[1, 2]]"), "to list reasons and counts"),
    "versions not JSON": (attribute("versions", "{"), "attribute versions of .* in JSON"),
    "priors not JSON": (attribute("priors", "Normal"), "a fit; Expected priors as to_json"),
    "priors without eps": (attribute("priors", "{}"), "a fit; Expected priors as to_json"),
    "a prior of no family": (prior(eps={"family": "Cauchy"}), "a fit; Expected priors as to_json"),
    "a prior in words": (
        prior(eps={"family": "HalfNormal", "scale": "1"}),
        "a fit; Expected priors as to_json",
    ),
    "a prior beyond numbers": (
        prior(eps={"family": "HalfNormal", "scale": 10**400}),
        "a fit; Expected priors as to_json",
    ),
    "a prior not finite": (
        prior(eps={"family": "HalfNormal", "scale": float("inf")}),
        "a fit; Expected scale of HalfNormal to be positive and finite; got inf",
    ),
    "a prior of the wrong shape": (
        prior(beta={"family": "Normal", "loc": [0.0, 1.0], "scale": 1.0}),
        r"the prior of beta in .* shape \(\) or \(1,\); got Normal\(\[0., 1.\], 1.\)",
    ),
    "no posterior": (no_group("posterior"), "to be a fit; got no group /posterior"),
    "no constants": (no_group("constant_data"), "to be a fit; got no group /constant_data"),
    "no statistics": (no_group("sample_stats"), None),
    "no guide": (no_group("advi"), "to be a fit; got no group /advi"),
    "no means": (no_group("advi/means"), "to be a fit; got no group /advi/means"),
    "no eps": (no_variable("posterior", "eps"), "to be a fit; got no eps in /posterior"),
    "no sxx": (no_variable("constant_data", "sxx"), "to be a fit; got no sxx in /constant_data"),
    "no rows of x": (no_variable("constant_data", "x"), "to be a fit; got no x in /constant_data"),
    "draws without chains": (
        variable("posterior", "eps", lambda a: a.isel(chain=0, drop=True)),
        r"/posterior/eps of .* dimensions \('chain', 'draw'\); got \('draw',\)",
    ),
    "draws of whole numbers": (
        variable("posterior", "eps", lambda a: a.astype(int)),
        "/posterior/eps of .* to be of type float; got int64",
    ),
    "draws in words": (
        variable("posterior", "eps", lambda a: a.astype(str)),
        "real numbers, and text in one dimension; got /posterior/eps",
    ),
    "NaN among the draws": (
        variable("posterior", "alpha", entry(np.nan)),
        "/posterior/alpha of .* to be finite; got 1 of 400 others: nan",
    ),
    "a negative scale": (
        variable("posterior", "sigma_beta", entry(-0.5)),
        "sigma_beta of .* to be finite and at least 0; got 1 of 80 others: -0.5",
    ),
    "no draws": (lambda tree: tree.isel(draw=slice(0)), "to have entries; got shape"),
    "divergences counted": (
        variable("sample_stats", "diverging", lambda a: a.astype(float)),
        "/sample_stats/diverging of .* to be of type bool; got float64",
    ),
    "other labels of groups": (
        lambda tree: tree["posterior"].coords.update({"town": list("abcde")}),
        "labels of 'town' .* the same in all groups; got different labels in /constant_data",
    ),
    "a row of no group": (
        variable("constant_data", "group_index", entry(2**30)),
        "group_index of .* each of the 5 groups as many rows as count does; got 1 rows without a",
    ),
    "a negative group": (
        variable("constant_data", "group_index", entry(-1)),
        "group_index of .* finite and at least 0; got 1 of 18 others: -1",
    ),
    "other counts": (
        variable("constant_data", "count", entry(7.0)),
        "group_index of .* as many rows as count does; got 0 rows without a group, or",
    ),
    "a negative count": (
        variable("constant_data", "count", entry(-5.0)),
        "/constant_data/count of .* to be finite and at least 0; got 1 of 5 others: -5",
    ),
    "sums that no rows have": (
        variable("constant_data", "syy", entry(-1.0)),
        "to be a fit; Expected sxx, sxy and syy to be centred sums .* in 1 group: 'town 0'",
    ),
    "findings of another make": (
        attribute("findings", '[{"what": "x"}]'),
        "attribute findings of .*; Expected findings as to_json writes them",
    ),
    "centers of no predictor": (
        attribute("centers", '{"depth": 1.0}'),
        "attribute centers of .* a finite number for some predictors; got",
    ),
    "lost groups that are no labels": (
        attribute("lost_groups", "[[1]]"),
        r"attribute lost_groups of .* to list labels; got \[\[1\]\]",
    ),
    "earlier runs of another make": (
        attribute("earlier_runs", '[{"draws": 3}]'),
        "attribute earlier_runs of .* to list divergences, draws, target_accept_prob; got",
    ),
    "an infinite outcome": (
        variable("observed_data", "y", entry(np.inf)),
        "/observed_data/y of .* to be finite; got 1 of 18 others: inf",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_file_that_is_no_fit_is_refused(file, case):
    change, message = REFUSALS[case]
    tree = brief_fit().copy(deep=True)
    result = change(tree)
    tree = result if isinstance(result, xr.DataTree) else tree
    tree.to_netcdf(file, engine="h5netcdf")
    if message is None:
        assert load_fit(file).identical(tree)
        return
    with pytest.raises(ValueError, match=message) as caught:
        load_fit(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_chains_that_were_run_have_their_statistics(file):
    tree = brief_fit("individual", method="centered").copy()
    del tree["sample_stats"]
    tree.to_netcdf(file, engine="h5netcdf")
    with pytest.raises(ValueError, match="to be a fit; got no group /sample_stats"):
        load_fit(file)


def test_hdf5_that_is_no_fit_is_refused(file):
    with h5py.File(file, "w") as made:
        made["theta"] = np.arange(3.0)
    with pytest.raises(ValueError, match=r"attribute model of / in .* to be text; got None"):
        load_fit(file)


def test_links_out_of_the_file_are_not_followed(file, tmp_path):
    save_fit(brief_fit(), file)
    with h5py.File(file, "r+") as made:
        del made["posterior/eps"]
        made["posterior/eps"] = h5py.ExternalLink(str(tmp_path / "other.nc"), "/eps")
    with pytest.raises(ValueError, match="hold its data itself; got an external link 'eps'"):
        load_fit(file)


def test_attributes_that_would_be_decoded_do_no_harm(file):
    """CF conventions scale numbers and turn them into dates, if the file asks for it."""
    tree = brief_fit().copy(deep=True)
    tree["posterior"]["eps"].attrs["units"] = "days since 1960-01-01"
    tree.to_netcdf(file, engine="h5netcdf")
    assert load_fit(file)["posterior"]["eps"].dtype == np.float64


def test_what_netcdf_cannot_read_is_said_to_be_damaged(file):
    save_fit(brief_fit(), file)
    with h5py.File(file, "r+") as made:
        made["posterior/eps"].attrs["DIMENSION_LIST"] = 3
    with pytest.raises(
        ValueError, match=r"to be an undamaged netCDF-4 file \(HDF5\); got \w+Error"
    ):
        load_fit(file)


# Whatever happens to a file


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    path = save_fit(brief_fit("pooled", 0), tmp_path_factory.mktemp("sealed") / "fit.nc")
    return path, path.read_bytes(), load_fit(path)


def cut(content, share):
    return content[: int(share * len(content))]


def zeroed(content, share, amount):
    """Blocks that never reached the disk."""
    position = int(share * len(content))
    return (content[:position] + bytes(amount) + content[position + amount :])[: len(content)]


def flipped(content, *flips):
    content = bytearray(content)
    for share, mask in flips:
        content[int(share * (len(content) - 1))] ^= mask
    return bytes(content)


share = st.floats(0, 1)
flips = st.lists(st.tuples(share, st.integers(1, 255)), min_size=1, max_size=3)
damages = st.one_of(
    share.map(lambda s: lambda content: cut(content, s)),
    st.tuples(share, st.integers(1, 5000)).map(lambda a: lambda content: zeroed(content, *a)),
    flips.map(lambda f: lambda content: flipped(content, *f)),
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damages)
def test_a_damaged_file_loads_as_it_was_or_is_refused(sealed, damage):
    path, whole, expected = sealed
    path.write_bytes(damage(whole))
    refused = ""
    try:
        assert load_fit(path).identical(expected)
    except ValueError as error:
        refused = str(error)
    assert not refused or refused.startswith(f"Expected {path} ")


awkward = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8
) | st.sampled_from(["", " ", "São Paulo", "東京", "🙂", "a/b", "NaN", "..", "x" * 300])


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.lists(awkward, min_size=5, max_size=5, unique=True),
    names=st.lists(awkward, min_size=3, max_size=3, unique=True),
    numbers=st.booleans(),
)
def test_any_names_come_back(tmp_path, labels, names, numbers):
    data = towns(1)
    groups = tuple(range(-2, 3)) if numbers else tuple(labels)
    outcome, predictor, group = names
    changes = {
        "outcome": outcome,
        "predictors": (predictor,),
        "group": group,
        "groups": groups,
        "design": None,
    }
    data = replace(data, labels=replace(data.labels, **changes))
    tree = fit(data, model="pooled", method="integrate", draws=4)
    path = save_fit(tree, tmp_path / "fit.nc")
    assert load_fit(path).identical(tree)
