"""`segtune calibrate` through the real command line."""

import json
import shutil

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


def test_what_cannot_be_calibrated_is_told(segtune, discs, micro, tmp_path):
    for words, code, said in (
        (("nano",), 2, "no folder"),
        ((micro,), 2, "--data"),
        ((micro, "--data", tmp_path / "nowhere"), 4, "nowhere"),
    ):
        found, _, err = segtune("calibrate", *words)
        assert found == code, err
        assert said in err
