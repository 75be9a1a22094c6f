"""What the report says of formulas whose columns cannot be read one by one.

Interactions without their main effects, functions of the same variable, curves in interactions.
"""

import html
import re
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from radon_numpyro import GroupedData, GroupStatistics, fit, html_report, predict
from radon_numpyro.report.curves import curves
from radon_numpyro.report.example_rows import follow, typical_rows
from radon_numpyro.results.estimates import Numbers

pytestmark = pytest.mark.usefixtures("agg")


@pytest.fixture(autouse=True)
def unsaved(monkeypatch):
    """Make the figures, but no image of them: these tests are about words."""
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **options: None)


@cache
def pupils():
    """Pupils in schools: numbers, categories, a predictor of schools, and a copy of a category."""
    rng = np.random.default_rng(11)
    size = 240
    rows = pd.DataFrame(
        {
            "school": np.arange(size) % 8,
            "ses": rng.normal(0.1, 0.8, size).round(3).clip(-2.0),
            "age": rng.uniform(8.0, 18.0, size).round(2),
            "sex": rng.choice(["female", "male", "male"], size),
            "track": pd.Categorical(rng.choice(list("ab"), size), categories=["a", "b", "none"]),
        }
    )
    rows["same"] = rows["sex"].map({"female": "u", "male": "v"})
    male = rows["sex"] == "male"
    rows["score"] = (
        10.0
        + (2.0 - 1.5 * male) * rows["ses"]
        + rows["ses"] ** 2
        + male
        + rng.normal(size=8)[rows["school"]]
        + rng.normal(size=size)
    )
    return rows


@cache
def fitted(terms, random="(1 | school)"):
    return fit(f"score ~ {terms} + {random}", pupils(), method="integrate", draws=200)


@cache
def text_of(terms, random="(1 | school)"):
    """What a reader sees: figures and markup left out."""
    page = html_report(fitted(terms, random))
    page = re.sub(r"<(style|svg|script).*?</\1>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def example_rows(terms, random="(1 | school)"):
    """Values of all columns in the table of predictions, of a new group."""
    numbers = Numbers(fitted(terms, random), 0.9)
    rows = typical_rows(numbers)
    follow(numbers, rows, [None] * len(rows))
    return rows, numbers.labels.predictors


# Interactions without both main effects


@pytest.mark.parametrize(
    ("terms", "sentences"),
    [
        (
            "ses / sex",
            [
                "How does score vary with ses and sex ,",
                "one unit more of ses , where sex is female , goes with a difference of +",
                "where sex is male instead of female , the slope of ses differs by \N{MINUS SIGN}",
                "ses:sex[male] interaction",
                "interaction, ses by sex male , the same in every group",
                "slope of ses , the same in every group, where sex is female",
            ],
        ),
        (
            "sex / ses",
            [
                "sex male instead of female , where ses is 0, goes with a difference of +",
                "one unit more of ses , where sex is female , goes with a difference of +",
                "one unit more of ses , where sex is male , goes with a difference of +",
                "sex[female]:ses interaction",
                "slope of ses where sex is male , the same in every group",
            ],
        ),
        (
            "0 + track + ses:track",
            [
                "How does score vary with track and ses ,",
                "track a , where ses is 0, goes with a level of +",
                "one unit more of ses , where track is b , goes with a difference of +",
                "track[a]:ses interaction",
            ],
        ),
        (
            "ses + track:ses",
            [
                "one unit more of ses , where track is a , goes with a difference of +",
                "where track is b instead of a , the slope of ses differs by",
            ],
        ),
        (
            "sex / track",
            [
                "sex male instead of female , where track is a , goes with a difference of +",
                "track b instead of a , where sex is male , goes with a difference of",
            ],
        ),
        (
            "0 + sex:track",
            ["a row, where sex is female and track is b , goes with a level of +"],
        ),
        (
            "sex:track",
            ["sex female and track a instead of the combination that is left out goes with"],
        ),
    ],
)
def test_an_interaction_without_main_effects_says_to_which_rows_it_applies(terms, sentences):
    """Else a slope of one sex is read as that of all, or a product as a predictor of its own."""
    text = text_of(terms)
    for sentence in sentences:
        assert sentence in text, sentence
    assert "slope of ses:sex[male]" not in text
    assert "one unit more of ses:" not in text


@pytest.mark.parametrize(
    "terms", ["ses / sex", "sex / ses", "0 + track + ses:track", "ses + track:ses", "track:ses"]
)
def test_products_follow_their_factors_in_predictions(terms):
    """Else the table predicts rows that no pupil has, such as half of a boy."""
    rows, columns = example_rows(terms)
    assert len(rows) == 2
    assert len(rows.drop_duplicates()) == 2
    for x in columns:
        if ":" in x:
            first, second = x.split(":")
            assert (rows[x] == rows[first] * rows[second]).all(), x
    for category in ("sex", "track"):
        levels = [x for x in rows if x.startswith(f"{category}[") and ":" not in x]
        assert rows[levels].isin([0.0, 1.0]).all(axis=None)
        assert (rows[levels].sum(axis=1) <= 1).all()


def test_the_sexes_of_a_table_of_predictions_are_those_of_the_rows():
    """Else the slope of the boys is shown beside the level of the girls."""
    rows, _ = example_rows("sex / ses")
    np.testing.assert_array_equal(rows["sex[female]"], 1 - rows["sex[male]"])
    text = text_of("sex / ses")
    assert "group sex[male] ses line new row a new group 0" in text
    ses = float(rows["ses"].iloc[0])
    frame = pd.DataFrame({"sex": ["male"], "ses": [ses], "school": [None]})
    expected = predict(fitted("sex / ses"), frame, kind="mean", new_groups="population")["mean"]
    found = re.search(r"a new group 1 \S+ (\S+)", text)[1]
    assert float(found) == pytest.approx(float(expected.iloc[0]), abs=0.06)


def test_a_level_that_is_left_out_is_the_reference_of_the_others():
    """Without a constant R codes the first category by all levels; one of them is redundant."""
    text = text_of("0 + ses + ses:track")
    assert "one unit more of ses , where track is b , goes with a difference of" in text
    assert "where track is a instead of b , the slope of ses differs by" in text


def test_slopes_that_vary_beside_those_of_levels_have_no_mean_of_zero():
    """The slopes of both sexes are in the population: theirs is the mean, not zero."""
    text = text_of("sex / ses", "(1 + ses || school)")
    assert "Groups differ in the slope of ses . From that of the average group the model" in text
    assert "which is 0 on average" not in text


def test_no_line_is_drawn_where_a_product_cannot_follow():
    """The figure would hold ses:sex[male] while ses changes."""
    assert "the thick line is the posterior mean" not in text_of("ses / sex")
    assert "the thick line is the posterior mean" in text_of("ses * sex")


# Functions of the same variable


@pytest.mark.parametrize(
    ("terms", "own"),
    [
        ("ses + I(ses^2)", "ses and I(ses^2)"),
        ("ses + log(ses + 3)", "ses and log(ses + 3)"),
        ("scale(ses) + I(ses^2)", "scale(ses) and I(ses^2)"),
        ("ses * I(ses^2)", "ses , I(ses^2) and ses:I(ses^2)"),
        ("I(ses / 2) + I((ses / 2)^2)", "I(ses/2) and I((ses/2)^2)"),
        ("ses + (ses > 0)", "ses and (ses > 0)"),
    ],
)
def test_functions_of_one_variable_are_one_curve(terms, own):
    """None of them changes while the others stay the same, and no row has the mean of each."""
    text = text_of(terms)
    assert "How does score vary with ses ," in text
    assert f"score follows a curve of ses , made of {own} : predictions at several values" in text
    assert "one unit more of" not in text
    assert "With every predictor at its mean" not in text
    assert "slope of" not in text
    assert "part of a curve" in text
    assert "over the range of ses, in the average group" in text
    tree = fitted(terms)
    rows, columns = example_rows(terms)
    (curve,) = curves(Numbers(tree, 0.9))
    ses = pupils()["ses"]
    np.testing.assert_allclose([curve.low, curve.high], [ses.min(), ses.max()], rtol=1e-9)
    assert rows["ses"].between(ses.min(), ses.max()).all()
    frame = pupils().iloc[[0] * len(rows)].assign(ses=rows["ses"].to_numpy())
    made = GroupedData.from_formula(
        f"score ~ {terms} + (1 | school)", pd.concat([pupils(), frame], ignore_index=True)
    )
    if "scale" not in terms:
        np.testing.assert_allclose(rows[list(columns)], made.x[-len(rows) :], rtol=1e-9)


def test_a_function_of_two_variables_makes_a_surface_of_actual_rows():
    """x cannot change while z and I(x * z) stay the same."""
    text = text_of("ses + age + I(ses * age)")
    assert "score follows a surface of ses and age , made of ses , age and I(ses * age)" in text
    rows, _ = example_rows("ses + age + I(ses * age)")
    np.testing.assert_allclose(rows["I(ses * age)"], rows["ses"] * rows["age"], rtol=1e-9)


def test_one_function_of_a_variable_keeps_its_slope():
    """A single expression can change by one unit, as a column can."""
    text = text_of("I(ses^2) + sex")
    assert "one unit more of I(ses^2) , other predictors being the same, goes with" in text
    assert "follows a curve" not in text


def test_a_plain_interaction_with_a_curve_is_a_difference_of_slopes():
    """Along the curve the two levels differ by as much more at each value as the product says."""
    text = text_of("ses * track + I(ses^2)")
    assert "Where track is a , score follows a curve of ses , made of ses and I(ses^2)" in text
    assert "track b instead of a , where ses is 0 and other predictors are the same" not in text
    assert "track b instead of a , where ses is 0, goes with a difference of" in text
    assert "where track is b instead of a , the slope of ses differs by" in text


def test_a_curve_of_statistics_without_rows_is_predicted_at_values_too():
    """Else what an engine has reduced would be predicted at impossible rows."""
    data = GroupedData.from_formula("score ~ ses + I(ses^2) + (1 | school)", pupils())
    tree = fit(GroupStatistics.from_data(data), method="integrate", draws=100)
    rows = typical_rows(Numbers(tree, 0.9))
    np.testing.assert_allclose(rows["I(ses^2)"], rows["ses"] ** 2, rtol=1e-9)
    assert "follows a curve of" in html_report(tree)


# Curves in interactions


@pytest.mark.parametrize("curve", ["poly(age, 2)", "ns(age, 3)"])
def test_beside_a_centred_curve_a_level_is_compared_on_average(curve):
    """No age has all columns 0; the coefficient is the mean of the differences at all rows."""
    text = text_of(f"{curve} * track")
    where = "where the curve in age is averaged over all rows"
    assert f"track b instead of a , {where}, goes with a difference of" in text
    assert f"track b instead of a , the same in every group, {where}" in text
    tree = fitted(f"{curve} * track")
    both = [pupils().assign(track=level, school=0) for level in "ab"]
    at_a, at_b = (predict(tree, rows, kind="mean")["mean"] for rows in both)
    gamma = tree["posterior"]["gamma"].sel(fixed="track[b]").mean()
    assert float((at_b - at_a).mean()) == pytest.approx(float(gamma), abs=0.05)


def test_beside_a_spline_from_a_boundary_a_level_is_compared_there():
    """All columns of bs are 0 at the lower end of the range, and nowhere else."""
    text = text_of("bs(age, 4) * track")
    low = f"{pupils()['age'].min():g}"
    assert f"track b instead of a , where age is {low}, goes with a difference of" in text
    text = text_of("poly(age, 2, raw = TRUE) * track")
    assert "track b instead of a , where age is 0, goes with a difference of" in text


# What was left out, what one unit is, and where intercepts apply


def test_the_page_names_what_was_left_out_and_how_columns_were_made():
    """Else a reader of the page alone does not know that a term of the formula has no number."""
    text = text_of("scale(ses) + sex + same + track")
    assert "1 column that those before determine: 'same[v]'." in text
    assert "track: 1 level without rows left out, 'none'." in text
    assert "sex: male against female." in text
    mean, sd = pupils()["ses"].mean(), pupils()["ses"].std()
    said = f"0 is the mean of ses, {mean:.6g}, and one unit is its standard deviation, {sd:.6g}"
    assert f"scale(ses): {said}." in text
    assert "same: v against u" not in text


def test_the_table_of_groups_says_where_intercepts_are_levels():
    """Else the order of the intercepts is read as a ranking of the schools."""
    text = text_of("ses * sex + age")
    assert (
        "An intercept is the level of a group where ses and age are 0 and sex is female : the "
        "order is that of such rows. Of the groups as they are it may be another."
    ) in text
    text = text_of("0 + track + ses:track")
    assert "An intercept is the difference of a group from the average group." in text
