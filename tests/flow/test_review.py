"""Labels worth a second look: the real command line on labels that were spoiled."""

import csv

import cv2
import numpy as np
from disc_data import write_discs


def test_spoiled_labels_are_listed(tmp_path, answer):
    """Of six discs one label is shifted and one shrunk: nano lists these two, and shows them."""
    data = write_discs(tmp_path / "discs", 6, seed=11)
    shifted, shrunk = (data / "masks" / name for name in ("002.png", "005.png"))
    cv2.imwrite(str(shifted), np.roll(cv2.imread(str(shifted), 0), 7, axis=1))
    cv2.imwrite(str(shrunk), cv2.erode(cv2.imread(str(shrunk), 0), np.ones((9, 9), np.uint8)))
    words = ("evaluate", "nano", data, "--out", tmp_path / "out", "--modes", "click,random_click")
    code, found = answer(*words)
    assert code == 0
    reasons = {one["image"]: one["reason"] for one in found["review"]}
    assert reasons == {
        "images/002.png": "the label seems shifted",
        "images/005.png": "the label marks only a part of what the model sees",
    }
    with (tmp_path / "out" / "labels_to_review.csv").open(encoding="utf-8") as file:
        assert {row["image"] for row in csv.DictReader(file)} == set(reasons)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("the label seems shifted") == 2
