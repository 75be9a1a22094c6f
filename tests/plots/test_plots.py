"""All figures: they are found in one place, and leave everything else as it is."""

import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from trees import add_draws, make_tree

from radon_numpyro import Priors, plots
from radon_numpyro.plots.styling import apart_from_pyplot

pytestmark = pytest.mark.usefixtures("agg")

COLUMNS = ("elpd_diff", "elpd_diff_se", "rmsd_in_sample", "rmsd_loo", "rmsd_loo_se")
TABLE = pd.DataFrame(dict.fromkeys(COLUMNS, (1.0, 0.5)), index=["hierarchical", "pooled"])
FIGURES = {
    "plot_elbo": plots.plot_elbo,
    "plot_advi_vs_nuts": plots.plot_advi_vs_nuts,
    "plot_trace": plots.plot_trace,
    "plot_group_lines": lambda tree: plots.plot_group_lines({"one": tree}, ["CASS", "FREEBORN"]),
    "plot_shrinkage": lambda tree: plots.plot_shrinkage(
        {"individual": make_tree("individual", wide=1e4), "hierarchical": tree}
    ),
    "plot_forest": plots.plot_forest,
    "plot_comparison": lambda tree: plots.plot_comparison(TABLE),
    "plot_ppc": plots.plot_ppc,
    "plot_prior_posterior": lambda tree: plots.plot_prior_posterior(tree, Priors.tutorial()),
    "plot_prior_predictive": plots.plot_prior_predictive,
}
ONE_COLUMN = ("plot_elbo", "plot_forest", "plot_prior_predictive")


@pytest.fixture
def tree():
    drawn = add_draws(make_tree(), "posterior_predictive")
    return add_draws(drawn, "prior_predictive", scale=1e4)


def test_every_figure_is_found_here_and_named_at_the_head():
    assert set(plots.__all__) == set(FIGURES)
    for name in plots.__all__:
        assert f":func:`{name}`" in plots.__doc__
        assert getattr(plots, name).__doc__


@pytest.mark.parametrize("name", FIGURES)
def test_settings_backend_and_tree_stay_as_they_are(name, tree):
    settings, backend, before = dict(plt.rcParams), plt.get_backend(), tree.copy(deep=True)
    FIGURES[name](tree)
    assert dict(plt.rcParams) == settings
    assert plt.get_backend() == backend
    xr.testing.assert_identical(tree, before)
    assert tree["posterior"]["mu_alpha"].attrs == {}


def test_importing_changes_no_setting():
    # A copy leaves the backend unresolved, which a dict would not.
    code = (
        "import matplotlib as m; before = m.rcParams.copy(); import radon_numpyro.plots; "
        "assert m.rcParams.copy() == before; assert m.rcParams._get_backend_or_none() is None"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_made_for_print(name, tree):
    axes = np.ravel(np.array(FIGURES[name](tree), dtype=object))
    figure = axes[0].figure
    assert figure.get_size_inches()[0] == (3.4 if name in ONE_COLUMN else 7.0)
    assert figure.get_layout_engine() is not None
    figure.canvas.draw()
    texts = [text for text in figure.findobj(plt.Text) if text.get_text()]
    assert {text.get_fontsize() for text in texts} <= {7.0, 8.0}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off(name, tree):
    figure = np.ravel(np.array(FIGURES[name](tree), dtype=object))[0].figure
    figure.canvas.draw()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


@pytest.mark.parametrize("name", FIGURES)
def test_a_dollar_in_a_name_is_a_dollar(name):
    """Between two of them matplotlib would read mathematics, here broken."""
    names = {"groups": ("$\\frac$", "B", "FREEBORN", "CASS"), "predictors": ("$x_{$",)}

    def make(model="hierarchical"):
        tree = make_tree(model, **names)
        tree.attrs |= {"outcome": "$y^$", "group": "$g^$"}
        return tree

    tree = add_draws(add_draws(make(), "posterior_predictive"), "prior_predictive", scale=1e4)
    table = TABLE.set_axis(["$a^$", "$b^$"])
    own = {
        "plot_shrinkage": lambda: plots.plot_shrinkage(
            {"individual": make("individual"), "hierarchical": tree}
        ),
        "plot_group_lines": lambda: plots.plot_group_lines(
            {"$m^$": tree}, ["$\\frac$", "B"], x_labels={0: "$no^$", 1: "$yes^$"}
        ),
        "plot_comparison": lambda: plots.plot_comparison(table, outcome="$y^$"),
    }
    axes = own.get(name, lambda: FIGURES[name](tree))()
    figure = np.ravel(np.array(axes, dtype=object))[0].figure
    figure.canvas.draw()
    texts = [text for text in figure.findobj(plt.Text) if text.get_text().count("$") > 1]
    assert bool(texts) == (name != "plot_elbo")
    assert not any(text.get_parse_math() for text in texts if "mathdefault" not in text.get_text())


def test_figures_can_be_made_apart_from_pyplot(tree):
    with apart_from_pyplot():
        ax = plots.plot_forest(tree)[0]
    assert plt.get_fignums() == []
    assert not hasattr(ax.figure, "number")
    plots.plot_forest(tree)
    assert len(plt.get_fignums()) == 1
