"""How well a mask follows what is on an image: for masks that belong to another image, though of the same size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from segtune.core.rle import BoolMask
from segtune.core.types import Image

Floats = npt.NDArray[np.float32]

_SIDE = 128
_RIM = 2
_LEAST_OUTLINE = 5.0
"""Least summed weight of an outline that says anything; the rim of the image is no outline."""


@dataclass(frozen=True, eq=False)
class Slopes:
    """How the colours of an image (Lab) change from place to place.

    Attributes:
        x: float32 [128, 128, 3], the change along x.
        y: the change along y.
        steepness: its size, whatever its direction.
        usual: the mean steepness of the image.
    """

    x: Floats
    y: Floats
    steepness: Floats
    usual: float

    @classmethod
    def of(cls, image: Image) -> Slopes:
        """Measure an image, uint8 [H, W, 3] RGB."""
        small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)  # [128, 128, 3]
        lab = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32), (0, 0), 1.0)
        x, y = _slopes(lab)  # [128, 128, 3] each
        steepness = np.asarray(cv2.magnitude(x, y), dtype=np.float32)
        usual = np.sqrt(np.einsum("ijc,ijc->ij", steepness, steepness)).mean()
        # On an image of one colour nothing is steep, and `fit_of` divides by it.
        return cls(x, y, steepness, float(usual) + 1e-6)


@dataclass(frozen=True, eq=False)
class Outline:
    """The outline of a mask as normals that point inwards; their length is the weight of a place.

    Attributes:
        x: float32 [128, 128].
        y: float32 [128, 128].
        weight: float32 [128, 128].
    """

    x: Floats
    y: Floats
    weight: Floats

    @classmethod
    def of(cls, mask: BoolMask) -> Outline | None:
        """Measure a mask, bool [H, W]; None where it has no outline inside the image."""
        cover = cv2.resize(mask.astype(np.uint8) * 255, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)  # [128, 128]
        x, y = _slopes(cv2.GaussianBlur((cover > 127).astype(np.float32), (0, 0), 1.2))
        for rim in (np.s_[:_RIM], np.s_[-_RIM:], np.s_[:, :_RIM], np.s_[:, -_RIM:]):
            x[rim], y[rim] = 0, 0
        weight = np.asarray(cv2.magnitude(x, y), dtype=np.float32)
        return cls(x, y, weight) if weight.sum() > _LEAST_OUTLINE else None

    def turned(self) -> Outline:
        """Return the outline of the mask turned by 90°: as good a mask, in the wrong place."""
        x, y, weight = (np.ascontiguousarray(np.rot90(one)) for one in (self.x, self.y, self.weight))
        return Outline(y, -x, weight)  # normals turn with their places


def fit_of(slopes: Slopes, outline: Outline) -> float:
    """Return how well an outline follows an image: about .1 to .4 for chance, 1 and more for most true masks.

    The product of how steep the colours are across the outline, against how steep they are anywhere, and of how much
    the change from outside to inside is the same all along it.
    """
    across = slopes.x * outline.x[..., None] + slopes.y * outline.y[..., None]  # [128, 128, 3]
    possible = np.einsum("ijc,ij->c", slopes.steepness, outline.weight)  # [3]
    same = np.abs(across.sum(axis=(0, 1))) / np.maximum(possible, 1e-6)  # [3]
    # The best channel counts: a border that shows in colour only is a border.
    return float(same.max() * np.abs(across).sum() / outline.weight.sum() / slopes.usual)


def outline_fits(image: Image, mask: BoolMask) -> tuple[float, float] | None:
    """Return `fit_of` a mask (bool [H, W]) to an image (uint8 [H, W, 3]) as it lies, and turned by 90°.

    Sizes may differ: both are brought to one small square. None where the mask has no outline inside the image.
    """
    outline = Outline.of(mask)
    if outline is None:
        return None
    slopes = Slopes.of(image)
    return fit_of(slopes, outline), fit_of(slopes, outline.turned())


def _slopes(values: npt.NDArray[np.integer | np.floating]) -> tuple[Floats, Floats]:
    pair = (cv2.Sobel(values, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    x, y = (np.asarray(one, dtype=np.float32) for one in pair)
    return x, y
