"""How somebody who asks to stop is heard in the midst of an image."""

from __future__ import annotations

from collections.abc import Callable


class StoppedError(Exception):
    """Somebody asked to stop in the midst of an image."""


def stopping(stop: Callable[[], bool]) -> Callable[[], None]:
    """Return a function that asks `stop` and, if the answer is yes, raises `StoppedError`."""

    def ask() -> None:
        if stop():
            raise StoppedError

    return ask
