"""Non-maximum suppression of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from segtune.segment.suppression import suppress


def one_by_one(boxes, scores, threshold):
    """Return what stays, by the definition."""
    left = sorted(range(len(boxes)), key=lambda row: -scores[row])
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [row for row in left if overlap(boxes[best], boxes[row]) <= threshold]
    return kept


def overlap(one, other):
    """Return the IoU of two boxes."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - width * height
    return width * height / union if union > 0 else 0.0


@pytest.mark.parametrize("threshold", [0.0, 0.31, 0.7, 1.0])
def test_equals_the_definition(threshold):
    """Greedy from the best on, equal scores in their order, boxes without area among them."""
    draw = np.random.default_rng(0)
    for count in (0, 1, 2, 60):
        corner, sides = draw.integers(0, 20, (count, 2)), draw.integers(0, 15, (count, 2))
        boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
        scores = (draw.integers(0, 5, count) / 4).astype(np.float32)
        assert suppress(boxes, scores, threshold).tolist() == one_by_one(boxes.tolist(), scores.tolist(), threshold)


def test_an_overlap_of_the_threshold_stays():
    """Only more than the threshold is a double: 7 of 10 pixels at 0.7."""
    boxes = np.array([[0, 0, 10, 1], [0, 0, 7, 1]], dtype=np.float32)
    assert suppress(boxes, np.array([1, 0.5], dtype=np.float32), 0.7).tolist() == [0, 1]
    assert suppress(boxes, np.array([0.5, 1], dtype=np.float32), 0.69).tolist() == [1]
