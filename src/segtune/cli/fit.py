"""`segtune fit`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segtune.cli.options import AsJson, Data
from segtune.cli.output import answer
from segtune.cli.progress import shown
from segtune.core.errors import INTERRUPTED, NOT_CROWNED

if TYPE_CHECKING:
    from segtune.runs.finetune import FitResult

Out = Annotated[Path, typer.Option(metavar="RUN", help="The run folder; all that the run leaves goes there.")]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="What to start from: nano, a run or model folder, an original .pth or .pt, a hub id; "
        "SAM 3 with what it looks for: SAM3#polyp. [default: nano]",
    ),
]
Preset = Annotated[
    str,
    typer.Option(
        metavar="default|slides", help="The recipe: SAM's interactive one, or point and box with the decoder only."
    ),
]
Train = Annotated[
    str | None,
    typer.Option(
        metavar="WAY[:KEY=VALUE,...]",
        help="What trains: full, decoder, decoder+prompt, late:N, bias, norm; an adapter (lora, dora, rslora, pissa, "
        "loha, lokr, vera, adalora, ia3, boft, conv_lora, bottleneck), as in lora:r=8,in=encoder,whole=decoder; or "
        "tokens, for a few images. "
        "[default: what suits preset, model and number of images]",
    ),
]
Epochs = Annotated[int | None, typer.Option(metavar="N", help="Passes over the training images.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, by its name in settings.yaml. Repeatable."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN where it was cut off.")]


def fit(
    data: Data,
    out: Out,
    model: Model = None,
    preset: Preset = "default",
    train: Train = None,
    epochs: Epochs = None,
    set: Set = None,  # noqa: A002 - typer names the option after it
    resume: Resume = False,
    json: AsJson = False,
) -> int:
    """Fine-tune a model on a data set and prove what was gained.

    Checks and splits the data, trains, compares the tuned model with the pretrained one over all kinds of prompt on
    images that took no part in training, and writes the report. Ctrl-C ends it with the best so far; --resume goes on.

    For example:

        segtune fit polyps --out runs/polyps
        segtune fit cells --out runs/cells --train late:2 --epochs 20 --set data.objects=instances
    """
    from segtune.report.fitting import finetune
    from segtune.runs.settings import load_settings

    settings = load_settings(
        preset=preset, data=data, out=out, model=model, train=train, epochs=epochs, overrides=set or ()
    )
    with shown() as progress:
        result = finetune(settings, resume=resume, progress=progress)
    return tell(result, as_json=json)


def tell(result: FitResult | None, *, as_json: bool) -> int:
    """Print what a fit came to and return its exit code; one process of several speaks for all."""
    if result is None:
        return 0
    report = result.folder / "report.html"
    general = result.proof.results.general
    facts = {"crowned": result.crowned, "stopped": result.stopped, "verdict": result.verdict}
    facts |= {"general": general.verdict} if general is not None else {}
    places = {"folder": str(result.folder), "report": str(report), "layout": result.layout}
    verdict = f"{result.verdict}\n{general.verdict}" if general is not None else result.verdict
    text = f"{verdict}\nModel: {result.folder / 'model'}, in {result.layout}\nReport: {report}"
    if result.stopped:
        text += "\nStopped before the end; this is the best so far. Go on with --resume."
    answer(facts | places | {"summary": result.summary}, text, as_json=as_json)
    if result.stopped:
        # Before the question whether it was crowned: scripts must see that the run is not done.
        return INTERRUPTED
    return 0 if result.crowned else NOT_CROWNED
