"""Focal Tversky and unified focal loss: overlap that can count a missed pixel above a false one, and stays awake."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segtune.losses.dice import SMOOTHING
from segtune.losses.pixels import mean_over_valid, rows

MISSED = 0.7
POWER = 0.75
"""Abraham and Khan (ISBI 2019): α = .7 for missed pixels, .3 for false ones, 1/γ with γ = 4/3."""

DELTA = 0.6
GAMMA = 0.5
SHARE = 0.5
"""Yeung et al. (2022), asymmetric variant: δ of the object, γ of the focusing, λ between the two halves."""


def focal_tversky(logits: Tensor, truth: Tensor, valid: Tensor, *, missed: float = MISSED) -> Tensor:
    """Return (1 − T)^¾ over the valid pixels, T = (TP + s) / (TP + a FN + (1 − a) FP + s), s one pixel.

    Abraham and Khan, A Novel Focal Tversky Loss (ISBI 2019), with soft counts of p = sigmoid(logits). The power below 1
    keeps objects that are nearly right from falling asleep; `missed` above a half asks for recall.

    Args:
        logits: [N, h, w].
        truth: [N, h, w] in 0 to 1.
        valid: bool [N, h, w].
        missed: a, what a missed pixel weighs; a false one weighs 1 − a.

    Returns:
        [N] in 0 to 1.
    """
    x, t, v = rows(logits, truth, valid)
    return _power(_tversky(x, t, v, missed), POWER)


def unified_focal(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the asymmetric unified focal loss (Yeung et al., Comput. Med. Imaging Graph. 95, 2022).

    Half of it is a cross-entropy in which only the background's easy pixels are played down (p^γ); half is a Tversky
    loss of both classes in which only the object's is enhanced, by the power 1 − γ. The rare class is the object.

    Args:
        logits: [N, h, w].
        truth: [N, h, w] in 0 to 1; between them both classes count by their share.
        valid: bool [N, h, w].

    Returns:
        [N], ≥ 0.
    """
    x, t, v = rows(logits, truth, valid)
    # p^γ by its logarithm: a power below 1 has an infinite slope at 0, which p's own slope of 0 would turn into nan.
    suppressed = (GAMMA * F.logsigmoid(x)).exp()
    cross_entropy = DELTA * t * F.softplus(-x) + (1 - DELTA) * (1 - t) * suppressed * F.softplus(x)
    # The background is an object seen from the other side: what one misses is false in the other.
    background = _tversky(-x, 1 - t, v, DELTA)
    overlap = (background + _power(_tversky(x, t, v, DELTA), 1 - GAMMA)) / 2
    return SHARE * mean_over_valid(cross_entropy, v) + (1 - SHARE) * overlap


def _tversky(x: Tensor, t: Tensor, v: Tensor, missed: float) -> Tensor:
    """Return 1 − T [N] of rows [N, n], as a quotient of errors: 1 − T itself would lose what is nearly right."""
    p, q = x.sigmoid() * v, (-x).sigmoid() * v
    wrong = missed * (t * q).sum(1) + (1 - missed) * ((1 - t) * p).sum(1)
    return wrong / ((t * p).sum(1) + wrong + SMOOTHING)


def _power(value: Tensor, exponent: float) -> Tensor:
    # Where nothing at all is wrong the slope is infinite; cut off it is 0.
    return value.clamp(min=torch.finfo(value.dtype).tiny) ** exponent
