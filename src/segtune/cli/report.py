"""`segtune report`: write a run's report anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segtune.cli.options import AsJson
from segtune.cli.output import answer
from segtune.cli.progress import shown

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished fit or evaluate.")]


def report(run: Run, json: AsJson = False) -> int:
    """Write the report of a finished run or evaluation anew, from what lies in its folder.

    Nothing is trained or measured again; the pictures are those of the first report.

    For example:

        segtune report runs/polyps
    """
    from segtune.report.page import write_report

    with shown() as progress:
        page = write_report(run, progress=progress)
    answer({"report": str(page)}, f"Report: {page}", as_json=json)
    return 0
