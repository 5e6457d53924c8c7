"""Losses that choose pixels or weigh them: the hardest, sampled points, certain pseudo-labels."""

from __future__ import annotations

import torch

from segtune.losses.bce import bce
from segtune.losses.hard_pixel import hard_pixel
from segtune.losses.pixels import divergence
from segtune.losses.points import SHARE, points_bce, points_dice, sample_points
from segtune.losses.pseudo_label import pseudo_label


def case(side: int = 20) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    truth = torch.zeros(2, side, side)
    truth[0, 4:12, 5:15] = 1
    truth[1, 2:4, 2:4] = 1
    logits = torch.randn(2, side, side, generator=torch.Generator().manual_seed(1))
    return logits, truth, torch.ones_like(truth, dtype=torch.bool)


def chosen_points(logits: torch.Tensor, truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    parts = (each.flatten(1).float() for each in (logits, truth * valid, valid))
    return sample_points(*parts, logits.shape[-1]).reshape(logits.shape)


# ---- the hardest


def test_the_hardest_tenth_alone_counts():
    """One wrong pixel of a hundred is a tenth of what counts, and easy ones get no gradient."""
    truth = torch.zeros(1, 10, 10)
    logits = torch.full((1, 10, 10), -6.0)
    logits[0, 3, 3] = 6
    logits.requires_grad_()
    value = hard_pixel(logits, truth, torch.ones_like(truth, dtype=torch.bool))
    each = divergence(logits.detach().flatten(1), truth.flatten(1)).sort(descending=True).values
    torch.testing.assert_close(value, each[:, :10].mean(1))
    value.sum().backward()
    assert int((logits.grad != 0).sum()) == 10


def test_all_of_them_is_cross_entropy():
    """With a share of one and a hard truth it is the plain mean."""
    torch.testing.assert_close(hard_pixel(*case(), share=1.0), bce(*case()))


def test_an_edge_predicted_exactly_is_not_hard():
    """A half-covered cell answered with ½ costs nothing, though its cross-entropy is the largest there is."""
    truth = torch.full((1, 4, 4), 0.5)
    truth[0, 0] = 1.0
    logits = torch.zeros(1, 4, 4)
    logits[0, 0] = 3.0
    value = hard_pixel(logits, truth, torch.ones_like(truth, dtype=torch.bool))
    assert 0 < value.item() < 0.1


# ---- sampled points


def test_points_are_the_same_each_time_and_differ_between_objects():
    """The same object has the same points, alone or beside others; another truth has others."""
    logits, truth, valid = case()
    once = chosen_points(logits, truth, valid)
    assert torch.equal(once, chosen_points(logits, truth, valid))
    assert torch.equal(once[1:], chosen_points(logits[1:], truth[1:], valid[1:]))
    same_logits = logits[:1].expand(2, -1, -1)
    of_two = chosen_points(same_logits, truth, valid)
    assert not torch.equal(of_two[0], of_two[1])


def test_other_predictions_ask_about_other_points():
    """Of one object that comes back, round after round and epoch after epoch, nearly every cell has its turn."""
    _, truth, valid = case()
    asked = torch.zeros_like(truth[0])
    for step in range(60):
        logits = torch.randn(truth.shape, generator=torch.Generator().manual_seed(step))
        asked += chosen_points(logits, truth, valid)[0]
    assert ((asked > 0) & valid[0]).sum() > 0.97 * valid[0].sum()


def test_a_fifth_of_the_valid_pixels_is_chosen():
    """As many as the share says, none of them invalid, however small the valid region is."""
    logits, truth, valid = case()
    valid[0, :, 10:] = False
    valid[1] = False
    valid[1, 5, 5] = True
    points = chosen_points(logits, truth, valid)
    assert points[0].sum() == torch.ceil(torch.tensor(SHARE * 200))
    assert points[1].sum() == 1
    assert (points[~valid] == 0).all()


def test_undecided_pixels_are_sought_out():
    """Of a band of undecided pixels far more are taken than of all others, yet others are taken too."""
    logits, truth, valid = case()
    logits = torch.full_like(logits, 9.0)
    logits[:, 6:9] = 0.1
    points = chosen_points(logits, truth, valid)
    assert (points[:, 6:9].mean((1, 2)) > 2.5 * points.mean((1, 2))).all()
    assert (points.sum((1, 2)) > points[:, 6:9].sum((1, 2)) + 5).all()


def test_only_the_points_get_a_gradient():
    """Both losses move the chosen pixels and no others."""
    logits, truth, valid = case()
    points = chosen_points(logits, truth, valid) > 0
    for loss in (points_bce, points_dice):
        moving = logits.clone().requires_grad_()
        loss(moving, truth, valid).sum().backward()
        assert torch.equal(moving.grad != 0, points)


# ---- pseudo-labels


def test_certain_labels_are_labels():
    """With a truth of nothing but 0 and 1 it is the cross-entropy."""
    torch.testing.assert_close(pseudo_label(*case()), bce(*case()))


def test_doubt_teaches_nothing_and_half_a_certainty_half():
    """A pixel of ½ gets no gradient; one of ¾ half that of one of 1, towards being decided."""
    truth = torch.tensor([[[0.5, 0.75, 1.0, 0.25]]])
    logits = torch.zeros(1, 1, 4, requires_grad=True)
    pseudo_label(logits, truth, torch.ones_like(truth, dtype=torch.bool)).sum().backward()
    torch.testing.assert_close(logits.grad.flatten(), torch.tensor([0.0, -0.0625, -0.125, 0.0625]))
