"""The data doctor: reads a data set once and says what is wrong with it, what is odd, and what it is like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError
from segtune.core.progress import SILENT, Progress
from segtune.data.check_file_rules import FILE_RULES
from segtune.data.check_files import FileFacts, look_at_files
from segtune.data.check_findings import SEVERITIES, Examined, Finding, counted
from segtune.data.check_measure import MAP_SIDE, Measured, measure_all
from segtune.data.check_object_rules import OBJECT_RULES
from segtune.data.check_statistics import describe
from segtune.data.check_swaps import covered_pixels, find_misfits
from segtune.data.check_turned import find_unturned
from segtune.data.dataset import Dataset, SetAside
from segtune.data.duplicates import Duplicates, duplicates_of
from segtune.data.fingerprints import Fingerprint, Fingerprints, digest, fingerprint
from segtune.data.images import read_image

Level = Literal["good", "warning", "bad"]

_MOST_COMPARED = 200
"""Pairs of the same picture whose masks are compared."""

_NO_PICTURE, _NO_PLACES = np.zeros((0, 0), np.uint8), np.zeros((0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class Check:
    """What the data doctor found.

    Attributes:
        name: the data folder's name.
        format: of the data.
        objects: what one object is.
        notes: what was inferred when the data set was opened, in sentences.
        set_aside: what was left out then.
        findings: the gravest first.
        duplicates: images that show the same, those set aside included.
        fingerprints: of all images that could be read, to know them again in other data.
        measured: every image that could be read, in figures.
        statistics: the data set in figures (`check_statistics.describe`).
    """

    name: str
    format: str
    objects: str
    notes: tuple[str, ...]
    set_aside: tuple[SetAside, ...]
    findings: tuple[Finding, ...]
    duplicates: Duplicates
    fingerprints: Fingerprints
    measured: tuple[Measured, ...]
    statistics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alike(self) -> tuple[tuple[str, ...], ...]:
        """Groups of images that must stay on one side of a split."""
        return self.duplicates.groups

    @property
    def areas(self) -> dict[str, float]:
        """Mean share of each image that an object covers; 0 without objects. A split is balanced by it."""
        return {one.name: one.mean_share for one in self.measured}

    @property
    def object_counts(self) -> tuple[int, ...]:
        """Number of objects of each image."""
        return tuple(len(one.objects) for one in self.measured)

    @property
    def level(self) -> Level:
        """How things stand: "bad" with errors, "warning" with warnings, else "good"."""
        found = {finding.severity for finding in self.findings}
        return "bad" if "error" in found else "warning" if "warning" in found else "good"

    @property
    def verdict(self) -> str:
        """How things stand, in a sentence or two."""
        usable, objects = len(self.measured), sum(self.object_counts)
        words = f"{counted(usable, 'image')} with {counted(objects, 'object')} can be used"
        left = len(self.set_aside) + sum(len(one.images) for one in self.findings if one.rule == "unreadable_image")
        words += f"; {counted(left, 'file')} had to be left out." if left else "."
        grave = [one.title.rstrip(".") for one in self.findings if one.severity == "error"]
        odd = [one.title.rstrip(".") for one in self.findings if one.severity == "warning"]
        if grave:
            return f"{words} To be mended before training: {'; '.join(map(_lower_first, grave))}."
        if odd:
            return f"{words} To know before figures are trusted: {'; '.join(map(_lower_first, odd))}."
        return f"{words} Nothing stands in the way of training."

    def summary(self) -> tuple[str, ...]:
        """Return the findings as lines of text."""
        marks = {"error": "✗", "warning": "!", "note": "·"}
        findings = (f"{marks[one.severity]} {one.title} {one.value}" for one in self.findings)
        return (self.verdict, *self.notes, *findings)

    def to_json(self) -> dict[str, Any]:
        """Return what check.json holds."""
        return {
            "schema": 1,
            "name": self.name,
            "format": self.format,
            "objects_are": self.objects,
            "images": len(self.measured),
            "objects": sum(self.object_counts),
            "level": self.level,
            "verdict": self.verdict,
            "notes": list(self.notes),
            "findings": [finding.to_json() for finding in self.findings],
            "set_aside": [{"name": one.name, "reason": one.reason, "remedy": one.remedy} for one in self.set_aside],
            "exact_duplicates": [list(group) for group in self.duplicates.exact],
            "near_duplicates": [list(group) for group in self.duplicates.near],
            "statistics": dict(self.statistics),
        }

    def of_rule(self, rule: str) -> Finding | None:
        """Return the finding of a rule, or None where it had nothing to say."""
        return next((finding for finding in self.findings if finding.rule == rule), None)


def check_dataset(dataset: Dataset, progress: Progress | None = None) -> Check:
    """Look a data set over: each image and mask is read once, a few at a time in memory; nothing is written.

    An image that cannot be read becomes a finding.

    Args:
        dataset: what to check.
        progress: who wants to know how far it is.
    """
    progress = progress or SILENT
    measured: list[Measured] = []
    unreadable: dict[str, str] = {}
    places = np.zeros((MAP_SIDE, MAP_SIDE))
    # Only when the generator is used up are the three full.
    prints = Fingerprints.gather(_measure(dataset, measured, unreadable, places, progress))
    empty = [one.name for one in measured if not len(one.objects)]
    files = look_at_files(dataset, {one.name: one.size for one in measured}, empty)
    # Some images are read a second time below: only such as could be read once.
    readable = dataset.subset([one.name for one in measured])
    aside = Fingerprints.gather(_look_at_aside(dataset, files))
    duplicates = duplicates_of(prints.joined(aside), progress)
    seen = Examined(
        measured, unreadable, dataset.set_aside, dataset.objects, files, duplicates, find_misfits(readable, measured),
        _agreement(readable, duplicates), dict(zip(dataset.names, dataset.groups, strict=True)),
        find_unturned(readable, {name: turn for name, turn in files.turned.items() if name not in unreadable}),
    )  # fmt: skip
    return Check(
        dataset.root.name, dataset.format, dataset.objects, dataset.notes, dataset.set_aside, judge(seen), duplicates,
        prints, tuple(measured), describe(measured, places),
    )  # fmt: skip


def judge(seen: Examined) -> tuple[Finding, ...]:
    """Apply every rule; the gravest findings come first."""
    found = [finding for rule in (*FILE_RULES, *OBJECT_RULES) if (finding := rule(seen)) is not None]
    # Stable: findings of one severity stay in the order of the rules.
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def _measure(
    dataset: Dataset,
    measured: list[Measured],
    unreadable: dict[str, str],
    places: npt.NDArray[np.float64],
    progress: Progress,
) -> Iterator[tuple[str, str, Fingerprint]]:
    """Measure all images into what is handed in, and yield name, digest and fingerprint of each."""
    with progress.stage("looking at images and masks", len(dataset)) as advance:
        for one in measure_all(dataset):
            if one.error:
                unreadable[one.name] = one.error
            else:
                yield one.name, one.digest, one.picture
                places += one.places
                # Gathered by now, and the largest of each image's figures: kept here they would fill the memory.
                measured.append(replace(one, picture=_NO_PICTURE, places=_NO_PLACES))
            advance()


def _look_at_aside(dataset: Dataset, files: FileFacts) -> Iterator[tuple[str, str, Fingerprint]]:
    """Yield what is known of images left out for their masks: copies of them may be in use."""
    for name in files.mismatched:
        try:
            image = read_image(dataset.root / name)
        except DataError:
            continue
        yield name, digest(image), fingerprint(image)


def _agreement(dataset: Dataset, duplicates: Duplicates) -> dict[tuple[str, str], float]:
    """Return the IoU between the masks of images of the same picture."""
    # Here, as it brings torch along, which takes longer to import than most data sets to check.
    from segtune.metrics.overlap import iou_of_counts

    pairs = (pair for group in duplicates.exact for pair in combinations(group, 2))
    names = set(dataset.names)
    found = {}
    # Duplicates may have been set aside, and those have no usable masks.
    for first, second in islice((pair for pair in pairs if set(pair) <= names), _MOST_COMPARED):
        masks = [covered_pixels(dataset.subset([name])[0]) for name in (first, second)]
        if masks[0].shape == masks[1].shape and masks[0].any() and masks[1].any():
            counts = (int(np.count_nonzero(mask)) for mask in (masks[0] & masks[1], *masks))
            found[first, second] = float(iou_of_counts(*counts))
    return found


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
