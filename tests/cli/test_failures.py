"""What an exception means to whoever typed the command."""

from __future__ import annotations

import errno

import pytest
import torch
import typer
from typer.exceptions import TyperException

from segtune.cli.app import app
from segtune.cli.failures import UNEXPECTED, describe
from segtune.core.errors import INTERRUPTED, DataError, ResourceError, UsageError


class TornImageError(DataError):
    """An error of a kind of its own, as another package may raise one."""


def test_an_error_of_a_kind_of_its_own_keeps_its_name_and_its_kind_s_code():
    """Programs learn the exact class, the shell the kind that it belongs to."""
    found = describe(TornImageError("It is torn."))
    assert (found.kind, found.message, found.exit_code) == ("TornImageError", "It is torn.", DataError.exit_code)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_every_way_of_stopping_is_an_interruption(error):
    """Ctrl-C while working or at a question: what was complete is kept, and the shell hears 130."""
    found = describe(error)
    assert (found.kind, found.exit_code) == ("Interrupted", INTERRUPTED)
    assert "kept" in found.message


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Value error, too many\n  epochs", "too many epochs. See segtune --help."),
        ("Did you mean 'check'?", "Did you mean 'check'? See segtune --help."),
        ("No such option.", "No such option. See segtune --help."),
        ("", ""),
    ],
)
def test_wrong_usage_becomes_one_sentence(said, told):
    """On one line, with one full stop, and where help is; nothing where the help itself was printed."""
    found = describe(TyperException(said))
    assert (found.kind, found.message, found.exit_code) == ("UsageError", told, UsageError.exit_code)


def test_wrong_usage_points_to_the_help_of_its_own_command():
    """An option that `fit` does not know is looked up in the help of `fit`."""
    with pytest.raises(TyperException) as caught, typer.main.get_command(app).make_context("segtune", ["fit"]) as group:
        group.command.invoke(group)
    assert describe(caught.value).message.endswith("See segtune fit --help.")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "2.00 GiB"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "micro_batch"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on the disk"),
        (OSError(errno.ENOSPC, "No space left on device", "/d/x"), "(/d/x)"),
    ],
)
def test_memory_and_disk_that_ran_out_are_told_as_such(error, words):
    """Whoever ran out, torch or a file without a name: exit code 6 and a remedy."""
    found = describe(error)
    assert (found.kind, found.exit_code) == ("ResourceError", ResourceError.exit_code)
    assert words in found.message


def test_a_file_s_error_names_the_file_and_another_one_is_ours(tmp_path):
    """What the system says of a file is the user's to mend; without a file's name the fault is rather inside."""
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "gone.png").read_bytes()
    found = describe(caught.value)
    assert (found.kind, found.exit_code) == ("ResourceError", ResourceError.exit_code)
    assert found.message.startswith(f"{tmp_path / 'gone.png'}: No such file or directory.")
    inside = describe(OSError(9, "Bad file descriptor"))
    assert (inside.kind, inside.exit_code) == ("OSError", UNEXPECTED)
    assert "no fault of yours" in inside.message
