"""The design of a model: its columns, and which of them vary by group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

# The name of the constant column, and of its coefficient.
INTERCEPT = "Intercept"


@dataclass(frozen=True)
class Design:
    """The names of the columns of ``y ~ population + (varying | group)``; hashable.

    The constant column is called ``"Intercept"`` in both lists.

    Attributes
    ----------
    population
        Columns with a population coefficient, which is the same for all groups. If the column also
        varies, it is the mean of the coefficients of the groups.
    varying
        Columns whose coefficients vary by group. If the column is not in ``population``, its
        coefficients have mean 0.
    correlated
        Blocks of two or more columns of ``varying`` whose coefficients correlate within a group.
        All others vary independently.
    weights
        Column of the precision weights of the rows; empty if there are none.
    se
        Column of the known standard errors of the outcomes; empty if their scatter is estimated.
    """

    population: tuple[str, ...]
    varying: tuple[str, ...]
    correlated: tuple[tuple[str, ...], ...] = ()
    weights: str = ""
    se: str = ""

    def __post_init__(self) -> None:
        if self.weights and self.se:
            raise ValueError(
                "Expected weights or se, not both: a known standard error says what a row weighs; "
                f"got weights {self.weights!r} and se {self.se!r}"
            )
        for columns in (self.population, self.varying):
            if INTERCEPT in columns[1:]:
                raise ValueError(f"Expected {INTERCEPT} to be the first column; got {columns}")
        every = [name for block in self.correlated for name in block]
        alone = any(len(block) < 2 for block in self.correlated)
        if alone or len(set(every)) < len(every) or not set(every) <= set(self.varying):
            raise ValueError(
                "Expected correlated to have blocks of at least two columns that vary, each column "
                f"once; got {self.correlated} of {self.varying}"
            )

    @classmethod
    def all_varying(cls, predictors: tuple[str, ...], *, correlated: bool = False) -> Design:
        """Return the design in which the intercept and every slope vary about a mean.

        Parameters
        ----------
        predictors
            Names of the predictors.
        correlated
            Whether intercept and slopes correlate.
        """
        return cls.with_fixed(predictors, (), correlated=correlated)

    def anonymous(self) -> Design:
        """Return the same design with neutral names, to compare the structure of data sets."""
        shared = [name for name in self.varying if name in self.population]
        population = tuple(sorted((*shared, *self.fixed), key=INTERCEPT.__ne__))
        names = {name: f"x{j + 1}" for j, name in enumerate(self.predictors)}
        weights, se = "weights" if self.weights else "", "se" if self.se else ""
        return replace(self, population=population, weights=weights, se=se).renamed(names)

    def renamed(self, names: Mapping[str, str]) -> Design:
        """Return the same design with other names of the predictors.

        Parameters
        ----------
        names
            New name of each predictor.
        """
        new = {INTERCEPT: INTERCEPT} | dict(names)

        def changed(columns: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(new[name] for name in columns)

        return replace(
            self,
            population=changed(self.population),
            varying=changed(self.varying),
            correlated=tuple(map(changed, self.correlated)),
        )

    @classmethod
    def from_dict(cls, columns: Mapping[str, Any]) -> Design:
        """Make a design from the result of ``dataclasses.asdict``, also after JSON.

        Parameters
        ----------
        columns
            Lists by name. Results of older versions have no ``correlated``, ``weights`` or ``se``.

        Raises
        ------
        KeyError, TypeError, ValueError
            If ``columns`` has another form.
        """
        blocks = tuple(tuple(block) for block in columns.get("correlated", ()))
        rows = {name: columns[name] for name in ("weights", "se") if name in columns}
        return cls(tuple(columns["population"]), tuple(columns["varying"]), blocks, **rows)

    @classmethod
    def with_fixed(
        cls,
        predictors: tuple[str, ...],
        fixed: tuple[str, ...],
        *,
        correlated: bool = False,
        weights: str = "",
        se: str = "",
    ) -> Design:
        """Return the design in which the intercept and some slopes vary about a mean.

        Parameters
        ----------
        predictors
            Names of the predictors whose slopes vary.
        fixed
            Names of the predictors with one slope for all groups.
        correlated
            Whether the intercept and the slopes that vary correlate.
        weights, se
            Columns of the weights or of the known standard errors of the rows.
        """
        varying = (INTERCEPT, *predictors)
        blocks = (varying,) if correlated and predictors else ()
        return cls((*varying, *fixed), varying, blocks, weights, se)

    @property
    def known_errors(self) -> bool:
        """Whether the standard error of each outcome is known, so that there is no ``eps``."""
        return bool(self.se)

    @property
    def weighted(self) -> bool:
        """Whether rows have weights or known standard errors."""
        return bool(self.weights or self.se)

    @property
    def predictors(self) -> tuple[str, ...]:
        """Columns of ``GroupedData.x`` in order: varying slopes, then fixed columns."""
        return (*self.slopes, *(name for name in self.fixed if name != INTERCEPT))

    @property
    def slopes(self) -> tuple[str, ...]:
        """Predictors whose slopes vary by group, K of them."""
        return tuple(name for name in self.varying if name != INTERCEPT)

    @property
    def means(self) -> tuple[str, ...]:
        """Predictors in `slopes` that have a mean slope."""
        return tuple(name for name in self.slopes if name in self.population)

    @property
    def fixed(self) -> tuple[str, ...]:
        """Columns with one coefficient for all groups, F of them; may include the constant."""
        return tuple(name for name in self.population if name not in self.varying)

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """Columns left of each bar of a formula, and the bar: ``"|"`` if they correlate.

        A single independent column also has ``"|"``, as is usual in lme4.
        """
        together = {name for block in self.correlated for name in block}
        alone = tuple(name for name in self.varying if name not in together)
        parts = [(block, "|") for block in self.correlated]
        if alone:
            parts.append((alone, "||" if len(alone) > 1 else "|"))
        # Sort by the order of the columns.
        return tuple(sorted(parts, key=lambda part: self.varying.index(part[0][0])))

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Positions i < j in `varying` of the coefficients that correlate, L of them."""
        position = {name: p for p, name in enumerate(self.varying)}
        blocks = [sorted(position[name] for name in block) for block in self.correlated]
        found = [(i, j) for block in blocks for i in block for j in block if i < j]
        return tuple(sorted(found))

    @property
    def pair_names(self) -> tuple[str, ...]:
        """Names of `pairs`, such as ``"Intercept, Days"``."""
        return tuple(f"{self.varying[i]}, {self.varying[j]}" for i, j in self.pairs)

    def block_size(self, pair: tuple[int, int]) -> int:
        """Return the size of the block of correlated coefficients that contains a pair.

        Parameters
        ----------
        pair
            One of `pairs`.
        """
        (block,) = (block for block in self.correlated if self.varying[pair[0]] in block)
        return len(block)

    @property
    def intercept_varies(self) -> bool:
        """Whether each group has its own intercept."""
        return INTERCEPT in self.varying

    @property
    def has_mean_intercept(self) -> bool:
        """Whether the intercepts vary about a mean that is estimated."""
        return self.intercept_varies and INTERCEPT in self.population

    def require_all_varying(self) -> None:
        """Check that every column varies by group about a mean.

        Raises
        ------
        ValueError
            If columns do not vary by group, or vary about 0. The message names them.
        """
        if self.varies_throughout:
            return
        others = [*self.fixed, *(name for name in self.varying if name not in self.population)]
        raise ValueError(
            "Expected every coefficient to vary by group about a mean in the individual model, "
            f"which has no others; got {', '.join(others)} in the formula besides. Fit the "
            "hierarchical or the pooled model, or write a formula such as y ~ x + (x || group)"
        )

    @property
    def varies_throughout(self) -> bool:
        """Whether every coefficient, the intercept included, varies about a mean."""
        return self.population == self.varying == (INTERCEPT, *self.slopes)
