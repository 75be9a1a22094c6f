"""The columns of a stored formula taken apart, from the formula and its state alone."""

import numpy as np
import pandas as pd
import pytest

from radon_numpyro import GroupedData
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.structure import inverse, structure_of
from radon_numpyro.data.formulas.syntax import parse


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(4)
    frame = pd.DataFrame({f"x{k}": rng.uniform(1.0, 3.0, 80) for k in range(1, 4)})
    frame["a b"] = rng.uniform(1.0, 3.0, 80)
    frame["c"] = rng.choice(list("pqr"), 80)
    frame["d"] = rng.choice(["s:t", "u[v]"], 80)
    frame["k"] = rng.integers(1, 5, 80)
    frame["day"] = pd.Timestamp("2024-02-28") + pd.to_timedelta(rng.integers(0, 99, 80), "D")
    frame["y"], frame["g"] = rng.normal(size=80), np.arange(80) % 5
    return frame


def structure(formula, frame):
    data = GroupedData.from_formula(f"y ~ {formula} + (1 + x3 || g)", frame)
    stored = ModelFormula.from_json(data.formula)
    return stored, structure_of(stored)


@pytest.mark.parametrize(
    "formula",
    [
        "x1 * c * d",
        "0 + c/x1 + d:c",
        "poly(x1, 3) + poly(x2, 2, raw = TRUE) * d",
        "bs(x1, 5, intercept = TRUE) + ns(log(x2), 3):c + cc(`a b`, 4)",
        "poly(x1, 2)[, 1] + C(c, contr.sum):d + C(k, contr.poly) + relevel(d, 'u[v]'):x1",
        "factor(k, levels = c(4, 3, 2, 1)) + (x1 > 2) * x2 + factor(relevel(c, 'q'))",
        "days(day) + I(days(day)^2) + scale(`a b`, scale = FALSE)",
    ],
)
def test_every_column_is_the_product_of_its_factors(formula, frame):
    """Else the report would take a column for something that it is not."""
    stored, found = structure(formula, frame)
    for x in stored.design.population[1:]:
        assert x == ":".join(piece.name for piece in found.population[x])
        assert all(piece.name.startswith(found.labels[piece.text]) for piece in found.population[x])
    assert set(found.varying) == {"x3"}


@pytest.mark.parametrize(
    ("formula", "shapes"),
    [
        ("x1 + x2 * c", set()),
        ("x1 + I(x1^2) + x2", {("x1",)}),
        ("x1 + log(x1) + x2 + sqrt(x2)", {("x1",), ("x2",)}),
        ("ns(log(x1), 3)", {("log(x1)",)}),
        ("ns(log(x1), 3) + x1", {("x1",)}),
        ("x1 + x2 + I(x1 * x2)", {("x1", "x2")}),
        ("c + C(c, contr.sum):x1", set()),
        ("x1 + I(2 * x1)", set()),
        ("days(day) + I(days(day)^2)", {("days(day)",)}),
    ],
)
def test_factors_of_the_same_variable_are_found(formula, shapes, frame):
    """Else they would be told one by one; a redundant one, which the fit leaves out, is none."""
    _, found = structure(formula, frame)
    assert {shape.variables for shape in found.shapes.values()} == shapes


@pytest.mark.parametrize(
    "expression",
    ["x", "scale(x)", "I(2 * (x - 50))", "log(x / 10)", "log1p(x)", "poly(x, 2)", "10 * sqrt(x)"],
)
def test_a_variable_is_found_from_an_expression(expression):
    """Else the range of a curve would be wrong."""
    x = np.linspace(1.0, 9.0, 7)
    made = {
        "scale(x)": (x - 4.0) / 2.0,
        "I(2 * (x - 50))": 2 * (x - 50),
        "log(x / 10)": np.log(x / 10),
        "log1p(x)": np.log1p(x),
        "poly(x, 2)": (x - 3.0) / 4.0,
        "10 * sqrt(x)": 10 * np.sqrt(x),
    }.get(expression, x)
    state = {"scale(x)": [4.0, 2.0], "poly(x, 2)": {"alpha": [3.0], "norms2": [1.0, 16.0]}}
    _, node = parse(f"y ~ {expression}")
    np.testing.assert_allclose(inverse(node, made, "x", state), x, rtol=1e-12)


def test_a_variable_that_an_expression_does_not_determine_is_not_made_up():
    _, node = parse("y ~ I(x^2)")
    assert inverse(node, np.array([4.0]), "x", {}) is None
