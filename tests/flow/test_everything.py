"""Everything mode through the real command line."""

from __future__ import annotations

import json

from disc_data import write_discs


def test_everything_is_scored_when_it_is_named(answer, micro, tmp_path):
    """It stands in the matrix beside clicks, without a loss, and the report shows it."""
    discs = write_discs(tmp_path / "discs", 4, empty={1})
    code, facts = answer("evaluate", micro, discs, "--out", tmp_path / "found", "--modes", "everything,click")
    assert code == 0
    modes = {row["mode"] for row in facts["rows"]}
    assert modes == {"click", "everything"}
    metrics = {row["metric"] for row in facts["rows"] if row["mode"] == "everything"}
    assert metrics == {"iou", "dice", "precision", "recall", "boundary_iou"}
    assert json.loads((tmp_path / "found" / "metrics.json").read_text())["rows"] == facts["rows"]
    assert "Everything" in (tmp_path / "found" / "report.html").read_text()


def test_guided_everything_of_a_folder(answer, micro, tmp_path):
    """A setting like the others."""
    discs = write_discs(tmp_path / "discs", 2)
    words = ["segment", micro, discs / "images", "--out", tmp_path / "found", "--everything", "--set", "guided=true"]
    words += ["--set", "points_per_side=6", "--set", "pred_iou_thresh=0", "--set", "stability_score_thresh=0"]
    code, facts = answer(*words, "--format", "rle")
    assert (code, facts["done"]) == (0, 2)
