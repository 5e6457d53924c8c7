"""What surfaces look like: natural colours, and materials made of a colour and two fields that vary it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from segtune.data.tiles import NATURAL, PATTERNED, SMOOTH, TILE, FloatArray, cut, pick

LIGHTNESS, BLUE_YELLOW, GREEN_MAGENTA = np.array([[1, 1, 1], [0.9, 0.1, -1.1], [-0.6, 0.7, -0.6]], dtype=np.float32)
"""The axes along which the colours of photos vary, most first (Ruderman 1998, roughly)."""

_HUES, _HUE_SPREADS = np.array([28.0, 95.0, 212.0, 0.0]), np.array([14.0, 22.0, 16.0, 180.0])
_HUE_OF = (0,) * 10 + (1,) * 4 + (2,) * 3 + (3,) * 3
"""Earth and skin, leaves, sky and any hue, each as often as it is named."""


@dataclass(frozen=True)
class Palette:
    """From where a scene takes its colours.

    Attributes:
        centre: float32 [3], a colour all others lean to.
        tie: 0 to 1, how far they lean; 1 is a scene of one colour.
        chroma: factor on the colourfulness; 0 is grey, 1 as in most photos.
        lightness: range of the lightness, 0 black to 1 white.
    """

    centre: FloatArray
    tie: float
    chroma: float
    lightness: tuple[float, float]

    def draw(self, rng: np.random.Generator) -> FloatArray:
        """Draw one colour, float32 [3], RGB in 0 to 1."""
        colour = natural_colour(rng, self.chroma, self.lightness)
        return np.asarray(colour + self.tie * (self.centre - colour), dtype=np.float32)


def natural_colour(rng: np.random.Generator, chroma: float, lightness: tuple[float, float]) -> FloatArray:
    """Draw a colour as photos have them: any lightness; earth, skin and wood most often, then leaves, sky, and paint.

    Args:
        rng: source of randomness.
        chroma: factor on the colourfulness; 0 is grey, 1 as in most photos.
        lightness: range of the brightest channel.
    """
    hue = (rng.normal(_HUES, _HUE_SPREADS)[_HUE_OF[rng.integers(len(_HUE_OF))]]) % 360
    value, saturation = rng.uniform(*lightness), min(chroma * rng.beta(1.2, 2.4), 1.0)
    # A hue as red, green and blue is three shifted copies of one trapezoid.
    ramp = np.abs((hue / 60 + np.array([0, 4, 2])) % 6 - 3) - 1
    return np.asarray((value * (1 - saturation + saturation * ramp.clip(0, 1))).clip(0.01, 1.0), dtype=np.float32)


@dataclass(frozen=True)
class Material:
    """How a surface is coloured: a base and two fields that vary it.

    Attributes:
        colour: float32 [3], RGB in 0 to 1.
        kinds: the two fields' tiles.
        directions: float32 [2, 3], what one unit of each field adds to the colour.
        zooms: image pixels per tile pixel for an image of side 1; times the side it is the fields' zoom.
        origins: where the fields begin in their tiles.
        quarter: the fields are turned by a quarter.
        emboss: how strongly the first field is lit from the side, as a rough surface is.
    """

    colour: FloatArray
    kinds: tuple[str, str]
    directions: FloatArray
    zooms: tuple[float, float]
    origins: tuple[tuple[int, int], tuple[int, int]]
    quarter: bool
    emboss: float

    def paint(self, window: tuple[slice, slice], side: int) -> FloatArray:
        """Return the surface in a window (rows, columns) of an image of `side`, float32 [3, h, w]."""
        first = self._field(0, window, side)
        surface = self.colour[:, None, None] + self.directions[0][:, None, None] * first
        # On a thing of a few pixels nobody sees the second field, and small things are many.
        if max(first.shape) > 0.06 * side:
            surface += self.directions[1][:, None, None] * self._field(1, window, side)
        if self.emboss:
            slope = np.zeros_like(first)
            # Along the diagonal: light from the upper left.
            slope[1:, 1:] = first[1:, 1:] - first[:-1, :-1]
            surface *= (1 + self.emboss * slope).clip(0.4, 1.8)
        return np.asarray(surface, dtype=np.float32)

    def recoloured(self, colour: FloatArray) -> Material:
        """Return the same surface in another colour."""
        return replace(self, colour=colour)

    def _field(self, index: int, window: tuple[slice, slice], side: int) -> FloatArray:
        # The tile is cut along the other axis, and turned back at the end.
        rows, columns = window[::-1] if self.quarter else window
        zoom = self.zooms[index] * side
        row, column = self.origins[index]
        origin = (row + round(rows.start / zoom), column + round(columns.start / zoom))
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        field = cut(self.kinds[index], index + row, origin, shape, zoom)
        return field.T if self.quarter else field


def draw_material(rng: np.random.Generator, palette: Palette, *, contrast: float = 1.0) -> Material:
    """Draw a material.

    Args:
        rng: source of randomness.
        palette: where its base colour comes from.
        contrast: factor on how much the surface varies; 0 is flat.
    """
    colour = palette.draw(rng)
    patterned = rng.random() < 0.3
    first = pick(rng, PATTERNED if patterned else NATURAL)
    second = pick(rng, SMOOTH if rng.random() < 0.6 else NATURAL)
    strength = contrast * float(rng.gamma(1.6, 0.08)) * (0.3 + 1.4 * float(colour.mean()))
    along = colour / max(float(colour.mean()), 0.05) * (1 - palette.tie) + palette.tie
    hue = 0.35 * rng.standard_normal() * BLUE_YELLOW + 0.2 * rng.standard_normal() * GREEN_MAGENTA
    colourful = 0.35 * palette.chroma
    directions = strength * np.stack([along + colourful * hue, 0.6 * along - 2 * colourful * hue])
    # Patterns smaller than a pixel are noise, larger than the object a gradient: both are drawn otherwise.
    zooms = np.exp(rng.uniform(np.log(0.35), np.log(2.5), 2)) / 512
    origins = rng.integers(0, TILE, 4).tolist()
    emboss = float(rng.uniform(0.05, 0.35)) if rng.random() < 0.35 else 0.0
    return Material(
        colour, (first, second), directions.astype(np.float32), (float(zooms[0]), float(zooms[1])),
        ((origins[0], origins[1]), (origins[2], origins[3])), bool(rng.random() < 0.5), emboss,
    )  # fmt: skip
