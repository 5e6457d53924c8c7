"""Pictures of predictions: image, truth and each model's answer side by side, legible whatever the image's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask, RunLengths
from segtune.core.types import POINT_FILLER, POINT_POSITIVE, Image
from segtune.report.glossary import model_label
from segtune.report.numbers import decimal

Colour = tuple[int, int, int]

SIDE = 440
"""Longest side of a panel in pixels."""

TRUTH: Colour = (0, 178, 128)
SUBJECT: Colour = (40, 140, 225)
_OTHERS: tuple[Colour, ...] = ((232, 110, 30), (204, 121, 167), (224, 184, 74))
_WHITE: Colour = (255, 255, 255)
_DARK: Colour = (16, 20, 26)
_POSITIVE: Colour = (22, 163, 74)
_NEGATIVE: Colour = (220, 38, 38)
_BOX: Colour = (255, 221, 64)
_COARSE: Colour = (240, 150, 220)

_ZOOM_BELOW = 0.62
"""Share of the image's sides under which the panels look closer at what was asked for."""
_BAR = 34


class ShownPrompt(Protocol):
    """What is drawn of one object's prompt; `prompts.objects.ObjectPrompt` is one.

    `points` float [K, 2] as x, y in original pixels, `point_labels` int [K] (1 object, 0 not, -10 filler), `box` [4] or
    None, `mask` bool [H, W] or None.
    """

    @property
    def points(self) -> npt.NDArray[np.float32]:
        """Points, [K, 2]."""

    @property
    def point_labels(self) -> npt.NDArray[np.int64]:
        """Labels, [K]."""

    @property
    def box(self) -> npt.NDArray[np.float32] | None:
        """x0, y0, x1, y1."""

    @property
    def mask(self) -> BoolMask | None:
        """A coarse mask, [H, W]."""


@dataclass(frozen=True)
class Answer:
    """What one model answered on one image.

    Attributes:
        model: its name in the results.
        masks: one per object, at the image's size.
        iou: one per object.
        prompts: one per object, corrections included: they differ between models.
    """

    model: str
    masks: Sequence[RunLengths]
    iou: Sequence[float]
    prompts: Sequence[ShownPrompt] = ()

    @property
    def mean_iou(self) -> float | None:
        """Mean over the objects, None without one."""
        return float(np.mean(self.iou)) if len(self.iou) else None


@dataclass(frozen=True)
class Collage:
    """One image as each model sees it.

    Attributes:
        image: uint8 [H, W, 3] RGB, at original size.
        truth: the objects' masks.
        answers: in the order to be shown: the reference first, the model that is judged last.
        ignore: pixels that do not count, or None.
    """

    image: Image
    truth: Sequence[RunLengths]
    answers: Sequence[Answer]
    ignore: RunLengths | None = None


@dataclass(frozen=True)
class Panel:
    """One finished picture: `kind` is "image", "truth" or a model's name."""

    kind: str
    title: str
    iou: float | None
    pixels: Image


@dataclass(frozen=True)
class _View:
    """The part of an image that is shown, and how much larger or smaller."""

    x: int
    y: int
    width: int
    height: int
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        return max(1, round(self.width * self.scale)), max(1, round(self.height * self.scale))

    def cut(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        part = image[self.y : self.y + self.height, self.x : self.x + self.width]
        way = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(part, self.size, interpolation=way), dtype=np.uint8)

    def mask(self, mask: BoolMask) -> BoolMask:
        part = mask[self.y : self.y + self.height, self.x : self.x + self.width].astype(np.float32)
        way = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(part, self.size, interpolation=way) > 0.5)

    def place(self, x: float, y: float) -> tuple[int, int]:
        return round((x - self.x) * self.scale), round((y - self.y) * self.scale)


def draw_panels(collage: Collage, side: int = SIDE) -> tuple[Panel, ...]:
    """Draw image, truth and one panel per answer, all of the same size.

    Where the objects and answers take a small part of the image, the panels behind the first look closer at them, and
    the first shows where.

    Args:
        collage: what is shown.
        side: longest side of a panel in pixels; small images are enlarged to it.
    """
    height, width = collage.image.shape[:2]
    whole = _View(0, 0, width, height, side / max(height, width))
    close = _closer(collage, whole)
    first = whole.cut(collage.image)
    if close != whole:
        corner, end = whole.place(close.x, close.y), whole.place(close.x + close.width, close.y + close.height)
        _rectangle(first, corner, end, _WHITE)
    base = close.cut(collage.image)
    if collage.ignore is not None:
        base = _hatched(base, close.mask(collage.ignore.decode()))
    truth = base.copy()
    for mask in _decoded(collage.truth, close):
        _paint(truth, mask, TRUTH)
    panels = [Panel("image", "Image", None, first), Panel("truth", "Truth", None, truth)]
    others = cycle(_OTHERS)
    for answer in collage.answers:
        colour = SUBJECT if answer is collage.answers[-1] else next(others)
        pixels = _answered(base, collage, answer, colour, close)
        panels.append(Panel(answer.model, model_label(answer.model), answer.mean_iou, pixels))
    return tuple(panels)


def compose(panels: Sequence[Panel]) -> Image:
    """Set panels side by side under their titles, each answer with its IoU: one picture for a file or a README."""
    from PIL import Image as PillowImage
    from PIL import ImageDraw, ImageFont

    gap, height = 8, max(panel.pixels.shape[0] for panel in panels)
    widths = [panel.pixels.shape[1] for panel in panels]
    sheet = PillowImage.new("RGB", (sum(widths) + gap * (len(panels) - 1), height + _BAR), _WHITE)
    pen, x = ImageDraw.Draw(sheet), 0
    # Narrow panels, of tall images, get smaller titles.
    font = ImageFont.load_default(size=max(11, min(18, min(widths) // 9)))
    for panel, width in zip(panels, widths, strict=True):
        sheet.paste(PillowImage.fromarray(panel.pixels), (x, _BAR))
        pen.text((x + 2, _BAR // 2), panel.title, fill=_DARK, font=font, anchor="lm")
        if panel.iou is not None:
            pen.text((x + width - 2, _BAR // 2), f"IoU {decimal(panel.iou)}", fill=_DARK, font=font, anchor="rm")
        x += width + gap
    return np.asarray(sheet)


def _answered(base: Image, collage: Collage, answer: Answer, colour: Colour, view: _View) -> Image:
    pixels = base.copy()
    for mask in _decoded(answer.masks, view):
        _paint(pixels, mask, colour)
    for mask in _decoded(collage.truth, view):
        _outline(pixels, mask, _WHITE, 2)
    # Points go on top of everything: they are small.
    for prompt in answer.prompts:
        _draw_areas(pixels, prompt, view)
    for prompt in answer.prompts:
        _draw_points(pixels, prompt, view, many=len(answer.prompts) > 12)
    return pixels


def _decoded(masks: Sequence[RunLengths], view: _View) -> list[BoolMask]:
    # One at a time at full size: an image may hold hundreds of objects.
    return [view.mask(mask.decode()) for mask in masks]


def _closer(collage: Collage, whole: _View) -> _View:
    masks = [*collage.truth, *(mask for answer in collage.answers for mask in answer.masks)]
    prompts = [prompt for answer in collage.answers for prompt in answer.prompts]
    boxes = [*(mask.box for mask in masks), *(prompt.box for prompt in prompts)]
    found = np.array([box for box in boxes if box is not None], dtype=np.float64).reshape(-1, 4)
    if not len(found):
        return whole
    (x0, y0), (x1, y1) = found[:, :2].min(axis=0), found[:, 2:].max(axis=0)
    # The same aspect as the image, so that all panels are of one size, with a third of the object around it.
    share = 1.7 * max((x1 - x0) / whole.width, (y1 - y0) / whole.height)
    if share > _ZOOM_BELOW:
        return whole
    width, height = max(8, round(share * whole.width)), max(8, round(share * whole.height))
    width, height = min(width, whole.width), min(height, whole.height)
    x = int(np.clip((x0 + x1 - width) / 2, 0, whole.width - width))
    y = int(np.clip((y0 + y1 - height) / 2, 0, whole.height - height))
    scale = max(whole.size) / max(width, height)
    return _View(x, y, width, height, scale)


def _paint(pixels: Image, mask: BoolMask, colour: Colour) -> None:
    pixels[mask] = (0.62 * pixels[mask] + 0.38 * np.array(colour)).astype(np.uint8)
    _outline(pixels, mask, colour, 2)


def _outline(pixels: Image, mask: BoolMask, colour: Colour, width: int) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # A faint dark rim keeps the line visible on any ground.
    rim = pixels.copy()
    cv2.drawContours(rim, contours, -1, _DARK, width + 2, cv2.LINE_AA)
    cv2.addWeighted(rim, 0.45, pixels, 0.55, 0, dst=pixels)
    cv2.drawContours(pixels, contours, -1, colour, width, cv2.LINE_AA)


def _rectangle(pixels: Image, corner: tuple[int, int], end: tuple[int, int], colour: Colour) -> None:
    cv2.rectangle(pixels, corner, end, _DARK, 4, cv2.LINE_AA)
    cv2.rectangle(pixels, corner, end, colour, 2, cv2.LINE_AA)


def _hatched(pixels: Image, ignored: BoolMask) -> Image:
    rows, columns = np.indices(ignored.shape)
    marked = pixels.copy()
    marked[ignored & ((rows + columns) % 8 < 2)] = 200
    return marked


def _draw_areas(pixels: Image, prompt: ShownPrompt, view: _View) -> None:
    if prompt.mask is not None:
        _outline(pixels, view.mask(prompt.mask), _COARSE, 2)
    if prompt.box is not None:
        x0, y0, x1, y1 = (float(value) for value in prompt.box)
        _rectangle(pixels, view.place(x0, y0), view.place(x1 - 1, y1 - 1), _BOX)


def _draw_points(pixels: Image, prompt: ShownPrompt, view: _View, *, many: bool) -> None:
    radius = 4 if many else 7
    for (x, y), label in zip(prompt.points, prompt.point_labels, strict=True):
        if label == POINT_FILLER:
            continue
        # The centre of the pixel that was clicked.
        centre = view.place(float(x) + 0.5, float(y) + 0.5)
        cv2.circle(pixels, centre, radius + 3, _DARK, -1, cv2.LINE_AA)
        cv2.circle(pixels, centre, radius + 2, _WHITE, -1, cv2.LINE_AA)
        cv2.circle(pixels, centre, radius, _POSITIVE if label == POINT_POSITIVE else _NEGATIVE, -1, cv2.LINE_AA)
        _sign(pixels, centre, radius - 3, upright=label == POINT_POSITIVE)


def _sign(pixels: Image, centre: tuple[int, int], reach: int, *, upright: bool) -> None:
    """A plus or a minus: red and green are not told apart by everybody."""
    x, y = centre
    cv2.line(pixels, (x - reach, y), (x + reach, y), _WHITE, 2 if reach > 2 else 1)
    if upright:
        cv2.line(pixels, (x, y - reach), (x, y + reach), _WHITE, 2 if reach > 2 else 1)
