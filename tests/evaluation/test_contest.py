"""All models and modes on one image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segtune.core.geometry import logits_to_image
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.evaluation.answers import answer
from segtune.evaluation.contest import Contest
from segtune.evaluation.modes import find_modes, plan_interactions
from segtune.evaluation.targets import AT_ONCE, draw_targets
from segtune.evaluation.views import View
from segtune.metrics import METRICS as HOUSE
from segtune.prompts.collate import collate
from segtune.prompts.correction import center_of_error
from segtune.rollout import rollout
from segtune.segment.encoding import encode_image, evaluating

ALL = find_modes()


def run(contest: Contest, sample: Sample):
    """Score a sample with embeddings made on the spot."""
    with evaluating(list(contest.models.values())):
        embeddings = {name: encode_image(model, sample.image) for name, model in contest.models.items()}
    return contest.score(sample, embeddings)


def figures(scores) -> tuple:
    """Return all that was found for some objects, to compare exactly."""
    return scores.counts.tolist(), scores.loss, scores.quality


def test_clicks_read_off_one_rollout_equal_separate_ones(blobs, sample):
    """`click`, `clicks3` and `clicks5` together are bit for bit what each of them is alone."""
    for number in range(4):
        one = sample(number, objects=3, ignore=number % 2 == 1)
        together = run(Contest({"m": blobs()}, find_modes(["click", "clicks3", "clicks5"]), 0), one)
        for mode in ("click", "clicks3", "clicks5"):
            alone = run(Contest({"m": blobs()}, find_modes([mode]), 0), one)
            assert figures(together.scores["m", mode]) == figures(alone.scores["m", mode])


def test_corrections_help_and_differ(blobs, sample):
    """More clicks are another answer, so that the comparison above compares something."""
    scores = run(Contest({"m": blobs()}, ALL, 0), sample(3, objects=3)).scores
    iou = {mode: scores["m", mode].by_object()["iou"].mean() for mode in ("click", "clicks3", "clicks5")}
    assert len(set(iou.values())) == 3
    assert iou["clicks5"] > iou["click"]


def test_the_shared_rollout_decodes_five_times(blobs, sample):
    """Nine rounds of three click modes cost five decodes; each other mode costs one."""
    model = blobs()
    run(Contest({"m": model}, ALL, 0), sample(1, objects=2))
    assert model.decoded == [2] * 10


@pytest.mark.parametrize("mode", [mode.name for mode in ALL])
def test_a_score_does_not_depend_on_other_models_and_modes(blobs, sample, mode):
    """One mode of one model alone gives what it gives in the whole matrix."""
    one = sample(2, objects=3)
    whole = run(Contest({"a": blobs(5), "b": blobs(14)}, ALL, 0), one)
    alone = run(Contest({"b": blobs(14)}, find_modes([mode]), 0, baselines=False), one)
    assert list(alone.scores) == [("b", mode)]
    assert figures(whole.scores["b", mode]) == figures(alone.scores["b", mode])


def test_equals_a_plain_evaluation_written_out(blobs, sample):
    """Five corrected clicks equal a rollout with full-size masks, object by object, scored by the house's metrics."""
    model, one = blobs(), sample(6, objects=2, ignore=True)
    scores = run(Contest({"m": model}, ALL, 9), one).scores
    ignore = one.ignore_mask()
    with evaluating([model]):
        embedding = encode_image(model, one.image)
        for chunk in draw_targets(one, ignore, ["click"], 9):
            for row, target in enumerate(chunk):
                truth = one.masks([target.index])[0] & ~ignore
                prompts = collate([target.prompts["click"]], [0], embedding.frames, model.mask_size)

                def predict(current):
                    return (logits_to_image(current.logits, embedding.frames[0]) > 0)[0].numpy() & ~ignore

                def correct(current, truth=truth):
                    x, y, label = center_of_error(truth, predict(current), ignore)
                    return torch.tensor([[x, y]]), torch.tensor([label])

                masks = [predict(now) for now in rollout(model, embedding, prompts, rounds=5, correct=correct)]
                for mode, mask in zip(("click", "clicks3", "clicks5"), masks[::2], strict=True):
                    found = scores["m", mode].by_object()
                    for metric, function in HOUSE.items():
                        expected = float(function(torch.from_numpy(mask)[None], torch.from_numpy(truth)[None])[0])
                        assert found[metric][row] == pytest.approx(expected, abs=1e-12)


def test_the_mask_of_highest_predicted_quality_is_scored(blobs, sample):
    """Of three masks the model's own choice counts, also when another fits better."""
    model, one = blobs(6), sample(8, objects=1)
    found = run(Contest({"m": model}, find_modes(["click"]), 0), one).scores["m", "click"]
    with evaluating([model]):
        embedding = encode_image(model, one.image)
        ((target,),) = draw_targets(one, None, ["click"], 0)
        prompts = collate([target.prompts["click"]], [0], embedding.frames, model.mask_size)
        prediction = model.decode(embedding, prompts, prompts.ambiguous)
        masks = logits_to_image(prediction.logits[0], embedding.frames[0]) > 0
    truth = torch.from_numpy(one.masks())
    by_slot = HOUSE["iou"](masks, truth.expand_as(masks))
    assert found.by_object()["iou"][0] == pytest.approx(float(by_slot[1]))
    assert found.quality == pytest.approx([0.8])
    assert len(set(by_slot.tolist())) == 3


def test_ignored_pixels_change_nothing(blobs, sample):
    """Whatever is predicted on ignored pixels, the counts leave them out."""
    one = sample(12, objects=2, ignore=True)
    scores = run(Contest({"m": blobs(30)}, ALL, 0), one)
    counted = int((~one.ignore_mask()).sum())
    truths = [int((mask & ~one.ignore_mask()).sum()) for mask in one.masks()]
    for found in scores.scores.values():
        assert found.counts[:, 2].tolist() == truths
        assert (found.counts[:, 1] <= counted).all()


def test_baselines_stand_in_box_modes_only(blobs, sample):
    """The box and the ellipse are scored where the prompt is a box, without a loss."""
    scores = run(Contest({"m": blobs()}, ALL, 0), sample(1)).scores
    shapes = {key for key in scores if key[0].startswith("baseline:")}
    assert shapes == {(f"baseline:{shape}", mode) for shape in ("box", "ellipse") for mode in ("box", "loose_box")}
    assert all("loss" not in scores[key].by_object() for key in shapes)
    assert all("loss" in scores[key].by_object() for key in scores if key not in shapes)


def test_the_box_baseline_scores_the_objects_share_of_its_box(blobs, sample):
    """The tight box has the IoU that the object's area has in it."""
    one = sample(1, objects=1)
    found = run(Contest({"m": blobs()}, find_modes(["box"]), 0), one).scores["baseline:box", "box"].by_object()
    x0, y0, x1, y1 = one.objects[0].box
    assert found["iou"][0] == pytest.approx(one.objects[0].area / ((x1 - x0) * (y1 - y0)))
    assert found["recall"][0] == 1


def test_an_image_without_objects_is_asked_by_a_click_at_its_centre(blobs, sample):
    """Only whether a mask came is noted; dark images give none, a bright patch at the centre gives one."""
    dark = sample(0, objects=0)
    bright = np.full((*dark.size, 3), 250, dtype=np.uint8)
    models = {"wide": blobs(30), "none": blobs(0)}
    for one, expected in [(dark, {"wide": True, "none": False})]:
        found = run(Contest(models, ALL, 0), one)
        assert found.scores == {}
        assert found.objects == []
        assert found.false_mask == expected
    light = Sample("light", dark.size, (), (), read=lambda: bright)
    assert run(Contest(models, ALL, 0), light).false_mask == {"wide": True, "none": True}


def test_modes_that_a_model_does_not_accept_are_left_out(blobs, points_only, sample):
    """A model of clicks alone is scored on single clicks, the other one on all modes."""
    contest = Contest({"clicks": points_only(), "all": blobs()}, ALL, 0)
    scores = run(contest, sample(1)).scores
    assert {mode for model, mode in scores if model == "clicks"} == {"click", "random_click"}
    assert {mode for model, mode in scores if model == "all"} == {mode.name for mode in ALL}
    assert set(scores) == set(contest.keys)


def test_many_objects_are_decoded_in_bounded_calls(blobs, sample):
    """No decode holds more prompts than the bound, and all objects are scored in order."""
    model, one = blobs(), sample(2, objects=2 * AT_ONCE + 5)
    found = run(Contest({"m": model}, find_modes(["box", "clicks3"]), 0), one)
    assert max(model.decoded) == AT_ONCE
    assert [scored.index for scored in found.objects] == list(range(2 * AT_ONCE + 5))
    assert all(len(scores.counts) == 2 * AT_ONCE + 5 for scores in found.scores.values())


def test_models_come_back_in_training_as_they_were(blobs, sample):
    """Evaluation leaves the mode of a model alone, and makes no gradients."""
    training, resting = blobs().train(), blobs().eval()
    run(Contest({"a": training, "b": resting}, find_modes(["box"]), 0), sample(1))
    assert training.training
    assert not resting.training
    assert torch.is_grad_enabled()
    assert training.radius.grad is None


def test_a_right_mask_gets_no_further_click(blobs, sample):
    """Where there is no error the rollout goes on without a click."""

    class Perfect(blobs):
        def decode(self, embedding, prompts, multimask):
            self.labels = prompts.point_labels
            out = super().decode(embedding, prompts, multimask & False)
            return type(out)(self.answer[None, None], out.quality[:, :1], out.image_index, out.frames)

    model = Perfect()
    mask = np.zeros((128, 128), dtype=np.bool_)
    mask[:, :64] = True
    drawn = sample(1, objects=0, size=(128, 128))
    one = Sample("x", (128, 128), (RunLengths.encode(mask),), ("object",), read=drawn.read)
    with evaluating([model]):
        embedding = encode_image(model, one.image)
        view = View(embedding.frames[0], model.mask_size, None)
        (targets,) = draw_targets(one, None, ["click"], 0)
        model.answer = view.truth(targets)[0] * 20 - 10
        (interaction,) = plan_interactions(find_modes(["clicks3"]))
        (found,) = answer(model, embedding, view, targets, interaction)
    np.testing.assert_array_equal(found.masks[0].full(), mask)
    assert model.labels.tolist() == [[1, -10, -10]]


def test_an_image_whose_objects_are_all_ignored_is_one_without_objects(blobs, sample):
    """It is asked by a click at its centre; with nothing but ignored pixels it is not asked at all."""
    drawn = sample(5, objects=2)
    hidden = drawn.masks().any(axis=0)
    everything = RunLengths.encode(np.ones(drawn.size, dtype=np.bool_))
    masked = Sample("m", drawn.size, drawn.objects, drawn.labels, drawn.read, RunLengths.encode(hidden))
    blank = Sample("b", drawn.size, drawn.objects, drawn.labels, drawn.read, everything)
    for one, expected in ((masked, {"wide": True}), (blank, {})):
        found = run(Contest({"wide": blobs(30)}, ALL, 0), one)
        assert (found.objects, found.scores) == ([], {})
        assert found.false_mask == expected


def test_an_image_with_nothing_but_a_crowd_is_asked_beside_it(blobs, sample, monkeypatch):
    """A click on the crowd would be answered by its object, of which a pixel beyond the rim is no false mask."""
    drawn = sample(5, objects=0)
    crowd = np.zeros(drawn.size, dtype=np.bool_)
    crowd[20:, 30:110] = True
    one = Sample("c", drawn.size, (), (), drawn.read, RunLengths.encode(crowd))
    asked = []

    def note(model, embedding, view, targets, *rest):
        asked.extend(targets[0].prompts["click"].points.astype(int).tolist())
        return answer(model, embedding, view, targets, *rest)

    monkeypatch.setattr("segtune.evaluation.contest.answer", note)
    run(Contest({"m": blobs(30)}, find_modes(["click"]), 0), one)
    ((x, y),) = asked
    assert crowd[drawn.size[0] // 2, drawn.size[1] // 2]
    assert not crowd[y, x]


def test_a_model_of_boxes_alone_is_asked_about_no_empty_image(blobs, sample):
    """The click at the centre is not for it: whether it draws false masks is not known, which is not "no"."""

    class Boxes(blobs):
        accepts = frozenset({"boxes"})

    found = run(Contest({"boxes": Boxes(30), "all": blobs(30)}, ALL, 0), sample(0, objects=0))
    assert found.false_mask == {"all": True}


def test_scored_objects_say_how_large_they_are(blobs, sample):
    """The share of the image counts the pixels that are not ignored, as the truth does."""
    one = sample(4, objects=3, ignore=True)
    found = run(Contest({"m": blobs()}, find_modes(["box"]), 0), one)
    masks = one.masks() & ~one.ignore_mask()
    counted = [number for number in range(3) if masks[number].any()]
    assert [scored.index for scored in found.objects] == counted
    assert [scored.share for scored in found.objects] == [masks[number].sum() / (90 * 140) for number in counted]
