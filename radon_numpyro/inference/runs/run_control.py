"""What happens between the compiled blocks of a run: keeping, interrupts, the clock and the bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self

from threadpoolctl import threadpool_limits

from radon_numpyro.inference.runs.interrupts import Interrupts, noted_interrupts

if TYPE_CHECKING:
    from tqdm.auto import tqdm

    from radon_numpyro.inference.runs.array_files import Arrays
    from radon_numpyro.inference.runs.checkpoint import Checkpoint

ALL_DRAWS = "all draws taken"
TARGET_ESS = "target_ess reached"
MAX_SECONDS = "max_seconds"
INTERRUPTED = "interrupted"


def is_complete(stopped_by: str) -> bool:
    """Whether a run that ended so has what it was asked for.

    Parameters
    ----------
    stopped_by
        Why it ended, in one of the words above.
    """
    return stopped_by in (ALL_DRAWS, TARGET_ESS)


class Run:
    """A run of one or more parts, each a loop of steps.

    In its context Ctrl-C and SIGTERM end the run between two steps, and at once while a program is
    traced or compiled; and BLAS, which JAX calls for matrices of one model at a time, keeps to one
    thread: more of them take up to a hundred times as long, since they wait for each other.

    Parameters
    ----------
    max_seconds
        Time allowed, from now on.

    Attributes
    ----------
    checkpoint
        Where the steps are kept, if they are.
    resumed
        Whether steps were taken from there.
    """

    def __init__(self, *, max_seconds: float | None = None) -> None:
        self.checkpoint: Checkpoint | None = None
        self.resumed = False
        self._started, self._max_seconds = time.monotonic(), max_seconds
        self._interrupts = Interrupts()
        self.allow(max_seconds)
        self._noting: AbstractContextManager[Interrupts] = noted_interrupts()

    def __enter__(self) -> Self:
        self._interrupts = self._noting.__enter__()
        self._blas = threadpool_limits(1, user_api="blas")
        self.allow(self._max_seconds)
        return self

    def __exit__(self, *error: Any) -> None:
        self._blas.restore_original_limits()
        self._noting.__exit__(*error)

    def allow(self, max_seconds: float | None) -> None:
        """Set the time allowed, since the run was begun.

        Parameters
        ----------
        max_seconds
            None: as long as it takes.
        """
        self._max_seconds = max_seconds
        self._interrupts.allow(max_seconds, since=self._started)

    def at_once(self) -> AbstractContextManager[None]:
        """Context in which a signal, or the end of the time, ends the run at once."""
        return self._interrupts.at_once()

    def deferred(self) -> AbstractContextManager[None]:
        """Context of what is done with the draws taken: only a second signal ends it."""
        return self._interrupts.deferred()

    def step(
        self, part: str, state: Any, advance: Callable[[Any], tuple[Any, Arrays]]
    ) -> tuple[Any, Arrays]:
        """The next step of a part: from the checkpoint if it has it, else computed and kept.

        Parameters
        ----------
        part
            Name of the part, in lower-case letters.
        state
            State before the step.
        advance
            From a state to the next one and a record of arrays.

        Returns
        -------
        state, record
            As ``advance`` gives them; of steps from the checkpoint, always the latest state.

        Raises
        ------
        KeyboardInterrupt, TimeoutError
            Instead of computing a step, when it is time to end.
        """
        if self.checkpoint is not None:
            kept = self.checkpoint.replay(part, state)
            if kept is not None:
                self.resumed = True
                return kept
        self._interrupts.check()
        state, record = advance(state)
        if self.checkpoint is not None:
            self.checkpoint.add(part, state, record)
        return state, record


def progress(*, total: int, shown: bool, unit: str, desc: str) -> tqdm:
    """A bar, which shows nothing unless it is asked for and standard error can show it.

    Parameters
    ----------
    total
        How far the run goes.
    shown
        Whether the caller asks for a bar.
    unit, desc
        What is counted, and the words before the bar.
    """
    from tqdm.auto import tqdm

    return tqdm(total=total, disable=not (shown and watched()), unit=unit, desc=desc)


def watched() -> bool:
    """Whether standard error is a terminal or the output of a notebook, not a file or a pipe."""
    stream = sys.stderr
    # The stream of a notebook's kernel says that it is no terminal.
    if type(stream).__module__.partition(".")[0] == "ipykernel":
        return True
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        # None in a program without a console; closed in a daemon.
        return False
