"""Scores of one image's objects: counts first, so that they can be averaged, pooled and told by size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segtune.evaluation.targets import Target
from segtune.losses.mixture import REFERENCE, Mixture
from segtune.metrics import METRICS
from segtune.metrics.boundary import boundary_distance, boundary_overlap
from segtune.metrics.overlap import Overlap, dice, iou, overlap, precision, recall
from segtune.segment.crops import MaskCrop, in_common_window

_COUNTED = ("iou", "dice", "precision", "recall", "boundary_iou")
"""Metrics that follow from numbers of pixels."""

_LOSS = Mixture(REFERENCE)

_COUNTS = 6
"""Of the region and of its boundary: intersection, predicted, truth."""


@dataclass
class Scores:
    """One model's scores in one mode, of some objects.

    Attributes:
        counts: int64 [n, 6]: |P ∩ T|, |P|, |T| of the masks, then of their boundaries.
        further: metric → n values, of the metrics that do not follow from these.
        loss: n losses, or none for a baseline.
        quality: n predicted IoUs, or none for a baseline.
    """

    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, _COUNTS), dtype=np.int64))
    further: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _further()})
    loss: list[float] = field(default_factory=list)
    quality: list[float] = field(default_factory=list)
    _by_object: dict[str, npt.NDArray[np.float64]] | None = field(default=None, repr=False)

    def add(
        self,
        targets: Sequence[Target],
        masks: Sequence[MaskCrop],
        loss: Sequence[float] = (),
        quality: Sequence[float] = (),
    ) -> None:
        """Add the predicted masks of some objects, both without ignored pixels."""
        counts = [count_pixels(mask, target.truth) for mask, target in zip(masks, targets, strict=True)]
        self.counts = np.concatenate([self.counts, np.array(counts, dtype=np.int64)])
        for name, values in self.further.items():
            values += [_score(name, mask, target.truth) for mask, target in zip(masks, targets, strict=True)]
        self.loss += loss
        self.quality += quality
        self._by_object = None

    def by_object(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return metric → float64 [n] in the order of `metric_names`; no "loss" where there is none."""
        if self._by_object is None:
            further = {name: np.array(values, np.float64) for name, values in self.further.items()}
            scores = {**score_counts(self.counts), **further}
            self._by_object = {**scores, "loss": np.array(self.loss)} if self.loss else scores
        return self._by_object

    def quality_by_object(self) -> dict[str, npt.NDArray[np.float64]]:
        """Return {"quality": float64 [n]}; empty for a baseline."""
        return {"quality": np.array(self.quality)} if self.quality else {}


def metric_names() -> tuple[str, ...]:
    """Return what is scored, in the order of the tables; the loss, which baselines lack, last."""
    return (*_COUNTED, *_further(), "loss")


def count_pixels(predicted: MaskCrop, truth: MaskCrop) -> tuple[int, ...]:
    """Return |P ∩ T|, |P|, |T| of two masks of one image and of their boundaries, six numbers."""
    one, other, _, _ = in_common_window(predicted, truth)
    masks = torch.from_numpy(one)[None], torch.from_numpy(other)[None]
    region = overlap(*masks)
    # The width of the boundary follows the whole image's diagonal, not the window's.
    boundary = boundary_overlap(*masks, distance=boundary_distance(truth.size))
    return tuple(
        int(count) for counts in (region, boundary) for count in (counts.intersection, counts.predicted, counts.truth)
    )


def score_counts(counts: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the metrics that follow from counts [n, 6], each float64 [n]."""
    region, boundary = (Overlap(*torch.from_numpy(part).unbind(1)) for part in (counts[:, :3], counts[:, 3:]))
    scores = {
        "iou": iou(region), "dice": dice(region), "precision": precision(region), "recall": recall(region),
        "boundary_iou": iou(boundary),
    }  # fmt: skip
    return {metric: values.numpy() for metric, values in scores.items()}


def _further() -> tuple[str, ...]:
    return tuple(name for name in METRICS if name not in _COUNTED)


def _score(name: str, predicted: MaskCrop, truth: MaskCrop) -> float:
    one, other, _, _ = in_common_window(predicted, truth)
    return float(METRICS[name](torch.from_numpy(one)[None], torch.from_numpy(other)[None])[0])


def losses_of(logits: Tensor, truth: Tensor, valid: Tensor) -> list[float]:
    """Return the evaluation's loss per object: 20/21 focal (mean over valid cells) + 1/21 dice.

    Args:
        logits: float32 [n, h, w] at the model's output size.
        truth: float32 [n, h, w], from `core.geometry.truth_in_frame`.
        valid: bool [h, w], cells that hold image and are not ignored.
    """
    values: list[float] = _LOSS(logits, truth, valid.expand_as(logits)).tolist()
    return values
