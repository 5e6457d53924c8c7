"""An image file without masks, read as a data set of its kind would show it.

A file may hold several images: the slices of a NIfTI volume, the frames of a DICOM file. Each goes by the path of the
file with its number, `ct.nii.gz#0012`, as such samples are named.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segtune.core.types import Image
from segtune.data.formats.dicom_image import SEGMENTATION, NoImageError, is_dicom_file, read_frame, read_header
from segtune.data.formats.georeference import is_tiff_name
from segtune.data.formats.geotiff import Bands, needs_more_than_pillow, read_geotiff, shown_bands
from segtune.data.formats.nifti import count_slices, is_nifti_name, read_slice
from segtune.data.formats.window import Window
from segtune.data.images import (
    PIXEL_LIMIT,
    UNLIMITED,
    UnreadableError,
    hold_to_limit,
    is_image_name,
    read_image,
)

GEOTIFF = "geotiff"

_PLAIN = "plain"
"""Stands for the formats in which TIFFs are read as any image."""

_NUMBERED = re.compile(r"(.+)#(\d+)")


@dataclass(frozen=True)
class Reading:
    """How image files are read.

    Attributes:
        format: name of the data format as which TIFFs are read; None: each as a data set of its kind is detected.
        bands: numbers, from 1, of the bands of a GeoTIFF that become red, green and blue; None: the first three.
        window: (centre, width) of the values of a DICOM or NIfTI image that are shown; None: the file's own.
    """

    format: str | None = None
    bands: Bands | None = None
    window: Window | None = None

    def told(self, *, bands: Bands | None = None, window: Window | None = None) -> Reading:
        """Return this reading with bands or a window of one's own, where these are given."""
        return Reading(self.format if bands is None else GEOTIFF, bands or self.bands, window or self.window)

    def read(self, path: Path, pixel_limit: int = PIXEL_LIMIT) -> Image:
        """Return an image, uint8 [H, W, 3] RGB.

        Args:
            path: of an image file, or of one of the images in a file that holds several.
            pixel_limit: most pixels it may have.

        Raises:
            UnreadableError: the file is missing, damaged, no image, or larger than the limit, or holds several images.
            MissingExtraError: the package that reads its kind is not installed.
        """
        file, number = _split(path)
        if is_nifti_name(file.name):
            place = _only(number, count_slices(file, pixel_limit), file)
            return read_slice(file, place, self.window)
        if is_dicom_file(file):
            return read_frame(file, frame=_only(number, _count_frames(file, pixel_limit), file), window=self.window)
        if self.is_geotiff(path, pixel_limit):
            return read_geotiff(path, pixel_limit, self.bands)
        return read_image(path, pixel_limit)

    def is_geotiff(self, path: Path, pixel_limit: int = PIXEL_LIMIT) -> bool:
        """Whether a file is read as the data format of GeoTIFFs reads it."""
        if not is_tiff_name(path.name):
            return False
        if self.format is not None:
            return self.format == GEOTIFF
        return self.bands is not None or needs_more_than_pillow(path, pixel_limit)

    def is_plain(self, path: Path, pixel_limit: int = PIXEL_LIMIT) -> bool:
        """Whether a file is read as `data.images.read_image` reads it."""
        file, _ = _split(path)
        if is_nifti_name(file.name) or is_dicom_file(file):
            return False
        # The data format of GeoTIFFs leaves to it what it shows as people see it.
        return not self.is_geotiff(path, pixel_limit) or shown_bands(path, self.bands) is None

    def to_json(self) -> dict[str, Any]:
        """Return what makes it differ from one that goes by the files alone; nothing where nothing does."""
        told = {name: value for name, value in asdict(self).items() if value is not None}
        # All others read image files alike.
        return told if self.format in (None, GEOTIFF) else told | {"format": _PLAIN}


BY_CONTENT = Reading()
"""Each file as a data set of its kind is read where nothing was said."""


def is_readable(path: Path) -> bool:
    """Whether a file counts as an image: by its name, one of no telling extension that is DICOM by its first bytes."""
    return is_image_name(path.name) or is_nifti_name(path.name) or is_dicom_file(path)


def is_part(path: Path) -> bool:
    """Whether a path is that of one of the images in a file that holds several."""
    return _split(path)[1] is not None


def list_parts(path: Path) -> list[Path]:
    """Return the paths of the images in a file: its own, where it can hold one only; none of a DICOM file of others.

    Such are segmentations, and what holds no image: a report, a plan.

    Raises:
        UnreadableError: the file is damaged.
        MissingExtraError: the package that reads its kind is not installed.
    """
    if is_nifti_name(path.name):
        count = count_slices(path, UNLIMITED)
    elif not is_dicom_file(path):
        return [path]
    else:
        try:
            header = read_header(path)
        except NoImageError:
            return []
        if header.modality == SEGMENTATION:
            return []
        if (count := header.frames) == 1:
            return [path]
    # Zeros in front, so that names sort as slices do.
    return [path.with_name(f"{path.name}#{number:04d}") for number in range(count)]


def without_number(name: str) -> str:
    """Return the name of the file in which an image lies, by the image's name."""
    found = _NUMBERED.fullmatch(name)
    return name if found is None else found[1]


def _split(path: Path) -> tuple[Path, int | None]:
    """Return the file in which an image lies, and its number there where the path says one."""
    found = _NUMBERED.fullmatch(path.name)
    # Any file's name may end so.
    if found is None or path.exists():
        return path, None
    file = path.with_name(found[1])
    return (file, int(found[2])) if is_nifti_name(file.name) or is_dicom_file(file) else (path, None)


def _count_frames(path: Path, pixel_limit: int) -> int:
    header = read_header(path)
    if header.modality == SEGMENTATION:
        raise UnreadableError(path, "it is a DICOM segmentation, not an image", "Give the images that it is of.")
    hold_to_limit(path, header.size, pixel_limit)
    return header.frames


def _only(number: int | None, count: int, path: Path) -> int:
    """Return which of `count` images in a file is meant: the number given, or that of the only one."""
    if number is None and count == 1:
        return 0
    named = f"Name one of them: {path.name}#0000 to {path.name}#{count - 1:04d}."
    if number is None:
        raise UnreadableError(path, f"it holds {count} images", named)
    if number >= count:
        raise UnreadableError(path, f"it holds {count} images, counted from 0, and none has the number {number}", named)
    return number
