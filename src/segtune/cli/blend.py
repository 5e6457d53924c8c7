"""`segtune blend`: between the pretrained and the tuned model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from segtune.cli.options import AsJson
from segtune.cli.output import answer
from segtune.cli.progress import shown

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a fit. Nothing is written into it.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Where the model, the curve and the report go.")]
Alpha = Annotated[
    float | None, typer.Option(metavar="A", help="Take this share of the tuned model, whatever the curve says.")
]
Alphas = Annotated[
    str | None, typer.Option(metavar="A,B,…", help="Shares of the tuned model to try. [default: .1 to .9 by .1]")
]
Keep = Annotated[
    float | None, typer.Option(metavar="SHARE", help="Share of the highest gain that must stay. [default: 0.9]")
]
General = Annotated[
    str | None,
    typer.Option(metavar="suite|FOLDER", help="General images to forget least of. [default: as in the run]"),
]


def blend(
    run: Run,
    out: Out,
    alpha: Alpha = None,
    alphas: Alphas = None,
    keep: Keep = None,
    general: General = None,
    json: AsJson = False,
) -> int:
    """Blend a tuned model with the one it started from, so that it keeps its gain and forgets less.

    Each blend is scored on the run's validation images and on general ones. Of those that keep at least --keep of the
    highest gain the one is taken that loses least on general images; it is scored once on the test images.

    For example:

        segtune blend runs/polyps --out runs/polyps-blend
    """
    from segtune.core.errors import UsageError
    from segtune.report.page import write_report
    from segtune.report.pictures import pictures_of
    from segtune.runs.blend import ALPHAS
    from segtune.runs.blend import blend as make

    if alpha is not None and (alphas is not None or keep is not None):
        raise UsageError(
            "--alpha says which blend to take, --alphas and --keep how to choose one. Leave out one or the others."
        )
    try:
        shares = tuple(float(share) for share in alphas.split(",")) if alphas else ALPHAS
    except ValueError as error:
        raise UsageError(
            f"--alphas takes numbers separated by commas, as in .25,.5,.75; this was '{alphas}'."
        ) from error
    with shown() as progress:
        share = 0.9 if keep is None else keep
        made = make(run, out, alphas=shares, fixed=alpha, keep=share, general=general, progress=progress)
        page = write_report(out, pictures_of(made.proof), progress)
    results = made.proof.results
    forgotten = results.general.verdict if results.general else ""
    facts = made.summary | {"folder": str(out), "report": str(page), "verdict": results.verdict, "general": forgotten}
    text = f"Alpha {made.alpha:g}: {made.summary['rule']}.\n{results.verdict}\n{forgotten}\nModel: {out / 'model'}\n"
    answer(facts, f"{text}Report: {page}", as_json=json)
    return 0
