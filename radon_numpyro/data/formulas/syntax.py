r"""Syntax of model formulas: parse text in the notation of R and lme4 to a tree, and write it.

The grammar is that of R. The operators, from the weakest to the strongest, are::

    ~    | ||    < > <= >= == !=    + -    * /    %in%    :    unary + -    ^ **    f(...)  e[, j]

A formula is never evaluated by Python's ``eval``. It is data, which ``functions.py`` interprets
with a table of functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

# Limits on formulas, so that a text from an untrusted source cannot exhaust memory.
MAX_CHARACTERS, MAX_DEPTH = 10_000, 50

COMPARISONS = ("<", ">", "<=", ">=", "==", "!=")
# Names that do not mean a column, unless they are in backticks.
LOGICAL = {"TRUE": True, "FALSE": False, "True": True, "False": False, "T": True, "F": False}
RESERVED = (*LOGICAL, "pi", "Intercept")
# Precedence of the operators between two operands.
STRENGTH = {"|": 1, "||": 1, "+": 3, "-": 3, "*": 4, "/": 4, "%in%": 5, ":": 6, "^": 8}
STRENGTH |= dict.fromkeys(COMPARISONS, 2)
UNARY = 7

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?L?)
    | (?P<name>(?:[^\W\d]|\.)[\w.]*)
    | (?P<quoted>`[^`]*`)
    | (?P<text>"[^"\\]*"|'[^'\\]*')
    | (?P<operator>%\w*%|\*\*|\|\||<=|>=|==|!=|<-|[-+*/:^|<>~()\[\],=&!$@{};?\\%])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True)
class Text:
    """A quoted text: a level of a category, or an option."""

    value: str


@dataclass(frozen=True)
class Name:
    """A name. Without backticks it is a column or a constant; in backticks always a column."""

    value: str
    quoted: bool = False


@dataclass(frozen=True)
class Call:
    """A function with its arguments; the name of an unnamed argument is ""."""

    function: str
    arguments: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Operation:
    """An operator with one or two operands, or any number of operands for ``+``."""

    operator: str
    operands: tuple[Node, ...]


@dataclass(frozen=True)
class Pick:
    """One column, counted from 1, of an expression with several: ``poly(x, 2)[, 1]``."""

    node: Node
    column: int


type Node = Number | Text | Name | Call | Operation | Pick


def children(node: Node) -> tuple[Node, ...]:
    """Return the operands or arguments of a node.

    Parameters
    ----------
    node
        A tree.
    """
    if isinstance(node, Call):
        return tuple(value for _, value in node.arguments)
    if isinstance(node, Operation):
        return node.operands
    return (node.node,) if isinstance(node, Pick) else ()


def walk(node: Node) -> Iterator[Node]:
    """Yield all nodes of a tree, each before its children, from left to right.

    Parameters
    ----------
    node
        A tree.
    """
    yield node
    for child in children(node):
        yield from walk(child)


def spelled(node: Node) -> str:
    """Write a tree as R does, in a canonical form without redundant spaces and brackets.

    Parameters
    ----------
    node
        A tree.
    """
    return _spelled(node)[0]


def _spelled(node: Node) -> tuple[str, float]:
    """Return the text of a node, and the precedence of its operator."""
    if isinstance(node, Number):
        value = node.value
        return (str(int(value)) if value.is_integer() and value < 1e15 else repr(value)), 9
    if isinstance(node, Text):
        return (f'"{node.value}"' if '"' not in node.value else f"'{node.value}'"), 9
    if isinstance(node, Name):
        plain = re.fullmatch(r"(?:[^\W\d]|\.)[\w.]*", node.value) is not None
        plain = plain and not (node.quoted and node.value in RESERVED)
        return (node.value if plain else f"`{node.value}`"), 9
    if isinstance(node, Call):
        given = (f"{name} = {spelled(v)}" if name else spelled(v) for name, v in node.arguments)
        return f"{node.function}({', '.join(given)})", 9
    if isinstance(node, Pick):
        return f"{_within(node.node, 9)}[, {node.column}]", 9
    operator = node.operator
    if len(node.operands) == 1:
        return f"{operator}{_within(node.operands[0], UNARY)}", UNARY
    strength = STRENGTH[operator]
    between = operator if operator in ("/", ":", "^") else f" {operator} "
    # Operators of equal precedence group to the left, except powers.
    left, right = (0.5, 0) if operator == "^" else (0, 0.5)
    first, *others = node.operands
    texts = [_within(first, strength + left), *(_within(n, strength + right) for n in others)]
    return between.join(texts), strength


def _within(node: Node, strength: float) -> str:
    text, own = _spelled(node)
    return text if own >= strength else f"({text})"


def parse(text: str) -> tuple[Node, Node]:
    """Parse a formula.

    Parameters
    ----------
    text
        A formula such as ``"log(y) ~ x * c + (1 + x || g)"``.

    Returns
    -------
    left, right
        Trees of the expressions before and after the ``~``.

    Raises
    ------
    TypeError
        If `text` is not a str.
    ValueError
        If `text` is not a formula, is too long, or is nested too deeply.
    """
    if not isinstance(text, str):
        raise TypeError(
            f"Expected formula to be a str such as 'y ~ x + (1 | group)'; got {type(text).__name__}"
        )
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"Expected a formula of at most {MAX_CHARACTERS} characters; got {len(text)}"
        )
    parser = _Parser(text)
    if parser.at("~"):
        raise ValueError(f"Expected an outcome left of ~; got none in {_short(text.strip())}")
    left = parser.expression(0)
    if parser.kind == "end":
        raise ValueError(
            f"Expected a formula such as 'y ~ x + (1 | group)'; got {_short(text)}, without ~"
        )
    parser.take("~")
    if parser.kind == "end":
        raise ValueError(f"Expected terms right of ~; got none in {_short(text.strip())}")
    right = parser.expression(0)
    if parser.kind != "end":
        parser.refuse("an operator or the end of the formula")
    if _is_bar(right) and id(right) not in parser.bracketed:
        raise ValueError(
            f"Expected a random part in brackets, such as (1 | group); got {spelled(right)!r}"
        )
    return left, right


def _is_bar(node: Node) -> bool:
    return isinstance(node, Operation) and node.operator in ("|", "||")


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


class _Parser:
    """A parser by precedence climbing over the tokens of a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.depth = 0
        # The depth of each tree, and the trees in brackets, by identity.
        self.depths: dict[int, int] = {}
        self.bracketed: set[int] = set()
        # References to all trees, so that no new tree gets the identity of a deleted one.
        self.kept: list[Node] = []
        self.end = 0
        self.kind = self.token = ""
        self.start = 0
        self.advance()

    def advance(self) -> None:
        rest = self.text[self.end :]
        if not rest.strip():
            self.kind, self.token, self.start = "end", "", len(self.text)
            return
        found = _TOKEN.match(self.text, self.end)
        if found is None:
            self.start = self.end + len(rest) - len(rest.lstrip())
            self.token = self.text[self.start]
            what = "a formula"
            if self.token in "\"'`":
                what = "quotes or backticks that close, without a backslash"
            self.refuse(what)
            return
        self.kind = str(found.lastgroup)
        self.token = found.group(self.kind)
        self.start, self.end = found.start(self.kind), found.end()
        if self.token == "**":
            self.token = "^"

    def refuse(self, expected: str) -> None:
        got = "its end" if self.kind == "end" else repr(self.token)
        before = self.text[: self.start].rstrip()
        if self.kind == "end" and not before:
            raise ValueError(f"Expected {expected}; got an empty formula")
        where = f"after {_short(before)}" if before else "as the formula"
        raise ValueError(f"Expected {expected}; got {got} {where}")

    def take(self, token: str) -> None:
        if self.kind != "operator" or self.token != token:
            self.refuse(f"an operator or {token!r}")
        self.advance()

    def at(self, *tokens: str) -> bool:
        return self.kind == "operator" and self.token in tokens

    def shallow(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ValueError(
                f"Expected a formula nested at most {MAX_DEPTH} deep; got {_short(self.text)}"
            )

    def made(self, node: Node) -> Node:
        """Register a tree; raise ValueError if it is too deep for recursive functions."""
        depth = 1 + max((self.depths.get(id(child), 0) for child in children(node)), default=0)
        self.shallow(depth)
        self.depths[id(node)] = depth
        self.kept.append(node)
        return node

    def expression(self, strength: float) -> Node:
        self.depth += 1
        self.shallow(self.depth)
        node = self.postfix() if not self.at("+", "-") else self.unary()
        while self.kind == "operator" and STRENGTH.get(self.token, -1) > strength:
            operator = self.token
            if operator in COMPARISONS and _compares(node):
                self.refuse("one comparison at a time")
            self.advance()
            # Powers group to the right: 2^3^2 is 2^(3^2), and 2^-1 is 2^(-1).
            own = STRENGTH[operator] - (0.5 if operator == "^" else 0)
            other = self.expression(own)
            operands: tuple[Node, ...] = (node, other)
            # Make one sum of many terms instead of nested sums of two.
            if operator == "+" and isinstance(node, Operation) and node.operator == "+":
                operands = (*node.operands, other)
            node = self.made(Operation(operator, operands))
        self.depth -= 1
        return node

    def unary(self) -> Node:
        sign = self.token
        self.advance()
        return self.made(Operation(sign, (self.expression(UNARY),)))

    def postfix(self) -> Node:
        node = self.primary()
        while self.at("["):
            self.advance()
            if not self.at(","):
                self.refuse("a column to be picked as in poly(x, 2)[, 1]")
            self.advance()
            if self.kind != "number" or not float(self.token.rstrip("L")).is_integer():
                self.refuse("the number of a column, counted from 1,")
            node = self.made(Pick(node, int(float(self.token.rstrip("L")))))
            self.advance()
            self.take("]")
        return node

    def primary(self) -> Node:
        kind, token = self.kind, self.token
        if kind == "number":
            value = float(token.rstrip("L"))
            if not isfinite(value):
                self.refuse("a number that is finite")
            self.advance()
            return Number(value)
        if kind == "text":
            self.advance()
            return Text(token[1:-1])
        if kind == "quoted":
            self.advance()
            return Name(token[1:-1], quoted=True)
        if kind == "name":
            self.advance()
            if self.at("("):
                self.advance()
                return self.made(Call(token, self.arguments()))
            return Name(token)
        if self.at("("):
            self.advance()
            node = self.expression(0)
            self.take(")")
            self.bracketed.add(id(node))
            return node
        self.refuse("a column, a number or a function")
        raise AssertionError("refuse raises")

    def arguments(self) -> tuple[tuple[str, Node], ...]:
        given: list[tuple[str, Node]] = []
        while not self.at(")"):
            name, node = "", self.expression(0)
            if self.at("=") and isinstance(node, Name):
                self.advance()
                name, node = node.value, self.expression(0)
            given.append((name, node))
            if not self.at(")"):
                self.take(",")
        self.advance()
        return tuple(given)


def _compares(node: Node) -> bool:
    return isinstance(node, Operation) and node.operator in COMPARISONS
