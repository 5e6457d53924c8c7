"""Images read by window: what reads them is asked for parts, so that nobody need hold the whole."""

from __future__ import annotations

from abc import ABC, abstractmethod

import cv2
import numpy as np

from segtune.core.types import Image

_STRIP = 1 << 24
"""Pixels read at once on the way to a smaller image."""


class Windows(ABC):
    """An image that is read by window."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(height, width) of the whole image."""

    @abstractmethod
    def read(self, rows: slice, columns: slice) -> Image:
        """Return a window of the image, uint8 [h, w, 3] RGB.

        Args:
            rows: start and stop, inside the image.
            columns: likewise.

        Raises:
            UnreadableError: the file is damaged there.
        """

    def read_small(self, rows: slice, columns: slice, longest: int) -> Image:
        """Return a window with its longest side brought down to `longest` pixels, by mean; never enlarged.

        Read strip by strip: memory holds the result and some rows. Shape and place of its content are those of the
        window to less than a pixel of the window.
        """
        height, width = rows.stop - rows.start, columns.stop - columns.start
        factor = max(height, width) / longest
        if factor <= 1:
            return self.read(rows, columns)
        small_height, small_width = max(1, round(height / factor)), max(1, round(width / factor))
        small = np.empty((small_height, small_width, 3), dtype=np.uint8)
        step = max(1, int(_STRIP / (width * factor)))
        for start in range(0, small_height, step):
            stop = min(start + step, small_height)
            first, last = (round(edge * height / small_height) for edge in (start, stop))
            strip = self.read(slice(rows.start + first, rows.start + last), columns)
            small[start:stop] = cv2.resize(strip, (small_width, stop - start), interpolation=cv2.INTER_AREA)
        return small


class ArrayWindows(Windows):
    """Windows of an array.

    Args:
        image: uint8 [H, W, 3] RGB; a memory map will do.
    """

    def __init__(self, image: Image) -> None:
        self._image = image

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the array."""
        return int(self._image.shape[0]), int(self._image.shape[1])

    def read(self, rows: slice, columns: slice) -> Image:
        """Return a copy of a window."""
        return np.ascontiguousarray(self._image[rows, columns])
