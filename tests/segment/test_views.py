"""Views are the same picture seen otherwise: what a view answers, brought back, lies where the plain one does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from segtune.core.errors import UsageError
from segtune.core.geometry import Frame
from segtune.core.types import Embedding, MaskPrediction, Prompts
from segtune.models.fingerprint import fingerprint
from segtune.segment.everything import EverythingSettings
from segtune.segment.session import Session
from segtune.segment.views import VIEWS, Averaged, View, _turned, averaged

SEEN = [
    View(flip_x=True),
    View(flip_y=True),
    View(flip_x=True, flip_y=True),
    View(scale=0.8),
    View(flip_x=True, scale=0.5),
]


class Bright(torch.nn.Module):
    """Stands for a model whose logits are the picture itself: it sees the same thing wherever that lies."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def encode(self, pixels, frames):
        """Shrink the picture to the logits' size."""
        small = torch.nn.functional.adaptive_avg_pool2d(pixels.mean(1, keepdim=True), self.model.mask_size)
        return Embedding(small, frames)

    def decode(self, embedding, prompts, multimask):
        """Answer with the picture."""
        logits = embedding.features[prompts.image_index]
        return MaskPrediction(logits, torch.ones(len(prompts), 1), prompts.image_index, embedding.frames)


@pytest.mark.parametrize("view", SEEN)
@pytest.mark.parametrize("size", [(48, 80), (80, 40), (64, 64)])
def test_a_picture_brought_back_is_the_picture(model, view, size):
    """A smooth picture, so that what resampling costs is little; padding is left out of the comparison."""
    y, x = np.mgrid[: size[0], : size[1]]
    image = (127 + 100 * np.sin(x / 9) * np.cos(y / 11 + 1))[..., None].repeat(3, axis=2).astype(np.uint8)
    seeing = Bright(model)
    pixels, frames = model.prepare([image])
    both = Averaged(model, [view])
    both.model = seeing
    seeing.mask_size, seeing.side = model.mask_size, model.side
    embedding = both.encode(pixels, frames)
    prompts = Session(model, image).decode([_click(size)]).prompts
    mean = both.decode(embedding, prompts, torch.zeros(1, dtype=torch.bool)).logits[0, 0]
    plain = embedding.features[0, 0]
    rows, columns = frames[0].content(*model.mask_size)
    # The mean of the picture and itself is the picture; the cells at its rim also hold some padding.
    error = (mean - plain)[1 : rows - 2, 1 : columns - 2].abs().mean() / plain.std()
    assert error < 0.06, error


def _click(size):
    from segtune.segment.given import given_prompt

    return given_prompt(size, points=[(size[1] // 3, size[0] // 4)], box=(3, 4, size[1] - 10, size[0] - 6))


@pytest.mark.parametrize("view", SEEN)
def test_prompts_lie_on_the_same_thing_in_every_view(model, image, view):
    """Where a prompt meets the model's square in a view is where the view moves its place to."""
    asked = []

    class Asked(Bright):
        def decode(self, embedding, prompts, multimask):
            asked.append((prompts, embedding.frames[0]))
            return super().decode(embedding, prompts, multimask)

    seeing = Asked(model)
    both = Averaged(model, [view])
    both.model = seeing
    seeing.mask_size, seeing.side = model.mask_size, model.side
    pixels, frames = model.prepare([image])
    prompts = Session(model, image).decode([_click(image.shape[:2])]).prompts
    both.decode(both.encode(pixels, frames), prompts, torch.zeros(1, dtype=torch.bool))
    (plain, frame), (turned, small) = asked

    for one, other in ((plain.points[0], turned.points[0]), (plain.boxes[0].view(2, 2), turned.boxes[0].view(2, 2))):
        before, after = _in_square(one, frame), _in_square(other, small)
        extent = torch.tensor(frame.resized[::-1]), torch.tensor(small.resized[::-1])
        expected = before * extent[1] / extent[0]
        for axis, flip in enumerate((view.flip_x, view.flip_y)):
            if flip:
                expected[:, axis] = extent[1][axis] - expected[:, axis]
        expected = torch.stack([expected.amin(0), expected.amax(0)]) if len(expected) == 2 else expected
        # Half a pixel of the square is added behind a scale that the view changes.
        torch.testing.assert_close(after, expected, atol=0.51 if view.scale != 1 else 1e-3, rtol=0)
    assert (turned.boxes[0, 2:] > turned.boxes[0, :2]).all()


def _in_square(places, frame: Frame):
    return places * torch.tensor(frame.scale) + 0.5


def test_the_mean_is_over_the_plain_view_and_the_others(model, image):
    """Twice the plain view is the plain view; and three masks stay three."""
    session = Session(model, image)
    doubled = Session(Averaged(model, [View(), View()]), image)
    for given in ({"points": [(30, 20)]}, {"box": (5, 5, 60, 40)}):
        one, other = session.segment(**given), doubled.segment(**given)
        assert len(one.masks) == len(other.masks)
        for mine, theirs in zip(one.masks, other.masks, strict=True):
            torch.testing.assert_close(mine.logits, theirs.logits)
            assert mine.quality == pytest.approx(theirs.quality, rel=1e-5)
    every = Session(averaged(model, list(VIEWS)), image)
    assert not torch.equal(
        every.segment(box=(5, 5, 60, 40)).mask.logits, session.segment(box=(5, 5, 60, 40)).mask.logits
    )


def test_logits_that_are_fed_back_are_turned_too(model, image):
    """A mask prompt covers the same part of the picture in a view as in the plain one."""
    asked = []
    decode = model.decode
    model.decode = lambda embedding, prompts, multimask: (asked.append(prompts), decode(embedding, prompts, multimask))[
        1
    ]
    mask = np.zeros((48, 80), dtype=np.bool_)
    mask[4:20, 6:30] = True
    Session(Averaged(model, [View(flip_x=True)]), image).segment(mask=mask)
    plain, turned = (prompts.mask_logits[0] > 0 for prompts in asked)
    columns = Frame.longest_side((48, 80), model.side).content(*model.mask_size)[1]
    assert plain.any()
    assert torch.equal(plain[:, :columns].flip(1), turned[:, :columns])


def test_embeddings_of_views_are_not_taken_for_plain_ones(model):
    assert fingerprint(averaged(model, ["flip"])) != fingerprint(model)
    assert fingerprint(averaged(model, ["flip"])) != fingerprint(averaged(model, ["scale"]))
    assert averaged(model, []) is model


def test_what_cannot_be_a_view_is_refused(model):
    with pytest.raises(UsageError, match="no view named 'flop'"):
        averaged(model, ["flop"])
    with pytest.raises(UsageError, match="at most 1"):
        Averaged(model, [replace(View(), scale=1.5)])


def _jittered(frame, boxed):
    """Where each view of the jitter moves a click at the middle, and a box, in pixels of the image: [views, 2], [2]."""
    height, width = frame.original
    middle = torch.tensor([width / 2, height / 2])
    prompts = Prompts(
        torch.zeros(1, dtype=torch.int64), middle[None, None], torch.ones(1, 1, dtype=torch.int64),
        torch.tensor([[0.0, 0.0, width / 2, height / 4]]), torch.tensor([boxed]), torch.tensor([False]),
    )  # fmt: skip
    return torch.stack([_turned(prompts, (frame,), view, (24, 24)).points[0, 0] - middle for view in VIEWS["jitter"]])


@pytest.mark.parametrize("side", [384, 1024])
@pytest.mark.parametrize("size", [(2000, 2000), (1500, 2000), (100, 2000), (48, 80)])
def test_jitter_leaves_a_click_on_its_small_object(side, size):
    """In a large image a cell is a few pixels of the square, and a neighbour or the grid's next click not far."""
    frame = Frame.longest_side(size, side)
    moved = _jittered(frame, boxed=False)
    assert (moved.abs().sum(1) > 0).all()
    assert (moved.sum(0).abs() < 1e-3).all()
    in_square = moved.abs() * torch.tensor(frame.scale)
    assert in_square.max() <= 3 + 1e-4
    step = torch.tensor(size[::-1]) / EverythingSettings().points_per_side
    assert (moved.abs() < step / 3 + 1e-4).all()


def test_jitter_of_a_box_goes_with_its_size():
    """And takes the points beside it along."""
    moved = _jittered(Frame.longest_side((400, 800), 384), boxed=True)
    expected = torch.tensor([[16.0, 0.0], [-16.0, 0.0], [0.0, 4.0], [0.0, -4.0]])
    torch.testing.assert_close(moved, expected)
