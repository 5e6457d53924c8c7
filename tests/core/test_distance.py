"""Distances on a pixel grid."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from segtune.core.distance import to_nearest_zero


def test_distances_are_exact_wherever_the_array_lies():
    """The same bytes at every call and at every alignment, and those of another library."""
    rng = np.random.default_rng(0)
    for number in range(20):
        height, width = rng.integers(5, 90, 2)
        pixels = (rng.random((height, width)) < 0.995).astype(np.uint8)
        pixels[rng.integers(height), rng.integers(width)] = 0
        expected = np.sqrt(np.rint(distance_transform_edt(pixels) ** 2)).astype(np.float32)
        room = np.zeros(pixels.size + 64, np.uint8)
        moved = room[number : number + pixels.size].reshape(pixels.shape)
        moved[:] = pixels
        np.testing.assert_array_equal(to_nearest_zero(pixels), expected)
        np.testing.assert_array_equal(to_nearest_zero(moved), expected)
