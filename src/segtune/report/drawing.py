"""Lines, tints and clicks on a picture, in original-image coordinates and at the size they are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask, RunLengths
from segtune.core.types import POINT_FILLER, POINT_POSITIVE, Image

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

WHITE: Colour = (255, 255, 255)
DARK: Colour = (16, 20, 26)
BOX: Colour = (255, 221, 64)
COARSE: Colour = (240, 150, 220)
_POSITIVE: Colour = (22, 163, 74)
_NEGATIVE: Colour = (220, 38, 38)

_TINT = 0.38
_SMALL = 48
"""Side in shown pixels under which objects get thinner lines and smaller clicks, which would cover them otherwise."""


@dataclass(frozen=True)
class View:
    """The part of an image that is shown, and the size it is shown at.

    Attributes:
        x: first column.
        y: first row.
        width: columns.
        height: rows.
        size: (width, height) in shown pixels.
    """

    x: int
    y: int
    width: int
    height: int
    size: tuple[int, int]

    @classmethod
    def whole(cls, shape: Sequence[int], side: int) -> Self:
        """Show all of an image of `shape` (height, width), its longest side at `side` pixels."""
        height, width = shape
        scale = side / max(height, width)
        return cls(0, 0, width, height, (max(1, round(width * scale)), max(1, round(height * scale))))

    def closer(self, x: float, y: float, share: float) -> Self:
        """Show a `share` of this view's sides about (x, y), moved to stay inside, at the same size."""
        width, height = max(8, round(share * self.width)), max(8, round(share * self.height))
        # At least a few pixels, but no more than there are.
        width, height = min(width, self.width), min(height, self.height)
        left = int(np.clip(x - width / 2, 0, self.width - width))
        top = int(np.clip(y - height / 2, 0, self.height - height))
        return replace(self, x=left, y=top, width=width, height=height)

    @property
    def corners(self) -> Box:
        """x0, y0, x1, y1 in the image."""
        return self.x, self.y, self.x + self.width, self.y + self.height

    @property
    def scale(self) -> float:
        """Shown pixels per pixel of the image."""
        return self.size[0] / self.width

    def cut(self, image: Image) -> Image:
        """Return what is shown of an image."""
        # Reduced by averages, which do not alias.
        way = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(self._part(image), self.size, interpolation=way), dtype=np.uint8)

    def mask(self, mask: BoolMask) -> BoolMask:
        """Return what is shown of a mask."""
        way = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        part = self._part(mask.view(np.uint8)).astype(np.float32)
        return np.asarray(cv2.resize(part, self.size, interpolation=way) > 0.5)  # a pixel is inside when most of it is

    def place(self, x: float, y: float) -> tuple[int, int]:
        """Return where a place of the image is shown."""
        column = (x - self.x) * self.size[0] / self.width
        return round(column), round((y - self.y) * self.size[1] / self.height)

    def _part(self, values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return values[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class Brush:
    """Draws on a shown picture what is given in the image's pixels.

    Attributes:
        view: what is shown.
        line: width of outlines.
        radius: of a click.
    """

    view: View
    line: int
    radius: int

    @classmethod
    def coarse(cls, view: View) -> Self:
        """Draw lines and clicks at their full size."""
        return cls(view, 2, 7)

    @classmethod
    def for_objects(cls, objects: Sequence[RunLengths], view: View) -> Self:
        """Draw finely where the objects are shown small."""
        # The median decides: one large object among many small ones would hide the rest under thick lines.
        sides = [np.sqrt(one.area) * view.scale for one in objects]
        return cls(view, 1, 3) if sides and np.median(sides) < _SMALL else cls.coarse(view)

    def fill(self, pixels: Image, mask: RunLengths, colour: Colour) -> None:
        """Tint a mask and draw its outline."""
        full = mask.decode()
        shown = self.view.mask(full)
        pixels[shown] = ((1 - _TINT) * pixels[shown] + _TINT * np.array(colour)).astype(np.uint8)
        self.outline(pixels, full, colour)

    def outline(self, pixels: Image, mask: BoolMask, colour: Colour) -> None:
        """Draw the outline of a mask [H, W], holes included."""
        shown = self.view.mask(mask).astype(np.uint8)
        # RETR_CCOMP finds the borders of holes too.
        contours, _ = cv2.findContours(shown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        # A faint dark rim keeps the line visible on any ground.
        rim = pixels.copy()
        cv2.drawContours(rim, contours, -1, DARK, self.line + 2, cv2.LINE_AA)
        cv2.addWeighted(rim, 0.45, pixels, 0.55, 0, dst=pixels)
        cv2.drawContours(pixels, contours, -1, colour, self.line, cv2.LINE_AA)

    def rectangle(self, pixels: Image, box: Box, colour: Colour) -> None:
        """Draw a box x0, y0, x1, y1."""
        corner, end = self.view.place(*box[:2]), self.view.place(*box[2:])
        # Its far sides are one past the last pixel; kept inside the picture.
        end = min(end[0], self.view.size[0]) - 1, min(end[1], self.view.size[1]) - 1
        cv2.rectangle(pixels, corner, end, DARK, self.line + 2, cv2.LINE_AA)
        cv2.rectangle(pixels, corner, end, colour, self.line, cv2.LINE_AA)

    def points(self, pixels: Image, points: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> None:
        """Draw clicks [K, 2]: on the object green with a plus, outside it red with a minus; filler is left out."""
        for (x, y), label in zip(points, labels, strict=True):
            if label != POINT_FILLER:
                # A point names a pixel; its disc belongs on the pixel's centre.
                self._disc(pixels, self.view.place(float(x) + 0.5, float(y) + 0.5), label == POINT_POSITIVE)

    def hatched(self, pixels: Image, ignored: RunLengths) -> Image:
        """Return a copy with ignored pixels hatched."""
        shown = self.view.mask(ignored.decode())
        rows, columns = np.indices(shown.shape)
        # A copy: other panels show the image without.
        marked = pixels.copy()
        marked[shown & ((rows + columns) % 8 < 2)] = 200
        return marked

    def _disc(self, pixels: Image, centre: tuple[int, int], positive: bool) -> None:
        ring = 2 if self.radius > 4 else 1
        # Dark and white rings: visible on any ground.
        cv2.circle(pixels, centre, self.radius + ring + 1, DARK, -1, cv2.LINE_AA)
        cv2.circle(pixels, centre, self.radius + ring, WHITE, -1, cv2.LINE_AA)
        cv2.circle(pixels, centre, self.radius, _POSITIVE if positive else _NEGATIVE, -1, cv2.LINE_AA)
        # The sign is for those who do not tell red from green.
        (x, y), reach, width = centre, max(1, self.radius - 3), 2 if self.radius > 4 else 1
        cv2.line(pixels, (x - reach, y), (x + reach, y), WHITE, width)
        if positive:
            cv2.line(pixels, (x, y - reach), (x, y + reach), WHITE, width)
