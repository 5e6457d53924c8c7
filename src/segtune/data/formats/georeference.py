"""Where on Earth an image lies: the tags of a GeoTIFF, and pixels to map coordinates and back."""

from __future__ import annotations

import logging
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from segtune.core.errors import MissingExtraError
from segtune.data.images import UnreadableError

PIXEL_SCALE, TIE_POINT, TRANSFORMATION = 33550, 33922, 34264
_DIRECTORY = 34735
GEO_TAGS = (PIXEL_SCALE, TIE_POINT, TRANSFORMATION, _DIRECTORY, 34736, 34737, 42113)
"""Scale, tie point, transformation, key directory, its doubles and texts (OGC GeoTIFF 1.1, annex A), GDAL's no-data."""

_RASTER_TYPE = 1025
_PIXEL_IS_POINT = 2
_CRS_KEYS = (3072, 2048)
"""Keys of a projected and of a geographic coordinate system's EPSG number."""

TIFF_SUFFIXES = (".tif", ".tiff")
TIFF_FAULTS = (OSError, ValueError, IndexError, KeyError, TypeError, RuntimeError, struct.error, zlib.error)
"""What tifffile is known to raise on broken files, beside its own error."""

PLAIN_COMPRESSIONS = (1, 8, 32946)
"""None and deflate: what tifffile decodes without further packages."""

Points = npt.NDArray[np.float64]
Tag = tuple[int, int, int, Any]


@dataclass(frozen=True)
class Georeference:
    """A GeoTIFF's place on Earth.

    Attributes:
        transform: a, b, c, d, e, f of x = a · column + b · row + c and y = d · column + e · row + f, where a pixel's
            upper left corner has whole numbers.
        crs: EPSG number of the coordinate system, or None where the file names none.
        tags: the file's own tags (code, type, count, value), to be written back as they are.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: int | None
    tags: tuple[Tag, ...]

    def to_map(self, points: Points) -> Points:
        """Return map coordinates of points x, y in pixels, [..., 2]."""
        a, b, c, d, e, f = self.transform
        return np.asarray(points @ np.array([[a, d], [b, e]]) + np.array([c, f]))

    def to_pixels(self, points: Points) -> Points:
        """Return pixel coordinates x, y of points in map coordinates, [..., 2]."""
        a, b, c, d, e, f = self.transform
        return np.asarray((points - np.array([c, f])) @ np.linalg.inv(np.array([[a, d], [b, e]])))


PIXELS = Georeference(
    (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    None,
    ((TRANSFORMATION, 12, 16, (1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1.0)),),
)
"""Map coordinates that are the pixels themselves: for an image of no known place."""


def is_tiff_name(name: str) -> bool:
    """Whether a file's extension is that of TIFF."""
    return name.lower().endswith(TIFF_SUFFIXES)


def read_georeference(path: Path) -> Georeference | None:
    """Return the georeference of a TIFF, or None where it has none.

    Raises:
        UnreadableError: the file cannot be read.
        MissingExtraError: tifffile is not installed.
    """
    tifffile = import_tifffile()
    try:
        with tifffile.TiffFile(path) as file:
            found = {tag.code: (tag.code, int(tag.dtype), tag.count, tag.value) for tag in file.pages[0].tags
                     if tag.code in GEO_TAGS}  # fmt: skip
    except (tifffile.TiffFileError, *TIFF_FAULTS) as error:
        raise UnreadableError(path, f"it is no TIFF that can be read ({error})", "Export it again.") from error
    transform = _transform({code: tag[3] for code, tag in found.items()})
    if transform is None:
        return None
    keys = _keys(found[_DIRECTORY][3]) if _DIRECTORY in found else {}
    # 32767 stands for a system that is defined in the file itself.
    crs = next((keys[key] for key in _CRS_KEYS if 0 < keys.get(key, 0) < 32767), None)
    return Georeference(transform, crs, tuple(found.values()))


def import_tifffile() -> ModuleType:
    """Return the module tifffile.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtraError("tifffile", "data", "Reading GeoTIFF") from error
    logging.getLogger("tifffile").addFilter(_is_of_use)
    return tifffile


def _is_of_use(record: logging.LogRecord) -> bool:
    """Whether a message of tifffile tells anything: one per file whose no-data is no value of its type does not.

    Many tools write -9999 for bytes, too; the tag is read without tifffile's help (`data.images.parse_no_data`).
    """
    return "GDAL_NODATA" not in record.getMessage()


def _transform(tags: dict[int, Any]) -> tuple[float, float, float, float, float, float] | None:
    if TRANSFORMATION in tags:
        # A 4 × 4 matrix by rows; its third column and row are the height.
        m = [float(value) for value in tags[TRANSFORMATION]]
        a, b, c, d, e, f = m[0], m[1], m[3], m[4], m[5], m[7]
    elif PIXEL_SCALE in tags and TIE_POINT in tags:
        scale = [float(value) for value in tags[PIXEL_SCALE]]
        column, row, _, x, y, _ = (float(value) for value in tags[TIE_POINT][:6])
        a, b, d, e = scale[0], 0.0, 0.0, -scale[1]  # y runs up on a map, down in an image
        c, f = x - a * column, y - e * row
    else:
        return None
    if _keys(tags.get(_DIRECTORY, ())).get(_RASTER_TYPE) == _PIXEL_IS_POINT:
        # The coordinates are then those of pixels' centres.
        c, f = c - (a + b) / 2, f - (d + e) / 2
    return a, b, c, d, e, f


def _keys(directory: Any) -> dict[int, int]:
    """Return the keys of a key directory whose values are short integers."""
    # Behind a head of four numbers, four a key: its id, where its value lies (0: here), count, value.
    entries = [directory[start : start + 4] for start in range(4, len(directory) - 3, 4)]
    return {int(key): int(value) for key, place, _, value in entries if place == 0}
