"""`segtune compare`: which setting does best, by a grid of fits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segtune.cli.fit import Epochs, Model, Preset, Set, Train
from segtune.cli.options import AsJson, Data, name_of
from segtune.cli.output import answer
from segtune.cli.progress import shown
from segtune.core.errors import INCOMPLETE, INTERRUPTED, NOT_CROWNED

Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where the fits and the comparison go; an earlier one goes on. [default: runs/compare-NAME]",
    ),
]
Vary = Annotated[
    list[str],
    typer.Option(
        metavar="KEY=A,B,C",
        help="What varies: loss, train, model, lr, epochs, preset, or any setting by its name in settings.yaml; every "
        "combination is run. Values with commas of their own are parted by |. Repeatable.",
    ),
]
Seeds = Annotated[int, typer.Option(min=1, metavar="N", help="Trainings of each combination: seeds 0 to N - 1.")]


def compare(
    data: Data,
    vary: Vary,
    out: Out = None,
    seeds: Seeds = 3,
    model: Model = None,
    preset: Preset = "default",
    train: Train = None,
    epochs: Epochs = None,
    set: Set = None,  # noqa: A002 - typer names the option after it
    json: AsJson = False,
) -> int:
    """Run a grid of fits on the same data and split, and tell which setting does best and how sure that is.

    The setting of the best validation score wins; its figure on the test images tells how well it does. Each fit is a
    run folder like that of segtune fit. Cut off or stopped by Ctrl-C, the same command goes on; values and seeds may be
    added. loss=bce+dice means equal shares, loss=focal:20+dice:1 shares of 20 to 1.

    For example:

        segtune compare polyps --vary loss=dice,bce+dice --vary train=decoder,full --seeds 3
        segtune compare polyps --vary "train=full|lora:r=8,in=encoder" --vary lr=3e-4,1e-3 --out runs/adapters
    """
    from segtune.report.comparison import describe_comparison, write_comparison
    from segtune.report.fitting import fit_and_report
    from segtune.runs.compare import plan_comparison, run_comparison

    folder = out or Path("runs") / f"compare-{name_of(data)}"
    plan = plan_comparison(
        vary, seeds, folder, preset=preset, overrides=set or (), data=data, model=model, train=train, epochs=epochs
    )
    with shown() as progress:
        found = run_comparison(
            plan, lambda one, resume: fit_and_report(one, resume=resume, progress=progress), progress
        )
    page = write_comparison(found) if found.ablation is not None else None
    facts = found.to_json() | {"folder": str(folder), "report": None if page is None else str(page)}
    text = describe_comparison(found) + ("" if page is None else f"\nReport: {page}")
    answer(facts | {"verdict": describe_comparison(found)}, text, as_json=json)
    if found.stopped:
        return INTERRUPTED
    if found.failed:
        return INCOMPLETE
    return 0 if found.ablation is not None and found.ablation.winner.crowned else NOT_CROWNED
