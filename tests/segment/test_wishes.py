"""What is asked for, as people write it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from segtune.core.errors import UsageError
from segtune.segment.inputs import InputImage
from segtune.segment.wishes import parse_boxes, parse_points, read_wishes, same_for_all


def test_points_and_boxes_on_the_command_line():
    assert parse_points("12,30; 4.5,6,-") == ((12, 30, 1), (4.5, 6, 0))
    assert parse_boxes("0,1,20,30;5,5,9,9;") == ((0, 1, 20, 30), (5, 5, 9, 9))
    (both,) = same_for_all("12,30", "0,1,20,30").of_all
    assert both.points
    assert both.box
    assert len(same_for_all(None, "0,1,20,30;5,5,9,9").of_all) == 2
    assert same_for_all(None, None).of_all == ()


@pytest.mark.parametrize("text", ["12", "a,b", "1,2,?", "1,2,-,4"])
def test_points_that_are_none(text):
    with pytest.raises(UsageError, match="x,y"):
        parse_points(text)


def test_boxes_that_are_none():
    with pytest.raises(UsageError, match="x0,y0"):
        parse_boxes("1,2,3")


def test_points_beside_several_boxes_are_nobodys():
    with pytest.raises(UsageError, match="2 boxes"):
        same_for_all("1,2", "0,1,20,30;5,5,9,9")


def test_a_file_of_prompts_names_images_by_path_or_file_name(tmp_path):
    cv2.imwrite(str(tmp_path / "coarse.png"), np.eye(8, dtype=np.uint8))
    told = {"a/one.jpg": [{"points": [[3, 4, 1], [5, 6]], "label": "polyp"}], "two.jpg": [{"mask": "coarse.png"}]}
    (tmp_path / "prompts.json").write_text(json.dumps(told))
    wishes = read_wishes(tmp_path / "prompts.json")

    (one,) = wishes.of(InputImage(Path("/data/a/one.jpg"), "a/one.jpg"))
    (two,) = wishes.of(InputImage(Path("/data/b/two.jpg"), "b/two.jpg"))
    assert wishes.of(InputImage(Path("/data/b/one.jpg"), "b/one.jpg")) == ()
    assert wishes.labels == ["object", "polyp"]
    assert one.prompt((10, 10), tmp_path).point_labels.tolist() == [1, 1]
    np.testing.assert_array_equal(two.prompt((8, 8), wishes.folder).mask, np.eye(8, dtype=np.bool_))


@pytest.mark.parametrize(
    ("text", "words"),
    [("[]", "dictionary"), ("{", "no file of prompts"), ('{"a": [{"boxes": 1}]}', "a → 0 → boxes")],
)
def test_a_file_that_is_none_is_refused_with_the_place(tmp_path, text, words):
    (tmp_path / "prompts.json").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_wishes(tmp_path / "prompts.json")
