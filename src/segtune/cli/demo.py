"""`segtune demo`: the main job on images that segtune draws itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segtune.cli.fit import fit_and_report, tell
from segtune.cli.options import AsJson
from segtune.cli.progress import shown

Out = Annotated[Path, typer.Option(metavar="RUN", help="The run folder; the images go to RUN-data beside it.")]
Images = Annotated[int, typer.Option(min=20, metavar="N", help="How many images to draw.")]
Epochs = Annotated[int, typer.Option(min=1, metavar="N", help="Passes over the training images.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Of the drawing.")]


def demo(
    out: Out = Path("runs/demo"), images: Images = 140, epochs: Epochs = 6, seed: Seed = 0, json: AsJson = False
) -> int:
    """Draw a small data set, fine-tune the built-in model on it and write the report. Needs no network and no GPU.

    A demo that was cut off goes on where it was; delete its folders for a fresh one.

    For example:

        segtune demo --out runs/demo
    """
    from segtune.data.demo import write_demo
    from segtune.runs.settings import load_settings

    data = out.with_name(f"{out.name}-data")
    is_begun = (out / "settings.yaml").exists()
    with shown() as progress:
        # A run that has begun must find the images it was split on.
        if not is_begun:
            write_demo(data, count=images, seed=seed)
        result = fit_and_report(load_settings(data=data, out=out, epochs=epochs), resume=is_begun, progress=progress)
    return tell(result, as_json=json)
