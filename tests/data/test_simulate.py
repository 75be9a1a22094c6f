"""Simulated data: the truth that is reported is the truth that the rows were drawn with."""

import numpy as np
import pytest

from radon_numpyro.data.simulation import simulate

TRUTH = {
    "mu_alpha": 3.0,
    "mu_beta": [-2.0, 5.0],
    "sigma_alpha": 0.5,
    "sigma_beta": [0.25, 1.5],
    "eps": 0.75,
}


def test_simulation_recovers_the_truth_at_unequal_sizes():
    num_groups = 4000
    sizes = 2 + np.arange(num_groups) % 7
    sim = simulate(num_groups=num_groups, rows_per_group=sizes, seed=3, **TRUTH)
    data = sim.data
    assert data.group_sizes.tolist() == sizes.tolist()
    assert sim.alpha.shape == (num_groups,)
    assert sim.beta.shape == data.x[:num_groups].shape == (num_groups, 2)

    def agrees(draws, mean, sd):
        """Mean and sd of normal draws, within five of their standard errors."""
        error = sd / np.sqrt(len(draws))
        assert abs(draws.mean() - mean) < 5 * error
        assert abs(draws.std() - sd) < 5 * error / np.sqrt(2)

    agrees(sim.alpha, 3.0, 0.5)
    agrees(sim.beta[:, 0], -2.0, 0.25)
    agrees(sim.beta[:, 1], 5.0, 1.5)
    noise = data.y - sim.alpha[data.group] - (data.x * sim.beta[data.group]).sum(axis=1)
    agrees(noise, 0.0, 0.75)
    agrees(data.x[:, 1], 0.0, 1.0)
    assert set(data.x[:, 0]) == {0.0, 1.0}
    assert abs(data.x[:, 0].mean() - 0.5) < 5 * 0.5 / np.sqrt(data.num_rows)


def test_simulation_without_scatter_is_exact():
    sim = simulate(
        num_groups=3,
        rows_per_group=[1, 4, 2],
        mu_alpha=2.0,
        mu_beta=[-1.0, 0.5],
        sigma_alpha=0.0,
        sigma_beta=0.0,
        eps=0.0,
        seed=1,
    )
    np.testing.assert_allclose(sim.data.y, 2.0 + sim.data.x @ [-1.0, 0.5])
    assert sim.sigma_beta.tolist() == [0.0, 0.0]
    assert sim.data.group.tolist() == [0, 1, 1, 1, 1, 2, 2]


def test_simulation_depends_on_its_seed_and_on_nothing_else():
    def draw(seed):
        return simulate(num_groups=5, rows_per_group=3, seed=seed, **TRUTH)

    first = draw(1)
    assert first.data.fingerprint() == draw(1).data.fingerprint() != draw(2).data.fingerprint()
    np.testing.assert_array_equal(first.beta, draw(1).beta)


def test_simulation_records_what_was_asked():
    sim = simulate(num_groups=11, rows_per_group=2, seed=9, predictors=("floor", "rain"), **TRUTH)
    assert (sim.mu_alpha, sim.sigma_alpha, sim.eps, sim.seed) == (3.0, 0.5, 0.75, 9)
    assert sim.mu_beta.tolist() == [-2.0, 5.0]
    assert sim.sigma_beta.tolist() == [0.25, 1.5]
    assert sim.data.labels.predictors == ("floor", "rain")
    assert sim.data.labels.groups[0] == "g00"
    assert sim.data.labels.groups[10] == "g10"
    assert (sim.data.num_rows, sim.data.num_groups) == (22, 11)


@pytest.mark.parametrize(
    ("mu_beta", "sigma_beta", "predictors", "expected"),
    [
        (1.0, 0.5, None, ("x1",)),
        (1.0, [0.5, 0.5, 0.5], None, ("x1", "x2", "x3")),
        (1.0, 0.5, ["floor", "rain"], ("floor", "rain")),
        (1.0, 0.5, "floor", ("floor",)),
        ([], [], None, ()),
        ([], 0.5, None, ()),
        (np.array([1.0, 2.0]), 0.5, None, ("x1", "x2")),
    ],
)
def test_simulation_finds_the_number_of_predictors(mu_beta, sigma_beta, predictors, expected):
    slopes = {"mu_beta": mu_beta, "sigma_beta": sigma_beta, "predictors": predictors}
    sim = simulate(num_groups=4, rows_per_group=2, seed=0, **TRUTH | slopes)
    assert sim.data.labels.predictors == expected
    assert sim.beta.shape == (4, len(expected))
    assert sim.data.x.shape == (8, len(expected))
    assert sim.mu_beta.shape == sim.sigma_beta.shape == (len(expected),)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"num_groups": 0}, ValueError, "Expected num_groups to be at least 1; got 0"),
        ({"num_groups": 2.0}, TypeError, "Expected num_groups to be of integers; got 2.0"),
        ({"num_groups": [1, 2]}, TypeError, r"Expected num_groups to be of integers; got \[1, 2\]"),
        ({"rows_per_group": 0}, ValueError, "Expected rows_per_group to be at least 1; got 0"),
        ({"rows_per_group": [1, 0, 2]}, ValueError, "rows_per_group to be at least 1; got"),
        ({"rows_per_group": [1, 2]}, ValueError, "Expected rows_per_group of length 3; got 2"),
        ({"rows_per_group": 2.5}, TypeError, "Expected rows_per_group to be of integers; got 2.5"),
        ({"sigma_alpha": -1.0}, ValueError, "sigma_alpha to be finite and at least 0; got -1.0"),
        ({"sigma_beta": [0.5, -0.5]}, ValueError, "sigma_beta to be finite and at least 0; got"),
        ({"eps": -0.1}, ValueError, "Expected eps to be finite and at least 0; got -0.1"),
        ({"eps": np.nan}, ValueError, "Expected eps to be finite and at least 0; got nan"),
        ({"eps": [1.0, 2.0]}, ValueError, r"Expected eps of length 1; got shape \(2,\)"),
        ({"mu_alpha": np.inf}, ValueError, "Expected mu_alpha to be finite; got inf"),
        ({"mu_alpha": "3"}, TypeError, "Expected mu_alpha to be of real numbers; got '3'"),
        ({"mu_beta": [1.0, 2.0, 3.0]}, ValueError, "of one length; got .*'mu_beta': 3"),
        ({"predictors": ["p"]}, ValueError, "of one length; got .*'predictors': 1"),
        ({"predictors": ["p", "p"]}, ValueError, "different columns; got 'p' repeated"),
        ({"seed": -1}, ValueError, "Expected seed to be at least 0; got -1"),
        ({"seed": None}, TypeError, "Expected seed to be of integers; got None"),
    ],
)
def test_simulation_refuses(changes, error, message):
    arguments = {"num_groups": 3, "rows_per_group": 2, "seed": 0} | TRUTH | changes
    with pytest.raises(error, match=message):
        simulate(**arguments)


def test_columns_that_do_not_vary_add_to_the_outcome_and_change_nothing_else():
    """The other numbers stay what they are at the same seed, so that a study can add a column."""
    options = {"num_groups": 6, "rows_per_group": 5, "seed": 4, **TRUTH}
    plain = simulate(**options)
    more = simulate(**options, gamma={"age": 2.0, "size": -3.0}, group_level="size")
    design = more.data.labels.design
    assert design.fixed == ("age", "size")
    assert design.slopes == ("x1", "x2")
    np.testing.assert_array_equal(more.data.x[:, :2], plain.data.x)
    age, size = more.data.x[:, 2:].T
    np.testing.assert_allclose(more.data.y - plain.data.y, 2.0 * age - 3.0 * size, atol=1e-12)
    assert all(len(set(size[more.data.group == c])) == 1 for c in range(6))
    assert len(set(age)) == 30
    assert more.gamma == {"age": 2.0, "size": -3.0}
    with pytest.raises(ValueError, match=r"group_level to name columns of gamma; got \['height'\]"):
        simulate(**options, gamma={"age": 1.0}, group_level=["height"])
