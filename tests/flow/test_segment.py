"""`segtune segment` through the real command line, killed in the middle as well."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest


def test_a_folder_by_a_box(answer, discs, micro, tmp_path):
    code, facts = answer("segment", micro, discs / "images", "--out", tmp_path / "out", "--boxes", "10,10,50,40")
    assert code == 0
    assert (facts["done"], facts["masks"]) == (30, 30)
    assert len(list((tmp_path / "out").glob("*.png"))) == 30
    code, facts = answer("segment", micro, discs / "images", "--out", tmp_path / "out", "--boxes", "10,10,50,40")
    assert (code, facts["done"], facts["before"]) == (0, 0, 30)


def test_a_file_of_prompts(answer, discs, micro, tmp_path):
    told = {"003.png": [{"box": [10, 10, 50, 40], "label": "disc"}, {"points": [[20, 20, 1], [2, 2, 0]]}]}
    (tmp_path / "prompts.json").write_text(json.dumps(told))
    code, facts = answer(
        "segment", micro, discs / "images", "--out", tmp_path / "out", "--prompts", tmp_path / "prompts.json",
        "--format", "coco",
    )  # fmt: skip
    assert (code, facts["done"], facts["without"]) == (0, 1, 29)
    told = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [one["name"] for one in told["categories"]] == ["disc", "object"]
    assert [one["category_id"] for one in told["annotations"]] == [1, 2]


def test_bands_are_told(answer, micro, tmp_path):
    """Of a satellite's image, which no run has to know of."""
    tifffile = pytest.importorskip("tifffile", reason="the extra data is not installed")
    values = np.random.default_rng(0).integers(0, 3000, (40, 60, 5), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
    words = ("segment", micro, tmp_path / "a.tif", "--boxes", "10,10,50,40")
    code, facts = answer(*words, "--out", tmp_path / "out", "--bands", 5, 4, 3)
    assert (code, facts["done"]) == (0, 1)
    assert '"bands": [5, 4, 3]' in (tmp_path / "out" / "results.jsonl").read_text()
    code, facts = answer(*words, "--out", tmp_path / "none", "--bands", 7, 4, 3)
    assert code == 4
    assert "5 bands, not band 7" in facts["failed"]["a.tif"]


def test_mistakes_are_told_in_a_paragraph(segtune, discs, micro, tmp_path):
    (tmp_path / "twice.json").write_text('{"000.png": [{"box": [1, 1, 9, 9]}], "000.png": []}')
    for words, code, said in (
        (("--points", "1;2"), 2, "x,y"),
        ((), 2, "nothing to segment"),
        (("--points", "1,2", "--prompts", tmp_path / "none.json"), 2, "not both"),
        (("--prompts", tmp_path / "none.json"), 2, "none.json"),
        (("--points", "1,2", "--format", "gif"), 2, "gif"),
        (("--points", "1,2", "--detector", "owl"), 2, "--detector is about --text"),
        (("--points", "1,2", "--text-threshold", "0.5"), 2, "about --text"),
        (("--points", "1,2", "--set", "points_per_side=4"), 2, "--set is about --everything"),
        (("--points", "1,2", "--tile-overlap", "0.2"), 2, "--tile-overlap is about --everything"),
        (("--text", "a", "--everything"), 2, "takes no prompts"),
        (("--text", "a", "--tiles"), 2, "whole images"),
        (("--text", ""), 2, "Name something"),
        (("--everything", "--tiles", "--batch", "2"), 2, "one by one"),
        (("--points", "1,2", "--tta", ""), 2, "view"),
        (("--points", "1,2", "--refine", ""), 2, "clean-up"),
        (("--points", "1,2", "--out", micro / "config.json"), 2, "config.json is a file"),
        (("--points", "1,2", "--out", micro / "config.json" / "out"), 2, "config.json is a file"),
        (("--prompts", tmp_path / "twice.json"), 2, "'000.png' comes 2 times"),
        (("--points", "100,100"), 4, ""),
    ):
        found, out, err = segtune("segment", micro, discs / "images", "--out", tmp_path / "out", *words)
        assert found == code, (words, err)
        assert said in err
        assert "Traceback" not in err
    assert "30 images could not be segmented" in out
    assert "… and 10 more" in out


def test_a_place_that_is_none_or_cannot_be_reached_from_here_is_told(segtune, discs, micro, tmp_path, monkeypatch):
    """Before the model is opened, with the code of any missing extra."""
    words = ("segment", tmp_path / "no-model", discs / "images", "--out", tmp_path / "out", "--points", "1,2", "--on")
    code, _, err = segtune(*words, "moon")
    assert (code, "ray://HOST:PORT" in err) == (2, True)
    monkeypatch.setattr("segtune.segment.cluster.find_spec", lambda name: None)
    code, _, err = segtune(*words, "local")
    assert (code, "pip install 'segtune[ray]'" in err) == (7, True)
    assert not (tmp_path / "out").exists()


def test_a_ray_of_this_machine_gives_the_same(answer, discs, micro, tmp_path, monkeypatch):
    """Started for the job alone and gone after it."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'segtune[ray]'")
    pytest.importorskip("ray.data", reason="Ray Data is not installed: pip install 'segtune[ray]'")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    words = ("segment", micro, discs / "images", "--boxes", "10,10,50,40", "--batch", "4")
    assert answer(*words, "--out", tmp_path / "here")[0] == 0
    code, facts = answer(*words, "--out", tmp_path / "there", "--on", "local")
    assert (code, facts["done"]) == (0, 30)
    assert not ray.is_initialized()
    here, there = (sorted((tmp_path / name).glob("*.png")) for name in ("here", "there"))
    assert [path.name for path in there] == [path.name for path in here]
    assert [path.read_bytes() for path in there] == [path.read_bytes() for path in here]


def test_killed_in_the_middle_nothing_is_lost_and_nothing_done_twice(answer, micro, tmp_path):
    """Kill -9 while files are being written; afterwards every image has its mask, whole, and one line."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(400):
        cv2.imwrite(str(tmp_path / "photos" / f"{number:03}.png"), rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
    words = [micro, tmp_path / "photos", "--out", tmp_path / "out", "--points", "20,20", "--batch", "2"]
    journal = tmp_path / "out" / "results.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "segtune", "segment", *map(str, words)], env=dict(os.environ, OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 120
    while (journal.read_bytes().count(b"\n") if journal.exists() else 0) < 20 and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = journal.read_bytes().count(b"\n") - 1

    code, facts = answer("segment", *words)

    assert 20 <= before + 1 < 400, "it was killed in the middle"
    assert (code, facts["before"], facts["done"]) == (0, before, 400 - before)
    lines = [json.loads(line)["image"] for line in journal.read_text().splitlines()[1:]]
    assert sorted(lines) == [f"{number:03}.png" for number in range(400)]
    for number in range(400):
        assert cv2.imread(str(tmp_path / "out" / f"{number:03}.png"), cv2.IMREAD_GRAYSCALE).shape == (40, 50)
    assert len([path for path in (tmp_path / "out").iterdir() if path.suffix == ".png" and path.name[0] != "."]) == 400
