"""Counts and the scores made of them, against counting by hand."""

from __future__ import annotations

import pytest
import torch

from segtune.metrics.overlap import Overlap, dice, iou, iou_of_counts, overlap, precision, recall


def random_masks(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) > 0.6


def counts(*values: int) -> Overlap:
    return Overlap(*(torch.tensor([value]) for value in values))


def test_scores_of_known_counts():
    """Six shared pixels of eight predicted and twelve true give the textbook fractions."""
    known = counts(6, 8, 12)
    assert known.union.item() == 14
    assert iou(known).item() == pytest.approx(6 / 14)
    assert dice(known).item() == pytest.approx(12 / 20)
    assert precision(known).item() == pytest.approx(6 / 8)
    assert recall(known).item() == pytest.approx(6 / 12)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"), [(0, 0, 1.0), (5, 0, 0.0), (0, 5, 0.0)], ids=["both", "truth", "predicted"]
)
def test_empty_conventions(predicted, truth, expected):
    """Both empty scores one in every metric, one empty scores zero in every metric."""
    known = counts(0, predicted, truth)
    assert [score(known).item() for score in (iou, dice, precision, recall)] == [expected] * 4


def test_counts_without_masks_score_as_masks_do():
    """IoU of pairs of which only counts are known is that of their masks, whatever shapes are broadcast."""
    predicted, truth = random_masks(4, 9, 7), random_masks(3, 9, 7, seed=1)
    shared = (predicted[:, None] & truth).sum((-1, -2)).numpy()
    sizes = (masks.sum((-1, -2)).numpy() for masks in (predicted[:, None], truth))
    expected = iou(overlap(predicted[:, None], truth)).numpy()
    assert iou_of_counts(shared, *sizes).tolist() == expected.tolist()
    assert iou_of_counts(0, 0, [0, 4]).tolist() == [1.0, 0.0]


def test_counts_equal_sets_of_pixels():
    """The counts are those of Python's sets of pixels, with ignored ones taken out of both."""
    predicted, truth, ignore = random_masks(3, 9, 7), random_masks(3, 9, 7, seed=1), random_masks(9, 7, seed=2)
    found = overlap(predicted, truth, ignore)
    for i in range(3):
        left_out = set(map(tuple, ignore.nonzero().tolist()))
        p = set(map(tuple, predicted[i].nonzero().tolist())) - left_out
        t = set(map(tuple, truth[i].nonzero().tolist())) - left_out
        assert found.intersection[i] == len(p & t)
        assert found.union[i] == len(p | t)
        assert (found.predicted[i], found.truth[i]) == (len(p), len(t))


def test_three_masks_against_one_truth():
    """Training scores M masks of each object against its one truth in a single call."""
    predicted, truth = random_masks(4, 3, 8, 8), random_masks(4, 8, 8, seed=1)
    valid = random_masks(4, 8, 8, seed=2)
    together = overlap(predicted, truth[:, None], ~valid[:, None])
    assert together.truth.shape == together.predicted.shape == (4, 3)
    for m in range(3):
        torch.testing.assert_close(iou(together)[:, m], iou(overlap(predicted[:, m], truth, ~valid)))


def test_pooled_is_the_score_of_all_pixels():
    """Pooled counts score as one image made of all objects would."""
    predicted, truth = random_masks(5, 6, 6), random_masks(5, 6, 6, seed=1)
    pooled = iou(overlap(predicted, truth).pooled())
    together = iou(overlap(predicted.reshape(1, 30, 6), truth.reshape(1, 30, 6)))
    assert pooled.item() == together.item()
    assert pooled.item() != iou(overlap(predicted, truth)).mean().item()


def test_large_counts_are_exact():
    """A mask of 20 million pixels is counted to the pixel."""
    mask = torch.ones(1, 4500, 4500, dtype=torch.bool)
    assert overlap(mask, mask).truth.item() == 4500 * 4500
