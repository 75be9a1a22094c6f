"""Signals are noted where it is safe, nothing is left installed, and nobody else's is touched."""

import os
import signal
import threading

import pytest

from radon_numpyro.interrupts import noted_interrupts

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def usual_handlers():
    """Whoever runs the tests may have set others."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_is_noted_and_the_second_interrupts(number):
    with noted_interrupts() as interrupts:
        interrupts.check()
        os.kill(os.getpid(), number)
        assert interrupts.noted
        with pytest.raises(KeyboardInterrupt, match=r"^$"):
            interrupts.check()
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
    with noted_interrupts() as interrupts:
        os.kill(os.getpid(), number)
    assert seen == [number]
    assert not interrupts.noted


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with noted_interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
    assert not interrupts.noted


def test_other_threads_set_no_handlers():
    found = []

    def look():
        with noted_interrupts() as interrupts:
            interrupts.check()
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]
