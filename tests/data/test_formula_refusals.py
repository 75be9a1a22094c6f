"""What a formula may not hold is refused in one sentence, and never run."""

import builtins
import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radon_numpyro import GroupedData
from radon_numpyro.data.formulas.formula import ModelFormula

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(6)
    return pd.DataFrame(
        {
            "y": rng.normal(5.0, 1.0, 40),
            "x": rng.normal(3.0, 1.0, 40),
            "floor": rng.integers(0, 2, 40),
            "c": rng.choice(list("pqr"), 40),
            "one": ["same"] * 40,
            "when": pd.date_range("2020-01-01", periods=40),
            "wave": rng.normal(size=40) * 1j,
            "mixed": [1, "a"] * 20,
            "g": rng.choice(list("stuv"), 40),
            "h": rng.choice(list("st"), 40),
            "Intercept": 1.0,
            "bare": [True] * 40,
            "identifier": [f"row {k}" for k in range(40)],
            "": 1.0,
        }
    ).assign(twin=lambda f: f.c + f.c)


def refused(formula, frame, error=ValueError):
    with pytest.raises(error) as caught:
        GroupedData.from_formula(formula, frame)
    message = str(caught.value)
    assert message.startswith("Expected "), message
    assert "; got " in message, message
    assert "\n" not in message, message
    return message


@pytest.mark.parametrize(
    "term",
    [
        "__import__('os').system('touch run')",
        "__import__('os')",
        "eval('1')",
        "open('run', 'w')",
        "getattr(x, '__class__')",
        "x.__class__",
        "x.__class__.__mro__",
        "I(x.__class__)",
        "np.load('run')",
        "np.linalg.svd(x)",
        "contr.sum(x)",
        "lambda: x",
        "(lambda q: q)(x)",
        "[q for q in x]",
        "I([q for q in x])",
        "{q for q in x}",
        "x[0]",
        "x[[0]]",
        "x['a']",
        "f'{x}'",
        "I(f'{x}')",
        "x if x else x",
        "x; import os",
        "I(q := x)",
        "x @ x",
        "I(x and x)",
        "Q('x')",
        "hashed(c)",
        "`x",
        "'x'",
        "I('x')",
        "'\\x41'",
        "x$y",
        "base::log(x)",
        "!x",
        "x <- 3",
    ],
)
def test_nothing_but_the_grammar_is_read(frame, term, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("eval", "exec", "compile"):
        monkeypatch.setattr(builtins, name, lambda *_: pytest.fail("something was run"))
    refused(f"y ~ {term} + (1 | g)", frame)
    refused(f"y ~ x + ({term} || g)", frame)
    refused(f"y ~ scale({term}) + (1 | g)", frame)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("y ~ (x + floor + c)^50 + (1 | g)", "whole power between 1 and 10"),
        ("y ~ (x + floor)^2.5 + (1 | g)", "whole power"),
        ("y ~ (x + floor)^x + (1 | g)", "whole power"),
        ("y ~ x^2 + (1 | g)", r"write I(x^2) for a power of numbers"),
        ("y ~ I(x^9999) + (1 | g)", "to be finite"),
        ("y ~ " + "(" * 60 + "x" + ")" * 60 + " + (1 | g)", "nested at most 50 deep"),
        ("y ~ I(" + "-" * 500 + "x) + (1 | g)", "nested at most 50 deep"),
        ("y ~ I(" + "x * " * 500 + "x) + (1 | g)", "nested at most 50 deep"),
        ("y ~ " + "log(" * 60 + "x" + ")" * 60 + " + (1 | g)", "nested at most 50 deep"),
        ("y ~ " + " + ".join(f"I(x + {k})" for k in range(2000)), "at most 10000 characters"),
        (
            "y ~ " + " + ".join(f"I(x+{k})" for k in range(501)) + " + (1 | g)",
            "at most 500 terms",
        ),
        (
            "y ~ (" + " + ".join(f"I(x+{k})" for k in range(40)) + ")^3 + (1 | g)",
            "at most 500 terms",
        ),
        ("y ~ poly(x, 1e9) + (1 | g)", "whole number from 1 to 100"),
        ("y ~ bs(x, df = 1e9) + (1 | g)", "whole number from 1 to 100"),
        ("y ~ I(1e999 * x) + (1 | g)", "a number that is finite"),
    ],
)
def test_what_would_take_memory_without_end_is_refused_first(frame, formula, says):
    assert says in refused(formula, frame)


def test_a_long_sum_is_not_deep(frame):
    terms = " + ".join(f"I(x^{k / 100:.2f})" for k in range(101, 111))
    wide = frame.assign(x=np.abs(frame.x) + 1)
    assert GroupedData.from_formula(f"y ~ {terms} + {'1 + ' * 400}(1 | g)", wide).num_rows == 40


def test_a_category_with_too_many_levels_or_cells_is_refused():
    labels = [f"l{k}" for k in range(600)]
    frame = pd.DataFrame({"y": np.arange(600.0), "c": labels, "g": ["a", "b"] * 300})
    frame = pd.concat([frame, frame[:50]], ignore_index=True)
    assert "at most 500 levels" in refused("y ~ c + (1 | g)", frame)
    frame = frame[:600].assign(
        a=[f"a{k % 30}" for k in range(600)], b=[f"b{k // 20}" for k in range(600)]
    )
    assert "at most 500 columns" in refused("y ~ a * b + (1 | g)", frame)


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("y ~ (1 | g) + (1 | h)", "several groupings in one model are not in this edition"),
        ("y ~ (0 + c | g) + (0 + c || h)", "several groupings"),
        ("y ~ (1 | g/h)", "nested groupings are not in this edition"),
        ("y ~ (1 | g:h)", "make one column, such as 'g_h', that joins the labels of g and h"),
        ("y ~ (1 | factor(g))", "make a column of it first"),
        ("y ~ (1 | mm(g, h))", "groupings of several memberships"),
        ("y ~ (1 | gr(g, cov = A))", "write the name of its column alone"),
        ("y ~ s(x) + (1 | g)", "such as ns(x, 4)"),
        ("y ~ t2(x, floor) + (1 | g)", "smooth terms are not in this edition"),
        ("y ~ gp(x) + (1 | g)", "smooth terms are not in this edition"),
        ("y ~ ar(x) + (1 | g)", "correlation between the rows of a group"),
        ("y ~ cut(x, 3) + (1 | g)", "make a column of them first"),
        ("cbind(y, x) ~ (1 | g)", "one outcome is fitted at a time"),
        ("mvbind(y, x) ~ (1 | g)", "one outcome is fitted at a time"),
        ("Surv(y, floor) ~ (1 | g)", "censored outcomes"),
        ("y | se(x + 1) ~ (1 | g)", "se() to name one column"),
        ("y | se(x, sigma = TRUE) ~ (1 | g)", "se() to name one column"),
        ("y | se(x) + cens(c) ~ (1 | g)", "leave out | se(x) + cens(c)"),
        ("y | weights(x) ~ (1 | g)", "by weights= or --weights"),
        ("~ x + (1 | g)", "Expected an outcome left of ~; got none in '~ x + (1 | g)'"),
        ("y ~ ", "Expected terms right of ~; got none in 'y ~'"),
        (
            "y ~ bs(x, df = 1) + (1 | g)",
            "df of at least 3 in 'bs(x, df = 1)'; got 1: pieces of degree 3",
        ),
        ("y ~ bs(x, 3, intercept = TRUE) + (1 | g)", "df of at least 4 in "),
        (
            "y ~ ns(x, 1) + (1 | g)",
            "df of at least 2 in 'ns(x, 1)'; got 1: since one is a",
        ),
        ("y ~ ns(x, df = 3, knots = c(0)) + (1 | g)", "Expected df or knots in "),
        ("y ~ x", "Expected one random part such as (1 | group); got none"),
        ("y ~ x | g", "a random part in brackets"),
        ("y ~ 1 + x | g", "a random part in brackets"),
        ("y ~ x + (0 | g)", "coefficients left of the bar; got none"),
        ("y ~ (1 | g) + (1 | g)", "vary once by 'g'; got 'Intercept' again"),
        ("y ~ (1 | g) + (x || g)", "vary once by 'g'; got 'Intercept' again"),
        ("y ~ (x + I(2 * x) || g)", "got 'I(2 * x)', which is a multiple of another"),
        ("y ~ (1 | g) + (0 + I(x^0) || g)", "got 'I(x^0)', which is a multiple of another"),
        ("y ~ (1 + I(x - x) || g)", "got 'I(x - x)', which is a multiple of another (or 0"),
        ("y ~ (x + I(x + 1) | g)", "a combination of those with which it correlates"),
        ("y ~ (1 | g) * x", "random parts and offsets added with +"),
        ("y ~ offset(x) * floor + (1 | g)", "random parts and offsets added with +"),
        ("y ~ ((1 | g) | h)", "terms left of the bar"),
        ("y ~ x > 1 + (1 | g)", "a comparison stands in brackets"),
        ("y ~ . + (1 | g)", "write out the columns"),
        ("y ~ 2 * x + (1 | g)", "arithmetic stands inside I()"),
        ("y ~ I(2) + (1 | g)", "a term that names a column"),
        ("y ~ I(x:floor) + (1 | g)", "arithmetic in an expression"),
        ("y:x ~ (1 | g)", "arithmetic in an expression"),
        ("y ~ offset(x:floor) + (1 | g)", "arithmetic in an expression"),
        ("y ~ offset(x | g) + (1 | g)", "random parts added with +"),
        ("y ~ flor + (1 | g)", "got 'flor' (close: 'floor')"),
        ("y ~ (1 | gg)", "got 'gg'"),
        ("z ~ (1 | g)", "got 'z'"),
        ("y ~ `no such` + (1 | g)", "got 'no such'"),
        ("3 ~ (1 | g)", "an outcome left of ~"),
        ("pi ~ (1 | g)", "an outcome left of ~"),
        ("y ~ I(pi) + (1 | g)", "a term that varies by row"),
        ("y ~ `T` + (1 | g)", "the formula to name columns; got 'T'"),
        ("y ~ x + y + (1 | g)", "got 'y' on both sides"),
        ("y ~ x + (y || g)", "got 'y' on both sides"),
        ("y ~ offset(y) + (1 | g)", "got 'y' on both sides"),
        ("y ~ (1 | y)", "outcome and group to be two columns"),
        ("y ~ (g | g)", "other columns left of the bar than the grouping; got 'g'"),
        ("y ~ x + (0 + factor(g) || g)", "other columns left of the bar than the grouping"),
        ("y ~ identifier + (1 | g)", "got 40 levels of 'identifier' in 40 rows: if it names"),
        ("y ~ factor(x) + (1 | g)", "got 40 levels of 'factor(x)' in 40 rows"),
        ("y ~ c * twin + (1 | g)", "an interaction of which rows tell something; got 'c:twin'"),
        ("y ~ x + `` + (1 | g)", "columns with names; got one whose name is empty"),
        ("y ~ Intercept + (1 | g)", "no column named 'Intercept'"),
        ("y ~ log(Intercept) + (1 | g)", "no column named 'Intercept'"),
        ("y ~ one + (1 | g)", "two levels or more; got one, 'same'"),
        ("y ~ bare + (1 | g)", "two levels or more; got one, 'True'"),
        ("y ~ (x > 1000) + (1 | g)", "two levels or more; got one, 'False'"),
        ("y ~ log(floor) + (1 | g)", "Expected 'log(floor)' to be finite"),
        ("y ~ scale(log(floor)) + (1 | g)", "Expected 'log(floor)' to be finite"),
        ("log(floor) ~ x + (1 | g)", "Expected 'log(floor)' to be finite"),
        ("y ~ scale(I(0 * x)) + (1 | g)", "values that vary; got one value"),
        ("y ~ poly(floor, 2) + (1 | g)", "more than 2 different values"),
        ("y ~ poly(x, 2) * log(poly(x, 2)) + (1 | g)", "pick one"),
        ("y ~ poly(x, 2)[, 3] + (1 | g)", "between 1 and 2"),
        ("y ~ ns(x) + (1 | g)", "df or knots"),
        ("y ~ scale(x, center = c(1, 2)) + (1 | g)", "center to be a number"),
        ("y ~ scale(x, wrong = 1) + (1 | g)", "arguments x, center, scale of scale"),
        ("y ~ log() + (1 | g)", "a term that names a column"),
        ('y ~ (c == "P") + (1 | g)', "a level of 'c'; got 'P' (close: 'p')"),
        ('y ~ C(c, contr.treatment("z")) + (1 | g)', "a level as reference; got 'z'"),
        ("y ~ C(c, contr.treatment(base = 9)) + (1 | g)", "position between 1 and 3"),
        ("y ~ C(c, contr.wrong) + (1 | g)", "a contrast such as"),
        ("y ~ factor(c, levels = c('p', 'q')) + (1 | g)", "got 'r'"),
        ("y ~ x + + ", "its end"),
        ("y ~ (x + (1 | g)", "')'"),
        ("y ~ x) + (1 | g)", "')'"),
        ("y ~ x ~ (1 | g)", "'~'"),
        ("y x", "an operator"),
        ("", "an empty formula"),
        ("y", "without ~"),
    ],
)
def test_what_is_not_in_this_edition_is_named_with_what_to_write(frame, formula, says):
    assert says in refused(formula, frame)


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("c ~ x + (1 | g)", "column 'c' (y) to be numeric"),
        ("bare ~ x + (1 | g)", "column 'bare' (y) to be a measurement"),
        ("(y > 5) ~ x + (1 | g)", "to be a measurement; got true or false"),
        ("y ~ I(c * 2) + (1 | g)", "which has the categories 'p', 'q', 'r'"),
        ("y ~ when + (1 | g)", "days(when) in a formula counts days"),
        ("y ~ wave + (1 | g)", "to be numeric; got dtype complex128"),
        ("y ~ mixed + (1 | g)", "astype(float) makes numbers of it"),
        (3, "to be a str"),
    ],
)
def test_a_column_of_the_wrong_kind_is_refused_with_advice(frame, formula, says):
    assert says in refused(formula, frame, TypeError)


def test_a_column_of_two_names_or_two_columns_of_a_name_are_refused(frame):
    twice = pd.concat([frame, frame[["x"]]], axis=1)
    assert "one column named 'x'; got 2" in refused("y ~ x + (1 | g)", twice)
    same = frame.assign(**{"c[q]": frame.x})
    assert "names of their own" in refused("y ~ c + `c[q]` + (1 | g)", same)
    assert "names of their own" in refused("y ~ c + (0 + `c[q]` | g)", same)
    assert "other names than the outcome" in refused("y ~ floor + (1 | floor)", frame)


TOKENS = re.findall(
    r"\S+",
    "y x c g floor T pi TRUE 0 1 2 1.5 1e3 + - * / : ^ ** %in% | || ~ ( ) , = == > >= [,1] log( I( "
    "scale( poly( ns( bs( C( factor( relevel( offset( contr.sum 'p' `x` c(1,2) df= base= ref= "
    "Intercept . ; & % ! ? @ $ { } \\ é",
)
PLACES = ("{} + (1 | g)", "x + ({} || g)", "I({}) + (1 | g)", "C({}) + (1 | g)", "bs({}) + (1 | g)")


@given(st.sampled_from(PLACES), st.lists(st.sampled_from(TOKENS), max_size=8), st.booleans())
@settings(max_examples=400)
def test_any_text_gives_finite_columns_or_a_sentence(place, tokens, left):
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"y": rng.normal(5.0, 1.0, 40), "x": rng.normal(3.0, 1.0, 40)})
    frame = frame.assign(floor=[0, 1] * 20, c=list("pqrs") * 10, g=["s"] * 20 + ["t"] * 20)
    text = " ".join(tokens)
    formula = f"{text} ~ x + (1 | g)" if left else f"y ~ {place.format(text)}"
    message = ""
    try:
        data = GroupedData.from_formula(formula, frame)
    except (TypeError, ValueError) as error:
        message = str(error)
    if message:
        assert re.fullmatch(r"Expected .*; got .*", message)
        return
    assert np.isfinite(data.x).all()
    assert np.isfinite(data.y).all()
    stored = ModelFormula.from_json(data.formula)
    np.testing.assert_array_equal(stored.columns_of(frame), data.x)


@pytest.mark.parametrize("level", ["a\0b", "\ud800"])
def test_a_level_that_no_file_can_hold_is_refused(frame, level):
    # Else the names of the coefficients could not be written after the fit.
    values = [level if c == "p" else "z" for c in frame.c]
    odd = frame.assign(c=pd.Series(values, dtype=object))
    assert "a name that a file can hold" in refused("y ~ 0 + c + (1 | g)", odd)


# Stored formulas


def stored(frame, formula="y ~ scale(x) + c + floor + (1 | g)"):
    return GroupedData.from_formula(formula, frame).formula


def test_new_rows_of_another_kind_are_refused_by_name(frame):
    formula = ModelFormula.from_json(stored(frame))
    new = frame[["x", "c", "floor"]].iloc[:4]
    with pytest.raises(
        ValueError, match=r"'c' to hold known levels \('p', 'q', 'r'\); got 'Z' in 4"
    ):
        formula.columns_of(new.assign(c="Z"))
    with pytest.raises(TypeError, match=r"Expected column 'x' \(x\) to be numeric; got dtype"):
        formula.columns_of(new.assign(x=["1", "2", "3", "4"]))
    with pytest.raises(ValueError, match="to have one column 'floor'; got 0"):
        formula.columns_of(new.drop(columns="floor"))
    with pytest.raises(ValueError, match=r"column 'c' \(x\) without gaps; got 1 row \(index 0\)"):
        formula.columns_of(new.assign(c=[None, "p", "q", "r"]))
    with pytest.raises(ValueError, match=r"'x' \(x\) to be finite; got 1 row"):
        formula.columns_of(new.assign(x=[np.nan, 1.0, 2.0, 3.0]))
    with pytest.raises(TypeError, match="Expected frame to be"):
        formula.columns_of({"x": [1.0]})


def test_new_rows_beyond_a_spline_are_refused(frame):
    formula = ModelFormula.from_json(stored(frame, "y ~ bs(x, 4) + ns(x, 3) + (1 | g)"))
    with pytest.raises(ValueError, match=r"between .* the range of its fit; got 2 outside"):
        formula.columns_of(pd.DataFrame({"x": [-1e3, 3.0, 1e3]}))


def test_a_truth_value_stays_one(frame):
    formula = ModelFormula.from_json(stored(frame.assign(b=frame.x > 3), "y ~ b + (1 | g)"))
    assert formula.columns_of(pd.DataFrame({"b": [True, True]})).tolist() == [[1.0], [1.0]]
    with pytest.raises(TypeError, match="True or False; got dtype"):
        formula.columns_of(pd.DataFrame({"b": ["yes"]}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"formula": "y ~ __import__('os') + (1 | g)"}, "a function that formulas have"),
        ({"formula": 3}, "to be a str"),
        ({"version": 99}, "of version 1; got 99"),
        ({"columns": [["x", "code", []]]}, "of version 1"),
        ({"columns": [[1, 2, 3]]}, "a text without one"),
        ({"state": []}, "of version 1"),
        ({"population": [1]}, "a text without one"),
    ],
)
def test_a_stored_formula_is_checked_again(frame, change, says):
    content = json.loads(stored(frame)) | change
    with pytest.raises((ValueError, TypeError)) as caught:
        ModelFormula.from_json(json.dumps(content))
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", "null"])
def test_what_is_no_stored_formula_is_refused(text):
    with pytest.raises(ValueError, match="Expected a stored formula"):
        ModelFormula.from_json(text)


def test_a_stored_formula_without_its_state_is_refused(frame):
    content = json.loads(stored(frame)) | {"state": {}}
    formula = ModelFormula.from_json(json.dumps(content))
    with pytest.raises(ValueError, match="with the state of"):
        formula.columns_of(frame)
