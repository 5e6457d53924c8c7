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
