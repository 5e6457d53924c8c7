"""Which points everything mode clicks at: all of a grid, or those of it that no good mask covers yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from segtune.core.geometry import Frame
from segtune.core.rle import BoolMask
from segtune.segment.grid import Points, point_grid

_WHOLE = 1.5
"""From this share of the image's sides on an ellipse around any place reaches all others: √2, and room to round."""


class PointSource(Protocol):
    """Yields points batch by batch, and hears what a batch found before it yields the next one."""

    def __iter__(self) -> Iterator[Points]:
        """Yield float64 [n, 2], x and y in 0 to 1, n at least 1."""

    def hear(self, logits: Tensor, quality: Tensor) -> None:
        """Take in the masks that were kept: logits [n, h, w] over the model's square and predicted IoU [n]."""


class Blind:
    """All points, in their order.

    Args:
        points: float64 [n, 2], x and y in 0 to 1.
        batch: points at once.
    """

    def __init__(self, points: Points, batch: int) -> None:
        self._points = points
        self._batch = batch

    def __iter__(self) -> Iterator[Points]:
        """Yield them."""
        yield from (self._points[start : start + self._batch] for start in range(0, len(self._points), self._batch))

    def hear(self, logits: Tensor, quality: Tensor) -> None:
        """Nothing that was found changes what is asked."""


class Guided:
    """The points of an even grid that are worth a click: objects are clicked once rather than wherever the grid is.

    A coarse pass asks every `stride`th point along each axis; further passes halve the stride. A point is spared once
    it lies in a mask that the model is sure of, unless that mask's contour passes near: there an object may begin that
    the mask only grazes. What is in doubt is so asked as densely as by the whole grid. (Object-aware prompts, Zhang et
    al. 2023, MobileSAMv2, take them from a detector; here the masks themselves say where objects are.)

    Args:
        side: points along each side of the grid.
        batch: points at once.
        frame: where the image lies in the model's square.
        stride: of the coarse pass.
        quality: predicted IoU from which on a mask spares points.
        margin: how far from the mask's contour, in steps of the grid; the image's edge is no contour.
    """

    def __init__(self, side: int, batch: int, frame: Frame, *, stride: int, quality: float, margin: float) -> None:
        self._side = side
        self._points = point_grid(side)
        self._batch = batch
        self._frame = frame
        self._stride = stride
        self._quality = quality
        self._margin = margin
        self._waiting = np.ones(len(self._points), dtype=np.bool_)

    def __iter__(self) -> Iterator[Points]:
        """Yield what is worth a click, given what was heard so far."""
        stride = self._stride
        while stride:
            waiting = self._pass(stride)
            # Neighbours mostly have the same answer: far apart, one batch tells more about the next one.
            waiting = waiting[np.random.default_rng(stride).permutation(len(waiting))]
            while len(waiting := waiting[self._waiting[waiting]]):
                rows = waiting[: self._batch]
                self._waiting[rows] = False
                yield self._points[rows]
            stride //= 2

    def hear(self, logits: Tensor, quality: Tensor) -> None:
        """Spare the points well inside the masks that are good enough."""
        good = logits[quality >= self._quality]
        if not len(good):
            return
        height, width = good.shape[1:]
        rows, columns = self._frame.content(height, width)
        places = self._points * (columns, rows)
        x, y = (
            np.minimum(axis.astype(np.int64), last - 1) for axis, last in zip(places.T, (columns, rows), strict=True)
        )
        for mask in (good[:, :rows, :columns] > 0).cpu().numpy():
            self._waiting &= ~self._inner(mask)[y, x]

    def _pass(self, stride: int) -> npt.NDArray[np.int64]:
        """Return the rows of every `stride`th point along each axis."""
        # From the middle of the first stride on, so that the image's edges are equally near.
        along = np.arange((stride - 1) // 2, self._side, stride)
        return (along[:, None] * self._side + along).ravel()

    def _inner(self, mask: BoolMask) -> BoolMask:
        """Return the cells [h, w] of a mask that lie farther than the margin from its contour."""
        if self._margin >= _WHOLE * self._side:
            # However wide: the ellipse would only grow, and OpenCV takes none of any size.
            return mask if mask.all() else np.zeros_like(mask)
        height, width = (2 * round(self._margin * length / self._side) + 1 for length in mask.shape)
        around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, height))
        inner = cv2.erode(mask.view(np.uint8), around, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        return inner.astype(np.bool_)
