"""Simulation-based calibration: draws of the posterior rank the truth uniformly.

Uniformity is tested by chi-square over eight bins, at a level of 0.001 for all quantities of a
model together; ``scripts/validate.py`` shows more.
"""

import numpy as np
import pytest
from validation.calibration import (
    FIXED_COLUMNS,
    RANKS,
    THREE_PREDICTORS,
    Setting,
    ecdf_differences,
    envelope,
    p_values,
    ranks,
)

LEVEL = 0.001


def assert_uniform(counts, names):
    p = p_values(counts)
    worst = int(np.argmin(p))
    assert p[worst] > LEVEL / len(names), f"{names[worst]}: p = {p[worst]:.2g}"


@pytest.mark.parametrize("model", ["individual", "pooled"])
def test_exact_draws_are_calibrated(model):
    assert_uniform(*ranks(Setting(model), 500, seed=1))


def test_marginal_method_is_calibrated_in_brief():
    assert_uniform(*ranks(Setting(), 60, seed=2))


@pytest.mark.slow
def test_columns_that_do_not_vary_are_calibrated_in_brief():
    """A number, a category and a group-level predictor beside a slope that varies."""
    assert_uniform(*ranks(Setting(x=FIXED_COLUMNS, num_fixed=3), 30, seed=7))
    assert_uniform(*ranks(Setting("pooled", x=FIXED_COLUMNS, num_fixed=3), 200, seed=8))


@pytest.mark.slow
def test_correlated_coefficients_are_calibrated_in_brief():
    """Three coefficients in six groups of one to twelve rows."""
    x = THREE_PREDICTORS[:, :2]
    assert_uniform(*ranks(Setting(x=x, correlated=True), 30, seed=9))


INTEGRATED = {
    "independent": Setting(method="integrate"),
    "correlated": Setting(x=THREE_PREDICTORS[:, :2], correlated=True, method="integrate"),
    "weights": Setting(column="weights", method="integrate"),
    "known errors": Setting(column="se", method="integrate"),
    "fixed columns": Setting(x=FIXED_COLUMNS, num_fixed=3, method="integrate"),
}


@pytest.mark.parametrize("name", INTEGRATED)
def test_integration_is_calibrated_in_brief(name):
    """``scripts/validate.py`` has 1000 data sets of each."""
    counts, names = ranks(INTEGRATED[name], 30, seed=10)
    # Hardly any is left out as unreliable.
    assert len(counts) >= 29
    assert_uniform(counts, names)


@pytest.mark.slow
def test_marginal_method_is_calibrated():
    assert_uniform(*ranks(Setting(), 150, seed=3))


@pytest.mark.slow
def test_marginal_method_is_calibrated_with_three_predictors():
    """Groups of one to three rows do not identify their four coefficients alone."""
    assert_uniform(*ranks(Setting(x=THREE_PREDICTORS), 120, seed=5))


def test_the_test_sees_a_posterior_that_is_too_narrow():
    """The power of the above: draws pulled a third of the way to their mean are found out."""

    def narrowed(sites):
        return {n: v + (v.mean(0) - v) / 3 for n, v in sites.items()}

    counts, names = ranks(Setting("pooled"), 500, seed=4, distort=narrowed)
    assert p_values(counts)[names.index("alpha[0]")] < LEVEL / len(names)
    counts, names = ranks(INTEGRATED["known errors"], 200, seed=4, distort=narrowed)
    assert p_values(counts)[names.index("mu_alpha[0]")] < LEVEL / len(names)


# What the figure shows of it


def test_the_envelope_holds_uniform_ranks_at_its_rate_and_no_others():
    rng = np.random.default_rng(6)
    lower, upper = envelope(200, 0.9)

    def leaves(counts):
        _, difference = ecdf_differences(counts)
        return ((difference < lower[:, None]) | (difference > upper[:, None])).any(0)

    outside = leaves(rng.integers(0, RANKS + 1, size=(200, 1000))).mean()
    # Binomial, and the envelope is itself simulated.
    assert abs(outside - 0.1) < 5 * np.sqrt(0.1 * 0.9 / 1000)
    narrow = np.clip(rng.normal(32, 13, size=(200, 100)).astype(int), 0, RANKS)
    assert leaves(narrow).mean() > 0.9


def test_differences_are_those_of_the_ranks():
    counts = np.array([[0, 63], [0, 63], [32, 63], [63, 63]])
    points, difference = ecdf_differences(counts)
    assert points[[0, -1]].tolist() == [1 / 64, 63 / 64]
    np.testing.assert_allclose(difference[:, 0], np.repeat([0.5, 0.75], [32, 31]) - points)
    np.testing.assert_allclose(difference[:, 1], -points)
