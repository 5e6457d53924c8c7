"""Drawn scenes as a data set: every image is made when asked for, from its number, and none is stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from segtune.core.types import Sample
from segtune.data.dataset import Dataset
from segtune.data.formats.contract import Source
from segtune.data.scenes import draw_scene


@dataclass(kw_only=True)
class DrawnSource(Source):
    """Scenes of one theme, numbered from `first`.

    Attributes:
        theme: what is drawn (`data.scenes`).
        side: longest side in pixels.
        first: seed of the first scene; the others count up from it.
    """

    theme: str = "general"
    side: int = 512
    first: int = 0

    def sample(self, row: int) -> Sample:
        """Draw scene `row`."""
        return draw_scene(self.first + row, side=self.side, theme=self.theme)

    def image_hash(self, row: int) -> str:
        """Return a hash of what the scene is drawn from: the same scene, the same hash."""
        return hashlib.sha256(f"{self.theme}/{self.side}/{self.first + row}".encode()).hexdigest()


def drawn_dataset(count: int, *, side: int = 512, theme: str = "general", first: int = 0) -> Dataset:
    """Return `count` drawn scenes as a data set.

    Args:
        count: how many.
        side: longest side in pixels.
        theme: what is drawn (`data.scenes`).
        first: seed of the first.
    """
    names = tuple(f"{theme}-{number}" for number in range(first, first + count))
    source = DrawnSource(
        root=Path(theme), format="drawn", objects="instances", names=names, groups=(None,) * count,
        theme=theme, side=side, first=first,
    )  # fmt: skip
    return Dataset(source)
