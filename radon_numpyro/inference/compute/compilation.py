"""Compile in threads, so that a signal or the time limit need not wait for the compiler.

A compilation by XLA cannot be stopped. Its thread is a daemon: a run that ends leaves it running,
and a process that ends does not wait for it.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections import deque
from contextlib import suppress
from functools import cache
from typing import Any

from radon_numpyro.inference.runs import interrupts

POLL = 0.1
# Number of programs that are compiled ahead at the same time.
AHEAD = 2


class Compilation:
    """A program that is compiled once, in its own thread or in a queue with others.

    Parameters
    ----------
    lowered
        The result of ``jax.jit(...).lower(...)``.

    Attributes
    ----------
    shapes
        Shapes and dtypes of the results of the program, ``lowered.out_info``.
    ready
        Whether the compilation has finished without an error.
    """

    def __init__(self, lowered: Any) -> None:
        self.shapes = lowered.out_info
        self.ready = False
        # JAX's caches find the compiled program only while there is a reference to it.
        self._held = lowered
        self._claimed, self._done = threading.Lock(), threading.Event()
        self._error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether the compiler has raised an error."""
        return self._error is not None

    def run(self) -> None:
        """Compile in this thread, unless another thread has started to."""
        if not self._claimed.acquire(blocking=False):
            return
        _leave_threads_at_exit()
        _RUNNING.add(self)
        try:
            self._held = self._held.compile()
            self.ready = True
        except BaseException as error:
            self._error = error
        finally:
            _RUNNING.discard(self)
            self._done.set()

    def wait(self) -> None:
        """Wait for the compilation, and start it if it is still in the queue.

        Raises
        ------
        KeyboardInterrupt, TimeoutError
            If the run must end; the compiler continues in its thread.
        Exception
            The error of the compiler, if there was one.
        """
        if not self._claimed.locked():
            threading.Thread(target=self.run, name="compile", daemon=True).start()
        with interrupts.at_once():
            while not self._done.wait(POLL):
                interrupts.check()
        if self._error is not None:
            raise self._error

    def release(self) -> None:
        """Drop the reference to the program; after its first call JAX's caches hold one."""
        self._held = None


_RUNNING: set[Compilation] = set()
_LINE: deque[Compilation] = deque()
_LOCK = threading.Lock()
_workers = 0


def compile_in_turn(compilation: Compilation) -> None:
    """Add a compilation to the queue, of which other threads compile a few at a time.

    Parameters
    ----------
    compilation
        The compilation to add.
    """
    global _workers
    with _LOCK:
        _LINE.append(compilation)
        if _workers == AHEAD:
            return
        _workers += 1
    threading.Thread(target=_work, name="compile ahead", daemon=True).start()


def forget_line() -> None:
    """Empty the queue; a program that was in it is compiled at its first call."""
    _LINE.clear()


def _work() -> None:
    global _workers
    while True:
        with _LOCK:
            if not _LINE:
                _workers -= 1
                return
            compilation = _LINE.popleft()
        compilation.run()


_exit_status: int | None = None


def set_exit_status(status: int) -> None:
    """Set the exit status to use if the process ends while a program is being compiled.

    Parameters
    ----------
    status
        Exit status, as for :func:`sys.exit`.
    """
    global _exit_status
    _exit_status = status


@cache
def _leave_threads_at_exit() -> None:
    """Register :func:`_leave_threads` after JAX's exit handlers, so that it runs before them."""
    atexit.register(_leave_threads)


def _leave_threads() -> None:
    """End the process if a compilation is running, because otherwise XLA would abort it.

    XLA aborts when its threads return and the interpreter has ended. The exit status is the one set
    by :func:`set_exit_status`, or that of an uncaught exception. If neither is known, Python ends
    the process as usual, because the argument of ``sys.exit`` is not known here.
    """
    uncaught = getattr(sys, "last_exc", None)
    if not _RUNNING or (uncaught is None and _exit_status is None):
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    if _exit_status is None and isinstance(uncaught, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(1 if _exit_status is None else _exit_status)
