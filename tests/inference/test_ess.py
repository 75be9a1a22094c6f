"""When enough draws have been taken: what is looked at, when, and that the answer is true."""

from itertools import pairwise

import arviz as az
import numpy as np
import pytest
from fits import TUTORIAL, assert_same_tree, towns, towns_fit, towns_guide

from radon_numpyro import sample_nuts
from radon_numpyro.inference.nuts import effective_size as ess
from radon_numpyro.inference.nuts import sampler as nuts
from radon_numpyro.inference.nuts.effective_size import EssTarget, smallest_ess


def chains(num_draws, correlation, seed=0, size=2):
    """Autoregressive draws of two chains; the last coordinate is the slowest."""
    rng = np.random.default_rng(seed)
    rho = np.linspace(0.0, correlation, size)
    x = rng.normal(size=(2, num_draws, size))
    for i in range(1, num_draws):
        x[:, i] = rho * x[:, i - 1] + np.sqrt(1 - rho**2) * x[:, i]
    return 3.0 + 5.0 * x


def target(wanted, looks=None):
    """Sites of two shapes, the second of them the slow coordinate."""

    def sites(position):
        assert position.shape[1] == 100
        if looks is not None:
            looks.append(position)
        return {"a": position[..., 0], "b": np.exp(position[..., 1:] / 10)}

    return EssTarget(wanted, sites)


def test_the_smallest_is_of_all_entries_bulk_and_tail():
    draws = chains(500, 0.9, size=4).reshape(2, 500, 2, 2)
    sites = {"scalar": chains(500, 0.0)[..., 0], "matrix": draws}
    each = [sites["scalar"], *np.moveaxis(draws.reshape(2, 500, 4), 2, 0)]
    sizes = [(az.ess(x, method="bulk"), az.ess(x, method="tail", prob=(0.05, 0.95))) for x in each]
    assert smallest_ess(sites) == pytest.approx(np.min(sizes), rel=1e-12)
    # The tail of one entry, and not its bulk, can be what is smallest.
    assert {int(np.argmin(pair)) for pair in sizes} == {0, 1}
    with az.rc_context({"stats.ci_prob": 0.5}):
        assert smallest_ess(sites) == pytest.approx(np.min(sizes), rel=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_draws_that_are_not_finite_never_are_enough(bad):
    draws = chains(1000, 0.0)
    draws[1, 50, 0] = bad
    assert np.isnan(smallest_ess({"a": draws}))
    assert target(10.0).reached(draws) is None


@pytest.mark.parametrize("first", [1, 37, 100, 250])
def test_draws_until_the_next_look_are_known(first):
    """Whoever draws as many as are due never draws more than reach the target."""
    draws = chains(3000, 0.8)
    expected = target(150.0).reached(draws)
    rule, found, done = target(150.0), None, 0
    assert rule.due == 100
    due = first
    while found is None:
        assert due > 0
        found = rule.reached(draws[:, done : done + due])
        done += due
        due = rule.due
    assert found == done == expected


@pytest.mark.parametrize("sizes", [[3000], [100] * 30, [1] * 3000, [37] * 80, [5, 1500, 250, 1200]])
def test_the_count_does_not_depend_on_the_blocks(sizes):
    draws = chains(3000, 0.8)
    expected = target(150.0).reached(draws)
    rule, found, done = target(150.0), None, 0
    for size in sizes:
        found = rule.reached(draws[:, done : done + size])
        done += size
        if found is not None:
            break
    assert found == expected
    assert expected % 100 == 0
    sites = {"b": np.exp(draws[:, :expected, 1:] / 10)}
    assert smallest_ess(sites) >= 150.0
    # Not much more than enough.
    assert smallest_ess(sites) < 250.0


def test_few_looks_however_many_draws(monkeypatch):
    seen = []

    def counted(draws):
        seen.append(draws["a"].shape[1])
        return smallest_ess(draws)

    monkeypatch.setattr(ess, "smallest_ess", counted)
    looks = []
    assert target(1e9, looks).reached(chains(6000, 0.5)) is None
    # Far away: twice as far each time. Every draw is carried to its sites once.
    assert seen == [100, 200, 400, 800, 1600, 3200]
    assert len(looks) == 60
    seen.clear()
    count = target(400.0).reached(chains(6000, 0.9))
    assert seen[-1] == count
    assert all(1.05 < b / a <= 2.0 for a, b in pairwise(seen))


@pytest.mark.parametrize(
    ("method", "sites"),
    [
        ("marginal", {"sigma_alpha", "sigma_beta", "eps"}),
        (
            "noncentered",
            {"mu_alpha", "mu_beta", "sigma_alpha", "sigma_beta", "alpha", "beta", "eps"},
        ),
    ],
)
def test_sites_that_count_are_in_their_own_space(monkeypatch, method, sites):
    looks = []

    class Spy(EssTarget):
        def __init__(self, wanted, sites):
            super().__init__(wanted, lambda position: looks.append(sites(position)) or looks[-1])

    monkeypatch.setattr(nuts, "EssTarget", Spy)
    settings = {"method": method, "priors": TUTORIAL, "num_warmup": 100, "progress_bar": False}
    # An acceptance that is given, so that no second run follows one that diverges.
    settings["target_accept_prob"] = 0.95
    found = sample_nuts(towns(), towns_guide(), draws=800, target_ess=60.0, **settings)
    assert set(looks[0]) == sites
    for name in sites:
        values = np.concatenate([look[name] for look in looks], axis=1)
        np.testing.assert_allclose(values, found.draws[name], rtol=1e-10, err_msg=name)
    assert found.stopped_by == "target_ess reached"
    assert found.complete
    count = found.stats["lp"].shape[1]
    assert count == 100 * len(looks) < 800
    longer = sample_nuts(towns(), towns_guide(), draws=count + 30, **settings)
    for name, values in found.stats.items():
        np.testing.assert_array_equal(values, longer.stats[name][:, :count], err_msg=name)


def test_a_target_out_of_reach_takes_all_draws():
    tree = towns_fit(target_ess=1e6)
    assert tree.attrs["stopped_by"] == "all draws taken"
    assert "target_ess=1000000.0" in tree.attrs["call"]
    without = towns_fit().copy()
    without.attrs["call"] = tree.attrs["call"]
    assert_same_tree(tree, without)
