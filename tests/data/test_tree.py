"""A folder's files are listed however deep they lie, and links that lead back end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from segtune.data.formats.tree import Tree


def test_files_are_listed_however_deep_they_lie(tmp_path):
    """Each folder's files come before those of the folders in it."""
    folders = ["/".join(["b"] * depth) for depth in range(40)]
    for folder in folders:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.png").touch()
    assert list(Tree.scan(tmp_path).paths()) == [f"{folder}/a.png".lstrip("/") for folder in folders]


def test_links_are_followed_and_circles_end(tmp_path):
    """A folder is looked into again where it is linked from beside it, but not from within."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "one.png").touch()
    (tmp_path / "a" / "b" / "back").symlink_to(tmp_path / "a")
    (tmp_path / "beside").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert list(Tree.scan(tmp_path).paths()) == ["itself", "a/b/one.png", "beside/one.png"]


def test_misnamed_folders_are_told_from_files(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"\xfcbrig")).mkdir()
        Path(tmp_path / os.fsdecode(b"K\xe4se.png")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert set(Tree.scan(tmp_path).misnamed) == {r"\xfcbrig/", r"K\xe4se.png"}
