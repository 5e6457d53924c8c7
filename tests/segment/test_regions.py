"""Specks and holes of a mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from segtune.segment.crops import MaskCrop
from segtune.segment.regions import fill_holes, keep_largest, remove_small_regions, remove_specks


def on_the_whole_image(mask, smallest):
    """Return the mask without small holes, then without small specks, looked at in full size."""
    for hole in (True, False):
        inside = (mask != hole).astype(np.uint8)
        count, regions = cv2.connectedComponents(inside, connectivity=8)
        areas = [int((regions == number).sum()) for number in range(1, count)]
        small = [number + 1 for number, area in enumerate(areas) if area < smallest]
        if not hole and len(small) == len(areas):
            small.remove(int(np.argmax(areas)) + 1)
        mask = (mask | np.isin(regions, small)) if hole else (mask & ~np.isin(regions, small))
    return mask


@pytest.mark.parametrize("smallest", [1, 2, 6, 30, 5000])
def test_equals_the_whole_image(smallest):
    """Looking at the window alone changes nothing, wherever the mask lies."""
    draw = np.random.default_rng(3)
    for number in range(30):
        height, width = draw.integers(3, 40, 2)
        coarse = draw.random((height // 3 + 1, width // 3 + 1)) < draw.uniform(0.1, 0.95)
        mask = (coarse.repeat(3, axis=0).repeat(3, axis=1)[:height, :width]) ^ (draw.random((height, width)) < 0.04)
        if number % 2:
            mask[: height // 2] = False
        mask[height - 1, width // 2] = True
        expected = on_the_whole_image(mask, smallest)
        found, changed = remove_small_regions(MaskCrop.of(mask), smallest)
        np.testing.assert_array_equal(found.full(), expected)
        assert changed == bool((expected != mask).any())


def test_the_largest_speck_stays_where_all_are_small():
    """A mask is cleaned, never emptied."""
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[2, 2] = mask[10, 10:13] = True
    found, changed = remove_small_regions(MaskCrop.of(mask), 50)
    assert changed
    assert found.full().sum() == 3


def test_pixels_that_meet_at_a_corner_are_one_region():
    """Regions hang together over corners: a diagonal line is no row of specks."""
    mask = np.eye(12, dtype=np.bool_)
    found, changed = remove_small_regions(MaskCrop.of(mask), 12)
    assert not changed
    np.testing.assert_array_equal(found.full(), mask)


def test_holes_and_specks_alone():
    """Each leaves the other be, and a mask without any is returned as it is."""
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[2:12, 2:12] = True
    mask[5, 5] = False
    mask[16, 16] = True
    filled, cleared = fill_holes(MaskCrop.of(mask), 5).full(), remove_specks(MaskCrop.of(mask), 5).full()
    assert filled[5, 5]
    assert filled[16, 16]
    assert not cleared[5, 5]
    assert not cleared[16, 16]
    whole = MaskCrop.of(filled & cleared | (filled & (np.arange(20) < 13)))
    assert fill_holes(whole, 5) is whole
    assert remove_specks(whole, 5) is whole


@pytest.mark.parametrize("top", [0, 1, 2, 3])
def test_of_equal_parts_the_first_is_the_largest(top):
    """Wherever the window begins."""
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[top : top + 3, 10:12] = mask[top + 1 : top + 3, 2:5] = mask[10:12, 4:7] = True
    np.testing.assert_array_equal(np.argwhere(keep_largest(MaskCrop.of(mask)).full())[:, 1].min(), 10)
