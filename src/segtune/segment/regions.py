"""Connected regions of a mask: specks and holes too small to be meant, and the largest part.

Regions hang together over corners too (8-connectivity, as in the published code).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask
from segtune.segment.crops import MaskCrop


def remove_small_regions(mask: MaskCrop, smallest: int) -> tuple[MaskCrop, bool]:
    """Fill holes, then remove specks, of fewer than `smallest` pixels; say whether that changed anything.

    Where all specks are too small the largest stays.

    Args:
        mask: a mask that is not empty.
        smallest: pixels that a region needs to stay.
    """
    filled = fill_holes(mask, smallest)
    clean = remove_specks(filled, smallest)
    return (mask, False) if clean is mask else (clean.tight(), True)


def fill_holes(mask: MaskCrop, smallest: int) -> MaskCrop:
    """Fill regions of fewer than `smallest` pixels that are not inside, at the image's edge too.

    Args:
        mask: a mask that is not empty.
        smallest: pixels that a hole needs to stay.

    Returns:
        The mask itself where nothing changes.
    """
    window = mask.widened(-(-smallest // min(mask.inside.shape)))
    filled = _without_small(~window.inside, smallest)
    return mask if filled is None else MaskCrop(mask.size, window.top, window.left, ~filled)


def remove_specks(mask: MaskCrop, smallest: int) -> MaskCrop:
    """Remove regions of fewer than `smallest` pixels; where all are so small the largest stays.

    Args:
        mask: a mask that is not empty.
        smallest: pixels that a region needs to stay.

    Returns:
        The mask itself where nothing changes.
    """
    clean = _without_small(mask.inside, smallest, keep_one=True)
    return mask if clean is None else MaskCrop(mask.size, mask.top, mask.left, clean)


def keep_largest(mask: MaskCrop) -> MaskCrop:
    """Return the largest region of a mask that is not empty; of equal ones that whose first pixel comes first."""
    regions, areas = _regions(mask.inside)
    inside = regions == _largest(regions, areas)
    return mask if len(areas) == 2 else MaskCrop(mask.size, mask.top, mask.left, inside)


def _without_small(inside: BoolMask, smallest: int, *, keep_one: bool = False) -> BoolMask | None:
    """Return a map [h, w] without its small regions, or None where it has none."""
    regions, areas = _regions(inside)
    stays = areas >= smallest
    # Region 0 is all that is not inside, however large.
    stays[0] = False
    if stays.sum() == len(areas) - 1:
        return None
    if keep_one and not stays.any():
        stays[_largest(regions, areas)] = True
    kept: BoolMask = stays[regions]
    return kept


def _regions(inside: BoolMask) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the number of each pixel's region, int32 [h, w], and each region's area; number 0 is not inside."""
    values = np.ascontiguousarray(inside).view(np.uint8)
    _, regions, statistics, _ = cv2.connectedComponentsWithStats(values, connectivity=8)
    return regions.astype(np.int32, copy=False), statistics[:, cv2.CC_STAT_AREA].astype(np.int32, copy=False)


def _largest(regions: npt.NDArray[np.int32], areas: npt.NDArray[np.int32]) -> int:
    equal = 1 + np.flatnonzero(areas[1:] == areas[1:].max())
    if len(equal) == 1:
        return int(equal[0])
    # How OpenCV numbers regions depends on where the window begins.
    return int(min(equal, key=lambda number: int((regions == number).argmax())))
