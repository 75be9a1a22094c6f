"""What the data added to the priors: parameters whose posterior is their prior."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
import xarray as xr

from radon_numpyro.data.checks import first_few
from radon_numpyro.data.findings import Finding
from radon_numpyro.model.coefficient_priors import columns_of_sites
from radon_numpyro.model.location_priors import PriorFamily
from radon_numpyro.model.priors import Priors
from radon_numpyro.results.correlations import pair_names
from radon_numpyro.results.fit_reader import read_draws, read_labels, read_model, read_priors

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
        nor do the spreads of one group.
    """
    if read_model(tree).eps_by_group:
        return None
    found: list[tuple[str, str, str | None]] = []
    named = " ".join(finding.what for finding in explained if not finding.caution)
    one_group = int((tree["constant_data"]["count"] > 0).sum()) == 1
    for site, predictor, draws, prior in _sites(tree, read_priors(tree)):
        name = site if predictor is None else f"{site}[{predictor}]"
        explained_already = repr(predictor) in named or (one_group and site.startswith("sigma"))
        # No posterior is an improper prior.
        if explained_already or not prior.proper:
            continue
        ordered = np.sort(draws)
        below = np.arange(len(ordered)) / len(ordered)
        distance = np.abs(prior.cdf(ordered) - below).max()
        ess = max(float(checks.loc[name, "ess_bulk"]), 1.0) if name in checks.index else len(draws)
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


def _sites(
    tree: xr.DataTree, priors: Priors
) -> Iterator[tuple[str, str | None, np.ndarray, PriorFamily]]:
    """Site, column, draws (S,), and prior of each parameter."""
    design = read_labels(tree).design
    columns, top_level = columns_of_sites(design), read_model(tree).top_level(design)
    for site, draws in read_draws(tree, top_level).items():
        prior = getattr(priors, site)
        if draws.ndim == 1:
            yield site, None, draws, prior.component(0)
        elif site == "correlation":
            for name, (i, j) in zip(pair_names(design), design.pairs, strict=True):
                (block,) = (b for b in design.correlated if design.varying[i] in b)
                yield site, name, draws[:, i, j], prior.of_pair(len(block))
        else:
            for k, name in enumerate(columns[site]):
                yield site, name, draws[:, k], prior.component(k)
