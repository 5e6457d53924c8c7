"""Options that several commands share, so that a word means the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images and masks, or an annotation file.")]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]

Objects = Annotated[
    str,
    typer.Option(
        metavar="whole|parts|labels|instances",
        help="What one object is: a mask as stored, each connected part, each class, each instance.",
    ),
]

Format = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="Name of the data format. [default: detected]")
]
