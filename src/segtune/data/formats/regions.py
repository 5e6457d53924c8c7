"""From what a data set stores for an image to the objects of its sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np

from segtune.core.rle import RunLengths
from segtune.core.types import Image, Probability, Sample
from segtune.data.formats.runs import parts_of, union

OBJECT = "object"
"""Label of an object whose class the data does not name."""


@dataclass(frozen=True)
class Region:
    """Pixels that the data tells apart from others.

    Attributes:
        mask: the pixels.
        label: its class.
        stored: which stored mask it belongs to: a mask file may hold several regions, an annotation holds one.
        likely: what reads the probability that is stored for it, and for its whole mask file; none: it is certain.
    """

    mask: RunLengths
    label: str = OBJECT
    stored: int = 0
    likely: tuple[Callable[[], Probability], ...] = ()


@dataclass(frozen=True)
class Truth:
    """All that a data set says about one image."""

    regions: tuple[Region, ...]
    ignore: RunLengths | None = None


def make_sample(
    name: str, size: tuple[int, int], truth: Truth, objects: str, group: str | None, read: Callable[[], Image]
) -> Sample:
    """Return the sample of an image, its regions brought to what one object is (`data.dataset.OBJECTS`)."""
    found = objects_of(truth.regions, objects)
    masks, labels = tuple(region.mask for region in found), tuple(region.label for region in found)
    ignore = truth.ignore if truth.ignore is not None and truth.ignore.area else None
    is_likely = bool(found) and all(region.likely for region in found)
    likely = tuple(partial(_probability, region.likely, region.mask) for region in found) if is_likely else None
    return Sample(name, size, masks, labels, read, ignore, group, likely)


def objects_of(regions: Iterable[Region], objects: str) -> list[Region]:
    """Return the regions brought to "whole", "parts", "labels" or "instances". Empty ones are no objects."""
    real = [region for region in regions if region.mask.area]
    if objects == "whole":
        return _joined(real, lambda region: region.stored)
    if objects == "labels":
        return sorted(_joined(real, lambda region: region.label), key=lambda region: region.label)
    if objects == "parts":
        return [replace(region, mask=part) for region in real for part in parts_of(region.mask)]
    return real


def _probability(stored: Sequence[Callable[[], Probability]], mask: RunLengths) -> Probability:
    """Return the probability of an object by those stored for it, the highest of several."""
    likely = np.zeros(mask.size, dtype=np.float32)
    for read in stored:
        np.maximum(likely, read(), out=likely)
    # What is likely outside the mask is another part of what is stored.
    likely[(likely > 0.5) & ~mask.decode()] = 0
    return likely


def _joined(regions: list[Region], key: Callable[[Region], object]) -> list[Region]:
    members: dict[object, list[Region]] = {}
    for region in regions:
        members.setdefault(key(region), []).append(region)
    return [
        Region(
            union([one.mask for one in same]), _common_label(same), same[0].stored,
            tuple(chain.from_iterable(one.likely for one in same)),
        )
        for same in members.values()
    ]  # fmt: skip


def _common_label(regions: list[Region]) -> str:
    labels = {region.label for region in regions}
    return labels.pop() if len(labels) == 1 else OBJECT
