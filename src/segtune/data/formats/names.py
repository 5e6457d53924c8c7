"""Images found by what a list or a table calls them, wherever it was written."""

from __future__ import annotations

from collections.abc import Iterable

from segtune.data.formats.tree import composed, name_of, parent_of, stem_of


class NameIndex:
    """Images by all the ways a list may write their names: in full, as the end of the path, without extension.

    Backslashes are slashes, letters compare however their accents are stored, and 7 is 007 where no other image is 7:
    spreadsheets drop leading zeros.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._full: dict[str, str] = {}
        self._ends: dict[str, list[str]] = {}
        self._numbers: dict[str, list[str]] = {}
        for name in names:
            self._full.setdefault(composed(name), name)
            self._full[name] = name  # the very same comes first
            end, stem = composed(name_of(name)), stem_of(name)
            self._ends.setdefault(end, []).append(name)
            if stem != end:
                self._ends.setdefault(stem, []).append(name)
            if stem.isdecimal():
                self._numbers.setdefault(stem.lstrip("0"), []).append(name)

    def find(self, written: str) -> list[str]:
        """Return the names that `written` may stand for; more than one where it is ambiguous."""
        path = composed(written).replace("\\", "/").removeprefix("./")
        for exact in (written, composed(written), path):
            if exact in self._full:
                return [self._full[exact]]
        end, stem = name_of(path), stem_of(path)
        found = self._ends.get(end) or self._ends.get(stem)
        if found is None and stem.isdecimal():
            found = self._numbers.get(stem.lstrip("0"))
        return agreeing(found or [], path)


def agreeing(names: Iterable[str], path: str) -> list[str]:
    """Return the names whose folders agree with those of a path in a list, from the last one up; of them those with
    the most in common.

    A list may have been written above the data or below: only folders that both name must agree.
    """
    folders = _folders(path)
    shared: dict[int, list[str]] = {}
    for name in names:
        own = _folders(composed(name))
        common = min(len(own), len(folders))
        if own[len(own) - common :] == folders[len(folders) - common :]:
            shared.setdefault(common, []).append(name)
    return shared[max(shared)] if shared else []


def _folders(path: str) -> list[str]:
    return [part for part in parent_of(path).split("/") if part]
