"""`segtune calibrate`: thresholds of everything mode that suit a model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from segtune.cli.options import AsJson
from segtune.cli.output import answer
from segtune.cli.progress import shown

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, its model/, or a folder of a saved model.")]
Data = Annotated[
    Path | None, typer.Option(metavar="DATA", help="Labelled images. [default: the run's validation images]")
]
Most = Annotated[int, typer.Option("--images", min=1, metavar="N", help="Images looked at.")]
Points = Annotated[int, typer.Option("--points-per-side", min=1, metavar="N", help="Clicks along each side.")]


def calibrate(run: Run, data: Data = None, most: Most = 50, points: Points = 16, json: AsJson = False) -> int:
    """Fit the two thresholds of everything mode to a model, on images that it was not trained on.

    Of all masks that a grid of clicks gives, those are wanted that are of a labelled object, and no others: the pair of
    highest F1 is written into the model's segtune.json, and everything mode takes it from there.

    For example:

        segtune calibrate runs/cells
    """
    from segtune.runs.calibrate import calibrate as fit

    with shown() as progress:
        fitted = fit(run, data, most=most, points_per_side=points, progress=progress)
    best, published = fitted.best, fitted.given
    text = (
        f"Predicted IoU above {best.pred_iou_thresh:g}, stability from {best.stability_score_thresh:g}: precision "
        f"{best.precision:.2f}, recall {best.recall:.2f}, F1 {best.f1:.2f} on {fitted.objects} objects of "
        f"{fitted.images} images. The published thresholds give F1 {published.f1:.2f} (recall {published.recall:.2f})."
    )
    answer(asdict(fitted), text, as_json=json)
    return 0
