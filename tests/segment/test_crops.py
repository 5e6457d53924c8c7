"""Masks held as the part that is not empty are the masks they stand for."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segtune.core.rle import RunLengths
from segtune.data.formats.annotations import whole_runs
from segtune.data.formats.coco_rle import compress, read_counts
from segtune.data.formats.runs import union
from segtune.segment.crops import MaskCrop, in_common_window
from segtune.segment.outputs import OUTPUTS, Found, Result


def mask_of(*boxes):
    """Return bool [30, 40] with these boxes (rows and columns, the ends left out) filled."""
    mask = np.zeros((30, 40), dtype=np.bool_)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


EMPTY, CORNER, LOW, WIDE = mask_of(), mask_of((0, 3, 0, 5)), mask_of((20, 30, 33, 40)), mask_of((5, 7, 2, 38))


@pytest.mark.parametrize("mask", [EMPTY, CORNER, LOW, WIDE, ~EMPTY, CORNER | LOW])
def test_a_crop_is_the_tight_box_and_stands_for_the_whole(mask):
    """No more is held than the box around it, and made whole again it is bit for bit the same."""
    crop = MaskCrop.of(mask)
    np.testing.assert_array_equal(crop.full(), mask)
    if mask.any():
        assert crop.inside.any(axis=0)[[0, -1]].all()
        assert crop.inside.any(axis=1)[[0, -1]].all()
    else:
        assert crop.inside.size == 0


@pytest.mark.parametrize("ignore", [None, EMPTY, CORNER, WIDE, ~EMPTY])
def test_ignored_pixels_are_taken_out_of_a_crop_where_they_lie(ignore):
    """As they would be taken out of the whole mask."""
    mask = CORNER | WIDE
    expected = mask if ignore is None else mask & ~ignore
    np.testing.assert_array_equal(MaskCrop.of(mask).without(ignore).full(), expected)


@pytest.mark.parametrize("one", [EMPTY, CORNER, LOW, WIDE])
@pytest.mark.parametrize("other", [EMPTY, CORNER, LOW, WIDE])
def test_two_crops_are_compared_in_one_place(one, other):
    """In the common window both lie as in the image, and nothing of either is outside it."""
    first, second, left, top = in_common_window(MaskCrop.of(one), MaskCrop.of(other))
    for found, mask in ((first, one), (second, other)):
        rows, columns = slice(top, top + found.shape[0]), slice(left, left + found.shape[1])
        np.testing.assert_array_equal(found, mask[rows, columns])
        assert found.sum() == mask.sum()


def test_an_empty_mask_does_not_widen_the_window():
    """Where nothing was predicted the window is the truth's own box, not one that reaches to the corner."""
    found, _, left, top = in_common_window(MaskCrop.of(LOW), MaskCrop.of(EMPTY))
    assert (found.shape, left, top) == ((10, 7), 33, 20)


def test_run_lengths_of_a_crop_are_those_of_the_whole_mask():
    """They are made from the window alone, also where columns are full and runs join."""
    rng = np.random.default_rng(0)
    for number in range(300):
        mask = rng.random(rng.integers(1, 9, 2)) < rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        if number % 3 == 0:
            mask[:, rng.integers(mask.shape[1])] = True
        assert MaskCrop.of(mask).runs() == RunLengths.encode(mask)
        assert MaskCrop(mask.shape, 0, 0, mask).runs() == RunLengths.encode(mask)


VAST = (80_000, 80_000)
PLACES = [(70_001, 60_000), (0, 0), (79_990, 79_993)]


@pytest.mark.parametrize(("top", "left"), PLACES)
def test_a_mask_of_a_vast_image_is_where_it_was(top, left):
    """Of 2^32 pixels and more, whatever lies in front of the object or behind it."""
    inside = np.random.default_rng(top).random((9, 7)) < 0.5
    inside[:, [0, -1]] = inside[[0, -1]] = True
    runs = MaskCrop(VAST, top, left, inside).runs()
    assert runs.box == (left, top, left + 7, top + 9)
    assert runs.area == inside.sum()
    assert runs.counts.sum(dtype=np.int64) == VAST[0] * VAST[1]
    back = MaskCrop.of_runs(runs)
    assert (back.top, back.left) == (top, left)
    np.testing.assert_array_equal(back.inside, inside)


def test_a_vast_mask_is_joined_written_and_read_back(tmp_path):
    """Run lengths in JSON and COCO's strings, and outlines, tell the place too."""
    pieces = [MaskCrop(VAST, top, left, np.ones((9, 7), np.bool_)) for top, left in PLACES]
    joined = union([piece.runs() for piece in pieces])
    assert joined.box == (0, 0, 80_000, 79_999)
    assert joined.area == 3 * 63
    assert whole_runs(read_counts(compress(joined.counts)), VAST) == joined
    assert whole_runs(read_counts(joined.counts.tolist()), VAST) == joined
    result = Result("a.tif", "a", VAST, tuple(Found(piece.runs(), "cell", 0.9) for piece in pieces))
    for kind in ("rle", "geojson"):
        OUTPUTS[kind].write(tmp_path, result, ["cell"])
    told = json.loads((tmp_path / "a.json").read_text())["annotations"]
    for one, piece in zip(told, pieces, strict=True):
        assert one["bbox"] == [piece.left, piece.top, 7, 9]
        assert whole_runs(read_counts(one["segmentation"]["counts"]), VAST) == piece.runs()
    shapes = json.loads((tmp_path / "a.geojson").read_text())["features"]
    corners = [np.array(shape["geometry"]["coordinates"][0]).min(axis=0).tolist() for shape in shapes]
    assert corners == [[piece.left, piece.top] for piece in pieces]
