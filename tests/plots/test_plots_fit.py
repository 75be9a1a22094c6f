"""Figures of one fit: the numbers drawn are those of the tree, each under its own name."""

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from scipy.stats import norm
from trees import (
    BLUE,
    CHAINS,
    COUNTIES,
    DRAWS,
    GREEN,
    VERMILION,
    area,
    labelled,
    legend_texts,
    make_tree,
    posterior,
)

from radon_numpyro.plots import plot_advi_vs_nuts, plot_elbo, plot_group_lines, plot_trace

pytestmark = pytest.mark.usefixtures("agg")


# ELBO


def test_elbo_draws_window_means_and_the_range_of_single_steps():
    tree = make_tree()
    elbo = tree["advi/trace"]["elbo"].values
    ax = plot_elbo(tree)
    line = labelled(ax)["mean of 500 steps"]
    np.testing.assert_allclose(line.get_xdata(), [250, 750, 1250, 1750])
    np.testing.assert_allclose(line.get_ydata(), elbo.reshape(4, 500).mean(1))
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == elbo.min()
    assert band[:, 1].max() == elbo.max()
    # A stretch is 2000 / 400 steps.
    third = band[(band[:, 0] > 9) & (band[:, 0] < 16)][:, 1]
    assert elbo[10:15].max() in third
    assert elbo[10:15].min() in third
    assert ax.get_ylim()[0] < elbo.min()
    assert ax.get_ylim()[1] > elbo.max()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "ELBO (nats)")
    assert legend_texts(ax.get_legend()) == ["single steps, range", "mean of 500 steps"]


def test_elbo_says_where_it_stopped_and_why():
    tree = make_tree()
    ax = plot_elbo(tree)
    title = ax.get_title(loc="left").replace("\n", " ")
    assert (
        title == "converged after 2,000 steps: level. Verdict: close to the posterior (k-hat 0.3)"
    )
    assert [line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == ":"] == [2000]
    reason = "it reached the maximum of 2000 steps"
    tree["advi"].attrs |= {"converged": 0, "reason": reason, "verdict": f"do not use: {reason}"}
    title = plot_elbo(tree).get_title(loc="left").replace("\n", " ")
    assert title == f"not converged after 2,000 steps. Verdict: do not use: {reason}"


def test_elbo_shows_plateau_and_approach_of_a_long_climb():
    tree = make_tree()
    steps = np.arange(20_000)
    noise = np.random.default_rng(1).normal(size=20_000)
    elbo = -1000 - 1e5 * np.exp(-steps / 500) + noise
    tree["advi/trace"] = xr.DataTree(xr.Dataset({"elbo": ("step", elbo)}, {"step": steps}))
    ax = plot_elbo(tree)
    bottom, top = ax.get_ylim()
    assert -1060 < bottom < -1030
    assert elbo.max() < top < -990
    assert f"from {elbo.min():,.0f} nats" in ax.get_title(loc="left").replace("\n", " ")
    assert len(ax.collections[0].get_paths()[0].vertices) < 2000


def test_elbo_leaves_out_steps_that_failed():
    tree = make_tree()
    elbo = tree["advi/trace"]["elbo"].values
    elbo[[3, 600]] = np.nan, -np.inf
    line = labelled(plot_elbo(tree))["mean of 500 steps"]
    expected = np.nanmean(np.where(np.isfinite(elbo), elbo, np.nan).reshape(4, 500), axis=1)
    np.testing.assert_allclose(line.get_ydata(), expected)


def test_elbo_draws_into_the_axes_given():
    figure, axes = plt.subplots(1, 2)
    assert plot_elbo(make_tree(), axes[1]) is axes[1]
    assert len(plt.get_fignums()) == 1
    assert axes[1].lines
    assert not axes[0].lines
    assert figure is axes[1].figure


# ADVI against NUTS


def test_advi_line_and_histogram_of_a_single_parameter():
    tree = make_tree()
    axes = plot_advi_vs_nuts(tree)
    ax = axes[1]
    mean, sd = (float(tree[f"advi/{of}"]["sigma_alpha"]) for of in ("means", "sds"))
    draws = posterior(tree, "sigma_alpha").values.ravel()
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_ydata(), norm.pdf(line.get_xdata(), mean, sd))
    np.testing.assert_allclose(line.get_xdata()[[0, -1]], (mean - 4 * sd, mean + 4 * sd))
    values, edges, _ = ax.patches[0].get_data()
    assert area(ax.patches[0]) == pytest.approx(1.0, abs=0.01)
    centre = (values * np.diff(edges) * (edges[:-1] + edges[1:]) / 2).sum()
    assert centre == pytest.approx(draws.mean(), abs=0.05)
    assert ax.get_title(loc="left") == f"sigma_alpha, sd: ADVI {sd:.3g}, NUTS {draws.std():.3g}"
    assert ax.get_xlabel() == "sd of the intercepts, log_radon"
    assert ax.get_ylabel() == "density"
    legend = axes[0].figure.legends[0]
    assert legend_texts(legend) == ["ADVI, Normal density", "NUTS, histogram"]


def test_advi_panels_come_in_the_order_of_the_model():
    axes = plot_advi_vs_nuts(make_tree(predictors=("floor", "age")), outcome="log pCi/L")
    names = [ax.get_title(loc="left").split(",")[0] for ax in axes]
    slopes = ["mu_beta[floor]", "mu_beta[age]", "sigma_beta[floor]", "sigma_beta[age]"]
    assert names == ["mu_alpha", "sigma_alpha", *slopes, "alpha", "beta[floor]", "beta[age]", "eps"]
    assert axes[3].get_xlabel() == "mean slope, log pCi/L per unit of age"
    assert axes[-1].get_xlabel() == "residual sd, log pCi/L"


def test_advi_draws_every_group_and_colours_those_chosen():
    tree = make_tree(predictors=("floor", "age"))
    axes = plot_advi_vs_nuts(tree, ["FREEBORN", "CASS"], unit="houses")
    for ax, predictor in ((axes[7], "floor"), (axes[8], "age")):
        assert len(ax.lines) == len(ax.patches) == len(COUNTIES)
        lines = labelled(ax)
        assert set(lines) == {"FREEBORN, 9 houses", "CASS, 5 houses"}
        assert set(legend_texts(ax.get_legend())) == set(lines)
        for county, colour in (("FREEBORN", BLUE), ("CASS", GREEN)):
            line = next(line for name, line in lines.items() if county in name)
            assert to_hex(line.get_color()) == colour
            where = {"county": county, "predictor": predictor}
            mean, sd = (float(tree[f"advi/{of}"]["beta"].sel(where)) for of in ("means", "sds"))
            np.testing.assert_allclose(line.get_ydata(), norm.pdf(line.get_xdata(), mean, sd))
            (patch,) = (p for p in ax.patches if to_hex(p.get_facecolor()) == colour)
            assert patch.get_fill()
            _, edges, _ = patch.get_data()
            draws = posterior(tree, "beta", **where).values
            np.testing.assert_allclose(edges[[0, -1]], np.quantile(draws, (0.002, 0.998)))
            assert area(patch) == pytest.approx(1.0, abs=0.01)
        grey = [patch for patch in ax.patches if not patch.get_fill()]
        assert len(grey) == 2
    sds = tree["advi/sds"]["alpha"].values
    assert f"median sd: ADVI {np.median(sds):.3g}, NUTS" in axes[6].get_title(loc="left")


def test_advi_colours_the_largest_the_median_and_the_smallest_group():
    lines = labelled(plot_advi_vs_nuts(make_tree(), unit="houses")[4])
    colours = {name: to_hex(line.get_color()) for name, line in lines.items()}
    largest, median, smallest = "CROW WING, 12 houses", "FREEBORN, 9 houses", "ANOKA, 1 house"
    assert colours == {largest: BLUE, median: GREEN, smallest: VERMILION}


def test_a_group_off_the_scale_is_named_and_not_drawn():
    tree = make_tree("individual", wide=1e4)
    ax = plot_advi_vs_nuts(tree, ["CASS", "FREEBORN"])[1]
    assert "1 off the scale: 'CASS'" in ax.get_title(loc="left")
    assert list(labelled(ax)) == ["FREEBORN, 9 rows"]
    assert len(ax.lines) == len(ax.patches) == 3
    assert ax.get_xlim()[1] - ax.get_xlim()[0] < 50
    assert list(labelled(plot_advi_vs_nuts(tree, "CASS")[1])) == []
    left, right = plot_trace(tree)[1]
    assert left.get_title(loc="left") == "beta[floor], 1 off the scale: 'CASS'"
    assert len(left.lines) == 3
    assert right.get_ylim()[1] - right.get_ylim()[0] < 50


def test_scales_are_not_shown_below_zero():
    tree = make_tree()
    tree["advi/sds"]["eps"][...] = 0.5
    assert plot_advi_vs_nuts(tree)[-1].get_xlim()[0] == 0


@pytest.mark.parametrize(
    ("arguments", "panels"),
    [
        ({"predictors": ()}, 4),
        ({"model": "individual"}, 3),
        ({"model": "pooled"}, 3),
        ({"rows": False}, 7),
        ({"groups": (7, 3, 11, 2)}, 7),
    ],
    ids=["no predictor", "individual", "pooled", "statistics", "integers"],
)
def test_every_fit_has_its_figures(arguments, panels):
    tree = make_tree(**arguments)
    axes, traces = plot_advi_vs_nuts(tree), plot_trace(tree)
    axes[0].figure.canvas.draw()
    traces[0, 0].figure.canvas.draw()
    assert axes.shape == (panels,)
    assert traces.shape == (panels, 2)


def test_groups_that_are_numbers_bear_the_name_of_their_column():
    tree = make_tree(groups=(7, 3, 11, 2))
    assert list(labelled(plot_advi_vs_nuts(tree, [3, 2])[4])) == [
        "county 3, 12 rows",
        "county 2, 1 row",
    ]
    (ax,) = plot_group_lines({"one": tree}, [11])
    assert ax.get_title(loc="left") == "county 11, 9 rows"
    with pytest.raises(ValueError, match=r"Expected a label of 'county'; got 5 \(known: "):
        plot_advi_vs_nuts(tree, [5])


def test_an_unknown_group_is_refused_with_those_that_look_alike():
    match = r"Expected a label of 'county'; got 'Freborn' \(close: 'FREEBORN'\)"
    with pytest.raises(ValueError, match=match):
        plot_advi_vs_nuts(make_tree(), ["CASS", "Freborn"])
    with pytest.raises(ValueError, match=match):
        plot_group_lines({"one": make_tree()}, "Freborn")


# Traces


def test_trace_of_a_single_parameter_has_a_line_for_each_chain():
    tree = make_tree(predictors=("floor", "age"))
    axes = plot_trace(tree)
    left, right = axes[3]
    lines = [line for line in right.lines if line.get_linestyle() == "-"]
    for chain, line in enumerate(lines):
        draws = posterior(tree, "mu_beta", predictor="age", chain=chain)
        np.testing.assert_allclose(line.get_xdata(), np.arange(0, DRAWS, 2))
        np.testing.assert_allclose(line.get_ydata(), draws.values[::2])
        grid, density, _ = az.kde(draws.values)
        np.testing.assert_allclose(left.lines[chain].get_xdata(), grid)
        np.testing.assert_allclose(left.lines[chain].get_ydata(), density)
        assert line.get_color() == left.lines[chain].get_color()
    assert len(lines) == len(left.lines) == CHAINS
    assert left.get_title(loc="left") == right.get_title(loc="left") == "mu_beta[age]"
    assert left.get_xlabel() == "mean slope, log_radon per unit of age"
    assert axes[-1, 1].get_xlabel() == "draw"
    assert legend_texts(left.figure.legends[0]) == ["chain 0", "chain 1"]


def test_trace_of_groups_is_coloured_by_size_with_the_largest_on_top():
    tree = make_tree()
    axes = plot_trace(tree, unit="houses")
    left, right = axes[4]
    traces = [line for line in right.lines if line.get_linestyle() == "-"]
    assert len(traces) == CHAINS * len(COUNTIES)
    by_size = ("ANOKA", "CASS", "FREEBORN", "CROW WING")
    for k, county in enumerate(by_size):
        draws = posterior(tree, "alpha", county=county).values
        for chain, line in enumerate(traces[CHAINS * k : CHAINS * (k + 1)]):
            np.testing.assert_allclose(line.get_ydata(), draws[chain, ::2])
        grid, density, _ = az.kde(draws.ravel())
        np.testing.assert_allclose(left.lines[k].get_xdata(), grid)
        np.testing.assert_allclose(left.lines[k].get_ydata(), density)
    brightness = [np.sum(line.get_color()[:3]) for line in left.lines]
    assert brightness == sorted(brightness, reverse=True)
    bar = left.figure.axes[-1]
    assert bar.get_ylabel() == "houses in county"
    left.figure.canvas.draw()
    assert [text.get_text() for text in bar.get_yticklabels()] == ["1", "2", "3", "6", "12"]


def test_trace_marks_divergences_where_they_happened():
    tree = make_tree()
    plain = legend_texts(plot_trace(tree)[0, 0].figure.legends[0])
    assert plain == ["chain 0", "chain 1"]
    tree["sample_stats"]["diverging"][0, 17] = True
    tree["sample_stats"]["diverging"][1, 251] = True
    axes = plot_trace(tree)
    for right in axes[:, 1]:
        (rug,) = (line for line in right.lines if line.get_marker() == "|")
        np.testing.assert_array_equal(rug.get_xdata(), [17, 251])
    assert legend_texts(axes[0, 0].figure.legends[0]) == [*plain, "divergence"]


def test_trace_of_groups_alone_has_no_key_to_chains():
    assert legend_texts(plot_trace(make_tree("individual"))[0, 0].figure.legends[0]) == []


# Regression lines of groups


SELECTION = ["FREEBORN", "CASS", "CROW WING"]


@pytest.fixture
def trees():
    individual = make_tree("individual", seed=1, wide=1e4)
    return {"individual": individual, "hierarchical": make_tree(seed=2)}


def group_rows(tree, county):
    index = tree["constant_data"]["group_index"].values == COUNTIES.index(county)
    return tree["constant_data"]["x"].values[index], tree["observed_data"]["y"].values[index]


def test_thin_lines_are_draws_of_that_group_and_the_thick_one_their_mean(trees):
    axes = plot_group_lines(trees, SELECTION)
    for ax, county in zip(axes, SELECTION, strict=True):
        for (label, tree), colour in zip(trees.items(), (BLUE, GREEN), strict=True):
            alpha = posterior(tree, "alpha", county=county).values.ravel()
            beta = posterior(tree, "beta", county=county, predictor="floor").values.ravel()
            lines = [line for line in ax.lines if to_hex(line.get_color()) == colour]
            thick = labelled(ax)[f"{label}: mean and draws"]
            thin = [line for line in lines if line is not thick]
            assert 50 <= len(thin) <= 100
            every = len(alpha) // len(thin)
            for k, line in enumerate(thin):
                x, y = np.array(line.get_xdata()), line.get_ydata()
                np.testing.assert_allclose(y, alpha[every * k] + beta[every * k] * x)
                assert line.get_linewidth() < 0.5
                assert line.get_alpha() < 0.5
            x = thick.get_xdata()
            np.testing.assert_allclose(x, (-0.2, 1.2))
            np.testing.assert_allclose(thick.get_ydata(), alpha.mean() + beta.mean() * x)
            assert thick.get_linestyle() == {"individual": "--", "hierarchical": "-"}[label]


def test_a_model_has_its_colour_whether_or_not_others_are_there(trees):
    """Green is the hierarchical model in every figure; other labels take the colours in order."""
    only, (ax,) = {"hierarchical": trees["hierarchical"]}, plot_group_lines(trees, ["CASS"])
    beside = to_hex(labelled(ax)["hierarchical: mean and draws"].get_color())
    for labels, colour in ((only, beside), ({"one": trees["hierarchical"]}, BLUE)):
        (ax,) = plot_group_lines(labels, ["CASS"])
        (label,) = labels
        assert to_hex(labelled(ax)[f"{label}: mean and draws"].get_color()) == colour
    assert beside == GREEN


def test_points_are_the_rows_of_the_group(trees):
    axes = plot_group_lines(trees, SELECTION, unit="houses")
    again = plot_group_lines(trees, SELECTION, unit="houses")
    for ax, other, county in zip(axes, again, SELECTION, strict=True):
        x, y = group_rows(trees["individual"], county)
        points = labelled(ax)["houses"]
        np.testing.assert_array_equal(points.get_ydata(), y)
        assert np.abs(points.get_xdata() - x[:, 0]).max() <= 0.05
        assert len(set(points.get_xdata())) == len(x)
        np.testing.assert_array_equal(points.get_xdata(), labelled(other)["houses"].get_xdata())
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == ["FREEBORN, 9 houses", "CASS, 5 houses", "CROW WING, 12 houses"]


def test_rows_come_from_the_first_tree_that_has_them(trees):
    trees["individual"] = make_tree("individual", rows=False)
    (ax,) = plot_group_lines(trees, ["FREEBORN"])
    np.testing.assert_array_equal(
        labelled(ax)["rows"].get_ydata(), group_rows(trees["hierarchical"], "FREEBORN")[1]
    )


def test_a_slope_that_is_not_identified_is_said_and_does_not_set_the_axis(trees):
    axes = plot_group_lines(trees, SELECTION)
    notes = [[text.get_text() for text in ax.texts] for ax in axes]
    assert notes == [[], ["individual slope\nnot identified:\nfloor does not vary"], []]
    low, high = axes[0].get_ylim()
    assert all(ax.get_ylim() == (low, high) for ax in axes)
    means = [
        line.get_ydata()
        for ax, county in zip(axes, SELECTION, strict=True)
        for label, line in labelled(ax).items()
        if (label, county) != ("individual: mean and draws", "CASS")
    ]
    least, most = np.min(np.concatenate(means)), np.max(np.concatenate(means))
    assert low == pytest.approx(least - 0.1 * (most - least))
    assert high == pytest.approx(most + 0.1 * (most - least))


def test_axes_and_legend_are_labelled_in_words(trees):
    axes = plot_group_lines(
        trees,
        SELECTION,
        outcome="log radon (log pCi/L)",
        unit="houses",
        x_labels={0: "basement", 1: "no basement"},
    )
    for ax in axes:
        np.testing.assert_array_equal(ax.get_xticks(), (0, 1))
        assert [text.get_text() for text in ax.get_xticklabels()] == ["basement", "no basement"]
        assert ax.get_xlabel() == "floor"
    assert [ax.get_ylabel() for ax in axes] == ["log radon (log pCi/L)", "", ""]
    names = ["individual: mean and draws", "hierarchical: mean and draws", "houses"]
    assert legend_texts(axes[0].figure.legends[0]) == names
    ax = plot_group_lines(trees, "CASS")[0]
    assert ax.get_ylabel() == "log_radon"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1"]


def test_other_predictors_are_held_at_their_mean_in_the_group():
    tree = make_tree(predictors=("floor", "age"))
    (ax,) = plot_group_lines({"one": tree}, ["FREEBORN"], predictor="age")
    x, y = group_rows(tree, "FREEBORN")
    alpha = float(posterior(tree, "alpha", county="FREEBORN").mean())
    floor, age = posterior(tree, "beta", county="FREEBORN").mean(("chain", "draw")).values
    thick = labelled(ax)["one: mean and draws"]
    ends = np.array((x[:, 1].min(), x[:, 1].max()))
    np.testing.assert_allclose(thick.get_xdata(), ends)
    np.testing.assert_allclose(thick.get_ydata(), alpha + floor * x[:, 0].mean() + age * ends)
    np.testing.assert_array_equal(labelled(ax)["rows"].get_xdata(), x[:, 1])
    np.testing.assert_array_equal(labelled(ax)["rows"].get_ydata(), y)
    assert ax.get_xlabel() == "age"


def test_a_predictor_constant_in_the_group_is_drawn_over_all_rows():
    tree = make_tree()
    tree["constant_data"]["x"][...] *= 3
    (ax,) = plot_group_lines({"one": tree}, ["CASS"])
    np.testing.assert_array_equal(labelled(ax)["one: mean and draws"].get_xdata(), (0, 3))


def test_a_pooled_fit_has_the_same_line_in_every_group(trees):
    trees["pooled"] = make_tree("pooled")
    axes = plot_group_lines(trees, SELECTION)
    lines = [labelled(ax)["pooled: mean and draws"] for ax in axes]
    mean = posterior(trees["pooled"], "alpha").values.mean()
    slope = posterior(trees["pooled"], "beta", predictor="floor").values.mean()
    for line in lines:
        np.testing.assert_allclose(line.get_ydata(), mean + slope * np.array((-0.2, 1.2)))
        assert to_hex(line.get_color()) == VERMILION


def test_group_lines_are_drawn_into_the_axes_given(trees):
    figure, grid = plt.subplots(2, 2)
    axes = plot_group_lines(trees, SELECTION, axes=grid.ravel()[:3])
    assert list(axes) == list(grid.ravel()[:3])
    assert len(plt.get_fignums()) == 1
    assert not grid[1, 1].lines
    assert figure.legends == []
    assert [ax.get_ylabel() for ax in axes] == ["log_radon"] * 3
    axes = plot_group_lines(trees, "CASS", axes=grid[1, 1])
    assert axes[0] is grid[1, 1]
    with pytest.raises(ValueError, match=r"Expected an Axes for each of 3 groups; got 4"):
        plot_group_lines(trees, SELECTION, axes=grid)


def test_many_groups_fill_rows_of_three():
    axes = plot_group_lines({"one": make_tree()}, COUNTIES)
    assert [ax.get_ylabel() for ax in axes] == ["log_radon", "", "", "log_radon"]
    assert len(axes[0].figure.axes) == 4


def test_group_lines_without_meaning_are_refused(trees):
    with pytest.raises(TypeError, match=r"Expected trees to be a mapping of labels to fits; got a"):
        plot_group_lines(trees["individual"], SELECTION)
    for tree in (make_tree(predictors=()), make_tree(rows=False)):
        with pytest.raises(ValueError, match=r"Expected a fit with rows and a predictor; got none"):
            plot_group_lines({"one": tree}, SELECTION)
    match = r"Expected a label of 'predictor'; got 'flor' \(close: 'floor'\)"
    with pytest.raises(ValueError, match=match):
        plot_group_lines(trees, SELECTION, predictor="flor")
