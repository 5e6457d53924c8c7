"""A stream of images from several sources: so many as a training asks for, mixed by shares, none of them held."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segtune.core.types import Sample
from segtune.data.dataset import Dataset
from segtune.data.drawn import Numbered
from segtune.data.formats.contract import Source


@dataclass(kw_only=True)
class Stream(Source):
    """Rows that each come from one of several data sets, by its share; a set that ends begins again.

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
        # Of the row alone, so that any worker finds it. A hash rather than turns: two parts of equal shares must not
        # meet only the even rows of each other.
        drawn = int.from_bytes(hashlib.sha256(f"stream {row}".encode()).digest()[:8], "big") / 2**64 * sum(self.shares)
        part, reached = 0, self.shares[0]
        while drawn >= reached and part < len(self.parts) - 1:
            part, reached = part + 1, reached + self.shares[part + 1]
        return part, row % len(self.parts[part])


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
