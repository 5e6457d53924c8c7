"""`segtune pretrain`: a base of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from segtune.cli.options import AsJson
from segtune.cli.output import answer
from segtune.cli.progress import shown
from segtune.core.errors import INTERRUPTED

Out = Annotated[Path, typer.Option(metavar="RUN", help="The run folder; its model/ is the result.")]
Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--data", metavar="scenes|FOLDER", help="What the images are of: drawn scenes, or a folder. Repeatable."
    ),
]
Size = Annotated[str | None, typer.Option(metavar="nano|tiny|small|base", help="The network's size. [default: nano]")]
Init = Annotated[
    str | None,
    typer.Option(
        metavar="mae|MODEL",
        help="A model of that size to go on from; mae: fresh weights, whose image encoder first learns to fill in "
        "masked images (hidden patches stay on the grid, as in SimMIM, for SAM's encoder has windows). "
        "[default: fresh weights]",
    ),
]
Steps = Annotated[int | None, typer.Option(min=1, metavar="N", help="Steps in all. [default: 10000]")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, by its name in pretraining.yaml. Repeatable."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the pretraining in RUN where it was cut off.")]


def pretrain(
    out: Out,
    data: Sources = None,
    size: Size = None,
    steps: Steps = None,
    init: Init = None,
    set: Set = None,  # noqa: A002 - typer names the option after it
    resume: Resume = False,
    json: AsJson = False,
) -> int:
    """Train a Segment Anything model from nothing, or further, on drawn scenes and on folders with masks.

    SAM's interactive recipe over all kinds of prompt. Several processes: start it with torchrun.

    For example:

        segtune pretrain --data scenes --size nano --steps 2000 --out runs/base
        segtune pretrain --data scenes --data photos --init runs/base --steps 5000 --out runs/better
        segtune pretrain --data photos --init mae --set mae.sources=[more-photos] --out runs/started
    """
    from segtune.runs.pretrain import pretrain as train
    from segtune.runs.pretrain_settings import load_pretrain_settings

    settings = load_pretrain_settings(
        out=out,
        overrides=set or (),
        data__sources=tuple(data) if data else None,
        model__size=size,
        model__init=init,
        steps=steps,
    )
    with shown() as progress:
        result = train(settings, resume=resume, progress=progress)
    if result is None:  # one process of several speaks for all
        return 0
    facts = {"folder": str(result.folder), "steps": result.steps, "stopped": result.stopped}
    if result.in_start:
        answer(facts, "Stopped before the training on prompts: no model yet. Go on with --resume.", as_json=json)
        return INTERRUPTED
    scores = ", ".join(f"{mode} {value:.3f}" for mode, value in result.validation.items())
    model = result.folder / "model"
    text = f"{result.steps} steps done. On images kept out, mean IoU: {scores}.\nModel: {model}"
    if result.stopped:
        text += "\nStopped before the end. Go on with --resume."
    else:
        text += f"\n{_tell_thresholds(result.thresholds, model)}"
    found = {"model": str(model), "validation": result.validation, "thresholds": result.thresholds}
    answer(facts | found, text, as_json=json)
    return INTERRUPTED if result.stopped else 0


def _tell_thresholds(thresholds: Mapping[str, float], model: Path) -> str:
    if not thresholds:
        return (
            "Everything mode has no thresholds that were fitted to this model. Labelled images give it some: "
            f"segtune calibrate {model} --data FOLDER"
        )
    return (
        f"Everything mode keeps its masks of predicted IoU above {thresholds['pred_iou_thresh']:g} and stability from "
        f"{thresholds['stability_score_thresh']:g}, fitted on images kept out."
    )
