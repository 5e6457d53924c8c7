"""Ctrl-C: the first asks, the second ends."""

import signal
import threading
from contextlib import suppress

import pytest

from segtune.runs.interrupt import StopOnInterrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks(number):
    """The work goes on until it looks at the flag."""
    with StopOnInterrupt() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
    assert stop()


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_ends_at_once(first):
    """Whoever does not want to wait is not made to, whichever signal asked before."""
    with StopOnInterrupt():
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_second_sigterm_changes_nothing():
    """A scheduler that repeats itself does not cut off the clean end it asked for."""
    with StopOnInterrupt() as stop:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert stop()


def test_the_caller_s_own_handling_comes_back():
    """After the block, left by an error too, signals are handled as before."""

    def own(number, frame):
        raise AssertionError("never called")

    before = {number: signal.signal(number, own) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with suppress(ZeroDivisionError), StopOnInterrupt():
            assert signal.getsignal(signal.SIGINT) is not own
            raise ZeroDivisionError
        assert [signal.getsignal(number) for number in before] == [own, own]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_in_a_thread_signals_are_left_alone():
    """Only the main thread may handle them: elsewhere a run starts all the same, and nobody asks it to stop."""
    before, found = signal.getsignal(signal.SIGINT), []

    def work():
        with StopOnInterrupt() as stop:
            found.extend([stop(), signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False, before]
