"""Draws by NUTS, and what the sampler says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from radon_numpyro.inference.runs.run_control import is_complete


@dataclass(frozen=True)
class NUTSResult:
    """Draws and what the sampler says of them.

    Attributes
    ----------
    draws
        Draws of each site in its own (constrained) space, shape (chains, draws, ...).
    stats
        Sampler statistics by ArviZ's names, each of shape (chains, draws).
    inverse_mass_matrix
        Adapted diagonal in the sampler's coordinates, shape (chains, D).
    warmup_gradients
        Gradient evaluations that gave none of the draws kept, all chains: those of the warm-up, and
        all of other runs.
    stopped_by
        Why sampling ended: ``"all draws taken"``, ``"target_ess reached"``, ``"max_seconds"`` or
        ``"interrupted"``.
    method, chain_method
        Parametrisation, and how the chains were run.
    num_warmup, max_tree_depth, seed
        Warm-up iterations of each chain, doublings allowed, and the seed.
    target_accept_prob
        Acceptance probability that the step sizes of the draws kept were tuned to.
    earlier_runs
        Runs before, each of which diverged: its ``target_accept_prob``, ``draws`` of each chain
        and ``divergences``.
    unfinished_run
        A run after it that was ended early, and its draws left aside: the same of it.
    coefficients
        Where draws of alpha and beta were not kept: their ``(mean, sd)``, shaped as the site.
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
        """Whether the draws asked for were taken, or as many as reach ``target_ess``.

        Not where they diverged and another run was ended early: there is something left to do.
        """
        return is_complete(self.stopped_by)

    def attributes(self) -> dict[str, Any]:
        """What a result records of how it was drawn."""
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
