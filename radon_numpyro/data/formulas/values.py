"""Evaluate the expressions of a formula on columns.

Functions that depend on the rows of a fit (``scale``, ``center``, ``days``, ``poly``, splines,
levels) store their state, so that they treat new rows in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.checks import first_few, plural, suggest
from radon_numpyro.data.formulas.basis_columns import basis
from radon_numpyro.data.formulas.categories import Categories, Contrast, level_text, of_numbers
from radon_numpyro.data.formulas.dates import Dates
from radon_numpyro.data.formulas.functions import (
    ARITHMETIC,
    CATEGORICAL,
    ELEMENTWISE,
    constant,
    function_named,
    matched,
    number,
)
from radon_numpyro.data.formulas.syntax import (
    LOGICAL,
    Call,
    Name,
    Node,
    Number,
    Operation,
    Pick,
    Text,
    spelled,
)

type Vector = NDArray[np.float64] | NDArray[np.bool_]
type State = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Basis:
    """The columns of a function with several values for each row, shape (N, m)."""

    values: NDArray[np.float64]


type Value = Vector | float | Categories | Basis


class Interpreter:
    """Evaluate syntax trees on the columns of a frame.

    Parameters
    ----------
    columns
        The columns: numbers or booleans of shape (N,), categories or dates.
    state
        State of the functions from the rows of a fit, by their text. If None, the state is computed
        from these rows and stored in the attribute `state`.
    """

    def __init__(
        self, columns: Mapping[str, Vector | Categories | Dates], state: State | None = None
    ) -> None:
        self.columns = columns
        self.learns = state is None
        self.state: State = {} if state is None else state

    def factor(self, node: Node) -> Categories | Basis:
        """Evaluate a factor of a term to categories, or to columns of finite numbers.

        Parameters
        ----------
        node
            Syntax tree of the factor.

        Raises
        ------
        ValueError
            If some rows have no finite value, or there is a single level.
        """
        value = self.value(node)
        if isinstance(value, float):
            raise ValueError(f"Expected a term that varies by row; got {spelled(node)!r}")
        if isinstance(value, np.ndarray) and value.dtype == np.bool_:
            value = of_numbers(value)
        if isinstance(value, Categories):
            value = self._known_levels(value, node)
            if len(value.levels) == 1:
                raise ValueError(
                    f"Expected {spelled(node)!r} to have two levels or more; got one, "
                    f"{value.levels[0]!r}, in all rows that are used: leave it out"
                )
            return value
        self._finite(value.values if isinstance(value, Basis) else value, node)
        return value if isinstance(value, Basis) else Basis(np.asarray(value, float)[:, None])

    def numbers(self, node: Node) -> NDArray[np.float64]:
        """Evaluate the response or an offset to finite numbers, shape (N,).

        Parameters
        ----------
        node
            Its syntax tree.

        Raises
        ------
        TypeError
            If the value is a text, a category or a truth value.
        ValueError
            If some rows have no finite value, or there are several columns.
        """
        value = self._numeric(node, node)
        if isinstance(value, float):
            raise ValueError(f"Expected an expression that varies by row; got {spelled(node)!r}")
        if value.dtype == np.bool_:
            raise TypeError(f"Expected {spelled(node)!r} to be a measurement; got true or false")
        self._finite(value, node)
        return np.asarray(value, dtype=np.float64)

    def value(self, node: Node) -> Value:
        """Evaluate any syntax tree.

        Parameters
        ----------
        node
            The syntax tree.
        """
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Name):
            if node.value in self.columns:
                column = self.columns[node.value]
                if isinstance(column, Dates):
                    raise TypeError(
                        f"Expected the dates of {node.value!r} inside days() only; got them by "
                        "themselves in a formula"
                    )
                return column
            if node.quoted or node.value not in (*LOGICAL, "pi"):
                raise ValueError(f"Expected the formula to name columns; got {node.value!r}")
            return float(np.pi if node.value == "pi" else LOGICAL[node.value])
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Pick):
            return self._pick(node)
        if isinstance(node, Text):
            raise ValueError(f"Expected a column or a number; got {spelled(node)} in a formula")
        return self._operation(node)

    def _operation(self, node: Operation) -> Value:
        if node.operator in ("==", "!=") and any(isinstance(n, Text) for n in node.operands):
            return self._is_level(node)
        values = [np.asarray(self._numeric(n, node), np.float64) for n in node.operands]
        with np.errstate(all="ignore"):
            if len(values) == 1:
                result = -values[0] if node.operator == "-" else values[0]
            else:
                result = ARITHMETIC[node.operator](*values)
        return float(result) if result.ndim == 0 else result

    def _is_level(self, node: Operation) -> Vector:
        """Compare categories with a level, as in ``Sex == "Male"``."""
        text = next(n for n in node.operands if isinstance(n, Text))
        other = next((n for n in node.operands if n is not text), text)
        value = self.value(other)
        if not isinstance(value, Categories):
            raise ValueError(f"Expected categories beside {spelled(text)}; got {spelled(node)!r}")
        if text.value not in value.levels:
            raise ValueError(
                f"Expected a level of {spelled(other)!r}; got {text.value!r} "
                f"({suggest(text.value, value.levels)})"
            )
        compare = ARITHMETIC[node.operator]
        return np.asarray(compare(value.codes, value.levels.index(text.value)), np.bool_)

    def _numeric(self, node: Node, whole: Node) -> Vector | float:
        """Evaluate a tree that must be numeric."""
        value = self.value(node)
        if isinstance(value, Categories):
            raise TypeError(
                f"Expected numbers in {spelled(whole)!r}; got {spelled(node)!r}, which has the "
                f"categories {first_few(value.levels)}"
            )
        if isinstance(value, Basis):
            raise ValueError(
                f"Expected one column in {spelled(whole)!r}; got {spelled(node)!r} with "
                f"{value.values.shape[1]}: pick one, as in {spelled(node)}[, 1]"
            )
        return value

    def _finite(self, values: Any, node: Node) -> None:
        """Raise ValueError with the number of rows whose values are not finite, if any."""
        good = np.isfinite(values).reshape(len(values), -1).all(1)
        if not good.all():
            count = plural(int((~good).sum()), "row")
            raise ValueError(
                f"Expected {spelled(node)!r} to be finite; got {count} where it is not"
            )

    def _remembered(self, key: str, learn: Callable[[], Any]) -> Any:
        """Return the stored state of a function, or compute and store it in a first fit."""
        if self.learns and key not in self.state:
            self.state[key] = learn()
        if key not in self.state:
            raise ValueError(f"Expected a stored formula with the state of {key!r}; got none")
        return self.state[key]

    def _pick(self, node: Pick) -> Vector:
        value = self.value(node.node)
        if not isinstance(value, Basis) or not 1 <= node.column <= value.values.shape[1]:
            many = value.values.shape[1] if isinstance(value, Basis) else 1
            raise ValueError(
                f"Expected a column between 1 and {many} of {spelled(node.node)!r}; got "
                f"{node.column}"
            )
        return value.values[:, node.column - 1]

    def _call(self, node: Call) -> Value:
        name = function_named(node)
        given = matched(node, name)
        x = given["x"]
        if name in CATEGORICAL:
            return self._categorical(node, name, given)
        options = {k: constant(v, node) for k, v in given.items() if k != "x"}
        if name == "days":
            return self._days(node, x, options.get("origin"))
        value = self._numeric(x, node)
        with np.errstate(all="ignore"):
            if name in ELEMENTWISE:
                if name == "I":
                    return value
                result = ELEMENTWISE[name](np.asarray(value, np.float64))
                if "base" in options:
                    result = result / np.log(number(options["base"], "base", node))
                return float(result) if result.ndim == 0 else result
        if isinstance(value, float):
            raise ValueError(f"Expected a column in {spelled(node)!r}; got {spelled(x)!r}")
        numbers = np.asarray(value, np.float64)
        self._finite(numbers, x)
        key = spelled(node)
        if name in ("scale", "center"):
            shift, divisor = self._remembered(key, lambda: _scale(numbers, name, options, node))
            return (numbers - shift) / divisor
        state = self.state.get(key)
        if state is None and not self.learns:
            raise ValueError(f"Expected a stored formula with the state of {key!r}; got none")
        values, learnt = basis(name, numbers, options, state, key)
        if self.learns:
            self.state[key] = learnt
        return Basis(values)

    def _days(self, node: Call, x: Node, given: Any) -> Vector:
        """Return the days since the first date of the fit, or since a given date."""
        dates = self.columns.get(x.value) if isinstance(x, Name) else None
        if not isinstance(dates, Dates):
            raise ValueError(f"Expected a column of dates in {spelled(node)!r}; got {spelled(x)!r}")
        return dates.since(self._remembered(spelled(node), lambda: dates.origin(given, node)))

    def _categorical(self, node: Call, name: str, given: Mapping[str, Node]) -> Categories:
        """Evaluate ``factor``, ``relevel`` or ``C``, which set levels or their coding."""
        value = self.value(given["x"])
        if isinstance(value, float | Basis):
            raise ValueError(f"Expected a column in {spelled(node)!r}; got {spelled(given['x'])!r}")
        if not isinstance(value, Categories):
            self._finite(value, given["x"])
            value = of_numbers(value)
        if "levels" in given and self.learns:
            wanted = constant(given["levels"], node)
            levels = map(level_text, wanted if isinstance(wanted, list) else [wanted])
            value = value.among(tuple(dict.fromkeys(levels)), spelled(node))
        value = self._known_levels(value, node)
        if name == "relevel":
            if "ref" not in given:
                raise ValueError(f"Expected ref in {spelled(node)!r}; got none")
            contrast = Contrast.of(None, given["ref"], value.levels, node)
            return replace(value, contrast=contrast)
        if name == "C":
            contrast = Contrast.of(given.get("contr"), given.get("base"), value.levels, node)
            return replace(value, contrast=contrast)
        return value

    def _known_levels(self, value: Categories, node: Node) -> Categories:
        """Return the categories with the levels of the fit."""
        if self.learns:
            value = value.used()
        levels = self._remembered(f"levels of {spelled(node)}", lambda: list(value.levels))
        return value.among(levels, spelled(node))


def _scale(
    values: NDArray[np.float64], name: str, options: Mapping[str, Any], node: Node
) -> list[float]:
    """Return shift and divisor as in R; uncentred, the root mean square replaces the sd."""
    center, scale = options.get("center", True), options.get("scale", name == "scale")
    shift = float(values.mean()) if center is True else 0.0
    if not isinstance(center, bool):
        shift = number(center, "center", node)
    if isinstance(scale, bool):
        rows = max(len(values) - 1, 1)
        divisor = float(np.sqrt(((values - shift) ** 2).sum() / rows)) if scale else 1.0
    else:
        divisor = number(scale, "scale", node)
    if divisor == 0.0:
        raise ValueError(f"Expected {spelled(node)!r} of values that vary; got one value only")
    return [shift, divisor]
