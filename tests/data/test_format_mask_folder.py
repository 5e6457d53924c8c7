"""The many ways people lay out images and mask files."""

from __future__ import annotations

import cProfile
import pstats
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.data.dataset import open_dataset
from segtune.data.formats.paired import label_in_name
from segtune.data.formats.pairing import image_key, mask_key, pair_files
from segtune.data.formats.tree import Tree

SIZE = (20, 30)


def put(root: Path, *names: str, value: int = 255) -> None:
    """Write a file per name: a mask with a square of `value`, and black images."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.zeros(SIZE, dtype=np.uint8)
        values[4:12, 5:15] = value
        PIL.Image.fromarray(values).save(path, format="PNG")


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["images/a.png", "images/b.png"], ["masks/a.png", "masks/b.png"]),
        (["Image/a.jpg", "Image/b.jpg"], ["Mask/a.png", "Mask/b.png"]),
        (["imgs/a.jpg"], ["labels/a.png"]),
        (["image/a.tif"], ["ground truth/a.tif"]),
        (["images/X1.jpg", "images/X2.jpg"], ["masks/X1_mask.jpg", "masks/X2_mask.jpg"]),
        (["images/img_1.png"], ["masks/mask_1.png"]),
        (["a_image.png"], ["a_mask.png"]),
        (["0a1.jpg", "0a2.jpg"], ["0a1_segmentation.png", "0a2_segmentation.png"]),
        (["x/12_sat.jpg"], ["x/12_mask.png"]),
        (["one.png", "two.png"], ["masks/one.png", "masks/two.png"]),
        (["train/images/a.png", "val/images/a.png"], ["train/masks/a.png", "val/masks/a.png"]),
        (["images/train/a.png", "images/val/a.png"], ["masks/train/a.png", "masks/val/a.png"]),
        (["images/a.png"], ["masks/polyp/a.png"]),
        (["JPEGImages/a.jpg"], ["SegmentationClass/a.png"]),
        (["deep/er/images/a.png"], ["deep/er/annotations/a.png"]),
    ],
)
def test_layouts(tmp_path, images, masks):
    """Each layout gives every image its mask and leaves nothing over."""
    put(tmp_path, *images, value=0)
    put(tmp_path, *masks)
    data = open_dataset(tmp_path)
    assert data.format == "mask_folder"
    assert data.names == tuple(sorted(images))
    assert data.set_aside == ()
    assert [len(one.objects) for one in data] == [1] * len(images)


def test_one_file_per_object(tmp_path):
    """A folder of mask files per image: each file an object; a folder without files, an image without objects."""
    put(tmp_path, "images/a.png", "images/b.png", value=0)
    put(tmp_path, "instance_masks/a/x.png", "instance_masks/a/y.png", "instance_masks/a/z.png")
    (tmp_path / "instance_masks" / "b").mkdir()
    for objects, expected in (("whole", 3), ("instances", 3), ("labels", 1)):
        data = open_dataset(tmp_path, objects=objects)
        assert [len(one.objects) for one in data] == [expected, 0]
    assert "a mask file of its own" in data.notes[0]


def test_one_folder_per_image(tmp_path):
    """A folder per image, with its image in images/ and a file per object in masks/."""
    for name in ("p", "q"):
        put(tmp_path, f"{name}/images/{name}.png", value=0)
        put(tmp_path, f"{name}/masks/1.png", f"{name}/masks/2.png")
    data = open_dataset(tmp_path)
    assert data.names == ("p/images/p.png", "q/images/q.png")
    assert [len(one.objects) for one in data] == [2, 2]


def test_several_masks_of_one_image_side_by_side(tmp_path):
    """`X_mask.png` and `X_mask_1.png` are two objects of X."""
    put(tmp_path, "benign (1).png", "benign (2).png", value=0)
    put(tmp_path, "benign (1)_mask.png", "benign (1)_mask_1.png", "benign (2)_mask.png")
    assert [len(one.objects) for one in open_dataset(tmp_path)] == [2, 1]


def test_object_files_hold_one_object_whatever_their_value(tmp_path):
    """Files of one object each that are filled with their number are not classes."""
    put(tmp_path, "images/a.png", value=0)
    for number in range(1, 6):
        put(tmp_path, f"masks/a/{number}.png", value=number)
    one = open_dataset(tmp_path, objects="instances")[0]
    assert one.labels == ("object",) * 5
    assert all(mask.area == 80 for mask in one.objects)


def test_classes_in_file_names(tmp_path):
    """`0001.name.png` in a folder of objects carries the class."""
    put(tmp_path, "images/a.png", value=0)
    put(tmp_path, "masks/a/0000.polyp.png", "masks/a/0001.tool%20tip.png", "masks/a/0002.png")
    assert open_dataset(tmp_path)[0].labels == ("polyp", "tool tip", "object")
    assert label_in_name("masks/a/d8decf.png") is None


def test_ignored_pixels_beside(tmp_path):
    """A mask in ignore/ marks pixels that do not count."""
    put(tmp_path, "images/a.png", "images/b.png", value=0)
    put(tmp_path, "masks/a.png", "masks/b.png", "ignore/b.png")
    data = open_dataset(tmp_path)
    assert data[0].ignore is None
    assert data[1].ignore.area == 80


def test_class_or_instance_masks(tmp_path):
    """Where there are both, the masks of instances are read when instances are asked for."""
    put(tmp_path, "JPEGImages/a.jpg", value=0)
    put(tmp_path, "SegmentationClass/a.png", value=1)
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[2:6, 2:6], mask[10:15, 10:15] = 1, 2
    (tmp_path / "SegmentationObject").mkdir()
    PIL.Image.fromarray(mask).save(tmp_path / "SegmentationObject" / "a.png")
    assert len(open_dataset(tmp_path)[0].objects) == 1
    assert len(open_dataset(tmp_path, objects="instances")[0].objects) == 2


def test_a_broken_file_among_those_of_an_image(tmp_path):
    """An image one of whose objects cannot be read is set aside whole, with the name of that file."""
    put(tmp_path, "images/a.png", "images/b.png", value=0)
    put(tmp_path, "masks/a/1.png", "masks/a/2.png", "masks/b/1.png")
    (tmp_path / "masks" / "a" / "2.png").write_bytes(b"text")
    data = open_dataset(tmp_path)
    assert data.names == ("images/b.png",)
    assert "masks/a/2.png" in data.set_aside[0].reason


def test_only_masks(tmp_path):
    """A folder of masks without any image is no data set."""
    put(tmp_path, "masks/a.png", "masks/b.png")
    with pytest.raises(DataError, match="Found 2"):
        open_dataset(tmp_path)


def aside(root: Path) -> dict[str, str]:
    return {one.name: one.reason for one in open_dataset(root).set_aside}


def test_layouts_may_be_mixed(tmp_path):
    """Folders side by side and files side by side in one data folder: none is lost, and what has no mask is named."""
    put(tmp_path, "train/images/a.png", "test/images/b.png", "siteB/X.jpg", "siteB/Y.jpg", value=0)
    put(tmp_path, "train/masks/a.png", "siteB/X_mask.png", "siteB/Z_mask.png")
    data = open_dataset(tmp_path)
    assert data.names == ("siteB/X.jpg", "train/images/a.png")
    assert [len(one.objects) for one in data] == [1, 1]
    assert aside(tmp_path) == {
        "siteB/Y.jpg": "it has no mask",
        "siteB/Z_mask.png": "this mask has no image",
        "test/images/b.png": "it has no mask",
    }
    assert all(one.remedy for one in data.set_aside)


def test_folders_without_masks_are_named(tmp_path):
    """Images in a folder beside one with pairs are set aside, as are masks in a folder without images."""
    put(tmp_path, "p1/X.jpg", "p2/Y.jpg", "p2/Z.jpg", value=0)
    put(tmp_path, "p1/X_mask.png", "p3/V_mask.png", "p4/masks/W.png")
    assert open_dataset(tmp_path).names == ("p1/X.jpg",)
    assert aside(tmp_path) == {
        "p2/Y.jpg": "it has no mask",
        "p2/Z.jpg": "it has no mask",
        "p3/V_mask.png": "this mask has no image",
        "p4/masks/W.png": "this mask has no image",
    }


def test_every_file_is_in_a_pair_or_set_aside(tmp_path):
    """Of a wild mixture every image-like file is in a pair, is a pair's ignored pixels, or is set aside, once."""
    put(tmp_path, "images/a.png", "images/deep/b.png", "loose.png", "img/c.png", "more/d.jpg", "more/e.jpg", value=0)
    put(tmp_path, "masks/a.png", "labels/a.png", "ignore/a.png", "ignore/z.png", "more/masks/d.png", "more/x/e.png")
    source = open_dataset(tmp_path)._source
    used = {name for pair in source.pairs for name in (pair.image, *pair.masks, pair.ignore) if name}
    left = [one.name for one in source.set_aside]
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert len(left) == len(set(left))
    assert used | set(left) | {"labels/a.png"} == files | {"labels"}
    assert not used & set(left)


def test_other_masks_of_the_same_images_are_named_as_a_folder(tmp_path):
    """Instance masks beside the class masks that are read are one entry, not one per file."""
    put(tmp_path, "JPEGImages/a.jpg", "JPEGImages/b.jpg", value=0)
    put(tmp_path, "SegmentationClass/a.png", "SegmentationClass/b.png", value=1)
    put(tmp_path, "SegmentationObject/a.png", "SegmentationObject/b.png", value=1)
    words = "2 mask files in it are not used: those in SegmentationClass are"
    assert aside(tmp_path) == {"SegmentationObject": words}


@pytest.mark.parametrize("absent", [(), (1,)])
def test_objects_of_one_image_are_no_mask_of_another(tmp_path, absent):
    """Numbered object files in a folder per image stay with that image, also when it is missing."""
    put(tmp_path, *(f"images/{number}.png" for number in range(1, 6) if number not in absent), value=0)
    put(tmp_path, "masks/1/1.png", "masks/1/4.png", "masks/2/1.png", "masks/3/5.png")
    data = open_dataset(tmp_path)
    assert data.names == tuple(f"images/{number}.png" for number in (1, 2, 3) if number not in absent)
    reasons = {one.name: one.reason for one in data.set_aside}
    assert reasons["images/4.png"] == reasons["images/5.png"] == "it has no mask"


def test_masks_of_missing_images_are_no_objects_of_the_one_there(tmp_path):
    """A lone image does not get masks that are numbered as it is, but does get those of its own folder."""
    put(tmp_path, "images/7.png", value=0)
    put(tmp_path, "masks/1.png", "masks/2.png", "masks/3.png")
    with pytest.raises(DataError, match=r"images/7\.png: it has no mask"):
        open_dataset(tmp_path, format="mask_folder")
    put(tmp_path / "all", "7/images/7.png", value=0)
    put(tmp_path / "all", "7/masks/1.png", "7/masks/2.png")
    assert len(open_dataset(tmp_path / "all")[0].objects) == 2


def test_a_mask_file_belongs_to_one_image(tmp_path):
    """A mask among those of one image is not given to another as well."""
    put(tmp_path, "images/b.png", "images/x/a.png", value=0)
    put(tmp_path, "masks/b/a.png", "masks/b/c.png")
    data = open_dataset(tmp_path)
    assert data.names == ("images/b.png",)
    assert set(aside(tmp_path)) == {"images/x/a.png"}


@pytest.mark.parametrize("other", ["p2", "p3"])
def test_a_mask_of_another_folder_is_not_the_missing_one(tmp_path, other):
    """In folders of one kind an image whose mask is missing gets no other's, be that one's images here or not."""
    put(tmp_path, "images/p1/1.png", "images/p1/2.png", "images/p2/1.png", value=0)
    put(tmp_path, "masks/p1/1.png", f"masks/{other}/1.png", f"masks/{other}/2.png")
    assert aside(tmp_path)["images/p1/2.png"] == "it has no mask"
    assert aside(tmp_path)[f"masks/{other}/2.png"] == "this mask has no image"


def test_masks_in_one_folder_of_images_in_several(tmp_path):
    """All masks in one folder belong to images in folders, be there a stray image or a pair beside these."""
    put(tmp_path, "images/stray.png", "images/p1/1.png", "images/p2/2.png", value=0)
    put(tmp_path, "masks/1.png", "masks/2.png")
    assert open_dataset(tmp_path).names == ("images/p1/1.png", "images/p2/2.png")
    put(tmp_path, "masks/stray.png")
    assert open_dataset(tmp_path).names == ("images/p1/1.png", "images/p2/2.png", "images/stray.png")


@pytest.mark.parametrize("above", ["", "p1/"])
def test_masks_above_the_folders_of_their_images(tmp_path, above):
    """Masks lie flat, images in deeper folders too: unique names pair, until such a folder has one of masks."""
    names = [f"images/{above}{name}.png" for name in ("1", "left/2", "right/3")]
    put(tmp_path, *names, value=0)
    put(tmp_path, *(f"masks/{above}{name}.png" for name in "123"))
    assert open_dataset(tmp_path).names == tuple(names)
    (tmp_path / "masks" / above / "3.png").unlink()
    put(tmp_path, f"masks/{above}right/3.png")
    assert open_dataset(tmp_path).names == (names[0], names[2])


def test_a_mask_above_is_of_no_image_elsewhere(tmp_path):
    """A mask in a folder of images may be of an image below that folder, not of one beside it."""
    put(tmp_path, "images/p1/1.png", "images/p2/2.png", "images/p3/left/3.png", value=0)
    put(tmp_path, "masks/p1/1.png", "masks/p1/2.png", "masks/p1/3.png")
    assert open_dataset(tmp_path).names == ("images/p1/1.png",)


@pytest.mark.parametrize("folder", ["", "masks/"])
def test_the_surest_partner_comes_first(tmp_path, folder):
    """An image keeps the mask of its own full name, though another that sorts before it would take it too."""
    images = "images/" if folder else ""
    put(tmp_path, f"{images}image_z.png", f"{images}z.png", value=0)
    put(tmp_path, f"{folder}z_mask.png")
    assert open_dataset(tmp_path).names == (f"{images}z.png",)


@pytest.mark.parametrize(("images", "masks"), [("", ""), ("images/", "masks/")])
def test_a_number_behind_the_word_for_mask_may_be_the_images(tmp_path, images, masks):
    """`img_mask_1.png` is the mask of `img_1.jpg`, unless that has `img_1_mask.png` and the number is an object's."""
    put(tmp_path / "a", *(f"{images}img_{number}.jpg" for number in (1, 2)), value=0)
    put(tmp_path / "a", *(f"{masks}img_mask_{number}.png" for number in (1, 2)))
    data = open_dataset(tmp_path / "a")
    assert [pair.masks for pair in data._source.pairs] == [(f"{masks}img_mask_{number}.png",) for number in (1, 2)]
    assert data.set_aside == ()
    put(tmp_path / "b", f"{images}p.jpg", f"{images}p_1.jpg", value=0)
    put(tmp_path / "b", f"{masks}p_mask.png", f"{masks}p_mask_1.png", f"{masks}p_1_mask.png")
    assert [len(pair.masks) for pair in open_dataset(tmp_path / "b")._source.pairs] == [2, 1]


def test_names_with_dots(tmp_path):
    """`v1.2_mask.png` belongs to `v1.2.png`, and `a.jpg.png` to `a.jpg`."""
    put(tmp_path, "images/v1.2.png", "images/v1.3.png", "images/a.jpg", value=0)
    put(tmp_path, "masks/v1.2_mask.png", "masks/v1.3_mask.png", "masks/a.jpg.png")
    data = open_dataset(tmp_path)
    assert len(data) == 3
    assert data.set_aside == ()


@pytest.mark.parametrize(
    ("stem", "key"),
    [("a_mask", "a"), ("a-seg", "a"), ("mask_7", "7"), ("a_mask_2", "a"), ("masked man", "masked man"), ("a", "a"),
     ("label", "label"), ("b_groundTruth", "b")],
)  # fmt: skip
def test_mask_key(stem, key):
    """A mask's name without the word for mask is what it shares with its image."""
    assert mask_key(stem) == key


@pytest.mark.parametrize(
    ("stem", "key"), [("a_image", "a"), ("img_7", "7"), ("case_0000", "case"), ("imagine", "imagine")]
)
def test_image_key(stem, key):
    """An image's name without the word for image is what it shares with its mask."""
    assert image_key(stem) == key


def test_many_files_open_quickly_by_listing_once(tmp_path, monkeypatch):
    """A folder is listed once for all formats that look at it, not once for each."""
    put(tmp_path, "images/a.png", value=0)
    put(tmp_path, "masks/a.png")
    import os

    listed = []
    scan = os.scandir
    monkeypatch.setattr("os.scandir", lambda path: listed.append(str(path)) or scan(path))
    open_dataset(tmp_path)
    assert sorted(listed) == [f"{tmp_path}/", f"{tmp_path}/images", f"{tmp_path}/masks"] or len(listed) == 3


def calls(videos: int, *folders: str) -> int:
    """Return how many calls it takes to pair the frames of so many videos, those in the last folder with none."""
    frames = ("1.png", "2.png")
    files = dict[str, tuple[str, ...]]({"": (), "images": (), "masks": ()})
    for number in range(videos):
        files |= {folder.format(number): frames for folder in folders}
        files.setdefault(f"images/v{number}", ())
    with cProfile.Profile() as profile:
        pairing = pair_files(Tree(Path("/"), files=files), str, str)
    lone = {f"{folders[-1].format(number)}/{name}" for number in range(videos) for name in frames}
    assert lone <= {one.name for one in pairing.set_aside}
    return pstats.Stats(profile).total_calls


@pytest.mark.parametrize(
    "folders", [("masks/v{}", "images/v{}/frames"), ("masks/v{}", "images/v{}", "images/w{}")], ids=["free", "others"]
)
def test_images_that_find_nothing_are_not_compared_with_all_masks(folders):
    """Twice as many videos of frames called alike take twice the work, be their masks free or other images'."""
    assert calls(160, *folders) < 2.2 * calls(80, *folders)
