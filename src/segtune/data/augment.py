"""Augmentation in two steps: `draw_view` takes chances and returns plain numbers, `apply_view` takes none.

The numbers name a view: the same ones give the same bytes, so an embedding of a view can be cached under their key.
What a view shows from beyond the image's border is a reflection: black corners would tell the model how far an image
was turned. No object is there, and those pixels are ignored: they count in no loss, no metric and get no click.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.errors import UsageError
from segtune.core.files import hash_text
from segtune.core.rle import BoolMask
from segtune.core.types import Image, Probability
from segtune.data.light import through_jpeg
from segtune.data.tiles import TILE, cut

# The weights of ITU-R BT.601, the first row of YIQ and those of OpenCV's grey.
_GREY = np.array([0.299, 0.587, 0.114])
_TO_YIQ = np.array([_GREY, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


@dataclass(frozen=True)
class AugmentSettings:
    """What may happen to an image, and how often. A probability of 0 switches a change off.

    Attributes:
        flip_horizontal: probability of a mirror image left to right.
        flip_vertical: probability of one top to bottom.
        quarter_turn: probability of a turn by 90, 180 or 270 degrees.
        rotation: range of a free turn in degrees, counter-clockwise.
        scale: range of the zoom inside the unchanged canvas, drawn evenly in its logarithm; below 1 shows the
            surroundings.
        crop: range of the share of each side that is kept; the view is smaller by that.
        brightness: range of what is added, in shares of white.
        contrast: range of the factor on the distance from the image's mean.
        saturation: range of the factor on colourfulness.
        hue: range of the turn of the hue in degrees.
        blur: range of the radius (standard deviation), in thousandths of the longest side.
        noise: range of the standard deviation, in shares of white.
        jpeg: range of the quality, 1 to 100.
        rotation_probability: and so on, one for each range.
    """

    flip_horizontal: float = 0.5
    flip_vertical: float = 0.0
    quarter_turn: float = 0.0
    rotation: tuple[float, float] = (-15.0, 15.0)
    rotation_probability: float = 0.3
    scale: tuple[float, float] = (0.5, 2.0)
    scale_probability: float = 0.5
    crop: tuple[float, float] = (0.6, 1.0)
    crop_probability: float = 0.0
    brightness: tuple[float, float] = (-0.15, 0.15)
    brightness_probability: float = 0.3
    contrast: tuple[float, float] = (0.75, 1.3)
    contrast_probability: float = 0.3
    saturation: tuple[float, float] = (0.6, 1.4)
    saturation_probability: float = 0.3
    hue: tuple[float, float] = (-12.0, 12.0)
    hue_probability: float = 0.2
    blur: tuple[float, float] = (0.3, 2.0)
    blur_probability: float = 0.1
    noise: tuple[float, float] = (0.005, 0.04)
    noise_probability: float = 0.1
    jpeg: tuple[float, float] = (40.0, 95.0)
    jpeg_probability: float = 0.1

    @classmethod
    def none(cls) -> AugmentSettings:
        """Return the settings with which every view is the image itself."""
        off: dict[str, Any] = {each.name: 0.0 for each in fields(cls) if isinstance(each.default, float)}
        return cls(**off)

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(each.name, getattr(self, each.name))


_POSITIVE = ("scale", "crop", "jpeg")
_NOT_NEGATIVE = ("contrast", "saturation", "blur", "noise")
_AT_MOST = {"crop": 1.0, "jpeg": 100.0}


def _check(name: str, value: float | tuple[float, float]) -> None:
    if not isinstance(value, tuple):
        if not 0 <= value <= 1:
            raise UsageError(f"{name} is a probability and lies in 0 to 1, not {value}.")
        return
    lowest = 0 if name in _POSITIVE or name in _NOT_NEGATIVE else -math.inf
    low, high = value
    if not lowest <= low <= high <= _AT_MOST.get(name, math.inf) or (low == 0 and name in _POSITIVE):
        raise UsageError(
            f"The range of {name} is (low, high) with low ≤ high"
            + (f", above {lowest}" if name in _POSITIVE else f", {lowest} or more" if name in _NOT_NEGATIVE else "")
            + (f", at most {_AT_MOST[name]:g}" if name in _AT_MOST else "")
            + f", not {value}."
        )


DEFAULT: Final = AugmentSettings()
"""Changes that keep a photo a photo; up stays up."""

SLIDES: Final = AugmentSettings(
    flip_vertical=0.5, rotation=(-30.0, 30.0), rotation_probability=0.5, scale_probability=0,
    brightness=(-0.2, 0.2), brightness_probability=0.5, contrast=(0.8, 1.2), contrast_probability=0.5,
    saturation_probability=0, hue_probability=0, blur_probability=0, noise_probability=0, jpeg_probability=0,
)  # fmt: skip
"""Flips, rotations, brightness and contrast: what the polyp project used."""

PRESETS: Final = {"default": DEFAULT, "slides": SLIDES, "none": AugmentSettings.none()}


@dataclass(frozen=True)
class ViewParameters:
    """One view of an image, in numbers. Without arguments: the image itself.

    Applied in this order: flips, quarter turns, crop, free turn and zoom in one resampling, colours, blur, noise, JPEG.

    Attributes:
        flip_horizontal: mirrored left to right.
        flip_vertical: mirrored top to bottom.
        quarter_turns: counter-clockwise turns by 90 degrees, 0 to 3.
        crop: x0, y0, x1, y1 of what is kept, in shares of the sides.
        angle: free turn in degrees, counter-clockwise.
        scale: zoom; above 1 enlarges.
        anchor: x and y, in shares of the sides, of the point that turn and zoom leave in place.
        brightness: added, in shares of white.
        contrast: factor on the distance from the mean.
        saturation: factor on colourfulness.
        hue: turn of the hue in degrees.
        blur: radius in thousandths of the longest side.
        noise: standard deviation in shares of white.
        noise_origin: row and column in a fixed tile of noise.
        jpeg: quality, or 0 for no JPEG.
    """

    flip_horizontal: bool = False
    flip_vertical: bool = False
    quarter_turns: int = 0
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    angle: float = 0.0
    scale: float = 1.0
    anchor: tuple[float, float] = (0.5, 0.5)
    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    noise_origin: tuple[int, int] = (0, 0)
    jpeg: int = 0

    def key(self) -> str:
        """Return a name of the view for caches: the SHA-256 of its numbers, 64 hex digits."""
        return hash_text(json.dumps(asdict(self), sort_keys=True))

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as a JSON object; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, numbers: dict[str, Any]) -> ViewParameters:
        """Return the view that `to_json` wrote."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()}
        return cls(**values)

    @property
    def resampled(self) -> bool:
        """Whether pixels move by other than whole steps: a free turn or a zoom."""
        return self.angle != 0 or self.scale != 1

    @cached_property
    def geometric(self) -> bool:
        """Whether masks change."""
        return self.resampled or self.flip_horizontal or self.flip_vertical or self.quarter_turns != 0 or _cropped(self)


IDENTITY: Final = ViewParameters()
"""The image itself."""


def draw_view(rng: np.random.Generator, settings: AugmentSettings) -> ViewParameters:
    """Draw one view. The same state of `rng` and the same settings give the same view on every machine."""

    def happens(probability: float) -> bool:
        return bool(rng.random() < probability)

    def between(span: tuple[float, float], probability: float, without: float) -> float:
        return round(float(rng.uniform(*span)), 6) if happens(probability) else without

    def crop() -> tuple[float, float, float, float]:
        if not happens(settings.crop_probability):
            return IDENTITY.crop
        width, height = (round(float(share), 6) for share in rng.uniform(*settings.crop, 2))
        x, y = (round(float(place), 6) for place in rng.random(2) * (1 - width, 1 - height))
        # Of numbers rounded to a millionth the sum may pass 1.
        return x, y, min(x + width, 1.0), min(y + height, 1.0)

    log_scale = (math.log(settings.scale[0]), math.log(settings.scale[1]))
    # The order of the draws is part of the result: another order gives other views for the same seed.
    angle = between(settings.rotation, settings.rotation_probability, 0.0)
    scale = math.exp(between(log_scale, settings.scale_probability, 0.0))
    noise = between(settings.noise, settings.noise_probability, 0.0)
    anchor = (round(float(rng.random()), 6), round(float(rng.random()), 6))
    noise_origin = (int(rng.integers(TILE)), int(rng.integers(TILE)))
    return ViewParameters(
        flip_horizontal=happens(settings.flip_horizontal),
        flip_vertical=happens(settings.flip_vertical),
        quarter_turns=int(rng.integers(1, 4)) if happens(settings.quarter_turn) else 0,
        crop=crop(),
        angle=angle,
        scale=scale,
        # A number that changes nothing stays at rest, so that equal views have equal keys.
        anchor=anchor if angle or scale != 1 else IDENTITY.anchor,
        brightness=between(settings.brightness, settings.brightness_probability, 0.0),
        contrast=between(settings.contrast, settings.contrast_probability, 1.0),
        saturation=between(settings.saturation, settings.saturation_probability, 1.0),
        hue=between(settings.hue, settings.hue_probability, 0.0),
        blur=between(settings.blur, settings.blur_probability, 0.0),
        noise=noise,
        noise_origin=noise_origin if noise else IDENTITY.noise_origin,
        jpeg=round(between(settings.jpeg, settings.jpeg_probability, 0.0)),
    )


def apply_view(
    image: Image, masks: BoolMask, ignore: BoolMask | None, params: ViewParameters
) -> tuple[Image, BoolMask, BoolMask | None]:
    """Show an image and its masks as a view does.

    Flips, quarter turns and crops move masks bit by bit; a free turn or a zoom takes the nearest pixel. An object may
    leave the view: its mask is then empty, and the caller decides what becomes of it.

    Args:
        image: uint8 [H, W, 3] RGB.
        masks: bool [n, H, W].
        ignore: bool [H, W] or None.
        params: the view.

    Returns:
        image uint8 [H', W', 3], masks bool [n, H', W'], ignore bool [H', W'] or None where every pixel counts.
    """
    # Copied where views were flipped: torch takes no array with negative strides.
    if params.geometric:
        image = np.ascontiguousarray(_whole_steps(image, params))
        masks = np.ascontiguousarray(_whole_steps(masks.transpose(1, 2, 0), params).transpose(2, 0, 1))  # [n, H, W]
        ignore = None if ignore is None else np.ascontiguousarray(_whole_steps(ignore, params))
        if params.resampled:
            masks, ignore = _warp_masks(masks, ignore, params)
            image = _warp_image(image, params)
    return _develop(image, params), masks, ignore


def apply_view_to_map(values: Probability, params: ViewParameters) -> Probability:
    """Show a map of an image, float32 [H, W], where `apply_view` shows its masks: 0 beyond the image."""
    if not params.geometric:
        return values
    steps = np.ascontiguousarray(_whole_steps(values, params))
    return _nearest(steps, _matrix(params, (steps.shape[0], steps.shape[1]))) if params.resampled else steps


def _cropped(params: ViewParameters) -> bool:
    return params.crop != (0.0, 0.0, 1.0, 1.0)


def _whole_steps(pixels: npt.NDArray[Any], params: ViewParameters) -> npt.NDArray[Any]:
    """Flip, turn by quarters and crop [H, W, ...] without resampling."""
    if params.flip_horizontal:
        pixels = pixels[:, ::-1]
    if params.flip_vertical:
        pixels = pixels[::-1]
    if params.quarter_turns:
        pixels = np.rot90(pixels, params.quarter_turns)
    if not _cropped(params):
        return pixels
    height, width = pixels.shape[:2]
    # However thin the share, a row and a column stay.
    x0, y0 = min(int(params.crop[0] * width), width - 1), min(int(params.crop[1] * height), height - 1)
    x1, y1 = max(round(params.crop[2] * width), x0 + 1), max(round(params.crop[3] * height), y0 + 1)
    return pixels[y0:y1, x0:x1]


def _matrix(params: ViewParameters, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """The 2 × 3 map from a pixel's index in the image to its index in the view."""
    height, width = size
    # Shares of the side are at pixels' borders, indices at their centres: half a pixel lies between.
    anchor = (params.anchor[0] * width - 0.5, params.anchor[1] * height - 0.5)
    # OpenCV's angle is counter-clockwise too, seen with the origin at the top left.
    return np.asarray(cv2.getRotationMatrix2D(anchor, params.angle, params.scale), np.float64)


def _warp_image(image: Image, params: ViewParameters) -> Image:
    height, width = image.shape[:2]
    if params.scale < 0.8:
        # Linear interpolation reads four pixels: shrinking by more would skip some and alias.
        # Variances add: from .45 pixels of blur here to .45 of the larger pixels there.
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.45 * math.sqrt(params.scale**-2 - 1)), np.uint8)
    matrix = _matrix(params, (height, width))
    warped = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def _warp_masks(masks: BoolMask, ignore: BoolMask | None, params: ViewParameters) -> tuple[BoolMask, BoolMask | None]:
    """Warp masks, the ignored pixels and what lies within the image, eight to a byte: the nearest pixel keeps bits."""
    count, height, width = masks.shape
    size = (height, width)
    # The last layer is all ones: where it comes back 0, the view looks beyond the image.
    layers = [*masks, np.zeros(size, np.bool_) if ignore is None else ignore, np.ones(size, np.bool_)]
    moved = np.empty((len(layers), height, width), np.bool_)
    matrix = _matrix(params, size)
    for first in range(0, len(layers), 8):
        packed = np.zeros(size, np.uint8)
        for bit, layer in enumerate(layers[first : first + 8]):
            packed |= layer.view(np.uint8) << np.uint8(bit)  # [H, W]
        warped = _nearest(packed, matrix)
        for bit, layer in enumerate(moved[first : first + 8]):
            np.not_equal(warped & np.uint8(1 << bit), 0, out=layer)
    unseen = moved[count] | ~moved[count + 1]  # [H, W]
    return moved[:count], unseen if ignore is not None or bool(unseen.any()) else None


def _nearest(values: npt.NDArray[Any], matrix: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Warp [H, W] by the nearest pixel, 0 beyond the image."""
    height, width = values.shape
    return np.asarray(cv2.warpAffine(values, matrix, (width, height), flags=cv2.INTER_NEAREST), values.dtype)


def _develop(image: Image, params: ViewParameters) -> Image:
    """Change colours, sharpness and noise: one matrix, one table, one blur."""
    if params.saturation != 1 or params.hue:
        # cv2.transform rounds, and cuts off at 0 and 255.
        image = np.asarray(cv2.transform(image, _colour_matrix(params)), np.uint8)
    if params.brightness or params.contrast != 1:
        mean = float(np.dot(cv2.mean(image)[:3], _GREY))
        # Each grey value becomes one other: a table of 256 does for any number of pixels.
        levels = (np.arange(256) - mean) * params.contrast + mean + 255 * params.brightness
        image = np.asarray(cv2.LUT(image, np.rint(levels.clip(0, 255)).astype(np.uint8)), np.uint8)
    if params.blur:
        radius = params.blur * 1e-3 * max(image.shape[:2])
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), radius), np.uint8)
    if params.noise:
        image = _add_noise(image, params)
    if params.jpeg:
        image = through_jpeg(image, params.jpeg)
    return image


def _colour_matrix(params: ViewParameters) -> npt.NDArray[np.float64]:
    """The 3 × 3 matrix on RGB that turns the hue and stretches the colourfulness in YIQ."""
    angle = math.radians(params.hue)
    cos, sin = params.saturation * math.cos(angle), params.saturation * math.sin(angle)
    return np.asarray(_FROM_YIQ @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ _TO_YIQ)


def _add_noise(image: Image, params: ViewParameters) -> Image:
    """Add white noise, independent in each channel, from a tile that never changes."""
    height, width = image.shape[:2]
    strength = np.float32(255 * params.noise)
    # Signed: cv2.add cuts the sum off at 0 and 255, where numpy's would wrap around.
    noise = np.empty(image.shape, np.int16)
    for channel in range(3):
        # Two variants serve three channels: unshifted, red and blue would get the same noise.
        origin = (params.noise_origin[0] + 311 * channel, params.noise_origin[1] + 173 * channel)
        noise[..., channel] = np.rint(cut("white", channel, origin, (height, width), 1.0) * strength)
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)
