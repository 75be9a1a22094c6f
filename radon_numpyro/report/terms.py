"""Find what each column of a model is: by its formula, or if it has none, by its name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from radon_numpyro.data.formulas.categories import Categories
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.functions import function_named
from radon_numpyro.data.formulas.structure import ColumnFactor, Structure, structure_of
from radon_numpyro.data.formulas.syntax import Call, Name
from radon_numpyro.report.term import Term
from radon_numpyro.results.estimates import Numbers, factors, level

# A column varies within groups if its sd within groups exceeds this share of its overall sd.
SAME = 1e-9

type Parsed = tuple[ModelFormula, Structure] | None
# The factors of each column.
type Pieces = Mapping[str, tuple[ColumnFactor, ...]]

_TERMS: WeakKeyDictionary[Numbers, dict[str, Term]] = WeakKeyDictionary()
_PARSED: WeakKeyDictionary[Numbers, Parsed] = WeakKeyDictionary()


def parsed(numbers: Numbers) -> Parsed:
    """Return the formula of a fit with the structure of its columns; None without a formula.

    Parameters
    ----------
    numbers
        A fit.
    """
    if numbers not in _PARSED:
        _PARSED[numbers] = None
        if numbers.statistics.formula:
            formula = ModelFormula.from_json(numbers.statistics.formula)
            _PARSED[numbers] = formula, structure_of(formula)
    return _PARSED[numbers]


def terms(numbers: Numbers) -> dict[str, Term]:
    """Return the terms of the predictors by name, in the order of the data.

    Parameters
    ----------
    numbers
        A fit.
    """
    if numbers not in _TERMS:
        _TERMS[numbers] = _terms(numbers)
    return _TERMS[numbers]


def _terms(numbers: Numbers) -> dict[str, Term]:
    names, columns, design = numbers.labels.predictors, numbers.columns, numbers.labels.design
    found, means = parsed(numbers), columns["mean"]
    binary, of_groups = columns["binary"].to_dict(), _of_groups(numbers)
    sets = {False: design.population, True: design.varying}
    pieces = {
        varying: {x: _pieces(found, x, names, varying=varying) for x in names if x in chosen}
        for varying, chosen in sets.items()
    }
    taken = pieces[True] | pieces[False]
    every = [piece for x in names for piece in taken[x]]
    single = {
        piece.name: replace(
            _by_formula(*found, piece) if found else _by_name(piece.name, binary),
            binary=bool(binary.get(piece.name, False)),
            of_groups=of_groups.get(piece.name, False),
        )
        for piece in every
    }
    levels = {x: single[x].category for x in names if x in single}
    complete = {varying: _complete(levels, means, chosen) for varying, chosen in sets.items()}
    made = {}
    for x in names:
        parts = _merged([single[piece.name] for piece in taken[x]])
        if len(parts) == 1:
            (term,) = parts
            by = [bool(term.category) and term.category in complete[v] for v in (False, True)]
            made[x] = replace(term, every_level=by[0], every_level_by_group=by[1])
        else:
            made[x] = _product(x, parts, pieces, sets, means, found[1] if found else None)
        made[x] = replace(made[x], binary=bool(binary[x]), of_groups=of_groups[x])
    return made


def _of_groups(numbers: Numbers) -> dict[str, bool]:
    """Return whether each predictor is equal in all rows of a group."""
    names, s = numbers.labels.predictors, numbers.statistics
    # Every column is constant in a group of one row, so only larger groups show which columns vary.
    several, sd = np.asarray(s.count) > 1, numbers.columns["sd"].to_numpy()[:-1]
    weight = s.total_weight[several, None]
    within = np.sqrt(np.einsum("ckk->ck", np.asarray(s.sxx))[several] / weight)
    same = (within <= SAME * sd).all(0) & (sd > 0) & several.any()
    return dict(zip(names, same.tolist(), strict=True))


def _pieces(
    found: Parsed, x: str, names: Collection[str], *, varying: bool
) -> tuple[ColumnFactor, ...]:
    """Return the factors of a column of the common part, or of the random parts."""
    if found:
        of = found[1].varying if varying else found[1].population
        return of[x]
    return tuple(ColumnFactor(name, name, reduced=True) for name in factors(x, names))


def _by_formula(formula: ModelFormula, structure: Structure, piece: ColumnFactor) -> Term:
    """Describe a factor of a formula."""
    text, x, node = piece.text, piece.name, formula.terms.factors[piece.text]
    source, value = structure.labels[text], structure.values[text]
    term = Term(x, source, pieces=(x,))
    if text in structure.shapes:
        scaled = isinstance(node, Call) and function_named(node) in ("scale", "center")
        inner = node.arguments[0][1] if isinstance(node, Call) and scaled else node
        return replace(term, curve=structure.shapes[text], linear=isinstance(inner, Name))
    if not isinstance(value, Categories):
        return term
    code, contrast = x[len(source) + 1 : -1], value.contrast
    if piece.reduced and contrast.kind != "treatment":
        helmert = contrast.kind == "helmert"
        divisor = value.levels.index(code.removeprefix("H.")) + 1 if helmert else 1
        return replace(term, contrast=(source, code, contrast.kind), divisor=divisor)
    reference = contrast.base or value.levels[0] if contrast.kind == "treatment" else ""
    return replace(term, category=source, level=code, reference=reference)


def _by_name(x: str, binary: Mapping[str, bool]) -> Term:
    """Describe a column of data without a formula."""
    category, of = level(x) or ("", "")
    if not category or not binary.get(x, False):
        return Term(x, x, pieces=(x,))
    return Term(x, category, pieces=(x,), category=category, level=of)


def _merged(parts: Sequence[Term]) -> tuple[Term, ...]:
    """Join the parts of a product that belong to the same curve, such as ``x`` and ``I(x^2)``."""
    found: list[Term] = []
    for part in parts:
        same = [k for k, one in enumerate(found) if part.curve and one.curve == part.curve]
        if not same:
            found.append(part)
            continue
        before = found[same[0]]
        found[same[0]] = Term(
            f"{before.column}:{part.column}",
            f"{before.source}:{part.source}",
            pieces=(*before.pieces, *part.pieces),
            curve=part.curve,
        )
    return tuple(found)


def _product(
    x: str,
    parts: tuple[Term, ...],
    pieces: Mapping[bool, Pieces],
    sets: Mapping[bool, tuple[str, ...]],
    means: Any,
    structure: Structure | None,
) -> Term:
    """Describe an interaction, and find the levels that say to which rows it applies.

    A category that has a column for each level says so, unless the product without it is a column
    too: then one of its levels is left out, and is the reference of the others.
    """
    conditions: dict[bool, set[str]] = {False: set(), True: set()}
    references: dict[str, str] = {}
    of_cells = False
    for varying, columns in sets.items():
        own = pieces[varying].get(x, ())
        whole = [one for one in own if structure and _of_every_level(one, structure)]
        if own and len(whole) == len(own):
            of_cells, texts = True, [one.text for one in own]
            cells = [y for y, of in pieces[varying].items() if [one.text for one in of] == texts]
            whole = whole if abs(float(means[cells].sum()) - 1.0) < 1e-9 else []
            conditions[varying] = {one.name for one in whole}
            continue
        for one in whole:
            if ":".join(other.name for other in own if other != one) not in columns:
                conditions[varying].add(one.name)
            elif structure:
                missing = _missing(structure, own, one, columns)
                references[one.name] = missing[0] if len(missing) == 1 else ""
    parts = tuple(
        replace(
            part,
            every_level=part.column in conditions[False],
            every_level_by_group=part.column in conditions[True],
            reference=references.get(part.column, part.reference),
        )
        for part in parts
    )
    return Term(
        x,
        ":".join(part.source for part in parts),
        parts,
        tuple(name for part in parts for name in part.pieces),
        of_cells=of_cells,
    )


def _of_every_level(piece: ColumnFactor, structure: Structure) -> bool:
    """Return whether a factor is a category with a column for each level."""
    categories = isinstance(structure.values[piece.text], Categories)
    return categories and not piece.reduced and piece.text not in structure.shapes


def _missing(
    structure: Structure,
    own: Sequence[ColumnFactor],
    piece: ColumnFactor,
    columns: Collection[str],
) -> list[str]:
    """Return the levels of a category whose products with the other factors are left out."""
    value, label = structure.values[piece.text], structure.labels[piece.text]
    assert isinstance(value, Categories)

    def product(of: str) -> str:
        return ":".join(f"{label}[{of}]" if one == piece else one.name for one in own)

    return [of for of in value.levels if product(of) not in columns]


def _complete(levels: Mapping[str, str], means: Any, columns: Sequence[str]) -> set[str]:
    """Return the categories whose levels all have columns: their means over rows sum to 1."""
    shares: dict[str, float] = {}
    for x in columns:
        if category := levels.get(x):
            shares[category] = shares.get(category, 0.0) + float(means[x])
    return {category for category, share in shares.items() if abs(share - 1.0) < 1e-9}
