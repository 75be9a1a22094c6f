r"""The models: how coefficients vary by group, and the latent sites that follow from that.

Other modules read the structure of a model from the properties of :class:`Model` and from
:meth:`Model.sites`. The NumPyro model functions are in ``model/regressions.py``; its docstring has
the table of mathematical symbols and site names. This module does not import JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from radon_numpyro.data.design import Design

# Names of the dimensions of sites. In a result the dimension of groups has the name of the group
# column. Mean slopes have their own dimension only if some slopes vary about 0.
GROUP, PREDICTOR, MEAN_SLOPE, FIXED = "group", "predictor", "mean_slope", "fixed"
# Rows and columns of the correlation matrix, which covers all coefficients that vary.
COEFFICIENT, COEFFICIENT_OTHER = "coefficient", "coefficient_other"


class Site(NamedTuple):
    """One latent site of a model.

    Attributes
    ----------
    dims
        Names of its dimensions in order, from ``GROUP``, ``PREDICTOR``, ``MEAN_SLOPE``, ``FIXED``,
        ``COEFFICIENT`` and ``COEFFICIENT_OTHER``.
    words
        A description with placeholders for the outcome, ``{y}``, and a predictor, ``{x}``.
    is_scale
        Whether it is a standard deviation, which cannot be negative.
    is_top_level
        Whether its prior depends on no other site.
    """

    dims: tuple[str, ...]
    words: str
    is_scale: bool = False
    is_top_level: bool = True


@dataclass(frozen=True)
class Model:
    """A Gaussian regression of grouped rows.

    Attributes
    ----------
    name
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.
    by_group
        Whether each group has its own coefficients; if not, all rows share them.
    population
        Whether the coefficients of the groups are drawn from a population whose means and standard
        deviations are sites too (partial pooling).
    """

    name: str
    by_group: bool
    population: bool

    @staticmethod
    def named(name: str) -> Model:
        """Return the model with this name.

        Parameters
        ----------
        name
            ``"hierarchical"``, ``"individual"`` or ``"pooled"``.

        Raises
        ------
        ValueError
            If no model has this name.
        """
        if name not in MODELS:
            raise ValueError(f"Expected model to be one of {', '.join(MODELS)}; got {name!r}")
        return MODELS[name]

    @property
    def eps_by_group(self) -> bool:
        """Whether each group has its own residual standard deviation (no pooling)."""
        return self.by_group and not self.population

    @property
    def function(self) -> Callable[..., None]:
        """The NumPyro model function, which takes data and priors."""
        from radon_numpyro.model.regressions import FUNCTIONS

        return FUNCTIONS[self.name]

    def sites(self, design: Design) -> dict[str, Site]:
        """Return the latent sites by name, in the order of results.

        Parameters
        ----------
        design
            Which columns vary by group, and which do not.
        """
        group = (GROUP,) if self.by_group else ()
        eps_group = group if self.eps_by_group else ()
        own = not self.population
        slope = "{y} per unit of {x}"
        some = (PREDICTOR,) if design.means == design.slopes else (MEAN_SLOPE,)
        sites: dict[str, Site] = {}
        if self.population and design.has_mean_intercept:
            sites["mu_alpha"] = Site((), "mean intercept, {y}")
        if self.population and design.intercept_varies:
            sites["sigma_alpha"] = Site((), "sd of the intercepts, {y}", is_scale=True)
        if self.population and design.means:
            sites["mu_beta"] = Site(some, f"mean slope, {slope}")
        if self.population and design.slopes:
            words = f"sd of the slopes, {slope}"
            sites["sigma_beta"] = Site((PREDICTOR,), words, is_scale=True)
        if self.population and design.correlated:
            square = (COEFFICIENT, COEFFICIENT_OTHER)
            sites["correlation"] = Site(square, "correlation of coefficients of a group")
        # The pooled model has only the coefficients that the group coefficients would vary about.
        if design.intercept_varies and (self.by_group or design.has_mean_intercept):
            sites["alpha"] = Site(group, "intercept, {y}", is_top_level=own)
        if design.slopes if self.by_group else design.means:
            dims = (*group, PREDICTOR) if self.by_group else some
            sites["beta"] = Site(dims, f"slope, {slope}", is_top_level=own)
        if design.fixed:
            sites["gamma"] = Site((FIXED,), f"coefficient, {slope}")
        if not design.known_errors:
            words = (
                "residual sd of a row of weight 1, {y}" if design.weights else "residual sd, {y}"
            )
            sites["eps"] = Site(eps_group, words, is_scale=True)
        return sites

    def top_level(self, design: Design) -> list[str]:
        """Return the sites whose prior depends on no other: locations, then scales, correlations.

        Parameters
        ----------
        design
            Which columns vary by group, and which do not.
        """
        sites = self.sites(design)
        names = [name for name, site in sites.items() if site.is_top_level]
        return sorted(names, key=lambda n: sites[n].is_scale or COEFFICIENT in sites[n].dims)

    def scales(self, design: Design) -> list[str]:
        """Return the sites that remain when coefficients are integrated out: scales, correlations.

        Parameters
        ----------
        design
            Which columns vary by group, and which do not.
        """
        sites = self.sites(design)
        return [name for name, s in sites.items() if s.is_scale or COEFFICIENT in s.dims]

    def check(self, design: Design) -> None:
        """Check that the model supports this design.

        Parameters
        ----------
        design
            Which columns vary by group, and which do not.

        Raises
        ------
        ValueError
            If the model is individual and the design has columns that do not vary, or that vary
            about 0.
        """
        if self.eps_by_group:
            design.require_all_varying()


def coordinates(design: Design) -> dict[str, tuple[str, ...]]:
    """Return the names of the columns along each dimension of sites, except groups.

    Parameters
    ----------
    design
        Which columns vary by group, and which do not.
    """
    return {
        PREDICTOR: design.slopes,
        MEAN_SLOPE: design.means,
        FIXED: design.fixed,
        COEFFICIENT: design.varying,
        COEFFICIENT_OTHER: design.varying,
    }


MODELS = {
    model.name: model
    for model in (
        Model("hierarchical", by_group=True, population=True),
        Model("individual", by_group=True, population=False),
        Model("pooled", by_group=False, population=False),
    )
}
