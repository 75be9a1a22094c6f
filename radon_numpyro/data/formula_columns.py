"""Columns of the terms of a formula, coded as R's ``model.matrix`` codes them.

Chambers and Hastie (1992), Statistical Models in S, section 2.4: a categorical factor of a term is
coded by contrasts if the term without it is in the model, and by a column for each level if not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.categories import Categories
from radon_numpyro.data.formula_syntax import Name, Node, Operation, spelled
from radon_numpyro.data.formula_terms import MAX_TERMS, Part, Term
from radon_numpyro.data.formula_values import Basis
from radon_numpyro.data.identification import COLLINEAR, ROUNDING

Array = NDArray[np.float64]


def label_of(node: Node) -> str:
    """Name of a factor in the names of its columns.

    Parameters
    ----------
    node
        Its tree.
    """
    if isinstance(node, Name):
        return node.value
    return f"({spelled(node)})" if isinstance(node, Operation) else spelled(node)


def part_columns(
    part: Part, factors: Mapping[str, Node], values: Mapping[str, Categories | Basis]
) -> dict[str, Array]:
    """Columns of a part by name, the constant not among them.

    Parameters
    ----------
    part
        Its terms.
    factors
        Trees of all factors, in order of appearance.
    values
        Their values.

    Returns
    -------
    dict
        Shape (N,) each; of a product the first factor varies fastest, as in R.

    Raises
    ------
    ValueError
        There are too many columns, or two of one name that differ.
    """
    place = {text: i for i, text in enumerate(factors)}
    columns: dict[str, Array] = {}
    for term in part.terms:
        ordered = sorted(term, key=place.__getitem__)
        blocks = []
        for text in ordered:
            reduced = term - {text} in part.present
            blocks.append(_coded(values[text], label_of(factors[text]), reduced))
        widths = [len(names) for _, names, _ in blocks]
        if len(columns) + prod(widths) > MAX_TERMS:
            raise ValueError(
                f"Expected at most {MAX_TERMS} columns; got {len(columns) + prod(widths)} with "
                f"{':'.join(ordered)!r}"
            )
        product: dict[str, Array] = {}
        for rows, names, matrix in blocks:
            own = [matrix[:, j] if rows is None else matrix[rows, j] for j in range(len(names))]
            if not product:
                product = dict(zip(names, own, strict=True))
                continue
            product = {
                f"{before}:{name}": old * new
                for name, new in zip(names, own, strict=True)
                for before, old in product.items()
            }
        for name, column in product.items():
            if name in columns and not np.array_equal(columns[name], column):
                raise ValueError(
                    f"Expected columns with names of their own; got two that are called {name!r}: "
                    "rename one of the columns of the frame"
                )
            columns[name] = column
    return columns


def _coded(
    value: Categories | Basis, label: str, reduced: bool
) -> tuple[NDArray[Any] | None, list[str], Array]:
    """Rows of a matrix (all in order if None), names of its columns, and the matrix."""
    if isinstance(value, Basis):
        many = value.values.shape[1]
        names = [label] if many == 1 else [f"{label}[{j + 1}]" for j in range(many)]
        return None, names, value.values
    if reduced:
        matrix, suffixes = value.contrast.coded(value.levels)
    else:
        matrix, suffixes = np.eye(len(value.levels)), list(value.levels)
    return value.codes, [f"{label}[{suffix}]" for suffix in suffixes], matrix


def check_widths(values: Mapping[str, Categories | Basis]) -> None:
    """Refuse a factor with too many levels to be coded by columns.

    Parameters
    ----------
    values
        Values of the factors by their spelling.

    Raises
    ------
    ValueError
        One has more than `MAX_TERMS` levels.
    """
    for text, value in values.items():
        if isinstance(value, Categories) and len(value.levels) > MAX_TERMS:
            raise ValueError(
                f"Expected at most {MAX_TERMS} levels of a predictor; got {len(value.levels)} of "
                f"{text!r}: if it is a column of numbers read as text, convert it; if it names "
                "groups, write it behind the bar"
            )


def independent(columns: Sequence[Array], *, constant: bool) -> list[bool]:
    """Which columns are no linear combination of the constant and of those before them.

    Parameters
    ----------
    columns
        J columns of shape (N,).
    constant
        Whether there is a constant before all of them.

    Returns
    -------
    list of bool
        A column is one if less than `COLLINEAR` of its variance, of its mean square without a
        constant, is left beside those before it.
    """
    if not columns:
        return []
    matrix = np.column_stack(columns)
    size = np.abs(matrix).max(0)
    matrix = matrix / np.where(size > 0, size, 1.0)
    if constant:
        for _ in range(2):
            matrix -= matrix.mean(0)
    norm = np.sqrt((matrix**2).sum(0))
    present = norm > ROUNDING * np.sqrt(len(matrix)) * (size > 0)
    present &= norm > 0
    # Lengths and angles among the rows of R are those among the columns.
    triangle = np.linalg.qr(matrix / np.where(present, norm, 1.0), mode="r")
    kept: list[bool] = []
    basis = np.empty((0, len(triangle)))
    for vector, there in zip(triangle.T, present, strict=True):
        rest = vector
        for _ in range(2):
            rest = rest - basis.T @ (basis @ rest)
        length = float(np.linalg.norm(rest))
        kept.append(bool(there and length**2 > COLLINEAR))
        if kept[-1]:
            basis = np.vstack([basis, rest / length])
    return kept


def codings(
    parts: Sequence[Part], factors: Mapping[str, Node], values: Mapping[str, Categories | Basis]
) -> tuple[str, ...]:
    """How each categorical factor is coded, in words.

    Parameters
    ----------
    parts
        The common part and the others.
    factors, values
        As in :func:`part_columns`.
    """
    notes = []
    for text, node in factors.items():
        value = values[text]
        if not isinstance(value, Categories):
            continue
        base = value.contrast.base or value.levels[0]
        others = [level for level in value.levels if level != base]
        if not any(_reduces(part, text) for part in parts):
            what = f"one column for each of {_listed(value.levels)}"
        elif value.contrast.kind == "treatment":
            what = f"{_listed(others)} against {base}"
        else:
            what = f"{value.contrast.kind} contrasts of {_listed(value.levels)}"
        notes.append(f"{label_of(node)}: {what}")
    return tuple(notes)


def _reduces(part: Part, text: str) -> bool:
    terms: Sequence[Term] = part.terms
    return any(text in term and term - {text} in part.present for term in terms)


def _listed(levels: Sequence[str], count: int = 8) -> str:
    return ", ".join(levels[:count]) + (", ..." if len(levels) > count else "")
