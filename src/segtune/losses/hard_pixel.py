"""Hard pixels: the cross-entropy of those that are worst, so that the many easy ones don't drown them."""

from __future__ import annotations

import torch
from torch import Tensor

from segtune.losses.pixels import divergence, rows

SHARE = 0.1
"""Of the valid pixels; a tenth as in the top-k loss of nnU-Net, after Wu et al. (2016), Bridging Category-level and
Instance-level Semantic Image Segmentation."""


def hard_pixel(logits: Tensor, truth: Tensor, valid: Tensor, *, share: float = SHARE) -> Tensor:
    """Return the mean divergence of an object's hardest valid pixels: online hard example mining among pixels.

    Hard is what diverges most from the truth (`pixels.divergence`). By cross-entropy itself the cells that an edge
    passes through would stay the hardest even when they are predicted exactly.

    Args:
        logits: [N, h, w].
        truth: [N, h, w] in 0 to 1.
        valid: bool [N, h, w].
        share: of the valid pixels that counts, 0 to 1; at least one pixel.

    Returns:
        [N], ≥ 0.
    """
    x, t, v = rows(logits, truth, valid)
    # Invalid pixels go last.
    ranked = divergence(x, t).masked_fill(v == 0, -torch.inf).sort(dim=1, descending=True).values
    many = (share * v.sum(1, keepdim=True)).ceil()
    among = torch.arange(ranked.shape[1], device=x.device) < many
    return ranked.masked_fill(~among, 0).sum(1) / many.flatten().clamp(min=1)
