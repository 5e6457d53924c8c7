"""`segtune calibrate` through the real command line."""

import json
import shutil
from pathlib import Path

import pytest
from disc_data import SMALL

from segtune.cli import main
from segtune.core.errors import NOT_CROWNED
from segtune.models.open import NANO, open_model
from segtune.segment.everything import settings_for
from segtune.segment.session import Session


def test_thresholds_are_kept_with_the_model_and_taken_from_there(answer, discs, tmp_path):
    shutil.copytree(NANO, tmp_path / "model")
    before = json.loads((tmp_path / "model" / "segtune.json").read_text())
    code, facts = answer("calibrate", tmp_path / "model", "--data", discs, "--images", "6", "--points-per-side", "4")
    assert code == 0
    assert facts["best"]["f1"] >= facts["given"]["f1"]
    after = json.loads((tmp_path / "model" / "segtune.json").read_text())
    assert after.pop("everything") == {
        name: facts["best"][name] for name in ("pred_iou_thresh", "stability_score_thresh")
    }
    assert after.pop("quality", None) == facts["quality"]["quality_map"]
    before.pop("everything", None)
    assert after == before
    settings = settings_for(open_model(tmp_path / "model"))
    assert settings.pred_iou_thresh == facts["best"]["pred_iou_thresh"]
    code, facts = answer("segment", tmp_path / "model", discs / "images", "--out", tmp_path / "out", "--everything",
                         "--set", "points_per_side=4", "--format", "labelmap")  # fmt: skip
    assert (code, facts["done"]) == (0, 30)
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()[1:]
    assert sum(len(json.loads(line)["objects"]) for line in lines) > 10


def test_a_run_s_validation_images_are_known_by_the_run_and_by_its_model(answer, discs, micro, tmp_path):
    """Either way the same images are looked at, and the same thresholds written in the same place."""
    run = tmp_path / "run"
    code, _ = answer("fit", discs, "--out", run, "--model", micro, "--train", "decoder", "--epochs", "1", *SMALL,
                     "--set", "validation.modes=[box]", "--set", "evaluation.modes=[box]")  # fmt: skip
    assert code in (0, NOT_CROWNED)
    shutil.rmtree(run / "model")
    shutil.copytree(NANO, run / "model")  # fresh weights would find no object
    found = [answer("calibrate", each, "--images", "3", "--points-per-side", "4") for each in (run, run / "model")]
    assert found[0] == found[1]
    assert found[0][1]["images"] == 3
    assert "everything" in json.loads((run / "model" / "segtune.json").read_text())


def test_what_cannot_be_calibrated_is_told(segtune, discs, micro, tmp_path):
    for words, code, said in (
        (("nano",), 2, "no folder"),
        ((micro,), 2, "--data"),
        ((micro, "--data", tmp_path / "nowhere"), 4, "nowhere"),
    ):
        found, _, err = segtune("calibrate", *words)
        assert found == code, err
        assert said in err


@pytest.fixture(scope="module")
def run(tmp_path_factory, discs, micro):
    """A short run, whose quality head has hardly learned anything yet."""
    folder = tmp_path_factory.mktemp("runs") / "short"
    words = ["fit", discs, "--out", folder, "--model", micro, "--train", "full", "--epochs", "1", *SMALL]
    modes = ["--set", "validation.modes=[box]", "--set", "evaluation.modes=[box,click]"]
    assert main([str(word) for word in (*words, *modes)]) in (0, 3)
    return folder


def test_told_quality_is_refitted_from_fit_to_report(run, discs, tmp_path, answer):
    """A fit tells how far its model's judgement can be believed, calibrate mends it, and all after it tells both."""
    assert 'id="trust"' in (run / "report.html").read_text()
    fitted = json.loads((run / "metrics.json").read_text())["calibration"]
    assert {(one["model"], one["mode"], one["refitted"]) for one in fitted} == {
        (model, mode, False) for model in ("pretrained", "tuned") for mode in ("all", "box", "click")
    }
    prompted = json.loads((run / "metrics.json").read_text())["sensitivity"]
    assert [(one["model"], one["mode"]) for one in prompted] == [
        (model, mode) for mode in ("click", "box") for model in ("pretrained", "tuned")
    ]
    assert all(one["objects"] >= one["images"] > 0 for one in prompted)
    assert 'id="prompted"' in (run / "report.html").read_text()
    code, facts = answer("calibrate", run, "--only", "quality")
    assert code == 0
    assert "best" not in facts
    assert facts["quality"]["after"]["rmse"] < facts["quality"]["before"]["rmse"]
    assert json.loads((run / "model" / "segtune.json").read_text())["quality"] == facts["quality"]["quality_map"]
    # On the test images, of whose scores calibrate has read only what the fit left in its tables.
    assert facts["test"]["after"]["ece"] < facts["test"]["before"]["ece"]
    told = _over_all(json.loads((run / "metrics.json").read_text())["calibration"])
    assert told["tuned", False]["ece"] == pytest.approx(facts["test"]["before"]["ece"])
    assert told["tuned", True]["ece"] == pytest.approx(facts["test"]["after"]["ece"])
    assert "Tuned, refitted" in (run / "report.html").read_text()
    assert "Tuned, refitted" in (run / "report.md").read_text()
    # The same from the images themselves.
    code, found = answer("evaluate", run, discs, "--out", tmp_path / "e", "--modes", "box,click")
    assert code == 0
    again = _over_all(found["calibration"])
    for refitted in (False, True):
        assert again["tuned", refitted]["ece"] == pytest.approx(told["tuned", refitted]["ece"], abs=1e-4)
    code, _ = answer("segment", run, discs / "images", "--out", tmp_path / "s", "--points", "20,20")
    first = json.loads((tmp_path / "s" / "results.jsonl").read_text().splitlines()[1])
    model = open_model(run)
    asked = Session(model, discs / "images" / Path(first["image"]).name).segment(points=[(20, 20)])
    assert first["objects"][0]["quality"] == pytest.approx(asked.mask.quality, abs=1e-3)


def test_a_resumed_run_keeps_its_map(run, answer, discs):
    """Concluded once more, the run still has what calibrate has written since."""
    code, found = answer("calibrate", run, "--only", "quality")
    assert code == 0, found
    before = json.loads((run / "model" / "segtune.json").read_text())["quality"]
    code, _ = answer("fit", discs, "--out", run, "--resume")
    assert code in (0, 3)
    assert json.loads((run / "model" / "segtune.json").read_text())["quality"] == before


def _over_all(calibration):
    return {(one["model"], one["refitted"]): one for one in calibration if one["mode"] == "all"}
