"""Processes that wait for long work of one of them, for as long as it takes."""

from __future__ import annotations

from contextlib import contextmanager

from segtune.training import processes as module
from segtune.training.processes import Processes


def _two(monkeypatch, said):
    """Two processes of which the other one says these words, in their order; return what this one says."""
    own = []

    def any_of_both(self, flag):
        own.append(flag)
        return flag or said.pop(0)

    monkeypatch.setattr(Processes, "any", any_of_both)
    return own


def test_who_waits_hears_that_the_other_is_at_work(monkeypatch):
    """It waits until both have come as far."""
    own = _two(monkeypatch, [True, True, False, True])
    Processes(1, 2).wait_while_busy()
    assert own == [False] * 3


def test_who_is_at_work_says_so_once_in_a_while(monkeypatch):
    """Every minute, not with every item; nothing is changed in the work."""
    own = _two(monkeypatch, [])
    times = iter(range(0, 10_000, 25))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    assert list(Processes(0, 2).busy(range(7))) == list(range(7))
    assert own == [True, True]


def test_long_work_that_reports_its_progress_is_heard_of(monkeypatch):
    """Each step may tell; whoever looked on before still sees all of it."""
    own, seen = _two(monkeypatch, []), []
    times = iter(range(0, 10_000, 25))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))

    class Watching:
        @contextmanager
        def stage(self, name, total=None):
            seen.append((name, total))
            yield lambda n=1, note="": seen.append((n, note))

        def say(self, text):
            seen.append(text)

    heard = Processes(0, 2).busy_with(Watching())
    heard.say("long")
    with heard.stage("look", 7) as advance:
        for _ in range(6):
            advance()
        advance(2, "done")
    assert seen == ["long", ("look", 7), *[(1, "")] * 6, (2, "done")]
    assert own == [True, True]


def test_alone_nobody_is_told(monkeypatch):
    """And nothing is waited for."""
    own = _two(monkeypatch, [])
    monkeypatch.setattr(module, "_SIGN_OF_LIFE", -1.0)
    assert list(Processes().busy("ab")) == ["a", "b"]
    assert own == []
    monkeypatch.undo()
    Processes().wait_while_busy()
