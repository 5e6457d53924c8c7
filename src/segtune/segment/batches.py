"""What is done with each of many images: read ahead, encoded in batches, answered one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

import torch

from segtune.core.errors import SegtuneError
from segtune.core.geometry import Frame
from segtune.core.rle import RunLengths
from segtune.core.types import Embedding, Image
from segtune.data.formats.regions import OBJECT
from segtune.data.images import PIXEL_LIMIT
from segtune.data.reading import BY_CONTENT, Reading
from segtune.models.family import PromptableModel
from segtune.prompts.collate import collate
from segtune.prompts.objects import ObjectPrompt
from segtune.rollout import ask
from segtune.segment.answer import read_answers
from segtune.segment.crops import MaskCrop
from segtune.segment.encoding import batch_size, device_of, evaluating
from segtune.segment.enlarge import Enlarger
from segtune.segment.everything import EverythingSettings, segment_everything
from segtune.segment.inputs import InputImage
from segtune.segment.large import segment_large
from segtune.segment.outputs import Failed, Found, Result
from segtune.segment.refine import Cleanup
from segtune.segment.stopping import StoppedError, stopping
from segtune.segment.tiles import TileSettings
from segtune.segment.wishes import Wishes

_READERS = 2


@dataclass(frozen=True)
class Task:
    """What is to be done with each image.

    Attributes:
        wishes: what is asked of it.
        everything: find all its masks instead, with these settings.
        tiles: read it by window, whatever its size.
        cleanup: of all masks whose box has no more pixels than an image that is read whole (`PIXEL_LIMIT`).
        reading: how image files are read.
        probability: `Found.probability` is wanted, of what is prompted in whole images.
    """

    wishes: Wishes
    everything: EverythingSettings | None = None
    tiles: TileSettings | None = None
    cleanup: Cleanup | None = None
    reading: Reading = BY_CONTENT
    probability: bool = False


@dataclass(frozen=True, eq=False)
class _Ready:
    """An image read and prepared; at its own size it is kept only where somebody looks at it again."""

    image: InputImage
    values: Image | None
    pixels: torch.Tensor
    frame: Frame
    prompts: list[ObjectPrompt]
    labels: list[str]


def answer_images(
    model: PromptableModel,
    images: Sequence[InputImage],
    task: Task,
    *,
    batch: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda told: None,
) -> Generator[Iterable[Result | Failed], None, None]:
    """Yield what comes of images, group by group, each group once it is asked for.

    Args:
        model: any promptable model, on its device.
        images: to segment.
        task: what is to be done with each.
        batch: images, or windows around objects, encoded at once; None: what suits the model and the device. Tiles of
            everything mode are encoded one by one.
        stop: asked in the midst of an image in tiles or in everything mode, which then gives nothing.
        note: hears how far such an image has come.
    """
    groups: Iterator[Iterable[Result | Failed]]
    size = batch or batch_size(model, device_of(model).type)
    if task.tiles is None:
        groups = _in_batches(model, images, task, size, stop)
    else:
        groups = segment_large(
            model, images, task.wishes, task.everything, task.tiles, reading=task.reading, batch=size, stop=stop,
            note=note,
        )  # fmt: skip
    for group in groups:
        yield (_cleaned(one, task.cleanup) for one in group)


def _in_batches(
    model: PromptableModel, images: Sequence[InputImage], task: Task, size: int, stop: Callable[[], bool]
) -> Iterator[Iterator[Result | Failed]]:
    """Yield, `size` images at a time, what comes of them; nothing is encoded before it is asked for."""
    for group in _read_in_batches(model, images, task, size):
        yield chain(
            _segment(model, [one for one in group if isinstance(one, _Ready)], task, stop),
            (one for one in group if isinstance(one, Failed)),
        )


def _read_in_batches(
    model: PromptableModel, images: Sequence[InputImage], task: Task, size: int
) -> Iterator[list[_Ready | Failed]]:
    """Yield images read and prepared, `size` at a time, while the next ones are being read."""
    wishes = task.wishes

    def read(image: InputImage) -> _Ready | Failed:
        try:
            image.check()
            values = task.reading.read(image.path)
            found = wishes.finder(values) if wishes.finder else ()
            if "text" in model.accepts:  # what was found is what the phrase names, and not the model's own
                found = tuple(wish.model_copy(update={"text": wish.text or wish.label}) for wish in found)
            asked = (*wishes.of(image), *found)
            prompts = [wish.prompt(values.shape[:2], wishes.folder) for wish in asked]
            pixels, (frame,) = model.prepare([values])
        except SegtuneError as error:
            return Failed(image.name, str(error))
        # With an embedding everything mode looks at pixels for the crops alone.
        kept = values if task.everything is not None and task.everything.crop_n_layers else None
        return _Ready(image, kept, pixels, frame, prompts, [wish.label for wish in asked])

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


def _segment(model: PromptableModel, ready: Sequence[_Ready], task: Task, stop: Callable[[], bool]) -> Iterator[Result]:
    """Encode a batch at once, then yield the masks of one image after another; none where somebody asks to stop."""
    if not ready:
        return
    frames = tuple(one.frame for one in ready)
    with evaluating([model]):
        embedding = model.encode(torch.cat([one.pixels for one in ready]).to(device_of(model)), frames)
    if task.everything is None:
        yield from _answer(model, ready, embedding, task.probability)
        return
    for row, one in enumerate(ready):
        maps = {name: value[row : row + 1] for name, value in embedding.extra.items()}
        alone = Embedding(embedding.features[row : row + 1], (one.frame,), maps)
        try:
            masks = segment_everything(model, one.values, task.everything, embedding=alone, on_clicks=stopping(stop))
        except StoppedError:
            return
        found = tuple(Found(mask.mask, OBJECT, mask.told_quality(model)) for mask in masks)
        yield Result(one.image.name, one.image.stem, one.frame.original, found)


def _cleaned(result: Result | Failed, cleanup: Cleanup | None) -> Result | Failed:
    """Clean the masks but for those that are too large to be written out, as the background of a vast image is."""
    if cleanup is None or isinstance(result, Failed):
        return result
    vast = [_box_area(one.mask) > PIXEL_LIMIT for one in result.objects]
    clean = (
        one if large else replace(one, mask=cleanup(MaskCrop.of_runs(one.mask)).runs())
        for one, large in zip(result.objects, vast, strict=True)
    )
    return replace(result, objects=tuple(clean), uncleaned=sum(vast))


def _box_area(mask: RunLengths) -> int:
    x0, y0, x1, y1 = mask.box or (0, 0, 0, 0)
    return (x1 - x0) * (y1 - y0)


def _answer(
    model: PromptableModel, ready: Sequence[_Ready], embedding: Embedding, probability: bool
) -> Iterator[Result]:
    """Decode the prompts of a batch at once, then bring one image's masks after another to its size."""
    frames = embedding.frames
    if not any(one.prompts for one in ready):
        yield from (Result(one.image.name, one.image.stem, one.frame.original, ()) for one in ready)
        return
    rows = [row for row, one in enumerate(ready) for _ in one.prompts]
    prompts = [prompt for one in ready for prompt in one.prompts]
    with evaluating([model]):
        answered = ask(model, embedding, collate(prompts, rows, frames, model.mask_size).to(device_of(model)))
    enlargers = [Enlarger(frame, model.mask_size) for frame in frames]
    masks = (answer.mask for answer in read_answers(answered, enlargers, quality_map=model.quality_map))
    for one in ready:
        found = tuple(
            Found(mask.runs, label, mask.quality, mask.probability if probability else None)
            for label, mask in zip(one.labels, masks, strict=False)
        )
        yield Result(one.image.name, one.image.stem, one.frame.original, found)
