r"""The models: how the coefficients vary, and the sites that follow from that.

Whatever another part needs to know of a model it reads here, from the properties and from
:meth:`Model.sites`. The NumPyro model functions are in ``model/regressions.py``, whose table leads
from the symbols of the mathematics to the names of the sites. Nothing here needs JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

# Names of the dimensions of sites; in a result the groups bear the name of their column.
GROUP, PREDICTOR = "group", "predictor"


class Site(NamedTuple):
    """One latent site of a model.

    Attributes
    ----------
    dims
        Its dimensions in order, of ``GROUP`` and ``PREDICTOR``.
    words
        What it is, with places for the outcome ``{y}`` and a predictor ``{x}``.
    is_scale
        Whether it is a standard deviation, and so at least 0.
    is_top_level
        Whether its prior depends on no other site.
    """

    dims: tuple[str, ...]
    words: str
    is_scale: bool = False
    is_top_level: bool = True


@dataclass(frozen=True)
class Model:
    """A Gaussian regression of grouped rows: an intercept and K slopes.

    Attributes
    ----------
    name
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.
    by_group
        Whether each group has coefficients of its own; if not, all rows share them.
    population
        Whether those of the groups are drawn from a population whose means and standard deviations
        are sites too (partial pooling).
    """

    name: str
    by_group: bool
    population: bool

    @staticmethod
    def named(name: str) -> Model:
        """The model of a name.

        Parameters
        ----------
        name
            ``"hierarchical"``, ``"individual"`` or ``"pooled"``.

        Raises
        ------
        ValueError
            If there is none.
        """
        if name not in MODELS:
            raise ValueError(f"Expected model to be one of {', '.join(MODELS)}; got {name!r}")
        return MODELS[name]

    @property
    def eps_by_group(self) -> bool:
        """Whether each group has a residual standard deviation of its own (no pooling)."""
        return self.by_group and not self.population

    @property
    def function(self) -> Callable[..., None]:
        """The NumPyro model function of data and priors."""
        from radon_numpyro.model.regressions import FUNCTIONS

        return FUNCTIONS[self.name]

    def sites(self, num_predictors: int) -> dict[str, Site]:
        """Latent sites by name, in the order in which results have them.

        Parameters
        ----------
        num_predictors
            Number of predictors, K; without any there are no slopes.
        """
        group = (GROUP,) if self.by_group else ()
        eps_group = group if self.eps_by_group else ()
        own = not self.population
        slope = "{y} per unit of {x}"
        sites: dict[str, Site] = {}
        if self.population:
            sites = {
                "mu_alpha": Site((), "mean intercept, {y}"),
                "sigma_alpha": Site((), "sd of the intercepts, {y}", is_scale=True),
                "mu_beta": Site((PREDICTOR,), f"mean slope, {slope}"),
                "sigma_beta": Site((PREDICTOR,), f"sd of the slopes, {slope}", is_scale=True),
            }
        sites |= {
            "alpha": Site(group, "intercept, {y}", is_top_level=own),
            "beta": Site((*group, PREDICTOR), f"slope, {slope}", is_top_level=own),
            "eps": Site(eps_group, "residual sd, {y}", is_scale=True),
        }
        if not num_predictors:
            sites = {name: site for name, site in sites.items() if PREDICTOR not in site.dims}
        return sites

    def top_level(self, num_predictors: int) -> list[str]:
        """Sites whose prior depends on no other: locations, then scales.

        Parameters
        ----------
        num_predictors
            Number of predictors, K.
        """
        sites = self.sites(num_predictors)
        names = [name for name, site in sites.items() if site.is_top_level]
        return sorted(names, key=lambda name: sites[name].is_scale)


MODELS = {
    model.name: model
    for model in (
        Model("hierarchical", by_group=True, population=True),
        Model("individual", by_group=True, population=False),
        Model("pooled", by_group=False, population=False),
    )
}
