"""The kinds of columns of a model: a number, a level of a category, a curve, an interaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from radon_numpyro.data.formulas.structure import Shape
from radon_numpyro.report.words import name


@dataclass(frozen=True)
class Term:
    """Description of a column of a model, or of a factor of an interaction.

    Attributes
    ----------
    column
        Name of the column. A factor of an interaction need not be a column of the model.
    source
        The column in a formula: ``"Sex"`` for the column ``"Sex[Male]"``.
    parts
        Factors of an interaction; empty if the column is not an interaction. Factors that belong
        to the same curve are one part.
    pieces
        Names of the columns whose product it is.
    category, level
        Variable and level of an indicator column, which is 1 in rows of the level and 0 in
        others; else empty.
    contrast
        Variable, code and kind, such as ``("C(c, contr.sum)", "S.a", "sum")``, of a column that
        codes levels by contrasts other than treatment contrasts; else empty.
    divisor
        Number by which the compared difference is divided to give the coefficient of a contrast.
    curve
        Factors of a curve or surface to which the column belongs, such as ``ns(x, 3)``, or ``x``
        and ``I(x^2)``; else None.
    linear
        Whether a column of a curve is the variable itself, scaled at most.
    reference
        Level with which the other levels are compared, if the fit stores it; else empty. Of
        combinations of levels, the combination that is left out.
    every_level, every_level_by_group
        Whether every level of the category has a population coefficient, and whether every level
        has a coefficient that varies by group. Then no level is the reference. If such a category
        is part of an interaction, the coefficient applies to rows of its level. Of combinations
        of levels, whether every combination has a coefficient.
    binary
        Whether the values are 0 and 1.
    of_groups
        Whether the values are equal in all rows of a group.
    of_cells
        Whether it is the indicator of a combination of levels, of categories that have no
        reference levels of their own in it.
    """

    column: str
    source: str
    parts: tuple[Term, ...] = ()
    pieces: tuple[str, ...] = ()
    category: str = ""
    level: str = ""
    contrast: tuple[str, ...] = ()
    divisor: int = 1
    curve: Shape | None = None
    linear: bool = False
    reference: str = ""
    every_level: bool = False
    every_level_by_group: bool = False
    binary: bool = False
    of_groups: bool = False
    of_cells: bool = False

    @property
    def variables(self) -> tuple[str, ...]:
        """Variables that the user measured: categories, coded variables, columns, or a curve."""
        if self.parts:
            return tuple(dict.fromkeys(x for part in self.parts for x in part.variables))
        if self.curve:
            return self.curve.factors if len(self.curve.factors) == 1 else self.curve.variables
        return (self.category or (self.contrast[0] if self.contrast else self.column),)

    @property
    def variable(self) -> str:
        """The variables as one text: a category, a column, or a product in a formula."""
        return self.source if self.parts else self.variables[0]

    @property
    def of_levels(self) -> bool:
        """Whether the column codes the levels of a category, by any kind of contrast."""
        return bool(self.category or self.contrast)

    @property
    def is_interaction(self) -> bool:
        """Whether the column is a product of other columns."""
        return bool(self.parts)

    @property
    def factors(self) -> tuple[Term, ...]:
        """The parts of an interaction; for any other column, the column itself."""
        return self.parts or (self,)

    @property
    def against(self) -> list[Any]:
        """Words for the reference level."""
        return [name(self.reference)] if self.reference else ["its reference level"]

    @property
    def is_measured(self) -> bool:
        """Whether the column is not an interaction, a contrast or a part of a curve."""
        return not (self.is_interaction or self.contrast or self.curve)

    @property
    def shown(self) -> list[Any]:
        """Words for the column: its name, or variable and level, or what a contrast compares."""
        if self.contrast:
            variable, code, kind = self.contrast
            return _contrast_words(variable, code, kind, self.divisor)
        return (
            [name(self.category), " ", name(self.level)] if self.category else [name(self.column)]
        )

    def conditions(self, *, by_group: bool = False) -> list[Term]:
        """Return the parts of an interaction that say to which rows its coefficient applies.

        These are levels of categories of which every level has such a coefficient.

        Parameters
        ----------
        by_group
            Whether the coefficients that vary by group are meant, not those of the population.
        """
        return [p for p in self.parts if (p.every_level_by_group if by_group else p.every_level)]

    def compared(self, *, by_group: bool = False) -> list[Term]:
        """Return the other parts of an interaction; for any other column, the column itself.

        Parameters
        ----------
        by_group
            As in `conditions`.
        """
        conditions = self.conditions(by_group=by_group)
        return [part for part in self.factors if part not in conditions]


def _contrast_words(variable: str, code: str, kind: str, divisor: int) -> list[Any]:
    """Return what a contrast compares, in words."""
    if kind == "poly":
        degrees = {".L": "linear", ".Q": "quadratic", ".C": "cubic"}
        shape = degrees.get(code, f"degree {code.removeprefix('^')}")
        return [f"the {shape} trend over the levels of ", name(variable)]
    against = "its levels" if kind == "sum" else "the levels before it"
    share = f" (their difference divided by {divisor})" if divisor > 1 else ""
    return [name(variable), " ", name(code[2:]), f" against the mean of {against}{share}"]
