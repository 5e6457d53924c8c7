"""Objects and the prompts drawn for them."""

from __future__ import annotations

import numpy as np
import pytest

from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.evaluation.targets import AT_ONCE, Target, draw_prompt, draw_targets
from segtune.segment.crops import MaskCrop

SIMULATORS = ("click", "random_click", "box", "loose_box", "point_box", "mask")


def everything(prompt):
    """Return all that a prompt is made of, to compare."""
    box = None if prompt.box is None else prompt.box.tolist()
    mask = None if prompt.mask is None else RunLengths.encode(prompt.mask).counts.tolist()
    return prompt.points.tolist(), prompt.point_labels.tolist(), box, mask


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_prompt_depends_on_seed_image_object_and_simulator_only(sample, simulator):
    """The same object gets the same prompt whatever else is drawn, and in whatever order."""
    one = sample(5, objects=3)
    alone = next(iter(draw_targets(one, None, [simulator], 7)))
    among = next(iter(draw_targets(one, None, SIMULATORS[::-1], 7)))
    for a, b in zip(alone, among, strict=True):
        assert everything(a.prompts[simulator]) == everything(b.prompts[simulator])


@pytest.mark.parametrize("simulator", ["random_click", "loose_box", "mask"])
def test_seed_image_and_object_change_what_is_drawn(simulator):
    """Random prompts differ between seeds, images and objects of one shape."""
    truth = np.zeros((60, 80), dtype=np.bool_)
    truth[10:50, 20:70] = True
    variants = [(0, "a.png", 0), (1, "a.png", 0), (0, "b.png", 0), (0, "a.png", 1)]
    drawn = [everything(draw_prompt(simulator, truth, None, *variant)) for variant in variants]
    assert all(drawn[0] != other for other in drawn[1:])


def test_objects_come_in_bounded_chunks(sample):
    """Many objects are split so that no decode grows with their number."""
    chunks = list(draw_targets(sample(1, objects=2 * AT_ONCE + 3), None, ["box"], 0))
    assert [len(chunk) for chunk in chunks] == [AT_ONCE, AT_ONCE, 3]
    assert [target.index for chunk in chunks for target in chunk] == list(range(2 * AT_ONCE + 3))


def test_large_images_come_in_smaller_chunks(sample):
    """Full-size masks held at once are bounded in pixels."""
    chunks = list(draw_targets(sample(1, objects=2, size=(2500, 4000)), None, ["box"], 0))
    assert [len(chunk) for chunk in chunks] == [1, 1]


def test_objects_without_a_counted_pixel_are_left_out(sample):
    """An empty mask and one that is ignored throughout are no objects."""
    masks = np.zeros((3, 40, 40), dtype=np.bool_)
    masks[0, 5:9, 5:9] = True
    masks[2, 20:30, 20:30] = True
    ignore = np.zeros((40, 40), dtype=np.bool_)
    ignore[:15] = True
    one = Sample("x", (40, 40), tuple(RunLengths.encode(mask) for mask in masks), ("object",) * 3, read=lambda: None)
    (chunk,) = draw_targets(one, ignore, ["box"], 0)
    assert [target.index for target in chunk] == [2]


def test_ignored_pixels_are_no_part_of_an_object(sample):
    """The truth, its area and its prompts leave ignored pixels out."""
    one = sample(4, objects=1, ignore=True)
    ignore = one.ignore_mask()
    (chunk,) = draw_targets(one, ignore, SIMULATORS, 0)
    np.testing.assert_array_equal(chunk[0].truth.full(), one.masks()[0] & ~ignore)
    assert chunk[0].area == int((one.masks()[0] & ~ignore).sum())
    for simulator in ("click", "random_click"):
        x, y = chunk[0].prompts[simulator].points[0].astype(int)
        assert not ignore[y, x]


@pytest.mark.parametrize(
    ("pixels", "bucket"), [(1, "small"), (99, "small"), (100, "medium"), (1000, "large"), (10000, "large")]
)
def test_size_buckets(pixels, bucket):
    """Small is below 1 % of the image, large from 10 % on."""
    mask = np.zeros(10000, dtype=np.bool_)
    mask[:pixels] = True
    assert Target(0, MaskCrop.of(mask.reshape(100, 100)), pixels, {}).bucket == bucket
