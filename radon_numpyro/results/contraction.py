"""Find parameters whose posterior equals their prior, because the data added nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from radon_numpyro.data.checks import first_few
from radon_numpyro.data.design import INTERCEPT
from radon_numpyro.data.findings import Finding
from radon_numpyro.model.location_priors import PriorFamily
from radon_numpyro.model.parameter_priors import parameter_priors
from radon_numpyro.model.priors import Priors
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import (
    read_design,
    read_model,
    read_priors,
    read_statistics,
)

# Largest distance of two distribution functions that count as equal. With few effective draws the
# limit is larger: this quantile of Kolmogorov's distribution over the root of their number.
SAME = 0.05
KOLMOGOROV = 1.36
# A prior is narrow if its interquartile range is below this share of that of the default prior.
NARROW = 0.2


class _Parameter(NamedTuple):
    """A parameter with its site, column, draws (S,), prior, and default prior."""

    name: str
    site: str
    column: str | None
    draws: np.ndarray
    prior: PriorFamily
    default: PriorFamily

    @property
    def narrow(self) -> bool:
        """Whether the prior is much narrower than the default prior."""
        own, usual = (
            float(p.quantile(0.75) - p.quantile(0.25)) for p in (self.prior, self.default)
        )
        return own < NARROW * usual

    def is_prior(self, ess: float) -> bool:
        """Return whether the draws, with this effective size, are consistent with the prior."""
        ordered = np.sort(self.draws)
        below = np.arange(len(ordered)) / len(ordered)
        distance = np.abs(self.prior.cdf(ordered) - below).max()
        return bool(distance < max(SAME, min(KOLMOGOROV / np.sqrt(ess), 2 * SAME)))


def prior_only(
    tree: xr.DataTree, checks: pd.DataFrame, explained: Iterable[Finding] = ()
) -> tuple[Finding, ...]:
    """Find top-level parameters whose posterior equals their prior.

    The distribution functions of the draws and of the prior differ by less than 0.05 everywhere, or
    by less than the effective number of draws can show. Either the data have no information about
    the parameter, or its prior is so much narrower than the default prior that the data cannot
    change it.

    Parameters
    ----------
    tree
        A fit. There are no findings for the individual model, because the audit reports what its
        groups do not identify.
    checks
        ``ess_bulk`` by parameter.
    explained
        Findings about the data. Slopes of predictors that they name get no second finding, nor do
        standard deviations and correlations if there is only one group.
    """
    if read_model(tree).eps_by_group:
        return ()
    found: list[_Parameter] = []
    named = " ".join(finding.what for finding in explained if not finding.caution)
    one_group = int((tree["constant_data"]["count"] > 0).sum()) == 1
    for parameter in _parameters(tree):
        name, site = parameter.name, parameter.site
        explained_already = repr(parameter.column) in named or (
            one_group and (site.startswith("sigma") or site == "correlation")
        )
        # A posterior cannot equal an improper prior.
        if explained_already or not parameter.prior.proper:
            continue
        known = name in checks.index
        ess = max(float(checks.loc[name, "ess_bulk"]), 1.0) if known else len(parameter.draws)
        if parameter.is_prior(ess):
            found.append(parameter)
    narrow = [parameter for parameter in found if parameter.narrow]
    rest = [parameter for parameter in found if not parameter.narrow]
    by_formula = bool(tree.attrs.get("formula"))
    said = [_decided(narrow)] if narrow else []
    return (*said, *([_nothing_said(rest, by_formula)] if rest else []))


def _decided(found: list[_Parameter]) -> Finding:
    """Return the finding about parameters with narrow priors that the data cannot change."""
    names = ", ".join(parameter.name for parameter in found)
    return Finding(
        f"Narrow priors determine {names}: the data did not change the numbers shown.",
        "wider priors, unless these express what you know",
        caution=True,
    )


def _nothing_said(found: list[_Parameter], by_formula: bool) -> Finding:
    """Return the finding about parameters on which the data have no information."""
    names = ", ".join(parameter.name for parameter in found)
    if all(parameter.site == "correlation" for parameter in found):
        return Finding(
            f"The data have no information about {names}: the numbers shown are the prior.",
            "independent coefficients: || in the formula in place of |",
            caution=True,
        )
    what = f"The data have no information about {names}: the numbers shown are the priors."
    of_slopes = [p.column for p in found if p.column and p.site in ("mu_beta", "beta", "gamma")]
    slopes = [column for column in dict.fromkeys(of_slopes) if column != INTERCEPT]
    if slopes:
        named = first_few(slopes)
        if by_formula:
            return Finding(what, f"leave {named} out of the formula")
        return Finding(what, f"leave {named} out of x", f"leave {named} out of the --x options")
    spreads = [parameter.name for parameter in found if parameter.site.startswith("sigma")]
    if spreads:
        return Finding.advising(
            what, "{model}, which has no " + " or ".join(spreads), model="pooled"
        )
    return Finding(
        what, "more data, or priors that express what you know, because they determine the answer"
    )


def _parameters(tree: xr.DataTree) -> Iterator[_Parameter]:
    model, design = read_model(tree), read_design(tree)
    draws = Numbers(tree, 0.9).parameters()
    defaults = Priors.weakly_informative(read_statistics(tree))
    usual = parameter_priors(model, design, defaults)
    for name, own in parameter_priors(model, design, read_priors(tree)).items():
        yield _Parameter(name, own.site, own.column, draws[name], own.prior, usual[name].prior)
