"""Run-length masks: what a sample holds instead of one full-size array per object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

BoolMask = npt.NDArray[np.bool_]

Counts = npt.NDArray[np.uint32] | npt.NDArray[np.int64]
"""Run lengths: uint32, or int64 where one of them is 2^32 or more, as the background of a vast image is."""

_MOST = 2**32 - 1


def narrow(lengths: npt.NDArray[np.int64]) -> Counts:
    """Return run lengths, none negative, in half the bytes where that holds them all: every way to them ends here."""
    return lengths.astype(np.uint32) if lengths.max(initial=0) <= _MOST else lengths


@dataclass(frozen=True, eq=False)
class RunLengths:
    """One binary mask as run lengths.

    Attributes:
        size: (height, width) in pixels.
        counts: [R], lengths of alternating runs in column-major order, the first of background (may be 0): COCO's
            uncompressed convention; uint32 wherever that holds them (`narrow`).
    """

    size: tuple[int, int]
    counts: Counts

    @classmethod
    def encode(cls, mask: BoolMask) -> RunLengths:
        """Encode a bool mask [H, W]."""
        flat = np.asarray(mask, dtype=np.bool_).ravel(order="F")
        edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        starts_inside = flat.size > 0 and bool(flat[0])
        # The first run is of background, so a mask that begins inside gets one of length 0.
        bounds = np.concatenate([[0, 0] if starts_inside else [0], edges, [flat.size]])
        return cls((int(mask.shape[0]), int(mask.shape[1])), narrow(np.diff(bounds)))

    def decode(self) -> BoolMask:
        """Return the mask as bool [H, W]."""
        values = np.zeros(len(self.counts), dtype=np.bool_)
        values[1::2] = True
        return np.repeat(values, self.counts).reshape(self.size, order="F")

    # cached_property writes into __dict__, past the __setattr__ that a frozen dataclass forbids.
    @cached_property
    def area(self) -> int:
        """Number of pixels inside."""
        return int(self.counts[1::2].sum())

    @cached_property
    def box(self) -> tuple[int, int, int, int] | None:
        """Tight box x0, y0, x1, y1 with x1 and y1 one past the last pixel, or None for an empty mask."""
        if self.area == 0:
            return None
        height = self.size[0]
        bounds = np.cumsum(self.counts, dtype=np.int64)
        starts, ends = bounds[0::2][: len(self.counts[1::2])], bounds[1::2]
        inside = ends > starts
        starts, last = starts[inside], ends[inside] - 1
        x0, x1 = int(starts[0] // height), int(last[-1] // height) + 1
        # A run that passes a column's end touches the last row of one column and the first of the next.
        if bool(np.any(starts // height != last // height)):
            return x0, 0, x1, height
        return x0, int((starts % height).min()), x1, int((last % height).max()) + 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RunLengths):
            return NotImplemented
        # The dataclass's own would compare arrays, whose truth numpy refuses to tell.
        return self.size == other.size and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]
