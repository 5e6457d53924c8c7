"""What the data doctor reads off the files themselves: their kinds, the greys of masks, and masks that were swapped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from segtune.core.errors import DataError
from segtune.data.dataset import Dataset
from segtune.data.formats.pairing import Pair, pair_files
from segtune.data.formats.tree import Tree
from segtune.data.images import is_image_name, read_orientation, read_size
from segtune.data.masks import read_mask_file

Size = tuple[int, int]

_SAMPLE = 48
"""Mask files whose greys are looked at."""

_KINDS = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png",),
    "gif": (".gif",),
    "bmp": (".bmp", ".dib"),
    "tiff": (".tif", ".tiff"),
    "webp": (".webp",),
}
_EDGES = (0.05, 0.95)
"""Greys between these shares of a mask's brightest are neither object nor background."""


@dataclass(frozen=True)
class MaskGreys:
    """The greys of a sample of mask files.

    Attributes:
        files: how many were looked at.
        fewest: least number of greys in one.
        most: largest number.
        between: mean share of the pixels that are not background, but not clearly object either.
    """

    files: int
    fewest: int
    most: int
    between: float


@dataclass(frozen=True)
class Swap:
    """Two images whose masks seem to be exchanged, with the evidence in words."""

    first: str
    second: str
    evidence: str


@dataclass(frozen=True)
class FileFacts:
    """What the files of a data set tell beside its samples. Empty for formats without mask files.

    Attributes:
        misnamed: image → what it really is ("webp").
        lossy_masks: images whose masks are JPEG files.
        greys: of a sample of the masks, or None.
        faint: images without objects whose masks do hold something → its brightest grey.
        mismatched: image → (size of the image, size of its mask), both (height, width).
        swaps: pairs of mismatched images whose masks fit each other.
        fitting: mismatched image → other images that have the size of its mask.
        masks: mismatched image → its mask files.
        turned: image that is shown turned → its EXIF orientation, where its masks are shown as they are stored.
        certain: the masks' greys are not told to be probabilities.
    """

    misnamed: Mapping[str, str] = field(default_factory=dict)
    lossy_masks: tuple[str, ...] = ()
    greys: MaskGreys | None = None
    faint: Mapping[str, int] = field(default_factory=dict)
    mismatched: Mapping[str, tuple[Size, Size]] = field(default_factory=dict)
    swaps: tuple[Swap, ...] = ()
    fitting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    turned: Mapping[str, int] = field(default_factory=dict)
    certain: bool = True


def look_at_files(dataset: Dataset, sizes: Mapping[str, Size], empty: Iterable[str]) -> FileFacts:
    """Look at the files of a data set.

    Args:
        dataset: where they lie.
        sizes: (height, width) of each of its images.
        empty: images without objects.
    """
    aside = [one.name for one in dataset.set_aside]
    misnamed = find_misnamed(dataset.root, [*dataset.names, *aside])
    pairs = {pair.image: pair for pair in _pairs(dataset)}
    if not pairs:
        return FileFacts(misnamed)
    mismatched = _mismatched(dataset.root, [pairs[name] for name in aside if name in pairs])
    kept = [pairs[name] for name in dataset.names if name in pairs]
    return FileFacts(
        misnamed,
        tuple(pair.image for pair in kept if any(_kind_of(dataset.root / mask) == "jpeg" for mask in pair.masks)),
        _greys(dataset.root, kept),
        _faint(dataset.root, [pairs[name] for name in empty if name in pairs]),
        mismatched,
        _swapped_by_size(mismatched),
        {name: tuple(one for one in sizes if sizes[one] == mask) for name, (_, mask) in mismatched.items()},
        {name: pairs[name].masks for name in mismatched},
        dict(_turned(dataset.root, kept)),
        dataset.certain,
    )


def find_misnamed(root: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the files whose extension says another kind of image than their first bytes, with the true kind."""
    found = {}
    for name in names:
        said = next((kind for kind, ends in _KINDS.items() if PurePosixPath(name).suffix.lower() in ends), None)
        true = _kind_of(root / name) if said else None
        if true is not None and true != said:
            found[name] = true
    return found


def _kind_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            # Twelve bytes tell all kinds apart: WEBP says so behind RIFF and its length.
            start = file.read(12)
    except OSError:
        return None
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    signatures = {
        # TIFF begins with its byte order, II or MM, and 42 in that order (TIFF 6.0, section 2).
        b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png", b"GIF8": "gif", b"BM": "bmp", b"II*\0": "tiff", b"MM\0*": "tiff",
    }  # fmt: skip
    return next((kind for signature, kind in signatures.items() if start.startswith(signature)), None)


def _pairs(dataset: Dataset) -> Sequence[Pair]:
    if dataset.format != "mask_folder":
        return ()
    pairing = pair_files(Tree.scan(dataset.root), is_image_name, is_image_name, dataset.objects)
    return pairing.pairs if pairing is not None else ()


def _greys(root: Path, pairs: Sequence[Pair]) -> MaskGreys | None:
    chosen = [pair.masks[0] for pair in pairs if pair.masks][:: max(1, len(pairs) // _SAMPLE)]
    counts, between = [], []
    for mask in chosen[:_SAMPLE]:
        try:
            file = read_mask_file(root / mask)
        except DataError:
            continue
        # Indices of a palette and packed colours are no brightness.
        if file.source != "grey" or not file.values.any():
            continue
        greys, pixels = np.unique(file.values, return_counts=True)
        # Relative to the brightest: masks of 0 and 1 and of 16 bits exist.
        low, high = (edge * greys[-1] for edge in _EDGES)
        counts.append(len(greys))
        between.append(float(pixels[(greys > low) & (greys < high)].sum() / max(1, pixels[greys > low].sum())))
    return MaskGreys(len(counts), min(counts), max(counts), float(np.mean(between))) if counts else None


def _faint(root: Path, pairs: Iterable[Pair]) -> dict[str, int]:
    found = {}
    for pair in pairs:
        brightest = 0
        for mask in pair.masks:
            try:
                brightest = max(brightest, int(read_mask_file(root / mask).values.max(initial=0)))
            except DataError:
                continue
        if brightest:
            found[pair.image] = brightest
    return found


def _turned(root: Path, pairs: Iterable[Pair]) -> Iterator[tuple[str, int]]:
    for pair in pairs:
        try:
            orientation = read_orientation(root / pair.image)
            if orientation != 1 and all(read_orientation(root / mask) == 1 for mask in pair.masks):
                yield pair.image, orientation
        except DataError:
            continue


def _mismatched(root: Path, pairs: Iterable[Pair]) -> dict[str, tuple[Size, Size]]:
    found = {}
    for pair in pairs:
        try:
            size = read_size(root / pair.image)
            masks = {read_size(root / mask) for mask in pair.masks}
        except DataError:
            continue
        if len(masks) == 1 and masks != {size}:
            found[pair.image] = (size, masks.pop())
    return found


def _swapped_by_size(mismatched: Mapping[str, tuple[Size, Size]]) -> tuple[Swap, ...]:
    swaps = []
    names = sorted(mismatched)
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            # Image and mask of one have the sizes of mask and image of the other.
            if mismatched[first] == mismatched[second][::-1]:
                (height, width), (other_height, other_width) = mismatched[first]
                words = (
                    f"{first} is {width} × {height} and its mask {other_width} × {other_height}, {second} the other "
                    "way round"
                )
                swaps.append(Swap(first, second, words))
    return tuple(swaps)
