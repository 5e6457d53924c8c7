"""Images without masks: any folder of images, and data sets whose masks are left alone."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest

from segtune.core.errors import DataError
from segtune.data.dataset import open_dataset
from segtune.data.drawn import drawn_dataset
from segtune.data.unlabelled import open_images, without_masks


def test_a_folder_of_images_is_opened_as_it_is(tmp_path):
    """Images of all sizes, in folders of any depth; what cannot be read is set aside with its reason."""
    (tmp_path / "more").mkdir()
    for name, size in (("a.png", (20, 30)), ("more/b.jpg", (40, 10))):
        cv2.imwrite(str(tmp_path / name), np.full((*size, 3), 90, np.uint8))
    (tmp_path / "broken.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no image")
    images = pickle.loads(pickle.dumps(open_images(tmp_path)))
    assert images.names == ("a.png", "more/b.jpg")
    assert [(one.size, one.objects, one.image.shape) for one in images] == [
        ((20, 30), (), (20, 30, 3)), ((40, 10), (), (40, 10, 3)),
    ]  # fmt: skip
    assert [one.name for one in images.set_aside] == ["broken.png"]
    assert images.image_hash(0) != images.image_hash(1)


def test_a_folder_without_an_image_is_refused(tmp_path):
    """The error says what was found instead."""
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"has no image that can be used.*1 \.txt"):
        open_images(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"broken\.png: the file is empty"):
        open_images(tmp_path)


def test_masks_are_not_read(tmp_path):
    """One that has gone bad since the folder was opened ends nothing that needs none."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        cv2.imwrite(str(tmp_path / kind / "a.png"), np.full((20, 30), 255, np.uint8))
    images = without_masks(data := open_dataset(tmp_path))
    (tmp_path / "masks" / "a.png").write_bytes(b"nothing")
    assert images[0].image.shape == (20, 30, 3)
    with pytest.raises(DataError, match=r"a\.png"):
        data[0]


def test_masks_are_left_alone():
    """The same images, of no object."""
    scenes = drawn_dataset(3, side=64)
    images = without_masks(scenes)
    assert len(images) == 3
    assert all(np.array_equal(one.image, other.image) for one, other in zip(images, scenes, strict=True))
    assert all(one.objects == () and one.ignore is None for one in images)
    assert [one.name for one in images] == list(images.names)
    assert images.image_hash(2) == scenes.image_hash(2)
