"""Write notes about the columns of a formula: how they are coded, and which are left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from radon_numpyro.data.checks import first_few, plural
from radon_numpyro.data.formulas.categories import Categories
from radon_numpyro.data.formulas.columns import Layout, label_of, reductions
from radon_numpyro.data.formulas.dates import origin_notes
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.functions import constant, matched
from radon_numpyro.data.formulas.syntax import Call, Name, Node, spelled, walk
from radon_numpyro.data.formulas.term_algebra import Part
from radon_numpyro.data.formulas.terms import Terms
from radon_numpyro.data.formulas.values import Basis
from radon_numpyro.data.frame_columns import FrameColumn, level_notes


def notes_of(
    formula: ModelFormula,
    layout: Layout,
    columns: Sequence[FrameColumn],
    values: Mapping[str, Categories | Basis],
    aliased: Sequence[str],
    redundant: Sequence[str],
) -> tuple[str, ...]:
    """Write notes about the columns of a formula.

    Parameters
    ----------
    formula
        The formula with its state from the rows of the fit.
    layout
        All columns of the formula, including those that are left out.
    columns
        The columns in use.
    values
        Values of the factors.
    aliased, redundant
        Names of the population columns that are left out, and of redundant varying columns.
    """
    terms, design = formula.terms, formula.design
    kept = {piece.factor for name in design.predictors for piece in layout[name]}
    notes = [*_codings(terms, values, kept), *_scale_notes(formula)]
    plain = [node.value for node in terms.factors.values() if isinstance(node, Name)]
    notes += level_notes(columns, plain)
    if aliased:
        notes.append(
            f"Left out of the population {plural(len(aliased), 'column')} that those before "
            f"determine: {first_few(aliased, 20)}"
        )
    if redundant:
        notes.append(
            f"{first_few(redundant, 20)} {'varies' if len(redundant) == 1 else 'vary'} by group "
            "although the columns before determine "
            f"{'it' if len(redundant) == 1 else 'them'}: within a group their coefficients are "
            "told apart by the standard deviations between groups alone"
        )
    if terms.offsets:
        notes.append(
            f"The outcome is {terms.outcome}: tables of the fit are of this difference, and "
            "predictions have the offsets of the new rows added"
        )
    return (*notes, *origin_notes(formula.state))


def _scale_notes(formula: ModelFormula) -> Iterator[str]:
    """Say which value of a scaled or centred expression is 0, and what one unit of it is."""
    terms, state = formula.terms, formula.state
    trees = (terms.response, *terms.offsets, *terms.factors.values())
    calls = dict.fromkeys(node for tree in trees for node in walk(tree) if isinstance(node, Call))
    for call in calls:
        if call.function not in ("scale", "center") or spelled(call) not in state:
            continue
        given = matched(call, call.function)
        shift, divisor = state[spelled(call)]
        options = {key: constant(node, call) for key, node in given.items() if key != "x"}
        x = label_of(given["x"])
        center, scale = options.get("center", True), options.get("scale", True)
        said = f"0 is the mean of {x}, {shift:.6g}"
        if center is not True:
            said = f"0 is {x} = {shift:.6g}"
        if call.function == "scale":
            named = {True: "its standard deviation, ", False: "its root mean square, "}
            of = named.get(center, "") if scale is True else ""
            said += f", and one unit is {of}{divisor:.6g}{'' if of else f' of {x}'}"
        yield f"{spelled(call)}: {said}"


def _codings(
    terms: Terms, values: Mapping[str, Categories | Basis], kept: Collection[str]
) -> Iterator[str]:
    """Describe how each categorical factor with columns in the fit is coded."""
    parts, factors = (terms.common, *terms.random), terms.factors
    for text, node in factors.items():
        value = values[text]
        if not isinstance(value, Categories) or text not in kept:
            continue
        base = value.contrast.base or value.levels[0]
        others = [level for level in value.levels if level != base]
        if not _is_reduced(text, parts, factors, values):
            what = f"one column for each of {_listed(value.levels)}"
        elif value.contrast.kind == "treatment":
            what = f"{_listed(others)} against {base}"
        else:
            what = f"{value.contrast.kind} contrasts of {_listed(value.levels)}"
        yield f"{label_of(node)}: {what}"


def _is_reduced(
    text: str,
    parts: Sequence[Part],
    factors: Mapping[str, Node],
    values: Mapping[str, Categories | Basis],
) -> bool:
    """Return whether a factor has a reference level in the first term in which it occurs."""
    for part in parts:
        for ordered, reduced in reductions(part, factors, values):
            if text in ordered:
                return reduced[ordered.index(text)]
    return False


def _listed(levels: Sequence[str], count: int = 8) -> str:
    return ", ".join(levels[:count]) + (", ..." if len(levels) > count else "")
