"""Progress for people: bars on stderr for what takes longer than two seconds, nothing where no terminal is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from segtune.core.progress import SILENT, Advance, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

PATIENCE = 2.0
"""Seconds after which a stage is shown."""


@contextmanager
def shown() -> Iterator[Progress]:
    """Yield a progress drawn on stderr if that is a terminal, else one that only says what must be known.

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
    """Progress for log files: no bars, only what is worth a line."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Show nothing."""
        with SILENT.stage(name, total) as advance:
            yield advance

    def say(self, text: str) -> None:
        """Print a line on stderr."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


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
        console=Console(file=sys.stderr),
        transient=True,  # `stage` leaves a line of its own
        redirect_stdout=False,  # stdout is the answer's, byte for byte
    )
