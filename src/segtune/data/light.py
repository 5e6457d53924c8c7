"""Light and camera: relief, shadows and highlights of things, and what a lens, a sensor and a file do to an image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from segtune.core.types import Image
from segtune.data.canvas import Canvas
from segtune.data.shapes import Patch
from segtune.data.tiles import TILE, FloatArray, cut

_COARSE = 72
"""Relief is worked out at this many pixels: shading is smooth, and its cost then does not depend on the image."""


@dataclass(frozen=True)
class Light:
    """A distant lamp: `angle` to where its light comes from (radians, image plane), `height` 0 flat to 1 overhead."""

    angle: float
    height: float

    @property
    def direction(self) -> tuple[float, float, float]:
        """Unit vector x, y, z towards the lamp; z points to the viewer."""
        flat = float(np.sqrt(1 - self.height**2))
        return flat * float(np.cos(self.angle)), flat * float(np.sin(self.angle)), self.height


def draw_light(rng: np.random.Generator) -> Light:
    """Draw a lamp, mostly from above."""
    return Light(float(rng.normal(-np.pi / 2, 0.9)), float(rng.uniform(0.35, 0.9)))


def relief(
    patch: Patch, light: Light, *, rounding: float, bumps: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return the shade (factor around 1) and the highlight (0 to 1) of a patch bulged into a solid, [h, w] each.

    Args:
        patch: the thing.
        light: the lamp; shade is Lambert's law, highlight Blinn's with exponent 30.
        rounding: 0 to 1, share of the half-width over which it rises: 1 a ball, small a plate with round rims.
        bumps: float32 [n, n] heights added, in units of the half-width.
    """
    shape = patch.cover.shape
    scale = min(1.0, _COARSE / max(shape))
    small = (max(4, round(shape[1] * scale)), max(4, round(shape[0] * scale)))
    cover = cv2.resize(patch.cover, small, interpolation=cv2.INTER_AREA)
    # Padded, so that the rim of the window counts as an edge.
    inside = np.pad((cover > 0.35).astype(np.uint8), 1)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)[1:-1, 1:-1]
    reach = max(rounding * float(distance.max()), 1.0)
    rise = np.minimum(distance / reach, 1.0)
    height = np.sqrt(rise * (2 - rise)) * reach  # a quarter of a circle, then level
    if bumps is not None:
        height += cv2.resize(bumps, small) * (reach / max(rounding, 0.2)) * rise
    height = cv2.GaussianBlur(height, (0, 0), max(0.8, 0.12 * reach))
    # Sobel's weights add up to 8: an eighth of it is the slope per pixel.
    slope_x, slope_y = (
        cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=0.125),
        cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=0.125),
    )
    x, y, z = light.direction
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    lambert = (z - x * slope_x - y * slope_y) / length
    half = np.array([x, y, z + 1]) / np.linalg.norm([x, y, z + 1])
    glance = (half[2] - half[0] * slope_x - half[1] * slope_y) / length
    # On level ground Lambert's term is z: divided by it, such ground stays as it is.
    shade = (np.maximum(lambert, 0) / max(z, 0.3)).clip(0, 1.8)
    highlight = np.maximum(glance, 0) ** 30
    full = shape[::-1]
    return (
        np.asarray(cv2.resize(shade.astype(np.float32), full), np.float32),
        np.asarray(cv2.resize(highlight.astype(np.float32), full), np.float32),
    )


def cast_shadow(canvas: Canvas, patch: Patch, offset: tuple[float, float], radius: float, depth: float) -> None:
    """Darken the canvas under a patch moved by `offset` (x, y) pixels and blurred by `radius` pixels, by `depth`."""
    margin = int(2 * radius) + 1
    top, left = (part.start for part in patch.window)
    y0, x0 = top + int(offset[1]) - margin, left + int(offset[0]) - margin
    padded = cv2.copyMakeBorder(patch.cover, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    # Two box blurs are close to a Gaussian, and cost the same at any radius.
    shadow = cv2.blur(cv2.blur(padded, (margin, margin)), (margin, margin))
    rows = slice(max(y0, 0), min(y0 + shadow.shape[0], canvas.size[0]))
    columns = slice(max(x0, 0), min(x0 + shadow.shape[1], canvas.size[1]))
    if rows.stop - rows.start < 2 or columns.stop - columns.start < 2:
        return
    part = shadow[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
    canvas.tone(Patch((rows, columns), np.asarray(part, np.float32)), 1 - depth)


@dataclass(frozen=True)
class Camera:
    """What happens to a painted image until it is a file.

    Attributes:
        gamma: exponent on the colours; above 1 darkens.
        contrast: factor on the distance from the mid grey.
        levels: mean and standard deviation of the lightness that it exposes for.
        automatic: how far it goes towards these levels, 0 to 1.
        cast: float32 [3], factors on red, green and blue.
        grey: share of the colour that is lost, 0 to 1.
        vignette: darkening in the corners, 0 to 1.
        slope: change of brightness from one side to the other, x and y.
        blur: radius in pixels.
        noise: standard deviation of the sensor's noise, 0 to 1.
        coarse: size of the noise's grains in pixels.
        quality: of the JPEG, or None for none.
    """

    gamma: float
    contrast: float
    levels: tuple[float, float]
    automatic: float
    cast: FloatArray
    grey: float
    vignette: float
    slope: tuple[float, float]
    blur: float
    noise: float
    coarse: float
    quality: int | None

    def take(self, canvas: Canvas, rng: np.random.Generator) -> Image:
        """Return the canvas as this camera sees it, uint8 [H, W, 3] RGB."""
        # In place: afterwards the canvas no longer holds what was painted.
        image = canvas.image
        image *= _fall_off(canvas.size, self.slope, self.vignette)
        self._expose(image)
        if self.blur > 0.3:
            for plane in image:
                cv2.GaussianBlur(plane, (0, 0), self.blur, dst=plane)
        np.clip(image, 0, 1, out=image)
        if self.noise:
            _add_noise(image, rng, self.noise, self.coarse)
        # One table of 256 steps a channel does gamma, contrast and cast at once.
        levels = np.arange(256, dtype=np.float32)[:, None] / 255
        curve = ((levels**self.gamma - 0.5) * self.contrast + 0.5).clip(0, 1) * self.cast
        table = np.rint(curve.clip(0, 1) * 255).astype(np.uint8).reshape(1, 256, 3)
        bytes_ = [cv2.convertScaleAbs(plane, alpha=255) for plane in image]
        photo = cv2.LUT(cv2.merge(bytes_), table)
        if self.grey:
            grey = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            photo = cv2.addWeighted(grey, self.grey, photo, 1 - self.grey, 0)
        if self.quality is not None:
            photo = through_jpeg(np.asarray(photo, np.uint8), self.quality)
        return np.asarray(photo, dtype=np.uint8)

    def _expose(self, image: FloatArray) -> None:
        """Bring mean and spread of the lightness towards the camera's levels; a dark image stays dark."""
        # Green stands for lightness, every fourth pixel for all.
        sample = image[1, ::4, ::4].clip(0, 1)
        mean, spread = float(sample.mean()), float(sample.std())
        if mean < 0.1 or not self.automatic:
            return
        stretch = float(np.clip((self.levels[1] / max(spread, 0.02)) ** self.automatic, 0.6, 2.2))
        target = mean + self.automatic * (self.levels[0] - mean)
        image *= np.float32(stretch)
        image += np.float32(target - mean * stretch)


def through_jpeg(image: Image, quality: int) -> Image:
    """Return an RGB image as it comes back from a JPEG file of this quality, 1 to 100."""
    _, file = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def draw_camera(rng: np.random.Generator, side: int) -> Camera:
    """Draw a camera: mostly a good one, now and then a poor one."""
    poor = rng.random() < 0.25
    # The order of the draws, here and below, is part of what a seed gives.
    cast = 1 + rng.normal(0, 0.07, 3) * (rng.random() < 0.5)
    return Camera(
        gamma=float(np.exp(rng.normal(0, 0.2))),
        contrast=float(rng.uniform(0.75, 1.3)),
        levels=(float(rng.uniform(0.3, 0.6)), float(rng.uniform(0.15, 0.3))),
        automatic=float(rng.uniform(0.3, 1)) if rng.random() < 0.8 else 0.0,
        cast=cast.astype(np.float32),
        grey=float(rng.choice([0.0, 0.4, 1.0], p=[0.8, 0.1, 0.1])),
        vignette=float(rng.uniform(0, 0.6)) if rng.random() < 0.3 else 0.0,
        slope=(float(rng.normal(0, 0.12)), float(rng.normal(0, 0.12))),
        blur=float(rng.gamma(1.5, 1.1 if poor else 0.25)) * side / 512,
        noise=float(rng.gamma(1.2, 0.035 if poor else 0.008)),
        coarse=float(rng.uniform(1.0, 2.5 if poor else 1.5)),
        quality=int(rng.integers(25, 60)) if poor else int(rng.integers(60, 97)) if rng.random() < 0.6 else None,
    )


def _fall_off(size: tuple[int, int], slope: tuple[float, float], vignette: float) -> FloatArray:
    y = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None]  # [H, 1]
    x = np.linspace(-1, 1, size[1], dtype=np.float32)[None]  # [1, W]
    linear = (1 + np.float32(slope[1]) * y) + np.float32(slope[0]) * x
    if vignette:
        linear *= 1 - np.float32(0.5 * vignette) * (x * x + y * y)
    return np.asarray(linear, np.float32)


def _add_noise(image: FloatArray, rng: np.random.Generator, noise: float, coarse: float) -> None:
    """Add noise that is partly common to the channels and grows with the light."""
    size = (image.shape[1], image.shape[2])
    place = rng.integers(0, TILE, 4).tolist()
    common = cut("white", 0, (place[0], place[1]), size, coarse)
    own = cut("white", 1, (place[2], place[3]), size, coarse)
    for channel, sign in enumerate((1.0, 0.2, -1.0)):
        plane = image[channel]
        plane += (common + np.float32(sign) * own) * (np.float32(noise) * (plane + np.float32(0.25)))
