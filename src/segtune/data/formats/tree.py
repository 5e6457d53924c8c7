"""A data folder's files, listed once for all formats that look at it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from segtune.core.errors import DataError

_DEPTH = 6
"""Folders below the data folder that are looked into; data sets nest two or three deep."""


@dataclass(frozen=True)
class Tree:
    """The files below a folder, hidden ones left out.

    Attributes:
        root: the folder.
        chosen: path below `root` of the one file the user named instead of a folder, or None.
        files: names of the files in each folder, by the folder's path below `root` ("" for the root), sorted.
        misnamed: paths of files and folders whose names are no UTF-8, odd bytes in hex; they are in no other list.
        found: what a format has found out on its first look, kept for its second.
    """

    root: Path
    chosen: str | None = None
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    misnamed: tuple[str, ...] = ()
    found: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def scan(cls, path: Path) -> Tree:
        """List the files below `path`, or beside it when it is a file.

        Raises:
            DataError: nothing is there, it may not be read, or its own name is no UTF-8.
        """
        path = path.absolute()
        if not _is_text(str(path)):
            raise DataError(f"The name of {_as_text(str(path))} is no UTF-8. Rename the folder or move the data.")
        if not path.exists():
            raise DataError(f"{path} does not exist. Give the folder that holds the images and masks.")
        root = path if path.is_dir() else path.parent
        files: dict[str, tuple[str, ...]] = {}
        misnamed: list[str] = []
        try:
            _scan(root, "", files, misnamed, _DEPTH)
        except PermissionError as error:
            raise DataError(f"{error.filename} may not be read. Change its permissions.") from error
        return cls(root, None if path.is_dir() else path.name, dict(sorted(files.items())), tuple(misnamed))

    def folders(self, parent: str) -> list[str]:
        """Return the paths of the folders directly in `parent`."""
        return list(self._children.get(parent, ()))

    def paths(self, folder: str = "", *, deep: bool = True) -> Iterator[str]:
        """Yield the paths below `root` of the files in `folder`, and with `deep` in the folders below it."""
        yield from (join(folder, name) for name in self.files.get(folder, ()))
        if deep:
            for child in self.folders(folder):
                yield from self.paths(child)

    def folders_below(self, folder: str) -> Iterator[str]:
        """Yield the paths of all folders below `folder`."""
        for child in self.folders(folder):
            yield child
            yield from self.folders_below(child)

    def has_file(self, path: str) -> bool:
        """Whether there is a file at this path."""
        return path in self._paths

    def has_folder_named(self, name: str) -> bool:
        """Whether any folder has this name."""
        return name in self._folder_names

    def folder_called(self, path: str) -> str | None:
        """Return the folder at this path, in whatever case its letters are, or None; the very same comes first."""
        return path if path in self.files else self._folders_in_lower_case.get(path.lower())

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Return the paths of all files whose names end in one of `suffixes`, in lower case."""
        return [path for path in self.paths() if path.lower().endswith(suffixes)]

    def describe(self) -> str:
        """Say what was found, in a sentence, for an error message."""
        counts = Counter(PurePosixPath(path).suffix.lower() or "no extension" for path in self.paths())
        odd = f" {len(self.misnamed)} names are no UTF-8: rename those files and folders." if self.misnamed else ""
        if not counts:
            return odd.strip() or "The folder is empty."
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))
        folders = [folder for folder in self.files if folder]
        inside = f" in the folders {', '.join(folders[:6])}{' …' if len(folders) > 6 else ''}" if folders else ""
        return f"Found {kinds} files{inside}.{odd}"

    @cached_property
    def _paths(self) -> frozenset[str]:
        return frozenset(self.paths())

    @cached_property
    def _folder_names(self) -> frozenset[str]:
        return frozenset(map(name_of, self.files))

    @cached_property
    def _folders_in_lower_case(self) -> dict[str, str]:
        return {folder.lower(): folder for folder in self.files}

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for folder in self.files:
            if folder:
                children.setdefault(parent_of(folder), []).append(folder)
        return children


def join(folder: str, name: str) -> str:
    """Join a folder's path below the root, which may be empty, and a name."""
    return f"{folder}/{name}" if folder else name


def parent_of(path: str) -> str:
    """Return the folder a path below the root lies in, "" for the root."""
    return path.rpartition("/")[0]


def name_of(path: str) -> str:
    """Return a path's last part."""
    return path.rpartition("/")[2]


def stem_of(path: str) -> str:
    """Return a path's last part without its extension; .nii.gz counts as one."""
    name = name_of(path)
    if name.lower().endswith(".nii.gz"):
        return name[: -len(".nii.gz")]
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def _is_text(name: str) -> bool:
    """Whether a file's name can be written as UTF-8: one unpacked from an old archive may hold stray bytes."""
    # Python turns bytes that are no UTF-8 into lone surrogates (PEP 383).
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _as_text(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _scan(root: Path, folder: str, files: dict[str, tuple[str, ...]], misnamed: list[str], depth: int) -> None:
    names: list[str] = []
    below: list[str] = []
    with os.scandir(root / folder) as entries:
        for entry in entries:
            # __MACOSX, in archives made on a Mac, holds a file of attributes for each file, ending in its name.
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if not _is_text(entry.name):
                misnamed.append(join(folder, _as_text(entry.name)))
                continue
            # Links are followed; the depth ends circles.
            (below if entry.is_dir() else names).append(entry.name)
    # File systems list in orders of their own.
    files[folder] = tuple(sorted(names))
    if depth:
        for name in sorted(below):
            _scan(root, join(folder, name), files, misnamed, depth - 1)
