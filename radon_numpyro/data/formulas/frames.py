"""Make the fields of data, including weights of rows, from a formula and a frame in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radon_numpyro.data.checks import group_codes, read_only
from radon_numpyro.data.design import Design
from radon_numpyro.data.formulas.formula import ModelFormula
from radon_numpyro.data.formulas.rows import apply, learn, names_used
from radon_numpyro.data.formulas.terms import Terms, parse_terms
from radon_numpyro.data.labels import Labels
from radon_numpyro.data.missing import complete_rows, in_memory
from radon_numpyro.data.row_weights import read_weights, weight_columns


def rows_by_formula(
    formula: str | ModelFormula,
    frame: Any,
    *,
    missing: Mapping[str, Any] | None,
    drop_missing: bool,
    weights: str | None,
    se: str | None,
) -> dict[str, Any]:
    """Evaluate a formula on a frame in memory, and return the fields of ``GroupedData``.

    Parameters
    ----------
    formula, frame, missing, drop_missing, weights, se
        As in ``GroupedData.from_formula``.

    Raises
    ------
    TypeError, ValueError
        As ``GroupedData.from_formula``.
    """
    known = in_memory(frame, "from_formula")
    stored = formula if isinstance(formula, ModelFormula) else None
    terms = formula.terms if isinstance(formula, ModelFormula) else parse_terms(formula)
    response, right = names_used(terms, list(known.columns))
    named = named_weights(terms, weights, se, None if stored is None else stored.design)
    given = weight_columns(list(known.columns), *named)
    used = (*right, *given.values())
    kept = complete_rows(
        known,
        response,
        used,
        terms.group,
        missing=missing,
        drop_missing=drop_missing,
        booleans=True,
    )
    rows = learn(terms, kept.frame) if stored is None else apply(stored, kept.frame)
    codes, groups = group_codes(kept.frame[terms.group])
    learnt = rows.formula.weighted_by(**given)
    design = learnt.design
    return read_weights(kept.frame, given) | {
        "y": read_only(rows.y),
        "x": read_only(rows.x),
        "group": read_only(codes),
        "labels": Labels(terms.outcome, design.predictors, terms.group, groups, design),
        "left_out": kept.left_out,
        "lost_groups": kept.lost_groups,
        "formula": learnt.to_json(),
        "notes": rows.notes,
    }


def named_weights(
    terms: Terms, weights: str | None, se: str | None, stored: Design | None
) -> tuple[str | None, str | None]:
    """Return the columns of weights and of known standard errors of a formula.

    Parameters
    ----------
    terms
        The formula, which may name the standard errors: ``y | se(s) ~ ...``.
    weights, se
        Columns named by arguments.
    stored
        The design of a formula with its state from other rows, whose columns are used again.

    Raises
    ------
    ValueError
        If the formula names other standard errors.
    """
    if terms.se and se not in (None, terms.se):
        raise ValueError(
            f"Expected se to be named once; got {terms.se!r} in the formula and se {se!r}"
        )
    if stored is not None:
        return weights or stored.weights or None, se or stored.se or None
    return weights, terms.se or se
