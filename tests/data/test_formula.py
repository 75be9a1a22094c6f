"""Columns of a formula are those of R's model.matrix: by hand, and by formulaic where it can."""

import numpy as np
import pandas as pd
import pytest
from formulaic import model_matrix

from radon_numpyro import GroupedData
from radon_numpyro.data.design import Design
from radon_numpyro.data.formulas.columns import independent, independent_by_moments
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.syntax import parse, spelled

pytestmark = pytest.mark.filterwarnings("error")

ROWS = 240


@pytest.fixture(scope="module")
def frame():
    """Columns of every kind, with means far from zero and every cell of the categories filled."""
    rng = np.random.default_rng(5)
    columns = {f"x{i}": rng.gamma(2.0, 1.0, ROWS) + 0.2 for i in range(1, 10)}
    columns |= {f"c{i}": rng.choice(list("pqrs")[: 2 + i % 2], ROWS) for i in range(1, 9)}
    columns |= {f"g{i}": rng.integers(0, 6, ROWS) for i in range(1, 4)}
    columns["y"] = rng.gamma(3.0, 1.0, ROWS)
    columns["k"] = rng.integers(1, 5, ROWS)
    columns["warm"] = rng.random(ROWS) < 0.4
    columns["SES"] = columns["x1"] - 1.0
    columns["Sex"] = rng.choice(["Male", "Female"], ROWS)
    columns["log"] = columns["x2"]
    return pd.DataFrame(columns)


def named(data):
    return dict(zip(data.labels.predictors, data.x.T, strict=True))


def columns_of(formula, frame):
    return named(GroupedData.from_formula(formula, frame))


# By hand


def test_an_interaction_with_a_category_is_the_product_with_its_indicator(frame):
    data = GroupedData.from_formula("y ~ SES * Sex + (1 + SES || g1)", frame)
    male = (frame.Sex == "Male").to_numpy(float)
    assert data.labels.design == Design(
        ("Intercept", "SES", "Sex[Male]", "SES:Sex[Male]"), ("Intercept", "SES")
    )
    assert data.labels.predictors == ("SES", "Sex[Male]", "SES:Sex[Male]")
    expected = np.column_stack([frame.SES, male, frame.SES * male])
    np.testing.assert_array_equal(data.x, expected)
    np.testing.assert_array_equal(data.y, frame.y)
    assert [data.labels.groups[c] for c in data.group] == frame.g1.tolist()
    assert data.notes == ("Sex: Male against Female",)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("I(k^2)", lambda f: f.k**2.0),
        ("I(k**2)", lambda f: f.k**2.0),
        ("I(-k^2)", lambda f: -(f.k**2.0)),
        ("I(2^-1^2 * x1)", lambda f: 0.5 * f.x1),
        ("I(2^3^2 * x1)", lambda f: 512 * f.x1),
        ("I(x1 - x2 - x3)", lambda f: f.x1 - f.x2 - f.x3),
        ("I(x1 / x2 / x3)", lambda f: f.x1 / f.x2 / f.x3),
        ("I(x1 / (x2 / x3))", lambda f: f.x1 / (f.x2 / f.x3)),
        ("log((x3 + 1)/(x4 + 1))", lambda f: np.log((f.x3 + 1) / (f.x4 + 1))),
        ("log(x1, 2)", lambda f: np.log2(f.x1)),
        ("log(x1, base = 10)", lambda f: np.log10(f.x1)),
        ("np.log(x1)", lambda f: np.log(f.x1)),
        ("sin(2*pi*x1)", lambda f: np.sin(2 * np.pi * f.x1)),
        ("sqrt(abs(x1 - 1))", lambda f: np.sqrt(np.abs(f.x1 - 1))),
        ("I(warm * x1)", lambda f: f.warm * f.x1),
        ("scale(x1)", lambda f: (f.x1 - f.x1.mean()) / f.x1.std(ddof=1)),
        ("scale(x1, scale = FALSE)", lambda f: f.x1 - f.x1.mean()),
        ("scale(x1, FALSE)", lambda f: f.x1 / np.sqrt((f.x1**2).sum() / (ROWS - 1))),
        ("scale(x1, 1, 2)", lambda f: (f.x1 - 1) / 2),
        ("center(log(x1))", lambda f: np.log(f.x1) - np.log(f.x1).mean()),
        ("log(log + 1)", lambda f: np.log(f.x2 + 1)),
        ("`x1`", lambda f: f.x1),
    ],
)
def test_arithmetic_is_that_of_r(frame, term, expected):
    (column,) = columns_of(f"y ~ {term} + (1 | g1)", frame).values()
    np.testing.assert_allclose(column, expected(frame).to_numpy(float), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ("log(y)", lambda y: np.log(y)),
        ("y^(1/3)", lambda y: np.cbrt(y)),
        ("1000/y", lambda y: 1000 / y),
        ("I(y^2)", lambda y: y**2),
        ("log(y + 0.01)", lambda y: np.log(y + 0.01)),
        ("scale(y)", lambda y: (y - y.mean()) / y.std(ddof=1)),
    ],
)
def test_the_outcome_may_be_an_expression_which_names_it(frame, left, expected):
    data = GroupedData.from_formula(f"{left} ~ x1 + (1 | g1)", frame)
    assert data.labels.outcome == left
    np.testing.assert_allclose(data.y, expected(frame.y.to_numpy()), rtol=1e-13)


def test_an_offset_is_taken_from_the_outcome_and_said_so(frame):
    data = GroupedData.from_formula("y ~ x1 + offset(log(x2)) + offset(2 * x3) + (1 | g1)", frame)
    np.testing.assert_allclose(data.y, frame.y - np.log(frame.x2) - 2 * frame.x3, rtol=1e-13)
    assert data.labels.outcome == "y - offset(log(x2)) - offset(2 * x3)"
    assert data.labels.predictors == ("x1",)
    assert "tables of the fit are of this difference" in data.notes[-1]


def test_a_comparison_and_a_truth_value_are_categories(frame):
    made = columns_of('y ~ warm + (x1 > 1) + (Sex == "Male") + (1 | g1)', frame)
    assert list(made) == ["warm[True]", "(x1 > 1)[True]", '(Sex == "Male")[True]']
    np.testing.assert_array_equal(made["warm[True]"], frame.warm)
    np.testing.assert_array_equal(made["(x1 > 1)[True]"], frame.x1 > 1)
    np.testing.assert_array_equal(made['(Sex == "Male")[True]'], frame.Sex == "Male")


@pytest.mark.parametrize(
    ("coding", "matrix"),
    [
        ("contr.treatment", [[0, 0], [1, 0], [0, 1]]),
        ("contr.treatment(base = 2)", [[1, 0], [0, 0], [0, 1]]),
        ('Treatment(reference = "q")', [[1, 0], [0, 0], [0, 1]]),
        ("contr.SAS", [[1, 0], [0, 1], [0, 0]]),
        ("contr.sum", [[1, 0], [0, 1], [-1, -1]]),
        ("contr.helmert", [[-1, -1], [1, -1], [0, 2]]),
        ("contr.poly", [[-(0.5**0.5), 6**-0.5], [0, -2 * 6**-0.5], [0.5**0.5, 6**-0.5]]),
    ],
)
def test_contrasts_are_those_of_r(frame, coding, matrix):
    # As R prints them: contr.sum(3), contr.helmert(3), contr.poly(3).
    made = columns_of(f"y ~ C(c1, {coding}) + (1 | g1)", frame)
    codes = frame.c1.map({"p": 0, "q": 1, "r": 2})
    np.testing.assert_allclose(
        np.column_stack(list(made.values())), np.array(matrix)[codes], atol=1e-14
    )


def test_nesting_by_in_is_an_interaction(frame):
    # R's manual: a + b %in% a is a + a:b. To formulaic it is b/a.
    made = columns_of("y ~ c1 + x1 %in% c1 + (1 | g1)", frame)
    assert list(made) == ["c1[q]", "c1[r]", "c1[p]:x1", "c1[q]:x1", "c1[r]:x1"]
    np.testing.assert_array_equal(made["c1[q]:x1"], (frame.c1 == "q") * frame.x1)
    # The terms of a bracket on the right are one term in R.
    bracket = columns_of("y ~ x1 %in% (c1 + k) + (1 | g1)", frame)
    assert bracket.keys() == columns_of("y ~ x1:c1:k + (1 | g1)", frame).keys()


def test_levels_are_sorted_or_in_the_order_of_the_categories(frame):
    ordered = frame.assign(c1=pd.Categorical(frame.c1, ["r", "none", "p", "q"]))
    data = GroupedData.from_formula("y ~ c1 + factor(k) + (1 | g1)", ordered)
    assert data.labels.predictors == (
        *("c1[p]", "c1[q]"),
        *("factor(k)[2]", "factor(k)[3]", "factor(k)[4]"),
    )
    assert data.notes[0] == "c1: p, q against r"
    assert "c1: 1 level without rows left out, 'none'" in data.notes
    assert columns_of("y ~ relevel(c1, ref = 'q') + (1 | g1)", frame).keys() == {
        'relevel(c1, ref = "q")[p]',
        'relevel(c1, ref = "q")[r]',
    }


def test_what_varies_need_not_have_a_population_effect(frame):
    data = GroupedData.from_formula("y ~ x1 + (0 + x2 | g1)", frame)
    assert data.labels.design == Design(("Intercept", "x1"), ("x2",))
    assert data.labels.predictors == ("x2", "x1")
    np.testing.assert_array_equal(data.x, frame[["x2", "x1"]])


@pytest.mark.parametrize(
    ("right", "population", "varying"),
    [
        ("(1 | g1)", ["Intercept"], ["Intercept"]),
        ("0 + (1 | g1)", [], ["Intercept"]),
        ("x1 - 1 + (1 | g1)", ["x1"], ["Intercept"]),
        ("0 + Intercept + x1 + (1 | g1)", ["Intercept", "x1"], ["Intercept"]),
        ("-1 + x1 + (-1 + x1 || g1)", ["x1"], ["x1"]),
        ("1 + x1 + (x1 + 0 || g1)", ["Intercept", "x1"], ["x1"]),
        ("(x1 || g1)", ["Intercept"], ["Intercept", "x1"]),
        ("(1 | g1) + (0 + x1 | g1) + x1", ["Intercept", "x1"], ["Intercept", "x1"]),
        ("((1 + x1) || g1) + x1", ["Intercept", "x1"], ["Intercept", "x1"]),
        ("0 + c1 + (0 + c1 || g1)", [f"c1[{c}]" for c in "pqr"], [f"c1[{c}]" for c in "pqr"]),
        ("c1 + (0 + c1 || g1)", ["Intercept", "c1[q]", "c1[r]"], [f"c1[{c}]" for c in "pqr"]),
        ("c1 + (c1 || g1)", ["Intercept", "c1[q]", "c1[r]"], ["Intercept", "c1[q]", "c1[r]"]),
    ],
)
def test_which_columns_there_are_and_which_of_them_vary(frame, right, population, varying):
    design = GroupedData.from_formula(f"y ~ {right}", frame).labels.design
    assert sorted(design.population) == sorted(population)
    assert sorted(design.varying) == sorted(varying)


def test_an_empty_cell_is_a_column_that_is_left_out_by_name(frame):
    holed = frame[~((frame.c1 == "q") & (frame.c2 == "q"))]
    data = GroupedData.from_formula("y ~ c1 * c2 + x1 + I(2 * x1) + (1 | g1)", holed)
    assert "c1[q]:c2[q]" not in data.labels.predictors
    assert "c1[r]:c2[q]" in data.labels.predictors
    assert "2 columns that those before determine: 'I(2 * x1)', 'c1[q]:c2[q]'" in data.notes[-1]


def test_the_rank_check_keeps_columns_far_from_zero():
    # Centred, the two are at right angles; as they are, they are parallel to ten digits.
    rng = np.random.default_rng(0)
    year, other = 1e6 + rng.normal(size=500), 1e6 + rng.normal(size=500)
    for columns, constant, expected in (
        ([year, other, year + other], True, [True, True, False]),
        ([np.full(500, 0.1), year], True, [False, True]),
        ([np.full(500, 0.1), np.zeros(500), year], False, [True, False, True]),
    ):
        matrix = np.column_stack(columns)
        assert independent(matrix, constant=constant) == expected
        mean = matrix.mean(0)
        products = (matrix - mean).T @ (matrix - mean)
        assert independent_by_moments(500, mean, products, constant=constant) == expected
    assert independent(np.empty((5, 0)), constant=True) == []


# By formulaic, which codes categories by a greedy rule of its own: the same span, and where no
# column is redundant the same columns.

COMMON = [
    "x1",
    "c1 * x1",
    "c1 + c2 * c3",
    "(c1 + c2 + x1)^3",
    "c1 / c2 / c3 * c4",
    "x1:c1",
    "c1:c2",
    "0 + c1",
    "0 + c1 + c2",
    "0 + c1:c2",
    "0 + c1 + c1:x1",
    "x1 * x2 * c1 + x3 + c2",
    "c1 + c2 + c1*c2 - c2",
    "x1 + x2 + x1:x2 - 1",
    "(x1 + x2) * (c1 + c2) - x1:c1",
    "c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8",
    "poly(x1, 3) * c1 + x2",
    "bs(x1, df = 5) + x2",
    "(x1 + x2 + bs(x3, 4))^3",
    "cr(x1, 4)",
    "log(x1/x2) * log((x3 + 1)/(x4 + 1))",
    "center(x1) + I(x1^2)",
]


def projection(columns):
    q, r = np.linalg.qr(columns / np.linalg.norm(columns, axis=0))
    assert np.abs(np.diag(r)).min() > 1e-8
    return q @ q.T


@pytest.mark.parametrize("common", COMMON)
def test_the_columns_span_what_formulaic_makes(frame, common):
    data = GroupedData.from_formula(f"y ~ {common} + (1 | g1)", frame)
    design = data.labels.design
    ours = [np.ones(ROWS)] * ("Intercept" in design.population)
    made = named(data)
    ours += [made[name] for name in design.population if name != "Intercept"]
    text = common.replace("^", "**").replace("cr(x1, 4)", "cr(x1, 4, constraints='center')")
    theirs = np.asarray(model_matrix(text, frame.drop(columns="log")), dtype=float)
    assert len(ours) == theirs.shape[1]
    np.testing.assert_allclose(projection(np.column_stack(ours)), projection(theirs), atol=1e-9)


def test_natural_splines_span_what_is_linear_beyond_the_outer_knots(frame):
    # Three interior knots: the constant, the line and three curves; hence four columns beside 1.
    made = np.column_stack(list(columns_of("y ~ ns(x1, 4) + (1 | g1)", frame).values()))
    x = frame.x1.to_numpy()
    knots = np.quantile(x, [0, 0.25, 0.5, 0.75, 1])

    def cube(k):
        return np.maximum(x - knots[k], 0) ** 3 / (knots[-1] - knots[k])

    # Truncated powers: Hastie, Tibshirani and Friedman (2009), equation 5.4.
    natural = [np.ones(ROWS), x, *(cube(k) - cube(3) for k in range(3))]
    ours = projection(np.column_stack([np.ones(ROWS), made]))
    np.testing.assert_allclose(ours, projection(np.column_stack(natural)), atol=1e-8)


# Structures of published models with a Gaussian outcome: made, or refused in a sentence


@pytest.mark.parametrize(
    ("formula", "width"),
    [
        ("y ~ x1 + c1 + x2 + (1 | g1)", 4),
        ("log(y) ~ log(x1) * c1 + (1 | g1)", 5),
        ("y ~ c2 * c3 * c1 + (1 | g1)", 17),
        ("y ~ poly(x1, 2) * c1 + x2 + (1 | g1)", 9),
        ("1000/y ~ 1 + x1 + (1 + x1 || g1)", 1),
        ("log(y + 1) ~ 1 + x1 + x2 + x3 + (x1 + x2 + x3 || g1)", 3),
        ("log10(y) ~ log10(x1) * c1 + I(log10(x1)^2) + (1 | g1)", 6),
        ("log1p(y) ~ 0 + x1 + x2 + x3 + x4 + (0 + x5 | g1)", 5),
        ("scale(y) ~ 0 + scale(x1) + c1 * c2 + c3 + (1 | g1)", 9),
        ("y ~ (1 | g1) + c1", 2),
        ("y ~ 0 + c1 + c2 + (0 + c2 || g1)", 5),
        ("y ~ 1 + c1 * c2 * x1 + (1 + c1 + c2 + x1 || g1)", 11),
        ("y ~ 1 + x1:c1 + (1 + x1 || g1)", 4),
        ("y ~ sin(2*pi*x1) + cos(2*pi*x1) + (sin(2*pi*x1) + cos(2*pi*x1) || g1)", 2),
        ("y ~ x1 * x2 + I(x1^2) + I(x2^2) + (1 | g1)", 5),
        ("y ~ x1 + x2 + x3 + x4 + x4:x1 + x4:x2 + x4:x3 + (1 | g1)", 7),
        ("y ~ x1 + x2 + x3 * x4 * x5 * x6 + (1 | g1) + (0 + x1 | g1) + (0 + x2 | g1)", 17),
        ("y^(1/3) ~ c1 + (1 | g1)", 2),
        ("log(y) ~ log(x1/x2) * log((x3 + 1)/(x4 + 1)) + (log(x1/x2) || g1)", 3),
        ("y ~ (x1 + x2 + bs(x3, 4))^3 + (1 | g1)", 19),
    ],
)
def test_published_structures_have_their_columns_for_new_rows_too(frame, formula, width):
    data = GroupedData.from_formula(formula, frame)
    assert data.x.shape == (ROWS, width)
    stored = ModelFormula.from_json(data.formula)
    assert stored.to_json() == data.formula
    np.testing.assert_array_equal(stored.columns_of(frame), data.x)
    few = stored.columns_of(frame.iloc[5:9].drop(columns=["y", "g1"]))
    np.testing.assert_allclose(few, data.x[5:9], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(stored.outcome_of(frame.iloc[5:9]), data.y[5:9], rtol=1e-13)


@pytest.mark.parametrize(
    "text",
    [
        "y ~ x",
        "log(y) ~ -2^2 + I(x^2)",
        "y ~ a * b:c + (1 + x || g)",
        "y ~ (a - (b - c)) * (d/(e/f)) + I((a^b)^c)",
        "y ~ I(a^b^c) + poly(x, 2)[, 1]",
        'y ~ C(s, contr.sum(base = "b")) + `a b`:d + (a > 1) + I(-(a + b))',
    ],
)
def test_what_is_spelled_is_read_again_as_the_same(text):
    trees = parse(text)
    again = parse(" ~ ".join(map(spelled, trees)).replace(" + 1 + x || g", " + (1 + x || g)"))
    assert list(map(spelled, again)) == list(map(spelled, trees))


@pytest.mark.parametrize(
    ("term", "said"),
    [
        ("scale(x1)", "0 is the mean of x1, {mean}, and one unit is its standard deviation, {sd}"),
        ("center(x1)", "0 is the mean of x1, {mean}"),
        ("scale(x1, center = 2, scale = 3)", "0 is x1 = 2, and one unit is 3 of x1"),
        ("scale(x1, scale = FALSE)", "0 is the mean of x1, {mean}, and one unit is 1 of x1"),
        ("scale(x1, center = FALSE)", "0 is x1 = 0, and one unit is its root mean square, {rms}"),
    ],
)
def test_notes_say_what_one_unit_of_a_scaled_column_is(frame, term, said):
    """Else a slope per standard deviation cannot be turned into one per unit."""
    x = frame["x1"]
    rms = np.sqrt((x**2).sum() / (len(x) - 1))
    numbers = {"mean": f"{x.mean():.6g}", "sd": f"{x.std():.6g}", "rms": f"{rms:.6g}"}
    data = GroupedData.from_formula(f"y ~ {term} + (1 | g1)", frame)
    assert data.notes == (f"{term}: {said.format(**numbers)}",)


def test_notes_do_not_code_a_category_whose_columns_are_all_left_out(frame):
    """Else the notes name a comparison that the fit does not have."""
    frame = frame.assign(copy=frame["c1"].map(lambda level: f"copy of {level}"))
    data = GroupedData.from_formula("y ~ c1 + copy + (1 | g1)", frame)
    assert not any(note.startswith("copy: ") for note in data.notes)
    assert "that those before determine: 'copy[" in data.notes[-1]
