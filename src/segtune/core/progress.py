"""How long work tells of itself without printing: the library reports steps, whoever called decides what is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol


class Advance(Protocol):
    """Called inside a stage whenever some of it is done."""

    def __call__(self, n: int = 1, note: str = "") -> None:
        """Count `n` more steps as done; `note` is a short remark on where the stage stands ("IoU .81")."""


class Progress(Protocol):
    """Somebody who wants to know how far long work has come.

    A stage may be opened inside another; `total` is None where the number of steps is not known.
    """

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """Open a stage of `total` steps, named for people ("epoch 3 of 20"); it ends with the context."""

    def say(self, text: str) -> None:
        """Hear one thing worth knowing before long work begins."""


class _Silent:
    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        yield _ignore

    def say(self, text: str) -> None:
        return None


def _ignore(n: int = 1, note: str = "") -> None:
    return None


SILENT: Final[Progress] = _Silent()
"""Tells nobody: the default of every function that takes a `Progress`."""
