"""Boundary IoU: how well outlines agree, which the IoU of large objects hides."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segtune.metrics.overlap import Overlap, iou

WIDTH = 0.02
"""Width of the boundary as a share of the image's diagonal (Cheng et al., Boundary IoU, CVPR 2021, section 5)."""

_Bytes = npt.NDArray[np.uint8]


def boundary_iou(predicted: Tensor, truth: Tensor, ignore: Tensor | None = None, *, width: float = WIDTH) -> Tensor:
    """Return the IoU of the masks' inner boundaries (Cheng et al. 2021).

    A mask's boundary is the mask minus its erosion by `width` × diagonal pixels (at least one). Beyond the image
    nothing is object, so a mask's pixels at the image border are boundary. Ignored pixels are taken out first.

    Args:
        predicted: bool [n, H, W].
        truth: bool [n, H, W].
        ignore: bool [H, W] or [n, H, W].
        width: share of the image's diagonal.

    Returns:
        float64 [n] on the device of `predicted`: 1 when both are empty, 0 when one is.
    """
    distance = boundary_distance((int(predicted.shape[-2]), int(predicted.shape[-1])), width=width)
    return iou(boundary_overlap(predicted, truth, ignore, distance=distance))


def boundary_distance(size: tuple[int, int], *, width: float = WIDTH) -> int:
    """Return the boundary's width in pixels, at least one, in an image of `size` (height, width)."""
    return max(1, round(width * math.hypot(*size)))


def boundary_overlap(predicted: Tensor, truth: Tensor, ignore: Tensor | None = None, *, distance: int) -> Overlap:
    """Count the pixels of the masks' inner boundaries and of what they share.

    Args:
        predicted: bool [n, H, W], whole masks or a window of them beyond which both are empty.
        truth: bool [n, H, W].
        ignore: bool [H, W] or [n, H, W].
        distance: width of the boundary in pixels (`boundary_distance`).

    Returns:
        Counts [n] on the device of `predicted`.
    """
    if ignore is not None:
        # An ignored region becomes a hole, so its rim is boundary where a mask reaches it.
        predicted, truth = predicted & ~ignore, truth & ~ignore
    pairs = zip(_bytes(predicted), _bytes(truth), strict=True)
    counts = torch.tensor([_count(one, other, distance) for one, other in pairs], dtype=torch.int64).reshape(-1, 3)
    return Overlap(*counts.to(predicted.device).unbind(1))


def _bytes(masks: Tensor) -> _Bytes:
    # OpenCV takes no bool; the same memory is read as bytes of 0 and 1.
    view: _Bytes = np.ascontiguousarray(masks.cpu().numpy()).view(np.uint8)
    return view


def _count(predicted: _Bytes, truth: _Bytes, distance: int) -> tuple[int, int, int]:
    # All beyond the objects is background for the erosion, so the box around both gives the whole image's result.
    window = _around(cv2.boundingRect(predicted), cv2.boundingRect(truth))
    one, other = _boundary(predicted[window], distance), _boundary(truth[window], distance)
    return int(np.count_nonzero(one & other)), int(np.count_nonzero(one)), int(np.count_nonzero(other))


def _around(one: Sequence[int], other: Sequence[int]) -> tuple[slice, slice]:
    rects = [rect for rect in (one, other) if rect[2]]
    if not rects:
        return slice(0), slice(0)
    left, top = min(rect[0] for rect in rects), min(rect[1] for rect in rects)
    right, bottom = max(rect[0] + rect[2] for rect in rects), max(rect[1] + rect[3] for rect in rects)
    return slice(top, bottom), slice(left, right)


def _boundary(mask: _Bytes, distance: int) -> _Bytes:
    # Too narrow for any pixel to survive the erosion: all is boundary. OpenCV refuses the empty window besides.
    if min(mask.shape) <= 2 * distance:
        return mask
    # One large square gives what the published code finds by `distance` erosions of 3 × 3.
    kernel = np.ones((2 * distance + 1, 2 * distance + 1), dtype=np.uint8)
    eroded = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & ~np.asarray(eroded, dtype=np.uint8)
