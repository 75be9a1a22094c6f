"""Pages and figures of designs other than the tutorial's: each kind of term in its own words."""

import html
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from designs import priors_of, simulated

from radon_numpyro import GroupedData, GroupStatistics, fit, html_report, plots, predict
from radon_numpyro.report.curves import curves as curves_of
from radon_numpyro.results.estimates import Numbers, level

BRIEF = {"draws": 200, "chains": 2}
CHAINS = {"num_warmup": 200, "num_advi_steps": 0, "progress_bar": False}
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
    formula = "score ~ ses * sex + mean_ses + (1 + ses || school)"
    return fit(formula, frame, method="integrate", **BRIEF)


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


def test_contrasts_and_products_of_three_columns_have_sentences_too(monkeypatch):
    """What is compared, at which level of what else, and what the interaction differs with."""
    rng = np.random.default_rng(5)
    size = 300
    rows = pd.DataFrame(
        {
            "school": np.arange(size) % 10,
            "ses": rng.normal(size=size),
            "sex": rng.choice(["female", "male"], size),
            "track": rng.choice(["p", "q", "r"], size),
            "form": rng.choice(["1st", "2nd", "3rd"], size),
            "town": rng.choice(["a", "b", "c"], size),
        }
    )
    town = rows["town"].map({"a": 0.0, "b": 1.0, "c": 5.0})
    rows["score"] = np.exp(town + rng.normal(size=size))
    tree = fit(
        "log(score) ~ ses * sex * C(track, contr.sum) + C(form, contr.poly)"
        " + C(town, contr.helmert) + (1 + ses || school)",
        rows,
        method="integrate",
        draws=200,
    )
    text = text_of(html_report(tree))
    assert (
        "The results have 5 more coefficients, all of them of interactions: "
        "ses:C(track, contr.sum)[S.q] , sex[male]:C(track, contr.sum)[S.p] , "
    ) in text
    assert "Predictions of log(score) with 90" in text
    assert "All of this is of log(score) , the outcome of the formula: 0.1 more of it is" in text
    # Of level c, 5, against the mean of a and b, 0.5, as R has it.
    helmert = tree["posterior"]["gamma"].sel(fixed="C(town, contr.helmert)[H.c]")
    assert 3 * float(helmert.mean()) == pytest.approx(4.5, abs=4 * 3 * float(helmert.std()))
    monkeypatch.setattr("radon_numpyro.report.answers.MOST_TOLD", 20)
    text = text_of(html_report(tree))
    sum_p = "C(track, contr.sum) p against the mean of its levels"
    for sentence in (
        "Groups differ in the slope of ses : the model expects 90",
        "where sex is female and C(track, contr.sum) is at the mean of its levels and other "
        "predictors are the same, goes with a difference of",
        f"In every group alike, {sum_p}, where ses is 0 and sex is female and other predictors",
        "In every group alike, one unit of the linear trend over the levels of C(form, contr.poly) "
        ", other predictors being the same, goes with a difference of",
        "the quadratic trend over the levels of C(form, contr.poly) ",
        "C(town, contr.helmert) c against the mean of the levels before it (their difference "
        "divided by 3), other predictors being the same, goes with",
        "where C(track, contr.sum) is at the mean of its levels and sex is male instead of female "
        ", the slope of ses differs by",
        f"where sex is female , with {sum_p}, the slope of ses differs by",
        f"with {sum_p}, the interaction of ses and sex male differs by",
    ):
        assert sentence in text, sentence
    assert "S.p 1 instead" not in text
    assert "more coefficient" not in text


@pytest.fixture(scope="module")
def curves():
    """Pupils of whom a curve in their age and what goes with their sex differ between schools."""
    rng = np.random.default_rng(5)
    size = 400
    rows = pd.DataFrame(
        {
            "school": np.arange(size) % 10,
            "age": rng.uniform(8.0, 18.0, size),
            "sex": rng.choice(["female", "male"], size),
        }
    )
    rows["score"] = np.sin(rows["age"]) + rng.normal(size=size) + (rows["school"] - 4.5) / 3
    formula = "I(score^2) ~ ns(age, 3) * sex + (1 + sex + poly(age, 2) || school)"
    return fit(formula, rows, method="integrate", draws=200)


def test_the_columns_of_a_curve_are_told_together(curves):
    """One by one they say nothing: none of them differs while the others stay the same."""
    text = text_of(html_report(curves))
    for sentence in (
        "How does I(score^2) vary with sex and age , and how much do "
        "its level and the coefficients of sex and age differ between 10 groups",
        "group rows intercept sex male instead of female coefficient of poly(age, 2)[1]",
        "I(score^2) follows a curve, ns(age, 3) : predictions at several values show it, and its 3 "
        "coefficients say little one by one.",
        "The curve ns(age, 3) differs with sex male : predictions at several values show it",
        "A curve, poly(age, 2) , is 0 on average: predictions at several values show it, and its 2 "
        "coefficients say little one by one. Groups differ in it.",
        "Groups differ in the difference between sex male and female : the model expects",
        "sex male instead of female in the average group, where the curve in age is averaged over "
        "all rows",
        "sd of the differences of sex male between groups",
        "All of this is of I(score^2) , the outcome of the formula.",
        "I(score^2) ~ 1 + ns(age, 3) + sex + ns(age, 3):sex + (1 + sex + poly(age, 2) || school )",
    ):
        assert sentence in text, sentence
    assert "one unit more of" not in text


def test_curves_of_one_variable_are_predicted_together(curves):
    """At the mean of its columns a curve has the values of no row: ns and poly must both follow."""
    text = text_of(html_report(curves))
    found = re.search(r"a new group 13 0 (\S+) \( (\S+) to (\S+) \)", text)
    shown = [float(end.replace("\N{MINUS SIGN}", "-")) for end in found.groups()]
    frame = pd.DataFrame({"age": [13.0], "sex": ["female"], "school": [None]})
    row = predict(curves, frame, kind="mean", new_groups="population").iloc[0]
    np.testing.assert_allclose(shown, row[["mean", "lower", "upper"]].astype(float), atol=0.05)
    assert "The curves ns(age, 3) and poly(age, 2) over the range of age, in the" in text


def test_a_known_group_is_predicted_at_the_value_that_is_shown():
    """Of a curve in a predictor of groups some columns must not be the group's, others not."""
    rng = np.random.default_rng(9)
    school = np.repeat(np.arange(10), 8)
    rows = pd.DataFrame({"school": school, "size": np.repeat(rng.uniform(1.0, 9.0, 10), 8)})
    rows["score"] = rows["size"] ** 2 + rng.normal(size=len(rows))
    tree = fit("score ~ poly(size, 2) + (1 | school)", rows, method="integrate", draws=200)
    text = text_of(html_report(tree))
    shown = re.findall(r" 0 (\d\.\d+) (\d+\.\d+) \( (\S+) to", text.partition("new row a new")[2])
    assert len(shown) == 3
    frame = pd.DataFrame({"size": [float(size) for size, *_ in shown], "school": 0})
    expected = predict(tree, frame, kind="mean")["mean"]
    np.testing.assert_allclose([float(mean) for _, mean, _ in shown], expected, atol=0.3)


@pytest.mark.parametrize(
    "curve", ["poly(log(age), 2)", "poly(age, 3, raw = TRUE)", "bs(age, 4)", "ns(log(age), 3)"]
)
def test_a_curve_is_shown_over_the_range_of_its_variable(curve):
    """The ends are those of the rows, and the columns those of the formula."""
    rng = np.random.default_rng(7)
    rows = pd.DataFrame({"school": np.arange(90) % 6, "age": rng.uniform(8.0, 18.0, 90)})
    rows["score"] = np.sin(rows["age"]) + rng.normal(size=90)
    data = GroupedData.from_formula(f"score ~ {curve} + (1 | school)", rows)
    numbers = Numbers(fit(data, method="integrate", draws=100), 0.9)
    (found,) = curves_of(numbers)
    values = np.log(rows["age"]) if "log" in curve else rows["age"]
    assert found.variable == ("log(age)" if "log" in curve else "age")
    np.testing.assert_allclose([found.low, found.high], [values.min(), values.max()], rtol=1e-9)
    inside = np.argsort(rows["age"].to_numpy())[1:-1]
    made = found.at(values.to_numpy()[inside])
    for k, column in enumerate(data.labels.predictors):
        np.testing.assert_allclose(made[column], data.x[inside, k], rtol=1e-9, atol=1e-12)
    # Without rows the ends of a polynomial are a standard deviation from the mean.
    of_statistics = fit(GroupStatistics.from_data(data), method="integrate", draws=100)
    numbers = Numbers(of_statistics, 0.9)
    (found,) = curves_of(numbers)
    if "poly" in curve:
        mean, sd = values.mean(), values.std(ddof=0)
        np.testing.assert_allclose([found.low, found.high], [mean - sd, mean + sd], rtol=1e-9)


def test_a_figure_of_groups_says_what_a_category_compares(curves):
    """A level has no slope: its coefficient is a difference from the reference."""
    page = html_report(curves)
    assert "The difference between sex male and female in each group" in text_of(page)
    assert 'alt="The difference between sex male and female in 10 groups from' in page
    assert "lope of sex" not in page
    (ax,) = plots.plot_forest(curves, "beta", predictor="sex[male]")
    assert ax.get_xlabel().replace("\n", " ") == "coefficient of sex[male], I(score^2)"


def test_groups_of_one_size_are_not_called_largest_and_smallest(schools):
    """All schools have 15 pupils."""
    text = text_of(html_report(schools))
    assert "3 groups of 15 rows each: dots are rows" in text
    assert "The largest, the median" not in text


def test_predictions_are_for_rows_of_one_level_each():
    """No row is of no level, for which such a model would predict 0 without any doubt."""
    rng = np.random.default_rng(8)
    rows = pd.DataFrame({"school": np.arange(120) % 8, "form": rng.choice(list("abb"), 120)})
    rows["score"] = 5.0 + (rows["form"] == "b") + rng.normal(size=120)
    tree = fit("score ~ 0 + form + (0 + form || school)", rows, method="integrate", draws=200)
    text = text_of(html_report(tree))
    found = re.search(r"form\[a\] form\[b\] line new row a new group 0 1 (\S+)", text)
    assert float(found[1]) == pytest.approx(6.0, abs=0.6)
    assert float(re.search(r"a new group 1 0 (\S+)", text)[1]) == pytest.approx(5.0, abs=0.6)


def test_the_cells_of_a_table_are_levels_of_neither_category():
    assert level("c[a]:Sex[Male]") is None
    assert level("c[a:b]") == ("c", "a:b")
    assert level("Sex[Male]") == ("Sex", "Male")


def test_the_forest_of_fixed_coefficients_shows_each(schools):
    axes = np.ravel(plots.plot_forest(schools, "gamma"))
    shown = " ".join(text.get_text() for text in axes[0].figure.findobj(plt.Text))
    for column in ("sex[male]", "mean_ses", "ses:sex[male]"):
        assert column in shown


@pytest.mark.parametrize("name", DESIGNS)
@pytest.mark.parametrize("model", ["hierarchical", "pooled"])
def test_every_design_has_a_page_with_its_coefficients(name, model):
    """One of them by chains, the others by nodes."""
    data = simulated(**DESIGNS[name])
    design = data.labels.design
    if model == "pooled" and not design.population:
        pytest.skip("a pooled model without any coefficient")
    method = CHAINS if name == "slopes without a mean" else {"method": "integrate"}
    tree = fit(data, model=model, priors=priors_of(design), **method, **BRIEF)
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
