"""How much of each cell a mask covers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segtune.core.cover import best_level
from segtune.core.geometry import Frame, masks_to_frame, truth_in_frame


@pytest.mark.parametrize(
    ("original", "side", "cells"),
    [((90, 140), 128, 32), ((131, 57), 64, 16), ((529, 622), 512, 128), ((3, 200), 64, 20), ((64, 64), 64, 64)],
)
@pytest.mark.parametrize("fit", [Frame.longest_side, Frame.stretched])
def test_equals_enlarging_and_pooling(original, side, cells, fit):
    """The sparse matrices give what resizing by area, padding and pooling give."""
    frame = fit(original, side)
    masks = torch.rand((3, *original), generator=torch.Generator().manual_seed(7)) > 0.6
    resized = F.interpolate(masks[None].float(), frame.resized, mode="area")[0]
    square = F.pad(resized, (0, side - frame.resized[1], 0, side - frame.resized[0]))
    expected = F.adaptive_avg_pool2d(square, (cells, cells))
    torch.testing.assert_close(masks_to_frame(masks, frame, (cells, cells)), expected, rtol=0, atol=1e-6)


def test_soft_masks_are_averaged():
    """A mask of one grey value covers every cell by that share."""
    covered = masks_to_frame(torch.full((1, 40, 40), 0.25), Frame.longest_side((40, 40), 32), (8, 8))
    torch.testing.assert_close(covered, torch.full((1, 8, 8), 0.25))


def test_full_masks_cover_cells_by_one():
    """Rounding does not carry the share of a covered cell above 1 by more than its last digits."""
    for original in [(529, 622), (300, 301), (777, 1200)]:
        frame = Frame.longest_side(original, 512)
        covered = masks_to_frame(torch.ones((1, *original), dtype=torch.bool), frame, (128, 128))
        assert float(covered.max()) == pytest.approx(1, abs=1e-6)


def test_no_masks():
    """No masks give no maps."""
    assert masks_to_frame(torch.zeros((0, 10, 12)), Frame.longest_side((10, 12), 32), (8, 8)).shape == (0, 8, 8)


def _iou_with_object(covered, taken):
    """IoU of cells with the object itself, which fills of each cell the share that it covers."""
    return covered[taken].sum() / (taken.sum() + covered[~taken].sum())


@pytest.mark.parametrize("seed", range(20))
def test_cells_from_the_best_level_on_are_the_best_mask(seed):
    """Of all masks of ten cells, which are tried one by one, none has a higher IoU with the object."""
    rng = np.random.default_rng(seed)
    covered = rng.random(10) ** rng.choice([1, 4]) * (rng.random(10) < 0.8)
    covered[: rng.integers(3)] = 1
    best = max(
        _iou_with_object(covered, np.array(taken, bool))
        for taken in itertools.product((0, 1), repeat=10)
        if covered.sum() > 0
    )
    level = best_level(covered)
    assert 0 < level <= 0.5
    assert _iou_with_object(covered, covered > level) == pytest.approx(best)


def test_of_nothing_half_is_as_good_as_any_level():
    """As of an object that fills its cells."""
    assert best_level(np.zeros((4, 4))) == best_level(np.ones((4, 4))) == 0.5


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("first", "past"), [(8, 10), (11, 13), (9, 10), (10, 11)])
def test_a_line_thinner_than_a_cell_is_a_line_of_cells(first, past, turned):
    """Whether it lies within cells or across two rows of them, all of its length is there."""
    mask = torch.zeros((1, 64, 64), dtype=torch.bool)
    mask[:, first:past, 4:60] = True
    mask = mask.mT if turned else mask
    frame = Frame.longest_side((64, 64), 64)
    assert not (masks_to_frame(mask, frame, (16, 16)) > 0.5).any()
    (inside,) = truth_in_frame(mask, frame, (16, 16)) > 0.5
    inside = inside.T if turned else inside
    rows = range(first // 4, -(-past // 4))
    assert inside[:, 1:15].any(0).all()
    assert set(inside.nonzero()[:, 0].tolist()) <= set(rows)


def test_a_large_object_stays_what_it_was():
    """Its rim is few of its cells, so its level is near one half; what is full or empty stays so."""
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    disc = ((x - 128) ** 2 + (y - 120) ** 2 < 90**2)[None]
    frame = Frame.longest_side((256, 256), 256)
    plain, moved = masks_to_frame(disc, frame, (64, 64)), truth_in_frame(disc, frame, (64, 64))
    assert float((plain - moved).abs().max()) < 0.02
    assert torch.equal(moved[plain == 0], plain[plain == 0])
    assert ((plain > 0.5) ^ (moved > 0.5)).sum() < 0.02 * plain.sum()


def test_certain_probabilities_are_the_truth_of_the_mask():
    """0 and 1 give what the mask alone gives, of what is thinner than a cell too; in between, means follow."""
    frame = Frame.longest_side((120, 160), 128)
    thin = torch.zeros((1, 120, 160), dtype=torch.bool)
    thin[:, 50:53, 20:140] = True
    expected = truth_in_frame(thin, frame, (32, 32))
    torch.testing.assert_close(truth_in_frame(thin, frame, (32, 32), [thin[0].float().numpy()]), expected)
    wide = torch.zeros((1, 120, 160), dtype=torch.bool)
    wide[:, 20:100, 20:140] = True
    doubtful = truth_in_frame(wide, frame, (32, 32), [wide[0].float().numpy() * np.float32(0.75)])
    assert float(doubtful.max()) == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("slope", [1.0, 4.0])
def test_doubt_around_a_thin_object_is_no_part_of_it(slope):
    """A line narrower than a cell: what is likelier than not is where the mask alone has it, however soft its rim."""
    frame = Frame.longest_side((256, 256), 256)
    distance = np.abs(np.arange(256) - 128.5)[:, None].repeat(256, axis=1)
    likely = (1 / (1 + np.exp((distance - 1.2) / slope))).astype(np.float32)
    mask = torch.from_numpy(likely > 0.5)[None]
    hard, soft = truth_in_frame(mask, frame, (64, 64)), truth_in_frame(mask, frame, (64, 64), [likely])
    assert 0 < (hard > 0.5).sum() == (soft > 0.5).sum()
    assert torch.equal(hard > 0.5, soft > 0.5)
    assert float(soft.max()) <= float(hard.max())


def test_an_unsure_line_is_still_there():
    """Of probability .6 all along, in cells that it fills by a half."""
    frame = Frame.longest_side((256, 256), 256)
    likely = np.zeros((256, 256), dtype=np.float32)
    likely[100:102, 20:200] = 0.6
    truth = truth_in_frame(torch.from_numpy(likely > 0.5)[None], frame, (64, 64), [likely])
    assert (truth > 0.5).sum() == 45
