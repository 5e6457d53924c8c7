"""Data of other domains."""

import shutil

import pytest
from disc_data import write_discs

from segtune.core.errors import DataError, UsageError
from segtune.data.dataset import open_dataset
from segtune.data.fingerprints import fingerprints
from segtune.runs.unseen import open_unseen


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Four images with a disc each."""
    return write_discs(tmp_path_factory.mktemp("home") / "discs", 4)


def test_domains_are_named_by_their_folders(home, tmp_path):
    """Two of one name are numbered, for their tables lie side by side; each knows what it is held against."""
    one = write_discs(tmp_path / "a" / "discs", 3, seed=5)
    other = write_discs(tmp_path / "b" / "discs", 3, seed=6)
    found = open_unseen([one, other], home, "whole", {})
    assert [domain.name for domain in found] == ["discs 2", "discs 3"]
    assert {domain.home for domain in found} == {"discs"}
    assert [len(domain.dataset) for domain in found] == [3, 3]


def test_what_a_run_has_learned_from_is_left_out(home, tmp_path):
    """Under another name too; and where nothing is left that is an error, for nothing there is unseen."""
    known = {"tuned": fingerprints(open_dataset(home))}
    data = write_discs(tmp_path / "mixed", 2, seed=7)
    for kind in ("images", "masks"):
        shutil.copy(home / kind / "001.png", data / kind / "copied.png")
    (found,) = open_unseen([data], home, "whole", known)
    assert set(found.dataset.names) == {"images/000.png", "images/001.png"}
    assert found.left_out["images"] == 1
    copied = shutil.copytree(home, tmp_path / "copied")
    with pytest.raises(DataError, match="not unseen"):
        open_unseen([copied], home, "whole", known)


def test_the_same_data_is_no_other_domain(home):
    """Neither DATA itself, however it is written, nor one of them twice."""
    with pytest.raises(UsageError, match="named twice"):
        open_unseen([home / ".." / home.name], home, "whole", {})
