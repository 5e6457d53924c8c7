"""Rules about objects: masks that are empty, full, crumbly, cut off or the same twice, and classes that are rare.

To add a rule: a function from `Examined` to a `Finding` or None, and its line in `OBJECT_RULES`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

import numpy as np

from segtune.data.check_findings import Examined, Finding, Rule, counted, percent, worst_first
from segtune.data.remedies import option

_RARELY = 0.2
"""Below this share of the images, empty ones are taken for slips rather than a wanted part of the data."""

_FULL = 0.98
_TINY_SIDE, _TINY_SHARE = 6, 0.0004
"""An object smaller than 6 × 6 pixels, or than 0.04 % of its image: a spot of 20 × 20 at a model's 1,024."""

_CRUMBLY = 4
_OVERLAP = 0.01
_RARE_CLASS = 10
_ATTACHED = 0.25


def no_objects(seen: Examined) -> Finding | None:
    """Nothing to learn from."""
    if seen.with_objects or not seen.measured:
        return None
    return Finding(
        "no_objects", "error", "No image has an object.", f"All {counted(len(seen.measured), 'mask')} are empty.",
        "Look whether the masks were exported, and how their values are read (the notes below).",
        tuple(one.name for one in seen.measured),
    )  # fmt: skip


def empty_mask(seen: Examined) -> Finding | None:
    """Images without an object, whose masks are truly empty."""
    names = tuple(one.name for one in seen.measured if not len(one.objects) and one.name not in seen.files.faint)
    if not names or not seen.with_objects:
        return None
    share = len(names) / len(seen.measured)
    return Finding(
        "empty_mask", "warning" if share < _RARELY else "note",
        f"{counted(len(names), 'image')} with an empty mask.",
        f"{percent(share)} of the images; they are used, as images without objects.",
        "Look whether there is truly nothing on them.", names,
    )  # fmt: skip


def faint_mask(seen: Examined) -> Finding | None:
    """Masks that hold something, none of it above the threshold: mostly a wrong encoding."""
    faint = seen.files.faint
    if not faint:
        return None
    return Finding(
        "faint_mask", "warning",
        f"{counted(len(faint), 'mask')} with values, none of which counts as object.",
        f"The brightest values are {min(faint.values())} to {max(faint.values())}.",
        "Say how masks are to be read, by a lower threshold or another encoding, or export these again.",
        tuple(faint),
    )  # fmt: skip


def full_mask(seen: Examined) -> Finding | None:
    """Masks that cover the whole image."""
    covered = {one.name: one.covered for one in seen.measured if one.covered > _FULL}
    if not covered:
        return None
    return Finding(
        "full_mask", "warning", f"{counted(len(covered), 'image')} covered whole by objects.",
        f"More than {percent(_FULL)} of the pixels are object.",
        "Look whether the mask is inverted or a placeholder.", worst_first(covered),
    )  # fmt: skip


def loose_mask(seen: Examined) -> Finding | None:
    """Masks whose outlines have nothing to do with the image."""
    names = seen.misfits.loose
    if not names:
        return None
    return Finding(
        "loose_mask", "note", f"{counted(len(names), 'mask')} whose outline follows nothing that can be seen.",
        "They fit their image no better than a mask turned by 90°, the worst first.",
        "Look whether they belong to the image; faint objects look like this too.", names,
    )  # fmt: skip


def same_mask(seen: Examined) -> Finding | None:
    """The same mask on images that show different things."""
    by_mask: dict[str, list[str]] = defaultdict(list)
    for one in seen.with_objects:
        by_mask[one.masks].append(one.name)
    # Copies of one picture share their mask by right: look-alikes count as one image.
    twins = {name: number for number, group in enumerate(seen.duplicates.groups) for name in group}
    groups = tuple(tuple(names) for names in by_mask.values() if len({twins.get(name, name) for name in names}) > 1)
    whole = {one.name for one in seen.with_objects if one.covered > _FULL}
    # Full masks are all the same, and have a rule of their own.
    groups = tuple(group for group in groups if not set(group) <= whole)
    if not groups:
        return None
    return Finding(
        "same_mask", "warning", f"{counted(len(groups), 'mask')} used for several different images.",
        f"{sum(map(len, groups)):,} images share masks pixel by pixel.",
        "Look which image each mask was drawn on, unless the camera and the object stood still.",
        tuple(name for group in groups for name in group), groups,
    )  # fmt: skip


def specks(seen: Examined) -> Finding | None:
    """Objects with tiny loose parts."""
    found = {one.name: float(one.objects["specks"].sum()) for one in seen.with_objects if one.objects["specks"].any()}
    if not found:
        return None
    share = len(found) / len(seen.with_objects)
    return Finding(
        "specks", "note", f"Specks beside the objects on {counted(len(found), 'image')}.",
        f"{counted(int(sum(found.values())), 'part')} smaller than 1 % of their object, on {percent(share)} of images "
        "with objects.",
        f"Remove them if nobody meant them: with {option('objects', 'parts')} each would be an object.",
        worst_first(found),
    )  # fmt: skip


def holes(seen: Examined) -> Finding | None:
    """Objects with tiny holes."""
    found = {one.name: float(one.objects["holes"].sum()) for one in seen.with_objects if one.objects["holes"].any()}
    if not found:
        return None
    share = len(found) / len(seen.with_objects)
    return Finding(
        "holes", "note", f"Pinholes in the objects on {counted(len(found), 'image')}.",
        f"{counted(int(sum(found.values())), 'hole')} smaller than 1 % of their object, on {percent(share)} of images "
        "with objects.", "Fill them if nobody meant them.", worst_first(found),
    )  # fmt: skip


def border(seen: Examined) -> Finding | None:
    """Objects cut off by the rim of their image."""
    touching = {one.name: float(one.objects["sides"].sum()) for one in seen.with_objects}
    total = sum(len(one.objects) for one in seen.with_objects)
    cut = sum(int((one.objects["sides"] > 0).sum()) for one in seen.with_objects)
    if not cut:
        return None
    everywhere = sum(int((one.objects["sides"] == 4).sum()) for one in seen.with_objects)
    detail = f", {counted(everywhere, 'object')} at all four sides" if everywhere else ""
    return Finding(
        "border", "note", f"{counted(cut, 'object')} cut off by the border of the image.",
        f"{percent(cut / total)} of the objects{detail}.",
        "Nothing to do; where most do, a box says little about them, and clicks will do better.",
        worst_first({name: number for name, number in touching.items() if number}),
    )  # fmt: skip


def tiny_objects(seen: Examined) -> Finding | None:
    """Objects too small to be seen by a model."""
    found = {}
    for one in seen.with_objects:
        tiny = (one.objects["area"] < _TINY_SIDE**2) | (one.objects["share"] < _TINY_SHARE)
        number = int(tiny.sum())
        if number:
            found[one.name] = float(number)
    if not found:
        return None
    total = sum(len(one.objects) for one in seen.with_objects)
    share = sum(found.values()) / total
    return Finding(
        "tiny_objects", "warning" if share > _ATTACHED else "note",
        f"{counted(int(sum(found.values())), 'tiny object')} on {counted(len(found), 'image')}.",
        f"{percent(share)} of the objects are smaller than {_TINY_SIDE} × {_TINY_SIDE} pixels or "
        f"{percent(_TINY_SHARE)} of their image.",
        "Remove them if they are slips of the pen; if they are real, work on tiles of the images.", worst_first(found),
    )  # fmt: skip


def many_parts(seen: Examined) -> Finding | None:
    """Masks that look like several objects in one."""
    if seen.objects != "whole" or not seen.with_objects:
        return None
    # The worst object of an image speaks for it.
    parts = {one.name: float(one.objects["parts"].max()) for one in seen.with_objects}
    found = {name: number for name, number in parts.items() if number >= _CRUMBLY}
    if len(found) < _ATTACHED * len(parts):
        return None
    return Finding(
        "many_parts", "note", "Masks hold many separate parts.",
        f"On {percent(len(found) / len(parts))} of the images one mask has {_CRUMBLY} parts or more, up to "
        f"{max(found.values()):.0f}.",
        f"If each part is an object of its own, use {option('objects', 'parts')}: "
        "one click can hardly mean all of them.",
        worst_first(found),
    )  # fmt: skip


def overlapping(seen: Examined) -> Finding | None:
    """Objects that share pixels."""
    found = {one.name: one.overlap for one in seen.with_objects if one.overlap > _OVERLAP}
    if not found:
        return None
    return Finding(
        "overlapping", "note", f"Objects overlap on {counted(len(found), 'image')}.",
        f"Up to {percent(max(found.values()))} of an image's object pixels belong to more than one object.",
        "Fine where one thing lies on another; else look for objects that were drawn twice.", worst_first(found),
    )  # fmt: skip


def rare_class(seen: Examined) -> Finding | None:
    """Classes with too few objects to be judged."""
    counts = Counter(label for one in seen.with_objects for label in one.labels)
    rare = {label: number for label, number in counts.items() if number < _RARE_CLASS}
    if len(counts) < 2 or not rare:
        return None
    names = tuple(one.name for one in seen.with_objects if set(one.labels) & set(rare))
    words = [f"{label} {number}" for label, number in sorted(rare.items(), key=lambda item: item[1])]
    return Finding(
        "rare_class", "note", f"{counted(len(rare), 'class', 'classes')} with fewer than {_RARE_CLASS} objects.",
        ", ".join(words[:8]) + (f" and {len(words) - 8} more" if len(words) > 8 else "") + ".",
        "Their figures will mean little; label more of them or join classes.", names,
    )  # fmt: skip


def uneven_sizes(seen: Examined) -> Finding | None:
    """Objects of very different sizes, for which one mean says little."""
    # numpy refuses to join an empty list.
    shares = np.concatenate([one.objects["share"] for one in seen.with_objects] or [np.zeros(0)])
    if len(shares) < _RARE_CLASS:
        return None
    low, high = np.percentile(shares, (5, 95))
    if high < 100 * low or low == 0:
        return None
    return Finding(
        "uneven_sizes", "note", "Objects differ more than a hundredfold in size.",
        f"Nine in ten cover {percent(float(low))} to {percent(float(high))} of their image.",
        "Read the report by size bucket: the mean hides the small ones.",
    )  # fmt: skip


OBJECT_RULES: Final[tuple[Rule, ...]] = (
    no_objects, faint_mask, empty_mask, full_mask, same_mask, loose_mask, tiny_objects, many_parts, specks, holes,
    border, overlapping, rare_class, uneven_sizes,
)  # fmt: skip
