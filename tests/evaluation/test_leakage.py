"""Images that a run has learned from are kept out of its evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segtune.core.errors import DataError
from segtune.data.duplicates import fingerprints
from segtune.data.scenes import draw_scene
from segtune.evaluation.leakage import find_leaks


def scene(seed: int, name: str):
    """Draw a scene under a name, its image kept."""
    one = draw_scene(seed, side=160)
    image = one.image
    return replace(one, name=name, read=lambda: image)


@pytest.fixture
def learned(dataset):
    """Fingerprints of what a run trained on."""
    return fingerprints(dataset(*(scene(seed, f"train{seed}.png") for seed in range(6))))


def test_the_same_and_nearly_the_same_images_are_left_out(dataset, learned):
    """A copy under another name and a relit one are found, others are kept in order."""
    copy, relit = scene(2, "copy.png"), scene(4, "relit.png")
    darker = np.clip(relit.image * 0.8 + 10, 0, 255).astype(np.uint8)
    others = [scene(seed, f"new{seed}.png") for seed in (100, 101, 102)]
    test = dataset(others[0], copy, others[1], replace(relit, read=lambda: darker), others[2])
    found = find_leaks(test, {"run": learned})
    assert found.kept == ("new100.png", "new101.png", "new102.png")
    assert set(found.names) == {"copy.png", "relit.png"}
    by_name = {leak.name: leak for leak in found.leaks}
    assert (by_name["copy.png"].like, by_name["copy.png"].kind) == ("train2.png", "exact")
    assert (by_name["relit.png"].like, by_name["relit.png"].run) == ("train4.png", "run")
    told = found.to_json()
    assert told["images"] == 2
    assert told["exact"] + told["near"] == 2
    assert {one["name"] for one in told["leaks"]} == {"copy.png", "relit.png"}


def test_an_image_known_to_several_runs_counts_once(dataset, learned):
    """Leaks are told by run, images are counted once."""
    found = find_leaks(dataset(scene(1, "copy.png"), scene(200, "new.png")), {"a": learned, "b": learned})
    assert {(leak.name, leak.run) for leak in found.leaks} == {("copy.png", "a"), ("copy.png", "b")}
    assert found.names == ("copy.png",)
    assert found.to_json()["images"] == 1


def test_without_runs_all_is_kept(dataset):
    """A model that was trained elsewhere leaves nothing out, and no image is decoded."""

    def fail():
        raise AssertionError("the image was decoded")

    test = dataset(replace(scene(1, "a.png"), read=fail))
    assert find_leaks(test, {}).kept == ("a.png",)


def test_an_image_that_cannot_be_read_is_left_to_the_evaluation(dataset, learned):
    """The search for leaks does not stop at a broken file."""

    def broken():
        raise DataError("It is truncated.")

    found = find_leaks(dataset(replace(scene(1, "a.png"), read=broken), scene(2, "copy.png")), {"run": learned})
    assert found.kept == ("a.png",)
    assert found.names == ("copy.png",)
