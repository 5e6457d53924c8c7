"""What has been done of a long job, a line per image: with it the job goes on where it was cut off."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from segtune.core.errors import UsageError
from segtune.core.files import is_half_written, storage_errors

NAME = "results.jsonl"

_SCHEMA = 2

_LONGEST_HEAD = 1 << 20


class Journal:
    """The file `results.jsonl`: first the job, then a line per image, each written whole.

    An image has a line once all its files are there. What a kill cut short, a line or a file, is taken back when the
    job goes on. It is a context manager, and as long as it is open nobody else can open it.

    Args:
        folder: of the results.
        job: what tells this job from others, for JSON.

    Raises:
        UsageError: the folder holds the results of another job, or files of something else; or the job is being done
            by another process.
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
        try:
            self._lock(folder)
            self._mend()
            if begun:
                _remove_half_files(folder)
            else:
                self._append(head)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Journal:
        """Return the journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it, whatever happened."""
        self.close()

    def add(self, line: Mapping[str, Any]) -> None:
        """Append an image's line."""
        self._append(line)

    def close(self) -> None:
        """Bring all lines to the disk."""
        try:
            with storage_errors(self.path):
                os.fsync(self._file)
        finally:
            os.close(self._file)

    def done(self) -> dict[str, dict[str, Any]]:
        """Return by name the lines, without their objects, of the images that need not be done again."""
        return {
            line["image"]: {key: value for key, value in line.items() if key != "objects"}
            for line in self.images()
            if "error" not in line
        }

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
        data = (json.dumps(line) + "\n").encode()
        end = os.lseek(self._file, 0, os.SEEK_END)
        with storage_errors(self.path):
            try:
                # A nearly full disk takes a part without an error, and says so only when asked for the rest.
                while data:
                    data = data[os.write(self._file, data) :]
            except OSError:
                os.ftruncate(self._file, end)
                raise

    def _lines(self) -> Iterator[dict[str, Any]]:
        with self.path.open(encoding="utf-8") as file:
            for text in file:
                yield json.loads(text)

    def _lock(self, folder: Path) -> None:
        if sys.platform == "win32":
            return
        fcntl = importlib.import_module("fcntl")
        # Some network file systems have no locks; there the user has to take care.
        with suppress(OSError):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"Another process is writing its results into {folder}. Wait for it or end it, then run the same "
                    "command again; or give --out another folder."
                ) from None

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
        _check_free(folder)
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


def _check_free(folder: Path) -> None:
    """Refuse a folder that cannot be made since a file is in its place, or in that of a folder above it."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if there.exists() and not there.is_dir():
        raise UsageError(
            f"The results' folder cannot be {folder}, for {there} is a file. Give --out a new or an empty folder; "
            "nothing was touched."
        )


def _remove_half_files(folder: Path) -> None:
    """Remove the temporary files of `core.files.replacing` that a kill left behind."""
    for path in filter(is_half_written, folder.rglob(".*")):
        path.unlink(missing_ok=True)


def _difference(first: bytes, head: Mapping[str, Any]) -> str:
    try:
        there = json.loads(first)["job"]
        keys = [key for key in {**head["job"], **there} if there.get(key) != head["job"].get(key)]
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"its {NAME} was not written by segtune segment"
    return f"{', '.join(keys) or 'the version'} differs"
