"""What the data added to the priors: parameters whose posterior is their prior."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import xarray as xr

from radon_numpyro.data.checks import first_few
from radon_numpyro.data.findings import Finding
from radon_numpyro.model.coefficient_priors import parameter_priors
from radon_numpyro.results.estimates import Numbers
from radon_numpyro.results.fit_reader import read_design, read_model, read_priors

# Largest distance between the distribution functions of two that count as one, and the quantile of
# Kolmogorov's distribution that it has to exceed with so many effective draws.
SAME = 0.05
KOLMOGOROV = 1.36


def prior_only(
    tree: xr.DataTree, checks: pd.DataFrame, explained: Iterable[Finding] = ()
) -> Finding | None:
    """Find parameters of all groups together of which the data say nothing.

    The distribution function of the draws and that of the prior differ by less than 0.05
    everywhere, or by less than so many effective draws can tell.

    Parameters
    ----------
    tree
        A fit; of the individual model the audit says what its groups do not identify.
    checks
        ``ess_bulk`` by parameter.
    explained
        What was found of the data: slopes of predictors that these name need no second finding,
        nor do spreads and correlations where there is one group.
    """
    if read_model(tree).eps_by_group:
        return None
    found: list[tuple[str, str, str | None]] = []
    draws = Numbers(tree, 0.9).parameters()
    priors = parameter_priors(read_model(tree), read_design(tree), read_priors(tree))
    named = " ".join(finding.what for finding in explained if not finding.caution)
    one_group = int((tree["constant_data"]["count"] > 0).sum()) == 1
    for name, (site, predictor, prior) in priors.items():
        between = site.startswith("sigma") or site == "correlation"
        explained_already = repr(predictor) in named or (one_group and between)
        # No posterior is an improper prior.
        if explained_already or not prior.proper:
            continue
        ordered = np.sort(draws[name])
        below = np.arange(len(ordered)) / len(ordered)
        distance = np.abs(prior.cdf(ordered) - below).max()
        known = name in checks.index
        ess = max(float(checks.loc[name, "ess_bulk"]), 1.0) if known else len(ordered)
        if distance < max(SAME, min(KOLMOGOROV / np.sqrt(ess), 2 * SAME)):
            found.append((name, site, predictor))
    if not found:
        return None
    names = ", ".join(name for name, _, _ in found)
    if all(site == "correlation" for _, site, _ in found):
        return Finding(
            f"The data say nothing of {names}: what is shown is the prior.",
            "independent coefficients: || in the formula in place of |",
            caution=True,
        )
    what = f"The data say nothing of {names}: the numbers shown are those of the priors."
    slopes = list(
        dict.fromkeys(x for _, site, x in found if x and site in ("mu_beta", "beta", "gamma"))
    )
    if slopes:
        named = first_few(slopes)
        return Finding(what, f"leave {named} out of x", f"leave {named} out of the --x options")
    return Finding.advising(what, "{model}, which has no such parameter", model="pooled")
