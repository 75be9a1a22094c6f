"""What each column of a model is: a number, a level of a category, an interaction; in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.report.words import name
from radon_numpyro.results.column_names import factors, level
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_centers

# Least sd within a group, by that over all rows, of a column that varies within it.
SAME = 1e-9


@dataclass(frozen=True)
class Term:
    """A column of a model.

    Attributes
    ----------
    column
        Its name.
    factors
        Columns that it is the product of; itself if it is no interaction.
    category, level
        Variable and level, where it is 1 in the rows of a level and 0 in others; else empty.
    contrast
        Variable, code and kind, such as ``("C(c, contr.sum)", "S.a", "sum")``, where it codes
        levels by contrasts other than treatment; else empty.
    reference
        Level that the others are compared with, where the fit says which; else empty.
    every_level
        Whether each level of the category has a column, so that none is the reference.
    binary
        Whether its values are 0 and 1.
    of_groups
        Whether it is the same in all rows of a group.
    """

    column: str
    factors: tuple[str, ...]
    category: str
    level: str
    contrast: tuple[str, ...]
    reference: str
    every_level: bool
    binary: bool
    of_groups: bool

    @property
    def variable(self) -> str:
        """What the user measured."""
        return self.category or (self.contrast[0] if self.contrast else self.column)

    @property
    def of_levels(self) -> bool:
        """Whether it codes the levels of a category, by treatment coding or another."""
        return bool(self.category or self.contrast)

    @property
    def is_interaction(self) -> bool:
        """Whether it is a product of others."""
        return len(self.factors) > 1

    @property
    def against(self) -> str:
        """The level that it is compared with, in words."""
        return self.reference or "its reference level"

    @property
    def shown(self) -> list[Any]:
        """Its name, a level behind its variable; what is compared, of other contrasts."""
        if self.contrast:
            return _contrast_words(*self.contrast)
        return (
            [name(self.category), " ", name(self.level)] if self.category else [name(self.column)]
        )


def terms(numbers: Numbers) -> dict[str, Term]:
    """The predictors, in the order of the data.

    Parameters
    ----------
    numbers
        A fit.
    """
    names, columns = numbers.labels.predictors, numbers.columns
    s = numbers.statistics
    # A group of one row tells nothing of what is the same in all rows of a group.
    several, sd = np.asarray(s.count) > 1, columns["sd"].to_numpy()[:-1]
    weight = s.total_weight[several, None]
    within = np.sqrt(np.einsum("ckk->ck", np.asarray(s.sxx))[several] / weight)
    same = (within <= SAME * sd).all(0) & (sd > 0) & several.any()
    levels = {x: level(x) if columns.loc[x, "binary"] else None for x in names}
    shares: dict[str, float] = {}
    for x, found in levels.items():
        if found:
            shares[found[0]] = shares.get(found[0], 0.0) + float(columns.loc[x, "mean"])
    notes = numbers.statistics.notes
    made = {}
    for k, x in enumerate(names):
        parts, (category, of) = factors(x, names), levels[x] or ("", "")
        whole = len(parts) == 1 and bool(category)
        made[x] = Term(
            x,
            parts,
            category if whole else "",
            of if whole else "",
            () if whole or len(parts) > 1 else _contrast(notes, x),
            _reference(notes, category),
            whole and abs(shares[category] - 1.0) < 1e-9,
            bool(columns.loc[x, "binary"]),
            bool(same[k]),
        )
    return made


def _contrast(notes: tuple[str, ...], column: str) -> tuple[str, ...]:
    """Variable, code and kind, by a note such as ``C(c, contr.sum): sum contrasts of a, b``."""
    variable, code = level(column) or ("", "")
    for note in notes if variable else ():
        kind = note.removeprefix(f"{variable}: ").partition(" contrasts of ")
        if note.startswith(f"{variable}: ") and kind[1]:
            return variable, code, kind[0]
    return ()


def _contrast_words(variable: str, code: str, kind: str) -> list[Any]:
    """What a contrast compares."""
    if kind == "poly":
        degrees = {".L": "linear", ".Q": "quadratic", ".C": "cubic"}
        shape = degrees.get(code, f"degree {code.removeprefix('^')}")
        return [f"the {shape} trend over the levels of ", name(variable)]
    against = "its levels" if kind == "sum" else "the levels before it"
    return [name(variable), " ", name(code[2:]), f" against the mean of {against}"]


def coefficients(known: Mapping[str, Term], x: str) -> list[Any]:
    """The coefficients of a column, of many groups, in words: "slopes of Days".

    Parameters
    ----------
    known
        From :func:`terms`.
    x
        Name of a column, or ``"Intercept"``.
    """
    if x == INTERCEPT:
        return ["intercepts"]
    term = known[x]
    if term.is_interaction:
        return ["interactions of ", *product([known[part] for part in term.factors])]
    if term.contrast:
        return ["differences of ", *term.shown]
    if term.category:
        return ["levels of " if term.every_level else "differences of ", *term.shown]
    return ["slopes of ", *term.shown]


def product(parts: Sequence[Term]) -> list[Any]:
    """The columns of an interaction with commas and a last "and".

    Parameters
    ----------
    parts
        Two terms or more.
    """
    joint = [", "] * (len(parts) - 2) + [" and "]
    rest = zip(joint, (part.shown for part in parts[1:]), strict=True)
    return [parts[0].shown, *(one for pair in rest for one in pair)]


def _reference(notes: tuple[str, ...], category: str) -> str:
    """Reference level of a category, from a note such as ``Sex: Male against Female``."""
    of = [note for note in notes if note.startswith(f"{category}: ") and " against " in note]
    return of[0].rpartition(" against ")[2] if category and of else ""


def variables(numbers: Numbers) -> list[str]:
    """What the user measured, once each; an interaction adds nothing to it.

    Parameters
    ----------
    numbers
        A fit.
    """
    found = terms(numbers).values()
    return list(dict.fromkeys(term.variable for term in found if not term.is_interaction))


def at_zero(numbers: Numbers, columns: Any) -> list[Any]:
    """Where columns are 0: numbers at 0 and categories at their reference levels.

    Parameters
    ----------
    numbers
        A fit.
    columns
        Names of predictors.
    """
    known, centers = terms(numbers), dict(read_centers(numbers.tree))
    chosen = [known[x] for x in columns if not known[x].is_interaction]
    categories = list(dict.fromkeys(t.category for t in chosen if t.category))
    by_value: dict[float, list[str]] = {}
    for term in chosen:
        if not term.of_levels:
            by_value.setdefault(centers.get(term.column, 0.0), []).append(term.column)
    said: list[list[Any]] = []
    for value, names in by_value.items():
        said.append([joined(names), f" {'is' if len(names) == 1 else 'are'} {value:.10g}"])
    references = {t.category: t.reference for t in chosen if t.category}
    said += [[name(x), " is ", name(references[x])] for x in categories if references[x]]
    if unnamed := [x for x in categories if not references[x]]:
        verb = "are at their reference levels" if len(unnamed) > 1 else "is at its reference level"
        said.append([joined(unnamed), f" {verb}"])
    # All contrasts are 0 at the mean of the levels.
    contrasts = dict.fromkeys(t.contrast[0] for t in chosen if t.contrast)
    said += [[name(x), " is at the mean of its levels"] for x in contrasts]
    between = [" and " if k == len(said) - 1 else ", " for k in range(len(said))]
    return [part for k, one in enumerate(said) for part in ([between[k]] if k else []) + one]


def joined(names: list[str]) -> list[Any]:
    """Names with commas and a last "and".

    Parameters
    ----------
    names
        Of columns or variables.
    """
    out: list[Any] = []
    for k, x in enumerate(names):
        out += [", " if 0 < k < len(names) - 1 else " and " if k else "", name(x)]
    return out


def formula(numbers: Numbers) -> list[Any]:
    """The model in the notation of lme4, such as ``y ~ 1 + x + (1 + x || group)``.

    Parameters
    ----------
    numbers
        A fit.
    """
    labels, known = numbers.labels, terms(numbers)

    def written(columns: tuple[str, ...]) -> list[Any]:
        def term(x: str) -> str:
            return ":".join(known[part].variable for part in known[x].factors)

        found = dict.fromkeys(term(x) for x in columns if x != INTERCEPT)
        first = "1" if INTERCEPT in columns else "0"
        return [first, *([" + ", name(x)] for x in found)]

    known_errors = [" | se(", name(labels.design.se), ")"] if labels.design.se else []
    line = [name(labels.outcome), *known_errors, " ~ ", written(labels.design.population)]
    if numbers.model.by_group:
        for columns, bar in labels.design.parts:
            line += [" + (", written(columns), f" {bar} ", name(labels.group), ")"]
    return line
