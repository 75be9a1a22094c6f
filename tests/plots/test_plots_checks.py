"""Checks: predictions beside the rows that they are of, and priors at their own density."""

import matplotlib.pyplot as plt
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from fits import radon_nodes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch
from trees import (
    BLUE,
    CHAINS,
    DRAWS,
    GREEN,
    VERMILION,
    add_draws,
    area,
    legend_texts,
    make_tree,
    posterior,
)

from radon_numpyro import HalfNormal, Normal, Priors, Uniform
from radon_numpyro.plots import plot_ppc, plot_prior_posterior, plot_prior_predictive
from radon_numpyro.results.arviz_groups import with_groups

pytestmark = pytest.mark.usefixtures("agg")


def predicted(*arguments, shift=0.0, scale=1.0, **keywords):
    return add_draws(
        make_tree(*arguments, **keywords), "posterior_predictive", shift=shift, scale=scale
    )


def rows(tree):
    """Data (row,), draws (sample, row) and labels of the rows."""
    labels = np.array(tree["constant_data"]["county"].values)
    return (
        tree["observed_data"]["y"].values,
        tree["posterior_predictive"]["y"].values.reshape(CHAINS * DRAWS, -1),
        labels[tree["constant_data"]["group_index"].values],
    )


def steps(ax, *, filled):
    return [p for p in ax.patches if isinstance(p, StepPatch) and p.get_fill() == filled]


def intervals(ax):
    """Ends of the vertical bars by their place."""
    (bars,) = (c for c in ax.collections if isinstance(c, LineCollection))
    return {segment[0, 0]: segment[:, 1] for segment in np.array(bars.get_segments())}


def points(ax):
    """Height and colour of each point by its place."""
    return {
        x: (y, to_hex(line.get_markerfacecolor()))
        for line in ax.lines
        for x, y in line.get_xydata()
    }


# Posterior predictive check


def test_histogram_counts_the_rows_and_the_bands_those_of_the_draws():
    tree = predicted()
    ax = plot_ppc(tree, ci_prob=0.8, unit="houses", outcome="log pCi/L")[0]
    y, draws, _ = rows(tree)
    (line,) = steps(ax, filled=False)
    counts, edges, _ = line.get_data()
    np.testing.assert_array_equal(counts, np.histogram(y, edges)[0])
    assert counts.sum() == len(y)
    drawn = np.array([np.histogram(draw, edges)[0] for draw in draws])
    for band, tail in zip(steps(ax, filled=True), (0.1, 0.25), strict=True):
        high, band_edges, low = band.get_data()
        np.testing.assert_array_equal(band_edges, edges)
        np.testing.assert_allclose(low, np.quantile(drawn, tail, axis=0))
        np.testing.assert_allclose(high, np.quantile(drawn, 1 - tail, axis=0))
        assert to_hex(band.get_facecolor()) == GREEN
    # The data never touch the frame: what the model puts beyond them is seen too.
    assert edges[0] < y.min() - 0.05 * np.ptp(y)
    assert edges[-1] > y.max() + 0.05 * np.ptp(y)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("log pCi/L", "houses in a bin")
    assert legend_texts(ax.figure.legends[0]) == [
        "data",
        "data, missed",
        "predicted, 80 % equal-tailed (bins also 50 %)",
    ]


@pytest.mark.parametrize("kind", ["mean", "std"])
def test_moments_of_groups_stand_at_their_size_inside_or_outside_their_interval(kind):
    # A shift and a scale that miss some groups and not others.
    tree = predicted(shift=0.5, scale=0.7)
    ax = plot_ppc(tree, ci_prob=0.8)[1 if kind == "mean" else 2]
    y, draws, labels = rows(tree)
    frame = pd.DataFrame(draws.T).groupby(labels).agg(kind).T
    data = pd.Series(y).groupby(labels).agg(kind)
    sizes = {"CASS": 5, "CROW WING": 12, "FREEBORN": 9, "ANOKA": 1}
    if kind == "std":
        del sizes["ANOKA"]
    bars, seen, inside = intervals(ax), points(ax), 0
    assert len(bars) == len(seen) == len(sizes)
    for county, size in sizes.items():
        (at,) = (x for x in bars if x == pytest.approx(size))
        low, high = np.quantile(frame[county], (0.1, 0.9))
        np.testing.assert_allclose(bars[at], (low, high))
        (height, colour) = next(value for x, value in seen.items() if x == pytest.approx(size))
        assert height == pytest.approx(data[county])
        assert (colour == "#000000") == (low <= data[county] <= high)
        inside += low <= data[county] <= high
    assert 0 < inside < len(sizes)
    title = ax.get_title(loc="left").split("\n")
    assert title[0] == f"{inside} of {len(sizes)} inside"
    words = "mean" if kind == "mean" else "sd"
    assert ax.get_ylabel() == f"{words} of log_radon"
    assert ax.get_xlabel() == "rows in county"


def test_the_group_furthest_from_its_interval_is_named():
    tree = predicted(scale=0.1)
    index = tree["constant_data"]["group_index"].values
    tree["observed_data"]["y"][index == 2] = 50.0
    tree["observed_data"]["y"][index == 1] = -20.0
    _, mean, sd = plot_ppc(tree)
    assert "missed most: FREEBORN" in mean.get_title(loc="left")
    missed = {x: colour for x, (_, colour) in points(mean).items() if colour == VERMILION}
    assert any(x == pytest.approx(9) for x in missed)
    # Every row of two groups is the same: no scatter, where the model has some.
    assert points(sd)[next(x for x in points(sd) if x == pytest.approx(9))] == (0, VERMILION)


def test_a_wide_interval_runs_off_the_axis():
    tree = predicted()
    index = tree["constant_data"]["group_index"].values
    noise = np.random.default_rng(3).normal(size=(CHAINS, DRAWS, 1))
    tree["posterior_predictive"]["y"][:, :, index == 3] = 1e4 * noise
    ax = plot_ppc(tree)[1]
    assert np.ptp(ax.get_ylim()) < 20
    assert max(high - low for low, high in intervals(ax).values()) > 1e4


def test_highest_density_intervals_on_request():
    tree = predicted()
    tree["posterior_predictive"]["y"][...] = np.exp(tree["posterior_predictive"]["y"])
    equal, highest = (plot_ppc(tree, ci_kind=kind) for kind in ("eti", "hdi"))
    wide, narrow = (np.array(list(intervals(axes[1]).values())) for axes in (equal, highest))
    assert (np.diff(narrow) < np.diff(wide)).all()
    assert "90 % highest-density" in legend_texts(highest[0].figure.legends[0])[2]


@pytest.mark.parametrize(("model", "colour"), [("individual", BLUE), ("pooled", VERMILION)])
def test_every_model_has_its_colour(model, colour):
    axes = plot_ppc(predicted(model))
    assert to_hex(steps(axes[0], filled=True)[0].get_facecolor()) == colour
    assert len(axes) == 3


@pytest.mark.parametrize("number", [1, 300])
@pytest.mark.parametrize("size", [1, 3])
def test_one_group_or_many_of_one_row_or_more(number, size):
    groups = [f"Łódź {k}" for k in range(number)]
    tree = predicted(predictors=(), groups=groups, counts=[size] * number)
    axes = plot_ppc(tree)
    axes[0].figure.canvas.draw()
    # Groups of one row have no sd, so no panel.
    assert len(axes) == (2 if size == 1 else 3)
    assert all(len(points(ax)) == number for ax in axes[1:])


def test_bins_are_few_however_the_data_are_spread():
    for values in ([1.0] * 26 + [1e9], [0.0] * 27, list(range(27)), [0.0] * 20 + [1.0] * 7):
        tree = predicted()
        tree["observed_data"]["y"][...] = values
        (line,) = steps(plot_ppc(tree)[0], filled=False)
        counts, edges, _ = line.get_data()
        assert counts.sum() == 27
        assert 5 <= len(counts) <= 70
        assert (np.diff(edges) > 0).all()


def test_bins_are_narrower_the_more_rows_there_are():
    tree = predicted(counts=(400, 500, 60, 40))
    (line,) = steps(plot_ppc(tree)[0], filled=False)
    expected = np.histogram_bin_edges(tree["observed_data"]["y"].values, "fd")
    assert np.diff(line.get_data().edges)[0] == pytest.approx(np.diff(expected)[0], rel=0.05)


def test_fits_without_rows_or_draws_are_refused():
    match = r"Expected a fit with the group 'posterior_predictive'; got none "
    match += r"\(with_groups\(tree, 'posterior_predictive'\) adds it\)"
    with pytest.raises(ValueError, match=match):
        plot_ppc(make_tree())
    for plot in (plot_ppc, plot_prior_predictive):
        with pytest.raises(ValueError, match=r"Expected a fit with rows; got one of statistics"):
            plot(make_tree(rows=False))
    match = r"'prior_predictive'; got none \(with_groups\(tree, 'prior_predictive'\) adds it\)"
    with pytest.raises(ValueError, match=match):
        plot_prior_predictive(make_tree())
    with pytest.raises(ValueError, match=r"Expected ci_prob between 0 and 1; got 1.5"):
        plot_ppc(predicted(), ci_prob=1.5)
    with pytest.raises(ValueError, match=r"Expected ci_kind to be 'eti' or 'hdi'; got 'both'"):
        plot_ppc(predicted(), ci_kind="both")


# Prior predictive check


def test_shares_of_rows_and_of_prior_outcomes_in_the_same_bins():
    tree = add_draws(make_tree(), "prior_predictive", scale=3.0)
    ax = plot_prior_predictive(tree, outcome="log pCi/L")
    (prior,), (data,) = steps(ax, filled=True), steps(ax, filled=False)
    y = tree["observed_data"]["y"].values
    drawn = tree["prior_predictive"]["y"].values.ravel()
    for patch, values in ((prior, drawn), (data, y)):
        shares, edges, _ = patch.get_data()
        np.testing.assert_allclose(shares, np.histogram(values, edges)[0] / len(values))
    assert data.get_data().values.sum() == pytest.approx(1)
    assert prior.get_data().values.sum() > 0.99
    assert ax.get_xscale() == "linear"
    assert ax.get_xlabel() == "log pCi/L"
    assert legend_texts(ax.get_legend()) == ["from the priors", "data"]
    low, high = np.quantile(drawn, (0.025, 0.975))
    first, second = ax.get_title(loc="left").split("\n")
    assert [float(word) for word in first.split(": ")[1].split(" to ")] == pytest.approx(
        [low, high], rel=0.01
    )
    assert [float(word) for word in second.split(": ")[1].split(" to ")] == pytest.approx(
        [y.min(), y.max()], rel=0.01
    )


def test_priors_far_wider_than_the_data_do_not_squeeze_them():
    tree = add_draws(make_tree(), "prior_predictive", scale=1e4)
    ax = plot_prior_predictive(tree)
    assert ax.get_xscale() == "asinh"
    (data,) = steps(ax, filled=False)
    assert (data.get_data().values > 0).sum() >= 4
    assert data.get_data().values.sum() == pytest.approx(1)
    low, high = ax.get_xlim()
    assert low < -2e4
    assert high > 2e4
    # Bins are of one width on the axis.
    places = ax.transData.transform(np.column_stack([data.get_data().edges] * 2))[:, 0]
    np.testing.assert_allclose(np.diff(places), np.diff(places)[0])


def test_prior_predictive_check_draws_into_the_axes_given():
    _, axes = plt.subplots(1, 2)
    tree = add_draws(make_tree(), "prior_predictive")
    assert plot_prior_predictive(tree, axes[1]) is axes[1]
    assert len(plt.get_fignums()) == 1
    assert not axes[0].patches


# Priors and posterior


PRIORS = Priors(
    mu_alpha=Normal(1.0, 3.0),
    mu_beta=Normal(0.0, [0.5, 5.0]),
    sigma_alpha=Uniform(8.0),
    sigma_beta=HalfNormal([2.0, 20.0]),
    alpha=Normal(1.0, 2.0),
    beta=Normal([0.0, 1.0], 4.0),
    eps=HalfNormal(0.6),
)


def test_the_line_is_the_priors_density_and_the_histogram_that_of_the_draws():
    tree = make_tree(predictors=("floor", "age"))
    axes = plot_prior_posterior(tree, PRIORS, outcome="log pCi/L")
    expected = {
        "mu_alpha ~ Normal(1, 3)": dist.Normal(1.0, 3.0),
        "sigma_alpha ~ Uniform(0, 8)": dist.Uniform(0.0, 8.0),
        "mu_beta[floor] ~ Normal(0, 0.5)": dist.Normal(0.0, 0.5),
        "mu_beta[age] ~ Normal(0, 5)": dist.Normal(0.0, 5.0),
        "sigma_beta[floor] ~ HalfNormal(2)": dist.HalfNormal(2.0),
        "sigma_beta[age] ~ HalfNormal(20)": dist.HalfNormal(20.0),
        "eps ~ HalfNormal(0.6)": dist.HalfNormal(0.6),
    }
    assert [ax.get_title(loc="left").split("\n")[0] for ax in axes] == list(expected)
    for ax, (name, prior) in zip(axes, expected.items(), strict=True):
        (line,) = ax.lines
        np.testing.assert_allclose(
            line.get_ydata(), np.exp(prior.log_prob(line.get_xdata())), rtol=1e-4
        )
        site, _, rest = name.partition("[")
        site = site.split()[0]
        where = {"predictor": rest.split("]")[0]} if rest else {}
        draws = posterior(tree, site, **where).values
        (patch,) = steps(ax, filled=True)
        np.testing.assert_allclose(
            patch.get_data().edges[[0, -1]], np.quantile(draws, (0.002, 0.998))
        )
        assert area(patch) == pytest.approx(1, abs=0.01)
        sd = f"sd: prior {float(prior.variance) ** 0.5:.3g}, posterior {draws.std():.3g}"
        assert ax.get_title(loc="left").split("\n")[1] == sd
    assert axes[3].get_xlabel() == "mean slope, log pCi/L per unit of age"
    assert legend_texts(axes[0].figure.legends[0]) == ["prior density", "posterior, histogram"]


def test_the_axis_follows_the_posterior_and_a_flat_prior_lies_in_it():
    tree = make_tree()
    ax = plot_prior_posterior(tree, Priors.tutorial())[1]
    draws = posterior(tree, "sigma_alpha").values
    low, high = ax.get_xlim()
    assert (
        draws.mean() - 6 * draws.std() < low < draws.mean() < high < draws.mean() + 6 * draws.std()
    )
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), 0.01)
    np.testing.assert_allclose(line.get_xdata()[[0, -1]], (low, high))
    assert not line.get_clip_on()
    assert ax.get_title(loc="left").startswith("sigma_alpha ~ Uniform(0, 100)\nsd: prior 28.9, ")


def test_an_improper_prior_has_no_line():
    """Its density has no height: a line would make one up."""
    axes = plot_prior_posterior(make_tree(), Priors.flat())
    assert not any(ax.lines for ax in axes)
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles[0].startswith("mu_alpha ~ Flat()\nsd: prior infinite, ")
    assert titles[1].startswith("sigma_alpha ~ HalfFlat()\nsd: prior infinite, ")


def test_the_priors_are_those_of_the_fit_unless_others_are_given():
    tree = make_tree()
    tree.attrs["priors"] = PRIORS.to_json()
    titles = [ax.get_title(loc="left") for ax in plot_prior_posterior(tree)]
    assert titles[0].startswith("mu_alpha ~ Normal(1, 3)")
    assert titles == [ax.get_title(loc="left") for ax in plot_prior_posterior(tree, PRIORS)]
    other = plot_prior_posterior(tree, Priors.tutorial())[0].get_title(loc="left")
    assert other.startswith("mu_alpha ~ Normal(0, 10000)")


def test_a_scale_near_zero_is_not_shown_below_it():
    tree = make_tree()
    tree["posterior"]["sigma_alpha"][...] = np.abs(tree["posterior"]["sigma_alpha"] - 5)
    ax = plot_prior_posterior(tree, PRIORS)[1]
    assert ax.get_xlim()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"model": "pooled"}, ["alpha", "beta[floor]", "eps"]),
        ({"predictors": ()}, ["mu_alpha", "sigma_alpha", "eps"]),
    ],
    ids=["pooled", "no predictor"],
)
def test_every_parameter_that_is_no_groups_own(arguments, names):
    axes = plot_prior_posterior(make_tree(**arguments), Priors.tutorial())
    axes[0].figure.canvas.draw()
    assert [ax.get_title(loc="left").split(" ~ ")[0] for ax in axes] == names


def test_the_individual_model_has_no_such_parameter():
    match = r"Expected a hierarchical or pooled fit; got 'individual'"
    with pytest.raises(ValueError, match=match):
        plot_prior_posterior(make_tree("individual"), Priors.tutorial())


@pytest.mark.slow
def test_radon_pooled_misses_the_means_of_counties_that_the_hierarchical_model_has():
    inside = {}
    for model in ("pooled", "hierarchical"):
        tree = with_groups(radon_nodes(model), "posterior_predictive", "prior_predictive")
        axes = plot_ppc(tree, unit="houses")
        inside[model] = int(axes[1].get_title(loc="left").split()[0])
        title = plot_prior_posterior(tree)[-1].get_title(loc="left")
        assert title.startswith("eps ~ Uniform(0, 100)")
        # The tutorial's priors allow log radon of 10 000 either way.
        assert plot_prior_predictive(tree).get_xscale() == "asinh"
    assert inside["hierarchical"] > 80
    assert inside["pooled"] < 70
