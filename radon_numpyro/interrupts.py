"""Ctrl-C and SIGTERM, noted while compiled code runs and acted on between its blocks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any


@dataclass
class Interrupts:
    """Whether the process has been asked to stop.

    Attributes
    ----------
    noted
        Whether a signal has come.
    """

    noted: bool = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.noted:
            raise KeyboardInterrupt


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
        What has been noted.
    """
    interrupts = Interrupts()

    def note(number: int, frame: FrameType | None) -> None:
        if interrupts.noted:
            raise KeyboardInterrupt
        interrupts.noted = True

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        before = {n: handler for n, handler in usual.items() if signal.getsignal(n) == handler}
    try:
        for number in before:
            signal.signal(number, note)
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
