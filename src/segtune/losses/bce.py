"""Binary cross-entropy."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segtune.losses.pixels import mean_over_valid, rows


def bce(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the binary cross-entropy of logits [N, h, w], averaged over the valid pixels: [N], ≥ 0."""
    x, t, v = rows(logits, truth, valid)
    return mean_over_valid(F.binary_cross_entropy_with_logits(x, t, reduction="none"), v)
