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

Bands = Annotated[
    tuple[int, int, int] | None,
    typer.Option(metavar="R G B", help="GeoTIFF: numbers from 1 of the bands shown as red, green and blue."),
]

Window = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="CENTRE WIDTH", help="DICOM, NIfTI: the values shown. [default: the files' own]"),
]


def name_of(data: Path) -> str:
    """Return what a default folder is called after DATA: its folder's name, or its file's without the ending."""
    # Resolved, as "." has no name.
    return data.stem if data.is_file() else data.resolve().name
