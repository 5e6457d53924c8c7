"""Scores of whole regions: IoU, Dice, precision, recall of masks at original size."""

from __future__ import annotations

from torch import Tensor

from segtune.metrics.overlap import dice, iou, overlap, precision, recall


def mask_iou(predicted: Tensor, truth: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Return the IoU, float64 [n], of bool [n, H, W] masks."""
    return iou(overlap(predicted, truth, ignore))


def mask_dice(predicted: Tensor, truth: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Return the Dice coefficient, float64 [n], of bool [n, H, W] masks."""
    return dice(overlap(predicted, truth, ignore))


def mask_precision(predicted: Tensor, truth: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Return the precision, float64 [n], of bool [n, H, W] masks."""
    return precision(overlap(predicted, truth, ignore))


def mask_recall(predicted: Tensor, truth: Tensor, ignore: Tensor | None = None) -> Tensor:
    """Return the recall, float64 [n], of bool [n, H, W] masks."""
    return recall(overlap(predicted, truth, ignore))
