"""One embedded image answers prompts as the model does, at original size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segtune.core.errors import ModelError, UsageError
from segtune.core.geometry import logits_to_image
from segtune.core.types import Prompts
from segtune.models.quality import QualityMap
from segtune.models.sam.build import build_sam
from segtune.models.sam.sizes import MICRO
from segtune.prompts.correction import center_of_error
from segtune.rollout import rollout
from segtune.segment.everything import EverythingSettings, segment_everything
from segtune.segment.given import given_prompt
from segtune.segment.refinement import Refinement
from segtune.segment.session import Session


@pytest.fixture
def session(model, image):
    return Session(model, image)


def test_masks_are_the_models_own_at_original_size(session):
    """What is read off lazily and in a window is what enlarging everything gives."""
    answer = session.segment(points=[(30, 20)])

    assert len(answer.masks) == 3
    assert answer.best == int(answer.quality.argmax())
    for mask in answer.masks:
        whole = (logits_to_image(mask.logits, session.embedding.frames[0]) > 0).numpy()
        np.testing.assert_array_equal(mask.array, whole)
        np.testing.assert_array_equal(mask.runs.decode(), whole)


def test_the_image_is_encoded_once(model, image, monkeypatch):
    """However many prompts there are."""
    calls = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda *given: (calls.append(1), encode(*given))[1])
    session = Session(model, image)
    for x in range(5):
        session.segment(points=[(x, 4)])
    session.segment(box=(3, 3, 40, 30))

    assert len(calls) == 1


def test_several_objects_in_one_decode_are_each_as_if_alone(session):
    prompts = [
        given_prompt(session.size, points=[(30, 20)]),
        given_prompt(session.size, points=[(30, 20), (2, 2, 0)], box=(5, 5, 60, 40)),
        given_prompt(session.size, mask=np.eye(48, 80, dtype=np.bool_)),
    ]
    together = session.segment_all(prompts)

    for prompt, answer in zip(prompts, together, strict=True):
        (alone,) = session.segment_all([prompt])
        assert len(alone.masks) == len(answer.masks)
        for one, other in zip(alone.masks, answer.masks, strict=True):
            torch.testing.assert_close(one.logits, other.logits, atol=1e-4, rtol=1e-4)
    assert session.segment_all([]) == []


@pytest.mark.parametrize(("several", "count"), [(None, 1), (True, 3), (False, 1)])
def test_how_many_masks_a_box_gets(session, several, count):
    """One, as SAM is trained; three where they are asked for."""
    assert len(session.segment(box=(5, 5, 60, 40), several=several).masks) == count


def test_a_saved_embedding_answers_alike(session, model, tmp_path):
    session.save(tmp_path / "image.safetensors")
    again = Session.load(model, tmp_path / "image.safetensors")

    assert again.size == session.size
    one, other = (each.segment(points=[(30, 20)]).mask for each in (session, again))
    assert torch.equal(one.logits, other.logits)


def test_a_named_model_computes_where_it_is_told(model, image, tmp_path, monkeypatch):
    """On the GPU where there is one, by the rule of all commands; one that is open stays where it is."""
    asked = []
    monkeypatch.setattr("segtune.segment.session.open_model", lambda spec, *, device: asked.append(device) or model)
    Session("nano", image, device="cpu").save(tmp_path / "image.safetensors")
    monkeypatch.setattr("segtune.segment.session.pick_device", lambda device: f"picked {device}")
    Session("nano", image)
    Session("nano", image, device="cpu")
    Session.load("nano", tmp_path / "image.safetensors")
    assert asked == ["cpu", "picked auto", "picked cpu", "picked auto"]
    monkeypatch.undo()
    with pytest.raises(UsageError, match="none that segtune computes on"):
        Session("nano", image, device="mps")


def test_an_embedding_of_another_encoder_is_refused(session, tmp_path):
    session.save(tmp_path / "image.safetensors")
    other = build_sam(MICRO, generator=torch.Generator().manual_seed(2)).eval()

    with pytest.raises(ModelError, match="another image encoder"):
        Session.load(other, tmp_path / "image.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "image.safetensors").read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be read"):
        Session.load(other, tmp_path / "cut.safetensors")
    with pytest.raises(ModelError, match="cannot be read"):
        Session.load(other, tmp_path / "none.safetensors")


def test_clicks_one_by_one_are_the_rollout_that_training_uses(session, model):
    """The same clicks give the same logits, bit for bit."""
    truth = np.zeros(session.size, dtype=np.bool_)
    truth[10:30, 20:50] = True
    clicks = []

    def correct(current):
        predicted = (logits_to_image(current.logits[0].float(), session.embedding.frames[0]) > 0).numpy()
        x, y, label = center_of_error(truth, predicted)
        clicks.append((x, y, label))
        return torch.tensor([[x, y]]), torch.tensor([label])

    first = torch.tensor([[[35.0, 20.0]]])
    prompts = Prompts(
        torch.zeros(1, dtype=torch.int64), first, torch.ones(1, 1, dtype=torch.int64), torch.zeros(1, 4),
        torch.zeros(1, dtype=torch.bool), torch.zeros(1, dtype=torch.bool),
    )  # fmt: skip
    with torch.no_grad():
        expected = [one.logits[0] for one in rollout(model, session.embedding, prompts, rounds=4, correct=correct)]

    work = Refinement(session)
    found = [work.click(35, 20).mask.logits]
    found += [work.click(x, y, positive=bool(label)).mask.logits for x, y, label in clicks]

    assert len(found) == 4
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_steps_are_undone_and_done_again(session):
    work = Refinement(session)
    assert work.answer is None
    assert work.undo() is None
    first = work.click(30, 20)
    second = work.click(50, 30, positive=False)
    third = work.box(10, 5, 60, 40)

    assert work.undo() is second
    assert work.undo() is first
    assert work.redo() is second
    assert work.redo() is third
    assert work.redo() is third
    work.undo()
    other = work.click(12, 12)
    assert work.redo() is other, "what was undone is gone once something else is done"


def test_the_mask_that_was_chosen_is_what_the_next_answer_begins_from(session):
    """Otherwise it is the one of highest predicted quality."""
    answers = []
    for number in range(3):
        work = Refinement(session)
        work.click(30, 20)
        assert work.choose(number).best == number
        answers.append(work.click(40, 25).mask.logits)

    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[1], answers[2])
    with pytest.raises(UsageError, match="no mask 3"):
        work.choose(3)
    with pytest.raises(UsageError, match="no mask 0"):
        Refinement(session).choose(0)


def test_a_box_keeps_the_clicks(session):
    work = Refinement(session)
    work.click(30, 20)
    work.click(50, 30, positive=False)
    with_box = work.box(10, 5, 60, 40)

    alone = session.segment(points=[(30, 20), (50, 30, 0)], box=(10, 5, 60, 40))
    assert torch.equal(with_box.mask.logits, alone.mask.logits)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "needs a point"),
        ({"points": [(80, 10)]}, "80 × 48"),
        ({"points": [(float("nan"), 10)]}, "must lie on the image"),
        ({"points": [(3, 10, 2)]}, "0 .not on it"),
        ({"box": (30, 10, 20, 40)}, "x0 < x1"),
        ({"box": (90, 10, 120, 40)}, "on the image"),
        ({"box": (1, 2, 3)}, "x0, y0, x1, y1"),
        ({"points": (3, 3)}, r"list of .*but \(3, 3\) was given.*\[\(x, y\)\]"),
        ({"points": 3}, "list of"),
        ({"points": "3,3"}, "list of"),
        ({"points": [(3,)]}, "0 .not on it"),
        ({"box": "1,2,3,4"}, "but '1,2,3,4' was given.*as four numbers"),
        ({"box": [[1, 2, 30, 40]]}, "as four numbers"),
        ({"box": (1, 2, None, 4)}, "as four numbers"),
        ({"mask": [[1]]}, "a list was given"),
        ({"mask": torch.ones(48, 80, dtype=torch.bool)}, "a Tensor was given"),
        ({"mask": np.zeros((48, 80), dtype=np.bool_)}, "is empty"),
        ({"mask": np.ones((40, 80), dtype=np.bool_)}, "bool"),
    ],
)
def test_prompts_that_do_not_fit_are_refused_in_words(session, given, words):
    with pytest.raises(UsageError, match=words):
        session.segment(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((48, 80), np.uint8), r"uint8 \[48, 80\]"),
        (np.zeros((48, 80, 4), np.uint8), r"uint8 \[48, 80, 4\]"),
        (np.zeros((48, 80, 3), np.float32), r"float32 \[48, 80, 3\]"),
        (np.zeros((0, 80, 3), np.uint8), r"uint8 \[0, 80, 3\]"),
        (torch.zeros(48, 80, 3, dtype=torch.uint8), "a Tensor"),
        ([[0]], "a list"),
    ],
)
def test_images_that_are_none_are_refused_in_words(model, given, words):
    """By both that take one, in the same words."""
    with pytest.raises(UsageError, match=words):
        Session(model, given)
    with pytest.raises(UsageError, match=words):
        segment_everything(model, given)


def test_an_embedding_of_two_images_is_refused(model, image):
    """Not answered for the first."""
    pixels, frames = model.prepare([image, image])
    with torch.no_grad():
        both = model.encode(pixels, frames)
    with pytest.raises(UsageError, match="holds 2"):
        Session(model, both)
    with pytest.raises(UsageError, match="holds 2"):
        segment_everything(model, None, embedding=both)


def test_a_box_that_leaves_the_image_is_cut_at_its_edge(session):
    inside, beyond = session.segment(box=(40, 10, 80, 48)), session.segment(box=(40, 10, 300, 100))

    assert torch.equal(inside.mask.logits, beyond.mask.logits)


def test_outlines_enclose_the_mask(session):
    """A polygon's rings, outer minus holes, have the mask's area."""
    mask = session.segment(points=[(30, 20)]).mask
    area = 0.0
    for rings in mask.polygons:
        for number, ring in enumerate(rings):
            x, y = ring[:, 0], ring[:, 1]
            whole = abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
            area += whole if number == 0 else -whole
    assert mask.runs.area > 0
    assert area == mask.runs.area


def test_told_quality_is_refitted_and_the_choice_is_not(model, image):
    """A calibrated model tells another quality of the same masks, also where the map makes all alike."""
    points = [(30, 20)]
    plain = Session(model, image).segment(points=points)
    for quality_map in (QualityMap(0.5, 1.0), QualityMap(0.0, 1.0)):
        model.quality_map = quality_map
        answer = Session(model, image).segment(points=points)
        assert answer.best == plain.best
        np.testing.assert_allclose(answer.quality, quality_map(plain.quality), atol=1e-6)
        np.testing.assert_array_equal(answer.mask.array, plain.mask.array)


def test_everything_mode_filters_by_the_models_own_prediction(model, image):
    """Its thresholds mean the same before and after calibration; only what is told of a mask changes."""
    settings = EverythingSettings(points_per_side=4, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    before = segment_everything(model, image, settings)
    model.quality_map = QualityMap(0.5, 1.0)
    after = segment_everything(model, image, settings)
    assert [one.predicted_iou for one in after] == [one.predicted_iou for one in before]
    assert after[0].told_quality(model) == pytest.approx(float(QualityMap(0.5, 1.0)(after[0].predicted_iou)))
