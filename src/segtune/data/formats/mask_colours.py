"""Coloured masks that were smoothed or compressed with loss: the few colours meant, and bringing pixels to them.

A class drawn in one colour keeps it inside, where the pixels around are of the same class, and loses it at its rim. So
the colours meant are those that fill areas; each pixel is taken as the nearest of them, the background included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from segtune.data.formats.mask_statistics import FileStatistics
from segtune.data.masks import Values

NEAR = 40
"""Colours no channel of which differs by more are one colour: beyond what compression does inside an area."""

MOST_COLOURS = 64
"""Colours that pixels may be brought to."""

_SMALLEST = 0.001
"""Share of the pixels of a file that a colour must fill somewhere to be one of those meant."""

_FILLED = 0.5
"""Share of the pixels of a file that areas of one colour must fill for it to be a mask and no photograph."""

_EXPLAINED = 0.7
"""Share of the pixels of a file that must be near the colours meant: the rest is its rims."""

NOT_FLAT = "it holds {count} colours, and no few of them stand out as classes"
DRAW_FLAT = (
    "Export it without smoothing and without loss (PNG, one colour per class), or tell the encoding labels to take "
    "each colour as a class."
)


def colours_meant(files: Iterable[FileStatistics]) -> tuple[int, ...]:
    """Return the colours that fill areas in coloured files, 0xRRGGBB, the commonest first.

    Colours near a commoner one are the same, a little off. Empty where fewer than two, or too many, stand out.
    """
    weights: dict[int, int] = {}
    for file in files:
        solid = sum(count for _, count in file.solid)
        for colour, count in file.solid if solid >= _FILLED * sum(file.counts) else ():
            if count >= _SMALLEST * solid:
                weights[colour] = weights.get(colour, 0) + count
    chosen: list[int] = []
    for colour in sorted(weights, key=lambda one: (-weights[one], one)):
        if nearest(colour, chosen) is None:
            chosen.append(colour)
    return tuple(chosen) if 2 <= len(chosen) <= MOST_COLOURS else ()


def nearest(colour: int, colours: Sequence[int]) -> int | None:
    """Return which of some colours a colour is, a little off, or None."""
    if colour in colours or not colours:
        return colour if colours else None
    apart = np.abs(_channels(np.array(colour)) - _channels(np.array(colours))).max(axis=1)
    return colours[int(apart.argmin())] if apart.min() <= NEAR else None


def explain(found: Sequence[int] | Values, counts: Sequence[int] | Values, colours: Sequence[int]) -> bool:
    """Whether most pixels of a file, given as its colours and how many have each, are near some of `colours`."""
    channels, weights = _channels(np.asarray(found)), np.asarray(counts)  # [n, 3], [n]
    near = np.zeros(len(weights), dtype=np.bool_)  # [n]
    for colour in colours:
        near |= np.abs(channels - _channels(np.array(colour))).max(axis=1) <= NEAR
    return 0 < len(colours) <= MOST_COLOURS and float(weights[near].sum()) >= _EXPLAINED * float(weights.sum())


def snap(values: Values, colours: Sequence[int]) -> Values:
    """Return packed colours [H, W] with each pixel brought to the nearest of `colours`, by Euclidean distance."""
    found, places = np.unique(values, return_inverse=True)
    chosen = np.full(len(found), colours[0], dtype=np.int32)
    least = np.full(len(found), np.iinfo(np.int64).max)
    for colour in colours:
        apart = ((_channels(found) - _channels(np.array(colour))) ** 2).sum(axis=1)
        chosen[apart < least] = colour
        least = np.minimum(least, apart)
    return np.asarray(chosen[places.reshape(values.shape)])


def _channels(packed: Values) -> npt.NDArray[np.int64]:
    wide = packed.astype(np.int64)
    return np.stack([wide >> 16, wide >> 8 & 255, wide & 255], axis=-1)
