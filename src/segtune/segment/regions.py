"""Specks and holes of a mask: connected regions too small to be meant."""

from __future__ import annotations

import cv2
import numpy as np

from segtune.core.rle import BoolMask
from segtune.segment.crops import MaskCrop


def remove_small_regions(mask: MaskCrop, smallest: int) -> tuple[MaskCrop, bool]:
    """Fill holes, then remove specks, of fewer than `smallest` pixels; say whether that changed anything.

    Regions hang together over corners too (8-connectivity, as in the published code). Where all specks are too small
    the largest stays.

    Args:
        mask: a mask that is not empty.
        smallest: pixels that a region needs to stay.
    """
    window = _with_margin(mask, smallest)
    filled = _without_small(~window.inside, smallest)
    clean = _without_small(window.inside if filled is None else ~filled, smallest, keep_one=True)
    if clean is None:
        if filled is None:
            return mask, False
        clean = ~filled
    return MaskCrop(mask.size, window.top, window.left, clean).tight(), True


def _with_margin(mask: MaskCrop, smallest: int) -> MaskCrop:
    """Widen a window so far that what goes on beyond it is `smallest` pixels inside it already, or ends there."""
    height, width = mask.inside.shape
    margin = -(-smallest // min(height, width))
    top, left = max(0, mask.top - margin), max(0, mask.left - margin)
    bottom = min(mask.size[0], mask.rows.stop + margin)
    right = min(mask.size[1], mask.columns.stop + margin)
    wide = np.zeros((bottom - top, right - left), dtype=np.bool_)
    wide[mask.top - top : mask.rows.stop - top, mask.left - left : mask.columns.stop - left] = mask.inside
    return MaskCrop(mask.size, top, left, wide)


def _without_small(inside: BoolMask, smallest: int, *, keep_one: bool = False) -> BoolMask | None:
    """Return a map [h, w] without its small regions, or None where it has none."""
    _, regions, statistics, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=8)
    areas = statistics[:, cv2.CC_STAT_AREA]
    stays = areas >= smallest
    # Region 0 is all that is not inside, however large.
    stays[0] = False
    if stays.sum() == len(areas) - 1:
        return None
    if keep_one and not stays.any():
        stays[1 + int(areas[1:].argmax())] = True
    kept: BoolMask = stays[regions]
    return kept
