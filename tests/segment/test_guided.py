"""Guided everything mode: fewer clicks than the grid's, and what they find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from segtune.core.geometry import Frame, frame_scales
from segtune.core.types import MaskPrediction
from segtune.models.sam.build import build_sam
from segtune.models.sam.model import Sam
from segtune.models.sam.sizes import MICRO
from segtune.segment.everything import EverythingSettings, segment_everything
from segtune.segment.grid import point_grid
from segtune.segment.points import Blind, Guided

DISCS = ((20.0, 22.0, 16.0), (70.0, 30.0, 18.0), (66.0, 76.0, 12.0), (12.0, 84.0, 5.0), (38.0, 100.0, 4.0))
"""x, y and radius in an image 90 wide and 120 high."""

GRID = EverythingSettings(
    points_per_side=16, points_per_batch=20, pred_iou_thresh=0.5, stability_score_thresh=0.5, box_nms_thresh=0.9
)
GUIDED = replace(GRID, guided=True)


class Knows(Sam):
    """Answers a click with the disc under it, or with all that is no disc, and is sure of it."""

    quality = 0.95

    def decode(self, embedding, prompts, multimask):
        """Draw what is under each click."""
        self.clicks.append(prompts.points[:, 0].clone())
        height, width = self.mask_size
        (scale,) = set(map(tuple, frame_scales(embedding.frames, prompts.image_index).tolist()))
        cell = self.side / width
        y, x = torch.meshgrid((torch.arange(height) + 0.5) * cell, (torch.arange(width) + 0.5) * cell, indexing="ij")
        depths = torch.stack([r - torch.hypot(x / scale[0] - cx, y / scale[1] - cy) for cx, cy, r in DISCS])
        depths = torch.cat([depths, -depths.amax(dim=0, keepdim=True)])  # [discs + 1, h, w]
        rows = [self.under(point) for point in prompts.points[:, 0].tolist()]
        logits = 4 * depths[rows][:, None].repeat(1, 3, 1, 1)
        quality = torch.tensor([self.quality, 0.1, 0.1]).repeat(len(rows), 1)
        return MaskPrediction(logits, quality, prompts.image_index, embedding.frames)

    def under(self, point):
        """Return which disc a point lies on; the last number means none."""
        inside = [np.hypot(point[0] - x, point[1] - y) < r for x, y, r in DISCS]
        return inside.index(True) if True in inside else len(DISCS)


@pytest.fixture
def model():
    """Return the model that knows, and remembers its clicks."""
    micro = build_sam(MICRO, generator=torch.Generator().manual_seed(5))
    micro.__class__ = Knows
    micro.clicks = []
    return micro


IMAGE = np.zeros((120, 90, 3), dtype=np.uint8)


def found(model, settings):
    """Return the masks and how many clicks they took."""
    del model.clicks[:]
    masks = segment_everything(model, IMAGE, settings)
    return masks, torch.cat(model.clicks)


def best(masks, other):
    """Return the highest IoU of one mask with others."""
    inside = other.mask.decode()
    return max((one & inside).sum() / (one | inside).sum() for one in (mask.mask.decode() for mask in masks))


def test_all_objects_are_found_with_fewer_clicks(model):
    """Also those that no click of the coarse pass hits: nothing covers them, so the finer passes look there."""
    blind, every = found(model, GRID)
    guided, some = found(model, GUIDED)
    assert len(every) == 256
    assert len(some) < 0.6 * len(every)
    assert len(blind) == len(DISCS) + 1
    assert all(best(guided, one) > 0.95 for one in blind)
    coarse = {model.under(point) for point in torch.cat(model.clicks)[:16].tolist()}
    assert not set(range(len(DISCS))) <= coarse


def test_no_click_is_made_twice_and_all_are_of_the_grid(model):
    """Passes share points, clicks do not."""
    _, some = found(model, GUIDED)
    places = {tuple(point) for point in np.round(some.numpy(), 3).tolist()}
    grid = {tuple(point) for point in np.round((point_grid(16) * (90, 120)).astype(np.float32), 3).tolist()}
    assert len(places) == len(some)
    assert places <= grid


def test_a_model_that_is_not_sure_is_asked_everywhere(model):
    """Masks below the quality spare nothing: they are those of the grid, whatever the order of the clicks."""
    model.quality = 0.8
    blind, every = found(model, GRID)
    guided, some = found(model, GUIDED)
    assert len(some) == len(every)
    assert {one.mask.counts.tobytes() for one in guided} == {one.mask.counts.tobytes() for one in blind}


def test_masks_that_are_dropped_spare_nothing(model):
    """What is too large to be kept covers no objects."""
    _, sparing = found(model, GUIDED)
    _, asking = found(model, replace(GUIDED, max_mask_share=0.3))
    assert len(asking) > len(sparing)


def test_a_wider_margin_asks_more(model):
    """Without one only the contour's other side is asked; with a very wide one all is."""
    counts = [len(found(model, replace(GUIDED, guided_margin=margin))[1]) for margin in (0.0, 0.5, 1.0, 16.0)]
    assert counts == sorted(counts)
    assert counts[0] < counts[1] < counts[2]


@pytest.mark.parametrize("margin", [16 * 1.49, 16 * 1.5, 1e5, 1e9, float("inf")])
def test_beyond_the_image_a_margin_changes_nothing(model, margin):
    """All that has a contour is near to it, so every point is asked."""
    _, every = found(model, GRID)
    _, some = found(model, replace(GUIDED, guided_margin=margin))
    assert len(some) == len(every)


@pytest.mark.parametrize("margin", [2.0, float("inf")])
def test_a_mask_without_a_contour_spares_all(margin):
    source = Guided(8, 64, Frame((60, 80), (96, 128), 128), stride=1, quality=0.5, margin=margin)
    source.hear(torch.ones(1, 32, 32), torch.tensor([0.6]))
    assert list(source) == []


def test_crops_are_guided_each_by_itself(model):
    """A crop's grid begins anew; its masks lie in the whole image."""
    _, some = found(model, replace(GUIDED, crop_n_layers=1))
    _, every = found(model, replace(GRID, crop_n_layers=1))
    assert len(some) < len(every) == 5 * 256


@pytest.mark.parametrize("side", [1, 2, 5, 16, 32])
@pytest.mark.parametrize("stride", [1, 3, 4, 50])
def test_without_any_mask_the_passes_are_the_whole_grid(side, stride):
    """Each point once, whether the strides divide the side or not."""
    source = Guided(side, 7, Frame((60, 80), (96, 128), 128), stride=stride, quality=0.5, margin=0.5)
    batches = list(source)
    points = np.concatenate(batches)
    assert max(map(len, batches)) <= 7
    assert sorted(map(tuple, points)) == sorted(map(tuple, point_grid(side)))


def test_a_mask_spares_what_lies_well_inside():
    """The image's edge is no contour, and its padding is no part of it."""
    source = Guided(8, 64, Frame((60, 80), (96, 128), 128), stride=1, quality=0.5, margin=0.5)
    logits = torch.full((1, 32, 32), -1.0)
    logits[0, :24, :16] = 1.0  # the left half of an image that takes 24 rows
    source.hear(logits, torch.tensor([0.4]))
    assert len(np.concatenate(list(source))) == 64
    source = Guided(8, 64, Frame((60, 80), (96, 128), 128), stride=1, quality=0.5, margin=0.5)
    source.hear(logits, torch.tensor([0.6]))
    left = np.concatenate(list(source))
    # Of four columns inside the last one is nearer to the contour than half a step.
    assert sorted(set(left[:, 0])) == [(column + 0.5) / 8 for column in (3, 4, 5, 6, 7)]
    assert len(left) == 5 * 8


def test_blind_points_come_in_their_order():
    """In batches, the last one smaller."""
    points = point_grid(5)
    batches = list(Blind(points, 10))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    np.testing.assert_array_equal(np.concatenate(batches), points)
