"""Cross-entropy with pseudo-labels: a label counts by how certain it is."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from segtune.losses.pixels import mean_over_valid, rows


def pseudo_label(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the cross-entropy with the likelier class, weighted by certainty |2 t − 1|, averaged over valid pixels.

    Made for a truth that is another model's probability t. Plain cross-entropy would teach that model's doubt (its
    optimum is p = t); here a pixel of t = ½ teaches nothing, one of 0 or 1 as much as a label, and every pixel's
    optimum is a decision. The mean is over the valid pixels, not over the certainty: an object that is doubtful
    throughout counts little as a whole. With masks drawn by hand, t is between 0 and 1 only in cells that an edge
    passes through, and those are what is played down.

    Args:
        logits: [N, h, w].
        truth: [N, h, w] in 0 to 1, the probability of object.
        valid: bool [N, h, w].

    Returns:
        [N], ≥ 0; the cross-entropy where every pixel is certain.
    """
    x, t, v = rows(logits, truth, valid)
    likelier = (t > 0.5).to(x.dtype)
    certainty = (2 * t - 1).abs()
    return mean_over_valid(certainty * F.binary_cross_entropy_with_logits(x, likelier, reduction="none"), v)
