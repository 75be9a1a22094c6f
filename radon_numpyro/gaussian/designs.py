r"""Groups of one design put together: very many groups cost what their designs cost.

Groups with as many rows and the same means, squares and products of the predictors have the same
triangle R: all groups of a size where there is no predictor, many where a predictor takes few
values. Their covariance given the scales is the same, so the density depends on their m targets
only through the mean and the scatter about it,

.. math:: \sum_{c} (z_c - R\mu)'M^{-1}(z_c - R\mu)
          = m\,(\bar z - R\mu)'M^{-1}(\bar z - R\mu) + \mathrm{tr}(M^{-1}FF'), \qquad
          FF' = \sum_c (z_c - \bar z)(z_c - \bar z)'

which are to groups what sufficient statistics are to rows.
"""

from __future__ import annotations

import numpy as np

from radon_numpyro.gaussian.normal_equations import NormalEquations

MANY = 1000
SAME = 1e-12


def by_design(equations: NormalEquations) -> NormalEquations:
    """The same log density of the scales, with a column for each design and not each group.

    Parameters
    ----------
    equations
        Of each group. They come back as they are where there are fewer than 1000 groups, or no
        fewer than half as many designs.

    Returns
    -------
    NormalEquations
        Of J designs, their number rounded up to a power of two by designs of no group, so that
        data sets alike share a compiled program. Designs count as one if they agree to 1e-12 of
        the spread of each predictor.
    """
    num_groups = len(equations.count)
    if num_groups < MANY:
        return equations
    design, repeats = _numbered(equations)
    num_designs = len(repeats)
    if 2 * num_designs > num_groups:
        return equations
    order = np.argsort(design, kind="stable")
    first = np.concatenate([[0], np.cumsum(repeats)[:-1]])
    target = equations.target[:, order]
    mean = np.add.reduceat(target, first, axis=1) / repeats
    off = target - np.repeat(mean, repeats, axis=1)
    cross = np.add.reduceat(off[:, None] * off[None, :], first, axis=2)
    one_each = order[first]

    missing = (1 << (num_designs - 1).bit_length()) - num_designs

    def padded(values: np.ndarray) -> np.ndarray:
        return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)])

    return equations._replace(
        root=padded(equations.root[..., one_each]),
        target=padded(mean),
        rest=padded(np.bincount(design, equations.rest)),
        count=padded(np.bincount(design, equations.count)),
        repeats=padded(repeats.astype(float)),
        scatter=padded(_square_root(cross)),
    )


def _numbered(equations: NormalEquations) -> tuple[np.ndarray, np.ndarray]:
    """The design of each group, and how many groups each design has."""
    size, num_groups = equations.target.shape
    count = equations.count
    upper = np.triu_indices(size)
    entries = equations.root[upper] / np.sqrt(np.maximum(count, 1.0))
    # Of an intercept the count says all.
    entries = np.where((upper[1] > 0)[:, None], entries, 0.0)
    spread = np.sqrt((equations.root**2).sum(axis=(0, 2)) / max(count.sum(), 1.0))[upper[1]]
    unit = SAME * np.where(spread > 0, spread, 1.0)
    # Adding 0 makes -0 of rounding equal to 0.
    keys = np.concatenate([count[None], np.rint(entries / unit[:, None]) + 0.0])
    order = np.lexsort(keys)
    differs = (np.diff(keys[:, order]) != 0).any(axis=0)
    number = np.empty(num_groups, dtype=int)
    number[order] = np.concatenate([[0], np.cumsum(differs)])
    return number, np.bincount(number)


def _square_root(cross: np.ndarray) -> np.ndarray:
    """Columns F, first axis, of a root of positive semidefinite matrices of shape (P, P, J)."""
    values, vectors = np.linalg.eigh(np.moveaxis(cross, -1, 0))
    root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return np.ascontiguousarray(np.moveaxis(root, 0, -1).swapaxes(0, 1))
