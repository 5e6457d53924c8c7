"""Opening data sets: what is detected, what is set aside, what is refused, and in which words."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError, UsageError
from segtune.core.rle import RunLengths
from segtune.core.types import Sample
from segtune.data.dataset import Dataset, open_dataset
from segtune.data.formats import FORMATS
from segtune.data.images import UnreadableError
from segtune.data.splits import make_split

SIZE = (24, 36)


def square(at: int = 5) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[at : at + 9, at : at + 12] = 255
    return mask


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(values).save(path)


@pytest.fixture
def folder(tmp_path):
    """Five pairs in images/ and masks/."""
    root = tmp_path / "data"
    for name in "abcde":
        save(root / "images" / f"{name}.png", np.full((*SIZE, 3), ord(name), dtype=np.uint8))
        save(root / "masks" / f"{name}.png", square())
    return root


def aside(data: Dataset) -> dict[str, str]:
    return {one.name: one.reason for one in data.set_aside}


def test_pairs(folder):
    """Images and masks of the same stem are pairs, in a stable order, named by their path."""
    data = open_dataset(folder)
    assert data.names == tuple(f"images/{name}.png" for name in "abcde")
    assert (data.root, data.format, data.objects, data.set_aside) == (folder, "mask_folder", "whole", ())
    assert data.groups == (None,) * 5
    assert data[1].objects == (RunLengths.encode(square() > 0),)
    assert (data[1].image == ord("b")).all()


def test_sequence(folder):
    """A data set counts, iterates, slices and answers to negative numbers like any sequence."""
    data = open_dataset(folder)
    assert len(data) == len(list(data)) == 5
    assert data[-1].name == "images/e.png"
    assert data[1:3].names == ("images/b.png", "images/c.png")
    assert data[1:3][0].name == "images/b.png"
    with pytest.raises(IndexError):
        data[5]


def test_subset(folder):
    """A subset keeps the order asked for, pickles, and refuses names that are not there."""
    data = open_dataset(folder)
    part = pickle.loads(pickle.dumps(data.subset(["images/d.png", "images/a.png"])))
    assert part.names == ("images/d.png", "images/a.png")
    assert (part[0].image == ord("d")).all()
    assert part.subset(["images/a.png"]).image_hash(0) == data.image_hash(0)
    with pytest.raises(DataError, match=r"images/x\.png.*such as 'images/a\.png'"):
        data.subset(["images/a.png", "images/x.png"])


def test_image_hash_is_that_of_the_file(folder):
    """The hash is SHA-256 of the image file's bytes, whatever its mask."""
    data = open_dataset(folder)
    assert data.image_hash(2) == hashlib.sha256((folder / "images" / "c.png").read_bytes()).hexdigest()


def test_other_bands_or_another_window_are_another_image(folder):
    """What is shown of a file is part of its hash, or an embedding cache would give out that of other pixels."""
    plain, turned = open_dataset(folder), open_dataset(folder, bands=(3, 2, 1))
    lit = open_dataset(folder, window=(40.0, 400.0))
    assert len({each.image_hash(2) for each in (plain, turned, lit)}) == 3
    assert turned[1:].subset(["images/c.png"]).image_hash(0) == turned.image_hash(2)


def test_samples_in_memory():
    """Samples at hand make a data set too, hashed by their pixels."""
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    samples = [Sample(name, (4, 6), (), (), lambda: image, group="g") for name in ("x", "y")]
    data = Dataset.of(samples)
    assert data.names == ("x", "y")
    assert data.groups == ("g", "g")
    assert data[1] is samples[1]
    assert data.image_hash(0) == data.image_hash(1) == hashlib.sha256(image.tobytes()).hexdigest()


def test_nothing_is_decoded_when_opening(folder, monkeypatch):
    """Opening reads headers of images: none is decoded before it is asked for."""
    monkeypatch.setattr("segtune.data.images.to_rgb", lambda _: pytest.fail("an image was decoded"))
    data = open_dataset(folder)
    assert data[0].masks().any()


def test_unpaired(folder):
    """Images without a mask and masks without an image are set aside with a reason and a remedy."""
    (folder / "masks" / "b.png").unlink()
    (folder / "images" / "d.png").unlink()
    data = open_dataset(folder)
    assert len(data) == 3
    assert aside(data) == {"images/b.png": "it has no mask", "masks/d.png": "this mask has no image"}
    assert all(one.remedy for one in data.set_aside)


def test_size_mismatch(folder):
    """A mask of another size is never stretched over the image: both sizes are told."""
    save(folder / "masks" / "b.png", np.zeros((10, 20), dtype=np.uint8))
    save(folder / "masks" / "c.png", square().T)
    data = open_dataset(folder)
    reasons = aside(data)
    assert "36 × 24" in reasons["images/b.png"]
    assert "20 × 10" in reasons["images/b.png"]
    assert "EXIF" in reasons["images/c.png"]
    assert len(data) == 3


def test_broken_files_are_set_aside(folder):
    """Truncated, empty and mislabelled files are set aside, each with its own reason, whether image or mask."""
    for name, content in (("a", b""), ("b", b"some text"), ("c", (folder / "images" / "c.png").read_bytes()[:-30])):
        (folder / "images" / f"{name}.png").write_bytes(content)
    (folder / "masks" / "d.png").write_bytes(b"text")
    data = open_dataset(folder)
    reasons = aside(data)
    assert data.names == ("images/e.png",)
    assert "empty" in reasons["images/a.png"]
    assert "text" in reasons["images/b.png"]
    assert "truncated" in reasons["images/c.png"] or "broken" in reasons["images/c.png"]
    assert "masks/d.png" in reasons["images/d.png"]
    assert "text" in reasons["images/d.png"]


def test_unreadable_file(folder):
    """A file that may not be read is set aside."""
    path = folder / "images" / "a.png"
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    assert "may not be read" in aside(open_dataset(folder))["images/a.png"]


def test_too_large_an_image(folder):
    """An image above the pixel limit is set aside by its header."""
    save(folder / "images" / "a.png", np.zeros((48, 36, 3), dtype=np.uint8))
    save(folder / "masks" / "a.png", np.zeros((48, 36), dtype=np.uint8))
    data = open_dataset(folder, pixel_limit=24 * 36)
    assert "limit of 864 pixels" in aside(data)["images/a.png"]
    assert len(data) == 4


def test_a_file_that_breaks_later(folder):
    """What breaks after opening is a DataError that names the file, for the image and for the mask."""
    data = open_dataset(folder)
    (folder / "images" / "a.png").write_bytes(b"text")
    (folder / "masks" / "b.png").unlink()
    (folder / "masks" / "c.png").unlink()
    save(folder / "masks" / "c.png", np.zeros((3, 3), dtype=np.uint8))
    with pytest.raises(UnreadableError, match=r"images/a\.png"):
        assert data[0].image.any()
    with pytest.raises(UnreadableError, match=r"masks/b\.png.*does not exist"):
        assert data[1]
    with pytest.raises(UnreadableError, match=r"3 × 3"):
        assert data[2]


def test_two_images_for_one_mask(folder):
    """Two images that differ in extension only cannot share a mask."""
    save(folder / "images" / "a.jpg", np.zeros((*SIZE, 3), dtype=np.uint8))
    data = open_dataset(folder)
    assert "images/a.jpg" in data.names
    assert "its mask is also that of images/a.jpg" in aside(data)["images/a.png"]


def test_empty_image_is_a_sample(folder):
    """An image whose mask is all black is a sample without objects."""
    save(folder / "masks" / "b.png", np.zeros(SIZE, dtype=np.uint8))
    one = open_dataset(folder)[1]
    assert one.objects == one.labels == ()
    assert one.masks().shape == (0, *SIZE)


def test_all_masks_empty(folder):
    """No object anywhere is an error that tells the threshold."""
    for name in "abcde":
        save(folder / "masks" / f"{name}.png", np.full(SIZE, 90 if name == "a" else 0, dtype=np.uint8))
    with pytest.raises(DataError, match="above 127"):
        open_dataset(folder, encoding="soft")


def test_one_single_image(tmp_path):
    """One pair is a data set of one."""
    save(tmp_path / "images" / "a.png", np.zeros((*SIZE, 3), dtype=np.uint8))
    save(tmp_path / "masks" / "a.png", square())
    assert len(open_dataset(tmp_path)) == 1


def test_no_folder(tmp_path):
    """A folder that does not exist is an error that names it."""
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        open_dataset(tmp_path / "nowhere")


def test_empty_folder(tmp_path):
    """An empty folder is an error that names it and what would be understood."""
    with pytest.raises(DataError, match=r"The folder is empty.*mask_folder.*coco"):
        open_dataset(tmp_path)


def test_no_masks_at_all(tmp_path):
    """Images alone are an error that says what was found, in one paragraph."""
    for name in "ab":
        save(tmp_path / "photos" / f"{name}.jpg", np.zeros((*SIZE, 3), dtype=np.uint8))
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"Found 2 \.jpg, 1 \.txt files in the folders photos") as caught:
        open_dataset(tmp_path)
    assert "no masks belong to them" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in FORMATS)


def test_nothing_usable(tmp_path):
    """When everything is set aside the error tells the first reasons."""
    save(tmp_path / "images" / "a.png", np.zeros((*SIZE, 3), dtype=np.uint8))
    save(tmp_path / "masks" / "a.png", np.zeros((5, 5), dtype=np.uint8))
    with pytest.raises(DataError, match=r"No image of .* can be used.*images/a\.png.*5 × 5"):
        open_dataset(tmp_path)


def test_two_formats_at_once(folder):
    """A folder that is two things is an error that names both and the way out; told which, it opens."""
    FORMATS["coco"].write(open_dataset(folder), folder.parent / "coco")
    (folder.parent / "coco" / "annotations.json").rename(folder / "annotations.json")
    with pytest.raises(DataError, match=r"2 ways: .*(coco|mask_folder).*--format"):
        open_dataset(folder)
    assert open_dataset(folder, format="coco").format == "coco"
    assert open_dataset(folder, format="mask_folder").format == "mask_folder"
    assert open_dataset(folder / "annotations.json").format == "coco"


def test_unknown_names(folder):
    """An unknown format or kind of object is refused with the nearest choice."""
    with pytest.raises(UsageError, match="Did you mean 'coco'"):
        open_dataset(folder, format="cocoa")
    with pytest.raises(UsageError, match="Did you mean 'parts'"):
        open_dataset(folder, objects="part")


def test_settings_that_say_nothing_about_the_data_are_told(folder):
    """Bands and a window of PNG images change nothing, and a note says so; nothing is said where nothing was asked."""
    said = open_dataset(folder, bands=(3, 2, 1), window=(40.0, 400.0)).notes[-1]
    assert said == (
        "What was asked of bands ((3, 2, 1)) and window ((40.0, 400.0)) changes nothing: data of the format "
        "mask_folder is not read by it."
    )
    assert not any("changes nothing" in note for note in open_dataset(folder, threshold=100).notes)


def test_wrong_format_told(folder):
    """Told to be what it is not, a folder gives an error that says what was found and expected."""
    with pytest.raises(DataError, match=r"no COCO annotations.*Expected"):
        open_dataset(folder, format="coco")


def test_hidden_files_are_left_out(folder):
    """Hidden files and the leavings of archives are no images."""
    save(folder / "images" / ".a.png", np.zeros((2, 2, 3), dtype=np.uint8))
    save(folder / "__MACOSX" / "images" / "a.png", np.zeros((2, 2, 3), dtype=np.uint8))
    (folder / "images" / "Thumbs.db").write_bytes(b"1234")
    data = open_dataset(folder)
    assert len(data) == 5
    assert data.set_aside == ()


@pytest.fixture
def misnamed(folder) -> Path:
    """The folder with a pair and a subfolder called so by a byte that is no UTF-8, as old archives hold them."""
    for parent in ("images", "masks"):
        path = os.fsencode(folder / parent) + b"/K\xe4se.png"
        try:
            Path(os.fsdecode(path)).write_bytes((folder / parent / "a.png").read_bytes())
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
    (folder / os.fsdecode(b"\xfcbrig")).mkdir()
    return folder


def test_names_that_are_no_utf8(misnamed):
    """Files whose names are no UTF-8 are set aside, so that nothing later stumbles over them."""
    data = open_dataset(misnamed)
    names = (r"\xfcbrig", r"images/K\xe4se.png", r"masks/K\xe4se.png")
    assert aside(data) == dict.fromkeys(names, "its name is no UTF-8")
    assert all("Rename" in one.remedy for one in data.set_aside)
    assert all(name.encode() for name in (*data.names, *(one.name for one in data.set_aside)))
    assert len(make_split(data).train) == 3
    with pytest.raises(DataError, match=r"xfcbrig is no UTF-8\. Rename"):
        open_dataset(misnamed / os.fsdecode(b"\xfcbrig"))
    (misnamed / "images").rename(misnamed / os.fsdecode(b"im\xe4ges"))
    with pytest.raises(DataError, match="3 names are no UTF-8"):
        open_dataset(misnamed)
