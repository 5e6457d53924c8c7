"""`segtune calibrate`: told quality that can be believed, and thresholds of everything mode that suit a model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from segtune.cli.options import AsJson
from segtune.cli.output import answer
from segtune.cli.progress import shown

if TYPE_CHECKING:
    from segtune.evaluation.quality_fit import FittedQuality
    from segtune.evaluation.thresholds import FittedThresholds
    from segtune.runs.calibrate import Calibrated, TestedQuality

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, its model/, or a folder of a saved model.")]
Data = Annotated[
    Path | None, typer.Option(metavar="DATA", help="Labelled images. [default: the run's validation images]")
]
Most = Annotated[int, typer.Option("--images", min=1, metavar="N", help="Images looked at, at most.")]
Points = Annotated[
    int | None, typer.Option("--points-per-side", min=1, metavar="N", help="Clicks along each side. [default: 16]")
]
Only = Annotated[Literal["quality", "thresholds"] | None, typer.Option(help="Fit one of the two. [default: both]")]


def calibrate(
    run: Run, data: Data = None, most: Most = 50, points: Points = None, only: Only = None, json: AsJson = False
) -> int:
    """Fit what a model says of its own masks, on labelled images that it was not trained on.

    The quality: a monotone map from the IoU that the model predicts to the one its masks have. It is kept only where it
    is closer to the truth on images that took no part in fitting it. No choice among masks changes.

    The two thresholds of everything mode: of all masks that a grid of clicks gives, those are wanted that are of a
    labelled object, and no others; the pair of highest F1 is kept. They are about the model's own prediction.

    Images are drawn blindly among those with objects, of many groups. Of DATA those that the run has learned from or is
    tested on are left out.

    Both are written into the model's segtune.json and taken from there; of a run with an adapter, whether RUN, its
    model/ or its adapter/ is named, into those of both. Where the quality is fitted a run's report is written anew.

    For example:

        segtune calibrate runs/cells
    """
    from segtune.core.errors import UsageError
    from segtune.report.page import write_report
    from segtune.runs.calibrate import calibrate as fit
    from segtune.runs.folder import run_of

    if only == "quality" and points is not None:
        raise UsageError("--points-per-side is for the thresholds, which --only quality leaves alone. Leave one out.")
    with shown() as progress:
        found = fit(run, data, most=most, points_per_side=points or 16, only=only, progress=progress)
        of = run_of(run)
        if found.quality and of is not None and of.metrics.is_file():
            write_report(of.path, progress=progress)
    answer(_facts(found), _text(found), as_json=json)
    return 0


def _facts(found: Calibrated) -> dict[str, Any]:
    thresholds = asdict(found.thresholds) if found.thresholds else {}
    return {
        **thresholds,
        "quality": found.quality and asdict(found.quality),
        "test": found.test and asdict(found.test),
        "left_out": found.left_out,
    }


def _text(found: Calibrated) -> str:
    said = []
    if found.left_out:
        said.append(f"Left out, for the run has learned from them or is tested on them: {found.left_out} images.")
    if found.quality:
        said.append(_tell_quality(found.quality))
    if found.test:
        said.append(_tell_test(found.test))
    if found.thresholds:
        said.append(_tell_thresholds(found.thresholds))
    return "\n".join(said)


def _tell_quality(fitted: FittedQuality) -> str:
    looked = f"on {fitted.answers} answers of {fitted.images} images"
    errors = f"calibration error {fitted.before.ece:.3f} → {fitted.after.ece:.3f}"
    errors += f", root mean squared error {fitted.before.rmse:.3f} → {fitted.after.rmse:.3f}"
    if fitted.quality_map is None:
        return f"The predicted quality stays as it is, for a map makes it no better on other images: {errors} {looked}."
    scale, bias = fitted.quality_map.scale, fitted.quality_map.bias
    return (
        f"Told quality is now σ({scale:.3g} · logit(predicted) {'−' if bias < 0 else '+'} {abs(bias):.3g}): {errors} "
        f"{looked}, each judged by a map fitted to others."
    )


def _tell_test(test: TestedQuality) -> str:
    if test.before == test.after:
        return f"On the {test.images} test images the calibration error is {test.before.ece:.3f}."
    return (
        f"On the {test.images} test images the calibration error goes from {test.before.ece:.3f} to "
        f"{test.after.ece:.3f}, the root mean squared error from {test.before.rmse:.3f} to {test.after.rmse:.3f}."
    )


def _tell_thresholds(fitted: FittedThresholds) -> str:
    best, published = fitted.best, fitted.given
    return (
        f"Predicted IoU above {best.pred_iou_thresh:g}, stability from {best.stability_score_thresh:g}: precision "
        f"{best.precision:.2f}, recall {best.recall:.2f}, F1 {best.f1:.2f} on {fitted.objects} objects of "
        f"{fitted.images} images. The published thresholds give F1 {published.f1:.2f} (recall {published.recall:.2f})."
    )
