"""Focal, cross-entropy, Dice, Jaccard and Lovász against their formulas, pixel by pixel."""

from __future__ import annotations

import math

import pytest
import torch

from segtune.losses.bce import bce
from segtune.losses.dice import dice
from segtune.losses.focal import focal
from segtune.losses.iou import iou
from segtune.losses.lovasz import lovasz

LOGITS = torch.tensor([[[2.0, -1.0], [0.5, -3.0]]])
TRUTH = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
VALID = torch.tensor([[[True, True], [True, True]]])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def focal_of_pixel(x: float, t: float) -> float:
    right = sigmoid(x) if t else 1 - sigmoid(x)
    return (0.25 if t else 0.75) * (1 - right) ** 2 * -math.log(right)


def pixels() -> list[tuple[float, float]]:
    return list(zip(LOGITS.flatten().tolist(), TRUTH.flatten().tolist(), strict=True))


def test_focal_is_the_mean_of_pixels():
    """Focal is worked out per pixel and then averaged; it is not the focal of the average cross-entropy."""
    expected = sum(focal_of_pixel(x, t) for x, t in pixels()) / 4
    assert focal(LOGITS, TRUTH, VALID).item() == pytest.approx(expected)
    mean = bce(LOGITS, TRUTH, VALID).item()
    assert focal(LOGITS, TRUTH, VALID).item() != pytest.approx(0.25 * (1 - math.exp(-mean)) ** 2 * mean, rel=0.05)


def test_focal_averages_over_valid_pixels_only():
    """The mean is over the pixels of the frame without padding, not over the whole map."""
    valid = torch.tensor([[[True, False], [True, False]]])
    expected = (focal_of_pixel(2.0, 1) + focal_of_pixel(0.5, 0)) / 2
    assert focal(LOGITS, TRUTH, valid).item() == pytest.approx(expected)


def test_focal_without_focus_is_weighted_cross_entropy():
    """With gamma 0 and alpha one half, focal is half the cross-entropy."""
    plain = focal(LOGITS, TRUTH, VALID, alpha=0.5, gamma=0.0)
    torch.testing.assert_close(plain, bce(LOGITS, TRUTH, VALID) / 2)


def test_bce_of_known_pixels():
    """Cross-entropy is the mean of -log of the right class's probability."""
    expected = sum(-math.log(sigmoid(x) if t else 1 - sigmoid(x)) for x, t in pixels()) / 4
    assert bce(LOGITS, TRUTH, VALID).item() == pytest.approx(expected)


def test_dice_and_iou_of_known_pixels():
    """Soft Dice and Jaccard follow their formulas with one pixel of smoothing."""
    p = [sigmoid(x) for x, _ in pixels()]
    shared, total = p[0] + p[1], sum(p) + 2
    assert dice(LOGITS, TRUTH, VALID).item() == pytest.approx(1 - (2 * shared + 1) / (total + 1))
    assert iou(LOGITS, TRUTH, VALID).item() == pytest.approx(1 - (shared + 1) / (total - shared + 1))


def test_region_losses_do_not_depend_on_padding_size():
    """Dice of a small image in a large square is that of the image alone."""
    large = torch.nn.functional.pad(LOGITS, (0, 30, 0, 30), value=3.0)
    truth = torch.nn.functional.pad(TRUTH, (0, 30, 0, 30))
    valid = torch.nn.functional.pad(VALID, (0, 30, 0, 30))
    torch.testing.assert_close(dice(large, truth, valid), dice(LOGITS, TRUTH, VALID))


@pytest.mark.parametrize("seed", range(5))
def test_lovasz_is_the_jaccard_loss_at_its_corners(seed):
    """Where each pixel is either right by the margin or undecided, the Lovász hinge is one minus the IoU."""
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(1, 6, 6, generator=generator) > 0.5).float()
    undecided = torch.rand(1, 6, 6, generator=generator) > 0.7
    logits = torch.where(undecided, 0.0, 2 * truth - 1)
    predicted = torch.where(undecided, 1 - truth, truth).bool()
    shared, either = (predicted & truth.bool()).sum(), (predicted | truth.bool()).sum()
    value = lovasz(logits, truth, torch.ones_like(predicted))
    assert value.item() == pytest.approx(1 - shared.item() / either.item(), abs=1e-6)


def test_lovasz_of_an_empty_truth_is_the_largest_error():
    """With no object, one false pixel is as bad as the worst of them."""
    logits = torch.tensor([[[2.5, -4.0], [0.0, -3.0]]])
    assert lovasz(logits, torch.zeros(1, 2, 2), VALID).item() == pytest.approx(3.5)
