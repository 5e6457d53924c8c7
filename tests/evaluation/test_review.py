"""Labels worth a second look."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from segtune.core.rle import RunLengths
from segtune.evaluation.matrix import evaluate
from segtune.evaluation.modes import find_modes
from segtune.evaluation.results import Suspect
from segtune.evaluation.review import (
    LEAST_DOUBT,
    MOST_SUSPECTS,
    Opinion,
    SuspectList,
    find_suspects,
    gives_an_opinion,
    write_suspects,
)
from segtune.evaluation.targets import Target
from segtune.metrics.overlap import iou, overlap
from segtune.segment.crops import MaskCrop


def _disc(y, x, radius, size=(80, 100)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def _suspects(sample, label, *answers, quality=0.9, others=()):
    """Return what a model that answered two prompts so doubts of a label."""
    import torch

    image = replace(
        sample(0, size=label.shape),
        objects=tuple(RunLengths.encode(mask) for mask in (label, *others)),
        labels=("polyp",) * (1 + len(others)),
    )
    target = Target(0, MaskCrop.of(label), int(label.sum()), {})
    opinions = []
    for mode, answered in zip(("click", "random_click", "box"), answers, strict=False):
        same = iou(overlap(torch.from_numpy(answered)[None], torch.from_numpy(label)[None])).numpy()
        opinions.append(Opinion(mode, [MaskCrop.of(answered)], [quality], same))
    return list(find_suspects(image, [target], opinions))


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (_disc(40, 50, 8), "the label marks only a part of what the model sees"),
        (_disc(40, 50, 30), "the label marks more than the model sees"),
        (_disc(40, 66, 16), "the label seems shifted"),
        (_disc(40, 50, 19) & (np.mgrid[:80, :100][1] > 55) | _disc(40, 80, 9), "the outlines differ"),
    ],
)
def test_a_sure_model_doubts_a_label(sample, label, reason):
    """Two like answers to different prompts and a label apart from both: listed, with the way they differ."""
    (found,) = _suspects(sample, label, _disc(40, 50, 16), _disc(40, 51, 16))
    assert found.reason == reason
    assert found.doubt == pytest.approx(found.quality * found.agreement * (1 - found.iou), abs=1e-3)
    assert found.doubt >= LEAST_DOUBT
    assert (found.image, found.object, found.label) == ("image00000.png", 0, "polyp")
    assert {found.mode, found.second_mode} == {"click", "random_click"}


def test_another_label_may_be_what_the_model_sees(sample):
    """Then that is said before anything else."""
    answer = _disc(40, 50, 16)
    (found,) = _suspects(sample, _disc(40, 50, 6), answer, answer, others=(_disc(41, 50, 16),))
    assert found.reason == "the model sees what another label of the image marks"


def test_a_model_that_is_not_sure_doubts_nothing(sample):
    """Of low predicted quality, of answers that differ, of empty ones, of one answer alone."""
    label, answer = _disc(40, 50, 6), _disc(40, 50, 16)
    assert _suspects(sample, label, answer, answer)
    assert not _suspects(sample, label, answer, answer, quality=0.25)
    assert not _suspects(sample, label, answer, _disc(40, 10, 9))
    assert not _suspects(sample, label, answer)
    nothing = np.zeros_like(label)
    assert not _suspects(sample, label, nothing, nothing)


def test_a_label_that_two_answers_meet_is_not_doubted_for_a_third(sample):
    """It takes two that differ from it."""
    label = _disc(40, 50, 16)
    assert not _suspects(sample, label, label, _disc(40, 50, 6), label)


def test_modes_that_see_the_label_have_no_say():
    """First clicks and boxes alone."""
    modes = find_modes(("click", "clicks3", "box", "mask", "everything"))
    assert [mode.name for mode in modes if gives_an_opinion(mode)] == ["click", "box"]


def _suspect(doubt, name="a.png"):
    return Suspect(name, 0, "object", "click", "box", 0.1, 0.9, 0.9, doubt, "the outlines differ")


def test_the_list_keeps_those_of_most_doubt(tmp_path):
    """By falling doubt, equal ones as they came, and never more than its length; the CSV ranks them."""
    kept = SuspectList()
    kept.add([_suspect(0.5, "b.png"), _suspect(0.9, "c.png"), _suspect(0.5, "d.png")])
    assert [one.image for one in kept.ranked()] == ["c.png", "b.png", "d.png"]
    kept.add([_suspect(0.3 + number / 10000) for number in range(MOST_SUSPECTS)])
    assert len(kept.ranked()) == MOST_SUSPECTS
    assert [one.doubt for one in kept.ranked()] == sorted((one.doubt for one in kept.ranked()), reverse=True)
    write_suspects(tmp_path / "list.csv", kept.ranked()[:2])
    with (tmp_path / "list.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["image"], row["doubt"]) for row in rows] == [("1", "c.png", "0.9"), ("2", "b.png", "0.5")]


def test_an_evaluation_notes_it_where_it_is_asked_to(sample, dataset, blobs):
    """A label that marks a corner of what two prompts find; not of one kind of prompt, or where nobody wants it."""
    one = sample(0, objects=1)
    label = np.zeros(one.size, dtype=np.bool_)
    label[40:46, 60:66] = True
    data = dataset(replace(one, objects=(RunLengths.encode(label),)))
    found = evaluate({"m": blobs(radius=20.0)}, data, modes=["click", "random_click"], review=True).review
    assert [(each.image, each.object) for each in found] == [(one.name, 0)]
    assert found[0].reason == "the label marks only a part of what the model sees"
    assert evaluate({"m": blobs(radius=20.0)}, data, modes=["click"], review=True).review is None
    assert evaluate({"m": blobs(radius=20.0)}, data, modes=["click", "random_click"]).review is None
