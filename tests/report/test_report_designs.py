"""Pages and figures of designs other than the tutorial's: each kind of term in its own words."""

import html
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from designs import priors_of, simulated

from radon_numpyro import fit, html_report, plots

BRIEF = {"draws": 200, "chains": 2, "num_warmup": 200, "num_advi_steps": 0, "progress_bar": False}
DESIGNS = {
    "only the intercept varies": {"slopes": (), "fixed": ("age",)},
    "slopes without a mean": {"slopes": ("dose", "time"), "without_mean": ("dose",)},
    "the intercept does not vary": {"intercept": "fixed", "fixed": ()},
    "no intercept": {"intercept": "none", "fixed": ("age",)},
    "nothing has a mean": {"intercept": "varying", "without_mean": ("dose",), "fixed": ()},
}

pytestmark = pytest.mark.usefixtures("agg")


def text_of(page):
    """What a reader sees: figures and markup left out."""
    page = re.sub(r"<(style|svg|script).*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


@pytest.fixture(scope="module")
def schools():
    """Pupils in schools, of which the formula has every kind of term."""
    rng = np.random.default_rng(3)
    school = np.repeat([f"school {k}" for k in range(12)], 15)
    mean_ses = np.repeat(rng.normal(size=12), 15)
    frame = pd.DataFrame(
        {
            "school": school,
            "sex": rng.choice(["female", "male"], len(school)),
            "ses": mean_ses + rng.normal(size=len(school)),
            "mean_ses": mean_ses,
        }
    )
    male = frame["sex"] == "male"
    frame["score"] = (
        10.0
        + (2.0 - 1.5 * male) * frame["ses"]
        + 3.0 * frame["mean_ses"]
        + 1.2 * male
        + np.repeat(rng.normal(size=12), 15)
        + rng.normal(size=len(school))
    )
    return fit("score ~ ses * sex + mean_ses + (1 + ses || school)", frame, **BRIEF)


def test_each_kind_of_term_has_its_own_sentence(schools):
    """A reader of the page sees what is compared with what, and where."""
    text = text_of(html_report(schools))
    for sentence in (
        "In the average group, one unit more of ses , where sex is female and other predictors are "
        "the same, goes with a difference of +",
        "In every group alike, sex male instead of female , where ses is 0 and other predictors "
        "are the same, goes with a difference of",
        "Between groups, one unit more of mean_ses , which all rows of a group share, other "
        "predictors being the same, goes with a difference of +",
        "where sex is male instead of female , the slope of ses differs by \N{MINUS SIGN}",
        "score ~ 1 + ses + sex + mean_ses + ses:sex + (1 + ses || school )",
    ):
        assert sentence in text, text
    assert "There is no figure" not in text


def test_the_forest_of_fixed_coefficients_shows_each(schools):
    axes = np.ravel(plots.plot_forest(schools, "gamma"))
    shown = " ".join(text.get_text() for text in axes[0].figure.findobj(plt.Text))
    for column in ("sex[male]", "mean_ses", "ses:sex[male]"):
        assert column in shown


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("model", ["hierarchical", "pooled"])
def test_every_design_has_a_page_with_its_coefficients(name, model):
    data = simulated(**DESIGNS[name])
    design = data.labels.design
    if model == "pooled" and not design.population:
        pytest.skip("a pooled model without any coefficient")
    tree = fit(data, model=model, priors=priors_of(design), **BRIEF)
    text = text_of(html_report(tree))
    for column in design.fixed:
        mean = float(tree["posterior"]["gamma"].sel(fixed=column).mean())
        assert f"{abs(mean):.2g}"[:3] in text, column
    posterior = tree["posterior"].to_dataset()
    for site in posterior:
        if site not in ("alpha", "beta"):
            assert f"{abs(float(posterior[site].mean())):.1g}"[:1] in text
    if model == "hierarchical":
        # A panel for each parameter that no group has for itself.
        panels = np.ravel(plots.plot_prior_posterior(tree, priors_of(design)))
        shown = [ax for ax in panels if ax is not None and ax.has_data()]
        sizes = [posterior[s].size // 400 for s in posterior if s not in ("alpha", "beta")]
        assert len(shown) == sum(sizes)
