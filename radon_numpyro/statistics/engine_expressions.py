"""Translate the syntax trees of a formula into expressions that an engine computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from radon_numpyro.data.checks import count_days, first_few, plural, suggest
from radon_numpyro.data.formulas.categories import Contrast, level_text
from radon_numpyro.data.formulas.formula import ModelFormula
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
    COMPARISONS,
    LOGICAL,
    Call,
    Name,
    Node,
    Number,
    Operation,
    Text,
    spelled,
)
from radon_numpyro.data.formulas.values import State
from radon_numpyro.data.frame_columns import BOOLEAN, CATEGORY, NUMBER, FrameColumn, Kind
from radon_numpyro.statistics.engine_reduction import collect, is_gap

_FUNCTIONS: dict[str, Callable[[nw.Expr], nw.Expr]] = {
    "I": lambda x: x,
    "abs": lambda x: x.abs(),
    "cos": lambda x: x.cos(),
    "exp": lambda x: x.exp(),
    # Without the condition, some engines raise and others warn for numbers without a logarithm.
    "log": lambda x: nw.when(x > 0.0).then(x).log(),
    "log10": lambda x: nw.when(x > 0.0).then(x).log(10),
    "log1p": lambda x: nw.when(x > -1.0).then(x + 1.0).log(),
    "log2": lambda x: nw.when(x > 0.0).then(x).log(2),
    "sin": lambda x: x.sin(),
    "sqrt": lambda x: nw.when(x >= 0.0).then(x).sqrt(),
    "tan": lambda x: x.sin() / x.cos(),
}
_OPERATORS: dict[str, Callable[[Any, Any], nw.Expr]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "^": lambda a, b: a**b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


@dataclass(frozen=True, eq=False)
class Numbers:
    """A numeric or boolean expression.

    Attributes
    ----------
    expression
        The expression, with one value for each row.
    truth
        Whether it is boolean.
    """

    expression: nw.Expr
    truth: bool = False

    @property
    def number(self) -> nw.Expr:
        """The expression as a number, with true as 1."""
        return self.expression.cast(nw.Float64) if self.truth else self.expression


@dataclass(frozen=True, eq=False)
class Levels:
    """A categorical expression.

    Attributes
    ----------
    expression
        The expression, with one value for each row.
    values
        Its value in the engine for each level.
    levels
        The levels as text, in order.
    contrast
        The coding of the levels in a model with a constant.
    """

    expression: nw.Expr
    values: tuple[Any, ...]
    levels: tuple[str, ...]
    contrast: Contrast = field(default_factory=Contrast)


class EngineColumns:
    """Evaluate syntax trees as engine expressions; the counterpart of ``Interpreter`` in memory.

    Parameters
    ----------
    rows
        The rows, without missing values.
    aliases
        Names of the columns in the engine, by the user's names.
    stored
        The formula with its state, if it was evaluated on other rows before.
    """

    def __init__(
        self, rows: nw.LazyFrame[Any], aliases: Mapping[str, str], stored: ModelFormula | None
    ) -> None:
        self.rows = rows
        self.aliases = aliases
        self.schema = rows.collect_schema()
        self.known = None if stored is None else {kind.name: kind for kind in stored.kinds}
        self.state: State = {} if stored is None else stored.state
        self.kinds: dict[str, Kind] = {}
        self.categories: list[FrameColumn] = []
        self.columns: dict[str, Numbers | Levels] = {}

    def column(self, name: str, argument: str = "x") -> Numbers | Levels:
        """Return a column of the frame as an expression of its kind.

        Parameters
        ----------
        name
            The user's name of the column.
        argument
            ``"y"`` or ``"x"``, for messages.
        """
        if name in self.columns:
            return self.columns[name]
        dtype, expression = self.schema[self.aliases[name]], nw.col(self.aliases[name])
        where = f"column {name!r} ({argument})"
        got, enum = f"got dtype {dtype}", isinstance(dtype, nw.Enum)
        text = enum or dtype in (nw.String, nw.Categorical)
        kind = CATEGORY if text else BOOLEAN if dtype == nw.Boolean else NUMBER
        if kind == NUMBER and not dtype.is_numeric():
            got += f": of rows in memory, {count_days(name)}" if dtype.is_temporal() else ""
            raise TypeError(f"Expected {where} to be numbers or categories; {got}")
        if argument == "y" and kind != NUMBER:
            raise TypeError(f"Expected {where} to be numeric; {got}")
        if self.known and (wanted := self.known[name].kind) != kind:
            raise TypeError(f"Expected {where} to be a {wanted} as in the fit; {got}")
        value: Numbers | Levels
        if kind != CATEGORY:
            truth = kind == BOOLEAN
            value = Numbers(expression if truth else expression.cast(nw.Float64), truth)
            self.kinds[name] = Kind(name, kind)
            if truth:
                self._distinct(expression, where)
        else:
            expression = expression.cast(nw.String)
            present = self._distinct(expression, where)
            declared = list(dtype.categories) if isinstance(dtype, nw.Enum) else sorted(present)
            levels = tuple(level for level in declared if level in present)
            self.kinds[name] = Kind(name, CATEGORY, levels)
            unused = tuple(level for level in declared if level not in present)
            self.categories.append(
                FrameColumn(self.kinds[name], np.empty(0), unused, enum, dtype == nw.String)
            )
            if self.known:
                levels = _among(levels, self.known[name].levels, name)
            value = Levels(expression, levels, levels)
        self.columns[name] = value
        return value

    def _distinct(self, expression: nw.Expr, where: str) -> set[Any]:
        """Query the distinct values of an expression; raise ValueError if one is missing."""
        level = self.rows.select(expression.alias("level"))
        values = collect(level.unique())["level"].to_list()
        if any(is_gap(value) for value in values):
            gaps = level.select(nw.col("level").is_null().cast(nw.Float64).sum())
            count = plural(int(collect(gaps)["level"].item() or 0), "row")
            raise ValueError(f"Expected {where} without gaps; got {count} missing")
        return set(values)

    def outcome(self, node: Node, argument: str) -> nw.Expr:
        """Return the response or an offset as a numeric expression.

        Parameters
        ----------
        node
            The syntax tree.
        argument
            ``"y"`` or ``"x"``, for messages.
        """
        value = self._numeric(node, node, argument)
        if isinstance(value, float):
            raise ValueError(f"Expected an expression that varies by row; got {spelled(node)!r}")
        if value.truth:
            raise TypeError(f"Expected {spelled(node)!r} to be a measurement; got true or false")
        return value.number

    def factor(self, node: Node) -> Numbers | Levels:
        """Return a factor of a term as an expression.

        Parameters
        ----------
        node
            The syntax tree of the factor.
        """
        value = self._value(node)
        if isinstance(value, float):
            raise ValueError(f"Expected a term that varies by row; got {spelled(node)!r}")
        if isinstance(value, Numbers) and value.truth:
            value = self._levels_of(value, node)
        if isinstance(value, Levels):
            value = self._known_levels(value, node)
            if len(value.levels) == 1:
                raise ValueError(
                    f"Expected {spelled(node)!r} to have two levels or more; got one, "
                    f"{value.levels[0]!r}, in all rows that are used: leave it out"
                )
        return value

    def _levels_of(self, value: Numbers, node: Node) -> Levels:
        """Return numbers or truth values as a categorical expression with sorted levels."""
        expression = value.expression
        found = sorted(self._distinct(expression, f"{spelled(node)!r}"))
        levels = tuple(level_text(bool(v) if value.truth else float(v)) for v in found)
        return Levels(expression, tuple(found), levels)

    def _known_levels(self, value: Levels, node: Node) -> Levels:
        """Return the value with all levels of the fit, or store its levels in a first fit."""
        key = f"levels of {spelled(node)}"
        if self.known is None:
            self.state.setdefault(key, list(value.levels))
        if key not in self.state:
            raise ValueError(f"Expected a stored formula with the state of {key!r}; got none")
        levels = _among(value.levels, tuple(self.state[key]), spelled(node))
        if levels == value.levels:
            return value
        raw = dict(zip(value.levels, value.values, strict=True))
        # Levels of the fit that do not occur in these rows.
        kind = type(value.values[0])
        others = {n: n == "True" if kind is bool else kind(n) for n in levels if n not in raw}
        return replace(value, values=tuple((raw | others)[n] for n in levels), levels=levels)

    def _value(self, node: Node, argument: str = "x") -> Numbers | Levels | float:
        """Evaluate a syntax tree of any type."""
        if isinstance(node, Number):
            return node.value
        if isinstance(node, Name):
            if node.value in self.aliases:
                return self.column(node.value, argument)
            if node.quoted or node.value not in (*LOGICAL, "pi"):
                raise ValueError(f"Expected the formula to name columns; got {node.value!r}")
            return float(np.pi if node.value == "pi" else LOGICAL[node.value])
        if isinstance(node, Call):
            return self._call(node, argument)
        if isinstance(node, Operation):
            return self._operation(node, argument)
        raise needs_memory(node)

    def _operation(self, node: Operation, argument: str) -> Numbers | float:
        texts = [n for n in node.operands if isinstance(n, Text)]
        if texts and node.operator in ("==", "!="):
            other = next((n for n in node.operands if not isinstance(n, Text)), texts[0])
            value = self._value(other, argument)
            level = texts[0].value
            if not isinstance(value, Levels) or level not in value.levels:
                levels = value.levels if isinstance(value, Levels) else ()
                raise ValueError(
                    f"Expected a level of {spelled(other)!r}; got {level!r} "
                    f"({suggest(level, levels)})"
                )
            return Numbers(_OPERATORS[node.operator](value.expression, level), truth=True)
        values = [self._numeric(n, node, argument) for n in node.operands]
        if all(isinstance(v, float) for v in values):
            numbers = [np.float64(v) for v in values if isinstance(v, float)]
            with np.errstate(all="ignore"):
                if len(numbers) == 1:
                    return float(-numbers[0] if node.operator == "-" else numbers[0])
                return float(ARITHMETIC[node.operator](*numbers))
        sides = [v if isinstance(v, float) else v.number for v in values]
        if len(sides) == 1:
            sides = [0.0, *sides]
        total = sides[0]
        for side in sides[1:]:
            total = _OPERATORS[node.operator](total, side)
        assert isinstance(total, nw.Expr)
        return Numbers(total, node.operator in COMPARISONS)

    def _numeric(self, node: Node, whole: Node, argument: str = "x") -> Numbers | float:
        """Evaluate a syntax tree that must be numeric."""
        value = self._value(node, argument)
        if isinstance(value, Levels):
            raise TypeError(
                f"Expected numbers in {spelled(whole)!r}; got {spelled(node)!r}, which has the "
                f"categories {first_few(value.levels)}"
            )
        return value

    def _call(self, node: Call, argument: str) -> Numbers | Levels | float:
        name = function_named(node)
        given = matched(node, name)
        if name in CATEGORICAL:
            return self._categorical(node, name, given)
        options = {k: constant(v, node) for k, v in given.items() if k != "x"}
        if name in ELEMENTWISE:
            value = self._numeric(given["x"], node, argument)
            base = np.log(number(options["base"], "base", node)) if "base" in options else 1.0
            if isinstance(value, float):
                with np.errstate(all="ignore"):
                    return float(ELEMENTWISE[name](value) / base)
            if name == "I":
                return value
            result = _FUNCTIONS[name](value.number)
            return Numbers(result / float(base) if "base" in options else result)
        if name in ("scale", "center"):
            inner = self._numeric(given["x"], node, argument)
            if not isinstance(inner, float):
                return self._scaled(node, name, inner.number, options)
        raise needs_memory(node)

    def _scaled(self, node: Call, name: str, value: nw.Expr, options: Mapping[str, Any]) -> Numbers:
        """Subtract the mean and, for ``scale``, divide by the sd; both come from own queries."""
        key = spelled(node)
        if key not in self.state:
            if self.known is not None or options:
                raise needs_memory(node)
            mean = self._mean_of(value)
            mean += self._mean_of(value - mean)
            count = int(collect(self.rows.select(nw.len().alias("n")))["n"].item())
            variance = self._mean_of((value - mean) * (value - mean)) * count / max(count - 1, 1)
            divisor = sqrt(variance) if name == "scale" else 1.0
            if divisor == 0.0:
                raise ValueError(f"Expected {key!r} of values that vary; got one value only")
            self.state[key] = [mean, divisor]
        shift, divisor = self.state[key]
        return Numbers((value - shift) / divisor)

    def _mean_of(self, value: nw.Expr) -> float:
        query = self.rows.select(value.alias("value")).select(nw.col("value").mean())
        mean = collect(query)["value"].item()
        return float("nan") if mean is None else float(mean)

    def _categorical(self, node: Call, name: str, given: Mapping[str, Node]) -> Levels:
        """Evaluate ``factor``, ``relevel`` or ``C``, which set levels or their coding."""
        value = self._value(given["x"])
        if isinstance(value, float):
            raise ValueError(f"Expected a column in {spelled(node)!r}; got {spelled(given['x'])!r}")
        if isinstance(value, Numbers):
            value = self._levels_of(value, node)
        if "levels" in given and self.known is None:
            wanted = constant(given["levels"], node)
            listed = [level_text(v) for v in (wanted if isinstance(wanted, list) else [wanted])]
            _among(value.levels, tuple(listed), spelled(node))
            raw = dict(zip(value.levels, value.values, strict=True))
            levels = tuple(level for level in dict.fromkeys(listed) if level in raw)
            value = replace(value, values=tuple(raw[n] for n in levels), levels=levels)
        value = self._known_levels(value, node)
        if name == "relevel":
            if "ref" not in given:
                raise ValueError(f"Expected ref in {spelled(node)!r}; got none")
            return replace(value, contrast=Contrast.of(None, given["ref"], value.levels, node))
        if name == "C":
            contrast = Contrast.of(given.get("contr"), given.get("base"), value.levels, node)
            return replace(value, contrast=contrast)
        return value


def _among(levels: tuple[str, ...], known: tuple[str, ...], what: str) -> tuple[str, ...]:
    unknown = [level for level in levels if level not in known]
    if unknown:
        raise ValueError(
            f"Expected {what!r} to hold known levels ({first_few(known)}); got {first_few(unknown)}"
        )
    return known


def needs_memory(node: Node) -> ValueError:
    """Return the error for a term that engines do not compute."""
    return ValueError(
        f"Expected terms that an engine computes; got {spelled(node)!r}: poly, splines, days() and "
        "picked columns need the rows in memory, so collect the columns in use first"
    )
