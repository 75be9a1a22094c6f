"""Which columns a model has, and which of them vary by group."""

from __future__ import annotations

from dataclasses import dataclass

# The name of the constant column, and of its coefficient.
INTERCEPT = "Intercept"


@dataclass(frozen=True)
class Design:
    """The columns of ``y ~ population + (varying | group)``, by name; hashable.

    The constant column is called ``"Intercept"``, in either list.

    Attributes
    ----------
    population
        Columns with a coefficient that is the same in all groups: of a column that varies too, it
        is the mean of the coefficients of the groups.
    varying
        Columns whose coefficients vary by group, independently of each other. A column that is not
        in ``population`` has coefficients with mean 0.
    """

    population: tuple[str, ...]
    varying: tuple[str, ...]

    def __post_init__(self) -> None:
        for columns in (self.population, self.varying):
            if INTERCEPT in columns[1:]:
                raise ValueError(f"Expected {INTERCEPT} to be the first column; got {columns}")

    @classmethod
    def all_varying(cls, predictors: tuple[str, ...]) -> Design:
        """The design in which the intercept and every slope vary about a mean.

        Parameters
        ----------
        predictors
            Names of the predictors.
        """
        columns = (INTERCEPT, *predictors)
        return cls(columns, columns)

    def anonymous(self) -> Design:
        """The same structure with other names, so that data sets alike are one design."""
        names = {name: f"x{j + 1}" for j, name in enumerate(self.predictors)}
        names[INTERCEPT] = INTERCEPT
        shared = [name for name in self.varying if name in self.population]
        return Design(
            tuple(sorted((names[n] for n in (*shared, *self.fixed)), key=INTERCEPT.__ne__)),
            tuple(names[name] for name in self.varying),
        )

    @classmethod
    def with_fixed(cls, predictors: tuple[str, ...], fixed: tuple[str, ...]) -> Design:
        """The design in which the intercept and some slopes vary about a mean, and others do not.

        Parameters
        ----------
        predictors
            Names of the predictors whose slopes vary.
        fixed
            Names of those with one slope for all groups.
        """
        varying = (INTERCEPT, *predictors)
        return cls((*varying, *fixed), varying)

    @property
    def predictors(self) -> tuple[str, ...]:
        """Columns of ``GroupedData.x`` in order: slopes that vary, then the rest."""
        return (*self.slopes, *(name for name in self.fixed if name != INTERCEPT))

    @property
    def slopes(self) -> tuple[str, ...]:
        """Predictors whose slopes vary by group, K of them."""
        return tuple(name for name in self.varying if name != INTERCEPT)

    @property
    def means(self) -> tuple[str, ...]:
        """Those of `slopes` that have a mean slope."""
        return tuple(name for name in self.slopes if name in self.population)

    @property
    def fixed(self) -> tuple[str, ...]:
        """Columns with one coefficient for all groups, F of them; the constant may be one."""
        return tuple(name for name in self.population if name not in self.varying)

    @property
    def intercept_varies(self) -> bool:
        """Whether each group has an intercept of its own."""
        return INTERCEPT in self.varying

    @property
    def has_mean_intercept(self) -> bool:
        """Whether the intercepts vary about a mean that is estimated."""
        return self.intercept_varies and INTERCEPT in self.population

    def require_all_varying(self) -> None:
        """Refuse a design with columns that do not vary by group, or that vary about 0.

        Raises
        ------
        ValueError
            Naming these columns.
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
        return self == Design.all_varying(self.slopes)
