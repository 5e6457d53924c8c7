"""Soft Jaccard loss: one minus the IoU of probabilities."""

from __future__ import annotations

from torch import Tensor

from segtune.losses.dice import SMOOTHING
from segtune.losses.pixels import rows


def iou(logits: Tensor, truth: Tensor, valid: Tensor, *, smoothing: float = SMOOTHING) -> Tensor:
    """Return 1 − (Σ p t + s) / (Σ p + Σ t − Σ p t + s) over the valid pixels, p = sigmoid(logits).

    Args:
        logits: [N, h, w].
        truth: [N, h, w] in 0 to 1.
        valid: bool [N, h, w].
        smoothing: s, in pixels.

    Returns:
        [N] in 0 to 1 (Rahman and Wang, 2016).
    """
    x, t, v = rows(logits, truth, valid)
    p = x.sigmoid() * v  # as in dice: a logit of 0 is half a pixel
    shared = (p * t).sum(1)
    return 1 - (shared + smoothing) / (p.sum(1) + t.sum(1) - shared + smoothing)
