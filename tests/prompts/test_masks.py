"""Coarse masks: always as wrong as they should be."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from segtune.metrics.region import mask_iou
from segtune.prompts.masks import mask

SIZE = (90, 120)


def shapes() -> dict[str, np.ndarray]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    radius = np.hypot(y - 45, x - 60)
    rng = np.random.default_rng(0)
    return {
        "disc": radius < 25,
        "ring": (radius < 35) & (radius > 31),
        "line": (y == 20) & (x > 5) & (x < 110),
        "everything": np.ones(SIZE, dtype=bool),
        "all but one": ~((y == 0) & (x == 0)),
        "corner": (y > 75) & (x > 100),
        "specks": rng.random(SIZE) > 0.97,
        "two pixels": (y == 50) & (x >= 7) & (x < 9),
        "five pixels": (y == 0) & (x < 5),
    }


def score(coarse: np.ndarray, truth: np.ndarray) -> float:
    return mask_iou(torch.from_numpy(coarse)[None], torch.from_numpy(truth)[None]).item()


@pytest.mark.parametrize("name", sorted(shapes()))
def test_iou_with_the_truth_is_in_range(name):
    """Whatever the shape and the seed, the coarse mask has an IoU of .60 to .80 with the truth, and says which."""
    truth = shapes()[name]
    for seed in range(12):
        prompt = mask(truth, np.random.default_rng(seed))
        assert 0.60 <= score(prompt.mask, truth) <= 0.80
        assert prompt.drawn["iou"] == pytest.approx(score(prompt.mask, truth))
        assert len(prompt.points) == 0
        assert prompt.box is None


def test_hits_the_drawn_iou():
    """On an object of some size the IoU is the drawn one to a hundredth, and the draws spread over the range."""
    drawn = [mask(shapes()["disc"], np.random.default_rng(seed)).drawn for seed in range(40)]
    assert all(abs(one["iou"] - one["target_iou"]) < 0.01 for one in drawn)
    assert np.ptp([one["iou"] for one in drawn]) > 0.1


def test_both_misses_and_adds():
    """Over seeds the coarse mask both loses pixels of the object and gains pixels around it."""
    truth = shapes()["disc"]
    coarse = [mask(truth, np.random.default_rng(seed)).mask for seed in range(10)]
    assert sum(bool((truth & ~one).sum() > 50 and (one & ~truth).sum() > 50) for one in coarse) >= 8


def test_a_single_pixel_gets_the_nearest_there_is():
    """One pixel has no mask of such an IoU: one half or one is returned, never nothing."""
    truth = np.zeros(SIZE, dtype=bool)
    truth[30, 30] = True
    for seed in range(10):
        coarse = mask(truth, np.random.default_rng(seed)).mask
        assert score(coarse, truth) in (0.5, 1.0)
        assert coarse[30, 30]


def test_depends_on_the_truth_and_the_seed_alone():
    """The same object elsewhere in the image gets the same coarse mask, moved along."""
    truth = np.zeros((200, 200), dtype=bool)
    truth[60:90, 70:100] = True
    moved = np.roll(truth, (17, 9), (0, 1))
    one, other = (mask(each, np.random.default_rng(4)).mask for each in (truth, moved))
    assert np.array_equal(np.roll(one, (17, 9), (0, 1)), other)


def test_grows_around_the_object_only():
    """What is added hangs together with the object: no islands, nothing along the image border."""
    truth = shapes()["disc"]
    for seed in range(30):
        coarse = mask(truth, np.random.default_rng(seed)).mask
        _, regions = cv2.connectedComponents(coarse.view(np.uint8))
        islands = coarse & ~np.isin(regions, regions[truth & coarse])
        assert not islands.any()
        assert not coarse[[0, -1]].any()


def test_a_very_long_image():
    """An image longer than OpenCV can warp at once still gets its coarse mask."""
    truth = np.zeros((4, 40_000), dtype=bool)
    truth[1:3, 100:-100] = True
    assert 0.60 <= score(mask(truth, np.random.default_rng(0)).mask, truth) <= 0.80
