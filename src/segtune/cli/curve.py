"""`segtune curve`: would more labels help?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segtune.cli.fit import Epochs, Model, Preset, Set, Train
from segtune.cli.options import AsJson, Data
from segtune.cli.output import answer
from segtune.cli.progress import shown
from segtune.core.errors import INCOMPLETE, INTERRUPTED

Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the fits and the curve go; an earlier one goes on.")]
Sizes = Annotated[
    str,
    typer.Option(
        metavar="25,50,100|0.25,0.5",
        help="Training images of each fit, as numbers or as shares with a decimal point; all of them always come last.",
    ),
]
Seeds = Annotated[int, typer.Option(min=1, metavar="N", help="Trainings of each size, each on another draw of images.")]


def curve(
    data: Data,
    out: Out,
    sizes: Sizes = "0.125,0.25,0.5",
    seeds: Seeds = 2,
    model: Model = None,
    preset: Preset = "default",
    train: Train = None,
    epochs: Epochs = None,
    set: Set = None,  # noqa: A002 - typer names the option after it
    json: AsJson = False,
) -> int:
    """Tune on parts of the training images and tell whether more labels would help.

    Every fit has the same validation and test images; fewer training images are always among more. A power law through
    the test figures says what twice and four times as many labels would bring, with an interval. Each fit is a run
    folder like that of segtune fit. Cut off or stopped by Ctrl-C, the same command goes on.

    For example:

        segtune curve polyps --out runs/curve
        segtune curve polyps --out runs/curve --sizes 25,50,100,200 --seeds 3 --epochs 10
    """
    from segtune.report.curve import tell_curve, write_curve
    from segtune.report.fitting import fit_and_report
    from segtune.runs.curve import plan_curve, run_curve

    with shown() as progress:
        plan = plan_curve(
            sizes, seeds, out, preset=preset, overrides=set or (), data=data, model=model, train=train, epochs=epochs,
            progress=progress,
        )  # fmt: skip
        found = run_curve(plan, lambda one, resume: fit_and_report(one, resume=resume, progress=progress), progress)
    page = write_curve(found) if found.curve is not None else None
    verdict = tell_curve(found)
    facts = found.to_json() | {"folder": str(out), "report": None if page is None else str(page), "verdict": verdict}
    answer(facts, verdict + ("" if page is None else f"\nReport: {page}"), as_json=json)
    if found.compared.stopped:
        return INTERRUPTED
    return INCOMPLETE if found.compared.failed else 0
