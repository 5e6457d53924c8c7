"""What an exception means to whoever typed the command: its kind, one paragraph, an exit code."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from typer.exceptions import Abort, TyperException

from segtune.core.errors import INTERRUPTED, ResourceError, SegtuneError, UsageError

UNEXPECTED = 70
"""Exit code of a fault of segtune's own, as BSD's sysexits.h has it for software errors."""

_QUOTED = 200
"""Characters of torch's own words that are shown."""


@dataclass(frozen=True)
class Failure:
    """Why a command did not do what it was asked.

    Attributes:
        kind: name of the error's class, for programs.
        message: one paragraph for people.
        exit_code: what the command ends with.
    """

    kind: str
    message: str
    exit_code: int


def describe(error: BaseException) -> Failure:
    """Return what `error` means to the user."""
    match error:
        case SegtuneError():
            return Failure(type(error).__name__, str(error), error.exit_code)
        case KeyboardInterrupt() | Abort():
            message = "Stopped before the end. What was complete is kept."
            return Failure("Interrupted", message, INTERRUPTED)
        case TyperException():
            return Failure("UsageError", _usage(error), UsageError.exit_code)
        case MemoryError():
            return _resource("Memory ran out. Close other programs, or give the work smaller pieces at a time.")
        # torch has no one class for it, and is not loaded here.
        case RuntimeError() if _ran_out(error):
            return _resource(
                "Memory ran out in torch. Give the work smaller pieces at a time (in a training "
                "--set training.optimizer.micro_batch=1), take a smaller model or side, or close other programs. "
                f"({' '.join(str(error).split())[:_QUOTED]})"
            )
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            where = f" ({error.filename})" if error.filename else ""
            return _resource(f"No space left on the disk{where}. Make room, and run the same command again.")
        # Without a file's name it is rather a fault inside than the user's.
        case OSError(strerror=str() as reason, filename=filename) if filename is not None:
            return _resource(
                f"{filename}: {reason}. Check that it is there and that its permissions allow what was asked."
            )
        case _:
            return Failure(type(error).__name__, _unexpected(error), UNEXPECTED)


def _ran_out(error: RuntimeError) -> bool:
    told = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in told or "out of memory" in told


def _resource(message: str) -> Failure:
    return Failure("ResourceError", message, ResourceError.exit_code)


def _usage(error: TyperException) -> str:
    # One line: how it is wrapped is decided where it is printed.
    message = " ".join(error.format_message().split()).removeprefix("Value error, ")
    if message and message[-1] not in ".?!":
        message += "."
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "segtune"
    # Asked for nothing at all: the help is printed already.
    return f"{message} See {command} --help." if message else ""


def _unexpected(error: BaseException) -> str:
    return (
        f"segtune itself failed, which is no fault of yours: {type(error).__name__}: {error}. To see where, run the "
        "same command with --traceback (or SEGTUNE_TRACEBACK=1), and please report it with what that prints."
    )
