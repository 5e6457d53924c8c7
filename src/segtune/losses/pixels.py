"""What all losses do first: one row of pixels per object, in safe precision, with invalid pixels silenced."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def rows(logits: Tensor, truth: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Flatten N objects to rows and make every invalid pixel harmless.

    Args:
        logits: [N, h, w] in any floating precision.
        truth: [N, h, w] in 0 to 1.
        valid: bool [N, h, w].

    Returns:
        Logits, truth and validity (1 or 0), each [N, h·w] in float32 or better. Logits and truth are 0 where invalid,
        so that not even an infinity in the padding reaches a sum or a gradient.
    """
    precision = torch.promote_types(logits.dtype, torch.float32)  # half and bf16 rise to fp32, fp64 stays
    # Filled, not multiplied by 0: infinity times 0 is nan, in the gradient too.
    outside = ~valid.expand_as(logits).flatten(1)
    x = logits.flatten(1).to(precision).masked_fill(outside, 0)
    t = truth.expand_as(logits).flatten(1).to(precision).masked_fill(outside, 0)
    return x, t, (~outside).to(precision)


def mean_over_valid(values: Tensor, valid: Tensor) -> Tensor:
    """Return [N]: the mean of `values` [N, n] over the pixels where `valid` [N, n] is 1; 0 where there is none."""
    return (values * valid).sum(1) / valid.sum(1).clamp(min=1)


def divergence(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of predictions from their truth by pixel, both [N, n]: ≥ 0.

    Cross-entropy less the truth's own entropy: of the same gradient, and 0 for what is exactly right also where the
    truth lies between 0 and 1.
    """
    entropy: Tensor = torch.special.entr(truth) + torch.special.entr(1 - truth)
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="none") - entropy
