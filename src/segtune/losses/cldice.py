"""Centreline Dice: for vessels, roads and cracks, of which a gap of one pixel breaks more than its area says."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segtune.losses.dice import SMOOTHING, dice
from segtune.losses.pixels import rows

ITERATIONS = 10
"""Erosions of the soft skeleton: objects up to twice as many cells wide are thinned to the end."""

ALPHA = 0.5
"""Share of the centreline; the largest that the paper tries, for alone it forgets the outline."""


def cldice(
    logits: Tensor, truth: Tensor, valid: Tensor, *, alpha: float = ALPHA, iterations: int = ITERATIONS
) -> Tensor:
    """Return (1 − α) (1 − Dice) + α (1 − clDice), soft (Shit et al., clDice, CVPR 2021, equation 4).

    clDice is the harmonic mean of the share of the predicted centreline that lies in the truth and the share of the
    true centreline that was found. A truth without a centreline, being empty or everything, costs by Dice alone.

    Args:
        logits: [N, h, w].
        truth: [N, h, w] in 0 to 1. Not cut at a half: what is thinner than a cell covers less than that.
        valid: bool [N, h, w]. Its rim cuts objects off and is no edge of theirs.
        alpha: share of the centreline, 0 to 1.
        iterations: erosions of the skeleton.

    Returns:
        [N] in 0 to 1.
    """
    x, t, v = (each.reshape(logits.shape) for each in rows(logits, truth, valid))
    p = x.sigmoid() * v
    predicted = soft_skeleton(p, v > 0, iterations)
    with torch.no_grad():
        true = soft_skeleton(t, v > 0, iterations)
    precise = _share(predicted, t)
    found = _share(true, p)
    region = dice(logits, truth, valid)
    broken = 1 - 2 * precise * found / (precise + found)
    return (1 - alpha) * region + alpha * torch.where(true.flatten(1).any(1), broken, region)


def soft_skeleton(values: Tensor, valid: Tensor, iterations: int) -> Tensor:
    """Return the soft centreline of maps: what an opening takes away, gathered over erosions (algorithm 1).

    Args:
        values: [N, h, w] in 0 to 1.
        valid: bool [N, h, w]; pixels outside neither erode nor grow into others.
        iterations: how many erosions.

    Returns:
        [N, h, w] in 0 to 1, 0 outside `valid`.
    """
    skeleton = torch.zeros_like(values)
    for _ in range(iterations + 1):
        eroded = _erode(values, valid)
        fresh = (values - _dilate(eroded, valid)).relu().masked_fill(~valid, 0)
        skeleton = skeleton + (1 - skeleton) * fresh
        values = eroded
    return skeleton


def _erode(values: Tensor, valid: Tensor) -> Tensor:
    """The least value in a cross of five pixels."""
    inverse = -values.masked_fill(~valid, 1)[:, None]  # the pooling's own border is −inf, likewise never the least
    across = F.max_pool2d(inverse, (1, 3), 1, (0, 1))
    return -torch.maximum(across, F.max_pool2d(inverse, (3, 1), 1, (1, 0)))[:, 0]


def _dilate(values: Tensor, valid: Tensor) -> Tensor:
    """The largest value in a square of nine pixels."""
    return F.max_pool2d(values.masked_fill(~valid, 0)[:, None], 3, 1, 1)[:, 0]


def _share(line: Tensor, mask: Tensor) -> Tensor:
    return ((line * mask).flatten(1).sum(1) + SMOOTHING) / (line.flatten(1).sum(1) + SMOOTHING)
