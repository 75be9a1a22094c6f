"""A model formula with its state from the rows of a fit, which can be applied to new rows.

Formulas are in the notation of lme4: in ``y ~ common + (left || group)``, each column of ``common``
has one coefficient for all groups, and each column of ``left`` has a coefficient that varies by
group. The coefficients of a column that is in both vary about an estimated mean. The coefficients
of one ``(left | group)`` correlate. Those of ``(left || group)`` are independent, including the
coefficients of the levels of a factor, which correlate in lme4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from radon_numpyro.data.checks import suggest
from radon_numpyro.data.design import Design
from radon_numpyro.data.formulas.categories import Categories
from radon_numpyro.data.formulas.columns import Layout, add, columns_by, part_layout
from radon_numpyro.data.formulas.dates import Dates
from radon_numpyro.data.formulas.syntax import Name
from radon_numpyro.data.formulas.terms import Terms, parse_terms
from radon_numpyro.data.formulas.values import Interpreter, State
from radon_numpyro.data.frame_columns import (
    BOOLEAN,
    CATEGORY,
    DATE,
    NUMBER,
    Kind,
    read_column,
)
from radon_numpyro.data.frames import to_pandas
from radon_numpyro.data.missing import in_memory

VERSION = 1


@dataclass(frozen=True, eq=False)
class ModelFormula:
    """A formula with its state from the rows of a fit.

    Attributes
    ----------
    terms
        The parsed formula.
    kinds
        Kinds of the columns that the formula uses, with the levels of categories.
    state
        State of its functions: means and sds, polynomials, knots, levels.
    design
        Names of the columns that have coefficients.
    """

    terms: Terms
    kinds: tuple[Kind, ...]
    state: State
    design: Design

    @property
    def text(self) -> str:
        """The formula as the user wrote it."""
        return self.terms.text

    @property
    def outcome(self) -> str:
        """Name of the fitted outcome, such as ``"log(y)"``."""
        return self.terms.outcome

    @property
    def measured(self) -> str:
        """Name of the predicted quantity, such as ``"log(y)"``: the outcome with its offsets."""
        return self.terms.measured

    @property
    def is_transformed(self) -> bool:
        """Whether the fitted outcome is computed from columns instead of being a column."""
        return not isinstance(self.terms.response, Name)

    @property
    def group(self) -> str:
        """Name of the grouping column."""
        return self.terms.group

    @cached_property
    def predictors_used(self) -> tuple[str, ...]:
        """Columns of the frame from which predictors and offsets are computed."""
        named = (*self.terms.predictors_named(), *self.terms.offsets_named())
        return tuple(kind.name for kind in self.kinds if kind.name in named)

    @cached_property
    def outcome_used(self) -> tuple[str, ...]:
        """Columns of the frame from which the outcome minus its offsets is computed."""
        named = (*self.terms.response_named(), *self.terms.offsets_named())
        return tuple(kind.name for kind in self.kinds if kind.name in named)

    def weighted_by(self, weights: str = "", se: str = "") -> ModelFormula:
        """Return the same formula with a column of weights or standard errors.

        Parameters
        ----------
        weights, se
            Columns of precision weights or of known standard errors.
        """
        return replace(self, design=replace(self.design, weights=weights, se=se))

    def columns_of(self, frame: Any) -> NDArray[np.float64]:
        """Compute the predictors of new rows with the levels, means and knots of the fit.

        Parameters
        ----------
        frame
            A pandas or Polars DataFrame or a PyArrow Table with the columns in `predictors_used`;
            it needs neither outcome nor group.

        Returns
        -------
        array
            Shape (N, J), in the order of ``design.predictors``.

        Raises
        ------
        TypeError
            If it is not a frame in memory, or a column has another kind than in the fit.
        ValueError
            If a column is absent, or has missing values or a level that is not in the fit, or a
            value is outside the range of a spline.
        """
        taken = _in_memory(frame, self.predictors_used)
        return self._predictors(self._read(taken, self.predictors_used), len(taken))

    def offset_of(self, frame: Any) -> NDArray[np.float64]:
        """Compute the sum of the offsets of new rows, which is added to predictions.

        Parameters
        ----------
        frame
            As in `columns_of`.

        Returns
        -------
        array
            Shape (N,); zeros without an offset.

        Raises
        ------
        TypeError, ValueError
            As `columns_of`.
        """
        taken = _in_memory(frame, self.predictors_used)
        interpreter = Interpreter(self._read(taken, self.predictors_used), self.state)
        nothing = np.zeros(len(taken))
        return nothing + sum(interpreter.numbers(node) for node in self.terms.offsets)

    def outcome_of(self, frame: Any) -> NDArray[np.float64]:
        """Compute the outcome of new rows as in the fit.

        Parameters
        ----------
        frame
            As in `columns_of`, with the columns in `outcome_used`.

        Returns
        -------
        array
            Shape (N,).

        Raises
        ------
        TypeError, ValueError
            As `columns_of`.
        """
        names = self.outcome_used
        return self._outcome(self._read(_in_memory(frame, names), names))

    def rows_of(self, frame: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute outcome and predictors of new rows, shapes (N,) and (N, J).

        Parameters
        ----------
        frame
            The rows, with all columns that the formula uses.
        """
        names = dict.fromkeys((*self.outcome_used, *self.predictors_used))
        columns = self._read(frame, tuple(names))
        return self._outcome(columns), self._predictors(columns, len(frame))

    def _read(
        self, frame: pd.DataFrame, names: tuple[str, ...]
    ) -> dict[str, NDArray[Any] | Categories | Dates]:
        kinds = {kind.name: kind for kind in self.kinds}
        response = self.terms.response_named()
        return {
            name: read_column(frame[name], "y" if name in response else "x", kinds[name]).values
            for name in names
        }

    def _predictors(
        self, columns: Mapping[str, NDArray[Any] | Categories | Dates], rows: int
    ) -> NDArray[np.float64]:
        interpreter = Interpreter(columns, self.state)
        values = {text: interpreter.factor(node) for text, node in self.terms.factors.items()}
        layout: Layout = {}
        for part in (self.terms.common, *self.terms.random):
            add(layout, part_layout(part, self.terms.factors, values))
        return columns_by(layout, self.design.predictors, values, rows)

    def _outcome(
        self, columns: Mapping[str, NDArray[Any] | Categories | Dates]
    ) -> NDArray[np.float64]:
        interpreter = Interpreter(columns, self.state)
        y = interpreter.numbers(self.terms.response)
        return y - sum(interpreter.numbers(node) for node in self.terms.offsets)

    def to_json(self) -> str:
        """Write the formula and its state as JSON, without loss, for `from_json`."""
        content = {
            "version": VERSION,
            "formula": self.text,
            "columns": [[k.name, k.kind, list(k.levels)] for k in self.kinds],
            "state": self.state,
            **asdict(self.design),
        }
        return json.dumps(content, ensure_ascii=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ModelFormula:
        """Read the JSON of `to_json`; the formula is parsed and checked again.

        Parameters
        ----------
        text
            The JSON text.

        Raises
        ------
        ValueError
            If the text has another form, or its formula is invalid.
        """
        try:
            content = json.loads(text)
            version, formula = content["version"], content["formula"]
            kinds = tuple(
                Kind(_text(name), _text(kind), tuple(map(_text, levels)))
                for name, kind, levels in content["columns"]
            )
            design = Design.from_dict(content)
            for name in (*design.population, *design.varying, design.weights, design.se):
                _text(name)
            state = content["state"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"Expected a stored formula; got a text without one: {error}"
            ) from None
        good = {kind.kind for kind in kinds} <= {NUMBER, BOOLEAN, CATEGORY, DATE}
        if version != VERSION or not isinstance(state, dict) or not good:
            raise ValueError(f"Expected a stored formula of version {VERSION}; got {version!r}")
        return cls(parse_terms(formula), kinds, state, design)


def text_of(stored: str) -> str:
    """Return the formula as the user wrote it, from the JSON of `ModelFormula.to_json`.

    Parameters
    ----------
    stored
        The JSON text.
    """
    return str(json.loads(stored)["formula"])


def levels_of(stored: str) -> dict[str, tuple[str, ...]]:
    """Return the levels of categorical columns, from the JSON of `ModelFormula.to_json`.

    Parameters
    ----------
    stored
        The JSON text; empty for data without a formula.
    """
    columns = json.loads(stored)["columns"] if stored else []
    return {name: tuple(levels) for name, kind, levels in columns if kind == CATEGORY}


def _in_memory(frame: Any, names: tuple[str, ...]) -> pd.DataFrame:
    """Return columns of a frame in memory as a pandas frame."""
    known = in_memory(frame, "from_formula")
    columns = list(known.columns)
    for name in names:
        if columns.count(name) != 1:
            raise ValueError(
                f"Expected frame to have one column {name!r}; got {columns.count(name)} "
                f"({suggest(name, columns)})"
            )
    if isinstance(known, pd.DataFrame):
        return known[list(names)]
    if not names:
        # Without columns a frame would have no rows either.
        return pd.DataFrame(index=range(len(known)))
    return to_pandas(known, None, names, None, booleans=True)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value
