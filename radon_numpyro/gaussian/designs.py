r"""Combination of groups with the same design, so that the cost depends on the number of designs.

The design of a group consists of its triangle :math:`R_c`, which depends only on the columns that
vary, and of the number and the total weight of its rows. If only the intercept varies, all groups
of the same size share a design; if a predictor takes few values, many groups do. Groups with one
design have the same covariance given the scales. Let :math:`G_c` be the columns of :math:`K_c` that
differ, and :math:`z_c`. The density depends on the :math:`G_c` of the m groups of one design only
through their mean and their scatter about it,

.. math:: \sum_c G_c'M^{-1}G_c = m\,\bar G'M^{-1}\bar G + \sum_k S_k'M^{-1}S_k, \qquad
          \sum_k \mathrm{vec}(S_k)\,\mathrm{vec}(S_k)'
          = \sum_c \mathrm{vec}(G_c - \bar G)\,\mathrm{vec}(G_c - \bar G)'

so that :math:`\sqrt m\,\bar G` and the :math:`S_k` replace the groups, as sufficient statistics
replace rows. The determinant of the covariance counts m times.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from radon_numpyro.gaussian.normal_equations import NormalEquations

MANY = 1000
SAME = 1e-12
# Eigenvalues of a scatter below this fraction of its largest eigenvalue are rounding error.
NEGLIGIBLE = 1e-13


def by_design(equations: NormalEquations) -> NormalEquations:
    """Combine groups with the same design; the log density of the scales does not change.

    Parameters
    ----------
    equations
        Normal equations of each group. They are returned unchanged if there are fewer than 1000
        groups, if the result would have more than half as many columns as there are groups, or if
        they have been combined already.

    Returns
    -------
    NormalEquations
        Means and scatters of the designs in place of groups. Padding with zeros rounds their number
        up to a power of two, so that similar data sets share a compiled program. Designs are
        treated as equal if they agree to 1e-12 of the spread of each predictor. ``rest`` is zero,
        because only its sum is defined, and ``remainder`` contains that sum.
    """
    num_groups = equations.num_groups
    if equations.stand_for_many or num_groups < MANY:
        return equations
    design, repeats = _numbered(equations)
    num_designs, size = len(repeats), equations.size
    if 2 * num_designs > num_groups:
        return equations
    order = np.argsort(design, kind="stable")
    first = np.concatenate([[0], np.cumsum(repeats)[:-1]])
    whole = np.concatenate([equations.population, equations.target[:, None]], axis=1)
    values = whole[..., order].reshape(-1, num_groups)
    mean = np.add.reduceat(values, first, axis=1) / repeats
    off = values - np.repeat(mean, repeats, axis=1)
    owner_of_scatter, scatter = _scatter(off, first)
    owner = np.concatenate([np.arange(num_designs), owner_of_scatter])
    columns = np.concatenate([mean * np.sqrt(repeats), scatter], axis=1)
    if 2 * len(owner) > num_groups:
        return equations
    # Determinants and counts belong to the means: columns of scatter contribute none.
    once = np.arange(len(owner)) < num_designs
    columns = columns.reshape(size, -1, len(owner))
    missing = (1 << (len(owner) - 1).bit_length()) - len(owner)

    def padded(values: np.ndarray) -> np.ndarray:
        return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])

    def summed(values: np.ndarray) -> np.ndarray:
        return padded(np.where(once, np.bincount(design, values)[owner], 0.0))

    return replace(
        equations,
        root=padded(equations.root[..., order[first]][..., owner]),
        population=padded(columns[:, :-1]),
        target=padded(columns[:, -1]),
        rest=np.zeros(len(owner) + missing),
        count=summed(equations.count),
        weight=summed(equations.weight),
        log_weight=summed(equations.log_weight),
        repeats=padded(np.where(once, repeats[owner], 0.0)),
        stand_for_many=True,
    )


def _numbered(equations: NormalEquations) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of the design of each group, (C,), and the number of groups per design."""
    size, num_groups = equations.target.shape
    count, weight, total = equations.count, equations.weight, equations.total_weight
    upper = np.triu_indices(size)
    positive = np.where(weight > 0, weight, 1.0)
    entries = equations.root[upper] / np.sqrt(positive)
    about_mean = equations.root.copy()
    if equations.design.intercept_varies:
        means = about_mean[0] @ np.sqrt(weight) / total
        about_mean[0] -= means[:, None] * np.sqrt(weight)
    spread = np.sqrt((about_mean**2).sum(axis=(0, 2)) / total)[upper[1]]
    unit = SAME * np.where(spread > 0, spread, 1.0)
    # Adding 0.0 turns -0.0, a result of rounding, into 0.0.
    of_weight = np.rint(np.log(positive) / SAME)
    keys = np.concatenate([count[None], of_weight[None], np.rint(entries / unit[:, None]) + 0.0])
    order = np.lexsort(keys)
    differs = (np.diff(keys[:, order]) != 0).any(axis=0)
    number = np.empty(num_groups, dtype=int)
    number[order] = np.concatenate([[0], np.cumsum(differs)])
    return number, np.bincount(number)


def _scatter(off: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compress the deviations (U, C) into columns with the same sums of products by design.

    Returns the design that each of the K columns belongs to, (K,), and the columns, (U, K).
    """
    # Each row is scaled by its own size, since a row of small values can still matter.
    size = np.sqrt((off**2).mean(1))
    size = np.where(size > 0, size, 1.0)[:, None]
    scaled = off / size
    products = np.add.reduceat(scaled[:, None] * scaled[None, :], first, axis=2)
    values, vectors = np.linalg.eigh(np.moveaxis(products, -1, 0))
    owner, which = np.nonzero(values > NEGLIGIBLE * np.maximum(values[:, -1:], NEGLIGIBLE))
    return owner, size * vectors[owner, :, which].T * np.sqrt(values[owner, which])
