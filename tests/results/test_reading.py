"""What went into a fit comes back from its tree, to the last digit, also through a file."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import xarray as xr
from fits import fit_of_size, towns, towns_fit

from radon_numpyro import GroupedData, GroupStatistics, Normal, Priors, fit
from radon_numpyro.results.fit_reader import (
    read_coefficients,
    read_data,
    read_draws,
    read_labels,
    read_priors,
    read_scales,
    read_statistics,
)

MODELS = ("hierarchical", "individual", "pooled")


@pytest.fixture(params=["fresh", "loaded"])
def back(request, tmp_path):
    """The tree as it is made, or from a file."""

    def through(tree):
        if request.param == "fresh":
            return tree
        tree.to_netcdf(tmp_path / "fit.nc", engine="h5netcdf")
        return xr.load_datatree(tmp_path / "fit.nc", engine="h5netcdf")

    return through


def assert_same_leaves(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for value, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.shape(value) == np.shape(wanted)
        np.testing.assert_array_equal(value, wanted)


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
def test_data_statistics_and_priors(back, num_predictors):
    data, tree = towns(num_predictors), back(towns_fit("pooled", num_predictors))
    assert read_labels(tree) == data.labels
    assert_same_leaves(read_statistics(tree), GroupStatistics.from_data(data))
    assert_same_leaves(read_data(tree), data)
    assert read_data(tree).fingerprint() == data.fingerprint() == tree.attrs["data_fingerprint"]
    assert not read_data(tree).y.flags.writeable
    assert_same_leaves(read_priors(tree), Priors.weakly_informative(data))


def test_priors_of_any_family(back):
    data = towns(3)
    priors = replace(Priors.tutorial(), beta=Normal([0.1, -1 / 3, 7.0], [1e-3, 2.0, 5.0]))
    tree = back(fit(data, model="pooled", priors=priors, method="integrate", draws=4))
    assert_same_leaves(read_priors(tree), priors)


@pytest.mark.parametrize("num_predictors", [0, 1, 3])
@pytest.mark.parametrize("model", MODELS)
def test_draws_have_the_chains_in_one_axis(back, model, num_predictors):
    tree = back(fit_of_size(model, num_predictors))
    posterior, c, k = tree["posterior"], 5, num_predictors
    scales = read_scales(tree)
    names = {"eps"}
    if model == "hierarchical":
        names |= {"sigma_alpha"} | ({"sigma_beta"} if k else set())
        assert k == 0 or scales["sigma_beta"].shape == (1600, k)
    assert set(scales) == names
    assert scales["eps"].shape == ((1600, c) if model == "individual" else (1600,))
    for name, values in scales.items():
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values[400:800], posterior[name].values[1])

    chosen = [2, 0, 2]
    theta = read_coefficients(tree, chosen)
    everything = read_coefficients(tree)
    groups = 1 if model == "pooled" else c
    assert everything.shape == (1600, groups, k + 1)
    np.testing.assert_array_equal(theta, everything[:, [0] if groups == 1 else chosen])
    alpha = posterior["alpha"].values.reshape(1600, groups)
    np.testing.assert_array_equal(everything[..., 0], alpha)
    if k:
        beta = posterior["beta"].values.reshape(1600, groups, k)
        np.testing.assert_array_equal(everything[..., 1:], beta)


def test_thinned_and_turned_trees_are_read_by_name(back):
    tree = back(fit_of_size("hierarchical", 3))
    thinned = tree.isel(draw=slice(None, None, 4))
    assert read_scales(thinned)["sigma_beta"].shape == (400, 3)
    turned = tree.copy()
    posterior = tree["posterior"].to_dataset().transpose("predictor", "town", "draw", "chain")
    turned["posterior"] = xr.DataTree(posterior)
    np.testing.assert_array_equal(read_coefficients(turned), read_coefficients(tree))
    found, expected = (read_draws(t, ["mu_beta", "tau"]) for t in (turned, tree))
    assert set(found) == {"mu_beta"}
    np.testing.assert_array_equal(found["mu_beta"], expected["mu_beta"])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [((27, -1, 3, 4, 5), (27, -1, 3, 4, 5)), ((1.5, 2.0, True, "a", None), None)],
)
def test_labels_come_back_as_integers_or_text(back, labels, expected):
    data = towns()
    data = replace(data, labels=replace(data.labels, groups=labels))
    tree = back(fit(data, model="pooled", method="integrate", draws=4))
    groups = expected or tuple(str(label) for label in labels)
    assert read_labels(tree).groups == groups
    assert [type(g) for g in read_labels(tree).groups] == [type(g) for g in groups]
    assert read_data(tree).labels.groups == read_statistics(tree).labels.groups == groups


def test_rows_left_out_come_back(back):
    data = replace(towns(), left_out=(("floor not recorded", 4), ("no y", 1)))
    tree = back(fit(data, model="pooled", method="integrate", draws=4))
    assert read_data(tree).left_out == data.left_out


def test_a_fit_of_statistics_has_no_rows(back):
    tree = back(towns_fit("pooled", statistics_only=True))
    with pytest.raises(ValueError, match="a fit with rows; got one of statistics only"):
        read_data(tree)
    assert_same_leaves(read_statistics(tree), GroupStatistics.from_data(towns()))


@pytest.mark.parametrize(
    "read", [read_labels, read_statistics, read_data, read_priors, read_scales]
)
def test_something_else_is_refused(read):
    with pytest.raises(TypeError, match="tree to be an xarray DataTree; got Dataset"):
        read(xr.Dataset())
    other = xr.DataTree.from_dict({"/posterior": xr.Dataset({"theta": ("draw", [1.0])})})
    with pytest.raises(ValueError, match=r"a fit of this package; got .*\['posterior'\]"):
        read(other)


def test_data_read_back_can_be_fitted_again(back):
    tree = back(towns_fit("pooled"))
    data = read_data(tree)
    assert isinstance(data, GroupedData)
    again = fit(
        data, model="pooled", num_advi_steps=0, draws=400, num_warmup=200, progress_bar=False
    )
    np.testing.assert_array_equal(again["posterior"]["alpha"], tree["posterior"]["alpha"])
