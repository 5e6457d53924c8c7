"""What a command prints: one answer on stdout, for people or as one JSON object, and errors on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TextIO

from segtune.cli.failures import Failure


def answer(facts: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print a command's result on stdout.

    Args:
        facts: for programs; printed as one JSON object on one line.
        text: the same for people.
        as_json: which of the two.
    """
    print(json.dumps(facts, allow_nan=False) if as_json else text)  # noqa: T201 - the one place that prints results


class NobodyReadsError(Exception):
    """Whoever read stdout has enough, as `head` does."""


class Stdout:
    """Stdout that says so when nobody reads it any longer, whoever prints: this room, or typer its help.

    A plain BrokenPipeError may come from any pipe; and rich, which draws the help, ends the program on one by itself.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text` and return how many characters that were.

        Raises:
            NobodyReadsError: its reader is gone.
        """
        try:
            return self._stream.write(text)
        except BrokenPipeError as error:
            raise NobodyReadsError from error

    def flush(self) -> None:
        """Write out what is held back; when Python ends, a full disk would meet nobody.

        Raises:
            NobodyReadsError: its reader is gone.
        """
        try:
            self._stream.flush()
        except BrokenPipeError as error:
            raise NobodyReadsError from error

    def __getattr__(self, name: str) -> Any:
        """Return what else the stream has, such as its encoding and whether it is a terminal."""
        return getattr(self._stream, name)


def whisper(text: str) -> None:
    """Print on stderr; where nobody reads it any longer, a closed terminal or pipe, drop this and all that follows."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        silence_stderr()


def silence_stderr() -> None:
    """Let what is written to stderr go nowhere from now on, also what Python would still write when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):  # an stderr without a number, as in a test
        os.dup2(nowhere, sys.stderr.fileno())
    sys.stderr = os.fdopen(nowhere, "w")


def complain(failure: Failure, *, as_json: bool, traceback_of: BaseException | None = None) -> None:
    """Print why a command failed: one paragraph on stderr, or for programs `{"error": {…}}` on stdout."""
    if traceback_of is not None:
        whisper("".join(traceback.format_exception(traceback_of)).rstrip())
    if as_json:
        # On stdout: a program reads one stream, whatever came of it.
        answer({"error": asdict(failure)}, "", as_json=True)
    elif failure.message:
        whisper(_paragraph(f"Error: {failure.message}"))


def _paragraph(text: str) -> str:
    # Wrapped for eyes only: a program that reads stderr gets it on one line.
    if not sys.stderr.isatty():
        return text
    width = min(shutil.get_terminal_size().columns, 100)
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
