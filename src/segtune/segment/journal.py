"""What has been done of a long job, a line per image: with it the job goes on where it was cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from segtune.core.errors import UsageError
from segtune.core.files import storage_errors

NAME = "results.jsonl"

_SCHEMA = 1

_LONGEST_HEAD = 1 << 20


class Journal:
    """The file `results.jsonl`: first the job, then a line per image, each written whole.

    An image has a line once all its files are there. A line that a kill cut short is taken back when the job goes on.

    Args:
        folder: of the results.
        job: what tells this job from others, for JSON.

    Raises:
        UsageError: the folder holds the results of another job, or files of something else.
        ResourceError: it cannot be written.
    """

    def __init__(self, folder: Path, job: Mapping[str, Any]) -> None:
        self.path = folder / NAME
        head = {"schema": _SCHEMA, "job": dict(job)}
        # Whose folder it is comes first: until that is known nothing in it is touched.
        with storage_errors(self.path):
            begun = _is_begun(folder, head)
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self._mend()
        if not begun:
            self._append(head)

    def add(self, line: Mapping[str, Any]) -> None:
        """Append an image's line."""
        self._append(line)

    def close(self) -> None:
        """Bring all lines to the disk."""
        os.fsync(self._file)
        os.close(self._file)

    def done(self) -> set[str]:
        """Return the names of the images that need not be done again: those that did not fail."""
        return {line["image"] for line in self.images() if "error" not in line}

    def failed(self) -> dict[str, str]:
        """Return by name why images failed that were not done since."""
        found: dict[str, str] = {}
        for line in self.images():
            found.pop(line["image"], None)
            if "error" in line:
                found[line["image"]] = line["error"]
        return found

    def results(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Yield the lines of those images that were done, in the order of `names`, whatever order they were done in."""
        places = self._places()
        with self.path.open("rb") as file:
            for name in names:
                if name in places:
                    file.seek(places[name])
                    yield json.loads(file.readline())

    def images(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of all images."""
        lines = self._lines()
        next(lines, None)
        return lines

    def _places(self) -> dict[str, int]:
        """Return by name at which byte the line of an image that was done begins: lines themselves may be large."""
        places: dict[str, int] = {}
        with self.path.open("rb") as file:
            at = len(file.readline())
            for text in file:
                line = json.loads(text)
                if "error" not in line:
                    places[line["image"]] = at
                at += len(text)
        return places

    def _append(self, line: Mapping[str, Any]) -> None:
        # One call, so that a kill leaves the whole line or a piece that `_mend` takes back.
        with storage_errors(self.path):
            os.write(self._file, (json.dumps(line) + "\n").encode())

    def _lines(self) -> Iterator[dict[str, Any]]:
        with self.path.open(encoding="utf-8") as file:
            for text in file:
                yield json.loads(text)

    def _mend(self) -> None:
        """Cut off a last line that is not whole."""
        size = os.lseek(self._file, 0, os.SEEK_END)
        end = size
        while end:
            start = max(0, end - (1 << 16))
            at = os.pread(self._file, end - start, start).rfind(b"\n")
            if at >= 0:
                end = start + at + 1
                break
            end = start
        if end < size:
            os.ftruncate(self._file, end)


def _is_begun(folder: Path, head: Mapping[str, Any]) -> bool:
    """Say whether the folder holds this job's results; a new job needs a folder without anything of the user's.

    Raises:
        UsageError: it holds something else.
    """
    if not folder.is_dir():
        return False
    path = folder / NAME
    written = (json.dumps(head) + "\n").encode()
    first = b""
    if path.is_file():
        with path.open("rb") as file:
            first = file.readline(_LONGEST_HEAD)
    if first == written:
        return True
    # Cut off by a kill while its first line was being written, the job has nothing else there yet.
    others = [each.name for each in folder.iterdir() if each != path and not each.name.startswith(".")]
    if written.startswith(first) and not others:
        return False
    if first:
        raise UsageError(
            f"{folder} holds the results of another job: {_difference(first, head)}. Give --out another folder; "
            "nothing in it was touched."
        )
    raise UsageError(
        f"{folder} is not empty (it has {min(others)}), and what is there might be replaced. Give --out a new or an "
        "empty folder; nothing in it was touched."
    )


def _difference(first: bytes, head: Mapping[str, Any]) -> str:
    try:
        there = json.loads(first)["job"]
        keys = [key for key in {**head["job"], **there} if there.get(key) != head["job"].get(key)]
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"its {NAME} was not written by segtune segment"
    return f"{', '.join(keys) or 'the version'} differs"
