"""A data folder's files, listed once for all formats that look at it."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from segtune.core.errors import DataError


@dataclass(frozen=True)
class Tree:
    """The files below a folder, hidden ones left out.

    Attributes:
        root: the folder.
        chosen: path below `root` of the one file the user named instead of a folder, or None.
        files: names of the files in each folder, by the folder's path below `root` ("" for the root), sorted.
        misnamed: paths of files and, with a slash at the end, folders whose names are no UTF-8, odd bytes in hex; they
            are in no other list.
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
        if not is_text(str(path)):
            raise DataError(f"The name of {as_text(str(path))} is no UTF-8. Rename the folder or move the data.")
        if not path.exists():
            raise DataError(f"{path} does not exist. Give the folder that holds the images and masks.")
        root = path if path.is_dir() else path.parent
        try:
            files, misnamed = _scan(root)
        except PermissionError as error:
            raise DataError(f"{error.filename} may not be read. Change its permissions.") from error
        return cls(root, None if path.is_dir() else path.name, dict(sorted(files.items())), tuple(misnamed))

    def folders(self, parent: str) -> list[str]:
        """Return the paths of the folders directly in `parent`."""
        return list(self._children.get(parent, ()))

    def paths(self, folder: str = "", *, deep: bool = True) -> Iterator[str]:
        """Yield the paths below `root` of the files in `folder`, and with `deep` in the folders below it."""
        for each in (folder, *self.folders_below(folder)) if deep else (folder,):
            yield from (join(each, name) for name in self.files.get(each, ()))

    def folders_below(self, folder: str) -> Iterator[str]:
        """Yield the paths of all folders below `folder`."""
        # No recursion: folders may nest deeper than Python's calls.
        waiting = self.folders(folder)[::-1]
        while waiting:
            yield (child := waiting.pop())
            waiting += self.folders(child)[::-1]

    def file_called(self, path: str) -> str | None:
        """Return the file at this path, however its accents are stored, or None; the very same comes first."""
        return path if path in self._paths else self._composed.get(composed(path))

    def has_folder_named(self, name: str) -> bool:
        """Whether any folder has this name."""
        return name in self._folder_names

    def folder_called(self, path: str) -> str | None:
        """Return the folder at this path, in whatever case its letters are, or None; the very same comes first."""
        return path if path in self.files else self._folders_in_lower_case.get(composed(path).lower())

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
    def _composed(self) -> dict[str, str]:
        return {composed(path): path for path in self.paths()}

    @cached_property
    def _folder_names(self) -> frozenset[str]:
        return frozenset(map(name_of, self.files))

    @cached_property
    def _folders_in_lower_case(self) -> dict[str, str]:
        return {composed(folder).lower(): folder for folder in self.files}

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


def composed(text: str) -> str:
    """Return a name in one form, to compare it with others; on disk it may be in another.

    A Mac stores é as a letter and an accent, other systems as one letter: the same name in different bytes.
    """
    return unicodedata.normalize("NFC", text)


def stem_of(path: str) -> str:
    """Return a path's last part without its extension, `composed`; .nii.gz counts as one."""
    name = composed(name_of(path))
    if name.lower().endswith(".nii.gz"):
        return name[: -len(".nii.gz")]
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name


def is_text(name: str) -> bool:
    """Whether a file's name can be written as UTF-8: one unpacked from an old archive may hold stray bytes."""
    # Python turns bytes that are no UTF-8 into lone surrogates (PEP 383).
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def as_text(name: str) -> str:
    """Return a file's name with bytes that are no UTF-8 in hex."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _scan(root: Path) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return the files by folder, and what is misnamed, however deep they lie; links are followed."""
    files: dict[str, tuple[str, ...]] = {}
    misnamed: list[str] = []
    # Each folder comes with all that it lies in: a link back to one of them would lead round for ever.
    waiting = [("", frozenset({_identity(root.stat())}))]
    while waiting:
        folder, above = waiting.pop()
        names: list[str] = []
        below: list[tuple[str, frozenset[tuple[int, int]]]] = []
        with os.scandir(root / folder) as entries:
            for entry in entries:
                # __MACOSX, in archives made on a Mac, holds a file of attributes for each file, ending in its name.
                if entry.name.startswith((".", "__MACOSX")):
                    continue
                is_folder = _is_folder(entry)
                if not is_text(entry.name):
                    misnamed.append(join(folder, as_text(entry.name)) + ("/" if is_folder else ""))
                elif not is_folder:
                    names.append(entry.name)
                elif (here := _identity(entry.stat())) not in above:
                    below.append((join(folder, entry.name), above | {here}))
        # File systems list in orders of their own.
        files[folder] = tuple(sorted(names))
        waiting += sorted(below, key=lambda one: one[0], reverse=True)
    return files, misnamed


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself, or into a folder that may not be read.
        return False


def _identity(seen: os.stat_result) -> tuple[int, int]:
    return seen.st_dev, seen.st_ino
