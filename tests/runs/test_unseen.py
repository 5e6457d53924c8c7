"""Data of other domains."""

import shutil

import cv2
import numpy as np
import pytest
from disc_data import write_discs

from segtune.core.errors import DataError, UsageError
from segtune.data.dataset import open_dataset
from segtune.data.fingerprints import fingerprints
from segtune.runs.settings import DataSettings
from segtune.runs.unseen import open_unseen


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Four images with a disc each."""
    return write_discs(tmp_path_factory.mktemp("home") / "discs", 4)


def test_domains_are_named_by_their_folders(home, tmp_path):
    """Two of one name are numbered, for their tables lie side by side; each knows what it is held against."""
    one = write_discs(tmp_path / "a" / "discs", 3, seed=5)
    other = write_discs(tmp_path / "b" / "discs", 3, seed=6)
    found = open_unseen([one, other], DataSettings(path=str(home)), {})
    assert [domain.name for domain in found] == ["discs 2", "discs 3"]
    assert {domain.home for domain in found} == {"discs"}
    assert [len(domain.dataset) for domain in found] == [3, 3]


def test_what_a_run_has_learned_from_is_left_out(home, tmp_path):
    """Under another name too; and where nothing is left that is an error, for nothing there is unseen."""
    known = {"tuned": fingerprints(open_dataset(home))}
    data = write_discs(tmp_path / "mixed", 2, seed=7)
    for kind in ("images", "masks"):
        shutil.copy(home / kind / "001.png", data / kind / "copied.png")
    (found,) = open_unseen([data], DataSettings(path=str(home)), known)
    assert set(found.dataset.names) == {"images/000.png", "images/001.png"}
    assert found.left_out["images"] == 1
    copied = shutil.copytree(home, tmp_path / "copied")
    with pytest.raises(DataError, match="not unseen"):
        open_unseen([copied], DataSettings(path=str(home)), known)


def test_the_same_data_is_no_other_domain(home):
    """Neither DATA itself, however it is written, nor one of them twice."""
    with pytest.raises(UsageError, match="named twice"):
        open_unseen([home / ".." / home.name], DataSettings(path=str(home)), {})


def test_other_domains_are_read_like_home(home, tmp_path):
    """What is an object, and from which grey on: else a drop would be one of reading."""
    data = write_discs(tmp_path / "soft", 3, seed=8)
    faint = cv2.imread(str(data / "masks" / "001.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(data / "masks" / "001.png"), np.where(faint > 0, 150, 0))
    for threshold, objects in ((127, "parts"), (200, "whole")):
        reading = DataSettings(path=str(home), threshold=threshold, encoding="soft", objects=objects)
        (found,) = open_unseen([data], reading, {})
        assert found.dataset.objects == objects
        assert [len(sample.objects) for sample in found.dataset] == [1, int(threshold < 150), 1]
