r"""Supports of the latent sites, and NumPyro's maps between them and the real line, in NumPy.

==================  =====================================  ========================================
support             value v of an unconstrained number x   sites
==================  =====================================  ========================================
the real line       :math:`v = x`                          coefficients; signed scales
positive numbers    :math:`v = e^x`                        scales
an interval (a, b)  :math:`v = a + (b - a) / (1+e^{-x})`   scales under a Uniform prior, also signed
                                                           ones; partial correlations
==================  =====================================  ========================================

These are the bijections of ``numpyro.distributions.biject_to``. In NumPy they need no compilation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from radon_numpyro.model.priors import Priors


@dataclass(frozen=True)
class Support:
    """The support of a site: an open interval.

    Attributes
    ----------
    lower, upper
        Ends, of shape () or the shape of the parameters of the prior; infinite if there is none.
    """

    lower: Any = -np.inf
    upper: Any = np.inf

    @property
    def is_real_line(self) -> bool:
        """Whether values are unconstrained."""
        return bool(np.all(np.isneginf(self.lower)))

    @property
    def _is_bounded(self) -> bool:
        return bool(np.all(np.isfinite(self.upper)))

    def constrained(self, x: Any) -> Any:
        """Map unconstrained numbers into the support.

        Parameters
        ----------
        x
            Numbers, whose shape broadcasts against that of the ends.
        """
        if self.is_real_line:
            return np.asarray(x)
        if not self._is_bounded:
            return np.exp(x)
        return self.lower + (self.upper - self.lower) * special.expit(x)

    def unconstrained(self, value: Any) -> Any:
        """Map values to unconstrained numbers, the inverse of :meth:`constrained`.

        Parameters
        ----------
        value
            Values inside the support; for others the result is not finite.
        """
        if self.is_real_line:
            return np.asarray(value)
        with np.errstate(invalid="ignore", divide="ignore"):
            if not self._is_bounded:
                return np.log(value)
            return np.log(value - self.lower) - np.log(self.upper - value)

    def slope(self, value: Any) -> Any:
        """Return the derivative of :meth:`unconstrained`.

        Parameters
        ----------
        value
            Values inside the support.
        """
        if self.is_real_line:
            return np.ones_like(value)
        if not self._is_bounded:
            return 1.0 / np.asarray(value)
        return 1.0 / (value - self.lower) + 1.0 / (self.upper - value)


def support(name: str, priors: Priors) -> Support:
    """Return the support of a latent site of a model, as written or with signed scales.

    Parameters
    ----------
    name
        Name of the site.
    priors
        The priors of the model.
    """
    if name.startswith("signed_"):
        upper = getattr(priors, name.replace("signed_", "sigma_", 1)).upper
        return Support(-upper, upper)
    if name == "partial_correlation":
        return Support(-1.0, 1.0)
    prior = getattr(priors, name, None)
    return Support() if prior is None else Support(prior.lower, prior.upper)
