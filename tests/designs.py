"""Simulate data of designs other than the tutorial's from known coefficients."""

from dataclasses import replace

import numpy as np

from radon_numpyro.data.design import INTERCEPT, Design
from radon_numpyro.data.grouped_data import GroupedData
from radon_numpyro.data.labels import Labels
from radon_numpyro.model.priors import HalfNormal, Normal, Priors


def with_design(data, design):
    """Return the same data with another design; ``design.predictors`` names the same columns."""
    order = [data.labels.predictors.index(name) for name in design.predictors]
    labels = replace(data.labels, predictors=design.predictors, design=design)
    return replace(data, x=data.x[:, order], labels=labels)


def simulated(
    num_groups=12,
    rows=6,
    *,
    slopes=("dose",),
    fixed=("age", "site_mean"),
    without_mean=(),
    intercept="both",
    seed=0,
):
    """Simulate rows with slopes that vary by group and columns with fixed coefficients.

    The last column of `fixed` is constant in each group.
    ``intercept`` is ``"both"`` (it varies about a mean), ``"fixed"``, ``"varying"`` or ``"none"``.
    """
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(num_groups), rows).astype(np.int32)
    names = (*slopes, *fixed)
    x = rng.normal(size=(len(group), len(names))) * (1.0 + np.arange(len(names)))
    if fixed:
        x[:, -1] = rng.normal(size=num_groups)[group]
    first = (INTERCEPT,)
    design = Design(
        (first if intercept in ("both", "fixed") else ())
        + tuple(n for n in slopes if n not in without_mean)
        + tuple(fixed),
        (first if intercept in ("both", "varying") else ()) + tuple(slopes),
    )
    y = 3.0 + x @ rng.normal(size=len(names)) + rng.normal(size=num_groups)[group]
    y += (x[:, : len(slopes)] * rng.normal(size=(num_groups, len(slopes)))[group]).sum(1)
    y += 0.7 * rng.normal(size=len(group))
    labels = Labels("y", names, "g", tuple(f"g{c}" for c in range(num_groups)), design)
    return GroupedData(y, x, group, labels)


def priors_of(design):
    """Make proper priors with a different mean and scale for each coefficient."""
    slopes, means, fixed = (len(names) for names in (design.slopes, design.means, design.fixed))
    return Priors(
        mu_alpha=Normal(2.0, 5.0),
        mu_beta=Normal(0.5 + np.arange(means), 2.0 + np.arange(means)),
        sigma_alpha=HalfNormal(2.0),
        sigma_beta=HalfNormal(1.5 + np.arange(slopes)),
        alpha=Normal(2.0, 5.0),
        beta=Normal(0.5 + np.arange(means), 2.0 + np.arange(means)),
        eps=HalfNormal(2.0),
        gamma=Normal(-0.5 + np.arange(fixed), 3.0 + np.arange(fixed)) if fixed else None,
    )
