"""What is asked for, as people write it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from segtune.core.errors import UsageError
from segtune.segment.inputs import InputImage
from segtune.segment.wishes import Wish, parse_boxes, parse_points, read_wishes, same_for_all


def test_points_and_boxes_on_the_command_line():
    assert parse_points("12,30; 4.5,6,-") == ((12, 30, 1), (4.5, 6, 0))
    assert parse_boxes("0,1,20,30;5,5,9,9;") == ((0, 1, 20, 30), (5, 5, 9, 9))
    (both,) = same_for_all("12,30", "0,1,20,30").of_all
    assert both.points
    assert both.box
    assert len(same_for_all(None, "0,1,20,30;5,5,9,9").of_all) == 2
    assert same_for_all(None, None).of_all == ()


@pytest.mark.parametrize("text", ["12", "a,b", "1,2,?", "1,2,-,4", "nan,3", "3,inf"])
def test_points_that_are_none(text):
    with pytest.raises(UsageError, match="x,y"):
        parse_points(text)


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,inf", "nan,2,3,4"])
def test_boxes_that_are_none(text):
    with pytest.raises(UsageError, match="x0,y0"):
        parse_boxes(text)


def test_points_beside_several_boxes_are_nobodys():
    with pytest.raises(UsageError, match="2 boxes"):
        same_for_all("1,2", "0,1,20,30;5,5,9,9")


def test_a_file_of_prompts_names_images_by_path_or_file_name(tmp_path):
    cv2.imwrite(str(tmp_path / "coarse.png"), np.eye(8, dtype=np.uint8))
    told = {"a/one.jpg": [{"points": [[3, 4, 1], [5, 6]], "label": "polyp"}], "two.jpg": [{"mask": "coarse.png"}]}
    (tmp_path / "prompts.json").write_text(json.dumps(told))
    wishes = read_wishes(tmp_path / "prompts.json")

    names = ("a/one.jpg", "b/two.jpg", "b/one.jpg")
    asked = wishes.for_images([InputImage(Path("/data") / name, name) for name in names])
    (one,), (two,), none = (asked.by_image[name] for name in names)
    assert none == ()
    assert wishes.labels == ["object", "polyp"]
    assert one.prompt((10, 10), tmp_path).point_labels.tolist() == [1, 1]
    np.testing.assert_array_equal(two.prompt((8, 8), wishes.folder).mask, np.eye(8, dtype=np.bool_))


def test_a_file_that_an_editor_on_windows_wrote_is_read(tmp_path):
    """It begins with a mark."""
    (tmp_path / "prompts.json").write_text('{"a.jpg": [{"points": [[3, 4]]}]}', encoding="utf-8-sig")
    assert list(read_wishes(tmp_path / "prompts.json").by_name) == ["a.jpg"]


SHORT, LONG = "caf\u00e9", "cafe\u0301"
"""One name as Linux and as a Mac writes it."""


@pytest.mark.parametrize("key", ["photos/{}/a.jpg", "{}/a.jpg", "{}.jpg"])
@pytest.mark.parametrize(("here", "there"), [(SHORT, LONG), (LONG, SHORT)])
def test_accents_are_alike_however_they_are_stored(tmp_path, keyed, key, here, there):
    """In an image's name, in its path from the file of prompts, and in its file's own name."""
    images = [
        InputImage(tmp_path / "photos" / there / "a.jpg", f"{there}/a.jpg"),
        InputImage(tmp_path / "photos" / "x" / f"{there}.jpg", f"x/{there}.jpg"),
    ]
    asked = keyed(key.format(here)).for_images(images)
    assert asked.unknown == ()
    assert [bool(asked.by_image[image.name]) for image in images] == [key != "{}.jpg", key == "{}.jpg"]


def test_the_very_same_accents_come_first(tmp_path, keyed):
    """Where files of both kinds are there, each has what is asked of it."""
    images = [InputImage(tmp_path / "x" / f"{name}.jpg", f"{name}.jpg") for name in (LONG, SHORT)]
    for place in ("", "x/", "../x/"):
        asked = keyed(f"{place}{SHORT}.jpg", f"{place}{LONG}.jpg").for_images(images)
        assert [asked.by_image[image.name][0].points[0][0] for image in images] == [1, 0]
    far = [InputImage(tmp_path / name / f"{name}.jpg", f"{name}/{name}.jpg") for name in (LONG, SHORT)]
    assert [bool(one) for one in keyed(f"{SHORT}.jpg").for_images(far).by_image.values()] == [False, True]


@pytest.fixture
def keyed(tmp_path, monkeypatch):
    """Return what makes wishes of keys, asking each key's own place in the list, from a file in `told`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "told").mkdir()

    def read(*keys):
        told = {key: [{"points": [[number, 0]]}] for number, key in enumerate(keys)}
        (tmp_path / "told" / "prompts.json").write_text(json.dumps(told))
        return read_wishes(Path("told/prompts.json"))

    return read


def image(folder, place, name):
    return InputImage(folder / place, name)


@pytest.mark.parametrize("key", ["photo.png", "PP/photo.png", "./PP/../PP/photo.png", "../PP/photo.png"])
def test_an_image_is_named_as_on_the_command_line_or_from_the_files_folder(tmp_path, keyed, key):
    photo = image(tmp_path, "PP/photo.png", "photo.png")
    wishes = keyed("x.png", key)
    asked = wishes.for_images([photo, image(tmp_path, "PP/b.png", "b.png")])
    assert asked.by_image["photo.png"][0].points == ((1, 0),)
    assert asked.unknown == ("x.png",)
    assert asked.by_image["b.png"] == ()


def test_a_files_name_alone_means_one_image_or_none(tmp_path, keyed):
    """Two of one name are told apart by their folders; what is of neither is said."""
    here, there = image(tmp_path, "in/a/photo.png", "a/photo.png"), image(tmp_path, "in/b/photo.png", "b/photo.png")
    asked = keyed("photo.png", "b/photo.png").for_images([here, there])
    assert asked.by_image["a/photo.png"] == ()
    assert asked.by_image["b/photo.png"][0].points == ((1, 0),)
    assert asked.unknown == ("photo.png",)
    assert keyed("photo.png").for_images([here]).by_image["a/photo.png"]
    # What lies in the folder that was given has this name, and no other image.
    top = image(tmp_path, "in/photo.png", "photo.png")
    asked = keyed("photo.png").for_images([top, here])
    assert asked.by_image["photo.png"]
    assert asked.by_image["a/photo.png"] == ()
    assert asked.unknown == ()


def test_the_current_folder_comes_before_the_files(tmp_path, keyed):
    near, far = image(tmp_path, "p/1.png", "x/1.png"), image(tmp_path, "told/p/1.png", "y/1.png")
    asked = keyed("p/1.png").for_images([near, far])
    assert asked.by_image["x/1.png"]
    assert asked.by_image["y/1.png"] == ()
    assert keyed("p/1.png").for_images([far]).by_image["y/1.png"]


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        (None, r"mask file .*m\.png does not exist"),
        (np.ones((8, 6), np.uint8), r"8 × 8 pixels, but .*m\.png has 6 × 8"),
        (np.full((8, 8), 100, np.uint8), r"in .*m\.png is empty"),
    ],
)
def test_a_mask_file_that_is_no_prompt_for_the_image_is_named(tmp_path, drawn, words):
    if drawn is not None:
        cv2.imwrite(str(tmp_path / "m.png"), drawn)
    with pytest.raises(UsageError, match=words):
        Wish(mask="m.png").prompt((8, 8), tmp_path)


def test_what_is_asked_of_all_is_asked_of_each(tmp_path):
    wishes = same_for_all("3,4", None)
    assert wishes.for_images([image(tmp_path, "1.png", "1.png")]).by_image == {"1.png": wishes.of_all}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "dictionary"),
        ("{", "no file of prompts"),
        ('{"a": [{"boxes": 1}]}', "a → 0 → boxes"),
        ('{"a": [{"points": [[1, 2, 0.9]]}]}', r"a → 0 → points → 0: a point's third number is 1 .*not 0\.9"),
        ('{"a": [{"points": [[1, 2, 1.7]]}]}', r"not 1\.7"),
        ('{"a": [{"points": [[1, 2], [3, 4, NaN]]}]}', "a → 0 → points → 1 → 2: input should be a finite"),
        ('{"a": [{"points": [[Infinity, 2]]}]}', "a → 0 → points → 0 → 0: input should be a finite"),
        ('{"a": [{"box": [0, 0, 1e999, 4]}]}', "a → 0 → box → 2: input should be a finite"),
        ('{"a": [{"points": [[1%s, 2]]}]}' % ("0" * 400), "a → 0 → points → 0 → 0"),
        ('{"a": [], "b": [], "a": []}', "'a' comes 2 times"),
        ('{"a/b": [], "./a/b": []}', "'a/b' comes 2 times"),
        ('{"a": [{"points": [[1, 2]], "points": [[3, 4]]}]}', "'points' comes 2 times"),
        ("[" * 100_000, "no file of prompts"),
        ('{"a": [{"box": [0, 0, 4, 4], "label": ""}]}', "a → 0 → label: string should have at least 1"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_place(tmp_path, text, words):
    (tmp_path / "prompts.json").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_wishes(tmp_path / "prompts.json")
