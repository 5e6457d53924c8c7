"""Exact Euclidean distances on a pixel grid, the same bytes at every call."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt


def to_nearest_zero(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return how far the centre of each pixel [H, W] is from that of the nearest zero, float32 [H, W].

    Without any zero the values mean nothing; they are finite.
    """
    # OpenCV's other masks (3 × 3, 5 × 5) only approximate the distance, and their squares are no whole numbers.
    distance = np.asarray(cv2.distanceTransform(pixels, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), dtype=np.float32)
    # OpenCV's roots of equal squares differ in the last bit from call to call, with the memory they happen to lie in;
    # who asks for the farthest pixel would get one or another. The squares are whole numbers: back to them.
    np.square(distance, out=distance)
    np.rint(distance, out=distance)
    return np.sqrt(distance, out=distance)
