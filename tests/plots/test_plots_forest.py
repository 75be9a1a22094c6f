"""Forest: every group once, in order, at its own mean and interval."""

from itertools import pairwise

import arviz as az
import numpy as np
import pytest
import xarray as xr
from fits import radon_nodes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from trees import BLUE, COUNTIES, GREEN, legend_texts, make_tree, posterior

from radon_numpyro.plots import plot_forest

pytestmark = pytest.mark.usefixtures("agg")


def read(ax):
    """Labels, means and interval ends, from top to bottom."""
    (dots,) = (line for line in ax.lines if line.get_marker() == "o")
    (bars,) = (c for c in ax.collections if isinstance(c, LineCollection))
    segments = np.array(bars.get_segments())
    rows = [tick.get_text() for tick in ax.get_yticklabels()]
    np.testing.assert_array_equal(dots.get_ydata(), np.arange(len(rows)))
    np.testing.assert_array_equal(segments[:, :, 1], np.arange(len(rows))[:, None] + [0, 0])
    low, high = ax.get_ylim()
    assert low > len(rows) - 1
    assert high < 0
    return rows, np.array(dots.get_xdata()), segments[:, :, 0]


def population(ax):
    """Ends of the band, and the line in it."""
    (band,) = ax.patches
    (line,) = (line for line in ax.lines if line.get_marker() != "o")
    return band.get_x(), band.get_x() + band.get_width(), line.get_xdata()[0]


def test_groups_stand_from_the_highest_to_the_lowest_with_their_sizes():
    tree = make_tree(predictors=("floor", "age"))
    (ax,) = plot_forest(tree, "beta", predictor="age", ci_prob=0.8, unit="houses")
    rows, means, ends = read(ax)
    # The slopes of `make_tree` fall from the first county to the last.
    assert rows == ["CASS (5)", "CROW WING (12)", "FREEBORN (9)", "ANOKA (1)"]
    for k, county in enumerate(COUNTIES):
        draws = posterior(tree, "beta", county=county, predictor="age").values
        assert means[k] == pytest.approx(draws.mean())
        np.testing.assert_allclose(ends[k], np.quantile(draws, (0.1, 0.9)))
    assert ax.get_title(loc="left") == "beta[age]"
    assert ax.get_xlabel() == "slope, log_radon per unit of age"
    assert ax.get_ylabel() == "county (houses)"
    assert legend_texts(ax.figure.legends[0]) == [
        "posterior mean, 80 % equal-tailed interval",
        "population mean",
    ]


def test_intercepts_rise_and_the_highest_is_on_top():
    rows, means, _ = read(plot_forest(make_tree())[0])
    assert rows == ["ANOKA (1)", "FREEBORN (9)", "CROW WING (12)", "CASS (5)"]
    assert (np.diff(means) < 0).all()


def test_the_band_is_the_interval_of_the_population_mean():
    tree = make_tree(predictors=("floor", "age"))
    (ax,) = plot_forest(tree, "beta", predictor="age", ci_prob=0.5)
    draws = posterior(tree, "mu_beta", predictor="age").values
    expected = (*np.quantile(draws, (0.25, 0.75)), draws.mean())
    np.testing.assert_allclose(population(ax), expected)


def test_highest_density_intervals_on_request():
    tree = make_tree()
    tree["posterior"]["alpha"][...] = np.exp(tree["posterior"]["alpha"] / 10)
    (ax,) = plot_forest(tree, ci_prob=0.9, ci_kind="hdi")
    rows, _, ends = read(ax)
    drawn = ends[rows.index("FREEBORN (9)")]
    draws = posterior(tree, "alpha", county="FREEBORN").values.ravel()
    np.testing.assert_allclose(drawn, az.hdi(draws, prob=0.9))
    assert not np.allclose(drawn, np.quantile(draws, (0.05, 0.95)))
    assert "highest-density" in legend_texts(ax.figure.legends[0])[0]


def test_individual_fits_have_eps_by_group_and_no_population():
    tree = make_tree("individual", wide=1e4)
    (ax,) = plot_forest(tree, "eps")
    assert len(read(ax)[0]) == 4
    assert len(ax.patches) == 0
    assert len(legend_texts(ax.figure.legends[0])) == 1
    (dots,) = ax.lines
    assert to_hex(dots.get_color()) == BLUE
    (ax,) = plot_forest(tree, "beta")
    assert "CASS (5)" not in read(ax)[0]
    assert ax.get_title(loc="left") == "beta[floor], 1 off the scale: 'CASS'"


def many(number):
    groups = [f"town {k:03}" for k in range(number)]
    return make_tree(predictors=(), groups=groups, counts=[1 + k % 7 for k in range(number)])


def test_more_than_30_groups_take_two_columns_on_one_scale():
    left, right = plot_forest(many(31))
    rows = read(left)[0] + read(right)[0]
    assert len(rows) == 31
    assert rows[0] == "town 030 (3)"
    assert rows[-1] == "town 000 (1)"
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylabel() == "county (rows)"
    assert right.get_ylabel() == right.get_title(loc="left") == ""
    low, high = left.get_xlim()
    ends = np.concatenate([read(ax)[2] for ax in (left, right)])
    assert low < ends.min() < ends.max() < high
    assert len(plot_forest(many(30))) == 1


def test_of_more_than_100_groups_the_extremes_are_shown():
    tree = many(300)
    left, right = plot_forest(tree)
    assert left.get_title(loc="left") == "alpha, 50 highest and 50 lowest of 300"
    means = tree["posterior"]["alpha"].mean(("chain", "draw")).to_series()
    falling = means.sort_values(ascending=False).index.tolist()
    assert [row[:8] for row in read(left)[0]] == falling[:50]
    assert [row[:8] for row in read(right)[0]] == falling[-50:]
    left.figure.canvas.draw()
    whole = plot_forest(many(100))
    assert sum(len(read(ax)[0]) for ax in whole) == 100


def test_one_group_has_a_forest_of_one():
    (ax,) = plot_forest(make_tree(predictors=(), groups=["a"], counts=[3]))
    ax.figure.canvas.draw()
    assert read(ax)[0] == ["a (3)"]


def test_labels_in_any_script_stay_as_they_are_unless_too_long():
    groups = ("Łódź $5 to $10", "الرياض", "_x", "Llanfairpwllgwyngyllgogerychwyrndrobwll")
    (ax,) = plot_forest(make_tree(groups=groups))
    ax.figure.canvas.draw()
    rows = read(ax)[0]
    assert rows[::-1][:3] == ["Łódź $5 to $10 (5)", "الرياض (12)", "_x (9)"]
    assert rows[0] == "Llanfairpwllgwyngyllgog… (1)"
    assert not any(tick.get_parse_math() for tick in ax.get_yticklabels())
    (ax,) = plot_forest(make_tree(groups=(7, 3, 11, 2)))
    assert read(ax)[0] == ["2 (1)", "11 (9)", "3 (12)", "7 (5)"]


def test_requests_without_meaning_are_refused():
    tree = make_tree()
    match = r"Expected draws of mu_alpha for each group; got those of alpha, beta\[floor\]"
    with pytest.raises(ValueError, match=match):
        plot_forest(tree, "mu_alpha")
    with pytest.raises(ValueError, match=r"Expected draws of alpha for each group; got none"):
        plot_forest(make_tree("pooled"))
    with pytest.raises(ValueError, match=r"Expected draws of beta for each group; got those of"):
        plot_forest(make_tree(predictors=()), "beta")
    match = r"Expected a label of 'predictor'; got 'flor' \(close: 'floor'\)"
    with pytest.raises(ValueError, match=match):
        plot_forest(tree, "beta", predictor="flor")
    for ci_prob in (0, 1, 90):
        with pytest.raises(ValueError, match=rf"Expected ci_prob between 0 and 1; got {ci_prob}"):
            plot_forest(tree, ci_prob=ci_prob)
    with pytest.raises(ValueError, match=r"Expected ci_kind to be 'eti' or 'hdi'; got 'eth'"):
        plot_forest(tree, ci_kind="eth")
    summary = xr.DataTree(tree["posterior"].to_dataset().drop_vars(["alpha", "beta"]))
    tree["posterior"] = summary
    with pytest.raises(ValueError, match=r"Expected draws of alpha for each group; got none"):
        plot_forest(tree)


@pytest.mark.slow
def test_all_85_counties_of_the_radon_data_fit_on_a_page():
    axes = plot_forest(radon_nodes("hierarchical"), unit="houses")
    rows = [row for ax in axes for row in read(ax)[0]]
    assert len(rows) == 85
    assert "ST LOUIS (116)" in rows[-5:]
    figure = axes[0].figure
    figure.canvas.draw()
    assert figure.get_size_inches()[1] < 9
    for ax in axes:
        boxes = [tick.get_window_extent() for tick in ax.get_yticklabels()]
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))
        (dots,) = (line for line in ax.lines if line.get_marker() == "o")
        assert to_hex(dots.get_color()) == GREEN
