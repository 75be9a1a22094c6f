"""Prior distributions, as data: an argument of every model and a line in every result."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.identification import ROUNDING
from radon_numpyro.data.pytrees import pytree
from radon_numpyro.statistics.consistency import as_statistics
from radon_numpyro.statistics.group_statistics import GroupStatistics

if TYPE_CHECKING:
    from numpyro.distributions import Distribution


def _text(value: Any) -> str:
    return np.array2string(np.asarray(value, dtype=float), separator=", ", threshold=20)


def _check(owner: str, positive: bool, **parameters: Any) -> None:
    for name, value in parameters.items():
        # JAX rebuilds these records around tracers; what a user passes is numbers.
        if not isinstance(value, int | float | list | tuple | np.ndarray | np.generic):
            continue
        array = np.asarray(value, dtype=float)
        if not np.isfinite(array).all() or (positive and (array <= 0).any()):
            kind = "positive and finite" if positive else "finite"
            raise ValueError(f"Expected {name} of {owner} to be {kind}; got {_text(array)}")


def _lists_to_arrays(record: Any) -> None:
    """A list that stayed one would be many leaves to JAX, and its functions refuse lists."""
    for f in fields(record):
        value = getattr(record, f.name)
        if isinstance(value, list | tuple):
            object.__setattr__(record, f.name, np.asarray(value, dtype=float))


def _as_numbers(parameters: dict[str, Any]) -> dict[str, Any]:
    """Refuse what JSON has beside numbers and lists of them."""
    for value in parameters.values():
        for number in value if isinstance(value, list) else [value]:
            if type(number) not in (int, float):
                raise TypeError(f"Expected a number; got {number!r}")
    return parameters


def entry(value: Any, k: int) -> float:
    """A parameter of the prior of slope k: its own, or the one that all slopes share.

    Parameters
    ----------
    value
        Shape () or (K,).
    k
        Position of the predictor; 0 for a parameter that is no slope's.
    """
    return float(np.ravel(value)[k if np.size(value) > 1 else 0])


def _or_one(sd: Any, mean: Any) -> Any:
    """1 for a constant column, whose standard deviation is only the rounding of its mean."""
    return np.where(sd > ROUNDING * np.abs(mean), sd, 1.0)


@pytree
@dataclass(frozen=True)
class Normal:
    """Normal prior with mean ``loc`` and standard deviation ``scale``.

    Attributes
    ----------
    loc, scale
        In the units of the parameter; shape () or, for slopes, (K,).
    """

    loc: Any
    scale: Any

    def __post_init__(self) -> None:
        _lists_to_arrays(self)
        _check("Normal", positive=False, loc=self.loc)
        _check("Normal", positive=True, scale=self.scale)

    def distribution(self) -> Distribution:
        """The NumPyro distribution."""
        import numpyro.distributions as dist

        return dist.Normal(self.loc, self.scale)

    def __str__(self) -> str:
        return f"Normal({_text(self.loc)}, {_text(self.scale)})"


@pytree
@dataclass(frozen=True)
class HalfNormal:
    """Half-normal prior of a scale: the absolute value of Normal(0, ``scale``).

    Attributes
    ----------
    scale
        In the units of the parameter; shape () or, for slopes, (K,).
    """

    scale: Any

    def __post_init__(self) -> None:
        _lists_to_arrays(self)
        _check("HalfNormal", positive=True, scale=self.scale)

    def distribution(self) -> Distribution:
        """The NumPyro distribution."""
        import numpyro.distributions as dist

        return dist.HalfNormal(self.scale)

    def __str__(self) -> str:
        return f"HalfNormal({_text(self.scale)})"


@pytree
@dataclass(frozen=True)
class Uniform:
    """Uniform prior of a scale on (0, ``high``).

    Attributes
    ----------
    high
        In the units of the parameter; shape () or, for slopes, (K,).
    """

    high: Any

    def __post_init__(self) -> None:
        _lists_to_arrays(self)
        _check("Uniform", positive=True, high=self.high)

    def distribution(self) -> Distribution:
        """The NumPyro distribution."""
        import numpyro.distributions as dist

        return dist.Uniform(0.0, self.high)

    def __str__(self) -> str:
        return f"Uniform(0, {_text(self.high)})"


@pytree
@dataclass(frozen=True)
class Priors:
    """The priors of all three models.

    Location priors are Normal, because the coefficients are integrated out in closed form
    (``gaussian/marginal.py``) only then.

    Attributes
    ----------
    mu_alpha, mu_beta
        Population means of intercepts and slopes (hierarchical model).
    sigma_alpha, sigma_beta
        Population standard deviations of intercepts and slopes (hierarchical model).
    alpha, beta
        Intercepts and slopes where no population is modelled (individual, pooled).
    eps
        Residual standard deviation (all models).
    """

    mu_alpha: Normal
    mu_beta: Normal
    sigma_alpha: HalfNormal | Uniform
    sigma_beta: HalfNormal | Uniform
    alpha: Normal
    beta: Normal
    eps: HalfNormal | Uniform
    gamma: Normal | None = None

    def __post_init__(self) -> None:
        locations = ("mu_alpha", "mu_beta", "alpha", "beta", "gamma")
        for f in fields(self):
            value = getattr(self, f.name)
            expected = (Normal,) if f.name in locations else (HalfNormal, Uniform)
            # Tree transformations may hold anything in the place of a prior.
            if isinstance(value, Normal | HalfNormal | Uniform) and not isinstance(value, expected):
                names = " or ".join(e.__name__ for e in expected)
                raise TypeError(f"Expected {f.name} to be {names}; got {value}")

    @classmethod
    def tutorial(cls) -> Priors:
        """Priors of the PyMC3 tutorial.

        Normal(0, 10 000) on every location, its second argument a standard deviation, and
        Uniform(0, 100) on every scale. They suit log radon. They cut off any outcome whose
        residual standard deviation is above 100.
        """
        location, scale = Normal(0.0, 1e4), Uniform(100.0)
        return cls(location, location, scale, scale, location, location, scale)

    @classmethod
    def weakly_informative(cls, data: GroupedData | GroupStatistics) -> Priors:
        r"""Priors scaled by the data, so that a change of units changes nothing.

        With :math:`s_y, s_k` the standard deviations of the outcome and of predictor k over
        all rows, and :math:`f = \sqrt{1 + \sum_k (\bar x_k / s_k)^2}`, which widens the
        intercept when predictors are far from zero,

        - intercept locations: Normal(mean of y, :math:`2.5 f s_y`),
        - slope locations: Normal(0, :math:`2.5 s_y / s_k`),
        - ``sigma_alpha``: HalfNormal(:math:`f s_y`), ``sigma_beta``:
          HalfNormal(:math:`s_y / s_k`), ``eps``: HalfNormal(:math:`s_y`).

        Half-normals keep scales away from absurd values and let them be zero.

        Parameters
        ----------
        data
            Rows or statistics.

        Returns
        -------
        Priors

        Notes
        -----
        The factor 2.5 follows the rstanarm defaults (Goodrich et al., Prior distributions
        for rstanarm models). A constant column counts with standard deviation 1.
        """
        rows = as_statistics(data).overall()
        n, mean_x, mean_y = rows.count[0], rows.mean_x[0], rows.mean_y[0]
        sd_y = float(_or_one(np.sqrt(rows.syy[0] / n), mean_y))
        sd_x = _or_one(np.sqrt(np.diagonal(rows.sxx[0]) / n), mean_x)
        factor = float(np.sqrt(1.0 + ((mean_x / sd_x) ** 2).sum()))
        intercept = Normal(float(mean_y), 2.5 * factor * sd_y)
        slope = Normal(np.zeros_like(sd_x), 2.5 * sd_y / sd_x)
        return cls(
            mu_alpha=intercept,
            mu_beta=slope,
            sigma_alpha=HalfNormal(factor * sd_y),
            sigma_beta=HalfNormal(sd_y / sd_x),
            alpha=intercept,
            beta=slope,
            eps=HalfNormal(sd_y),
        )

    def to_json(self) -> str:
        """Every prior to the last digit, for the attributes of a result.

        Returns
        -------
        str
            An object with a family and its parameters for each site; arrays are lists.
        """
        priors = {}
        for site in fields(self):
            prior = getattr(self, site.name)
            if prior is None:
                continue
            values = {f.name: np.asarray(getattr(prior, f.name)).tolist() for f in fields(prior)}
            priors[site.name] = {"family": type(prior).__name__, **values}
        return json.dumps(priors)

    @classmethod
    def from_json(cls, text: str) -> Priors:
        """The priors that :meth:`to_json` wrote.

        Parameters
        ----------
        text
            As written.

        Raises
        ------
        ValueError
            If the text is another.
        """
        families: dict[str, Any] = {f.__name__: f for f in (Normal, HalfNormal, Uniform)}
        try:
            priors: dict[str, Any] = {
                site: families[prior.pop("family")](**_as_numbers(prior))
                for site, prior in json.loads(text).items()
            }
            return cls(**priors)
        except (
            AttributeError,
            KeyError,
            TypeError,
            OverflowError,
            RecursionError,
            json.JSONDecodeError,
        ) as error:
            raise ValueError(f"Expected priors as to_json writes them; got {text[:500]}") from error
