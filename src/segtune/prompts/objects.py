"""What a simulator returns, and what all of them ask of a mask first."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.distance import to_nearest_zero
from segtune.core.rle import BoolMask

Window = tuple[slice, slice]
"""Rows and columns of the tight box around a mask."""


@dataclass(frozen=True)
class ObjectPrompt:
    """The prompt for one object, in original-image pixels (`core.geometry`).

    Attributes:
        points: float32 [K, 2], x and y of pixels.
        point_labels: int64 [K]: 1 object, 0 not object.
        box: float32 [4], x0, y0, x1, y1 with x1, y1 one past the last pixel, or None.
        mask: bool [H, W], a coarse mask, or None.
        text: what the object is, for a model that accepts text, or None.
        drawn: what the generator gave, by name: with it the prompt can be made again.
    """

    points: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.float32))
    point_labels: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    box: npt.NDArray[np.float32] | None = None
    mask: BoolMask | None = None
    text: str | None = None
    drawn: dict[str, float] = field(default_factory=dict)


def counted(truth: BoolMask, ignore: BoolMask | None) -> BoolMask:
    """Return the object's pixels that count: those not ignored."""
    return truth if ignore is None else truth & ~ignore


def window(mask: BoolMask) -> Window | None:
    """Return the tight box around a mask [H, W] as slices, or None when it is empty."""
    # OpenCV takes no bool; an empty mask has the rectangle 0, 0, 0, 0.
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return (slice(top, top + height), slice(left, left + width)) if width else None


def distance_inside(mask: BoolMask) -> npt.NDArray[np.float32]:
    """Return how far each pixel of a mask [H, W] is from the nearest pixel outside, 0 outside.

    Exact Euclidean distance between centres; beyond the array nothing is object, so its border is an edge.
    """
    padded = np.pad(mask.view(np.uint8), 1)
    return to_nearest_zero(padded)[1:-1, 1:-1]


def distance_outside(mask: BoolMask) -> npt.NDArray[np.float32]:
    """Return how far each pixel is from the nearest pixel of a mask [H, W] that is not empty, 0 inside."""
    return to_nearest_zero((~mask).view(np.uint8))
