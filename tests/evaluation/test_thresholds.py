"""Thresholds are those under which the masks kept are the objects there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segtune.core.errors import DataError
from segtune.core.rle import RunLengths
from segtune.data.drawn import drawn_dataset
from segtune.evaluation.thresholds import Candidates, find_candidates, fit_thresholds
from segtune.models.open import open_model
from segtune.segment.everything import EverythingSettings, segment_everything

SETTINGS = EverythingSettings(points_per_side=6)


def candidates(rows, objects):
    """Rows are (place, predicted IoU, stability, the object it is of or None); boxes of one place are doubles."""
    count = len(rows)
    boxes = np.array([(20 * place, 0, 20 * place + 10, 10) for place, *_ in rows], np.float32).reshape(count, 4)
    iou = np.zeros((count, objects), np.float32)
    for row, (*_, one) in enumerate(rows):
        if one is not None:
            iou[row, one] = 0.8
    quality, stability = (np.array([row[at] for row in rows], np.float32) for at in (1, 2))
    return Candidates(boxes, quality, stability, iou)


def test_false_masks_are_kept_out_and_true_ones_in():
    """Two objects, each with a good stable mask; what is unsure or unstable is of nothing."""
    one = candidates(
        [(0, 0.7, 0.9, 0), (1, 0.6, 0.9, 1), (2, 0.3, 0.95, None), (3, 0.8, 0.4, None), (4, 0.2, 0.2, None)], 2
    )
    fitted = fit_thresholds([one], SETTINGS)
    assert (fitted.best.precision, fitted.best.recall, fitted.best.f1) == (1, 1, 1)
    assert 0.3 <= fitted.best.pred_iou_thresh < 0.6
    assert 0.4 < fitted.best.stability_score_thresh <= 0.9
    assert fitted.given.f1 == 0, "the published thresholds keep nothing"
    assert (fitted.images, fitted.objects, fitted.candidates) == (1, 2, 5)


def test_doubles_are_no_false_masks_but_a_second_mask_of_an_object_is():
    doubles = candidates([(0, 0.7, 0.9, 0), (0, 0.6, 0.9, 0)], 1)
    assert fit_thresholds([doubles], SETTINGS).best.precision == 1
    elsewhere = candidates([(0, 0.7, 0.9, 0), (1, 0.7, 0.9, 0)], 1)
    assert fit_thresholds([elsewhere], SETTINGS).best.precision == 0.5


def test_candidates_are_everything_modes_own():
    """Filtered and without doubles they are the masks that everything mode gives, and their IoU is the true one."""
    model = open_model("nano")
    sample = drawn_dataset(1, side=128, first=900_000_500)[0]
    settings = EverythingSettings(points_per_side=4, pred_iou_thresh=0.1, stability_score_thresh=0.3)
    every = find_candidates(model, sample.image, sample, settings)
    found = segment_everything(model, sample.image, settings)

    kept = (every.quality > 0.1) & (every.stability >= 0.3)
    assert {tuple(box) for box in every.boxes[kept]} >= {one.box for one in found}
    assert every.iou.shape == (len(every.quality), len(sample.objects))
    masks = sample.masks()
    for one in found[:5]:
        (row,) = np.flatnonzero(
            (every.quality == np.float32(one.predicted_iou)) & (every.boxes == one.box).all(axis=1)
        )[:1]
        mask = one.mask.decode()
        expected = [(mask & truth).sum() / (mask | truth).sum() for truth in masks]
        np.testing.assert_allclose(every.iou[row], expected, rtol=1e-6)


def test_masks_of_ignored_pixels_are_no_candidates():
    """Ignored pixels count in nothing: a mask of them alone is neither right nor wrong."""
    model = open_model("nano")
    sample = drawn_dataset(1, side=128, first=900_000_500)[0]
    settings = EverythingSettings(points_per_side=4)
    every = find_candidates(model, sample.image, sample, settings)
    left = np.zeros(sample.size, dtype=np.bool_)
    left[:, : sample.size[1] // 2] = True
    some = find_candidates(model, sample.image, replace(sample, ignore=RunLengths.encode(left)), settings)
    hidden = every.boxes[:, 2] <= sample.size[1] // 2
    assert hidden.any()
    assert len(some.quality) == (~hidden).sum() > 0


def test_nothing_to_choose_from_is_an_error():
    with pytest.raises(DataError, match="0 objects"):
        fit_thresholds([candidates([(0, 0.7, 0.9, None)], 0)], SETTINGS)
    with pytest.raises(DataError, match="no threshold helps"):
        fit_thresholds([candidates([(0, 0.7, 0.9, None)], 1)], SETTINGS)
