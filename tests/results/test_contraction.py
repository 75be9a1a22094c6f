"""Parameters of which the data say nothing are named; those that they say a little of are not."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from radon_numpyro import (
    Flat,
    HalfCauchy,
    HalfFlat,
    HalfNormal,
    HalfStudentT,
    Normal,
    Priors,
    Uniform,
)
from radon_numpyro.data.findings import Finding
from radon_numpyro.results.contraction import prior_only

PRIORS = Priors(
    mu_alpha=Normal(3.0, 2.0),
    mu_beta=Normal(np.array([0.0, 1.0]), np.array([1.0, 5.0])),
    sigma_alpha=HalfNormal(2.0),
    sigma_beta=Uniform(np.array([1.0, 4.0])),
    alpha=Normal(3.0, 2.0),
    beta=Normal(0.0, 1.0),
    eps=HalfNormal(1.0),
)


def make_tree(draws, model="hierarchical"):
    """A tree of 4 x 1000 draws of the sites of a model, from their priors where none are given."""
    rng = np.random.default_rng(0)
    shape = (4, 1000)
    sites = {
        "mu_alpha": rng.normal(3.0, 2.0, shape),
        "mu_beta": rng.normal([0.0, 1.0], [1.0, 5.0], (*shape, 2)),
        "sigma_alpha": np.abs(rng.normal(0.0, 2.0, shape)),
        "sigma_beta": rng.uniform(0.0, [1.0, 4.0], (*shape, 2)),
        "eps": np.abs(rng.normal(0.0, 1.0, shape)),
    } | draws
    dims = ("chain", "draw", "predictor")
    posterior = xr.Dataset({name: (dims[: v.ndim], v) for name, v in sites.items()})
    attrs = {"model": model, "predictors": json.dumps(["x", "z"]), "priors": PRIORS.to_json()}
    attrs |= {"outcome": "y", "group": "town"}
    constants = xr.Dataset({"count": ("town", [3.0, 0.0, 4.0])}, {"town": ["a", "b", "c"]})
    groups = {"/": xr.Dataset(attrs=attrs), "posterior": posterior, "constant_data": constants}
    return xr.DataTree.from_dict(groups)


CHECKS = pd.DataFrame({"ess_bulk": {"mu_beta[x]": 4000.0}})


def narrow(mean, sd, *more):
    return np.random.default_rng(1).normal(mean, sd, (4, 1000, *more))


def test_each_kind_of_prior_is_known_again():
    what = prior_only(make_tree({}), CHECKS).what
    assert what.startswith(
        "The data say nothing of mu_alpha, mu_beta[x], mu_beta[z], sigma_alpha, sigma_beta[x], "
        "sigma_beta[z], eps: "
    )


def test_those_alone_are_named_that_are_their_priors():
    learned = {"mu_alpha": narrow(3.0, 0.2), "sigma_alpha": abs(narrow(0.5, 0.1))}
    learned |= {"eps": abs(narrow(0.7, 0.05))}
    rng = np.random.default_rng(2)
    learned["mu_beta"] = np.stack([rng.normal(0.0, 1.0, (4, 1000)), narrow(1.0, 0.1)], axis=-1)
    learned["sigma_beta"] = abs(narrow(0.4, 0.1, 2))
    finding = prior_only(make_tree(learned), CHECKS)
    assert finding.what.startswith("The data say nothing of mu_beta[x]: ")
    assert finding.advice == "leave 'x' out of x"
    assert finding.command == "leave 'x' out of the --x options"
    assert not finding.caution


def test_what_the_data_have_explained_is_not_said_again():
    zero = Finding("'x' is the same in every row: the data say nothing of its slope.", "")
    what = prior_only(make_tree({}), CHECKS, [zero]).what
    assert "mu_beta[z]" in what
    assert "[x]" not in what
    assert "[x]" in prior_only(make_tree({}), CHECKS, [replace(zero, caution=True)]).what
    # Nor of the spread of one group.
    one = make_tree({})
    one["constant_data"]["count"][2] = 0.0
    assert "sigma" not in prior_only(one, CHECKS).what


def test_a_spread_of_groups_that_is_its_prior_calls_for_no_groups():
    learned = {"mu_alpha": narrow(3.0, 0.2), "eps": abs(narrow(0.7, 0.05))}
    learned |= {"mu_beta": narrow(0.5, 0.1, 2), "sigma_beta": abs(narrow(0.4, 0.1, 2))}
    finding = prior_only(make_tree(learned), CHECKS)
    assert "nothing of sigma_alpha:" in finding.what
    assert finding.advice.startswith("model='pooled'")
    assert finding.command.startswith("--model pooled")


@pytest.mark.parametrize(("mean", "sd"), [(0.3, 1.0), (0.0, 0.8), (0.0, 1.25)])
def test_a_little_is_not_nothing(mean, sd):
    """A shift by a third of a prior sd, or a fifth off its width."""
    learned = {
        "mu_alpha": narrow(3.0, 0.2),
        "sigma_alpha": abs(narrow(0.5, 0.1)),
        "eps": abs(narrow(0.7, 0.05)),
        "sigma_beta": abs(narrow(0.4, 0.1, 2)),
        "mu_beta": np.stack([narrow(mean, sd), narrow(1.0, 0.1)], axis=-1),
    }
    assert prior_only(make_tree(learned), CHECKS) is None


def test_of_few_effective_draws_more_distance_is_noise():
    """Ten effective draws tell two distributions apart only where they are far apart."""
    few = pd.DataFrame({"ess_bulk": {"mu_beta[x]": 10.0}})
    learned = {
        "mu_alpha": narrow(3.0, 0.2),
        "sigma_alpha": abs(narrow(0.5, 0.1)),
        "eps": abs(narrow(0.7, 0.05)),
        "sigma_beta": abs(narrow(0.4, 0.1, 2)),
        "mu_beta": np.stack([narrow(0.15, 1.0), narrow(1.0, 0.1)], axis=-1),
    }
    assert prior_only(make_tree(learned), CHECKS) is None
    assert "mu_beta[x]" in prior_only(make_tree(learned), few).what


def test_the_individual_model_is_left_to_the_audit():
    assert prior_only(make_tree({}, "individual"), CHECKS) is None


def test_an_improper_prior_is_no_posterior():
    """It has no distribution function that draws could follow."""
    tree = make_tree({})
    tree.attrs["priors"] = replace(PRIORS, mu_alpha=Flat(), eps=HalfFlat()).to_json()
    named = prior_only(tree, CHECKS).what
    assert "mu_beta[x]" in named
    assert "mu_alpha" not in named
    assert "eps" not in named


def test_heavier_tails_are_known_again():
    rng = np.random.default_rng(3)
    eps = np.abs(rng.standard_cauchy((4, 1000)))
    for prior, listed in ((HalfCauchy(1.0), True), (HalfStudentT(1.0, 1.0), True), (PRIORS.eps, 0)):
        tree = make_tree({"eps": eps})
        tree.attrs["priors"] = replace(PRIORS, eps=prior).to_json()
        assert ("eps" in prior_only(tree, CHECKS).what) == bool(listed)
