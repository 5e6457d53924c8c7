"""What a command prints: one answer on stdout, for people or as one JSON object, and errors on stderr."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from segtune.cli.failures import Failure


def answer(facts: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Print a command's result on stdout.

    Args:
        facts: for programs; printed as one JSON object on one line.
        text: the same for people.
        as_json: which of the two.
    """
    print(json.dumps(facts, allow_nan=False) if as_json else text)  # noqa: T201 - the one place that prints results


def complain(failure: Failure, *, as_json: bool, traceback_of: BaseException | None = None) -> None:
    """Print why a command failed: one paragraph on stderr, or for programs `{"error": {…}}` on stdout."""
    if traceback_of is not None:
        traceback.print_exception(traceback_of)
    if as_json:
        # On stdout: a program reads one stream, whatever came of it.
        answer({"error": asdict(failure)}, "", as_json=True)
    elif failure.message:
        print(_paragraph(f"Error: {failure.message}"), file=sys.stderr)  # noqa: T201


def _paragraph(text: str) -> str:
    # Wrapped for eyes only: a program that reads stderr gets it on one line.
    if not sys.stderr.isatty():
        return text
    width = min(shutil.get_terminal_size().columns, 100)
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
