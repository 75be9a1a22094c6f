"""Ctrl-C, SIGTERM and the time limit: when a run looks at them, and when they end it at once.

Between the blocks of a run they are looked at (:meth:`Interrupts.check`), so that state and draws
belong together. While Python traces a program or waits for the compiler there is nothing to lose:
there they raise at once (:meth:`Interrupts.at_once`). When the draws are taken, what is still to
do with them is not disturbed (:meth:`Interrupts.deferred`).
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

# How often a thread beside looks whether the main one is to be interrupted.
LOOK = 0.2


class Interrupts:
    """Whether a run is to end: by a signal, or because its time is up.

    Attributes
    ----------
    noted
        Whether a signal has come.
    """

    def __init__(self) -> None:
        self.noted = False
        self.allow(None, since=0.0)
        # A signal that has our handler; whether one raises now; whether the next is from _watch.
        self._handled: signal.Signals | None = None
        self._raising = self._woken = False

    def allow(self, max_seconds: float | None, *, since: float) -> None:
        """Set the time allowed.

        Parameters
        ----------
        max_seconds
            None: as long as it takes.
        since
            Begin of the time, by :func:`time.monotonic`.
        """
        self._max_seconds = float("inf") if max_seconds is None else max_seconds
        self._ends_at = since + self._max_seconds

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come, TimeoutError if the time is up."""
        if self.noted:
            raise KeyboardInterrupt
        if time.monotonic() > self._ends_at:
            raise TimeoutError(
                f"Expected the first draw within max_seconds={self._max_seconds:g}; got none yet. "
                "Allow more: programs of ADVI and NUTS are traced and compiled before they run"
            )

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Context that a signal or the end of the time leaves by an exception, wherever it is.

        What has come before raises on entering. Python runs handlers of signals in the main thread
        alone, and between two of its own instructions. So in another thread, and where the handlers
        are the caller's own, only entering and :meth:`check` raise.
        """
        self.check()
        main = threading.current_thread() is threading.main_thread()
        if self._handled is None or not main or self._raising:
            yield
            return
        left, hook = threading.Event(), sys.unraisablehook
        watch = threading.Thread(target=self._watch, args=(left,), daemon=True)

        def unraisable(lost: Any) -> None:
            # _watch sees to it that it is raised again.
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
        """Context in which :func:`at_once` does nothing; a second signal still interrupts."""
        self._raising = False
        token = _CURRENT.set(None)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def _watch(self, left: threading.Event) -> None:
        """Interrupt the main thread when it is to end, again and again until it has.

        An exception out of a handler is lost where it comes in a callback of the garbage collector
        or of a weak reference, of which JAX has some: Python reports it and goes on.
        """
        while not left.wait(LOOK) and self._raising and self._handled is not None:
            if self.noted or time.monotonic() > self._ends_at:
                self._woken = True
                _thread.interrupt_main(self._handled)

    def _note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self._woken:
            # From _watch. If the context has been left meanwhile, it is of no account.
            self._woken = False
            if self._raising:
                self.check()
            return
        again, self.noted = self.noted, True
        if again or self._raising:
            raise KeyboardInterrupt


_CURRENT: ContextVar[Interrupts | None] = ContextVar("interrupts", default=None)


def check() -> None:
    """:meth:`Interrupts.check` of the run that this thread is in, if it is in one."""
    current = _CURRENT.get()
    if current is not None:
        current.check()


def at_once() -> Any:
    """:meth:`Interrupts.at_once` of the run that this thread is in.

    Returns
    -------
    context manager
        Outside of a run, or where it defers, one that does nothing: signals do what Python or the
        caller has them do.
    """
    current = _CURRENT.get()
    return nullcontext() if current is None else current.at_once()


@contextmanager
def noted_interrupts() -> Iterator[Interrupts]:
    """Context in which the first Ctrl-C or SIGTERM is noted, and a second interrupts at once.

    An exception in the middle of a step could lose it; a note is looked at when state and draws
    belong together. Handlers that the caller has set himself are left alone, and so are the
    signals of a process whose main thread is another: only the main thread may set handlers. On
    leaving, the handlers are those that were there before.

    Yields
    ------
    Interrupts
        What has been noted; inside, it is that of :func:`check` and :func:`at_once`.
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
        # A shell starts its background jobs with Ctrl-C ignored.
        interrupts._handled = next(iter(before), None)
        yield interrupts
    finally:
        interrupts._handled, interrupts._raising = None, False
        for number, handler in before.items():
            signal.signal(number, handler)
        _CURRENT.reset(token)
