"""Shrinkage: every group at its own estimates, at its own size, under its own name."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fits import radon_nodes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Ellipse
from trees import BLUE, COUNTIES, GREEN, VERMILION, legend_texts, make_tree, posterior

from radon_numpyro.data.identification import identify
from radon_numpyro.plots import plot_shrinkage
from radon_numpyro.plots.styling import size_axis

pytestmark = pytest.mark.usefixtures("agg")


def make_trees(**arguments):
    """CASS and ANOKA, first and last, have a floor that does not vary."""
    return {
        "individual": make_tree("individual", seed=1, wide=1e4, **arguments),
        "hierarchical": make_tree(seed=2, **arguments),
    }


def medians(tree, site, counties=COUNTIES, **where):
    dim = tree.attrs["group"]
    values = [posterior(tree, site, **{dim: county}, **where).values for county in counties]
    return [np.median(draws) for draws in values]


def markers(ax, colour, *, filled=True, marker="o"):
    """Places of the markers of a colour, shape (n, 2)."""
    found = [
        line.get_xydata()
        for line in ax.lines
        if line.get_marker() == marker
        and to_hex(line.get_color()) == colour
        and (to_hex(line.get_markerfacecolor()) == colour) == filled
    ]
    return np.concatenate(found)


def moves(ax):
    (lines,) = (c for c in ax.collections if isinstance(c, LineCollection))
    return np.array(lines.get_segments())


def bands(ax):
    """Lower and upper ends of the horizontal bands."""
    return sorted((p.get_y(), p.get_y() + p.get_height()) for p in ax.patches)


# The plane of intercept and slope


def test_lines_lead_from_the_individual_to_the_hierarchical_median():
    trees = make_trees()
    plane, _ = plot_shrinkage(trees)
    known = ("CROW WING", "FREEBORN")
    start, end = (
        np.column_stack(
            [medians(tree, "alpha", known), medians(tree, "beta", known, predictor="floor")]
        )
        for tree in trees.values()
    )
    np.testing.assert_allclose(moves(plane), np.stack([start, end], axis=1))
    np.testing.assert_allclose(markers(plane, BLUE, filled=False), start)
    np.testing.assert_allclose(markers(plane, GREEN), end)
    assert plane.get_xlabel() == "intercept, log_radon"
    assert plane.get_ylabel() == "slope, log_radon per unit of floor"


def test_a_slope_not_identified_alone_leaves_only_its_intercept_and_the_axis_alone():
    trees = make_trees()
    plane, _ = plot_shrinkage(trees)
    lost = ("CASS", "ANOKA")
    ticks = markers(plane, BLUE, marker="|")
    np.testing.assert_allclose(ticks[:, 0], medians(trees["individual"], "alpha", lost))
    np.testing.assert_array_equal(ticks[:, 1], 0)
    alpha, beta = (medians(trees["hierarchical"], site, lost) for site in ("alpha", "beta"))
    np.testing.assert_allclose(markers(plane, GREEN, filled=False), np.column_stack([alpha, beta]))
    assert plane.get_title(loc="left") == "2 of 4 slopes not identified alone"
    assert np.ptp(plane.get_ylim()) < 100
    names = ["individual", "hierarchical", "not identified alone", "population, 50 and 95 %"]
    assert legend_texts(plane.figure.legends[0]) == names


def assert_shares_inside(plane, mean, covariance):
    """Two ellipses hold half and 95 % of a bivariate Normal distribution."""
    inner, outer = (p for p in plane.patches if isinstance(p, Ellipse))
    sample = np.random.default_rng(0).multivariate_normal(mean, covariance, size=100_000)
    for ellipse, share in ((inner, 0.5), (outer, 0.95)):
        assert ellipse.center == pytest.approx(mean)
        to_unit_circle = ellipse.get_patch_transform().inverted().transform
        inside = (to_unit_circle(sample) ** 2).sum(1) <= 1
        assert inside.mean() == pytest.approx(share, abs=0.005)


def test_ellipses_hold_half_and_95_percent_of_the_population():
    trees = make_trees(predictors=("floor", "age"))
    plane, _ = plot_shrinkage(trees, predictor="age")
    draws = trees["hierarchical"]["posterior"].to_dataset().sel(predictor="age")
    mean = float(draws["mu_alpha"].mean()), float(draws["mu_beta"].mean())
    variance = [float((draws[site] ** 2).mean()) for site in ("sigma_alpha", "sigma_beta")]
    assert_shares_inside(plane, mean, np.diag(variance))
    np.testing.assert_allclose(markers(plane, "#000000", marker="+"), [mean])
    assert plane.get_ylabel() == "slope, log_radon per unit of age"


def change_statistics(trees, index, **values):
    for tree in trees.values():
        for name, value in values.items():
            tree["constant_data"][name][index] = value


@pytest.mark.parametrize(
    ("values", "slope", "intercept"),
    [
        # All rows of CROW WING at floor 1: only the sum of intercept and slope is known.
        ({"mean_x": [1.0, 9.0], "sxx": [[0.0, 0.0], [0.0, 80.0]]}, False, False),
        # Floor and age move together, through the origin: the intercept is still known.
        ({"mean_x": [0.5, 10.0], "sxx": [[3.0, 60.0], [60.0, 1200.0]]}, False, True),
        # Together, but off the origin: a shift of floor is one of the intercept.
        ({"mean_x": [0.5, 7.0], "sxx": [[3.0, 60.0], [60.0, 1200.0]]}, False, False),
        # Age never varies, floor does: its slope is known and only age is lost.
        ({"mean_x": [0.5, 0.0], "sxx": [[3.0, 0.0], [0.0, 0.0]]}, True, True),
        ({"mean_x": [0.5, 9.0], "sxx": [[3.0, 1.0], [1.0, 80.0]]}, True, True),
    ],
    ids=["constant", "through the origin", "off the origin", "other constant", "full rank"],
)
def test_what_rows_identify_is_read_off_their_statistics(values, slope, intercept):
    trees = make_trees(predictors=("floor", "age"))
    change_statistics(trees, 1, **values)
    # Rounding is no information, whatever the unit.
    for tree in trees.values():
        tree["constant_data"]["sxx"][...] *= 1e12
        tree["constant_data"]["mean_x"][...] *= 1e6
        tree["constant_data"]["sxx"][...] += 1e-10
    plane, by_size = plot_shrinkage(trees)
    alpha = medians(trees["individual"], "alpha", ["CROW WING"])[0]
    starts = moves(plane)[:, 0, 0]
    assert np.isclose(starts, alpha).any() == slope
    ticks = markers(plane, BLUE, marker="|")[:, 0]
    assert np.isclose(ticks, alpha).any() == (intercept and not slope)
    assert np.isclose(moves(by_size)[:, 0, 1], alpha).any() == intercept


def test_the_audit_finds_the_same_slopes():
    trees = make_trees(predictors=("floor", "age", "rooms"))
    constants = trees["individual"]["constant_data"].to_dataset()
    y, x = trees["individual"]["observed_data"]["y"].values, constants["x"].values
    known = identify(y, x, constants["group_index"].values, len(COUNTIES)).slopes
    # CASS has no floor, ANOKA a single house.
    assert known.tolist() == [[False, True, True], [True] * 3, [True] * 3, [False] * 3]
    for k, predictor in enumerate(("floor", "age", "rooms")):
        plane, _ = plot_shrinkage(trees, predictor=predictor)
        named = np.array(COUNTIES)[known[:, k]]
        expected = medians(trees["individual"], "alpha", named)
        np.testing.assert_allclose(moves(plane)[:, 0, 0], expected)


def test_the_pooled_fit_is_marked_if_it_is_given():
    trees = make_trees() | {"pooled": make_tree("pooled")}
    plane, by_size = plot_shrinkage(trees)
    alpha = np.median(posterior(trees["pooled"], "alpha"))
    beta = np.median(posterior(trees["pooled"], "beta", predictor="floor"))
    np.testing.assert_allclose(markers(plane, VERMILION, marker="x"), [(alpha, beta)])
    (line,) = (line for line in by_size.lines if to_hex(line.get_color()) == VERMILION)
    assert set(line.get_ydata()) == {alpha}
    assert legend_texts(plane.figure.legends[0])[-1] == "pooled"


# The intercept by size


def test_intercepts_stand_at_the_size_of_their_group():
    trees = make_trees()
    _, by_size = plot_shrinkage(trees, outcome="log pCi/L", unit="houses")
    alone, shared = (medians(tree, "alpha") for tree in trees.values())
    expected = [[(n, a), (n, s)] for n, a, s in zip((5, 12, 9, 1), alone, shared, strict=True)]
    np.testing.assert_allclose(moves(by_size), expected)
    assert by_size.get_xscale() == "log"
    assert by_size.get_xlabel() == "houses in county"
    assert by_size.get_ylabel() == "intercept, log pCi/L"


def test_bands_hold_half_and_95_percent_of_the_intercepts():
    trees = make_trees()
    _, by_size = plot_shrinkage(trees)
    draws = trees["hierarchical"]["posterior"].to_dataset()
    mean, sd = float(draws["mu_alpha"].mean()), float((draws["sigma_alpha"] ** 2).mean()) ** 0.5
    expected = sorted((mean - z * sd, mean + z * sd) for z in (0.67449, 1.95996))
    np.testing.assert_allclose(bands(by_size), expected, rtol=1e-5)


def test_without_predictors_there_is_no_plane():
    axes = plot_shrinkage(make_trees(predictors=()))
    assert axes.shape == (1,)
    assert len(moves(axes[0])) == 4
    names = ["individual", "hierarchical", "population, 50 and 95 %"]
    assert legend_texts(axes[0].figure.legends[0]) == names


def make_spread(alone, counts, shared=None, groups=None):
    """Trees without predictors at the estimates given; by default 90 % pulled."""
    alone = np.asarray(alone)
    groups = groups or [f"town {k:03}" for k in range(len(alone))]
    trees = make_trees(predictors=(), groups=groups, counts=counts)
    shared = 2 + 0.1 * (alone - 2) if shared is None else np.asarray(shared)
    for tree, estimates in zip(trees.values(), (alone, shared), strict=True):
        alpha = tree["posterior"]["alpha"]
        alpha[...] += estimates - alpha.median(("chain", "draw"))
    return trees


def test_estimates_far_out_run_off_the_axis_and_are_counted():
    estimates = np.array([0.0, 1, 1, 2, 2, 3, 3, 4, 1000, -500])
    (ax,) = plot_shrinkage(make_spread(estimates, range(1, 11), shared=np.full(10, 2.0)))
    assert ax.get_title(loc="left") == "2 off the scale: 'town 008', 'town 009'"
    low, high = ax.get_ylim()
    # The population, 2 +- 2.6 * 5, is wider than the estimates.
    assert -13 < low < -11
    assert 15 < high < 17
    assert moves(ax)[8][0][1] == pytest.approx(1000)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("far", "off"), [(150, False), (175, True)])
def test_far_but_within_three_interquartile_ranges_stays_on_the_axis(sign, far, off):
    estimates = np.array([1.0, 1, 1, 2, 2, 40, 42, far])
    low, high = np.quantile(estimates, (0.25, 0.75))
    assert high + 2 * (high - low) < 150 < high + 3 * (high - low) < 175
    (ax,) = plot_shrinkage(make_spread(sign * estimates, range(1, 9), shared=np.full(8, 2.0)))
    bottom, top = ax.get_ylim()
    assert (not bottom < sign * far < top) == off
    assert bool(ax.get_title(loc="left")) == off


# Names


def annotations(ax):
    return {text.get_text(): text.xy for text in ax.texts}


def test_groups_wanted_are_named_at_their_individual_estimate():
    trees = make_trees()
    plane, by_size = plot_shrinkage(trees, groups=["FREEBORN", "CASS"])
    alpha = medians(trees["individual"], "alpha")
    # CASS has no individual slope, so no place on the plane.
    assert list(annotations(plane)) == ["FREEBORN"]
    assert annotations(plane)["FREEBORN"][0] == pytest.approx(alpha[2])
    assert set(annotations(by_size)) == {"FREEBORN", "CASS"}
    assert annotations(by_size)["CASS"] == pytest.approx((5, alpha[0]))
    match = r"Expected a label of 'county'; got 'Freborn' \(close: 'FREEBORN'\)"
    with pytest.raises(ValueError, match=match):
        plot_shrinkage(trees, groups=["Freborn"])


def test_three_that_move_far_are_named_where_there_is_room():
    places = {
        "first": (1, 12.85, 2.0),
        # No mark is in the way of its name, but the first's name is.
        "below it": (2, 12.0, 2.0),
        "hemmed in": (30, -8.0, 1.0),
        "to the left": (22, -8.3, -8.3),
        "to the right": (40, -8.3, -8.3),
        "third": (200, 8.0, 2.0),
        "second": (4, -5.0, 2.0),
        "fourth": (1000, -1.0, 2.0),
    }
    counts, alone, shared = zip(*places.values(), strict=True)
    (ax,) = plot_shrinkage(make_spread(alone, counts, shared=shared, groups=tuple(places)))
    assert list(annotations(ax)) == ["first", "second", "third"]
    ax.figure.canvas.draw()
    frame, boxes = ax.get_window_extent(), [text.get_window_extent() for text in ax.texts]
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_labels_in_any_script_stay_as_they_are():
    groups = ("Αθήνα", "Łódź $5 to $10", "الرياض", "_x")
    trees = make_trees(groups=groups)
    axes = plot_shrinkage(trees, groups=groups)
    assert set(annotations(axes[1])) == set(groups)
    axes[0].figure.canvas.draw()
    integers = make_trees(groups=(7, 3, 11, 2))
    assert set(annotations(plot_shrinkage(integers, groups=[3])[0])) == {"3"}


# Sizes on a log axis


def test_groups_of_one_size_stand_side_by_side_near_it():
    _, ax = plt.subplots()
    places = size_axis(ax, pd.Series([4, 4, 4, 5, 5, 5, 100, 100, 1]))
    assert len(set(places)) == len(places)
    np.testing.assert_allclose(places[[1, 4, 8]], (4, 5, 1))
    # Nobody crosses half the way to the next size.
    half = (5 / 4) ** 0.5
    assert 4 / half < min(places[:3]) < 3.9 < 4.1 < max(places[:3]) < 4 * half
    assert 5 / half < min(places[3:6]) < 4.9 < 5.1 < max(places[3:6]) < 5 * half
    assert np.prod(places[6:8]) == pytest.approx(1e4)
    low, high = ax.get_xlim()
    assert low < 1
    assert high > places.max()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "3", "10", "32", "100"]


def test_groups_that_are_all_alike_fill_the_axis():
    _, ax = plt.subplots()
    places = size_axis(ax, pd.Series([20] * 300))
    low, high = np.log(ax.get_xlim())
    assert 0.7 < np.ptp(np.log(places)) / (high - low) < 0.95
    assert places.min() * places.max() == pytest.approx(400)
    assert len(set(places)) == 300
    assert [t.get_text() for t in ax.get_xticklabels()] == ["20"]
    _, ax = plt.subplots()
    np.testing.assert_allclose(size_axis(ax, pd.Series([7])), [7])


def test_a_group_without_rows_is_marked_zero():
    _, ax = plt.subplots()
    np.testing.assert_allclose(size_axis(ax, pd.Series([8, 0, 2])), (8, 0.5, 2))
    assert "0" in [t.get_text() for t in ax.get_xticklabels()]


# Other fits


@pytest.mark.parametrize("number", [1, 300])
def test_one_group_or_many(number):
    estimates = np.linspace(-3.0, 9.0, number)
    (ax,) = plot_shrinkage(make_spread(estimates, [1 + k % 50 for k in range(number)]))
    ax.figure.canvas.draw()
    assert len(moves(ax)) == number
    assert len(set(moves(ax)[:, 0, 0])) == number


def test_a_fit_that_kept_no_draws_of_the_coefficients_gives_their_means():
    trees = make_trees()
    tree = trees["hierarchical"]
    means = tree["posterior"].to_dataset()[["alpha", "beta"]].mean(("chain", "draw"))
    tree["posterior"] = xr.DataTree(tree["posterior"].to_dataset().drop_vars(["alpha", "beta"]))
    tree["coefficients/means"] = xr.DataTree(means)
    _, by_size = plot_shrinkage(trees)
    np.testing.assert_allclose(moves(by_size)[:, 1, 1], means["alpha"].values)


def test_trees_without_meaning_are_refused():
    trees = make_trees()
    with pytest.raises(TypeError, match=r"Expected trees to be a mapping of models to fits; got a"):
        plot_shrinkage(trees["hierarchical"])
    with pytest.raises(
        ValueError, match=r"Expected trees to hold 'individual'; got 'hierarchical'"
    ):
        plot_shrinkage({"hierarchical": trees["hierarchical"]})
    match = r"Expected trees\['individual'\] to be a fit of that model; got 'hierarchical'"
    with pytest.raises(ValueError, match=match):
        plot_shrinkage({"individual": trees["hierarchical"], "hierarchical": trees["hierarchical"]})
    other = make_tree("individual", counts=(5, 12, 9, 2))
    match = r"Expected fits of the same groups; got others in trees\['individual'\]"
    with pytest.raises(ValueError, match=match):
        plot_shrinkage(trees | {"individual": other})
    match = r"Expected a label of 'predictor'; got 'flor' \(close: 'floor'\)"
    with pytest.raises(ValueError, match=match):
        plot_shrinkage(trees, predictor="flor")
    with pytest.raises(ValueError, match=r"Expected a label of 'predictor'; got 'floor'"):
        plot_shrinkage(make_trees(predictors=()), predictor="floor")


@pytest.mark.slow
def test_radon_has_25_counties_without_a_slope_of_their_own():
    trees = {model: radon_nodes(model) for model in ("individual", "hierarchical")}
    plane, by_size = plot_shrinkage(trees, unit="houses")
    assert plane.get_title(loc="left") == "25 of 85 slopes not identified alone"
    assert len(moves(plane)) == len(markers(plane, GREEN)) == 60
    assert len(markers(plane, BLUE, marker="|")) == len(markers(plane, GREEN, filled=False)) == 25
    assert len(moves(by_size)) == 85
    # Individual slopes reach from -2.4 to 1.5; the 10 000 of the others are nowhere.
    assert -5 < plane.get_ylim()[0] < plane.get_ylim()[1] < 3
    start, end = moves(plane)[:, :, 1].T
    population = float(trees["hierarchical"]["posterior"]["mu_beta"].mean())
    assert (abs(end - population) < abs(start - population)).mean() > 0.9
