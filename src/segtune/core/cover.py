"""How much of each cell of a coarse grid a mask covers, by area averages along rows and columns.

Averaging is linear and works on the two axes apart, so each axis is one sparse matrix: 20 to 60 times faster on a CPU
than enlarging a mask to the model's square and pooling it there, with the same result up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float32]

_ABOVE_HALF = np.nextafter(np.float32(0.5), np.float32(1))


@lru_cache(maxsize=256)
def cover_weights(length: int, resized: int, side: int, cells: int) -> Any:
    """Return the scipy matrix [cells, length] that averages one axis of an image into cells of the square.

    Args:
        length: pixels of the image along the axis.
        resized: pixels they are resized to, by area.
        side: pixels of the square; what lies beyond `resized` is padding, which counts as 0.
        cells: cells over the square.
    """
    # Columns past `resized` would meet padding, which is 0; a cell at the rim still divides by all its pixels.
    return (_averages(side, cells)[:, :resized] @ _averages(length, resized)).astype(np.float32)


def cover(masks: npt.NDArray[Any], rows: Any, columns: Any) -> _Floats:
    """Return float32 [n, h, w] for masks [n, H, W], with the weights of both axes."""
    covered = np.empty((len(masks), rows.shape[0], columns.shape[0]), dtype=np.float32)
    # One at a time: a float32 copy of all masks would take four times their memory.
    for target, mask in zip(covered, masks, strict=True):
        target[:] = (columns @ np.ascontiguousarray((rows @ mask.astype(np.float32)).T)).T  # [h, W] → [w, h] → [h, w]
    return covered


def best_level(covered: npt.NDArray[Any]) -> float:
    """Return the share of a cell from which on cells make up the best mask of an object: that of highest IoU with it.

    Next to 1/2 where an object is many cells wide, for then half covered cells are few. What is thinner than a cell
    covers less than half of each: at 1/2 nothing would be left of it.

    Args:
        covered: float in 0 to 1, any shape: the share of each cell that the object covers.

    Returns:
        Above 0 and up to 1/2.
    """
    # Cells inside belong to every good mask; only those at the rim need sorting.
    rim = np.sort(covered[(covered > 0) & (covered < 1)])[::-1].astype(np.float64)
    inside = float(np.count_nonzero(covered >= 1))
    shared = inside + np.concatenate([[0.0], np.cumsum(rim)])  # of the object and its best 0, 1, … cells at the rim
    joined = inside + np.arange(len(shared)) + shared[-1] - shared
    if joined[0] == 0:
        return 0.5
    best = float((shared / joined).max())
    # A cell is worth taking while it raises shared / joined, and so while its share is above this.
    return best / (1 + best)


def around_best_level(covered: npt.NDArray[Any], likely: Iterable[npt.NDArray[Any]] | None = None) -> _Floats:
    """Return float32 [n, h, w] in which each mask's `best_level` lies at 1/2, and 0 and 1 stay, linear in between.

    Args:
        covered: float [n, h, w] in 0 to 1, as `cover` gives it.
        likely: n times float [h, w], the mean probability in each cell, which is moved alike in place of the share
            that the mask covers, but stays on the mask's side of 1/2: doubt around something thin is not a part of it,
            and doubt within it makes it no less there. None: the masks are certain, and the two are the same.
    """
    moved = np.empty(covered.shape, dtype=np.float32)
    for target, shares, values in zip(moved, covered, covered if likely is None else likely, strict=True):
        level = best_level(shares)
        target[:] = np.interp(values, (0, level, 1), (0, 0.5, 1))
        if values is not shares:
            target[:] = np.where(shares > level, np.maximum(target, _ABOVE_HALF), np.minimum(target, 0.5))
    return moved


def _averages(length: int, parts: int) -> Any:
    """Return the matrix [parts, length] of `adaptive_avg_pool`: part i is the mean of pixels floor(i·length / parts) to
    ceil((i + 1)·length / parts).
    """
    from scipy.sparse import csr_matrix  # a quarter of a second, and not everyone who has frames has masks

    part = np.arange(parts)
    # Where a boundary falls inside a pixel, both parts count it.
    first, past = part * length // parts, -(-(part + 1) * length // parts)
    counts = past - first
    ends = np.concatenate([[0], np.cumsum(counts)])
    # CSR's column of each entry: row i has first[i], first[i] + 1, … past[i] - 1.
    columns = np.arange(ends[-1]) - np.repeat(ends[:-1] - first, counts)
    return csr_matrix((np.repeat(1.0 / counts, counts), columns, ends), shape=(parts, length))
