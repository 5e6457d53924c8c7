"""Rules about files: what is missing, does not match, is swapped, doubled, or stored in a way that costs.

To add a rule: a function from `Examined` to a `Finding` or None, and its line in `FILE_RULES`.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from segtune.data.check_findings import Examined, Finding, Rule, counted, percent
from segtune.data.remedies import option

_NO_MASK = ("it has no mask", "its folder has no labels")
_NO_IMAGE = ("this mask has no image", "no image belongs to these labels")
_OTHER_MASKS = "mask files in it are not used"
"""Reasons, or what is in them, for which formats set a file aside that is not at fault itself."""

_FEW = 20
_SOFT, _SOFT_GREYS = 0.01, 8
"""Masks are soft from this share of grey pixels on, and this many greys: fewer are classes or an ignored band."""

_AGREE = 0.8
_FAR_BETTER = 2.5
"""Times as well as it lies a turned mask must follow its image to be called unturned, as for exchanged masks."""

_LARGE = 4096
_FLAT = 2.0


def unreadable_image(seen: Examined) -> Finding | None:
    """Images that turned out broken only when decoded."""
    if not seen.unreadable:
        return None
    first = next(iter(seen.unreadable))
    return Finding(
        "unreadable_image", "error", f"{counted(len(seen.unreadable), 'image')} cannot be read.",
        seen.unreadable[first], "Export them again from their source, or remove them.", tuple(seen.unreadable),
    )  # fmt: skip


def unpaired_image(seen: Examined) -> Finding | None:
    """Images without a mask."""
    names = tuple(one.name for one in seen.set_aside if one.reason in _NO_MASK)
    if not names:
        return None
    return Finding(
        "unpaired_image", "warning", f"{counted(len(names), 'image')} without a mask.",
        "They are left out.", "Add their masks (all black where nothing is on the image), or remove them.", names,
    )  # fmt: skip


def unpaired_mask(seen: Examined) -> Finding | None:
    """Masks without an image."""
    names = tuple(one.name for one in seen.set_aside if one.reason in _NO_IMAGE)
    if not names:
        return None
    return Finding(
        "unpaired_mask", "warning", f"{counted(len(names), 'mask')} without an image.",
        "They are left out.", "Add the images they belong to, or remove the masks.", names,
    )  # fmt: skip


def other_masks(seen: Examined) -> Finding | None:
    """Folders of masks beside those that are read."""
    found = [one for one in seen.set_aside if _OTHER_MASKS in one.reason]
    if not found:
        return None
    return Finding(
        "other_masks", "note", f"{counted(len(found), 'folder')} of other masks.",
        f"{found[0].name}: {found[0].reason}.", found[0].remedy, tuple(one.name for one in found),
    )  # fmt: skip


def size_mismatch(seen: Examined) -> Finding | None:
    """Masks of another size than their images."""
    mismatched = seen.files.mismatched
    if not mismatched:
        return None
    alike = {name: group for group in seen.duplicates.groups for name in group}
    hints = []
    for name, others in seen.files.fitting.items():
        twins = [other for other in others if other in alike.get(name, ())]
        hints += [f"the mask of {name} has the size of {twins[0]}, which shows the same scene"] if twins else []
    first, (image, mask) = next(iter(mismatched.items()))
    value = f"{first} is {image[1]} × {image[0]}, its mask {mask[1]} × {mask[0]}"
    return Finding(
        "size_mismatch", "error", f"{counted(len(mismatched), 'image')} with a mask of another size.",
        "; ".join([value, *hints]) + ". They are left out.",
        "Export each mask at the size of its own image; a mask that was drawn on another copy belongs to that copy.",
        tuple(mismatched), tuple((name, *seen.files.masks.get(name, ())) for name in mismatched),
    )  # fmt: skip


def swapped_masks(seen: Examined) -> Finding | None:
    """Pairs of images whose masks seem to be exchanged."""
    swaps = (*seen.files.swaps, *seen.misfits.swaps)
    if not swaps:
        return None
    pairs = tuple((swap.first, swap.second) for swap in swaps)
    groups = tuple(tuple(file for name in pair for file in (name, *seen.files.masks.get(name, ()))) for pair in pairs)
    return Finding(
        "swapped_masks", "error", f"{counted(len(swaps), 'pair')} of images whose masks look swapped.",
        "; ".join(swap.evidence for swap in swaps[:3]) + ".",
        "Look at both, and rename the two masks if they are each other's.",
        tuple(name for pair in pairs for name in pair), groups,
    )  # fmt: skip


def unturned_masks(seen: Examined) -> Finding | None:
    """Images that are shown turned (EXIF orientation) with masks that fit them as they are stored."""
    names = tuple(name for name, (lying, turned) in seen.unturned.items() if turned > _FAR_BETTER * lying)
    if not names:
        return None
    lying, turned = seen.unturned[names[0]]
    return Finding(
        "unturned_masks", "error", f"{counted(len(names), 'image')} shown turned, the masks not.",
        f"The mask of {names[0]} follows its image when it is turned with it (outline fit {turned:.1f}), as it lies it "
        f"does not ({lying:.1f}).",
        "The images hold an EXIF orientation that the labelling tool left out: turn their masks, or take it out of the "
        "images.", names,
    )  # fmt: skip


def set_aside(seen: Examined) -> Finding | None:
    """Whatever else was left out when the data set was opened."""
    told = {*_NO_MASK, *_NO_IMAGE}
    # All else has a rule of its own.
    rest = [one for one in seen.set_aside if one.reason not in told and one.name not in seen.files.mismatched
            and _OTHER_MASKS not in one.reason]  # fmt: skip
    if not rest:
        return None
    reasons = Counter(one.reason for one in rest)
    words = [f"{reason} ({counted(number, 'file')})" for reason, number in reasons.most_common(3)]
    return Finding(
        "set_aside", "error", f"{counted(len(rest), 'file')} cannot be used.",
        "; ".join(words) + ".", rest[0].remedy, tuple(one.name for one in rest),
    )  # fmt: skip


def exact_duplicates(seen: Examined) -> Finding | None:
    """Images that are the same picture."""
    groups = seen.duplicates.exact
    if not groups:
        return None
    names = tuple(name for group in groups for name in group)
    return Finding(
        "exact_duplicates", "warning", f"{counted(len(groups), 'picture')} stored more than once.",
        f"{len(names):,} files show {len(groups):,} pictures.",
        "Keep one of each. Until then a split puts them on one side, so that nothing is tested on what it was "
        "trained on.", names, groups,
    )  # fmt: skip


def near_duplicates(seen: Examined) -> Finding | None:
    """Images that show the same scene."""
    groups = seen.duplicates.near
    if not groups:
        return None
    names = tuple(name for group in groups for name in group)
    return Finding(
        "near_duplicates", "warning", f"{counted(len(groups), 'scene')} shown by several images.",
        f"{len(names):,} images, cropped, lit or compressed differently, or taken a moment apart.",
        "Nothing to do where a split is drawn here: they stay on one side. In a split of your own keep them together.",
        names, groups,
    )  # fmt: skip


def without_group(seen: Examined) -> Finding | None:
    """Images without a patient, scene or video where others have one."""
    names = tuple(name for name, group in seen.groups.items() if group is None)
    if not names or len(names) == len(seen.groups):
        return None
    return Finding(
        "without_group", "warning", f"{counted(len(names), 'image')} of {len(seen.groups):,} without a group.",
        f"{names[0]} is one; others have a patient, scene or video that a split keeps on one side.",
        "Add them to the table of groups, named as they are here; until then each is split on its own.", names,
    )  # fmt: skip


def labels_disagree(seen: Examined) -> Finding | None:
    """How far the masks of one picture stored twice agree."""
    if not seen.agreement:
        return None
    values = np.array(list(seen.agreement.values()))
    pairs = tuple(pair for pair in seen.agreement if seen.agreement[pair] < _AGREE)
    title = (
        f"{counted(len(pairs), 'picture')} stored twice with masks that differ."
        if pairs
        else "The same picture was labelled twice, nearly alike."
    )
    shown = pairs or tuple(seen.agreement)
    return Finding(
        "labels_disagree", "warning" if pairs else "note", title,
        f"IoU between the masks of the same picture: {values.mean():.2f} on average, {values.min():.2f} at least "
        f"({counted(len(values), 'pair')}).",
        "Keep the better mask of each. No model can agree with such labels better than they agree with each other.",
        tuple(name for pair in shown for name in pair), shown,
    )  # fmt: skip


def wrong_extension(seen: Examined) -> Finding | None:
    """Images whose extension says another kind of file."""
    misnamed = seen.files.misnamed
    if not misnamed:
        return None
    kinds = Counter(misnamed.values())
    return Finding(
        "wrong_extension", "note", f"{counted(len(misnamed), 'image')} with an extension of another kind of file.",
        ", ".join(f"{number} in truth {kind.upper()}" for kind, number in kinds.most_common()) + ".",
        "They are read by their content; rename them for the sake of other programs.", tuple(misnamed),
    )  # fmt: skip


def soft_masks(seen: Examined) -> Finding | None:
    """Masks with greys between object and background."""
    greys = seen.files.greys
    if greys is None or greys.between < _SOFT or greys.most < _SOFT_GREYS:
        return None
    title = "Masks are soft: they hold greys between object and background."
    remedy = (
        "Look whether outlines are where you want them: a pixel is object above the threshold, a setting. Where "
        f"a model made them and its doubt shall count, read them by {option('encoding', 'probability')}."
    )
    if not seen.files.certain:
        title = "Masks hold probabilities, as told: greys between object and background."
        remedy = "A pixel is object above 1/2. The loss pseudo_label lets it count by how sure it is."
    return Finding(
        "soft_masks", "note", title,
        f"{percent(greys.between)} of the pixels that are not background, in {greys.fewest} to {greys.most} greys "
        f"({counted(greys.files, 'mask')} looked at).", remedy,
    )  # fmt: skip


def lossy_masks(seen: Examined) -> Finding | None:
    """Masks in JPEG files."""
    names, greys = seen.files.lossy_masks, seen.files.greys
    if not names:
        return None
    detail = f", in {greys.fewest} to {greys.most} greys where two were meant" if greys and greys.most > 2 else ""
    return Finding(
        "lossy_masks", "note", f"{counted(len(names), 'mask')} stored as JPEG, which blurs outlines.",
        f"JPEG keeps no exact values{detail}; they are read above the threshold.",
        "Where the originals are at hand, export masks as PNG.",
    )  # fmt: skip


def few_images(seen: Examined) -> Finding | None:
    """Too few images to judge a model by."""
    number = len(seen.with_objects)
    # None at all is the rule `no_objects`.
    if not 0 < number < _FEW:
        return None
    return Finding(
        "few_images", "warning", f"Only {counted(number, 'image')} with objects.",
        f"With 15 % of them for the test, figures rest on {counted(max(1, round(0.15 * number)), 'image')}.",
        f"Label more images, {_FEW} at least; the intervals in the report will say how much the figures are worth.",
    )  # fmt: skip


def flat_image(seen: Examined) -> Finding | None:
    """Images that show nothing."""
    names = tuple(one.name for one in seen.measured if one.contrast < _FLAT)
    if not names:
        return None
    return Finding(
        "flat_image", "warning", f"{counted(len(names), 'image')} of one colour.",
        f"Their greys vary by less than {_FLAT:g} of 255.", "Look whether their export failed.", names,
    )  # fmt: skip


def grey_images(seen: Examined) -> Finding | None:
    """Images without colour, all or some."""
    names = tuple(one.name for one in seen.measured if one.grey)
    if not names:
        return None
    # Only a mixture is worth a second thought.
    if len(names) == len(seen.measured):
        return Finding(
            "grey_images", "note", "All images are grey.", f"{counted(len(names), 'image')} without colour.",
            "Nothing to do: they are repeated to three channels, as the models want them.",
        )  # fmt: skip
    return Finding(
        "grey_images", "note", f"{counted(len(names), 'image')} of {len(seen.measured):,} without colour.",
        "The data set mixes grey and colour images.",
        "Fine where both will be met in use; else find out where the others came from.", names,
    )  # fmt: skip


def large_images(seen: Examined) -> Finding | None:
    """Images that lose much when they are brought to a model's size."""
    sides = {one.name: max(one.size) for one in seen.measured if max(one.size) > _LARGE}
    if not sides:
        return None
    return Finding(
        "large_images", "note", f"{counted(len(sides), 'image')} with a side over {_LARGE:,} pixels.",
        f"The longest side is {max(sides.values()):,} pixels; a model sees it reduced to its own size, 1,024 for most.",
        "Cut them into tiles if small objects matter.", tuple(sorted(sides, key=lambda name: -sides[name])),
    )  # fmt: skip


FILE_RULES: Final[tuple[Rule, ...]] = (
    unreadable_image, swapped_masks, size_mismatch, unturned_masks, set_aside, unpaired_image, unpaired_mask,
    other_masks, exact_duplicates, near_duplicates, without_group, labels_disagree, few_images, flat_image, soft_masks,
    lossy_masks, wrong_extension, grey_images, large_images,
)  # fmt: skip
