"""Have enough draws been taken? The worst effective sample size, looked at now and then.

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
    """A target for the worst effective sample size, bulk or tail, of any entry of any site.

    It is looked at after whole hundreds of draws: after the first, then when the target will be
    reached at the rate so far, but at least a tenth further and at most twice as far. All looks
    together take a few times as long as the last. When they are due depends on the draws alone,
    not on the clock nor on the blocks that the draws come in.

    Parameters
    ----------
    target
        Effective draws wanted.
    sites
        From 100 positions of each chain, shape (chains, 100, D), to the sites that count, each of
        shape (chains, 100, ...).
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
        """Draws of each chain from now to the next look, at least one."""
        return self._look - STEP * len(self._sites) - sum(w.shape[1] for w in self._waiting)

    def reached(self, position: np.ndarray) -> int | None:
        """Add draws of each chain, and say how many in all reach the target.

        Parameters
        ----------
        position
            Shape (chains, any number, D).

        Returns
        -------
        int or None
            Draws of each chain, of all added so far; None if the target is not reached.
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
    """Smallest bulk or tail effective sample size of any entry; NaN if any has none.

    Tails are the quantiles of 5 % and 95 %, whatever ArviZ is set to.

    Parameters
    ----------
    draws
        By site, each of shape (chains, draws, ...).
    """
    flat = np.concatenate([v.reshape(*v.shape[:2], -1) for v in draws.values()], axis=2)
    flat = np.where(np.isfinite(flat), flat, np.nan).astype(np.float64)
    axes = {"chain_axis": 0, "draw_axis": 1}
    with np.errstate(invalid="ignore"):
        bulk = array_stats.ess(flat, **axes, method="bulk")
        tail = array_stats.ess(flat, **axes, method="tail", prob=TAILS)
    return float(np.min([bulk, tail]))
