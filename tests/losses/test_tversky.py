"""Focal Tversky and unified focal loss against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from segtune.losses.dice import dice
from segtune.losses.tversky import focal_tversky, unified_focal

LOGITS = torch.tensor([[[2.0, -1.0], [0.5, -3.0]]])
TRUTH = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
VALID = torch.ones(1, 2, 2, dtype=torch.bool)
P = [1 / (1 + math.exp(-x)) for x in LOGITS.flatten().tolist()]
HIT, MISS, FALSE, QUIET = P[0] + P[1], 2 - P[0] - P[1], P[2] + P[3], 2 - P[2] - P[3]


def test_focal_tversky_of_known_pixels():
    """The power 3/4 of one minus the Tversky index, a missed pixel weighing .7 and a false one .3."""
    index = (HIT + 1) / (HIT + 0.7 * MISS + 0.3 * FALSE + 1)
    assert focal_tversky(LOGITS, TRUTH, VALID).item() == pytest.approx((1 - index) ** 0.75)


def test_with_equal_weights_it_is_a_power_of_dice():
    """Tversky with ½ and ½ is Dice, whose one pixel of smoothing is on twice the counts."""
    doubled = (2 * (MISS + FALSE) / 4) / (HIT + (MISS + FALSE) / 2 + 1)
    assert focal_tversky(LOGITS, TRUTH, VALID, missed=0.5).item() == pytest.approx(doubled**0.75)
    assert dice(LOGITS, TRUTH, VALID, smoothing=2.0).item() == pytest.approx(doubled)


def test_a_missed_object_costs_more_than_a_false_one_as_large():
    """Recall is what it asks for; told otherwise, precision."""
    truth = torch.zeros(1, 8, 8)
    truth[0, :4] = 1
    missed, false = torch.full((1, 8, 8), -9.0), torch.full((1, 8, 8), -9.0)
    missed[0, :2] = 9
    false[0, :6] = 9
    valid = torch.ones_like(truth, dtype=torch.bool)
    assert focal_tversky(missed, truth, valid) > focal_tversky(false, truth, valid)
    assert focal_tversky(missed, truth, valid, missed=0.2) < focal_tversky(false, truth, valid, missed=0.2)


def test_unified_focal_of_known_pixels():
    """Half cross-entropy with a quiet background, half the Tversky losses of both classes, the object's enhanced."""
    cross_entropy = 0.6 * (-math.log(P[0]) - math.log(P[1]))
    cross_entropy += 0.4 * sum(-math.log(1 - p) * math.sqrt(p) for p in P[2:])
    inside = 1 - (HIT + 1) / (HIT + 0.6 * MISS + 0.4 * FALSE + 1)
    outside = 1 - (QUIET + 1) / (QUIET + 0.6 * FALSE + 0.4 * MISS + 1)
    expected = 0.5 * cross_entropy / 4 + 0.5 * (outside + math.sqrt(inside)) / 2
    assert unified_focal(LOGITS, TRUTH, VALID).item() == pytest.approx(expected)
