"""How far models' own judgement can be believed, from their answers and from the tables they were written to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segtune.evaluation.calibration import ALL, Calibration, Judged, Judgements, interval_of_error
from segtune.evaluation.matrix import evaluate
from segtune.evaluation.results import read_results, write_results
from segtune.models.quality import QualityMap
from segtune.segment.everything import EverythingSettings

FEW = EverythingSettings(points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0)


def judged(images, predicted, actual):
    return Judged(np.array(images), np.array(predicted, float), np.array(actual, float))


@pytest.fixture
def ten(dataset, sample):
    """Ten images of 0 to 3 objects, four of them in two groups."""
    return dataset(*(sample(n, objects=n % 4, group=f"g{n % 2}" if 2 < n < 7 else None) for n in range(10)))


def test_every_image_weighs_the_same():
    """Three answers on one image count as much as one on another."""
    assert judged([0, 0, 0, 4], [0] * 4, [0] * 4).weight == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


def test_a_matrix_tells_the_calibration_of_every_model(blobs, points_only, ten):
    """Over all modes, and by mode; of modes a model cannot answer nothing; of baselines nothing."""
    found = evaluate({"m": blobs(), "p": points_only()}, ten, modes=["click", "box"]).results().calibration
    assert [(one.model, one.mode) for one in found] == [
        ("m", ALL), ("m", "box"), ("m", "click"), ("p", ALL), ("p", "click"),
    ]  # fmt: skip
    whole, box, click = found[:3]
    # Images 0, 4 and 8 have no object, the others 1 to 3.
    assert (whole.images, whole.answers, click.answers) == (7, 26, 13)
    assert click.predicted == pytest.approx(0.8, abs=1e-6)  # what the drawn model says of a lone click
    assert box.predicted == pytest.approx(0.6, abs=1e-6)
    assert click.ece == pytest.approx(abs(click.predicted - click.actual), abs=1e-6)  # all in one bin
    assert click.aurc == pytest.approx(click.aurc_chance)  # a constant tells nothing apart
    assert click.aurc_best < click.aurc
    assert whole.low <= whole.ece <= whole.high
    assert sum(one.share for one in whole.bins) == pytest.approx(1)
    assert whole.curve[-1] == pytest.approx((1, whole.aurc_chance))
    assert (click.bins, click.curve, click.low) == ((), (), None)


def test_a_calibrated_model_is_told_of_both_ways(blobs, ten):
    """As it predicts and as its users are told: another error, the same order."""
    model = blobs()
    model.quality_map = QualityMap(2.0, -1.0)
    raw, told = (one for one in evaluate({"m": model}, ten, modes=["click", "box"]).results().calibration
                 if one.mode == ALL)  # fmt: skip
    assert (raw.refitted, told.refitted) == (False, True)
    assert told.predicted != pytest.approx(raw.predicted)
    assert (told.aurc, told.actual) == (pytest.approx(raw.aurc), raw.actual)


def test_everything_mode_takes_no_part(blobs, ten, tmp_path):
    """There the truth has chosen the mask, so its quality would be flattered."""
    some = ten.subset(ten.names[:3])
    result = evaluate({"m": blobs()}, some, modes=["click", "everything"], everything={"m": FEW}, folder=tmp_path)
    assert {one.mode for one in result.results().calibration} == {ALL, "click"}
    assert Judgements.read(tmp_path / "per_object.csv", tmp_path / "per_image.csv").modes("m") == ("click",)


def test_tables_give_what_the_evaluation_gave(blobs, ten, tmp_path):
    """Read back from per_object.csv, rounded to six digits there, it is the same to within that."""
    result = evaluate({"m": blobs()}, ten, modes=["click", "box"], folder=tmp_path)
    again = Judgements.read(tmp_path / "per_object.csv", tmp_path / "per_image.csv")
    first = result.results().calibration
    second = again.measure()
    assert [(one.model, one.mode, one.answers) for one in first] == [
        (one.model, one.mode, one.answers) for one in second
    ]
    for one, other in zip(first, second, strict=True):
        assert (one.ece, one.aurc, one.actual) == pytest.approx((other.ece, other.aurc, other.actual), abs=1e-5)
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-4)
    assert again.groups == [f"g{n % 2}" if 2 < n < 7 else None for n in range(10) if n % 4]


def test_no_object_no_calibration(blobs, dataset, sample):
    """Images without objects have no IoU to compare with."""
    assert evaluate({"m": blobs()}, dataset(sample(0, objects=0)), modes=["click"]).results().calibration == ()


def test_one_image_has_no_interval(blobs, dataset, sample):
    """Nothing can be drawn from one image, but its error is told."""
    (whole, _) = evaluate({"m": blobs()}, dataset(sample(1, objects=1)), modes=["click"]).results().calibration
    assert (whole.images, whole.answers) == (1, 1)
    assert (whole.low, whole.high) == (None, None)
    assert 0 <= whole.ece <= 1


def test_a_prediction_that_is_no_number_is_left_out(blobs, dataset, sample):
    """A model that diverged has no calibration, and breaks nothing."""
    model = blobs()
    decode = model.decode
    model.decode = lambda *given: replace(decode(*given), quality=decode(*given).quality * float("nan"))
    assert evaluate({"m": model}, dataset(sample(1)), modes=["box"]).results().calibration == ()


@pytest.mark.parametrize("images", [30, 120])
def test_a_calibrated_model_is_not_said_to_be_off(images):
    """ECE is above zero whatever the truth: drawn calibrated its interval begins at 0, drawn off by .2 well above."""
    rng = np.random.default_rng(images)
    begins = []
    for off in (0.0,) * 20 + (0.2,) * 5:
        predicted = rng.uniform(0.4, 0.6, 3 * images)
        actual = np.clip(predicted - off + rng.normal(0, 0.1, 3 * images), 0, 1)
        low, high, chance = interval_of_error(judged(np.repeat(np.arange(images), 3), predicted, actual))
        assert low <= high
        begins.append((low, chance))
    assert sum(low == 0 for low, _ in begins[:20]) >= 17
    assert all(low > chance for low, chance in begins[20:])


def test_interval_of_groups_is_wider(blobs):
    """Images that share a patient are drawn together."""
    rng = np.random.default_rng(0)
    shift = np.repeat(rng.normal(0, 0.2, 5), 8)
    one = judged(range(40), np.full(40, 0.5), np.clip(0.4 + shift, 0, 1))
    alone, together = (interval_of_error(one, groups) for groups in (None, [f"p{n // 8}" for n in range(40)]))
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])


def test_goes_through_json(blobs, ten, tmp_path):
    """What is written into metrics.json is read again, and files from before there was calibration are read."""
    results = evaluate({"m": blobs()}, ten, modes=["click", "box"]).results()
    write_results(tmp_path / "metrics.json", results)
    again = read_results(tmp_path / "metrics.json")
    assert again.calibration == results.calibration
    assert isinstance(again.calibration[0], Calibration)
    text = (tmp_path / "metrics.json").read_text()
    (tmp_path / "old.json").write_text(text.replace('"calibration"', '"unknown_then"'))
    assert read_results(tmp_path / "old.json").calibration == ()
