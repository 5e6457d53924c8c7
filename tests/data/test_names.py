"""Names are the same whether an accent is a letter's own or follows it, as in archives made on a Mac."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import PIL.Image
import pytest

from segtune.data.dataset import open_dataset
from segtune.data.formats.names import NameIndex
from segtune.data.splits import FRACTIONS, Split, resolve

APART = unicodedata.normalize("NFD", "é")
ONE = unicodedata.normalize("NFC", "é")


def save(path, shape=(24, 36, 3)):
    values = np.full(shape, 90, dtype=np.uint8)
    values[5:14, 5:17] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(values).save(path)


@pytest.fixture(params=[(ONE, APART), (APART, ONE)], ids=["images in one", "masks in one"])
def spelt(request, tmp_path):
    """A folder, and how its images and how what belongs to them spell é."""
    first, second = request.param
    if save(tmp_path / f"{ONE}.png") or (tmp_path / f"{APART}.png").exists():
        pytest.skip("this file system takes both spellings for one")
    return tmp_path / "data", first, second


def test_masks_are_paired(spelt):
    """In folders, below folders, one file per object and side by side, with what is ignored; paths stay as they are."""
    root, image, mask = spelt
    save(root / "images" / image / f"{image}.jpg")
    save(root / "masks" / mask / f"{mask}.png", (24, 36))
    save(root / "ignore" / mask / f"{mask}.png", (24, 36))
    save(root / "images" / f"many {image}.jpg")
    save(root / "masks" / f"many {mask}" / "1.png", (24, 36))
    save(root / f"side {image}.jpg")
    save(root / f"side {mask}_mask.png", (24, 36))
    data = open_dataset(root)
    assert data.set_aside == ()
    assert set(data.names) == {f"images/{image}/{image}.jpg", f"images/many {image}.jpg", f"side {image}.jpg"}
    assert [len(one.objects) for one in data] == [1, 1, 1]
    assert next(one.ignore for one in data if "many" not in one.name and "side" not in one.name) is not None
    assert all((root / name).is_file() for name in data.names)


def test_annotations_find_their_images(spelt):
    """COCO, GeoJSON, SA-1B and YOLO name, or are named like, an image in another spelling."""
    root, image, named = spelt
    outline = [[5, 5, 17, 5, 17, 14, 5, 14]]
    ring = [[5, 5], [17, 5], [17, 14], [5, 14], [5, 5]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    runs = {"size": [24, 36], "counts": [5, 9, 850]}
    documents = {
        "coco": ("a.json", {"images": [{"id": 1, "file_name": f"{named}.png"}], "categories": [],
                            "annotations": [{"id": 1, "image_id": 1, "segmentation": outline}]}),
        "geojson": (f"{named}.geojson", {"type": "FeatureCollection", "features": [feature]}),
        "sa1b": (f"{named}.json", {"image": {}, "annotations": [{"segmentation": runs}]}),
        "yolo": (f"{named}.txt", "0 0.1 0.1 0.6 0.1 0.6 0.6"),
    }  # fmt: skip
    for format_, (file, document) in documents.items():
        save(root / format_ / f"{image}.png")
        text = document if isinstance(document, str) else json.dumps(document)
        (root / format_ / file).write_text(text)
        data = open_dataset(root / format_, format=format_)
        assert (data.names, len(data[0].objects)) == ((f"{image}.png",), 1)


def test_lists_and_groups_find_their_images(spelt):
    """So do a split's list and a table of groups."""
    root, image, named = spelt
    for name in (image, "other"):
        save(root / "images" / f"{name}.png")
        save(root / "masks" / f"{name}.png", (24, 36))
    (root / "groups.csv").write_text(f"name,group\n{named},7\nother,8\n", encoding="utf-8")
    data = open_dataset(root)
    split = Split.of({"train": [named], "val": ["other"]}, seed=0, fractions=FRACTIONS, origin="mine")
    assert resolve(split, data).train == (f"images/{image}.png",)
    assert dict(zip(data.names, data.groups, strict=True))[f"images/{image}.png"] == "7"


def test_the_very_same_name_comes_first():
    """Of two images whose names differ in the spelling alone each is found by its own."""
    index = NameIndex([f"{APART}.png", f"{ONE}.png"])
    assert [index.find(f"{name}.png") for name in (APART, ONE)] == [[f"{APART}.png"], [f"{ONE}.png"]]


def test_the_folders_most_in_common_decide():
    """A list written above or below the data folder names images by the folders that both know."""
    index = NameIndex(["a/x/1.png", "b/x/1.png", "1.png"])
    assert index.find("data/b/x/1.png") == ["b/x/1.png"]
    assert index.find("b/x/1.jpg") == ["b/x/1.png"]
    assert index.find("x/1.png") == ["a/x/1.png", "b/x/1.png"]
    assert index.find("y/1.png") == ["1.png"]
    assert index.find("2.png") == []
