"""Compare the conclusions of the PyMC3 tutorial with the exact posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import spearmanr

from radon_numpyro.data.grouped_data import GroupedData

# Counties in the tutorial's figure of single counties.
COUNTIES = ("CASS", "CROW WING", "FREEBORN")


@dataclass(frozen=True)
class Conclusion:
    """One conclusion of the tutorial, and the result of the check.

    Attributes
    ----------
    claim
        Short statement of what the tutorial says.
    found
        What the posterior says, with numbers.
    holds
        Whether the posterior supports the claim.
    """

    claim: str
    found: str
    holds: bool


def conclusions(
    hierarchical: xr.DataTree,
    individual: xr.DataTree,
    data: GroupedData,
    comparison: pd.DataFrame,
    rmsd: pd.DataFrame,
) -> tuple[Conclusion, ...]:
    """Check the tutorial's seven conclusions.

    Parameters
    ----------
    hierarchical
        Hierarchical fit of all counties.
    individual
        Individual fit of the counties in ``COUNTIES``.
    data
        Data of all houses.
    comparison
        Table of :func:`radon_numpyro.compare` for the three models.
    rmsd
        Root mean square deviations (RMSD): a row for each definition, a column for each model.
    """
    return (
        _basement(hierarchical),
        _counties(hierarchical),
        _width(hierarchical, data),
        _cass(individual, data),
        _outliers(individual, hierarchical),
        _prediction(comparison),
        _published(rmsd),
    )


def _basement(tree: xr.DataTree) -> Conclusion:
    mu_beta = tree["posterior"].to_dataset()["mu_beta"].values.ravel()
    above = float((mu_beta > 0).mean())
    return Conclusion(
        "Houses without a basement have less radon: mu_beta has no mass above zero.",
        f"P(mu_beta > 0) = {above:.4f} in {mu_beta.size} draws; mu_beta {mu_beta.mean():.3f} "
        f"(sd {mu_beta.std():.3f})",
        above < 0.001,
    )


def _counties(tree: xr.DataTree) -> Conclusion:
    posterior = tree["posterior"].to_dataset()
    sigma = posterior["sigma_alpha"].values.ravel()
    low, high = np.quantile(sigma, [0.025, 0.975])
    means = posterior["alpha"].mean(("chain", "draw"))
    return Conclusion(
        "Counties differ in their level of radon.",
        f"sigma_alpha {sigma.mean():.3f}, 95 % interval {low:.3f} to {high:.3f}; county means of "
        f"alpha from {float(means.min()):.2f} to {float(means.max()):.2f}",
        bool(low > 0.1),
    )


def _width(tree: xr.DataTree, data: GroupedData) -> Conclusion:
    sds = tree["posterior"].to_dataset()["alpha"].std(("chain", "draw")).values
    sizes = data.group_sizes
    correlation = float(spearmanr(sizes, sds).statistic)
    return Conclusion(
        "The more houses measured in a county, the narrower its marginal.",
        f"sd of alpha {sds[sizes == sizes.min()].mean():.2f} with {sizes.min()} house, "
        f"{sds[sizes.argmax()]:.2f} with {sizes.max()}; rank correlation with the number of "
        f"houses {correlation:.2f}",
        correlation < -0.9,
    )


def _cass(tree: xr.DataTree, data: GroupedData) -> Conclusion:
    cass = data.select("CASS")
    slope = tree["posterior"].to_dataset()["beta"].sel(county="CASS").values.ravel()
    return Conclusion(
        "CASS alone gives a nonsensical slope (in that run a giant negative one).",
        f"its {cass.num_rows} houses all have a basement, so the slope is its prior: mean "
        f"{slope.mean():,.0f}, sd {slope.std():,.0f}, positive in {(slope > 0).mean():.0%} of the "
        "draws. Not identified, rather than negative: the sign is an accident of the run",
        bool(np.ptp(cass.x) == 0 and slope.std() > 1000),
    )


def _outliers(individual: xr.DataTree, hierarchical: xr.DataTree) -> Conclusion:
    alone, pooled = (t["posterior"].to_dataset()["beta"] for t in (individual, hierarchical))
    centre = float(hierarchical["posterior"]["mu_beta"].mean())
    parts, pulled = [], []
    for county in COUNTIES[1:]:
        a, p = (float(b.sel(county=county).mean()) for b in (alone, pooled))
        parts.append(f"{county}: slope {a:.2f} alone, {p:.2f} hierarchical")
        pulled.append(abs(p - centre) < abs(a - centre))
    return Conclusion(
        "The individual model reacts more strongly to single houses than the hierarchical one.",
        f"{'; '.join(parts)}; population {centre:.2f}",
        all(pulled),
    )


def _prediction(table: pd.DataFrame) -> Conclusion:
    rmsd = ", ".join(
        f"{m} {row['rmsd_kfold']:.3f} +- {row['rmsd_kfold_se']:.3f}" for m, row in table.iterrows()
    )
    individual = table.loc["individual"]
    return Conclusion(
        "The hierarchical model predicts better than the individual one.",
        f"houses left out, RMSD: {rmsd}; elpd of the individual model "
        f"{individual['elpd_diff']:.0f} +- {individual['elpd_diff_se']:.0f} beside the best, "
        f"{table.index[0]}",
        bool(table.index[0] == "hierarchical" and table["rmsd_kfold"].idxmin() == "hierarchical"),
    )


def _published(rmsd: pd.DataFrame) -> Conclusion:
    seen = rmsd.loc["posterior-mean line, houses seen"]
    return Conclusion(
        "RMSD 0.13 (individual) and 0.08 (hierarchical).",
        "not reproduced, and published without code. The line closest to the houses it was "
        f"fitted to, each county's own, deviates by {seen['individual']:.3f}, the hierarchical by "
        f"{seen['hierarchical']:.3f}: on houses seen the order must be the reverse, since least "
        "squares minimises that figure",
        bool(seen["individual"] < 0.2 and seen["hierarchical"] < 0.2),
    )
