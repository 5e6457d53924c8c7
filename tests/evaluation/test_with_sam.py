"""The prompt matrix of the house's own Segment Anything, at its smallest."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from segtune.evaluation.matrix import evaluate
from segtune.evaluation.predict import predict_masks
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO


@pytest.fixture(scope="module")
def micro():
    """Return a function that builds a micro model with random weights, a little sure of itself."""

    def build(seed: int = 0):
        return build_sam(MICRO, generator=torch.Generator().manual_seed(seed))

    return build


@pytest.fixture
def few(dataset, sample):
    """Four images of other sizes, one without objects, one with ignored pixels."""
    return dataset(
        sample(0, objects=0),
        sample(1, objects=1, size=(60, 50)),
        sample(2, objects=5),
        sample(3, objects=2, ignore=True),
    )


def test_the_whole_matrix_of_two_models(micro, few, tmp_path):
    """Every cell is a number, and a model against itself does not differ by one bit."""
    models = {"pretrained": micro(), "tuned": micro(), "other": micro(1)}
    results = evaluate(models, few, folder=tmp_path).results()
    assert all(math.isfinite(row.mean) for row in results.rows)
    same = [one for one in results.differences if (one.model, one.against) == ("tuned", "pretrained")]
    assert len(same) == 8 * 6
    assert all(one.mean == one.low == one.high == 0 and one.p == 1 for one in same)
    other = [one for one in results.differences if (one.model, one.against) == ("tuned", "other")]
    assert any(one.mean != 0 for one in other)
    assert {one.n for one in results.empty} == {1}


def test_clicks_read_off_one_rollout_equal_separate_ones(micro, few):
    """The prefixes of five clicks are bit for bit what one and three clicks are alone."""
    model = micro()
    together = evaluate({"m": model}, few, modes=["click", "clicks3", "clicks5"])
    for mode in ("click", "clicks3", "clicks5"):
        alone = evaluate({"m": model}, few, modes=[mode])
        for metric in ("iou", "boundary_iou", "loss"):
            np.testing.assert_array_equal(alone.scores.of("m", mode, metric), together.scores.of("m", mode, metric))


def test_scores_do_not_depend_on_what_stands_beside(micro, few):
    """Order of images, other models and other modes change no bit of a score."""
    whole = evaluate({"a": micro(1), "m": micro()}, few)
    alone = evaluate({"m": micro()}, few.subset(list(few.names)[::-1]), modes=["mask", "point_box"])
    for mode in ("mask", "point_box"):
        in_whole = dict(zip(whole.scores.names, whole.scores.of("m", mode, "loss"), strict=True))
        assert dict(zip(alone.scores.names, alone.scores.of("m", mode, "loss"), strict=True)) == in_whole


def test_predictions_made_again_are_those_that_were_scored(micro, few):
    """Masks for pictures have the IoU of the matrix."""
    model = micro()
    result = evaluate({"m": model}, few, modes=["clicks3"])
    for name, expected in zip(result.scores.names, result.scores.of("m", "clicks3"), strict=True):
        (one,) = few.subset([name])
        masks, _, _ = predict_masks(model, one, "clicks3", 0)
        kept = ~one.ignore_mask() if one.ignore is not None else np.ones(one.size, dtype=np.bool_)
        scores = [
            (mask & truth & kept).sum() / ((mask | truth) & kept).sum()
            for mask, truth in zip(masks, one.masks(), strict=True)
        ]
        assert np.mean(scores) == pytest.approx(expected)


def test_three_masks_are_asked_for_by_a_single_click_alone(micro, few):
    """The scored mask of a click is one of three, of all other prompts the single one."""
    asked = {}

    class Asking:
        def __init__(self, model):
            self.model = model
            self.decode = model.decode

        def __call__(self, embedding, prompts, multimask):
            asked.setdefault(prompts.points.shape[1], set()).update(multimask.tolist())
            return self.decode(embedding, prompts, multimask)

    model = micro()
    model.decode = Asking(model)
    evaluate({"m": model}, few, modes=["clicks3", "box"])
    assert asked == {1: {True}, 2: {False}, 3: {False}, 0: {False}}
