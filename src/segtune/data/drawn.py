"""Drawn scenes as a data set: every image is made when asked for, from its number, and none is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import overload

import cv2
import numpy as np

from segtune.core.types import Sample
from segtune.data.cutouts import Cutouts
from segtune.data.dataset import Dataset
from segtune.data.formats.contract import Source
from segtune.data.scenes import draw_scene


@lru_cache(maxsize=1)
def _hash_of_drawing() -> str:
    """Return a hash of all code that draws, so that no embedding of another version's scenes is taken for these."""
    digest = hashlib.sha256(f"{np.__version__} {cv2.__version__}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(kw_only=True)
class DrawnSource(Source):
    """Scenes of one theme, numbered from `first`.

    Attributes:
        theme: what is drawn (`data.scenes`).
        side: longest side in pixels.
        first: seed of the first scene; the others count up from it.
        cutouts: pictures that are things of the scenes too.
    """

    theme: str = "general"
    side: int = 512
    first: int = 0
    cutouts: Cutouts | None = None

    def sample(self, row: int) -> Sample:
        """Draw scene `row`."""
        return draw_scene(self.first + row, side=self.side, theme=self.theme, cutouts=self.cutouts)

    def image_hash(self, row: int) -> str:
        """Return a hash of what the scene is drawn from, the code that draws it too: the same scene, the same hash."""
        drawn_by = f"{_hash_of_drawing()}/{self.theme}/{self.side}/{self.first + row}"
        if self.cutouts is not None:
            drawn_by += f"/{self.cutouts.fingerprint}"
        return hashlib.sha256(drawn_by.encode()).hexdigest()


@dataclass(frozen=True)
class Numbered(Sequence[str]):
    """Names that are a word and a number, none of them held: there may be millions.

    Attributes:
        word: which all begin with.
        first: the first number.
        length: how many.
    """

    word: str
    first: int
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        numbers = range(self.first, self.first + self.length)[index]
        return f"{self.word}-{numbers}" if isinstance(numbers, int) else [f"{self.word}-{one}" for one in numbers]


def drawn_dataset(
    count: int, *, side: int = 512, theme: str = "general", first: int = 0, cutouts: Cutouts | None = None
) -> Dataset:
    """Return `count` drawn scenes as a data set.

    Args:
        count: how many.
        side: longest side in pixels.
        theme: what is drawn (`data.scenes`).
        first: seed of the first.
        cutouts: pictures that are things of the scenes too.
    """
    names = Numbered(theme, first, count)
    source = DrawnSource(
        root=Path(theme), format="drawn", objects="instances", names=names, groups=(None,) * count,
        theme=theme, side=side, first=first, cutouts=cutouts,
    )  # fmt: skip
    return Dataset(source)
