"""The interface of prior families, and the priors of locations: means, intercepts and slopes.

Other modules use the methods and properties of a prior and never test its family. The priors of
standard deviations are in ``model/scale_priors.py``. Only :meth:`PriorFamily.distribution` imports
JAX and NumPyro.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self, override

import numpy as np
from scipy import special

from radon_numpyro.data.checks import plural
from radon_numpyro.data.digits import stated
from radon_numpyro.data.pytrees import pytree

if TYPE_CHECKING:
    from numpyro.distributions import Distribution


def entry(value: Any, k: int) -> float:
    """Return a parameter of the prior of coefficient k: its own value, or the shared one.

    Parameters
    ----------
    value
        Values of the parameter, shape () or (K,).
    k
        Position of the coefficient; 0 if its site has only one.
    """
    return float(np.ravel(value)[k if np.size(value) > 1 else 0])


def numbers_text(value: Any) -> str:
    """Format a number or an array as NumPy does, to 8 digits.

    Parameters
    ----------
    value
        Numbers of shape () or (K,).
    """
    return np.array2string(np.asarray(value, dtype=float), separator=", ", threshold=20)


class PriorFamily:
    """Base class of all families of priors. The fields of a subclass are its parameters."""

    # Lower end of the support, and whether the density integrates to a finite value.
    lower: ClassVar[float] = -np.inf
    proper: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            if isinstance(value, list | tuple):
                # JAX treats a list as a pytree of many leaves, and its functions refuse lists.
                value = np.asarray(value, dtype=float)
                object.__setattr__(self, name, value)
            # Check only numbers: JAX rebuilds these records with tracers in place of values.
            if isinstance(value, int | float | np.ndarray | np.generic):
                self._check(name, np.asarray(value, dtype=float))

    def _check(self, name: str, array: np.ndarray) -> None:
        positive = name != "loc"
        if not np.isfinite(array).all() or (positive and (array <= 0).any()):
            kind = "positive and finite" if positive else "finite"
            family = type(self).__name__
            raise ValueError(f"Expected {name} of {family} to be {kind}; got {numbers_text(array)}")

    @classmethod
    def of_numbers(cls, numbers: Sequence[float]) -> Self:
        """Make the prior of one parameter from the numbers that :meth:`text` writes for it.

        Parameters
        ----------
        numbers
            Parameters in the order in which they are written.

        Raises
        ------
        ValueError
            If there are too many or too few numbers, or they are invalid for the family.
        """
        names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
        if len(numbers) != len(names):
            needs = f"({', '.join(names)})"
            raise ValueError(
                f"Expected {cls.__name__}{needs}; got {plural(len(numbers), 'number')}"
            )
        return cls(*numbers)

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters by name, in order."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    @property
    def upper(self) -> Any:
        """Upper end of the support, of shape () or the shape of the parameters."""
        return np.inf

    @property
    def sd(self) -> Any:
        """Standard deviation; infinite where none exists, as for an improper prior."""
        return np.inf

    def component(self, k: int) -> Self:
        """Return the prior of coefficient k alone, with parameters of shape ().

        Parameters
        ----------
        k
            Position of the coefficient. It is ignored if all coefficients share the parameters.
        """
        return type(self)(**{name: entry(value, k) for name, value in self.parameters.items()})

    def distribution(self) -> Distribution:
        """Return the NumPyro distribution. Improper distributions cannot be sampled."""
        from numpyro import distributions as dist

        return self._distribution(dist)

    def _distribution(self, dist: Any) -> Distribution:
        raise NotImplementedError

    def log_density(self, value: Any) -> np.ndarray:
        """Compute the log density in NumPy: -inf outside the support, 0 inside an improper prior's.

        Parameters
        ----------
        value
            Values in the units of the parameter, broadcast against the parameters of the prior.
        """
        raise NotImplementedError

    def cdf(self, value: Any) -> np.ndarray:
        """Compute the distribution function of a proper prior in NumPy.

        Parameters
        ----------
        value
            Values in the units of the parameter, broadcast against the parameters of the prior.

        Raises
        ------
        ValueError
            If the prior is improper.
        """
        raise ValueError(f"Expected a proper prior; got {self}")

    def quantile(self, prob: Any) -> np.ndarray:
        """Compute quantiles of a proper prior, the inverse of :meth:`cdf`.

        Parameters
        ----------
        prob
            Probabilities, broadcast against the parameters of the prior.

        Raises
        ------
        ValueError
            If the prior is improper.
        """
        raise ValueError(f"Expected a proper prior; got {self}")

    def text(self, number: Callable[[float], str]) -> str:
        """Write the prior of one parameter as in the notation of a model, ``Normal(0, 2)``.

        Parameters
        ----------
        number
            Function that formats a positive number. The mean of a Normal is rounded by its
            standard deviation instead.
        """
        written = ", ".join(number(float(value)) for value in self.parameters.values())
        return f"{type(self).__name__}({written})"

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(numbers_text, self.parameters.values()))})"


@pytree
@dataclass(frozen=True)
class Normal(PriorFamily):
    """Normal prior with mean ``loc`` and standard deviation ``scale``.

    Attributes
    ----------
    loc, scale
        Mean and standard deviation in the units of the parameter, shape () or, for several
        coefficients, (K,).
    """

    loc: Any
    scale: Any

    @property
    def sd(self) -> Any:
        """Standard deviation."""
        return self.scale

    @property
    def precision(self) -> Any:
        """One over the variance."""
        return 1.0 / self.scale**2

    def _distribution(self, dist: Any) -> Distribution:
        return dist.Normal(self.loc, self.scale)

    @override
    def log_density(self, value: Any) -> np.ndarray:
        z = (np.asarray(value) - self.loc) / self.scale
        return np.asarray(-0.5 * z**2 - np.log(self.scale) - 0.5 * np.log(2.0 * np.pi))

    @override
    def cdf(self, value: Any) -> np.ndarray:
        return np.asarray(special.ndtr((np.asarray(value) - self.loc) / self.scale))

    @override
    def quantile(self, prob: Any) -> np.ndarray:
        return np.asarray(self.loc + special.ndtri(prob) * self.scale)

    @override
    def text(self, number: Callable[[float], str]) -> str:
        loc, scale = float(self.loc), float(self.scale)
        return f"Normal({stated(loc, scale)}, {number(scale)})"


@pytree
@dataclass(frozen=True)
class Flat(PriorFamily):
    """Improper prior of a location: constant on the real line, the limit of ever wider Normals.

    When it is given for a scale, ``HalfFlat`` is used.
    """

    proper: ClassVar[bool] = False

    @property
    def loc(self) -> float:
        """Mean of the limiting Normal, 0."""
        return 0.0

    @property
    def scale(self) -> float:
        """Standard deviation of the limiting Normal, infinity."""
        return np.inf

    @property
    def precision(self) -> float:
        """One over the variance of the limiting Normal, 0."""
        return 0.0

    def _distribution(self, dist: Any) -> Distribution:
        return dist.ImproperUniform(dist.constraints.real, (), ())

    @override
    def log_density(self, value: Any) -> np.ndarray:
        return np.zeros(np.shape(value))


LocationPrior = Normal | Flat
