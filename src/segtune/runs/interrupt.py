"""Ctrl-C: the first asks a run to end cleanly, the second ends it at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopOnInterrupt:
    """While open, the first SIGINT or SIGTERM only raises a flag; a second SIGINT interrupts as usual.

    Nothing is lost either way: what was complete on disk stays.

    Attributes:
        asked: whether this process was asked to stop.
        at_once: for the time in which there is nothing to end cleanly, the first signal interrupts too.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.asked = False
        self.at_once = at_once
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopOnInterrupt:
        # Python only lets the main thread handle signals; elsewhere nobody can press Ctrl-C anyway.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # Put back at the end: the caller's own handling is none of a run's business.
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def __call__(self) -> bool:
        """Say whether somebody asked this process to stop; of several, `train` returns what holds for all."""
        return self.asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        # A second SIGTERM changes nothing: only Ctrl-C ends at once.
        if self.at_once or (self.asked and number == signal.SIGINT):
            raise KeyboardInterrupt
        self.asked = True
