"""`segtune check`: the data doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segtune.cli.options import AsJson, Bands, Data, Format, Objects, Window, name_of
from segtune.cli.output import answer
from segtune.cli.progress import shown

Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where check.json and check.html go. [default: segtune-check/NAME]"),
]


Threshold = Annotated[int, typer.Option(min=0, max=254, metavar="N", help="Soft masks: object above this grey value.")]
Encoding = Annotated[
    str | None,
    typer.Option(
        metavar="binary|soft|probability|band|labels|instances",
        help="What mask files hold, where the guess is wrong. [default: inferred from them]",
    ),
]
PixelLimit = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Images with more pixels are set aside. [default: 178,956,970]")
]


def check(
    data: Data,
    out: Out = None,
    objects: Objects = "whole",
    format: Format = None,  # noqa: A002 - the word users know it by
    threshold: Threshold = 127,
    encoding: Encoding = None,
    bands: Bands = None,
    window: Window = None,
    pixel_limit: PixelLimit = None,
    json: AsJson = False,
) -> int:
    """Look a data set over before anything is trained on it; its files are never changed.

    Finds what is missing, mismatched, swapped, empty, doubled or wrongly encoded, and writes a page of statistics and
    pictures (check.html) beside the same for programs (check.json). What is said here about the data is said to
    `segtune fit` and `segtune pretrain` by --set data.objects=…, data.encoding=…, data.bands=[…] and so on.

    For example:

        segtune check polyps --out checks/polyps
    """
    # Imported here, as in the other commands: `--help` does not wait for what a command needs.
    from segtune.core.files import write_json
    from segtune.data.check import check_dataset
    from segtune.data.dataset import open_dataset
    from segtune.data.images import PIXEL_LIMIT
    from segtune.report.check_page import write_check_page
    from segtune.runs.folder import other_than_a_run

    folder = out or Path("segtune-check") / name_of(data)
    other_than_a_run(folder)
    with shown() as progress:
        dataset = open_dataset(
            data, format=format, objects=objects, threshold=threshold, encoding=encoding, bands=bands, window=window,
            pixel_limit=pixel_limit or PIXEL_LIMIT,
        )  # fmt: skip
        found = check_dataset(dataset, progress)
        facts = found.to_json()
        write_json(folder / "check.json", facts)
        write_check_page(found, dataset, folder / "check.html")
    text = "\n".join((*found.summary(), f"Pictures and details: {folder / 'check.html'}"))
    answer(facts | {"folder": str(folder)}, text, as_json=json)
    return 0
