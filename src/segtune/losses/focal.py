"""Focal loss: cross-entropy that looks away from the pixels already right."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segtune.losses.pixels import mean_over_valid, rows

ALPHA = 0.25
GAMMA = 2.0
"""Both as in SAM (Kirillov et al. 2023, appendix A), after Lin et al., Focal Loss, ICCV 2017."""


def focal(logits: Tensor, truth: Tensor, valid: Tensor, *, alpha: float = ALPHA, gamma: float = GAMMA) -> Tensor:
    """Return the focal loss per pixel, averaged over the valid pixels: α_t (1 − p_t)^γ · cross-entropy.

    Args:
        logits: [N, h, w].
        truth: [N, h, w] in 0 to 1; between them both classes count by their share.
        valid: bool [N, h, w].
        alpha: weight of object pixels; the background has 1 − alpha.
        gamma: 0 gives the weighted cross-entropy.

    Returns:
        [N], ≥ 0.
    """
    x, t, v = rows(logits, truth, valid)
    # Kept per pixel: the focal weight belongs to each, that of their mean would be another loss.
    cross_entropy = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    # sigmoid(-x) instead of 1 - sigmoid(x): exact for pixels that are almost right, which are most.
    missed = t * (-x).sigmoid() + (1 - t) * x.sigmoid()
    weight = alpha * t + (1 - alpha) * (1 - t)
    return mean_over_valid(weight * missed**gamma * cross_entropy, v)
