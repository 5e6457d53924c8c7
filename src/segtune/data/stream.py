"""A stream of images from several sources: so many as a training asks for, mixed by shares, none of them held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from segtune.core.types import Sample
from segtune.data.dataset import Dataset
from segtune.data.drawn import Numbered
from segtune.data.formats.contract import Source


@dataclass(kw_only=True)
class Stream(Source):
    """Rows that each come from one of several data sets, by its share, in its order; a set that ends begins again.

    Attributes:
        parts: the data sets.
        shares: one per part, above 0; they need not add up to 1.
    """

    parts: tuple[Dataset, ...]
    shares: tuple[float, ...]

    def sample(self, row: int) -> Sample:
        """Return sample `row`, under the stream's own name."""
        part, index = self._place(row)
        return replace(self.parts[part][index], name=self.names[row])

    def image_hash(self, row: int) -> str:
        """Return the hash its part has for the image."""
        part, index = self._place(row)
        return self.parts[part].image_hash(index)

    def _place(self, row: int) -> tuple[int, int]:
        """Return the part of a row, and which of the part's images it is."""
        # Of the row alone, so that any worker finds it. One part after the other takes its share of the rows that those
        # before it have left, evenly: the first n of those hold round(n * share) of its own, which are its images from
        # the first to the last, then again. What it leaves is numbered anew.
        left = sum(map(Fraction, self.shares))
        for part, own in enumerate(map(Fraction, self.shares[:-1])):
            share = own / left
            before, after = _rounded(row * share), _rounded((row + 1) * share)
            if after > before:
                return part, before % len(self.parts[part])
            row, left = row - before, left - own
        return len(self.parts) - 1, row % len(self.parts[-1])


def _rounded(number: Fraction) -> int:
    """Return the nearest whole number, halves upwards: as `number` grows by at most 1, so does this."""
    return math.floor(number + Fraction(1, 2))


def stream(parts: Sequence[tuple[Dataset, float]], count: int) -> Dataset:
    """Return `count` samples drawn from data sets by their shares.

    Args:
        parts: data sets with at least one image each, and the share of each, above 0.
        count: how many samples.
    """
    source = Stream(
        root=Path("stream"), format="stream", objects="instances", names=Numbered("row", 0, count),
        groups=(None,) * count, parts=tuple(part for part, _ in parts), shares=tuple(share for _, share in parts),
    )  # fmt: skip
    return Dataset(source)
