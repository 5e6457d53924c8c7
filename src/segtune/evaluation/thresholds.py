"""The thresholds of everything mode that suit a model on its data: chosen on images with known objects.

Published thresholds (predicted IoU .88, stability .95) suit the published models; a tuned or a small one believes more
or less of its masks, and under them finds nothing, or everything twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segtune.core.errors import DataError
from segtune.core.rle import BoolMask
from segtune.core.types import Embedding, Image, Sample
from segtune.evaluation.automatic import shared_pixels
from segtune.metrics.overlap import iou_of_counts
from segtune.models.family import PromptableModel
from segtune.segment.crops import MaskCrop
from segtune.segment.everything import EverythingSettings, segment_everything
from segtune.segment.suppression import without_doubles

MATCH = 0.5
"""IoU from which on a mask is said to be of an object, as in panoptic segmentation (Kirillov et al. 2019)."""

_STABILITIES = (0.0, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97)
_QUALITIES = 24
"""So many levels of predicted IoU are tried, evenly among those the model gave."""


@dataclass(frozen=True)
class Level:
    """What everything mode finds with a pair of thresholds.

    Attributes:
        pred_iou_thresh: masks above it are kept.
        stability_score_thresh: masks at least so stable are kept.
        precision: share of the masks kept that are of an object.
        recall: share of the objects that a mask is of.
        f1: harmonic mean of the two.
    """

    pred_iou_thresh: float
    stability_score_thresh: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class FittedThresholds:
    """What came of choosing thresholds.

    Attributes:
        best: those of the highest F1.
        given: what the thresholds of the settings give, to compare with.
        images: looked at.
        objects: on them.
        candidates: masks that were chosen among.
    """

    best: Level
    given: Level
    images: int
    objects: int
    candidates: int

    @property
    def chosen(self) -> dict[str, float]:
        """The best ones by the names of the settings, as a model keeps them."""
        return {name: getattr(self.best, name) for name in ("pred_iou_thresh", "stability_score_thresh")}


@dataclass(frozen=True, eq=False)
class Candidates:
    """All masks that a grid of clicks gives on one image, doubles and doubtful ones included.

    Attributes:
        boxes: float32 [n, 4].
        quality: float32 [n], predicted IoU.
        stability: float32 [n].
        iou: float32 [n, objects], with each true object.
    """

    boxes: npt.NDArray[np.float32]
    quality: npt.NDArray[np.float32]
    stability: npt.NDArray[np.float32]
    iou: npt.NDArray[np.float32]


def find_candidates(
    model: PromptableModel,
    image: Image,
    sample: Sample,
    settings: EverythingSettings,
    embedding: Embedding | None = None,
) -> Candidates:
    """Return the candidates of one image.

    Args:
        model: the model.
        image: uint8 [H, W, 3].
        sample: its objects.
        settings: thresholds and suppression are left out of account.
        embedding: of this image alone, where there is one already.
    """
    ignore = sample.ignore_mask()
    every = replace(settings, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0, crop_nms_thresh=1.0)
    found = list(segment_everything(model, image, every, embedding=embedding))
    truths = [truth for truth in (_counted(mask.decode(), ignore) for mask in sample.objects) if truth.inside.size]
    seen = [(one, MaskCrop.of_runs(one.mask).without(ignore).tight()) for one in found]
    # A mask of ignored pixels alone is neither right nor wrong.
    found, masks = [one for one, mask in seen if mask.inside.size], [mask for _, mask in seen if mask.inside.size]
    shared = np.array([[shared_pixels(mask, truth) for truth in truths] for mask in masks])
    areas, sizes = (np.array([np.count_nonzero(one.inside) for one in crops]) for crops in (masks, truths))
    shape = len(masks), len(truths)
    overlaps = iou_of_counts(shared.reshape(shape), areas[:, None], sizes).astype(np.float32)
    return Candidates(
        np.array([one.box for one in found], dtype=np.float32).reshape(-1, 4),
        np.array([one.predicted_iou for one in found], dtype=np.float32),
        np.array([one.stability_score for one in found], dtype=np.float32),
        overlaps,
    )


def fit_thresholds(images: Iterable[Candidates], settings: EverythingSettings) -> FittedThresholds:
    """Choose the pair of thresholds with the highest F1 over all images; of equal ones the stricter.

    What is labelled counts as all there is: a mask of something else is a false one, for a model is tuned to find what
    its data names.

    Args:
        images: candidates of images with objects.
        settings: what else applies, and the thresholds to compare with.

    Raises:
        DataError: no image, no object, or not one mask is of an object, whatever the thresholds.
    """
    held = list(images)
    objects = sum(one.iou.shape[1] for one in held)
    quality = np.concatenate([one.quality for one in held]) if held else np.zeros(0, np.float32)
    if not objects or not len(quality):
        raise DataError(
            f"Thresholds are chosen on images with objects, but {len(held)} images hold {objects} objects and "
            f"{len(quality)} masks were found. Give labelled images."
        )

    def level(pred_iou: float, stability: float) -> Level:
        return _level(held, objects, replace(settings, pred_iou_thresh=pred_iou, stability_score_thresh=stability))

    best = max(
        (level(pred_iou, stability) for pred_iou, stability in _grid(quality)),
        key=lambda one: (one.f1, one.pred_iou_thresh, one.stability_score_thresh),
    )
    if not best.f1:
        raise DataError(
            f"Of {len(quality)} masks not one is of any of the {objects} objects (IoU {MATCH} or more), so no "
            "threshold helps. Tune the model on clicks first, or give images of what it knows."
        )
    given = level(settings.pred_iou_thresh, settings.stability_score_thresh)
    return FittedThresholds(best, given, len(held), objects, len(quality))


def _grid(quality: npt.NDArray[np.float32]) -> Iterator[tuple[float, float]]:
    # Rounded down to what people read: a threshold of nine digits pretends to more than it knows.
    levels = np.unique(np.floor(np.quantile(quality, np.linspace(0, 0.995, _QUALITIES)) * 1000) / 1000)
    for pred_iou in np.unique(np.clip(levels, 0, 1)):
        for stability in _STABILITIES:
            yield float(pred_iou), stability


def _level(held: list[Candidates], objects: int, settings: EverythingSettings) -> Level:
    kept = found = 0
    for one in held:
        rows = np.flatnonzero(
            (one.quality > settings.pred_iou_thresh) & (one.stability >= settings.stability_score_thresh)
        )
        rows = rows[without_doubles(one.boxes[rows], one.quality[rows], settings.box_nms_thresh)]
        # Each mask speaks for one object and each object for one mask, the more certain masks first.
        taken: set[int] = set()
        for row in rows:
            place = int(one.iou[row].argmax()) if one.iou.shape[1] else -1
            if place >= 0 and one.iou[row, place] >= MATCH and place not in taken:
                taken.add(place)
        kept, found = kept + len(rows), found + len(taken)
    precision, recall = found / kept if kept else 0.0, found / objects
    f1 = 2 * precision * recall / (precision + recall) if found else 0.0
    return Level(settings.pred_iou_thresh, settings.stability_score_thresh, precision, recall, f1)


def _counted(mask: BoolMask, ignore: BoolMask | None) -> MaskCrop:
    return MaskCrop.of(mask if ignore is None else mask & ~ignore)
