"""Mode `everything`: the automatic masks of an image, and for each true object the best of them.

The best of more masks is never worse, so every model gets the same number: the hundred it believes in most, as object
proposals are scored elsewhere (recall at 100). No threshold has a say, and so neither has who fitted one to what.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from segtune.core.rle import BoolMask
from segtune.core.types import Embedding, Sample
from segtune.evaluation.targets import Target
from segtune.metrics.overlap import iou_of_counts
from segtune.models.family import PromptableModel
from segtune.segment.crops import MaskCrop
from segtune.segment.everything import EverythingSettings, segment_everything
from segtune.segment.refine import Cleanup

MOST_MASKS = 100
"""So many automatic masks of an image are scored, those of highest predicted IoU."""

SCORED = EverythingSettings(pred_iou_thresh=0.0, stability_score_thresh=0.0)
"""How masks are looked for unless something else is said: the published way but for its thresholds."""


@dataclass(frozen=True, eq=False)
class Found:
    """An automatic mask as it is scored.

    Attributes:
        mask: at original size, without ignored pixels, in its tight window.
        area: its pixels.
        quality: predicted IoU.
    """

    mask: MaskCrop
    area: int
    quality: float


def find_masks(
    model: PromptableModel,
    embedding: Embedding,
    sample: Sample,
    ignore: BoolMask | None,
    settings: EverythingSettings | None = None,
    cleanup: Cleanup | None = None,
) -> tuple[Found, ...]:
    """Return the automatic masks of an image that the model believes in most, at most `MOST_MASKS`.

    Args:
        model: the model.
        embedding: of this image alone.
        sample: the image; read only where settings ask for crops.
        ignore: its ignored pixels, bool [H, W].
        settings: without it `SCORED`.
        cleanup: of the masks.
    """
    settings = settings or SCORED
    image = sample.image if settings.crop_n_layers else None
    found: list[Found] = []
    # Sorted here: with crops or cleaning the published order is another. Equal ones stay in that order.
    every = sorted(segment_everything(model, image, settings, embedding=embedding), key=lambda one: -one.predicted_iou)
    for one in islice(every, MOST_MASKS):
        mask = MaskCrop.of_runs(one.mask)
        mask = (mask if cleanup is None else cleanup(mask)).without(ignore).tight()
        found.append(Found(mask, int(np.count_nonzero(mask.inside)), one.predicted_iou))
    return tuple(found)


def match_masks(targets: Sequence[Target], found: Sequence[Found]) -> tuple[list[MaskCrop], list[float]]:
    """Return for each object the mask of highest IoU with it and that mask's predicted IoU.

    One mask may be the best of several objects. An object that no mask overlaps gets an empty one, of quality 0.

    Args:
        targets: n objects, without ignored pixels.
        found: the image's masks, without them too; of equal ones the first is taken.
    """
    masks: list[MaskCrop] = []
    quality: list[float] = []
    areas = np.array([one.area for one in found], dtype=np.int64)
    for target in targets:
        shared = np.array([shared_pixels(target.truth, one.mask) for one in found], dtype=np.int64)
        best = int(iou_of_counts(shared, areas, target.area).argmax()) if shared.any() else None
        nothing = MaskCrop(target.truth.size, 0, 0, np.zeros((0, 0), dtype=np.bool_))
        masks.append(nothing if best is None else found[best].mask)
        quality.append(0.0 if best is None else found[best].quality)
    return masks, quality


def shared_pixels(one: MaskCrop, other: MaskCrop) -> int:
    """Return the number of pixels in both masks of one image, at the cost of what their windows share."""
    top, bottom = max(one.top, other.top), min(one.rows.stop, other.rows.stop)
    left, right = max(one.left, other.left), min(one.columns.stop, other.columns.stop)
    if top >= bottom or left >= right:
        return 0
    parts = [
        mask.inside[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left] for mask in (one, other)
    ]
    return int(np.count_nonzero(parts[0] & parts[1]))
