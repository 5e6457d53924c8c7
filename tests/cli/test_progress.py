"""Progress: silent where nobody looks, patient where somebody does."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from segtune.cli import output, progress
from segtune.core.progress import SILENT


def stand_in(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO) -> None:
    """Let a file stand for stderr, in tests that pytest captures besides."""
    system = SimpleNamespace(stderr=stderr)
    monkeypatch.setattr(progress, "sys", system)
    monkeypatch.setattr(output, "sys", system)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal on stderr that remembers what was drawn."""
    drawn = io.StringIO()
    drawn.isatty = lambda: True
    stand_in(monkeypatch, drawn)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    return drawn


def test_no_bars_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log file gets no bars, yet the line that must be known before the start."""
    stderr = io.StringIO()
    stand_in(monkeypatch, stderr)
    with progress.shown() as shown:
        with shown.stage("epoch 1", 3) as advance:
            advance(3, "IoU .8")
        shown.say("Embeddings: 2 views.")
    assert stderr.getvalue() == "Embeddings: 2 views.\n"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A log file on stderr."""
    stderr = io.StringIO()
    stand_in(monkeypatch, stderr)
    return stderr


class Clock:
    """Tells the time that a test says it is."""

    now = 0.0

    def __call__(self) -> float:
        """Return seconds."""
        return self.now


def test_a_log_file_gets_a_line_a_minute(log: io.StringIO) -> None:
    """How far, how fast and how long still, and at the end how long it was; what an earlier run did says no speed."""
    clock = Clock()
    with progress.SpokenProgress(clock).stage("segment", 1000) as advance:
        advance(600)
        for _ in range(300):
            clock.now += 0.5
            advance(1, "2.0 images/s")
    assert log.getvalue().splitlines() == [
        "segment  720 of 1000  2.0 images/s  about 2 min 20 s left",
        "segment  840 of 1000  2.0 images/s  about 1 min 20 s left",
        "segment  900 of 1000  2.0 images/s  2 min 30 s",
    ]


def test_the_time_left_goes_by_the_last_minutes(log: io.StringIO) -> None:
    """Of a job that became ten times slower the first hour says little."""
    clock = Clock()
    with progress.SpokenProgress(clock).stage("segment", 10_000) as advance:
        for minutes, steps in ((60, 100), (20, 10)):
            for _ in range(minutes):
                clock.now += 60
                advance(steps)
    lines = log.getvalue().splitlines()
    assert lines[59] == "segment  6000 of 10000  about 40 min 00 s left"
    assert lines[79] == "segment  6200 of 10000  about 6 h 20 min left"


def test_short_stages_share_the_minute(log: io.StringIO) -> None:
    """Of many a line now and then is told, of a single one nothing; how many steps there are need not be known."""
    clock = Clock()
    spoken = progress.SpokenProgress(clock)
    for number in range(1, 9):
        with spoken.stage(f"epoch {number}") as advance:
            clock.now += 20
            advance(1, "IoU .8")
            clock.now += 1
    assert log.getvalue().splitlines() == ["epoch 3  1  IoU .8", "epoch 6  1  IoU .8"]


def test_silent_in_all_processes_but_the_first(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes do not draw over each other."""
    monkeypatch.setenv("RANK", "1")
    with progress.shown() as shown:
        assert shown is SILENT


def test_a_quick_stage_leaves_no_word(screen: io.StringIO) -> None:
    """What is done within the patience is not worth a line."""
    with progress.shown() as shown, shown.stage("reading", 3) as advance:
        advance(3, "note")
    assert "reading" not in screen.getvalue()


def test_a_long_stage_is_drawn_and_leaves_a_line(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name, remark and time of a finished stage stay on the screen; brackets in them are no markup."""
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    with progress.shown() as shown, shown.stage("epoch [1]", 2) as advance:
        advance(note="IoU [.81]")
        advance()
    assert "epoch [1]  " in screen.getvalue().split("0/2")[0]
    assert "epoch [1]  IoU [.81]  0 s" in screen.getvalue()


def test_stages_may_lie_inside_each_other(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch with a validation inside leaves both lines, the inner first."""
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    with progress.shown() as shown, shown.stage("outer"), shown.stage("inner", 1) as advance:
        advance()
    lines = [line for line in screen.getvalue().splitlines() if "0 s" in line]
    assert ["inner" in lines[0], "outer" in lines[1], len(lines)] == [True, True, 2]


def test_nothing_on_stdout(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Stdout belongs to the answer alone, also while bars are drawn."""
    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    with progress.shown() as shown, shown.stage("work", 1) as advance:
        print("answer")
        advance()
    assert capsys.readouterr().out == "answer\n"


def test_silent_takes_anything() -> None:
    """The default progress of the library accepts every call and answers none."""
    with SILENT.stage("work") as advance:
        assert advance(5, note="still there") is None


def test_an_error_inside_a_stage_passes(screen: io.StringIO) -> None:
    """The display neither swallows an error nor stays on the screen."""
    with pytest.raises(ValueError, match="broken"), progress.shown() as shown, shown.stage("work"):
        raise ValueError("broken")


class _Gone(io.StringIO):
    """A terminal that is closed while it is written to."""

    is_open = True

    def write(self, text: str) -> int:
        if self.is_open:
            return super().write(text)
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_terminal_that_is_gone_ends_no_work(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody reads any longer is dropped, and so is all that follows; the work goes on to its end."""
    gone = _Gone()
    gone.isatty = lambda: is_terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", gone)
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "_BETWEEN", 0.0)
    with progress.shown() as shown:
        shown.say("one")
        gone.is_open = False
        shown.say("two")
        with shown.stage("epoch 1", 3) as advance:
            advance(3, "IoU .8")
    assert "one" in gone.getvalue()
    assert "two" not in gone.getvalue()
