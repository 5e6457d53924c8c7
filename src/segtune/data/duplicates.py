"""Duplicates: images that show the same picture, or nearly, and must not lie on two sides of a split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from segtune.core.progress import SILENT, Progress
from segtune.data.dataset import Dataset
from segtune.data.fingerprints import Fingerprint, Fingerprints, fingerprint, fingerprints
from segtune.data.likeness import SAME_SCENE, Candidate, candidates, likeness, local_correlation

__all__ = ["Alike", "Duplicates", "are_alike", "find_alike", "fingerprint", "fingerprints", "match"]

Kind = Literal["exact", "near"]

_SAME_PICTURE = 0.92
_SAME_GREYS = 0.6
"""Local correlation and mean difference in grey levels by which a picture that was merely stored again is known."""

_THREADS = 2
_AT_ONCE = 256

_WAY = np.dtype([("row", np.int32), ("column", np.int32), ("window", np.float64, 4), ("flipped", np.bool_)])
"""A `likeness.Candidate`, in a tenth of its memory."""


@dataclass(frozen=True)
class Alike:
    """Two images that show the same.

    Attributes:
        first: name of one.
        second: name of the other.
        kind: "exact" for one picture (the same pixels, or stored again without a change one could see), "near" for one
            scene (cropped, relit, strongly compressed, or a moment later).
        likeness: 0 to 1; 1 is the same pixels.
    """

    first: str
    second: str
    kind: Kind
    likeness: float


@dataclass(frozen=True)
class Duplicates:
    """Images of a data set that show the same.

    Attributes:
        exact: groups of names of one picture each.
        near: groups of names of one scene each, of at least two different pictures.
        pairs: the pairs found, from which the groups follow.
    """

    exact: tuple[tuple[str, ...], ...] = ()
    near: tuple[tuple[str, ...], ...] = ()
    pairs: tuple[Alike, ...] = ()

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Groups of names that must stay together, each name in one group at most."""
        return _joined((pair.first, pair.second) for pair in self.pairs)


def find_alike(dataset: Dataset, progress: Progress = SILENT) -> Duplicates:
    """Find the images of a data set that show the same picture or scene; those that cannot be read are passed over."""
    return duplicates_of(fingerprints(dataset, progress), progress)


def duplicates_of(prints: Fingerprints, progress: Progress = SILENT) -> Duplicates:
    """Find what is alike among fingerprints; 10,000 take well under a minute."""
    same = list(_same_pixels(prints, prints))
    # Of images with the same pixels one stands for all, so that they do not crowd out other candidates.
    unique = prints.subset(_first_of_each(prints))
    pairs = [*same, *_look_closely(unique, unique, candidates(unique.pictures), progress)]
    pairs.sort(key=lambda pair: (-pair.likeness, pair.first, pair.second))
    exact = _joined((pair.first, pair.second) for pair in pairs if pair.kind == "exact")
    picture_of = {name: group for group, names in enumerate(exact) for name in names}
    together = _joined((pair.first, pair.second) for pair in pairs)
    near = tuple(names for names in together if len({picture_of.get(name, name) for name in names}) > 1)
    return Duplicates(exact, near, tuple(pairs))


def match(first: Fingerprints, second: Fingerprints, progress: Progress = SILENT) -> list[tuple[str, str, Kind]]:
    """Return (name in `first`, name in `second`, kind) of all images of two data sets that are alike."""
    same = list(_same_pixels(first, second))
    found = _look_closely(first, second, candidates(first.pictures, second.pictures), progress)
    known = {(pair.first, pair.second) for pair in same}
    rest = [pair for pair in found if (pair.first, pair.second) not in known]
    return [(pair.first, pair.second, pair.kind) for pair in sorted([*same, *rest], key=lambda pair: pair.second)]


def are_alike(first: Fingerprint, second: Fingerprint) -> bool:
    """Whether two fingerprints (uint8 [64, 64]) show the same picture or scene."""
    if np.array_equal(first, second):
        return True
    # Both ways: a crop is found in its whole, not the whole in its crop.
    looks = [likeness(first, second), likeness(second, first)]
    for way in candidates(first[None], second[None]):
        looks.append(likeness(second, first, way.window) if way.flipped else likeness(first, second, way.window))
    return max(looks) >= SAME_SCENE


def _same_pixels(first: Fingerprints, second: Fingerprints) -> Iterator[Alike]:
    """Yield the pairs of the same pixels; within one set each further image with the first one."""
    within = first is second
    names: dict[str, str] = {}
    for name, digest in zip(first.names, first.digests, strict=True):
        if within and digest in names:
            yield Alike(names[digest], name, "exact", 1.0)
        names.setdefault(digest, name)
    if not within:
        for name, digest in zip(second.names, second.digests, strict=True):
            if digest in names:
                yield Alike(names[digest], name, "exact", 1.0)


def _first_of_each(prints: Fingerprints) -> list[str]:
    first: dict[str, str] = {}
    for name, digest in zip(prints.names, prints.digests, strict=True):
        first.setdefault(digest, name)
    return list(first.values())


def _look_closely(
    first: Fingerprints, second: Fingerprints, found: Iterable[Candidate], progress: Progress
) -> list[Alike]:
    likely = _by_pair(found, within=first is second)
    with ThreadPoolExecutor(_THREADS) as pool, progress.stage("comparing images", len(likely)) as advance:
        pairs = []
        # A few at a time: `map` begins with all it is given, and each one waiting takes its memory.
        for start in range(0, len(likely), _AT_ONCE):
            # It keeps the order, so that the result does not depend on which thread is first.
            for pair in pool.map(lambda ways: _compare(first, second, ways), likely[start : start + _AT_ONCE]):
                advance()
                if pair is not None:
                    pairs.append(pair)
    return pairs


def _by_pair(found: Iterable[Candidate], *, within: bool) -> list[npt.NDArray[np.void]]:
    """Gather the candidates of the same two images, in either order: rows of `_WAY`, by pairs in rising order."""
    ways = np.fromiter(((one.row, one.column, one.window, one.flipped) for one in found), _WAY)
    ends = np.stack([ways["row"], ways["column"]])
    low, high = np.sort(ends, axis=0) if within else ends
    order = np.lexsort((high, low))
    low, high = low[order], high[order]
    starts = np.flatnonzero((low[1:] != low[:-1]) | (high[1:] != high[:-1])) + 1
    return np.split(ways[order], starts) if len(ways) else []


def _compare(first: Fingerprints, second: Fingerprints, ways: npt.NDArray[np.void]) -> Alike | None:
    row, column = int(ways["row"][0]), int(ways["column"][0])
    one, other = first.pictures[row], second.pictures[column]
    names = first.names[row], second.names[column]
    if _stored_again(one, other):
        return Alike(*names, "exact", 1.0)
    best = max(_follow(first, second, way) for way in ways)
    return Alike(*names, "near", round(best, 3)) if best >= SAME_SCENE else None


def _follow(first: Fingerprints, second: Fingerprints, way: np.void) -> float:
    one, other = first.pictures[int(way["row"])], second.pictures[int(way["column"])]
    window = tuple(way["window"].tolist())
    return likeness(other, one, window) if way["flipped"] else likeness(one, other, window)


def _stored_again(one: Fingerprint, other: Fingerprint) -> bool:
    # Signed: differences of bytes would wrap around.
    if np.abs(one.astype(np.int16) - other).mean() > _SAME_GREYS:
        return False
    everywhere = np.ones(one.shape, dtype=np.bool_)
    return local_correlation(one.astype(np.float32), other.astype(np.float32), everywhere) >= _SAME_PICTURE


def _joined(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Return the connected groups of names, each sorted, in order of their first names."""
    leader: dict[str, str] = {}

    def lead(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = leader[leader[name]]  # halves the path, which keeps chains short
            name = leader[name]
        return name

    for first, second in pairs:
        leader[lead(second)] = lead(first)
    groups: dict[str, list[str]] = {}
    for name in list(leader):
        groups.setdefault(lead(name), []).append(name)
    return tuple(sorted(tuple(sorted(names)) for names in groups.values() if len(names) > 1))
