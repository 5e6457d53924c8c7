"""YOLO outlines as trainers expect them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.data.dataset import open_dataset

LINE = "1 0.2 0.25 0.6 0.25 0.6 0.75 0.2 0.75\n"
"""Of 30 × 20 pixels the columns 6 to 17 and the rows 5 to 14."""


def put(root: Path, image: str, label: str | None = None, text: str = LINE) -> Path:
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (30, 20)).save(root / image)
    if label is not None:
        (root / label).parent.mkdir(parents=True, exist_ok=True)
        (root / label).write_text(text)
    return root


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/a.jpg", "labels/a.txt"),
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.jpg", "train/labels/a.txt"),
        ("a.jpg", "a.txt"),
    ],
)
def test_layouts(tmp_path, image, label):
    """Labels are found in labels/ in place of images/, or beside the image; shares become pixels."""
    data = open_dataset(put(tmp_path, image, label))
    assert data.format == "yolo"
    assert data.names == (image,)
    mask = data[0].masks()[0]
    assert mask.sum() == 120
    assert mask[5:15, 6:18].all()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data.yaml", "names: [cat, dog]\n"),
        ("data.yaml", "names: {0: cat, 1: dog}\n"),
        ("classes.txt", "cat\ndog\n"),
        ("data.yaml", "nc: 2\n"),
    ],
)
def test_class_names(tmp_path, file, text):
    """Names come from data.yaml or classes.txt; without either the number is the name."""
    put(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / file).write_text(text)
    assert open_dataset(tmp_path)[0].labels == ("1" if "nc" in text else "dog",)


def test_a_byte_order_mark(tmp_path):
    """Files that begin by one, as some editors write them, are read like any others."""
    put(tmp_path, "images/a.jpg", "labels/a.txt", "\ufeff" + LINE)
    (tmp_path / "classes.txt").write_text("\ufeffcat\ndog\n")
    data = open_dataset(tmp_path)
    assert (data.format, data.set_aside) == ("yolo", ())
    assert data[0].labels == ("dog",)


def test_opened_by_its_settings(tmp_path):
    """data.yaml stands for its folder."""
    put(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\n")
    assert open_dataset(tmp_path / "data.yaml")[0].labels == ("dog",)


def test_images_without_objects(tmp_path):
    """An empty label file or none means no object, and how often it was none is told."""
    put(tmp_path, "images/a.jpg", "labels/a.txt")
    put(tmp_path, "images/b.jpg", "labels/b.txt", "")
    put(tmp_path, "images/c.jpg")
    data = open_dataset(tmp_path)
    assert [len(one.objects) for one in data] == [1, 0, 0]
    assert "1 images have no text file" in data.notes[0]


def test_boxes_are_refused(tmp_path):
    """Labels for detection are an error that says what is missing."""
    put(tmp_path, "images/a.jpg", "labels/a.txt", "0 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match=r"are boxes.*labels/a\.txt.*outlines"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"), [("0 0.1 0.2 0.3\n", "4 numbers"), ("0 0.5 0.5 0.2 0.2\n", "boxes"), (LINE + "1 2\n", "line 2")]
)
def test_odd_lines_set_an_image_aside(tmp_path, text, reason):
    """A line that is no outline sets its image aside, with its number."""
    put(tmp_path, "images/a.jpg", "labels/a.txt")
    put(tmp_path, "images/b.jpg", "labels/b.txt", text)
    data = open_dataset(tmp_path)
    assert data.names == ("images/a.jpg",)
    assert reason in data.set_aside[0].reason


@pytest.mark.parametrize("word", ["x", "nan", "inf"])
def test_words_that_are_no_numbers(tmp_path, word):
    """A word in place of a number is an error that names file and line when the image is read."""
    put(tmp_path, "images/a.jpg", "labels/a.txt")
    put(tmp_path, "images/b.jpg", "labels/b.txt", f"0 0.1 0.2 0.3 0.4 0.5 {word}\n")
    data = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"Line 1 of .*labels/b\.txt"):
        assert data[1]


def test_broken_settings(tmp_path):
    """A data.yaml that is no YAML is an error that names it."""
    put(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / "data.yaml").write_text("names: [cat\n")
    with pytest.raises(DataError, match=r"data\.yaml"):
        open_dataset(tmp_path)


def test_broken_image(tmp_path):
    """An image that cannot be read is set aside with its reason."""
    put(tmp_path, "images/a.jpg", "labels/a.txt")
    put(tmp_path, "images/b.jpg", "labels/b.txt")
    (tmp_path / "images" / "b.jpg").write_bytes(b"text")
    data = open_dataset(tmp_path)
    assert [one.name for one in data.set_aside] == ["images/b.jpg"]


def test_outline_over_the_border(tmp_path):
    """Coordinates beyond the image are cut off."""
    put(tmp_path, "images/a.jpg", "labels/a.txt", "0 -0.5 -0.5 1.5 -0.5 1.5 1.5 -0.5 1.5\n")
    assert np.all(open_dataset(tmp_path)[0].masks())


def test_nothing_is_lost_without_a_word(tmp_path):
    """Labels without an image and images in a folder without labels are set aside; lists of files are neither."""
    put(tmp_path, "images/train/a.jpg", "labels/train/a.txt")
    put(tmp_path, "images/test/b.jpg")
    for name, text in (("labels/train/c.txt", LINE), ("labels/val/d.txt", ""), ("more/e.txt", LINE)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "labels" / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "train.txt").write_text("images/train/a.jpg\n")
    data = open_dataset(tmp_path)
    assert data.names == ("images/train/a.jpg",)
    assert {one.name: one.reason for one in data.set_aside} == {
        "images/test/b.jpg": "its folder has no labels",
        "labels/train/c.txt": "no image belongs to these labels",
        "labels/val/d.txt": "no image belongs to these labels",
        "more/e.txt": "no image belongs to these labels",
    }
    assert all(one.remedy for one in data.set_aside)


def test_labels_beside_images_without_one(tmp_path):
    """Beside images too, labels without an image are set aside, empty ones as well; notes are not."""
    put(tmp_path, "a.jpg", "a.txt")
    (tmp_path / "b.txt").write_text(LINE)
    (tmp_path / "c.txt").write_text("")
    (tmp_path / "notes.txt").write_text("taken in May\n")
    assert [one.name for one in open_dataset(tmp_path).set_aside] == ["b.txt", "c.txt"]


def test_many_images_without_objects_come_first(tmp_path):
    """Thirty empty label files before the first outline do not hide what the folder is."""
    for number in range(30):
        put(tmp_path, f"images/{number:02}.jpg", f"labels/{number:02}.txt", "" if number % 2 else "\n")
    put(tmp_path, "images/z.jpg", "labels/z.txt")
    data = open_dataset(tmp_path)
    assert data.format == "yolo"
    assert len(data) == 31


@pytest.mark.parametrize(("image", "label"), [("Images/a.jpg", "Labels/a.txt"), ("a/IMAGES/b.jpg", "a/LABELS/b.TXT")])
def test_folders_in_capitals(tmp_path, image, label):
    """Labels/ beside Images/ is found as labels/ beside images/ is."""
    assert len(open_dataset(put(tmp_path, image, label))[0].objects) == 1


@pytest.mark.parametrize("names", ["{cat: 0}", "{null: cat}"])
def test_names_that_are_no_numbers(tmp_path, names):
    """Class names the wrong way round are an error that names the file and says how to write them."""
    put(tmp_path, "images/a.jpg", "labels/a.txt")
    (tmp_path / "data.yaml").write_text(f"names: {names}\n")
    with pytest.raises(DataError, match=r"data\.yaml must be a list.*Write it as"):
        open_dataset(tmp_path)
