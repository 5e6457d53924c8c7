"""The command `segtune`: its subcommands, and what becomes of an error that none of them caught."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, TextIO, cast

import typer

from segtune.cli.blend import blend
from segtune.cli.calibrate import calibrate
from segtune.cli.check import check
from segtune.cli.clicks import clicks
from segtune.cli.compare import compare
from segtune.cli.curve import curve
from segtune.cli.demo import demo
from segtune.cli.evaluate import evaluate
from segtune.cli.failures import describe
from segtune.cli.fit import fit
from segtune.cli.output import NobodyReadsError, Stdout, complain
from segtune.cli.pretrain import pretrain
from segtune.cli.report import report
from segtune.cli.segment import segment
from segtune.cli.version import show_version, version

TRACEBACK = "--traceback"

_EPILOG = """
Exit codes: 0 done, 1 some of several fits failed, 2 wrong usage, 3 nothing beat the pretrained model, 4 data, 5 model,
6 disk or memory, 7 an optional package is missing, 70 a fault of segtune's own, 130 Ctrl-C.

Any command takes --traceback (or SEGTUNE_TRACEBACK=1), which shows where in the code an error arose.
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", add_completion=False, epilog=_EPILOG)
for command in (
    check,
    fit,
    evaluate,
    compare,
    curve,
    clicks,
    report,
    calibrate,
    blend,
    segment,
    pretrain,
    demo,
    version,
):
    app.command()(command)


@app.callback()
def segtune(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Turn a folder of images and masks into a Segment Anything model that is measurably better on those images.

    Begin with: segtune check DATA, then segtune fit DATA --out RUN.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. Errors are printed, never raised.

    Args:
        arguments: the words after `segtune`; the process's own when not given.
    """
    # Read when torch is loaded, inside a command. Threads that spin while they wait for one another hold up each other
    # and themselves where another program wants the cores too (bench/busy.py).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    words = list(sys.argv[1:] if arguments is None else arguments)
    traceback_wanted = TRACEBACK in words or os.environ.get("SEGTUNE_TRACEBACK", "0") not in {"", "0"}
    # Taken out here, so that it may stand anywhere and no command needs to know it.
    words = [word for word in words if word != TRACEBACK]
    # A program without a window or terminal, and one started with stdout closed, has none.
    stream = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    with redirect_stdout(cast("TextIO", Stdout(stream))):
        return _run_and_tell(words, traceback_wanted=traceback_wanted)


def _run_and_tell(words: list[str], *, traceback_wanted: bool) -> int:
    code = 0
    try:
        code = _run(words)
        sys.stdout.flush()
    except NobodyReadsError:
        _let_go_of_stdout()
        return code
    # KeyboardInterrupt is no Exception.
    except (Exception, KeyboardInterrupt) as error:
        failure = describe(error)
        try:
            complain(failure, as_json="--json" in words, traceback_of=error if traceback_wanted else None)
            sys.stdout.flush()
        except NobodyReadsError:
            _let_go_of_stdout()
        return failure.exit_code
    return code


def _let_go_of_stdout() -> None:
    """Close what nobody reads, or Python would find the closed pipe again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    # Not typer's own way of running: that prints errors by itself, in a shape of its own, and hides Ctrl-C.
    group = typer.main.get_command(app)
    try:
        with group.make_context("segtune", words) as context:
            return int(group.invoke(context) or 0)
    except typer.Exit as wish:
        return wish.exit_code
