"""What is kept of a calibration, and where."""

from __future__ import annotations

import csv

import pytest

from segtune.core.errors import UsageError
from segtune.core.files import read_json, write_json
from segtune.evaluation.calibration import Judgements
from segtune.evaluation.results import Results, read_results, write_results
from segtune.models.quality import QualityMap
from segtune.runs.calibrate import _keep, _records_of, _tables_of
from segtune.runs.folder import RunFolder


def _write_tables(folder, models):
    """A prediction that is .1 too high, for each model by its number another .1."""
    with (folder / "per_image.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "group"), ("a", ""), ("b", "")])
    rows = [
        (model, "box", image, 0.5 + 0.1 * number, 0.4, 0.2)
        for number, model in enumerate(models)
        for image in ("a", "b")
    ]
    with (folder / "per_object.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("model", "mode", "image", "quality", "iou", "loss"), *rows])


@pytest.fixture
def folder(tmp_path):
    """Return a function that makes a folder with a model and tables of models, as a run or a blend leaves it."""

    def make(models, maps, *, told):
        run = RunFolder(tmp_path / "run")
        run.model.mkdir(parents=True)
        run.fingerprints.touch()
        write_json(run.model / "segtune.json", told)
        _write_tables(run.path, models)
        judgements = Judgements.read(run.path / "per_object.csv", run.path / "per_image.csv")
        write_results(run.metrics, Results((), data={"part": "test"}, calibration=judgements.measure(maps)))
        return run

    return make


def _told(run):
    return {
        (one.model, one.refitted): one.predicted for one in read_results(run.metrics).calibration if one.mode == "all"
    }


def test_the_line_of_a_calibrated_base_stays(folder):
    """Its map is its own: only the tuned model's line is made anew."""
    base = QualityMap(0.5, 0.0)
    run = folder(("pretrained", "tuned"), {"pretrained": base}, told={})
    before = _told(run)
    _tables_of(run.path).test(QualityMap(1.0, -0.5))
    after = _told(run)
    assert set(after) == {("pretrained", False), ("pretrained", True), ("tuned", False), ("tuned", True)}
    assert {key: after[key] for key in before} == before
    _tables_of(run.path).test(None)
    assert _told(run) == before


def test_of_a_blend_the_blended_model_is_tested(folder):
    """It is the one that the folder holds, though the tuned one stands beside it."""
    run = folder(("pretrained", "tuned", "blended"), {}, told={"blend": {"alpha": 0.5, "run": "runs/a"}})
    _tables_of(run.model).test(QualityMap(1.0, -0.5))
    assert {model for model, refitted in _told(run) if refitted} == {"blended"}


def test_an_adapter_alone_is_the_run_s_model(folder):
    """Whichever is named, both are told; a base that lies in the folder of either is another model."""
    run = folder(("tuned",), {}, told={"family": "sam"})
    for place in (run.adapter, run.model / "base"):
        write_json(place / "segtune.json", {"family": "sam"})
    for named in (run.path, run.model, run.adapter):
        assert set(_records_of(named)) == {run.model / "segtune.json", run.adapter / "segtune.json"}
        assert _tables_of(named).run.path == run.path
    assert _records_of(run.model / "base") == (run.model / "base" / "segtune.json",)
    assert _tables_of(run.model / "base") is None
    _keep(_records_of(run.adapter), "quality", {"scale": 1})
    assert read_json(run.model / "segtune.json") == {"family": "sam", "quality": {"scale": 1}}
    with pytest.raises(UsageError, match="no folder that has one"):
        _records_of(run.path / "elsewhere")
