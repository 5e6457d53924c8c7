"""A data set of images and masks, whatever its format: opened by looking at it, read sample by sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from segtune.core.errors import DataError, unknown_name
from segtune.core.files import hash_text
from segtune.core.types import Sample
from segtune.data.formats import FORMATS
from segtune.data.formats.contract import DataFormat, Options, SetAside, Source
from segtune.data.formats.tree import Tree
from segtune.data.images import PIXEL_LIMIT, is_image_name
from segtune.data.masks import ENCODINGS
from segtune.data.remedies import option

__all__ = ["OBJECTS", "Dataset", "MemorySource", "SetAside", "Source", "open_dataset"]

OBJECTS = ("whole", "parts", "labels", "instances")
"""What one object may be: each stored mask, each of its connected parts, each class, each instance."""

_NEARLY = 0.05
"""Two formats whose sureness differs by less are a tie that only the user can break."""


class Dataset(Sequence[Sample]):
    """Samples in a stable order. Holds paths and annotations only: images and masks are read when asked for.

    Larger than memory is normal. It pickles, so that DataLoader workers can hold it.

    Args:
        source: where the samples come from.
        rows: which of the source's samples, and in which order; all without it.
    """

    def __init__(self, source: Source, rows: Sequence[int] | None = None, shown: str = "") -> None:
        self._source = source
        # A range holds no numbers, and a slice of it is a range again.
        self._rows = range(len(source.names)) if rows is None else rows
        self._shown = shown

    @property
    def root(self) -> Path:
        """The data folder."""
        return self._source.root

    @property
    def format(self) -> str:
        """Name of its format."""
        return self._source.format

    @property
    def objects(self) -> str:
        """What one object is, of `OBJECTS`."""
        return self._source.objects

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """What was left out when the data set was opened, and why."""
        return self._source.set_aside

    @property
    def notes(self) -> tuple[str, ...]:
        """What was inferred about the data, in sentences."""
        return self._source.notes

    @property
    def certain(self) -> bool:
        """Whether masks are certain: no sample's truth was seen to be a probability (`Sample.probabilities`)."""
        return self._source.certain

    @property
    def names(self) -> tuple[str, ...]:
        """The samples' names, unique."""
        return tuple(self._source.names[row] for row in self._rows)

    @property
    def groups(self) -> tuple[str | None, ...]:
        """Patient, scene or video of each sample, or None."""
        return tuple(self._source.groups[row] for row in self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Sample | Dataset:
        if isinstance(index, slice):
            return Dataset(self._source, self._rows[index], self._shown)
        return self._source.sample(self._rows[index])

    def __iter__(self) -> Iterator[Sample]:
        return (self._source.sample(row) for row in self._rows)

    def subset(self, names: Iterable[str]) -> Dataset:
        """Return the samples of these names, in the order given.

        Raises:
            DataError: a name that is not in this data set.
        """
        # Made when asked for: kept, it would travel to every worker.
        row_of = {self._source.names[row]: row for row in self._rows}
        wanted = list(names)
        missing = [name for name in wanted if name not in row_of]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(wanted)} names are not in the data set {self.root}, the first is "
                f"'{missing[0]}'. Names are those of its images, such as '{next(iter(row_of), '')}'."
            )
        return Dataset(self._source, [row_of[name] for name in wanted], self._shown)

    def bare(self, index: int) -> Sample:
        """Return a sample without its objects, its masks unread."""
        return self._source.bare(self._rows[index])

    def image_hash(self, index: int) -> str:
        """Return the SHA-256, in hex, of the image file's bytes, or of the pixels of an image without a file.

        Where bands or a window were chosen, of that choice too: the same file then shows other pixels.
        """
        own = self._source.image_hash(self._rows[index])
        return hash_text(f"{own} {self._shown}") if self._shown else own

    @classmethod
    def of(cls, samples: Iterable[Sample], *, root: Path = Path("memory")) -> Dataset:
        """Return a data set of samples that are at hand already."""
        return cls(MemorySource.of(tuple(samples), root))


@dataclass(kw_only=True)
class MemorySource(Source):
    """Samples held in memory or drawn when asked for."""

    samples: tuple[Sample, ...] = ()

    @classmethod
    def of(cls, samples: tuple[Sample, ...], root: Path) -> MemorySource:
        """Return the source of these samples."""
        names, groups = tuple(s.name for s in samples), tuple(s.group for s in samples)
        return cls(
            root=root, format="memory", objects="whole", names=names, groups=groups, samples=samples,
            certain=all(one.probabilities is None for one in samples),
        )  # fmt: skip

    def sample(self, row: int) -> Sample:
        """Return sample `row`."""
        return self.samples[row]

    def image_hash(self, row: int) -> str:
        """Return the SHA-256 of the pixels."""
        return hashlib.sha256(self.samples[row].image.tobytes()).hexdigest()


def open_dataset(
    path: Path,
    *,
    format: str | None = None,  # noqa: A002 - the word users know it by
    objects: str = "whole",
    threshold: int = 127,
    encoding: str | None = None,
    pixel_limit: int = PIXEL_LIMIT,
    bands: tuple[int, ...] | None = None,
    window: tuple[float, float] | None = None,
) -> Dataset:
    """Open a data set by listing it and reading headers and annotations; no image is decoded.

    Args:
        path: its folder, or its annotation file.
        format: name of its format (`data.formats.FORMATS`), detected without it.
        objects: what one object is. "whole": each mask as it is stored, one per mask file or annotation; "parts": each
            connected part; "labels": each class; "instances": each instance id, file or annotation.
        threshold: soft masks are inside above it, 0 to 255.
        encoding: what mask files hold (`data.masks.ENCODINGS`), inferred without it.
        pixel_limit: images with more pixels are set aside.
        bands: numbers, from 1, of the bands of a GeoTIFF that become red, green and blue; the first three without it.
        window: (centre, width) of the values of DICOM and NIfTI images that are shown; the files' own without it.

    Raises:
        DataError: nothing there that can be used; the layout is not understood, or understood in several ways.
        UsageError: a name that is not among the choices.
    """
    if objects not in OBJECTS:
        raise unknown_name("kind of object", objects, OBJECTS)
    if encoding is not None and encoding not in ENCODINGS:
        raise unknown_name("mask encoding", encoding, ENCODINGS)
    # Looked up before the folder is listed, which may take a while: a wrong word is told at once.
    chosen = FORMATS[format] if format is not None else None
    tree = Tree.scan(Path(path))
    options = Options(objects, threshold, encoding, pixel_limit, bands, window)
    chosen = chosen or _detect(tree)
    source = chosen.read(tree, options)
    source.notes = (*source.notes, *chosen.notes(options))
    if tree.misnamed:
        odd = (
            SetAside(name.rstrip("/"), "its name is no UTF-8", "Rename it, then open the data again.")
            for name in tree.misnamed
        )
        source.set_aside = tuple(sorted((*source.set_aside, *odd), key=lambda one: one.name))
    if not source.names:
        raise DataError(_nothing_left(source))
    _refuse_without_objects(source, threshold)
    return Dataset(source, shown="" if bands is None and window is None else f"bands {bands} window {window}")


def _detect(tree: Tree) -> DataFormat:
    sureness = {name: FORMATS[name].detect(tree) for name in FORMATS}
    # Every format is asked: the first that fits need not be the one meant.
    found = sorted(((sure, name) for name, sure in sureness.items() if sure), reverse=True)
    if not found:
        layouts = " ".join(f"({name}) {FORMATS[name].layout}." for name in FORMATS)
        bare = " There are images, but no masks belong to them." if any(map(is_image_name, tree.paths())) else ""
        raise DataError(
            f"{tree.root} is laid out in no way that is understood. {tree.describe()}{bare} Understood are: {layouts} "
            f"Rearrange the folder, or name its format by {option('format', 'NAME')}."
        )
    rivals = [name for sure, name in found if sure > found[0][0] - _NEARLY]
    if len(rivals) > 1:
        raise DataError(
            f"{tree.root} can be read in {len(rivals)} ways: {', '.join(rivals)}. {tree.describe()} "
            f"Say which one is meant by {option('format', rivals[0])}."
        )
    return FORMATS[found[0][1]]


def _refuse_without_objects(source: Source, threshold: int) -> None:
    """Raise a DataError when no image at all has an object. Images in a shuffled order: the first mostly answers."""
    unread = 0
    for row in np.random.default_rng(0).permutation(len(source.names)):
        try:
            if source.sample(int(row)).objects:
                return
        except DataError:
            unread += 1
    if unread < len(source.names):
        raise DataError(
            f"None of the {len(source.names)} images of {source.root} has an object: all masks are empty (soft masks "
            f"are inside above {threshold}). {' '.join(source.notes)} Check how the masks were exported."
        )


def _nothing_left(source: Source) -> str:
    """Say why no image is left, by the first few that were set aside."""
    start = f"No image of {source.root} can be used (read as {source.format})."
    if not source.set_aside:
        return f"{start} Put images and their masks there."
    reasons = "; ".join(f"{one.name}: {one.reason}" for one in source.set_aside[:3])
    more = f"; and {len(source.set_aside) - 3} more" if len(source.set_aside) > 3 else ""
    return " ".join([f"{start} {reasons}{more}.", *source.notes, source.set_aside[0].remedy])
