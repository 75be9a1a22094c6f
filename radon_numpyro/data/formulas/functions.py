"""Functions and operators that formulas may use, and the arguments of their calls.

Formulas can call only the functions in these tables. No names are looked up in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from radon_numpyro.data.checks import suggest
from radon_numpyro.data.formulas.basis_columns import BASES
from radon_numpyro.data.formulas.categories import CONTRASTS
from radon_numpyro.data.formulas.syntax import (
    LOGICAL,
    Call,
    Name,
    Node,
    Number,
    Operation,
    Text,
    children,
    spelled,
)

ELEMENTWISE: dict[str, Callable[[Any], Any]] = {
    "I": np.array,
    "abs": np.abs,
    "cos": np.cos,
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tan": np.tan,
}
ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
# Names of the parameters of each function, in order of position.
FUNCTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(ELEMENTWISE, ("x",)),
    "log": ("x", "base"),
    "scale": ("x", "center", "scale"),
    "center": ("x",),
    "days": ("x", "origin"),
    "factor": ("x", "levels"),
    "as.factor": ("x",),
    "relevel": ("x", "ref"),
    "C": ("x", "contr", "base"),
    **BASES,
}
CATEGORICAL = ("factor", "as.factor", "relevel", "C")


def function_named(call: Call) -> str:
    """Return the name of the called function, without the prefix ``np.`` of NumPy functions.

    Parameters
    ----------
    call
        Syntax tree of the call.

    Raises
    ------
    ValueError
        If the function is not in the tables.
    """
    name = call.function.removeprefix("np.")
    if name in CONTRASTS or (name in FUNCTIONS and (name == call.function or name in ELEMENTWISE)):
        return name
    raise ValueError(
        f"Expected a function that formulas have; got {spelled(call)[:80]!r} "
        f"({suggest(call.function, sorted(FUNCTIONS))}; all: {', '.join(sorted(FUNCTIONS))})"
    )


def columns_named(node: Node) -> tuple[str, ...]:
    """Return the names in a tree that may be columns.

    Whether ``T``, ``F`` or ``pi`` is a column depends on the frame, so they are included.

    Parameters
    ----------
    node
        Syntax tree of an expression.
    """
    if isinstance(node, Name):
        constant = not node.quoted and node.value in ("TRUE", "FALSE", "True", "False")
        return () if constant else (node.value,)
    # Only the first argument of these functions has columns; the others are contrasts and options.
    several = children(node)
    if isinstance(node, Call) and node.function.removeprefix("np.") not in ELEMENTWISE:
        several = several[:1]
    return tuple(name for child in several for name in columns_named(child))


def constant(node: Node, whole: Node) -> Any:
    """Return the value of an option: a number, truth value or text, or a list as ``c(1, 2)``.

    Parameters
    ----------
    node
        Syntax tree of the option.
    whole
        The call to which the option belongs, for messages.

    Raises
    ------
    ValueError
        If the option has another form.
    """
    if isinstance(node, Number | Text):
        return node.value
    if isinstance(node, Name) and not node.quoted and node.value in LOGICAL:
        return LOGICAL[node.value]
    if isinstance(node, Operation) and node.operator == "-" and len(node.operands) == 1:
        value = constant(node.operands[0], whole)
        if isinstance(value, float):
            return -value
    if isinstance(node, Call) and node.function == "c":
        return [constant(value, whole) for _, value in node.arguments]
    raise ValueError(
        f"Expected a number, TRUE, FALSE, a text or c(...) as an option; got {spelled(node)!r} in "
        f"{spelled(whole)!r}"
    )


def matched(call: Call, name: str) -> dict[str, Node]:
    """Return the arguments of a call by the names of the parameters.

    An argument without a name belongs to the parameter at its position.

    Parameters
    ----------
    call
        The call.
    name
        Name of the function, from :func:`function_named`.

    Raises
    ------
    ValueError
        If the function is a contrast, an argument is not among the parameters or is given twice,
        or the argument ``x`` is missing.
    """
    if name in CONTRASTS:
        raise ValueError(f"Expected {name} inside C(); got {spelled(call)!r}")
    parameters = FUNCTIONS[name]
    given: dict[str, Node] = {}
    for place, (key, node) in enumerate(call.arguments):
        parameter = key or (parameters[place] if place < len(parameters) else "")
        if parameter not in parameters or parameter in given:
            got = f"{key} = {spelled(node)}" if key else spelled(node)
            raise ValueError(
                f"Expected arguments {', '.join(parameters)} of {name}; got {got} in "
                f"{spelled(call)!r}"
            )
        given[parameter] = node
    if "x" not in given:
        raise ValueError(f"Expected a column in {spelled(call)!r}; got none")
    return given


def number(value: Any, what: str, node: Node) -> float:
    """Return the value of an option, checked to be a number.

    Parameters
    ----------
    value
        Value of the option.
    what
        Name of the option, for messages.
    node
        The call, for messages.

    Raises
    ------
    ValueError
        If the value is not a number.
    """
    if isinstance(value, bool) or not isinstance(value, float):
        raise ValueError(f"Expected {what} to be a number; got {value!r} in {spelled(node)!r}")
    return value
