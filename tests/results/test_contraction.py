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
    attrs |= {"outcome": "y", "group": "town", "left_out": "[]"}
    constants = xr.Dataset(statistics(), {"town": ["a", "b", "c"]})
    groups = {"/": xr.Dataset(attrs=attrs), "posterior": posterior, "constant_data": constants}
    return xr.DataTree.from_dict(groups)


def statistics():
    """Of an outcome and two predictors with sds of 1 in two groups, one more without rows."""
    count = np.array([3.0, 0.0, 4.0])
    eye = count[:, None, None] * np.eye(2)
    return {
        "count": ("town", count),
        "mean_x": (("town", "predictor"), np.zeros((3, 2))),
        "mean_y": ("town", np.zeros(3)),
        "sxx": (("town", "predictor", "predictor_other"), eye),
        "sxy": (("town", "predictor"), np.zeros((3, 2))),
        "syy": ("town", count),
    }


CHECKS = pd.DataFrame({"ess_bulk": {"mu_beta[x]": 4000.0}})


def only(*arguments):
    """The one finding, or None."""
    found = prior_only(*arguments)
    assert len(found) < 2
    return found[0] if found else None


def narrow(mean, sd, *more):
    return np.random.default_rng(1).normal(mean, sd, (4, 1000, *more))


def test_each_kind_of_prior_is_known_again():
    what = only(make_tree({}), CHECKS).what
    assert what.startswith(
        "The data have no information about mu_alpha, mu_beta[x], mu_beta[z], sigma_alpha, "
        "sigma_beta[x], sigma_beta[z], eps: "
    )


def test_those_alone_are_named_that_are_their_priors():
    learned = {"mu_alpha": narrow(3.0, 0.2), "sigma_alpha": abs(narrow(0.5, 0.1))}
    learned |= {"eps": abs(narrow(0.7, 0.05))}
    rng = np.random.default_rng(2)
    learned["mu_beta"] = np.stack([rng.normal(0.0, 1.0, (4, 1000)), narrow(1.0, 0.1)], axis=-1)
    learned["sigma_beta"] = abs(narrow(0.4, 0.1, 2))
    finding = only(make_tree(learned), CHECKS)
    assert finding.what.startswith("The data have no information about mu_beta[x]: ")
    assert finding.advice == "leave 'x' out of x"
    assert finding.command == "leave 'x' out of the --x options"
    assert not finding.caution


LEARNED = {
    "mu_alpha": narrow(3.0, 0.2),
    "mu_beta": narrow(0.5, 0.1, 2),
    "sigma_alpha": abs(narrow(0.5, 0.1)),
    "sigma_beta": abs(narrow(0.4, 0.1, 2)),
    "eps": abs(narrow(0.7, 0.05)),
}


def unlearned(*sites):
    return {site: draws for site, draws in LEARNED.items() if site not in sites}


def test_a_fit_by_a_formula_has_no_x_to_leave_a_predictor_out_of():
    tree = make_tree(unlearned("mu_beta"))
    tree.attrs["formula"] = '{"formula": "y ~ x + z + (x + z || town)"}'
    finding = only(tree, CHECKS)
    assert finding.advice == finding.command == "leave 'x', 'z' out of the formula"


@pytest.mark.parametrize("site", ["eps", "mu_alpha"])
def test_the_pooled_model_is_no_way_out_for_what_it_has_too(site):
    finding = only(make_tree(unlearned(site)), CHECKS)
    assert finding.what.startswith(f"The data have no information about {site}: ")
    assert "pooled" not in finding.advice + finding.command
    assert "priors that express what you know" in finding.advice


def test_beside_others_a_spread_alone_is_what_the_pooled_model_lacks():
    finding = only(make_tree(unlearned("eps", "sigma_alpha")), CHECKS)
    assert "sigma_alpha, eps" in finding.what
    assert finding.advice == "model='pooled', which has no sigma_alpha"


@pytest.mark.parametrize(
    ("site", "prior", "draws"),
    [
        ("mu_alpha", Normal(3.0, 0.01), narrow(3.0, 0.01)),
        ("sigma_alpha", HalfNormal(0.01), abs(narrow(0.0, 0.01))),
        ("eps", HalfCauchy(0.01), 0.01 * abs(np.random.default_rng(5).standard_cauchy((4, 1000)))),
    ],
)
def test_a_narrow_prior_decides_and_the_data_are_not_to_blame(site, prior, draws):
    """Whoever says that a slope is 0 to a hundredth has not asked the data."""
    tree = make_tree(LEARNED | {site: draws})
    tree.attrs["priors"] = replace(PRIORS, **{site: prior}).to_json()
    finding = only(tree, CHECKS)
    assert finding.what.startswith(f"Narrow priors determine {site}: ")
    assert finding.advice == "wider priors, unless these express what you know"
    assert finding.caution


def test_each_of_two_slopes_has_its_own_reason():
    tree = make_tree(unlearned("mu_beta"))
    scales = np.array([0.01, 5.0])
    tree["posterior"]["mu_beta"][:] = np.random.default_rng(6).normal([0, 1], scales, (4, 1000, 2))
    tree.attrs["priors"] = replace(PRIORS, mu_beta=Normal(np.array([0.0, 1.0]), scales)).to_json()
    decided, nothing = prior_only(tree, CHECKS)
    assert "mu_beta[x]" in decided.what
    assert "mu_beta[z]" not in decided.what
    assert "no information about mu_beta[z]:" in nothing.what
    assert nothing.advice == "leave 'z' out of x"


def test_what_the_data_have_explained_is_not_said_again():
    zero = Finding("'x' is the same in every row: the data say nothing of its slope.", "")
    what = only(make_tree({}), CHECKS, [zero]).what
    assert "mu_beta[z]" in what
    assert "[x]" not in what
    assert "[x]" in only(make_tree({}), CHECKS, [replace(zero, caution=True)]).what
    # Nor of the spread of one group.
    one = make_tree({})
    one["constant_data"]["count"][2] = 0.0
    assert "sigma" not in only(one, CHECKS).what


def test_a_spread_of_groups_that_is_its_prior_calls_for_no_groups():
    learned = {"mu_alpha": narrow(3.0, 0.2), "eps": abs(narrow(0.7, 0.05))}
    learned |= {"mu_beta": narrow(0.5, 0.1, 2), "sigma_beta": abs(narrow(0.4, 0.1, 2))}
    finding = only(make_tree(learned), CHECKS)
    assert "no information about sigma_alpha:" in finding.what
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
    assert only(make_tree(learned), CHECKS) is None


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
    assert only(make_tree(learned), CHECKS) is None
    assert "mu_beta[x]" in only(make_tree(learned), few).what


def test_the_individual_model_is_left_to_the_audit():
    assert only(make_tree({}, "individual"), CHECKS) is None


def test_an_improper_prior_is_no_posterior():
    """It has no distribution function that draws could follow."""
    tree = make_tree({})
    tree.attrs["priors"] = replace(PRIORS, mu_alpha=Flat(), eps=HalfFlat()).to_json()
    named = only(tree, CHECKS).what
    assert "mu_beta[x]" in named
    assert "mu_alpha" not in named
    assert "eps" not in named


def test_heavier_tails_are_known_again():
    rng = np.random.default_rng(3)
    eps = np.abs(rng.standard_cauchy((4, 1000)))
    for prior, listed in ((HalfCauchy(1.0), True), (HalfStudentT(1.0, 1.0), True), (PRIORS.eps, 0)):
        tree = make_tree({"eps": eps})
        tree.attrs["priors"] = replace(PRIORS, eps=prior).to_json()
        assert ("eps" in only(tree, CHECKS).what) == bool(listed)
