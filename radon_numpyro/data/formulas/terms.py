"""Terms of a model formula: expand ``a * b + (1 + x || g)`` as R and lme4 do.

Wilkinson and Rogers (1973), Symbolic description of factorial models for analysis of variance,
doi:10.2307/2346786; Bates, Machler, Bolker and Walker (2015), Fitting linear mixed-effects models
using lme4, doi:10.18637/jss.v067.i01.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from radon_numpyro.data.formulas.functions import columns_named, function_named
from radon_numpyro.data.formulas.syntax import (
    Call,
    Name,
    Node,
    Number,
    Operation,
    Text,
    parse,
    spelled,
    walk,
)

MAX_TERMS, MAX_POWER = 500, 10

# A term is the set of its factors as texts; the constant is the empty set.
Term = frozenset[str]
CONSTANT: Term = frozenset()

_SMOOTH = "smooth terms are not in this edition; write a spline of a fixed size, such as ns({}, 4)"
_SERIES = "correlation between the rows of a group is not in this edition; leave it out"
_MANY = "one outcome is fitted at a time; write a formula for each"
_MISSING = {
    **dict.fromkeys(("s", "t2", "te", "ti", "gp"), _SMOOTH),
    **dict.fromkeys(("ar", "ma", "arma", "cosy", "unstr", "sar", "car", "fcor"), _SERIES),
    **dict.fromkeys(("cbind", "mvbind"), _MANY),
    "Surv": "censored outcomes are not in this edition",
    "mm": "groupings of several memberships are not in this edition; name one column",
    "gr": "options of a grouping are not in this edition; write the name of its column alone",
    "cut": "bins are not made here; make a column of them first",
    "mo": "monotonic effects are not in this edition; write factor({}) for one effect a level",
    "me": "measurement error is not in this edition; write {} alone",
    "mi": "missing values are not imputed here; write {} alone",
}


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


@dataclass(frozen=True)
class Terms:
    """A parsed formula.

    Attributes
    ----------
    text
        The formula as written, without spaces around it.
    response
        Tree of the expression left of ``~``.
    common, random
        The common part, and the left sides of the bars.
    group
        Name of the grouping column.
    offsets
        Expressions to subtract from the response.
    se
        Column of the known standard errors of the outcomes, ``y | se(s) ~ ...``, or empty.
    factors
        Trees of the factors by their text, in order of appearance.
    names_intercept
        Whether the intercept is named, as in brms: ``0 + Intercept``.
    """

    text: str
    response: Node
    common: Part
    random: tuple[Part, ...]
    group: str
    offsets: tuple[Node, ...]
    factors: dict[str, Node]
    names_intercept: bool
    se: str = ""

    @property
    def measured(self) -> str:
        """Text left of ``~``, such as ``"log(y)"``, which is the predicted quantity."""
        return self.response.value if isinstance(self.response, Name) else spelled(self.response)

    @property
    def outcome(self) -> str:
        """Name of the fitted outcome: the measured quantity minus the offsets."""
        return self.measured + "".join(f" - offset({spelled(node)})" for node in self.offsets)

    def predictors_named(self) -> tuple[str, ...]:
        """Return the names in the factors that may be columns, in order."""
        nodes = self.factors.values()
        return tuple(dict.fromkeys(name for node in nodes for name in columns_named(node)))

    def offsets_named(self) -> tuple[str, ...]:
        """Return the names in the offsets that may be columns, in order."""
        nodes = self.offsets
        return tuple(dict.fromkeys(name for node in nodes for name in columns_named(node)))

    def response_named(self) -> tuple[str, ...]:
        """Return the names in the response that may be columns, in order."""
        return tuple(dict.fromkeys(columns_named(self.response)))


def parse_terms(text: str) -> Terms:
    """Parse a formula to its terms.

    Parameters
    ----------
    text
        A formula in the notation of lme4.

    Returns
    -------
    Terms
        The parsed formula.

    Raises
    ------
    TypeError
        If `text` is not a str.
    ValueError
        If `text` is not a formula, or is not supported in this edition. The message says what to
        write instead.
    """
    left, right = parse(text)
    response, se = _known_errors(left)
    _check_response(response)
    for node in walk(right):
        if isinstance(node, Call):
            _refuse_what_is_missing(node)
    common = _Collector()
    common.add(right)
    if not common.bars:
        raise ValueError(
            f"Expected one random part such as (1 | group); got none in {text.strip()!r}: "
            "write one all the same and choose the pooled model, which leaves it out"
        )
    group = _grouping(common.bars)
    parts = []
    for bar in common.bars:
        inner = _Collector(common.factors)
        inner.add(bar.operands[0])
        if inner.bars or inner.offsets:
            raise ValueError(f"Expected terms left of the bar; got {_bracketed(bar)}")
        common.names_intercept |= inner.names_intercept
        parts.append((inner, bar))
    return Terms(
        text=text.strip(),
        response=response,
        common=common.part(spelled(right)),
        random=tuple(p.part(_bracketed(bar), bar.operator == "|") for p, bar in parts),
        group=group,
        offsets=tuple(common.offsets),
        factors=common.factors,
        names_intercept=common.names_intercept,
        se=se,
    )


def _bracketed(bar: Operation) -> str:
    return f"({spelled(bar)})"


def _known_errors(left: Node) -> tuple[Node, str]:
    """Return the outcome, and the column of standard errors in brms's notation ``y | se(s)``."""
    if not isinstance(left, Operation) or left.operator not in ("|", "||"):
        return left, ""
    response, what = left.operands
    if left.operator == "|" and isinstance(what, Call) and what.function == "se":
        arguments = [node for _, node in what.arguments]
        if len(arguments) == 1 and isinstance(arguments[0], Name):
            return response, arguments[0].value
        raise ValueError(
            f"Expected se() to name one column of known standard errors; got {spelled(what)!r}"
        )
    if isinstance(what, Call) and what.function == "weights":
        raise ValueError(
            f"Expected an outcome left of ~; got {spelled(left)!r}, which in brms multiplies log "
            "likelihoods: name precision weights, as in lme4, by weights= or --weights"
        )
    raise ValueError(
        f"Expected an outcome left of ~, or y | se(s) with known errors; got {spelled(left)!r}: "
        f"censoring and the like are not in this edition; leave out | {spelled(what)}"
    )


def _check_response(response: Node) -> None:
    for node in walk(response):
        if isinstance(node, Call):
            _refuse_what_is_missing(node)
    _check_arithmetic(response)
    if not columns_named(response):
        raise ValueError(f"Expected an outcome left of ~; got {spelled(response)!r}")


def _refuse_what_is_missing(call: Call) -> None:
    """Raise ValueError for unknown functions; explain those known from other packages."""
    if call.function in _MISSING:
        first = spelled(call.arguments[0][1]) if call.arguments else "x"
        reason = _MISSING[call.function].format(first)
        raise ValueError(f"Expected terms of this edition; got {spelled(call)!r}: {reason}")
    if call.function not in ("offset", "c"):
        function_named(call)


def _check_arithmetic(node: Node) -> None:
    """Raise ValueError if an expression to evaluate has operators that only terms may have."""
    for inner in walk(node):
        if isinstance(inner, Call) and inner.function == "offset":
            raise ValueError(f"Expected offset() as a term of its own; got {spelled(node)!r}")
        if isinstance(inner, Operation) and inner.operator in ("|", "||"):
            raise ValueError(
                f"Expected random parts added with +; got {_bracketed(inner)} inside "
                f"{spelled(node)!r}: a comparison stands in brackets, as in (x > 1)"
            )
        if isinstance(inner, Operation) and inner.operator in ("%in%", ":"):
            raise ValueError(
                f"Expected arithmetic in an expression; got {inner.operator!r} in {spelled(node)!r}"
            )


def _grouping(bars: list[Operation]) -> str:
    """Return the name of the grouping column, which must be the same for all bars."""
    for bar in bars:
        node = bar.operands[1]
        if isinstance(node, Name):
            continue
        parts = [name for name in columns_named(node) if name]
        joined = "_".join(parts) or "group"
        what = {
            "/": "nested groupings are not in this edition; write one of them, or a column, "
            f"such as {joined!r}, that joins the labels of {' and '.join(parts)}",
            ":": "a grouping of several columns is not in this edition; make one column, such as "
            f"{joined!r}, that joins the labels of {' and '.join(parts)}",
        }.get(node.operator if isinstance(node, Operation) else "", "make a column of it first")
        raise ValueError(
            f"Expected one column to the right of the bar; got {_bracketed(bar)}: {what}"
        )
    names = list(dict.fromkeys(str(getattr(bar.operands[1], "value", "")) for bar in bars))
    if len(names) > 1:
        raise ValueError(
            f"Expected one grouping; got {len(names)}, {' and '.join(map(repr, names))}: several "
            "groupings in one model are not in this edition; keep the parts of one of them"
        )
    return names[0]


@dataclass
class _Collector:
    """Collect the terms of a sum, which are added and removed."""

    factors: dict[str, Node] = field(default_factory=dict)
    terms: dict[Term, None] = field(default_factory=lambda: {CONSTANT: None})
    bars: list[Operation] = field(default_factory=list)
    offsets: list[Node] = field(default_factory=list)
    names_intercept: bool = False

    def part(self, text: str, correlated: bool = False) -> Part:
        """Return the collected terms, sorted by the number of their factors as in R."""
        terms = sorted((term for term in self.terms if term), key=len)
        return Part(CONSTANT in self.terms, tuple(terms), text, correlated)

    def add(self, node: Node) -> None:
        if isinstance(node, Operation) and node.operator == "+":
            for operand in node.operands:
                self.add(operand)
        elif isinstance(node, Operation) and node.operator == "-":
            if len(node.operands) == 2:
                self.add(node.operands[0])
            self.remove(node.operands[-1])
        elif isinstance(node, Operation) and node.operator in ("|", "||"):
            self.bars.append(node)
        elif node == Number(0):
            self.terms.pop(CONSTANT, None)
        elif isinstance(node, Call) and node.function == "offset":
            if len(node.arguments) != 1:
                raise ValueError(f"Expected one argument of offset; got {spelled(node)!r}")
            _check_arithmetic(node.arguments[0][1])
            self.offsets.append(node.arguments[0][1])
        else:
            self.terms |= dict.fromkeys(self.product(node))
            self.check(len(self.terms), node)

    def remove(self, node: Node) -> None:
        if node == Number(0):
            self.terms[CONSTANT] = None
            return
        for term in self.sum(node):
            self.terms.pop(term, None)

    def sum(self, node: Node) -> list[Term]:
        """Return the terms of an operand, in which a sum has a constant only if it has a 1."""
        inner = _Collector(self.factors, {})
        inner.add(node)
        if inner.bars or inner.offsets:
            raise ValueError(
                f"Expected random parts and offsets added with +; got {spelled(node)!r} inside "
                "another operator"
            )
        self.names_intercept |= inner.names_intercept
        return list(inner.terms)

    def product(self, node: Node) -> list[Term]:
        """Return the terms of an expression that is not a sum."""
        if not isinstance(node, Operation) or node.operator not in ("*", "/", ":", "%in%", "^"):
            return [self.factor(node)]
        left, right = node.operands
        if node.operator == "^":
            return self.power(left, right, node)
        a, b = self.sum(left), self.sum(right)
        if node.operator == "/":
            every = frozenset().union(*a)
            return list(dict.fromkeys([*a, *(every | term for term in b)]))
        self.check(len(a) * len(b) / MAX_TERMS, node)
        both = [first | second for second in b for first in a]
        joined = [*a, *b, *both] if node.operator == "*" else both
        terms = list(dict.fromkeys(joined))
        self.check(len(terms), node)
        return terms

    def power(self, left: Node, right: Node, node: Node) -> list[Term]:
        exponent = right.value if isinstance(right, Number) else 0.0
        if not exponent.is_integer() or not 1 <= exponent <= MAX_POWER:
            raise ValueError(
                f"Expected a whole power between 1 and {MAX_POWER} of a bracket of terms; got "
                f"{spelled(node)!r}; write I({spelled(node)}) for a power of numbers"
            )
        terms = once = self.sum(left)
        if len(once) == 1:
            raise ValueError(
                f"Expected a bracket of terms before ^; got {spelled(node)!r}, which to R means "
                f"{spelled(left)!r} alone: write I({spelled(node)}) for a power of numbers"
            )
        for _ in range(int(exponent) - 1):
            self.check(len(terms) * len(once) / MAX_TERMS, node)
            terms = list(dict.fromkeys([*terms, *(a | b for b in once for a in terms)]))
            self.check(len(terms), node)
        return terms

    def factor(self, node: Node) -> Term:
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
        _check_arithmetic(node)
        if not columns_named(node):
            raise ValueError(f"Expected a term that names a column; got {spelled(node)!r}")
        text = spelled(node)
        self.factors.setdefault(text, node)
        return frozenset([text])

    @staticmethod
    def check(count: float, node: Node) -> None:
        if count > MAX_TERMS:
            raise ValueError(
                f"Expected at most {MAX_TERMS} terms; got more in {spelled(node)[:80]!r}"
            )
