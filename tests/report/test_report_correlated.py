"""Pages about correlated coefficients: their joint distribution, priors and answers in words."""

import re
from functools import cache

import numpy as np
import pytest
from fits import correlated_fit
from scipy import stats
from test_report_designs import text_of

from radon_numpyro import html_report

pytestmark = pytest.mark.usefixtures("agg")


LETTERS = {
    "\N{GREEK SMALL LETTER ALPHA}": "alpha",
    "\N{GREEK SMALL LETTER BETA}": "beta",
    "\N{GREEK SMALL LETTER MU}": "mu",
    "\N{GREEK SMALL LETTER RHO}": "rho",
    "\N{GREEK SMALL LETTER SIGMA}": "sigma",
    "\N{GREEK CAPITAL LETTER SIGMA}": "Sigma",
    "\N{NO-BREAK SPACE}": " ",
    "\N{MINUS SIGN}": "-",
}


@cache
def page(name):
    """What a reader sees, Greek letters by their names."""
    return text_of(html_report(correlated_fit(name))).translate(str.maketrans(LETTERS))


SENTENCES = {
    "pair": (
        "whose mean, spread and correlation are estimated too",
        "( alpha site , beta site a ) ~ Normal(( mu alpha , mu beta a ), Sigma )",
        "Sigma : standard deviations sigma alpha , sigma beta a ; correlation rho",
        "| says that the coefficients of a group are correlated:",
        "y ~ 1 + a + b + c + (1 + a | site )",
        "rho Intercept, a : correlation of intercepts and slopes of a between groups LKJ(2)",
        "Between groups, the intercepts and the slopes of a correlate by 0.",
        "where the intercepts are higher, the slopes of a tend to be higher.",
        "Intercepts are the levels of groups where a is 0;",
    ),
    "blocks": (
        "whose mean, spread and correlations are estimated too",
        "( alpha site , beta site a ) ~ Normal(( mu alpha , mu beta a ), Sigma 1 )",
        "( beta site b , beta site c ) ~ Normal(( mu beta b , mu beta c ), Sigma 2 )",
        "Sigma 2 : standard deviations sigma beta b , sigma beta c ; correlation rho b, c",
        "y ~ 1 + a + b + c + (1 + a | site ) + (0 + b + c | site )",
        "the slopes of b and the slopes of c correlate by -0.",
        "where the slopes of b are higher, the slopes of c tend to be lower.",
    ),
    "three": (
        "( alpha site , beta site a , beta site b ) ~ Normal(( mu alpha ,",
        "standard deviations sigma alpha , sigma beta a , sigma beta b ; correlations rho",
        "the slopes of a and the slopes of b correlate by",
        "All groups share the coefficients of c .",
        "y ~ 1 + a + b + c + (1 + a + b | site )",
    ),
    "levels": (
        "z ~ 0 + level + (0 + level | site )",
        "the levels of level high and the levels of level low correlate by",
        "sd of the levels of level mid between groups",
    ),
    "reference": (
        "z ~ 1 + level + (0 + level | site )",
        "Groups differ in the level of level high . From that of the average group the model",
        "In the average group, level low instead of high goes with a difference of +",
        "mu beta level[low] : level low instead of high in the average group",
        "sd of the levels of level high between groups",
    ),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_the_page_says_how_coefficients_vary_together(name):
    """A reader who knows no notation learns what correlates, and in which direction."""
    for sentence in SENTENCES[name]:
        assert sentence in page(name), page(name)
    assert "There is no figure" not in page(name)
    size = 2 if name in ("pair", "blocks") else 3
    within = f"{2 * stats.beta(1 + size / 2, 1 + size / 2).ppf(0.95) - 1:.2f}"
    assert f"LKJ(2) 90 % between -{within} and {within}" in page(name)


def test_a_correlation_whose_sign_is_open_is_said_to_be():
    """Nobody may read a direction out of an interval that holds both."""
    open_signs = page("three").count("the data do not settle of which sign")
    tree = correlated_fit("three")
    matrix = tree["posterior"]["correlation"]
    ends = matrix.quantile((0.05, 0.95), dim=("chain", "draw")).values
    expected = sum(ends[0, i, j] <= 0 <= ends[1, i, j] for i, j in ((0, 1), (0, 2), (1, 2)))
    assert 0 < expected == open_signs


def test_two_levels_of_a_group_differ_with_the_deviations_of_both():
    """Half of what the model expects of the difference would come from the reference level."""
    tree = correlated_fit("reference")
    posterior = tree["posterior"].to_dataset()
    sd = posterior["sigma_beta"].sel(predictor=["level[high]", "level[low]"])
    r = posterior["correlation"].sel(coefficient="level[high]", coefficient_other="level[low]")
    high, low = (sd.isel(predictor=k).values.ravel() for k in (0, 1))
    variance = high**2 + low**2 - 2 * high * low * r.values.ravel()
    mean = posterior["mu_beta"].sel(mean_slope="level[low]").values.ravel()
    pattern = (
        r"level low instead of high goes .*? Groups differ in the difference between level low and "
        r"high : the model expects 90 % of groups like these between (\S+) and (\S+)\."
    )
    ends = [float(end) for end in re.search(pattern, page("reference")).groups()]
    below = [stats.norm.cdf((end - mean) / np.sqrt(variance)).mean() for end in ends]
    np.testing.assert_allclose(below, [0.05, 0.95], atol=0.01)
