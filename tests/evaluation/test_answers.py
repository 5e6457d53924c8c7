"""What a model answers to the prompts of one image, and how it is left behind."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import numpy as np
import pytest
import torch

from segtune.evaluation.answers import answer
from segtune.evaluation.modes import CLICK, CLICKS3, CLICKS5, Interaction
from segtune.evaluation.targets import draw_targets
from segtune.evaluation.views import View
from segtune.prompts.correction import center_of_error
from segtune.segment.encoding import encode_image, evaluating
from segtune.segment.enlarge import Enlarger
from segtune.segment.refine import Cleanup


def answers(model, one, scored, cleanup=None):
    """Ask a model about all objects of a sample; return what is asked about and the answers."""
    ignore = one.ignore_mask()
    with evaluating([model]):
        embedding = encode_image(model, one.image)
        view = View(embedding.frames[0], model.mask_size, ignore)
        (targets,) = draw_targets(one, ignore, ["click"], 0)
        return targets, list(answer(model, embedding, view, targets, Interaction("click", scored), cleanup))


def test_each_click_lies_in_the_largest_error_of_the_answer_before(blobs, sample):
    """Read off every round, the next click is that of the whole masks, in the image's own pixels."""
    one = sample(6, objects=2, ignore=True)
    targets, found = answers(blobs(), one, {0: CLICK, 1: CLICKS3, 2: CLICKS5})
    for now, later in pairwise(found):
        for row, target in enumerate(targets):
            x, y, label = center_of_error(target.truth.full(), now.masks[row].full())
            assert later.points[row, -1].tolist() == [x, y]
            assert later.point_labels[row, -1] == label
            assert torch.equal(later.points[row, :-1], now.points[row])
    for row, target in enumerate(targets):
        np.testing.assert_array_equal(found[0].points[row], target.prompts["click"].points)


def test_only_rounds_that_are_scored_are_answered(blobs, sample):
    """The others are decoded for their clicks alone, and the last one is what it is with all of them read off."""
    one = sample(3, objects=3)
    _, every = answers(blobs(), one, {0: CLICK, 2: CLICKS3, 4: CLICKS5})
    _, last = answers(blobs(), one, {4: CLICKS5})
    assert [found.mode.name for found in every] == ["click", "clicks3", "clicks5"]
    assert [found.points.shape[1] for found in every] == [1, 3, 5]
    (only,) = last
    assert torch.equal(only.logits, every[-1].logits)
    assert torch.equal(only.points, every[-1].points)


def test_answers_hold_no_ignored_pixel(blobs, sample):
    """What a model draws there is cut off the mask, and no click lies there."""
    one = sample(4, objects=2, ignore=True)
    ignore = one.ignore_mask()
    _, found = answers(blobs(40), one, {0: CLICK, 4: CLICKS5})
    for each in found:
        assert not any((mask.full() & ignore).any() for mask in each.masks)
        real = each.points[each.point_labels != -10].long()
        assert not ignore[real[:, 1], real[:, 0]].any()
    uncut = answers(blobs(40), sample(4, objects=2), {0: CLICK})[1][0]
    assert any((mask.full() & ignore).any() for mask in uncut.masks)


def test_masks_are_cleaned_before_they_are_corrected(blobs, sample):
    """The first answers are those of the model, cleaned, and the clicks lie in the errors of what was cleaned."""
    one, cleanup = sample(6, objects=2, ignore=True), Cleanup(largest=True, smooth=6)
    targets, plain = answers(blobs(), one, {0: CLICK, 1: CLICKS3})
    _, found = answers(blobs(), one, {0: CLICK, 1: CLICKS3}, cleanup)
    assert torch.equal(plain[0].logits, found[0].logits)
    enlarge = Enlarger(blobs().frame(one.size), blobs().mask_size)
    ignore = one.ignore_mask()
    for row, target in enumerate(targets):
        # Ignored pixels are taken out of what was cleaned: they are no crack in it.
        np.testing.assert_array_equal(
            found[0].masks[row].full(), cleanup(enlarge(plain[0].logits[row])).full() & ~ignore
        )
        x, y, label = center_of_error(target.truth.full(), found[0].masks[row].full())
        assert found[1].points[row, -1].tolist() == [x, y]
        assert found[1].point_labels[row, -1] == label
    assert any((a.full() != b.full()).any() for a, b in zip(plain[0].masks, found[0].masks, strict=True))


@pytest.mark.parametrize("fails", [False, True])
def test_models_are_put_back_one_by_one(blobs, fails):
    """After an evaluation, one that failed too, each model trains or rests as before, and gradients are made again."""
    training, resting = blobs().train(), blobs().eval()
    with contextlib.suppress(ZeroDivisionError), evaluating([training, resting]):
        assert not training.training
        assert not torch.is_grad_enabled()
        if fails:
            raise ZeroDivisionError
    assert (training.training, resting.training, torch.is_grad_enabled()) == (True, False, True)


def test_parts_of_a_model_are_put_back_one_by_one(blobs):
    """A frozen part that rests while the others train goes on resting."""
    model = blobs().train()
    model.frozen = torch.nn.Sequential(torch.nn.Dropout()).eval()
    with evaluating([model]):
        assert not any(part.training for part in model.modules())
    assert model.training
    assert not any(part.training for part in model.frozen.modules())
