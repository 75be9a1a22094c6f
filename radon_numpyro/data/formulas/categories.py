"""Categorical columns: their levels, and their coding by contrasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.checks import first_few, plural, suggest
from radon_numpyro.data.formulas.syntax import Call, Name, Node, Number, Text, spelled

# Names of contrasts in R, and in patsy.
CONTRASTS = {
    "contr.treatment": "treatment",
    "contr.SAS": "SAS",
    "contr.sum": "sum",
    "contr.helmert": "helmert",
    "contr.poly": "poly",
    "Treatment": "treatment",
    "Sum": "sum",
    "Helmert": "helmert",
    "Poly": "poly",
}


@dataclass(frozen=True)
class Contrast:
    """The coding of k levels by k - 1 columns in a model with a constant, as in R.

    Attributes
    ----------
    kind
        ``"treatment"``: each level against the base; ``"sum"``: each level except the last against
        the mean of all; ``"helmert"``: each level against the mean of the levels before it;
        ``"poly"``: orthogonal polynomials of the position.
    base
        Reference level of treatment coding; None for the first level.
    """

    kind: str = "treatment"
    base: str | None = None

    @classmethod
    def of(
        cls, contrast: Node | None, base: Node | None, levels: Sequence[str], whole: Node
    ) -> Contrast:
        """Make a contrast from the arguments of ``C(x, contrast, base = )``.

        Parameters
        ----------
        contrast
            A name such as ``contr.sum``, or a call such as ``contr.treatment(base = "b")``.
        base
            The reference level, or its position counted from 1.
        levels
            The levels.
        whole
            The call, for messages.

        Raises
        ------
        ValueError
            If the contrast is unknown, or the base is not a level.
        """
        name = "contr.treatment"
        if isinstance(contrast, Name):
            name = contrast.value
        elif isinstance(contrast, Call):
            name = contrast.function
            for key, value in contrast.arguments:
                if key not in ("", "base", "reference") or base is not None:
                    raise ValueError(
                        f"Expected the base as the one argument of {name}; got {spelled(whole)!r}"
                    )
                base = value
        if name not in CONTRASTS or not isinstance(contrast, Name | Call | None):
            raise ValueError(
                f"Expected a contrast such as {', '.join(list(CONTRASTS)[:5])}; got "
                f"{spelled(whole)!r}"
            )
        kind = CONTRASTS[name]
        if kind == "SAS":
            return cls("treatment", levels[-1])
        if base is None:
            return cls(kind)
        if kind != "treatment":
            raise ValueError(f"Expected a base for contr.treatment only; got {spelled(whole)!r}")
        return cls(kind, _level_of(base, levels, whole, by_position=name.startswith("contr.")))

    def coded(self, levels: Sequence[str]) -> tuple[NDArray[np.float64], list[str]]:
        """Return the codes of the levels.

        Parameters
        ----------
        levels
            The k levels.

        Returns
        -------
        matrix, names
            Codes of shape (k, k - 1), and the suffixes for the names of their columns.
        """
        k = len(levels)
        if self.kind == "treatment":
            others = [i for i, level in enumerate(levels) if level != (self.base or levels[0])]
            return np.eye(k)[:, others], [levels[i] for i in others]
        if self.kind == "sum":
            matrix = np.vstack([np.eye(k - 1), -np.ones(k - 1)])
            return matrix, [f"S.{level}" for level in levels[:-1]]
        if self.kind == "helmert":
            # Column j: level j + 1 (counted from 0) against the mean of the levels before it.
            matrix = np.triu(-np.ones((k, k - 1)))
            matrix[np.arange(1, k), np.arange(k - 1)] = np.arange(1, k)
            return matrix, [f"H.{level}" for level in levels[1:]]
        scores = np.arange(k) - (k - 1) / 2
        q, r = np.linalg.qr(np.vander(scores, k, increasing=True))
        names = [".L", ".Q", ".C", *(f"^{d}" for d in range(4, k))]
        return (q * np.sign(np.diag(r)))[:, 1:], names[: k - 1]


def _level_of(base: Node, levels: Sequence[str], whole: Node, *, by_position: bool) -> str:
    """Return the level with a given name, or at a given position counted from 1 as in R."""
    if isinstance(base, Number) and by_position:
        if base.value.is_integer() and 1 <= base.value <= len(levels):
            return levels[int(base.value) - 1]
        raise ValueError(
            f"Expected a position between 1 and {len(levels)} as base; got {spelled(base)} in "
            f"{spelled(whole)!r}"
        )
    wanted = level_text(base.value) if isinstance(base, Number | Text) else spelled(base)
    if wanted not in levels:
        raise ValueError(
            f"Expected a level as reference; got {wanted!r} in {spelled(whole)!r} "
            f"({suggest(wanted, levels)})"
        )
    return wanted


@dataclass(frozen=True, eq=False)
class Categories:
    """A column of categories.

    Attributes
    ----------
    codes
        Position of the level of each row, shape (N,).
    levels
        The levels as text, in order.
    contrast
        The coding of the levels in a model with a constant.
    """

    codes: NDArray[np.int64]
    levels: tuple[str, ...]
    contrast: Contrast = Contrast()

    def used(self) -> Categories:
        """Return the same rows without the levels that no row has."""
        present = np.bincount(self.codes, minlength=len(self.levels)) > 0
        if present.all():
            return self
        levels = tuple(level for level, here in zip(self.levels, present, strict=True) if here)
        return replace(self, codes=(np.cumsum(present) - 1)[self.codes], levels=levels)

    def among(self, levels: Sequence[str], what: str) -> Categories:
        """Return the same rows with given levels, in the order of these levels.

        Parameters
        ----------
        levels
            The levels.
        what
            Name of the column, for messages.

        Raises
        ------
        ValueError
            If a row has another level.
        """
        if tuple(levels) == self.levels:
            return self
        place = {level: code for code, level in enumerate(levels)}
        codes = np.array([place.get(level, -1) for level in self.levels], np.int64)[self.codes]
        if (codes < 0).any():
            unknown = dict.fromkeys(self.levels[c] for c in self.codes[codes < 0].tolist())
            raise ValueError(
                f"Expected {what!r} to hold known levels ({first_few(levels)}); got "
                f"{first_few(unknown)} in {plural(int((codes < 0).sum()), 'row')}"
            )
        return replace(self, codes=codes, levels=tuple(levels))


def level_text(level: Any) -> str:
    """Write a level as text; whole numbers have no decimal point.

    Parameters
    ----------
    level
        A label of a category.
    """
    if isinstance(level, float) and level.is_integer() and abs(level) < 1e15:
        return str(int(level))
    return str(level)


def of_numbers(values: NDArray[Any]) -> Categories:
    """Make categories from numbers or truth values, with sorted levels.

    Parameters
    ----------
    values
        Finite values, shape (N,).
    """
    if values.dtype == np.bool_:
        return Categories(values.astype(np.int64), ("False", "True"))
    distinct, codes = np.unique(values, return_inverse=True)
    return Categories(codes.astype(np.int64), tuple(level_text(v) for v in distinct.tolist()))
