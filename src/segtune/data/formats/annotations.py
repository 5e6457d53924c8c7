"""Annotations of many images in flat arrays: small in memory, quick to hand to another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from segtune.core.rle import Counts, RunLengths, narrow
from segtune.data.formats.polygons import Polygon, Ring, rasterise
from segtune.data.formats.runs import from_runs, runs_of


@dataclass
class Annotations:
    """Outlines or run lengths, each of one object of one image.

    Attributes:
        image: int64 [A], the image each belongs to; ascending.
        label: int64 [A], number of its class.
        crowd: bool [A]: a crowd, whose pixels are ignored.
        runs: bool [A]: `numbers` holds run lengths; else x, y of rings.
        first_ring: int64 [A + 1], where each annotation's rings begin; one for run lengths.
        first_number: int64 [R + 1], where each ring's numbers begin.
        polygon: int64 [R], which polygon of its annotation a ring belongs to.
        numbers: float64 [V].
    """

    image: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]
    runs: npt.NDArray[np.bool_]
    first_ring: npt.NDArray[np.int64]
    first_number: npt.NDArray[np.int64]
    polygon: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]

    def of_image(self, image: int) -> range:
        """Return the annotations of an image."""
        return range(int(np.searchsorted(self.image, image)), int(np.searchsorted(self.image, image, side="right")))

    def mask(self, row: int, size: tuple[int, int]) -> RunLengths:
        """Return annotation `row` as a mask of `size` (height, width).

        Raises:
            ValueError: run lengths that do not add up to that size.
        """
        if self.runs[row]:
            return whole_runs(narrow(self._numbers(int(self.first_ring[row])).astype(np.int64)), size)
        return rasterise(self.polygons(row), size)

    def polygons(self, row: int) -> list[list[Ring]]:
        """Return the outlines of annotation `row`."""
        polygons: dict[int, list[Ring]] = {}
        for ring in range(self.first_ring[row], self.first_ring[row + 1]):
            polygons.setdefault(int(self.polygon[ring]), []).append(self._numbers(ring).reshape(-1, 2))
        return list(polygons.values())

    def _numbers(self, ring: int) -> npt.NDArray[np.float64]:
        return self.numbers[self.first_number[ring] : self.first_number[ring + 1]]


@dataclass
class AnnotationBuilder:
    """Collects annotations in any order of images."""

    _heads: list[tuple[int, int, bool, bool]] = field(default_factory=list)
    _rings: list[list[tuple[int, npt.NDArray[np.float64]]]] = field(default_factory=list)

    def add_polygons(self, image: int, label: int, polygons: Sequence[Polygon], *, crowd: bool = False) -> None:
        """Add an object by its outlines."""
        self._heads.append((image, label, crowd, False))
        self._rings.append([(number, ring.ravel()) for number, polygon in enumerate(polygons) for ring in polygon])

    def add_runs(self, image: int, label: int, counts: Counts, *, crowd: bool = False) -> None:
        """Add an object by its run lengths (`core.rle`)."""
        self._heads.append((image, label, crowd, True))
        # Run lengths lie in one array with outlines: float64 holds whole numbers exactly up to 2^53.
        self._rings.append([(0, counts.astype(np.float64))])

    def finish(self) -> Annotations:
        """Return what was added, by image; within an image in the order added."""
        heads = np.array(self._heads, dtype=np.int64).reshape(-1, 4)
        order = np.argsort(heads[:, 0], kind="stable")
        rings = [self._rings[row] for row in order]
        flat = [ring for one in rings for ring in one]
        return Annotations(
            heads[order, 0], heads[order, 1], heads[order, 2].astype(np.bool_), heads[order, 3].astype(np.bool_),
            _starts([len(one) for one in rings]), _starts([len(numbers) for _, numbers in flat]),
            np.array([number for number, _ in flat], dtype=np.int64),
            np.concatenate([numbers for _, numbers in flat]) if flat else np.zeros(0),
        )  # fmt: skip


def whole_runs(counts: Counts, size: tuple[int, int]) -> RunLengths:
    """Return run lengths as a mask.

    Raises:
        ValueError: they do not add up to `size`.
    """
    # Broken run lengths may add up to more than 32 bits hold.
    total = int(counts.sum(dtype=np.int64))
    if total != size[0] * size[1]:
        raise ValueError(f"its run lengths cover {total} pixels, the image has {size[0] * size[1]}")
    # By way of runs, which drops those of length 0 in between: `core.rle` never writes them, others may.
    return from_runs(size, *runs_of(RunLengths(size, counts)))


def _starts(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.array(lengths, dtype=np.int64))])
