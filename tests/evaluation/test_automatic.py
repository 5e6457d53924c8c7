"""The mode `everything`: automatic masks, and for each object the best of them."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from segtune.core.rle import RunLengths
from segtune.evaluation.automatic import MOST_MASKS, SCORED, Found, find_masks, match_masks
from segtune.evaluation.matrix import evaluate
from segtune.evaluation.predict import predict_masks
from segtune.evaluation.targets import Target
from segtune.segment.crops import MaskCrop
from segtune.segment.encoding import encode_image, evaluating
from segtune.segment.everything import EverythingSettings, segment_everything
from segtune.segment.refine import Cleanup

FEW = EverythingSettings(points_per_side=6, pred_iou_thresh=0.5, stability_score_thresh=0.3)


def square(left, top, side, size=(40, 60)):
    """Return a mask [H, W] of one square."""
    mask = np.zeros(size, dtype=np.bool_)
    mask[top : top + side, left : left + side] = True
    return mask


def target(mask, index=0):
    """Return an object nobody prompts for."""
    return Target(index, MaskCrop.of(mask), int(mask.sum()), {})


def found(mask, quality):
    """Return an automatic mask."""
    return Found(MaskCrop.of(mask), int(mask.sum()), quality)


def test_each_object_gets_the_mask_of_highest_iou():
    """Not the one of highest predicted quality; one mask may serve several objects, and one none."""
    masks = [found(square(0, 0, 30), 0.9), found(square(2, 2, 10), 0.5), found(square(45, 25, 10), 0.7)]
    objects = [target(square(1, 1, 10)), target(square(3, 3, 9)), target(square(0, 0, 28)), target(square(50, 2, 6))]
    chosen, quality = match_masks(objects, masks)
    assert quality == [0.5, 0.5, 0.9, 0.0]
    assert chosen[0] is chosen[1] is masks[1].mask
    assert not chosen[3].full().any()
    assert chosen[3].size == (40, 60)


def test_without_masks_objects_get_empty_ones():
    """Nothing found is an answer too."""
    chosen, quality = match_masks([target(square(1, 1, 10))], [])
    assert quality == [0.0]
    assert not chosen[0].full().any()


def best_by_hand(model, one, settings):
    """Return for each object the best IoU over all automatic masks, whole arrays compared."""
    kept = np.ones(one.size, dtype=np.bool_) if one.ignore is None else ~one.ignore_mask()
    masks = [mask.mask.decode() & kept for mask in segment_everything(model, one.image, settings)]
    objects = [truth & kept for truth in one.masks() if (truth & kept).any()]
    return [max(((mask & truth).sum() / (mask | truth).sum() for mask in masks), default=0.0) for truth in objects]


def test_the_matrix_scores_the_best_automatic_mask(blobs, dataset, sample, tmp_path):
    """IoU is the mean over the objects of the best masks' IoU, also beside ignored pixels; there is no loss."""
    samples = [sample(1, objects=3), sample(2, objects=2, ignore=True), sample(3, objects=0)]
    models = {"a": blobs(14), "b": blobs(30)}
    result = evaluate(
        models, dataset(*samples), modes=["click", "everything"], folder=tmp_path, everything={"a": FEW, "b": FEW}
    )
    for name, model in models.items():
        expected = [np.mean(best_by_hand(model, one, FEW)) for one in samples[:2]]
        assert max(expected) > 0.2
        np.testing.assert_allclose(result.scores.of(name, "everything"), expected)
        cells = {(row.mode, row.metric) for row in result.rows if row.model == name}
        assert ("everything", "boundary_iou") in cells
        assert ("click", "loss") in cells
        assert ("everything", "loss") not in cells
    results = result.results()
    assert results.difference("a", "b", "everything") is not None
    assert results.difference("a", "b", "everything", "loss") is None
    assert all(bucket.metric != "loss" for bucket in results.buckets if bucket.mode == "everything")
    assert all(math.isfinite(bucket.mean) for bucket in results.buckets)
    with (tmp_path / "per_object.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mode"] == "everything"]
    assert len(rows) == 2 * 5
    assert {row["loss"] for row in rows} == {""}


def test_thresholds_of_a_model_have_no_say(blobs, dataset, sample, monkeypatch):
    """The best of more masks is never worse: fitted thresholds must not make a model better than itself."""
    monkeypatch.setattr("segtune.evaluation.automatic.SCORED", replace(SCORED, points_per_side=6))
    models = {"plain": blobs(14), "strict": blobs(14), "lax": blobs(14)}
    models["strict"].thresholds = {"pred_iou_thresh": 0.999, "stability_score_thresh": 0.999}
    models["lax"].thresholds = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    found = evaluate(models, dataset(sample(1)), modes=["everything"])
    scores = [found.scores.of(name, "everything").tolist() for name in models]
    assert scores[0] == scores[1] == scores[2] != [0.0]
    told = found.data["everything"]
    assert told["most_masks"] == MOST_MASKS
    assert {one["pred_iou_thresh"] for one in told["settings"].values()} == {0.0}


def test_only_the_masks_believed_in_most_are_scored(blobs, sample, monkeypatch):
    """A model gains nothing by the number of its masks: of many, those of highest predicted IoU count."""
    model, one = blobs(14), sample(1)
    embedding = encode_image(model, one.image)
    every = find_masks(model, embedding, one, None, FEW)
    assert len(every) > 3
    monkeypatch.setattr("segtune.evaluation.automatic.MOST_MASKS", 3)
    assert [mask.quality for mask in find_masks(model, embedding, one, None, FEW)] == [
        mask.quality for mask in every[:3]
    ]
    assert every[2].quality >= max(mask.quality for mask in every[3:])


def test_settings_are_each_models_own(blobs, dataset, sample):
    """What is said for one model holds for it alone, and is told."""
    none = replace(FEW, pred_iou_thresh=1.0)
    found = evaluate(
        {"a": blobs(14), "b": blobs(14)}, dataset(sample(1)), modes=["everything"], everything={"a": FEW, "b": none}
    )
    assert found.scores.of("a", "everything") > 0
    assert found.scores.of("b", "everything") == 0
    assert found.data["everything"]["settings"]["b"]["pred_iou_thresh"] == 1.0


def test_an_image_is_searched_once_however_many_objects(blobs, dataset, sample):
    """Forty objects come in chunks, and the grid is still decoded once; without objects it is not at all."""
    model = blobs()
    evaluate(
        {"m": model}, dataset(sample(1, objects=40), sample(2, objects=0)), modes=["everything"], everything={"m": FEW}
    )
    assert model.decoded == [36, 1]  # the last is the click that looks for a false mask


def test_a_model_that_takes_no_clicks_is_told_apart(blobs, dataset, sample):
    """It has no row, and the results say why."""

    class Boxes(blobs):
        accepts = frozenset({"boxes"})

    result = evaluate({"m": Boxes(), "n": blobs()}, dataset(sample(1)), modes=["everything", "box"])
    assert [(one["model"], one["mode"]) for one in result.data["not_answered"]] == [("m", "everything")]
    assert {row.model for row in result.rows if row.mode == "everything"} == {"n"}


@pytest.mark.parametrize("ignore", [False, True])
def test_predictions_made_again_are_those_that_were_scored(blobs, dataset, sample, ignore):
    """Masks for pictures have the IoU of the matrix, and show no prompt."""
    model, one = blobs(14), sample(2, objects=4, ignore=ignore)
    scored = evaluate({"m": model}, dataset(one), modes=["everything"], everything={"m": FEW})
    masks, quality, prompts = predict_masks(model, one, "everything", 0, everything=FEW)
    kept = np.ones(one.size, dtype=np.bool_) if one.ignore is None else ~one.ignore_mask()
    iou = [
        (mask & truth & kept).sum() / ((mask | truth) & kept).sum()
        for mask, truth in zip(masks, one.masks(), strict=True)
    ]
    assert scored.scores.of("m", "everything") == pytest.approx(np.mean(iou))
    assert len(quality) == len(prompts) == 4
    assert not any(len(prompt.points) or prompt.box is not None for prompt in prompts)
    some, _, _ = predict_masks(model, one, "everything", 0, objects=[2], everything=FEW)
    np.testing.assert_array_equal(some, masks[2:3])


def test_crops_are_read_from_the_sample(blobs, sample):
    """Settings with crops look at the image again, those without do not."""
    one, model = sample(4, objects=2, size=(120, 160)), blobs(14)
    with evaluating([model]):
        embedding = encode_image(model, one.image)
    crops = EverythingSettings(**{**vars(FEW), "crop_n_layers": 1})
    masks = find_masks(model, embedding, one, None, crops)
    every = sorted(segment_everything(model, one.image, crops), key=lambda mask: -mask.predicted_iou)
    expected = [mask.mask for mask in every[:MOST_MASKS]]
    assert [mask.mask.runs() for mask in masks] == expected
    assert [mask.area for mask in masks] == [mask.area for mask in expected]
    assert isinstance(expected[0], RunLengths)
    assert torch.is_grad_enabled()


def test_automatic_masks_can_be_cleaned(blobs, dataset, sample):
    """Each by itself, before ignored pixels are taken out; the model beside it is scored as it is."""
    one, cleanup = sample(2, objects=2, ignore=True), Cleanup(smooth=8)
    models = dict.fromkeys(("plain", "cleaned"), blobs(14))
    result = evaluate(
        models, dataset(one), modes=["everything", "click"], everything=dict.fromkeys(models, FEW),
        cleanups={"cleaned": cleanup},
    )  # fmt: skip
    # One model under two names is one encoder.
    assert models["plain"].encoded == 1
    np.testing.assert_allclose(result.scores.of("plain", "everything"), np.mean(best_by_hand(blobs(14), one, FEW)))
    with evaluating([models["plain"]]):
        embedding = encode_image(models["plain"], one.image)
    ignore = one.ignore_mask()
    plain = segment_everything(models["plain"], None, FEW, embedding=embedding)
    cleaned = find_masks(models["plain"], embedding, one, ignore, FEW, cleanup)
    for before, after in zip(plain, cleaned, strict=True):
        np.testing.assert_array_equal(after.mask.full(), cleanup(MaskCrop.of_runs(before.mask)).full() & ~ignore)
    assert result.scores.of("cleaned", "click") != result.scores.of("plain", "click")
