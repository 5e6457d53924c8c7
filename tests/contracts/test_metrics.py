"""What every metric keeps, also those registered tomorrow."""

from __future__ import annotations

import pytest
import torch

from segtune.core.errors import UsageError
from segtune.metrics import METRICS


@pytest.fixture(params=sorted(METRICS))
def metric(request):
    return METRICS[request.param]


def square(top: int, left: int, side: int = 8, size: int = 32) -> torch.Tensor:
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[0, top : top + side, left : left + side] = True
    return mask


NOTHING = torch.zeros(1, 32, 32, dtype=torch.bool)


def test_perfect(metric):
    """A prediction equal to the truth scores one, wherever it lies."""
    truth = torch.cat([square(4, 4), square(0, 20), square(0, 0, side=32)])
    assert metric(truth, truth).tolist() == [1.0, 1.0, 1.0]


def test_disjoint(metric):
    """A prediction that misses the truth altogether scores zero."""
    assert metric(square(0, 0), square(16, 16)).tolist() == [0.0]


def test_partly_right_lies_between(metric):
    """A prediction shifted by half scores between the two."""
    score = metric(square(4, 4), square(8, 4)).item()
    assert 0 < score < 1


def test_both_empty(metric):
    """Nothing predicted where there is nothing scores one."""
    assert metric(NOTHING, NOTHING).tolist() == [1.0]


def test_one_empty(metric):
    """A missed object and an invented one both score zero."""
    assert metric(NOTHING, square(4, 4)).tolist() == [0.0]
    assert metric(square(4, 4), NOTHING).tolist() == [0.0]


def test_ignored_pixels_leave_both(metric):
    """Whatever lies on ignored pixels, in truth or prediction, changes no score."""
    ignore = square(0, 0, side=16)[0]
    truth, predicted = square(20, 20), square(22, 20)
    score = metric(predicted, truth, ignore)
    assert torch.equal(metric(predicted | square(2, 2), truth, ignore), score)
    assert torch.equal(metric(predicted, truth | square(2, 2), ignore), score)
    assert torch.equal(metric(predicted, truth, ignore[None]), score)


def test_object_wholly_ignored_counts_as_empty(metric):
    """With all of the truth ignored, a prediction within the ignored pixels is a right 'nothing'."""
    assert metric(square(4, 4), square(2, 4), square(0, 0, side=16)[0]).tolist() == [1.0]


def test_one_value_per_object(metric):
    """Each of n objects gets one float64 value, as if scored alone; none give none."""
    truth = torch.cat([square(4, 4), square(10, 2), NOTHING])
    predicted = torch.cat([square(5, 4), square(20, 20), NOTHING])
    scores = metric(predicted, truth)
    assert scores.shape == (3,)
    assert scores.dtype == torch.float64
    alone = [metric(predicted[i : i + 1], truth[i : i + 1]).item() for i in range(3)]
    assert scores.tolist() == alone
    assert metric(truth[:0], truth[:0]).shape == (0,)


def test_inputs_stay(metric):
    """A metric changes neither mask."""
    truth, predicted = square(4, 4), square(6, 6)
    metric(predicted, truth, square(0, 0)[0])
    assert torch.equal(truth, square(4, 4))
    assert torch.equal(predicted, square(6, 6))


def test_unknown_name_says_the_nearest():
    """A misspelt metric is a usage error that names the nearest."""
    with pytest.raises(UsageError, match="boundary_iou"):
        METRICS["boundry_iou"]
