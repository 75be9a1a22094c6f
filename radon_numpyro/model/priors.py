"""The priors of a model, as a record that models take and results store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args

import numpy as np

from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.identification import COLLINEAR, ROUNDING
from radon_numpyro.data.labels import Labels
from radon_numpyro.data.pytrees import pytree
from radon_numpyro.model.coefficient_priors import changed_sites, check_sizes
from radon_numpyro.model.correlations import LKJ
from radon_numpyro.model.location_priors import Flat, LocationPrior, Normal, PriorFamily
from radon_numpyro.model.scale_priors import FAMILIES, HalfFlat, HalfNormal, ScalePrior, Uniform
from radon_numpyro.statistics.consistency import as_statistics
from radon_numpyro.statistics.equal_rows import with_equal_rows
from radon_numpyro.statistics.group_statistics import GroupStatistics

SCALES = ("sigma_alpha", "sigma_beta", "eps")
CORRELATION = "correlation"


def _as_numbers(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters, checked to be numbers or lists of numbers."""
    for value in parameters.values():
        for number in value if isinstance(value, list) else [value]:
            if type(number) not in (int, float):
                raise TypeError(f"Expected a number; got {number!r}")
    return parameters


def _or_one(sd: Any, mean: Any) -> Any:
    """Return the standard deviation, or 1 if it is only the rounding error of a constant column."""
    return np.where(sd > ROUNDING * np.abs(mean), sd, 1.0)


def _own_share(correlation: Any, chosen: Any) -> Any:
    """Return the share of the sd of each chosen column that the other chosen columns leave.

    The share is set to 1 for a column that the others determine, and for columns not chosen.
    """
    share = np.ones(len(correlation))
    values, vectors = np.linalg.eigh(correlation[np.ix_(chosen, chosen)])
    determined = values > COLLINEAR
    if not determined.any():
        return share
    squares = vectors**2
    free = squares[:, ~determined].sum(1) < COLLINEAR
    inverse = squares[:, determined] @ (1.0 / values[determined])
    share[chosen] = np.where(free, 1.0 / np.sqrt(np.where(free, inverse, 1.0)), 1.0)
    return share


@pytree
@dataclass(frozen=True)
class Priors:
    """The priors of all three models.

    Location priors must be Normal or flat, so that the coefficients can be integrated out in closed
    form (``gaussian/marginal.py``). A scale has one of the priors in ``model/scale_priors.py``.

    Attributes
    ----------
    mu_alpha, mu_beta
        Priors of the population means of intercepts and slopes (hierarchical model).
    sigma_alpha, sigma_beta
        Priors of the population standard deviations of intercepts and slopes (hierarchical model).
    alpha, beta
        Priors of intercepts and slopes in the models without a population (individual, pooled).
    eps
        Prior of the residual standard deviation (all models).
    gamma
        Prior of the coefficients of the columns that do not vary by group (hierarchical, pooled);
        None if all columns vary.
    correlation
        Prior of the correlation matrix of each block of correlated coefficients (hierarchical
        model).
    """

    mu_alpha: LocationPrior
    mu_beta: LocationPrior
    sigma_alpha: ScalePrior
    sigma_beta: ScalePrior
    alpha: LocationPrior
    beta: LocationPrior
    eps: ScalePrior
    gamma: LocationPrior | None = None
    correlation: LKJ = field(default_factory=lambda: LKJ(1.0))

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            expected: Any = ScalePrior if f.name in SCALES else LocationPrior
            expected = LKJ if f.name == CORRELATION else expected
            if isinstance(value, Flat) and f.name in SCALES:
                object.__setattr__(self, f.name, HalfFlat())
            # Only instances of PriorFamily are checked: JAX's tree transformations put other
            # objects in place of priors.
            elif isinstance(value, PriorFamily) and not isinstance(value, expected):
                families = " or ".join(
                    family.__name__ for family in get_args(expected) or [expected]
                )
                raise TypeError(f"Expected {f.name} to be {families}; got {value}")

    @classmethod
    def tutorial(cls) -> Priors:
        """Return the priors of the PyMC3 tutorial.

        Every location has Normal(0, 10 000), whose second argument is a standard deviation, every
        scale Uniform(0, 100), and correlations LKJ(1). They suit log radon. They do not suit an
        outcome whose standard deviations may be above 100, because they exclude such values.
        """
        return cls._alike(Normal(0.0, 1e4), Uniform(100.0))

    @classmethod
    def flat(cls) -> Priors:
        """Return improper priors: constant densities of locations, scales and correlations.

        With the coefficients integrated out, the posterior mode of the standard deviations is the
        estimate by restricted maximum likelihood (REML), as lme4 computes it. The posterior itself
        is proper only if there are enough data: at least two rows more than coefficients and, for a
        standard deviation between groups, about three groups more than population coefficients
        (Gelman 2006, doi:10.1214/06-BA117A, section 3). A sampler cannot detect an improper
        posterior, so prefer proper priors for a fit.
        """
        return cls._alike(Flat(), HalfFlat())

    @classmethod
    def _alike(cls, location: LocationPrior, scale: ScalePrior) -> Priors:
        others = dict.fromkeys(SCALES, scale) | {CORRELATION: LKJ(1.0)}
        return cls(**{f.name: others.get(f.name, location) for f in fields(cls)})  # type: ignore[arg-type]

    @classmethod
    def weakly_informative(cls, data: GroupedData | GroupStatistics) -> Priors:
        r"""Return priors scaled by the data, which do not depend on the units of the columns.

        Let :math:`s_y, s_k` be the standard deviations of the outcome and of predictor k over
        all rows, and :math:`f = \sqrt{1 + \sum_k (\bar x_k / s_k)^2}`, a factor that widens the
        prior of the intercept when predictors are far from zero. The priors are

        - intercept locations: Normal(mean of y, :math:`2.5 f s_y`),
        - slope locations, and coefficients that do not vary: Normal(0, :math:`2.5 s_y / s_k`),
        - ``sigma_alpha``: HalfNormal(:math:`f s_y`), with f over only the slopes that vary,
          ``sigma_beta``: HalfNormal(:math:`s_y / s_k`), ``eps``: HalfNormal(:math:`s_y`),
        - ``correlation``: LKJ(2).

        If some columns do not vary by group, :math:`s_k` in the priors of locations and in f is
        replaced by the residual standard deviation of column k regressed on the other population
        columns. For example, an interaction or a power of a column far from zero is nearly a
        multiple of another column, so its coefficient can be large and its prior must be wide.

        Half-normal priors exclude absurdly large scales and allow zero. In a model without a
        population intercept, :math:`s_y` and :math:`s_k` are root mean squares about 0, and
        :math:`f = 1`. Weights count only within groups: each group has the weight of its number
        of rows, so that a few very precise rows do not make the priors narrow. The prior of
        ``eps``, the residual standard deviation of a row of weight 1, is then
        HalfNormal(:math:`s_y \sqrt{\tilde w}`) where :math:`\tilde w` is the geometric mean of
        the weights.

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
        for rstanarm models). The standard deviation of a constant column is taken as 1.
        """
        statistics = as_statistics(data)
        design, rows = statistics.labels.design, with_equal_rows(statistics).overall()
        n, mean_x, mean_y = rows.total_weight[0], rows.mean_x[0], rows.mean_y[0]
        variance_y, variance_x = rows.syy[0] / n, np.diagonal(rows.sxx[0]) / n
        about_mean = INTERCEPT in design.population
        if not about_mean:
            variance_y, variance_x = variance_y + mean_y**2, variance_x + mean_x**2
        sd_y = float(_or_one(np.sqrt(variance_y), mean_y))
        sd_x = _or_one(np.sqrt(variance_x), mean_x)
        factor = float(np.sqrt(1.0 + ((mean_x / sd_x) ** 2).sum())) if about_mean else 1.0
        own_sd = sd_x
        if design.fixed:
            variance = rows.sxx[0] / n
            if not about_mean:
                variance = variance + mean_x[:, None] * mean_x
            shared = np.array([name in design.population for name in design.predictors])
            own_sd = sd_x * _own_share(variance / sd_x[:, None] / sd_x, shared)
            if about_mean:
                factor = float(np.sqrt(1.0 + ((mean_x / own_sd)[shared] ** 2).sum()))
        # Only slopes that vary by group add to the spread of the intercepts.
        k = len(design.slopes)
        spread = np.sqrt(1.0 + ((mean_x[:k] / sd_x[:k]) ** 2).sum()) if about_mean else 1.0
        unit = dict(zip(design.predictors, own_sd, strict=True))
        intercept = Normal(float(mean_y), 2.5 * factor * sd_y)
        log_weight = 0.0 if statistics.weight is None else np.sum(statistics.log_weight)
        unit_weight = float(np.exp(0.5 * log_weight / n))

        def coefficients(columns: tuple[str, ...]) -> Normal:
            slopes = {name: Normal(0.0, 2.5 * sd_y / unit[name]) for name in unit}
            each = [({INTERCEPT: intercept} | slopes)[name] for name in columns]
            locs, scales = [prior.loc for prior in each], [prior.scale for prior in each]
            return Normal(np.array(locs, dtype=float), np.array(scales, dtype=float))

        return cls(
            mu_alpha=intercept,
            mu_beta=coefficients(design.means),
            sigma_alpha=HalfNormal(float(spread) * sd_y),
            sigma_beta=HalfNormal(sd_y / sd_x[:k]),
            alpha=intercept,
            beta=coefficients(design.means),
            eps=HalfNormal(sd_y * unit_weight),
            gamma=coefficients(design.fixed) if design.fixed else None,
            correlation=LKJ(2.0),
        )

    def with_coefficients(self, changes: Mapping[str, PriorFamily], labels: Labels) -> Priors:
        """Return a copy with other priors for some coefficients, whichever site holds them.

        Parameters
        ----------
        changes
            New priors by name: ``"Intercept"`` or the name of a column for its population
            coefficient, ``"sd(Intercept)"`` or ``"sd(COLUMN)"`` for its standard deviation between
            groups, ``"correlation"`` for the correlations of coefficients, ``"eps"`` for the
            residual standard deviation. The parameters of each prior are single numbers.
        labels
            Names of the columns, and which of them vary: ``data.labels``.

        Returns
        -------
        Priors
            All coefficients of a site have priors of one family, each with its own numbers.

        Raises
        ------
        TypeError
            If a location is given a prior for scales, or a scale a prior for locations.
        ValueError
            If no coefficient has the name, or other coefficients of its site have priors of
            another family.

        Examples
        --------
        >>> from radon_numpyro import Normal, Priors, load_radon
        >>> data = load_radon()
        >>> priors = Priors.weakly_informative(data)
        >>> str(priors.with_coefficients({"floor": Normal(0, 2)}, data.labels).mu_beta)
        'Normal([0.], [2.])'
        """
        changed: dict[str, Any] = changed_sites(self, changes, labels)
        return replace(self, **changed)

    def to_json(self) -> str:
        """Write all priors as JSON at full precision, for the attributes of a result.

        Returns
        -------
        str
            A JSON object with the family and its parameters for each site that has a prior. Arrays
            become lists.
        """
        priors = {}
        for site in fields(self):
            prior = getattr(self, site.name)
            if prior is not None:
                values = {name: np.asarray(v).tolist() for name, v in prior.parameters.items()}
                priors[site.name] = {"family": type(prior).__name__, **values}
        return json.dumps(priors)

    @classmethod
    def from_json(cls, text: str) -> Priors:
        """Read the JSON of :meth:`to_json`; older fits have no ``gamma`` or ``correlation``.

        Parameters
        ----------
        text
            JSON as :meth:`to_json` writes it.

        Raises
        ------
        ValueError
            If the text has another form.
        """
        try:
            priors: dict[str, Any] = {
                site: FAMILIES[prior.pop("family")](**_as_numbers(prior))
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


def resolve_priors(
    priors: Priors | Mapping[str, PriorFamily] | None, data: GroupedData | GroupStatistics
) -> Priors:
    """Return the complete priors of a fit, from the argument ``priors`` of a caller.

    Parameters
    ----------
    priors
        A complete ``Priors``; or priors by name of the coefficient, which replace some of the
        default, :meth:`Priors.weakly_informative`; or None for the default.
    data
        Rows or statistics.

    Returns
    -------
    Priors

    Raises
    ------
    TypeError, ValueError
        If ``priors`` has another type, or does not fit the columns of the data.
    """
    labels = data.labels
    if isinstance(priors, Priors):
        check_sizes(priors, labels.design)
        return priors
    default = Priors.weakly_informative(data)
    if priors is None:
        return default
    if not isinstance(priors, Mapping):
        raise TypeError(
            "Expected priors to be Priors, a mapping from names of coefficients to priors, or "
            f"None; got {type(priors).__name__}"
        )
    return default.with_coefficients(priors, labels)
