"""Check at intervals whether the smallest effective sample size has reached a target.

References
----------
Vehtari, Gelman, Simpson, Carpenter and Buerkner (2021), Rank-normalization, folding, and
localization: an improved R-hat, doi:10.1214/20-BA1221.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from arviz_stats.base.array import array_stats

STEP = 100
TAILS = (0.05, 0.95)


class EssTarget:
    """A target for the smallest effective sample size, bulk or tail, of any entry of any site.

    It is checked after multiples of 100 draws. The first check is after 100 draws. The next one is
    when the target should be reached at the current rate, but after at least 1.1 and at most 2
    times the draws so far. All checks together take a few times as long as the last one. The times
    of the checks depend only on the draws, not on the clock or on the lengths of blocks.

    Parameters
    ----------
    target
        Target for the effective sample size.
    sites
        Function from 100 positions of each chain, shape (chains, 100, D), to the sites to check,
        each of shape (chains, 100, ...).
    """

    def __init__(
        self, target: float, sites: Callable[[np.ndarray], Mapping[str, np.ndarray]]
    ) -> None:
        self._target = target
        self._sites_of = sites
        self._waiting: list[np.ndarray] = []
        self._sites: list[Mapping[str, np.ndarray]] = []
        self._look = STEP

    @property
    def due(self) -> int:
        """Number of draws of each chain until the next check, at least one."""
        return self._look - STEP * len(self._sites) - sum(w.shape[1] for w in self._waiting)

    def reached(self, position: np.ndarray) -> int | None:
        """Add draws of each chain, and return how many draws reach the target.

        Parameters
        ----------
        position
            New positions, shape (chains, any number, D).

        Returns
        -------
        int or None
            Number of draws of each chain, counted from the first; None if the target is not
            reached.
        """
        waiting = np.concatenate([*self._waiting, position], axis=1)
        while waiting.shape[1] >= STEP:
            self._sites.append(self._sites_of(waiting[:, :STEP]))
            waiting = waiting[:, STEP:]
            taken = STEP * len(self._sites)
            if taken == self._look:
                least = smallest_ess(
                    {
                        name: np.concatenate([sites[name] for sites in self._sites], axis=1)
                        for name in self._sites[0]
                    }
                )
                if least >= self._target:
                    return taken
                further = self._target / least if least > 0 else 2.0
                further = min(max(further, 1.1), 2.0)
                self._look = STEP * math.ceil(further * taken / STEP)
        self._waiting = [waiting]
        return None


def smallest_ess(draws: Mapping[str, np.ndarray]) -> float:
    """Compute the smallest bulk or tail effective sample size of any entry; NaN if one has none.

    The tails are the 5 % and 95 % quantiles, independent of ArviZ's settings.

    Parameters
    ----------
    draws
        Draws by site, each of shape (chains, draws, ...).
    """
    flat = np.concatenate([v.reshape(*v.shape[:2], -1) for v in draws.values()], axis=2)
    flat = np.where(np.isfinite(flat), flat, np.nan).astype(np.float64)
    axes = {"chain_axis": 0, "draw_axis": 1}
    with np.errstate(invalid="ignore"):
        bulk = array_stats.ess(flat, **axes, method="bulk")
        tail = array_stats.ess(flat, **axes, method="tail", prob=TAILS)
    return float(np.min([bulk, tail]))
