"""Figures of correlated coefficients: each correlation once, and the tilt of the population."""

import numpy as np
import pytest
from fits import correlated_fit, sites
from scipy import stats
from test_plots_pooling import assert_shares_inside
from trees import area, legend_texts

from radon_numpyro import fit, plots, with_groups
from radon_numpyro.results.fit_reader import read_design

pytestmark = pytest.mark.usefixtures("agg")


def pair(tree, first, second):
    found = tree["posterior"]["correlation"].sel(coefficient=first, coefficient_other=second)
    return found.values.ravel()


@pytest.mark.parametrize("draw", [plots.plot_trace, plots.plot_advi_vs_nuts])
def test_figures_of_chains_have_each_correlation_once(draw):
    check_panels(draw, correlated_fit("blocks", "marginal"))


@pytest.mark.parametrize("name", ["blocks", "three", "levels"])
def test_priors_and_posteriors_have_each_correlation_once(name):
    check_panels(plots.plot_prior_posterior, correlated_fit(name))


def check_panels(draw, tree):
    """Panels of constants, or of each pair twice, would say nothing."""
    axes = draw(tree)
    panels = axes[:, 0] if axes.ndim == 2 else axes
    shown = [ax for ax in panels if ax.get_title(loc="left").startswith("correlation")]
    found = [ax.get_title(loc="left").partition(" ~ ")[0].partition(", sd")[0] for ax in shown]
    assert found == [f"correlation[{pair}]" for pair in read_design(tree).pair_names]
    words = [ax.get_xlabel() for ax in shown]
    assert all(text.startswith("correlation of ") for text in words)
    assert len(set(words)) == len(words)
    if draw is not plots.plot_trace:
        assert all(-1.0 <= ax.get_xlim()[0] < ax.get_xlim()[1] <= 1.0 for ax in shown)
    axes.ravel()[0].figure.canvas.draw()


def test_words_of_pairs():
    words = [ax.get_xlabel() for ax in plots.plot_prior_posterior(correlated_fit("blocks"))]
    assert "correlation of intercepts and slopes of a" in words
    assert "correlation of slopes of b and of c" in words


def test_the_prior_of_a_correlation_is_the_part_of_the_matrix_that_concerns_it():
    """LKJ(2) of three coefficients: 2 Beta(2.5, 2.5) - 1, from -1 to 1."""
    tree = correlated_fit("three")
    title = "correlation[Intercept, a] ~ LKJ(2)\nsd: prior 0.408"
    axes = plots.plot_prior_posterior(tree)
    (ax,) = [ax for ax in axes if ax.get_title(loc="left").startswith(title)]
    assert ax.get_xlim() == (-1.0, 1.0)
    (line,) = ax.lines
    x, y = line.get_data()
    np.testing.assert_allclose(y, stats.beta(2.5, 2.5).pdf((1 + x) / 2) / 2, rtol=1e-9)
    assert area(ax.patches[0]) == pytest.approx(0.996, abs=0.003)


def test_forest_of_correlations_has_intervals_on_an_axis_from_minus_1_to_1():
    tree = correlated_fit("blocks")
    (ax,) = plots.plot_forest(tree, "correlation", ci_prob=0.8)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Intercept, a", "b, c"]
    assert ax.get_xlim() == (-1.0, 1.0)
    (bars,) = ax.collections
    for segment, names in zip(bars.get_segments(), [("Intercept", "a"), ("b", "c")], strict=True):
        ends = np.quantile(pair(tree, *names), (0.1, 0.9))
        np.testing.assert_allclose(segment[:, 0], ends, atol=1e-3)
    assert legend_texts(ax.figure.legends[0]) == ["posterior mean, 80 % equal-tailed interval"]


def test_forest_of_correlations_that_are_not_there():
    independent = fit("y ~ a + (1 | site)", sites(), method="integrate", draws=4)
    with pytest.raises(ValueError, match=r"Expected coefficients that correlate, as in \(x \| gr"):
        plots.plot_forest(independent, "correlation")


@pytest.fixture(scope="module")
def pooling():
    """Sites alone, in a correlated and in an independent population; no other columns."""
    brief = {"method": "integrate", "draws": 200, "chains": 2}
    correlated, independent = (
        fit(f"y ~ a + (a {bar} site)", sites(), **brief) for bar in ("|", "||")
    )
    alone = fit("y ~ a + (a | site)", sites(), model="individual", **brief)
    return alone, correlated, independent


@pytest.mark.parametrize("which", [1, 2], ids=["correlated", "independent"])
def test_the_ellipse_is_the_mean_covariance_of_the_population(pooling, which):
    """In a correlated population it is tilted, and holds the groups that it is made of."""
    tree = pooling[which]
    plane, _ = plots.plot_shrinkage({"individual": pooling[0], "hierarchical": tree})
    draws = tree["posterior"].to_dataset().sel(predictor="a")
    first, second = draws["sigma_alpha"], draws["sigma_beta"]
    both = 0.0
    if which == 1:
        r = draws["correlation"].sel(coefficient="Intercept", coefficient_other="a")
        both = float((first * second * r).mean())
        assert both > 0.5
    covariance = [[float((first**2).mean()), both], [both, float((second**2).mean())]]
    mean = float(draws["mu_alpha"].mean()), float(draws["mu_beta"].mean())
    assert_shares_inside(plane, mean, covariance)


def test_checks_of_predictions_and_lines_are_drawn(pooling):
    tree = with_groups(pooling[1], "posterior_predictive", "prior_predictive")
    for axes in (
        plots.plot_ppc(tree),
        plots.plot_prior_predictive(tree),
        plots.plot_group_lines({"hierarchical": tree}, ["site 0", "site 3"]),
        plots.plot_forest(tree, "beta"),
        plots.plot_forest(tree, "alpha"),
    ):
        figure = np.ravel(np.array(axes, object))[0].figure
        figure.canvas.draw()
        assert all(ax.has_data() for ax in figure.axes)
