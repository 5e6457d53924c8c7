"""Masks of large images held as the part that is not empty: what scoring many small objects costs depends on it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask, RunLengths, narrow
from segtune.data.formats.runs import decode_window


@dataclass(frozen=True, eq=False)
class MaskCrop:
    """A mask [H, W] that is False outside a window.

    Attributes:
        size: (height, width) of the whole mask.
        top: first row of the window.
        left: its first column.
        inside: bool [h, w], the window's content; [0, 0] for an empty mask.
    """

    size: tuple[int, int]
    top: int
    left: int
    inside: BoolMask

    @classmethod
    def of(cls, mask: BoolMask) -> MaskCrop:
        """Cut a mask [H, W] to its tight box."""
        # Of an empty mask OpenCV's box is 0, 0, 0, 0.
        left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
        inside = np.ascontiguousarray(mask[top : top + height, left : left + width])
        return cls((int(mask.shape[0]), int(mask.shape[1])), top, left, inside)

    @classmethod
    def of_runs(cls, mask: RunLengths) -> MaskCrop:
        """Cut a run-length mask to its tight box."""
        if mask.box is None:
            return cls(mask.size, 0, 0, np.zeros((0, 0), dtype=np.bool_))
        x0, y0, x1, y1 = mask.box
        return cls(mask.size, y0, x0, np.ascontiguousarray(decode_window(mask, slice(y0, y1), slice(x0, x1))))

    @property
    def rows(self) -> slice:
        """Rows of the window."""
        return slice(self.top, self.top + self.inside.shape[0])

    @property
    def columns(self) -> slice:
        """Columns of the window."""
        return slice(self.left, self.left + self.inside.shape[1])

    def full(self) -> BoolMask:
        """Return the whole mask, bool [H, W]."""
        mask = np.zeros(self.size, dtype=np.bool_)
        mask[self.rows, self.columns] = self.inside
        return mask

    def tight(self) -> MaskCrop:
        """Return the same mask in its smallest window."""
        inner = MaskCrop.of(self.inside)
        return MaskCrop(self.size, self.top + inner.top, self.left + inner.left, inner.inside)

    def widened(self, margin: int) -> MaskCrop:
        """Return the same mask in a window wider by a margin on each side, as far as the image goes."""
        top, left = max(0, self.top - margin), max(0, self.left - margin)
        bottom, right = min(self.size[0], self.rows.stop + margin), min(self.size[1], self.columns.stop + margin)
        wide = np.zeros((bottom - top, right - left), dtype=np.bool_)
        wide[self.top - top : self.rows.stop - top, self.left - left : self.columns.stop - left] = self.inside
        return MaskCrop(self.size, top, left, wide)

    def within(self, size: tuple[int, int], top: int, left: int) -> MaskCrop:
        """Return the mask in a larger image of `size`, whose pixel (top, left) is this one's first."""
        return MaskCrop(size, self.top + top, self.left + left, self.inside)

    def runs(self) -> RunLengths:
        """Return the whole mask as run lengths, without writing it out."""
        height = self.size[0]
        # A row of background above and below, so that no run passes from one column of the window to the next.
        framed = np.pad(self.inside, ((1, 1), (0, 0))).T  # [w, h + 2]
        columns, begins = np.nonzero(framed[:, 1:] & ~framed[:, :-1])
        ends = np.nonzero(framed[:, :-1] & ~framed[:, 1:])[1]
        base = (columns + self.left) * height + self.top
        starts, stops = base + begins, base + ends
        # Full columns side by side are one run.
        joined = starts[1:] == stops[:-1]
        starts, stops = starts[np.r_[True, ~joined][: len(starts)]], stops[np.r_[~joined, True][: len(stops)]]
        bounds = np.concatenate([[0], np.stack([starts, stops], axis=1).ravel(), [height * self.size[1]]])
        counts = narrow(np.diff(bounds))
        # A last run of nothing is left out, as `RunLengths.encode` does.
        return RunLengths(self.size, counts[:-1] if len(counts) > 1 and not counts[-1] else counts)

    def without(self, ignore: BoolMask | None) -> MaskCrop:
        """Return the mask without the pixels of `ignore` [H, W]."""
        if ignore is None:
            return self
        return MaskCrop(self.size, self.top, self.left, self.inside & ~ignore[self.rows, self.columns])


def in_common_window(one: MaskCrop, other: MaskCrop) -> tuple[BoolMask, BoolMask, int, int]:
    """Return two masks of one image in the smallest window that holds both.

    Returns:
        The masks, bool [h, w] each, and the window's first column and row.
    """
    # An empty mask lies nowhere: its window must not pull the common one to the corner.
    parts = [crop for crop in (one, other) if crop.inside.size]
    if not parts:
        return one.inside, other.inside, 0, 0
    top, left = min(crop.rows.start for crop in parts), min(crop.columns.start for crop in parts)
    bottom, right = max(crop.rows.stop for crop in parts), max(crop.columns.stop for crop in parts)
    masks = np.zeros((2, bottom - top, right - left), dtype=np.bool_)  # [2, h, w]
    for mask, crop in zip(masks, (one, other), strict=True):
        if crop.inside.size:
            rows, columns = crop.rows, crop.columns
            mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = crop.inside
    return masks[0], masks[1], left, top


@dataclass(frozen=True, eq=False)
class ProbabilityCrop:
    """How likely each pixel of an image [H, W] is the object, held as the part where that does not round to 0.

    Attributes:
        size: (height, width) of the image.
        top: first row of the window.
        left: its first column.
        values: uint8 [h, w], the window's probabilities in 255ths; [0, 0] where all are 0.
    """

    size: tuple[int, int]
    top: int
    left: int
    values: npt.NDArray[np.uint8]

    def full(self) -> npt.NDArray[np.uint8]:
        """Return the whole map, uint8 [H, W]."""
        height, width = self.values.shape
        whole = np.zeros(self.size, dtype=np.uint8)
        whole[self.top : self.top + height, self.left : self.left + width] = self.values
        return whole
