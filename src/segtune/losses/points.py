"""Losses on sampled points: a fifth of the pixels, most of them where the prediction is undecided.

PointRend's sampling (Kirillov et al., CVPR 2020) as Mask2Former (Cheng et al., CVPR 2022) trains with it: of three
times as many random points as are wanted, three quarters of the wanted are the most uncertain ones, one quarter is
random. Here a point is a cell of the map rather than a place between cells, and none counts twice.

Nothing is drawn from a stream: which cells are random follows from where they are, from the object's own truth and from
how many cells the prediction takes for the object, so that a loss stays a function of what it is given. The last is
another in nearly every round and step of a training: in time each cell is asked about, also of a view that comes back.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from segtune.losses.dice import SMOOTHING
from segtune.losses.pixels import mean_over_valid, rows

SHARE = 12544 / 256**2
OVERSAMPLED = 3
UNCERTAIN = 0.75
"""Mask2Former: 12,544 points of a map of 256 × 256; k = 3, β = .75."""

_STEPS = 1 << 16
"""Values of a truth that are told apart."""


def points_bce(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the cross-entropy of logits [N, h, w] averaged over each object's sampled points: [N], ≥ 0."""
    x, t, v = rows(logits, truth, valid)
    chosen = sample_points(x, t, v, logits.shape[-1])
    return mean_over_valid(F.binary_cross_entropy_with_logits(x, t, reduction="none"), chosen)


def points_dice(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return the Dice loss of logits [N, h, w] over each object's sampled points: [N] in 0 to 1."""
    x, t, v = rows(logits, truth, valid)
    chosen = sample_points(x, t, v, logits.shape[-1])
    p, t = x.sigmoid() * chosen, t * chosen
    return 1 - (2 * (p * t).sum(1) + SMOOTHING) / (p.sum(1) + t.sum(1) + SMOOTHING)


@torch.no_grad()
def sample_points(x: Tensor, t: Tensor, v: Tensor, width: int) -> Tensor:
    """Choose points of N objects.

    Args:
        x: logits [N, n] of maps of n = h · width pixels, row by row.
        t: truth [N, n] in 0 to 1, 0 where not valid.
        v: validity [N, n], 1 or 0.
        width: of the maps, so that padding changes no choice.

    Returns:
        [N, n], 1 at the chosen points and 0 elsewhere, in the type of `x`; about `SHARE` of the valid pixels.
    """
    outside = v == 0
    places = torch.arange(x.shape[1], device=x.device)
    places = _mixed((places // width << 32) + places % width)  # [n]
    # A sum of whole numbers is the same in any order, on any device.
    own = ((t * (_STEPS - 1)).round().long() * places).sum(1, keepdim=True)  # [N, 1]
    own = _mixed(own) ^ ((x > 0) & ~outside).sum(1, keepdim=True)
    lot = _mixed(places ^ _mixed(own)).masked_fill(outside, torch.iinfo(torch.int64).max)
    rank = _rank(lot)
    wanted = (SHARE * v.sum(1, keepdim=True)).ceil()
    uncertain = (UNCERTAIN * wanted).floor()
    is_candidate = (rank < OVERSAMPLED * wanted) & ~outside
    undecided = _rank(x.abs().masked_fill(~is_candidate, torch.inf)) < uncertain
    undecided &= is_candidate  # a small map may have fewer candidates than are asked for
    # The rest at random from what is left: the lowest lots that are not taken yet.
    others = _rank(lot.masked_fill(undecided, torch.iinfo(torch.int64).max)) < wanted - undecided.sum(1, keepdim=True)
    return (undecided | (others & ~outside)).to(x.dtype)


def _rank(values: Tensor) -> Tensor:
    """Return each value's place in its row [N, n] from the lowest, ties in order of place."""
    order = values.argsort(dim=1, stable=True)
    places = torch.arange(values.shape[1], device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _mixed(numbers: Tensor) -> Tensor:
    """Scramble int64 numbers, equal ones alike: as SplitMix64 does (Steele et al., OOPSLA 2014), with signed shifts."""
    numbers = numbers - 0x61C8864680B583EB  # so that 0 is scrambled too
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        numbers = (numbers ^ (numbers >> shift)) * factor  # wraps around, as meant
    return numbers ^ (numbers >> 31)
