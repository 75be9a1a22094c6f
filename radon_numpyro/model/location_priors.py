"""What a family of priors offers, and the priors of locations: means, intercepts and slopes.

Whatever another part needs of a prior is a method or a property, so that no other module asks of
which family it is. The priors of standard deviations are in ``model/scale_priors.py``. Nothing here
needs JAX until :meth:`PriorFamily.distribution` is called.
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
    """A parameter of the prior of coefficient k: its own, or the one that all share.

    Parameters
    ----------
    value
        Shape () or (K,).
    k
        Position of the coefficient; 0 if its site has one only.
    """
    return float(np.ravel(value)[k if np.size(value) > 1 else 0])


def numbers_text(value: Any) -> str:
    """A number or an array as NumPy writes it, to 8 digits.

    Parameters
    ----------
    value
        Shape () or (K,).
    """
    return np.array2string(np.asarray(value, dtype=float), separator=", ", threshold=20)


class PriorFamily:
    """What all families have; the parameters of one are the fields of its dataclass."""

    # Lower end of the support, and whether the density has a finite integral.
    lower: ClassVar[float] = -np.inf
    proper: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, value in self.parameters.items():
            if isinstance(value, list | tuple):
                # To JAX a list would be many leaves, and its functions refuse lists.
                value = np.asarray(value, dtype=float)
                object.__setattr__(self, name, value)
            # JAX rebuilds these records around tracers; what a user passes is numbers.
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
        """The prior of one parameter that is written with these numbers, as :meth:`text` does.

        Parameters
        ----------
        numbers
            In the order in which they are written.

        Raises
        ------
        ValueError
            If there are more or fewer of them, or the family has no such prior.
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
        """Upper end of the support, shape () or that of the parameters."""
        return np.inf

    @property
    def sd(self) -> Any:
        """Standard deviation; infinite if there is none, as for an improper prior."""
        return np.inf

    def component(self, k: int) -> Self:
        """The prior of coefficient k alone, its parameters of shape ().

        Parameters
        ----------
        k
            Position of the coefficient; any if all share the parameters.
        """
        return type(self)(**{name: entry(value, k) for name, value in self.parameters.items()})

    def distribution(self) -> Distribution:
        """The NumPyro distribution; an improper one cannot be drawn from."""
        from numpyro import distributions as dist

        return self._distribution(dist)

    def _distribution(self, dist: Any) -> Distribution:
        raise NotImplementedError

    def log_density(self, value: Any) -> np.ndarray:
        """Log density on the host; minus infinity outside the support, 0 inside an improper prior.

        Parameters
        ----------
        value
            In the units of the parameter; broadcast against the prior's parameters.
        """
        raise NotImplementedError

    def cdf(self, value: Any) -> np.ndarray:
        """Distribution function of a proper prior, on the host.

        Parameters
        ----------
        value
            In the units of the parameter; broadcast against the prior's parameters.

        Raises
        ------
        ValueError
            If the prior is improper.
        """
        raise ValueError(f"Expected a proper prior; got {self}")

    def quantile(self, prob: Any) -> np.ndarray:
        """Inverse of :meth:`cdf`.

        Parameters
        ----------
        prob
            Probabilities; broadcast against the prior's parameters.

        Raises
        ------
        ValueError
            If the prior is improper.
        """
        raise ValueError(f"Expected a proper prior; got {self}")

    def text(self, number: Callable[[float], str]) -> str:
        """The prior of one parameter as a model is written.

        Parameters
        ----------
        number
            Writes a positive number; the mean of a Normal has the digits that its sd calls for.
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
        In the units of the parameter; shape () or, for several coefficients, (K,).
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

    Given for a scale it stands for ``HalfFlat``.
    """

    proper: ClassVar[bool] = False

    @property
    def loc(self) -> float:
        """Mean of the wide Normals, 0."""
        return 0.0

    @property
    def scale(self) -> float:
        """Their standard deviation in the limit, infinity."""
        return np.inf

    @property
    def precision(self) -> float:
        """One over their variance in the limit, 0."""
        return 0.0

    def _distribution(self, dist: Any) -> Distribution:
        return dist.ImproperUniform(dist.constraints.real, (), ())

    @override
    def log_density(self, value: Any) -> np.ndarray:
        return np.zeros(np.shape(value))


LocationPrior = Normal | Flat
