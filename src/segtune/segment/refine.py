"""Mask clean-up: holes, specks, stray parts and ragged outlines, each on request.

Operations run in this order, whatever order they are named in, so that what the last ones promise holds in the end:
opening, closing, smoothing, then holes, specks and the largest part. Each is what it would be on the whole image, in
which nothing is known beyond the edge: there an outline is not eaten away by the edge nor rounded along it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.errors import UsageError, unknown_name
from segtune.core.rle import BoolMask
from segtune.segment.crops import MaskCrop
from segtune.segment.regions import fill_holes, keep_largest, remove_specks

_GRAIN = 2**20
"""Weights of smoothing are multiples of 1 / this: sums are exact, so that a pixel on the line falls the same way."""

_REACH = 3
"""Standard deviations that smoothing looks at."""

_WIDEST = 1000
"""Most pixels of a radius: what a larger one leaves is no outline of anything."""


@dataclass(frozen=True)
class Cleanup:
    """What is cleaned; all zero: nothing. Calling it cleans a mask.

    A mask that is not empty never becomes so: opening and smoothing are left out where nothing would be left.

    Attributes:
        holes: fills holes of fewer pixels.
        specks: removes parts of fewer pixels; the largest stays.
        largest: keeps the largest part alone.
        opening: removes what a disc of this radius in pixels does not fit into: spikes and bridges.
        closing: fills what such a disc does not fit into: cracks and bays.
        smooth: replaces each pixel by the majority around it, weighted by a Gaussian of this standard deviation.

    Raises:
        UsageError: a value out of its range.
    """

    holes: int = 0
    specks: int = 0
    largest: bool = False
    opening: float = 0
    closing: float = 0
    smooth: float = 0

    def __post_init__(self) -> None:
        for name in _WHOLE:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise UsageError(f"{name} must be a whole number of pixels, 0 or more, but is {value!r}. Choose one.")
        for name in _LENGTHS:
            value = getattr(self, name)
            if not 0 <= value <= _WIDEST:
                raise UsageError(f"{name} must be from 0 to {_WIDEST} pixels, but is {value!r}. Choose one of them.")

    def __call__(self, mask: MaskCrop) -> MaskCrop:
        """Return a mask cleaned, in its tight window; an empty one as it is."""
        mask = mask.tight()
        if not mask.inside.size:
            return mask
        mask = self._reshaped(mask)
        if self.holes:
            mask = fill_holes(mask, self.holes)
        if self.specks:
            mask = remove_specks(mask, self.specks)
        if self.largest:
            mask = keep_largest(mask)
        return mask.tight()

    def __str__(self) -> str:
        """Return what `parse_cleanup` makes it of, in one order."""
        told = ((one.name, getattr(self, one.name)) for one in fields(self))
        return ",".join(name if value is True else f"{name}={value:.10g}" for name, value in told if value)

    def _reshaped(self, mask: MaskCrop) -> MaskCrop:
        if not (self.opening or self.closing or self.smooth):
            return mask
        # Closing grows a mask by its radius at the image's edge, and on the way there everywhere.
        margin = math.floor(self.opening) + 2 * math.floor(self.closing) + _smoothing_radius(self.smooth)
        window = mask.widened(margin + 1)
        inside = window.inside
        inside = _unless_empty(_opened(inside, self.opening), inside)
        inside = _closed(inside, self.closing)
        inside = _unless_empty(_smoothed(inside, self.smooth), inside)
        return MaskCrop(mask.size, window.top, window.left, inside).tight()


_WHOLE = ("holes", "specks")

_LENGTHS = ("opening", "closing", "smooth")


def parse_cleanup(text: str) -> Cleanup:
    """Return the clean-up of a text such as "largest,holes=100,specks=50,opening=2,closing=2,smooth=1.5".

    Raises:
        UsageError: an unknown operation, one named twice, or a value that is none, missing or out of its range.
    """
    chosen: dict[str, Any] = {}
    known = [one.name for one in fields(Cleanup)]
    for part in text.split(","):
        name, given, value = (piece.strip() for piece in part.partition("="))
        if name not in known:
            raise unknown_name("mask clean-up", name, known)
        if name in chosen:
            raise UsageError(f"Each mask clean-up is named once, but '{text}' names {name} twice. Leave one out.")
        chosen[name] = True if name == "largest" else _number(name, value)
        if name == "largest" and given:
            raise UsageError(f"largest takes no value, but '{part.strip()}' was given. Write largest alone.")
    return Cleanup(**chosen)


def _number(name: str, value: str) -> int | float:
    try:
        return int(value) if name in _WHOLE else float(value)
    except ValueError as error:
        kind, example = ("a whole number of pixels", "100") if name in _WHOLE else ("a number of pixels", "1.5")
        raise UsageError(f"{name} needs {kind}, but has '{value}'. Write, for example, {name}={example}.") from error


def _unless_empty(changed: BoolMask, before: BoolMask) -> BoolMask:
    return changed if changed.any() else before


def _opened(inside: BoolMask, radius: float) -> BoolMask:
    return _dilate(_erode(inside, radius), radius) if radius >= 1 else inside


def _closed(inside: BoolMask, radius: float) -> BoolMask:
    return _erode(_dilate(inside, radius), radius) if radius >= 1 else inside


def _erode(inside: BoolMask, radius: float) -> BoolMask:
    # What lies beyond the edge decides nothing, here and in `_dilate`: OpenCV's own border.
    return cv2.erode(inside.view(np.uint8), _disc(radius)).view(np.bool_)


def _dilate(inside: BoolMask, radius: float) -> BoolMask:
    return cv2.dilate(inside.view(np.uint8), _disc(radius)).view(np.bool_)


def _disc(radius: float) -> npt.NDArray[np.uint8]:
    """Return the pixels whose centres lie within the radius of the middle one's."""
    along = np.arange(-math.floor(radius), math.floor(radius) + 1) ** 2
    return (along[:, None] + along <= radius**2).astype(np.uint8)


def _smoothed(inside: BoolMask, sigma: float) -> BoolMask:
    if not sigma:
        return inside
    radius = _smoothing_radius(sigma)
    along = np.arange(-radius, radius + 1)
    bell = np.exp(-(along**2) / (2 * sigma**2))
    weights = np.round(bell / bell.sum() * _GRAIN) / _GRAIN
    weights[radius] += 1 - weights.sum()
    # Beyond the image goes on as it ends.
    means = cv2.sepFilter2D(inside.astype(np.float64), cv2.CV_64F, weights, weights, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(means > 0.5)


def _smoothing_radius(sigma: float) -> int:
    return math.ceil(_REACH * sigma)
