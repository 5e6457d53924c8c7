"""`segtune evaluate`: the prompt matrix of one model or several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from segtune.cli.options import AsJson, Data, Format
from segtune.cli.output import answer
from segtune.cli.progress import shown

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="nano, a run folder, a local folder, an original .pth or .pt, a hub id.")
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where metrics.json, per_image.csv and the report go.")]
Against = Annotated[
    list[str] | None, typer.Option(metavar="MODEL", help="A model to compare with on the same images. Repeatable.")
]
Modes = Annotated[
    str | None,
    typer.Option(metavar="click,box,…", help="Prompt modes, separated by commas. [default: all but everything]"),
]
Split = Annotated[Path | None, typer.Option(metavar="FILE", help="A split.json that says which images are which part.")]
Part = Annotated[
    Literal["train", "val", "test", "all"] | None,
    typer.Option(help="Which part of the split. [default: test where there is a split, else all]"),
]
ObjectsOfRun = Annotated[
    str | None,
    typer.Option(
        "--objects",
        metavar="whole|parts|labels|instances",
        help="What one object is. [default: as in a compared run on this data, else whole]",
    ),
]
Tta = Annotated[
    str | None,
    typer.Option(metavar="flip|flips|scale|jitter,…", help="Score each model once more, averaged over such views."),
]
Refine = Annotated[
    str | None,
    typer.Option(metavar="largest,holes=N,…", help="Score each model once more, its masks cleaned as by segment."),
]
Unseen = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="OTHER", help="Data of another domain: scored as well, and the drop against DATA told. Repeatable."
    ),
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of the prompts; every model gets the same ones.")]


def evaluate(
    model: Model,
    data: Data,
    out: Out,
    against: Against = None,
    modes: Modes = None,
    split: Split = None,
    part: Part = None,
    objects: ObjectsOfRun = None,
    format: Format = None,  # noqa: A002 - the word users know it by
    tta: Tta = None,
    refine: Refine = None,
    unseen: Unseen = None,
    seed: Seed = 0,
    json: AsJson = False,
) -> int:
    """Measure models on a data set with every kind of prompt, at original image size, on the same images.

    Images that a compared run was trained on, or that nearly equal one of those, are left out and counted, unless
    --part says otherwise.

    The mode everything prompts nothing: it scores for each object the best of the 100 automatic masks that the model
    believes in most. It takes a thousand clicks an image, so it is scored only where --modes names it.

    With --tta or --refine each model is scored twice in one run, as it is and so, and the results are about the gain.

    With --unseen the models are scored on other data too, and a table says how much lower each stands there than on
    DATA, with intervals. Images that a compared run has learned from are left out there as well.

    For example:

        segtune evaluate runs/polyps polyps --out compared --against nano --modes click,box
        segtune evaluate runs/polyps polyps --out elsewhere --against nano --unseen other_clinic
    """
    from segtune.report.page import write_report
    from segtune.report.pictures import pictures_of
    from segtune.report.unseen import tell_unseen
    from segtune.runs.evaluate import evaluate_models

    with shown() as progress:
        proof = evaluate_models(
            model,
            data,
            out,
            against=against or (),
            modes=[mode.strip() for mode in modes.split(",")] if modes else None,
            split=split,
            part=part,
            objects=objects,
            format=format,
            seed=seed,
            tta=[name.strip() for name in tta.split(",")] if tta else (),
            refine=refine,
            unseen=unseen or (),
            progress=progress,
        )
        page = write_report(out, pictures_of(proof), progress)
    facts = proof.results.to_json() | {"folder": str(out), "report": str(page)}
    told = "\n\n".join([proof.results.verdict, *tell_unseen(proof.results)])
    answer(facts, f"{told}\nReport: {page}", as_json=json)
    return 0
