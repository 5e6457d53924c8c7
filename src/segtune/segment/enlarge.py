"""Predicted masks at original size, computed only where they can be.

The result equals `core.geometry.logits_to_image(logits, frame) > 0` pixel for pixel, at a cost that follows the object
rather than the image. Bilinear resampling is linear, works on rows and columns apart, and its weights are not negative:
beyond the reach of positive cells nothing becomes positive. Only rounding differs from the reference, so a mask with a
pixel so close to zero that rounding could turn it is computed by the reference itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.sparse import csr_matrix
from scipy.special import expit, logit
from torch import Tensor

from segtune.core.geometry import Frame, logits_to_image
from segtune.segment.crops import MaskCrop, ProbabilityCrop

_Floats = npt.NDArray[np.float32]

_ROUNDING = 16 * float(np.finfo(np.float32).eps)
"""Bound on what two orders of summing up to 16 products can differ by, as a share of the largest logit."""

_LEAST = float(logit(0.5 / 255))
"""Logit from which on a probability does not round to 0 of 255."""


class Enlarger:
    """Brings logits over the square of one frame to masks at original size.

    Args:
        frame: where the image lies in the square.
        mask_size: (h, w) of the logits.
    """

    def __init__(self, frame: Frame, mask_size: tuple[int, int]) -> None:
        self._frame = frame
        self._rows = _Axis.build(mask_size[0], frame.side, frame.resized[0], frame.original[0])
        self._columns = _Axis.build(mask_size[1], frame.side, frame.resized[1], frame.original[1])

    def __call__(self, logits: Tensor) -> MaskCrop:
        """Return the mask of logits [h, w], a tensor on the CPU."""
        cells = logits.float().numpy()
        reach = self._reach(np.asarray(cells > 0))
        if reach is None:
            return MaskCrop(self._frame.original, 0, 0, np.zeros((0, 0), dtype=np.bool_))
        rows, columns = reach
        values = self._values(cells, rows, columns)
        # Strictly, as in the reference: a logit of 0 is outside.
        inside = values > 0
        part = cells[rows.cells, columns.cells]
        # Not `<=`: of a model that diverged NaN is compared, and must go the slow way too.
        if not np.abs(values).min() > _ROUNDING * np.abs(part).max():
            inside = (logits_to_image(logits.float(), self._frame) > 0)[rows.pixels, columns.pixels].numpy()
        return MaskCrop(self._frame.original, rows.pixels.start, columns.pixels.start, inside)

    def levels(self, logits: Tensor, levels: Sequence[float]) -> tuple[MaskCrop, ...]:
        """Return the mask above each of several levels, all in the window of the lowest.

        They equal `core.geometry.logits_to_image(logits, frame) > level` but for pixels whose value rounds to the
        level: where the shape itself is no more exact than that, it is not worth the reference's time.

        Args:
            logits: [h, w], a tensor on the CPU.
            levels: logits.
        """
        cells = logits.float().numpy()
        lowest = min(levels)
        reach = self._reach(np.asarray(cells > lowest))
        if reach is None:
            return tuple(MaskCrop(self._frame.original, 0, 0, np.zeros((0, 0), dtype=np.bool_)) for _ in levels)
        rows, columns = reach
        values = self._values(cells, rows, columns)
        corner = rows.pixels.start, columns.pixels.start
        return tuple(MaskCrop(self._frame.original, *corner, np.asarray(values > level)) for level in levels)

    def probability(self, logits: Tensor) -> ProbabilityCrop:
        """Return the probability that each pixel is the object, the sigmoid of its logit.

        Args:
            logits: [h, w], a tensor on the CPU.
        """
        cells = logits.float().numpy()
        reach = self._reach(np.asarray(cells > _LEAST))
        if reach is None:
            return ProbabilityCrop(self._frame.original, 0, 0, np.zeros((0, 0), dtype=np.uint8))
        rows, columns = reach
        values = np.rint(255 * expit(self._values(cells, rows, columns))).astype(np.uint8)
        return ProbabilityCrop(self._frame.original, rows.pixels.start, columns.pixels.start, values)

    def stability_limit(self, logits: Tensor, offset: float) -> Tensor:
        """Return what the stability of masks at original size surely does not exceed, without enlarging them.

        Stability is the pixels above `offset` over those above `-offset` (`segment.everything`). A pixel is a mean of
        the cells around it: it is above a level only if one of them is, and surely if all are.

        Args:
            logits: float [n, h, w], on any device.
            offset: 0 or more.

        Returns:
            float32 [n]; inf where nothing is sure, NaN for masks that have no pixel at all.
        """
        # What rounding may add to a mean.
        slack = _ROUNDING * logits.abs().amax(dim=(1, 2), keepdim=True)
        radii = self._rows.radius, self._columns.radius
        reached = _grow(logits > offset - slack, *radii)
        certain = ~_grow(~(logits > slack - offset), *radii)
        # How many rows and columns of pixels lie nearest to each cell.
        rows, columns = (
            torch.from_numpy(axis.nearest).to(logits.device, torch.float32) for axis in (self._rows, self._columns)
        )
        most, least = ((cells.float() @ columns) @ rows for cells in (reached, certain))  # [n]
        return most / least

    def _reach(self, above: npt.NDArray[np.bool_]) -> tuple[_Reach, _Reach] | None:
        """Return what cells [h, w] above a level reach, along rows and columns; None where that is nothing."""
        rows, columns = self._rows.reach(above, axis=1), self._columns.reach(above, axis=0)
        return None if rows is None or columns is None else (rows, columns)

    def _values(self, cells: _Floats, rows: _Reach, columns: _Reach) -> _Floats:
        """Enlarge cells [h, w] in a window."""
        wide = self._columns.weights[columns.pixels] @ np.ascontiguousarray(cells.T)  # [W', h]
        values: _Floats = self._rows.weights[rows.pixels] @ np.ascontiguousarray(wide.T)  # [H', W']
        return values


def _grow(cells: Tensor, rows: int, columns: int) -> Tensor:
    """Widen what is true in cells [n, h, w] by so many rows and columns on each side."""
    for dim, radius in ((1, rows), (2, columns)):
        grown = cells.clone()
        length = cells.shape[dim]
        for step in range(1, min(radius, length - 1) + 1):
            grown.narrow(dim, step, length - step).logical_or_(cells.narrow(dim, 0, length - step))
            grown.narrow(dim, 0, length - step).logical_or_(cells.narrow(dim, step, length - step))
        cells = grown
    return cells


@dataclass(frozen=True)
class _Reach:
    """Along one axis: the pixels that may be inside, and the cells they are made of."""

    pixels: slice
    cells: slice


@dataclass(frozen=True)
class _Axis:
    """Resampling along one axis as a sparse matrix [pixels, cells].

    Attributes:
        weights: float32 [pixels, cells].
        first_pixel, past_pixel: where each cell's weight begins and ends.
        first_cell, past_cell: likewise for each pixel.
        nearest: for each cell, the number of pixels to which it weighs most.
        radius: how far from that cell, at most, another one weighs in the same pixel.
    """

    weights: csr_matrix
    first_pixel: npt.NDArray[np.int64]
    past_pixel: npt.NDArray[np.int64]
    first_cell: npt.NDArray[np.int64]
    past_cell: npt.NDArray[np.int64]
    nearest: npt.NDArray[np.int64]
    radius: int

    @classmethod
    def build(cls, cells: int, side: int, resized: int, original: int) -> _Axis:
        """Resample the identity by the same two steps as `logits_to_image`."""
        unit = torch.eye(cells).reshape(1, cells, cells, 1)  # [1, cells, cells, 1]: cell c is channel c
        square = F.interpolate(unit, (side, 1), mode="bilinear", align_corners=False)[:, :, :resized]
        # [original, cells]; nearly all 0, as a pixel is made of a few cells.
        dense = F.interpolate(square, (original, 1), mode="bilinear", align_corners=False)[0, :, :, 0].T.numpy()
        first, past = _ends(dense > 0)
        heaviest = dense.argmax(axis=1)
        radius = int(np.maximum(heaviest - first, past - 1 - heaviest).max())
        nearest = np.bincount(heaviest, minlength=cells).astype(np.int64)
        return cls(csr_matrix(dense), *_ends(dense.T > 0), first, past, nearest, radius)

    def reach(self, positive: npt.NDArray[np.bool_], axis: int) -> _Reach | None:
        """Return what the positive cells reach; None where there are none, or in the padding only.

        Args:
            positive: bool [h, w].
            axis: the other axis.
        """
        # Cells in the padding weigh in no pixel.
        cells = np.flatnonzero(np.any(positive, axis=axis) & (self.past_pixel > 0))
        if not len(cells):
            return None
        pixels = slice(int(self.first_pixel[cells].min()), int(self.past_pixel[cells].max()))
        return _Reach(pixels, slice(int(self.first_cell[pixels].min()), int(self.past_cell[pixels].max())))


def _ends(weighs: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first true column of each row and one past its last; both 0 for a row without any."""
    some = weighs.any(axis=1)
    first = np.where(some, weighs.argmax(axis=1), 0)
    past = np.where(some, weighs.shape[1] - weighs[:, ::-1].argmax(axis=1), 0)
    return first.astype(np.int64), past.astype(np.int64)
