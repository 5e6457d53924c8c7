"""`segtune segment --tiles` through the real command line."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest

from segtune.core.rle import RunLengths
from segtune.data.formats.coco_rle import decompress
from segtune.data.images import read_image


@pytest.fixture
def photo(tmp_path):
    """200 high, 260 wide: some tiles."""
    values = np.random.default_rng(0).integers(0, 255, (20, 26, 3), dtype=np.uint8)
    PIL.Image.fromarray(np.kron(values, np.ones((10, 10, 1), np.uint8))).save(tmp_path / "photo.tif")
    return tmp_path / "photo.tif"


def test_everything_in_tiles(answer, micro, photo, tmp_path):
    """Run lengths at the size of the image; again, nothing is left to do."""
    words = [
        "segment", micro, photo, "--out", tmp_path / "out", "--everything", "--tiles", "--tile-side", "96", "--set",
        "points_per_side=4", "--set", "pred_iou_thresh=0", "--set", "stability_score_thresh=0",
    ]  # fmt: skip
    code, facts = answer(*words)
    assert (code, facts["done"]) == (0, 1)
    told = json.loads((tmp_path / "out" / "photo.json").read_text())
    assert (told["image"]["height"], told["image"]["width"]) == (200, 260)
    assert len(told["annotations"]) > 1
    for one in told["annotations"]:
        assert RunLengths((200, 260), decompress(one["segmentation"]["counts"])).area == one["area"] > 0
    code, facts = answer(*words)
    assert (code, facts["done"], facts["before"]) == (0, 0, 1)
    code, facts = answer(*[word if word != "96" else "64" for word in words])
    assert code == 2
    others = {tmp_path / "out": tmp_path / "more", "points_per_side=4": "points_per_side=1"}
    answer(*[others.get(word, word) for word in words], "--tile-overlap", "0.4")
    with (tmp_path / "more" / "results.jsonl").open() as file:
        assert json.loads(file.readline())["job"]["tiles"] == {"side": 96, "overlap": 0.4, "agreement": 0.5}


def test_prompts_are_zoomed(answer, micro, photo, tmp_path):
    code, facts = answer("segment", micro, photo, "--out", tmp_path / "out", "--tiles", "--boxes", "20,30,60,80")
    assert (code, facts["done"]) == (0, 1)
    mask = read_image(tmp_path / "out" / "photo.png")[:, :, 0]
    assert mask.shape == (200, 260)
    assert not mask[:, 120:].any(), "it lies in the window"


def test_a_bad_image_and_a_bad_prompt_are_listed(answer, segtune, micro, photo, tmp_path):
    (tmp_path / "bad.tif").write_text("no image")
    code, facts = answer(
        "segment", micro, photo, tmp_path / "bad.tif", "--out", tmp_path / "out", "--tile-side", "64", "--points", "5,5"
    )
    assert (code, facts["done"], list(facts["failed"])) == (0, 1, ["bad.tif"])
    found, _, err = segtune("segment", micro, photo, "--out", tmp_path / "b", "--tile-side", "4", "--points", "5,5")
    assert (found, "tile's side" in err) == (2, True)
