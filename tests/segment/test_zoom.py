"""Prompts on windows: moved right, answered there, and the answer in its place in the whole image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segtune.core.errors import UsageError
from segtune.core.geometry import frame_scales
from segtune.core.types import MaskPrediction
from segtune.data.windows import ArrayWindows
from segtune.models.sam.build import build_sam
from segtune.models.sam.model import Sam
from segtune.models.sam.sizes import MICRO
from segtune.segment.given import given_prompt
from segtune.segment.session import Session
from segtune.segment.zoom import ZoomSettings, segment_all_zoomed, segment_zoomed


class Brightness(Sam):
    """Answers every prompt with what is bright in the pixels it was given, inside its box where it has one."""

    def encode(self, pixels, frames):
        """Keep the pixels and remember what was looked at."""
        self.seen = [*getattr(self, "seen", []), frames[0].original]
        embedding = super().encode(pixels, frames)
        return type(embedding)(pixels, embedding.frames, embedding.extra)

    def decode(self, embedding, prompts, multimask):
        """Say what is bright, and mind that clicks are where they should be."""
        size = self.mask_size
        pixels = torch.nn.functional.interpolate(embedding.features, size, mode="area").mean(dim=1)  # [1, h, w]
        logits = pixels.repeat(len(prompts.image_index), 1, 1)
        scale = frame_scales(embedding.frames, prompts.image_index) * size[0] / self.side  # [P, 2]
        for row in range(len(logits)):
            if prompts.has_box[row]:
                x0, y0, x1, y1 = (prompts.boxes[row].view(2, 2) * scale[row]).round().int().flatten().tolist()
                inside = torch.zeros(size, dtype=torch.bool)
                inside[y0:y1, x0:x1] = True
                logits[row][~inside] = -1.0
            for (x, y), label in zip(prompts.points[row] * scale[row], prompts.point_labels[row], strict=True):
                if label == 1:
                    assert logits[row, int(y), int(x)] > 0, "the click is on the object"
        return MaskPrediction(logits[:, None], torch.full((len(logits), 1), 0.5), prompts.image_index, embedding.frames)


@pytest.fixture
def model():
    micro = build_sam(MICRO, generator=torch.Generator().manual_seed(5)).eval()
    micro.__class__ = Brightness
    return micro


def bright(size, *rectangles):
    image = np.zeros((*size, 3), np.uint8)
    truth = np.zeros(size, bool)
    for x0, y0, x1, y1 in rectangles:
        truth[y0:y1, x0:x1] = True
    image[truth] = 255
    return image, truth


def iou(one, other):
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


@pytest.mark.parametrize("place", [(300, 200), (0, 0), (560, 360), (0, 360)])
def test_a_box_is_zoomed_on(model, place):
    """A small object of a large image, at its borders too: the mask is where the object is, to a cell of the window."""
    x, y = place
    image, truth = bright((400, 600), (x, y, x + 40, y + 40))
    image[100:110, 100:110] = 255
    found = segment_zoomed(model, ArrayWindows(image), given_prompt((400, 600), box=(x, y, x + 40, y + 40)))
    x0, y0, x1, y1 = found.window
    assert (x1 - x0, y1 - y0) == (80, 80)
    assert 0 <= x0 <= x
    assert x + 40 <= x1 <= 600
    assert 0 <= y0 <= y
    assert y + 40 <= y1 <= 400
    assert found.mask.size == (400, 600)
    assert iou(found.mask.decode(), truth) > 0.7
    assert found.quality == 0.5


def test_the_zoom_is_the_session_on_the_crop(model):
    """Nothing else happens than cutting and moving."""
    image = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    prompt = given_prompt((200, 300), box=(100, 60, 150, 120), points=[(120, 80), (10, 10, 0)])
    prompt = type(prompt)(prompt.points[1:], prompt.point_labels[1:], prompt.box)
    found = segment_zoomed(model, ArrayWindows(image), prompt, ZoomSettings(margin=0.25, smallest=1))
    x0, y0, x1, y1 = found.window
    assert (x1 - x0, y1 - y0) == (90, 90)
    answer = Session(model, image[y0:y1, x0:x1]).segment(box=(100 - x0, 60 - y0, 150 - x0, 120 - y0))
    expected = np.zeros((200, 300), bool)
    expected[y0:y1, x0:x1] = answer.mask.array
    assert np.array_equal(found.mask.decode(), expected)


def test_clicks_look_further_until_the_object_is_in_view(model):
    """The window doubles while what is found is cut off by it; then it is zoomed on."""
    image, truth = bright((700, 900), (300, 250, 560, 400))
    prompt = given_prompt((700, 900), points=[(310, 260), (880, 10, 0)])
    found = segment_zoomed(model, ArrayWindows(image), prompt, ZoomSettings(first=64, margin=0.25))
    sides = [max(size) for size in model.seen]
    assert sides[0] == 64
    assert sides[1] == 128
    assert len(sides) >= 4
    assert sides[-1] < 700, "zoomed on"
    assert iou(found.mask.decode(), truth) > 0.9


@pytest.mark.parametrize("batch", [2, 3, 16])
def test_many_objects_are_encoded_together_with_the_masks_of_each_alone(batch):
    """Boxes, masks and clicks mixed, windows of all sizes and some read smaller: the same answers, in fewer runs."""
    model = build_sam(MICRO, generator=torch.Generator().manual_seed(1)).eval()
    size = (300, 420)
    image = np.random.default_rng(2).integers(0, 255, (*size, 3), dtype=np.uint8)
    coarse = np.zeros(size, bool)
    coarse[200:240, 300:390] = True
    prompts = [
        given_prompt(size, box=(10, 20, 60, 50)),
        given_prompt(size, points=[(200, 150)]),
        given_prompt(size, mask=coarse),
        given_prompt(size, points=[(30, 280), (50, 290, 0), (60, 260)]),
        given_prompt(size, box=(0, 0, 420, 300), points=[(5, 5)]),
        given_prompt(size, points=[(410, 10)]),
    ]
    settings = ZoomSettings(first=64)
    runs = []
    model.image_encoder.register_forward_pre_hook(lambda _, given: runs.append(len(given[0])))
    alone = [segment_zoomed(model, ArrayWindows(image), prompt, settings) for prompt in prompts]
    before = list(runs)
    runs.clear()
    together = list(segment_all_zoomed(model, ArrayWindows(image), iter(prompts), settings, batch=batch))
    assert sum(runs) == sum(before)
    assert len(runs) < len(before)
    assert max(runs) <= batch
    for one, other in zip(together, alone, strict=True):
        assert one.window == other.window
        assert one.quality == pytest.approx(other.quality, abs=1e-5)
        assert np.array_equal(one.mask.decode(), other.mask.decode())


def test_prompts_are_taken_a_batch_at_a_time(model):
    """Masks as large as the image are not all held at once."""
    taken = []

    def prompts():
        for x in range(0, 50, 10):
            taken.append(x)
            yield given_prompt((100, 100), box=(x, 10, x + 9, 20))

    model.__class__ = Sam
    found = segment_all_zoomed(model, ArrayWindows(np.zeros((100, 100, 3), np.uint8)), prompts(), batch=2)
    assert taken == []
    next(found)
    assert taken == [0, 10]
    assert len(list(found)) == 4


def test_a_mask_says_where_to_look(model):
    image, truth = bright((400, 600), (300, 200, 340, 240))
    found = segment_zoomed(model, ArrayWindows(image), given_prompt((400, 600), mask=truth))
    assert found.window == (280, 180, 360, 260)
    assert iou(found.mask.decode(), truth) > 0.8


def test_what_is_larger_than_the_model_sees_is_read_smaller(model):
    """The pixels handed to the model are few; the mask is at the size of the image."""
    image, truth = bright((900, 900), (100, 100, 800, 800))
    windows = ArrayWindows(image)
    found = segment_zoomed(model, windows, given_prompt((900, 900), box=(100, 100, 800, 800)))
    assert max(model.seen[-1]) <= 2 * model.side
    assert found.window == (0, 0, 900, 900)
    assert iou(found.mask.decode(), truth) > 0.95


@pytest.mark.parametrize("wrong", [{"margin": -1}, {"margin": float("nan")}, {"smallest": 0}, {"first": 2.5}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        ZoomSettings(**wrong)
