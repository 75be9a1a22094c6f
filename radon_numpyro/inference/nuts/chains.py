"""Run all chains once, block by block: warm-up, draws, and the rules that end them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from radon_numpyro.inference.nuts import blocks
from radon_numpyro.inference.nuts.effective_size import EssTarget
from radon_numpyro.inference.runs.array_files import Arrays
from radon_numpyro.inference.runs.run_control import (
    ALL_DRAWS,
    INTERRUPTED,
    MAX_SECONDS,
    TARGET_ESS,
    Run,
)
from radon_numpyro.inference.settings import Settings


@dataclass(frozen=True)
class Drawn:
    """The result of one run of the chains.

    Attributes
    ----------
    target_accept_prob
        Target acceptance probability of the step size adaptation.
    states
        States of the chains after the last iteration.
    stats
        Position and statistics of each draw, each of shape (chains, draws, ...); empty if there are
        no draws.
    warmup_gradients
        Gradient evaluations of the warm-up, over all chains.
    stopped_by
        Why the run ended: one of the constants in ``inference/runs/run_control.py``.
    end
        The exception that ended the run early: an interrupt or the time limit; else None.
    """

    target_accept_prob: float
    states: tuple[Any, ...]
    stats: Mapping[str, np.ndarray]
    warmup_gradients: int
    stopped_by: str
    end: KeyboardInterrupt | TimeoutError | None = None

    @property
    def draws(self) -> int:
        """Number of draws of each chain."""
        return self.stats["n_steps"].shape[1] if self.stats else 0

    @property
    def divergences(self) -> int:
        """Number of divergent transitions among the draws of all chains."""
        return int(self.stats["diverging"].sum()) if self.stats else 0

    @property
    def again(self) -> bool:
        """Whether to repeat with shorter steps: the run is complete and finite, but diverged."""
        finite = self.end is None and bool(np.isfinite(self.stats["position"]).all())
        return finite and self.divergences > 0

    @property
    def gradients(self) -> int:
        """Number of gradient evaluations of warm-up and draws, over all chains."""
        return self.warmup_gradients + (int(self.stats["n_steps"].sum()) if self.stats else 0)


def run_chains(
    part: str,
    states: tuple[Any, ...],
    arguments: tuple[Any, ...],
    settings: Settings,
    run: Run,
    bar: Any,
    *,
    prepare: Callable[[], None],
    pace: blocks.Pace,
    target: EssTarget | None,
    target_accept_prob: float,
    **fixed: Any,
) -> Drawn:
    """Warm up and sample. If sampling ends early, the draws so far are kept.

    Parameters
    ----------
    part
        Name of this part of the run, in lower-case letters.
    states
        From :func:`radon_numpyro.inference.nuts.blocks.begin`.
    arguments
        Data, priors and units, as the blocks take them.
    settings, run
        Settings, and the control of the run, which saves the blocks and may end them.
    bar
        A progress bar.
    prepare
        Function that compiles the program for the sites of the draws. It is called before the first
        draw, so that an early end need not wait for it.
    pace
        The lengths of the blocks.
    target
        The criterion for enough draws, if ``target_ess`` is given.
    target_accept_prob, **fixed
        Further settings of the blocks.
    """
    num_warmup, total = settings.num_warmup, settings.num_warmup + settings.draws
    draws: list[dict[str, np.ndarray]] = []
    done, warmup_gradients, diverging = 0, 0, 0
    stopped_by, ended = ALL_DRAWS, None

    def advance(states: Any) -> tuple[Any, Arrays]:
        started = time.monotonic()
        length = min(pace.length, left)
        if target is not None and done >= num_warmup:
            length = min(length, target.due)
        states, records = blocks.advance(
            states, length, *arguments, target_accept_prob=target_accept_prob, **fixed
        )
        # Of the warm-up only n_steps is used.
        names = ("n_steps",) if done < num_warmup else tuple(records[0])
        record = {name: blocks.recorded(records, name, length) for name in names}
        pace.took(length, time.monotonic() - started)
        return states, record

    try:
        while done < total:
            warming = done < num_warmup
            left = (num_warmup if warming else total) - done
            if not warming and not draws:
                prepare()
            states, kept = run.step(part, states, advance)
            # A block from a checkpoint may have more draws than are requested now.
            record = {name: values[:, :left] for name, values in kept.items()}
            length = record["n_steps"].shape[1]
            done += length
            phase = "warm-up"
            if warming:
                warmup_gradients += int(record["n_steps"].sum())
            else:
                draws.append(record)
                diverging += int(record["diverging"].sum())
                phase = f"{diverging} divergences"
            bar.set_postfix_str(f"{phase}, tree size {record['n_steps'].mean():.0f}", refresh=False)
            bar.update(length)
            if target is not None and not warming:
                enough = target.reached(record["position"])
                if enough is not None:
                    surplus = done - num_warmup - enough
                    draws[-1] = {name: v[:, : length - surplus] for name, v in record.items()}
                    stopped_by = TARGET_ESS
                    break
    except (KeyboardInterrupt, TimeoutError) as end:
        stopped_by = INTERRUPTED if isinstance(end, KeyboardInterrupt) else MAX_SECONDS
        ended = end
    names = tuple(draws[0]) if draws else ()
    stats = {name: np.concatenate([d[name] for d in draws], axis=1) for name in names}
    return Drawn(target_accept_prob, states, stats, warmup_gradients, stopped_by, ended)
