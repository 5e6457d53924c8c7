"""Masks at original size, computed only where they can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segtune.core.geometry import Frame, logits_to_image
from segtune.segment.crops import MaskCrop, in_common_window
from segtune.segment.enlarge import Enlarger

FRAMES = [
    (Frame.longest_side((90, 140), 128), 32),
    (Frame.longest_side((529, 322), 256), 64),
    (Frame.stretched((71, 200), 128), 32),
    (Frame.longest_side((20, 30), 128), 32),
    (Frame.longest_side((1100, 700), 128), 32),
    (Frame.longest_side((64, 64), 64), 20),
]


def smooth(cells: int, seed: int, shift: float) -> torch.Tensor:
    """Draw logits with a few smooth regions."""
    coarse = torch.randn((1, 1, 6, 6), generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (cells, cells), mode="bicubic")[0, 0] * 5 + shift


@pytest.mark.parametrize(("frame", "cells"), FRAMES)
@pytest.mark.parametrize("shift", [-8.0, -4.0, 0.0, 4.0, 30.0])
def test_equals_the_reference_pixel_for_pixel(frame, cells, shift):
    """Every pixel is what resizing the whole square gives, for no object, small ones and full images."""
    enlarge = Enlarger(frame, (cells, cells))
    for seed in range(8):
        logits = smooth(cells, seed, shift)
        expected = (logits_to_image(logits, frame) > 0).numpy()
        found = enlarge(logits)
        np.testing.assert_array_equal(found.full(), expected)


@pytest.mark.parametrize(("frame", "cells"), FRAMES)
def test_rounding_never_decides(frame, cells):
    """Logits of plus and minus the same value make pixels of exactly zero, which the reference decides."""
    draw = torch.Generator().manual_seed(3)
    enlarge = Enlarger(frame, (cells, cells))
    for _ in range(5):
        logits = torch.randint(0, 2, (cells, cells), generator=draw) * 2.0 - 1.0
        np.testing.assert_array_equal(enlarge(logits).full(), (logits_to_image(logits, frame) > 0).numpy())


def test_a_single_positive_cell_costs_a_small_window():
    """The window follows the object, not the image."""
    frame = Frame.longest_side((900, 900), 512)
    logits = torch.full((128, 128), -5.0)
    logits[40, 90] = 20.0
    crop = Enlarger(frame, (128, 128))(logits)
    assert crop.inside.any()
    assert max(crop.inside.shape) < 40
    np.testing.assert_array_equal(crop.full(), (logits_to_image(logits, frame) > 0).numpy())


def test_positive_cells_in_the_padding_make_no_mask():
    """What a model claims beyond the image is cut off."""
    frame = Frame.longest_side((40, 160), 128)
    logits = torch.full((32, 32), -5.0)
    logits[20:, :] = 5.0
    assert not Enlarger(frame, (32, 32))(logits).full().any()


def test_logits_that_are_no_numbers_make_what_the_reference_makes():
    """A diverged model is scored, not crashed on."""
    frame = Frame.longest_side((60, 60), 64)
    logits = smooth(16, 1, 0.0)
    logits[3, 4] = torch.nan
    logits[5, 5] = torch.inf
    np.testing.assert_array_equal(
        Enlarger(frame, (16, 16))(logits).full(), (logits_to_image(logits, frame) > 0).numpy()
    )


def test_a_crop_is_its_mask():
    """Cutting to the tight box loses nothing."""
    mask = np.zeros((30, 50), dtype=np.bool_)
    mask[3:9, 40:50] = np.random.default_rng(0).random((6, 10)) > 0.4
    crop = MaskCrop.of(mask)
    np.testing.assert_array_equal(crop.full(), mask)
    assert crop.inside.shape[0] <= 6
    assert not MaskCrop.of(np.zeros((5, 5), dtype=np.bool_)).full().any()


def test_ignored_pixels_are_taken_out():
    """A crop without ignored pixels is the mask without them."""
    mask = np.ones((12, 9), dtype=np.bool_)
    ignore = np.zeros_like(mask)
    ignore[4:6] = True
    np.testing.assert_array_equal(MaskCrop.of(mask).without(ignore).full(), mask & ~ignore)


@pytest.mark.parametrize("empty", [(), (0,), (1,), (0, 1)])
def test_common_window_keeps_both_masks(empty):
    """Two masks in their common window are the masks, also when one or both are empty."""
    masks = np.zeros((2, 40, 60), dtype=np.bool_)
    masks[0, 2:10, 30:60] = True
    masks[1, 20:33, 5:40] = True
    masks[list(empty)] = False
    one, other, left, top = in_common_window(*(MaskCrop.of(mask) for mask in masks))
    for window, mask in zip((one, other), masks, strict=True):
        back = np.zeros_like(mask)
        back[top : top + window.shape[0], left : left + window.shape[1]] = window
        np.testing.assert_array_equal(back, mask)


def test_a_crop_moves_into_a_larger_image():
    """A mask of a part of an image lies in the whole image where that part lies."""
    mask = np.zeros((10, 12), dtype=np.bool_)
    mask[3:5, 2:7] = True
    moved = MaskCrop(mask.shape, 0, 0, mask).tight().within((40, 50), 20, 30)
    expected = np.zeros((40, 50), dtype=np.bool_)
    expected[20:30, 30:42] = mask
    np.testing.assert_array_equal(moved.full(), expected)
    assert moved.inside.shape == (2, 5)


@pytest.mark.parametrize(("frame", "cells"), FRAMES)
@pytest.mark.parametrize("shift", [-8.0, 0.0, 4.0, 30.0])
def test_levels_equal_the_reference(frame, cells, shift):
    """Masks above several levels are those of the whole square enlarged, but for pixels that round to the level."""
    enlarge = Enlarger(frame, (cells, cells))
    for seed in range(4):
        logits = smooth(cells, seed, shift)
        values = logits_to_image(logits, frame).numpy()
        for level, found in zip((1.0, 0.0, -2.5), enlarge.levels(logits, (1.0, 0.0, -2.5)), strict=True):
            differ = found.full() != (values > level)
            assert np.abs(values[differ] - level).max(initial=0) < 1e-4


@pytest.mark.parametrize(("frame", "cells"), FRAMES)
@pytest.mark.parametrize("offset", [0.0, 0.5, 1.0, 3.0])
def test_the_bound_of_stability_is_never_below_it(frame, cells, offset):
    """No mask that is stable at original size looks unstable at the model's output size."""
    enlarge = Enlarger(frame, (cells, cells))
    noise = torch.randn((20, cells, cells), generator=torch.Generator().manual_seed(1)) * 2
    logits = torch.cat([noise, torch.stack([smooth(cells, seed, seed % 3 - 2.0) for seed in range(20)])])
    values = logits_to_image(logits, frame)
    stability = (values > offset).sum(dim=(1, 2)) / (values > -offset).sum(dim=(1, 2))
    limit = enlarge.stability_limit(logits, offset)
    assert not bool((limit < stability * (1 - 1e-5)).any())


def test_the_bound_of_stability_is_close_for_large_masks():
    """Where the outline is a small part of the mask, the bound says what the mask is worth."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    disc = 25 - torch.hypot(y - 31.5, x - 31.5)
    frame = Frame.longest_side((400, 400), 256)
    limit = Enlarger(frame, (64, 64)).stability_limit((disc / 5)[None], 1.0)
    assert 0.45 < float(limit) < 0.6  # (20 / 30)² is 0.44
    nothing = torch.full((1, 64, 64), -9.0)
    assert torch.isnan(Enlarger(frame, (64, 64)).stability_limit(nothing, 1.0)).all()


@pytest.mark.parametrize(("frame", "cells"), FRAMES)
@pytest.mark.parametrize("shift", [-30.0, -8.0, 0.0, 4.0])
def test_probabilities_are_the_sigmoid_of_the_reference(frame, cells, shift):
    """In whole 255ths, and 0 where nothing was computed."""
    logits = smooth(cells, 3, shift)
    expected = 255 * torch.sigmoid(logits_to_image(logits, frame)).numpy()
    found = Enlarger(frame, (cells, cells)).probability(logits).full()
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 0.501
