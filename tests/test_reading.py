"""A result gives back what it was made of, fresh or from its file."""

from dataclasses import fields, replace

import arviz as az
import numpy as np
import pytest
from conftest import draw_unequal_data

from radon_numpyro import GroupStatistics, Priors, fit
from radon_numpyro.reading import (
    read_data,
    read_labels,
    read_priors,
    read_scales,
    read_statistics,
)

SETTINGS = {"draws": 20, "chains": 2, "num_advi_steps": 0, "progress_bar": False}


@pytest.fixture(params=["fresh", "file"])
def through(request, tmp_path):
    """Hand a result on as it is, or by way of a netCDF file."""

    def pass_on(tree):
        if request.param == "fresh":
            return tree
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.nc"
        tree.to_netcdf(path)
        return az.from_netcdf(path)

    return pass_on


@pytest.mark.parametrize("num_predictors", [0, 2])
def test_data_statistics_and_priors_come_back(through, num_predictors):
    data = replace(draw_unequal_data(num_predictors), left_out=(("no date", 3),))
    priors = replace(Priors.weakly_informative(data), eps=Priors.tutorial().eps)
    tree = through(fit(data, "individual", priors=priors, **SETTINGS))
    back = read_data(tree)
    assert back.fingerprint() == data.fingerprint()
    assert back.left_out == data.left_out
    assert not back.y.flags.writeable
    assert back.group.dtype == np.int32
    assert read_labels(tree) == data.labels
    assert read_priors(tree).to_json() == priors.to_json()
    found, expected = read_statistics(tree), GroupStatistics.from_data(data)
    assert found.labels == expected.labels
    for field in fields(GroupStatistics):
        if field.name != "labels":
            got, want = getattr(found, field.name), getattr(expected, field.name)
            np.testing.assert_array_equal(got, want, err_msg=field.name)


def test_scales_are_the_draws_chain_by_chain(through):
    tree = through(fit(draw_unequal_data(2), num_warmup=50, **SETTINGS))
    scales = read_scales(tree)
    assert {name: v.shape for name, v in scales.items()} == {
        "sigma_alpha": (40,),
        "sigma_beta": (40, 2),
        "eps": (40,),
    }
    for name, values in scales.items():
        np.testing.assert_array_equal(values[:20], tree["posterior"][name].values[0])
        np.testing.assert_array_equal(values[20:], tree["posterior"][name].values[1])
        assert values.dtype == np.float64


def test_labels_that_are_whole_numbers_stay_so_and_others_become_text(through):
    data = draw_unequal_data(1)
    numbered = replace(data, labels=replace(data.labels, groups=(7, 11, -3, 0)))
    assert read_labels(through(fit(numbered, "pooled", **SETTINGS))).groups == (7, 11, -3, 0)
    mixed = replace(data, labels=replace(data.labels, groups=(7, "x", 1.5, ("a", 2))))
    found = read_labels(through(fit(mixed, "pooled", **SETTINGS))).groups
    assert found == ("7", "x", "1.5", "('a', 2)")


def test_statistics_alone_have_no_rows(through):
    tree = through(fit(GroupStatistics.from_data(draw_unequal_data(1)), "pooled", **SETTINGS))
    with pytest.raises(ValueError, match="Expected a fit with rows; got one of statistics only"):
        read_data(tree)
    assert read_statistics(tree).num_rows == 18
