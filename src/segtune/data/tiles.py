"""Tileable fields of noise and pattern, from which every surface is made.

A field is made once in a process as a periodic tile and cut out at some place and size afterwards: a cut costs a tenth
of fresh noise. Every tile has mean 0 and variance 1 and depends on its name alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

Choice = TypeVar("Choice")
FloatArray = npt.NDArray[np.float32]
HalfArray = npt.NDArray[np.float16]

TILE = 1024
"""Side of a tile in pixels."""

MOST_LEVELS = 3
"""How often a tile is halved at most."""

VARIANTS = 2
"""Independent tiles of each kind, so that two fields of one material need not agree."""


def pick(rng: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    """Draw one of `choices`, each as likely; `rng.choice` makes an array of them first, at ten times the cost."""
    return choices[int(rng.integers(len(choices)))]


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
    # By less than two, so that linear interpolation skips no pixel.
    return np.asarray(cv2.resize(field, shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)


@cache
def tile(kind: str, variant: int, level: int = 0) -> HalfArray:
    """Return the periodic tile of a kind, mean 0 and variance 1, float16 [TILE, TILE] halved `level` times."""
    if level:
        finer = tile(kind, variant, level - 1).astype(np.float32)
        return _kept(np.asarray(cv2.resize(finer, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32))
    rng = np.random.default_rng([sorted(TILES).index(kind), variant])
    field = TILES[kind](rng)
    field = (field - field.mean()) / field.std()
    return _kept(field)


def _kept(field: FloatArray) -> HalfArray:
    # Half precision for memory; read-only, since the cache hands the same array to all.
    half: HalfArray = field.clip(-6, 6).astype(np.float16)
    half.flags.writeable = False
    return half


def _spectrum(rng: np.random.Generator, exponent: float, stretch: float = 1.0, band: float = 0.0) -> FloatArray:
    """Gaussian noise of amplitude 1/f^exponent; `stretch` > 1 draws it out in x, `band` (cycles) bounds it below."""
    white = rng.standard_normal((TILE, TILE), dtype=np.float32)  # [TILE, TILE]
    y, x = np.fft.fftfreq(TILE)[:, None] * TILE, np.fft.rfftfreq(TILE)[None] * TILE
    frequency = np.hypot(y / np.sqrt(stretch), x * np.sqrt(stretch))  # [TILE, TILE // 2 + 1], as rfft2 has it
    gain = np.maximum(frequency, 1.0) ** -exponent
    gain[0, 0] = 0  # no mean
    if band:
        gain *= np.exp(-0.5 * (np.log(np.maximum(frequency, 1) / band) / 0.35) ** 2)
    return np.asarray(np.fft.irfft2(np.fft.rfft2(white) * gain, s=(TILE, TILE)), np.float32)


def _unit(field: FloatArray) -> FloatArray:
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def _ridges(rng: np.random.Generator) -> FloatArray:
    return -np.abs(_unit(_spectrum(rng, 1.4)))


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
        # Knuth's multiplicative hash of the site's place.
        return shade[place.astype(np.int64) * 2654435761 % 4096]

    return make


def _cracks(rng: np.random.Generator) -> FloatArray:
    _, place = _sites(rng, 350)
    # Rolled and wrapped, here and below, so that the tile stays periodic.
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
            # What reaches across the border is drawn on the other side too.
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
    return np.asarray(np.tanh(3 * wave), np.float32)


def _checks(rng: np.random.Generator) -> FloatArray:
    index = np.arange(TILE) // 32
    return ((index[:, None] + index[None]) % 2).astype(np.float32) + 0.1 * _unit(_spectrum(rng, 1.0))


def _weave(rng: np.random.Generator) -> FloatArray:
    x = np.arange(TILE, dtype=np.float32) * (2 * np.pi * 64 / TILE)
    field = np.sin(x)[None] * np.sin(x)[:, None] + 0.3 * _unit(_spectrum(rng, 0.8))
    return np.asarray(field, np.float32)


def _bricks(rng: np.random.Generator) -> FloatArray:
    tall, wide, joint = 32, 64, 4
    y, x = np.arange(TILE)[:, None], np.arange(TILE)[None]
    row = y // tall
    shifted = (x + (row % 2) * (wide // 2)) % TILE
    shade = rng.standard_normal((TILE // tall, TILE // wide)).astype(np.float32)
    brick = shade[row, shifted // wide]
    brick[(y % tall < joint) | (shifted % wide < joint)] = 2.2
    return np.asarray(brick + 0.3 * _unit(_spectrum(rng, 0.8)), np.float32)


def _planks(rng: np.random.Generator) -> FloatArray:
    shade = rng.standard_normal((TILE // 64, 1)).astype(np.float32).repeat(64, axis=0)
    shade[np.arange(TILE) % 64 < 3] = -3
    return np.asarray(shade + 0.7 * _unit(_spectrum(rng, 1.0, stretch=40)), np.float32)


def _dots(rng: np.random.Generator) -> FloatArray:
    x = np.cos(np.arange(TILE, dtype=np.float32) * (2 * np.pi * 32 / TILE))
    return np.asarray(np.tanh(6 * (x[None] + x[:, None] - 0.9)) + 0.1 * _unit(_spectrum(rng, 1.0)), np.float32)


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
