"""Dice loss: overlap in proportion to size, so that small objects count as much as large ones."""

from __future__ import annotations

from torch import Tensor

from segtune.losses.pixels import rows

SMOOTHING = 1.0
"""Pixels added above and below, as in SAM 2's training: an empty truth predicted empty costs 0, not 0 / 0."""


def dice(logits: Tensor, truth: Tensor, valid: Tensor, *, smoothing: float = SMOOTHING) -> Tensor:
    """Return 1 − (2 Σ p t + s) / (Σ p + Σ t + s) over the valid pixels, p = sigmoid(logits) (Milletari et al., 2016).

    Args:
        logits: [N, h, w].
        truth: [N, h, w] in 0 to 1.
        valid: bool [N, h, w].
        smoothing: s, in pixels.

    Returns:
        [N] in 0 to 1.
    """
    x, t, v = rows(logits, truth, valid)
    p = x.sigmoid() * v  # an invalid logit is 0 and would count as half a pixel
    return 1 - (2 * (p * t).sum(1) + smoothing) / (p.sum(1) + t.sum(1) + smoothing)
