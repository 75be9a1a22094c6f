"""Terms of a model formula: the outcome, the common part, and what stands left of each bar.

Wilkinson and Rogers (1973), Symbolic description of factorial models for analysis of variance,
doi:10.2307/2346786; Bates, Machler, Bolker and Walker (2015), Fitting linear mixed-effects models
using lme4, doi:10.18637/jss.v067.i01.
"""

from __future__ import annotations

from dataclasses import dataclass

from radon_numpyro.data.formulas.functions import columns_named, function_named
from radon_numpyro.data.formulas.syntax import (
    Call,
    Name,
    Node,
    Operation,
    parse,
    spelled,
    walk,
)
from radon_numpyro.data.formulas.term_algebra import Collector, Part, check_arithmetic

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

    def varying_named(self) -> tuple[str, ...]:
        """Return the names left of the bars that may be columns, in order."""
        texts = (text for part in self.random for term in part.terms for text in sorted(term))
        nodes = [self.factors[text] for text in texts]
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
    common = Collector()
    common.add(right)
    if not common.bars:
        raise ValueError(
            f"Expected one random part such as (1 | group); got none in {text.strip()!r}: "
            "write one all the same and choose the pooled model, which leaves it out"
        )
    group = _grouping(common.bars)
    parts = []
    for bar in common.bars:
        inner = Collector(common.factors)
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
    check_arithmetic(response)
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
