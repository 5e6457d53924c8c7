"""Prompts as users write them, checked against the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segtune.core.errors import UsageError
from segtune.core.rle import BoolMask
from segtune.core.types import POINT_NEGATIVE, POINT_POSITIVE
from segtune.prompts.objects import ObjectPrompt

Point = tuple[float, float] | tuple[float, float, int]
"""x, y, and 1 (on the object, which is meant without it) or 0 (not on it)."""

Box = Sequence[float]
"""x0, y0, x1, y1 with x1, y1 one past the last pixel."""


def given_prompt(
    size: tuple[int, int],
    *,
    points: Sequence[Point] = (),
    box: Box | None = None,
    mask: BoolMask | None = None,
) -> ObjectPrompt:
    """Return the prompt for one object; all three kinds may be joined.

    Args:
        size: (height, width) of the image.
        points: in original pixels (`core.geometry`).
        box: in original pixels; what of it lies beside the image is cut off.
        mask: bool [H, W], where the object roughly is.

    Raises:
        UsageError: no prompt at all, a point or box that is not on the image, a mask of another size or empty.
    """
    if not len(points) and box is None and mask is None:
        raise UsageError("A prompt needs a point, a box or a mask, but holds none of them. Give at least one.")
    rows = [(*point, POINT_POSITIVE) if len(point) == 2 else point for point in points]
    places: npt.NDArray[np.float32] = np.array([row[:2] for row in rows], dtype=np.float32).reshape(-1, 2)
    labels: npt.NDArray[np.int64] = np.array([_label(row) for row in rows], dtype=np.int64)
    for x, y in places.tolist():
        _check_point(x, y, size)
    return ObjectPrompt(
        places, labels, None if box is None else _on_image(box, size), None if mask is None else _checked(mask, size)
    )


def _label(point: Sequence[float]) -> int:
    if len(point) != 3 or point[2] not in (POINT_NEGATIVE, POINT_POSITIVE):
        raise UsageError(
            f"A point is x, y and 1 (on the object) or 0 (not on it), but {tuple(point)} was given. Write (x, y) or "
            "(x, y, 1) for the object, (x, y, 0) for what is none of it."
        )
    return int(point[2])


def _check_point(x: float, y: float, size: tuple[int, int]) -> None:
    height, width = size
    # A pixel's index is its place, and pixels reach half a pixel around it. NaN fails too.
    if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
        raise UsageError(
            f"A point must lie on the image of {width} × {height} pixels, but is at ({x:g}, {y:g}). Give x and y in "
            "pixels of the original image, x to the right."
        )


def _on_image(box: Box, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    height, width = size
    values = np.array(box, dtype=np.float64)
    if values.shape == (4,) and np.isfinite(values).all():
        cut = np.clip(values, 0, [width, height, width, height])
        if cut[0] < cut[2] and cut[1] < cut[3]:
            return cut.astype(np.float32)
    raise UsageError(
        f"A box is x0, y0, x1, y1 with x0 < x1 and y0 < y1 on the image of {width} × {height} pixels, but "
        f"({', '.join(f'{value:g}' for value in values.ravel())}) was given. Give its left, top, right and bottom edge "
        "in pixels."
    )


def _checked(mask: BoolMask, size: tuple[int, int]) -> BoolMask:
    if mask.dtype != np.bool_ or mask.shape != size:
        raise UsageError(
            f"A mask prompt must be bool [height, width] of the image, {size}, but is {mask.dtype} {mask.shape}. Bring "
            "it to the image's size and compare it with its threshold."
        )
    if not mask.any():
        raise UsageError("A mask prompt must hold at least one pixel, but is empty. Leave it out or draw it again.")
    return mask
