"""What the rows of a group determine on their own, without information from other groups."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from radon_numpyro.data.moments import group_moments, overall_moments

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Relative tolerances of the whole package. A column varies if its spread is above ROUNDING times
# its size. A combination of columns varies if its variance is above COLLINEAR times theirs. A fit
# is exact if its residual sum of squares is below EXACT times the sum of squares that it explains.
ROUNDING = 1e-14
COLLINEAR = 1e-10
EXACT = 1e-12


class Identification(NamedTuple):
    """What separate least squares in each group determine.

    Attributes
    ----------
    varies
        Whether a predictor varies within the group by more than rounding, shape (C, K).
    outcome_varies
        Whether the outcome varies within the group, shape (C,).
    slopes
        Whether the rows determine the slope, shape (C, K): the predictor varies, and is not a
        combination of the others in the group.
    freedom
        Number of rows minus number of determined coefficients, shape (C,). If it is 0, the rows
        have no information about the residual standard deviation.
    exact
        Whether there are degrees of freedom but no residual about the least-squares line, shape
        (C,). Then the likelihood is unbounded as the residual standard deviation goes to 0.
    """

    varies: Mask
    outcome_varies: Mask
    slopes: Mask
    freedom: NDArray[np.int64]
    exact: Mask

    def take(self, groups: Mask) -> "Identification":
        """Return the same for some of the groups."""
        return Identification(
            self.varies[groups],
            self.outcome_varies[groups],
            self.slopes[groups],
            self.freedom[groups],
            self.exact[groups],
        )


def identify(y: Array, x: Array, group: NDArray[np.integer], num_groups: int) -> Identification:
    """Apply :func:`identify_moments` to rows; their range shows best whether a column varies.

    Parameters
    ----------
    y
        Outcome, shape (N,).
    x
        Predictors, shape (N, K).
    group
        Group codes 0..C-1, shape (N,).
    num_groups
        Number of groups, C; an empty group determines nothing.
    """
    columns = np.column_stack([x, y]).astype(np.float64)
    count, _, products = group_moments(columns, group, num_groups)
    return identify_moments(count, products, _varies(columns, group, num_groups))


def identify_moments(count: Array, products: Array, varies: Mask) -> Identification:
    r"""Find the rank of the centred design of each group, and the residual about its line.

    Let :math:`P_c` be the projection on the null space of the correlation matrix of the predictors
    that vary in group c. The slope of predictor k is determined if :math:`(P_c)_{kk} = 0`. A
    combination of predictors counts as constant if its variance is below 1e-10 of theirs. The
    result does not depend on the units and zeros of the predictors.

    Parameters
    ----------
    count
        Number of rows in each group, shape (C,).
    products
        Centred sums of products of the predictors and, last, the outcome, shape (C, M, M).
    varies
        Whether each column varies within each group by more than rounding, shape (C, M).
    """
    # A predictor that does not vary gets a row of zeros, which gives its own null vector.
    variance = np.einsum("ckk->ck", products)
    scale = np.where(varies & (variance > 0), np.sqrt(variance), np.inf)
    correlation = products / (scale[:, :, None] * scale[:, None, :])
    values, vectors = np.linalg.eigh(correlation[:, :-1, :-1])
    determined = values > COLLINEAR
    null = np.einsum("ckj,cj->ck", vectors**2, ~determined)
    slopes = varies[:, :-1] & (null < 1e-8)
    freedom = (count - (count > 0) - determined.sum(-1)).astype(np.int64)

    along = np.einsum("ckj,ck->cj", vectors, correlation[:, :-1, -1])
    explained = np.divide(along**2, values, out=np.zeros_like(along), where=determined).sum(-1)
    exact = (freedom > 0) & (~varies[:, -1] | (1.0 - explained <= EXACT))
    return Identification(varies[:, :-1], varies[:, -1], slopes, freedom, exact)


def identified_coefficients(total: Array, mean_x: Array, sxx: Array) -> Mask:
    """Return whether a group's own rows determine its intercept and each of its slopes.

    A slope is not determined if it can change, together with other slopes, without changing the
    line at any row. With a single predictor, the slope is determined if the predictor varies. The
    intercept is determined if no such change of slopes changes it.

    Parameters
    ----------
    total, mean_x, sxx
        Number of rows or their total weight, and means and centred sums of products of the
        predictors by group, shapes (C,), (C, K) and (C, K, K).

    Returns
    -------
    array
        Booleans of shape (C, K + 1), intercept first.
    """
    _, _, products = overall_moments(total, mean_x, sxx)
    squares = np.einsum("ckk->ck", products)[0]
    unit = np.sqrt(np.where(squares > 0, squares, 1.0) / total.sum())
    values, vectors = np.linalg.eigh(sxx / unit[:, None] / unit)
    free = (vectors * (values <= COLLINEAR)[:, None]) @ vectors.transpose(0, 2, 1)
    slopes = (np.abs(free) < 1e-6).all(axis=2)
    shift = np.einsum("cjk,ck->cj", free, mean_x / unit)
    intercept = (total > 0) & (np.abs(shift) < 1e-6).all(axis=1)
    return np.column_stack([intercept, slopes])


def varies_by_moments(total: Array, means: Array, products: Array) -> Mask:
    """Return whether each column varies within each group by more than rounding, from moments.

    Parameters
    ----------
    total, means, products
        As from :func:`group_moments`.
    """
    positive = np.where(total > 0, total, 1.0)
    sd = np.sqrt(np.einsum("cmm->cm", products) / positive[:, None])
    varies: Mask = sd > ROUNDING * np.abs(means)
    return varies


def _varies(columns: Array, group: NDArray[np.integer], num_groups: int) -> Mask:
    """Return whether each column varies within each group, shape (C, M)."""
    codes = np.asarray(group, dtype=np.intp)
    varies = np.zeros((num_groups, columns.shape[1]), dtype=bool)
    for k, column in enumerate(columns.T):
        low, high = np.full(num_groups, np.inf), np.full(num_groups, -np.inf)
        np.minimum.at(low, codes, column)
        np.maximum.at(high, codes, column)
        varies[:, k] = high - low > ROUNDING * np.maximum(np.abs(low), np.abs(high))
    return varies
