"""What surfaces look like: tileable fields of noise and pattern, natural colours, and materials made of both.

Fields are made once in a process as periodic tiles and cut out at a random place and size afterwards: a cut costs a
tenth of fresh noise. Every tile has mean 0 and variance 1 and depends on its name alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
HalfArray = npt.NDArray[np.float16]

TILE = 1024
"""Side of a tile in pixels."""

MOST_LEVELS = 3
"""How often a tile is halved at most."""

VARIANTS = 2
"""Independent tiles of each kind, so that two fields of one material need not agree."""

LIGHTNESS, BLUE_YELLOW, GREEN_MAGENTA = np.array([[1, 1, 1], [0.9, 0.1, -1.1], [-0.6, 0.7, -0.6]], dtype=np.float32)
"""The axes along which the colours of photos vary, most first (Ruderman 1998, roughly)."""

_HUES, _HUE_SPREADS = np.array([28.0, 95.0, 212.0, 0.0]), np.array([14.0, 22.0, 16.0, 180.0])
_HUE_OF = (0,) * 10 + (1,) * 4 + (2,) * 3 + (3,) * 3
"""Earth and skin, leaves, sky and any hue, each as often as it is named."""


def cut(kind: str, variant: int, origin: tuple[int, int], shape: tuple[int, int], zoom: float) -> FloatArray:
    """Cut a field of `shape` (height, width) out of a tile.

    Args:
        kind: a key of `TILES`.
        variant: which of its tiles, modulo `VARIANTS`.
        origin: row and column in the tile, wrapped.
        shape: height and width in image pixels.
        zoom: image pixels per tile pixel.

    Returns:
        float32 [height, width], around 0 with a spread around 1.
    """
    # Shrinking much, start from a tile already shrunk: the same field at a quarter of the work.
    level = int(min(max(np.log2(1 / zoom), 0), MOST_LEVELS))
    zoom, length = zoom * (1 << level), TILE >> level
    height, width = (max(1, round(pixels / zoom)) for pixels in shape)
    row, column = (origin[0] >> level) % length, (origin[1] >> level) % length
    source = tile(kind, variant % VARIANTS, level)
    if row + height <= length and column + width <= length:
        window = source[row : row + height, column : column + width]
    else:
        window = source[np.ix_(np.arange(row, row + height) % length, np.arange(column, column + width) % length)]
    field = window.astype(np.float32)
    if (height, width) == shape:
        return field
    interpolation = cv2.INTER_AREA if height > shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(field, shape[::-1], interpolation=interpolation), dtype=np.float32)


@cache
def tile(kind: str, variant: int, level: int = 0) -> HalfArray:
    """Return the periodic tile of a kind, mean 0 and variance 1, float16 [TILE, TILE] halved `level` times."""
    if level:
        finer = tile(kind, variant, level - 1).astype(np.float32)
        half = np.asarray(cv2.resize(finer, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float16)
        half.flags.writeable = False
        return half
    rng = np.random.default_rng([sorted(TILES).index(kind), variant])
    field = TILES[kind](rng)
    field = (field - field.mean()) / field.std()
    half: HalfArray = field.clip(-6, 6).astype(np.float16)
    half.flags.writeable = False
    return half


def _spectrum(rng: np.random.Generator, exponent: float, stretch: float = 1.0, band: float = 0.0) -> FloatArray:
    """Gaussian noise of amplitude 1/f^exponent; `stretch` > 1 draws it out in x, `band` (cycles) bounds it below."""
    white = rng.standard_normal((TILE, TILE), dtype=np.float32)
    y, x = np.fft.fftfreq(TILE)[:, None] * TILE, np.fft.rfftfreq(TILE)[None] * TILE
    frequency = np.hypot(y / np.sqrt(stretch), x * np.sqrt(stretch))
    gain = np.maximum(frequency, 1.0) ** -exponent
    gain[0, 0] = 0
    if band:
        gain *= np.exp(-0.5 * (np.log(np.maximum(frequency, 1) / band) / 0.35) ** 2)
    return np.asarray(np.fft.irfft2(np.fft.rfft2(white) * gain, s=(TILE, TILE)), np.float32)


def _unit(field: FloatArray) -> FloatArray:
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def _ridges(rng: np.random.Generator) -> FloatArray:
    return -np.abs(_unit(_spectrum(rng, 1.4, band=0)))


def _marble(rng: np.random.Generator) -> FloatArray:
    x = np.linspace(0, 2 * np.pi, TILE, endpoint=False, dtype=np.float32)
    phase = 6 * x[None] + 3 * x[:, None]
    return np.asarray(np.sin(phase + 1.6 * _unit(_spectrum(rng, 1.7))), np.float32)


def _sites(rng: np.random.Generator, count: int) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Distance to the nearest of `count` random sites, and which one it is, both periodic."""
    margin = TILE // 4
    empty = np.ones((TILE, TILE), np.uint8)
    empty[rng.integers(0, TILE, count), rng.integers(0, TILE, count)] = 0
    wide = np.pad(empty, margin, mode="wrap")
    distance, label = cv2.distanceTransformWithLabels(wide, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    # A site and its copy beyond the border carry two labels, so the site's own place numbers it.
    place = np.zeros(int(label.max()) + 1, np.int32)
    y, x = np.nonzero(wide == 0)
    place[label[y, x]] = (y - margin) % TILE * TILE + (x - margin) % TILE
    inner = slice(margin, margin + TILE)
    return distance[inner, inner].astype(np.float32), place[label[inner, inner]]


def _cells(count: int) -> Callable[[np.random.Generator], FloatArray]:
    return lambda rng: -(_sites(rng, count)[0] ** 0.7)


def _patches(count: int) -> Callable[[np.random.Generator], FloatArray]:
    def make(rng: np.random.Generator) -> FloatArray:
        _, place = _sites(rng, count)
        shade = rng.standard_normal(4096).astype(np.float32)
        return shade[place.astype(np.int64) * 2654435761 % 4096]

    return make


def _cracks(rng: np.random.Generator) -> FloatArray:
    _, place = _sites(rng, 350)
    border = (place != np.roll(place, 1, 0)) | (place != np.roll(place, 1, 1))
    thick = np.pad(border.astype(np.float32), 16, mode="wrap")
    return -np.asarray(cv2.GaussianBlur(thick, (0, 0), 2.0), dtype=np.float32)[16:-16, 16:-16]


def _leaves(count: int, largest: float) -> Callable[[np.random.Generator], FloatArray]:
    """Dead leaves: opaque ellipses of power-law sizes thrown on each other, whose statistics are those of photos."""

    def make(rng: np.random.Generator) -> FloatArray:
        field = np.zeros((TILE, TILE), np.float32)
        sizes = np.sort(largest / rng.uniform(1, 40, count) ** 0.7)[::-1] if largest > 60 else np.full(count, largest)
        for size in sizes:
            y, x = rng.integers(0, TILE, 2).tolist()
            axes = (max(2, int(size)), max(2, int(size * rng.uniform(0.25, 1))))
            angle, shade = float(rng.uniform(0, 180)), float(rng.standard_normal())
            for dy in _copies(y, axes[0]):
                for dx in _copies(x, axes[0]):
                    cv2.ellipse(field, (x + dx, y + dy), axes, angle, 0, 360, shade, -1, cv2.LINE_8)
        return field

    return make


def _copies(centre: int, reach: int) -> list[int]:
    return [0, *([TILE] if centre < reach else []), *([-TILE] if centre > TILE - reach else [])]


def _stripes(rng: np.random.Generator) -> FloatArray:
    x = np.arange(TILE, dtype=np.float32)[None] * (2 * np.pi * 32 / TILE)
    wave = np.sin(x + 0.25 * _unit(_spectrum(rng, 1.6)))
    return np.tanh(3 * wave).astype(np.float32)


def _checks(rng: np.random.Generator) -> FloatArray:
    index = np.arange(TILE) // 32
    return ((index[:, None] + index[None]) % 2).astype(np.float32) + 0.1 * _unit(_spectrum(rng, 1.0))


def _weave(rng: np.random.Generator) -> FloatArray:
    x = np.arange(TILE, dtype=np.float32) * (2 * np.pi * 64 / TILE)
    return np.sin(x)[None] * np.sin(x)[:, None] + 0.3 * _unit(_spectrum(rng, 0.8))


def _bricks(rng: np.random.Generator) -> FloatArray:
    tall, wide, joint = 32, 64, 4
    y, x = np.arange(TILE)[:, None], np.arange(TILE)[None]
    row = y // tall
    shifted = (x + (row % 2) * (wide // 2)) % TILE
    shade = rng.standard_normal((TILE // tall, TILE // wide)).astype(np.float32)
    brick = shade[row, shifted // wide]
    brick[(y % tall < joint) | (shifted % wide < joint)] = 2.2
    return (brick + 0.3 * _unit(_spectrum(rng, 0.8))).astype(np.float32)


def _planks(rng: np.random.Generator) -> FloatArray:
    shade = rng.standard_normal((TILE // 64, 1)).astype(np.float32).repeat(64, axis=0)
    shade[np.arange(TILE) % 64 < 3] = -3
    return shade + 0.7 * _unit(_spectrum(rng, 1.0, stretch=40))


def _dots(rng: np.random.Generator) -> FloatArray:
    x = np.cos(np.arange(TILE, dtype=np.float32) * (2 * np.pi * 32 / TILE))
    return np.tanh(6 * (x[None] + x[:, None] - 0.9)) + 0.1 * _unit(_spectrum(rng, 1.0))


def _speckle(rng: np.random.Generator) -> FloatArray:
    return np.abs(_unit(_spectrum(rng, 0.0, band=200))) * np.abs(_unit(_spectrum(rng, 0.3)))


TILES: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "white": lambda rng: _spectrum(rng, 0.0),
    "grain": lambda rng: _spectrum(rng, 0.5),
    "rough": lambda rng: _spectrum(rng, 0.9),
    "cloud": lambda rng: _spectrum(rng, 1.3),
    "hills": lambda rng: _spectrum(rng, 1.8),
    "swell": lambda rng: _spectrum(rng, 2.6),
    "mottle": lambda rng: _spectrum(rng, 0.3, band=60),
    "spots": lambda rng: np.tanh(2 * _unit(_spectrum(rng, 0.3, band=30)) - 1.5),
    "fibre": lambda rng: _spectrum(rng, 0.9, stretch=60),
    "ripple": lambda rng: _spectrum(rng, 0.5, stretch=0.15, band=50),
    "ridges": _ridges,
    "marble": _marble,
    "cells": _cells(600),
    "pebbles": _cells(3000),
    "patches": _patches(500),
    "cracks": _cracks,
    "leaves": _leaves(2500, 120.0),
    "foliage": _leaves(9000, 14.0),
    "stripes": _stripes,
    "checks": _checks,
    "weave": _weave,
    "bricks": _bricks,
    "planks": _planks,
    "dots": _dots,
    "speckle": _speckle,
}
"""How each kind of tile is made. A kind's tiles depend on its place among the sorted names: a new name changes them."""

SMOOTH = ("hills", "swell", "swell", "cloud")
NATURAL = ("rough", "rough", "cloud", "cloud", "hills", "grain", "fibre", "leaves", "foliage", "mottle", "ridges")
PATTERNED = ("cells", "pebbles", "patches", "cracks", "stripes", "checks", "weave", "bricks", "planks", "dots",
             "speckle", "ripple", "marble", "spots")  # fmt: skip


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
        first, second = self._field(0, window, side), self._field(1, window, side)
        surface = self.colour[:, None, None] + self.directions[0][:, None, None] * first
        surface += self.directions[1][:, None, None] * second
        if self.emboss:
            slope = np.zeros_like(first)
            slope[1:, 1:] = first[1:, 1:] - first[:-1, :-1]
            surface *= (1 + self.emboss * slope).clip(0.4, 1.8)
        return np.asarray(surface, dtype=np.float32)

    def recoloured(self, colour: FloatArray) -> Material:
        """Return the same surface in another colour."""
        return replace(self, colour=colour)

    def _field(self, index: int, window: tuple[slice, slice], side: int) -> FloatArray:
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
    first = str(rng.choice(PATTERNED if patterned else NATURAL))
    second = str(rng.choice(SMOOTH if rng.random() < 0.6 else NATURAL))
    strength = contrast * float(rng.gamma(1.6, 0.05)) * (0.3 + 1.4 * float(colour.mean()))
    along = colour / max(float(colour.mean()), 0.05) * (1 - palette.tie) + palette.tie
    hue = 0.35 * rng.standard_normal() * BLUE_YELLOW + 0.2 * rng.standard_normal() * GREEN_MAGENTA
    colourful = 0.35 * palette.chroma
    directions = strength * np.stack([along + colourful * hue, 0.6 * along - 2 * colourful * hue])
    # Patterns smaller than a pixel are noise, larger than the object a gradient: both are drawn otherwise.
    zooms = np.exp(rng.uniform(np.log(0.5), np.log(3.0), 2)) / 512
    origins = rng.integers(0, TILE, 4).tolist()
    emboss = float(rng.uniform(0.05, 0.35)) if rng.random() < 0.35 else 0.0
    return Material(
        colour, (first, second), directions.astype(np.float32), (float(zooms[0]), float(zooms[1])),
        ((origins[0], origins[1]), (origins[2], origins[3])), bool(rng.random() < 0.5), emboss,
    )  # fmt: skip
