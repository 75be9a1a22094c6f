"""Threads that compile, so that a signal or the time limit need not wait for the compiler.

XLA cannot be stopped. Its threads are daemons: a run that ends leaves them behind, and a process
that ends does not wait for them.
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
# Programs compiled ahead at the same time.
AHEAD = 2


class Compilation:
    """A program that is compiled once, in a thread of its own or in turn with others.

    Parameters
    ----------
    lowered
        What ``jax.jit(...).lower(...)`` gives.

    Attributes
    ----------
    shapes
        Of what the program gives, as ``lowered.out_info``.
    ready
        Whether it has been compiled, without an error.
    """

    def __init__(self, lowered: Any) -> None:
        self.shapes = lowered.out_info
        self.ready = False
        # JAX finds the compiled program by its own caches, as long as somebody holds it.
        self._held = lowered
        self._claimed, self._done = threading.Lock(), threading.Event()
        self._error: BaseException | None = None

    @property
    def failed(self) -> bool:
        """Whether the compiler has raised an error."""
        return self._error is not None

    def run(self) -> None:
        """Compile in this thread, unless another one does."""
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
        """Wait until it is compiled; if its turn has not come, it begins now.

        Raises
        ------
        KeyboardInterrupt, TimeoutError
            If the run is to end; the compiler goes on in its thread.
        Exception
            What the compiler raised.
        """
        if not self._claimed.locked():
            threading.Thread(target=self.run, name="compile", daemon=True).start()
        with interrupts.at_once():
            while not self._done.wait(POLL):
                interrupts.check()
        if self._error is not None:
            raise self._error

    def release(self) -> None:
        """Let the program go, which JAX's caches hold from its first call on."""
        self._held = None


_RUNNING: set[Compilation] = set()
_LINE: deque[Compilation] = deque()
_LOCK = threading.Lock()
_workers = 0


def compile_in_turn(compilation: Compilation) -> None:
    """Compile in another thread when those before are done, a few at a time.

    Parameters
    ----------
    compilation
        What to compile.
    """
    global _workers
    with _LOCK:
        _LINE.append(compilation)
        if _workers == AHEAD:
            return
        _workers += 1
    threading.Thread(target=_work, name="compile ahead", daemon=True).start()


def forget_line() -> None:
    """Drop what waits for its turn: it is compiled when, and if, it is called."""
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
    """Say what the process is about to end with, for the case that a program is being compiled.

    Parameters
    ----------
    status
        As of :func:`sys.exit`.
    """
    global _exit_status
    _exit_status = status


@cache
def _leave_threads_at_exit() -> None:
    """Register :func:`_leave_threads`: after JAX's own, so that it is called before."""
    atexit.register(_leave_threads)


def _leave_threads() -> None:
    """End the process where XLA would abort it: its threads find no interpreter to come back to.

    With the status that it would end with. What a caller gives to ``sys.exit`` cannot be known
    here; then Python goes on as it does.
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
