"""Files, folders, patterns and lists, each image once."""

from __future__ import annotations

import pytest

from segtune.core.errors import DataError, UsageError
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


@pytest.mark.parametrize("given", ["nowhere.jpg", "*.tif"])
def test_nothing_is_an_error(photos, given):
    with pytest.raises(DataError, match=r"does not exist|No image"):
        find_inputs([str(photos / given)])


def test_results_below_the_images_are_no_images(photos):
    """A job that goes on does not take its own masks for images."""
    assert [image.name for image in find_inputs([photos], without=photos / "deep")] == ["a.jpg", "other/b.jpg"]
    with pytest.raises(UsageError, match="All 4 images lie in"):
        find_inputs([photos], without=photos)


def test_a_list_that_is_no_text_is_told(photos):
    (photos / "some.txt").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DataError, match="one path per line"):
        find_inputs([photos / "some.txt"])
