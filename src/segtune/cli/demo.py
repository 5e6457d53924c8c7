"""`segtune demo`: the main job on images that segtune draws itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segtune.cli.fit import tell
from segtune.cli.options import AsJson
from segtune.cli.progress import shown

Out = Annotated[Path, typer.Option(metavar="RUN", help="The run folder; the images go to RUN-data beside it.")]
Images = Annotated[int | None, typer.Option(min=20, metavar="N", help="How many images to draw. [default: 140]")]
Epochs = Annotated[int, typer.Option(min=1, metavar="N", help="Passes over the training images.")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Of the drawing. [default: 0]")]


def demo(
    out: Out = Path("runs/demo"), images: Images = None, epochs: Epochs = 6, seed: Seed = None, json: AsJson = False
) -> int:
    """Draw a small data set, fine-tune the built-in model on it and write the report. Needs no network and no GPU.

    A demo that was cut off goes on where it was; delete its folders for a fresh one.

    For example:

        segtune demo --out runs/demo
    """
    from segtune.core.errors import UsageError
    from segtune.data.demo import write_demo
    from segtune.report.fitting import fit_and_report
    from segtune.runs.settings import load_settings

    place = out if out.name else out.resolve()  # '.' has no name of its own
    data = place.with_name(f"{place.name}-data")
    is_begun = (out / "settings.yaml").exists()
    if is_begun and (images is not None or seed is not None):
        raise UsageError(
            f"The demo in {out} has begun, on images that are drawn already. Leave out --images and --seed to go on, "
            "or give another --out."
        )
    with shown() as progress:
        # A run that has begun must find the images it was split on.
        if not is_begun:
            write_demo(data, count=140 if images is None else images, seed=seed or 0)
        result = fit_and_report(load_settings(data=data, out=out, epochs=epochs), resume=is_begun, progress=progress)
    return tell(result, as_json=json)
