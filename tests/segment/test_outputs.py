"""What is written for one image, where names and numbers have limits."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from segtune.core.errors import DataError
from segtune.core.rle import RunLengths
from segtune.segment.crops import ProbabilityCrop
from segtune.segment.outputs import OUTPUTS, Found, Result

DOT = RunLengths.encode(np.eye(2, dtype=np.bool_))


def result(*labels):
    return Result("a.jpg", "a", (2, 2), tuple(Found(DOT, label, 0.5) for label in labels))


def test_more_objects_than_numbers_are_told_and_nothing_is_written(tmp_path):
    with pytest.raises(DataError, match=r"65,535 objects, but a.jpg has 65,536\..*--format rle"):
        OUTPUTS["labelmap"].write(tmp_path, result(*["x"] * 65_536), ["x"])
    assert list(tmp_path.iterdir()) == []
    OUTPUTS["labelmap"].write(tmp_path, result(*["x"] * 65_535), ["x"])
    assert np.asarray(PIL.Image.open(tmp_path / "a.png")).max() == 65_535


def test_a_long_class_is_cut_in_the_files_name(tmp_path):
    """Between letters, whatever bytes they take."""
    OUTPUTS["png"].write(tmp_path, result("x" * 300, "y" + "ß" * 300, "short"), [])
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"0000.{'x' * 100}.png", f"0001.y{'ß' * 49}.png", "0002.short.png"]


def test_a_probability_stays_on_its_masks_side(tmp_path):
    """What rounds over 1/2 and what a clean-up turned is held next to it; what nothing is known of is certain."""
    likely = ProbabilityCrop((2, 2), 0, 0, np.array([[255, 128], [40, 90]], dtype=np.uint8))
    found = Found(DOT, "object", 0.5, likely)
    OUTPUTS["probability"].write(tmp_path, Result("a.jpg", "a", (2, 2), (found,)), [])
    assert np.asarray(PIL.Image.open(tmp_path / "a.png")).tolist() == [[255, 127], [40, 128]]
    OUTPUTS["probability"].write(tmp_path, result("object"), [])
    assert np.asarray(PIL.Image.open(tmp_path / "a.png")).tolist() == [[255, 0], [0, 255]]
