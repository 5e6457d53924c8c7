"""Tables of patients, scenes and videos: how they may name images, and what becomes of those that name none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.data.check import check_dataset
from segtune.data.dataset import Dataset, open_dataset


def fill(root: Path, *images: str) -> Path:
    """Write pairs of image and mask, the images named by their paths below the folder."""
    rng = np.random.default_rng(0)
    mask = np.zeros((24, 36), dtype=np.uint8)
    mask[5:14, 5:17] = 255
    for image in images:
        for path, values in (
            (root / image, rng.integers(0, 255, (24, 36, 3), dtype=np.uint8)),
            (root / image.replace("images", "masks").replace(".jpg", ".png"), mask),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(values).save(path)
    return root


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five pairs in images/ and masks/."""
    return fill(tmp_path / "data", *(f"images/{name}.png" for name in "abcde"))


def groups_of(root: Path, table: str) -> Dataset:
    (root / "groups.csv").write_text(table)
    return open_dataset(root)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("groups.csv", "name,group\nimages/a.png,p1\nb,p1\nc.png,p2\n"),
        ("metadata.csv", "Image;Age;Patient_ID\na.png;60;p1\nb.png;61;p1\nc.png;60;p2\n"),
    ],
)
def test_groups(folder, table, text):
    """Patients come from a table beside the images, whose names may be paths, file names or stems."""
    (folder / table).write_text(text)
    data = open_dataset(folder)
    assert data.groups == ("p1", "p1", "p2", None, None)
    assert data[2].group == "p2"
    assert data.notes[-1].endswith(f"of {table}: 2 for 3 of 5 images.")


@pytest.mark.parametrize(
    "written",
    ["img7.png", "img7", "data/images/img7.jpg", "images\\img7.jpg", "D:\\scans\\images\\img7.jpg", "./img7.jpg"],
)
def test_images_are_named_as_elsewhere(tmp_path, written):
    """Another extension, folders above the data and backslashes name an image all the same."""
    root = fill(tmp_path / "here", "images/img7.jpg", "images/img8.jpg")
    assert groups_of(root, f"name,patient\n{written},7\nimg8,8\n").groups == ("7", "8")


def test_zeros_that_a_spreadsheet_dropped(tmp_path):
    """7 is 007, but not where another image is 7."""
    root = fill(tmp_path / "here", "images/007.png", "images/070.png")
    assert groups_of(root, "name,patient\n7,x\n70,y\n").groups == ("x", "y")
    fill(root, "images/7.png")
    assert groups_of(root, "name,patient\n7,x\n70,y\n").groups == (None, "y", "x")


def test_the_column_that_names_images_is_found(folder):
    """A column 'name' with the patients' names is not that of the images."""
    (folder / "metadata.csv").write_text("name,file,case\nSmith,a.png,1\nSmith,b.png,1\nDoe,c.png,2\n")
    assert open_dataset(folder).groups == ("1", "1", "2", None, None)


def test_a_path_says_more_than_a_stem(tmp_path):
    """A stem stands for all images called so, but one that is named with its folder has its own group."""
    root = fill(tmp_path / "here", "images/a/1.png", "images/b/1.png", "images/c/1.png")
    assert groups_of(root, "name,patient\nb/1.png,x\n1,y\n").groups == ("y", "x", "y")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "name,patient\nscan_9,7\nscan_8,7\n",
            r"gives no image a group: its column 'patient' is for 'scan_9', .*images/a",
        ),
        ("image,person\na,7\n", r"no column of groups\. It has 'image', 'person'"),
        ("", "no column of groups. It has no rows"),
    ],
)
def test_groups_that_group_nothing_are_refused(folder, text, words):
    """A groups.csv is meant: a split by image, as if it were not there, would put patients on both sides."""
    with pytest.raises(DataError, match=words):
        groups_of(folder, text)


def test_some_images_without_a_group_are_a_finding(folder):
    """The check warns of the images that the table forgets, and only of them."""
    found = check_dataset(groups_of(folder, "name,group\na,1\nb,1\nc,2\nd,2\n")).of_rule("without_group")
    assert (found.severity, found.images) == ("warning", ("images/e.png",))
    whole = check_dataset(groups_of(folder, "name,group\na,1\nb,1\nc,2\nd,2\ne,3\n"))
    assert whole.of_rule("without_group") is None


def test_another_table_that_names_no_image(folder):
    """A metadata.csv that happens to lie there refuses nothing, and is told in a note."""
    (folder / "metadata.csv").write_text("id,case\n900,x\n901,y\n")
    data = open_dataset(folder)
    assert set(data.groups) == {None}
    assert "metadata.csv gives no image a group" in data.notes[-1]


def test_a_table_without_groups(folder):
    """A metadata.csv that names no groups is no fault."""
    (folder / "metadata.csv").write_text("Image,Mask\na.png,a.png\n")
    data = open_dataset(folder)
    assert set(data.groups) == {None}
    assert not any("metadata" in note for note in data.notes)


def test_a_broken_table(folder):
    """A table that is no text is an error that names it."""
    (folder / "groups.csv").write_bytes(b"\xff\xfe\x00name,group")
    with pytest.raises(DataError, match=r"groups\.csv"):
        open_dataset(folder)


def test_another_table_in_another_encoding(folder):
    """A metadata.csv that is no UTF-8 and may hold anything is told in a note and refuses nothing."""
    (folder / "metadata.csv").write_bytes("Bild;Größe\na.png;4\n".encode("latin-1"))
    data = open_dataset(folder)
    assert set(data.groups) == {None}
    assert "metadata.csv cannot be read" in data.notes[-1]
    assert "UTF-8" in data.notes[-1]
