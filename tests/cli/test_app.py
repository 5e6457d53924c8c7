"""The command line as a whole: help, versions, exit codes, and errors for people and for programs."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from segtune.cli import main
from segtune.cli.app import app
from segtune.core.errors import NOT_CROWNED, DataError, MissingExtraError, ModelError, ResourceError, UsageError

COMMANDS = tuple(command.callback.__name__ for command in app.registered_commands)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Make every command fail with a given error."""

    def arrange(error: BaseException) -> None:
        def fail(words: list[str]) -> int:
            raise error

        monkeypatch.setattr("segtune.cli.app._run", fail)

    return arrange


def test_all_commands_of_the_main_job_are_there() -> None:
    """Nobody loses a command by accident."""
    assert {"check", "fit", "evaluate", "report", "demo", "version"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_json_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks a command for help sees it used and learns that programs can use it too."""
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"segtune {command}" in shown.split("For example:")[1]
    assert "--json" in shown


@pytest.mark.parametrize("words", [["--help"], []])
def test_the_group_lists_its_commands(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for help or for nothing at all, segtune says what it can do."""
    assert main(words) == (0 if words else UsageError.exit_code)
    captured = capsys.readouterr()
    assert all(command in captured.out for command in COMMANDS)
    assert captured.err == ""


def test_version_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version`, `version` and `version --json` agree."""
    assert main(["--version"]) == main(["version"]) == main(["version", "--json"]) == 0
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert lines[0] == first == f"segtune {json.loads(last)['segtune']}"


def test_python_m_segtune_is_the_command() -> None:
    """`python -m segtune` runs the same program and passes its exit code on."""
    result = subprocess.run([sys.executable, "-m", "segtune", "fit"], capture_output=True, text=True)
    assert result.returncode == UsageError.exit_code
    assert result.stderr.startswith("Error: Missing")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["chek"], "Did you mean 'check'? See segtune --help."),
        (["check"], "segtune check --help"),
        (["fit", "data"], "--out"),
        (["fit", "data", "--out", "run", "--epochs", "many"], "--epochs"),
        (["evaluate", "nano", "data", "--out", "x", "--part", "most"], "most"),
    ],
)
def test_wrong_usage_is_one_paragraph(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option costs the user a sentence, not a traceback, and says where help is."""
    assert main(words) == UsageError.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert hint in captured.err
    assert "--help" in captured.err


@pytest.mark.parametrize(
    "error",
    [
        UsageError("u"),
        DataError("d"),
        ModelError("m"),
        ResourceError("r"),
        MissingExtraError("tifffile", "data", "GeoTIFF"),
    ],
)
def test_errors_of_ours_keep_their_message_and_code(error, failing, capsys: pytest.CaptureFixture[str]) -> None:
    """What a room raises reaches people as it is, and the shell as the kind's exit code."""
    failing(error)
    assert main(["check", "x"]) == error.exit_code
    assert capsys.readouterr().err == f"Error: {error}\n"


def test_exit_codes_differ_by_kind() -> None:
    """A script can tell what went wrong from the exit code alone."""
    codes = [kind.exit_code for kind in (UsageError, DataError, ModelError, ResourceError, MissingExtraError)]
    assert len({0, 1, NOT_CROWNED, 70, 130, *codes}) == 5 + len(codes)


def test_json_errors_are_one_object_on_stdout(failing, capsys: pytest.CaptureFixture[str]) -> None:
    """A program finds the error where it looks for the answer."""
    failing(DataError("No masks."))
    assert main(["check", "x", "--json"]) == DataError.exit_code
    captured = capsys.readouterr()
    error = {"kind": "DataError", "message": "No masks.", "exit_code": DataError.exit_code}
    assert json.loads(captured.out) == {"error": error}
    assert captured.err == ""


def test_wrong_usage_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Even when the options themselves could not be read."""
    assert main(["check", "--json"]) == UsageError.exit_code
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "UsageError"


def test_a_fault_of_ours_is_short_and_says_how_to_see_more(failing, capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception neither blames the user nor pours out a traceback unasked."""
    failing(ZeroDivisionError("division by zero"))
    assert main(["check", "x"]) == 70
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in shown
    assert "--traceback" in shown
    assert "Traceback (most" not in shown


@pytest.mark.parametrize("way", ["option", "environment"])
def test_traceback_on_request(way: str, failing, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Either way of asking shows where the error arose, for faults and mistakes alike."""
    failing(DataError("No masks."))
    if way == "environment":
        monkeypatch.setenv("SEGTUNE_TRACEBACK", "1")
    assert main(["check", "x", *(["--traceback"] if way == "option" else [])]) == DataError.exit_code
    assert "Traceback (most" in capsys.readouterr().err


def test_traceback_is_an_option_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """It is taken out of the words before a command sees them."""
    assert main(["version", "--traceback"]) == 0


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "Stopped"),
        (MemoryError(), ResourceError.exit_code, "Memory"),
        (PermissionError(13, "Permission denied", "/data/a.png"), ResourceError.exit_code, "/data/a.png"),
        (OSError(28, "No space left on device", "/runs/x"), ResourceError.exit_code, "No space left"),
        (OSError("something odd"), 70, "something odd"),
    ],
)
def test_the_machine_s_own_errors(error: BaseException, code: int, words: str, failing, capsys) -> None:
    """Ctrl-C, memory and files end in a sentence and their own exit codes."""
    failing(error)
    assert main(["fit"]) == code
    assert words in capsys.readouterr().err


def test_nobody_on_stderr_changes_no_result(failing, capsys, monkeypatch) -> None:
    """A pipe that closed elsewhere is an error like any other, and one that cannot be told still has its code."""
    failing(BrokenPipeError(32, "Broken pipe"))
    assert main(["fit"]) == 70
    failing(DataError("nothing there"))

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stderr", Gone())
    assert main(["fit"]) == DataError.exit_code


@pytest.mark.parametrize("words", [["version"], ["--version"], ["--help"], ["compare", "--help"], []])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_no_error(words: list[str], unbuffered: str) -> None:
    """`segtune … | head` ends quietly when head has seen enough, of an answer and of help, which typer prints."""
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "segtune", *words], stdout=writer, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_reader_may_leave_at_any_point_of_the_help(monkeypatch, capfd) -> None:
    """Rich draws it in many pieces, and typer writes the last line by itself."""

    class Leaving(io.StringIO):
        def __init__(self, patience: int) -> None:
            super().__init__()
            self.patience = patience

        def flush(self) -> None:
            self.patience -= 1
            if self.patience < 0:
                raise BrokenPipeError(32, "Broken pipe")

        def fileno(self) -> int:
            return nowhere

    with Path(os.devnull).open("w") as devnull:
        nowhere = devnull.fileno()
        left = []
        while not left or left[-1] < 0:
            monkeypatch.setattr(sys, "stdout", Leaving(len(left)))
            assert main(["compare", "--help"]) == 0
            left.append(sys.stdout.patience)
    assert len(left) > 3
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("words", [["version"], ["compare", "--help"], ["check", "nowhere"]])
def test_without_stdout_nothing_is_lost_but_the_answer(words: list[str], monkeypatch, capfd) -> None:
    """A program that was started with stdout closed has None there."""
    monkeypatch.setattr(sys, "stdout", None)
    assert main(words) == (DataError.exit_code if "nowhere" in words else 0)
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_that_nobody_reads_keeps_its_code(tmp_path) -> None:
    """As JSON it is told on stdout, whose reader may be gone."""
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "segtune", "check", str(tmp_path / "nowhere"), "--json"]
    result = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (result.returncode, result.stderr) == (DataError.exit_code, "")
