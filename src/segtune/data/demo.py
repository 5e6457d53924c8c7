"""The demo's own domain: faint lumps in a wet, creased, stained crust of verdigris under a lamp.

It is deliberately unlike the scenes of `data.scenes` and never pretrained on. There, things are painted on a ground;
here everything is one relief, seen by its shading alone: a lump has no edge, hardly a colour of its own, and lies among
creases and specular spots that come of the relief's slope rather than being set upon it. A pretrained model finds it
poorly, yet a hundred examples show what tells it from a crease: it bulges on all sides, its skin is smoother and its
spots are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segtune.core.errors import UsageError
from segtune.core.files import write_bytes
from segtune.core.types import Image
from segtune.data.shapes import Outline, blob, rasterise, turn
from segtune.data.tiles import TILE, FloatArray, cut

_STREAM = 7
"""First word of the demo's seeds, which keeps them apart from the scenes'."""

_SKIN = np.array([0.36, 0.60, 0.54], np.float32)
_VEIN = np.array([0.88, 0.62, 0.50], np.float32)
_LAMP = np.array([0.93, 0.98, 1.0], np.float32)


@dataclass(frozen=True)
class Lumps:
    """One drawn image.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        covers: float32 [H, W] each, how far a pixel belongs to a lump, 0 to 1; partly with wide soft edges.
    """

    image: Image
    covers: tuple[FloatArray, ...]

    @property
    def mask(self) -> Image:
        """All lumps as a grey mask, uint8 [H, W]: 255 inside, soft at the edges."""
        joined = np.zeros(self.image.shape[:2], np.float32)
        for cover in self.covers:
            np.maximum(joined, cover, out=joined)
        return np.asarray(np.rint(joined * 255), np.uint8)


def draw_lumps(seed: int, *, side: int = 448) -> Lumps:
    """Draw one image of the demo's domain: mostly one lump, now and then two or none.

    Args:
        seed: 0 or more; the same seed and side give the same bytes.
        side: width in pixels; the height is 0.7 to 0.9 of it.
    """
    rng = np.random.default_rng([_STREAM, seed])
    size = (round(side * float(rng.uniform(0.7, 0.9))), side)
    count = int(rng.choice([0, 1, 2], p=[0.03, 0.82, 0.15]))
    outlines = [_place(rng, size) for _ in range(count)]
    covers = [_cover(outline, size) for outline in outlines]
    dome = np.zeros(size, np.float32)
    for cover in covers:
        np.maximum(dome, _bulge(rng, cover), out=dome)
    image = _render(rng, size, dome)
    softness = float(rng.uniform(0.006, 0.015)) * side if rng.random() < 0.5 else 0.0
    return Lumps(image, tuple(_blurred(cover, softness) for cover in covers))


def write_demo(folder: Path, *, count: int, seed: int) -> None:
    """Write `count` images to `folder`/images/*.jpg and their soft grey masks to `folder`/masks/*.png.

    Every file appears whole or not at all; the same seed gives the same files, and a smaller count the first of them.

    Raises:
        UsageError: count under 1 or a negative seed.
        ResourceError: the disk is full or the folder cannot be written.
    """
    if count < 1 or seed < 0:
        raise UsageError(f"The demo needs a count of 1 or more and a seed of 0 or more, not {count} and {seed}.")
    for index in range(count):
        # Seeds of two demos never meet while each has fewer than 100,000 images.
        lumps = draw_lumps(seed * 100_000 + index)
        name = f"lump_{index:04d}"
        bgr = cv2.cvtColor(lumps.image, cv2.COLOR_RGB2BGR)
        write_bytes(
            folder / "images" / f"{name}.jpg", cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
        )
        write_bytes(folder / "masks" / f"{name}.png", cv2.imencode(".png", lumps.mask)[1].tobytes())


def _place(rng: np.random.Generator, size: tuple[int, int]) -> Outline:
    scale = float(rng.uniform(0.11, 0.28)) * size[1]
    centre = rng.uniform(0.15, 0.85, 2) * size[::-1]
    return blob(rng, rough=float(rng.uniform(0.05, 0.45))).moved(turn(float(rng.uniform(0, 6.3)), scale), centre)


def _cover(outline: Outline, size: tuple[int, int]) -> FloatArray:
    cover = np.zeros(size, np.float32)
    patch = rasterise(outline, size)
    if patch is not None:
        cover[patch.window] = patch.cover
    return cover


def _bulge(rng: np.random.Generator, cover: FloatArray) -> FloatArray:
    """Height 0 to 1 of a lump: a dome that meets the ground without a crease."""
    # The radius of a disc of the same area.
    reach = float(np.sqrt(cover.sum() / np.pi))
    # Padded, so that a lump cut off by the image falls off towards its rim as towards any edge.
    distance = cv2.distanceTransform(np.pad((cover > 0.5).astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rise = np.minimum(distance / max(float(rng.uniform(0.35, 0.6)) * reach, 1.0), 1.0)
    return _blurred(np.asarray(np.sin(rise * np.pi / 2), np.float32), 0.05 * reach) * np.float32(0.16 * reach)


def _render(rng: np.random.Generator, size: tuple[int, int], dome: FloatArray) -> Image:
    """Light a surface of creases, skin and lumps, `dome` high in pixels."""
    side = size[1]
    inside = _blurred((dome > 0.5).astype(np.float32), 0.006 * side)
    skin = _field(rng, "mottle", size, float(rng.uniform(0.5, 0.9))) * (0.0011 * side * (1 - 0.6 * inside))
    folds = _blurred(_field(rng, "marble", size, float(rng.uniform(0.8, 1.6))), 0.02 * side)
    height = dome * float(rng.uniform(0.8, 1.3)) + skin + folds * float(rng.uniform(0.008, 0.02)) * side
    # Sobel's weights add up to 8: an eighth of it is the slope per pixel.
    slope_x, slope_y = (cv2.Sobel(height, cv2.CV_32F, dx, 1 - dx, scale=0.125) for dx in (1, 0))
    lamp, near = _lamp(rng, size)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    # The normal is (-slope_x, -slope_y, 1) / length; Lambert's law is its product with the lamp's direction.
    lambert = np.maximum((lamp[2] - lamp[0] * slope_x - lamp[1] * slope_y) / length, 0)
    # Blinn's highlight looks at the direction halfway between lamp and viewer, who stands at z.
    halfway = np.sqrt(lamp[0] ** 2 + lamp[1] ** 2 + (lamp[2] + 1) ** 2)
    glance = np.maximum((lamp[2] + 1 - lamp[0] * slope_x - lamp[1] * slope_y) / (length * halfway), 0)
    wet = (glance ** np.float32(260)) * np.clip(_field(rng, "hills", size, 1.2) + 0.1, 0, 1)
    veins = np.exp(-((_field(rng, "hills", size, 1.0) / 0.06) ** 2)) * (1 - 0.5 * inside)
    stain = 1 + 0.05 * _field(rng, "cloud", size, 1.3)
    tint = 1 + 0.05 * rng.choice([-1, 1]) * inside
    image = np.empty((*size, 3), np.float32)
    for channel in range(3):
        albedo = _SKIN[channel] * stain * (1 - (1 - _VEIN[channel]) * 0.5 * veins)
        albedo = albedo * (tint if channel else 1 + 0.03 * inside)
        image[..., channel] = _LAMP[channel] * near * (albedo * lambert * 1.15 + 0.75 * wet)
    image += rng.standard_normal(size, dtype=np.float32)[..., None] * np.float32(0.012)
    return np.asarray(np.rint(image.clip(0, 1) * 255), np.uint8)


def _lamp(rng: np.random.Generator, size: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Direction to the lamp, a unit vector, and how bright it is at each pixel."""
    angle, height = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.6, 0.85))
    flat = np.sqrt(1 - height**2)
    place = rng.uniform(0.25, 0.75, 2)
    y = (np.arange(size[0], dtype=np.float32)[:, None] / size[0] - place[1]) ** 2
    x = (np.arange(size[1], dtype=np.float32)[None] / size[1] - place[0]) ** 2
    near = 1.15 / (1 + 2.2 * (x + y))
    return np.array([flat * np.cos(angle), flat * np.sin(angle), height], np.float32), np.asarray(near, np.float32)


def _field(rng: np.random.Generator, kind: str, size: tuple[int, int], zoom: float) -> FloatArray:
    origin = (int(rng.integers(TILE)), int(rng.integers(TILE)))
    return cut(kind, int(rng.integers(2)), origin, size, zoom * size[1] / 448)


def _blurred(field: FloatArray, radius: float) -> FloatArray:
    return field if radius <= 0 else np.asarray(cv2.GaussianBlur(field, (0, 0), radius), np.float32)
