"""`segtune segment`: masks for a folder of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segtune.cli.options import AsJson, Bands, Window
from segtune.cli.output import answer
from segtune.cli.progress import shown
from segtune.core.errors import INTERRUPTED, DataError, UsageError

if TYPE_CHECKING:
    from segtune.models.family import PromptableModel
    from segtune.segment.many import ManyResult
    from segtune.segment.refine import Cleanup
    from segtune.segment.text import TextFinder
    from segtune.segment.tiles import TileSettings

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="nano, a run folder, a local folder, an original .pth or .pt, a hub id.")
]
Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...", help="Images, folders, patterns in quotes, or a .txt file with a path per line."
    ),
]
Out = Annotated[
    Path, typer.Option(metavar="DIR", help="Where the masks and results.jsonl go: a new or an empty folder.")
]
OutFormat = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="png|probability|labelmap|coco|yolo|geojson|rle",
        help="png: a file per object. probability: the same, 0 to 255 by how likely the model holds each pixel. "
        "labelmap: object numbers. coco: annotations.json. yolo, geojson: outlines. rle: run lengths, a JSON file per "
        "image. [default: png; rle with --everything --tiles]",
    ),
]
Points = Annotated[
    str | None,
    typer.Option(metavar='"x,y;x,y,-"', help="Clicks for one object in every image; a minus: not on the object."),
]
Boxes = Annotated[str | None, typer.Option(metavar='"x0,y0,x1,y1;…"', help="Boxes, one object each, in every image.")]
PromptFile = Annotated[
    Path | None,
    typer.Option(
        "--prompts", metavar="FILE.json", help='{"image.jpg": [{"points": [[x, y, 1]], "box": [x0, y0, x1, y1]}]}.'
    ),
]
Text = Annotated[
    str | None, typer.Option(metavar='"polyp, instrument"', help="Segment what phrases name. Experimental.")
]
Detector = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL", help="Finds what --text names: an OWLv2, Grounding DINO or SAM 3, by hub id or folder."
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--text-threshold", min=0, max=1, metavar="S", help="Score from which on --text's boxes count. [default: 0.2]"
    ),
]
Everything = Annotated[bool, typer.Option("--everything", help="All masks that a grid of clicks finds, no prompts.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of --everything, such as points_per_side. Repeatable."),
]
Tta = Annotated[
    str | None,
    typer.Option(metavar="flip|flips|scale|jitter,…", help="Average over such views: slower, and often better."),
]
Refine = Annotated[
    str | None,
    typer.Option(
        metavar="largest,holes=N,…",
        help="Clean the masks: largest, holes=N, specks=N (pixels), opening=R, closing=R, smooth=S.",
    ),
]
Tiles = Annotated[
    bool,
    typer.Option(
        "--tiles", help="Images of any size, read by window: --everything tile by tile, prompts zoomed on their object."
    ),
]
TileSide = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Side of a tile in pixels, and of the window looked at first around clicks without a box; implies "
        "--tiles. [default: 1024]",
    ),
]
TileOverlap = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        help="What neighbouring tiles of --everything share at least, as a share of their side, up to 0.5; implies "
        "--tiles. [default: 0.25]",
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="local|auto|HOST:PORT|ray://HOST:PORT",
        help="Compute on a Ray cluster: a new one on this machine, the one it belongs to (by its address too), or "
        "another. Extra ray.",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Images, or windows around objects, encoded at once. [default: by the model]"
    ),
]


def segment(
    model: Model,
    inputs: Inputs,
    out: Out,
    format: OutFormat = None,  # noqa: A002 - the word users know it by
    points: Points = None,
    boxes: Boxes = None,
    prompts: PromptFile = None,
    text: Text = None,
    detector: Detector = None,
    text_threshold: Threshold = None,
    everything: Everything = False,
    set: Set = None,  # noqa: A002 - typer names the option after it
    tta: Tta = None,
    refine: Refine = None,
    batch: Batch = None,
    tiles: Tiles = False,
    tile_side: TileSide = None,
    tile_overlap: TileOverlap = None,
    on: On = None,
    bands: Bands = None,
    window: Window = None,
    json: AsJson = False,
) -> int:
    """Segment objects in one image or a million, by clicks, boxes and masks in pixels of the original images.

    Images look as the run that MODEL came of saw its data, unless --bands or --window says otherwise.
    Cut off, the same command goes on where it was. An image that cannot be read is listed and stops nothing.

    For example:

        segtune segment runs/polyps "photos/**/*.jpg" --out masks --prompts boxes.json
        segtune segment nano photo.jpg --out masks --points "120,80;40,30,-"
        segtune segment runs/cells plates --out cells --everything --format labelmap
        segtune segment runs/fields satellite.tif --out fields --everything --tiles
        segtune segment runs/polyps /shared/photos --out masks --prompts boxes.json --on ray://head:10001
    """
    from segtune.models.device import pick_device
    from segtune.models.open import open_model
    from segtune.runs.interrupt import StopOnInterrupt
    from segtune.segment.everything import settings_for
    from segtune.segment.many import segment_many
    from segtune.segment.origin import reading_for
    from segtune.segment.wishes import gather_wishes

    _check_together(
        on, text=text, detector=detector, text_threshold=text_threshold, set=set, everything=everything,
        tiles=tiles or tile_side or tile_overlap, batch=batch, tile_overlap=tile_overlap,
    )  # fmt: skip
    cleanup = _cleanup(refine)
    wishes = gather_wishes(points, boxes, prompts)
    with shown() as progress, StopOnInterrupt() as stop:
        device = pick_device("cpu" if on else "auto")  # on a cluster the workers compute
        if text is not None:
            wishes = replace(wishes, finder=_finder(text, detector, text_threshold, device))
        opened = open_model(model, device=device)
        result = segment_many(
            _averaged(opened, tta), inputs, out, wishes, format=format, batch=batch, cleanup=cleanup, on=on, stop=stop,
            everything=settings_for(opened, set or ()) if everything else None, progress=progress,
            tiles=_tiling(tiles, tile_side, tile_overlap), reading=reading_for(opened).told(bands=bands, window=window),
        )  # fmt: skip
    facts = asdict(result) | {"folder": str(out), "seconds": round(result.seconds, 3)}
    answer(facts, _told(facts), as_json=json)
    return _exit_code(result)


_NEEDS = {
    "--detector": "--text", "--text-threshold": "--text", "--set": "--everything", "--tile-overlap": "--everything",
}  # fmt: skip
"""Options that say nothing without another."""

_APART = (
    (("--text", "--everything"), "Everything mode takes no prompts"),
    (("--text", "--tiles"), "Text is looked for in whole images"),
    (("--batch", "--everything", "--tiles"), "Tiles of everything mode are encoded one by one"),
)
"""Options of which one would be ignored, and why."""


def _check_together(on: str | None, **options: object) -> None:
    """Refuse options that would be ignored and a place that cannot be reached, before anything is opened."""
    from segtune.segment.cluster import check_place

    named = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    given = {name for name, value in named.items() if value is not None and value is not False and value != []}
    for name, other in _NEEDS.items():
        if name in given and other not in given:
            raise UsageError(f"{name} is about {other}, which was not given. Add {other}, or leave {name} out.")
    for together, why in _APART:
        if given.issuperset(together):
            raise UsageError(f"{why}, but {' and '.join(together)} were given. Leave one of them out.")
    if on is not None:
        check_place(on)


def _finder(text: str, detector: str | None, threshold: float | None, device: str) -> TextFinder:
    from segtune.segment.text import THRESHOLD, find_by_text

    return find_by_text(text, detector, THRESHOLD if threshold is None else threshold, device=device)


def _cleanup(refine: str | None) -> Cleanup | None:
    from segtune.segment.refine import parse_cleanup

    return None if refine is None else parse_cleanup(refine)


def _averaged(model: PromptableModel, tta: str | None) -> PromptableModel:
    from segtune.segment.views import averaged

    return averaged(model, [] if tta is None else [name.strip() for name in tta.split(",")])


def _tiling(tiles: bool, side: int | None, overlap: float | None) -> TileSettings | None:
    from segtune.segment.tiles import TileSettings

    plain = TileSettings()
    if not tiles and side is None and overlap is None:
        return None
    return TileSettings(plain.side if side is None else side, plain.overlap if overlap is None else overlap)


def _exit_code(result: ManyResult) -> int:
    if result.stopped:
        return INTERRUPTED
    return DataError.exit_code if result.failed and not result.done + result.before else 0


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" … and {len(names) - 10} more" if len(names) > 10 else "")


_NOTHING = (
    "Not one mask was found. Lower thresholds find more: --set pred_iou_thresh=0.2 --set stability_score_thresh=0.6 "
    "with --everything (segtune calibrate fits them to a model), --text-threshold with --text."
)


def _images(count: int) -> str:
    return f"{count} {'image' if count == 1 else 'images'}"


def _told(facts: Mapping[str, Any]) -> str:
    """Return what was done, for people."""
    rate = facts["done"] / facts["seconds"] if facts["seconds"] else 0.0
    speed = f"in {facts['seconds']:.1f} s ({rate:.1f} a second)"
    lines = [f"{_images(facts['done'])} segmented {speed}, masks: {facts['masks']}. They are in {facts['folder']}"]
    if facts["done"] and not facts["masks"]:
        lines.append(_NOTHING)
    if facts["uncleaned"]:
        lines.append(f"Left as found, for --refine cleans no mask whose box is so large: {facts['uncleaned']} masks.")
    if facts["before"]:
        lines.append(f"Done before: {_images(facts['before'])}.")
    if facts["without"]:
        lines.append(f"Left out for want of a prompt: {_images(facts['without'])}.")
    if facts["unknown"]:
        lines.append(f"Named in the file of prompts, but of no image or of several: {_few(facts['unknown'])}.")
    if facts["stopped"]:
        lines.append("Stopped before the end. The same command goes on from here.")
    if facts["failed"]:
        lines.append(f"{_images(len(facts['failed']))} could not be segmented:")
        lines += [f"  {name}: {reason}" for name, reason in list(facts["failed"].items())[:20]]
        if len(facts["failed"]) > 20:
            lines.append(f"  … and {len(facts['failed']) - 20} more; results.jsonl lists them all.")
    return "\n".join(lines)
