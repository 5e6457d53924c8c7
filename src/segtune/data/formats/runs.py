"""Run-length arithmetic on masks: label maps, unions and parts without one full-size array per object.

Runs are half-open ranges [start, end) of pixels in column-major order, as in `core.rle`.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask, RunLengths, narrow

Indices = npt.NDArray[np.int64]


def from_runs(size: tuple[int, int], starts: Indices, ends: Indices) -> RunLengths:
    """Return the mask of `size` that these runs make up. They may overlap and come in any order."""
    starts, ends = _merged(starts, ends)
    bounds = np.zeros(2 * len(starts) + 2, dtype=np.int64)
    bounds[1:-1:2], bounds[2:-1:2], bounds[-1] = starts, ends, size[0] * size[1]
    counts = np.diff(bounds)
    # A mask that ends inside has no last run of background.
    if len(starts) and counts[-1] == 0:
        counts = counts[:-1]
    return RunLengths(size, narrow(counts))


def runs_of(mask: RunLengths) -> tuple[Indices, Indices]:
    """Return starts and ends of a mask's runs."""
    bounds = np.cumsum(mask.counts, dtype=np.int64)
    # Runs alternate, background first: every other bound is where an object's run ends.
    ends = bounds[1::2]
    return bounds[0::2][: len(ends)], ends


def decode_window(mask: RunLengths, rows: slice, columns: slice) -> BoolMask:
    """Return a window of a mask as bool [h, w], at the cost of the window's columns.

    Args:
        mask: the whole mask.
        rows: start and stop, inside the mask.
        columns: likewise.
    """
    height = mask.size[0]
    first, last = columns.start * height, columns.stop * height
    bounds = np.cumsum(mask.counts, dtype=np.int64)
    # A pixel is inside when an odd number of runs ended before it.
    ended, end = np.searchsorted(bounds, first, side="right"), np.searchsorted(bounds, last, side="left")
    lengths = np.diff(np.concatenate([[first], bounds[ended : max(ended, end)], [last]]))
    inside = (ended + np.arange(len(lengths))) % 2 == 1
    window = np.repeat(inside, lengths).reshape((height, columns.stop - columns.start), order="F")
    return window[rows]


def union(masks: Sequence[RunLengths]) -> RunLengths:
    """Return the union of one or more masks of the same size."""
    if len(masks) == 1:
        return masks[0]
    starts, ends = zip(*(runs_of(mask) for mask in masks), strict=True)
    return from_runs(masks[0].size, np.concatenate(starts), np.concatenate(ends))


def encode_values(values: npt.NDArray[np.integer]) -> dict[int, RunLengths]:
    """Encode every nonzero value of a label map [H, W] as a mask of its own, in one pass, by ascending value."""
    size = (int(values.shape[0]), int(values.shape[1]))
    flat = values.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([np.zeros(1, dtype=np.int64), edges])
    ends = np.concatenate([edges, np.array([flat.size], dtype=np.int64)])
    # Sorted by runs, not by pixels, and stable: the runs of a value stay in order.
    held = flat[starts]
    order = np.argsort(held, kind="stable")
    found, first = np.unique(held[order], return_index=True)
    pieces = np.split(order, first[1:])
    return {
        int(value): from_runs(size, starts[piece], ends[piece])
        for value, piece in zip(found, pieces, strict=True)
        if value != 0
    }


def parts_of(mask: RunLengths) -> list[RunLengths]:
    """Split a mask into its 8-connected parts, from left to right."""
    return list(encode_values(label_parts(mask.decode())).values())


def label_parts(mask: BoolMask) -> npt.NDArray[np.int32]:
    """Number the 8-connected parts of bool [H, W] from 1; 0 outside."""
    return np.asarray(cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[1])


def _merged(starts: Indices, ends: Indices) -> tuple[Indices, Indices]:
    real = ends > starts
    starts, ends = starts[real], ends[real]
    if not len(starts):
        return starts, ends
    order = np.argsort(starts, kind="stable")
    # How far runs reach so far: a long one may cover several that follow.
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    fresh = np.concatenate([[True], starts[1:] > reach[:-1]])
    last = np.concatenate([np.flatnonzero(fresh)[1:] - 1, [len(starts) - 1]])
    return starts[fresh], reach[last]
