"""Mask files: the values in them, and the regions that the values mean.

How values are taken from a file: EXIF orientation is applied; grey stays grey, whatever its depth; colour whose
channels are nearly equal is grey; colour in a JPEG is its brightest channel, else each colour is a value of its own;
a palette gives its indices, and whether its greys or its colours are meant is decided over all files of a data set
(`data.formats.encodings`); a cut-out gives its alpha: one colour with varying alpha or with none at all, and a grey
darker than the one stored where nothing is seen; fractions from 0 to 1 are brought to 0 to 255.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from segtune.core.rle import BoolMask, RunLengths
from segtune.core.types import Probability
from segtune.data.formats.regions import OBJECT, Region, Truth
from segtune.data.formats.runs import encode_values
from segtune.data.images import PIXEL_LIMIT, open_image, turn_upright

ENCODINGS = ("binary", "soft", "probability", "band", "labels", "instances")
"""What mask files may hold: zero or not; grey, inside above a threshold; a model's probability, inside above 1/2 and
kept for training; grey with a band of 127 or 128 between object and background that is ignored; a class per value; an
object per value."""

BY_BRIGHTNESS = frozenset({"soft", "probability", "band"})
"""Encodings in which files are read by their brightness, whatever they are."""

NEARLY_GREY = 16
"""Channels that differ by no more are one grey: what JPEG compression leaves of a grey mask saved as colour."""

_WHOLE = 1e-3
"""Floats no further from a whole number are that number: what scaling by a header's slope leaves of it."""

Values = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Encoding:
    """What the values of a data set's mask files mean.

    Attributes:
        kind: of `ENCODINGS`.
        threshold: "soft" and "band" are inside above it, in the files' own values.
        ignore: values of pixels that do not count.
        lone: where the values to be ignored are a file's only ones besides background, they are its object.
        background: the value that is no object ("binary", "labels" and "instances").
        colours: each colour is a value, rgb as 0xRRGGBB; else greys and palette indices are.
        names: class by value, where the data names them.
    """

    kind: str = "soft"
    threshold: int = 127
    ignore: tuple[int, ...] = ()
    lone: bool = False
    background: int = 0
    colours: bool = False
    names: tuple[tuple[int, str], ...] = ()

    def label(self, value: int) -> str:
        """Return the class of a value."""
        if self.kind != "labels":
            return OBJECT
        return dict(self.names).get(value, f"#{value:06x}" if self.colours else str(value))


CUT_OUTS = ("shape", "dark")
"""What transparency is that gives a file's values (`MaskFile.alpha`)."""


@dataclass(frozen=True)
class MaskFile:
    """The values of one mask file.

    Attributes:
        values: integers [H, W].
        source: "grey", "palette" or "colour": what the values were taken from.
        lossy: the file is a JPEG, whose values are not exact.
        palette: the colour of each palette index in use, 0xRRGGBB.
        coloured: the palette holds colours that are no greys, whether they are in use or not.
        channels: the greys are stored as three equal channels: they may be colours among others of the data set.
        alpha: what its transparency is: "" it has none, "shape" the values, "dark" the values too, for what is seen is
            darker than what is not, "idle" nothing that counts, or "open": one colour is seen all over, all object
            where the data set's masks are cut-outs of it and else just that colour.
        seen: of a file with transparency: the colour of its least transparent pixel, 0xRRGGBB.
    """

    values: Values
    source: str
    lossy: bool = False
    palette: tuple[tuple[int, int], ...] = ()
    coloured: bool = False
    channels: bool = False
    alpha: str = ""
    seen: int = 0


def read_mask_file(path: Path, colours: bool = False, pixel_limit: int = PIXEL_LIMIT) -> MaskFile:
    """Read the values of a mask file.

    Args:
        path: the file.
        colours: give each pixel's colour as 0xRRGGBB, whatever the file's kind.
        pixel_limit: most pixels it may have.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    with open_image(path, pixel_limit) as opened:
        lossy = opened.format == "JPEG"
        upright = turn_upright(opened)
        if colours:
            return MaskFile(_pack(np.asarray(upright.convert("RGB"))), "colour", lossy)
        if upright.mode == "P":
            return _from_palette(upright)
        if upright.mode in {"1", "L"} or upright.mode.startswith(("I", "F")):
            return MaskFile(whole_numbers(np.asarray(upright)), "grey", lossy)
        return _from_colour(upright, lossy)


def decode_values(values: Values, encoding: Encoding, *, stored: int = 0, objects: str = "whole") -> Truth:
    """Return the regions that values [H, W] mean."""
    ignored = _ignored(values, encoding)
    ignore = RunLengths.encode(ignored) if ignored is not None and ignored.any() else None
    if encoding.kind in {"labels", "instances"}:
        numbered = _numbered(values, encoding, ignored)
        if objects != "whole":
            masks = encode_values(numbered)  # one mask for each value plus one
            return Truth(tuple(Region(masks[n], encoding.label(n - 1), stored) for n in masks), ignore)
        inside = numbered > 0
    else:
        inside = _inside(values, encoding)
        if ignored is not None:
            inside &= ~ignored
    return Truth((Region(RunLengths.encode(inside), OBJECT, stored),), ignore)


def as_probability(values: Values) -> Probability:
    """Return the probability that values [H, W] of a mask file stand for: shares of the most its depth holds."""
    most = int(values.max(initial=0))
    # Types wider than they need be may hold the greys of 16 bits.
    is_deep = values.dtype == np.uint16 or most > 255
    # Floats of 0 and 1 alone were taken for numbers of classes (`whole_numbers`); here they are certain pixels.
    full = 65535 if is_deep else 1 if values.dtype == np.int64 and most == 1 else 255
    return np.minimum(values / np.float32(full), 1).astype(np.float32)


def has_grey_palette(file: MaskFile) -> bool:
    """Whether every palette entry in use is a grey."""
    return file.source == "palette" and all(colour == (colour & 255) * 0x010101 for _, colour in file.palette)


def as_greys(file: MaskFile) -> MaskFile:
    """Return a file whose palette entries are greys as these greys."""
    table = np.zeros(256, dtype=np.uint8)
    for index, colour in file.palette:
        table[index] = colour & 255
    return MaskFile(table[file.values], "grey")


def as_colours(file: MaskFile) -> MaskFile:
    """Return a file with each pixel's colour as 0xRRGGBB."""
    if file.source == "colour":
        return file
    if file.source == "grey":
        # The same grey in each channel; 24 bits do not fit the type of the greys.
        return replace(file, values=file.values.astype(np.int32) * 0x010101, source="colour", channels=False)
    table = np.zeros(256, dtype=np.int32)
    for index, colour in file.palette:
        table[index] = colour
    return MaskFile(table[file.values], "colour")


def as_seen(file: MaskFile) -> MaskFile:
    """Return a cut-out that is seen all over, "open" to meanings, as object all over."""
    return MaskFile(np.full(file.values.shape, 255, dtype=np.uint8), "grey", alpha="shape")


def as_brightness(file: MaskFile) -> MaskFile:
    """Return a file with the brightest channel of each pixel's colour; greys stay."""
    if file.source == "grey":
        return file
    packed = as_colours(file).values
    return MaskFile(np.maximum.reduce([packed >> 16, packed >> 8 & 255, packed & 255]).astype(np.uint8), "grey")


def _inside(values: Values, encoding: Encoding) -> BoolMask:
    if encoding.kind == "probability":
        return as_probability(values) > 0.5
    return values != encoding.background if encoding.kind == "binary" else values > encoding.threshold


def _ignored(values: Values, encoding: Encoding) -> npt.NDArray[np.bool_] | None:
    if not encoding.ignore:
        return None
    ignored = np.isin(values, encoding.ignore)
    if encoding.lone and bool((ignored | (values == encoding.background)).all()):
        return None
    return ignored


def _numbered(values: Values, encoding: Encoding, ignored: npt.NDArray[np.bool_] | None) -> Values:
    """Return each value plus one, and 0 for background and ignored pixels: 0 itself may be a class."""
    outside = values == encoding.background
    if ignored is not None:
        outside |= ignored
    # Widened first: 255 + 1 in a byte is 0, the background.
    return np.where(outside, 0, values.astype(np.int64) + 1)


def _from_palette(opened: PIL.Image.Image) -> MaskFile:
    indices = np.asarray(opened)
    flat = opened.getpalette("RGB") or []
    # A palette may be shorter than 256 entries.
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: len(flat) // 3] = np.array(flat[: len(flat) // 3 * 3], dtype=np.uint8).reshape(-1, 3)
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=256))
    coloured = bool(np.ptp(colours.astype(np.int64), axis=1).any())
    packed = _pack(colours)
    return MaskFile(
        indices, "palette", palette=tuple((int(index), int(packed[index])) for index in used), coloured=coloured
    )


def _from_colour(opened: PIL.Image.Image, lossy: bool) -> MaskFile:
    said, seen = "", 0
    if opened.mode in {"LA", "PA", "RGBA", "La", "RGBa"}:
        opened = opened.convert("RGBA")
        alpha = np.asarray(opened.getchannel("A"))
        stored = np.asarray(opened)[..., :3]
        said, seen = _said_by(alpha, stored), int(_pack(stored.reshape(-1, 3)[alpha.argmax()]))
        if said in CUT_OUTS:
            return MaskFile(alpha, "grey", alpha=said, seen=seen)
    rgb = np.asarray(opened.convert("RGB"))
    if lossy:
        return MaskFile(np.maximum.reduce([rgb[..., 0], rgb[..., 1], rgb[..., 2]]), "grey", lossy)
    apart = (rgb.max(axis=2) - rgb.min(axis=2)).max(initial=0)
    if apart <= NEARLY_GREY:
        # Green has the largest part in brightness.
        return MaskFile(rgb[..., 1], "grey", channels=bool(apart == 0), alpha=said, seen=seen)
    return MaskFile(_pack(rgb), "colour", alpha=said, seen=seen)


def _said_by(alpha: npt.NDArray[np.uint8], rgb: npt.NDArray[np.uint8]) -> str:
    """Return what transparency [H, W] over stored colours [H, W, 3] is (`MaskFile.alpha`)."""
    if not np.ptp(rgb.reshape(-1, 3), axis=0).any():
        return "shape" if np.ptp(alpha) or not alpha.any() else "open"
    unseen, seen = rgb[alpha == 0], rgb[alpha == 255]  # [n, 3] each
    # A brighter object has its shape in its colours, and with it perhaps its class.
    darker = bool(unseen.size and seen.size) and int(seen.max()) < int(unseen.min())
    one_each = darker and not np.ptp(seen, axis=0).any() and not np.ptp(unseen, axis=0).any()
    return "dark" if one_each and int(np.ptp(rgb, axis=2).max()) <= NEARLY_GREY else "idle"


def whole_numbers(values: npt.NDArray[np.generic], fractions: bool | None = None) -> Values:
    """Return values of any type as integers from 0; fractions from 0 to 1 are brought to 0 to 255.

    Args:
        values: values of any shape.
        fractions: whether they are fractions (`are_fractions`), where that was decided over more values than these.
    """
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if np.issubdtype(values.dtype, np.unsignedinteger):
        return np.asarray(values, dtype=values.dtype)
    if np.issubdtype(values.dtype, np.integer):
        return np.maximum(np.asarray(values, dtype=values.dtype), 0)
    real = _finite(values)
    scaled = are_fractions(real) if fractions is None else fractions
    if scaled:
        return np.rint(real * 255).clip(0, 255).astype(np.uint8)
    return np.rint(real).clip(0).astype(np.int64)


def are_fractions(values: npt.NDArray[np.generic]) -> bool:
    """Whether values are floats up to 1 that are not all 0 and 1: soft masks, and no classes saved as floats."""
    if not np.issubdtype(values.dtype, np.floating):
        return False
    real = _finite(values)
    return bool(real.max(initial=0) <= 1 and (np.abs(real - np.rint(real)) > _WHOLE).any())


def _finite(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    return np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _pack(rgb: npt.NDArray[np.uint8]) -> Values:
    # Bytes shifted by 16 bits would be lost.
    wide = rgb.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
