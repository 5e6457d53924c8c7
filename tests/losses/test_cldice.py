"""Centreline Dice: what it adds to Dice is that a broken line costs more than a thin one."""

from __future__ import annotations

import torch

from segtune.losses.cldice import cldice, soft_skeleton
from segtune.losses.dice import dice


def line(size: int = 24) -> torch.Tensor:
    """A horizontal bar three cells thick."""
    truth = torch.zeros(1, size, size)
    truth[0, 10:13] = 1
    return truth


def everywhere(maps: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(maps, dtype=torch.bool)


def test_the_skeleton_of_a_bar_is_its_middle():
    """Three rows are thinned to the one between them; where nothing is there is none."""
    skeleton = soft_skeleton(line(), everywhere(line()), 3)
    assert (skeleton[0, 11] == 1).all()
    assert skeleton.sum() == 24
    assert soft_skeleton(torch.zeros(1, 8, 8), everywhere(torch.zeros(1, 8, 8)), 3).sum() == 0


def test_the_border_of_the_valid_region_is_no_edge():
    """A bar that the map, or the ignored part of it, cuts off is not thinned from there."""
    truth = line()
    valid = everywhere(truth)
    valid[0, :, 16:] = False
    skeleton = soft_skeleton(truth * valid, valid, 3)
    assert (skeleton[0, 11, :16] == 1).all()
    assert skeleton[0, :, 16:].sum() == 0


def test_a_gap_costs_more_than_as_many_pixels_of_the_rim():
    """Six cells missing across the bar break it; six missing along its rim do not. Dice sees no difference."""
    truth = line()
    broken, worn = truth.clone(), truth.clone()
    broken[0, 10:13, 11:13] = 0
    worn[0, 10, 9:15] = 0
    gap, rim = (20 * (2 * mask - 1) for mask in (broken, worn))
    torch.testing.assert_close(dice(gap, truth, everywhere(truth)), dice(rim, truth, everywhere(truth)))
    assert cldice(gap, truth, everywhere(truth)) > 1.3 * cldice(rim, truth, everywhere(truth))


def test_without_a_centreline_it_is_dice():
    """Nothing and everything have no centreline: their cost is Dice's, whatever the share."""
    truth = torch.stack([torch.zeros(8, 8), torch.ones(8, 8)])
    logits = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = dice(logits, truth, everywhere(truth))
    torch.testing.assert_close(cldice(logits, truth, everywhere(truth), alpha=0.9), expected)
