"""Windows of a TIFF, decoded segment by segment: strips or tiles, whichever the file is made of."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from segtune.core.types import Image
from segtune.data.formats.georeference import PLAIN_COMPRESSIONS, TIFF_FAULTS, import_tifffile
from segtune.data.images import UnreadableError
from segtune.data.windows import Windows

_CACHE = 1 << 28
"""Bytes of decoded segments that are kept: neighbouring windows share them."""

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_UPRIGHT = 1
_LARGEST_SEGMENT = 1 << 28
"""Bytes; a file whose segments are larger is not one to be read by them."""


class TiffWindows(Windows):
    """Windows of the first page of a TIFF.

    Args:
        path: for errors.
        page: of an open tifffile.TiffFile.
        shown: numbers, from 1, of the bands that become red, green and blue, or of the one that becomes grey; without
            it the colours of the file are shown as people see them.
    """

    def __init__(self, path: Path, page: Any, shown: Sequence[int] | None = None) -> None:
        self._path, self._page = path, page
        self._inverted = shown is None and int(page.photometric) == _WHITE_IS_ZERO
        self._bands = [band - 1 for band in shown or ((1, 2, 3) if page.samplesperpixel >= 3 else (1,))]
        self._kept: OrderedDict[int, npt.NDArray[np.uint8]] = OrderedDict()
        self._bytes = 0
        tall, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        self._shape = min(int(tall), int(page.imagelength)) if not page.is_tiled else int(tall), int(wide)
        # Planes of a planar file follow one another, each with segments of its own.
        self._is_planar = page.planarconfig == 2

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the page."""
        return int(self._page.imagelength), int(self._page.imagewidth)

    def read(self, rows: slice, columns: slice) -> Image:
        """Return a window, decoding what segments of it are not kept."""
        tall, wide = self._shape
        down, across = -(-self.size[0] // tall), -(-self.size[1] // wide)
        window = np.zeros((rows.stop - rows.start, columns.stop - columns.start, len(self._bands)), dtype=np.uint8)
        # Which plane, where its bands go in the window, and where they are in a segment.
        planes = [(band, [place], [0]) for place, band in enumerate(self._bands)]
        places = product(
            planes if self._is_planar else [(0, [*range(len(self._bands))], self._bands)],
            range(rows.start // tall, -(-rows.stop // tall)),
            range(columns.start // wide, -(-columns.stop // wide)),
        )
        for (plane, into, taken), row, column in places:
            segment = self._segment((plane * down + row) * across + column)
            top, left = row * tall, column * wide
            into_rows = slice(max(rows.start, top), min(rows.stop, top + segment.shape[0]))
            into_columns = slice(max(columns.start, left), min(columns.stop, left + segment.shape[1]))
            part = segment[
                into_rows.start - top : into_rows.stop - top, into_columns.start - left : into_columns.stop - left
            ]
            window[
                into_rows.start - rows.start : into_rows.stop - rows.start,
                into_columns.start - columns.start : into_columns.stop - columns.start,
                into,
            ] = part[:, :, taken]
        if self._inverted:
            window = 255 - window
        return np.ascontiguousarray(np.broadcast_to(window, (*window.shape[:2], 3)))

    def _segment(self, number: int) -> npt.NDArray[np.uint8]:
        """Return segment [h, w, bands], of the last ones used without decoding it again."""
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        segment = self._decode(number)
        self._kept[number] = segment
        self._bytes += segment.nbytes
        while self._bytes > _CACHE and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return segment

    def _decode(self, number: int) -> npt.NDArray[np.uint8]:
        page = self._page
        try:
            length = page.databytecounts[number]
            handle = page.parent.filehandle
            handle.seek(page.dataoffsets[number])
            # A sparse file has no bytes where there is nothing to see.
            decoded = page.decode(handle.read(length), number)[0] if length else None
        except (import_tifffile().TiffFileError, *TIFF_FAULTS) as error:
            remedy = "Copy it again from its source, or leave it out."
            raise UnreadableError(self._path, f"it is damaged ({error})", remedy) from error
        if decoded is None:
            return np.zeros((*self._shape, 1 if self._is_planar else int(page.samplesperpixel)), dtype=np.uint8)
        segment: npt.NDArray[np.uint8] = decoded[0]
        return segment


@contextmanager
def open_tiff_windows(path: Path, shown: Sequence[int] | None = None) -> Iterator[Windows | None]:
    """Open a TIFF by window; None for what must be read in another way: no TIFF, deep, turned, or compressed otherwise.

    Args:
        path: the file.
        shown: as of `TiffWindows`; bands that are asked for by number are shown as they are stored, turned or not.

    Raises:
        MissingExtraError: tifffile is not installed.
    """
    tifffile = import_tifffile()
    with ExitStack() as stack:
        windows = None
        # The content decides, not the name: Pillow will say what is wrong, or read it.
        with suppress(tifffile.TiffFileError, *TIFF_FAULTS):
            page = stack.enter_context(tifffile.TiffFile(path)).pages[0]
            fits = _is_simple(page) and (shown is not None or _has_plain_colours(page))
            windows = TiffWindows(path, page, shown) if fits else None
        yield windows


def _is_simple(page: Any) -> bool:
    """Whether its segments can be decoded without further packages, and hold values that are not stretched."""
    wide = page.tilewidth if page.is_tiled else page.imagewidth
    tall = page.tilelength if page.is_tiled else page.rowsperstrip
    return (
        page.dtype == np.uint8
        and page.bitspersample == 8
        and int(page.compression) in PLAIN_COMPRESSIONS
        and page.imagedepth == 1
        and min(tall, wide, page.imagelength, page.imagewidth) > 0
        and min(tall, page.imagelength) * wide * page.samplesperpixel <= _LARGEST_SEGMENT
    )


def _has_plain_colours(page: Any) -> bool:
    """Whether its segments look by themselves as the file looks in the whole: upright, and grey or RGB."""
    kind = int(page.photometric)
    grey = kind in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and page.samplesperpixel == 1
    upright = page.tags.valueof("Orientation", _UPRIGHT) == _UPRIGHT
    return bool(upright and (grey or (kind == _RGB and page.samplesperpixel in (3, 4))))
