"""What is known of a fit before it is made: findings about its data and its priors."""

from __future__ import annotations

from radon_numpyro.data.findings import Finding
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.inference.origin import zero_dependence
from radon_numpyro.model.models import Model
from radon_numpyro.model.prior_conflict import prior_conflicts
from radon_numpyro.model.priors import Priors
from radon_numpyro.statistics.group_statistics import GroupStatistics


def premises(
    data: GroupedData | GroupStatistics, statistics: GroupStatistics, priors: Priors, model: str
) -> tuple[Finding, ...]:
    """Find what bears on the answer of a fit: in the data, in the place of zero, in the priors.

    Parameters
    ----------
    data, statistics
        Rows or statistics, and their statistics.
    priors
        The priors of the fit.
    model
        ``"hierarchical"``, ``"individual"`` or ``"pooled"``.

    Returns
    -------
    tuple of Finding
        Those that make a number meaningless before those that ask for caution.
    """
    # Those by default are scaled by the data.
    by_default = priors.to_json() == Priors.weakly_informative(statistics).to_json()
    found = list(data.audit().bearing_on(model))
    if Model.named(model).population:
        zero = zero_dependence(data, statistics, priors, priors_by_default=by_default)
        found += [] if zero is None else [zero]
    if not by_default:
        found += prior_conflicts(priors, statistics, model)
    return tuple(sorted(found, key=lambda finding: finding.caution))
