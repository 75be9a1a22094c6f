"""Statistics of rows with weights in which no row counts more than another by its precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from radon_numpyro.statistics.group_statistics import GroupStatistics


def with_equal_rows(statistics: GroupStatistics) -> GroupStatistics:
    r"""Return statistics in which the rows of each group together weigh as much as they are.

    .. math:: w_c \to n_c, \qquad S_c \to S_c\, n_c / w_c

    Within a group the rows keep their relative weights, because the statistics do not tell them
    apart. A single very precise row therefore does not decide on the mean and the spread of all.

    Parameters
    ----------
    statistics
        Statistics of rows with or without weights.
    """
    if statistics.weight is None:
        return statistics
    count, weight = np.asarray(statistics.count), np.asarray(statistics.weight)
    ratio = count / np.where(weight > 0, weight, 1.0)
    return replace(
        statistics,
        sxx=statistics.sxx * ratio[:, None, None],
        sxy=statistics.sxy * ratio[:, None],
        syy=statistics.syy * ratio,
        weight=count,
        log_weight=np.zeros_like(count),
    )
