"""Choose values of the predictors for predictions: typical values that a row of data can have.

The columns of a model cannot be set one by one: a row has one level of each category, the columns
of a curve follow from one variable, and interactions are products of other columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from radon_numpyro.report.absent_factors import moments
from radon_numpyro.report.curves import curves
from radon_numpyro.report.term import Term
from radon_numpyro.report.terms import terms
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_data


def factors_of(known: Mapping[str, Term]) -> dict[str, Term]:
    """Return the columns that are not interactions, and the factors of interactions, by name.

    Parameters
    ----------
    known
        From :func:`~radon_numpyro.report.terms.terms`.
    """
    found = {part.column: part for term in known.values() for part in term.factors}
    return found | {x: term for x, term in known.items() if not term.parts}


def varied(known: Mapping[str, Term]) -> str | None:
    """Return the factor that takes several values in :func:`typical_rows`, the first.

    Parameters
    ----------
    known
        From :func:`~radon_numpyro.report.terms.terms`.
    """
    return next(iter(factors_of(known)), None)


def typical_rows(numbers: Numbers) -> pd.DataFrame:
    """Return typical values of all factors and columns, one column each, as rows for predictions.

    The first factor takes its two values if binary, else its mean minus and plus its sd. The others
    are held at the more frequent value if binary, else at the mean. Curves are at the middle of the
    range of their variable; the curve of the first factor takes the middle and both ends.

    Parameters
    ----------
    numbers
        A fit.
    """
    known = terms(numbers)
    factors, first, drawn = factors_of(known), varied(known), curves(numbers)
    of_curves = {t.column for t in factors.values() if any(t.curve == c.shape for c in drawn)}
    facts = {x: moments(numbers, t) for x, t in factors.items() if x not in of_curves}
    values: dict[str, list[float]] = {}
    for x, (mean, sd, binary) in facts.items():
        ends = [mean - sd, mean + sd] if x == first else [mean]
        digits = 1 - int(np.floor(np.log10(sd))) if sd > 0 else 1
        values[x] = [round(float(end), digits) for end in ends]
        if binary:
            values[x] = [0.0, 1.0] if x == first else [float(round(mean))]
    rows = max(map(len, values.values()), default=1)
    full = {x: v if len(v) == rows else v * rows for x, v in values.items()}
    at = pd.DataFrame(full, index=range(rows), dtype=float)
    for curve in drawn:
        points = curve.points(3)
        own = first is not None and factors[first].curve == curve.shape
        at = pd.concat([at.iloc[:1]] * 3, ignore_index=True) if own else at
        at = at.assign(**curve.at(points if own else np.full(len(at), points[1])))
    for shape in dict.fromkeys(t.curve for x, t in factors.items() if x in facts and t.curve):
        columns = [x for x, t in factors.items() if t.curve == shape]
        at = _with_actual_rows(numbers, at, columns, first)
    _multiply(known, at)
    return at


def _with_actual_rows(
    numbers: Numbers, at: pd.DataFrame, columns: Sequence[str], first: str | None
) -> pd.DataFrame:
    """Set columns that have no common variable to their values in rows of the data.

    These are the row in the middle of the first column and, if it is the first factor, the rows at
    its quantiles 1/6 and 5/6. Without rows the columns stay at their means.
    """
    names = numbers.labels.predictors
    if not numbers.has_rows or not set(columns) <= set(names):
        return at
    places = [names.index(x) for x in columns]
    x = read_data(numbers.tree).x[:, places] + numbers.zeros[places]
    order, own = np.argsort(x[:, 0], kind="stable"), first in columns
    chosen = [
        order[int(share * (len(x) - 1))] for share in ((1 / 6, 0.5, 5 / 6) if own else (0.5,))
    ]
    at = pd.concat([at.iloc[:1]] * 3, ignore_index=True) if own else at
    rows = np.broadcast_to(x[chosen], (len(at), len(columns)))
    return at.assign(**dict(zip(columns, rows.T, strict=True)))


def follow(numbers: Numbers, frame: pd.DataFrame, labels: Sequence[Any]) -> None:
    """Set the columns of typical rows that follow from others.

    Interactions become the products of their factors. For known groups, predictors of groups
    become the values of the group.

    Parameters
    ----------
    numbers
        A fit.
    frame
        Rows of :func:`typical_rows`, which are changed.
    labels
        Label of the group of each row, None in rows of no known group.
    """
    known = terms(numbers)
    means = np.asarray(numbers.statistics.mean_x) + numbers.zeros
    code = {label: c for c, label in enumerate(numbers.labels.groups)}
    first = varied(known)
    for k, (x, term) in enumerate(known.items()):
        if term.of_groups and not term.curve and x != first:
            frame[x] = [
                v if g is None else means[code[g], k] for v, g in zip(frame[x], labels, strict=True)
            ]
    factors = factors_of(known)
    for category in dict.fromkeys(t.category for t in factors.values() if t.category):
        _choose_level(
            numbers, known, frame, [t for t in factors.values() if t.category == category]
        )
    _multiply(known, frame)


def _choose_level(
    numbers: Numbers, known: Mapping[str, Term], frame: pd.DataFrame, columns: Sequence[Term]
) -> None:
    """Set the columns of a category to one level in each row.

    Rows in which the first factor of the model is a level of the category and not 0 keep that
    level. Other rows get the most frequent of the other levels; the reference level is one of
    these if it has no column.
    """
    first, names = varied(known), [t.column for t in columns]
    singles = [t.column for t in columns if t.column in known]
    whole = any(t.column in known and (t.every_level or t.every_level_by_group) for t in columns)
    others = [x for x in names if x != first]
    free = pd.Series(True, frame.index) if first not in names else frame[first] == 0
    if singles and not whole:
        # The reference level is where all columns of the other levels are 0.
        frame.loc[~free, others] = 0.0
        rest = 1.0 - frame[singles].sum(axis=1)
        for term in columns:
            if term.column not in known:
                frame[term.column] = rest if term.level == term.reference else 0.0
        return
    if first not in names:
        free = frame[names].sum(axis=1) != 1
    frame.loc[free | (first in names), others] = 0.0
    share = {x: moments(numbers, t)[0] for x, t in zip(names, columns, strict=True)}
    reference = {t.reference for t in columns} - {t.level for t in columns}
    left = 1.0 - sum(share.values()) if reference and not whole else -1.0
    best = max(others, key=share.__getitem__)
    if share[best] >= left:
        frame.loc[free, best] = 1.0


def _multiply(known: Mapping[str, Term], frame: pd.DataFrame) -> None:
    """Set the interactions to the products of their factors, and curves of several columns too."""
    for x, term in known.items():
        if len(term.pieces) > 1 and all(piece in frame for piece in term.pieces):
            frame[x] = frame[list(term.pieces)].prod(axis=1)
