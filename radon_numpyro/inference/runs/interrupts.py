"""Ctrl-C, SIGTERM and the time limit: when a run checks them, and when they end it at once.

Between blocks a run checks them (:meth:`Interrupts.check`), so that state and draws are consistent.
While Python traces a program or waits for the compiler, nothing can be lost, and they raise at once
(:meth:`Interrupts.at_once`). After the last draw they do not disturb the remaining work
(:meth:`Interrupts.deferred`).
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import FrameType
from typing import Any

# Seconds between checks of the watching thread for a reason to interrupt the main thread.
LOOK = 0.2


class Interrupts:
    """The reasons for a run to end: a signal, or the time limit.

    Attributes
    ----------
    noted
        Whether a signal has arrived.
    """

    def __init__(self) -> None:
        self.noted = False
        self.allow(None, since=0.0)
        # A signal that has our handler; whether a signal raises now; whether _watch sent the next.
        self._handled: signal.Signals | None = None
        self._raising = self._woken = False

    def allow(self, max_seconds: float | None, *, since: float) -> None:
        """Set the time limit.

        Parameters
        ----------
        max_seconds
            Time limit in seconds; None for no limit.
        since
            Start of the time, by :func:`time.monotonic`.
        """
        self._max_seconds = float("inf") if max_seconds is None else max_seconds
        self._ends_at = since + self._max_seconds

    def check(self) -> None:
        """Raise KeyboardInterrupt after a signal, or TimeoutError after the time limit."""
        if self.noted:
            raise KeyboardInterrupt
        if time.monotonic() > self._ends_at:
            raise TimeoutError(
                f"Expected the first draw within max_seconds={self._max_seconds:g}; got none yet. "
                "Allow more: programs of ADVI and NUTS are traced and compiled before they run"
            )

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Return a context in which a signal or the time limit raises an exception at once.

        A signal that arrived earlier raises on entering. Python runs signal handlers only in the
        main thread, and only between two bytecode instructions. Therefore in another thread, or if
        the caller has set the handlers, only entering and :meth:`check` raise.
        """
        self.check()
        main = threading.current_thread() is threading.main_thread()
        if self._handled is None or not main or self._raising:
            yield
            return
        left, hook = threading.Event(), sys.unraisablehook
        watch = threading.Thread(target=self._watch, args=(left,), daemon=True)

        def unraisable(lost: Any) -> None:
            # Not reported here, because _watch makes the exception be raised again.
            if not isinstance(lost.exc_value, KeyboardInterrupt | TimeoutError):
                hook(lost)

        sys.unraisablehook = unraisable
        self._raising = True
        try:
            watch.start()
            yield
        finally:
            self._raising = False
            sys.unraisablehook = hook
            left.set()
            watch.join()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Return a context in which :func:`at_once` has no effect; a second signal interrupts."""
        self._raising = False
        token = _CURRENT.set(None)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def _watch(self, left: threading.Event) -> None:
        """Interrupt the main thread when the run must end, until it has left the context.

        A single interrupt is not enough: an exception from a signal handler is lost if it occurs in
        a callback of the garbage collector or of a weak reference, as JAX has. Python then only
        reports it.
        """
        while not left.wait(LOOK) and self._raising and self._handled is not None:
            if self.noted or time.monotonic() > self._ends_at:
                self._woken = True
                _thread.interrupt_main(self._handled)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self._woken:
            # This signal is from _watch. Ignore it if the context has been left in the meantime.
            self._woken = False
            if self._raising:
                self.check()
            return
        again, self.noted = self.noted, True
        if again or self._raising:
            raise KeyboardInterrupt


_CURRENT: ContextVar[Interrupts | None] = ContextVar("interrupts", default=None)


def check() -> None:
    """Call :meth:`Interrupts.check` of the current run of this thread, if there is one."""
    current = _CURRENT.get()
    if current is not None:
        current.check()


def at_once() -> Any:
    """Return :meth:`Interrupts.at_once` of the current run of this thread.

    Returns
    -------
    context manager
        Outside a run, or while it defers signals, the context has no effect.
    """
    current = _CURRENT.get()
    return nullcontext() if current is None else current.at_once()


@contextmanager
def noted_interrupts() -> Iterator[Interrupts]:
    """Return a context in which the first Ctrl-C or SIGTERM is noted and a second one interrupts.

    An exception in the middle of a step could lose the step. A noted signal is checked only when
    state and draws are consistent. Handlers that the caller has set are not changed. In other
    threads than the main thread nothing is changed, because only the main thread may set handlers.
    On leaving, the earlier handlers are restored.

    Yields
    ------
    Interrupts
        The signals so far; :func:`check` and :func:`at_once` use this object inside the context.
    """
    interrupts = Interrupts()
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        before = {n: handler for n, handler in usual.items() if signal.getsignal(n) == handler}
    token = _CURRENT.set(interrupts)
    try:
        for number in before:
            signal.signal(number, interrupts._note)
        # Not always SIGINT: a shell starts background jobs with Ctrl-C ignored.
        interrupts._handled = next(iter(before), None)
        yield interrupts
    finally:
        interrupts._handled, interrupts._raising = None, False
        for number, handler in before.items():
            signal.signal(number, handler)
        _CURRENT.reset(token)
