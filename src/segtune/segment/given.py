"""Images and prompts as users give them, checked before anything is done with them."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segtune.core.errors import UsageError
from segtune.core.rle import BoolMask
from segtune.core.types import POINT_NEGATIVE, POINT_POSITIVE, Embedding, Image
from segtune.prompts.objects import ObjectPrompt

Point = tuple[float, float] | tuple[float, float, int]
"""x, y, and 1 (on the object, which is meant without it) or 0 (not on it)."""

Box = Sequence[float]
"""x0, y0, x1, y1 with x1, y1 one past the last pixel."""


def check_image(image: Image) -> Image:
    """Return an image, uint8 [H, W, 3] RGB.

    Raises:
        UsageError: it is anything else, or has no pixel.
    """
    if (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.size
    ):
        return image
    raise UsageError(
        f"An image is a NumPy array, uint8 [height, width, 3] RGB, but {_describe(image)} was given. Give an image "
        "file's path, or bring it there: np.asarray(picture.convert('RGB')) of a Pillow image, np.repeat(grey[..., "
        "None], 3, axis=2), image[..., :3] without alpha, floats scaled to 0 to 255 and rounded."
    )


def check_embedding(embedding: Embedding) -> Embedding:
    """Return an embedding of one image.

    Raises:
        UsageError: it is of none or of several.
    """
    if len(embedding) != 1:
        raise UsageError(
            f"Prompts are answered on the embedding of one image, but this one holds {len(embedding)}. Encode the "
            "image by itself."
        )
    return embedding


def given_prompt(
    size: tuple[int, int],
    *,
    points: Sequence[Point] = (),
    box: Box | None = None,
    mask: BoolMask | None = None,
    text: str | None = None,
) -> ObjectPrompt:
    """Return the prompt for one object; all four kinds may be joined.

    Args:
        size: (height, width) of the image.
        points: in original pixels (`core.geometry`).
        box: in original pixels; what of it lies beside the image is cut off.
        mask: bool [H, W], where the object roughly is.
        text: what it is, for a model that accepts text.

    Raises:
        UsageError: no prompt at all, a point or box that is not on the image, a mask of another size or empty.
    """
    rows = [(*point, POINT_POSITIVE) if len(point) == 2 else point for point in _read_points(points)]
    text = " ".join((text or "").split()) or None
    if not rows and box is None and mask is None and text is None:
        raise UsageError("A prompt needs a point, a box, a mask or text, but holds none of them. Give at least one.")
    # First, so that each is known to have a place.
    labels: npt.NDArray[np.int64] = np.array([_label(row) for row in rows], dtype=np.int64)
    places: npt.NDArray[np.float32] = np.array([row[:2] for row in rows], dtype=np.float32).reshape(-1, 2)
    for x, y in places.tolist():
        _check_point(x, y, size)
    return ObjectPrompt(
        places, labels, None if box is None else _on_image(box, size), None if mask is None else _checked(mask, size),
        text,
    )  # fmt: skip


def _read_points(points: Sequence[Point]) -> list[tuple[float, ...]]:
    """Return points as numbers, however many each has."""
    try:
        return [tuple(map(float, point)) for point in points]
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(
            f"Points are a list of (x, y), (x, y, 1) or (x, y, 0), but {reprlib.repr(points)} was given. Write a "
            "single one as [(x, y)]."
        ) from error


def _label(point: Sequence[float]) -> int:
    if len(point) != 3 or point[2] not in (POINT_NEGATIVE, POINT_POSITIVE):
        raise UsageError(
            f"A point is x, y and 1 (on the object) or 0 (not on it), but {reprlib.repr(point)} was given. Write "
            "(x, y) or (x, y, 1) for the object, (x, y, 0) for what is none of it."
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
    try:
        values = np.array(box, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.zeros(0)
    if values.shape == (4,) and np.isfinite(values).all():
        cut = np.clip(values, 0, [width, height, width, height])
        if cut[0] < cut[2] and cut[1] < cut[3]:
            return cut.astype(np.float32)
    told = f"({', '.join(f'{value:g}' for value in values)})" if values.shape == (4,) else reprlib.repr(box)
    raise UsageError(
        f"A box is x0, y0, x1, y1 with x0 < x1 and y0 < y1 on the image of {width} × {height} pixels, but {told} was "
        "given. Give its left, top, right and bottom edge in pixels, as four numbers."
    )


def _checked(mask: BoolMask, size: tuple[int, int]) -> BoolMask:
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != size:
        raise UsageError(
            f"A mask prompt must be a NumPy array, bool [height, width] of the image, {size}, but {_describe(mask)} "
            "was given. Bring it to the image's size and compare it with its threshold."
        )
    if not mask.any():
        raise UsageError("A mask prompt must hold at least one pixel, but is empty. Leave it out or draw it again.")
    return mask


def _describe(given: object) -> str:
    """Say what was given in place of an array, or what kind of array."""
    if isinstance(given, np.ndarray):
        return f"{given.dtype} {list(given.shape)}"
    return f"a {type(given).__name__}"
