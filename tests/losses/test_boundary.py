"""The boundary loss and the distances it weighs pixels by."""

from __future__ import annotations

import pytest
import torch

from segtune.losses.boundary import boundary, outline_distance


def half(size: int = 8) -> torch.Tensor:
    """An object that fills the left half of the map."""
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[..., : size // 2] = True
    return mask


def test_distances_are_from_the_outline():
    """On both sides of an outline the first pixel's centre is half a pixel away, the next one and a half."""
    distance = outline_distance(half(), torch.ones_like(half()))
    expected = torch.tensor([3.5, 2.5, 1.5, 0.5, 0.5, 1.5, 2.5, 3.5])
    assert torch.equal(distance[0], expected.expand(8, 8))


def test_the_rim_of_the_valid_region_is_no_outline():
    """An object cut off by the padding has no outline there."""
    valid = torch.ones_like(half())
    valid[:, 5:] = False
    assert torch.equal(outline_distance(half() & valid, valid)[:, :5], outline_distance(half(), half() | True)[:, :5])


@pytest.mark.parametrize("fill", [False, True])
def test_without_an_outline_each_pixel_weighs_the_same(fill):
    """An empty or full truth has no outline: the loss is the mean probability of being wrong."""
    truth = torch.full((1, 4, 4), float(fill))
    logits = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0))
    wrong = (logits if not fill else -logits).sigmoid().mean()
    assert boundary(logits, truth, truth > -1).item() == pytest.approx(wrong.item(), rel=1e-5)


def test_far_mistakes_cost_more():
    """A false pixel far from the outline costs more than one beside it, in proportion to the distance."""
    truth = half().float()
    right = (2 * truth - 1) * 30
    near, far = right.clone(), right.clone()
    near[0, 3, 4], far[0, 3, 7] = 30, 30
    costs = [boundary(logits, truth, half() | True).item() for logits in (near, far)]
    assert costs[1] == pytest.approx(7 * costs[0], rel=1e-4)


def test_all_wrong_is_one():
    """The loss runs from 0, all right, to 1, all wrong."""
    truth = half().float()
    assert boundary((1 - 2 * truth) * 40, truth, half() | True).item() == pytest.approx(1.0)


def test_differs_from_the_paper_by_a_constant_and_a_factor():
    """Between any two predictions the loss differs as the paper's sum of p × φ does, up to the factor per object."""
    truth, valid = half().float(), half() | True
    distance = outline_distance(half(), valid)
    phi = torch.where(half(), -distance, distance)
    one, other = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1)).unbind(0)
    paper = ((one.sigmoid() - other.sigmoid()) * phi).sum() / distance.sum()
    ours = boundary(one, truth, valid) - boundary(other, truth, valid)
    assert ours.item() == pytest.approx(paper.item(), rel=1e-4)
