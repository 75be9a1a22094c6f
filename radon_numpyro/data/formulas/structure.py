"""Take apart the columns of a stored formula: which factors each is a product of, and how these are
coded. Find the factors that are functions of the same variable, such as ``x`` and ``I(x^2)``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from radon_numpyro.data.formulas.basis_columns import BASES
from radon_numpyro.data.formulas.categories import Categories, Contrast
from radon_numpyro.data.formulas.columns import coded, label_of, reductions
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.functions import (
    CATEGORICAL,
    ELEMENTWISE,
    constant,
    function_named,
    matched,
)
from radon_numpyro.data.formulas.syntax import (
    Call,
    Name,
    Node,
    Operation,
    Pick,
    Text,
    children,
    spelled,
    walk,
)
from radon_numpyro.data.formulas.term_algebra import Part
from radon_numpyro.data.formulas.values import Basis, Interpreter, Value


class ColumnFactor(NamedTuple):
    """One factor of a column.

    Attributes
    ----------
    text
        The factor in the formula, such as ``"Sex"``.
    name
        Name of its column alone, such as ``"Sex[Male]"``.
    reduced
        Whether the factor is coded by contrasts, so that it has a reference level; if not, a
        category has a column for each level.
    """

    text: str
    name: str
    reduced: bool


@dataclass(frozen=True)
class Shape:
    """Factors that are functions of the same variables: a curve of one, a surface over several.

    Their columns cannot change one by one. Polynomials and splines are such factors by themselves.

    Attributes
    ----------
    variables
        Columns of the frame. If the factors are polynomials and splines of one expression, it is
        that expression, such as ``"log(age)"``.
    factors
        The factors as text, such as ``("x", "I(x^2)")``.
    """

    variables: tuple[str, ...]
    factors: tuple[str, ...]


@dataclass(frozen=True)
class Structure:
    """The columns of a formula, taken apart.

    Attributes
    ----------
    population, varying
        The factors of each column of the common part, and of the random parts, by name. Columns
        that were left out of the fit are included.
    values
        Each factor without rows: its levels with their contrast, or its number of columns.
    labels
        Text of each factor in the names of columns.
    shapes
        Factors that are functions of the same variables, by factor.
    """

    population: dict[str, tuple[ColumnFactor, ...]]
    varying: dict[str, tuple[ColumnFactor, ...]]
    values: dict[str, Categories | Basis]
    labels: dict[str, str]
    shapes: dict[str, Shape]


def structure_of(formula: ModelFormula) -> Structure:
    """Take apart the columns of a formula.

    Parameters
    ----------
    formula
        A formula with its state from the rows of a fit.
    """
    terms = formula.terms
    values = {text: _without_rows(node, formula.state) for text, node in terms.factors.items()}
    labels = {text: label_of(node) for text, node in terms.factors.items()}

    def columns(part: Part) -> dict[str, tuple[ColumnFactor, ...]]:
        found: dict[str, tuple[ColumnFactor, ...]] = {}
        for ordered, reduced in reductions(part, terms.factors, values):
            made: list[tuple[ColumnFactor, ...]] = [()]
            for text, fewer in zip(ordered, reduced, strict=True):
                names = coded(text, values[text], labels[text], fewer)
                made = [(*one, ColumnFactor(text, n, fewer)) for n in names for one in made]
            found |= {":".join(factor.name for factor in one): one for one in made}
        return found

    varying: dict[str, tuple[ColumnFactor, ...]] = {}
    for part in terms.random:
        varying |= columns(part)
    population, design = columns(terms.common), formula.design
    kept = {f.text for x in design.population for f in population.get(x, ())}
    kept |= {f.text for x in design.varying for f in varying.get(x, ())}
    shapes = _shapes(formula, {text: values[text] for text in values if text in kept})
    return Structure(population, varying, values, labels, shapes)


def _without_rows(node: Node, state: Mapping[str, Any]) -> Categories | Basis:
    """Return the levels of a factor with their contrast, or its number of columns."""
    levels = state.get(f"levels of {spelled(node)}")
    if levels is not None:
        return Categories(np.empty(0, np.int64), tuple(levels), _contrast(node, levels))
    width = 1
    if isinstance(node, Call) and function_named(node) in BASES:
        own = state.get(spelled(node), {})
        x = text_of(matched(node, function_named(node))["x"])
        inside = np.array([own.get("lower_bound", 0.0)])
        value = At({x: inside}, {}, state).value(node)
        width = value.values.shape[1] if isinstance(value, Basis) else 1
    return Basis(np.empty((0, width)))


def _contrast(node: Node, levels: Sequence[str]) -> Contrast:
    if not isinstance(node, Call) or function_named(node) not in CATEGORICAL:
        return Contrast()
    name = function_named(node)
    given = matched(node, name)
    if name == "relevel":
        return Contrast.of(None, given["ref"], levels, node)
    if name == "C":
        return Contrast.of(given.get("contr"), given.get("base"), levels, node)
    return _contrast(given["x"], levels)


class At(Interpreter):
    """Evaluate factors at values of variables or of expressions, with the state of a fit.

    Parameters
    ----------
    values
        Values by variable, or by the text of an expression such as ``"log(age)"``.
    columns, state
        As in :class:`Interpreter`.
    """

    def __init__(
        self, values: Mapping[str, Any], columns: Mapping[str, Any], state: Mapping[str, Any]
    ) -> None:
        super().__init__(columns, dict(state))
        self.given = values

    def value(self, node: Node) -> Value:
        """Evaluate any syntax tree.

        Parameters
        ----------
        node
            The syntax tree.
        """
        text = text_of(node)
        return self.given[text] if text in self.given else super().value(node)


def text_of(node: Node) -> str:
    """Return the text of an expression, in which a column alone has its name without quotes.

    Parameters
    ----------
    node
        Syntax tree of the expression.
    """
    return node.value if isinstance(node, Name) else spelled(node)


def variables_of(node: Node, known: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of an expression: columns of the frame, and counts of days.

    Parameters
    ----------
    node
        Syntax tree of the expression.
    known
        Kinds of the columns of the frame, by name.
    """
    if isinstance(node, Name):
        return (node.value,) if node.value in known else ()
    inner = children(node)
    if isinstance(node, Call):
        if function_named(node) == "days":
            return (spelled(node),)
        inner = inner if function_named(node) in ELEMENTWISE else inner[:1]
    return tuple(dict.fromkeys(x for child in inner for x in variables_of(child, known)))


def _shapes(formula: ModelFormula, values: Mapping[str, Categories | Basis]) -> dict[str, Shape]:
    """Group the factors that have variables in common."""
    kinds = {kind.name: kind.kind for kind in formula.kinds}
    nodes = formula.terms.factors
    groups: list[tuple[dict[str, None], list[str]]] = []
    for text in values:
        variables = dict.fromkeys(variables_of(nodes[text], kinds))
        if not variables:
            continue
        joined = [text]
        apart = []
        for others, factors in groups:
            if others.keys() & variables.keys():
                variables, joined = others | variables, factors + joined
            else:
                apart.append((others, factors))
        groups = [*apart, (variables, joined)]
    found: dict[str, Shape] = {}
    for _, factors in groups:
        factors.sort(key=list(values).index)
        numeric = [text for text in factors if isinstance(values[text], Basis)]
        calls = [node for text in factors if isinstance(node := nodes[text], Call)]
        bases = [call for call in calls if function_named(call) in BASES]
        if not numeric or (len(factors) == 1 and not bases):
            continue
        of = tuple(dict.fromkeys(x for text in factors for x in variables_of(nodes[text], kinds)))
        within = {text_of(matched(call, function_named(call))["x"]) for call in bases}
        if len(bases) == len(factors) and len(within) == 1:
            of = tuple(within)
        found |= dict.fromkeys(factors, Shape(of, tuple(factors)))
    return found


def inverse(node: Node, values: Any, variable: str, state: Mapping[str, Any]) -> Any:
    """Return the values of a variable at which an expression has given values.

    Parameters
    ----------
    node
        Syntax tree of the expression. Of a polynomial or a spline the first column is taken.
    values
        Values of the expression, shape (N,).
    variable
        A variable, or an expression in `node`.
    state
        State of the functions from the rows of the fit.

    Returns
    -------
    array or None
        The values; the ends of the range of a spline; None if they are not known to be unique.
    """
    if text_of(node) == variable:
        return values
    if isinstance(node, Operation):
        return _of_arithmetic(node, values, variable, state)
    if not isinstance(node, Call):
        return None
    name, own = function_named(node), state.get(spelled(node))
    x = matched(node, name).get("x")
    options = {k: constant(v, node) for k, v in matched(node, name).items() if k != "x"}
    if name in ("scale", "center") and own:
        values = values * own[1] + own[0]
    elif name == "poly":
        values = own["alpha"][0] + values * own["norms2"][1] ** 0.5 if own else values
    elif name in BASES:
        values = np.array([own["lower_bound"], own["upper_bound"]]) if own else values
    elif name in _INVERSES and not options:
        with np.errstate(all="ignore"):
            values = _INVERSES[name](values)
    else:
        return None
    return None if x is None else inverse(x, values, variable, state)


def _of_arithmetic(node: Operation, values: Any, variable: str, state: Mapping[str, Any]) -> Any:
    """Return the values of a variable of which a sum with a number, or a multiple, is given."""
    if len(node.operands) != 2 or node.operator not in "+-*/":
        return None
    left, right = (
        None if list(_names(part)) else Interpreter({}).value(part) for part in node.operands
    )
    if isinstance(right, float) and right:
        undo = {"+": np.subtract, "-": np.add, "*": np.divide, "/": np.multiply}[node.operator]
        return inverse(node.operands[0], undo(values, right), variable, state)
    if isinstance(left, float) and left and node.operator in "+*":
        undo = np.subtract if node.operator == "+" else np.divide
        return inverse(node.operands[1], undo(values, left), variable, state)
    return None


def _names(node: Node) -> Iterator[Node]:
    return (inner for inner in walk(node) if isinstance(inner, Name | Call | Text | Pick))


_INVERSES: dict[str, Any] = {
    "I": np.array,
    "exp": np.log,
    "log": np.exp,
    "log10": lambda x: 10.0**x,
    "log1p": np.expm1,
    "log2": np.exp2,
    "sqrt": np.square,
}
