"""Prompts on large images: the model sees a window around the object, not the whole image brought down to its square.

A box says where to look. Clicks do not: a window around them is looked at first, and a larger one as long as what is
found there is cut off by it; then the box of what was found is zoomed on like one that was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from segtune.core.errors import UsageError
from segtune.core.rle import RunLengths
from segtune.core.types import POINT_POSITIVE
from segtune.data.windows import Windows
from segtune.models.family import PromptableModel
from segtune.prompts.collate import collate
from segtune.prompts.objects import ObjectPrompt, window
from segtune.rollout import ask
from segtune.segment.answer import Answer, read_answers
from segtune.segment.encoding import batch_size, device_of, evaluating
from segtune.segment.enlarge import Enlarger
from segtune.segment.grid import Crop, is_cut_off

_BoxOf = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the image."""

_DETAIL = 2
"""Pixels along a window's side, in sides of the model's square, from which on it is read smaller."""


@dataclass(frozen=True)
class ZoomSettings:
    """How far to zoom.

    Attributes:
        margin: what is added on each side of an object's box, as a share of its longer side.
        smallest: least side of a window in pixels.
        first: side in pixels of the window around clicks that is looked at first.

    Raises:
        UsageError: a value out of its range.
    """

    margin: float = 0.5
    smallest: int = 64
    first: int = 1024

    def __post_init__(self) -> None:
        if not 0 <= self.margin < float("inf"):
            raise UsageError(f"The margin of a zoom must be 0 or more, but is {self.margin!r}. 0.5 suits most objects.")
        for name in ("smallest", "first"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} must be a whole number of pixels, 1 or more, but is {value!r}. Choose one.")


@dataclass(frozen=True)
class ZoomedMask:
    """The answer to one prompt.

    Attributes:
        mask: at the size of the whole image.
        quality: predicted IoU, as people are told it (`Mask.quality`).
        window: x0, y0, x1, y1 of what the model saw, in pixels of the image.
    """

    mask: RunLengths
    quality: float
    window: tuple[int, int, int, int]


def segment_zoomed(
    model: PromptableModel, windows: Windows, prompt: ObjectPrompt, settings: ZoomSettings | None = None
) -> ZoomedMask:
    """Segment one object in a window around it.

    Args:
        model: any promptable model. Its image encoder runs once for a box or a mask, twice or more for clicks alone.
        windows: the image.
        prompt: in pixels of the image, as `given_prompt` makes it.
        settings: how far to zoom.

    Raises:
        UnreadableError: the image's file is damaged.
    """
    (found,) = segment_all_zoomed(model, windows, [prompt], settings, batch=1)
    return found


def segment_all_zoomed(
    model: PromptableModel,
    windows: Windows,
    prompts: Iterable[ObjectPrompt],
    settings: ZoomSettings | None = None,
    *,
    batch: int | None = None,
) -> Iterator[ZoomedMask]:
    """Yield the answer to each prompt, in their order; windows of several objects are encoded together.

    Args:
        model: any promptable model.
        windows: the image.
        prompts: as of `segment_zoomed`, taken `batch` at a time.
        settings: how far to zoom.
        batch: windows that are encoded at once; None: what suits the model and the device.

    Raises:
        UnreadableError: the image's file is damaged.
    """
    settings = settings or ZoomSettings()
    size = batch or batch_size(model, device_of(model).type)
    upcoming = iter(prompts)
    while group := list(islice(upcoming, size)):
        boxes = _boxes(model, windows, group, settings)
        seen = [_window(box, windows.size, settings) for box in boxes]
        for crop, answer in zip(seen, _answers(model, windows, group, seen), strict=True):
            yield ZoomedMask(_runs(answer, crop, windows.size), answer.mask.quality, crop.box)


def _boxes(
    model: PromptableModel, windows: Windows, prompts: Sequence[ObjectPrompt], settings: ZoomSettings
) -> list[_BoxOf]:
    """Return the box of each object: as it was given, or of what clicks find in a window that it does not leave."""
    boxes = [_box_of(prompt) for prompt in prompts]
    sides = {number: _first_side(prompts[number], settings) for number, box in enumerate(boxes) if box is None}
    while sides:
        asked = [prompts[number] for number in sides]
        seen = [
            _square(_centre(_around_clicks(prompt)), side, windows.size)
            for prompt, side in zip(asked, sides.values(), strict=True)
        ]
        for number, crop, answer in zip(list(sides), seen, _answers(model, windows, asked, seen), strict=True):
            found, clicks = answer.mask.runs.box, _around_clicks(prompts[number])
            if found is not None and crop.size != windows.size and is_cut_off(found, crop, windows.size):
                sides[number] *= 2
                continue
            del sides[number]
            there = _runs(answer, crop, windows.size).box
            boxes[number] = clicks if there is None else _joined(there, clicks)
    return [box for box in boxes if box is not None]


def _first_side(prompt: ObjectPrompt, settings: ZoomSettings) -> float:
    """Return the side of the window around clicks that is looked at first: those far apart must lie well inside."""
    x0, y0, x1, y1 = _around_clicks(prompt)
    return max(float(settings.first), 2 * max(x1 - x0, y1 - y0))


def _answers(
    model: PromptableModel, windows: Windows, prompts: Sequence[ObjectPrompt], seen: Sequence[Crop]
) -> Iterator[Answer]:
    """Segment each prompt in its window, all of them encoded at once; masks of an answer are at its window's size."""
    prepared = [model.prepare([windows.read_small(crop.rows, crop.columns, _DETAIL * model.side)]) for crop in seen]
    pixels, read = torch.cat([one for one, _ in prepared]), tuple(frame for _, (frame,) in prepared)
    # Of a window that was read smaller too, prompts and masks are in pixels of the image.
    frames = tuple(replace(frame, original=crop.size) for frame, crop in zip(read, seen, strict=True))
    moved = [_moved(prompt, crop) for prompt, crop in zip(prompts, seen, strict=True)]
    joined = collate(moved, range(len(moved)), frames, model.mask_size)
    device = device_of(model)
    with evaluating([model]):
        embedding = replace(model.encode(pixels.to(device), read), frames=frames)
        current = ask(model, embedding, joined.to(device))
    enlargers = [Enlarger(frame, model.mask_size) for frame in frames]
    yield from read_answers(current, enlargers, quality_map=model.quality_map)


def _moved(prompt: ObjectPrompt, seen: Crop) -> ObjectPrompt:
    """Return a prompt in the pixels of a window."""
    left, top, right, bottom = seen.box
    points = prompt.points - np.array([left, top], dtype=np.float32)
    # A click that says what the object is not may lie out of view, where it says nothing.
    shown = ((points > -1) & (points < [right - left, bottom - top])).all(axis=1)
    box = None
    if prompt.box is not None:
        corner = np.array([left, top, left, top], dtype=np.float32)
        width, height = right - left, bottom - top
        box = np.clip(prompt.box - corner, 0, np.array([width, height, width, height], dtype=np.float32))
    mask = None if prompt.mask is None else prompt.mask[seen.rows, seen.columns]
    return replace(prompt, points=points[shown], point_labels=prompt.point_labels[shown], box=box, mask=mask)


def _box_of(prompt: ObjectPrompt) -> _BoxOf | None:
    """Return the box in which a prompt says its object is, clicks on it included; None where it does not say."""
    boxes = [] if prompt.box is None else [tuple(float(value) for value in prompt.box)]
    inside = None if prompt.mask is None else window(prompt.mask)
    if inside is not None:
        rows, columns = inside
        boxes.append((columns.start, rows.start, columns.stop, rows.stop))
    if not boxes:
        return None
    # Clicks on the object belong to it, wherever its box was drawn.
    return _joined(*boxes, *([_around_clicks(prompt)] if (prompt.point_labels == POINT_POSITIVE).any() else []))


def _around_clicks(prompt: ObjectPrompt) -> _BoxOf:
    """Return the box of the clicks on the object; of all, where none is on it."""
    on_it = prompt.points[prompt.point_labels == POINT_POSITIVE]
    places = on_it if len(on_it) else prompt.points
    x0, y0 = (float(value) for value in places.min(axis=0))
    x1, y1 = (float(value) for value in places.max(axis=0) + 1)
    return x0, y0, x1, y1


def _joined(*boxes: Sequence[float]) -> _BoxOf:
    x0, y0 = (min(box[axis] for box in boxes) for axis in (0, 1))
    x1, y1 = (max(box[axis] for box in boxes) for axis in (2, 3))
    return x0, y0, x1, y1


def _window(box: _BoxOf, size: tuple[int, int], settings: ZoomSettings) -> Crop:
    """Return the square around a box, with its margin, as far as the image goes."""
    x0, y0, x1, y1 = box
    side = max((1 + 2 * settings.margin) * max(x1 - x0, y1 - y0), settings.smallest)
    return _square(_centre(box), side, size)


def _centre(box: _BoxOf) -> tuple[float, float]:
    x0, y0, x1, y1 = box
    return (x0 + x1) / 2, (y0 + y1) / 2


def _square(centre: tuple[float, float], side: float, size: tuple[int, int]) -> Crop:
    """Return a square around a place, moved into the image where that is large enough and cut where it is not."""
    edges = []
    for middle, length in zip(centre, size[::-1], strict=True):
        wanted = min(int(np.ceil(side)), length)
        start = int(np.clip(round(middle - wanted / 2), 0, length - wanted))
        edges.append((start, start + wanted))
    (x0, x1), (y0, y1) = edges
    return Crop(0, (x0, y0, x1, y1))


def _runs(answer: Answer, seen: Crop, size: tuple[int, int]) -> RunLengths:
    """Return the best mask of a window in the whole image."""
    return answer.mask.crop.tight().within(size, seen.box[1], seen.box[0]).runs()
