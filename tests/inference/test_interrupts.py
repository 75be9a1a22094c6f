"""Signals are noted where it is safe, nothing is left installed, and nobody else's is touched."""

import contextlib
import os
import signal
import sys
import threading
import time

import pytest

from radon_numpyro.inference.runs import interrupts
from radon_numpyro.inference.runs.interrupts import at_once, check, noted_interrupts

SIGNALS = [signal.SIGINT, signal.SIGTERM]


pytestmark = pytest.mark.usefixtures("usual_handlers")


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_is_noted_and_the_second_interrupts(number):
    with noted_interrupts() as noted:
        noted.check()
        os.kill(os.getpid(), number)
        assert noted.noted
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            noted.check()
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            os.kill(os.getpid(), number)


def test_handlers_come_back_whatever_happens():
    with noted_interrupts():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    with pytest.raises(ZeroDivisionError, match="zero"), noted_interrupts():
        1 / 0  # noqa: B018
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("number", SIGNALS)
def test_a_handler_of_the_caller_is_left_alone(number):
    seen = []
    signal.signal(number, lambda *_: seen.append(number))
    with noted_interrupts() as noted:
        os.kill(os.getpid(), number)
    assert seen == [number]
    assert not noted.noted


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with noted_interrupts() as noted:
        os.kill(os.getpid(), signal.SIGINT)
    assert not noted.noted


def test_other_threads_set_no_handlers():
    found = []

    def look():
        with noted_interrupts() as noted:
            noted.check()
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


# At once


def interrupted(number=signal.SIGINT):
    """A signal, and Python at work after it."""
    os.kill(os.getpid(), number)
    busy()


def busy(seconds=20.0):
    """Python at work, as when it traces a program."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        pass


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_at_once(number):
    with noted_interrupts() as noted:
        with pytest.raises(KeyboardInterrupt, match=r"^$"), at_once():
            interrupted(number)
        assert noted.noted
        # And what is noted, when one comes there.
        with pytest.raises(KeyboardInterrupt), at_once():
            pytest.fail("it went on")


def test_the_end_of_the_time_raises_at_once():
    with noted_interrupts() as noted:
        noted.allow(0.3, since=time.monotonic())
        with pytest.raises(TimeoutError, match=r"within max_seconds=0\.3"), at_once():
            busy()
        assert not noted.noted
        with pytest.raises(TimeoutError):
            check()
        noted.allow(None, since=time.monotonic())
        with at_once():
            check()


def test_an_exception_that_is_lost_is_raised_again():
    def lost():
        with contextlib.suppress(KeyboardInterrupt):
            interrupted()
        busy()

    with noted_interrupts(), pytest.raises(KeyboardInterrupt), at_once():
        lost()


def test_an_exception_that_python_ignores_is_raised_again_and_not_reported(capfd):
    class Collected:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)

    def lost():
        Collected()
        busy()

    hook = sys.unraisablehook
    with noted_interrupts(), pytest.raises(KeyboardInterrupt), at_once():
        lost()
    assert sys.unraisablehook is hook
    assert capfd.readouterr().err == ""


def test_a_wake_up_that_comes_too_late_is_no_signal():
    with noted_interrupts() as noted:
        noted._woken = True
        signal.raise_signal(signal.SIGINT)
        assert not noted.noted
        signal.raise_signal(signal.SIGINT)
        assert noted.noted


def test_the_time_that_ends_as_the_context_is_left_disturbs_nobody(monkeypatch):
    """Many times, with the end of the time and of the context at about the same moment."""
    monkeypatch.setattr(interrupts, "LOOK", 0.001)
    for k in range(100):
        with contextlib.suppress(TimeoutError), noted_interrupts() as noted:
            noted.allow(0.0105, since=time.monotonic())
            with at_once():
                busy(0.01 + 1e-5 * k)
        busy(0.001)
    assert threading.active_count() < 50


def test_after_the_draws_only_a_second_signal_raises():
    with noted_interrupts() as noted, noted.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        with at_once():
            check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert noted.noted


def test_outside_of_a_run_signals_do_what_python_has_them_do():
    check()
    with pytest.raises(KeyboardInterrupt), at_once():
        interrupted()


def test_a_handler_of_the_caller_is_called_at_once_and_the_time_still_looked_at():
    seen = []
    for number in SIGNALS:
        signal.signal(number, lambda *_: seen.append(1))
    with noted_interrupts() as noted:
        noted.allow(0.3, since=time.monotonic())
        with at_once():
            os.kill(os.getpid(), signal.SIGINT)
            busy(0.5)
        with pytest.raises(TimeoutError), at_once():
            pytest.fail("it went on")
    assert seen == [1]


def test_where_ctrl_c_is_ignored_sigterm_and_the_time_raise_at_once():
    """As in a background job of a shell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with noted_interrupts() as noted:
        noted.allow(0.3, since=time.monotonic())
        with pytest.raises(TimeoutError), at_once():
            busy()
        noted.allow(None, since=time.monotonic())
        with pytest.raises(KeyboardInterrupt), at_once():
            interrupted(signal.SIGTERM)
