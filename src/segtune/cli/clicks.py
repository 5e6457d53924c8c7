"""`segtune clicks`: the interactive benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segtune.cli.evaluate import Against, Model, ObjectsOfRun, Part, Split
from segtune.cli.options import AsJson, Data, Format
from segtune.cli.output import answer
from segtune.cli.progress import shown

Out = Annotated[Path, typer.Option(metavar="DIR", help="Where clicks.json, clicks.md and the figure go.")]
Limit = Annotated[int, typer.Option("--clicks", min=1, max=100, metavar="N", help="Most clicks an object gets.")]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of the intervals.")]


def clicks(
    model: Model,
    data: Data,
    out: Out,
    against: Against = None,
    limit: Limit = 20,
    split: Split = None,
    part: Part = None,
    objects: ObjectsOfRun = None,
    format: Format = None,  # noqa: A002 - the word users know it by
    seed: Seed = 0,
    json: AsJson = False,
) -> int:
    """Measure how many clicks objects take: IoU by click, and the number of clicks until IoU .85 and .90 (NoC).

    The first click lies at the object's centre, each further one at the centre of the largest error. Images that a
    compared run was trained on are left out, as by segtune evaluate.

    For example:

        segtune clicks runs/polyps polyps --out clicks --against nano
    """
    from segtune.report.clicks import describe_clicks, write_clicks
    from segtune.runs.clicks import click_models

    with shown() as progress:
        result = click_models(
            model, data, out, against=against or (), limit=limit, split=split, part=part, objects=objects,
            format=format, seed=seed, progress=progress,
        )  # fmt: skip
        page = write_clicks(out, result)
    facts = result.to_json() | {"folder": str(out), "report": str(page)}
    answer(facts, f"{describe_clicks(result)}\nReport: {page}", as_json=json)
    return 0
