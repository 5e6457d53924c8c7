"""Clicks on an object: its inner centre, or anywhere in it."""

from __future__ import annotations

import numpy as np

from segtune.core.rle import BoolMask
from segtune.core.types import POINT_POSITIVE
from segtune.prompts.objects import ObjectPrompt, counted, distance_inside, window


def click(truth: BoolMask, rng: np.random.Generator, *, ignore: BoolMask | None = None) -> ObjectPrompt:
    """Click the object's inner centre; nothing is drawn from `rng`."""
    centre = inner_centre(counted(truth, ignore))
    return centre_click(truth) if centre is None else positive_click(centre[0], centre[1])


def random_click(truth: BoolMask, rng: np.random.Generator, *, ignore: BoolMask | None = None) -> ObjectPrompt:
    """Click a pixel of the object, each with equal chance."""
    pixels = np.flatnonzero(counted(truth, ignore))
    if not len(pixels):
        return centre_click(truth)
    rank = int(rng.integers(len(pixels)))
    row, column = divmod(int(pixels[rank]), truth.shape[1])
    return positive_click(column, row, {"pixel_rank": float(rank)})


def positive_click(x: float, y: float, drawn: dict[str, float] | None = None) -> ObjectPrompt:
    """Return a prompt of one click on the object at x, y."""
    return ObjectPrompt(
        np.array([[x, y]], dtype=np.float32), np.array([POINT_POSITIVE], dtype=np.int64), drawn=drawn or {}
    )


def centre_click(truth: BoolMask) -> ObjectPrompt:
    """Click the middle pixel of the image: the prompt where there is no object."""
    height, width = truth.shape
    # Positive although nothing is there: the right answer is an empty mask.
    return positive_click(width // 2, height // 2)


def inner_centre(mask: BoolMask) -> tuple[int, int, float] | None:
    """Return the pixel of a mask [H, W] farthest from its outline and from the image border.

    Of equally far pixels (a bar has a whole line of them) the one nearest to their mean is taken, then the first in
    reading order: the middle of the bar and the same on every machine.

    Returns:
        x, y and the distance in pixels, at least 1; None for an empty mask.
    """
    box = window(mask)
    if box is None:
        return None
    # Beyond its tight box there is no mask, so the distances inside the box are those of the whole image.
    distance = distance_inside(mask[box])
    farthest = float(distance.max())
    ridge = np.argwhere(distance == farthest)  # equal squares have equal roots here
    row, column = ridge[np.argmin(np.square(ridge - ridge.mean(axis=0)).sum(axis=1))]
    return int(column) + box[1].start, int(row) + box[0].start, farthest
