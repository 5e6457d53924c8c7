"""What a drawn image is painted on: colours, and for every pixel the thing seen there, from which the masks follow.

Things form a tree: a part painted under a whole belongs to both masks, and whatever is painted later hides both.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.rle import RunLengths, narrow
from segtune.data.shapes import Patch
from segtune.data.tiles import FloatArray

# A pixel's owner is a byte.
MAX_THINGS = 255
SMALLEST_AREA = 36
"""Pixels an object must show to be annotated."""


@dataclass
class Thing:
    """A node of the tree.

    Attributes:
        label: what it is.
        parent: number of its whole in `Canvas.things`.
        annotated: whether it is an object of its own.
        painted: pixels it had before others hid it.
        columns: first and past the last column it may have pixels in.
    """

    label: str
    parent: int
    annotated: bool
    painted: int = 0
    columns: tuple[int, int] = (1 << 30, 0)  # an empty range, which min and max widen


class Canvas:
    """An image being painted.

    Attributes:
        size: height and width in pixels.
        side: length all sizes relate to, in pixels.
        image: float32 [3, H, W], 0 black to 1 white, as displayed.
        owner: uint8 [H, W], number of the thing seen at each pixel; 0 is the ground.
        things: the tree; number 0 is its root.
    """

    def __init__(self, size: tuple[int, int], side: int) -> None:
        self.size = size
        self.side = side
        self.image: FloatArray = np.zeros((3, *size), np.float32)
        self.owner: npt.NDArray[np.uint8] = np.zeros(size, np.uint8)
        self.things = [Thing("ground", 0, annotated=False)]

    def add(self, label: str, parent: int = 0, *, annotated: bool = True) -> int:
        """Add a thing and return its number; when the tree is full, the parent's, so that masks stay right."""
        if len(self.things) >= MAX_THINGS:
            return parent
        self.things.append(Thing(label, parent, annotated))
        return len(self.things) - 1

    def lay(self, patch: Patch, surface: FloatArray, thing: int, opacity: float = 1.0) -> None:
        """Paint a surface, float32 [3, h, w], through a patch; the pixels more than half covered become the thing's."""
        region = self.image[:, patch.window[0], patch.window[1]]
        cover = patch.cover if opacity == 1 else patch.cover * np.float32(opacity)
        # In place: `region` is a view of the image.
        difference = surface - region
        difference *= cover
        region += difference
        self.claim(patch, thing)

    def claim(self, patch: Patch, thing: int) -> None:
        """Give the pixels more than half covered to a thing without painting them."""
        inside = patch.cover > 0.5
        self.owner[patch.window][inside] = thing
        painted = int(np.count_nonzero(inside))
        # A part belongs to its wholes too, up to the ground, which is number 0 and no object.
        while thing:
            node = self.things[thing]
            node.painted += painted
            node.columns = (
                min(node.columns[0], patch.window[1].start),
                max(node.columns[1], patch.window[1].stop),
            )
            thing = node.parent

    def tone(self, patch: Patch, gain: FloatArray | float) -> None:
        """Multiply the colours under a patch by `gain` (a number, or broadcast to [3, h, w]) as far as it covers."""
        region = self.image[:, patch.window[0], patch.window[1]]
        region *= 1 + patch.cover * (np.asarray(gain, np.float32) - 1)

    def brighten(self, patch: Patch, amount: FloatArray | float) -> None:
        """Add light under a patch as far as it covers; `amount` is a number or [h, w]."""
        region = self.image[:, patch.window[0], patch.window[1]]
        region += patch.cover * np.asarray(amount, np.float32)

    def colour_at(self, place: npt.NDArray[np.float64]) -> FloatArray:
        """Return the mean colour, float32 [3], around a place (x, y in pixels, moved into the image)."""
        reach = max(2, self.side // 64)
        x, y = (int(min(max(value, 0), length - 1)) for value, length in zip(place, self.size[::-1], strict=True))
        around = self.image[:, max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach]
        return np.asarray(around.mean(axis=(1, 2)), np.float32)

    def masks(
        self, rng: np.random.Generator, most: int, smallest: int = SMALLEST_AREA
    ) -> tuple[tuple[RunLengths, ...], tuple[str, ...]]:
        """Return the visible masks of up to `most` annotated things, and their labels.

        Left out are things of fewer than `smallest` visible pixels, of which less than a tenth is seen, and
        parts that are all but their whole.
        """
        within = self._within()  # [n, n]
        seen = np.bincount(self.owner.ravel(), minlength=len(self.things))  # [n]
        areas = within @ seen  # [n]
        wholes = np.array([thing.parent for thing in self.things])
        keep = [
            number for number, thing in enumerate(self.things)
            if thing.annotated and areas[number] >= max(smallest, 0.1 * thing.painted)
            and areas[number] <= 0.97 * self.owner.size
            and not (self.things[wholes[number]].annotated and areas[number] > 0.92 * areas[wholes[number]])
        ]  # fmt: skip
        if len(keep) > most:
            # In the order of painting again, whatever the order of the draw.
            keep = sorted(rng.choice(keep, most, replace=False).tolist())
        by_column = np.ascontiguousarray(self.owner.T)  # [W, H], as run lengths go down the columns
        objects = tuple(self._encode(by_column, within[number], self.things[number].columns) for number in keep)
        return objects, tuple(self.things[number].label for number in keep)

    def _within(self) -> npt.NDArray[np.bool_]:
        """Bool [n, n]: whether the thing of the column belongs to that of the row, itself included."""
        within = np.eye(len(self.things), dtype=np.bool_)
        # A whole has a smaller number than its parts, so one pass reaches all ancestors.
        for number, thing in enumerate(self.things):
            within[:, number] |= within[:, thing.parent]
        return within

    def _encode(
        self, by_column: npt.NDArray[np.uint8], members: npt.NDArray[np.bool_], columns: tuple[int, int]
    ) -> RunLengths:
        """Encode one mask from its own columns only: with dozens of small objects, whole masks would be the cost."""
        height, width = self.size
        strip = RunLengths.encode(members[by_column[columns[0] : columns[1]]].T)
        counts = strip.counts.astype(np.int64)
        # The first run is background: the columns left of the strip make it longer.
        counts[0] += columns[0] * height
        rest = (width - columns[1]) * height
        # An odd number of runs ends in background, which goes on over the columns on the right.
        if len(counts) % 2:
            counts[-1] += rest
        elif rest:
            counts = np.append(counts, rest)
        return RunLengths(self.size, narrow(counts))


def soften(patch: Patch, radius: float) -> Patch:
    """Blur a patch's edge by a Gaussian of `radius` pixels."""
    if radius < 0.3:
        return patch
    return Patch(patch.window, np.asarray(cv2.GaussianBlur(patch.cover, (0, 0), radius), dtype=np.float32))
