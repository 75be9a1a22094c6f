"""Priors of standard deviations ("scales").

A family defines its density, distribution function and quantiles for a scale in multiples of a
unit, the NumPyro distribution of the scale, and that of a signed scale, whose absolute value is the
scale. To add a family, write a class here and add it to ``ScalePrior``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args, override

import numpy as np
from scipy import special

from radon_numpyro.data.pytrees import pytree
from radon_numpyro.model.correlations import LKJ
from radon_numpyro.model.location_priors import Flat, Normal, PriorFamily, numbers_text

if TYPE_CHECKING:
    from numpyro.distributions import Distribution

# Length of the interval of the log scale, below its largest value, that numerical inversion covers.
LOG_RANGE = 12.0
# A log density this far below its maximum is negligible, and so is this tail probability.
NEGLIGIBLE, NO_MASS = 60.0, 1e-13
# Probability beyond four standard deviations of a half-normal.
FAR_TAIL = 2.0 * float(special.ndtr(-4.0))


class _Scale(PriorFamily):
    """A prior of a standard deviation: the distribution of |s| for an s symmetric about 0.

    Subclasses define it for the standard deviation in multiples of a unit.
    """

    lower: ClassVar[float] = 0.0

    @property
    def _unit(self) -> Any:
        raise NotImplementedError

    def _log(self, z: np.ndarray) -> Any:
        """Return the log density at z >= 0, in multiples of the unit."""
        raise NotImplementedError

    def _cdf(self, z: np.ndarray) -> Any:
        raise NotImplementedError

    def _quantile(self, prob: np.ndarray) -> Any:
        raise NotImplementedError

    def _tail(self, prob: float) -> Any:
        """Return the upper quantile of a small tail probability, in multiples of the unit."""
        return self._quantile(np.asarray(1.0 - prob))

    def signed(self) -> Distribution:
        """Return the NumPyro distribution symmetric about 0 whose absolute value has this prior."""
        from numpyro import distributions as dist

        return self._signed(dist)

    def _signed(self, dist: Any) -> Distribution:
        raise NotImplementedError

    @override
    def log_density(self, value: Any) -> np.ndarray:
        value = np.asarray(value)
        inside = (value >= 0) & (value <= self.upper)
        log = self._log(np.where(inside, value, 0.0) / self._unit) - np.log(self._unit)
        return np.where(inside, log, -np.inf)

    @override
    def cdf(self, value: Any) -> np.ndarray:
        if not self.proper:
            return super().cdf(value)
        return np.asarray(self._cdf(np.maximum(value, 0.0) / self._unit))

    @override
    def quantile(self, prob: Any) -> np.ndarray:
        if not self.proper:
            return super().quantile(prob)
        return np.asarray(self._quantile(np.asarray(prob)) * self._unit)

    def log_range(self) -> tuple[Any, Any]:
        """Return bounds of the log scale: about 1e-5 of the prior lies below them, none above."""
        lowest = np.log(self.quantile(np.exp(-LOG_RANGE)))
        return lowest, np.log(self._tail(NO_MASS)) + np.log(self._unit)

    @property
    def start_limit(self) -> Any:
        """Upper limit for the starting value of an optimisation, inside the support."""
        return self.quantile(0.95)

    @property
    def far(self) -> Any:
        """Value that the prior exceeds with a probability of only 6e-5."""
        return self._tail(FAR_TAIL) * self._unit


@pytree
@dataclass(frozen=True)
class HalfNormal(_Scale):
    """Half-normal prior of a scale: the absolute value of Normal(0, ``scale``).

    Attributes
    ----------
    scale
        Sd of the Normal in the units of the parameter; shape () or, for several coefficients, (K,).
    """

    scale: Any

    @property
    def _unit(self) -> Any:
        return self.scale

    @property
    def sd(self) -> Any:
        """Standard deviation."""
        return self.scale * np.sqrt(1.0 - 2.0 / np.pi)

    def _distribution(self, dist: Any) -> Distribution:
        return dist.HalfNormal(self.scale)

    def _signed(self, dist: Any) -> Distribution:
        return dist.Normal(0.0, self.scale)

    def _log(self, z: np.ndarray) -> Any:
        return 0.5 * np.log(2.0 / np.pi) - 0.5 * z**2

    def _cdf(self, z: np.ndarray) -> Any:
        return special.erf(z / np.sqrt(2.0))

    def _quantile(self, prob: np.ndarray) -> Any:
        return special.ndtri(0.5 + prob / 2)

    @override
    def log_range(self) -> tuple[Any, Any]:
        high = np.log(self.scale) + np.log(np.sqrt(2.0 * NEGLIGIBLE))
        return high - LOG_RANGE, high

    @property
    def start_limit(self) -> Any:
        """The standard deviation of the Normal."""
        return self.scale

    @property
    def far(self) -> Any:
        """Four standard deviations of the Normal."""
        return 4.0 * self.scale


@pytree
@dataclass(frozen=True)
class Uniform(_Scale):
    """Uniform prior of a scale on (0, ``high``).

    Attributes
    ----------
    high
        Upper bound, in the units of the parameter; shape () or, for several coefficients, (K,).
    """

    high: Any

    @classmethod
    @override
    def of_numbers(cls, numbers: Sequence[float]) -> Self:
        if len(numbers) == 2 and numbers[0] != 0:
            raise ValueError(
                f"Expected Uniform(0, high) for a scale; got a lower end of {numbers[0]}"
            )
        return super().of_numbers(numbers[-1:] if len(numbers) == 2 else numbers)

    @property
    def _unit(self) -> Any:
        return self.high

    @property
    def upper(self) -> Any:
        """The upper bound."""
        return self.high

    @property
    def sd(self) -> Any:
        """Standard deviation."""
        return self.high / np.sqrt(12.0)

    def _distribution(self, dist: Any) -> Distribution:
        return dist.Uniform(0.0, self.high)

    def _signed(self, dist: Any) -> Distribution:
        return dist.Uniform(-self.high, self.high)

    def _log(self, z: np.ndarray) -> Any:
        return np.zeros(np.shape(z))

    def _cdf(self, z: np.ndarray) -> Any:
        return np.minimum(z, 1.0)

    def _quantile(self, prob: np.ndarray) -> Any:
        return prob

    @override
    def log_range(self) -> tuple[Any, Any]:
        high = np.log(self.high)
        return high - LOG_RANGE, high

    @property
    def start_limit(self) -> Any:
        """Half the upper bound."""
        return self.high / 2.0

    @property
    def far(self) -> Any:
        """The upper bound, which no value exceeds."""
        return self.high

    @override
    def text(self, number: Callable[[float], str]) -> str:
        return f"Uniform(0, {number(float(self.high))})"

    def __str__(self) -> str:
        return f"Uniform(0, {numbers_text(self.high)})"


@pytree
@dataclass(frozen=True)
class HalfStudentT(_Scale):
    """Half-t prior of a scale: the absolute value of a Student t variable about 0.

    Attributes
    ----------
    df
        Degrees of freedom; shape () or, for several coefficients, (K,).
    scale
        Scale of the t distribution, in the units of the parameter; shape as ``df``.

    References
    ----------
    Gelman (2006), Prior distributions for variance parameters in hierarchical models,
    doi:10.1214/06-BA117A.
    """

    df: Any
    scale: Any

    @property
    def _unit(self) -> Any:
        return self.scale

    @property
    def sd(self) -> Any:
        """Standard deviation; infinite for 2 or fewer degrees of freedom."""
        df = np.where(np.asarray(self.df) > 2, self.df, np.inf)
        with np.errstate(invalid="ignore"):
            ratio = np.exp(special.gammaln((df + 1) / 2) - special.gammaln(df / 2))
            mean = 2.0 * np.sqrt(df / np.pi) * ratio / (df - 1)
            sd = np.sqrt(df / (df - 2) - mean**2)
        return self.scale * np.where(np.isfinite(df), sd, np.inf)

    def _distribution(self, dist: Any) -> Distribution:
        return dist.FoldedDistribution(self._signed(dist))

    def _signed(self, dist: Any) -> Distribution:
        return dist.StudentT(self.df, 0.0, self.scale)

    def _log(self, z: np.ndarray) -> Any:
        df = np.asarray(self.df, dtype=float)
        constant = np.log(2.0) - 0.5 * np.log(df) - special.betaln(0.5, df / 2)
        return constant - 0.5 * (df + 1) * np.log1p(z**2 / df)

    def _cdf(self, z: np.ndarray) -> Any:
        return 2.0 * special.stdtr(self.df, z) - 1.0

    def _quantile(self, prob: np.ndarray) -> Any:
        return special.stdtrit(self.df, 0.5 + prob / 2)

    def _tail(self, prob: float) -> Any:
        return -special.stdtrit(self.df, prob / 2)


@pytree
@dataclass(frozen=True)
class HalfCauchy(_Scale):
    """Half-Cauchy prior of a scale, whose mean is infinite.

    Attributes
    ----------
    scale
        Median, in the units of the parameter; shape () or, for several coefficients, (K,).
    """

    scale: Any

    @property
    def _unit(self) -> Any:
        return self.scale

    def _distribution(self, dist: Any) -> Distribution:
        return dist.HalfCauchy(self.scale)

    def _signed(self, dist: Any) -> Distribution:
        return dist.Cauchy(0.0, self.scale)

    def _log(self, z: np.ndarray) -> Any:
        return np.log(2.0 / np.pi) - np.log1p(z**2)

    def _cdf(self, z: np.ndarray) -> Any:
        return 2.0 / np.pi * np.arctan(z)

    def _quantile(self, prob: np.ndarray) -> Any:
        return np.tan(0.5 * np.pi * prob)

    def _tail(self, prob: float) -> Any:
        return 1.0 / np.tan(0.5 * np.pi * prob)


@pytree
@dataclass(frozen=True)
class Exponential(_Scale):
    """Exponential prior of a scale, with mean 1 / ``rate``.

    Attributes
    ----------
    rate
        One over the mean; shape () or, for several coefficients, (K,).
    """

    rate: Any

    @property
    def _unit(self) -> Any:
        return 1.0 / self.rate

    @property
    def sd(self) -> Any:
        """Standard deviation."""
        return 1.0 / self.rate

    def _distribution(self, dist: Any) -> Distribution:
        return dist.Exponential(self.rate)

    def _signed(self, dist: Any) -> Distribution:
        return dist.Laplace(0.0, 1.0 / self.rate)

    def _log(self, z: np.ndarray) -> Any:
        return -z

    def _cdf(self, z: np.ndarray) -> Any:
        return -np.expm1(-z)

    def _quantile(self, prob: np.ndarray) -> Any:
        return -np.log1p(-prob)

    def _tail(self, prob: float) -> Any:
        return -np.log(prob)


@pytree
@dataclass(frozen=True)
class HalfFlat(_Scale):
    """Improper prior of a scale: constant on the positive numbers."""

    proper: ClassVar[bool] = False

    def _distribution(self, dist: Any) -> Distribution:
        return dist.ImproperUniform(dist.constraints.positive, (), ())

    def _signed(self, dist: Any) -> Distribution:
        return dist.ImproperUniform(dist.constraints.real, (), ())

    @property
    def _unit(self) -> Any:
        return 1.0

    def _log(self, z: np.ndarray) -> Any:
        return np.zeros(np.shape(z))

    def _tail(self, prob: float) -> Any:
        return np.inf

    def log_range(self) -> tuple[Any, Any]:
        """Return minus and plus infinity: only the data limit the scale."""
        return -np.inf, np.inf

    @property
    def start_limit(self) -> Any:
        """Infinity."""
        return np.inf


ScalePrior = HalfNormal | Uniform | HalfStudentT | HalfCauchy | Exponential | HalfFlat
# All families by the names that results and the command line use.
FAMILIES: dict[str, type[PriorFamily]] = {
    family.__name__: family for family in (Normal, Flat, *get_args(ScalePrior), LKJ)
}
