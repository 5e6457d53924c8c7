"""Mask clean-up: each operation on the window equals the same on the whole image, written out pixel by pixel."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from segtune.core.errors import UsageError
from segtune.segment.crops import MaskCrop
from segtune.segment.refine import Cleanup, parse_cleanup


def eroded(mask, radius):
    """Keep the pixels around which all pixels within the radius are inside; the image's edge is no neighbour."""
    height, width = mask.shape
    y, x = np.mgrid[:height, :width]
    out = mask.copy()
    for outside in np.argwhere(~mask):
        out[(y - outside[0]) ** 2 + (x - outside[1]) ** 2 <= radius**2] = False
    return out


def smoothed(mask, sigma):
    """Weigh the pixels around each by a Gaussian, the image's last rows and columns going on beyond it."""
    radius = math.ceil(3 * sigma)
    along = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    along = np.round(along / along.sum() * 2**20) / 2**20
    along[radius] += 1 - along.sum()
    wide = np.pad(mask.astype(np.float64), radius, mode="edge")
    rows = sum(weight * wide[step : step + mask.shape[0]] for step, weight in enumerate(along))
    return sum(weight * rows[:, step : step + mask.shape[1]] for step, weight in enumerate(along)) > 0.5


def regions(mask):
    """Return each region's map, in the order of its first pixel."""
    count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return sorted((numbers == number for number in range(1, count)), key=lambda one: int(one.argmax()))


def on_the_whole_image(mask, cleanup):
    """Do it all in full size."""
    if not mask.any():
        return mask
    if cleanup.opening >= 1:
        opened = ~eroded(~eroded(mask, cleanup.opening), cleanup.opening)
        mask = opened if opened.any() else mask
    if cleanup.closing >= 1:
        mask = eroded(~eroded(~mask, cleanup.closing), cleanup.closing)
    if cleanup.smooth:
        even = smoothed(mask, cleanup.smooth)
        mask = even if even.any() else mask
    for hole in regions(~mask):
        if hole.sum() < cleanup.holes:
            mask = mask | hole
    parts = regions(mask)
    largest = max(parts, key=lambda one: one.sum())
    kept = [one for one in parts if one.sum() >= cleanup.specks] or [largest]
    return largest if cleanup.largest else np.any(kept, axis=0)


SPECS = (
    "largest", "holes=6", "specks=6", "holes=4,specks=30", "opening=1", "opening=2.5", "closing=1", "closing=3",
    "smooth=0.7", "smooth=2", "opening=1.5,closing=2,smooth=1",
    "largest,holes=20,specks=9,opening=1,closing=2,smooth=1.3",
)  # fmt: skip


@pytest.mark.parametrize("spec", SPECS)
def test_equals_the_whole_image(spec):
    """Wherever the mask lies, at the image's border too, the window alone gives every pixel."""
    draw, cleanup = np.random.default_rng(3), parse_cleanup(spec)
    changed = 0
    for number in range(24):
        height, width = draw.integers(3, 34, 2)
        coarse = draw.random((height // 3 + 1, width // 3 + 1)) < draw.uniform(0.1, 0.9)
        mask = coarse.repeat(3, axis=0).repeat(3, axis=1)[:height, :width] ^ (draw.random((height, width)) < 0.04)
        if number % 2:
            mask[: height // 2] = False
            mask[:, : width // 3] = False
        expected = on_the_whole_image(mask, cleanup)
        np.testing.assert_array_equal(cleanup(MaskCrop.of(mask)).full(), expected)
        changed += bool((expected != mask).any())
    assert changed > 8


@pytest.mark.parametrize("spec", SPECS)
def test_the_size_of_the_image_does_not_matter(spec):
    """In the middle of a larger image the same is done: nothing depends on where the window begins."""
    draw, cleanup = np.random.default_rng(4), parse_cleanup(spec)
    mask = draw.random((21, 23)) < 0.6
    crop = MaskCrop.of(np.pad(mask, 20))
    near = cleanup(crop).full()
    far = cleanup(crop.within((400, 300), 101, 52)).full()
    np.testing.assert_array_equal(far[101 : 101 + 61, 52 : 52 + 63], near)
    assert far.sum() == near.sum()


def test_a_mask_is_never_emptied():
    """A thin line is too thin to be opened or smoothed: it stays; nothing stays nothing."""
    line = np.zeros((30, 30), dtype=np.bool_)
    line[15, 5:25] = True
    for spec in ("opening=3", "smooth=3", "specks=1000"):
        np.testing.assert_array_equal(parse_cleanup(spec)(MaskCrop.of(line)).full(), line)
    nothing = MaskCrop.of(np.zeros((30, 30), dtype=np.bool_))
    for spec in SPECS:
        assert not parse_cleanup(spec)(nothing).inside.size


def test_the_edge_of_the_image_eats_nothing():
    """A mask cut off by the edge stays cut off straight, and one that fills the image stays whole."""
    full = np.ones((20, 24), dtype=np.bool_)
    half = full.copy()
    half[:, 12:] = False
    for spec in ("opening=3", "closing=3", "smooth=2", "holes=5,specks=5,largest"):
        for mask in (full, half):
            np.testing.assert_array_equal(parse_cleanup(spec)(MaskCrop.of(mask)).full(), mask)


def test_nothing_asked_nothing_done():
    """The default cleans nothing, and a mask comes in its tight window."""
    mask = np.random.default_rng(0).random((20, 20)) < 0.4
    cleaned = Cleanup()(MaskCrop((20, 20), 0, 0, mask))
    np.testing.assert_array_equal(cleaned.full(), mask)
    assert str(Cleanup()) == ""


def test_a_text_says_all_of_it():
    """In any order, with spaces; what it is made to text gives the same again."""
    cleanup = parse_cleanup("largest, holes=100,specks=50,smooth=1.5,closing=2 ,opening=2")
    assert cleanup == Cleanup(holes=100, specks=50, largest=True, opening=2, closing=2, smooth=1.5)
    assert str(cleanup) == "holes=100,specks=50,largest,opening=2,closing=2,smooth=1.5"
    assert parse_cleanup(str(cleanup)) == cleanup
    assert parse_cleanup(str(Cleanup(holes=12345678))).holes == 12345678


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hols=3", "Did you mean 'holes'"),
        ("", "no mask clean-up named ''"),
        ("largest,", "no mask clean-up named ''"),
        ("holes", "holes needs a whole number of pixels, but has ''"),
        ("holes=1.5", "holes=100"),
        ("smooth=x", "a number of pixels"),
        ("smooth=nan", "from 0 to 1000"),
        ("opening=-1", "from 0 to 1000"),
        ("specks=-1", "0 or more"),
        ("largest=1", "takes no value"),
        ("holes=1,holes=2", "twice"),
    ],
)
def test_mistakes_are_told(text, told):
    """The rule, the value and the remedy."""
    with pytest.raises(UsageError, match=told):
        parse_cleanup(text)


def test_values_are_checked_in_python_too():
    """A truth value is no number of pixels."""
    with pytest.raises(UsageError, match="whole number"):
        Cleanup(holes=True)
    with pytest.raises(UsageError, match="whole number"):
        Cleanup(specks=2.5)
