"""COCO as other tools write it: outlines, both kinds of run lengths, crowds, boxes, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.core.rle import RunLengths, narrow
from segtune.data.dataset import open_dataset
from segtune.data.formats import FORMATS
from segtune.data.formats.coco_rle import compress, read_counts

SQUARE = [2, 3, 12, 3, 12, 9, 2, 9]
"""Outline of the pixels of columns 2 to 11 and rows 3 to 8."""


@pytest.fixture
def document() -> dict:
    """Two images of 30 × 20 pixels, two categories, one object."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 20, "width": 30},
            {"id": 9, "file_name": "b.png", "height": 20, "width": 30},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 5, "segmentation": [SQUARE], "iscrowd": 0}],
    }


def save(root: Path, document: dict, *, images: str = "images", file: str = "annotations.json") -> Path:
    for one in document["images"]:
        path = root / images / one["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (30, 20)).save(path)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(document))
    return root


def square() -> np.ndarray:
    mask = np.zeros((20, 30), dtype=bool)
    mask[3:9, 2:12] = True
    return mask


def add(document: dict, segmentation, **more) -> None:
    number = len(document["annotations"]) + 1
    document["annotations"].append(
        {"id": number, "image_id": 7, "category_id": 3, "segmentation": segmentation, "iscrowd": 0, **more}
    )


def test_outline(tmp_path, document):
    """A polygon is filled; its category is the label; an image without annotations has no object."""
    data = open_dataset(save(tmp_path, document))
    assert data.names == ("images/a.png", "images/b.png")
    assert data[0].labels == ("dog",)
    np.testing.assert_array_equal(data[0].masks()[0], square())
    assert data[1].objects == ()


def test_run_lengths_plain_and_compressed(tmp_path, document):
    """Plain and compressed run lengths give the mask they encode."""
    counts = RunLengths.encode(square()).counts
    document["annotations"] = []
    add(document, {"size": [20, 30], "counts": counts.tolist()})
    add(document, {"size": [20, 30], "counts": compress(counts)})
    masks = open_dataset(save(tmp_path, document))[0].masks()
    np.testing.assert_array_equal(masks, [square(), square()])


def test_as_pycocotools_reads_what_is_written(tmp_path, document):
    """What is written is read by pycocotools to the same masks, areas and boxes, holes included."""
    coco = pytest.importorskip("pycocotools.coco")
    ring = square()
    ring[5:7, 5:8] = False
    add(document, {"size": [20, 30], "counts": compress(RunLengths.encode(ring).counts)})
    data = open_dataset(save(tmp_path / "in", document))
    FORMATS["coco"].write(data, tmp_path / "out")
    theirs = coco.COCO(str(tmp_path / "out" / "annotations.json"))
    annotations = theirs.loadAnns(theirs.getAnnIds(imgIds=[1]))
    assert isinstance(annotations[0]["segmentation"], list)
    assert isinstance(annotations[1]["segmentation"], dict)
    for annotation, ours in zip(annotations, data[0].masks(), strict=True):
        np.testing.assert_array_equal(theirs.annToMask(annotation).astype(bool), ours)
        assert annotation["area"] == ours.sum()
    assert annotations[0]["bbox"] == [2, 3, 10, 6]
    assert [one["name"] for one in theirs.loadCats(theirs.getCatIds())] == ["dog", "cat"]


def test_several_outlines_are_one_object(tmp_path, document):
    """The polygons of an annotation are parts of one object, also where they overlap."""
    document["annotations"][0]["segmentation"] = [SQUARE, [10, 5, 20, 5, 20, 15, 10, 15], [25, 1, 28, 1, 28, 4, 25, 4]]
    data = open_dataset(save(tmp_path, document))
    assert len(data[0].objects) == 1
    assert data[0].objects[0].area == 60 + 100 - 8 + 9
    assert len(open_dataset(tmp_path, objects="parts")[0].objects) == 2


def test_crowd_is_ignored(tmp_path, document):
    """A crowd is no object: its pixels are ignored."""
    add(document, {"size": [20, 30], "counts": RunLengths.encode(square()).counts.tolist()}, iscrowd=1)
    one = open_dataset(save(tmp_path, document))[0]
    assert one.labels == ("dog",)
    np.testing.assert_array_equal(one.ignore_mask(), square())


def test_boxes_without_outline(tmp_path, document):
    """Annotations that are only boxes are left out and counted; when there is nothing else it is an error."""
    add(document, [], bbox=[1, 2, 3, 4])
    data = open_dataset(save(tmp_path, document))
    assert "1 annotations are boxes" in data.notes[0]
    del document["annotations"][0]
    with pytest.raises(DataError, match="1 annotations are boxes"):
        open_dataset(save(tmp_path, document))


@pytest.mark.parametrize("images", ["", "images", "photos/deep"])
def test_where_images_are_looked_for(tmp_path, document, images):
    """Images are found beside the annotations, in images/, and elsewhere by a name that is unique."""
    data = open_dataset(save(tmp_path, document, images=images))
    assert [Path(name).name for name in data.names] == ["a.png", "b.png"]


def test_train_and_val_files(tmp_path, document):
    """Several files in annotations/ are one data set; keypoints and captions beside instances are left alone."""
    save(tmp_path, document, file="annotations/instances_train.json")
    (tmp_path / "annotations" / "captions_train.json").write_text(json.dumps(document))
    other = {**document, "images": [{"id": 7, "file_name": "c.png"}]}
    save(tmp_path, other, file="annotations/instances_val.json")
    data = open_dataset(tmp_path)
    assert [Path(name).name for name in data.names] == ["a.png", "b.png", "c.png"]
    assert [len(one.objects) for one in data] == [1, 0, 1]
    assert data.set_aside == ()


def test_what_is_set_aside(tmp_path, document):
    """Missing images, other sizes and broken annotations are set aside by name, each with its reason."""
    document["images"] += [{"id": n, "file_name": f"{n}.png", "height": 20, "width": 30} for n in (20, 21, 22)]
    save(tmp_path, document)
    (tmp_path / "images" / "20.png").unlink()
    PIL.Image.new("RGB", (20, 30)).save(tmp_path / "images" / "21.png")
    add(document, [[1, 2, "three", 4, 5, 6]], image_id=22)
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    data = open_dataset(tmp_path)
    reasons = {one.name: one.reason for one in data.set_aside}
    assert len(data) == 2
    assert "no such file" in reasons["20.png"]
    assert "EXIF" in reasons["images/21.png"]
    assert "annotation 2 cannot be read" in reasons["images/22.png"]


def test_run_lengths_of_another_size(tmp_path, document):
    """Run lengths for another size than the image's are found when the data set is opened."""
    add(document, {"size": [30, 20], "counts": [600]}, image_id=9)
    data = open_dataset(save(tmp_path, document))
    assert [one.name for one in data.set_aside] == ["images/b.png"]


def test_run_lengths_that_do_not_add_up(tmp_path, document):
    """Run lengths that end before the image does are an error that names the image."""
    add(document, {"size": [20, 30], "counts": [10, 20]}, image_id=9)
    data = open_dataset(save(tmp_path, document))
    with pytest.raises(DataError, match=r"b\.png.*30 pixels.*600"):
        assert data[1]


def test_groups_of_images(tmp_path, document):
    """A patient, video or scene written with an image is its group."""
    document["images"][0]["patient_id"] = 12
    assert open_dataset(save(tmp_path, document)).groups == ("12", None)


@pytest.mark.parametrize("broken", ['{"images": [', '{"images": [{"file_name": 1}]}', "[1, 2]", '{"shapes": []}'])
def test_broken_files(tmp_path, document, broken):
    """A file that is cut off, incomplete or something else is an error that names it."""
    save(tmp_path, document)
    (tmp_path / "annotations.json").write_text(broken)
    with pytest.raises(DataError, match=r"annotations\.json"):
        open_dataset(tmp_path, format="coco")


@pytest.mark.parametrize("height", ["50.0", "tall", float("inf")])
def test_heights_that_are_no_whole_numbers(tmp_path, document, height):
    """A size that is no whole number is an error that names the file."""
    document["images"][0]["height"] = height
    with pytest.raises(DataError, match=r"annotations\.json is no complete COCO file.*whole numbers"):
        open_dataset(save(tmp_path, document))


def test_a_file_cut_off(tmp_path, document):
    """A file whose end is missing is taken for what it was, and the error names it."""
    path = save(tmp_path, document) / "annotations.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match=r"annotations\.json cannot be read"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("files", "folders"),
    [
        (("annotations/train.json", "annotations/val.json"), ("train", "val")),
        (("annotations/instances_train2017.json", "annotations/instances_val2017.json"), ("train2017", "val2017")),
        (("train_2.json", "val_2.json"), ("images/Train", "images/Val")),
        (("instances_train2017.json", "instances_val2017.json"), ("train/images", "val/images")),
    ],
)
def test_parts_with_the_same_file_names(tmp_path, document, files, folders):
    """Images of one name in train/ and val/ are told apart by what their annotation files are called."""
    for file, folder in zip(files, folders, strict=True):
        save(tmp_path, document, images=folder, file=file)
    data = open_dataset(tmp_path)
    assert data.names == tuple(f"{folder}/{name}.png" for folder in folders for name in "ab")
    assert data.set_aside == ()


def test_an_ambiguous_name(tmp_path, document):
    """A name that two files have, with nothing to tell which is meant, is ambiguous and not missing."""
    save(tmp_path, document, images="one", file="annotations/all.json")
    (tmp_path / "two").mkdir()
    PIL.Image.new("RGB", (30, 20)).save(tmp_path / "two" / "b.png")
    data = open_dataset(tmp_path)
    assert data.names == ("one/a.png",)
    assert [one.name for one in data.set_aside] == ["b.png"]
    assert "ambiguous: 2 files are called so, such as one/b.png and two/b.png" in data.set_aside[0].reason
    assert "path below the data folder" in data.set_aside[0].remedy


@pytest.mark.parametrize("above", ["", "/home/ann/set/", "C:\\set\\"])
def test_an_image_of_another_folder_is_not_the_missing_one(tmp_path, document, above):
    """Where a name says a folder that holds the others of it, a file called so elsewhere is another image."""
    document["images"] = [{"id": n, "file_name": f"{above}p1/{n}.png"} for n in (7, 9)]
    save(tmp_path, {**document, "images": [{"file_name": name} for name in ("p1/7.png", "p2/9.png")]})
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    data = open_dataset(tmp_path)
    assert data.names == ("images/p1/7.png",)
    words = "annotations.json names it, but it is not in its folder; 1 files elsewhere are called so"
    assert [(one.name, one.reason) for one in data.set_aside] == [(f"{above}p1/9.png", words)]


def test_a_folder_of_images_is_missing(tmp_path, document):
    """Images of a folder that is missing are not those that another name says in full."""
    document["images"] = [{"id": 7, "file_name": "p1/1.png"}, {"id": 9, "file_name": "p2/1.png"}]
    save(tmp_path, {**document, "images": document["images"][1:]})
    add(document, [SQUARE], image_id=9)
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    data = open_dataset(tmp_path)
    assert data.names == ("images/p2/1.png",)
    assert [one.name for one in data.set_aside] == ["p1/1.png"]


def test_images_moved_from_the_folders_they_were_annotated_in(tmp_path, document):
    """Folders that are not here say nothing: a name that is unique is enough, whatever became of its folder."""
    document["images"] = [{"id": n, "file_name": f"old/p{n}/{n}.png"} for n in (7, 9)]
    save(tmp_path, {**document, "images": [{"file_name": name} for name in ("7.png", "new/9.png")]})
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    assert open_dataset(tmp_path).names == ("images/7.png", "images/new/9.png")


@pytest.mark.parametrize(
    ("named", "files"),
    [
        (("1.png", "2.png"), ("images/1.png", "more/2.png")),
        (("images/1.png", "images/2.png"), ("data/images/1.png", "data/images/deep/2.png")),
    ],
)
def test_names_that_one_file_has(tmp_path, document, named, files):
    """A name without a folder may be anywhere, one with a folder anywhere below it, though others are in place."""
    document["images"] = [{"id": n, "file_name": name} for n, name in zip((7, 9), named, strict=True)]
    save(tmp_path, {**document, "images": [{"file_name": name} for name in files]}, images="", file="train.json")
    (tmp_path / "train.json").write_text(json.dumps(document))
    assert open_dataset(tmp_path).names == tuple(sorted(files))


def test_a_name_that_is_ambiguous_beside_one_in_place(tmp_path, document):
    """A name without a folder that several files in train/ have is ambiguous, not missing, though another is there."""
    document["images"] = [{"id": n, "file_name": f"{n}.png"} for n in (7, 9)]
    files = ("train/a/7.png", "train/b/7.png", "train/a/9.png", "other/7.png")
    save(tmp_path, {**document, "images": [{"file_name": name} for name in files]}, images="", file="train.json")
    add(document, [SQUARE], image_id=9)
    (tmp_path / "train.json").write_text(json.dumps(document))
    data = open_dataset(tmp_path)
    assert data.names == ("train/a/9.png",)
    assert ["ambiguous: 2 files are called so" in one.reason for one in data.set_aside] == [True]


@pytest.mark.parametrize(
    ("file", "here", "elsewhere"),
    [
        ("annotations/instances_train.json", "train", "test"),
        ("annotations/instances_train2017.json", "train2017", "unlabelled"),
        ("train.json", "train", "val"),
        ("data/train.json", "data/train", "data/more"),
        ("train.json", "images", "test-2"),
        ("data/train.json", "data", "data/valid"),
        ("images_train.json", "images/train", "images/test"),
        ("val.json", "a/validation", "test"),
        ("val.json", "photos", "test"),
    ],
)
@pytest.mark.parametrize("both", [True, False])
def test_an_image_missing_from_the_part_that_its_file_says(tmp_path, document, file, here, elsewhere, both):
    """It is not the one called so in another part or beside the part, where no annotation file speaks of that."""
    save(tmp_path, document, images=here, file=file)
    (tmp_path / elsewhere).mkdir()
    (tmp_path / here / "b.png").rename(tmp_path / elsewhere / "b.png")
    if both:
        PIL.Image.new("RGB", (30, 20)).save(tmp_path / elsewhere / "a.png")
    data = open_dataset(tmp_path)
    assert data.names == (f"{here}/a.png",)
    assert [("1 files elsewhere are called so" in one.reason) for one in data.set_aside] == [True]


@pytest.mark.parametrize("place", ["val/b.png", "val/deep/b.png"])
def test_an_image_that_its_name_puts_in_another_part(tmp_path, document, place):
    """A list for training may name images of val/ in so many words."""
    document["images"][1]["file_name"] = place
    save(tmp_path, document, images="data", file="train.json")
    document["images"][1]["file_name"] = "val/b.png"
    (tmp_path / "train.json").write_text(json.dumps(document))
    assert open_dataset(tmp_path).names == ("data/a.png", f"data/{place}")


@pytest.mark.parametrize("folder", ["", "annotations/"])
def test_an_image_missing_from_the_part_called_like_its_file(tmp_path, document, folder):
    """An image that lacks in the folder called like its annotation file is not one in that of another such file."""
    for part in ("train", "val"):
        save(tmp_path, document, images=part, file=f"{folder}{part}.json")
    (tmp_path / "train" / "b.png").unlink()
    data = open_dataset(tmp_path)
    assert data.names == ("train/a.png", "val/a.png", "val/b.png")
    assert [f"{folder}train.json names it" in one.reason for one in data.set_aside] == [True]


def test_files_that_share_one_folder_called_like_one_of_them(tmp_path, document):
    """A list of images that were split by lists alone is found in the folder of another list."""
    for part, one in zip(("train", "val"), document["images"], strict=True):
        save(tmp_path, {**document, "images": [one]}, images="train", file=f"{part}.json")
    assert open_dataset(tmp_path).names == ("train/a.png", "train/b.png")


@pytest.mark.parametrize("names", [("p1/1.png", "p2/1.png"), ("1.png", "p2/1.png"), ("/a/set/1.png", "/b/set/1.png")])
@pytest.mark.parametrize("place", ["data/1.png", "set/1.png"])
def test_a_file_that_two_names_may_mean(tmp_path, document, names, place):
    """It is neither's: outlines of the other image would lie on it."""
    document["images"] = [{"id": n, "file_name": name} for n, name in zip((7, 9), names, strict=True)]
    save(tmp_path, {**document, "images": [{"file_name": place}, {"file_name": "other.png"}]}, images="")
    document["images"].append({"id": 11, "file_name": "other.png"})
    add(document, [SQUARE], image_id=11)
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    data = open_dataset(tmp_path)
    assert data.names == ("other.png",)
    assert [one.name for one in data.set_aside] == sorted(names)


def test_an_image_missing_from_its_part(tmp_path, document):
    """An image that lacks in train/ is not the one of its name in val/."""
    for part in ("train", "val"):
        save(tmp_path, document, images=part, file=f"{part}/annotations.json")
    (tmp_path / "train" / "b.png").unlink()
    data = open_dataset(tmp_path)
    assert data.names == ("train/a.png", "val/a.png", "val/b.png")
    assert ["train/annotations.json names it" in one.reason for one in data.set_aside] == [True]


def test_ids_of_other_types(tmp_path, document):
    """An id written as text in one place and as a number in another is the same id."""
    document["annotations"][0].update(image_id="7", category_id=5.0)
    add(document, [SQUARE], image_id=9.0, category_id="3")
    assert [one.labels for one in open_dataset(save(tmp_path, document))] == [("dog",), ("cat",)]


def test_annotations_of_no_image(tmp_path, document):
    """Annotations whose image is not listed are counted in a note, as are images that no file names."""
    add(document, [SQUARE], image_id=77)
    save(tmp_path, document)
    PIL.Image.new("RGB", (30, 20)).save(tmp_path / "images" / "z.png")
    notes = open_dataset(tmp_path).notes
    assert any(note.startswith("1 annotations have an image_id that no image has") for note in notes)
    assert any(note.startswith("1 image files are named in no annotation file") for note in notes)


def test_an_image_with_boxes_alone_is_not_empty(tmp_path, document):
    """An image whose annotations are all boxes is set aside: it would be taught as one without objects."""
    add(document, [], image_id=9, bbox=[1, 2, 3, 4])
    add(document, [], image_id=9, bbox=[1, 2, 3, 4])
    data = open_dataset(save(tmp_path, document))
    assert data.names == ("images/a.png",)
    assert [(one.name, one.reason) for one in data.set_aside] == [
        ("images/b.png", "its 2 annotations are boxes without an outline")
    ]


def test_an_extension_in_capitals(tmp_path, document):
    """A.JSON is opened as a file as well as in a folder."""
    save(tmp_path, document, file="A.JSON")
    assert open_dataset(tmp_path / "A.JSON").names == open_dataset(tmp_path).names


def published(counts):
    """COCO's compression as its own code has it, number by number."""
    text = ""
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            digit, value = value & 31, value >> 5
            more = value != (-1 if digit & 16 else 0)
            text += chr(digit + 32 * more + 48)
    return text


@pytest.mark.parametrize("longest", [5, 2**31, 2**32 - 1, 2**32, 2**40])
def test_run_lengths_of_any_size_are_compressed_as_published(longest):
    """They come back in 32 bits where those hold them, else in 64."""
    rng = np.random.default_rng(longest % 97)
    counts = [*rng.integers(1, longest, 30).tolist(), longest, 1, 0, longest, longest, 1]
    for held in (narrow(np.array(counts)), np.array(counts)):
        assert compress(held) == published(counts)
    for given in (published(counts), counts):
        back = read_counts(given)
        assert back.tolist() == counts
        assert back.dtype == (np.uint32 if longest < 2**32 else np.int64)


def test_run_lengths_that_no_number_holds_are_refused():
    """A string of digits without end is no length."""
    with pytest.raises(ValueError, match="no image has"):
        read_counts("o" * 20 + "0")
