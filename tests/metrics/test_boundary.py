"""Boundary IoU against its definition, worked out slowly on the whole image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segtune.metrics.boundary import boundary_distance, boundary_iou, boundary_overlap
from segtune.metrics.region import mask_iou


def eroded_once(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    height, width = mask.shape
    return np.all([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)


def slow_boundary(mask: np.ndarray, distance: int) -> np.ndarray:
    eroded = mask
    for _ in range(distance):
        eroded = eroded_once(eroded)
    return mask & ~eroded


def slow_boundary_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    distance = max(1, round(0.02 * float(np.hypot(*truth.shape))))
    one, other = slow_boundary(predicted, distance), slow_boundary(truth, distance)
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def blob(seed: int, size: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    mask = np.zeros(size, dtype=bool)
    for _ in range(3):
        row, column = rng.uniform(0, size[0]), rng.uniform(0, size[1])
        mask |= np.hypot(y - row, x - column) < rng.uniform(3, 0.35 * min(size))
    return mask


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [(40, 50), (120, 90), (200, 160)])
def test_equals_the_definition(seed, size):
    """Working in the objects' box gives exactly what iterated erosion of the whole image gives."""
    predicted, truth = blob(seed, size), blob(seed + 100, size) | blob(seed, size)
    found = boundary_iou(torch.from_numpy(predicted)[None], torch.from_numpy(truth)[None]).item()
    assert found == slow_boundary_iou(predicted, truth)


def test_image_border_is_boundary():
    """An object that fills the image has its boundary along the image's border."""
    full = torch.ones(1, 100, 100, dtype=torch.bool)
    hollow = full.clone()
    hollow[0, 3:97, 3:97] = False  # 2 % of the diagonal rounds to 3 pixels
    assert boundary_iou(hollow, full).item() == 1.0
    assert mask_iou(hollow, full).item() < 0.2


def test_sees_what_iou_hides():
    """A large object whose outline is three pixels off keeps its IoU and loses its boundary IoU."""
    truth = torch.zeros(1, 400, 400, dtype=torch.bool)
    truth[0, 50:350, 50:350] = True
    off = truth.roll((6, 6), (1, 2))
    assert mask_iou(off, truth).item() > 0.9
    assert boundary_iou(off, truth).item() < 0.6


def test_ignored_pixels_go_before_the_outline_is_found():
    """The outline is that of the object without its ignored pixels."""
    truth, predicted = (torch.from_numpy(blob(seed, (90, 90)))[None] for seed in (1, 2))
    ignore = torch.zeros(90, 90, dtype=torch.bool)
    ignore[:, 40:52] = True
    assert boundary_iou(predicted, truth, ignore).item() == boundary_iou(predicted & ~ignore, truth & ~ignore).item()


def test_masks_that_are_views():
    """Masks that are slices or transposed views of larger tensors score like their copies."""
    stack = torch.from_numpy(np.stack([blob(seed, (60, 80)) for seed in range(4)]))
    one, other = stack[::2].transpose(1, 2), stack[1::2].transpose(1, 2)
    assert torch.equal(boundary_iou(one, other), boundary_iou(one.clone(), other.clone()))


def test_counts_of_a_window_are_those_of_the_image():
    """Counting in a window beyond which both masks are empty gives the whole image's counts."""
    predicted, truth = (torch.from_numpy(np.pad(blob(seed, (80, 80)), 60))[None] for seed in (3, 4))
    distance = boundary_distance((200, 200))
    whole = boundary_overlap(predicted, truth, distance=distance)
    window = boundary_overlap(predicted[:, 60:140, 60:140], truth[:, 60:140, 60:140], distance=distance)
    assert whole == window


@pytest.mark.parametrize(("size", "distance"), [((1024, 1024), 29), ((300, 400), 10), ((4, 4), 1)])
def test_width_is_two_percent_of_the_diagonal(size, distance):
    """The boundary is 2 % of the diagonal wide, and at least one pixel."""
    assert boundary_distance(size) == distance


def test_an_object_just_wide_enough_has_an_inside():
    """A square of twice the width plus one loses its middle pixel to the erosion; one pixel narrower loses none."""
    masks = torch.zeros(2, 40, 40, dtype=torch.bool)
    masks[0, 5:16, 5:16] = True
    masks[1, 5:15, 5:15] = True
    assert boundary_overlap(masks, masks, distance=5).truth.tolist() == [11 * 11 - 1, 10 * 10]
