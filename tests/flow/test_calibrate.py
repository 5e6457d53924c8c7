"""`segtune calibrate` through the real command line."""

import json
import shutil

from disc_data import SMALL

from segtune.core.errors import NOT_CROWNED
from segtune.models.open import NANO, open_model
from segtune.segment.everything import settings_for


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
