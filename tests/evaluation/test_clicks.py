"""IoU by click and the number of clicks, against counts made by hand."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from segtune.core.errors import DataError, ModelError, UsageError
from segtune.evaluation.clicks import TARGETS, clicks_needed, score_clicks
from segtune.evaluation.matrix import evaluate


def test_clicks_needed():
    """The first click that reaches the level counts, whatever follows; never is the limit."""
    iou = np.array([[0.5, 0.9, 0.8], [0.95, 0.1, 0.1], [0.1, 0.2, 0.3], [0.1, 0.2, 0.85]])
    assert clicks_needed(iou, 0.85).tolist() == [2, 1, 3, 3]


@pytest.fixture
def ten(dataset, sample):
    """Ten images of 0 to 3 objects, some with ignored pixels."""
    return dataset(*(sample(number, objects=number % 4, ignore=number % 3 == 0) for number in range(10)))


def test_the_curve_begins_like_the_matrix_and_the_table_adds_up(blobs, ten, tmp_path):
    """One, three and five clicks are the modes of the same name; means and NoC follow from the table's lines."""
    result = score_clicks({"one": blobs()}, ten, limit=6, folder=tmp_path)
    matrix = evaluate({"one": blobs()}, ten, modes=["click", "clicks3", "clicks5"], seed=0).means("one")
    (curve,) = result.curves

    assert [len(curve.iou), result.limit] == [6, 6]
    for count, mode in ((1, "click"), (3, "clicks3"), (5, "clicks5")):
        assert curve.iou[count - 1].mean == pytest.approx(matrix[mode]["iou"], abs=1e-9)

    with (tmp_path / "clicks_per_object.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == result.objects
    iou = np.array([[float(line[f"iou_{count}"]) for count in range(1, 7)] for line in lines])
    images = np.array([line["image"] for line in lines])
    for place, target in enumerate(TARGETS):
        needed = clicks_needed(iou, target)
        assert [int(line[f"noc_{target:.2f}"]) for line in lines] == needed.tolist()
        means = [needed[images == name].mean() for name in dict.fromkeys(images)]
        assert curve.noc[place].clicks.mean == pytest.approx(np.mean(means))
        assert curve.noc[place].failures == int((iou.max(axis=1) < target).sum())
        assert curve.noc[place].share == curve.noc[place].failures / len(lines)


def test_a_model_against_itself_gains_nothing(blobs, ten):
    model = blobs()
    result = score_clicks({"one": model, "other": model}, ten, limit=2)
    assert [gain.clicks.mean for gain in result.gains] == [0.0, 0.0]
    assert [gain.against for gain in result.gains] == ["other", "other"]
    assert result.curves[0].iou == result.curves[1].iou


def test_fewer_clicks_for_the_better_model(blobs, ten):
    """A difference below zero says that the first takes fewer."""
    result = score_clicks({"sees": blobs(), "guesses": blobs(radius=3.0, gain=0.0)}, ten, limit=4)
    sees, guesses = (curve.noc[0].clicks.mean for curve in result.curves)
    assert result.gains[0].clicks.mean == pytest.approx(sees - guesses)
    assert result.gains[0].clicks.mean < 0


def test_what_cannot_be_asked_is_told_before_anything_is_scored(blobs, ten, tmp_path):
    class NoMasks(type(blobs())):
        accepts = frozenset({"points", "boxes"})

    with pytest.raises(ModelError, match="'one' understands boxes, points only"):
        score_clicks({"one": NoMasks()}, ten, limit=2, folder=tmp_path)
    for models, limit in (({}, 3), ({"one": blobs()}, 0)):
        with pytest.raises(UsageError, match="at least one"):
            score_clicks(models, ten, limit=limit, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_images_without_objects_have_no_clicks(blobs, dataset, sample):
    with pytest.raises(DataError, match="has an object"):
        score_clicks({"one": blobs()}, dataset(sample(1, objects=0)), limit=2)
