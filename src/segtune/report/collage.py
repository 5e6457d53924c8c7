"""Pictures of predictions: image, truth and each model's answer side by side, legible whatever the image's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask, RunLengths
from segtune.core.types import Image
from segtune.report.drawing import BOX, COARSE, DARK, WHITE, Brush, Colour, View
from segtune.report.glossary import model_label
from segtune.report.numbers import decimal

SIDE = 440
"""Longest side of a panel in pixels."""

TRUTH: Colour = (0, 178, 128)
SUBJECT: Colour = (40, 140, 225)
_OTHERS: tuple[Colour, ...] = ((232, 110, 30), (204, 121, 167), (224, 184, 74))

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


def draw_panels(collage: Collage, side: int = SIDE) -> tuple[Panel, ...]:
    """Draw image, truth and one panel per answer, all of the same size.

    Where the objects and answers take a small part of the image, the panels behind the first look closer at them, and
    the first shows where.

    Args:
        collage: what is shown.
        side: longest side of a panel in pixels; small images are enlarged to it.
    """
    whole = View.whole(collage.image.shape[:2], side)
    close = _closer(collage, whole)
    brush = Brush.for_objects(collage.truth, close)
    # The whole image always, as people know it.
    first = whole.cut(collage.image)
    if close != whole:
        Brush.coarse(whole).rectangle(first, close.corners, WHITE)
    base = close.cut(collage.image)
    if collage.ignore is not None:
        base = brush.hatched(base, collage.ignore)
    truth = base.copy()
    for mask in collage.truth:
        brush.fill(truth, mask, TRUTH)
    panels = [Panel("image", "Image", None, first), Panel("truth", "Truth", None, truth)]
    # Colours begin anew where there are more models than colours.
    others = cycle(_OTHERS)
    for answer in collage.answers:
        # By place, not by name: the judged model comes last.
        colour = SUBJECT if answer is collage.answers[-1] else next(others)
        pixels = _answered(base.copy(), collage, answer, colour, brush)
        panels.append(Panel(answer.model, model_label(answer.model), answer.mean_iou, pixels))
    return tuple(panels)


def compose(panels: Sequence[Panel]) -> Image:
    """Set panels side by side under their titles, each answer with its IoU: one picture for a file or a README."""
    # Imported here: only a finished collage needs it.
    from PIL import Image as PillowImage
    from PIL import ImageDraw, ImageFont

    gap, height = 8, max(panel.pixels.shape[0] for panel in panels)
    widths = [panel.pixels.shape[1] for panel in panels]
    sheet = PillowImage.new("RGB", (sum(widths) + gap * (len(panels) - 1), height + _BAR), WHITE)
    pen, x = ImageDraw.Draw(sheet), 0
    # Narrow panels, of tall images, get smaller titles.
    font = ImageFont.load_default(size=max(11, min(18, min(widths) // 9)))
    for panel, width in zip(panels, widths, strict=True):
        sheet.paste(PillowImage.fromarray(panel.pixels), (x, _BAR))
        pen.text((x + 2, _BAR // 2), panel.title, fill=DARK, font=font, anchor="lm")
        if panel.iou is not None:
            pen.text((x + width - 2, _BAR // 2), f"IoU {decimal(panel.iou)}", fill=DARK, font=font, anchor="rm")
        x += width + gap
    return np.asarray(sheet)


def _answered(pixels: Image, collage: Collage, answer: Answer, colour: Colour, brush: Brush) -> Image:
    for mask in answer.masks:
        brush.fill(pixels, mask, colour)
    for mask in collage.truth:
        brush.outline(pixels, mask.decode(), WHITE)
    for prompt in answer.prompts:
        if prompt.mask is not None:
            brush.outline(pixels, prompt.mask, COARSE)
        if prompt.box is not None:
            x0, y0, x1, y1 = (float(value) for value in prompt.box)
            brush.rectangle(pixels, (x0, y0, x1, y1), BOX)
    # Points go on top of everything: they are small.
    for prompt in answer.prompts:
        brush.points(pixels, prompt.points, prompt.point_labels)
    return pixels


def _closer(collage: Collage, whole: View) -> View:
    """Return a view of the objects and answers with some room around them, or `whole` if that is most of it."""
    masks = [*collage.truth, *(mask for answer in collage.answers for mask in answer.masks)]
    prompts = [prompt for answer in collage.answers for prompt in answer.prompts]
    boxes = [*(mask.box for mask in masks), *(prompt.box for prompt in prompts)]
    # Answers too: what a model found far off the object must be seen.
    found = np.array([box for box in boxes if box is not None], dtype=np.float64).reshape(-1, 4)
    if not len(found):
        return whole
    (x0, y0), (x1, y1) = found[:, :2].min(axis=0), found[:, 2:].max(axis=0)
    # Room around, and the same share of both sides, so that nothing is stretched.
    share = 1.7 * max((x1 - x0) / whole.width, (y1 - y0) / whole.height)
    return whole if share > _ZOOM_BELOW else whole.closer((x0 + x1) / 2, (y0 + y1) / 2, share)
