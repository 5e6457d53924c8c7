"""Image files opened to be read by window, where the file's kind allows it without ever holding the whole.

A TIFF of strips or tiles with 8 bits a band, stored plainly or deflated, is decoded piece by piece. Any other file is
decoded once and held: PNG and JPEG, which cannot be entered in the middle, at 4 bytes a pixel; deep values, which are
stretched over all the image. No limit on pixels holds here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import PIL.Image

from segtune.core.errors import MissingExtraError
from segtune.core.types import Image
from segtune.data.formats.georeference import is_tiff_name
from segtune.data.formats.geotiff import shown_bands
from segtune.data.formats.tiff_windows import open_tiff_windows
from segtune.data.images import UNLIMITED, open_image, to_rgb, turn_upright
from segtune.data.reading import BY_CONTENT, Reading
from segtune.data.windows import ArrayWindows, Windows

_PLAIN = frozenset({"1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr"})
"""Pillow's modes in which a window looks as it does in the whole; the others are stretched over all their values."""


class _HeldWindows(Windows):
    """Windows of an image that Pillow decoded, kept as Pillow keeps it: an array of it would be a second copy."""

    def __init__(self, image: PIL.Image.Image) -> None:
        self._image = image

    @property
    def size(self) -> tuple[int, int]:
        return self._image.height, self._image.width

    def read(self, rows: slice, columns: slice) -> Image:
        return to_rgb(self._image.crop((columns.start, rows.start, columns.stop, rows.stop)))


@contextmanager
def open_windows(source: str | Path | Image, reading: Reading | None = None) -> Iterator[Windows]:
    """Open an image to read windows of it, each as the whole would show it.

    Args:
        source: an image file, or an image, uint8 [H, W, 3] RGB.
        reading: how the file is read; without it as its content says.

    Raises:
        UnreadableError: the file is missing, damaged or no image.
        MissingExtraError: the package that reads its kind is not installed.
    """
    if isinstance(source, np.ndarray):
        yield ArrayWindows(source)
        return
    path, reading = Path(source), reading or BY_CONTENT
    with ExitStack() as stack:
        found = _open_tiff(path, reading, stack) if is_tiff_name(path.name) else None
        yield found or _hold(path, reading)


def _open_tiff(path: Path, reading: Reading, stack: ExitStack) -> Windows | None:
    """Return windows of a TIFF that can be decoded piece by piece, else None."""
    try:
        shown = shown_bands(path, reading.bands) if reading.is_geotiff(path, UNLIMITED) else None
        return stack.enter_context(open_tiff_windows(path, shown))
    # Without tifffile Pillow reads it, whole.
    except MissingExtraError:
        return None


def _hold(path: Path, reading: Reading) -> Windows:
    """Decode a file once. What Pillow decoded stays when its file is closed."""
    if not reading.is_plain(path, UNLIMITED):
        return ArrayWindows(reading.read(path, UNLIMITED))
    with open_image(path, UNLIMITED) as opened:
        # First: decoding a PNG would bring up an orientation behind its pixels, which counts nowhere.
        upright = turn_upright(opened)
        upright.load()
        held: Windows = _HeldWindows(upright) if upright.mode in _PLAIN else ArrayWindows(to_rgb(upright))
    return held
