"""The result of NUTS: draws and statistics of the sampler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from radon_numpyro.inference.runs.run_control import is_complete


@dataclass(frozen=True)
class NUTSResult:
    """Draws and statistics of the sampler.

    Attributes
    ----------
    draws
        Draws of each site in the constrained space, shape (chains, draws, ...), in the unit of the
        site.
    stats
        Sampler statistics by ArviZ's names, each of shape (chains, draws).
    inverse_mass_matrix
        Adapted diagonal in the sampler's coordinates, shape (chains, D).
    warmup_gradients
        Gradient evaluations over all chains that are not part of the draws: those of the warm-up,
        and those of other runs.
    stopped_by
        Why sampling ended: ``"all draws taken"``, ``"target_ess reached"``, ``"max_seconds"`` or
        ``"interrupted"``.
    method, chain_method
        Parametrisation, and how the chains were run.
    num_warmup, max_tree_depth, seed
        Warm-up iterations of each chain, maximum number of doublings, and the seed.
    target_accept_prob
        Target acceptance probability of the run that gave the draws.
    earlier_runs
        Earlier runs, which diverged. Each has its ``target_accept_prob``, ``draws`` of each chain
        and ``divergences``.
    unfinished_run
        The same facts of a later run that ended early and whose draws were discarded, or None.
    coefficients
        ``(mean, sd)`` of alpha and beta, with the shape of the site, if their draws were not kept.
    """

    draws: Mapping[str, np.ndarray]
    stats: Mapping[str, np.ndarray]
    inverse_mass_matrix: np.ndarray
    warmup_gradients: int
    stopped_by: str
    method: str
    chain_method: str
    num_warmup: int
    max_tree_depth: int
    seed: int
    target_accept_prob: float
    earlier_runs: tuple[Mapping[str, Any], ...] = ()
    unfinished_run: Mapping[str, Any] | None = None
    coefficients: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all requested draws were taken, or enough to reach ``target_ess``.

        False also if the draws diverged and the next run ended early, because then that run can be
        continued.
        """
        return is_complete(self.stopped_by)

    def attributes(self) -> dict[str, Any]:
        """Return the attributes that a result stores about the draws."""
        made = {
            "method": self.method,
            "seed": self.seed,
            "complete": int(self.complete),
            "stopped_by": self.stopped_by,
            "num_warmup": self.num_warmup,
            "warmup_gradients": self.warmup_gradients,
            "sampling_gradients": int(self.stats["n_steps"].sum()),
            "chain_method": self.chain_method,
            "max_tree_depth": self.max_tree_depth,
            "target_accept_prob": self.target_accept_prob,
            "earlier_runs": json.dumps(self.earlier_runs),
        }
        if self.unfinished_run is not None:
            made["unfinished_run"] = json.dumps(self.unfinished_run)
        return made
