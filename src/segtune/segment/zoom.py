"""Prompts on large images: the model sees a window around the object, not the whole image brought down to its square.

A box says where to look. Clicks do not: a window around them is looked at first, and a larger one as long as what is
found there is cut off by it; then the box of what was found is zoomed on like one that was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from segtune.core.errors import UsageError
from segtune.core.geometry import Frame
from segtune.core.rle import RunLengths
from segtune.core.types import POINT_POSITIVE
from segtune.data.windows import Windows
from segtune.models.family import PromptableModel
from segtune.prompts.objects import ObjectPrompt, window
from segtune.segment.answer import Answer
from segtune.segment.encoding import encode_image, evaluating
from segtune.segment.grid import Crop, is_cut_off
from segtune.segment.session import Session

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
        quality: predicted IoU.
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
    settings = settings or ZoomSettings()
    box = _box_of(prompt)
    if box is None:
        seen, answer = _look(model, windows, prompt, settings)
        found = _runs(answer, seen, windows.size).box
        box = _around_clicks(prompt) if found is None else _joined(found, _around_clicks(prompt))
    seen = _window(box, windows.size, settings)
    answer = _answer(model, windows, prompt, seen)
    return ZoomedMask(_runs(answer, seen, windows.size), answer.mask.quality, seen.box)


def _look(
    model: PromptableModel, windows: Windows, prompt: ObjectPrompt, settings: ZoomSettings
) -> tuple[Crop, Answer]:
    """Answer clicks in a window that what is found does not leave."""
    x0, y0, x1, y1 = _around_clicks(prompt)
    # Clicks far apart must lie well inside.
    side = max(float(settings.first), 2 * max(x1 - x0, y1 - y0))
    while True:
        seen = _square(((x0 + x1) / 2, (y0 + y1) / 2), side, windows.size)
        answer = _answer(model, windows, prompt, seen)
        found = answer.mask.runs.box
        if seen.size == windows.size or found is None or not is_cut_off(found, seen, windows.size):
            return seen, answer
        side *= 2


def _answer(model: PromptableModel, windows: Windows, prompt: ObjectPrompt, seen: Crop) -> Answer:
    """Segment in a window; the masks of the answer are at the window's size."""
    pixels = windows.read_small(seen.rows, seen.columns, _DETAIL * model.side)
    with evaluating([model]):
        embedding = encode_image(model, pixels)
    # Of a window that was read smaller too, prompts and masks are in pixels of the image.
    frame = Frame(seen.size, embedding.frames[0].resized, embedding.frames[0].side)
    session = Session(model, replace(embedding, frames=(frame,)))
    (answer,) = session.segment_all([_moved(prompt, seen)])
    return answer


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


def _box_of(prompt: ObjectPrompt) -> tuple[float, float, float, float] | None:
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


def _around_clicks(prompt: ObjectPrompt) -> tuple[float, float, float, float]:
    """Return the box of the clicks on the object; of all, where none is on it."""
    on_it = prompt.points[prompt.point_labels == POINT_POSITIVE]
    places = on_it if len(on_it) else prompt.points
    x0, y0 = (float(value) for value in places.min(axis=0))
    x1, y1 = (float(value) for value in places.max(axis=0) + 1)
    return x0, y0, x1, y1


def _joined(*boxes: Sequence[float]) -> tuple[float, float, float, float]:
    x0, y0 = (min(box[axis] for box in boxes) for axis in (0, 1))
    x1, y1 = (max(box[axis] for box in boxes) for axis in (2, 3))
    return x0, y0, x1, y1


def _window(box: tuple[float, float, float, float], size: tuple[int, int], settings: ZoomSettings) -> Crop:
    """Return the square around a box, with its margin, as far as the image goes."""
    x0, y0, x1, y1 = box
    side = max((1 + 2 * settings.margin) * max(x1 - x0, y1 - y0), settings.smallest)
    return _square(((x0 + x1) / 2, (y0 + y1) / 2), side, size)


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
