"""Lovász hinge: the convex surrogate whose minimum is the IoU's maximum."""

from __future__ import annotations

import torch
from torch import Tensor

from segtune.losses.pixels import rows


def lovasz(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the Lovász hinge of the Jaccard loss (Berman et al., CVPR 2018, algorithm 1), per object.

    Hinge errors 1 − (±1) · logit are sorted, each weighted by what the Jaccard loss grows when its pixel joins the
    wrong ones. For an empty truth that is the largest error alone.

    Args:
        logits: [N, h, w].
        truth: [N, h, w] in 0 to 1; object above a half.
        valid: bool [N, h, w].

    Returns:
        [N], ≥ 0, not bounded above; 0 when every valid pixel is right by a margin of one.
    """
    x, t, v = rows(logits, truth, valid)
    inside = (t > 0.5).to(x.dtype)
    errors = 1 - (2 * inside - 1) * x
    # Invalid pixels go last and cost nothing there: the weights of all pixels before them are untouched.
    ranked, order = errors.masked_fill(v == 0, -torch.inf).sort(dim=1, descending=True)
    return (ranked.clamp(min=0) * _jaccard_steps(inside.gather(1, order))).sum(1)


def _jaccard_steps(inside: Tensor) -> Tensor:
    """Return how much the Jaccard loss grows at each of the ranked pixels, [N, n]."""
    total = inside.sum(1, keepdim=True)
    shared = total - inside.cumsum(1)  # what is left of the truth once these are wrong
    # Never 0: of an empty truth already the first pixel is background. Counts are exact in fp32 up to 2^24.
    union = total + (1 - inside).cumsum(1)
    jaccard = 1 - shared / union
    return torch.cat([jaccard[:, :1], jaccard.diff(dim=1)], dim=1)
