"""Write in words what a coefficient of a column compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.report.term import Term
from radon_numpyro.report.words import joined, name


def coefficient(known: Mapping[str, Term], x: str, *, by_group: bool = False) -> list[Any]:
    """Return what the coefficient of a column compares, in words.

    Parameters
    ----------
    known
        From :func:`~radon_numpyro.report.terms.terms`.
    x
        Name of a column.
    by_group
        Whether the coefficient varies by group, so that a level is compared only if not every
        level has one.
    """
    term = known[x]
    compared, at = term.compared(by_group=by_group), at_conditions(term, by_group=by_group)
    if not compared:
        return ["level of rows", *at]
    if term.of_cells:
        return [*_cell(term), " instead of the combination that is left out"]
    if len(compared) > 1:
        parts: list[Any] = []
        for k, part in enumerate(compared):
            parts += [" by " if k else "", *part.shown]
        return ["interaction, ", *parts, *at]
    (only,) = compared
    if only.curve:
        return ["coefficient of ", name(only.column), *at]
    whole = not term.parts and (only.every_level_by_group if by_group else only.every_level)
    if only.category and not whole:
        return [*only.shown, " instead of ", *only.against, *at]
    if only.of_levels:
        return ["level of ", *only.shown] if only.category else [*only.shown, *at]
    return ["slope of ", name(only.column), *at]


def difference(known: Mapping[str, Term], x: str, *, by_group: bool = False) -> list[Any]:
    """Return a coefficient in words: "the difference between Sex Male and Female".

    Parameters
    ----------
    known
        From :func:`~radon_numpyro.report.terms.terms`.
    x
        Name of a column.
    by_group
        As in :func:`coefficient`.
    """
    term = known[x]
    compared, at = term.compared(by_group=by_group), at_conditions(term, by_group=by_group)
    if not compared:
        return ["the level of rows", *at]
    if term.of_cells:
        return ["the difference between ", *_cell(term), " and the combination that is left out"]
    if len(compared) > 1:
        return ["the interaction of ", *product(compared), *at]
    (only,) = compared
    if only.curve:
        return ["the coefficient of ", name(only.column), *at]
    if not term.parts and (only.every_level_by_group if by_group else only.every_level):
        return ["the level of ", *only.shown]
    if only.category:
        return ["the difference between ", *only.shown, " and ", *only.against, *at]
    if only.contrast and only.contrast[2] == "poly":
        return [*only.shown, *at]
    return ["the difference of " if only.of_levels else "the slope of ", *only.shown, *at]


def coefficients(known: Mapping[str, Term], x: str) -> list[Any]:
    """Return the coefficients of a column in all groups, in words: "slopes of Days".

    Parameters
    ----------
    known
        From :func:`~radon_numpyro.report.terms.terms`.
    x
        Name of a column, or ``"Intercept"``.
    """
    if x == INTERCEPT:
        return ["intercepts"]
    term = known[x]
    compared, at = term.compared(by_group=True), at_conditions(term, by_group=True)
    if not compared:
        return ["levels of rows", *at]
    if term.of_cells:
        return ["differences of ", *_cell(term)]
    if len(compared) > 1:
        return ["interactions of ", *product(compared), *at]
    (only,) = compared
    if only.curve:
        return ["coefficients of ", name(only.column), *at]
    if only.category and not term.parts and only.every_level_by_group:
        return ["levels of ", *only.shown]
    return ["differences of " if only.of_levels else "slopes of ", *only.shown, *at]


def at_conditions(term: Term, *, by_group: bool = False) -> list[Any]:
    """Return the rows to which an interaction applies: " where Sex is Female"; else nothing.

    Parameters
    ----------
    term
        A column.
    by_group
        As in :func:`coefficient`.
    """
    said = [condition(part) for part in term.conditions(by_group=by_group)]
    return [" where ", *joined(said)] if said else []


def condition(part: Term) -> list[Any]:
    """Return the words "Sex is Female" for a level.

    Parameters
    ----------
    part
        An indicator column of a level.
    """
    return [name(part.category), " is ", name(part.level)]


def product(parts: Sequence[Term]) -> list[Any]:
    """Return the columns of an interaction, separated by commas and a last "and".

    Parameters
    ----------
    parts
        Two or more terms.
    """
    return joined([part.shown for part in parts])


def _cell(term: Term) -> list[Any]:
    return joined([part.shown for part in term.parts])
