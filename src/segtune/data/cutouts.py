"""Cut-outs: pictures on a transparent ground, held by drawn scenes as things whose outlines no code drew."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from segtune.core.errors import DataError
from segtune.data.images import PIXEL_LIMIT, list_images, open_image, turn_upright
from segtune.data.shapes import Contour, Patch
from segtune.data.tiles import FloatArray

_LARGEST_SIDE = 256
"""Pixels a picture is reduced to when it is read; on a scene few are larger."""

_LEAST_EMPTY = 0.02
"""Share of a picture that must be transparent, or it shows a whole image and no thing."""


@dataclass(frozen=True)
class Cutouts:
    """A folder of pictures with an alpha channel.

    Attributes:
        root: the folder.
        names: of the files that can be used, sorted.
        share: of the things of a scene that are cut-outs, 0 to 1.
        fingerprint: a hash that changes with the pictures and their share.
        pixel_limit: most pixels a picture may have.
    """

    root: Path
    names: tuple[str, ...]
    share: float
    fingerprint: str
    pixel_limit: int = PIXEL_LIMIT

    @classmethod
    def open(cls, root: Path, share: float, *, pixel_limit: int = PIXEL_LIMIT) -> Cutouts:
        """Open a folder; every picture is read once, and those without a thing on a transparent ground are left out.

        Args:
            root: the folder; only files directly in it count.
            share: of the things of a scene that shall be cut-outs.
            pixel_limit: most pixels a picture may have.

        Raises:
            DataError: no folder, a broken file, or not one picture that can be used.
        """
        if not root.is_dir():
            raise DataError(f"{root} is no folder. Give data.cutouts a folder of pictures on a transparent ground.")
        found = list_images(root)
        names = tuple(name for name in found if _shows_a_thing(_read(root / name, pixel_limit)))
        if not names:
            raise DataError(
                f"{root} has no cut-out: of its {len(found)} images none shows a thing on a transparent ground. Give "
                "data.cutouts a folder of PNG or WebP pictures with an alpha channel."
            )
        digest = hashlib.sha256(str(share).encode())
        for name in names:
            digest.update(f"\n{name}\n".encode() + (root / name).read_bytes())
        return cls(root, names, share, digest.hexdigest(), pixel_limit)

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw one of the pictures, as `read_cutout` returns it."""
        return read_cutout(self.root / self.names[int(rng.integers(len(self.names)))], self.pixel_limit)


def read_cutout(path: Path, pixel_limit: int = PIXEL_LIMIT) -> FloatArray:
    """Read a picture, cropped to what it shows.

    Returns:
        float32 [h, w, 4], 0 to 1, at most 256 pixels a side: red, green and blue times the alpha, and the alpha.
        Empty where nothing is opaque.

    Raises:
        UnreadableError: as `data.images.read_image`.
    """
    pixels = _read(path, pixel_limit)
    pixels[..., :3] *= pixels[..., 3:]
    rows, columns = _extent(pixels)
    pixels = pixels[rows, columns]
    scale = _LARGEST_SIDE / max(*pixels.shape[:2], 1)
    return _resize(pixels, scale) if scale < 1 else pixels


def _read(path: Path, pixel_limit: int) -> FloatArray:
    with open_image(path, pixel_limit) as opened:
        return np.asarray(turn_upright(opened).convert("RGBA"), np.float32) / np.float32(255)


def _extent(pixels: FloatArray) -> tuple[slice, slice]:
    """Return the rows and columns between which a picture is opaque somewhere; empty ones where it never is."""
    found = (np.flatnonzero((pixels[..., 3] > 0.5).any(axis=axis)) for axis in (1, 0))
    rows, columns = (slice(int(each[0]), int(each[-1]) + 1) if each.size else slice(0, 0) for each in found)
    return rows, columns


def _shows_a_thing(pixels: FloatArray) -> bool:
    extents = (part.stop - part.start for part in _extent(pixels))
    return min(extents) >= 2 and bool((pixels[..., 3] < 0.5).mean() >= _LEAST_EMPTY)


def recolour(picture: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw other colours for a picture: channels exchanged, paler, tinted, lighter or darker."""
    alpha, colours = picture[..., 3:], picture[..., :3]
    if rng.random() < 0.3:
        colours = colours[..., rng.permutation(3)]
    grey = colours.mean(axis=2, keepdims=True)
    colours = grey + (colours - grey) * np.float32(rng.uniform(0.1, 1.1))
    # On colours times alpha the tint holds as it is; contrast is about the grey of what is opaque.
    mean = colours.sum() / max(3 * float(alpha.sum()), 1e-6)
    contrast = np.float32(rng.uniform(0.6, 1.2))
    colours = (colours - mean * alpha) * contrast + mean * alpha
    colours = colours * np.exp(rng.normal(0, 0.12, 3) + rng.normal(-0.1, 0.25)).astype(np.float32)
    return np.concatenate([np.clip(colours, 0, alpha), alpha], axis=2)


def lay_out(
    picture: FloatArray, pose: Contour, place: Contour, size: tuple[int, int]
) -> tuple[Patch, FloatArray] | None:
    """Bring a picture onto an image.

    Args:
        picture: as `read_cutout` returns it.
        pose: the 2 × 2 matrix from unit coordinates, where the picture's longer half-side is 1, to pixels.
        place: x and y of its middle, in pixels.
        size: height and width of the image.

    Returns:
        Where it covers the image, and its colours there, float32 [3, h, w]; None if wholly outside.
    """
    half = max(picture.shape[:2]) / 2
    # Reduced first: a warp takes the nearest pixels only, and would drop thin parts of a much smaller picture.
    scale = float(np.sqrt(abs(np.linalg.det(pose)))) / half
    if scale < 0.7:
        picture = _resize(picture, scale)
        half = max(picture.shape[:2]) / 2
    height, width = picture.shape[:2]
    corners = np.array([[-width, -height], [width, -height], [-width, height], [width, height]]) / (2 * half)
    corners = corners @ np.asarray(pose).T + place
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0).tolist()
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, (size[1], size[0])).tolist()
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    # Middles of pixels lie at halves; cv2 counts them from whole numbers.
    matrix = np.asarray(pose) / half
    middle = np.array([width, height]) / 2 - 0.5
    shift = np.asarray(place) - 0.5 - (x0, y0) - matrix @ middle
    warped = cv2.warpAffine(picture, np.column_stack([matrix, shift]), (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    cover = np.ascontiguousarray(warped[..., 3], np.float32)
    surface = warped[..., :3] / np.maximum(cover, 1e-3)[..., None]
    return Patch((slice(y0, y1), slice(x0, x1)), cover), np.ascontiguousarray(surface.transpose(2, 0, 1))


def _resize(picture: FloatArray, scale: float) -> FloatArray:
    size = [max(2, round(length * scale)) for length in picture.shape[1::-1]]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
