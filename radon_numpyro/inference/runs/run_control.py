"""Control between the compiled blocks of a run: checkpoint, interrupts, time limit, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, Self

from threadpoolctl import ThreadpoolController

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
    """Return whether a run with this reason to end has all that was requested.

    Parameters
    ----------
    stopped_by
        One of ``ALL_DRAWS``, ``TARGET_ESS``, ``MAX_SECONDS`` and ``INTERRUPTED``.
    """
    return stopped_by in (ALL_DRAWS, TARGET_ESS)


@lru_cache(maxsize=1)
def _libraries(num_modules: int) -> ThreadpoolController:
    """Return the loaded libraries that have threads.

    To find them takes milliseconds. New ones nearly always come with the import of a module.
    """
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Return a context in which BLAS uses one thread.

    It is called for small matrices, for which several threads wait for each other and take up to a
    hundred times as long.
    """
    # The limit holds from this call on, until the context ends.
    limit: AbstractContextManager[Any] = _libraries(len(sys.modules)).limit(
        limits=1, user_api="blas"
    )
    return limit


def with_one_blas_thread[**P, T](function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function so that it runs in :func:`one_blas_thread`.

    Parameters
    ----------
    function
        The function.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with one_blas_thread():
            return function(*args, **kwargs)

    return limited


class Run:
    """A run of one or more parts, each a loop of steps.

    In its context, Ctrl-C and SIGTERM end the run between two steps, or at once while a program is
    traced or compiled. BLAS uses one thread.

    Parameters
    ----------
    max_seconds
        Time limit in seconds from now.

    Attributes
    ----------
    checkpoint
        The checkpoint that saves the steps, or None.
    resumed
        Whether any steps came from the checkpoint.
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
        self._blas = one_blas_thread()
        self.allow(self._max_seconds)
        return self

    def __exit__(self, *error: Any) -> None:
        self._blas.__exit__(*error)
        self._noting.__exit__(*error)

    def allow(self, max_seconds: float | None) -> None:
        """Set the time limit, counted from the start of the run.

        Parameters
        ----------
        max_seconds
            Time limit in seconds; None for no limit.
        """
        self._max_seconds = max_seconds
        self._interrupts.allow(max_seconds, since=self._started)

    def at_once(self) -> AbstractContextManager[None]:
        """Return a context in which a signal or the time limit ends the run at once."""
        return self._interrupts.at_once()

    def deferred(self) -> AbstractContextManager[None]:
        """Return a context for work after the last draw, which only a second signal ends."""
        return self._interrupts.deferred()

    def step(
        self, part: str, state: Any, advance: Callable[[Any], tuple[Any, Arrays]]
    ) -> tuple[Any, Arrays]:
        """Return the next step of a part: from the checkpoint, or computed and saved.

        Parameters
        ----------
        part
            Name of the part, in lower-case letters.
        state
            State before the step.
        advance
            Function from a state to the next state and a record of arrays.

        Returns
        -------
        state, record
            The results of ``advance``. For steps from the checkpoint, the state is always the
            latest one.

        Raises
        ------
        KeyboardInterrupt, TimeoutError
            If the run must end before the step is computed.
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
    """Return a progress bar; it is visible only if requested and on a terminal or in a notebook.

    Parameters
    ----------
    total
        Number of units at the end of the run.
    shown
        Whether the caller requests a bar.
    unit, desc
        Name of the unit, and the text before the bar.
    """
    from tqdm.auto import tqdm

    return tqdm(total=total, disable=not (shown and watched()), unit=unit, desc=desc)


def watched() -> bool:
    """Return whether standard error is a terminal or a notebook, not a file or a pipe."""
    stream = sys.stderr
    # isatty is false in the kernel of a notebook.
    if type(stream).__module__.partition(".")[0] == "ipykernel":
        return True
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        # The stream is None in a program without a console, and closed in a daemon.
        return False
