"""Models on images of other domains."""

import csv

import pytest

from segtune.evaluation.conclusion import MatrixResult
from segtune.evaluation.domains import Domain, measure_domains
from segtune.evaluation.matrix import evaluate

MODES = ("click", "box")


@pytest.fixture
def home(sample, dataset):
    """Six images of two objects each."""
    return dataset(*(sample(number) for number in range(6)))


@pytest.fixture
def models(blobs):
    """One that answers clicks with discs of a fair size, and one with tiny ones."""
    return {"pretrained": blobs(radius=4.0), "tuned": blobs(radius=12.0)}


def _measure(models, home, there, **options) -> tuple[MatrixResult, tuple]:
    own = evaluate(models, home, modes=MODES)
    domain = Domain("elsewhere", "data/elsewhere", there, {}, "discs")
    return own, measure_domains(models, own, [domain], modes=MODES, **options)


def test_a_drop_is_the_difference_of_both_means(models, home, sample, dataset):
    """For every model, mode and metric, with an interval around it; the matrix there is that of an evaluation there."""
    there = dataset(*(sample(number, objects=1) for number in range(50, 58)))
    own, (found,) = _measure(models, home, there)
    alone = evaluate(models, there, modes=MODES, baselines=False)
    assert found.rows == alone.rows
    assert (found.images, found.objects) == (8, 8)
    assert len(found.drops) == 2 * 2 * 6
    rows = {(row.model, row.mode, row.metric): row.mean for row in own.rows}
    for drop in found.drops:
        there_mean = found.row(drop.model, drop.mode, drop.metric).mean
        assert drop.mean == pytest.approx(there_mean - rows[drop.model, drop.mode, drop.metric])
        assert drop.low <= drop.mean <= drop.high


def test_the_same_images_have_no_drop(models, home):
    """None beyond what chance brings, and the verdict says so; the tuned model is still held against the other."""
    _, (found,) = _measure(models, home, home)
    assert not any(drop.better or drop.worse for drop in found.drops)
    assert found.drop("tuned", "click").mean == 0
    assert "IoU of tuned on elsewhere (6 images) is not clearly different in any of 2 prompt modes against discs" in (
        found.verdict
    )
    assert "On elsewhere itself:" in found.verdict
    assert {(one.model, one.against) for one in found.differences} == {("tuned", "pretrained")}


def test_one_group_cannot_show_a_drop(models, home, sample, dataset):
    """However far it falls: without an interval nothing is called alike."""
    there = dataset(*(sample(number, size=(400, 500), group="clinic") for number in range(8)))
    _, (found,) = _measure(models, home, there)
    assert found.drop("tuned", "click").low is None
    assert "not shown to differ, for one image or group cannot show it, in any of 2 prompt modes" in found.verdict


def test_a_clear_fall_is_told(models, home, sample, dataset):
    """In large images the same objects are a few cells of the mask, and both answers spill over."""
    there = dataset(*(sample(number, size=(400, 500)) for number in range(20)))
    _, (found,) = _measure(models, home, there)
    drop = found.drop("tuned", "click")
    assert drop.worse
    assert "clearly lower in 2 of 2 prompt modes" in found.verdict


def test_tables_of_a_domain_lie_in_its_own_folder(models, home, tmp_path):
    """With a row for each image, model and mode."""
    _measure(models, home, home, folder=tmp_path)
    with (tmp_path / "elsewhere" / "per_image.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 2 * 2
    assert {row["model"] for row in rows} == {"pretrained", "tuned"}


def test_a_domain_without_objects_has_no_drop(models, home, sample, dataset):
    """There is no mean to compare; nothing fails, and nothing is said of it."""
    _, (found,) = _measure(models, home, dataset(sample(1, objects=0), sample(2, objects=0)))
    assert found.drops == ()
    assert found.verdict.startswith("On elsewhere itself:") or found.verdict == ""
