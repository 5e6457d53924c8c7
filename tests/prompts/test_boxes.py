"""Tight, loose and jittered boxes, and the prompts that mix boxes with points."""

from __future__ import annotations

import numpy as np
import pytest

from segtune.prompts.boxes import box, inner_box, jittered_box, loose_box
from segtune.prompts.mixed import alternate, point_box
from segtune.prompts.points import click

SIZE = (300, 400)
TIGHT = np.array([100, 60, 220, 110])


def rectangle() -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[60:110, 100:220] = True
    return mask


def boxes(simulate, mask: np.ndarray, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([simulate(mask, rng).box for _ in range(count)])


def test_tight_box_ends_one_past_the_object():
    """A tight box starts at the first pixel and ends one past the last."""
    assert box(rectangle(), np.random.default_rng(0)).box.tolist() == TIGHT.tolist()


def test_loose_box_moves_each_side_outward_up_to_a_fifth():
    """Each side lies 0 to 20 % of the box outward, spread over all of that range."""
    outward = (boxes(loose_box, rectangle(), 500) - TIGHT) * [-1, -1, 1, 1] / [120, 50, 120, 50]
    assert outward.min() >= 0
    assert outward.max() <= 0.2 + 1e-6
    assert np.abs(outward.mean(axis=0) - 0.1).max() < 0.01


def test_loose_box_records_its_shares():
    """The recorded shares rebuild the box."""
    prompt = loose_box(rectangle(), np.random.default_rng(3))
    drawn = prompt.drawn
    rebuilt = TIGHT + np.array([-120, -50, 120, 50]) * [
        drawn[f"outward_{side}"] for side in ("left", "top", "right", "bottom")
    ]
    assert prompt.box == pytest.approx(rebuilt, rel=1e-5)


def test_jitter_is_a_tenth_of_the_side():
    """On a box small enough for the limit not to bite, the noise deviates by 10 % of each side."""
    deviation = (boxes(jittered_box, rectangle(), 3000) - TIGHT).std(axis=0)
    assert deviation == pytest.approx([12, 5, 12, 5], rel=0.12)


def test_jitter_is_limited_to_twenty_pixels():
    """However large the object, no coordinate moves more than 20 pixels."""
    mask = np.zeros((900, 900), dtype=bool)
    mask[100:800, 100:800] = True
    moved = np.abs(boxes(jittered_box, mask, 200) - [100, 100, 800, 800])
    assert moved.max() == 20


def test_boxes_stay_in_the_image_and_keep_their_order():
    """Even a one-pixel object at the border with huge noise keeps a box of some area within the image."""
    mask = np.zeros((20, 20), dtype=bool)
    mask[0, 19] = True
    rng = np.random.default_rng(0)
    for _ in range(200):
        x0, y0, x1, y1 = jittered_box(mask, rng, deviation=5.0).box
        assert 0 <= x0 < x1 <= 20
        assert 0 <= y0 < y1 <= 20
        assert (x0, y1) != (x1, y0)


def test_point_box_is_both():
    """Point and box together are the inner centre's click and the tight box."""
    rng = np.random.default_rng(0)
    prompt = point_box(rectangle(), rng)
    assert prompt.points.tolist() == click(rectangle(), rng).points.tolist()
    assert prompt.box.tolist() == TIGHT.tolist()


def test_alternate_is_a_point_or_a_box_by_equal_chance():
    """Half of the prompts are one random click, the other half one jittered box, and the record says which."""
    rng = np.random.default_rng(0)
    prompts = [alternate(rectangle(), rng) for _ in range(600)]
    boxed = [prompt.box is not None for prompt in prompts]
    assert all(len(prompt.points) == (prompt.box is None) for prompt in prompts)
    assert [prompt.drawn["box"] for prompt in prompts] == [float(one) for one in boxed]
    assert abs(np.mean(boxed) - 0.5) < 0.08


def test_an_inner_box_holds_nothing_but_the_mask():
    """Every pixel whose centre lies in the box is inside, in masks with holes and in bands one pixel wide too."""
    y, x = np.mgrid[:60, :80]
    holed = (np.hypot(y - 30, x - 40) < 28) & (np.hypot(y - 25, x - 45) > 6)
    for mask in (holed, y == 17, ~holed, np.ones((60, 80), dtype=bool)):
        for seed in range(40):
            x0, y0, x1, y1 = inner_box(mask, np.random.default_rng(seed)).box
            within = (x + 0.5 > x0) & (x + 0.5 < x1) & (y + 0.5 > y0) & (y + 0.5 < y1)
            assert within.any()
            assert mask[within].all()
