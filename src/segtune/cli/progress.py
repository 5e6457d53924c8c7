"""Progress for people on stderr: bars for what takes longer than two seconds, a line a minute where no terminal is."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from segtune.cli.output import silence_stderr, whisper
from segtune.core.progress import SILENT, Advance, Progress
from segtune.report.numbers import duration

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

PATIENCE = 2.0
"""Seconds after which a stage is shown."""

_BETWEEN = 60.0
"""Seconds between two lines in a log file."""

_RECENT = 10
"""Lines back from which on the speed is measured that tells the time left."""


@contextmanager
def shown() -> Iterator[Progress]:
    """Yield a progress drawn on stderr if that is a terminal, else one of a line now and then.

    The first of several processes speaks for all.
    """
    # Set by torchrun; without it there is one process.
    if os.environ.get("RANK", "0") != "0":
        yield SILENT
        return
    if not sys.stderr.isatty():
        yield SpokenProgress()
        return
    with _patient_bars() as bars:
        yield BarProgress(bars)


class SpokenProgress:
    """Progress for log files, of jobs under nohup or a cluster's scheduler: a line a minute, of whatever stage is on.

    Args:
        clock: tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told = clock()

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Tell of a stage about once a minute, and at the end if it took so long."""
        begun = self._clock()
        pace = _Pace(total)

        def advance(n: int = 1, note: str = "") -> None:
            now = self._clock()
            pace.add(now, n, note)
            if now - self._told >= _BETWEEN:
                self._tell(now, name, *pace.standing(), pace.left(now))

        try:
            yield advance
        finally:
            now = self._clock()
            if now - min(begun, self._told) >= _BETWEEN:
                self._tell(now, name, *pace.standing(), duration(now - begun))

    def _tell(self, now: float, *parts: str) -> None:
        self._told = now
        self.say("  ".join(part for part in parts if part))

    def say(self, text: str) -> None:
        """Print a line on stderr."""
        whisper(text)


class _Pace:
    """How far a stage has come, and how fast.

    Args:
        total: its steps, where they are known.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._done = 0
        self._note = ""
        self._marks: deque[tuple[float, int]] = deque(maxlen=_RECENT)

    def add(self, now: float, n: int, note: str) -> None:
        """Take in that `n` more steps are done."""
        self._done += n
        self._note = note or self._note
        # From the first call on: it may count what an earlier run did, which says nothing of the speed.
        if not self._marks:
            self._marks.append((now, self._done))

    def standing(self) -> tuple[str, str]:
        """Return how much is done, and the last remark."""
        return f"{self._done}" if self._total is None else f"{self._done} of {self._total}", self._note

    def left(self, now: float) -> str:
        """Return what time is left, or nothing where nobody can say, and mark how far it has come."""
        since, before = self._marks[0]
        self._marks.append((now, self._done))
        if self._total is None or self._done == before:
            return ""
        return f"about {duration((self._total - self._done) * (now - since) / (self._done - before))} left"


class BarProgress:
    """A progress drawn as bars; a finished stage leaves one line, with its last remark and how long it took.

    Args:
        bars: rich's display.
    """

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Show a stage until the context ends."""
        task = self._bars.add_task(name, total=total, note="")

        def advance(n: int = 1, note: str = "") -> None:
            self._bars.advance(task, n)
            if note:
                self._bars.update(task, note=note)

        try:
            yield advance
        finally:
            # Looked at before it is removed: rich forgets a task's times with it.
            done = next(each for each in self._bars.tasks if each.id == task)
            seconds, note = done.elapsed or 0.0, done.fields["note"]
            self._bars.remove_task(task)
            self._bars.refresh()
            if seconds > PATIENCE:
                line = "  ".join(part for part in (name, note, f"{seconds:.0f} s") if part)
                self._bars.console.print(line, style="dim", markup=False, highlight=False)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(text, markup=False, highlight=False)


class Lasting:
    """Stderr as a file that stays open to whoever draws on it, whatever becomes of the terminal behind it."""

    def __init__(self) -> None:
        # Kept, for while bars are shown rich puts a file of its own in its place, which writes here.
        self._file = sys.stderr

    def write(self, text: str) -> int:
        """Write, or drop the text where nobody reads it any longer."""
        try:
            return self._file.write(text)
        except OSError:
            self._end()
            return len(text)

    def flush(self) -> None:
        """Flush likewise."""
        try:
            self._file.flush()
        except OSError:
            self._end()

    def _end(self) -> None:
        silence_stderr()
        self._file = sys.stderr

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _patient_bars() -> Bars:
    # Imported here: `--help` and programs without a terminal do not pay for it.
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    class PatientBars(Bars):
        def get_renderables(self) -> Iterator[RenderableType]:
            # A stage of a moment would only flicker.
            yield self.make_tasks_table([task for task in self.tasks if (task.elapsed or 0.0) > PATIENCE])

    return PatientBars(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=Console(file=cast(IO[str], Lasting())),
        transient=True,  # `stage` leaves a line of its own
        redirect_stdout=False,  # stdout is the answer's, byte for byte
    )
