"""Outlines of things in unit coordinates, and their way onto pixels.

An outline lies about the origin and reaches about 1 from it; y points down, as in images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from segtune.data.tiles import FloatArray, pick

Contour = npt.NDArray[np.float64]
"""Corners x, y of a closed curve, [n, 2]."""

_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Outline:
    """The border of a thing.

    Attributes:
        contours: closed curves.
        joined: True: a point inside any of them is inside; False: inside an odd number (inner curves are holes).
    """

    contours: tuple[Contour, ...]
    joined: bool = False

    def moved(self, matrix: Contour, shift: Sequence[float] | Contour) -> Outline:
        """Return the outline with each corner p at matrix · p + shift."""
        return Outline(tuple(contour @ matrix.T + np.asarray(shift) for contour in self.contours), self.joined)


@dataclass(frozen=True)
class Patch:
    """A rasterised outline, cropped to the image.

    Attributes:
        window: rows and columns of the image that it covers.
        cover: float32 [h, w], share of each pixel inside, 0 to 1.
    """

    window: tuple[slice, slice]
    cover: FloatArray

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.cover.shape[0], self.cover.shape[1]

    def within(self, bounds: Patch) -> Patch | None:
        """Return the part of this patch that lies in another, or None if they are apart."""
        rows, columns = (
            slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(self.window, bounds.window, strict=True)
        )
        if rows.stop - rows.start < 2 or columns.stop - columns.start < 2:
            return None
        return Patch((rows, columns), np.minimum(self._crop(rows, columns), bounds._crop(rows, columns)))

    def _crop(self, rows: slice, columns: slice) -> FloatArray:
        top, left = self.window[0].start, self.window[1].start
        return self.cover[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def turn(angle: float, scale_x: float = 1.0, scale_y: float | None = None) -> Contour:
    """Return the 2 × 2 matrix that scales by (scale_x, scale_y), then turns by `angle` in radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]]) @ np.diag([scale_x, scale_x if scale_y is None else scale_y])


def rasterise(outline: Outline, size: tuple[int, int], margin: int = 2) -> Patch | None:
    """Draw an outline given in pixels into an image of `size` (height, width); None if wholly outside.

    The edge is anti-aliased and lies about half a pixel outside of the outline, so that thin lines stay whole.
    """
    corners = np.concatenate(outline.contours)  # [n, 2]
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int) - margin, 0).tolist()
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + margin + 1, (size[1], size[0])).tolist()
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    cover = np.zeros((y1 - y0, x1 - x0), np.uint8)
    # fillPoly takes whole numbers, here sixteenths of a pixel.
    scale = 1 << _SUBPIXEL_BITS
    shifted = [np.rint((contour - (x0, y0)) * scale).astype(np.int32) for contour in outline.contours]
    # Contours filled in one call count even-odd; one after the other they unite.
    for group in [[contour] for contour in shifted] if outline.joined else [shifted]:
        cv2.fillPoly(cover, group, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return Patch((slice(y0, y1), slice(x0, x1)), cover.astype(np.float32) * np.float32(1 / 255))


def blob(rng: np.random.Generator, *, rough: float | None = None, corners: int = 72) -> Outline:
    """Draw a smooth to jagged closed curve; `rough` in 0 (potato) to 1 (coast), drawn when not given."""
    rough = float(rng.beta(1.2, 2.5)) if rough is None else rough
    count = 5 + int(25 * rough)
    # From the second wave on: the first would only shift the curve.
    order = np.arange(2, count + 2)
    amplitude = rng.normal(0, rng.uniform(0.1, 0.45), count) / order ** (2.2 - 1.3 * rough)
    phase = rng.uniform(0, 2 * np.pi, count)
    angle = np.linspace(0, 2 * np.pi, corners + int(100 * rough), endpoint=False)
    # Kept off 0, where the curve would meet itself.
    radius = np.maximum(0.75 + (amplitude[:, None] * np.cos(order[:, None] * angle + phase[:, None])).sum(0), 0.12)
    squash = rng.uniform(0.45, 1.0)
    return Outline((np.stack([radius * np.cos(angle), squash * radius * np.sin(angle)], 1),))


def ellipse(rng: np.random.Generator, *, aspect: float | None = None) -> Outline:
    """Draw an ellipse of half-axes 1 and `aspect`."""
    aspect = float(rng.uniform(0.35, 1.0)) if aspect is None else aspect
    return Outline((arc(0, 2 * np.pi, 40) * (1, aspect),))


def polygon(rng: np.random.Generator) -> Outline:
    """Draw an irregular polygon of 3 to 8 corners."""
    count = int(rng.integers(3, 9))
    angle = np.sort(rng.uniform(0, 2 * np.pi, count)) * 0.35 + np.arange(count) * (2 * np.pi / count) * 0.65
    radius = rng.uniform(0.45, 1.0, count)
    return Outline((np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1),))


def rectangle(rng: np.random.Generator, *, aspect: float | None = None) -> Outline:
    """Draw a rectangle, slightly skewed as perspective does, now and then with rounded corners."""
    aspect = float(rng.uniform(0.2, 1.0)) if aspect is None else aspect
    if rng.random() < 0.4:
        power = rng.uniform(3, 9)
        circle = arc(0, 2 * np.pi, 48)
        return Outline((np.sign(circle) * np.abs(circle) ** (2 / power) * (1, aspect),))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (1, aspect)
    return Outline((corners + rng.normal(0, 0.06, (4, 2)) * (1, aspect),))


def ring(rng: np.random.Generator) -> Outline:
    """Draw a band round a hole."""
    outer = blob(rng, rough=0.1).contours[0] if rng.random() < 0.4 else ellipse(rng).contours[0]
    return Outline((outer, outer * rng.uniform(0.4, 0.88)))


def strip(spine: Contour, widths: npt.NDArray[np.float64]) -> Contour:
    """Return the closed curve at half-`widths` [n] on both sides of a `spine` [n, 2]."""
    along = np.gradient(spine, axis=0)  # [n, 2]
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.linalg.norm(along, axis=1), 1e-9)[:, None]
    return np.concatenate([spine + normal * widths[:, None], (spine - normal * widths[:, None])[::-1]])


def walk(rng: np.random.Generator, count: int, bend: float, length: float, heading: float = 0.0) -> Contour:
    """Return `count` points of a wandering line that starts at the origin; `bend` is radians of turn in all."""
    turns = np.cumsum(rng.normal(0, bend / np.sqrt(count), count)) + rng.normal(0, bend) * np.linspace(0, 1, count)
    steps = np.stack([np.cos(heading + turns), np.sin(heading + turns)], 1) * (length / count)
    return np.concatenate([[[0.0, 0.0]], np.cumsum(steps, axis=0)])  # [count + 1, 2]


def bar(rng: np.random.Generator) -> Outline:
    """Draw something elongated: a stick, a worm, a tail, a limb."""
    spine = walk(rng, 24, pick(rng, (0.05, 0.5, 1.2)), 2.0)
    spine -= spine.mean(axis=0)
    along = np.linspace(0, 1, len(spine))
    width = rng.uniform(0.03, 0.22) * (1 - rng.uniform(0, 0.9) * along) * np.sqrt(np.sin(np.pi * (0.03 + 0.94 * along)))
    return Outline((strip(spine, width),))


def branches(rng: np.random.Generator) -> Outline:
    """Draw thin lines that fork: a tree, vessels, a crack, a river."""
    contours: list[Contour] = []
    _grow(rng, contours, np.zeros(2), rng.uniform(0, 2 * np.pi), 1.4, rng.uniform(0.015, 0.06), 0)
    joined = np.concatenate(contours)
    middle = (joined.min(axis=0) + joined.max(axis=0)) / 2
    reach = np.abs(joined - middle).max()
    return Outline(tuple((contour - middle) / reach for contour in contours), joined=True)


def _grow(
    rng: np.random.Generator, contours: list[Contour], start: Contour, heading: float, length: float, width: float,
    depth: int,
) -> None:  # fmt: skip
    spine = start + walk(rng, 12, 0.5, length, heading)
    contours.append(strip(spine, width * np.linspace(1, 0.6, len(spine))))
    if depth == 3 or len(contours) > 24:
        return
    for _ in range(int(rng.integers(1, 4))):
        place = int(rng.integers(4, len(spine)))
        angle = heading + pick(rng, (-1, 1)) * rng.uniform(0.3, 1.2)
        _grow(
            rng, contours, spine[place], angle, length * rng.uniform(0.4, 0.8), width * rng.uniform(0.5, 0.8), depth + 1
        )


def strokes(rng: np.random.Generator) -> Outline:
    """Draw a line of text-like signs, each of a few strokes."""
    count = int(rng.integers(1, 8))
    width, contours = rng.uniform(0.08, 0.2), []
    for index in range(count):
        for _ in range(int(rng.integers(1, 4))):
            begin, end = rng.choice([-1.0, 0.0, 1.0], 2), rng.choice([-1.0, 0.0, 1.0], 2)
            bow = rng.normal(0, 0.4, 2) if rng.random() < 0.5 else np.zeros(2)
            t = np.linspace(0, 1, 8)[:, None]
            # A stroke may end where it begins: a trace of length gives it a direction, and thereby a width.
            spine = begin * (1 - t) + end * t + 4 * t * (1 - t) * bow + (0, 1e-3) * t
            contours.append(strip(spine * (0.55, 1) + (1.6 * index, 0), np.full(8, width)))
    middle = (0.8 * (count - 1), 0)
    return Outline(tuple((contour - middle) / (0.8 * count) for contour in contours), joined=True)


def leaf(rng: np.random.Generator) -> Outline:
    """Draw a leaf or a petal, pointed at x = 1, its stalk at x = -1."""
    t = np.linspace(0, 1, 20)
    width = rng.uniform(0.15, 0.55) * np.sin(np.pi * t ** rng.uniform(0.6, 1.4))
    bow = rng.normal(0, 0.2) * np.sin(np.pi * t)
    return Outline((strip(np.stack([2 * t - 1, bow], 1), width),))


def grille(rng: np.random.Generator) -> Outline:
    """Draw a frame with openings: a fence, a chair's back, a window, a rack."""
    columns, rows = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    aspect, bar_width = rng.uniform(0.4, 1.0), rng.uniform(0.08, 0.3)
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    contours = [corners * 2 - 1]
    for column in range(columns):
        for row in range(rows):
            # Inside the frame's contour, and so a hole by the even-odd rule.
            hole = corners * (1 - 1.2 * bar_width) + 0.6 * bar_width
            contours.append((hole + np.array([column, row])) / (columns, rows) * 2 - 1)
    return Outline(tuple(contour * (1, aspect) for contour in contours))


def lathe(rng: np.random.Generator) -> Outline:
    """Draw a thing symmetric about the vertical: a bottle, a vase, a pot, a lamp."""
    height = np.linspace(-1, 1, 40)
    knots = rng.uniform(0.12, 0.7, int(rng.integers(3, 6)))
    profile = np.interp(height, np.linspace(-1, 1, len(knots)), knots)
    smooth = np.convolve(np.pad(profile, 4, mode="edge"), np.full(9, 1 / 9), mode="valid")
    right = np.stack([smooth if rng.random() < 0.7 else profile, height], 1)
    return Outline((np.concatenate([right, right[::-1] * (-1, 1)]),))


def clump(rng: np.random.Generator) -> Outline:
    """Draw several round lobes grown together: a bush, a cloud, a cluster."""
    count = int(rng.integers(3, 9))
    centres, radii = rng.normal(0, 0.38, (count, 2)) * (1, 0.7), rng.uniform(0.2, 0.5, count)
    return Outline(tuple(arc(0, 2 * np.pi, 24) * r + c for c, r in zip(centres, radii, strict=True)), joined=True)


def arc(begin: float, end: float, count: int) -> Contour:
    """Return `count` points, [n, 2], of the unit circle from an angle up to before another."""
    angle = np.linspace(begin, end, count, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


Drawer = Callable[[np.random.Generator], Outline]

SHAPES: dict[str, Drawer] = {
    "blob": blob, "ellipse": ellipse, "polygon": polygon, "rectangle": rectangle, "ring": ring, "bar": bar,
    "branches": branches, "strokes": strokes, "leaf": leaf, "grille": grille, "lathe": lathe, "clump": clump,
}  # fmt: skip
"""Kinds of outline of the general theme; the suite has its own (`data.held_out`)."""

MASSIVE = ("blob", "blob", "blob", "ellipse", "polygon", "rectangle", "lathe", "clump", "leaf")
"""Kinds that have a body, the likelier ones more than once."""
