"""Write the question that a model answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from radon_numpyro.report.term import Term
from radon_numpyro.report.terms import terms
from radon_numpyro.report.words import groups, joined, listing, name
from radon_numpyro.results.estimates import Numbers


def question(numbers: Numbers) -> list[Any]:
    """Return the question that the model answers, as one sentence."""
    labels, many = numbers.labels, groups(numbers)
    y, design = name(labels.outcome), numbers.labels.design
    own: list[Any]
    if labels.predictors:
        asked: list[Any] = [
            "How does ",
            y,
            " vary with ",
            listing(variables(terms(numbers).values())),
        ]
        own = [", and how much does that differ between ", many]
    else:
        asked, own = ["How high is ", y, " on average"], [", and how much do ", many, " differ"]
    end: list[Any] = [", over all rows alike, whatever their group"]
    if numbers.model.population:
        end = own
        if not design.varies_throughout:
            differ: list[list[Any]] = [["its level"]] if design.intercept_varies else []
            if design.slopes:
                known = terms(numbers)
                of_slopes = list(dict.fromkeys(known[x].variable for x in design.slopes))
                numeric = all(known[x].is_measured and not known[x].category for x in design.slopes)
                what = "slope" if numeric else "coefficient"
                slopes = f"the {what}{'s' if len(design.slopes) > 1 else ''} of "
                differ.append([slopes, listing(of_slopes)])
            verb = "do" if len(differ) > 1 or len(design.slopes) > 1 else "does"
            end = [f", and how much {verb} ", joined(differ), " differ between ", many]
    elif numbers.model.by_group:
        end = [" in each of ", many, ", every group taken on its own"]
    return [asked, end, "?"]


def variables(columns: Iterable[Term]) -> list[str]:
    """Return the distinct variables that the user measured.

    Parameters
    ----------
    columns
        Columns of a model.
    """
    return list(dict.fromkeys(x for term in columns for x in term.variables))
