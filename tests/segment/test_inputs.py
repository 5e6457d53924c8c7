"""Files, folders, patterns and lists, each image once."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from segtune.core.errors import DataError, UsageError
from segtune.data.formats.writing import written_names
from segtune.segment.inputs import find_inputs


@pytest.fixture
def photos(tmp_path):
    """Four images, two of one name, and a file that is none."""
    for name in ("a.jpg", "deep/a.png", "deep/b.jpg", "other/b.jpg", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_a_folder_is_all_images_below_it(photos):
    found = find_inputs([photos])
    assert [image.name for image in found] == ["a.jpg", "deep/a.png", "deep/b.jpg", "other/b.jpg"]
    assert [image.stem for image in found] == ["a", "deep/a", "deep/b", "other/b"]


def test_a_pattern_and_a_list_and_the_same_image_twice(photos):
    (photos / "some.txt").write_text("deep/b.jpg\n\n  a.jpg\n")
    found = find_inputs([str(photos / "**/b.jpg"), photos / "some.txt"])
    assert [image.path.name for image in found] == ["b.jpg", "b.jpg", "a.jpg"]
    assert len({image.name for image in found}) == 3
    assert len({image.stem for image in found}) == 3


def test_two_images_of_one_stem_keep_their_extensions(photos):
    (photos / "a.png").write_bytes(b"")
    assert [image.stem for image in find_inputs([photos / "a.jpg", photos / "a.png"])] == ["a", "a_png"]


def test_no_two_images_share_a_stem(photos):
    """Though the longer name of one is the plain one of another."""
    names = ("a_png.gif", "a.gif", "a.png", "a_png.jpg")
    for name in names:
        (photos / "deep" / name).touch()
    found = find_inputs([photos / "deep" / name for name in names])
    assert [image.stem for image in found] == ["a_png", "a", "a_png_2", "a_png_jpg"]
    assert [stem for stem, _ in written_names(found[1:], taken=["a", "x"])] == ["a_gif", "a_png", "a_png_jpg"]


@pytest.mark.parametrize("given", ["nowhere.jpg", "*.tif"])
def test_nothing_is_an_error(photos, given):
    with pytest.raises(DataError, match=r"does not exist|No image"):
        find_inputs([str(photos / given)])


def test_results_below_the_images_are_no_images(photos):
    """A job that goes on does not take its own masks for images."""
    assert [image.name for image in find_inputs([photos], without=photos / "deep")] == ["a.jpg", "other/b.jpg"]
    with pytest.raises(UsageError, match="All 4 images lie in"):
        find_inputs([photos], without=photos)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00a", b"a\x00.\x00j\x00"])
def test_a_list_that_is_no_text_is_told(photos, content):
    (photos / "some.txt").write_bytes(content)
    with pytest.raises(DataError, match="one path per line"):
        find_inputs([photos / "some.txt"])


def test_lines_that_lead_nowhere_are_images_with_a_fault(photos):
    """They are told like images that cannot be read, and stop nothing; a mark at the file's start is no name."""
    lines = ["a.jpg", "gone.jpg", "deep/*.tif", "x" * 5000, "~nobody/here.jpg", "other"]
    (photos / "some.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    found = find_inputs([photos / "some.txt"])
    assert [image.name for image in found if not image.fault] == ["a.jpg", "b.jpg"]
    gone, empty, *_ = faulty = [image for image in found if image.fault]
    assert len(faulty) == 4
    with pytest.raises(DataError, match=r"gone.jpg does not exist.*Line 2 of .*some.txt"):
        gone.check()
    with pytest.raises(DataError, match=r"holds no image.*Line 3 of"):
        empty.check()
    assert [image.check() for image in found if not image.fault] == [None, None]


def test_a_list_is_one_only_where_it_is_given(photos):
    """A text among the photos, a list that names itself, and one that names another are no lists of images."""
    (photos / "deep" / "readme.txt").write_text("Some words")
    assert [image.name for image in find_inputs([str(photos / "deep/*")])] == ["a.png", "b.jpg"]
    assert len(find_inputs([str(photos / "*"), str(photos / "**")])) == 4
    (photos / "some.txt").write_text("some.txt\ndeep/readme.txt\na.jpg")
    found = find_inputs([photos / "some.txt"])
    assert [(image.name, bool(image.fault)) for image in found] == [
        ("some.txt", True), ("readme.txt", True), ("a.jpg", False),
    ]  # fmt: skip
    with pytest.raises(DataError, match="is a list itself"):
        found[0].check()


def test_a_pattern_below_a_folder_with_brackets(photos):
    """A folder that is there is meant as it is called; only what follows is a pattern."""
    (photos / "deep").rename(photos / "br[1]")
    (photos / "br[1]" / "c[2]").mkdir()
    (photos / "br[1]" / "c[2]" / "d.png").touch()
    assert [image.name for image in find_inputs([str(photos / "br[1]/*.png")])] == ["a.png"]
    assert [image.name for image in find_inputs([str(photos / "br[1]/c[2]/[a-z].png")])] == ["d.png"]
    assert [image.name for image in find_inputs([str(photos / "br[1]/*")])] == ["a.png", "b.jpg", "d.png"]
    with pytest.raises(DataError, match="does not exist"):
        find_inputs([str(photos / "br[1]/gone.png")])


def test_one_image_by_two_ways_comes_once(photos):
    """Unless `..` leads elsewhere than it looks, as behind a link."""
    roundabout = str(photos / "other" / ".." / "deep" / "a.png")
    (one,) = find_inputs([photos / "deep" / "a.png", roundabout])
    assert one.path == photos / "deep" / "a.png"
    (photos / "far" / "away").mkdir(parents=True)
    (photos / "far" / "a.jpg").touch()
    (photos / "link").symlink_to(photos / "far" / "away")
    here, there = find_inputs([photos / "a.jpg", str(photos / "link" / ".." / "a.jpg")])
    assert here.path == photos / "a.jpg"
    assert there.path.samefile(photos / "far" / "a.jpg")


def test_deep_images_and_misnamed_ones_are_found(photos):
    """However deep; a name that is no UTF-8 is told, be it an image's or a folder's, but not another file's."""
    deep = photos / "/".join("abcdefghij")
    deep.mkdir(parents=True)
    (deep / "z.png").touch()
    try:
        for name in (b"K\xe4se.png", b"K\xe4se.csv"):
            Path(photos / os.fsdecode(name)).touch()
        (photos / os.fsdecode(b"\xfcbrig")).mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for given in (photos, str(photos / "*")):
        found = find_inputs([given])
        assert any(image.path == deep / "z.png" for image in found)
        faulty = {image.name: image for image in found if image.fault}
        assert set(faulty) == {r"K\xe4se.png", r"\xfcbrig"}
        for image in faulty.values():
            assert image.stem.encode()
            with pytest.raises(DataError, match=r"is no UTF-8\. Rename"):
                image.check()


def test_slices_and_frames_are_images_and_segmentations_are_none(tmp_path, monkeypatch):
    """In a folder and alone; what cannot be opened, if only for want of a package, is an image with a fault."""
    nibabel, _ = pytest.importorskip("nibabel"), pytest.importorskip("pydicom")
    from segtune.data.formats.dicom_image import Header, save_image

    image = np.zeros((8, 9, 3), dtype=np.uint8)
    nibabel.Nifti1Image(np.zeros((8, 9, 2), np.int16), np.eye(4)).to_filename(tmp_path / "ct.nii.gz")
    for name, modality in (("scan.dcm", "CT"), ("marks.dcm", "SEG")):
        save_image(tmp_path / name, image, Header("1.2", "1.3", "1.4", "P", modality, (8, 9)))
    (tmp_path / "bad.dcm").write_text("nothing")
    found = find_inputs([tmp_path])
    assert [one.name for one in found] == ["bad.dcm", "ct.nii.gz#0000", "ct.nii.gz#0001", "scan.dcm"]
    assert [one.stem for one in found] == ["bad", "ct#0000", "ct#0001", "scan"]
    assert [bool(one.fault) for one in found] == [True, False, False, False]
    assert [one.name for one in find_inputs([tmp_path / "ct.nii.gz#0001", tmp_path / "ct.nii.gz"])] == [
        "ct.nii.gz#0001", "ct.nii.gz#0000"
    ]  # fmt: skip
    assert [one.name for one in find_inputs([tmp_path / "marks.dcm"])] == ["marks.dcm"]
    monkeypatch.setitem(sys.modules, "nibabel", None)
    (alone,) = find_inputs([tmp_path / "*.nii.gz"])
    assert "pip install 'segtune[data]'" in alone.fault


def test_a_single_input_needs_no_list(photos):
    """A string is not taken letter by letter."""
    assert find_inputs(str(photos)) == find_inputs(photos) == find_inputs([photos])
