"""Averaged views and cleaned masks through the real command line."""

from __future__ import annotations

import csv
import json

from disc_data import write_discs


def test_what_tta_and_clean_up_bring_stands_in_the_matrix(answer, micro, tmp_path):
    """The plain model and the other are scored in one run; the results are about the difference between them."""
    discs = write_discs(tmp_path / "discs", 4, empty={1})
    words = ["evaluate", micro, discs, "--modes", "click,box", "--out"]
    code, facts = answer(*words, tmp_path / "out", "--tta", "flip", "--refine", "smooth=2,largest")

    assert code == 0
    name = "micro + flip + largest,smooth=2"
    assert {row["model"] for row in facts["rows"]} == {"micro", name, "baseline:box", "baseline:ellipse"}
    gains = [one for one in facts["differences"] if one["against"] == "micro" and one["metric"] == "iou"]
    assert {(one["model"], one["mode"]) for one in gains} == {(name, "click"), (name, "box")}
    assert name in facts["verdict"]
    told = json.loads((tmp_path / "out" / "metrics.json").read_text())["data"]
    assert (told["tta"], told["refine"]) == (["flip"], "largest,smooth=2")
    assert name in (tmp_path / "out" / "report.html").read_text()
    with (tmp_path / "out" / "per_image.csv").open(newline="") as file:
        assert {row["model"] for row in csv.DictReader(file)} >= {"micro", name}

    _, plain = answer(*words, tmp_path / "plain")
    scores = {(row["mode"], row["metric"]): row["mean"] for row in plain["rows"] if row["model"] == "micro"}
    assert scores == {(row["mode"], row["metric"]): row["mean"] for row in facts["rows"] if row["model"] == "micro"}


def test_masks_of_a_folder_are_cleaned(answer, segtune, micro, tmp_path):
    """Clean-up is part of the job: another one is another job."""
    discs = write_discs(tmp_path / "discs", 2)
    words = ["segment", micro, discs / "images", "--out", tmp_path / "out", "--boxes", "10,10,50,40"]
    code, facts = answer(*words, "--refine", "holes=30, largest")
    assert (code, facts["done"]) == (0, 2)
    _, facts = answer(*words, "--refine", "largest,holes=30")
    assert (facts["done"], facts["before"]) == (0, 2)
    code, _, err = segtune(*words, "--refine", "largest")
    assert code == 2
    assert "refine differs" in err


def test_mistakes_are_told_before_any_work(segtune, micro, tmp_path):
    """Unknown views and clean-ups, by both commands."""
    discs = write_discs(tmp_path / "discs", 1)
    for words, said in (
        (("evaluate", micro, discs, "--refine", "hole=3"), "Did you mean 'holes'"),
        (("evaluate", micro, discs, "--tta", "flop"), "flip"),
        (("segment", micro, discs / "images", "--points", "3,3", "--refine", "smooth"), "smooth=1.5"),
    ):
        code, _, err = segtune(*words, "--out", tmp_path / "none")
        assert code == 2
        assert said in err
        assert not (tmp_path / "none").exists()
