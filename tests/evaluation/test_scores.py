"""Counts, scores and the loss of one image's objects."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from segtune.core.geometry import Frame, truth_in_frame
from segtune.evaluation.baselines import BASELINES, fill_box, fill_ellipse
from segtune.evaluation.scores import Scores, count_pixels, losses_of, metric_names, score_counts
from segtune.evaluation.targets import Target
from segtune.evaluation.views import View
from segtune.metrics import METRICS as HOUSE
from segtune.segment.crops import MaskCrop


def random_masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw two overlapping ellipses, of which one may reach beyond the image."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:70, :110]
    masks = []
    for _ in range(2):
        cy, cx, ry, rx = rng.uniform(0, 70), rng.uniform(30, 80), rng.uniform(3, 40), rng.uniform(3, 50)
        masks.append(((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1)
    return masks[0], masks[1]


@pytest.mark.parametrize("seed", range(12))
def test_scores_in_a_window_are_those_of_the_whole_image(seed):
    """Every metric equals the house's definition on full masks, boundary IoU included."""
    predicted, truth = random_masks(seed)
    counts = np.array([count_pixels(MaskCrop.of(predicted), MaskCrop.of(truth))])
    found = score_counts(counts)
    for name in metric_names()[:-1]:
        expected = HOUSE[name](torch.from_numpy(predicted)[None], torch.from_numpy(truth)[None])
        assert found[name][0] == pytest.approx(float(expected[0]), abs=1e-12), name


def test_an_empty_prediction_scores_zero():
    """Nothing predicted where there is an object is worth nothing."""
    truth = MaskCrop.of(random_masks(1)[1])
    nothing = MaskCrop(truth.size, 0, 0, np.zeros((0, 0), dtype=np.bool_))
    scores = score_counts(np.array([count_pixels(nothing, truth)]))
    assert all(values[0] == 0 for values in scores.values())


def test_loss_is_focal_and_dice_in_shares_of_20_to_1_without_padding():
    """The loss equals the formula written out over the cells that hold image."""
    frame = Frame.longest_side((60, 100), 128)
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 32, 32), generator=draw)
    masks = np.zeros((2, 60, 100), dtype=np.bool_)
    masks[0, 10:40, 30:70] = True
    masks[1, :, :50] = True
    view = View(frame, (32, 32), None)
    targets = [Target(row, MaskCrop.of(mask), int(mask.sum()), {}) for row, mask in enumerate(masks)]
    truth = view.truth(targets)
    torch.testing.assert_close(truth, truth_in_frame(torch.from_numpy(masks), frame, (32, 32)))
    rows, columns = frame.content(32, 32)
    x, t = (values[:, :rows, :columns].flatten(1).double() for values in (logits, truth))
    p = x.sigmoid()
    cross = -(t * p.log() + (1 - t) * (1 - p).log())
    missed = t * (1 - p) + (1 - t) * p
    focal = ((0.25 * t + 0.75 * (1 - t)) * missed**2 * cross).mean(1)
    dice = 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    found = losses_of(logits, truth, view.valid)
    assert found == pytest.approx((20 / 21 * focal + 1 / 21 * dice).tolist(), rel=1e-5)


def test_what_is_predicted_in_the_padding_costs_nothing():
    """Logits in the padding change no loss."""
    frame = Frame.longest_side((40, 128), 128)
    view = View(frame, (32, 32), None)
    mask = np.zeros((40, 128), dtype=np.bool_)
    mask[10:30, 20:60] = True
    truth = view.truth([Target(0, MaskCrop.of(mask), int(mask.sum()), {})])
    logits = torch.full((1, 32, 32), -3.0)
    wild = logits.clone()
    wild[:, 12:] = 1e4
    assert losses_of(wild, truth, view.valid) == losses_of(logits, truth, view.valid)


def test_ignored_cells_cost_nothing():
    """Logits on ignored pixels change no loss."""
    ignore = np.zeros((64, 64), dtype=np.bool_)
    ignore[:32] = True
    view = View(Frame.longest_side((64, 64), 64), (16, 16), ignore)
    mask = np.zeros((64, 64), dtype=np.bool_)
    mask[40:60, 10:30] = True
    truth = view.truth([Target(0, MaskCrop.of(mask), 400, {})])
    logits = torch.full((1, 16, 16), -3.0)
    wild = logits.clone()
    wild[:, :8] = 50.0
    assert losses_of(wild, truth, view.valid) == losses_of(logits, truth, view.valid)


def test_scores_are_gathered_in_the_order_of_objects():
    """Two chunks make one list of objects."""
    first, second = (Target(row, MaskCrop.of(random_masks(row)[1]), 1, {}) for row in range(2))
    scores = Scores()
    scores.add([first], [first.truth], [0.1], [0.9])
    assert scores.by_object()["iou"].tolist() == [1.0]
    scores.add([second], [MaskCrop(first.truth.size, 0, 0, np.zeros((0, 0), np.bool_))], [0.2], [0.3])
    assert scores.by_object()["iou"].tolist() == [1.0, 0.0]
    assert scores.by_object()["loss"].tolist() == [0.1, 0.2]
    assert scores.quality_by_object()["quality"].tolist() == [0.9, 0.3]


def test_the_tight_box_is_filled_pixel_by_pixel():
    """A tight box x0, y0, x1, y1 covers exactly the pixels from x0 to before x1."""
    mask = fill_box(np.array([3, 4, 8, 6], dtype=np.float32), (20, 30)).full()
    expected = np.zeros((20, 30), dtype=np.bool_)
    expected[4:6, 3:8] = True
    np.testing.assert_array_equal(mask, expected)


def test_a_loose_box_covers_the_pixels_whose_centres_it_holds():
    """Fractions of a pixel count by the pixel's centre, and the image's border cuts."""
    mask = fill_box(np.array([-3.0, 1.4, 2.6, 50.0], dtype=np.float32), (6, 5)).full()
    expected = np.zeros((6, 5), dtype=np.bool_)
    expected[1:, :3] = True
    np.testing.assert_array_equal(mask, expected)


def test_the_ellipse_fills_about_pi_quarters_of_its_box():
    """The inscribed ellipse has π/4 of the box's area and touches each side."""
    mask = fill_ellipse(np.array([10, 20, 110, 80], dtype=np.float32), (100, 130)).full()
    assert mask.sum() == pytest.approx(math.pi / 4 * 100 * 60, rel=0.005)
    assert mask[20].any()
    assert mask[79].any()
    assert mask[:, 10].any()
    assert mask[:, 109].any()
    np.testing.assert_array_equal(mask, mask[::-1])


@pytest.mark.parametrize("name", list(BASELINES))
def test_baselines_of_one_pixel_are_that_pixel(name):
    """The smallest object is its own box and its own ellipse."""
    assert np.argwhere(BASELINES[name](np.array([4, 2, 5, 3], dtype=np.float32), (9, 9)).full()).tolist() == [[2, 4]]
