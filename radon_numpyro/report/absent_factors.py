"""Recover factors of interactions that are not columns of a model, such as Sex in ``SES / Sex``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from radon_numpyro.report.term import Term
from radon_numpyro.report.terms import terms
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_data


def moments(numbers: Numbers, factor: Term) -> tuple[float, float, bool]:
    """Return mean and sd of a factor over the rows, and whether its values are 0 and 1.

    If the interactions do not tell a factor, it is taken to be 0.

    Parameters
    ----------
    numbers
        A fit.
    factor
        A column that is not an interaction, or a factor of an interaction.
    """
    x, known = factor.column, terms(numbers)
    if x in known:
        mean, sd, binary = numbers.columns.loc[x, ["mean", "sd", "binary"]]
        return float(mean), float(sd), bool(binary)
    of = _interactions(known, x)
    if numbers.has_rows:
        found = values(numbers, factor)
        binary = bool(factor.category) or (len(found) > 1 and np.isin(found, (0.0, 1.0)).all())
        found = found if len(found) else np.zeros(1)
        return float(found.mean()), float(found.std()), bool(binary)
    if not factor.category and all(p.category for t in of for p in t.parts if p.column != x):
        # In each row one of these columns is the factor, and the others are 0.
        means, sds = (numbers.columns.loc[[t.column for t in of], key] for key in ("mean", "sd"))
        mean = float(means.sum())
        return mean, float(np.sqrt((sds**2 + means**2).sum() - mean**2)), False
    return 0.0, 0.0, bool(factor.category)


def values(numbers: Numbers, factor: Term) -> np.ndarray:
    """Return the values of a factor in the rows in which interactions tell them.

    Parameters
    ----------
    numbers
        A fit that has rows.
    factor
        A factor that is not a column of the model.
    """
    known = terms(numbers)
    found = _recovered(numbers, known, factor, _interactions(known, factor.column))
    return np.concatenate([*found, np.zeros(0)])


def _interactions(known: Mapping[str, Term], x: str) -> list[Term]:
    """Return the interactions that have a factor."""
    return [t for t in known.values() if x in {p.column for p in t.parts}]


def _recovered(
    numbers: Numbers, known: Mapping[str, Term], factor: Term, of: Sequence[Term]
) -> Iterator[np.ndarray]:
    """Yield the values of a factor in the rows in which each of some interactions tells them."""
    names, data = numbers.labels.predictors, read_data(numbers.tree)
    column = {x: data.x[:, k] + numbers.zeros[k] for k, x in enumerate(names)}
    for term in of:
        others = [part for part in term.parts if part.column != factor.column]
        unknown = [p.column for p in term.parts if p.column not in known and not p.category]
        if factor.column in unknown[1:]:
            # Of the product of two unknown numbers the first stands for the product.
            yield np.ones(1)
            continue
        product, made = column[term.column], np.ones(len(data.x))
        for part in others:
            made = made * column.get(part.column, 1.0)
        tells = made != 0
        if factor.category and not all(part.column in known for part in others):
            yield (product != 0).astype(float)
        elif factor.category:
            yield product[tells] / made[tells]
        else:
            absent = [part for part in others if part.column not in known]
            tells = tells & (product != 0) if absent else tells
            yield product[tells] / made[tells]
