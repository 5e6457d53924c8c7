"""How much of each cell a mask covers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from segtune.core.geometry import Frame, masks_to_frame


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
