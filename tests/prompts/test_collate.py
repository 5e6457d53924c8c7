"""Ragged batches of prompts of any kind."""

from __future__ import annotations

import numpy as np
import torch

from segtune.core.geometry import Frame
from segtune.core.types import POINT_FILLER
from segtune.prompts.collate import add_clicks, collate
from segtune.prompts.objects import ObjectPrompt

FRAMES = (Frame.longest_side((40, 80), 64), Frame.longest_side((64, 32), 64))


def points(*xy: tuple[float, float]) -> ObjectPrompt:
    return ObjectPrompt(np.array(xy, dtype=np.float32), np.ones(len(xy), dtype=np.int64))


def box() -> ObjectPrompt:
    return ObjectPrompt(box=np.array([1, 2, 20, 22], dtype=np.float32))


def coarse(size: tuple[int, int], rows: int) -> ObjectPrompt:
    mask = np.zeros(size, dtype=bool)
    mask[:rows] = True
    return ObjectPrompt(mask=mask)


def test_ragged_mixed_kinds():
    """Prompts with two points, with one, with a box and with a mask join, each keeping what it has."""
    batch = collate(
        [points((1, 2), (3, 4)), box(), points((5, 6)), coarse((64, 32), 30)], [0, 1, 0, 1], FRAMES, (16, 16)
    )
    assert batch.image_index.tolist() == [0, 1, 0, 1]
    assert batch.points.shape == (4, 2, 2)
    assert batch.point_labels.tolist() == [[1, 1], [-10, -10], [1, -10], [-10, -10]]
    assert batch.points[2, 0].tolist() == [5, 6]
    assert batch.has_box.tolist() == [False, True, False, False]
    assert batch.boxes[1].tolist() == [1, 2, 20, 22]
    assert batch.has_mask.tolist() == [False, False, False, True]
    assert batch.ambiguous.tolist() == [False, False, True, False]


def test_types_are_those_of_the_contract():
    """Tensors have the contract's types, also without any point or prompt."""
    for prompts in ([points((1, 2))], [box()], []):
        batch = collate(prompts, [0] * len(prompts), FRAMES, (16, 16))
        assert batch.points.dtype == batch.boxes.dtype == torch.float32
        assert batch.point_labels.dtype == batch.image_index.dtype == torch.int64
        assert batch.has_box.dtype == batch.has_mask.dtype == torch.bool
        assert batch.points.shape[0] == len(batch) == len(prompts)
        assert batch.mask_logits is None


def test_coarse_masks_become_logits_in_each_frame():
    """Inside is +10, outside and padding -10, a half-covered cell 0; a prompt without a mask has zeros."""
    batch = collate([coarse((40, 80), 20), box(), coarse((64, 32), 30)], [0, 0, 1], FRAMES, (16, 16))
    wide, none, tall = batch.mask_logits
    assert wide[:4].eq(10).all()
    assert wide[4:].eq(-10).all()
    assert none.eq(0).all()
    assert tall[:7, :8].eq(10).all()
    assert tall[7, :8].eq(0).all()  # the mask ends at 7.5 cells
    assert tall[:, 8:].eq(-10).all()


def test_add_clicks_appends_one_each():
    """One more click each, the filler label where a prompt gets none, everything else as before."""
    before = collate([points((1, 2), (3, 4)), box()], [0, 1], FRAMES, (16, 16))
    after = add_clicks(before, torch.tensor([[7.0, 8.0], [0.0, 0.0]]), torch.tensor([0, POINT_FILLER]))
    assert after.points.shape == (2, 3, 2)
    assert after.points[0].tolist() == [[1, 2], [3, 4], [7, 8]]
    assert after.point_labels.tolist() == [[1, 1, 0], [-10, -10, -10]]
    assert after.has_box.tolist() == [False, True]
    assert before.points.shape == (2, 2, 2)


def test_add_clicks_to_prompts_without_points():
    """A box alone gets its first click."""
    after = add_clicks(collate([box()], [0], FRAMES, (16, 16)), torch.tensor([[3, 4]]), torch.tensor([1]))
    assert after.points.tolist() == [[[3.0, 4.0]]]
    assert after.point_labels.tolist() == [[1]]
