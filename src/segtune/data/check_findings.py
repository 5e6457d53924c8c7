"""What the data doctor says: findings, each with its rule, the images concerned and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from segtune.data.check_files import FileFacts
from segtune.data.check_measure import Measured
from segtune.data.check_swaps import Misfits
from segtune.data.dataset import SetAside
from segtune.data.duplicates import Duplicates

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""In falling order: to be mended before training; will distort training or figures; good to know."""


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        rule: its name, stable between versions ("near_duplicates").
        severity: of `SEVERITIES`.
        title: what was found, in a sentence.
        value: the figures behind it.
        remedy: what to do, in a sentence.
        images: names of the files concerned, the most telling first; none where it is about the whole.
        groups: files that are looked at together: duplicates, or an image and its mask.
    """

    rule: str
    severity: Severity
    title: str
    value: str
    remedy: str
    images: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as check.json holds it."""
        return {
            "rule": self.rule, "severity": self.severity, "title": self.title, "value": self.value,
            "remedy": self.remedy, "count": len(self.images), "images": list(self.images),
            "groups": [list(group) for group in self.groups],
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Examined:
    """All that rules judge by.

    Attributes:
        measured: one per image that could be read.
        unreadable: image → why it could not be read.
        set_aside: what was left out when the data set was opened.
        objects: what one object is, of `dataset.OBJECTS`.
        files: what the files told.
        duplicates: images that show the same, those set aside included.
        misfits: masks that do not follow their images.
        agreement: pairs of names of one picture → IoU between their masks.
        groups: image → its patient, scene or video, or None.
        unturned: image that is shown turned and its masks not → how well these follow it as they lie, and turned.
    """

    measured: Sequence[Measured]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    set_aside: Sequence[SetAside] = ()
    objects: str = "whole"
    files: FileFacts = field(default_factory=FileFacts)
    duplicates: Duplicates = field(default_factory=Duplicates)
    misfits: Misfits = field(default_factory=Misfits)
    agreement: Mapping[tuple[str, str], float] = field(default_factory=dict)
    groups: Mapping[str, str | None] = field(default_factory=dict)
    unturned: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def with_objects(self) -> list[Measured]:
        """The images that have an object."""
        return [one for one in self.measured if len(one.objects)]


Rule = Callable[[Examined], Finding | None]
"""Judges a data set by one rule; None where there is nothing to say."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return "1 image" or "1,200 images"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def percent(share: float) -> str:
    """Return a share as people read it: 12 %, 3.4 %, 0.05 %."""
    value = 100 * share
    if 0 < value < 0.01:
        return f"{value:.1g} %"
    places = 0 if value >= 10 or value == 0 else 1 if value >= 1 else 2
    return f"{value:.{places}f} %"


def worst_first(found: Mapping[str, float]) -> tuple[str, ...]:
    """Return names by falling value, equal ones by name."""
    return tuple(sorted(found, key=lambda name: (-found[name], name)))
