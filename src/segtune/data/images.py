"""Image files of any common kind, read as RGB uint8 the way people see them.

What is not plain 8-bit RGB is brought there by fixed rules:

- EXIF orientation is applied, to `read_size` as well.
- The content decides, not the extension: WEBP, PNG or GIF named .jpg are read; of an animation, the first frame.
- Grey is repeated to three channels, palettes and CMYK are converted.
- Alpha is dropped, the stored colours stay: what labelling tools show, and a cut-out does not leak its outline.
- 16-bit and 32-bit grey and floats are stretched per image: the 0.1th percentile becomes 0, the 99.9th 255; pixels
  without data become black.
- Of 16-bit colour the high byte is kept.
"""

from __future__ import annotations

import os
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from segtune.core.errors import DataError
from segtune.core.types import Image
from segtune.data.headers import quick_size
from segtune.data.remedies import MAKE_SMALLER

PIXEL_LIMIT = 178_956_970
"""Most pixels an image may have unless another limit is given: Pillow's own bound against decompression bombs."""

UNLIMITED = sys.maxsize
"""Given as that limit: none."""


class UnreadableError(DataError):
    """One file that cannot be used.

    Attributes:
        reason: why, without the file's name.
        remedy: what would mend it.
    """

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{path} cannot be used: {reason}. {remedy}")
        self.path, self.reason, self.remedy = path, reason, remedy


class TooLargeError(UnreadableError):
    """One image with more pixels than the limit."""


IMAGE_SUFFIXES = frozenset(
    (
        ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm",
        ".ppm", ".tga", ".tif", ".tiff", ".webp",
    )
)  # fmt: skip
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"RIFF")
_TIFF_WIDTH, _TIFF_LENGTH, _ORIENTATION = 0x0100, 0x0101, 0x0112
NO_DATA_TAG = 42113
_LARGEST = 1e30
"""GDAL fills what it does not know with the lowest number of its type, -3.4e38 or -1.8e308; no band measures such."""

_TURNED = frozenset({5, 6, 7, 8})
"""EXIF orientations that swap width and height."""

_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, LookupError, ArithmeticError, RuntimeError,
    TypeError, AttributeError, AssertionError,
)  # fmt: skip
"""What Pillow's decoders raise on broken files: RuntimeError that of AVIF, the last three where one trips over a tag.
"""

# Sizes are held to the caller's limit here, with an error that names the file; Pillow's warning adds nothing to it.
warnings.filterwarnings("ignore", category=PIL.Image.DecompressionBombWarning)


def read_image(path: Path, pixel_limit: int = PIXEL_LIMIT) -> Image:
    """Decode an image file.

    Args:
        path: the file.
        pixel_limit: most pixels it may have.

    Returns:
        RGB, uint8 [H, W, 3], EXIF orientation applied.

    Raises:
        UnreadableError: the file is missing, truncated, no image, or larger than the limit; a DataError.
    """
    with open_image(path, pixel_limit) as opened:
        return to_rgb(turn_upright(opened))


def read_size(path: Path, pixel_limit: int = PIXEL_LIMIT) -> tuple[int, int]:
    """Return (height, width) of an image as it will be read, from its header alone.

    A PNG or JPEG whose end is missing is decoded once to learn whether it can be read, so that a truncated file is
    found here and not in the middle of a run.

    Raises:
        UnreadableError: as `read_image`.
    """
    with suppress(OSError):
        if quick := quick_size(path):
            hold_to_limit(path, quick, pixel_limit)
            return quick
    with open_image(path, pixel_limit) as opened:
        width, height = _stored_size(opened)
        turned = _orientation(opened) in _TURNED
        if not _ends_well(opened, path):
            opened.load()
    return (width, height) if turned else (height, width)


def read_orientation(path: Path) -> int:
    """Return the EXIF orientation of an image file, 1 to 8; 1 is upright, and what most files are.

    Raises:
        UnreadableError: as `read_image`.
    """
    with open_image(path) as opened:
        return _orientation(opened)


def list_images(folder: Path) -> list[str]:
    """Return the names of the image files directly in `folder`, sorted; hidden files are left out.

    A file counts by its extension, or, with an extension that says nothing, by its first bytes.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file()]
    return sorted(name for name in names if is_image_name(name) or _looks_like_image(folder / name))


def is_image_name(name: str) -> bool:
    """Whether a file's extension is that of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - called once per file of large sets


def hold_to_limit(path: Path, size: tuple[int, int], pixel_limit: int) -> None:
    """Refuse an image of `size` (height, width) with more pixels than the limit.

    Raises:
        TooLargeError: it has.
    """
    if size[0] * size[1] > pixel_limit:
        raise _too_large(path, f"it has {size[1]} × {size[0]}", pixel_limit)


@contextmanager
def open_image(path: Path, pixel_limit: int = PIXEL_LIMIT) -> Iterator[PIL.Image.Image]:
    """Open an image file with Pillow; whatever goes wrong while it is open becomes an `UnreadableError`."""
    if PIL.Image.MAX_IMAGE_PIXELS is not None and pixel_limit > 2 * PIL.Image.MAX_IMAGE_PIXELS:
        # Pillow raises at twice its own bound, whatever is asked for here; raised for the whole process.
        PIL.Image.MAX_IMAGE_PIXELS = pixel_limit
    try:
        with PIL.Image.open(path) as opened:
            hold_to_limit(path, opened.size[::-1], pixel_limit)
            yield opened
    # In words already: from the limit, or from the caller's own block.
    except UnreadableError:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise _too_large(path, str(error), pixel_limit) from error
    # An OSError too, and therefore in front of the rest.
    except PIL.UnidentifiedImageError as error:
        raise _no_image(path) from error
    except MemoryError as error:
        raise UnreadableError(path, "it does not fit into memory", "Make it smaller or cut it into tiles.") from error
    except _BROKEN as error:
        raise _what_broke(path, error) from error


def turn_upright(opened: PIL.Image.Image) -> PIL.Image.Image:
    """Apply an image's EXIF orientation. Of a PNG only one in front of the pixels counts, as for `read_size`."""
    return PIL.ImageOps.exif_transpose(opened) if _orientation(opened) != 1 else opened


def to_rgb(opened: PIL.Image.Image) -> Image:
    """Bring a Pillow image of any mode to RGB, uint8 [H, W, 3], by the rules of this module."""
    if opened.mode.startswith("I") or opened.mode == "F":
        grey = stretch(np.asarray(opened), parse_no_data(getattr(opened, "tag_v2", {}).get(NO_DATA_TAG)))
        return np.repeat(grey[:, :, None], 3, axis=2)
    # A palette whose transparency is given per entry loses it only by way of RGBA.
    through = opened.convert("RGBA") if opened.mode == "P" and "transparency" in opened.info else opened
    # A copy: an array that only looks into Pillow's memory cannot be written to.
    return np.array(through.convert("RGB"))


def stretch(values: npt.NDArray[np.generic], no_data: float | None = None) -> npt.NDArray[np.uint8]:
    """Bring values of more than 8 bits, of any shape, to uint8: the 0.1th percentile becomes 0, the 99.9th 255.

    What holds no data becomes 0 and has no say in the percentiles: values that are not finite, larger than any
    measurement, or `no_data`, by which a file marks it. A constant image becomes 0.
    """
    values = np.asarray(values)
    known = _is_known(values, no_data)
    whole = bool(known.all())
    # In single precision, which halves the peak of large images; what is unknown must not warn as NaN or infinity.
    real = np.asarray(values if whole else np.where(known, values, values.dtype.type(0)), dtype=np.float32)
    inside = real if whole else real[known]
    if not inside.size:
        return np.zeros(real.shape, dtype=np.uint8)
    low, high = np.percentile(inside, (0.1, 99.9))
    if high <= low:
        # Nearly all values are the same: the few others are what there is to see.
        low, high = float(inside.min()), float(inside.max())
    if high <= low:
        return np.zeros(real.shape, dtype=np.uint8)
    scaled = (real - low) * (255.0 / (high - low))
    shown = np.asarray(np.clip(scaled + 0.5, 0, 255), dtype=np.uint8)  # the cast cuts off
    return shown if whole else np.where(known, shown, np.uint8(0))


def parse_no_data(text: object) -> float | None:
    """Return the value that a TIFF's tag 42113 (GDAL_NODATA), a text, declares to be no data, or None."""
    try:
        # May be padded, or written with a decimal comma.
        return float(str(text).strip("\0 ").replace(",", "."))
    except ValueError:
        return None


def _is_known(values: npt.NDArray[np.generic], no_data: float | None) -> npt.NDArray[np.bool_]:
    known = np.ones(values.shape, dtype=np.bool_)
    if np.issubdtype(values.dtype, np.floating):
        # Half precision ends far below, and the comparison would overflow in it.
        limit = min(_LARGEST, float(np.finfo(values.dtype.name).max))
        known = np.asarray(np.isfinite(values) & (np.abs(values) <= limit))
        marks = no_data is not None and abs(no_data) <= limit
    else:
        marks = (
            # A mark that the type cannot hold, such as -9999 among bytes, marks nothing.
            no_data is not None and no_data.is_integer() and np.can_cast(np.min_scalar_type(int(no_data)), values.dtype)
        )
    return known & (values != values.dtype.type(no_data)) if marks else known


def _stored_size(opened: PIL.Image.Image) -> tuple[int, int]:
    if opened.format == "TIFF":
        # Versions of Pillow differ in whether the size of a TIFF has been turned already; its tags have not.
        tags = opened.tag_v2  # type: ignore[attr-defined]
        return int(tags[_TIFF_WIDTH]), int(tags[_TIFF_LENGTH])
    return opened.size


def _orientation(opened: PIL.Image.Image) -> int:
    # Pillow decodes a whole PNG to look for EXIF data behind the pixels; only data in front of them is asked for.
    if opened.format == "PNG" and "exif" not in opened.info:
        return 1
    return int(opened.getexif().get(_ORIENTATION, 1))


def _ends_well(opened: PIL.Image.Image, path: Path) -> bool:
    """Whether the file's end looks complete; True for kinds that cannot be told."""
    if opened.format not in {"PNG", "JPEG"}:
        return True
    mark = b"IEND" if opened.format == "PNG" else b"\xff\xd9"
    with path.open("rb") as file:
        return mark in _tail(file)


def _tail(file: IO[bytes], length: int = 64) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - length))
    return file.read(length)


def _looks_like_image(path: Path) -> bool:
    # An extension that is known to be no image's is believed.
    if path.suffix:
        return False
    with path.open("rb") as file:
        return file.read(8).startswith(_SIGNATURES)


def _too_large(path: Path, what: str, pixel_limit: int) -> TooLargeError:
    return TooLargeError(
        path,
        f"it is larger than the limit of {pixel_limit:,} pixels ({what})",
        f"{MAKE_SMALLER} 'segtune segment' takes any size with --tiles.",
    )


def _no_image(path: Path) -> UnreadableError:
    if path.stat().st_size == 0:
        return UnreadableError(path, "the file is empty", "Copy it again from its source, or remove it.")
    with path.open("rb") as file:
        start = file.read(64)
    # Such as a pointer of Git LFS, or a web page saved in place of an image.
    if start.isascii() and b"\0" not in start:
        return UnreadableError(path, "it holds text, not an image", "Check what was saved under this name.")
    return UnreadableError(path, "it is no image that can be read", "Convert it to PNG or JPEG, or remove it.")


def _what_broke(path: Path, error: Exception) -> UnreadableError:
    again = "Copy it again from its source, or remove it."
    if isinstance(error, FileNotFoundError):
        return UnreadableError(path, "it does not exist any more", "The data folder must stay as it is while in use.")
    if isinstance(error, PermissionError):
        return UnreadableError(path, "it may not be read", "Change its permissions, or leave it out.")
    if "truncated" in str(error).lower():
        return UnreadableError(path, f"it is truncated ({error})", again)
    return UnreadableError(path, f"it is broken and cannot be decoded ({error})", again)
