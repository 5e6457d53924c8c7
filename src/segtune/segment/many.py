"""Segment many images: read ahead, encode in batches, write as it goes, go on where it was cut off."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from segtune.core.errors import DataError, SegtuneError, UsageError, unknown_name
from segtune.core.files import hash_text
from segtune.core.geometry import Frame
from segtune.core.progress import SILENT, Progress
from segtune.core.types import Embedding, Image
from segtune.data.formats.regions import OBJECT
from segtune.data.images import read_image
from segtune.models.family import PromptableModel
from segtune.models.fingerprint import hash_weights
from segtune.prompts.collate import collate
from segtune.prompts.objects import ObjectPrompt
from segtune.rollout import ask
from segtune.segment.answer import read_answers
from segtune.segment.crops import MaskCrop
from segtune.segment.encoding import device_of, evaluating
from segtune.segment.enlarge import Enlarger
from segtune.segment.everything import EverythingSettings, segment_everything
from segtune.segment.inputs import InputImage, find_inputs
from segtune.segment.journal import Journal
from segtune.segment.large import segment_large
from segtune.segment.outputs import OUTPUTS, Failed, Found, OutputFormat, Result
from segtune.segment.refine import Cleanup
from segtune.segment.tiles import TileSettings
from segtune.segment.wishes import Wishes

_READERS = 2
_TOKENS_AT_ONCE = 4096
"""Encoded in one batch on a CPU: one image of ViT-B, 16 of nano; larger batches only take memory."""

_GPU_BATCHES = 8


@dataclass(frozen=True)
class ManyResult:
    """What came of a job.

    Attributes:
        folder: of the results.
        images: how many were asked for.
        done: segmented now.
        before: that were done already when the job went on.
        without: for which nothing was asked.
        failed: by name, why.
        seconds: of the work now.
        stopped: somebody asked to stop.
    """

    folder: Path
    images: int
    done: int
    before: int
    without: int
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: bool = False


@dataclass(frozen=True, eq=False)
class _Ready:
    """An image read and prepared."""

    image: InputImage
    values: Image
    pixels: torch.Tensor
    frame: Frame
    prompts: list[ObjectPrompt]
    labels: list[str]


def segment_many(
    model: PromptableModel,
    inputs: Sequence[str | Path],
    out: Path,
    wishes: Wishes,
    *,
    everything: EverythingSettings | None = None,
    format: str | None = None,  # noqa: A002 - the word users know it by
    batch: int | None = None,
    tiles: TileSettings | None = None,
    cleanup: Cleanup | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = SILENT,
) -> ManyResult:
    """Segment what is asked of each image and write the masks, one image after another.

    Called again with the same job it goes on: images that are done are left alone, those that failed are tried again.
    An image that cannot be read, or that a prompt does not fit, is listed and stops nothing.

    Args:
        model: any promptable model, on its device.
        inputs: as `find_inputs` takes them.
        out: folder of the results; its results.jsonl says what was done.
        wishes: what is asked of each image.
        everything: find all masks of each image instead, with these settings.
        format: one of `OUTPUTS`; None: "rle" for everything in tiles, else "png".
        batch: images encoded at once; None: what suits the model and the device. Tiles are encoded one by one.
        tiles: read images of any size by window: everything mode tile by tile, prompts in a window around each object.
        cleanup: of all masks.
        stop: asked before each batch.
        progress: hears of every image.

    Raises:
        UsageError: an unknown format, nothing asked, or `out` holds the results of another job.
        DataError: no image is there, or what is asked is of none of them.
        ResourceError: the disk is full; what was complete stays.
    """
    format = format or ("rle" if everything is not None and tiles is not None else "png")  # noqa: A001
    _check_asked(wishes, everything, tiles, format)
    images = find_inputs(inputs, without=Path(out))
    wanted = images if everything or wishes.finder else [image for image in images if wishes.of(image)]
    if not wanted:
        raise DataError(_nothing_asked(images, wishes))
    output, classes = OUTPUTS[format], wishes.labels or [OBJECT]
    begun = time.perf_counter()
    journal = Journal(out, _describe_job(model, wishes, everything, format, tiles, cleanup))
    before = journal.done()
    left = [image for image in wanted if image.name not in before]
    write = partial(_write, out, journal, output, classes, cleanup)
    done, stopped = 0, False
    with progress.stage("segment", len(wanted)) as advance:
        advance(len(wanted) - len(left))
        work: Iterator[Iterable[Result | Failed]]
        if tiles is None:
            work = _in_batches(model, left, wishes, everything, batch or _batch_size(model))
        else:
            work = segment_large(model, left, wishes, everything, tiles, stop=stop, note=partial(advance, 0))
        for group in work:
            if stopped := stop():
                break
            for one in group:
                done += write(one)
                advance(1, f"{done / (time.perf_counter() - begun):.1f} images/s")
    if output.finish is not None and not stopped:
        asked = {image.name for image in wanted}
        output.finish(out, (line for line in journal.results() if line["image"] in asked), classes)
    known = journal.failed()
    failed = {image.name: known[image.name] for image in wanted if image.name in known}
    journal.close()
    return ManyResult(
        out, len(images), done, len(wanted) - len(left), len(images) - len(wanted), failed,
        time.perf_counter() - begun, stopped,
    )  # fmt: skip


def _write(
    out: Path,
    journal: Journal,
    output: OutputFormat,
    classes: Sequence[str],
    cleanup: Cleanup | None,
    one: Result | Failed,
) -> bool:
    """Write what came of an image, its files first, then its line; say whether it was segmented."""
    if isinstance(one, Failed):
        journal.add({"image": one.name, "error": one.reason})
        return False
    result = _cleaned(one, cleanup)
    output.write(out, result, classes)
    objects = [output.keep(found) for found in result.objects]
    journal.add({"image": result.name, "size": result.size, "objects": objects})
    return True


def _check_asked(
    wishes: Wishes,
    everything: EverythingSettings | None,
    tiles: TileSettings | None,
    format: str,  # noqa: A002
) -> None:
    """Refuse what cannot be done before anything is opened."""
    if format not in OUTPUTS:
        raise unknown_name("format", format, OUTPUTS)
    if everything is None and not wishes:
        raise UsageError(
            "There is nothing to segment: no prompt was given. Give points, boxes or a file of prompts, or ask for "
            "everything."
        )
    if everything is not None and wishes:
        raise UsageError("Everything mode takes no prompts, but some were given. Leave one of the two out.")
    if tiles is not None and wishes.finder is not None:
        raise UsageError(
            "Text is looked for in whole images, but tiles were asked for. Leave one of the two out, or give boxes."
        )


def _in_batches(
    model: PromptableModel,
    images: Sequence[InputImage],
    wishes: Wishes,
    everything: EverythingSettings | None,
    size: int,
) -> Iterator[Iterator[Result | Failed]]:
    """Yield, `size` images at a time, what comes of them; nothing is encoded before it is asked for."""
    for group in _read_in_batches(model, images, wishes, size):
        yield chain(
            _segment(model, [one for one in group if isinstance(one, _Ready)], everything),
            (one for one in group if isinstance(one, Failed)),
        )


def _read_in_batches(
    model: PromptableModel, images: Sequence[InputImage], wishes: Wishes, size: int
) -> Iterator[list[_Ready | Failed]]:
    """Yield images read and prepared, `size` at a time, while the next ones are being read."""

    def read(image: InputImage) -> _Ready | Failed:
        try:
            values = read_image(image.path)
            asked = (*wishes.of(image), *(wishes.finder(values) if wishes.finder else ()))
            prompts = [wish.prompt(values.shape[:2], wishes.folder) for wish in asked]
            pixels, (frame,) = model.prepare([values])
        except SegtuneError as error:
            return Failed(image.name, str(error))
        return _Ready(image, values, pixels, frame, prompts, [wish.label for wish in asked])

    with ThreadPoolExecutor(_READERS, "segtune-reader") as readers:
        waiting: deque[Future[_Ready | Failed]] = deque()
        group: list[_Ready | Failed] = []
        upcoming = iter(images)
        try:
            while True:
                while len(waiting) < 2 * size and (image := next(upcoming, None)) is not None:
                    waiting.append(readers.submit(read, image))
                if not waiting:
                    break
                group.append(waiting.popleft().result())
                if len(group) == size:
                    yield group
                    group = []
            if group:
                yield group
        finally:
            for future in waiting:
                future.cancel()


def _segment(
    model: PromptableModel, ready: Sequence[_Ready], everything: EverythingSettings | None
) -> Iterator[Result]:
    """Encode a batch at once, then yield the masks of one image after another."""
    if not ready:
        return
    frames = tuple(one.frame for one in ready)
    with evaluating([model]):
        embedding = model.encode(torch.cat([one.pixels for one in ready]).to(device_of(model)), frames)
    if everything is None:
        yield from _answer(model, ready, embedding)
        return
    for row, one in enumerate(ready):
        maps = {name: value[row : row + 1] for name, value in embedding.extra.items()}
        alone = Embedding(embedding.features[row : row + 1], (one.frame,), maps)
        masks = segment_everything(model, one.values, everything, embedding=alone)
        found = tuple(Found(mask.mask, OBJECT, mask.predicted_iou) for mask in masks)
        yield Result(one.image.name, one.image.stem, one.frame.original, found)


def _cleaned(result: Result, cleanup: Cleanup | None) -> Result:
    if cleanup is None:
        return result
    clean = (replace(one, mask=cleanup(MaskCrop.of_runs(one.mask)).runs()) for one in result.objects)
    return replace(result, objects=tuple(clean))


def _answer(model: PromptableModel, ready: Sequence[_Ready], embedding: Embedding) -> Iterator[Result]:
    """Decode the prompts of a batch at once, then bring one image's masks after another to its size."""
    frames = embedding.frames
    if not any(one.prompts for one in ready):
        yield from (Result(one.image.name, one.image.stem, one.frame.original, ()) for one in ready)
        return
    rows = [row for row, one in enumerate(ready) for _ in one.prompts]
    prompts = [prompt for one in ready for prompt in one.prompts]
    with evaluating([model]):
        answered = ask(model, embedding, collate(prompts, rows, frames, model.mask_size).to(device_of(model)))
    answers = iter(read_answers(answered, [Enlarger(frame, model.mask_size) for frame in frames]))
    for one in ready:
        found = tuple(
            Found(answer.mask.runs, label, answer.mask.quality)
            for label, answer in zip(one.labels, answers, strict=False)
        )
        yield Result(one.image.name, one.image.stem, one.frame.original, found)


def _batch_size(model: PromptableModel) -> int:
    tokens = math.prod(model.mask_size) // 16
    return max(1, _TOKENS_AT_ONCE // tokens) * (1 if device_of(model).type == "cpu" else _GPU_BATCHES)


def _describe_job(
    model: PromptableModel,
    wishes: Wishes,
    everything: EverythingSettings | None,
    format: str,  # noqa: A002
    tiles: TileSettings | None,
    cleanup: Cleanup | None,
) -> dict[str, Any]:
    """Return what two runs must share to be the same job."""
    asked = wishes.to_json() | {"folder": str(wishes.folder.absolute())}
    job: dict[str, Any] = {"model": hash_weights(model), "format": format, "prompts": hash_text(str(asked))}
    # By way of JSON, as the journal gives it back.
    whole = None if everything is None else json.loads(json.dumps(asdict(everything)))
    job |= {"refine": str(cleanup)} if cleanup is not None else {}
    job |= {"tiles": asdict(tiles)} if tiles else {}
    return job | ({"variant": model.variant} if model.variant else {}) | ({"everything": whole} if whole else {})


def _nothing_asked(images: Sequence[InputImage], wishes: Wishes) -> str:
    return (
        f"None of the {len(images)} images (the first is {images[0].name}) is named in the file of prompts (its first "
        f"is {next(iter(wishes.by_name))}). Name them by their path below the folder given, or by their file's name."
    )
