"""What takes no skill: the box itself, and the ellipse in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from segtune.segment.crops import MaskCrop

Box = npt.NDArray[np.float32]


def fill_box(box: Box, size: tuple[int, int]) -> MaskCrop:
    """Return all pixels whose centres lie in a box x0, y0, x1, y1 of an image of `size` (height, width)."""
    top, bottom = _covered(box[1], box[3], size[0])
    left, right = _covered(box[0], box[2], size[1])
    # The window is full: a box is its own crop.
    return MaskCrop(size, top, left, np.ones((bottom - top, right - left), dtype=np.bool_))


def fill_ellipse(box: Box, size: tuple[int, int]) -> MaskCrop:
    """Return all pixels whose centres lie in the ellipse inscribed in a box."""
    around = fill_box(box, size)
    x = _from_middle(around.columns, box[0], box[2])
    y = _from_middle(around.rows, box[1], box[3])
    return MaskCrop(size, around.top, around.left, y[:, None] ** 2 + x[None, :] ** 2 <= 1)  # x [w], y [h]


BASELINES: Mapping[str, Callable[[Box, tuple[int, int]], MaskCrop]] = {
    "baseline:box": fill_box,
    "baseline:ellipse": fill_ellipse,
}
"""Scored beside the models in the modes whose prompt is a box and nothing else."""


def _covered(low: float, high: float, length: int) -> tuple[int, int]:
    # Pixel i has its centre at i + 0.5.
    first = max(0, int(np.ceil(low - 0.5)))
    return first, max(first, min(length, int(np.ceil(high - 0.5))))


def _from_middle(pixels: slice, low: float, high: float) -> npt.NDArray[np.float64]:
    """Return each pixel centre's distance from the middle, in half sides."""
    middle, half = (float(low) + float(high)) / 2, (float(high) - float(low)) / 2
    distances: npt.NDArray[np.float64] = (np.arange(pixels.start, pixels.stop) + 0.5 - middle) / half
    return distances
