"""Polygons become masks and masks polygons, exactly and as COCO's own code does it."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from segtune.core.rle import RunLengths
from segtune.data.formats.coco_rle import compress, decompress
from segtune.data.formats.polygons import join_rings, rasterise, signed_area, trace
from segtune.data.formats.runs import encode_values, from_runs, label_parts, parts_of, runs_of, union

SHAPES = {
    "empty": np.zeros((5, 7), dtype=bool),
    "full": np.ones((5, 7), dtype=bool),
    "pixel": np.eye(1, 1, dtype=bool),
    "diagonal": np.eye(6, 9, dtype=bool),
    "checkers": np.indices((7, 6)).sum(axis=0) % 2 == 0,
    "hole": np.pad(np.zeros((3, 4), dtype=bool), 2, constant_values=True),
}


def random_masks(count: int) -> list[np.ndarray]:
    """Noise and blobs, with holes, parts and corners that touch."""
    rng = np.random.default_rng(0)
    masks = []
    for number in range(count):
        values = rng.random(tuple(rng.integers(1, 50, 2)))
        masks.append(cv2.GaussianBlur(values, (0, 0), 2) > 0.5 if number % 2 else values < rng.random())
    return masks


@pytest.fixture(params=[*SHAPES.values(), *random_masks(20)], ids=str)
def mask(request):
    return request.param


def test_traced_and_filled_it_is_the_same(mask):
    """The outlines of a mask, filled, are the mask: with holes, with many parts, with corners that touch."""
    runs = RunLengths.encode(mask)
    assert rasterise(trace(runs), mask.shape) == runs


def test_joined_rings_are_the_same_mask(mask):
    """One ring with seams fills the same pixels, also in shares of the image's sides with seven digits."""
    runs = RunLengths.encode(mask)
    ring = join_rings(trace(runs))
    assert rasterise([[ring]], mask.shape) == runs
    height, width = mask.shape
    shares = np.array([[float(f"{x / width:.7f}"), float(f"{y / height:.7f}")] for x, y in ring]).reshape(-1, 2)
    assert rasterise([[shares * (width, height)]], mask.shape) == runs


def test_rings_of_each_part(mask):
    """Each 4-connected part is a polygon whose first ring is its outline; areas add up."""
    polygons = trace(RunLengths.encode(mask))
    assert len(polygons) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1
    for rings in polygons:
        assert abs(signed_area(rings[0])) == max(abs(signed_area(ring)) for ring in rings)


def test_centres_decide():
    """A pixel is inside when its centre is: a box from 1 to 4 has three columns, one from 1.6 to 4.4 two."""
    square = np.array([[1, 1], [4, 1], [4, 4], [1, 4]], dtype=float)
    assert rasterise([[square]], (6, 6)).box == (1, 1, 4, 4)
    inner = np.array([[1.6, 1.6], [4.4, 1.6], [4.4, 4.4], [1.6, 4.4]])
    assert rasterise([[inner]], (6, 6)).box == (2, 2, 4, 4)


def test_cut_off_at_the_border():
    """What lies outside the image is cut off, on every side."""
    around = np.array([[-50, -50], [90, -50], [90, 90], [-50, 90]], dtype=float)
    assert rasterise([[around]], (8, 5)).area == 40
    beside = around + 200
    assert rasterise([[beside]], (8, 5)).area == 0


def test_holes_and_unions():
    """A ring inside a ring is a hole; two polygons together are their union, not their difference."""
    outer = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], dtype=float)
    inner = outer * 0.4 + 3
    assert rasterise([[outer, inner]], (10, 10)).area == 100 - 16
    assert rasterise([[outer], [inner]], (10, 10)).area == 100
    assert rasterise([[outer], [outer + 5]], (20, 20)).area == 175


def test_degenerate_rings():
    """Points and lines enclose nothing."""
    line = np.array([[1, 1], [5, 5]], dtype=float)
    flat = np.array([[1, 1], [5, 5], [1, 1]], dtype=float)
    for polygons in ([], [[line]], [[flat]], [[np.zeros((0, 2))]]):
        assert rasterise(polygons, (6, 6)).area == 0
    assert join_rings([]).shape == (0, 2)


def test_as_pycocotools_fills():
    """Random outlines agree with pycocotools but for its grid of a fifth of a pixel at the rim."""
    coco = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(1)
    for _ in range(40):
        ring = rng.random((9, 2)) * (90, 70)
        theirs = coco.decode(coco.merge(coco.frPyObjects([ring.ravel().tolist()], 70, 90))).astype(bool)
        ours = rasterise([[ring]], (70, 90)).decode()
        both = (theirs | ours).astype(np.uint8)
        rim = cv2.morphologyEx(both, cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
        assert not ((ours != theirs) & ~rim).any()
        assert (ours != theirs).sum() <= 0.08 * rim.sum()


def test_pycocotools_fills_our_outlines(mask):
    """An outline along pixel edges is filled by pycocotools to the very same mask."""
    coco = pytest.importorskip("pycocotools.mask")
    polygons = trace(RunLengths.encode(mask))
    if not polygons or any(len(rings) > 1 for rings in polygons):
        return
    flat = [rings[0].ravel().tolist() for rings in polygons]
    theirs = coco.decode(coco.merge(coco.frPyObjects(flat, *mask.shape)))
    np.testing.assert_array_equal(theirs.astype(bool), mask)


def test_compressed_runs_are_those_of_pycocotools(mask):
    """Our strings are theirs, both ways."""
    coco = pytest.importorskip("pycocotools.mask")
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    counts = RunLengths.encode(mask).counts
    assert compress(counts) == theirs
    np.testing.assert_array_equal(decompress(theirs), counts)


def test_compressed_runs_of_any_length():
    """Counts of one up to seven characters survive, growing and shrinking."""
    counts = np.array([0, 1, 15, 16, 31, 32, 5000, 3, 2**20, 7, 2**31, 1, 2**32 - 1, 0, 12], dtype=np.uint32)
    np.testing.assert_array_equal(decompress(compress(counts)), counts)
    assert decompress("").size == 0


@pytest.mark.parametrize("text", ["\n\n", "P", "zzz", "0O"])
def test_strings_that_are_no_runs(text):
    """A string with other characters, without an end or with negative lengths is an error."""
    with pytest.raises(ValueError, match=r"string"):
        decompress(text)


def test_runs_of_values(mask):
    """Each value of a label map is encoded as if it were alone."""
    values = label_parts(mask) * 3
    encoded = encode_values(values)
    assert sorted(encoded) == [value for value in np.unique(values) if value]
    for value, runs in encoded.items():
        assert runs == RunLengths.encode(values == value)


def test_union_of_runs():
    """Unions of overlapping, touching and empty masks equal those of the pixels, in the one canonical form."""
    masks = [one for one in random_masks(60) if one.shape[0] > 20 and one.shape[1] > 20]
    masks = [one[:20, :20] for one in masks] + [np.zeros((20, 20), dtype=bool), np.ones((20, 20), dtype=bool)]
    for first, second in pairwise(masks):
        assert union([RunLengths.encode(first), RunLengths.encode(second)]) == RunLengths.encode(first | second)


def test_parts(mask):
    """Parts are 8-connected, disjoint, and together the mask; runs survive their way out and back."""
    runs = RunLengths.encode(mask)
    parts = parts_of(runs)
    assert len(parts) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    assert sum(part.area for part in parts) == runs.area
    if parts:
        assert union(parts) == runs
    assert from_runs(mask.shape, *runs_of(runs)) == runs
