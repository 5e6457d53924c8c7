"""Where everything mode looks: even grids of points, on the image and on overlapping crops of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

_CUT_SHARE = 0.02
"""Share of a crop's longer side within which a mask is cut off by the crop's edge: the published 20 pixels of 1024.

Everything mode's own filter has 20 pixels for all crops, as published; tiles and zoomed windows may be of any size.
"""


@dataclass(frozen=True)
class Crop:
    """A part of an image that is segmented by itself.

    Attributes:
        layer: 0 for the whole image, then 1, 2, … with ever smaller crops.
        box: x0, y0, x1, y1 in pixels of the image, x1 and y1 one past the last.
    """

    layer: int
    box: tuple[int, int, int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        x0, y0, x1, y1 = self.box
        return y1 - y0, x1 - x0

    @property
    def rows(self) -> slice:
        """Rows of the image."""
        return slice(self.box[1], self.box[3])

    @property
    def columns(self) -> slice:
        """Columns of the image."""
        return slice(self.box[0], self.box[2])


def is_cut_off(box: tuple[int, int, int, int], crop: Crop, size: tuple[int, int]) -> bool:
    """Say whether what fills a box ends at an edge of its crop where the image goes on.

    Args:
        box: tight, x0, y0, x1, y1 in pixels of the crop.
        crop: of the image.
        size: (height, width) of the image.
    """
    edge = max(1, round(_CUT_SHARE * max(crop.size)))
    x0, y0, x1, y1 = box
    left, top, right, bottom = crop.box
    height, width = size
    return (
        (left > 0 and x0 < edge)
        or (top > 0 and y0 < edge)
        or (right < width and x1 > right - left - edge)
        or (bottom < height and y1 > bottom - top - edge)
    )


def point_grid(side: int) -> Points:
    """Return float64 [side², 2]: x and y in 0 to 1 of the centres of `side` × `side` equal cells, row by row."""
    centres = (np.arange(side) + 0.5) / side
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def cut_crops(size: tuple[int, int], layers: int, overlap_ratio: float) -> tuple[Crop, ...]:
    """Return the whole image, then 4, 16, … crops that overlap; column by column, as in the published code.

    Args:
        size: (height, width) of the image.
        layers: how many layers besides the image itself.
        overlap_ratio: overlap of the first layer's crops as a share of the image's shorter side; it halves with each
            layer, as the crops do.
    """
    height, width = size
    crops = [Crop(0, (0, 0, width, height))]
    for layer in range(1, layers + 1):
        across = 2**layer
        overlap = int(overlap_ratio * min(size) * (2 / across))
        x, y = _cut(width, across, overlap), _cut(height, across, overlap)
        crops += [Crop(layer, (x0, y0, x1, y1)) for x0, x1 in x for y0, y1 in y]
    return tuple(crops)


def _cut(length: int, pieces: int, overlap: int) -> list[tuple[int, int]]:
    piece = math.ceil((length + overlap * (pieces - 1)) / pieces)
    starts = [number * (piece - overlap) for number in range(pieces)]
    # Of an image with fewer pixels than pieces the last ones would lie beyond it.
    return [(start, min(start + piece, length)) for start in starts if start < length]
