"""Means and centred sums of products by group."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def group_moments(
    columns: Array,
    group: NDArray[np.integer],
    num_groups: int,
    weights: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Reduce rows to moments by group in two centred passes, in float64.

    Parameters
    ----------
    columns
        Values of the rows, shape (N, M).
    group
        Group codes 0..C-1, shape (N,).
    num_groups
        Number of groups, C; a group may be empty.
    weights
        Weight of each row, shape (N,), above 0; default 1.

    Returns
    -------
    total, means, products
        Sums of the weights, means, and centred sums of products, shapes (C,), (C, M) and
        (C, M, M); 0 for an empty group. Without weights the total is the number of rows.
    """
    num_columns = columns.shape[1]

    def group_sums(values: Array) -> Array:
        values = values if weights is None else weights * values
        return np.bincount(group, weights=values, minlength=num_groups)

    total = np.bincount(group, weights=weights, minlength=num_groups).astype(np.float64)
    divisor = np.where(total > 0, total, 1.0)
    # The second pass removes the rounding error of the first, which matters if the mean of a column
    # is large compared with its standard deviation.
    means = np.zeros((num_groups, num_columns))
    deviations = columns
    for _ in range(2):
        step = np.column_stack([group_sums(d) for d in deviations.T]) / divisor[:, None]
        means += step
        deviations = deviations - step[group]
    products = np.empty((num_groups, num_columns, num_columns))
    for i in range(num_columns):
        for j in range(i + 1):
            products[:, i, j] = group_sums(deviations[:, i] * deviations[:, j])
            products[:, j, i] = products[:, i, j]
    return total, means, products


def overall_moments(total: Array, means: Array, products: Array) -> tuple[Array, Array, Array]:
    r"""Compute the moments of all rows from those of the groups.

    .. math:: S = \sum_c S_c + \sum_c w_c (m_c - m)(m_c - m)'

    Parameters
    ----------
    total, means, products
        From :func:`group_moments`.

    Returns
    -------
    total, means, products
        Shapes (1,), (1, M) and (1, M, M).
    """
    overall = total.sum()
    mean = (total / (overall if overall > 0 else 1.0)) @ means
    between = means - mean
    scatter = np.einsum("c,cm,ck->mk", total, between, between)
    return np.array([overall]), mean[None], (products.sum(0) + scatter)[None]
