"""Sums, products and powers of terms: expand ``a * b``, ``a / b`` and ``(a + b)^2`` as R does.

Wilkinson and Rogers (1973), Symbolic description of factorial models for analysis of variance,
doi:10.2307/2346786.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from radon_numpyro.data.formulas.functions import columns_named
from radon_numpyro.data.formulas.syntax import (
    Call,
    Name,
    Node,
    Number,
    Operation,
    Text,
    spelled,
    walk,
)

MAX_TERMS, MAX_POWER = 500, 10

# A term is the set of its factors as texts; the constant is the empty set.
Term = frozenset[str]
CONSTANT: Term = frozenset()


@dataclass(frozen=True)
class Part:
    """The terms of the common part, or of the left side of a bar.

    Attributes
    ----------
    intercept
        Whether the constant is one of the terms.
    terms
        The other terms, sorted by the number of their factors.
    text
        The part as a formula, for messages.
    correlated
        Whether the bar is single, so that the coefficients correlate.
    """

    intercept: bool
    terms: tuple[Term, ...]
    text: str
    correlated: bool = False

    @property
    def present(self) -> frozenset[Term]:
        """All terms, including the constant if it is one."""
        return frozenset(self.terms) | ({CONSTANT} if self.intercept else frozenset())


def check_arithmetic(node: Node) -> None:
    """Check that an expression to evaluate has no operators that only terms may have.

    Parameters
    ----------
    node
        The expression.

    Raises
    ------
    ValueError
        If it has a bar, ``:``, ``%in%``, or an offset.
    """
    for inner in walk(node):
        if isinstance(inner, Call) and inner.function == "offset":
            raise ValueError(f"Expected offset() as a term of its own; got {spelled(node)!r}")
        if isinstance(inner, Operation) and inner.operator in ("|", "||"):
            raise ValueError(
                f"Expected random parts added with +; got ({spelled(inner)}) inside "
                f"{spelled(node)!r}: a comparison stands in brackets, as in (x > 1)"
            )
        if isinstance(inner, Operation) and inner.operator in ("%in%", ":"):
            raise ValueError(
                f"Expected arithmetic in an expression; got {inner.operator!r} in {spelled(node)!r}"
            )


@dataclass
class Collector:
    """The terms of a sum, which are added and removed.

    Attributes
    ----------
    factors
        Trees of all factors by their text, which several collectors may share.
    terms
        The terms in order, with the constant unless it was removed.
    bars, offsets
        Random parts, and the expressions inside ``offset()``.
    names_intercept
        Whether the intercept is named, as in brms.
    """

    factors: dict[str, Node] = field(default_factory=dict)
    terms: dict[Term, None] = field(default_factory=lambda: {CONSTANT: None})
    bars: list[Operation] = field(default_factory=list)
    offsets: list[Node] = field(default_factory=list)
    names_intercept: bool = False

    def part(self, text: str, correlated: bool = False) -> Part:
        """Return the collected terms, sorted by the number of their factors as in R.

        Parameters
        ----------
        text, correlated
            As in :class:`Part`.
        """
        terms = sorted((term for term in self.terms if term), key=len)
        return Part(CONSTANT in self.terms, tuple(terms), text, correlated)

    def add(self, node: Node) -> None:
        """Add the terms of an expression, and remove those after a minus.

        Parameters
        ----------
        node
            The expression.

        Raises
        ------
        ValueError
            If it is not supported in this edition, or has too many terms.
        """
        if isinstance(node, Operation) and node.operator == "+":
            for operand in node.operands:
                self.add(operand)
        elif isinstance(node, Operation) and node.operator == "-":
            if len(node.operands) == 2:
                self.add(node.operands[0])
            self._remove(node.operands[-1])
        elif isinstance(node, Operation) and node.operator in ("|", "||"):
            self.bars.append(node)
        elif node == Number(0):
            self.terms.pop(CONSTANT, None)
        elif isinstance(node, Call) and node.function == "offset":
            if len(node.arguments) != 1:
                raise ValueError(f"Expected one argument of offset; got {spelled(node)!r}")
            check_arithmetic(node.arguments[0][1])
            self.offsets.append(node.arguments[0][1])
        else:
            self.terms |= dict.fromkeys(self._product(node))
            self._check(len(self.terms), node)

    def _remove(self, node: Node) -> None:
        if node == Number(0):
            self.terms[CONSTANT] = None
            return
        for term in self._sum(node):
            self.terms.pop(term, None)

    def _sum(self, node: Node) -> list[Term]:
        """Return the terms of an operand, in which a sum has a constant only if it has a 1."""
        inner = Collector(self.factors, {})
        inner.add(node)
        if inner.bars or inner.offsets:
            raise ValueError(
                f"Expected random parts and offsets added with +; got {spelled(node)!r} inside "
                "another operator"
            )
        self.names_intercept |= inner.names_intercept
        return list(inner.terms)

    def _product(self, node: Node) -> list[Term]:
        """Return the terms of an expression that is not a sum."""
        if not isinstance(node, Operation) or node.operator not in ("*", "/", ":", "%in%", "^"):
            return [self._factor(node)]
        left, right = node.operands
        if node.operator == "^":
            return self._power(left, right, node)
        a, b = self._sum(left), self._sum(right)
        if node.operator == "/":
            every = frozenset().union(*a)
            return list(dict.fromkeys([*a, *(every | term for term in b)]))
        self._check(len(a) * len(b) / MAX_TERMS, node)
        if node.operator == "%in%":
            # In R, the terms of a bracket on the right are one.
            b = [frozenset().union(*b)]
        both = [first | second for second in b for first in a]
        joined = [*a, *b, *both] if node.operator == "*" else both
        terms = list(dict.fromkeys(joined))
        self._check(len(terms), node)
        return terms

    def _power(self, left: Node, right: Node, node: Node) -> list[Term]:
        exponent = right.value if isinstance(right, Number) else 0.0
        if not exponent.is_integer() or not 1 <= exponent <= MAX_POWER:
            raise ValueError(
                f"Expected a whole power between 1 and {MAX_POWER} of a bracket of terms; got "
                f"{spelled(node)!r}; write I({spelled(node)}) for a power of numbers"
            )
        terms = once = self._sum(left)
        if len(once) == 1:
            raise ValueError(
                f"Expected a bracket of terms before ^; got {spelled(node)!r}, which to R means "
                f"{spelled(left)!r} alone: write I({spelled(node)}) for a power of numbers"
            )
        for _ in range(int(exponent) - 1):
            self._check(len(terms) * len(once) / MAX_TERMS, node)
            terms = list(dict.fromkeys([*terms, *(a | b for b in once for a in terms)]))
            self._check(len(terms), node)
        return terms

    def _factor(self, node: Node) -> Term:
        if node == Number(1):
            return CONSTANT
        if node == Name("Intercept"):
            self.names_intercept = True
            return CONSTANT
        if isinstance(node, Number | Text):
            raise ValueError(
                f"Expected columns, 0 or 1 among the terms; got {spelled(node)}: arithmetic "
                f"stands inside I(), as in I(2 * x)"
            )
        if node == Name("."):
            raise ValueError("Expected columns by name; got '.': write out the columns to take")
        if isinstance(node, Call) and node.function in ("offset", "c"):
            raise ValueError(
                f"Expected {node.function}() where it has a meaning; got {spelled(node)!r} as a "
                "term of a product or of a function"
            )
        check_arithmetic(node)
        if not columns_named(node):
            raise ValueError(f"Expected a term that names a column; got {spelled(node)!r}")
        text = spelled(node)
        self.factors.setdefault(text, node)
        return frozenset([text])

    @staticmethod
    def _check(count: float, node: Node) -> None:
        if count > MAX_TERMS:
            raise ValueError(
                f"Expected at most {MAX_TERMS} terms; got more in {spelled(node)[:80]!r}"
            )
