"""DICOM images, with masks from DICOM segmentations (SEG) or from mask files.

A frame is a sample, named `file` or `file#frame`; its group is the patient, or the study where the patient's id was
taken out. Values are shown through the window asked for, else the file's first window, else that of the image's 0.5th
and 99.5th percentile; MONOCHROME1 is turned to white on black. A segment is an object, named by its label; a segment
labelled "ignore" marks pixels that do not count. An image that a segmentation covers without marking anything on it has
no object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError
from segtune.core.files import hash_file, hash_text
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.formats.contract import DataFormat, Options, SetAside, Source
from segtune.data.formats.dicom_image import (
    SEGMENTATION,
    Header,
    has_dicom_magic,
    import_pydicom,
    is_dicom_name,
    read_frame,
    read_header,
    read_mask_values,
    save_image,
    size_of_dicom,
)
from segtune.data.formats.dicom_segmentation import (
    Segmentation,
    SegmentFrame,
    read_segment,
    read_segmentation,
    save_segmentation,
)
from segtune.data.formats.groups import read_groups
from segtune.data.formats.image_files import Size
from segtune.data.formats.paired import Kind, index_pairs
from segtune.data.formats.regions import OBJECT, Region, Truth, make_sample
from segtune.data.formats.runs import union
from segtune.data.formats.tree import Tree, name_of
from segtune.data.formats.window import Window
from segtune.data.formats.writing import written_names
from segtune.data.images import UnreadableError, is_image_name, read_size
from segtune.data.masks import MaskFile, read_mask_file
from segtune.data.remedies import MAKE_SMALLER

IGNORE_LABEL = "ignore"
_SAME_PLACE = 0.02
"""Millimetres between positions that are the same: tools write them with two decimals or more."""

_SNIFFED = 20
"""Files without a telling extension that are looked into before deciding that there is no DICOM."""


@dataclass(kw_only=True)
class SegmentedFrames(Source):
    """Frames of DICOM images with the segments on them.

    Attributes:
        frames: file and frame number of each sample.
        sizes: (height, width) of each sample.
        segments: for each sample, file and frame of every segment on it.
        window: the window asked for, or None.
    """

    frames: Sequence[tuple[str, int]]
    sizes: Sequence[Size]
    segments: Sequence[Sequence[tuple[str, SegmentFrame]]]
    window: Window | None

    def sample(self, row: int) -> Sample:
        """Return sample `row`, its segments read."""
        return self._sample(row, self._truth(row))

    def bare(self, row: int) -> Sample:
        """Return sample `row`, no segment read."""
        return self._sample(row, Truth(()))

    def _sample(self, row: int, truth: Truth) -> Sample:
        path, frame = self.frames[row]
        read = partial(read_frame, self.root / path, frame=frame, window=self.window)
        return make_sample(self.names[row], self.sizes[row], truth, self.objects, self.groups[row], read)

    def image_hash(self, row: int) -> str:
        """Return the SHA-256 of the file, together with the frame's number where it has several."""
        path, frame = self.frames[row]
        digest = _hash(self.root / path)  # the same for all frames of a file
        return hash_text(f"{digest}#{frame}") if "#" in self.names[row] else digest

    def _truth(self, row: int) -> Truth:
        regions: list[Region] = []
        ignored: list[RunLengths] = []
        for path, segment in self.segments[row]:
            mask = read_segment(self.root / path, segment.frame)
            if mask.shape != self.sizes[row]:
                reason = f"its frame {segment.frame} is {mask.shape[1]} × {mask.shape[0]} pixels, unlike its image"
                raise UnreadableError(self.root / path, reason, "Export the segmentation on the image's own grid.")
            if segment.label == IGNORE_LABEL:
                ignored.append(RunLengths.encode(mask))
            else:
                regions.append(Region(RunLengths.encode(mask), segment.label, len(regions)))
        return Truth(tuple(regions), union(ignored) if ignored else None)


def detect(tree: Tree) -> float | None:
    """Return how sure it is that DICOM images lie here."""
    if tree.chosen is not None:
        return None
    named = [path for path in tree.paths() if is_dicom_name(name_of(path))]
    return 0.9 if any(has_dicom_magic(tree.root / path) for path in named[:_SNIFFED]) else None


def read(tree: Tree, options: Options) -> Source:
    """Index DICOM images by their headers, with the segmentations among them or the mask files beside them.

    Raises:
        DataError: no images with masks.
        MissingExtraError: pydicom is not installed.
    """
    import_pydicom()
    headers, bad = _read_headers(tree)
    if any(header.modality == SEGMENTATION for header in headers.values()):
        return _index_segmented(tree, options, headers, bad)
    kind = Kind(is_dicom_name, _is_mask_name, _mask_size, partial(read_frame, window=options.window), _read_mask)
    index = index_pairs(tree, options, kind, FORMAT.name, _LAYOUT)
    groups = tuple(_group(headers.get(name), known) for name, known in zip(index.names, index.groups, strict=True))
    return replace(index, groups=groups)


def write(samples: Iterable[Sample], folder: Path) -> None:
    """Write each image as a secondary capture in images/ and its objects as a segmentation in segmentations/."""
    # UIDs follow from names: the same samples give the same files.
    unique = import_pydicom().uid.generate_uid
    for name, sample in written_names(samples):
        patient = sample.group or ""
        uid, series, study = (unique(entropy_srcs=[name, patient, level]) for level in ("image", "series", "study"))
        header = Header(uid, series, study, patient, "OT", sample.size)
        save_image(folder / "images" / f"{name}.dcm", sample.image, header)
        held = [*zip(sample.objects, sample.labels, strict=True)]
        if sample.ignore is not None:
            held.append((sample.ignore, IGNORE_LABEL))
        # A segmentation needs a frame; on an image without objects it marks nothing.
        held = held or [(RunLengths.encode(np.zeros(sample.size, dtype=np.bool_)), OBJECT)]
        masks, labels = [mask.decode() for mask, _ in held], [label for _, label in held]
        save_segmentation(folder / "segmentations" / f"{name}.dcm", header, masks, labels)


def _index_segmented(
    tree: Tree, options: Options, headers: Mapping[str, Header], bad: Sequence[SetAside]
) -> SegmentedFrames:
    images = {path: header for path, header in headers.items() if header.modality != SEGMENTATION}
    placed, covered, broken, astray = _place_segments(tree, images, [path for path in headers if path not in images])
    frames: list[tuple[str, int]] = []
    set_aside = [*bad, *broken]
    for path, header in images.items():
        if path not in covered:
            set_aside.append(SetAside(path, "no segmentation covers it", "Add its segmentation, or remove it."))
        elif header.size[0] * header.size[1] > options.pixel_limit:
            set_aside.append(SetAside(path, "it is larger than the pixel limit", MAKE_SMALLER))
        else:
            frames += [(path, frame) for frame in range(header.frames)]
    known, notes = read_groups(tree, [path for path, _ in frames])
    return SegmentedFrames(
        root=tree.root, format=FORMAT.name, objects=options.objects,
        # Zeros in front, so that names sort as frames do.
        names=tuple(f"{path}#{frame:04d}" if images[path].frames > 1 else path for path, frame in frames),
        groups=tuple(_group(images[path], group) for (path, _), group in zip(frames, known, strict=True)),
        set_aside=tuple(sorted(set_aside, key=lambda one: one.name)), notes=(*astray, *notes), frames=frames,
        sizes=[images[path].size for path, _ in frames], segments=[placed.get(frame, []) for frame in frames],
        window=options.window,
    )  # fmt: skip


def _place_segments(
    tree: Tree, images: Mapping[str, Header], files: Sequence[str]
) -> tuple[dict[tuple[str, int], list[tuple[str, SegmentFrame]]], set[str], list[SetAside], tuple[str, ...]]:
    """Return the segments on each frame, the images covered, segmentations that cannot be used, and notes on others."""
    places = _Places(images)
    placed: dict[tuple[str, int], list[tuple[str, SegmentFrame]]] = {}
    covered: set[str] = set()
    broken: list[SetAside] = []
    astray = 0
    for file in files:
        try:
            found = read_segmentation(tree.root / file)
        except UnreadableError as error:
            broken.append(SetAside(file, error.reason, error.remedy))
            continue
        held = [(place, one) for one in sorted(found.frames, key=lambda one: one.segment)
                if (place := places.of(one, found.series)) is not None]  # fmt: skip
        # It says nothing of the images that it covers, not even that they are empty.
        if found.frames and not held:
            broken.append(SetAside(file, "none of its frames lies on an image here", "Add its images, or remove it."))
            continue
        astray += len(found.frames) - len(held)
        covered |= places.covered_by(found) | {path for (path, _), _ in held}
        for place, one in held:
            placed.setdefault(place, []).append((file, one))
    notes = (f"{astray} frames of segmentations lie on no image that is here, and are left out.",) if astray else ()
    return placed, covered, broken, notes


class _Places:
    """Images by their UIDs, and by their series and positions."""

    def __init__(self, images: Mapping[str, Header]) -> None:
        self._images = images
        self._by_uid = {header.uid: path for path, header in images.items()}
        self._by_series: dict[str, list[str]] = {}
        for path, header in images.items():
            self._by_series.setdefault(header.series, []).append(path)
        self._by_position: dict[str, tuple[list[str], npt.NDArray[np.float64]]] = {}
        for series, paths in self._by_series.items():
            known = {path: position for path in paths if (position := images[path].position) is not None}
            if known:
                self._by_position[series] = ([*known], np.array([*known.values()]))  # paths, and [paths, 3]

    def of(self, segment: SegmentFrame, series: Iterable[str]) -> tuple[str, int] | None:
        """Return file and frame that a segment's frame lies on, or None."""
        path = self._by_uid.get(segment.image) or self._nearest(segment.position, series)
        inside = path is not None and segment.image_frame < self._images[path].frames
        return (path, segment.image_frame) if path is not None and inside else None

    def covered_by(self, found: Segmentation) -> set[str]:
        """Return the images that a segmentation names; one that names none speaks for its whole series."""
        if found.images:
            return {self._by_uid[uid] for uid in found.images if uid in self._by_uid}
        return {path for series in found.series for path in self._by_series.get(series, ())}

    def _nearest(self, position: tuple[float, ...] | None, series: Iterable[str]) -> str | None:
        """Return the image of the series at a position, or None."""
        for paths, positions in (self._by_position[one] for one in sorted(series) if one in self._by_position):
            if position is not None:
                apart = np.linalg.norm(positions - np.array(position), axis=1)
                nearest = int(apart.argmin())
                if apart[nearest] <= _SAME_PLACE:
                    return paths[nearest]
        return None


def _read_headers(tree: Tree) -> tuple[dict[str, Header], list[SetAside]]:
    headers: dict[str, Header] = {}
    bad: list[SetAside] = []
    for path in tree.paths():
        if not is_dicom_name(name_of(path)):
            continue
        try:
            headers[path] = read_header(tree.root / path)
        except UnreadableError as error:
            # Without an extension it is some other file, unless it turns out to be DICOM.
            if "." in name_of(path):
                bad.append(SetAside(path, error.reason, error.remedy))
    if not headers:
        raise DataError(f"{tree.root} holds no DICOM images. {tree.describe()} Expected: {_LAYOUT}.")
    return headers, bad


def _group(header: Header | None, known: str | None) -> str | None:
    return known or (header.patient or header.study or None if header is not None else None)


def _is_mask_name(name: str) -> bool:
    return is_image_name(name) or is_dicom_name(name)


def _mask_size(path: Path, pixel_limit: int) -> Size:
    return read_size(path, pixel_limit) if is_image_name(path.name) else size_of_dicom(path, pixel_limit)


def _read_mask(path: Path, colours: bool, pixel_limit: int) -> MaskFile:
    read = read_mask_file if is_image_name(path.name) else read_mask_values
    return read(path, colours, pixel_limit)


@lru_cache(maxsize=64)
def _hash(path: Path) -> str:
    return hash_file(path)


_LAYOUT = "DICOM images with DICOM segmentations, or images/ of DICOM and masks/ of image files"
FORMAT = DataFormat("dicom", _LAYOUT, detect, read, write, ("bands",))
