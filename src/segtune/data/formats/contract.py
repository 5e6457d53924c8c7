"""What a data format is and what reading one yields."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segtune.core.types import Sample
from segtune.data.formats.tree import Tree
from segtune.data.images import PIXEL_LIMIT


@dataclass(frozen=True)
class SetAside:
    """A file that is left out of a data set: its name below the data folder, why, and what would mend it."""

    name: str
    reason: str
    remedy: str


OF_MASK_FILES = ("threshold", "encoding")
"""What of `Options` says how mask files are read."""


@dataclass(frozen=True)
class Options:
    """How a data set is to be read.

    Attributes:
        objects: what one object is: "whole", "parts", "labels" or "instances" (`data.objects`).
        threshold: soft masks are inside above it, 0 to 255.
        encoding: what mask files hold (`data.masks.ENCODINGS`), or None to infer it.
        pixel_limit: images with more pixels are set aside.
        bands: numbers, from 1, of the bands of a GeoTIFF that become red, green and blue; None: the first three.
        window: (centre, width) of the values of a DICOM or NIfTI image that are shown; None: the file's own window.
    """

    objects: str = "whole"
    threshold: int = 127
    encoding: str | None = None
    pixel_limit: int = PIXEL_LIMIT
    bands: tuple[int, ...] | None = None
    window: tuple[float, float] | None = None


@dataclass(kw_only=True)
class Source(ABC):
    """Where the samples of a data set come from: an index held in memory, images and masks read when asked for.

    Attributes:
        root: the data folder.
        format: name of its format.
        objects: what one object is.
        names: one per image, unique, in a stable order.
        groups: one per image: patient, scene or video, or None.
        set_aside: what was left out and why.
        notes: what was inferred about the data, in sentences.
        certain: no sample was seen to have a probability between 0 and 1 for its truth (`Sample.probabilities`).
    """

    root: Path
    format: str
    objects: str
    names: Sequence[str]
    groups: tuple[str | None, ...]
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()
    certain: bool = True

    @abstractmethod
    def sample(self, row: int) -> Sample:
        """Return sample `row` (0 to number of names - 1). Raises DataError naming the file that cannot be read."""

    def bare(self, row: int) -> Sample:
        """Return sample `row` without its objects; where masks are stored by themselves, they are not read."""
        return replace(self.sample(row), objects=(), labels=(), ignore=None)

    @abstractmethod
    def image_hash(self, row: int) -> str:
        """Return the SHA-256, in hex, of what image `row` is stored as."""


@dataclass(frozen=True)
class DataFormat:
    """One way images and masks lie on disk.

    Attributes:
        name: its name in the registry.
        layout: what such a folder looks like, in a few words, for the error about a folder that nobody understands.
        detect: how sure (0 to 1) it is that a folder is of this format, or None.
        read: index a folder. Raises DataError where it cannot be used, and sets single files aside.
        write: write samples into a new folder so that reading it yields the same objects, labels, ignored pixels
            and groups.
        ignores: what of `Options` says nothing about data of this format, by name.
    """

    name: str
    layout: str
    detect: Callable[[Tree], float | None]
    read: Callable[[Tree, Options], Source]
    write: Callable[[Iterable[Sample], Path], None]
    ignores: tuple[str, ...] = ()

    def notes(self, options: Options) -> tuple[str, ...]:
        """Say which options were given and change nothing here."""
        idle = [name for name in self.ignores if getattr(options, name) != getattr(Options, name)]
        if not idle:
            return ()
        named = " and ".join(f"{name} ({getattr(options, name)})" for name in idle)
        return (f"What was asked of {named} changes nothing: data of the format {self.name} is not read by it.",)
