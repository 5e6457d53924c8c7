"""Everything segtune raises on purpose. Each class carries the exit code its command ends with."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


class SegtuneError(Exception):
    """A mistake or a lack that the user can mend: the rule, the value that broke it, the remedy, in one paragraph."""

    exit_code = 1

    def __reduce__(self) -> tuple[Callable[..., SegtuneError], tuple[Any, ...]]:
        # Processes hand errors to each other, and Python would make them anew of the message: some are made of more.
        return _made_again, (type(self), self.args, vars(self))


def _made_again(kind: type[SegtuneError], told: tuple[Any, ...], attributes: Mapping[str, Any]) -> SegtuneError:
    error = kind.__new__(kind, *told)
    vars(error).update(attributes)
    return error


class UsageError(SegtuneError):
    """An option, a setting or an argument that is not allowed."""

    exit_code = 2


class DataError(SegtuneError):
    """Images, masks or annotations that cannot be used as asked."""

    exit_code = 4


class ModelError(SegtuneError):
    """A model that cannot be found, opened, or does what is asked of it."""

    exit_code = 5


class ResourceError(SegtuneError):
    """The machine ran out of something: disk, memory, permissions."""

    exit_code = 6


class MissingExtraError(SegtuneError):
    """An optional dependency is not installed; the message says the command that installs it."""

    exit_code = 7

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed. Install it with: "
            f"pip install 'segtune[{extra}]'"
        )


NOT_CROWNED = 3
"""Exit code of a `fit` in which no epoch beat the pretrained model, and of a `compare` whose winning setting has no fit
that did: not an error, yet not a success."""

INCOMPLETE = 1
"""Exit code where some of several pieces of work failed, and the answer is of the others."""

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> UsageError:
    """Return the error for a name that is not among `choices`, with the nearest one."""
    known = sorted(choices)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return UsageError(f"There is no {kind} named '{name}'.{hint} Known: {', '.join(known)}.")
