"""Lists of image names, one text file per part of a split, as data sets are published with."""

from __future__ import annotations

from pathlib import Path

from segtune.core.errors import DataError

PART_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Words for each part of a split in the names of files and folders, in lower case."""


def read_lists(path: Path) -> tuple[dict[str, tuple[str, ...]], str]:
    """Read the lists in a folder, or the one at `path` with those that belong to it.

    Returns:
        The names by part ("train", "val", "test"), and the files' names in words.

    Raises:
        DataError: no list says which part it is, two say the same, or one is no UTF-8.
    """
    files = sorted(path.glob("*.txt")) if path.is_dir() else _siblings(path)
    parts: dict[str, tuple[str, ...]] = {}
    for file in files:
        part = _part_of(file)
        if part is None:
            continue
        if part in parts:
            raise DataError(f"{path} has two lists for '{part}', one of them {file.name}. Keep one.")
        try:
            # Some editors put a byte order mark in front, which would become part of the first name.
            lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise DataError(f"The list {file} is no UTF-8 text ({error}). Save it as UTF-8.") from error
        parts[part] = tuple(line for line in lines if line and not line.startswith("#"))
    if not any(parts.values()):
        raise DataError(
            f"{path} holds no list of names that says which part it is. Call them train.txt, val.txt and test.txt "
            "(or ..._train.txt), with a name per line, or give a split.json."
        )
    return parts, ", ".join(file.name for file in files if _part_of(file))


def _siblings(path: Path) -> list[Path]:
    """Return the lists that belong to `path`: named alike but for the word of the part."""
    part = _part_of(path)
    if part is None:
        return [path]
    word = _word_of(path)
    start, _, end = path.name.lower().rpartition(word)
    names = {f"{start}{other}{end}" for words in PART_WORDS.values() for other in words}
    return sorted(file for file in path.parent.iterdir() if file.name.lower() in names)


def _part_of(path: Path) -> str | None:
    word = _word_of(path)
    return next((part for part, words in PART_WORDS.items() if word in words), None)


def _word_of(path: Path) -> str:
    """Return the last word of a file's name that names a part, or nothing."""
    known = {word for words in PART_WORDS.values() for word in words}
    words = path.stem.lower().replace("-", "_").replace(".", "_").split("_")
    return next((word for word in reversed(words) if word in known), "")
