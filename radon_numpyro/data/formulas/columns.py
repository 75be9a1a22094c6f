"""Compute the columns of the terms of a formula, coded as in R's ``model.matrix``.

A categorical factor of a term is coded by contrasts if the term without this factor is in the
model, and otherwise by a column for each level (Chambers and Hastie, 1992, Statistical Models in S,
section 2.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.formulas.categories import Categories
from radon_numpyro.data.formulas.syntax import Name, Node, Operation, spelled
from radon_numpyro.data.formulas.term_algebra import MAX_TERMS, Part
from radon_numpyro.data.formulas.values import Basis
from radon_numpyro.data.identification import COLLINEAR, ROUNDING

Array = NDArray[np.float64]

# Tolerance instead of COLLINEAR if columns are not centred, because columns far from zero are
# nearly parallel to a constant, which other columns, such as one for each level, may span.
PARALLEL = 1e-13


def label_of(node: Node) -> str:
    """Return the name of a factor in the names of its columns.

    Parameters
    ----------
    node
        Syntax tree of the factor.
    """
    if isinstance(node, Name):
        return node.value
    return f"({spelled(node)})" if isinstance(node, Operation) else spelled(node)


class Piece(NamedTuple):
    """The part of one factor in a column that is a product of factors.

    Attributes
    ----------
    factor
        The factor as text.
    column
        Position of a numeric column, or the code of each level of a category.
    """

    factor: str
    column: int | tuple[float, ...]

    def of(self, value: Categories | Basis) -> Array:
        """Return the numbers of the factor, shape (N,).

        Parameters
        ----------
        value
            Value of the factor.
        """
        if isinstance(value, Categories):
            return np.asarray(self.column, dtype=np.float64)[value.codes]
        assert isinstance(self.column, int)
        return value.values[:, self.column]


# Columns by name; each is a product of pieces. A name has one meaning, so a column that is in both
# the common part and a random part occurs once.
Layout = dict[str, tuple[Piece, ...]]


def part_layout(
    part: Part, factors: Mapping[str, Node], values: Mapping[str, Categories | Basis]
) -> Layout:
    """Return the columns of a part by name, without the constant.

    Parameters
    ----------
    part
        Terms of the part.
    factors
        Syntax trees of all factors, in order of appearance.
    values
        Values of the factors, of which only levels and numbers of columns are used.

    Returns
    -------
    dict
        Columns by name. In a product the first factor varies fastest, as in R.

    Raises
    ------
    ValueError
        If there are too many columns, or two columns with the same name.
    """
    layout: Layout = {}
    for ordered, reduced in reductions(part, factors, values):
        blocks = [
            coded(text, values[text], label_of(factors[text]), fewer)
            for text, fewer in zip(ordered, reduced, strict=True)
        ]
        width = len(layout) + prod(map(len, blocks))
        if width > MAX_TERMS:
            raise ValueError(
                f"Expected at most {MAX_TERMS} columns; got {width} with {':'.join(ordered)!r}"
            )
        product: Layout = {}
        for block in blocks:
            product = {
                f"{before}:{name}" if before else name: (*pieces, piece)
                for name, piece in block.items()
                for before, pieces in (product or {"": ()}).items()
            }
        add(layout, product)
    return layout


def reductions(
    part: Part, factors: Mapping[str, Node], values: Mapping[str, Categories | Basis]
) -> Iterator[tuple[list[str], list[bool]]]:
    """Yield the factors of each term in order, and whether each is reduced.

    A reduced factor has one column fewer than levels. As in R, a factor is reduced if the term
    without it is also present. Without a constant, the first category has a column for each level
    and replaces the constant for the other factors.

    Parameters
    ----------
    part, factors, values
        As in :func:`part_layout`.
    """
    place = {text: i for i, text in enumerate(factors)}
    full = frozenset() not in part.present
    present = {*part.present, frozenset()}
    for term in part.terms:
        ordered = sorted(term, key=place.__getitem__)
        reduced = []
        for text in ordered:
            fewer = term - {text} in present
            if full and isinstance(values[text], Categories):
                fewer = full = False
            reduced.append(fewer)
        yield ordered, reduced


def add(layout: Layout, others: Layout) -> None:
    """Add columns to a layout, and check that each name has one meaning.

    Parameters
    ----------
    layout
        The layout, which is changed.
    others
        The columns to add.

    Raises
    ------
    ValueError
        If a name already has another meaning.
    """
    for name, pieces in others.items():
        if layout.setdefault(name, pieces) != pieces:
            raise ValueError(
                f"Expected columns with names of their own; got two that are called {name!r}: "
                "rename one of the columns of the frame"
            )


def columns_by(
    layout: Layout, names: Sequence[str], values: Mapping[str, Categories | Basis], rows: int
) -> Array:
    """Return columns as an array of shape (N, J), also for J = 0.

    Parameters
    ----------
    layout
        The columns by name.
    names
        Names of the J columns to return.
    values
        Values of the factors.
    rows
        Number of rows, N.

    Raises
    ------
    ValueError
        If a column is not in the layout.
    """
    made = np.empty((rows, len(names)))
    for j, name in enumerate(names):
        if name not in layout:
            raise ValueError(f"Expected a stored formula with column {name!r}; got none")
        made[:, j] = prod(piece.of(values[piece.factor]) for piece in layout[name])
    return made


def coded(text: str, value: Categories | Basis, label: str, reduced: bool) -> dict[str, Piece]:
    """Return the columns of one factor by name.

    Parameters
    ----------
    text
        The factor as text.
    value
        Its value, of which only the levels or the number of columns are used.
    label
        The factor in the names of columns.
    reduced
        Whether a category is coded by contrasts instead of a column for each level.
    """
    if isinstance(value, Basis):
        many = value.values.shape[1]
        names = [label] if many == 1 else [f"{label}[{j + 1}]" for j in range(many)]
        return {name: Piece(text, j) for j, name in enumerate(names)}
    if reduced:
        matrix, suffixes = value.contrast.coded(value.levels)
    else:
        matrix, suffixes = np.eye(len(value.levels)), list(value.levels)
    return {
        f"{label}[{suffix}]": Piece(text, tuple(numbers))
        for suffix, numbers in zip(suffixes, matrix.T.tolist(), strict=True)
    }


def check_widths(values: Mapping[str, Categories | Basis]) -> None:
    """Check that no factor has too many levels to be coded by columns.

    Parameters
    ----------
    values
        Values of the factors by their text.

    Raises
    ------
    ValueError
        If a factor has more than `MAX_TERMS` levels.
    """
    for text, value in values.items():
        if isinstance(value, Categories) and len(value.levels) > MAX_TERMS:
            raise ValueError(
                f"Expected at most {MAX_TERMS} levels of a predictor; got {len(value.levels)} of "
                f"{text!r}: if it is a column of numbers read as text, convert it; if it names "
                "groups, write it behind the bar"
            )


def independent(matrix: Array, *, constant: bool) -> list[bool]:
    """Return which columns are not linear combinations of the constant and earlier columns.

    Parameters
    ----------
    matrix
        J columns, shape (N, J).
    constant
        Whether the model has a constant, which counts as the first column.

    Returns
    -------
    list of bool
        True if the earlier columns leave more than the share `COLLINEAR` of the variance of a
        column; without a constant, more than the share `PARALLEL` of its mean square.
    """
    if not matrix.size:
        return [False] * matrix.shape[1]
    size = np.abs(matrix).max(0)
    matrix = matrix / np.where(size > 0, size, 1.0)
    if constant:
        for _ in range(2):
            matrix -= matrix.mean(0)
    norm = np.sqrt((matrix**2).sum(0))
    present = norm > ROUNDING * np.sqrt(len(matrix))
    # The columns of R have the same lengths and angles as the columns of the matrix.
    triangle = np.linalg.qr(matrix / np.where(present, norm, 1.0), mode="r")
    return _free(triangle, present, COLLINEAR if constant else PARALLEL)


def independent_by_moments(
    count: float, mean: Array, products: Array, *, constant: bool
) -> list[bool]:
    """Apply :func:`independent` to the moments of columns.

    Parameters
    ----------
    count, mean, products
        Number of rows; means, shape (J,); centred sums of products, shape (J, J).
    constant
        Whether the model has a constant, which counts as the first column.
    """
    varies = np.diag(products) > count * (ROUNDING * mean) ** 2
    products = np.where(varies[:, None] & varies, products, 0.0)
    if not constant:
        products = products + count * np.outer(mean, mean)
    norm = np.sqrt(np.diag(products))
    scale = np.where(norm > 0, norm, 1.0)
    lengths, axes = np.linalg.eigh(products / np.outer(scale, scale))
    vectors = (axes * np.sqrt(np.maximum(lengths, 0.0))).T
    return _free(vectors, norm > 0, COLLINEAR if constant else PARALLEL)


def _free(vectors: Array, present: NDArray[np.bool_], tolerance: float) -> list[bool]:
    """Return which columns are not in the span of earlier columns.

    Columns with ``present`` have length 1; the result is False for the others.
    """
    kept: list[bool] = []
    basis = np.empty((0, len(vectors)))
    for vector, there in zip(vectors.T, present, strict=True):
        rest = vector
        for _ in range(2):
            rest = rest - basis.T @ (basis @ rest)
        length = float(np.linalg.norm(rest))
        kept.append(bool(there and length**2 > tolerance))
        if kept[-1]:
            basis = np.vstack([basis, rest / length])
    return kept
