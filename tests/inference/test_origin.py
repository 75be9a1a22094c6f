"""Where zero lies: said where the answer depends on it, and not where it does not."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from designs import priors_of, simulated

from radon_numpyro import Flat, GroupedData, GroupStatistics, Priors, load_radon, simulate
from radon_numpyro.inference import fit_findings as origin
from radon_numpyro.inference.fit_findings import far_from_zero, zero_dependence
from radon_numpyro.model.priors import HalfNormal, Normal

CASES = Path(__file__).parents[1] / "cases"


def sleep(x="year", **more):
    frame = pd.read_csv(CASES / "uncentred_year.csv", dtype={"Subject": str})
    return GroupedData.from_frame(frame, y="Reaction", x=x, group="Subject", **more)


def look(data, priors=None):
    statistics = data if isinstance(data, GroupStatistics) else GroupStatistics.from_data(data)
    by_default = priors is None
    used = Priors.weakly_informative(statistics) if by_default else priors
    return zero_dependence(data, statistics, used, priors_by_default=by_default)


def numbers_of(finding):
    """The sd of the slopes as written and about the mean, as a finding gives them."""
    pattern = r"sigma_beta\[\w+\] is about ([\d.e-]+) here, and about ([\d.e-]+) with"
    return tuple(map(float, re.search(pattern, finding.what).groups()))


def test_a_column_of_years_makes_the_slopes_seem_alike():
    """The sd of the slopes is 6.47 (1.4) by days from the first; 0.013 as written by years."""
    finding = look(sleep())
    assert not finding.caution
    assert finding.what.startswith("'year' is hardly ever near 0, ")
    as_written, centred = numbers_of(finding)
    # NUTS: 0.0132 (0.0072) and 6.33 (1.41).
    assert as_written == pytest.approx(0.0132, abs=0.002)
    assert centred == pytest.approx(6.33, abs=0.4)
    assert finding.what.endswith("with 'year' centred at its mean (eps changes too).")
    assert finding.advice == "GroupedData.from_frame(..., center='year')"
    assert finding.command == "--center year"


@pytest.mark.parametrize(
    "data",
    [
        sleep(center="year"),
        sleep(center={"year": 2015}),
        sleep("Days"),
        load_radon(),
        sleep(()),
    ],
)
def test_nothing_is_said_where_zero_is_among_the_values(data):
    assert look(data) is None
    assert look(GroupStatistics.from_data(data)) is None


def test_sums_of_rows_and_other_priors_tell_as_well():
    of_sums, by_tutorial = (
        look(GroupStatistics.from_data(sleep())),
        look(sleep(), Priors.tutorial()),
    )
    assert numbers_of(of_sums)[1] == pytest.approx(6.33, abs=0.4)
    assert numbers_of(by_tutorial)[1] == pytest.approx(6.4, abs=0.5)
    narrow = Priors(
        mu_alpha=Normal(-20_000.0, 4e4),
        mu_beta=Normal(10.0, 20.0),
        sigma_alpha=HalfNormal(100.0),
        sigma_beta=HalfNormal(20.0),
        alpha=Normal(0.0, 1e5),
        beta=Normal(0.0, 1e3),
        eps=HalfNormal(50.0),
    )
    assert "sigma_beta[year]" in look(sleep(), narrow).what


def test_nothing_is_said_where_it_makes_no_difference():
    """Slopes that are known well, in many rows: zero is outside, and all is as it would be."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), 100)
    x = rng.uniform(0.5, 4.0, 4000)
    slope, height = rng.normal(2.0, 1.0, 40), rng.normal(0.0, 1.0, 40)
    y = height[group] + slope[group] * x + rng.normal(0.0, 0.1, 4000)
    data = GroupedData.from_arrays(y, x, group)
    assert list(far_from_zero(data, GroupStatistics.from_data(data))) == ["x1"]
    assert look(data) is None


def test_several_columns_are_centred_together():
    frame = pd.read_csv(CASES / "uncentred_year.csv", dtype={"Subject": str})
    frame["hour"] = 1000.0 + np.random.default_rng(1).normal(0.0, 1.0, len(frame))
    names = ["year", "hour"]
    finding = look(GroupedData.from_frame(frame, y="Reaction", x=names, group="Subject"))
    assert finding.what.startswith("'year', 'hour' are hardly ever near 0")
    assert finding.advice.endswith("center=['year', 'hour'])")
    assert finding.command == "--center year --center hour"
    # One that is centred already stays where it is.
    data = GroupedData.from_frame(
        frame, y="Reaction", x=names, group="Subject", center={"hour": 1000}
    )
    assert look(data).command == "--center year"


def test_where_zero_lies_is_told_from_sums_too():
    rng = np.random.default_rng(2)
    columns = {
        "far": rng.normal(100.0, 1.0, 300),
        "below": rng.uniform(-9.0, -8.0, 300),
        "around": rng.normal(0.0, 1.0, 300),
        "often": (rng.random(300) < 0.9).astype(float),
        "same": np.full(300, 7.0),
    }
    x = np.column_stack(list(columns.values()))
    data = GroupedData.from_arrays(
        rng.normal(size=300), x, np.repeat(np.arange(10), 30), predictors=list(columns)
    )
    statistics = GroupStatistics.from_data(data)
    for given in (data, statistics):
        assert list(far_from_zero(given, statistics)) == ["far", "below"]


def test_one_row_at_zero_changes_nothing():
    """A single slip of the pen must not turn years into a predictor that has its zero."""
    frame = pd.read_csv(CASES / "uncentred_year.csv", dtype={"Subject": str})
    frame.loc[5, "age"] = 0
    for ages in (frame, frame.assign(age=frame["age"].where(frame["age"] > 0, -1))):
        data = GroupedData.from_frame(ages, y="Reaction", x="age", group="Subject")
        assert list(far_from_zero(data, GroupStatistics.from_data(data))) == ["age"]


def test_what_cannot_be_computed_is_no_good_where_zero_is_far(monkeypatch):
    monkeypatch.setattr(origin, "MAX_SIZE", 1)
    finding = look(sleep())
    assert "How much the answer depends on this could not be computed." in finding.what
    assert not finding.caution
    # Days from the third on: hardly near 0, but not far.
    frame = pd.read_csv(CASES / "uncentred_year.csv", dtype={"Subject": str})
    near = frame.assign(Days=frame["Days"] + 3)
    assert look(GroupedData.from_frame(near, y="Reaction", x="Days", group="Subject")).caution


def test_several_predictors_in_many_groups_are_told_too():
    """Their posterior is hard to sample, and need not be known well."""
    rng = np.random.default_rng(0)
    x = rng.normal([2000.0, 0.0, 0.0, 0.0, 0.0], 1.0, (7500, 5))
    group = np.repeat(np.arange(300), 25)
    slopes = rng.normal(1.0, 0.3, (300, 5))[group]
    y = rng.normal(0.0, 1.0, 300)[group] + ((x - [2000, 0, 0, 0, 0]) * slopes).sum(1)
    data = GroupedData.from_arrays(y + rng.normal(0.0, 1.0, 7500), x, group)
    finding = look(data)
    assert not finding.caution
    assert finding.command == "--center x1"


def test_very_many_groups_are_looked_at_in_part():
    data = simulate(
        num_groups=5000,
        rows_per_group=6,
        mu_alpha=1.0,
        mu_beta=1.0,
        sigma_alpha=1.0,
        sigma_beta=0.5,
        eps=0.5,
        seed=1,
    ).data
    moved = GroupedData.from_arrays(data.y, data.x[:, 0] + 50.0, data.group)
    as_written, centred = numbers_of(look(moved))
    assert as_written < 0.1
    assert centred == pytest.approx(0.5, abs=0.05)


# Designs with other columns


def of_formula(formula, frame=None):
    if frame is None:
        frame = pd.read_csv(CASES / "uncentred_year.csv", dtype={"Subject": str})
    return GroupedData.from_formula(formula, frame)


@pytest.mark.parametrize(
    "formula",
    [
        "Reaction ~ year + (1 | Subject)",
        "Reaction ~ year + (0 + Days || Subject)",
        "Reaction ~ year + (0 + year || Subject)",
        "Reaction ~ 0 + year + (1 + year || Subject)",
    ],
)
def test_zero_does_not_matter_unless_slopes_vary_beside_intercepts_with_a_mean(formula):
    """A fixed column moves the mean intercept alone: to advise a centre would be noise."""
    data = of_formula(formula)
    assert far_from_zero(data, GroupStatistics.from_data(data)) == {}
    assert look(data) is None


@pytest.mark.parametrize(
    "formula",
    [
        "Reaction ~ year + age + (1 + year || Subject)",
        "Reaction ~ year * treated + (1 + year || Subject)",
    ],
)
def test_it_matters_as_much_beside_columns_that_do_not_vary(formula):
    frame = pd.read_csv(CASES / "uncentred_year.csv", dtype={"Subject": str})
    rng = np.random.default_rng(3)
    frame["age"] = rng.uniform(20, 60, 18)[pd.factorize(frame["Subject"])[0]]
    frame["treated"] = (rng.random(len(frame)) < 0.5).astype(float)
    finding = look(of_formula(formula, frame))
    as_written, centred = numbers_of(finding)
    assert as_written < 0.1
    assert centred == pytest.approx(6.33, abs=0.6)
    assert finding.what.startswith("'year' is hardly ever near 0")
    assert finding.advice == finding.command == "center(year) for year in the formula"


def test_a_slope_that_varies_about_0_is_centred_too():
    """Its intercepts are as far away, whatever the mean of the slopes."""
    finding = look(of_formula("Reaction ~ Days + (1 + year || Subject)"))
    assert finding.what.startswith("'year' is hardly ever near 0")
    assert finding.advice == "center(year) for year in the formula"


def test_the_prior_of_the_intercept_moves_with_the_columns_that_are_centred():
    """Those of fixed columns are not part of it, nor is a slope without a mean."""
    data = simulated(slopes=("dose", "week"), without_mean=("week",))
    priors = priors_of(data.labels.design)
    moved = origin._moved(priors, np.array([3.0, 5.0, 0.0, 0.0]), data.labels.design)
    assert moved.loc == pytest.approx(2.0 + 3.0 * 0.5)
    assert moved.scale == pytest.approx(np.hypot(5.0, 3.0 * 2.0))
    flat = replace(priors, mu_beta=Flat())
    assert origin._moved(flat, np.array([3.0, 0, 0, 0]), data.labels.design) == Flat()
    assert origin._moved(flat, np.array([0, 5.0, 0, 0]), data.labels.design) == Normal(2.0, 5.0)


def test_some_groups_are_a_data_set_of_their_own(monkeypatch):
    """The squares that all groups share must not stay in: eps would come out too large."""
    data = simulated(num_groups=400, rows=5, fixed=("age",), seed=4)
    statistics = GroupStatistics.from_data(data)
    some = origin._some_groups(statistics, 50)
    chosen = data.select(some.labels.groups)
    assert len(some.labels.groups) == 50
    expected = GroupStatistics.from_data(chosen)
    for name in ("count", "mean_x", "mean_y", "sxx", "sxy", "syy"):
        np.testing.assert_allclose(getattr(some, name), getattr(expected, name))
    monkeypatch.setattr(origin, "GROUPS_TIMES_SQUARES", 0)
    found = origin._posterior(statistics, priors_of(data.labels.design)).moments()
    assert found["eps"][0] == pytest.approx(0.7, abs=0.06)
    # 100 groups of 5 rows, two coefficients each and three in common.
    assert found["eps"][1] == pytest.approx(0.7 / np.sqrt(2 * 300), rel=0.25)


def test_correlated_coefficients_make_up_for_the_zero_but_for_their_prior():
    """Where zero is only just outside the data nothing moves."""
    frame = pd.read_csv(CASES / "uncentred_year.csv", dtype={"Subject": str})
    data = of_formula("Reaction ~ age + (age | Subject)", frame)
    finding = look(data)
    as_written, centred = numbers_of(finding)
    # Independent of the intercepts the slopes would seem alike: 0.54.
    assert as_written == pytest.approx(5.4, abs=0.3)
    assert centred == pytest.approx(6.3, abs=0.3)
    assert "correlate almost perfectly" in finding.what
    assert finding.advice == "center(age) for age in the formula"
    near = of_formula("Reaction ~ I(Days + 6) + (I(Days + 6) | Subject)", frame)
    assert look(near) is None


@pytest.mark.parametrize(("groups", "said"), [(2, True), (4, True), (5, False)])
def test_few_groups_say_little_of_how_groups_differ(groups, said):
    scales = {"sigma_alpha": 1.0, "sigma_beta": 1.0, "eps": 1.0}
    truth = {"mu_alpha": 0.0, "mu_beta": 0.0, **scales}
    data = simulate(num_groups=groups, rows_per_group=10, seed=1, **truth).data
    statistics = GroupStatistics.from_data(data)
    found = origin.premises(data, statistics, Priors.weakly_informative(statistics), "hierarchical")
    assert [f.what.startswith(f"{groups} groups say little") for f in found] == [True] * said
    assert all(finding.caution for finding in found)
    assert origin.premises(data, statistics, Priors.weakly_informative(statistics), "pooled") == ()
